"""Random networks and minibatches for `check_backprop`, and what a learner's function makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Layers
from xpnet.core.backprop import forward
from xpnet.core.model import Model
from xpnet.learn.mutations import Equations, backpropagate
from xpnet.network import Network
from xpnet.wording.errors import unless_stopped

TOLERANCE = 1e-5  # largest difference that passes, relative to the largest derivative of an array
NEGLIGIBLE = 1e-6  # arrays this much smaller than the largest are rounding
ATTEMPTS = 50  # to draw a network in which no gradient vanishes and no activation is huge

Gradients = tuple[list[np.ndarray], list[np.ndarray]]  # of the weights and of the biases of each layer


# Random networks


class Case(NamedTuple):
    """A random network and minibatch, with examples in rows.

    Parameters
    ----------
    kind
        How its sizes were chosen: "given", "wide" or "square".
    model, layers, x, y
        The network and the minibatch.
    factor
        From the mean over the examples to what is asked for: 1, or m for the sum.
    right
        The right gradients of weights (n_out, n_in) and biases (1, n_out).
    """

    kind: str
    model: Model
    layers: Layers
    x: np.ndarray
    y: np.ndarray
    factor: float
    right: Gradients

    def apply(self, equations: Equations, model: Model | None = None) -> Gradients | None:
        """Compute the gradients by other equations, or for other activations and costs; None if shapes do not fit."""
        model = model or self.model
        try:
            with np.errstate(all="ignore"):
                zs, activations = forward(self.layers, model.sigmas, self.x, np)  # type: ignore
                rest = model.sigmas, model.output, zs, activations, self.y, np
                gradients = backpropagate(equations, self.layers, *rest)  # type: ignore
        except ValueError:
            return None
        return [self.factor * w for w, _ in gradients], [self.factor * b for _, b in gradients]


class Cases:
    """Draws cases.

    Parameters
    ----------
    model
        The network that is asked for.
    settings
        Its activations and cost, as arguments of `Network`.
    reduction
        "mean" or "sum".
    rng
        Draws weights and minibatches.
    """

    def __init__(self, model: Model, settings: dict[str, Any], reduction: str, rng: np.random.Generator) -> None:
        self.model, self.settings, self.reduction, self.rng = model, settings, reduction, rng

    def draw(self, kind: str, n: int) -> Iterator[Case]:
        """Draw n cases: of the given sizes; of sizes that are "wide", different and above 1; or "square", all equal.

        The numbers of examples differ from each other and from all sizes, so that shapes show what was summed.
        """
        sizes = self._choose_sizes(kind)
        net = Network(sizes, dtype="float64", seed=0, **self.settings)
        for m in [m for m in range(4, 5 + n + len(sizes)) if m not in sizes][:n]:
            yield self._draw_case(kind, net, m)

    def _choose_sizes(self, kind: str) -> list[int]:
        sizes, block = list(self.model.sizes), self.model.cost.outputs_per_target
        if kind == "given":
            return sizes
        if kind == "square":
            return [block * math.ceil(4 / block)] * len(sizes)
        hidden = [(5, 3, 4)[l % 3] for l in range(len(sizes) - 1)]  # three in a row differ
        return [*hidden, next(n for n in range(2, 99) if n % block == 0 and n not in hidden[-2:])]

    def _draw_case(self, kind: str, net: Network, m: int) -> Case:
        model = net.view.model
        for _ in range(ATTEMPTS):
            net.layers = [
                (0.8 * self.rng.normal(size=(n_out, n_in)) / math.sqrt(n_in), 0.5 * self.rng.normal(size=n_out))
                for n_out, n_in in model.shapes
            ]
            x, y = self.rng.normal(size=(m, model.n_in)), self._draw_targets(model, m)
            factor = float(m) if self.reduction == "sum" else 1.0
            gradients = net.backward(x, y)
            right = [factor * gw for gw, _ in gradients], [factor * gb[None, :] for _, gb in gradients]
            largest = [np.max(np.abs(array)) for arrays in right for array in arrays]
            activation = max(np.max(np.abs(a)) for a in net.activations(x))
            if activation < 20.0 and min(largest) > 1e-4 * max(largest):
                break
        return Case(kind, model, net.view.layers, x, y, factor, right)

    def _draw_targets(self, model: Model, m: int) -> np.ndarray:
        shape, output = (m, model.n_targets), model.sigmas[-1]
        if output.total is not None:
            return np.eye(model.n_targets)[self.rng.integers(model.n_targets, size=m)]
        if output.low == -math.inf:
            return self.rng.normal(size=shape)
        if output.high == math.inf:
            return output.low + self.rng.exponential(size=shape)
        return self.rng.uniform(output.low, output.high, size=shape)


# A learner's function


class Answer(NamedTuple):
    """What the learner's function did with a case: a result, or an error; and the arguments that it changed."""

    case: Case
    result: Any = None
    error: Exception | None = None
    changed: tuple[str, ...] = ()


def ask(backward: Callable[..., Any], case: Case, layout: str) -> Answer:
    """Call the learner's function with copies of a case."""
    of_layout = (lambda array: array) if layout == "rows" else (lambda array: array.T)
    weights = {f"the weights of layer {l}": w for l, (w, _) in enumerate(case.layers, 1)}
    biases = {f"the biases of layer {l}": b[0] if layout == "rows" else b.T for l, (_, b) in enumerate(case.layers, 1)}
    data = {"x": of_layout(case.x), "y": of_layout(case.y)}
    given = [[np.array(array, order="C") for array in arrays.values()] for arrays in (weights, biases, data)]
    result = failure = None
    try:
        result = _copy(backward(given[0], given[1], *given[2]))
    except unless_stopped(Exception) as error:
        failure = error
    changed = []
    for arrays, afterwards in zip((weights, biases, data), given):
        for i, (name, array) in enumerate(arrays.items()):
            if len(afterwards) <= i or not np.array_equal(array, afterwards[i]):
                changed.append(name)
    return Answer(case, result, failure, tuple(changed))


def _copy(result: Any) -> Any:
    """Copy what the function returns: it may use the same arrays again."""
    if isinstance(result, (list, tuple)):
        return [_copy(item) for item in result]
    return np.array(result) if hasattr(result, "shape") else result


def is_close(array: np.ndarray, other: np.ndarray, others: list[np.ndarray]) -> bool:
    """Tell whether an array equals one of `others`, all of which say how large a difference is negligible."""
    return array.shape == other.shape and measure_error(array, other, others) <= TOLERANCE


def measure_error(array: np.ndarray, other: np.ndarray, others: list[np.ndarray]) -> float:
    """Measure the largest difference from an array, relative to its largest number."""
    scale = max(np.max(np.abs(other)), NEGLIGIBLE * max(np.max(np.abs(array)) for array in others))
    return float(np.max(np.abs(array - other)) / (scale if scale > 0 else 1.0))
