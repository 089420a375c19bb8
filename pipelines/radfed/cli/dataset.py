"""``radfed dataset``: look at a prepared dataset."""

from pathlib import Path
from typing import Annotated

import typer

from radfed.cli.console import emit, log

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
    from radfed.task import TaskSpec

    report = run(Dataset.read(dataset), TaskSpec.read(task) if task else None)
    log.print(quality_table(report))
    for problem in report.problems:
        line = f"{problem.code}: {problem.case + ': ' if problem.case else ''}{problem.detail}"
        log.print(line, style="red", markup=False, soft_wrap=True)
    emit({"ok": report.ok, **report.model_dump(mode="json")}, as_json)
    if not report.ok:
        raise typer.Exit(1)
