"""Pictures of trainings: quantities over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet._checks import choices
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.plots._style import Picture, curve_style, figure_of, make_axes
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
        If there are no epochs, if `history` is not a history, or if a quantity is not given by its name.

    Examples
    --------
    >>> figure = history(History([{"epoch": 1, "cost": 0.5}, {"epoch": 2, "cost": 0.3}]))
    >>> len(figure.axes)
    1
    """
    _check_history("history", history)
    quantities = history.to_dict()
    if not all(isinstance(name, str) for name in names):
        raise ArgumentError(f"history takes names of quantities, {choices(quantities)}; axes are given as ax=")
    costs = names or [name for name in quantities if name in COST_NAMES]
    accuracies = [name for name in quantities if name.endswith("accuracy")]
    if names or ax is not None or not accuracies:
        panels = [(make_axes(ax), costs)]
    else:
        both = Picture(figsize=(8, 3.4), layout="constrained").subplots(1, 2)
        panels = [*zip(both, (costs, accuracies))]
    for panel, shown in panels:
        _draw_curves(panel, {name: (history["epoch"], history[name]) for name in shown})
        _label_values(panel, shown)
    return figure_of(panels[0][0])


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
    if isinstance(histories, History) or not isinstance(histories, Iterable):
        raise ArgumentError(
            f"histories is of type {type(histories).__name__}; give several, as in [h1, h2] or "
            "{'SGD': h1, 'Adam': h2}"
        )
    named = dict(histories) if isinstance(histories, Mapping) else {str(k): h for k, h in enumerate(histories, 1)}
    if not named:
        raise ArgumentError("histories is empty; give at least one, as in [h1, h2]")
    for name, one in named.items():
        _check_history(f"history {name!r}", one)
    if quantity is not None and not isinstance(quantity, str):
        raise ArgumentError(f"quantity={quantity!r} must be the name of a quantity, such as 'validation_cost'")
    if quantity is None:
        preferred = ("validation_accuracy", "test_accuracy", "validation_cost", "test_cost", "cost")
        shared = [name for name in preferred if all(name in one.to_dict() for one in named.values())]
        quantity = shared[0] if shared else "cost"  # whose absence the first history without it explains
    ax = make_axes(ax)
    _draw_curves(ax, {str(name): (one["epoch"], one[quantity]) for name, one in named.items()})
    _label_values(ax, [quantity], exactly=True)
    return figure_of(ax)


def _check_history(argument: str, value: Any) -> None:
    if isinstance(value, (Network, Ensemble)):
        remedy = "net.history" if isinstance(value, Network) else "ensemble.histories, in compare"
        raise ArgumentError(f"{argument} is of type {type(value).__name__}; give {remedy}")
    if not isinstance(value, History):
        remedies = {"network_": "its network_.history", "ensemble_": "its ensemble_.histories, in compare"}
        remedy = next((remedies[name] for name in remedies if hasattr(value, name)), "the History that train returned")
        raise ArgumentError(f"{argument} is of type {type(value).__name__}; give {remedy}")
    if not value.rows:
        raise ArgumentError(f"{argument} has no epochs; train first")


def _draw_curves(ax: Axes, curves: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]) -> None:
    """Draw curves, given as epochs and values by their names; where a value is None, the curve has a gap."""
    for k, (name, (epochs, values)) in enumerate(curves.items()):
        values = [math.nan if value is None else value for value in values]
        ax.plot(epochs, values, label=name, **curve_style(k, len(values)))
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend()


def _label_values(ax: Axes, names: Sequence[str], exactly: bool = False) -> None:
    """Label the y axis if all quantities are of one kind, such as "cost"."""
    kinds = {name if exactly else name.rpartition("_")[2] for name in names}
    if len(kinds) == 1:
        ax.set_ylabel(kinds.pop().replace("_", " "))
