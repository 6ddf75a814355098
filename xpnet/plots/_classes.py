"""Pictures of classifications: which classes are predicted, where, and how surely."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from xpnet._checks import count
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.plots._models import (
    count_classes,
    open_classifier,
    parse_labels,
    parse_shape,
    predict_blocks,
    predict_probabilities,
    refuse_encoder,
)
from xpnet.plots._style import INK, MAP, MARKERS, hide_ticks, make_axes, make_panel

MOST_IN_LEGEND = 20  # classes
MOST_LETTERS = 16  # in a line above an image


def mistakes(
    net: Any,
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
        A network, ensemble or fitted estimator with the task "classification" or "binary", whose inputs are the pixels
        of an image.
    data
        Any finite source of images and classes, such as (X, y).
    n
        Draw at most this many images.
    shape
        Rows and columns of an image; by default it is square.
    labels
        The names of the classes; by default their numbers, or the classes of the estimator.
    ax
        Axes whose place the images take; by default a new figure.

    Returns
    -------
    Figure
        With an image for each mistake; above it the true class, the predicted one and its probability.

    Raises
    ------
    ArgumentError
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
    refuse_encoder("mistakes", net)
    model, data, labels = open_classifier(net, data, labels)
    n, n_classes = count("n", n, 1), count_classes(model, "mistakes")
    names, shape = parse_labels(labels, n_classes), parse_shape("mistakes", model.values[0].model.n_in, shape)
    worst: list[tuple[float, int, int, np.ndarray]] = []
    wrong = total = 0
    for block in predict_blocks(model, data, "data"):
        numbers = np.flatnonzero(block.classes != block.predicted)
        wrong, total = wrong + len(numbers), total + len(block.classes)
        worst += [(block.probability[k], block.classes[k], block.predicted[k], block.x[k]) for k in numbers]
        worst = sorted(worst, key=lambda mistake: -mistake[0])[:n]  # stable: equal ones keep the order of the data
    title = f"{wrong:,} of {total:,} examples are classified wrongly"
    if not worst:
        figure, panel = make_panel(ax, (4, 1))
        panel.suptitle(title, fontsize="medium")
        return figure
    columns = math.ceil(math.sqrt(len(worst)))
    rows = math.ceil(len(worst) / columns)
    figure, panel = make_panel(ax, (max(4.2, 1.25 * columns), 0.7 + 1.4 * rows))
    grid = panel.subplots(rows, columns, squeeze=False).ravel()
    for cell in grid[len(worst) :]:
        cell.remove()
    titles = [f"{names[true]} → {names[predicted]} ({probability:.0%})" for probability, true, predicted, _ in worst]
    is_long = max(map(len, titles)) > MOST_LETTERS
    for cell, words, (*_, x) in zip(grid, titles, worst):
        cell.imshow(x.reshape(shape), cmap="gray")
        cell.set_title(words.replace(" → ", " →\n") if is_long else words, fontsize=7 if is_long else 9)
        hide_ticks(cell)
    order = "" if wrong <= n else f"; the {n} surest"
    panel.suptitle(f"{title}{order}\ntrue class → predicted class (its probability)", fontsize="medium")
    return figure


def decision_boundary(
    net: Any,
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
        A network, ensemble or fitted estimator with two inputs and the task "classification" or "binary".
    X, y
        Examples (n, 2), and their classes (n,).
    labels
        The names of the classes; by default their numbers, or the classes of the estimator.
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
    ArgumentError
        If the network has another number of inputs or another task, or the examples do not fit it.

    Examples
    --------
    >>> net = Network([2, 1], task="binary", seed=0)
    >>> figure = decision_boundary(net, [[0, 0], [1, 1]], [0, 1], labels=["low", "high"])
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['low', 'high']
    """
    refuse_encoder("decision_boundary", net)
    model, data, labels = open_classifier(net, (X, y), labels)
    n = count_classes(model, "decision_boundary")
    names, resolution = parse_labels(labels, n), count("resolution", resolution, 2)
    if (n_in := model.values[0].model.n_in) != 2:
        raise ArgumentError(f"decision_boundary needs a network with 2 inputs, and this one has {n_in}")
    blocks = [*predict_blocks(model, data, "the data")]
    x, classes = (np.concatenate(parts) for parts in ([b.x for b in blocks], [b.classes for b in blocks]))
    colors = colormaps[MAP](np.linspace(0.15, 1.0, n))[:, :3]
    figure, ax = make_axes(ax, (5, 4))
    _draw_regions(ax, model, x, resolution, colors)
    for k in range(n):
        ax.scatter(
            *x[classes == k].T,
            s=24,
            color=colors[k],
            marker=MARKERS[k % len(MARKERS)],
            linewidths=0.7,
            edgecolors=INK,
            label=names[k],
        )
    if n <= MOST_IN_LEGEND:
        legend = ax.legend(title="class", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        for patch in legend.legend_handles:  # beside the picture, where the paper may be dark
            if isinstance(patch, PathCollection):
                patch.set_edgecolor(rcParams["text.color"])
    return figure


def _draw_regions(ax: Axes, net: Network | Ensemble, x: np.ndarray, resolution: int, colors: np.ndarray) -> None:
    """Shade what a network predicts around the examples x, in the color of each class, and draw the boundaries."""
    n, low, high = len(colors), x.min(axis=0), x.max(axis=0)
    margin = np.where(high > low, 0.08 * (high - low), 1.0)
    (left, bottom), (right, top) = low - margin, high + margin
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    p = predict_probabilities(net, points).reshape(resolution, resolution, n)
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
