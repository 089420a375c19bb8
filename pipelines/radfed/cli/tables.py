"""Reports as tables for people."""

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from radfed.dataset.check import QualityReport, Range


def quality_table(report: "QualityReport") -> Table:
    """A dataset's quality report as a table."""
    title = f"{report.site}{' (PHANTOM data)' if report.phantom else ''}"
    table = Table("what", "least", "median", "most", title=title)
    for split, count in report.splits.items():
        table.add_row(f"{split} cases", "", str(count), "")
    for axis, spacing in zip("RAS", report.spacing, strict=False):
        table.add_row(f"spacing {axis} (mm)", *_numbers(spacing))
    for axis, size in zip("RAS", report.size, strict=False):
        table.add_row(f"size {axis} (voxels)", *_numbers(size))
    for value, volume in report.label_volumes.items():
        table.add_row(f"label {value} (mm^3)", *_numbers(volume))
    for name, count in report.outcomes.items():
        table.add_row(f"{name} (cases)", "", str(count), "")
    for name, count in report.missing.items():
        table.add_row(f"{name} missing (cases)", "", str(count), "")
    return table


def _numbers(values: "Range") -> tuple[str, str, str]:
    return f"{values.least:.5g}", f"{values.median:.5g}", f"{values.most:.5g}"
