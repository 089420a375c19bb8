"""Plots of scores by site and by model."""

from collections.abc import Mapping, Sequence

from radfed.validation.drawing import FAINT, INK, Picture, canvas, colour_of, legend_right, styled, to_picture
from radfed.validation.outcome.comparison import OutcomeRow
from radfed.validation.outcome.estimates import Estimate
from radfed.validation.outcome.summary import OutcomeGroup, OutcomeSummary
from radfed.validation.wording import spoken

MEAN = "mean"


def areas_of(group: OutcomeGroup) -> dict[str, Estimate]:
    """What is drawn of a group: the area of each question, or the concordance."""
    if group.survival is not None:
        found = {"concordance": group.survival.concordance}
    else:
        found = {name: scores.auroc for name, scores in group.questions.items()}
        if len(found) > 1:
            found[MEAN] = group.auroc
    return {name: value for name, value in found.items() if value is not None}


def areas_by_site(summary: OutcomeSummary) -> Picture | None:
    """AUROC or concordance with intervals, per site and question; None where there is none."""
    groups: dict[str, OutcomeGroup] = dict(summary.sites)
    if len(groups) != 1:
        groups["all sites"] = summary.pooled
    areas = {name: areas_of(group) for name, group in groups.items()}
    lines = tuple(dict.fromkeys(line for found in areas.values() for line in found))
    if not lines:
        return None
    colours = colour_of(lines)
    with styled():
        figure = canvas(7.4, 1.0 + (0.3 + 0.12 * len(lines)) * len(groups))
        axes = figure.add_subplot()
        axes.axvline(0.5, color=FAINT, linewidth=1.2)
        for index, line in enumerate(lines):
            shift = (index - (len(lines) - 1) / 2) * min(0.22, 0.7 / len(lines))
            for height, name in enumerate(reversed(groups)):
                found = areas[name].get(line)
                if found is None:
                    continue
                low, high = _bounds(found)
                axes.plot([low, high], [height - shift] * 2, color=colours[line], linewidth=2, alpha=0.6)
                axes.plot(found.value, height - shift, "o", color=colours[line], markersize=5.5)
            axes.plot([], [], "o-", color=colours[line], label=spoken(line))
        axes.set_yticks(range(len(groups)), list(reversed(groups)))
        axes.set_ylim(-0.6, len(groups) - 0.4)
        axes.set_xlim(min(0.45, axes.get_xlim()[0]), 1.005)
        axes.set_xlabel(f"{_name(summary)} with 95% interval (1 is faultless, 0.5 is chance)")
        axes.grid(axis="x")
        legend_right(axes)
        return to_picture(figure, f"{_name(summary)} with intervals at {', '.join(groups)}.")


def models_beside(rows: Sequence[OutcomeRow]) -> Picture | None:
    """AUROC or concordance of each model on each site's cases, with intervals; None where nothing is to compare."""
    chosen = [row for row in rows if row.metric in ("auroc", "concordance")]
    models = tuple(dict.fromkeys(row.model for row in chosen))
    if len(models) < 2:
        return None
    places = sorted({row.site for row in chosen if row.site is not None})
    columns: list[str | None] = [*places, None] if len(places) != 1 else list(places)
    scores: Mapping[tuple[str, str | None], Estimate] = {(row.model, row.site): row.score for row in chosen}
    colours = colour_of(models)
    with styled():
        figure = canvas(7.4, 3.1)
        axes = figure.add_subplot()
        axes.axhline(0.5, color=FAINT, linewidth=1.2)
        for index, model in enumerate(models):
            shift = (index - (len(models) - 1) / 2) * 0.7 / len(models)
            for column, place in enumerate(columns):
                found = scores.get((model, place))
                if found is None:
                    continue
                axes.plot([column + shift] * 2, _bounds(found), color=colours[model], linewidth=2, alpha=0.6)
                axes.plot(column + shift, found.value, "s" if index == 0 else "o", color=colours[model], markersize=6)
            axes.plot([], [], "s-" if index == 0 else "o-", color=colours[model], label=model)
        axes.set_xticks(range(len(columns)), [place or "all sites" for place in columns])
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(min(0.45, axes.get_ylim()[0]), 1.005)
        axes.set_ylabel("AUROC" if chosen[0].metric == "auroc" else "Concordance")
        axes.grid(axis="y")
        axes.tick_params(colors=INK)
        legend_right(axes)
        return to_picture(figure, f"{', '.join(models)} on the cases of each site.", "Lines: 95% interval.")


def _name(summary: OutcomeSummary) -> str:
    return "Concordance" if summary.kind == "survival" else "AUROC"


def _bounds(found: Estimate) -> tuple[float, float]:
    """The interval, or the value twice where there is none."""
    low = found.value if found.low is None else min(found.low, found.value)
    high = found.value if found.high is None else max(found.high, found.value)
    return low, high
