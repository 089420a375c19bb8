"""``radfed dataset``: look at a prepared dataset."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log
from radfed.cli.dataset_fingerprint import fingerprint

app = typer.Typer(help="Look at a prepared dataset.", no_args_is_help=True)


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(help="Folder that 'radfed ingest' wrote.")],
    task: Annotated[Path | None, typer.Option("--task", help="task.yaml to check against.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Verify every file of a dataset against its lists: digests, splits, labels, spacing, size.

    Exits 1 if anything is wrong; each problem has a code and says what to do.
    """
    from radfed.cli.tables import quality_table
    from radfed.dataset.check import check as run
    from radfed.dataset.layout import Dataset
    from radfed.task import read_task

    report = run(Dataset.read(dataset), read_task(task) if task else None)
    log.print(quality_table(report))
    for problem in report.problems:
        line = f"{problem.code}: {problem.case + ': ' if problem.case else ''}{problem.detail}"
        log.print(line, style="red", markup=False, soft_wrap=True)
    for warning in report.warnings:
        log.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    emit({"ok": report.ok, **report.model_dump(mode="json")}, as_json)
    if not report.ok:
        raise typer.Exit(1)


app.command()(fingerprint)


@app.command()
def table(
    export: Annotated[
        Path,
        typer.Argument(help="Folder of an OMOP export (person, measurement, condition_occurrence) or of FHIR ndjson."),
    ],
    cases: Annotated[
        Path,
        typer.Option("--cases", help="CSV or Parquet with the columns case,patient,date; others are taken over."),
    ],
    extract: Annotated[
        Path, typer.Option("--extract", help="extract.yaml: which values and diagnoses, of which days.")
    ],
    out: Annotated[Path, typer.Option("--out", help="CSV to write, for 'radfed ingest --table'.")],
    delimiter: Annotated[str, typer.Option("--delimiter", help="Between the fields of OMOP's CSV files.")] = ",",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Flatten clinical events of an OMOP or FHIR export to a table with a row a case.

    The table stays at the site. It holds ages and values, and no date.

    Example: radfed dataset table omop --cases cases.csv --extract extract.yaml --out table.csv
    """
    from radfed.dataset.clinical import Extract, flatten
    from radfed.dataset.fhir import is_fhir, read_fhir
    from radfed.dataset.omop import is_omop, read_omop
    from radfed.dataset.tables import read_table
    from radfed.errors import InvalidInputError

    if not export.is_dir() or not (is_omop(export) or is_fhir(export)):
        raise InvalidInputError(f"{export}: must be a folder with a table person (OMOP), or with .ndjson files (FHIR)")
    wanted = Extract.read(extract)
    read = read_omop(export, delimiter) if is_omop(export) else read_fhir(export)
    flat = flatten(read, read_table(cases), wanted)
    flat.write(out)
    log.print(f"{out}: {len(flat.rows)} rows", markup=False, soft_wrap=True)
    for warning in flat.warnings:
        log.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    emit({"table": str(out), "rows": len(flat.rows), "warnings": list(flat.warnings)}, as_json)
