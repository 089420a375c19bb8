"""Checks that decide whether a case may go on. Each failure has a stable reason code; details name no patient.

A check is a pure function that returns nothing or raises ``DataError`` with the reason.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from radfed.errors import DataError
from radfed.imaging.plausibility import by, check_geometry, extent_ras
from radfed.imaging.volume import Volume
from radfed.task import Channel, Limits, OutcomeTask, SegmentationTask

CASE_REASONS: dict[str, str] = {
    "no_image": "a label or a record without an image",
    "no_label": "an image without a label, where labels are needed",
    "unreadable": "the file is no NIfTI, DICOM or PNG, is cut short, or has the wrong number of dimensions",
    "bad_affine": "the affine is singular, sheared, not finite, or missing: left and right are unknown",
    "shape_mismatch": "image and label, or two channels, differ in shape",
    "affine_mismatch": "image and label, or two channels, lie in different places",
    "channel_mismatch": "channels are missing, or not as many as the task asks for",
    "non_finite": "the image holds NaN or infinity",
    "constant_image": "a channel has the same value everywhere",
    "not_integer": "the label holds fractions",
    "unknown_label": "the label holds a value that the task does not know",
    "empty_label": "the label is background only",
    "implausible_spacing": "the voxel spacing is outside the task's limits",
    "implausible_size": "the extent is outside the task's limits, or far from every other case",
    "duplicate": "another case has the same image",
}
"""Why a case is refused, whatever it came from."""

RECORD_REASONS: dict[str, str] = {
    "duplicate_row": "several rows of the table are about one case",
    "no_patient": "the row does not say which case of which patient it is about",
    "no_split": "the table states splits, but none that is known for this row",
    "missing_value": "a covariate that the task requires is missing",
    "not_a_number": "a numeric covariate, or a time, is no finite number",
    "implausible_value": "a covariate is outside its plausible range, as in a wrong unit",
    "unknown_value": "a categorical covariate has a value that the task does not know",
    "no_outcome": "nobody says what became of the case",
    "unknown_outcome": "the class, finding or time is none that the task knows",
    "mixed_depth": "its pixels have another bit depth than those of most other cases, or than the task's window",
    "bit_depth": "a PNG with neither 8 nor 16 bits of grey",
    "colour_image": "a PNG in colour",
    "transparent_image": "a PNG with transparent pixels",
    "not_a_plane": "a volume, where the task takes planes",
    "not_a_volume": "a plane, where the task takes volumes",
}
"""Why a row of a table, or the image that it names, is no case."""

DICOM_REASONS: dict[str, str] = {
    "archive": "a packed archive, whose content was not looked at",
    "missing_geometry": "position, orientation or pixel spacing are missing or no numbers",
    "gap": "slices are missing, or their distances vary",
    "tilt": "the slices are sheared, as by a tilted gantry",
    "mixed_orientation": "the slices of a series have different orientations",
    "mixed_spacing": "the slices of a series have different pixel spacings",
    "overlapping_slices": "different slices lie at the same position",
    "localizer": "a scout or localizer",
    "too_few_slices": "fewer slices than a volume needs",
    "missing_rescale": "a CT or PET, or some slices of a series, without rescale: their units are unknown",
    "undecodable": "the pixels cannot be decoded, or not within the limits of time and memory",
    "unsupported_pixels": "colour, or another kind of pixel that is no measured intensity",
    "unsupported_object": "a report, document or presentation state, whose text cannot be made safe",
    "mosaic": "a mosaic, which needs the dcm2niix backend",
    "several_volumes": "several volumes over time or contrast, where the task needs one",
    "converter_mismatch": "dcm2niix and the DICOM headers disagree",
    "no_matching_series": "the study has no series that a channel's rule takes",
    "ambiguous_series": "several series fit a channel's rule, which states no preference",
    "label_reference": "the label refers to images that are not here",
    "unmapped_label": "no structure of the label is one of the task's",
    "overlapping_labels": "two structures claim the same voxels",
    "bad_contour": "a contour cannot be rasterised",
    "burned_in_text": "names or dates may be burned into the pixels",
    "residual_identifier": "an identifying value of the source was found in the output",
    "not_retrieved": "the PACS lists it but did not give it",
}
"""Why a DICOM series or study is no case."""

REASONS: dict[str, str] = CASE_REASONS | RECORD_REASONS | DICOM_REASONS

AFFINE_TOLERANCE_MM = 1e-2
"""How far apart two grids' corners may lie: well above what float32 headers lose, far below any anatomy."""

OUTLIER_FACTOR = 4.0
OUTLIER_COHORT = 3
_LABEL_LIKE_VALUES = 32


def check_image(image: Volume, task: SegmentationTask | OutcomeTask | None) -> None:
    """Check a RAS image ``(C, H, W, D)``: channels, finite and varying values, spacing, extent.

    Raises:
        DataError: ``channel_mismatch``, ``not_a_plane``, ``not_a_volume``, ``non_finite``, ``constant_image``,
            ``implausible_spacing`` or ``implausible_size``.
    """
    channels, wanted = image.array.shape[0], channels_of(task)
    if wanted and channels != len(wanted):
        names = ", ".join(channel.name for channel in wanted)
        raise DataError("channel_mismatch", f"the task asks for {len(wanted)} channel(s) ({names}), got {channels}")
    if isinstance(task, OutcomeTask) and task.image is not None:
        _check_dimensions(image, task.image.dimensions)
    broken = int(image.array.size - np.isfinite(image.array).sum()) if image.array.dtype.kind == "f" else 0
    if broken:
        raise DataError("non_finite", f"{broken} of {image.array.size} voxels are NaN or infinite")
    for index, channel in enumerate(image.array):
        if channel.min() == channel.max():
            raise DataError("constant_image", f"channel {index} is {float(channel.flat[0]):g} everywhere")
    check_geometry(image, _limits(task))


def channels_of(task: SegmentationTask | OutcomeTask | None) -> tuple[Channel, ...]:
    """The channels of a task's images; none without a task or images."""
    match task:
        case SegmentationTask():
            return task.channels
        case OutcomeTask(image=image) if image is not None:
            return image.channels
        case _:
            return ()


def _limits(task: SegmentationTask | OutcomeTask | None) -> Limits:
    match task:
        case SegmentationTask():
            return task.limits
        case OutcomeTask(image=image) if image is not None:
            return image.limits
        case _:
            return Limits()


def _check_dimensions(image: Volume, dimensions: int) -> None:
    """Planes have one voxel along one axis."""
    planes = 1 in image.shape
    if planes and dimensions == 3:
        raise DataError("not_a_volume", f"{by(image.shape)} voxels, where the task needs a volume")
    if not planes and dimensions == 2:
        raise DataError("not_a_plane", f"{by(image.shape)} voxels, where the task needs one plane: give single slices")


def check_label(label: Volume, image: Volume, allowed: Collection[int] | None) -> None:
    """Check a RAS label ``(1, H, W, D)`` against its image and the label values that a task allows (None: any).

    Raises:
        DataError: ``shape_mismatch``, ``affine_mismatch``, ``unknown_label`` or ``empty_label``.
    """
    check_same_grid(label, image, "the label", "the image")
    values = np.unique(label.array)
    if allowed is not None:
        unknown = [int(value) for value in values if value != 0 and int(value) not in allowed]
        if unknown:
            known = ", ".join(str(value) for value in (0, *sorted(allowed)))
            shown = ", ".join(str(value) for value in unknown[:10])
            raise DataError("unknown_label", f"got the label value(s) {shown}; allowed: {known}")
    if not values.any():
        raise DataError("empty_label", "the label is 0 everywhere; draw it, or leave the case out")


def check_same_grid(one: Volume, other: Volume, name: str, other_name: str) -> None:
    """Check that two volumes share shape and place.

    Raises:
        DataError: ``shape_mismatch`` or ``affine_mismatch``.
    """
    if one.shape != other.shape:
        raise DataError("shape_mismatch", f"{name} has {by(one.shape)} voxels, {other_name} {by(other.shape)}")
    apart = grid_distance(one.affine, other.affine, one.shape)
    if apart > AFFINE_TOLERANCE_MM:
        raise DataError(
            "affine_mismatch",
            f"{name} and {other_name} lie up to {apart:.3g} mm apart (allowed {AFFINE_TOLERANCE_MM:g} mm); "
            "export both from the same source",
        )


def grid_distance(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, int, int]) -> float:
    """Largest distance between the corners of two grids of equal shape (mm)."""
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in shape], indexing="ij")).reshape(3, -1)
    homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
    return float(np.linalg.norm(((one - other) @ homogeneous)[:3], axis=0).max())


def check_against_cohort(volume: Volume, cohort: Sequence[tuple[float, float, float]]) -> None:
    """Refuse a RAS volume that is 4 times larger or smaller than the median of the cohort along every axis.

    A cohort of fewer than 3 extents (mm) says nothing.

    Raises:
        DataError: ``implausible_size``.
    """
    if len(cohort) < OUTLIER_COHORT:
        return
    median = np.median(np.array(cohort), axis=0)
    ratio = np.array(extent_ras(volume)) / median
    if (ratio > OUTLIER_FACTOR).all() or (ratio < 1 / OUTLIER_FACTOR).all():
        raise DataError(
            "implausible_size",
            f"extent {by(extent_ras(volume))} mm, where the median of {len(cohort)} good cases is {by(median)} mm: "
            "does it belong to another body part?",
        )


def looks_like_label(array: NDArray[np.float32], allowed: Collection[int] | None) -> bool:
    """Whether voxels are a label map: few whole numbers from 0 on, 0 the most frequent, all of them allowed."""
    values, counts = np.unique(array, return_counts=True)
    if len(values) > _LABEL_LIKE_VALUES or values[0] != 0 or counts[0] != counts.max():
        return False
    if not np.isfinite(values).all() or (values != np.rint(values)).any():
        return False
    return allowed is None or all(value == 0 or int(value) in allowed for value in values)


def label_volumes(label: Volume) -> dict[int, float]:
    """Volume of each label value but 0 (mm^3)."""
    values, counts = np.unique(label.array, return_counts=True)
    return {
        int(value): round(int(count) * label.voxel_volume, 3)
        for value, count in zip(values, counts, strict=True)
        if value != 0
    }
