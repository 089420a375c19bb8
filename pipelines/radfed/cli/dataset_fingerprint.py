"""``radfed dataset fingerprint``: what a site would tell of a dataset, before it tells anybody."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from radfed.cli.console import emit, log


def fingerprint(
    dataset: Annotated[Path, typer.Argument(help="Folder that 'radfed ingest' wrote.")],
    task: Annotated[str, typer.Option("--task", help="task.yaml, or a job's folder or name: what of it matters.")],
    site: Annotated[
        Path | None, typer.Option("--site", help="site.yaml or its folder, for its limits on statistics.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Show the fingerprint of a dataset as it would leave the site: sums and histograms, no case, no small count."""
    from radfed.dataset.fingerprint import fingerprint as describe
    from radfed.dataset.fingerprint_rules import Rules
    from radfed.dataset.layout import Dataset
    from radfed.job import find_job
    from radfed.site.config import read_site
    from radfed.site.statistics_settings import StatisticsSettings
    from radfed.task import read_task

    contract = read_task(Path(task)) if Path(task).is_file() else find_job(task).task
    careful = read_site(site).statistics if site else StatisticsSettings()
    content = Dataset.read(dataset)
    found = describe(content, contract, Rules(careful.min_count, careful.noise, content.digest.encode()))
    values = Table("what", "count", "mean", "deviation", "median", "10% to 90%")
    for name, measure in found.values.items():
        low, middle, high = (f"{measure.percentile(percent):.4g}" for percent in (10, 50, 90))
        row = (name, str(measure.count), f"{measure.mean:.4g}", f"{measure.deviation:.4g}", middle, f"{low} to {high}")
        values.add_row(*row)
    groups = Table("what", "cases by category")
    for name, cells in found.groups.items():
        groups.add_row(name, ", ".join(f"{cell} {count}" for cell, count in cells.items()))
    log.print(values)
    log.print(groups)
    log.print(f"nothing of fewer than {careful.min_count} patients is in it", markup=False)
    emit(found.model_dump(mode="json"), as_json)
