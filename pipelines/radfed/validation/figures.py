"""The report's plots: Dice by site, volumes, models side by side."""

from collections.abc import Sequence

import numpy as np

from radfed.validation.comparison import ComparisonRow
from radfed.validation.drawing import FAINT, INK, Picture, canvas, colour_of, legend_right, styled, to_picture
from radfed.validation.results import Evaluation
from radfed.validation.summary import Statistic, Summary, label_value
from radfed.validation.volumes import Agreement, volume_pairs
from radfed.validation.wording import spoken

LEAST_FOR_BOX = 5


def dice_by_case(evaluation: Evaluation) -> Picture:
    """Every case's Dice as a dot, with a box of quartiles, per site and label. For reports that stay at the site."""
    labels = tuple(dict.fromkeys(result.label for case in evaluation.cases for result in case.labels))
    colours, sites = colour_of(labels), evaluation.sites
    rows = [(site, label) for site in reversed(sites) for label in reversed(labels)]
    with styled():
        figure = canvas(7.4, 0.9 + 0.34 * len(rows))
        axes = figure.add_subplot()
        spread = np.random.default_rng(0)
        for height, (site, label) in enumerate(rows):
            scored = [label_value(r, "dice") for case in evaluation.at(site) for r in case.labels if r.label == label]
            values = [value for value in scored if value is not None]
            if not values:
                continue
            quartiles = {"facecolor": "white", "edgecolor": colours[label]}
            line = {"color": colours[label]}
            if len(values) >= LEAST_FOR_BOX:
                axes.boxplot(
                    [values], positions=[height], widths=0.6, orientation="horizontal", showfliers=False,
                    patch_artist=True, boxprops=quartiles, whiskerprops=line, capprops=line, medianprops={"color": INK},
                )  # fmt: skip
            axes.scatter(
                values, height + spread.uniform(-0.18, 0.18, len(values)), s=13, color=colours[label], alpha=0.75,
                linewidths=0, zorder=3,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [f"{site}  {spoken(label)}" for site, label in rows])
        axes.set_xlabel("Dice (1 is identical, 0 is no overlap)")
        axes.set_xlim(min(0.5, axes.get_xlim()[0]), 1.0)
        axes.grid(axis="x")
        caption = "Each dot is one case; with five or more, the box holds the middle half, the dark line is the median."
        return to_picture(figure, f"Dice of every test case at {', '.join(sites)}, by structure.", caption)


def dice_by_site(summary: Summary) -> Picture:
    """Mean Dice with its interval, per site and label: nothing of a single case."""
    names = [*summary.sites, "all sites"] if len(summary.sites) > 1 else list(summary.sites)
    groups = {**summary.sites, "all sites": summary.pooled}
    labels = tuple(summary.pooled.labels)
    colours = colour_of(labels)
    with styled():
        figure = canvas(7.4, 0.9 + 0.42 * len(names))
        axes = figure.add_subplot()
        lowest = 0.5
        for index, label in enumerate(labels):
            shift = (index - (len(labels) - 1) / 2) * min(0.22, 0.7 / len(labels))
            for height, name in enumerate(reversed(names)):
                scores = groups[name].labels.get(label)
                found = scores.dice if scores else None
                if found is None:
                    continue
                low, high = _bounds(found)
                lowest = min(lowest, low)
                axes.plot([low, high], [height - shift] * 2, color=colours[label], linewidth=2, alpha=0.6)
                axes.plot(found.mean, height - shift, "o", color=colours[label], markersize=5.5)
            axes.plot([], [], "o-", color=colours[label], label=spoken(label))
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(lowest - 0.02, 1.0)
        axes.set_xlabel("Mean Dice with 95% interval (1 is identical, 0 is no overlap)")
        axes.grid(axis="x")
        legend_right(axes)
        return to_picture(figure, f"Mean Dice with intervals at {', '.join(names)}, by structure.")


def bland_altman(evaluation: Evaluation, label: str, found: Agreement) -> Picture:
    """Difference of volumes against their mean (Bland and Altman 1986).

    Args:
        evaluation: scores of one model.
        label: a structure that some case has a volume of.
        found: its agreement.
    """
    cases, reference, prediction = volume_pairs(evaluation, label)
    colours = colour_of(evaluation.sites)
    middle = (np.array(reference) + np.array(prediction)) / 2
    difference = np.array(prediction) - np.array(reference)
    with styled():
        figure = canvas(4.4, 3.1)
        axes = figure.add_subplot()
        for site in evaluation.sites:
            chosen = [index for index, case in enumerate(cases) if case.site == site]
            axes.scatter(middle[chosen], difference[chosen], s=16, color=colours[site], linewidths=0, label=site)
        axes.axhline(0, color=FAINT, linewidth=1)
        axes.axhline(found.bias_ml, color=INK, linewidth=1.2)
        limits = ((found.low_ml, found.low_interval_ml), (found.high_ml, found.high_interval_ml))
        for limit, interval in limits:
            if limit is not None:
                axes.axhline(limit, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            if interval is not None:
                axes.axhspan(*interval, color=FAINT, alpha=0.45, linewidth=0, zorder=0)
        axes.set_title(spoken(label))
        axes.set_xlabel("Mean of both volumes (ml)")
        axes.set_ylabel("Model minus reference (ml)")
        axes.grid()
        if len(evaluation.sites) > 1:
            figure.legend(loc="outside lower center", ncols=min(4, len(evaluation.sites)), handletextpad=0.1)
        alt = f"Volume of {spoken(label)}: difference of model and reference against their mean, {found.cases} cases."
        return to_picture(
            figure, alt, "Solid line: mean difference. Dashed: 95% limits of agreement, in their 95% intervals."
        )


def models_side_by_side(rows: Sequence[ComparisonRow]) -> Picture | None:
    """Mean Dice of each model on each site's cases, with intervals; None where there is nothing to compare."""
    dice = [row for row in rows if row.metric == "dice"]
    models = tuple(dict.fromkeys(row.model for row in dice))
    if len(models) < 2:
        return None
    places = sorted({row.site for row in dice if row.site is not None})
    columns: list[str | None] = [*places, None] if len(places) > 1 else list(places) or [None]
    colours = colour_of(models)
    width = 0.8 / len(models)
    with styled():
        figure = canvas(7.4, 3.1)
        axes = figure.add_subplot()
        for index, model in enumerate(models):
            for column, place in enumerate(columns):
                found = next((row.score for row in dice if row.model == model and row.site == place), None)
                if found is None:
                    continue
                low, high = _bounds(found)
                at = column + (index - (len(models) - 1) / 2) * width
                axes.bar(at, found.mean, width * 0.9, color=colours[model], alpha=1.0 if index == 0 else 0.72)
                axes.errorbar(at, found.mean, [[found.mean - low], [high - found.mean]], color=INK, linewidth=1)
            axes.bar([0], [0], color=colours[model], alpha=1.0 if index == 0 else 0.72, label=model)
        axes.set_xticks(range(len(columns)), [place or "all sites" for place in columns])
        axes.set_ylim(0, 1)
        axes.set_ylabel("Mean Dice")
        axes.grid(axis="y")
        legend_right(axes)
        alt = (
            f"Mean Dice of {', '.join(models)} on the cases of {', '.join(place or 'all sites' for place in columns)}."
        )
        return to_picture(figure, alt, "Bars: mean over cases and structures. Lines: 95% interval.")


def _bounds(found: Statistic) -> tuple[float, float]:
    """The interval, or the mean twice where there is none."""
    low = found.mean if found.low is None else min(found.low, found.mean)
    high = found.mean if found.high is None else max(found.high, found.mean)
    return low, high
