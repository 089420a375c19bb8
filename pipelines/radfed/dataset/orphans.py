"""Why a file without a partner is refused: its content says what it is, because names and folders can be wrong."""

from collections.abc import Collection

from radfed.dataset.checks import check_against_cohort, looks_like_label
from radfed.dataset.layout import Case
from radfed.dataset.sources import SourceCase
from radfed.errors import DataError
from radfed.imaging.nifti import read_image, to_ras
from radfed.imaging.plausibility import check_geometry
from radfed.imaging.volume import Volume
from radfed.task import Limits, SegmentationTask


def why_alone(item: SourceCase, task: SegmentationTask | None, accepted: tuple[Case, ...]) -> DataError:
    """The reason to refuse a lone file: unreadable, of another body part, or a label or image without its partner.

    Args:
        item: what the source holds.
        task: the contract, if there is one.
        accepted: the cases that passed; a file that is far from all of them belongs to something else.
    """
    try:
        volume = _read(item)
    except DataError as error:
        return error
    is_label = item.place == "label" or looks_like_label(volume.array, _allowed(item, task, accepted))
    what = "a label without an image" if is_label else "an image without a label"
    try:
        check_geometry(volume, task.limits if task else Limits())
        check_against_cohort(volume, _extents(accepted))
    except DataError as error:
        return DataError(error.reason, f"{what}, and its {error}")
    if is_label:
        return DataError("no_image", f"{what}; add the image under the same file name, or take the label away")
    return DataError("no_label", f"{what}; add the label under the same file name, or take the image away")


def _read(item: SourceCase) -> Volume:
    path = item.images[0] if item.images else item.label
    if path is None:
        raise DataError("unreadable", "the source names this case, but no file of it is there")
    return to_ras(read_image(path))


def _allowed(item: SourceCase, task: SegmentationTask | None, accepted: tuple[Case, ...]) -> Collection[int] | None:
    """Values by which a label is known. Among images a label must look like the others; a stray may be any label."""
    if item.place == "stray":
        return None
    if task is not None:
        return task.label_values
    return {value for case in accepted for value in case.label_volumes} or None


def _extents(cases: tuple[Case, ...]) -> list[tuple[float, float, float]]:
    grids = [(case.size, case.spacing) for case in cases if case.size is not None and case.spacing is not None]
    return [(a * x, b * y, c * z) for (a, b, c), (x, y, z) in grids]
