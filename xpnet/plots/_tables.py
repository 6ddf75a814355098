"""Pictures of models of tables: which columns they use, and how."""

from __future__ import annotations

from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet._checks import count, truncate
from xpnet.errors import ArgumentError
from xpnet.plots._models import first_network, open_model
from xpnet.plots._style import LIGHT, figure_of, make_axes

MOST_LETTERS = 40  # in the name of a column


def importances(net: Any, n: int = 20, *, ax: Axes | None = None) -> Figure:
    """Draw the importances of the columns of a table, the most important one first.

    Parameters
    ----------
    net
        A fitted `TableClassifier` or `TableRegressor`, or its ensemble, which may come from a file.
    n
        Draw at most this many columns.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a bar for each column, and an error bar of one standard deviation over the members.

    Raises
    ------
    ArgumentError
        If `net` has no importances, as a network that was not trained on a table, or without rows left out.

    Examples
    --------
    >>> net = Network([2, 1])
    >>> net.notes = {"importances": {"mass": [0.25, 0.05], "age": [0.75, 0.125]}}
    >>> [round(bar.get_width(), 2) for bar in importances(net).axes[0].patches]
    [0.75, 0.25]
    """
    n, notes = count("n", n, 1), first_network(open_model(net)).notes
    if not notes.get("importances"):
        raise ArgumentError(
            "importances draws those of a TableClassifier or TableRegressor, and net has none; fit one whose members "
            "leave out rows"
        )
    ranked = sorted(notes["importances"].items(), key=lambda item: -item[1][0])
    names = [truncate(name, MOST_LETTERS) for name, _ in ranked[:n]]
    means, stds = zip(*(pair for _, pair in ranked[:n]))
    ax = make_axes(ax, (5.5, 1 + 0.25 * len(names)))
    ax.barh(range(len(names)), means, xerr=stds, color=LIGHT, ecolor=rcParams["text.color"], capsize=2)
    ax.set(xlabel="importance", xlim=(0, None), yticks=range(len(names)), yticklabels=names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    return figure_of(ax)
