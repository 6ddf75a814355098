"""Is the gradient right? Backpropagation against central differences, for any network and data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.data import Kept
from xpnet.errors import between, count
from xpnet.evaluation import measure
from xpnet.inspection import table
from xpnet.network import Network


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found; printing it shows a table.

    Attributes
    ----------
    rows : list of dict
        For the weights and the biases of each layer: ``layer``, ``parameter`` ("w" or "b"), ``checked`` (how many of
        them), ``of`` (how many there are), ``error`` (the largest relative error), ``at`` (where), and there
        ``backward`` and ``differences``, the two derivatives.
    tolerance : float
        What `passed` allows.
    """

    rows: list[dict[str, Any]]
    tolerance: float

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return float(np.max([row["error"] for row in self.rows]))  # NaN, if one is

    @property
    def passed(self) -> bool:
        """Whether no error is above the tolerance."""
        return self.error <= self.tolerance

    def __repr__(self) -> str:
        """Table of the layers, and the verdict."""
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

    The derivative by a parameter p is compared with (C(p + h) − C(p − h)) / 2h, computed in float64 on the network's
    own backend, whatever its dtype. The relative error of two numbers is their difference divided by the larger one, or
    by a thousandth of the largest derivative of the array if that is more: far smaller ones drown in rounding.

    Parameters
    ----------
    net
        The network; it is not changed.
    x, y
        Inputs and targets, as in `Network.backward`. A few examples are enough, but more than one.
    most
        How many parameters of each array to check, drawn at random; None for all.
    step
        h.
    tolerance
        The largest relative error that passes. Where h steps over the kink of a ReLU, central differences are wrong by
        much more: take another seed of weights, or a smaller h.
    seed
        Of the draw.

    Returns
    -------
    GradientCheck
        A row for the weights and for the biases of each layer.

    Raises
    ------
    ValueError
        If an argument is wrong.

    Examples
    --------
    >>> net = Network([3, 4, 2], seed=0)
    >>> check = check_gradients(net, [[1, 2, 3], [4, 5, 6]], [0, 1])
    >>> check.passed, len(check.rows)
    (True, 4)
    """
    most = None if most is None else count("most", most, 1)
    between("step", step, 0, np.inf, "1e-5 is usual")
    between("tolerance", tolerance, 0, np.inf, "1e-5 is usual")
    rng = np.random.default_rng(seed)
    twin = net.to(dtype="float64")
    gradient = [[twin.backend.to_numpy(part) for part in layer] for layer in twin.backward(x, y)]
    start = [(np.array(twin.backend.to_numpy(w)), np.array(twin.backend.to_numpy(b))) for w, b in twin.layers]
    with twin.backend.scope(twin.dtype):
        source = Kept(twin.examples(x, y)[0])
    rows = []
    for l, layer in enumerate(gradient):
        for part, name in enumerate(("w", "b")):
            found, parameter = layer[part], start[l][part]
            picked = np.arange(found.size)
            if most is not None and found.size > most:
                picked = np.sort(rng.choice(found.size, most, replace=False))

            def cost(place: int, shift: float, parameter: np.ndarray = parameter) -> float:
                kept, parameter.flat[place] = parameter.flat[place], parameter.flat[place] + shift
                twin.layers = start
                parameter.flat[place] = kept
                with twin.backend.scope(twin.dtype):
                    return measure(twin, source)["cost"]

            rows.append({"layer": l + 1, "parameter": name} | _compared(found, picked, cost, step))
    return GradientCheck(rows, tolerance)


def _compared(
    found: np.ndarray, picked: np.ndarray, cost: Callable[[int, float], float], step: float
) -> dict[str, Any]:
    """Compare an array of derivatives, at the places picked, with differences of the cost."""
    differences = np.array([(cost(i, step) - cost(i, -step)) / (2 * step) for i in picked])
    exact = found.ravel()[picked]
    scale = np.maximum(np.maximum(np.abs(exact), np.abs(differences)), 1e-3 * np.abs(found).max())
    errors = np.abs(exact - differences) / np.where(scale > 0, scale, 1.0)
    worst = int(np.argmax(errors))
    return {
        "checked": len(picked),
        "of": found.size,
        "error": float(errors[worst]),
        "at": tuple(int(i) for i in np.unravel_index(picked[worst], found.shape)),
        "backward": float(exact[worst]),
        "differences": float(differences[worst]),
    }
