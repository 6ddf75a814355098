"""Calibration plots: whether predicted probabilities and error bars are right, on data."""

from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xpnet._checks import count
from xpnet.core.temperature import sum_confidence_errors
from xpnet.inference import Bars, transform_targets
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.plots._models import count_classes, open_classifier, predict_blocks
from xpnet.plots._style import COLORS, DARK, DASHES, LIGHT, make_axes


def calibration(net: Any, data: Any, *, bins: int = 10, ax: Axes | None = None) -> Figure:
    """Draw whether the error bars of a regression, or the probabilities of a classification, are right. Synchronizes.

    For a regression, it is a histogram of the predicted probabilities of a smaller target than the true one (the
    probability integral transform), which is flat where error bars are right: a valley says that they are too short, a
    hill that they are too long, a slope that predictions are too large or too small. For classes, it is a reliability
    diagram: the fraction of the examples predicted with a certain probability that are right; below the diagonal, the
    network is too sure. The expected calibration error stands in it, from 15 equal bins of the probability of the
    predicted class, whatever `bins` is (C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).

    Parameters
    ----------
    net
        A network, ensemble or fitted estimator with error bars or quantiles, or of the tasks "classification" and
        "binary".
    data
        Any finite source of examples that it has not been trained on, such as (X, y).
    bins
        Number of bins; quantiles have a bin between each two levels instead.
    ax
        Where to draw; by default axes of a new figure.

    Returns
    -------
    Figure
        With a curve for each target, and a band that holds 95 % of the bins if error bars are right; or a point for
        each bin of probabilities, with error bars of 95 %.

    Raises
    ------
    ArgumentError
        If the network has no error bars, if its task is "multilabel", or if the data are empty or do not fit it.

    Examples
    --------
    >>> net = Network([1, 2], cost="gaussian")
    >>> net.layers = [([[0], [0]], [0, 0])]  # a mean of 0 and a standard deviation of 0.83
    >>> figure = calibration(net, ([[1.0]] * 4, [-9, -8, 8, 9]), bins=4)
    >>> [float(density) for density in figure.axes[0].patches[-1].get_data().values]
    [2.0, 0.0, 0.0, 2.0]
    """
    bins = count("bins", bins, 2)
    model, data, _ = open_classifier(net, data, None)
    figure, ax = make_axes(ax, (4.4, 3.8))
    if model.values[0].model.task == "regression":
        bars = Bars(model.values, isinstance(model, Ensemble))
        levels = bars.levels
        edges = np.array([0.0, *levels, 1.0]) if levels else np.linspace(0, 1, bins + 1)
        _draw_histogram(ax, transform_targets(bars, data), edges)
    else:
        _draw_reliability(ax, model, data, bins)
    return figure


def _draw_histogram(ax: Axes, transformed: np.ndarray, edges: np.ndarray) -> None:
    """Draw the densities of transformed targets (n, n_targets), and how much they may differ from 1 by chance."""
    n, widths = len(transformed), np.diff(edges)
    chance = 1.96 * np.sqrt(widths * (1 - widths) / n) / widths
    ax.stairs(1 + chance, edges, baseline=np.maximum(1 - chance, 0), fill=True, color=LIGHT, alpha=0.55, label="95 %")
    ax.plot([0, 1], [1, 1], color=rcParams["text.color"], linewidth=1)
    for k, column in enumerate(transformed.T):
        density = np.histogram(column, edges)[0] / n / widths
        label = "targets" if transformed.shape[1] == 1 else f"target {k}"
        ax.stairs(
            density,
            edges,
            baseline=None,
            label=label,
            color=COLORS[k % len(COLORS)],
            linestyle=DASHES[k % len(DASHES)],
            linewidth=1.8,
        )
    ax.set(xlabel="predicted probability of a smaller target", ylabel="density", xlim=(0, 1))
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small")


def _draw_reliability(ax: Axes, model: Network | Ensemble, data: Any, bins: int) -> None:
    """Draw the fraction of right predictions for each bin of their probabilities; of class 1 for two classes."""
    n_classes, blocks = count_classes(model, "calibration"), predict_blocks(model, data, "data")
    parts = [[block.probability, block.classes == block.predicted, block.classes] for block in blocks]
    p, is_right, classes = (np.concatenate(column) for column in zip(*parts))
    error = np.abs(sum_confidence_errors(p, is_right, np)).sum() / len(p)
    if n_classes == 2:
        p, is_right = np.where(is_right == classes, p, 1 - p), classes  # of class 1
    numbers = np.minimum((p * bins).astype(int), bins - 1)
    sizes = np.bincount(numbers, minlength=bins)
    is_filled = sizes > 0
    mean, fraction = (np.bincount(numbers, values, bins)[is_filled] / sizes[is_filled] for values in (p, is_right))
    # Wilson's interval (Journal of the American Statistical Association 22, 1927), which is right for few examples too
    n, z = sizes[is_filled], 1.96
    middle = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    ends = np.maximum([fraction - middle + half, middle + half - fraction], 0)
    ax.plot([0, 1], [0, 1], color=rcParams["text.color"], linewidth=1)
    ax.text(0.96, 0.04, f"expected calibration error {error:.3f}", ha="right", fontsize="small")
    ax.errorbar(mean, fraction, ends, color=DARK, marker="o", markersize=4, capsize=2, linewidth=1.2)
    if n_classes == 2:
        ax.set(xlabel="predicted probability of class 1", ylabel="fraction of class 1")
    else:
        ax.set(xlabel="probability of the predicted class", ylabel="fraction that is right")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
