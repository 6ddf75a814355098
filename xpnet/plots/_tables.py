"""Pictures of models of tables: which columns they use, and how."""

from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet._checks import count, truncate
from xpnet.errors import ArgumentError
from xpnet.plots._models import open_model
from xpnet.plots._style import COLORS, DASHES, LIGHT, MARKERS, make_axes

MOST_LETTERS = 40  # in the name of a column; half as many in a value
FEW_TEXTS = 8  # whose slanted labels do not overlap


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
    >>> from xpnet import Network
    >>> net = Network([2, 1])
    >>> net.notes = {"importances": {"mass": [0.25, 0.05], "age": [0.75, 0.125]}}
    >>> [float(bar.get_width()) for bar in importances(net).axes[0].patches]
    [0.75, 0.25]
    """
    n, notes = count("n", n, 1), open_model(net).values[0].notes
    if not notes.get("importances"):
        raise ArgumentError(
            "importances draws those of a TableClassifier or TableRegressor, and net has none; fit one whose members "
            "leave out rows"
        )
    ranked = sorted(notes["importances"].items(), key=lambda item: -item[1][0])
    names = [truncate(name, MOST_LETTERS) for name, _ in ranked[:n]]
    means, stds = zip(*(pair for _, pair in ranked[:n]))
    figure, ax = make_axes(ax, (5.5, 1 + 0.25 * len(names)))
    ax.barh(range(len(names)), means, xerr=stds, color=LIGHT, ecolor=rcParams["text.color"], capsize=2)
    ax.set(xlabel="importance", xlim=(0, None), yticks=range(len(names)), yticklabels=names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    return figure


def partial_dependence(model: Any, X: Any, column: Any, *, points: int = 40, ax: Axes | None = None) -> Figure:
    """Draw the mean prediction as a function of one column of a table, and its spread over the members.

    Parameters
    ----------
    model
        A fitted `TableClassifier` or `TableRegressor`.
    X, column, points
        As in their method `partial_dependence`, which computes the numbers.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a curve, or a point for each text, and a band or bars of one standard deviation; for more than two classes
        with one for each, for two with the probability of the second.

    Raises
    ------
    ArgumentError
        If `model` is none of these, or if X or the column does not fit.

    Examples
    --------
    >>> from xpnet.estimators import TableRegressor
    >>> X = np.arange(40.0).reshape(20, 2)
    >>> model = TableRegressor(2, hidden_layer_sizes=4, max_epochs=1, random_state=0).fit(X, X[:, 1])
    >>> partial_dependence(model, X, 1, points=5).axes[0].lines[0].get_xdata().tolist()
    [1.0, 11.0, 21.0, 29.0, 39.0]
    """
    if not hasattr(model, "partial_dependence"):
        raise ArgumentError(
            f"model is of type {type(model).__name__}; give a fitted TableClassifier or TableRegressor, whose columns "
            "partial_dependence draws"
        )
    values, *results = model.partial_dependence(X, column, points=points)
    means, stds = (np.atleast_2d(part.T) for part in results)
    classes = getattr(model, "classes_", None)
    names = [f"target {k}" for k in range(len(means))] if classes is None else [*map(str, classes)]
    are_dates = values.dtype.kind == "M" or hasattr(values[0], "tzinfo")  # those with a time zone are objects
    is_measured = are_dates or values.dtype.kind in "iuf"
    first = 1 if len(means) == 2 and classes is not None else 0
    figure, ax = make_axes(ax, (5.5 if is_measured else max(5.5, 0.25 * len(values)), 3.4))
    places = values if is_measured else np.arange(len(values))
    for k in range(first, len(means)):
        color, low, high = COLORS[k % len(COLORS)], means[k] - stds[k], means[k] + stds[k]
        if is_measured:
            ax.plot(places, means[k], color=color, linestyle=DASHES[k % len(DASHES)], label=names[k])
            ax.fill_between(places, low, high, color=color, alpha=0.25, linewidth=0)
        else:
            ax.errorbar(
                places, means[k], stds[k], fmt=MARKERS[k % len(MARKERS)], capsize=2, color=color, label=names[k]
            )
    if are_dates:
        ax.tick_params(axis="x", labelrotation=30)
    if not is_measured:
        few: dict[str, Any] = {"rotation": 30, "ha": "right"} if len(values) <= FEW_TEXTS else {"rotation": 90}
        ax.set_xticks(places, [truncate(value, MOST_LETTERS // 2) for value in values], **few)
    what = f"probability of {names[first]}" if first else "prediction" if classes is None else "probability"
    ax.set(xlabel=str(column), ylabel=f"mean {what}")
    if len(means) - first > 1:
        ax.legend()
    return figure
