"""Pictures of regressions: predictions and their error bars."""

import math
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet._checks import in_range
from xpnet.backends.base import is_array
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.plots._models import move_to_host, open_model, refuse_encoder
from xpnet.plots._style import DARK, LIGHT, make_axes
from xpnet.value import Value


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
    refuse_encoder("error_bars", net)
    model = open_model(net)
    value = model.values[0]
    _check_error_bars(model)
    examples, targets = _read_curve(value, x, y)
    low, high = float(examples.min()), float(examples.max())
    extra = margin * (high - low) if high > low else 1.0
    grid = np.linspace(low - extra, high + extra, 301)
    mean, bands = _predict_bands(model, grid[:, None])
    figure, ax = make_axes(ax, (6, 3.6))
    text = rcParams["text.color"]
    ax.plot(examples, targets, ".", color=text, alpha=0.6, markersize=3, label="examples", zorder=2)
    for name, std, color, dashes in bands:
        ax.fill_between(
            grid,
            mean - sigmas * std,
            mean + sigmas * std,
            facecolor=color,
            edgecolor=DARK,
            linestyle=dashes,
            linewidth=0.8,
            alpha=0.55,
            label=f"{name}, {sigmas:g}σ",
            zorder=1,
        )
    label = "mean of the networks" if isinstance(model, Ensemble) else "mean"
    ax.plot(grid, mean, color=text, linewidth=1.8, label=label, zorder=3)
    span = max(targets.max() - targets.min(), 1e-12)  # bands may be very wide beyond the examples
    bottom, top = (np.min(mean - sigmas * bands[0][1]), np.max(mean + sigmas * bands[0][1]))
    ax.set_ylim(
        max(bottom, targets.min() - 0.6 * span) - 0.05 * span, min(top, targets.max() + 0.6 * span) + 0.05 * span
    )
    ax.set(xlabel="x", ylabel="y", xlim=(grid[0], grid[-1]))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False)
    return figure


def _check_error_bars(net: Network | Ensemble) -> None:
    """Check that a regression with one input and one target has error bars."""
    model = net.values[0].model
    if (model.task, model.n_in, model.n_targets) != ("regression", 1, 1):
        raise ArgumentError(
            f"error_bars draws a regression with 1 input and 1 target, and this network has the task {model.task!r}, "
            f"{model.n_in} inputs and {model.n_targets} targets"
        )
    if not model.cost.has_std and (model.cost.levels or not isinstance(net, Ensemble)):
        raise ArgumentError(
            f'error_bars needs an Ensemble, or a network with cost="gaussian"; this has cost={model.cost.name!r}'
        )


def _predict_bands(
    net: Network | Ensemble, rows: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, np.ndarray, str, str]]]:
    """Predict the mean, and for each band its name, standard deviation, color and dashes; the widest band first."""
    mean, std = (move_to_host(net.values[0], array) for array in net.predict(rows, return_std=True))
    if not isinstance(net, Ensemble):
        return mean, [("noise", std, LIGHT, "-")]
    disagreement = np.std([move_to_host(network.value, network.predict(rows)) for network in net], axis=0)
    if not net.values[0].model.cost.has_std:
        return mean, [("disagreement", disagreement, DARK, "--")]
    return mean, [("noise and disagreement", std, LIGHT, "-"), ("disagreement alone", disagreement, DARK, "--")]


def _read_curve(value: Value, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read examples of one input and one target, to the host."""
    reader = value.reader.unscaled()
    x = x if is_array(x) else np.asarray(x)
    data = reader.read_examples(x[:, None] if x.ndim == 1 else x, y, "the data")
    return move_to_host(value, data.x)[:, 0], move_to_host(value, data.y)[:, 0]
