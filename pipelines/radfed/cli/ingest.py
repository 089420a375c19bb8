"""``radfed ingest``: a source folder to a prepared dataset."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log


def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of NIfTI files: MSD layout (imagesTr/, labelsTr/), images/ and labels/, or a flat folder."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the prepared dataset; replaced only on success.")],
    task: Annotated[
        Path | None, typer.Option("--task", help="task.yaml to check against. Without it any image is accepted.")
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option("--site", help="site.yaml from 'radfed site init'. Default: <OUT>.site/."),
    ] = None,
    max_refused: Annotated[
        float | None,
        typer.Option("--max-refused", min=0.0, max=1.0, help="Largest share of cases that may fail. [site.yaml: 0.2]"),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option("--patients", help="CSV with the columns id,patient. Default: each case is its own patient."),
    ] = None,
    site_name: Annotated[str | None, typer.Option("--site-name", help="Name of the site, for example site-a.")] = None,
    split_seed: Annotated[int | None, typer.Option("--split-seed", help="Seed of the splits. [site.yaml: 0]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Check, convert and pseudonymise scans into a dataset to train on.

    Every case is checked. What fails goes to quarantine.jsonl with a reason, the rest is written as RAS NIfTI with its
    original spacing, split by patient into training, validation and test. If too many fail, nothing is written.

    The map from pseudonyms to your files is pseudonyms.csv in the site's folder; keep it there.

    Example: radfed ingest Task04_Hippocampus --task task.yaml --site site/site.yaml --out dataset
    """
    from radfed.cli.progress import case_progress
    from radfed.dataset.ingest import IngestSettings
    from radfed.dataset.ingest import ingest as run
    from radfed.dataset.patients import read_patients
    from radfed.dataset.sources import local_source
    from radfed.site.config import PSEUDONYMS_FILE, SiteSettings, open_site, read_secret
    from radfed.task import TaskSpec

    folder = local_source(source)
    spec = TaskSpec.read(task) if task else None
    site_folder, decided = open_site(site, beside=out, name=site_name)
    name = SiteSettings.check({"name": site_name}, source="--site-name").name if site_name else decided.name
    settings = IngestSettings(
        site=name,
        secret=read_secret(site_folder),
        pseudonyms=site_folder / PSEUDONYMS_FILE,
        task=spec,
        max_refused=decided.max_refused if max_refused is None else max_refused,
        split=decided.split if split_seed is None else decided.split.model_copy(update={"seed": split_seed}),
        patients=read_patients(patients) if patients else None,
    )
    with case_progress("checking") as on_progress:
        report = run(folder, out, settings, on_progress)
    splits = ", ".join(f"{name} {count}" for name, count in report.splits.items())
    log.print(f"{out}: {report.cases} cases of {report.patients} patients ({splits})", markup=False, soft_wrap=True)
    for reason, count in report.reasons.items():
        log.print(f"quarantined: {reason} {count} (see quarantine.jsonl)", markup=False, soft_wrap=True)
    for warning in report.warnings:
        log.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    emit({"dataset": str(out), "site_folder": str(site_folder), **report.model_dump(mode="json")}, as_json)
