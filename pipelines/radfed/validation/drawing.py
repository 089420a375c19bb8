"""How the report's pictures look, and how they get into one file: no display, no font and no address from outside."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito 2008: told apart with every kind of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
INK, FAINT = "#1b2733", "#c9d1d8"


@dataclass(frozen=True)
class Picture:
    """A picture that stands inside the page.

    Attributes:
        uri: ``data:`` address with the whole picture.
        alt: what it shows, for those who cannot see it.
        caption: how to read it.
    """

    uri: str
    alt: str
    caption: str = ""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the report's style."""
    with matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#8795a1",
            "axes.linewidth": 0.8,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": "#e3e8ec",
            "grid.linewidth": 0.8,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "svg.hashsalt": "radfed",  # equal figures give equal bytes
        }
    ):
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_picture(figure: Figure, alt: str, caption: str = "", kind: Literal["svg", "png"] = "svg") -> Picture:
    """Turn a figure into a picture: ``svg`` for plots, ``png`` for scans."""
    stream = io.BytesIO()
    if kind == "svg":
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return Picture(f"data:{mime};base64,{base64.b64encode(stream.getvalue()).decode()}", alt, caption)


def colour_of(names: tuple[str, ...]) -> dict[str, str]:
    """One colour a name, in order; after the last it starts again."""
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}


def legend_right(axes: Axes) -> None:
    """A legend beside the axes, where it covers no data."""
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.4)
