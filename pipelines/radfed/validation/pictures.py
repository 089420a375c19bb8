"""Cases in pictures: three planes through the structures, the reference's outline beside the model's.

Shown as radiologists look at them: the patient's right on the left of the picture, seen from the feet and from the
front; letters at each edge say so. A volume that is one voxel deep is shown as the one picture that it is, without
letters and scale: a PNG states neither. These pictures hold patient pixels and stay where the patients are.

Two choices are shown and kept apart: the failures, and a sample drawn by lot, which says what is usual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import to_ras
from radfed.imaging.volume import Volume
from radfed.inference.segment import segment
from radfed.inference.sliding_window import Predictor
from radfed.metrics.policy import Outcome
from radfed.task import SegmentationTask
from radfed.validation.drawing import Picture, canvas, styled, to_picture
from radfed.validation.evaluate import read_pair
from radfed.validation.results import CaseResult, Evaluation
from radfed.validation.summary import case_value

REFERENCE, PREDICTION = "#35d0ff", "#ff9f1c"
MARGIN_MM = 15.0
"""How much of the surroundings is shown around the structures."""

MOST_FAILURES, MOST_SAMPLED, SAMPLE_SEED = 6, 6, 0

Choice = Literal["failure", "random"]


@dataclass(frozen=True)
class Plane:
    """One way to cut a RAS array ``(H, W, D)``.

    Attributes:
        name: for people.
        axis: the array axis along which is cut.
        letters: what is at the left, right, top and bottom of the picture.
    """

    name: str
    axis: int
    letters: tuple[str, str, str, str]

    def cut(self, array: NDArray[np.generic], index: int) -> NDArray[np.generic]:
        """The slice as rows from top to bottom and columns from left to right of the picture."""
        # Each axis of a RAS array grows towards R, A, S; pictures start at R, A and S, so both are turned around.
        kept: NDArray[np.generic] = np.take(array, index, axis=self.axis)[::-1, ::-1].T
        return kept


AXIAL = Plane("axial", 2, ("R", "L", "A", "P"))
CORONAL = Plane("coronal", 1, ("R", "L", "S", "I"))
SAGITTAL = Plane("sagittal", 0, ("A", "P", "S", "I"))
PLANES = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True)
class CasePicture:
    """A case that the report shows, and why it was chosen."""

    site: str
    case: str
    choice: Choice
    finding: str
    dice: float | None
    picture: Picture


def choose_failures(evaluation: Evaluation, most: int = MOST_FAILURES) -> tuple[CaseResult, ...]:
    """The cases with the lowest mean Dice of all sites, lowest first: a third of the cases, at most ``most``."""
    scored = [(value, case) for case in evaluation.cases if (value := case_value(case, "dice")) is not None]
    ranked = [case for _, case in sorted(scored, key=lambda pair: (pair[0], pair[1].digest))]
    return tuple(ranked[: min(most, -(-len(ranked) // 3))])


def draw_lots(count: int, most: int, seed: int = SAMPLE_SEED) -> list[int]:
    """Places of a random sample of ``count`` things, in their order, without replacement."""
    return sorted(np.random.default_rng(seed).permutation(count)[:most].tolist())


def choose_sample(evaluation: Evaluation, most: int = MOST_SAMPLED, seed: int = SAMPLE_SEED) -> tuple[CaseResult, ...]:
    """A random sample of all cases, whatever they scored: the draw is of the cases by digest, and knows no score."""
    ordered = sorted(evaluation.cases, key=lambda case: case.digest)
    return tuple(ordered[place] for place in draw_lots(len(ordered), most, seed))


def finding_of(case: CaseResult) -> str:
    """What is wrong with a case beyond its overlap; empty if every structure was found and none made up."""
    words = {Outcome.MISSED: "missed", Outcome.FALSE_POSITIVE: "made up"}
    return ", ".join(
        f"{one.label.replace('_', ' ')} {words[one.outcome]}" for one in case.labels if one.outcome in words
    )


def picture_cases(
    evaluation: Evaluation, datasets: Sequence[Dataset], task: SegmentationTask, predict: Predictor
) -> tuple[CasePicture, ...]:
    """Segment the chosen cases again and draw them, failures first; no mask is kept from the evaluation.

    Raises:
        DataError: a case cannot be read.
    """
    by_site = {dataset.site: dataset for dataset in datasets}
    drawn: dict[tuple[str, str], Picture] = {}
    pictures = []
    chosen: list[tuple[Choice, CaseResult]] = [("failure", case) for case in choose_failures(evaluation)]
    chosen += [("random", case) for case in choose_sample(evaluation)]
    for choice, result in chosen:
        key = (result.site, result.case)
        if key not in drawn:
            dataset = by_site[result.site]
            image, reference = read_pair(dataset, next(case for case in dataset.cases if case.id == result.case))
            alt = f"{result.case} of {result.site}: outlines of reference and model."
            drawn[key] = draw_case(image, reference, segment(image, task, predict), task.label_values, alt)
        pictures.append(
            CasePicture(
                site=result.site,
                case=result.case,
                choice=choice,
                finding=finding_of(result),
                dice=case_value(result, "dice"),
                picture=drawn[key],
            )
        )
    return tuple(pictures)


def draw_case(
    image: Volume,
    reference: NDArray[np.integer],
    prediction: NDArray[np.integer],
    labels: Sequence[int],
    alt: str,
) -> Picture:
    """Draw three planes through the centre of the structures, or the one that there is.

    Args:
        image: ``(C, H, W, D)`` in any orientation; the first channel is shown.
        reference: label map ``(H, W, D)`` on the image's grid.
        prediction: the same of the model.
        labels: values to outline.
        alt: text for those who cannot see the picture.
    """
    stacked = np.stack([image.array[0].astype(np.float32), reference, prediction]).astype(np.float32)
    volume = to_ras(Volume(stacked, image.affine))
    reference_there, prediction_there = np.isin(volume.array[1:], labels)
    box = _window(reference_there | prediction_there, volume.spacing)
    cropped = volume.array[(slice(None), *box)]
    centre = _centre(cropped[1:], labels)
    low, high = np.percentile(cropped[0], [1, 99])
    with styled():
        planes = tuple(plane for plane in PLANES if volume.shape[plane.axis] == 1) or PLANES
        sizes = [_extent(plane, cropped.shape[1:], volume.spacing) for plane in planes]
        widths = [size[0] for size in sizes]
        height = max(size[1] for size in sizes)
        figure = canvas(7.4, float(np.clip(7.2 * height / sum(widths), 1.6, 4.2)) + 0.35)
        row = figure.subplots(1, len(planes), width_ratios=widths, squeeze=False)[0]
        for axes, plane, size in zip(row, planes, sizes, strict=True):
            index = centre[plane.axis]
            shown = [plane.cut(array, index) for array in cropped]
            axes.imshow(
                shown[0], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=(0, size[0], size[1], 0),
                interpolation="nearest",
            )  # fmt: skip
            for value in labels:
                _outline(axes, shown[2] == value, size, PREDICTION, "solid")
                _outline(axes, shown[1] == value, size, REFERENCE, "dashed")
            _finish(axes, size)
            if planes == PLANES:
                _orient(axes, plane, size)
        handles = [
            Line2D([], [], color=REFERENCE, linestyle="dashed", label="reference"),
            Line2D([], [], color=PREDICTION, label="model"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        return to_picture(figure, alt, kind="png")


def _window(marked: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """What is shown: the marked voxels and some surroundings; everything where nothing is marked."""
    if not marked.any():
        height, width, depth = marked.shape
        return slice(0, height), slice(0, width), slice(0, depth)
    sides = []
    for indices, length, step in zip(np.nonzero(marked), marked.shape, spacing, strict=True):
        margin = int(np.ceil(MARGIN_MM / step))
        sides.append(slice(max(0, int(indices.min()) - margin), min(length, int(indices.max()) + 1 + margin)))
    return sides[0], sides[1], sides[2]


def _centre(masks: NDArray[np.float32], labels: Sequence[int]) -> tuple[int, ...]:
    """Per axis the slice that shows most of the reference, or of the prediction where there is no reference.

    That is the centre of one structure; of two, as of a pair of organs, it cuts through one and not between them.
    """
    for mask in masks:
        marked = np.isin(mask, labels)
        if marked.any():
            across = ((1, 2), (0, 2), (0, 1))
            return tuple(int(np.argmax(np.count_nonzero(marked, axis=axes))) for axes in across)
    return tuple(side // 2 for side in masks.shape[1:])


def _extent(plane: Plane, shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, float]:
    """Width and height of a plane's picture (mm)."""
    across, up = (axis for axis in range(3) if axis != plane.axis)
    return shape[across] * spacing[across], shape[up] * spacing[up]


def _outline(axes: Axes, mask: NDArray[np.bool_], size: tuple[float, float], colour: str, style: str) -> None:
    if not mask.any():
        return
    # A frame of background closes outlines that touch the edge; voxel centres lie half a voxel inside their edges.
    rows, columns = mask.shape
    across = (np.arange(-1, columns + 1) + 0.5) * size[0] / columns
    down = (np.arange(-1, rows + 1) + 0.5) * size[1] / rows
    axes.contour(
        across, down, np.pad(mask, 1).astype(np.float32), levels=[0.5], colors=[colour], linestyles=[style],
        linewidths=1.4,
    )  # fmt: skip


def _finish(axes: Axes, size: tuple[float, float]) -> None:
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_axis_off()


def _orient(axes: Axes, plane: Plane, size: tuple[float, float]) -> None:
    """Title, letters at the edges, and a bar of 10 mm."""
    axes.set_title(plane.name)
    left, right, top, bottom = plane.letters
    places = [(0.02, 0.5, left), (0.98, 0.5, right), (0.5, 0.97, top), (0.5, 0.03, bottom)]
    for x, y, letter in places:
        axes.text(
            x, y, letter, transform=axes.transAxes, color="white", fontweight="bold", fontsize=9,
            ha="left" if x < 0.1 else "right" if x > 0.9 else "center",
            va="top" if y > 0.9 else "bottom" if y < 0.1 else "center",
            bbox={"facecolor": "black", "alpha": 0.45, "pad": 1.2, "linewidth": 0},
        )  # fmt: skip
    bar, start = 10.0, size[0] * 0.04
    axes.plot([start, start + bar], [size[1] * 0.95] * 2, color="white", linewidth=2.5, solid_capstyle="butt")
    axes.text(
        start, size[1] * 0.925, "10 mm", color="white", fontsize=7, va="bottom",
        bbox={"facecolor": "black", "alpha": 0.45, "pad": 1.0, "linewidth": 0},
    )  # fmt: skip
