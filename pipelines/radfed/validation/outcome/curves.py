"""Plots of how answers separate and what they are worth: ROC, precision and recall, calibration, scores, survival."""

from collections.abc import Collection, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from radfed.metrics.calibration import reliability
from radfed.metrics.net_benefit import net_benefit, treat_all
from radfed.metrics.precision import precision_curve
from radfed.metrics.roc import roc_curve
from radfed.metrics.survival import kaplan_meier
from radfed.validation.drawing import COLOURS, FAINT, INK, Picture, canvas, colour_of, styled, to_picture
from radfed.validation.outcome.cohort import Cohort, Question
from radfed.validation.outcome.summary import LEAST_FOR_CALIBRATION, bins_for
from radfed.validation.wording import spoken

Lines = Sequence[tuple[str, Question]]
"""What is drawn as one line each: its name in the legend, and answers."""


def roc(lines: Lines, dots: Collection[str] | None = None) -> Picture | None:
    """ROC curves with the operating points; None where no line has cases of both answers.

    Args:
        lines: one a site, or one a class or finding.
        dots: names of those whose operating point is shown; None shows it of all.
    """
    drawn = [(name, asked, curve) for name, asked in lines if (curve := roc_curve(asked.truth, asked.scores))]
    if not drawn:
        return None
    colours = colour_of(tuple(name for name, _, _ in drawn))
    with styled():
        figure = canvas(4.4, 4.4)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for name, asked, curve in drawn:
            rates = curve.false_positive_rate, curve.sensitivity
            axes.plot(*rates, color=colours[name], linewidth=1.6, label=name)
            if dots is None or name in dots:
                at = float(asked.called[~asked.truth].mean()), float(asked.called[asked.truth].mean())
                axes.plot(*at, "o", color=colours[name], markeredgecolor="white", markersize=8)
        axes.set_xlabel("1 \u2212 specificity")
        axes.set_ylabel("Sensitivity")
        _square(axes)
        figure.legend(loc="outside lower center", ncols=min(3, len(drawn)))
        alt = f"ROC curves of {', '.join(name for name, _, _ in drawn)}."
        return to_picture(figure, alt, "The dot is what the answers reach; the grey line is chance.")


def precision_recall(lines: Lines) -> Picture | None:
    """Precision against recall; None where no line has cases of both answers."""
    drawn = [(name, asked, curve) for name, asked in lines if (curve := precision_curve(asked.truth, asked.scores))]
    if not drawn:
        return None
    colours = colour_of(tuple(name for name, _, _ in drawn))
    with styled():
        figure = canvas(4.4, 4.4)
        axes = figure.add_subplot()
        for name, asked, curve in drawn:
            axes.axhline(asked.truth.mean(), color=colours[name], linewidth=0.9, linestyle=(0, (2, 3)))
            axes.plot(curve.recall, curve.precision, color=colours[name], linewidth=1.6, label=name)
        axes.set_xlabel("Recall (sensitivity)")
        axes.set_ylabel("Precision (positive predictive value)")
        _square(axes)
        figure.legend(loc="outside lower center", ncols=min(3, len(drawn)))
        alt = f"Precision against recall of {', '.join(name for name, _, _ in drawn)}."
        return to_picture(figure, alt, "Dotted: the share of positive cases, which is the precision of chance.")


def calibration(lines: Lines) -> Picture | None:
    """Observed share against mean probability, in bins of equally many cases; None with too few cases."""
    enough = [(name, asked) for name, asked in lines if len(asked.truth) >= LEAST_FOR_CALIBRATION]
    drawn = [
        (name, found)
        for name, asked in enough
        if (found := reliability(asked.truth, asked.scores, bins_for(len(asked.truth))))
    ]
    if not drawn:
        return None
    colours = colour_of(tuple(name for name, _ in drawn))
    with styled():
        figure = canvas(4.4, 4.4)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for name, found in drawn:
            axes.plot(found.predicted, found.observed, "o-", color=colours[name], linewidth=1.4, label=name)
        axes.set_xlabel("Mean probability given")
        axes.set_ylabel("Share of positive cases")
        _square(axes)
        figure.legend(loc="outside lower center", ncols=min(3, len(drawn)))
        alt = f"Calibration of {', '.join(name for name, _ in drawn)}."
        return to_picture(figure, alt, "Each dot is a tenth of the cases, or ten cases; the grey line is ideal.")


def score_histograms(questions: Sequence[Question], thresholds: dict[str, float]) -> Picture:
    """How many cases of each kind get which probability, in tenths."""
    columns = min(3, len(questions))
    rows = -(-len(questions) // columns)
    with styled():
        single = len(questions) == 1
        figure = canvas(4.4, 4.0) if single else canvas(2.5 * columns, 0.5 + 2.1 * rows)
        panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes, asked in zip(panels, questions, strict=False):
            edges = np.linspace(0, 1, 11)
            groups = [asked.scores[~asked.truth], asked.scores[asked.truth]]
            axes.hist(groups, bins=edges, color=[COLOURS[5], COLOURS[1]], label=["no", "yes"], rwidth=0.9)
            if asked.name in thresholds:
                axes.axvline(thresholds[asked.name], color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
            axes.set_title(spoken(asked.name))
            axes.set_xlabel("Probability")
            axes.set_xlim(0, 1)
        for axes in panels[len(questions) :]:
            axes.set_axis_off()
        panels[0].set_ylabel("Cases")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, title="In truth")
        caption = "Dashed: the operating point." if thresholds else ""
        return to_picture(figure, f"Probabilities of {', '.join(q.name for q in questions)}, by truth.", caption)


def survival_by_risk(cohort: Cohort, unit: str) -> Picture | None:
    """Survival of the half with the higher and of that with the lower hazard; None without an event or spread.

    Each step is one patient's event: for reports that stay at the site.
    """
    high = cohort.scores[:, 0] > np.median(cohort.scores[:, 0])
    if not cohort.events.any() or not high.any():
        return None
    with styled():
        figure = canvas(7.4, 3.1)
        axes = figure.add_subplot()
        for name, chosen, colour in (("lower hazard", ~high, COLOURS[0]), ("higher hazard", high, COLOURS[1])):
            curve = kaplan_meier(cohort.times[chosen], cohort.events[chosen])
            end = float(cohort.times[chosen].max())
            times: NDArray[np.float64] = np.r_[curve.times, max(end, float(curve.times[-1]))]
            axes.step(times, np.r_[curve.surviving, curve.surviving[-1]], where="post", color=colour, label=name)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"Time ({unit})")
        axes.set_ylabel("Share without the event")
        axes.grid()
        figure.legend(loc="outside lower center", ncols=2)
        caption = "Kaplan and Meier 1958; the cases were parted at their median hazard."
        return to_picture(figure, "Survival of cases with lower and with higher hazard.", caption)


def decision(questions: Sequence[Question]) -> Picture | None:
    """Decision curves, a panel a question: net benefit of the model, of acting on all, and on none."""
    if not questions:
        return None
    columns = min(3, len(questions))
    rows = -(-len(questions) // columns)
    limits = np.arange(1, 100) / 100
    with styled():
        figure = canvas(7.4, 3.4) if len(questions) == 1 else canvas(2.5 * columns, 0.6 + 2.3 * rows)
        panels = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes, asked in zip(panels, questions, strict=False):
            share = float(asked.truth.mean())
            axes.plot(limits, treat_all(asked.truth, limits), color=COLOURS[1], linewidth=1.2, label="act on all")
            axes.axhline(0, color=INK, linewidth=1.2, label="act on none")
            worth = net_benefit(asked.truth, asked.scores, limits)
            axes.plot(limits, worth, color=COLOURS[0], linewidth=1.8, label="model")
            axes.set_ylim(-0.15 * share, 1.08 * share)
            axes.set_xlim(0, 1)
            axes.set_title(spoken(asked.name))
            axes.set_xlabel("Probability from which on is acted")
            axes.grid()
        for axes in panels[len(questions) :]:
            axes.set_axis_off()
        panels[0].set_ylabel("Net benefit per case")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        alt = f"Decision curves of {', '.join(asked.name for asked in questions)}: net benefit by threshold."
        return to_picture(figure, alt, "Asking the model is worth it where its line is above both others.")


def _square(axes: Axes) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.grid()
