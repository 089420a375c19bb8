"""The report's plots of the training: how the model learned, and where time went."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from radfed.task import Measure
from radfed.validation.drawing import INK, Picture, canvas, colour_of, styled, to_picture
from radfed.validation.history import Curve, History


def learning_curves(history: History, measure: Measure) -> Picture | None:
    """A validation metric of each round's global model, and training loss, by site; None where nothing was measured."""
    has_metric = bool(history.metric) or any(site.metric for site in history.sites)
    has_loss = any(site.loss for site in history.sites)
    if not has_metric and not has_loss:
        return None
    colours = colour_of(tuple(site.site for site in history.sites))
    with styled():
        figure = canvas(7.4, 2.9)
        panels = figure.subplots(1, 2) if has_metric and has_loss else [figure.add_subplot()]
        for site in history.sites:
            if has_metric:
                _line(panels[0], site.metric, colours[site.site], site.site)
            if has_loss:
                _line(panels[-1], site.loss, colours[site.site], site.site if not has_metric else "")
        if has_metric:
            # Two lines: beside the loss, one does not hold every measure's name.
            panels[0].set_title(f"Global model on validation cases:\n{measure.words}")
            panels[0].set_ylim(0, 1)
            if history.metric:
                panels[0].plot(*zip(*history.metric, strict=True), color=INK, linewidth=2.2, label="all sites")
            if history.best_round is not None:
                panels[0].axvline(history.best_round, color=INK, linewidth=0.9, linestyle=(0, (2, 3)))
        if has_loss:
            panels[-1].set_title("Each site's own model:\ntraining loss")
        for axes in panels:
            axes.set_xlabel("Round")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid()
        figure.legend(loc="outside lower center", ncols=5)
        alt = f"Learning curves over {history.rounds} rounds at {', '.join(site.site for site in history.sites)}."
        best = (
            ""
            if history.best_round is None
            else f" The dotted line marks the released model, round {history.best_round}."
        )
        scored = f"scored by {measure.words} on each site's validation cases"
        return to_picture(figure, alt, f"Each round ends in one global model, {scored}.{best}")


def time_by_site(history: History) -> Picture | None:
    """Minutes each site spent training, evaluating, and waiting or sending; None where no time was recorded."""
    parts = {
        "training": [site.train_seconds / 60 for site in history.sites],
        "evaluation": [site.evaluation_seconds / 60 for site in history.sites],
        "sending, receiving, starting": [site.other_seconds / 60 for site in history.sites],
    }
    if not any(sum(values) for values in parts.values()):
        return None
    names = [site.site for site in history.sites]
    colours = colour_of(tuple(parts))
    with styled():
        figure = canvas(7.4, 1.1 + 0.32 * len(names))
        axes = figure.add_subplot()
        left = np.zeros(len(names))
        for part, values in parts.items():
            axes.barh(names, values, 0.6, left=left, color=colours[part], label=part)
            left += np.array(values)
        axes.invert_yaxis()
        axes.set_xlabel("Minutes over all rounds")
        axes.grid(axis="x")
        figure.legend(loc="outside lower center", ncols=3)
        return to_picture(figure, f"Where time went at {', '.join(names)}.")


def _line(axes: Axes, curve: Curve, colour: str, name: str) -> None:
    if curve:
        axes.plot(*zip(*curve, strict=True), "o-", color=colour, linewidth=1.3, markersize=3, label=name or None)
