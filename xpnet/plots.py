"""Pictures of histories, networks and their predictions, drawn with matplotlib (``pip install -e '.[plots]'``).

Each function returns a figure, which a notebook shows and ``figure.savefig("picture.png")`` saves. None of them opens a
window, uses pyplot, or changes its arguments. With ``ax=`` they draw on your axes, or in place of them if they need
several, and return the figure of the axes. Data and networks may be on any backend and device.

Pictures do not depend on colour: curves have dashes and markers, classes have markers, and colour maps become lighter
from end to end.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.minibatch import decode
from xpnet.data.sources import make_source
from xpnet.ensemble import Ensemble
from xpnet.network import Network
from xpnet.training.evaluate import require_classes
from xpnet.training.history import History
from xpnet.training.metrics import predictions
from xpnet.wording.checks import choices, count, in_range, install_command

try:
    from matplotlib import colormaps, rcParams
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.ticker import MaxNLocator, PercentFormatter
except ImportError as error:
    raise ImportError(
        f"xpnet.plots needs matplotlib 3.8 or newer ({error}); install it with: {install_command('plots')}"
    ) from error

__all__ = [
    "activations",
    "compare",
    "confusion",
    "decision_boundary",
    "error_bars",
    "history",
    "mistakes",
    "weights",
]

# Colours that colour-blind readers tell apart (M. Okabe and K. Ito, 2008); dashes and markers do so without colours
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_MARKERS = 12  # on a curve
MAP = "cividis"  # as light in equal steps, for all kinds of colour vision
DARK, LIGHT = COLORS[0], "#9ecae1"  # blue
INK, PAPER = "black", "white"  # of texts on light and on dark cells
MOST_CELL_TEXTS = 20  # with more classes, the numbers would not fit into the cells
MOST_LETTERS = 16  # in a line above an image
MOST_BARS = 30  # larger output layers are drawn as cells
COSTS = ("cost", "validation_cost", "test_cost")


class Picture(Figure):
    """A figure that a notebook shows even if pyplot has not been imported."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", bbox_inches="tight")
        return content.getvalue()


# Training


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
    ValueError, TypeError
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
        raise TypeError(f"history takes names of quantities, {choices(quantities)}; axes are given as ax=")
    costs = names or [name for name in quantities if name in COSTS]
    accuracies = [name for name in quantities if name.endswith("accuracy")]
    if names or ax is not None or not accuracies:
        panels = [(_make_axes(ax), costs)]
    else:
        both = Picture(figsize=(8, 3.4), layout="constrained").subplots(1, 2)
        panels = [*zip(both, (costs, accuracies))]
    for panel, shown in panels:
        _draw_curves(panel, {name: (history["epoch"], history[name]) for name in shown})
        _label_values(panel, shown)
    return _figure_of(panels[0][0])


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
    ValueError, TypeError
        If there are no histories, or one has no epochs, or is not a history.

    Examples
    --------
    >>> slow, fast = History([{"epoch": 1, "cost": 0.5}]), History([{"epoch": 1, "cost": 0.4}])
    >>> compare({"slow": slow, "fast": fast}).axes[0].get_ylabel()
    'cost'
    """
    if isinstance(histories, History) or not isinstance(histories, Iterable):
        raise TypeError(
            f"histories is of type {type(histories).__name__}; give several, as in [h1, h2] or "
            "{'SGD': h1, 'Adam': h2}"
        )
    named = dict(histories) if isinstance(histories, Mapping) else {str(k): h for k, h in enumerate(histories, 1)}
    if not named:
        raise ValueError("histories is empty; give at least one, as in [h1, h2]")
    for name, one in named.items():
        _check_history(f"history {name!r}", one)
    if quantity is None:
        preferred = ("validation_accuracy", "test_accuracy", "validation_cost", "test_cost", "cost")
        quantity = next(name for name in preferred if all(name in one.to_dict() for one in named.values()))
    ax = _make_axes(ax)
    _draw_curves(ax, {str(name): (one["epoch"], one[quantity]) for name, one in named.items()})
    _label_values(ax, [quantity], exactly=True)
    return _figure_of(ax)


def _check_history(argument: str, value: Any) -> None:
    if isinstance(value, (Network, Ensemble)):
        remedy = "net.history" if isinstance(value, Network) else "ensemble.histories, in compare"
        raise TypeError(f"{argument} is of type {type(value).__name__}; give {remedy}")
    if not isinstance(value, History):
        raise TypeError(f"{argument} is of type {type(value).__name__}; give the History that train returned")
    if not value.rows:
        raise ValueError(f"{argument} has no epochs; train first")


def _draw_curves(ax: Axes, curves: Mapping[str, tuple[Sequence[Any], Sequence[Any]]]) -> None:
    """Draw curves, given as epochs and values by their names; where a value is None, the curve has a gap."""
    for k, (name, (epochs, values)) in enumerate(curves.items()):
        values = [math.nan if value is None else value for value in values]
        ax.plot(epochs, values, label=name, **curve_style(k, len(values)))
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend()


def curve_style(k: int, points: int) -> dict[str, Any]:
    """Choose the look of curve k, counted from 0, by the number of its points."""
    return {
        "color": COLORS[k % len(COLORS)],
        "linestyle": DASHES[k % len(DASHES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 4,
        "markevery": max(1, math.ceil(points / MOST_MARKERS)),
    }


def _label_values(ax: Axes, names: Sequence[str], exactly: bool = False) -> None:
    """Label the y axis if all quantities are of one kind, such as "cost"."""
    kinds = {name if exactly else name.rpartition("_")[2] for name in names}
    if len(kinds) == 1:
        ax.set_ylabel(kinds.pop().replace("_", " "))


# Predictions


def confusion(
    net: Network | Ensemble, data: Any, *, labels: Sequence[object] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw how often examples of each class are predicted as each class. Synchronizes.

    Parameters
    ----------
    net
        A network or ensemble with the task "classification" or "binary".
    data
        Any finite source, such as (X, y).
    labels
        The names of the classes; by default their numbers.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a cell for each pair of classes: its colour is the fraction of the examples of the true class (row), and
        its number, with up to 20 classes, is that of the examples. Cells without examples have no number.

    Raises
    ------
    ValueError, TypeError
        If the network has another task, or if the data are empty or do not fit it.

    Examples
    --------
    >>> net = Network([1, 1], task="binary")
    >>> net.layers = [([[1]], [0])]
    >>> figure = confusion(net, ([[-2], [-1], [3], [-4]], [0, 0, 1, 1]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['2', '1', '1']
    """
    n = _count_classes(net, "confusion")
    names = _parse_labels(labels, n)
    counts = np.zeros((n, n), dtype=np.int64)
    for block in _predict_blocks(net, data, "data"):
        np.add.at(counts, (block.classes, block.predicted), 1)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 1.6 + 0.42 * n), 10)
    ax = _make_axes(ax, (side + 0.9, side))
    image = ax.imshow(
        fractions, cmap=MAP, norm=PowerNorm(0.5, 0, 1)
    )  # a few confusions are seen beside hundreds of hits
    ax.set(xlabel="predicted class", ylabel="true class")
    _label_classes(ax, names)
    ticks, percent = [0, 0.01, 0.05, 0.2, 0.5, 1], PercentFormatter(1, decimals=0)
    bar = _figure_of(ax).colorbar(image, ax=ax, aspect=25, pad=0.03, ticks=ticks, format=percent)
    bar.set_label("fraction of the true class")
    if n <= MOST_CELL_TEXTS:
        size = 9 if n <= 12 and counts.max() < 10_000 else 6
        for i, j in np.argwhere(counts):
            color = _text_color(image.to_rgba(fractions[i, j]))
            ax.text(j, i, str(counts[i, j]), ha="center", va="center", color=color, fontsize=size)
    return _figure_of(ax)


def mistakes(
    net: Network | Ensemble,
    data: Any,
    n: int = 25,
    *,
    shape: tuple[int, int] | None = None,
    labels: Sequence[object] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw images that are classified wrongly, the most confident mistakes first. Synchronizes.

    Parameters
    ----------
    net
        A network or ensemble with the task "classification" or "binary", whose inputs are the pixels of an image.
    data
        Any finite source of images and classes, such as (X, y).
    n
        Draw at most this many images.
    shape
        Rows and columns of an image; by default it is square.
    labels
        The names of the classes; by default their numbers.
    ax
        Axes whose place the images take; by default a new figure.

    Returns
    -------
    Figure
        With an image for each mistake; above it the true class, the predicted one and its probability.

    Raises
    ------
    ValueError, TypeError
        If the network has another task, if its inputs are not such an image, if the data are empty or do not fit it, or
        if `ax` has no place in a grid.

    Examples
    --------
    >>> net = Network([4, 1], task="binary")
    >>> net.layers = [([[1, 1, 1, 1]], [0])]
    >>> figure = mistakes(net, ([[0, 1, 1, 0], [-1, 0, 0, 0]], [0, 0]))
    >>> [ax.get_title() for ax in figure.axes]
    ['0 → 1 (88%)']
    """
    n, n_classes = count("n", n, 1), _count_classes(net, "mistakes")
    names, shape = _parse_labels(labels, n_classes), _parse_shape("mistakes", _first(net), shape)
    kept: list[tuple[float, int, int, np.ndarray]] = []
    wrong = total = 0
    for block in _predict_blocks(net, data, "data"):
        numbers = np.flatnonzero(block.classes != block.predicted)
        wrong, total = wrong + len(numbers), total + len(block.classes)
        kept += [(block.probability[k], block.classes[k], block.predicted[k], block.x[k]) for k in numbers]
        kept = sorted(kept, key=lambda mistake: -mistake[0])[:n]  # stable: equal ones keep the order of the data
    title = f"{wrong:,} of {total:,} examples are classified wrongly"
    if not kept:
        figure, panel = _make_panel(ax, (4, 1))
        panel.suptitle(title, fontsize="medium")
        return figure
    columns = math.ceil(math.sqrt(len(kept)))
    rows = math.ceil(len(kept) / columns)
    figure, panel = _make_panel(ax, (max(4.2, 1.25 * columns), 0.7 + 1.4 * rows))
    grid = panel.subplots(rows, columns, squeeze=False).ravel()
    for cell in grid[len(kept) :]:
        cell.remove()
    titles = [f"{names[true]} → {names[predicted]} ({probability:.0%})" for probability, true, predicted, _ in kept]
    is_long = max(map(len, titles)) > MOST_LETTERS
    for cell, words, (*_, x) in zip(grid, titles, kept):
        cell.imshow(x.reshape(shape), cmap="gray")
        cell.set_title(words.replace(" → ", " →\n") if is_long else words, fontsize=7 if is_long else 9)
        _hide_ticks(cell)
    order = "" if wrong <= n else f"; the {n} surest"
    panel.suptitle(f"{title}{order}\ntrue class → predicted class (its probability)", fontsize="medium")
    return figure


def decision_boundary(
    net: Network | Ensemble,
    X: Any,
    y: Any,
    *,
    labels: Sequence[object] | None = None,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Figure:
    """Draw examples, and the class that a network with two inputs predicts at each point. Synchronizes.

    Parameters
    ----------
    net
        A network or ensemble with two inputs and the task "classification" or "binary".
    X, y
        Examples (n, 2), and their classes (n,).
    labels
        The names of the classes; by default their numbers.
    resolution
        Number of points in each direction at which the network predicts.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a shade for each class, the fainter the less probable it is there; lines where the prediction changes; and
        a marker for each example.

    Raises
    ------
    ValueError, TypeError
        If the network has another number of inputs or another task, or the examples do not fit it.

    Examples
    --------
    >>> net = Network([2, 1], task="binary", seed=0)
    >>> figure = decision_boundary(net, [[0, 0], [1, 1]], [0, 1], labels=["low", "high"])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['low', 'high']
    """
    n = _count_classes(net, "decision_boundary")
    names, resolution = _parse_labels(labels, n), count("resolution", resolution, 2)
    if (n_in := _first(net).sizes[0]) != 2:
        raise ValueError(f"decision_boundary needs a network with 2 inputs, and this one has {n_in}")
    blocks = [*_predict_blocks(net, (X, y), "the data")]
    x, classes = (np.concatenate(parts) for parts in ([b.x for b in blocks], [b.classes for b in blocks]))
    colors = colormaps[MAP](np.linspace(0.15, 1.0, n))[:, :3]
    ax = _make_axes(ax, (5, 4))
    _draw_regions(ax, net, x, resolution, colors)
    for k in range(n):
        marker = {"marker": MARKERS[k % len(MARKERS)], "color": colors[k], "edgecolors": INK}
        ax.scatter(*x[classes == k].T, s=24, linewidths=0.7, label=str(names[k]), **marker)
    if n <= MOST_CELL_TEXTS:
        legend = ax.legend(title="class", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        for patch in legend.legend_handles:  # beside the picture, where the paper may be dark
            if isinstance(patch, PathCollection):
                patch.set_edgecolor(rcParams["text.color"])
    return _figure_of(ax)


def _draw_regions(ax: Axes, net: Network | Ensemble, x: np.ndarray, resolution: int, colors: np.ndarray) -> None:
    """Shade what a network predicts around the examples x, in the colour of each class, and draw the boundaries."""
    n, low, high = len(colors), x.min(axis=0), x.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    p = _probabilities(net, points).reshape(resolution, resolution, n)
    strength = 0.2 + 0.45 * (p.max(axis=-1, keepdims=True) - 1 / n) / (1 - 1 / n)
    ax.imshow(
        strength * colors[p.argmax(axis=-1)] + (1 - strength),  # on white
        extent=(left, right, bottom, top),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
    )
    for k in range(1 if n == 2 else 0, n):
        lead = p[..., k] - np.delete(p, k, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0], colors=INK, linewidths=1)
    ax.set(xlabel="input 0", ylabel="input 1", xlim=(left, right), ylim=(bottom, top))


def error_bars(
    net: Network | Ensemble, x: Any, y: Any, *, sigmas: float = 2, margin: float = 0.25, ax: Axes | None = None
) -> Figure:
    """Draw the predictions of a regression with one input, their error bars, and examples. Synchronizes.

    Parameters
    ----------
    net
        An ensemble, for the disagreement of its networks; a network with ``cost="gaussian"``, for the noise of the data
        that it predicts; or an ensemble of such networks, for both.
    x, y
        Examples (n,) or (n, 1), and their targets.
    sigmas
        The length of an error bar, in standard deviations.
    margin
        How far beyond the examples to draw, on either side, as a fraction of their range.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With the examples, the mean, and a band for the disagreement of the networks, or noise, or both.

    Raises
    ------
    ValueError, TypeError
        If the network is not a regression with one input and one target, or has no error bars.

    Examples
    --------
    >>> ensemble = Ensemble([1, 5, 1], members=3, task="regression", seed=0)
    >>> figure = error_bars(ensemble, [0.0, 0.5, 1.0], [0.0, 0.3, 0.4])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['examples', 'disagreement, 2σ', 'mean of the networks']
    """
    in_range("sigmas", sigmas, 0, math.inf, "2 is common", includes_low=False)
    in_range("margin", margin, 0, math.inf, "0.25 draws a quarter of the range more on either side")
    first = _first(net)
    has_noise = _check_error_bars(net)
    examples, targets = _read_curve(first, x, y)
    low, high = float(examples.min()), float(examples.max())
    extra = margin * (high - low) if high > low else 1.0
    grid = np.linspace(low - extra, high + extra, 301)
    mean, bands = _predict_bands(net, grid[:, None], has_noise)
    ax = _make_axes(ax, (6, 3.6))
    text = rcParams["text.color"]
    ax.plot(examples, targets, ".", color=text, alpha=0.6, markersize=3, label="examples", zorder=2)
    for name, std, color, dashes in bands:
        edge = {"edgecolor": DARK, "linestyle": dashes, "linewidth": 0.8, "label": f"{name}, {sigmas:g}σ"}
        ax.fill_between(grid, mean - sigmas * std, mean + sigmas * std, facecolor=color, alpha=0.55, zorder=1, **edge)
    label = "mean of the networks" if isinstance(net, Ensemble) else "mean"
    ax.plot(grid, mean, color=text, linewidth=1.8, label=label, zorder=3)
    span = max(targets.max() - targets.min(), 1e-12)  # bands may be very wide beyond the examples
    bottom, top = (np.min(mean - sigmas * bands[0][1]), np.max(mean + sigmas * bands[0][1]))
    ax.set_ylim(
        max(bottom, targets.min() - 0.6 * span) - 0.05 * span, min(top, targets.max() + 0.6 * span) + 0.05 * span
    )
    ax.set(xlabel="x", ylabel="y", xlim=(grid[0], grid[-1]))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False)
    return _figure_of(ax)


def _check_error_bars(net: Network | Ensemble) -> bool:
    """Check that a regression with one input and one target has error bars; return whether it predicts noise."""
    model = _first(net).view.model
    if model.task != "regression":
        raise ValueError(f"error_bars needs a regression, and the task of this network is {model.task!r}")
    for what, number in (("input", model.n_in), ("target", model.n_targets)):
        if number != 1:
            raise ValueError(f"error_bars draws 1 {what}, and this network has {number}")
    distribution = model.cost.distribution
    has_noise = distribution is not None and distribution.std is not None
    if (distribution is not None and not has_noise) or not (has_noise or isinstance(net, Ensemble)):
        raise ValueError(
            f'error_bars needs an Ensemble, or a network with cost="gaussian"; this has cost={model.cost.name!r}'
        )
    return has_noise


def _predict_bands(
    net: Network | Ensemble, rows: np.ndarray, has_noise: bool
) -> tuple[np.ndarray, list[tuple[str, np.ndarray, str, str]]]:
    """Predict the mean, and for each band its name, standard deviation, colour and dashes; the widest band first."""
    first, members = _first(net), net if isinstance(net, Ensemble) else [net]
    means = np.stack([_to_host(first, network.predict(rows)) for network in members])
    mean, disagreement = means.mean(axis=0), means.std(axis=0)
    bands = []
    if has_noise:
        variances = np.stack([_to_host(first, network.predict_std(rows)) ** 2 for network in members])
        name = "noise and disagreement" if isinstance(net, Ensemble) else "noise"
        bands.append((name, np.sqrt(variances.mean(axis=0) + disagreement**2), LIGHT, "-"))
    if isinstance(net, Ensemble):
        bands.append(("disagreement alone" if has_noise else "disagreement", disagreement, DARK, "--"))
    return mean, bands


# Inside a network


def weights(net: Network, n: int = 64, *, shape: tuple[int, int] | None = None, ax: Axes | None = None) -> Figure:
    """Draw the weights of the first layer as images, one for each unit. Synchronizes.

    Parameters
    ----------
    net
        A network whose inputs are the pixels of an image.
    n
        Draw at most this many units, the first ones.
    shape
        Rows and columns of an image; by default it is square.
    ax
        Axes whose place the images take; by default a new figure.

    Returns
    -------
    Figure
        With an image for each unit. All have one scale, from dark for negative to light for positive weights; 1% of the
        weights may lie beyond its ends.

    Raises
    ------
    ValueError, TypeError
        If the inputs are not such an image, or `ax` has no place in a grid.

    Examples
    --------
    >>> figure = weights(Network([6, 3, 2], seed=0), shape=(2, 3))
    >>> [ax.get_title() for ax in figure.axes]
    ['0', '1', '2', '']
    """
    n = count("n", n, 1)
    shape = _parse_shape("weights", _require_network("weights", net), shape)
    w = _to_host(net, net.w[0])
    shown = w[:n]
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    figure, panel = _make_panel(ax, (max(4.0, 0.95 * columns + 0.9), max(1.6, 0.5 + rows)))
    grid = panel.subplots(rows, columns, squeeze=False).ravel()
    limit = float(np.quantile(np.abs(shown), 0.99)) or 1.0
    for cell in grid[len(shown) :]:
        cell.remove()
    colors = ScalarMappable(Normalize(-limit, limit), MAP)
    for k, (cell, unit) in enumerate(zip(grid, shown)):
        cell.imshow(unit.reshape(shape), cmap=MAP, norm=colors.norm)
        cell.set_title(str(k), fontsize=7, pad=2)
        _hide_ticks(cell)
    bar = panel.colorbar(colors, ax=grid[: len(shown)].tolist(), extend="both", aspect=30, pad=0.02)
    bar.set_label("weight")
    part = "" if len(shown) == len(w) else f"the first {len(shown)} of "
    panel.suptitle(f"Weights of {part}{len(w)} units", fontsize="medium")
    return figure


def activations(
    net: Network,
    x: Any,
    *,
    shape: tuple[int, int] | None = None,
    labels: Sequence[object] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the activations of every layer for one example. Synchronizes.

    Parameters
    ----------
    net
        A network.
    x
        One example (n_in,).
    shape
        Rows and columns of the inputs as an image; by default a square image, if they fill one.
    labels
        The names of the outputs; by default their numbers.
    ax
        Axes whose place the layers take; by default a new figure.

    Returns
    -------
    Figure
        With the inputs as the first layer sees them, a cell for each unit of the hidden layers, row by row, and a bar
        for each output.

    Raises
    ------
    ValueError, TypeError
        If x is not one example for this network, or `ax` has no place in a grid.

    Examples
    --------
    >>> figure = activations(Network([4, 6, 3], seed=0), [0.0, 0.5, 0.5, 1.0])
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['4 inputs', '6 sigmoid units', '3 sigmoid outputs']
    """
    _require_network("activations", net)
    names = [str(k) for k in range(net.sizes[-1])] if labels is None else _parse_labels(labels, net.sizes[-1])
    layers = [_to_host(net, a) for a in net.activations(x)]
    if layers[0].ndim == 2:
        if len(layers[0]) != 1:
            raise ValueError(f"activations draws one example, and x has {len(layers[0])}; give one, as in x[0]")
        layers = [a[0] for a in layers]
    side = math.isqrt(net.sizes[0])
    if shape is not None or side * side == net.sizes[0]:
        shape = _parse_shape("activations", net, shape)
    figure, panel = _make_panel(ax, (2.7 * len(layers), 2.6))
    axes_of_layers = panel.subplots(1, len(layers))
    for layer_ax, a, title, sigma in zip(
        axes_of_layers, layers, _titles(net), ["", *net.activation, net.output_activation], strict=True
    ):
        if layer_ax is axes_of_layers[-1] and len(a) <= MOST_BARS:
            _draw_outputs(layer_ax, a, names)
            if sigma in ("sigmoid", "softmax"):
                layer_ax.set_xlim(0, 1)
        else:
            is_image = layer_ax is axes_of_layers[0] and shape is not None
            low, high = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}.get(
                sigma, (min(0.0, float(a.min())), max(0.0, float(a.max())))
            )
            norm = Normalize(low, high if high > low else low + 1.0)
            cells = a.reshape(shape) if is_image and shape is not None else _lay_out(a)
            image = layer_ax.imshow(cells, cmap="gray" if is_image else MAP, norm=norm)
            bar = panel.colorbar(image, ax=layer_ax, orientation="horizontal", fraction=0.06, pad=0.04)
            bar.locator = MaxNLocator(4)
            _hide_ticks(layer_ax)
        layer_ax.set_title(title, fontsize="medium")
    return figure


def _titles(net: Network) -> Iterator[str]:
    yield _count_units(net.sizes[0], "input")
    for size, sigma in zip(net.sizes[1:-1], net.activation):
        yield _count_units(size, f"{sigma} unit")
    yield _count_units(net.sizes[-1], f"{net.output_activation} output")


def _count_units(size: int, name: str) -> str:
    return f"{size} {name}" if size == 1 else f"{size} {name}s"


def _draw_outputs(ax: Axes, a: np.ndarray, names: Sequence[str]) -> None:
    """Draw a bar for each output, the largest one darker."""
    numbers, largest = np.arange(len(a)), int(a.argmax())
    colors = [DARK if k == largest else LIGHT for k in numbers]
    ax.barh(numbers, a, color=colors, edgecolor=rcParams["text.color"], linewidth=0.6)
    ax.set_yticks(numbers, names, fontsize=9 if len(a) <= 12 else 6)
    ax.invert_yaxis()
    ax.set_box_aspect(1)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _lay_out(a: np.ndarray) -> np.ndarray:
    """Arrange units in an almost square grid; cells left over at its end are masked."""
    columns = math.ceil(math.sqrt(len(a)))
    cells = np.full(columns * math.ceil(len(a) / columns), np.nan)
    cells[: len(a)] = a
    return np.ma.masked_invalid(cells.reshape(-1, columns))


# Arguments


def _first(net: Any) -> Network:
    """Return a network, or the first one of an ensemble; refuse everything else."""
    if isinstance(net, Ensemble):
        return net[0]
    if not isinstance(net, Network):
        raise TypeError(f"net is of type {type(net).__name__}; give a Network or an Ensemble")
    return net


def _require_network(function: str, net: Any) -> Network:
    if isinstance(net, Ensemble):
        raise TypeError(f"{function} draws one network; give a member of the ensemble, as in ensemble[0]")
    if not isinstance(net, Network):
        raise TypeError(f"net is of type {type(net).__name__}; give a Network")
    return net


def _count_classes(net: Any, function: str) -> int:
    """Count the classes of a network; refuse tasks without one class for each example."""
    first = _first(net)
    require_classes(first.view, function)
    if first.task == "multilabel":
        raise ValueError(
            f'{function} needs one class for each example, and a network with task="multilabel" has several'
        )
    return max(first.sizes[-1], 2)


def _parse_labels(labels: Sequence[object] | None, n: int) -> list[str]:
    if labels is None:
        return [str(k) for k in range(n)]
    if isinstance(labels, str) or len(names := [str(label) for label in labels]) != n:
        raise ValueError(f"labels={labels!r} must have {n} names, one for each class or output")
    return names


def _parse_shape(function: str, net: Network, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Check the shape of the inputs as an image; by default it is square."""
    n_in = net.sizes[0]
    if shape is None:
        side = math.isqrt(n_in)
        if side * side != n_in:
            raise ValueError(
                f"{function} draws inputs as a square image, and this network has {n_in} inputs; give "
                f"shape=(rows, columns) with {n_in} pixels"
            )
        return side, side
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 2:
        raise ValueError(f"shape={shape!r} must be two numbers, (rows, columns)")
    rows, columns = count("rows in shape", shape[0], 1), count("columns in shape", shape[1], 1)
    if rows * columns != n_in:
        raise ValueError(f"shape={shape!r} has {rows * columns} pixels, and this network has {n_in} inputs")
    return rows, columns


# Reading and predicting


class _Block(NamedTuple):
    """Some examples as they are in the data, and the network's predictions, all on the host."""

    x: np.ndarray  # (m, n_in)
    classes: np.ndarray  # (m,)
    predicted: np.ndarray  # (m,)
    probability: np.ndarray  # (m,), of the predicted class


def _predict_blocks(net: Network | Ensemble, data: Any, name: str) -> Iterator[_Block]:
    """Predict the examples of any finite source, block by block."""
    view = _first(net).view
    reader = view.reader.unscaled()  # each network applies its own
    source = make_source(data, name, reader)
    for block in source.blocks(2 * sum(view.model.sizes)):
        with view.scope():
            _, y = decode(block.x, block.y, reader.encoding(), view.xp)
            true = predictions(y, view.model.task, view.xp)
        p = _probabilities(net, block.x)
        predicted = p.argmax(axis=-1)
        probability = np.take_along_axis(p, predicted[:, None], axis=-1)[:, 0]
        x, true = (_to_host(_first(net), part) for part in (block.x, true))
        yield _Block(x, true, predicted, probability)


def _probabilities(net: Network | Ensemble, x: Any) -> np.ndarray:
    """Predict the probabilities of all classes on the host, (m, n_classes)."""
    p = _to_host(_first(net), net.predict_proba(x))
    return np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p


def _read_curve(net: Network, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read examples of one input and one target, to the host."""
    reader = net.view.reader.unscaled()
    x = x if hasattr(x, "ndim") else np.asarray(x)
    data = reader.read_examples(x[:, None] if x.ndim == 1 else x, y, "the data")
    return _to_host(net, data.x)[:, 0], _to_host(net, data.y)[:, 0]


def _to_host(net: Network, array: Any) -> np.ndarray:
    with net.view.scope():
        return np.asarray(net.view.reader.home(array).to_numpy(array))


# Axes


def _make_axes(ax: Axes | None, size: tuple[float, float] = (5.5, 3.4)) -> Axes:
    """Return the axes, or make some on a new figure."""
    return Picture(figsize=size, layout="constrained").subplots() if ax is None else ax


def _make_panel(ax: Axes | None, size: tuple[float, float]) -> tuple[Any, Figure | SubFigure]:
    """Return the figure of the axes, and a subfigure in their place; or a new figure, twice."""
    if ax is None:
        figure = Picture(figsize=size, layout="constrained")
        return figure, figure
    place, figure = ax.get_subplotspec(), _figure_of(ax)
    if place is None:
        raise ValueError("ax has no place in a grid; give axes that subplots() made, as in figure.subplots(1, 2)[0]")
    ax.remove()
    return figure, figure.add_subfigure(place)


def _figure_of(ax: Axes) -> Any:
    return ax.figure


def _hide_ticks(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])


def _label_classes(ax: Axes, names: Sequence[str]) -> None:
    """Name the classes on both axes; if there are many, only some, so that the names do not touch."""
    step = max(1, math.ceil(len(names) / 25))
    numbers = range(0, len(names), step)
    shown = [names[k] for k in numbers]
    is_long = max(map(len, shown)) > 3
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
    ax.set_xticks(numbers, shown, **turned)
    ax.set_yticks(numbers, shown)


def _text_color(color: Any) -> str:
    """Choose black or white, whichever has the larger contrast with a colour (WCAG 2)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    luminance = np.dot(channels, (0.2126, 0.7152, 0.0722))
    return INK if luminance > 0.179 else PAPER
