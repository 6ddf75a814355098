"""Gradient checking: backpropagation against central differences, for any network and data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet._checks import count, in_range
from xpnet.core.costs import Composed
from xpnet.data.conversion import as_real_array
from xpnet.data.open import open_source
from xpnet.errors import ArgumentError
from xpnet.inference import read_batch, table
from xpnet.network.network import Network
from xpnet.training import measure
from xpnet.value.structure import parse_seed

__all__ = [
    "GradientCheck",
    "check_gradients",
]


@dataclass(frozen=True)
class GradientCheck:
    """The result of `check_gradients`; printing it shows a table.

    Attributes
    ----------
    rows : list of dict
        For the weights and the biases of each layer: ``layer``, ``parameter`` ("w" or "b"), ``checked`` (number of
        parameters checked), ``of`` (number of parameters), ``error`` (the largest relative error), ``at`` (its index),
        ``backward`` and ``differences``, the two derivatives at this index, and ``largest``, the absolute value of the
        largest derivative that was checked.
    tolerance : float
        The largest relative error that passes.
    rounding : float
        An estimate of how far the rounding of the cost changes the differences.
    """

    rows: list[dict[str, Any]]
    tolerance: float
    rounding: float = 0.0

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return float(np.max([row["error"] for row in self.rows]))  # NaN if any is NaN

    @property
    def passed(self) -> bool:
        """Whether no error exceeds the tolerance."""
        return self.error <= self.tolerance

    def __repr__(self) -> str:
        """Show a table of the layers, and the verdict."""
        head = ["layer", "", "checked", "largest relative error", "at", "backward", "central differences"]
        lines = [
            [
                str(row["layer"]),
                row["parameter"],
                f"{row['checked']} of {row['of']}",
                f"{row['error']:.1e}",
                str(row["at"]),
                f"{row['backward']:.6g}",
                f"{row['differences']:.6g}",
            ]
            for row in self.rows
        ]
        verdict = "passed" if self.passed else "FAILED"
        if all(row["largest"] <= self.rounding for row in self.rows):
            verdict += ", though all derivatives are 0 but for rounding, which says nothing"
        elif self.passed and any(row["largest"] * self.tolerance < self.rounding for row in self.rows):
            verdict += f", though the rounding of the cost hides errors of up to {self.rounding:.1g}"
        return f"{table([head, *lines], left=(1, 4))}\n{verdict}: {self.error:.1e}, of {self.tolerance:g} allowed"


def check_gradients(
    net: Network,
    x: Any,
    y: Any,
    *,
    most: int | None = 100,
    step: float = 1e-5,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient of `Network.backward` with central differences of `Network.cost`, parameter by parameter.

    The derivative with respect to a parameter p is compared with (4 D(h/2) − D(h)) / 3, where D is the central
    difference D(h) = (C(p + h) − C(p − h)) / 2h (L. F. Richardson, "The Approximate Arithmetical Solution by Finite
    Differences", Philosophical Transactions A 210, 1911): its error is of the order h⁴, where that of D is of the order
    h². It is computed in float64 on the network's own backend, whatever its dtype.

    The relative error of two numbers is their difference, divided by the largest of three: the larger number; a
    thousandth of the array's largest derivative; and an estimate of how far the rounding of the cost changes the
    differences, divided by `tolerance`. So a right gradient passes at a minimum, too, where all derivatives are
    rounding. Where that hides larger errors than the tolerance, such as with targets of millions, the result says so.

    Parameters
    ----------
    net
        The network. It is not changed.
    x, y
        Inputs and targets, as in `Network.backward`. A few examples are enough, but more than one.
    most
        Check at most this many parameters of each array, drawn at random; None checks all.
    step
        The step h of the differences. Where the cost curves strongly within it, give a smaller one.
    tolerance
        The largest relative error that passes. If a step of h crosses the kink of a ReLU, the central difference is
        wrong by much more: use another seed for the weights, or a smaller h.
    seed
        Seed of the draw.

    Returns
    -------
    GradientCheck
        One row for the weights and one for the biases of each layer.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or the cost is not finite.

    Examples
    --------
    >>> net = Network([3, 4, 2], seed=0)
    >>> check = check_gradients(net, [[1, 2, 3], [4, 5, 6]], [0, 1])
    >>> check.passed, len(check.rows)
    (True, 4)
    """
    most = None if most is None else count("most", most, 1)
    in_range("step", step, 0, np.inf, "1e-5 is usual", includes_low=False)
    in_range("tolerance", tolerance, 0, np.inf, "1e-5 is usual", includes_low=False)
    rng = np.random.default_rng(parse_seed(seed))
    twin = net.to(dtype="float64")
    to_numpy = twin.backend.to_numpy
    gradient = [[to_numpy(part) for part in layer] for layer in twin.backward(x, y)]
    parameters = [(np.array(to_numpy(w)), np.array(to_numpy(b))) for w, b in twin.layers]
    source = open_source(_as_batch(x, y, net), "the batch", twin.value.reader)
    if not np.isfinite(whole := measure(twin.value, source)["cost"]):
        raise ArgumentError(
            f"the cost of the batch is {whole}, so it has no differences to compare with; give other examples, or "
            "smaller weights"
        )
    # Of four costs, with the factors of their differences; at a minimum, only the shifted weights have errors
    shifted = twin.copy()
    shifted.layers = [(w + step, b + step) for w, b in parameters]
    rounding = 3 * max(_estimate_rounding(twin, x, y), _estimate_rounding(shifted, x, y)) / step
    rows = []
    for l, layer in enumerate(gradient):
        for part, name in enumerate(("w", "b")):
            derivatives, array = layer[part], parameters[l][part]
            chosen = np.arange(derivatives.size)
            if most is not None and derivatives.size > most:
                chosen = np.sort(rng.choice(derivatives.size, most, replace=False))

            def cost(index: int, shift: float, array: np.ndarray = array) -> float:
                """Compute the cost with one parameter shifted."""
                value, array.flat[index] = array.flat[index], array.flat[index] + shift
                twin.layers = parameters
                array.flat[index] = value
                return measure(twin.value, source)["cost"]

            row = _compare(derivatives, chosen, cost, step, rounding / tolerance)
            rows.append({"layer": l + 1, "parameter": name, **row})
    return GradientCheck(rows, tolerance, rounding)


def _as_batch(x: Any, y: Any, net: Network) -> tuple[Any, Any]:
    """Return inputs and targets as rows; a single example gets an axis of examples."""
    x, single = net.value.reader.as_rows(x)
    y = as_real_array(y, "y of the batch")
    return x, (y[None, ...] if single and (y.ndim == 0 or tuple(y.shape) == (net.value.model.n_targets,)) else y)


def _estimate_rounding(net: Network, x: Any, y: Any) -> float:
    """Estimate the rounding error of the mean cost: its own, and those of z and outputs, times the slopes there."""
    to_numpy, value, activations = net.backend.to_numpy, net.value, net.activations(x)
    total = abs(net.cost(_as_batch(x, y, net)))
    for layer, a, delta in zip(net.layers, activations, net.deltas(x, y)):
        w, b, a, delta = (np.abs(to_numpy(array)) for array in (*layer, a, delta))
        total += float(np.mean(np.sum(delta * (a @ w.T + b), axis=-1)))
    if isinstance(value.model.output, Composed):
        x, y, _ = read_batch(value, x, y)
        with value.scope():
            slopes = to_numpy(value.model.cost.with_inputs(x).gradient(activations[-1], y, value.xp))  # type: ignore
        total += float(np.mean(np.sum(np.abs(slopes * to_numpy(activations[-1])), axis=-1)))
    else:
        w, b = map(to_numpy, net.layers[-1])
        z = to_numpy(activations[-2]) @ w.T + b
        # The cost is the logarithm of a sum of at least 1, minus z: what is far below their rounding vanishes
        total += 1.0 + float(np.mean(np.sum(np.abs(z), axis=-1)))
    return float(np.finfo(np.float64).eps) * total


def _compare(
    derivatives: np.ndarray, chosen: np.ndarray, cost: Callable[[int, float], float], step: float, least: float
) -> dict[str, Any]:
    """Compare the chosen derivatives with differences of the cost, relative to numbers of at least `least`."""

    def difference(i: int, h: float) -> float:
        return (cost(i, h) - cost(i, -h)) / (2 * h)

    differences = np.array([(4 * difference(i, step / 2) - difference(i, step)) / 3 for i in chosen])
    exact = derivatives.ravel()[chosen]
    least = max(least, 1e-3 * np.abs(derivatives).max())
    scale = np.maximum(np.maximum(np.abs(exact), np.abs(differences)), least)
    errors = np.abs(exact - differences) / np.where(scale > 0, scale, 1.0)
    worst = int(np.argmax(errors))
    return {
        "checked": len(chosen),
        "of": derivatives.size,
        "largest": float(max(np.abs(exact).max(), np.abs(differences).max())),
        "error": float(errors[worst]),
        "at": tuple(int(i) for i in np.unravel_index(chosen[worst], derivatives.shape)),
        "backward": float(exact[worst]),
        "differences": float(differences[worst]),
    }
