"""The most confident errors in pictures, and a sample drawn by lot.

They hold patient pixels and stay where the patients are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radfed.dataset.layout import Dataset
from radfed.imaging.nifti import to_ras
from radfed.imaging.volume import Volume
from radfed.task import OutcomeTask
from radfed.validation.drawing import Picture, canvas, styled, to_picture
from radfed.validation.outcome.errors import Verdict, confident_errors, verdicts_of
from radfed.validation.outcome.results import OutcomeEvaluation
from radfed.validation.pictures import AXIAL, PLANES, Choice, Plane, draw_lots

MOST_PICTURES = 6


@dataclass(frozen=True)
class AnswerPicture:
    """An answer, the image that it was given for, and whether it is shown as a failure or by lot."""

    verdict: Verdict
    choice: Choice
    picture: Picture


@dataclass(frozen=True)
class View:
    """What is seen from one side.

    Attributes:
        name: for people; empty of a plane.
        pixels: rows from top to bottom, columns from left to right.
        aspect: height of a pixel over its width.
    """

    name: str
    pixels: NDArray[np.float32]
    aspect: float


def picture_answers(
    evaluation: OutcomeEvaluation, datasets: Sequence[Dataset], task: OutcomeTask
) -> tuple[AnswerPicture, ...]:
    """Draw the images of the most confident errors, then of a random sample; none for tasks without images.

    Raises:
        DataError: an image cannot be read.
    """
    if task.image is None:
        return ()
    by_site = {dataset.site: dataset for dataset in datasets}
    chosen: list[tuple[Choice, Verdict]] = [("failure", one) for one in confident_errors(evaluation, MOST_PICTURES)]
    chosen += [("random", one) for one in sampled_verdicts(evaluation, MOST_PICTURES)]
    shown = []
    for choice, verdict in chosen:
        dataset = by_site[verdict.case.site]
        case = next(case for case in dataset.cases if case.id == verdict.case.case)
        alt = f"{case.id} of {dataset.site}: the model said {verdict.answer}, it is {verdict.truth}."
        shown.append(AnswerPicture(verdict, choice, draw_image(dataset.image(case), alt)))
    return tuple(shown)


def sampled_verdicts(evaluation: OutcomeEvaluation, most: int) -> list[Verdict]:
    """The verdicts on a random sample of cases; of findings the one that is farthest from the truth."""
    of_case: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts_of(evaluation):
        of_case.setdefault((verdict.case.site, verdict.case.case), verdict)
    ordered = sorted(of_case)
    return [of_case[ordered[place]] for place in draw_lots(len(ordered), most)]


def draw_image(image: Volume, alt: str) -> Picture:
    """Draw a plane as it is, or three planes through the middle of a volume ``(C, H, W, D)``, first channel."""
    views = views_of(image)
    low, high = np.percentile(np.concatenate([view.pixels.ravel() for view in views]), [0.5, 99.5])
    with styled():
        figure = canvas(2.9 * len(views) if len(views) > 1 else 3.4, 3.0)
        for axes, view in zip(np.atleast_1d(figure.subplots(1, len(views))), views, strict=True):
            axes.imshow(
                view.pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest",
                aspect=view.aspect,
            )  # fmt: skip
            axes.set_axis_off()
            axes.set_title(view.name)
        return to_picture(figure, alt, kind="png")


def views_of(image: Volume) -> list[View]:
    """A plane as it is, or the middle of a volume from three sides, as radiologists look at it."""
    volume = to_ras(image)
    array = volume.array[0].astype(np.float32)
    planes: Sequence[Plane] = (AXIAL,) if array.shape[2] == 1 else PLANES
    views = []
    for plane in planes:
        across, up = (axis for axis in range(3) if axis != plane.axis)
        pixels = plane.cut(array, array.shape[plane.axis] // 2).astype(np.float32)
        aspect = volume.spacing[up] / volume.spacing[across]
        views.append(View(plane.name if len(planes) > 1 else "", pixels, float(aspect)))
    return views
