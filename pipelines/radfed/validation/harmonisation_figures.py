"""The pictures of the harmonisation report: who is far in what, intensities laid over each other, shares as bars."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from radfed.dataset.fingerprint_content import Fingerprint, Measure
from radfed.dataset.fingerprint_features import SCANNER
from radfed.validation.drawing import INK, Picture, canvas, colour_of, styled, to_picture
from radfed.validation.harmonisation import Distance
from radfed.validation.wording import spoken

_CURVE_BINS = 128
_MOST_COLUMNS = 14


def overview(found: Sequence[Distance], sites: Sequence[str]) -> Picture | None:
    """Distances as a table of shades, the farthest site on top, what differs most at the left."""
    about = list(dict.fromkeys(distance.about for distance in found if distance.about != SCANNER))[:_MOST_COLUMNS]
    if not about:
        return None
    table = np.full((len(sites), len(about)), np.nan)
    for distance in found:
        if distance.about in about:
            table[sites.index(distance.site), about.index(distance.about)] = distance.excess
    with styled():
        figure = canvas(7.4, 1.7 + 0.42 * len(sites))
        axes = figure.add_subplot()
        shades = axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                colour = "white" if value > 0.6 else INK
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(about)), [title(name) for name in about], rotation=35, ha="right")
        axes.set_yticks(range(len(sites)), list(sites))
        figure.colorbar(shades, ax=axes, label="distance beyond chance")
        alt = f"Distance of {', '.join(sites)} from all other sites, by {', '.join(title(name) for name in about)}."
        return to_picture(figure, alt, "0: the same distribution as all other sites together; 1: nothing in common.")


def histograms(fingerprint: Fingerprint, about: str, unit: str = "") -> Picture | None:
    """The histogram of every site over each other, as shares; the pool as a dark line."""
    told = {site: own.values[about] for site, own in fingerprint.sites.items() if about in own.values}
    pooled = fingerprint.pooled.values.get(about)
    if not told or pooled is None or pooled.histogram is None:
        return None
    colours = colour_of(tuple(fingerprint.sites))
    with styled():
        figure = canvas(4.4, 2.9)
        axes = figure.add_subplot()
        for site, measure in told.items():
            _curve(axes, measure, colours[site], site)
        _curve(axes, pooled, INK, "all sites", 2.0)
        low, high = pooled.percentile(0.1), pooled.percentile(99.9)
        margin = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        axes.set_xlim(low - margin, high + margin)
        if pooled.histogram.bins.geometric and low > 0 and high / low > 20:
            axes.set_xscale("log")
            axes.set_xlim(low / 1.1, high * 1.1)
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        axes.set_title(title(about))
        axes.set_xlabel(unit or "value")
        axes.set_ylabel("share")
        figure.legend(loc="outside lower center", ncols=min(4, len(told) + 1))
        return to_picture(figure, f"Histograms of {title(about)} at {', '.join(told)}.")


def shares(fingerprint: Fingerprint, group: str) -> Picture | None:
    """Shares of the categories at every site, as bars of the same length."""
    told = {site: own.share(group) for site, own in fingerprint.sites.items() if own.share(group)}
    if not told:
        return None
    cells = tuple(dict.fromkeys(cell for share in told.values() for cell in share))
    colours = colour_of(cells)
    with styled():
        figure = canvas(4.4, 1.4 + 0.34 * len(told))
        axes = figure.add_subplot()
        left = np.zeros(len(told))
        for cell in cells:
            widths = np.array([share.get(cell, 0.0) for share in told.values()])
            axes.barh(list(told), widths, 0.6, left=left, color=colours[cell], label=spoken(cell))
            left += widths
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the cases told")
        axes.set_title(title(group))
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
        return to_picture(figure, f"Shares of {title(group)} at {', '.join(told)}.")


def title(name: str) -> str:
    """A feature's name in words."""
    kind, _, of = name.partition(".")
    return f"{spoken(kind)}: {spoken(of)}" if of else spoken(kind)


def _curve(axes: Axes, measure: Measure, colour: str, label: str, width: float = 1.3) -> None:
    """Density over bins as wide as a picture can show."""
    if measure.histogram is None:
        return
    bins, counts = measure.histogram.bins, np.array(measure.histogram.counts, np.float64)
    factor = max(1, bins.number // _CURVE_BINS)
    starts = np.arange(0, bins.number, factor)
    merged = np.add.reduceat(counts, starts)
    edges = np.append(bins.edges[starts], bins.edges[-1])
    density = merged / merged.sum() / np.diff(edges)
    axes.stairs(density, edges, color=colour, linewidth=width, label=label)
