"""Pictures of regressions: predictions, their errors and their error bars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet._checks import in_range
from xpnet.backends.base import is_array
from xpnet.core.calibration import correct_points
from xpnet.errors import ArgumentError
from xpnet.inference import predict_targets
from xpnet.inference.metrics import mean_r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.plots._models import find_bars, first_network, move_to_host, open_model
from xpnet.plots._style import COLORS, DARK, LIGHT, figure_of, make_axes, make_panel

ORANGE = COLORS[1]
LEAST_FOR_MEDIANS = 100  # examples
MOST_SHAPES = 2_000  # of points in a vector graphic; more of them are drawn as an image


def predicted_against_true(net: Any, data: Any, *, ax: Axes | None = None) -> Figure:
    """Draw the predictions of a regression against the true targets. Synchronizes.

    Parameters
    ----------
    net
        A network, ensemble or fitted estimator of a regression. Of a cost of quantiles, the medians are drawn,
        or the quantiles of the only level.
    data
        Any finite source, such as (X, y).
    ax
        Where to draw, or axes whose place several targets take; by default a new figure.

    Returns
    -------
    Figure
        With a point for each example, and a line where prediction and target are equal. Above it are R² and the root of
        the mean squared error. Each of several targets has axes of its own.

    Raises
    ------
    ArgumentError
        If the task is not a regression, if the data are empty or do not fit it, or if there are several quantiles and
        no median.

    Examples
    --------
    >>> net = Network([1, 1], task="regression")
    >>> net.layers = [([[2]], [0])]
    >>> predicted_against_true(net, ([[1], [2], [3]], [2, 5, 5])).axes[0].get_title()
    'R² 0.667, RMSE 0.816'
    """
    y, predicted = _predict_points(net, data, "predicted_against_true")
    figure, axes = _make_row(ax, y.shape[1])
    for k, panel in enumerate(axes):
        _draw_points(panel, y[:, k], predicted[:, k])
        ends = np.array([min(y[:, k].min(), predicted[:, k].min()), max(y[:, k].max(), predicted[:, k].max())])
        panel.plot(ends, ends, color=rcParams["text.color"], linewidth=1, zorder=3)
        squares = (y[:, k] - predicted[:, k]) ** 2
        r2 = mean_r2(squares.sum(keepdims=True), ((y[:, k] - y[:, k].mean()) ** 2).sum(keepdims=True))
        title = f"R² {r2:.3f}, RMSE {math.sqrt(squares.mean()):.3g}"
        panel.set(xlabel=_name_target("true", k, y), ylabel=_name_target("predicted", k, y), aspect="equal")
        panel.set_title(title, fontsize="medium")
    return figure


def residuals(net: Any, data: Any, *, ax: Axes | None = None) -> Figure:
    """Draw the residuals of a regression, target − prediction, against its predictions. Synchronizes.

    They should scatter around 0 everywhere. A curve says that the network has missed something; a funnel, that the
    noise is not the same everywhere, which ``cost="gaussian"`` can learn.

    Parameters
    ----------
    net, data, ax
        As in `predicted_against_true`.

    Returns
    -------
    Figure
        With a point for each example, a line at 0, and the medians of ten groups of examples with similar predictions,
        if there are at least 100.

    Raises
    ------
    ArgumentError
        As in `predicted_against_true`.

    Examples
    --------
    >>> net = Network([1, 1], task="regression")
    >>> net.layers = [([[2]], [0])]
    >>> residuals(net, ([[1], [2], [3]], [2, 5, 5])).axes[0].lines[0].get_ydata()
    array([ 0.,  1., -1.])
    """
    y, predicted = _predict_points(net, data, "residuals")
    figure, axes = _make_row(ax, y.shape[1])
    for k, panel in enumerate(axes):
        residual = y[:, k] - predicted[:, k]
        _draw_points(panel, predicted[:, k], residual)
        panel.axhline(0, color=rcParams["text.color"], linewidth=1, zorder=3)
        if len(y) >= LEAST_FOR_MEDIANS:
            groups = np.array_split(np.argsort(predicted[:, k], kind="stable"), 10)
            middles = np.array([[np.median(predicted[g, k]), np.median(residual[g])] for g in groups])
            panel.plot(*middles.T, "D-", color=ORANGE, markersize=4, linewidth=1.2, label="median", zorder=4)
            panel.legend(fontsize="small")
        panel.set(xlabel=_name_target("predicted", k, y), ylabel=_name_target("true − predicted", k, y))
    return figure


def _predict_points(net: Any, data: Any, function: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of any finite source and one prediction of each, (n, n_targets) each."""
    model = open_model(net)
    cost, task = first_network(model).value.model.cost, first_network(model).task
    if task != "regression":
        raise ArgumentError(f"{function} needs a regression, and the task of this network is {task!r}")
    cost.require_point("pictures")
    bars = find_bars(model)
    examples = predict_targets(bars, bars.open(data, "data"))
    if not cost.levels:
        return examples.y, examples.bars[..., 0]
    return examples.y, np.asarray(correct_points(examples.bars, bars.shifts, cost, np))


def _make_row(ax: Axes | None, n: int) -> tuple[Any, list[Axes]]:
    """Return a figure with axes for each of n targets, in a row."""
    if n == 1:
        ax = make_axes(ax, (4.4, 3.8))
        return figure_of(ax), [ax]
    figure, panel = make_panel(ax, (4.0 * n, 3.8))
    return figure, panel.subplots(1, n).tolist()


def _draw_points(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw examples, paler where there are many."""
    alpha = min(0.7, max(0.1, 30 / math.sqrt(len(x)) / 2))
    ax.plot(x, y, "o", color=DARK, alpha=alpha, markersize=4, markeredgewidth=0, rasterized=len(x) > MOST_SHAPES)


def _name_target(name: str, k: int, y: np.ndarray) -> str:
    return name if y.shape[1] == 1 else f"{name}, target {k}"


def error_bars(net: Any, x: Any, y: Any, *, sigmas: float = 2, margin: float = 0.25, ax: Axes | None = None) -> Figure:
    """Draw the predictions of a regression with one input, their error bars, and examples. Synchronizes.

    Parameters
    ----------
    net
        An ensemble, for the disagreement of its networks; a network with ``cost="gaussian"``, for the noise of the data
        that it predicts; an ensemble of such networks, for both; or a fitted estimator of one of them.
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
    ArgumentError
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
    model = open_model(net)
    first, has_noise = first_network(model), _check_error_bars(model)
    examples, targets = _read_curve(first, x, y)
    low, high = float(examples.min()), float(examples.max())
    extra = margin * (high - low) if high > low else 1.0
    grid = np.linspace(low - extra, high + extra, 301)
    mean, bands = _predict_bands(model, grid[:, None], has_noise)
    ax = make_axes(ax, (6, 3.6))
    text = rcParams["text.color"]
    ax.plot(examples, targets, ".", color=text, alpha=0.6, markersize=3, label="examples", zorder=2)
    for name, std, color, dashes in bands:
        edge = {"edgecolor": DARK, "linestyle": dashes, "linewidth": 0.8, "label": f"{name}, {sigmas:g}σ"}
        ax.fill_between(grid, mean - sigmas * std, mean + sigmas * std, facecolor=color, alpha=0.55, zorder=1, **edge)
    label = "mean of the networks" if isinstance(model, Ensemble) else "mean"
    ax.plot(grid, mean, color=text, linewidth=1.8, label=label, zorder=3)
    span = max(targets.max() - targets.min(), 1e-12)  # bands may be very wide beyond the examples
    bottom, top = (np.min(mean - sigmas * bands[0][1]), np.max(mean + sigmas * bands[0][1]))
    ax.set_ylim(
        max(bottom, targets.min() - 0.6 * span) - 0.05 * span, min(top, targets.max() + 0.6 * span) + 0.05 * span
    )
    ax.set(xlabel="x", ylabel="y", xlim=(grid[0], grid[-1]))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False)
    return figure_of(ax)


def _check_error_bars(net: Network | Ensemble) -> bool:
    """Check that a regression with one input and one target has error bars; return whether it predicts noise."""
    model = first_network(net).value.model
    if model.task != "regression":
        raise ArgumentError(f"error_bars needs a regression, and the task of this network is {model.task!r}")
    for what, number in (("input", model.n_in), ("target", model.n_targets)):
        if number != 1:
            raise ArgumentError(f"error_bars draws 1 {what}, and this network has {number}")
    distribution = model.cost.distribution
    has_noise = distribution is not None and distribution.std is not None
    if (distribution is not None and not has_noise) or not (has_noise or isinstance(net, Ensemble)):
        raise ArgumentError(
            f'error_bars needs an Ensemble, or a network with cost="gaussian"; this has cost={model.cost.name!r}'
        )
    return has_noise


def _predict_bands(
    net: Network | Ensemble, rows: np.ndarray, has_noise: bool
) -> tuple[np.ndarray, list[tuple[str, np.ndarray, str, str]]]:
    """Predict the mean, and for each band its name, standard deviation, colour and dashes; the widest band first."""
    mean, std = (move_to_host(first_network(net), array) for array in net.predict(rows, return_std=True))
    bands = []
    if has_noise:
        name = "noise and disagreement" if isinstance(net, Ensemble) else "noise"
        bands.append((name, std, LIGHT, "-"))
    if isinstance(net, Ensemble):
        disagreement = np.std([move_to_host(net[0], network.predict(rows)) for network in net], axis=0)
        bands.append(("disagreement alone" if has_noise else "disagreement", disagreement, DARK, "--"))
    return mean, bands


def _read_curve(net: Network, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read examples of one input and one target, to the host."""
    reader = net.value.reader.unscaled()
    x = x if is_array(x) else np.asarray(x)
    data = reader.read_examples(x[:, None] if x.ndim == 1 else x, y, "the data")
    return move_to_host(net, data.x)[:, 0], move_to_host(net, data.y)[:, 0]
