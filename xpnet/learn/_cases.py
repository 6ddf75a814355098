"""Random networks with their right gradients, and the gradients that a learner's function returns for them."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Layers
from xpnet.core.backprop import forward
from xpnet.core.model import Model
from xpnet.learn._mutations import RIGHT, Backward, Equations, backpropagate
from xpnet.network.network import Network

TOLERANCE = 1e-5  # largest difference that passes, relative to the largest derivative of an array
NEGLIGIBLE = 1e-6  # arrays this much smaller than the largest are rounding
CANCELLATION = 0.03  # of a sum, relative to that of the absolute values
ATTEMPTS = 50  # to draw a network in which no gradient vanishes and no activation is huge

Gradients = tuple[list[np.ndarray], list[np.ndarray]]  # of the weights and of the biases of each layer


# Random networks


class Case(NamedTuple):
    """A random network and minibatch, with examples in rows.

    Parameters
    ----------
    kind
        How its sizes were chosen: "given", "wide", "square", "deep" or "shallow".
    model, layers, x, y
        The network and the minibatch.
    factor
        From the mean over the examples to what is asked for: 1, or m for the sum.
    right
        The right gradients of weights (n_out, n_in) and biases (1, n_out).
    zs, activations
        The right forward pass.
    """

    kind: str
    model: Model
    layers: Layers
    x: np.ndarray
    y: np.ndarray
    factor: float
    right: Gradients
    zs: list[np.ndarray]
    activations: list[np.ndarray]

    def apply(
        self, equations: Equations, model: Model | None = None, last: Equations | None = None
    ) -> Gradients | None:
        """Compute the gradients by other equations, or for other activations and costs; None if shapes do not fit.

        `last` holds the BP3 and BP4 of the last layer, if they are others.
        """
        zs, activations = self.zs, self.activations
        try:
            with np.errstate(all="ignore"):
                if model is not None:
                    zs, activations = forward(self.layers, model.sigmas, self.x, np)
                model = model or self.model
                rest = model.sigmas, model.output.given(self.x), zs, activations, self.y, np
                gradients = backpropagate(equations, self.layers, *rest, last, self.factor)
        except ValueError:
            return None
        return [np.asarray(w) for w, _ in gradients], [np.asarray(b) for _, b in gradients]

    def cancels(self) -> bool:
        """Tell whether the examples of a layer almost cancel, so that rounding in float32 looks like a mistake."""
        y, output = self.y, self.model.output.given(self.x)
        backward = Backward(RIGHT, self.layers, self.model.sigmas, output, self.zs, self.activations, y, np)
        for l, arrays in enumerate(zip(*self.right)):
            delta, a = np.abs(self.factor * np.asarray(backward.delta(l))), np.abs(self.activations[l])
            for array, terms in zip(arrays, (delta.T @ a, delta.sum(axis=0))):
                if np.max(np.abs(array)) < CANCELLATION * np.max(terms):
                    return True
        return False

    def saturate(self, largest: float) -> Case:
        """Scale the inputs until the largest |z| of the first layer has this value."""
        x = self.x * (largest / float(np.max(np.abs(self.zs[0]))))
        model = self.model
        with np.errstate(all="ignore"):
            zs, activations = forward(self.layers, model.sigmas, x, np)
            rest = model.sigmas, model.output.given(x), zs, activations, self.y, np
            right = backpropagate(RIGHT, self.layers, *rest)
        return self._replace(x=x, right=([w for w, _ in right], [b for _, b in right]), zs=zs, activations=activations)


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
        """Draw n cases: of the given sizes; "wide", different and above 1; "square", all equal; "deep", or "shallow".

        A deep network is square, with more hidden layers. The numbers of examples differ from each other and from all
        sizes, so that shapes show what was summed; but in the last square case that of the examples is equal, too.
        """
        sizes = self._choose_sizes(kind)
        net = Network(sizes, dtype="float64", seed=0, **self.settings)
        numbers = [m for m in range(4, 5 + n + len(sizes)) if m not in sizes][:n]
        if kind == "square":
            numbers[-1] = sizes[0]
        for m in numbers:
            yield self._draw_case(kind, net, m)

    def _choose_sizes(self, kind: str) -> list[int]:
        sizes, block = list(self.model.sizes), self.model.cost.outputs_per_target
        if kind == "given":
            return sizes
        if kind == "shallow":
            return [sizes[0], sizes[-1]]
        if kind in ("square", "deep"):
            return [block * math.ceil(4 / block)] * (len(sizes) if kind == "square" else max(len(sizes), 3) + 1)
        hidden = [(5, 3, 4)[l % 3] for l in range(len(sizes) - 1)]  # three in a row differ
        taken = *hidden, sizes[-1]
        return [*hidden, next(n for n in range(3, 99) if n % block == 0 and n not in taken)]

    def _draw_case(self, kind: str, net: Network, m: int) -> Case:
        model = net.value.model
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
            layers = net.value.layers
            zs, activations = (list(map(np.asarray, arrays)) for arrays in forward(layers, model.sigmas, x, np))
            case = Case(kind, model, layers, x, y, factor, right, zs, activations)
            is_moderate = max(np.max(np.abs(a)) for a in activations) < 20.0 and min(largest) > 1e-4 * max(largest)
            if is_moderate and not case.cancels():
                break
        return case

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
    """The outcome of a call of the learner's function: a result or an error, and the arguments that it changed."""

    case: Case
    result: Any = None
    error: Exception | None = None
    changed: tuple[str, ...] = ()


def ask(backward: Callable[..., Any], case: Case, layout: str) -> Answer:
    """Call the learner's function with copies of a case."""
    of_layout = (lambda array: array) if layout == "rows" else (lambda array: array.T)
    weights = {f"the weights of layer {l}": w for l, (w, _) in enumerate(case.layers, 1)}
    biases = {f"the biases of layer {l}": b[0] if layout == "rows" else b.mT for l, (_, b) in enumerate(case.layers, 1)}
    data = {"x": of_layout(case.x), "y": of_layout(case.y)}
    given = [[np.array(array, order="C") for array in arrays.values()] for arrays in (weights, biases, data)]
    result = failure = None
    try:
        result = _copy(backward(given[0], given[1], *given[2]))
    except Exception as error:
        failure = error
    changed = []
    for arrays, afterwards in zip((weights, biases, data), given):
        for i, (name, array) in enumerate(arrays.items()):
            if len(afterwards) <= i or not np.array_equal(np.asarray(array), afterwards[i]):
                changed.append(name)
    return Answer(case, result, failure, tuple(changed))


def _copy(result: Any) -> Any:
    """Copy what the function returns: it may use the same arrays again."""
    if isinstance(result, (list, tuple)) or (isinstance(result, np.ndarray) and result.dtype == object and result.ndim):
        return [_copy(item) for item in result]  # an array of arrays is read as a list of them
    return np.array(result) if hasattr(result, "shape") else result


def are_same(result: Any, other: Any) -> bool:
    """Tell whether two results are equal, NaN included."""
    if isinstance(result, list) and isinstance(other, list):
        return len(result) == len(other) and all(map(are_same, result, other))
    array = np.asarray(result)
    return result is other or (array.shape == np.shape(other) and bool(np.all((array == other) | (array != array))))


# Reading what the function returned


class UnreadableError(Exception):
    """The result is not two lists of arrays; the message says what it is."""


class Reading(NamedTuple):
    """A way to find the gradients in a result: the right one, or a mistaken one with a note that says so."""

    note: str
    read: Callable[[Any], tuple[Any, Any]]


READINGS = (
    Reading("", lambda result: (result[0], result[1])),
    Reading(
        "Your function returns the biases' gradients first, as the book's backprop does; return those of the weights "
        "first",
        lambda result: (result[1], result[0]),
    ),
    Reading(
        "Your function returns the layers in the reverse order; begin with the first layer after the inputs",
        lambda result: (result[0][::-1], result[1][::-1]),
    ),
    Reading(
        "Your function returns the biases' gradients first, and the layers in the reverse order; return those of the "
        "weights first, each list from the first layer after the inputs",
        lambda result: (result[1][::-1], result[0][::-1]),
    ),
    Reading(
        "Your function returns a pair for each layer; return two lists, one for the weights and one for the biases",
        lambda result: tuple(zip(*result, strict=True)),  # type: ignore
    ),
)


def choose_reading(answers: Sequence[Answer]) -> Reading:
    """Choose the reading in which most shapes fit, and all results are nests; the right one if several do."""
    return max(READINGS, key=lambda reading: sum(count_fits(answer, reading) for answer in answers))


def count_fits(answer: Answer, reading: Reading) -> float:
    """Count the lists, of weights and of biases, whose shapes fit in a reading, apart from axes of length 1."""
    if answer.error:
        return 0
    try:
        shapes = [[np.squeeze(array).shape for array in arrays] for arrays in reading.read(answer.result)]
    except Exception:  # its result is no nest of this kind
        return -math.inf
    return sum(given == [np.squeeze(array).shape for array in right] for given, right in zip(shapes, answer.case.right))


def is_complete(answer: Answer, reading: Reading) -> bool:
    """Tell whether a result has gradients of all layers, none of which is 0 as if nothing had been filled in."""
    return count_fits(answer, reading) == 2 and all(
        np.any(part) for parts in reading.read(answer.result) for part in parts
    )


def read(result: Any, reading: Reading, n: int) -> Gradients:
    """Turn a result into arrays in float64, of whatever shapes."""
    if result is None:
        raise UnreadableError(
            "Your function returns None; end it with a return of two lists, for weights and for biases"
        )
    if not isinstance(result, list) or (len(result) != 2 and reading.read is not READINGS[-1].read):
        raise UnreadableError(
            f"Your function returns {_describe(result)}; return two lists, the gradients of weights and of biases"
        )
    weights, biases = reading.read(result)
    gradients: Gradients = ([], [])
    for arrays, parts, name in zip(gradients, (weights, biases), ("weights", "biases")):
        if not hasattr(parts, "__len__") or len(parts) != n:
            raise UnreadableError(
                f"Your function returns {_describe(parts)} for the {name}; return a list with an array for each layer "
                f"after the inputs, {n} in all"
            )
        for l, part in enumerate(parts, 1):
            if part is None:
                raise UnreadableError(f"The gradient of the {name} of layer {l} is None: it was not filled in")
            try:
                if np.iscomplexobj(part):
                    raise UnreadableError(f"The gradient of the {name} of layer {l} is complex; return real numbers")
                arrays.append(np.asarray(part, dtype=np.float64))
            except (TypeError, ValueError):
                raise UnreadableError(
                    f"The gradient of the {name} of layer {l} is no array of numbers: {reprlib.repr(part)}"
                ) from None
    return gradients


def _describe(thing: Any) -> str:
    if isinstance(thing, np.ndarray):
        return f"an array of shape {thing.shape}"
    return f"a list of {len(thing)}" if isinstance(thing, (list, tuple)) else f"one {type(thing).__name__}"


# Comparing


def find_largest(gradients: Gradients) -> float:
    """Find the largest absolute value of gradients, which says how large a difference is negligible."""
    return max(np.max(np.abs(array)) for arrays in gradients for array in arrays)


def is_close(array: np.ndarray, other: np.ndarray, largest: float) -> bool:
    """Tell whether an array equals another, of gradients with this largest absolute value."""
    return array.shape == other.shape and measure_error(array, other, largest) <= TOLERANCE


def measure_error(array: np.ndarray, other: np.ndarray, largest: float) -> float:
    """Measure the largest difference from an array, relative to its largest number."""
    scale = max(np.max(np.abs(other)), NEGLIGIBLE * largest)
    return float(np.max(np.abs(array - other)) / (scale if scale > 0 else 1.0))


def to_layout(right: Gradients, layout: str) -> Gradients:
    """Give the biases' gradients (1, n_out) the shape of the biases in a layout."""
    return right[0], [b[0] if layout == "rows" else b.mT for b in right[1]]


def compare(case: Case, gradients: Gradients, layout: str) -> list[dict[str, Any]]:
    """Compare with the right gradients, array by array."""
    right = to_layout(case.right, layout)
    largest, rows = find_largest(right), []
    for l in range(len(case.layers)):
        for part, name in enumerate("wb"):
            yours, correct = gradients[part][l], right[part][l]
            row = {"layer": l + 1, "parameter": name, "passed": False, "error": math.nan, "at": None}
            if yours.shape != correct.shape:
                rows.append({**row, "yours": yours.shape, "right": correct.shape})
                continue
            at = np.unravel_index(np.argmax(np.abs(yours - correct)), correct.shape)  # NaN is the largest
            row["error"] = measure_error(yours, correct, largest)
            row["passed"] = is_close(yours, correct, largest)
            row["at"] = tuple(int(i) for i in at)
            rows.append({**row, "yours": float(yours[at]), "right": float(correct[at])})
    return rows


def are_equal(gradients: Gradients, candidate: Gradients, layout: str) -> bool:
    """Tell whether gradients are those of a candidate, apart from missing axes and axes of length 1.

    A candidate's single number may also be in each place of the biases, as where it was added to zeros.
    """
    largest = find_largest(candidate)
    for arrays, others in zip(gradients, (candidate[0], [b if layout == "rows" else b.T for b in candidate[1]])):
        for array, other, w in zip(arrays, others, candidate[0]):
            expected = np.full_like(array, other.item()) if other.size == 1 and array.size == len(w) else other
            if not is_close(restore_shape(array, expected), expected, largest):
                return False
    return True


def is_finite(result: Any) -> bool:
    """Tell whether all numbers of a result are finite."""
    if isinstance(result, (list, tuple)):
        return all(map(is_finite, result))
    try:
        return bool(np.isfinite(result).all())
    except (TypeError, ValueError):  # it is no array of numbers
        return False


def restore_shape(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Give an array the shape of another if it has only lost or gained axes: flattened, or with axes of length 1."""
    squeezed = [tuple(n for n in shape if n > 1) for shape in (array.shape, other.shape)]
    if array.shape != other.shape and array.size == other.size and min(map(len, squeezed)) < 2:
        return array.reshape(other.shape)
    return array


def find_misshapen(case: Case, gradients: Gradients, layout: str) -> dict[tuple[int, str], bool]:
    """Find the gradients of a wrong shape: their layer and parameter, and whether `restore_shape` mends it."""
    right = to_layout(case.right, layout)
    return {
        (l, name): restore_shape(array, other).shape == other.shape
        for arrays, others, name in zip(gradients, right, "wb")
        for l, (array, other) in enumerate(zip(arrays, others), 1)
        if array.shape != other.shape
    }
