"""How all pictures look, and the axes that they are drawn on."""

import io
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from xpnet.errors import ArgumentError

# Colors that color-blind readers tell apart (M. Okabe and K. Ito, 2008); dashes and markers do so without colors
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_MARKERS = 12  # on a curve
MAP = "cividis"  # as light in equal steps, for all kinds of color vision
DARK, LIGHT = COLORS[0], "#9ecae1"  # blue
INK = "black"


class Picture(Figure):
    """A figure that a notebook shows even if pyplot has not been imported."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()


def curve_style(k: int, points: int) -> dict[str, Any]:
    """Choose the look of curve k, counted from 0, by the number of its points."""
    return {
        "color": COLORS[k % len(COLORS)],
        "linestyle": DASHES[k % len(DASHES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 4,
        "markevery": max(1, math.ceil(points / MOST_MARKERS)),
    }


def make_axes(ax: Axes | None, size: tuple[float, float] = (5.5, 3.4)) -> tuple[Any, Axes]:
    """Return the figure of the axes, and the axes; or a new figure and its axes."""
    if ax is None:
        figure = Picture(figsize=size, layout="constrained")
        return figure, figure.subplots()
    return ax.figure, ax


def make_panel(ax: Axes | None, size: tuple[float, float]) -> tuple[Any, Figure | SubFigure]:
    """Return the figure of the axes, and a subfigure in their place; or a new figure, twice."""
    if ax is None:
        figure = Picture(figsize=size, layout="constrained")
        return figure, figure
    place, figure = ax.get_subplotspec(), ax.figure
    if place is None:
        raise ArgumentError("ax has no place in a grid; give axes that subplots() made, as in figure.subplots(1, 2)[0]")
    ax.remove()
    return figure, figure.add_subfigure(place)


def hide_ticks(ax: Axes) -> None:
    """Remove the ticks of an image."""
    ax.set(xticks=[], yticks=[])
