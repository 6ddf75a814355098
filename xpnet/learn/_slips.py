"""More mistakes that people write, for `check_backprop`: a line that takes a wrong array, or a wrong formula.

Each is a line of a `mutations.Backward`, which has all arrays of the pass at hand. An array of an equation is replaced
by each of a table: σ′ by `SLOPES` in BP1, in BP2 and in both; a − y by `DIFFERENCES` in BP1; δ by `DELTAS` in BP2, in
BP3, in BP4 and in both of them; and so on. `FITTED` holds those with a number that only the learner knows, such as a
learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.costs import Fused
from xpnet.learn._mutations import RIGHT, Backward, Mistake, make_mistake

Line = Callable[[Backward, int], Array]


def _pluralize(mistake: str) -> str:
    """Put the verb, with which a phrase begins, into the plural."""
    verb, _, rest = mistake.partition(" ")
    return f"{'multiply' if verb == 'multiplies' else verb.removesuffix('s')} {rest}"


def _make_lines(equation: str, remedy: str, lines: dict[str, Line], **changes: Any) -> list[Mistake]:
    """Make a mistake of each line of an equation."""
    line_of = f"{equation.lower()}_line"
    return [make_mistake(equation, words, remedy, **{line_of: line}, **changes) for words, line in lines.items()]


# BP1 and BP2

SLOPES: dict[str, Line] = {
    "takes a = σ(z) in place of σ′(z)": lambda s, l: s.a(l),
    "takes 1 − a in place of σ′(z)": lambda s, l: 1 - s.a(l),
    "takes −σ′(z) in place of σ′(z), as a (a − 1) or a² − 1 is": lambda s, l: -s.slope(l),
    "takes a (1 + a) in place of σ′(z)": lambda s, l: s.a(l) * (1 + s.a(l)),
    "takes 1 − a², the slope of tanh, in place of σ′(z)": lambda s, l: 1 - s.a(l) ** 2,
    "takes 1 + a² in place of σ′(z)": lambda s, l: 1 + s.a(l) ** 2,
    "takes a (1 − a), the slope of the sigmoid, in place of σ′(z)": lambda s, l: s.a(l) * (1 - s.a(l)),
    "takes a² in place of σ′(z)": lambda s, l: s.a(l) ** 2,
    "takes 1 where z > 0, the slope of a ReLU, in place of σ′(z)": lambda s, l: 1.0 * (s.zs[l] > 0),
    "takes z in place of σ′(z)": lambda s, l: s.zs[l],
    "multiplies by σ′(z) twice": lambda s, l: s.slope(l) ** 2,
    "divides by σ′(z), where it multiplies": lambda s, l: 1 / s.slope(l),
}


def _make_slope_slips() -> Iterator[Mistake]:
    remedy = "multiply by σ′(z) once: for the sigmoid a (1 − a), for tanh 1 − a²"
    for mistake, slope in SLOPES.items():

        def line(s: Backward, l: int, slope: Line = slope) -> Array:
            return s.error(l) * slope(s, l)

        yield make_mistake("BP1", mistake, remedy, bp1_line=line)
        yield make_mistake("BP2", mistake, remedy, bp2_line=line)
        yield make_mistake("BP1 and BP2", _pluralize(mistake), remedy, bp1_line=line, bp2_line=line)


def _mark_largest(array: np.ndarray) -> np.ndarray:
    return np.eye(array.shape[1])[array.argmax(axis=1)]


DIFFERENCES: dict[str, Callable[[Any, Any], Any]] = {
    "squares the error: it takes (a − y)² in place of its derivative": lambda a, y: (a - y) ** 2,
    "takes the cost itself, ½ (a − y)², in place of its derivative": lambda a, y: 0.5 * (a - y) ** 2,
    "takes |a − y| in place of a − y": lambda a, y: abs(a - y),
    "takes the sign of a − y in place of a − y": lambda a, y: np.sign(a - y),
    "takes one mean error, that of a − y over all outputs and examples": lambda a, y: np.mean(a - y) + 0 * a,
    "takes the mean error, that of a − y over the examples, for each example": lambda a, y: np.mean(a - y, 0) + 0 * a,
    "takes the mean error, that of a − y over the outputs, for each output": (
        lambda a, y: np.mean(a - y, 1, keepdims=True) + 0 * a
    ),
    "adds the targets: it takes a + y in place of a − y": lambda a, y: a + y,
    "leaves out the targets": lambda a, y: a,
    "takes the targets of other examples": lambda a, y: a - y[::-1],
    "broadcasts: y has lost an axis, and a − y holds every output minus every target": lambda a, y: a - y.reshape(-1),
    "takes 1 for the largest target of an example and 0 for its others, as for labels": (
        lambda a, y: a - _mark_largest(y)
    ),
    "takes labels, the index of the largest target, in place of the targets": (
        lambda a, y: a - y.argmax(axis=1)[:, None]
    ),
    "rounds the outputs to 0 and 1": lambda a, y: (a > 0.5) - y,
    "rounds the targets to 0 and 1": lambda a, y: a - (y > 0.5),
    "takes 1 for the largest output of an example and 0 for its others": lambda a, y: _mark_largest(a) - y,
}


def _put_in_bp1(difference: Callable[[Array, Array], Array]) -> Line:
    """Replace a − y by another difference."""
    return lambda s, l: (
        difference(s.a(l), s.y) * (1 if isinstance(s.output, Fused) else s.slope(l)) / s.divisor  # else σ′ cancelled
    )


BP1_SLIPS = [
    *_make_lines(
        "BP1",
        "start from a − y of each output and example, the derivative of ½ (a − y)²",
        {words: _put_in_bp1(difference) for words, difference in DIFFERENCES.items()},
    ),
    *_make_lines(
        "BP1",
        "take σ′ of the outputs, a (1 − a); the derivative of the cross-entropy is −y/a + (1 − y)/(1 − a)",
        {
            "takes σ′ of the targets, as y (1 − y)": (
                lambda s, l: s.error(l) * s.sigmas[l].pullback(1.0 + 0 * s.y, s.y, s.y, s.xp)
            ),
            "takes −y/a alone for the derivative of the cross-entropy, without (1 − y)/(1 − a)": (
                lambda s, l: -s.y / s.a(l) * s.slope(l) / s.divisor
            ),
            "has a wrong sign in the derivative of the cross-entropy, before (1 − y)/(1 − a)": (
                lambda s, l: (-s.y / s.a(l) - (1 - s.y) / (1 - s.a(l))) * s.slope(l) / s.divisor
            ),
        },
    ),
    make_mistake(
        "BP1",
        "is half as large, as with another ½ before a − y",
        "start from a − y: the derivative of ½ (a − y)² is a − y",
        bp1_scale=lambda x, y: 0.5,
    ),
]

# δ in BP2, BP3 and BP4

DELTAS: dict[str, Line] = {
    "takes the error without σ′(z) in place of δ": lambda s, l: s.error(l),
    "is off by one layer: it takes the δ of the layer after it": lambda s, l: s.delta(min(l + 1, s.n - 1)),
    "takes the δ of the outputs in every layer": lambda s, l: s.delta(s.n - 1),
    "takes the activations in place of δ": lambda s, l: s.a(l),
    "multiplies δ by σ′(z) once more": lambda s, l: s.delta(l) * s.slope(l),
    "takes the mean δ of the examples for each of them": lambda s, l: s.xp.mean(s.delta(l), axis=0) + 0 * s.delta(l),
}
OVERWRITTEN: dict[str, Line] = {
    "takes the δ of the layer before, as if δ were overwritten before it is used": lambda s, l: s.delta(max(l - 1, 0)),
}
CHOICES = {
    "leaves out the last example": slice(None, -1),
    "leaves out the first example": slice(1, None),
    "keeps the first example only, instead of the sum": slice(1),
}


def _sum_examples(delta: Line, some: slice = slice(None)) -> Line:
    return lambda s, l: s.xp.sum(delta(s, l)[some], axis=0, keepdims=True)


def _multiply(delta: Line, a: Line, some: slice = slice(None)) -> Line:
    return lambda s, l: s.xp.matmul(delta(s, l)[some].mT, a(s, l)[some])


def _go_back(delta: Line) -> Line:
    return lambda s, l: s.xp.matmul(delta(s, l + 1), s.w(l + 1)) * s.slope(l)


def _make_delta_slips() -> Iterator[Mistake]:
    remedies = "take the δ of the layer itself, before BP2 overwrites it", "sum over all examples"
    right: Line = lambda s, l: s.delta(l)  # noqa: E731
    slips = [(words, remedies[0], delta, slice(None)) for words, delta in (DELTAS | OVERWRITTEN).items()]
    slips += [(words, remedies[1], right, some) for words, some in CHOICES.items()]
    for mistake, remedy, delta, some in slips:
        lines = {
            "bp3_line": _sum_examples(delta, some),
            "bp4_line": _multiply(delta, lambda s, l: s.a(l - 1), some),
        }
        yield make_mistake("BP3", mistake, remedy, bp3_line=lines["bp3_line"])
        yield make_mistake("BP4", mistake, remedy, bp4_line=lines["bp4_line"])
        yield make_mistake("BP3 and BP4", _pluralize(mistake), remedy, **lines)


# BP2


def _find_gradient(s: Backward, l: int) -> Array:
    """Compute BP4 as it should be: if it needed δ of the layer before, that would need this gradient."""
    return s.factor * s.xp.matmul(s.delta(l).mT, s.a(l - 1))


def _slope_at_inputs(s: Backward) -> Array:
    """Compute σ′ as a formula of a, with the inputs for a."""
    x = s.a(-1)
    return s.sigmas[0].pullback(1 + 0 * x, x, x, s.xp)


BP2_SLIPS = [
    *(
        mistake
        for late in (False, True)
        for mistake in _make_lines(
            "BP2",
            "take the δ of the next layer, times its weights, times σ′(z) of the layer, unit by unit",
            {words: _go_back(delta) for words, delta in DELTAS.items()}
            | {
                "adds σ′(z) to wᵀ δ, where it multiplies": lambda s, l: s.error(l) + s.slope(l),
                "leaves out the weights": lambda s, l: s.delta(l + 1) * s.slope(l),
                "takes the gradient of the weights in place of the weights": (
                    lambda s, l: s.xp.matmul(s.delta(l + 1), _find_gradient(s, l + 1)) * s.slope(l)
                ),
                "takes the weights of the next unit: the biases, beside the weights, were cut off at the wrong end": (
                    lambda s, l: (
                        s.xp.matmul(s.delta(l + 1), np.hstack([s.w(l + 1)[:, 1:], s.layers[l + 1][1].mT])) * s.slope(l)
                    )
                ),
                "adds the biases, as the forward pass does": lambda s, l: (s.error(l) + s.layers[l][1]) * s.slope(l),
                "takes σ(wᵀ δ), as the forward pass does": lambda s, l: s.sigmas[l].value(s.error(l), s.xp),
                "takes σ′(wᵀ δ), not wᵀ δ times σ′(z)": (
                    lambda s, l: s.sigmas[l].pullback(
                        1 + 0 * s.error(l), s.error(l), s.sigmas[l].value(s.error(l), s.xp), s.xp
                    )
                ),
                "is off by one layer: it takes σ′(z) of the layer before": (
                    lambda s, l: s.error(l) * (s.slope(l - 1) if l else _slope_at_inputs(s))
                ),
            },
            late=late,
        )
    ),
    make_mistake(
        "BP2",
        "is used for the last layer too: the loop begins with the last layer again",
        "begin the loop with the layer before the last",
        bp1_line=lambda s, l: s.xp.matmul(RIGHT.bp1(s.output, s.zs[l], s.a(l), s.y, s.xp), s.w(0)) * s.slope(l),
    ),
]

# BP3 and BP4


def _average(axis: int | None, scale: Callable[[Backward], float]) -> Line:
    return lambda s, l: s.xp.mean(s.delta(l), axis=axis, keepdims=True).mT * scale(s)


BP3_SLIPS = [
    *(
        mistake
        for scale in (lambda s: 1, lambda s: len(s.y))  # with δ divided by the number of examples, or not yet
        for mistake in _make_lines(
            "BP3",
            "sum over the axis of the examples only: 0 for examples in rows, 1 for columns",
            {
                "takes the mean over the units in place of the sum over the examples": _average(1, scale),
                "takes the mean over the units and the examples": _average(None, scale),
            },
        )
    ),
    *_make_lines(
        "BP3",
        "sum δ alone: the derivative of z = w a + b with respect to b is 1",
        {
            "multiplies δ by the biases": _sum_examples(lambda s, l: s.delta(l) * s.layers[l][1]),
            "multiplies δ by the activations": _sum_examples(lambda s, l: s.delta(l) * s.a(l)),
            "takes the gradient of the weights, summed over the units before": (
                lambda s, l: s.xp.sum(s.xp.matmul(s.delta(l).mT, s.a(l - 1)), axis=1)[None]
            ),
        },
    ),
]
BP4_SLIPS = _make_lines(
    "BP4",
    "take the outer product δ aᵀ of each example, with the activations that went into the layer",
    {
        words: _multiply(lambda s, l: s.delta(l), a)
        for words, a in {
            "takes the inputs x in every layer, in place of the activations": lambda s, l: s.a(-1),
            "takes z in place of the activations a = σ(z) of the layer before": (
                lambda s, l: s.zs[l - 1] if l else s.a(-1)
            ),
            "takes σ(a) in place of the activations a of the layer before, and σ(x) in place of the inputs": (
                lambda s, l: s.sigmas[l].value(s.a(l - 1), s.xp)
            ),
            "takes σ(x) in place of the inputs x": (lambda s, l: s.a(l - 1) if l else s.sigmas[0].value(s.a(-1), s.xp)),
            "takes σ′(z) of the layer before in place of its activations": (
                lambda s, l: s.slope(l - 1) if l else s.a(-1)
            ),
        }.items()
    }
    | {
        "takes the weights in place of the activations": lambda s, l: s.xp.sum(s.delta(l), axis=0)[:, None] * s.w(l),
        "multiplies δ and a unit by unit; every row gets the same numbers": (
            lambda s, l: s.xp.sum(s.delta(l) * s.a(l - 1), axis=0, keepdims=True) + 0 * s.w(l)
        ),
        "multiplies δ and a unit by unit; every column gets the same numbers": (
            lambda s, l: s.xp.sum(s.delta(l) * s.a(l - 1), axis=0, keepdims=True).mT + 0 * s.w(l)
        ),
        "multiplies the sums of δ and of a over the examples": (
            lambda s, l: s.xp.sum(s.delta(l), axis=0)[:, None] * s.xp.sum(s.a(l - 1), axis=0)
        ),
    },
)


# The forward pass

Value = Callable[[Any, Any, Any, bool], Any]  # (σ, z, b, is_last) -> a


def _go_forward(
    value: Value = lambda sigma, z, b, is_last: sigma.value(z, np),
    bias: Callable[[int, int], float] = lambda l, n: 1,
    start: Callable[[Any, Array], Array] = lambda sigma, x: x,
) -> Callable[..., tuple[list[Array], list[Array]]]:
    """Make a forward pass with another σ, another factor of the biases of layer l of n, or with other inputs."""

    def forward(layers: Layers, sigmas: Any, x: Array, xp: Namespace) -> tuple[list[Array], list[Array]]:
        zs, activations, n = [], [start(sigmas[0], x)], len(layers)
        for l, ((w, b), sigma) in enumerate(zip(layers, sigmas)):
            zs.append(xp.matmul(activations[-1], w.mT) + bias(l, n) * b)
            activations.append(value(sigma, zs[-1], b, l == n - 1))
        return zs, activations

    return forward


def _softmax_over(axis: Any) -> Value:
    return lambda sigma, z, b, is_last: (
        np.exp(z) / np.exp(z).sum(axis=axis, keepdims=True) if sigma.name == "softmax" else sigma.value(z, np)
    )


def _repeat(is_repeated: Callable[[bool], bool]) -> Value:
    return lambda sigma, z, b, is_last: sigma.value(sigma.value(z, np) if is_repeated(is_last) else z, np)


FORWARD_SLIPS = [
    make_mistake("forward", mistake, remedy, forward=forward, slope_of_a=of_a)
    for mistake, remedy, forward in [
        (
            "applies σ to the inputs x",
            "begin with x itself",
            _go_forward(start=lambda sigma, x: sigma.value(x, np)),
        ),
        (
            "adds the biases after σ: a = σ(w a) + b",
            "add b before: a = σ(w a + b)",
            _go_forward(lambda sigma, z, b, is_last: sigma.value(z, np) + b, lambda l, n: 0),
        ),
        (
            "applies σ twice in the hidden layers",
            "take σ(z), not σ(σ(z))",
            _go_forward(_repeat(lambda is_last: not is_last)),
        ),
        ("applies σ twice in the last layer", "take σ(z), not σ(σ(z))", _go_forward(_repeat(lambda is_last: is_last))),
        ("applies σ twice in every layer", "take σ(z), not σ(σ(z))", _go_forward(_repeat(lambda is_last: True))),
        (
            "leaves out σ in the hidden layers",
            "take a = σ(z) in every layer",
            _go_forward(lambda sigma, z, b, is_last: sigma.value(z, np) if is_last else z),
        ),
        ("forgets the biases in the last layer", "add b: z = w a + b", _go_forward(bias=lambda l, n: l < n - 1)),
        ("forgets the biases in the hidden layers", "add b: z = w a + b", _go_forward(bias=lambda l, n: l == n - 1)),
        (
            "takes σ(−z), as 1 / (1 + exp(z)) is",
            "the sigmoid is 1 / (1 + exp(−z)), with a minus sign",
            _go_forward(lambda sigma, z, b, is_last: sigma.value(-z, np)),
        ),
        (
            "takes 1 / 1 + exp(−z) for the sigmoid, without brackets",
            "write 1 / (1 + exp(−z))",
            _go_forward(lambda sigma, z, b, is_last: 1 + np.exp(-z)),
        ),
        (
            "divides the softmax by a sum over the examples, not over the outputs",
            "sum exp(z) over the outputs of each example",
            _go_forward(_softmax_over(0)),
        ),
        (
            "divides the softmax by the sum over all outputs of all examples",
            "sum exp(z) over the outputs of each example",
            _go_forward(_softmax_over(None)),
        ),
    ]
    for of_a in (True, False)
]

SLIPS: list[Mistake] = [
    *_make_slope_slips(),
    *BP1_SLIPS,
    *BP2_SLIPS,
    *_make_delta_slips(),
    *BP3_SLIPS,
    *BP4_SLIPS,
    *FORWARD_SLIPS,
]


# Mistakes with a number


def _fit(mistake: Mistake, make: Callable[[float], dict[str, Any]]) -> Callable[[float], Mistake]:
    """Make a mistake of a number; the number stands in its words, in place of {c}."""
    return lambda c: mistake._replace(mistake=mistake.mistake.format(c=f"{c:.4g}"), equations=RIGHT._replace(**make(c)))


def _updated(s: Backward, l: int, rate: float) -> Array:
    return s.w(l) - rate * _find_gradient(s, l)


FITTED = [
    _fit(make_mistake(equation, mistake, remedy), make)
    for equation, mistake, remedy, make in [
        (
            "forward",
            "takes {c} times the biases",
            "add b once: z = w a + b",
            lambda c: {"forward": _go_forward(bias=lambda l, n: c)},
        ),
        (
            "forward",
            "gives the biases the input {c}, in place of 1",
            "give the biases the input 1: z = w a + b",
            lambda c: {
                "forward": _go_forward(bias=lambda l, n: c),
                "returned": lambda s, l, gw, gb: (gw, c * gb),
            },
        ),
        (
            "forward",
            "gives the biases the input {c}, in place of 1, in all layers but the first, as if σ were applied to the 1",
            "append the 1 to the activations after σ",
            lambda c: {
                "forward": _go_forward(bias=lambda l, n: c if l else 1),
                "returned": lambda s, l, gw, gb: (gw, c * gb if l else gb),
            },
        ),
        (
            "BP2",
            "uses weights that are updated already, with the learning rate {c}",
            "compute all gradients first, then update",
            lambda c: {"bp2_line": lambda s, l: s.xp.matmul(s.delta(l + 1), _updated(s, l + 1, c)) * s.slope(l)},
        ),
        (
            "BP4",
            "adds {c} times the weights, as weight decay does",
            "return the gradient of the cost alone; add the weight decay when you update",
            lambda c: {"returned": lambda s, l, gw, gb: (gw + c * s.w(l), gb)},
        ),
        (
            "BP4",
            "adds {c} times the weights, divided by the number of examples: do the sums begin at 0?",
            "begin the sums at zeros of the shape of the weights, and add weight decay when you update",
            lambda c: {"returned": lambda s, l, gw, gb: (gw + c / len(s.y) * s.w(l), gb)},
        ),
        (
            "BP3 and BP4",
            "give the updated weights and biases, with the learning rate {c}, not the gradients",
            "return the gradients alone",
            lambda c: {"returned": lambda s, l, gw, gb: (s.w(l) - c * gw, s.layers[l][1] - c * gb)},
        ),
        (
            "BP3 and BP4",
            "change weights after each example, with the learning rate {c}: later examples see other weights",
            "add up the gradients of all examples, then update once",
            lambda c: {"online": (c, 0.0)},
        ),
        (
            "BP3 and BP4",
            "change weights and biases after each example, with the learning rate {c}: later examples see others",
            "add up the gradients of all examples, then update once",
            lambda c: {"online": (c, c)},
        ),
    ]
]
