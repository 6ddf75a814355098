"""More mistakes that people write, for `check_backprop`: a line that takes a wrong array, or a wrong formula.

Each is a line of a `mutations.Backward`, which has all arrays of the pass at hand: σ′ is replaced by each of `SLOPES`
in BP1, in BP2 and in both; δ by each of `DELTAS` in BP3, in BP4 and in both; and so on. `FITTED` holds those with a
number that only the learner knows, such as a learning rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.learn.mutations import RIGHT, Backward, Mistake, make_mistake

Line = Callable[[Backward, int], Array]


# Wrong formulas for σ′

SLOPES: dict[str, tuple[str, Line]] = {
    "takes a = σ(z) in place of σ′(z)": ("take the derivative, for the sigmoid a (1 − a)", lambda s, l: s.a(l)),
    "takes 1 − a in place of σ′(z)": (
        "take the derivative, for the sigmoid a (1 − a), for tanh 1 − a²",
        lambda s, l: 1 - s.a(l),
    ),
    "takes −σ′(z) in place of σ′(z), as a (a − 1) or a² − 1 is": (
        "turn the sign: σ′ is a (1 − a) for the sigmoid, 1 − a² for tanh",
        lambda s, l: -s.slope(l),
    ),
    "takes a (1 + a) in place of σ′(z)": (
        "turn the sign: σ′ of the sigmoid is a (1 − a)",
        lambda s, l: s.a(l) * (1 + s.a(l)),
    ),
    "takes 1 − a², the slope of tanh, in place of σ′(z)": (
        "take the derivative of your σ, for the sigmoid a (1 − a)",
        lambda s, l: 1 - s.a(l) ** 2,
    ),
    "takes 1 + a² in place of σ′(z)": ("turn the sign: σ′ of tanh is 1 − a²", lambda s, l: 1 + s.a(l) ** 2),
    "takes a (1 − a), the slope of the sigmoid, in place of σ′(z)": (
        "take the derivative of your σ, for tanh 1 − a²",
        lambda s, l: s.a(l) * (1 - s.a(l)),
    ),
    "takes a² in place of σ′(z)": ("take the derivative, for the sigmoid a (1 − a)", lambda s, l: s.a(l) ** 2),
    "takes 1 where z > 0, the slope of a ReLU, in place of σ′(z)": (
        "take the derivative of your σ",
        lambda s, l: 1.0 * (s.zs[l] > 0),
    ),
    "takes z in place of σ′(z)": ("take the derivative, for the sigmoid a (1 − a)", lambda s, l: s.zs[l]),
    "multiplies by σ′(z) twice": ("multiply by σ′(z) once", lambda s, l: s.slope(l) ** 2),
    "divides by σ′(z), where it multiplies": ("multiply by σ′(z)", lambda s, l: 1 / s.slope(l)),
}


def _multiply_by(slope: Line) -> Line:
    return lambda s, l: s.error(l) * slope(s, l)


def _pluralize(mistake: str) -> str:
    """Put the verb, with which a phrase begins, into the plural."""
    verb, _, rest = mistake.partition(" ")
    return f"{'multiply' if verb == 'multiplies' else verb.removesuffix('s')} {rest}"


def _make_slope_slips() -> Iterator[Mistake]:
    for mistake, (remedy, slope) in SLOPES.items():
        line = _multiply_by(slope)
        yield make_mistake("BP1", mistake, remedy, bp1_line=line)
        yield make_mistake("BP2", mistake, remedy, bp2_line=line)
        yield make_mistake("BP1 and BP2", _pluralize(mistake), remedy, bp1_line=line, bp2_line=line)


# BP1


def _put_in_bp1(difference: Callable[[Backward, int], Array]) -> Line:
    """Replace a − y by another difference."""
    return lambda s, l: difference(s, l) * s.slope(l) / s.divisor


BP1_SLIPS = [
    make_mistake("BP1", mistake, remedy, **changes)
    for mistake, remedy, changes in [
        (
            "is half as large, as with another ½ before a − y",
            "start from a − y: the derivative of ½ (a − y)² is a − y",
            {"bp1_scale": lambda x, y: 0.5},
        ),
        (
            "divides by the number of inputs, not of examples",
            "divide by the number of examples: len(x) for examples in rows, x.shape[1] for columns",
            {"bp1_scale": lambda x, y: len(x) / x.shape[1]},
        ),
        (
            "divides by the number of outputs, not of examples",
            "divide by the number of examples: len(y) for examples in rows, y.shape[1] for columns",
            {"bp1_scale": lambda x, y: len(y) / y.shape[1]},
        ),
        (
            "multiplies by the number of examples, where it divides",
            "divide by the number of examples",
            {"bp1_scale": lambda x, y: len(y) ** 2},
        ),
        (
            "squares the error: it takes (a − y)² in place of its derivative",
            "start from a − y, the derivative of ½ (a − y)²",
            {"bp1_line": _put_in_bp1(lambda s, l: (s.a(l) - s.y) ** 2)},
        ),
        (
            "takes the cost itself, ½ (a − y)², in place of its derivative",
            "start from a − y, the derivative of ½ (a − y)²",
            {"bp1_line": _put_in_bp1(lambda s, l: 0.5 * (s.a(l) - s.y) ** 2)},
        ),
        (
            "takes |a − y| in place of a − y",
            "start from a − y with its sign",
            {"bp1_line": _put_in_bp1(lambda s, l: abs(s.a(l) - s.y))},
        ),
        (
            "takes the sign of a − y in place of a − y",
            "start from a − y",
            {"bp1_line": _put_in_bp1(lambda s, l: s.xp.sign(s.a(l) - s.y))},
        ),
        (
            "takes one mean error, that of a − y over all outputs and examples",
            "keep a − y of each output and example",
            {"bp1_line": _put_in_bp1(lambda s, l: s.xp.mean(s.a(l) - s.y))},
        ),
        (
            "takes the mean error, that of a − y over the examples, for each example",
            "keep a − y of each example: the mean is taken in BP3 and BP4",
            {"bp1_line": _put_in_bp1(lambda s, l: s.xp.mean(s.a(l) - s.y, axis=0))},
        ),
        (
            "takes the mean error, that of a − y over the outputs, for each output",
            "keep a − y of each output",
            {"bp1_line": _put_in_bp1(lambda s, l: s.xp.mean(s.a(l) - s.y, axis=1, keepdims=True))},
        ),
        (
            "adds the targets: it takes a + y in place of a − y",
            "start from a − y",
            {"bp1_line": _put_in_bp1(lambda s, l: s.a(l) + s.y)},
        ),
        ("leaves out the targets", "start from a − y", {"bp1_line": _put_in_bp1(lambda s, l: s.a(l))}),
        (
            "takes the targets of other examples",
            "keep the examples of x and y in the same order",
            {"bp1_line": _put_in_bp1(lambda s, l: s.a(l) - s.y[::-1])},
        ),
        (
            "takes σ′ of the targets, as y (1 − y)",
            "take σ′ of the outputs, a (1 − a)",
            {"bp1_line": lambda s, l: s.error(l) * s.sigmas[l].pullback(1.0 + 0 * s.y, s.y, s.y, s.xp)},
        ),
        (
            "takes −y/a alone for the derivative of the cross-entropy",
            "add its other half: it is −y/a + (1 − y)/(1 − a)",
            {"bp1_line": _put_in_bp1(lambda s, l: -s.y / s.a(l))},
        ),
        (
            "has a wrong sign in the derivative of the cross-entropy, before (1 − y)/(1 − a)",
            "take −y/a + (1 − y)/(1 − a)",
            {"bp1_line": _put_in_bp1(lambda s, l: -s.y / s.a(l) - (1 - s.y) / (1 - s.a(l)))},
        ),
        (
            "broadcasts: y has lost an axis, and a − y holds every output minus every target",
            "give y the shape of the outputs, with an axis of length 1",
            {"bp1_line": _put_in_bp1(lambda s, l: s.a(l) - s.xp.reshape(s.y, (-1,)))},
        ),
    ]
]


# BP2


def _find_gradient(s: Backward, l: int) -> Array:
    """Compute BP4 as it should be: if it needed δ of the layer before, that would need this gradient."""
    return s.factor * s.xp.matmul(s.delta(l).mT, s.a(l - 1))


BP2_SLIPS = [
    make_mistake("BP2", mistake, remedy, bp2_line=line, late=late)
    for mistake, remedy, line in [
        (
            "adds σ′(z) to wᵀ δ, where it multiplies",
            "multiply by σ′(z), unit by unit",
            lambda s, l: s.error(l) + s.slope(l),
        ),
        (
            "takes the error of the next layer without its σ′(z), in place of its δ",
            "multiply the error of each layer by its σ′(z) before it goes back",
            lambda s, l: s.xp.matmul(s.error(l + 1), s.w(l + 1)) * s.slope(l),
        ),
        (
            "takes the δ of the outputs in every layer",
            "take the δ of the next layer",
            lambda s, l: s.xp.matmul(s.delta(s.n - 1), s.w(l + 1)) * s.slope(l),
        ),
        (
            "takes the activations of the next layer in place of its δ",
            "take the δ of the next layer",
            lambda s, l: s.xp.matmul(s.a(l + 1), s.w(l + 1)) * s.slope(l),
        ),
        (
            "leaves out the weights",
            "multiply δ of the next layer by its weights",
            lambda s, l: s.delta(l + 1) * s.slope(l),
        ),
        (
            "takes the gradient of the weights in place of the weights",
            "take the weights of the next layer",
            lambda s, l: s.xp.matmul(s.delta(l + 1), _find_gradient(s, l + 1)) * s.slope(l),
        ),
        (
            "adds the biases, as the forward pass does",
            "leave the biases out: the error does not depend on them",
            lambda s, l: (s.error(l) + s.layers[l][1]) * s.slope(l),
        ),
        (
            "takes σ(wᵀ δ), as the forward pass does",
            "multiply wᵀ δ by σ′(z): backward all is linear",
            lambda s, l: s.sigmas[l].value(s.error(l), s.xp),
        ),
        (
            "takes σ′(wᵀ δ), not wᵀ δ times σ′(z)",
            "multiply wᵀ δ by σ′(z) of the forward pass",
            lambda s, l: s.sigmas[l].pullback(
                1 + 0 * s.error(l), s.error(l), s.sigmas[l].value(s.error(l), s.xp), s.xp
            ),
        ),
        (
            "is off by one layer: it takes σ′(z) of the layer before",
            "take z of the layer whose δ it is",
            lambda s, l: s.error(l) * (s.slope(l - 1) if l else _slope_at_inputs(s)),
        ),
    ]
    for late in (False, True)
]
BP2_SLIPS.append(
    make_mistake(
        "BP2",
        "is used for the last layer too: the loop begins with the last layer again",
        "begin the loop with the layer before the last",
        bp1_line=lambda s, l: s.xp.matmul(RIGHT.bp1(s.output, s.zs[l], s.a(l), s.y, s.xp), s.w(0)) * s.slope(l),
    )
)


def _slope_at_inputs(s: Backward) -> Array:
    """Compute σ′ as a formula of a, with the inputs for a."""
    x = s.a(-1)
    return s.sigmas[0].pullback(1 + 0 * x, x, x, s.xp)


# BP3 and BP4

DELTAS: dict[str, tuple[str, Line]] = {
    "takes the error without σ′(z) in place of δ": ("multiply the error by σ′(z) first", lambda s, l: s.error(l)),
    "takes the δ of the next layer in place of that of the layer itself": (
        "compute δ of the layer before its gradients",
        lambda s, l: s.delta(min(l + 1, s.n - 1)),
    ),
    "takes the δ of the layer before, as if δ were overwritten before it is used": (
        "compute the gradients of a layer before δ is overwritten by BP2",
        lambda s, l: s.delta(max(l - 1, 0)),
    ),
    "takes the δ of the outputs in every layer": ("take the δ of the layer itself", lambda s, l: s.delta(s.n - 1)),
    "multiplies by σ′(z) once more": ("take δ as it is: σ′(z) is in it", lambda s, l: s.delta(l) * s.slope(l)),
}


def _sum_examples(delta: Line) -> Line:
    return lambda s, l: s.xp.sum(delta(s, l), axis=0, keepdims=True)


def _multiply(delta: Line, a: Line) -> Line:
    return lambda s, l: s.xp.matmul(delta(s, l).mT, a(s, l))


def _make_delta_slips() -> Iterator[Mistake]:
    for mistake, (remedy, delta) in DELTAS.items():
        lines = {"bp3_line": _sum_examples(delta), "bp4_line": _multiply(delta, lambda s, l: s.a(l - 1))}
        yield make_mistake("BP3", mistake, remedy, bp3_line=lines["bp3_line"])
        yield make_mistake("BP4", mistake, remedy, bp4_line=lines["bp4_line"])
        yield make_mistake("BP3 and BP4", _pluralize(mistake), remedy, **lines)
    for mistake, remedy, choice in [
        ("leave out the last example", "let the loop run over all examples", slice(None, -1)),
        ("leave out the first example", "let the loop run over all examples", slice(1, None)),
        ("keep the first example only, instead of the sum", "add the gradients of all examples", slice(1)),
    ]:
        yield _make_choice_of_examples(mistake, remedy, choice)


def _make_choice_of_examples(mistake: str, remedy: str, choice: slice) -> Mistake:
    return make_mistake(
        "BP3 and BP4",
        mistake,
        remedy,
        bp3_line=_sum_examples(lambda s, l: s.delta(l)[choice]),
        bp4_line=_multiply(lambda s, l: s.delta(l)[choice], lambda s, l: s.a(l - 1)[choice]),
    )


BP3_SLIPS = [
    make_mistake("BP3", mistake, remedy, bp3_line=line)
    for mistake, remedy, line in [
        (
            "takes the mean over the units in place of the sum over the examples",
            "sum over the axis of the examples: 0 for examples in rows, 1 for columns",
            lambda s, l: s.xp.mean(s.delta(l), axis=1, keepdims=True).mT,
        ),
        (
            "takes the mean over the units and the examples",
            "sum over the axis of the examples only: 0 for examples in rows, 1 for columns",
            lambda s, l: s.xp.mean(s.delta(l), keepdims=True),
        ),
        (
            "multiplies δ by the biases",
            "take δ alone: the derivative of z = w a + b with respect to b is 1",
            lambda s, l: s.xp.sum(s.delta(l) * s.layers[l][1], axis=0, keepdims=True),
        ),
        (
            "multiplies δ by the activations",
            "take δ alone: the derivative of z = w a + b with respect to b is 1",
            lambda s, l: s.xp.sum(s.delta(l) * s.a(l), axis=0, keepdims=True),
        ),
        (
            "takes the gradient of the weights, summed over the units before",
            "sum δ over the examples",
            lambda s, l: s.xp.sum(s.xp.matmul(s.delta(l).mT, s.a(l - 1)), axis=1)[None],
        ),
    ]
]
BP4_SLIPS = [
    make_mistake("BP4", mistake, remedy, bp4_line=line)
    for mistake, remedy, line in [
        (
            "takes the inputs x in every layer, in place of the activations",
            "take the activations of the layer before; only for the first layer these are the inputs",
            _multiply(lambda s, l: s.delta(l), lambda s, l: s.a(-1)),
        ),
        (
            "takes z in place of the activations a = σ(z) of the layer before",
            "take the activations that went into the layer",
            _multiply(lambda s, l: s.delta(l), lambda s, l: s.zs[l - 1] if l else s.a(-1)),
        ),
        (
            "takes σ(a) in place of the activations a of the layer before, and σ(x) in place of the inputs",
            "take the activations as they are",
            _multiply(lambda s, l: s.delta(l), lambda s, l: s.sigmas[l].value(s.a(l - 1), s.xp)),
        ),
        (
            "takes σ(x) in place of the inputs x",
            "take the inputs as they are",
            _multiply(lambda s, l: s.delta(l), lambda s, l: s.a(l - 1) if l else s.sigmas[0].value(s.a(-1), s.xp)),
        ),
        (
            "takes σ′(z) of the layer before in place of its activations",
            "take the activations that went into the layer",
            _multiply(lambda s, l: s.delta(l), lambda s, l: s.slope(l - 1) if l else s.a(-1)),
        ),
        (
            "takes the weights in place of the activations",
            "take the activations that went into the layer",
            lambda s, l: s.xp.sum(s.delta(l), axis=0)[:, None] * s.w(l),
        ),
        (
            "multiplies δ and a unit by unit; every row gets the same numbers",
            "take the outer product, δ aᵀ of each example",
            lambda s, l: s.xp.sum(s.delta(l) * s.a(l - 1), axis=0, keepdims=True) + 0 * s.w(l),
        ),
        (
            "multiplies δ and a unit by unit; every column gets the same numbers",
            "take the outer product, δ aᵀ of each example",
            lambda s, l: s.xp.sum(s.delta(l) * s.a(l - 1), axis=0, keepdims=True).mT + 0 * s.w(l),
        ),
        (
            "multiplies the sums of δ and of a over the examples",
            "multiply δ and a of each example, then sum",
            lambda s, l: s.xp.sum(s.delta(l), axis=0)[:, None] * s.xp.sum(s.a(l - 1), axis=0),
        ),
    ]
]


# The forward pass

Unit = Callable[[Any, Array, Array, Array, bool, Namespace], tuple[Array, Array]]  # (σ, a, w, b, is_last, xp) -> z, a


def _go_forward(unit: Unit | None = None, squash: bool = False) -> Callable[..., tuple[list[Array], list[Array]]]:
    """Make a forward pass whose layers compute z and a by `unit`; `squash` applies σ to the inputs."""

    def forward(layers: Layers, sigmas: Any, x: Array, xp: Namespace) -> tuple[list[Array], list[Array]]:
        zs, activations = [], [sigmas[0].value(x, xp) if squash else x]
        for l, ((w, b), sigma) in enumerate(zip(layers, sigmas), 1):
            z, a = (unit or _right_unit)(sigma, activations[-1], w, b, l == len(layers), xp)
            zs.append(z)
            activations.append(a)
        return zs, activations

    return forward


def _right_unit(sigma: Any, a: Array, w: Array, b: Array, is_last: bool, xp: Namespace) -> tuple[Array, Array]:
    z = xp.matmul(a, w.mT) + b
    return z, sigma.value(z, xp)


def _make_unit(
    value: Callable[[Any, Array, bool, Namespace], Array], bias: Callable[[bool], float] | None = None
) -> Unit:
    """Make a unit with another σ, or another factor of b."""

    def unit(sigma: Any, a: Array, w: Array, b: Array, is_last: bool, xp: Namespace) -> tuple[Array, Array]:
        z = xp.matmul(a, w.mT) + (b if bias is None else bias(is_last) * b)
        return z, value(sigma, z, is_last, xp)

    return unit


def _add_biases_late(sigma: Any, a: Array, w: Array, b: Array, is_last: bool, xp: Namespace) -> tuple[Array, Array]:
    z = xp.matmul(a, w.mT)
    return z, sigma.value(z, xp) + b


def _softmax_over(axis: Any) -> Unit:
    def value(sigma: Any, z: Array, is_last: bool, xp: Namespace) -> Array:
        if sigma.name != "softmax":
            return sigma.value(z, xp)
        return xp.exp(z) / xp.sum(xp.exp(z), axis=axis, keepdims=True)

    return _make_unit(value)


def _apply(sigma: Any, z: Array, is_last: bool, xp: Namespace) -> Array:
    return sigma.value(z, xp)


FORWARD_SLIPS = [
    make_mistake("forward", mistake, remedy, forward=forward, slope_of_a=of_a)
    for mistake, remedy, forward in [
        ("applies σ to the inputs x", "begin with x itself", _go_forward(squash=True)),
        ("adds the biases after σ: a = σ(w a) + b", "add b before: a = σ(w a + b)", _go_forward(_add_biases_late)),
        (
            "applies σ twice in the hidden layers",
            "take σ(z), not σ(σ(z))",
            _go_forward(
                _make_unit(lambda sigma, z, is_last, xp: sigma.value(z if is_last else sigma.value(z, xp), xp))
            ),
        ),
        (
            "applies σ twice in the last layer",
            "take σ(z), not σ(σ(z))",
            _go_forward(
                _make_unit(lambda sigma, z, is_last, xp: sigma.value(sigma.value(z, xp) if is_last else z, xp))
            ),
        ),
        (
            "applies σ twice in every layer",
            "take σ(z), not σ(σ(z))",
            _go_forward(_make_unit(lambda sigma, z, is_last, xp: sigma.value(sigma.value(z, xp), xp))),
        ),
        (
            "leaves out σ in the hidden layers",
            "take a = σ(z) in every layer",
            _go_forward(_make_unit(lambda sigma, z, is_last, xp: sigma.value(z, xp) if is_last else z)),
        ),
        (
            "forgets the biases in the last layer",
            "add b: z = w a + b",
            _go_forward(_make_unit(_apply, lambda is_last: not is_last)),
        ),
        (
            "forgets the biases in the hidden layers",
            "add b: z = w a + b",
            _go_forward(_make_unit(_apply, lambda is_last: is_last)),
        ),
        ("adds the biases twice", "add b once: z = w a + b", _go_forward(_make_unit(_apply, lambda is_last: 2))),
        (
            "subtracts the biases",
            "add b: z = w a + b",
            _go_forward(_make_unit(_apply, lambda is_last: -1)),
        ),
        (
            "takes σ(−z), as 1 / (1 + exp(z)) is",
            "the sigmoid is 1 / (1 + exp(−z)), with a minus sign",
            _go_forward(_make_unit(lambda sigma, z, is_last, xp: sigma.value(-z, xp))),
        ),
        (
            "takes 1 / 1 + exp(−z) for the sigmoid, without brackets",
            "write 1 / (1 + exp(−z))",
            _go_forward(_make_unit(lambda sigma, z, is_last, xp: 1 + xp.exp(-z))),
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

# What is done with the gradients

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
