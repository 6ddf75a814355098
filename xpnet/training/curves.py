"""Curves over the epochs, drawn on matplotlib's axes: by `History.plot`, and by `xpnet.plots`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

# Colours that colour-blind readers tell apart (M. Okabe and K. Ito, 2008); dashes and markers do so without colours
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_MARKERS = 12  # on a curve


def curve_style(k: int, points: int) -> dict[str, Any]:
    """Choose the look of curve k, counted from 0, which has so many points."""
    return {
        "color": COLORS[k % len(COLORS)],
        "linestyle": DASHES[k % len(DASHES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 4,
        "markevery": max(1, math.ceil(points / MOST_MARKERS)),
    }


def draw_curves(ax: Any, curves: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]) -> None:
    """Draw curves over the epochs on axes, with a legend. Where a value is None, the curve has a gap.

    Parameters
    ----------
    ax
        Axes of matplotlib.
    curves
        The name of each curve, its epochs and its values.
    """
    from matplotlib.ticker import MaxNLocator

    for k, (name, (epochs, values)) in enumerate(curves.items()):
        values = [math.nan if value is None else value for value in values]
        ax.plot(epochs, values, label=name, **curve_style(k, len(values)))
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend()
