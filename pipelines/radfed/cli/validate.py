"""``radfed validate``: a release on prepared datasets, with a report for clinicians."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log


def validate(
    release: Annotated[Path, typer.Argument(help="Folder of the release that holds model.onnx.")],
    datasets: Annotated[
        list[Path], typer.Argument(metavar="DATASET...", help="Folders that 'radfed ingest' wrote, one a site.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for report.html, report.pdf and metrics.json.")],
    split: Annotated[
        str,
        typer.Option("--split", help="test, validation, training, or all (for a site that took no part in training)."),
    ] = "test",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Show scans and single cases; such a report stays at the site. Without, it may be passed on.",
        ),
    ] = True,
    cases: Annotated[
        bool, typer.Option("--cases", help="Put a row a case, under pseudonyms, in metrics.json.")
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", help="Other models' scores: comparison.json of 'radfed job simulate --baselines'."),
    ] = None,
    pdf: Annotated[
        bool | None,
        typer.Option(
            "--pdf/--no-pdf",
            help="Write report.pdf beside report.html; by default where WeasyPrint can be loaded (radfed[pdf]).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Score a release's model on labelled datasets and write a report.

    Per site and pooled, with 95% intervals. Of masks, per label: Dice, HD95 and NSD, missed structures and false
    positives. Of answers: AUROC, average precision, sensitivity and specificity at the operating point, accuracy,
    Brier score and calibration; of times to an event the concordance.

    Example: radfed validate release dataset-a dataset-b --out validation
    """
    from radfed.cli.progress import case_progress
    from radfed.validation.kinds import headline_of
    from radfed.validation.pdf import why_no_pdf
    from radfed.validation.results import check_split
    from radfed.validation.run import validate as run

    chosen, why = check_split(split), why_no_pdf() if pdf is None else ""
    with case_progress("scoring") as on_progress:
        found = run(
            release, datasets, out, chosen, on_progress, pictures, cases, compare, not why if pdf is None else pdf
        )
    pooled, head = found.summary.pooled, headline_of(found.summary)
    where = f"{pooled.cases} cases of {pooled.patients} patients from {len(found.summary.sites)} site(s)"
    log.print(f"{found.report}: {head}; {where}", markup=False, soft_wrap=True)
    if why:
        log.print(f"no report.pdf: {why}", style="yellow", markup=False, soft_wrap=True)
    if found.phantom:
        log.print("phantom data: this shows that the software works, nothing about patients", style="yellow")
    emit(
        {
            "report": str(found.report),
            "pdf": str(found.pdf) if found.pdf else None,
            "metrics": str(found.metrics),
            "phantom": found.phantom,
            "split": split,
            **found.summary.model_dump(mode="json"),
        },
        as_json,
    )
