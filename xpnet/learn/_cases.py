"""Random networks with their right gradients, and the gradients that a learner's function returns for them."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Layers
from xpnet.core.backprop import backward, deltas, forward
from xpnet.core.model import Model
from xpnet.network.network import Network

TOLERANCE = 1e-5  # largest difference that passes, relative to the largest derivative of an array
NEGLIGIBLE = 1e-6  # arrays this much smaller than the largest are rounding
CANCELLATION = 0.03  # of a sum, relative to that of the absolute values
ATTEMPTS = 50  # to draw a network in which no gradient vanishes and no activation is huge

Gradients = list[tuple[np.ndarray, np.ndarray]]  # of the weights and of the biases of each layer


# Random networks


def compute_gradients(model: Model, layers: Layers, x: np.ndarray, y: np.ndarray) -> Layers:
    """Compute the right gradients of the mean cost."""
    passed = forward(layers, model.sigmas, x, np)
    return backward(layers, model.sigmas, model.output.with_inputs(x), *passed, y, np)


class Form(NamedTuple):
    """The shapes of the arrays that a learner's function takes.

    Parameters
    ----------
    layout
        "rows" or "columns" for the examples; "row" or "column" for the first of them alone, a vector or a column.
    transposed
        Whether the weights, and their gradients, are (n_in, n_out), not (n_out, n_in).
    labels
        Whether y holds the index of the target that is 1, not the targets.
    flat
        Whether biases are (n_out,) beside examples in columns, too.
    """

    layout: str
    transposed: bool = False
    labels: bool = False
    flat: bool = False

    def turn(self, array: np.ndarray) -> np.ndarray:
        """Give an array with examples in rows the layout."""
        return {"rows": array, "columns": array.T, "row": array[0], "column": array[:1].T}[self.layout]


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
    form
        That of the learner's function.
    earlier
        The case before this one that has the same shapes, if there is one.
    """

    kind: str
    model: Model
    layers: Any  # NumPy arrays, as those of all that is computed of them
    x: np.ndarray
    y: np.ndarray
    factor: float
    form: Form
    earlier: Case | None = None

    @property
    def sizes(self) -> str:
        """The sizes, as a report shows them."""
        return "-".join(map(str, self.model.sizes))

    @property
    def right(self) -> Gradients:
        """The right gradients."""
        gradients = compute_gradients(self.model, self.layers, self.x, self.y)
        return [self.lay_out(self.factor * gw, self.factor * gb) for gw, gb in gradients]

    def lay_out(self, gw: Any, gb: Any) -> tuple[Any, Any]:
        """Give gradients in rows, those of the biases (1, n_out) if they are right, the shapes of the form."""
        in_columns = self.form.layout == "column" or (self.form.layout == "columns" and not self.form.flat)
        return gw.T if self.form.transposed else gw, gb.T if in_columns else gb[0] if len(gb) == 1 else gb

    @np.errstate(all="ignore")
    def is_clear(self) -> bool:
        """Tell whether no activation is huge, no gradient vanishes, and nowhere the examples almost cancel.

        Rounding in float32 would look like a mistake there.
        """
        sigmas, output = self.model.sigmas, self.model.output.with_inputs(self.x)
        activations: Any
        zs, activations = forward(self.layers, sigmas, self.x, np)
        of_outputs = output.delta(zs[-1], activations[-1], self.y, np) * self.factor / len(self.x)
        errors: Any = deltas(self.layers, sigmas, zs, activations, of_outputs, np)
        sizes, terms = [], []
        for (gw, gb), delta, a in zip(self.right, errors, activations):
            sizes += [np.max(np.abs(gw)), np.max(np.abs(gb))]
            terms += [np.max(np.abs(delta.T) @ np.abs(a)), np.max(np.abs(delta).sum(axis=0))]
        return (
            max(np.max(np.abs(a)) for a in activations) < 20.0
            and min(sizes) > 1e-4 * max(sizes)
            and all(size >= CANCELLATION * term for size, term in zip(sizes, terms))
        )

    def saturate(self, largest: float) -> Case:
        """Scale the inputs until the largest |z| of the first layer has this value."""
        zs: Any = forward(self.layers, self.model.sigmas, self.x, np)[0]
        return self._replace(x=self.x * (largest / float(np.max(np.abs(zs[0])))))


class Cases(NamedTuple):
    """Draws cases.

    Parameters
    ----------
    model
        The network that is asked for.
    settings
        Its activations and cost, as arguments of `Network`.
    form
        That of the learner's function.
    reduction
        "mean" or "sum".
    rng
        Draws weights and minibatches.
    """

    model: Model
    settings: dict[str, Any]
    form: Form
    reduction: str
    rng: np.random.Generator

    def draw(self, kind: str, n: int) -> Iterator[Case]:
        """Draw n cases: of the given sizes; "wide", different and above 1; "square", all equal; "deep", or "shallow".

        A deep network is square, with more hidden layers. The numbers of examples differ from each other and from all
        sizes, so that shapes show what was summed; but in the last square case that of the examples is equal, too, and
        the last of the given sizes has the shapes of the first, so that what a function keeps does not stay unnoticed.
        """
        sizes = self._choose_sizes(kind)
        model = Network(sizes, **self.settings).value.model
        numbers = [m for m in range(4, 5 + n + len(sizes)) if m not in sizes][:n]
        if kind == "square":
            numbers[-1] = sizes[0]
        if kind == "given":
            numbers[-1] = numbers[0]
        drawn: dict[int, Case] = {}
        for m in numbers:
            for _ in range(ATTEMPTS):
                case = self._draw_case(kind, model, m)._replace(earlier=drawn.get(m))
                if case.is_clear():
                    break
            drawn[m] = case
            yield case

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

    def _draw_case(self, kind: str, model: Model, m: int) -> Case:
        layers = tuple(
            (0.8 * self.rng.normal(size=(n_out, n_in)) / math.sqrt(n_in), 0.5 * self.rng.normal(size=(1, n_out)))
            for n_out, n_in in model.shapes
        )
        x, y = self.rng.normal(size=(m, model.n_in)), self._draw_targets(model, m)
        return Case(kind, model, layers, x, y, float(m) if self.reduction == "sum" else 1.0, self.form)

    def _draw_targets(self, model: Model, m: int) -> np.ndarray:
        shape, output = (m, model.n_targets), model.sigmas[-1]
        if output.total is not None or self.form.labels:
            return np.eye(model.n_targets)[self.rng.integers(model.n_targets, size=m)]
        if output.low == -math.inf:
            return self.rng.normal(size=shape)
        if output.high == math.inf:
            return output.low + self.rng.exponential(size=shape)
        return self.rng.uniform(output.low, output.high, size=shape)


# A learner's function


class Answer(NamedTuple):
    """The outcome of a call of the learner's function: a result or an error, and the arguments that it changed.

    `gradients` holds what `read` makes of the result.
    """

    case: Case
    result: Any = None
    error: Exception | None = None
    changed: tuple[str, ...] = ()
    gradients: Gradients | None = None


def ask(backward: Callable[..., Any], case: Case) -> Answer:
    """Call the learner's function with copies of a case."""
    form, gradients = case.form, [case.lay_out(*layer) for layer in case.layers]  # the weights have their shapes
    weights = {f"the weights of layer {l}": w for l, (w, _) in enumerate(gradients, 1)}
    biases = {f"the biases of layer {l}": b for l, (_, b) in enumerate(gradients, 1)}
    data = {"x": form.turn(case.x), "y": form.turn(case.y.argmax(axis=1) if form.labels else case.y)}
    given = [[np.array(array, order="C") for array in arrays.values()] for arrays in (weights, biases, data)]
    result = failure = None
    try:
        result = _copy(backward(given[0], given[1], *given[2]))
    except Exception as error:
        failure = error
    changed = [
        name
        for arrays, afterwards in zip((weights, biases, data), given)
        for i, (name, array) in enumerate(arrays.items())
        if len(afterwards) <= i or not np.array_equal(array, afterwards[i])
    ]
    return Answer(case, result, failure, tuple(changed))


def _copy(result: Any) -> Any:
    """Copy what the function returns: it may use the same arrays again. A dict becomes one list, or two."""
    if isinstance(result, dict):
        return _list_values(result)
    if isinstance(result, (list, tuple)) or (isinstance(result, np.ndarray) and result.dtype == object and result.ndim):
        return [_copy(item) for item in result]  # an array of arrays is read as a list of them
    return np.array(result) if hasattr(result, "shape") else result


def _list_values(arrays: dict[Any, Any]) -> list[Any]:
    """List the arrays of a dict in the order of the numbers in its keys; apart if keys have w or b, such as dW1."""
    keys = sorted(arrays, key=lambda key: int("".join(filter(str.isdigit, str(key))) or 0))
    lists = [[_copy(arrays[key]) for key in keys if letter in str(key).lower()] for letter in "wb"]
    values = [_copy(arrays[key]) for key in keys]
    return lists if all(lists) and not isinstance(values[0], list) else values


def are_same(result: Any, other: Any) -> bool:
    """Tell whether two results are equal, NaN included."""
    if isinstance(result, list) and isinstance(other, list):
        return len(result) == len(other) and all(map(are_same, result, other))
    array = np.asarray(result)
    return result is other or (array.shape == np.shape(other) and bool(np.all((array == other) | (array != array))))


# Reading what the function returned


class UnreadableError(Exception):
    """The result is not two lists of arrays; the message says what it is."""


# Ways to find the gradients in a result: the right one, and mistaken ones with a note that says so
PAIRS = "Your function returns a pair for each layer; return two lists, one for the weights and one for the biases"
READINGS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "": lambda result: (result[0], result[1]),
    (
        "Your function returns the biases' gradients first, as the book's backprop does; return those of the weights "
        "first"
    ): lambda result: (result[1], result[0]),
    "Your function returns the layers in the reverse order; begin with the first layer after the inputs": (
        lambda result: (result[0][::-1], result[1][::-1])
    ),
    (
        "Your function returns the biases' gradients first, and the layers in the reverse order; return those of the "
        "weights first, each list from the first layer after the inputs"
    ): lambda result: (result[1][::-1], result[0][::-1]),
    PAIRS: lambda result: tuple(zip(*result, strict=True)),  # type: ignore
    "Your function returns one list; return two, here gradients[::2] and gradients[1::2]": (
        lambda result: (result[::2], result[1::2])
    ),
    "Your function returns a number too, such as the cost; return the gradients alone": (
        lambda result: _drop_numbers(result)
    ),
}


def _drop_numbers(result: list[Any]) -> Any:
    kept = [item for item in result if getattr(item, "ndim", isinstance(item, list))]
    return kept[0] if len(kept) == 1 else kept


def choose_reading(answers: Sequence[Answer]) -> str:
    """Choose the reading in which most shapes fit and all results are nests; the right one if several do."""
    return max(READINGS, key=lambda reading: sum(_count_fits(answer, reading) for answer in answers))


def _count_fits(answer: Answer, reading: str) -> float:
    """Count the lists, of weights and of biases, whose shapes fit in a reading, apart from axes of length 1."""
    if answer.error:
        return 0
    try:
        shapes = [[np.squeeze(array).shape for array in arrays] for arrays in READINGS[reading](answer.result)]
    except Exception:  # its result is no nest of this kind
        return -math.inf
    return sum(
        given == [np.squeeze(array).shape for array in right] for given, right in zip(shapes, zip(*answer.case.right))
    )


def choose_form(backward: Callable[..., Any], cases: Sequence[Case]) -> Form:
    """Choose another form if a function raises an error for a case, and in the other runs and all shapes fit."""
    output, several = cases[0].model.sigmas[-1], all(case.model.n_targets > 1 for case in cases)
    has_classes = output.total is not None or (several and (output.low, output.high) == (0.0, 1.0))
    with_labels = (False, True) if has_classes else (False,)
    for case in (case for case in cases if ask(backward, case).error):
        layouts = sorted(("rows", "columns"), key=lambda layout: layout != case.form.layout)
        for choice in product((*layouts, "row", "column"), (False, True), with_labels, (False, True)):
            form = Form(*choice)
            answer = ask(backward, case._replace(form=form))
            if _count_fits(answer, choose_reading([answer])) == 2:
                return form
    return cases[0].form


def is_complete(answer: Answer, reading: str) -> bool:
    """Tell whether a result has gradients of all layers, none of which is 0 as if nothing had been filled in."""
    return _count_fits(answer, reading) == 2 and all(
        np.any(part) for parts in READINGS[reading](answer.result) for part in parts
    )


def read(result: Any, reading: str, n: int) -> Gradients:
    """Turn a result into arrays in float64, of whatever shapes."""
    if result is None:
        raise UnreadableError(
            "Your function returns None; end it with a return of two lists, for weights and for biases"
        )
    if not isinstance(result, list) or (len(result) != 2 and not reading):
        raise UnreadableError(
            f"Your function returns {_describe(result)}; return two lists, the gradients of weights and of biases"
        )
    gradients: list[list[np.ndarray]] = [[], []]
    for arrays, parts, name in zip(gradients, READINGS[reading](result), ("weights", "biases")):
        if not hasattr(parts, "__len__") or len(parts) != n:
            raise UnreadableError(
                f"Your function returns {_describe(parts)} for the {name}; return a list with an array for each layer "
                f"after the inputs, {n} in all"
            )
        for l, part in enumerate(parts, 1):
            of_layer = f"The gradient of the {name} of layer {l}"
            if part is None:
                raise UnreadableError(f"{of_layer} is None: it was not filled in")
            try:
                if np.iscomplexobj(part):
                    raise UnreadableError(f"{of_layer} is complex; return real numbers")
                arrays.append(np.asarray(part, dtype=np.float64))
            except (TypeError, ValueError):
                raise UnreadableError(f"{of_layer} is no array of numbers: {reprlib.repr(part)}") from None
    return list(zip(*gradients))


def _describe(thing: Any) -> str:
    if isinstance(thing, np.ndarray):
        return f"an array of shape {thing.shape}"
    return f"a list of {len(thing)}" if isinstance(thing, (list, tuple)) else f"one {type(thing).__name__}"


# Comparing


def _find_largest(gradients: Iterable[Iterable[np.ndarray]]) -> float:
    """Find the largest absolute value of gradients, which says how large a difference is negligible."""
    return max(np.max(np.abs(array)) for pair in gradients for array in pair)


def is_close(array: np.ndarray, other: np.ndarray, largest: float) -> bool:
    """Tell whether an array equals another, of gradients with this largest absolute value."""
    return array.shape == other.shape and _measure_error(array, other, largest) <= TOLERANCE


def _measure_error(array: np.ndarray, other: np.ndarray, largest: float) -> float:
    """Measure the largest difference from an array, relative to its largest number."""
    scale = max(np.max(np.abs(other)), NEGLIGIBLE * largest)
    return float(np.max(np.abs(array - other)) / (scale if scale > 0 else 1.0))


def compare(answer: Answer) -> list[dict[str, Any]]:
    """Compare with the right gradients, array by array."""
    right = answer.case.right
    largest, rows = _find_largest(right), []
    gradients: Any = answer.gradients
    for l, (own, expected) in enumerate(zip(gradients, right), 1):
        for name, yours, correct in zip("wb", own, expected):
            row = {"layer": l, "parameter": name, "passed": False, "error": math.nan, "at": None}
            if yours.shape != correct.shape:
                rows.append({**row, "yours": yours.shape, "right": correct.shape})
                continue
            at = np.unravel_index(np.argmax(np.abs(yours - correct)), correct.shape)  # NaN is the largest
            row["error"] = _measure_error(yours, correct, largest)
            row["passed"] = is_close(yours, correct, largest)
            row["at"] = tuple(int(i) for i in at)
            rows.append({**row, "yours": float(yours[at]), "right": float(correct[at])})
    return rows


def are_equal(gradients: Sequence[tuple[Any, Any]], candidate: Iterable[tuple[Any, Any]]) -> bool:
    """Tell whether gradients are those of a candidate, apart from missing axes and axes of length 1.

    A candidate's single number may also be in each place of the biases, as where it was added to zeros.
    """
    largest = _find_largest(gradients)
    return all(
        is_close(_restore_shape(array, expected), expected, largest)
        for pair, others in zip(gradients, candidate)
        for array, other in zip(pair, others)
        for expected in [
            np.full_like(array, other.item()) if other.size == 1 and array.size in others[0].shape else other
        ]
    )


def is_finite(result: Any) -> bool:
    """Tell whether all numbers of a result are finite."""
    if isinstance(result, (list, tuple)):
        return all(map(is_finite, result))
    try:
        return bool(np.isfinite(result).all())
    except (TypeError, ValueError):  # it is no array of numbers
        return False


def _restore_shape(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Give an array the shape of another if it has only lost or gained axes: flattened, or with axes of length 1."""
    squeezed = [tuple(n for n in shape if n > 1) for shape in (array.shape, other.shape)]
    if array.shape != other.shape and array.size == other.size and min(map(len, squeezed)) < 2:
        return array.reshape(other.shape)
    return array


def find_misshapen(answer: Answer) -> dict[tuple[int, str], bool]:
    """Find the gradients of a wrong shape: their layer and parameter, and whether `_restore_shape` mends it."""
    return {
        (l, name): _restore_shape(array, other).shape == other.shape
        for l, (pair, others) in enumerate(zip(answer.gradients, answer.case.right), 1)  # type: ignore
        for array, other, name in zip(pair, others, "wb")
        if array.shape != other.shape
    }
