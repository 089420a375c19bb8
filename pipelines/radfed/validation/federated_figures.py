"""Figures that follow from sums: means by site, and predicted beside observed."""

from collections.abc import Sequence

from radfed.metrics.answer_pool import AnswerGroup
from radfed.metrics.mask_sums import MaskGroup
from radfed.validation.drawing import FAINT, Picture, canvas, colour_of, legend_right, styled, to_picture
from radfed.validation.wording import spoken


def means(groups: Sequence[tuple[str, MaskGroup]]) -> Picture:
    """Mean Dice with its interval, per site and label; the last group is that of all sites."""
    labels = tuple(groups[-1][1].labels)
    colours = colour_of(labels)
    with styled():
        figure = canvas(7.4, 0.9 + 0.42 * len(groups))
        axes = figure.add_subplot()
        lowest = 0.5
        for index, label in enumerate(labels):
            shift = (index - (len(labels) - 1) / 2) * min(0.22, 0.7 / len(labels))
            for height, (_, group) in enumerate(reversed(groups)):
                found = group.labels[label].dice
                if found is None:
                    continue
                low = found.mean if found.low is None else found.low
                high = found.mean if found.high is None else found.high
                lowest = min(lowest, low)
                axes.plot([low, high], [height - shift] * 2, color=colours[label], linewidth=2, alpha=0.6)
                axes.plot(found.mean, height - shift, "o", color=colours[label], markersize=5.5)
            axes.plot([], [], "o-", color=colours[label], label=spoken(label))
        axes.set_yticks(range(len(groups)), [name for name, _ in reversed(groups)])
        axes.set_ylim(-0.6, len(groups) - 0.4)
        axes.set_xlim(lowest - 0.02, 1.0)
        axes.set_xlabel("Mean Dice with 95% interval (1 is identical, 0 is no overlap)")
        axes.grid(axis="x")
        legend_right(axes)
        return to_picture(figure, f"Mean Dice with intervals at {', '.join(name for name, _ in groups)}, by structure.")


def calibration(group: AnswerGroup) -> Picture | None:
    """Observed share against mean probability in bins that cut no site's bin; None where there are none."""
    shown = {name: scores.calibration_bins for name, scores in group.questions.items() if scores.calibration_bins}
    if not shown:
        return None
    colours = colour_of(tuple(shown))
    with styled():
        figure = canvas(4.6, 4.2)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for name, bins in shown.items():
            predicted, observed = [one.predicted for one in bins], [one.observed for one in bins]
            axes.plot(predicted, observed, "o-", color=colours[name], markersize=4, label=spoken(name))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("Mean probability")
        axes.set_ylabel("Share that had it")
        axes.grid()
        if len(shown) > 1:
            figure.legend(loc="outside lower center", ncols=3)
        return to_picture(
            figure, f"Predicted and observed shares for {', '.join(map(spoken, shown))}, all sites together.",
            "On the line, probabilities mean what they say. Each dot is a range of probability, of 3 patients or more.",
        )  # fmt: skip
