"""Is there a dataset, is it whole, and does it fit the task."""

from pathlib import Path

from radfed.dataset.check import check
from radfed.dataset.layout import Dataset
from radfed.errors import InvalidInputError
from radfed.site.doctor.findings import Finding, failed, passed, warned
from radfed.task import AnyTask


def check_dataset(folder: Path | None, task: AnyTask | None) -> Finding:
    """What ``radfed dataset check`` says, in one line.

    Args:
        folder: ``dataset`` of ``site.yaml``.
        task: what it must fit, if a job is known.
    """
    if folder is None:
        return failed(
            "dataset", "site.yaml names no dataset", "make one with radfed ingest, and set dataset in site.yaml"
        )
    try:
        report = check(Dataset.read(folder), task)
    except InvalidInputError as error:
        return failed(
            "dataset", str(error).splitlines()[0], "set dataset in site.yaml to a folder that radfed ingest wrote"
        )
    counts = ", ".join(f"{count} {split}" for split, count in report.splits.items())
    said = f"{report.cases} cases of {report.patients} patients: {counts}"
    if not report.ok:
        codes = ", ".join(sorted({problem.code for problem in report.problems}))
        more = f" --task {task.name}" if task else ""
        return failed(
            "dataset", f"{said}; {len(report.problems)} problem(s): {codes}", f"radfed dataset check {folder}{more}"
        )
    if not report.splits["training"]:
        return failed("dataset", f"{said}; nothing to train on", "ingest more, or change split in site.yaml")
    if not report.splits["validation"]:
        return warned("dataset", f"{said}; models cannot be scored here", "ingest more, or change split in site.yaml")
    return passed("dataset", said)
