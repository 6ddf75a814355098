"""Pictures of the inside of a network: its weights and activations."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xpnet._checks import count
from xpnet.errors import ArgumentError
from xpnet.network.network import Network
from xpnet.plots._models import move_to_host, parse_labels, parse_shape, require_one_network
from xpnet.plots._style import DARK, LIGHT, MAP, hide_ticks, make_panel

MOST_BARS = 30  # larger output layers are drawn as cells


def weights(net: Any, n: int = 64, *, shape: tuple[int, int] | None = None, ax: Axes | None = None) -> Figure:
    """Draw the weights of the first layer as images, one for each unit. Synchronizes.

    Parameters
    ----------
    net
        A network, or a fitted estimator of one, whose inputs are the pixels of an image.
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
    ArgumentError
        If the inputs are not such an image, or `ax` has no place in a grid.

    Examples
    --------
    >>> figure = weights(Network([6, 3, 2], seed=0), shape=(2, 3))
    >>> [ax.get_title() for ax in figure.axes]
    ['0', '1', '2', '']
    """
    n = count("n", n, 1)
    net = require_one_network("weights", net)
    shape = parse_shape("weights", net.sizes[0], shape)
    w = move_to_host(net.value, net.w[0])
    shown = w[:n]
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    figure, panel = make_panel(ax, (max(4.0, 0.95 * columns + 0.9), max(1.6, 0.5 + rows)))
    grid = panel.subplots(rows, columns, squeeze=False).ravel()
    limit = float(np.quantile(np.abs(shown), 0.99)) or 1.0
    for cell in grid[len(shown) :]:
        cell.remove()
    colors = ScalarMappable(Normalize(-limit, limit), MAP)
    for k, (cell, unit) in enumerate(zip(grid, shown)):
        cell.imshow(unit.reshape(shape), cmap=MAP, norm=colors.norm)
        cell.set_title(str(k), fontsize=7, pad=2)
        hide_ticks(cell)
    bar = panel.colorbar(colors, ax=grid[: len(shown)].tolist(), extend="both", aspect=30, pad=0.02)
    bar.set_label("weight")
    part = "" if len(shown) == len(w) else f"the first {len(shown)} of "
    panel.suptitle(f"Weights of {part}{len(w)} units", fontsize="medium")
    return figure


def activations(
    net: Any,
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
        A network, or a fitted estimator of one.
    x
        One example (n_in,).
    shape
        Rows and columns of the inputs as an image; by default a square image, if they fill one.
    labels
        The names of the outputs; by default their numbers, or the classes of the estimator.
    ax
        Axes whose place the layers take; by default a new figure.

    Returns
    -------
    Figure
        With the inputs as the first layer sees them, a cell for each unit of the hidden layers, row by row, and a bar
        for each output.

    Raises
    ------
    ArgumentError
        If x is not one example for this network, or `ax` has no place in a grid.

    Examples
    --------
    >>> figure = activations(Network([4, 6, 3], seed=0), [0.0, 0.5, 0.5, 1.0])
    >>> [ax.get_title() for ax in figure.axes[:3]]
    ['4 inputs', '6 sigmoid units', '3 sigmoid outputs']
    """
    classes, net = getattr(net, "classes_", ()), require_one_network("activations", net)
    if labels is None and len(classes) == net.sizes[-1]:
        labels = classes
    names = parse_labels(labels, net.sizes[-1])
    layers = [move_to_host(net.value, a) for a in net.activations(x)]
    if layers[0].ndim == 2:
        if len(layers[0]) != 1:
            raise ArgumentError(f"activations draws one example, and x has {len(layers[0])}; give one, as in x[0]")
        layers = [a[0] for a in layers]
    side = math.isqrt(net.sizes[0])
    if shape is not None or side * side == net.sizes[0]:
        shape = parse_shape("activations", net.sizes[0], shape)
    figure, panel = make_panel(ax, (2.7 * len(layers), 2.6))
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
            hide_ticks(layer_ax)
        layer_ax.set_title(title, fontsize="medium")
    return figure


def _titles(net: Network) -> list[str]:
    names = ["input", *(f"{sigma} unit" for sigma in net.activation), f"{net.output_activation} output"]
    return [f"{size} {name}" if size == 1 else f"{size} {name}s" for size, name in zip(net.sizes, names)]


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
    cells = np.pad(a, (0, -len(a) % columns), constant_values=np.nan)
    return np.ma.masked_invalid(cells.reshape(-1, columns))
