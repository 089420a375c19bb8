"""A series of DICOM files to one volume, strictly: only proven geometry, or a refusal with a code.

Messages hold no value that identifies a patient: they end up in reports that may leave the site.
"""

from collections.abc import Sequence

import numpy as np

from radfed.errors import DataError
from radfed.imaging.dicom.gaps import fill, places
from radfed.imaging.dicom.geometry import Stack, affine, check_upright, shear, stack, step
from radfed.imaging.dicom.grouping import PROJECTIONS, Slice, is_localizer, is_mosaic, is_survey
from radfed.imaging.dicom.index import Series
from radfed.imaging.dicom.moments import order_volumes
from radfed.imaging.dicom.options import ReadOptions
from radfed.imaging.dicom.pixels import assemble, check_pixels
from radfed.imaging.dicom.projection import read_projection
from radfed.imaging.dicom.scanned import ScannedVolume, Source
from radfed.imaging.dicom.tilt import Upright, straighten, upright
from radfed.imaging.volume import Volume

__all__ = ["ScannedVolume", "read_series"]


def read_series(series: Series, options: ReadOptions = ReadOptions()) -> ScannedVolume:  # noqa: B008 - frozen
    """Read a series as one volume, or as several at one place (over time, echoes, b-values).

    Slices are sorted so that their normal, the cross product of row and column direction in LPS, points along
    growing k. Slices may lie up to 0.01 mm or 1% of their distance from their place in a regular stack.

    Raises:
        DataError: ``localizer``, ``mosaic``, ``unsupported_pixels``, ``missing_rescale``, ``missing_geometry``,
            ``mixed_orientation``, ``mixed_spacing``, ``too_few_slices``, ``overlapping_slices``, ``gap``, ``tilt``,
            ``undecodable``, or ``converter_mismatch``.
    """
    slices = series.slices
    if any(is_localizer(one) for one in slices) or is_survey(slices):
        raise DataError("localizer", "a scout, from which scans are planned; it is no volume")
    if any(is_mosaic(one) for one in slices):
        return _read_mosaic(series, options)
    check_pixels(slices)
    if slices[0].instance.sop_class in PROJECTIONS:
        if options.min_slices > 1:
            raise DataError("too_few_slices", f"a projection is one image, wanted {options.min_slices} slices or more")
        return read_projection(slices[0])
    gathered = stack([one.frame for one in slices])
    if len(gathered.levels) < options.min_slices:
        raise DataError("too_few_slices", f"{len(gathered.levels)} slice(s), wanted {options.min_slices} or more")
    if len(gathered.levels) == 2:
        _check_pair(slices[0], gathered)
    return _read_stack(slices, gathered, options)


def _check_pair(one: Slice, gathered: Stack) -> None:
    """Two slices are always regular: that none is missing between them only the header can prove.

    Raises:
        DataError: ``gap``, or ``too_few_slices`` if the header states no distance.
    """
    distance = float(np.diff(gathered.heights)[0])
    stated = [value for value in (one.frame.between, one.frame.thickness) if value]
    if not stated:
        raise DataError("too_few_slices", "two slices, and the header does not say how far apart they should be")
    if all(abs(distance - value) > max(0.01, 0.01 * distance) for value in stated):
        raise DataError(
            "gap", f"two slices {distance:.4g} mm apart, the header states {stated[0]:.4g} mm: some may be missing"
        )


def _read_mosaic(series: Series, options: ReadOptions) -> ScannedVolume:
    if not options.dcm2niix:
        raise DataError("mosaic", "the slices are tiles of one image, which only the dcm2niix option reads")
    from radfed.imaging.dicom.converter import convert  # it starts a program, which few series need

    return convert(series)


def _read_stack(slices: Sequence[Slice], gathered: Stack, options: ReadOptions) -> ScannedVolume:
    """The volume of slices whose orientation and pixel spacing are proven equal."""
    order = order_volumes(slices, gathered.levels)
    present = places(gathered, options.interpolate_gaps)
    levels = present[-1] + 1
    one_step = step(gathered, levels) if levels > 1 else gathered.normal * _thickness(slices[0])
    steps = []
    plan: Upright | None = None
    rows, columns = slices[0].instance.rows, slices[0].instance.columns
    try:
        check_upright(gathered, one_step)
    except DataError:
        if not options.correct_tilt:
            raise
        plan = upright(shear(gathered, one_step), levels, rows, columns)
    at = {number: (volume, present[level]) for volume, row in enumerate(order) for level, number in enumerate(row)}
    shape = (len(order), levels, *(plan.shape if plan else (rows, columns)))
    voxels = assemble(slices, [at[number] for number in range(len(slices))], shape)
    origin = gathered.points[0]
    if levels > len(present):
        fill(voxels, present)
        steps.append(f"interpolated {levels - len(present)} missing slice(s)")
    if plan is not None:
        straighten(voxels, plan, rows, columns)
        shift = (plan.lowest[0] * gathered.pixel_spacing[1], plan.lowest[1] * gathered.pixel_spacing[0])
        origin = origin + shift[0] * gathered.rows + shift[1] * gathered.columns
        one_step = (one_step @ gathered.normal) * gathered.normal
        steps.append("resampled a tilted stack upright")
    found: list[list[Source]] = [[() for _ in range(levels)] for _ in order]
    if plan is None:
        for number, (volume, level) in at.items():
            found[volume][level] = (slices[number].instance.path, slices[number].number)
    scanned = Volume(voxels.transpose(0, 3, 2, 1), affine(origin, gathered, one_step))
    return ScannedVolume(scanned, tuple(tuple(row) for row in found), tuple(steps))


def _thickness(one: Slice) -> float:
    """Of a single slice (mm): nothing but its own header can say."""
    if not one.frame.thickness or one.frame.thickness <= 0:
        raise DataError("missing_geometry", "a single slice without a slice thickness")
    return float(one.frame.thickness)
