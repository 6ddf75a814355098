"""Pictures of trainings: quantities over the epochs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet._checks import show
from xpnet.errors import ArgumentError
from xpnet.plots._style import Picture, curve_style, make_axes
from xpnet.value import History

COST_NAMES = ("cost", "validation_cost", "test_cost")


def history(history: History, *names: str, ax: Axes | None = None) -> Figure:
    """Draw quantities over the epochs of a training.

    Parameters
    ----------
    history
        The history that `Network.train` returned.
    *names
        The quantities to draw. By default the training, validation and test costs that there are, and beside them the
        accuracies, unless `ax` is given.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a curve for each quantity; a curve has a gap where an epoch lacks the quantity.

    Raises
    ------
    KeyError
        If the history does not have a quantity.
    ArgumentError
        If `history` is not a history, or has no epochs.

    Examples
    --------
    >>> figure = history(History([{"epoch": 1, "cost": 0.5}, {"epoch": 2, "cost": 0.3}]))
    >>> len(figure.axes)
    1
    """
    _check_history("history", history)
    costs = names or [name for name in history.to_dict() if name in COST_NAMES]
    accuracies = [name for name in history.to_dict() if name.endswith("accuracy")]
    if names or ax is not None or not accuracies:
        figure, ax = make_axes(ax)
        panels = [(ax, costs)]
    else:
        figure = Picture(figsize=(8, 3.4), layout="constrained")
        panels = [*zip(figure.subplots(1, 2), (costs, accuracies))]
    for panel, shown in panels:
        _draw_curves(panel, {name: (history["epoch"], history[name]) for name in shown})
        kinds = {name.rpartition("_")[2] for name in shown}
        panel.set_ylabel(kinds.pop() if len(kinds) == 1 else "")
    return figure


def compare(
    histories: Mapping[str, History] | Iterable[History], quantity: str | None = None, *, ax: Axes | None = None
) -> Figure:
    """Draw one quantity of several trainings.

    Parameters
    ----------
    histories
        Their histories, as in ``{"SGD": h1, "Adam": h2}``; in a list without names they are numbered from 1. An
        ensemble has such a list in `Ensemble.histories`.
    quantity
        The quantity to draw; by default the first of these that all histories have: validation accuracy and test
        accuracy, which can be compared between cost functions; validation cost, test cost and cost.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a curve for each history.

    Raises
    ------
    KeyError
        If a history does not have the quantity.
    ArgumentError
        If there are no histories, or one has no epochs, or is not a history.

    Examples
    --------
    >>> slow, fast = History([{"epoch": 1, "cost": 0.5}]), History([{"epoch": 1, "cost": 0.4}])
    >>> compare({"slow": slow, "fast": fast}).axes[0].get_ylabel()
    'cost'
    """
    named = dict(histories) if isinstance(histories, Mapping) else {str(k): h for k, h in enumerate(histories, 1)}
    if not named:
        raise ArgumentError("histories is empty; give at least one, as in [h1, h2]")
    for name, one in named.items():
        _check_history(f"history {name!r}", one)
    if quantity is None:
        preferred = ("validation_accuracy", "test_accuracy", "validation_cost", "test_cost", "cost")
        shared = [name for name in preferred if all(name in one.to_dict() for one in named.values())]
        quantity = shared[0] if shared else "cost"  # whose absence the first history without it explains
    figure, ax = make_axes(ax)
    _draw_curves(ax, {str(name): (one["epoch"], one[quantity]) for name, one in named.items()})
    ax.set_ylabel(quantity.replace("_", " "))
    return figure


def _check_history(argument: str, value: Any) -> None:
    if not isinstance(value, History) or not value.rows:
        raise ArgumentError(
            f"{argument}={show(value)} must be the History of a training, such as net.history or one of "
            "ensemble.histories, with an epoch or more"
        )


def _draw_curves(ax: Axes, curves: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]) -> None:
    """Draw curves, given as epochs and values by their names; where a value is None, the curve has a gap."""
    for k, (name, (epochs, values)) in enumerate(curves.items()):
        values = [math.nan if value is None else value for value in values]
        ax.plot(epochs, values, label=name, **curve_style(k, len(values)))
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend()
