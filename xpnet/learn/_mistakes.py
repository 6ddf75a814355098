"""The mistakes that people write in backpropagation, in one table, and the search for those that give some gradients.

A mistake replaces lines of `RIGHT`, the program of one layer. The table holds its equation, the wrong lines as code,
its sentence and its remedy. `FREQUENT` holds the rows that are tried first, `RARE` those after them, and `FITTED` those
with a number that only the learner knows, such as a learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import combinations
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.costs import Fused
from xpnet.learn._cases import Answer, Case, are_equal, compute_gradients

FITTING_STEPS, STARTS = 12, (0.0, 0.3)  # of the Gauss-Newton method, for one number
NO_EFFECT = 1e-4  # a smaller number, such as a learning rate, is rounding

Lines = dict[str, str]  # the name of an array, and the line that computes it

# The equations of `xpnet.core.backprop` for a layer between two others, `before` and `next`; either may be None
RIGHT: Lines = {
    "a_in": "before.a if before else x",
    "z": "a_in @ w.T + b",
    "sigma_z": "sigma(z)",
    "a": "sigma_z",
    "slope_at": "z, sigma_z",  # the z and a of which σ′ is computed
    # After a softmax that of its diagonal, as people write it
    "slope": "slope_at[1] * (1 - slope_at[1]) if is_softmax else pull(np.ones_like(z))",
    "difference": "a - y if has_cancelled else output.cost.gradient(a, y, np)",  # has σ′ cancelled? Else it is ∇C
    "divisor": "m",  # in BP1; what it leaves is divided out at the end
    "gradient": "difference / divisor",
    "error": "next.delta2 @ next.w if next else gradient / slope if has_cancelled else gradient",
    "bp1": "gradient if has_cancelled else pull(gradient)",
    "bp2": "pull(error)",
    "delta": "scale2 * bp2 if next else scale1 * bp1",
    "bp3": "delta3.sum(axis=0, keepdims=True)",
    "bp4": "delta4.T @ a4",
    "gb": "factor * divisor / m * scale3 * bp3",
    "gw": "factor * divisor / m * scale4 * bp4",
    # What an equation takes, and a factor of each
    **dict.fromkeys(["delta2", "delta3", "delta4"], "delta"),
    "a4": "a_in",
    **dict.fromkeys(["scale1", "scale2", "scale3", "scale4"], "1"),
    # For mistakes
    "last": "next.last if next else here",
    "right_gw": "factor * divisor / m * (delta.T @ a_in)",  # for BP2: a wrong line of BP4 might need its δ
}

FORMULAS = {
    "BP1": "the error of the outputs: δ = ∇C ⊙ σ′(z); the mean over the examples comes once, here or in BP3 and BP4",
    "BP2": "the error of a hidden layer: δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
    "BP3": "the gradient of the biases: ∂C/∂b = δ for each example",
    "BP4": "the gradient of the weights: ∂C/∂w = δ aᵀ for each example",
    "forward": "z = w a + b and a = σ(z), layer by layer",
    "BP1 and BP2": "the errors: δ = ∇C ⊙ σ′(z) of the outputs, and δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
    "BP3 and BP4": "the gradients: ∂C/∂b = δ and ∂C/∂w = δ aᵀ for each example",
}


class LayerPass(dict[str, Any]):
    """A layer in a pass forward and backward: its arrays by name, computed by their lines when they are asked for."""

    def __init__(self, case: Case, lines: Lines, before: LayerPass | None) -> None:
        l = before.l + 1 if before else 0
        w, b = case.layers[l]
        sigma, output = case.model.sigmas[l], case.model.output.with_inputs(case.x)
        super().__init__(case=case, l=l, w=w, b=b, x=case.x, y=case.y, m=len(case.x), factor=case.factor)
        self.update(
            here=self, before=before, next=None, sigma=lambda z: sigma.value(z, np), output=output, pull=self.pull
        )
        self.update(is_softmax=sigma.name == "softmax", has_cancelled=isinstance(output, Fused))
        self.lines, self.activation = lines, sigma
        if before:
            before["next"] = self

    def __missing__(self, name: str) -> Any:
        value = self[name] = eval(_compile(self.lines[name]), globals(), self)  # lines of this file
        return value

    __getattr__ = dict.__getitem__

    def pull(self, g: Any, z: Any = None, a: Any = None) -> Any:
        """Multiply by σ′(z) of this layer; or by that of another z, or by a formula for σ′ that takes another a."""
        if z is None:
            z, a = self.slope_at
        return self.activation.pullback(g, z, self.sigma(z) if a is None else a, np)


@lru_cache(maxsize=1000)
def _compile(line: str) -> CodeType:
    return compile(line, line, "eval")


# Functions for lines


def mark_largest(array: np.ndarray) -> np.ndarray:
    """Replace the largest number of each row by 1, the others by 0."""
    return np.eye(array.shape[1])[array.argmax(axis=1)]


def update_after_each(case: Case, l: int, rates: tuple[float, float]) -> tuple[Any, Any]:
    """Compute the mean of the gradients of a layer, where each example has the weights that the last one left."""
    layers, sums = case.layers, (0.0, 0.0)
    for i in range(len(case.x)):
        gradients = compute_gradients(case.model, layers, case.x[i : i + 1], case.y[i : i + 1])
        layers = tuple(
            tuple(array - rate * g for array, rate, g in zip(layer, rates, of_layer))
            for layer, of_layer in zip(layers, gradients)
        )
        sums = tuple(total + case.factor / len(case.x) * g for total, g in zip(sums, gradients[l]))
    return sums  # type: ignore


# The table


class Mistake(NamedTuple):
    """A mistake in one of the four equations, or in the forward pass.

    Parameters
    ----------
    equation
        Its name, such as "BP2"; "forward" for the forward pass.
    lines
        The wrong lines.
    mistake
        The mistake, as a phrase that follows the name of the equation.
    remedy
        How to fix it, as a sentence without a full stop.
    reduction
        The reduction with which it can be made: "mean", "sum", or "" for both.
    layers
        Where the mistake is, if it is in BP3 or BP4 and not in all layers: "hidden" or "last".
    """

    equation: str
    lines: Lines
    mistake: str
    remedy: str
    reduction: str = ""
    layers: str = "all"

    @property
    def formula(self) -> str:
        """The correct equation, in words and symbols."""
        return FORMULAS[self.equation]


def _make(equation: str, code: str, words: str, remedy: str, reduction: str = "") -> Mistake:
    return Mistake(equation, dict(line.split(" = ", 1) for line in code.split("; ")), words, remedy, reduction)  # type: ignore


def _make_all(equation: str, remedy: str, rows: dict[str, str], *variants: str) -> Iterator[Mistake]:
    """Make mistakes of an equation that have one remedy, each alone and with other lines."""
    for code, words in rows.items():
        for variant in ("", *variants):
            yield _make(equation, code + variant, words, remedy)


def _make_in_each(codes: dict[str, str], remedy: str, rows: dict[str, str]) -> Iterator[Mistake]:
    """Make mistakes in one of two equations, and in both, where the words are in the plural."""
    for expression, words in rows.items():
        for equation, code in codes.items():
            yield _make(equation, code.format(expression), words, remedy)
        verb, _, rest = words.partition(" ")
        plural = f"{'multiply' if verb == 'multiplies' else verb.removesuffix('s')} {rest}"
        yield _make(" and ".join(codes), "; ".join(codes.values()).format(expression), plural, remedy)


OVER_EXAMPLES = "sum over the axis of the examples only: 0 for examples in rows, 1 for columns"
OF_LAYER = "take the δ of the layer itself, before BP2 overwrites it"
# For a program that computes σ′ by a formula of a, such as a (1 − a), where a may be wrong
SLOPE_OF_A = "; slope_at = (z, sigma_z) if np.array_equal(a, sigma_z) else (a, a)"

FREQUENT = [
    _make(
        "BP1",
        "scale1 = m",
        "does not divide by the number of examples in the minibatch",
        'divide by it once, in BP1 or at the end; or say reduction="sum" if you mean the sum over the examples',
        "mean",
    ),
    _make(
        "BP1",
        "scale1 = 1 / m",
        "divides by the number of examples twice",
        "divide by it once, in BP1 or at the end, but not in both",
        "mean",
    ),
    _make(
        "BP1",
        "scale1 = 1 / m",
        "divides by the number of examples",
        'leave the division out, or say reduction="mean"',
        "sum",
    ),
    _make(
        "BP1",
        "scale1 = -1",
        "has the wrong sign, as y − a in place of a − y has",
        "start from a − y; the minus sign belongs to the update, w − η ∂C/∂w",
    ),
    _make(
        "BP1",
        "scale1 = 2",
        "is twice as large, as without the ½ of the quadratic cost",
        "start from a − y, not 2 (a − y): the derivative of ½ (a − y)² is a − y",
    ),
    _make(
        "BP1",
        "scale1 = 1 / y.shape[1]",
        "divides by the number of outputs too, as a mean over all entries does",
        "divide by the number of examples only: the cost of an example is a sum over its outputs",
    ),
    _make(
        "BP1",
        "bp1 = error",
        "leaves out σ′(z)",
        "multiply ∇C by σ′(z) of the output layer. It cancels only for the cross-entropy after sigmoid or softmax: if "
        'you mean that cost, say cost="cross_entropy"',
    ),
    _make(
        "BP1",
        f"bp1 = ({RIGHT['bp1']}) * slope",
        "multiplies by σ′(z) once too often",
        "multiply ∇C by σ′(z) once; not at all where it has cancelled, as for the cross-entropy after sigmoid or "
        "softmax, whose δ is a − y",
    ),
    _make(
        "BP1",
        "bp1 = pull(error, a)",
        "takes σ′(a) in place of σ′(z)",
        "give σ′ the weighted inputs z of the output layer",
    ),
    _make(
        "BP1",
        "bp1 = pull(error, z, z)",
        "puts z into a formula for σ′ that takes a, such as a (1 − a)",
        "give this formula the activations a = σ(z) of the output layer",
    ),
    _make("BP2", "bp2 = error", "leaves out σ′(z)", "multiply by σ′(z) of the layer whose δ it is"),
    _make(
        "BP2",
        "bp2 = pull(error, a)",
        "takes σ′(a) in place of σ′(z)",
        "give σ′ the weighted inputs z of the layer whose δ it is",
    ),
    _make(
        "BP2",
        "bp2 = pull(error, z, z)",
        "puts z into a formula for σ′ that takes a, such as a (1 − a)",
        "give this formula the activations a = σ(z) of the layer whose δ it is",
    ),
    _make(
        "BP2",
        "bp2 = pull(next.delta2 @ next.w.T)",
        "multiplies by w where wᵀ belongs, or the other way round",
        "with w of shape (n_out, n_in), the product is wᵀ δ for examples in columns and δ w for examples in rows",
    ),
    _make(
        "BP2",
        "bp2 = pull(next.delta2 @ w)",
        "is off by one layer: it takes the weights of the layer itself, in place of those of the next layer",
        "take the weights between the layer whose δ it is and the next one",
    ),
    _make(
        "BP2",
        "bp2 = error * pull(np.ones_like(next.z), next.z)",
        "is off by one layer: it takes σ′(z) of the next layer, in place of that of the layer itself",
        "take z of the layer whose δ it is",
    ),
    _make(
        "BP2",
        "scale2 = 1 / m",
        "divides by the number of examples again",
        "leave the division out: the δ of the next layer is divided already",
        "mean",
    ),
    _make("BP2", "scale2 = 1 / m", "divides by the number of examples", "leave the division out", "sum"),
    _make(
        "BP3", "delta3 = delta[:1]", "takes the δ of the first example instead of the sum", "sum δ over all examples"
    ),
    _make(
        "BP3",
        "delta3 = delta[-1:]",
        "takes the δ of the last example instead of the sum",
        "sum δ over all examples: add to what is there, in place of overwriting it",
    ),
    _make(
        "BP3",
        "bp3 = delta3.sum(axis=1, keepdims=True).T",
        "sums over the units, not over the examples",
        "sum over the axis of the examples: 0 for examples in rows, 1 for columns",
    ),
    _make("BP3", "bp3 = delta3.sum(keepdims=True)", "sums over the units too", OVER_EXAMPLES),
    _make(
        "BP3",
        "bp3 = delta3",
        "does not sum over the examples",
        "sum δ over the axis of the examples: 0 for examples in rows, 1 for columns",
    ),
    _make(
        "BP3",
        "scale3 = m",
        "does not divide by the number of examples, as BP4 does",
        "divide the biases' gradients too, or δ in BP1 for both",
        "mean",
    ),
    _make(
        "BP3",
        "scale3 = 1 / m",
        "divides by the number of examples again",
        "take the sum over the examples, not the mean: δ is divided already",
        "mean",
    ),
    _make(
        "BP3",
        "scale3 = 1 / m",
        "divides by the number of examples",
        "take the sum over the examples, not the mean",
        "sum",
    ),
    _make(
        "BP4",
        "a4 = a_in[::-1]",
        "multiplies the δ of an example by the activations of another example",
        "keep the examples of a and δ in the same order",
    ),
    _make(
        "BP4",
        "bp4 = a4.T @ delta4",
        "gives the transposed gradient, a δᵀ",
        "exchange the factors: δ aᵀ for examples in columns, δᵀ a for rows, of the shape of the weights",
    ),
    _make(
        "BP4",
        "a4 = a",
        "is off by one layer: it takes the activations of the layer itself, in place of those of the layer before",
        "take the activations that go into the layer; for the first layer these are the inputs x",
    ),
    _make(
        "BP4",
        "scale4 = m",
        "does not divide by the number of examples, as BP3 does",
        "divide the weights' gradients too, or δ in BP1 for both",
        "mean",
    ),
    _make(
        "BP4",
        "scale4 = 1 / m",
        "divides by the number of examples again",
        "take the product alone: δ is divided already",
        "mean",
    ),
    _make(
        "BP4",
        "scale4 = 1 / m",
        "divides by the number of examples",
        "take the product alone: it is the sum over the examples",
        "sum",
    ),
    _make(
        "BP3 and BP4",
        "delta3 = delta[-1:]; delta4 = delta[-1:]; a4 = a_in[-1:]",
        "keep the last example only, instead of the sum",
        "add the gradients of the examples, in place of overwriting them",
    ),
    _make("forward", "z = a_in @ w.T", "forgets the biases", "add b: z = w a + b"),
    *_make_all(
        "forward",
        "end with a = σ(z) in the last layer too",
        {"a = sigma_z if next else z": "leaves out σ at the outputs"},
        SLOPE_OF_A,
    ),
    *_make_all(
        "forward",
        "append a = σ(z) to the activations",
        {
            "z = (before.sigma_z if before else x) @ w.T + b; a = z": (
                "keeps z in its list of activations, in place of σ(z)"
            )
        },
        SLOPE_OF_A,
    ),
    *_make_all(
        "forward",
        "append a = σ(z) to the activations, and give it to the next layer",
        {"a = z": "leaves out σ: its activations are z"},
        SLOPE_OF_A,
    ),
    _make(
        "forward",
        "z = a_in @ w + b",
        "multiplies by wᵀ where w belongs, or the other way round",
        "with w of shape (n_out, n_in), the product is w a for examples in columns and a wᵀ for examples in rows",
    ),
]

# In place of δ
DELTAS = {
    "error": "takes the error without σ′(z) in place of δ",
    "next.delta if next else delta": "is off by one layer: it takes the δ of the layer after it",
    "last.delta": "takes the δ of the outputs in every layer",
    "a": "takes the activations in place of δ",
    "delta * slope": "multiplies δ by σ′(z) once more",
}
AVERAGED = {"delta.mean(axis=0) + 0 * delta": "takes the mean δ of the examples for each of them"}
OVERWRITTEN = {
    "before.delta if before else delta": ("takes the δ of the layer before, as if δ were overwritten before it is used")
}

RARE = [
    *_make_in_each(
        {"BP1": "bp1 = error * ({0})", "BP2": "bp2 = error * ({0})"},
        "multiply by σ′(z) once: for the sigmoid a (1 − a), for tanh 1 − a²",
        {
            "a": "takes a = σ(z) in place of σ′(z)",
            "1 - a": "takes 1 − a in place of σ′(z)",
            "-slope": "takes −σ′(z) in place of σ′(z), as a (a − 1) or a² − 1 is",
            "a * (1 + a)": "takes a (1 + a) in place of σ′(z)",
            "1 - a**2": "takes 1 − a², the slope of tanh, in place of σ′(z)",
            "1 + a**2": "takes 1 + a² in place of σ′(z)",
            "a * (1 - a)": "takes a (1 − a), the slope of the sigmoid, in place of σ′(z)",
            "a**2": "takes a² in place of σ′(z)",
            "1.0 * (z > 0)": "takes 1 where z > 0, the slope of a ReLU, in place of σ′(z)",
            "z": "takes z in place of σ′(z)",
            "slope**2": "multiplies by σ′(z) twice",
            "1 / slope": "divides by σ′(z), where it multiplies",
        },
    ),
    *_make_all(
        "BP1",
        "start from a − y of each output and example, the derivative of ½ (a − y)²",
        {
            "difference = (a - y) ** 2": "squares the error: it takes (a − y)² in place of its derivative",
            "difference = 0.5 * (a - y) ** 2": "takes the cost itself, ½ (a − y)², in place of its derivative",
            "difference = abs(a - y)": "takes |a − y| in place of a − y",
            "difference = np.sign(a - y)": "takes the sign of a − y in place of a − y",
            "difference = (a - y).mean() + 0 * a": (
                "takes one mean error, that of a − y over all outputs and examples"
            ),
            "difference = (a - y).mean(axis=0) + 0 * a": (
                "takes the mean error, that of a − y over the examples, for each example"
            ),
            "difference = (a - y).mean(axis=1, keepdims=True) + 0 * a": (
                "takes the mean error, that of a − y over the outputs, for each output"
            ),
            "difference = a + y": "adds the targets: it takes a + y in place of a − y",
            "difference = a": "leaves out the targets",
            "difference = a - y[::-1]": "takes the targets of other examples",
            "difference = a - y.reshape(-1)": (
                "broadcasts: y has lost an axis, and a − y holds every output minus every target"
            ),
            "difference = a - mark_largest(y)": (
                "takes 1 for the largest target of an example and 0 for its others, as for labels"
            ),
            "difference = a - y.argmax(axis=1)[:, None]": (
                "takes labels, the index of the largest target, in place of the targets"
            ),
            "difference = (a > 0.5) - y": "rounds the outputs to 0 and 1",
            "difference = a - (y > 0.5)": "rounds the targets to 0 and 1",
            "difference = mark_largest(a) - y": ("takes 1 for the largest output of an example and 0 for its others"),
        },
    ),
    *_make_all(
        "BP1",
        "take σ′ of the outputs, a (1 − a); the derivative of the cross-entropy is −y/a + (1 − y)/(1 − a)",
        {
            "bp1 = error * pull(1.0 + 0 * y, y, y)": "takes σ′ of the targets, as y (1 − y)",
            "bp1 = -y / a * slope / divisor": (
                "takes −y/a alone for the derivative of the cross-entropy, without (1 − y)/(1 − a)"
            ),
            "bp1 = (-y / a - (1 - y) / (1 - a)) * slope / divisor": (
                "has a wrong sign in the derivative of the cross-entropy, before (1 − y)/(1 − a)"
            ),
        },
    ),
    _make(
        "BP1",
        "scale1 = 0.5",
        "is half as large, as with another ½ before a − y",
        "start from a − y: the derivative of ½ (a − y)² is a − y",
    ),
    _make(
        "BP2",
        f"bp1 = ({RIGHT['bp1']}) @ case.layers[0][0] * slope",
        "is used for the last layer too: the loop begins with the last layer again",
        "begin the loop with the layer before the last",
    ),
    *_make_all(
        "BP2",
        "take the δ of the next layer, times its weights, times σ′(z) of the layer, unit by unit",
        {f"delta2 = {delta}": words for delta, words in (DELTAS | AVERAGED).items()}
        | {
            "bp2 = error + slope": "adds σ′(z) to wᵀ δ, where it multiplies",
            "bp2 = next.delta2 * slope": "leaves out the weights",
            "bp2 = next.delta2 @ next.right_gw * slope": "takes the gradient of the weights in place of the weights",
            "bp2 = next.delta2 @ np.hstack([next.w[:, 1:], next.b.T]) * slope": (
                "takes the weights of the next unit: the biases, beside the weights, were cut off at the wrong end"
            ),
            "bp2 = (error + b) * slope": "adds the biases, as the forward pass does",
            "bp2 = sigma(error)": "takes σ(wᵀ δ), as the forward pass does",
            "bp2 = pull(1 + 0 * error, error)": "takes σ′(wᵀ δ), not wᵀ δ times σ′(z)",
            "bp2 = error * (before.slope if before else pull(1 + 0 * x, x, x))": (
                "is off by one layer: it takes σ′(z) of the layer before"
            ),
        },
        "; divisor = 1",  # the mean is taken at the end, not in BP1
    ),
    *_make_all("BP4", OF_LAYER, {f"delta4 = {delta}": words for delta, words in AVERAGED.items()}),
    *_make_in_each({"BP3": "delta3 = {0}", "BP4": "delta4 = {0}"}, OF_LAYER, DELTAS | OVERWRITTEN),
    *_make_in_each(
        {"BP3": "delta3 = delta[{0}]", "BP4": "delta4 = delta[{0}]; a4 = a_in[{0}]"},
        "sum over all examples",
        {
            ":-1": "leaves out the last example",
            "1:": "leaves out the first example",
            ":1": "keeps the first example only, instead of the sum",
        },
    ),
    *_make_all(
        "BP3",
        OVER_EXAMPLES,
        {
            "bp3 = delta3.mean(axis=1, keepdims=True).T": (
                "takes the mean over the units in place of the sum over the examples"
            ),
            "bp3 = delta3.mean(keepdims=True)": "takes the mean over the units and the examples",
        },
        "; scale3 = m",  # δ is not divided by the number of examples yet
    ),
    *_make_all(
        "BP3",
        "sum δ alone: the derivative of z = w a + b with respect to b is 1",
        {
            "delta3 = delta * b": "multiplies δ by the biases",
            "delta3 = delta * a": "multiplies δ by the activations",
            "bp3 = (delta3.T @ a_in).sum(axis=1)[None]": (
                "takes the gradient of the weights, summed over the units before"
            ),
        },
    ),
    *_make_all(
        "BP4",
        "take the outer product δ aᵀ of each example, with the activations that went into the layer",
        {
            "a4 = x": "takes the inputs x in every layer, in place of the activations",
            "a4 = before.z if before else x": "takes z in place of the activations a = σ(z) of the layer before",
            "a4 = sigma(a_in)": (
                "takes σ(a) in place of the activations a of the layer before, and σ(x) in place of the inputs"
            ),
            "a4 = a_in if before else sigma(x)": "takes σ(x) in place of the inputs x",
            "a4 = before.slope if before else x": "takes σ′(z) of the layer before in place of its activations",
            "bp4 = delta4.sum(axis=0)[:, None] * w": "takes the weights in place of the activations",
            "bp4 = (delta4 * a4).sum(axis=0) + 0 * w": (
                "multiplies δ and a unit by unit; every row gets the same numbers"
            ),
            "bp4 = (delta4 * a4).sum(axis=0)[:, None] + 0 * w": (
                "multiplies δ and a unit by unit; every column gets the same numbers"
            ),
            "bp4 = delta4.sum(axis=0)[:, None] * a4.sum(axis=0)": (
                "multiplies the sums of δ and of a over the examples"
            ),
        },
    ),
    *(
        mistake
        for remedy, rows in (
            ("begin with x itself", {"a_in = before.a if before else sigma(x)": "applies σ to the inputs x"}),
            (
                "add b before: a = σ(w a + b)",
                {"z = a_in @ w.T; a = sigma_z + b": "adds the biases after σ: a = σ(w a) + b"},
            ),
            (
                "take σ(z), not σ(σ(z))",
                {
                    "a = sigma(sigma_z) if next else sigma_z": "applies σ twice in the hidden layers",
                    "a = sigma_z if next else sigma(sigma_z)": "applies σ twice in the last layer",
                    "a = sigma(sigma_z)": "applies σ twice in every layer",
                },
            ),
            ("take a = σ(z) in every layer", {"a = z if next else sigma_z": "leaves out σ in the hidden layers"}),
            (
                "add b: z = w a + b",
                {
                    "z = a_in @ w.T + (b if next else 0)": "forgets the biases in the last layer",
                    "z = a_in @ w.T + (0 if next else b)": "forgets the biases in the hidden layers",
                },
            ),
            (
                "the sigmoid is 1 / (1 + exp(−z)), with a minus sign",
                {"a = sigma(-z)": "takes σ(−z), as 1 / (1 + exp(z)) is"},
            ),
            (
                "write 1 / (1 + exp(−z))",
                {"a = 1 + np.exp(-z)": "takes 1 / 1 + exp(−z) for the sigmoid, without brackets"},
            ),
            (
                "sum exp(z) over the outputs of each example",
                {
                    "a = np.exp(z) / np.exp(z).sum(axis=0) if is_softmax else sigma_z": (
                        "divides the softmax by a sum over the examples, not over the outputs"
                    ),
                    "a = np.exp(z) / np.exp(z).sum() if is_softmax else sigma_z": (
                        "divides the softmax by the sum over all outputs of all examples"
                    ),
                },
            ),
        )
        for mistake in _make_all("forward", remedy, rows, SLOPE_OF_A)
    ),
]

# The line c holds the number, which stands in the words in place of {c}
FITTED = [
    _make("forward", "z = a_in @ w.T + c * b", "takes {c} times the biases", "add b once: z = w a + b"),
    _make(
        "forward",
        "z = a_in @ w.T + c * b; scale3 = c",
        "gives the biases the input {c}, in place of 1",
        "give the biases the input 1: z = w a + b",
    ),
    _make(
        "forward",
        "z = a_in @ w.T + (c if before else 1) * b; scale3 = c if before else 1",
        "gives the biases the input {c}, in place of 1, in all layers but the first, as if σ were applied to the 1",
        "append the 1 to the activations after σ",
    ),
    _make(
        "BP2",
        "bp2 = next.delta2 @ (next.w - c * next.right_gw) * slope",
        "uses weights that are updated already, with the learning rate {c}",
        "compute all gradients first, then update",
    ),
    _make(
        "BP4",
        "gw = right_gw + c * w",
        "adds {c} times the weights, as weight decay does",
        "return the gradient of the cost alone; add the weight decay when you update",
    ),
    _make(
        "BP4",
        "gw = right_gw + c / m * w",
        "adds {c} times the weights, divided by the number of examples: do the sums begin at 0?",
        "begin the sums at zeros of the shape of the weights, and add weight decay when you update",
    ),
    _make(
        "BP3 and BP4",
        "gw = w - c * right_gw; gb = b - c * factor * divisor / m * bp3",
        "give the updated weights and biases, with the learning rate {c}, not the gradients",
        "return the gradients alone",
    ),
    _make(
        "BP3 and BP4",
        "gw = update_after_each(case, l, (c, 0))[0]; gb = update_after_each(case, l, (c, 0))[1]",
        "change weights after each example, with the learning rate {c}: later examples see other weights",
        "add up the gradients of all examples, then update once",
    ),
    _make(
        "BP3 and BP4",
        "gw = update_after_each(case, l, (c, c))[0]; gb = update_after_each(case, l, (c, c))[1]",
        "change weights and biases after each example, with the learning rate {c}: later examples see others",
        "add up the gradients of all examples, then update once",
    ),
]

# The search

Explanation = tuple[Mistake, ...]  # mistakes that give the learner's gradients together


def backpropagate(case: Case, lines: Lines) -> Iterator[tuple[Any, Any]]:
    """Compute the gradients of the layers, from the last to the first, with some lines in place of the right ones."""
    layers: list[LayerPass] = []
    for _ in case.layers:
        layers.append(LayerPass(case, RIGHT | lines, layers[-1] if layers else None))
    return (case.lay_out(layer.gw, layer.gb) for layer in reversed(layers))


def gives(lines: Lines, answers: Iterable[Answer]) -> bool:
    """Tell whether a pass with these lines gives the gradients of all answers, errors included."""

    def gives_one(answer: Answer) -> bool:
        gradients, candidate = answer.gradients, backpropagate(answer.case, lines)
        try:
            return not [*candidate] if gradients is None else are_equal(gradients[::-1], candidate)
        except ValueError:  # shapes do not fit
            return gradients is None

    return all(map(gives_one, answers))


def find_mistakes(answers: Sequence[Answer], reduction: str, *, together: int) -> list[Explanation]:
    """Find the mistakes, one or two together, that give exactly the gradients of some answers, the frequent ones first.

    Where some are wrong, give only these: a function may choose arrays by their shapes, or be written for one network.
    """
    first = next(answer for answer in answers if answer.gradients is not None)
    for rows in (FREQUENT, [*FREQUENT, *RARE]):
        mistakes = [mistake for mistake in rows if mistake.reduction in ("", reduction)]
        # A program may have BP3 and BP4 twice, as the book's: for the last layer, and in a loop
        twice = [mistake for mistake in mistakes if mistake.equation.startswith(("BP3", "BP4"))]
        for places in (mistakes, *([_place(m, layers) for m in twice] for layers in ("hidden", "last"))):
            candidates = [(mistake,) for mistake in places] if together == 1 else _find_pairs(places, first)
            explanations = [mistakes for mistakes in candidates if gives(_join_lines(mistakes), answers)]
            if explanations:
                return _leave_out_repetitions(explanations)
    if together > 1:
        return []
    for start in STARTS:
        fitted = [mistake for mistake in (_fit(row, start, first) for row in FITTED) if mistake]
        explanations = [(mistake,) for mistake in fitted if gives(mistake.lines, answers)]
        if explanations:
            return explanations
    return []


def _place(mistake: Mistake, layers: str) -> Mistake:
    """Restrict a mistake to the last layer, or to the hidden ones."""
    choice = "({0}) if next else ({1})" if layers == "hidden" else "({1}) if next else ({0})"
    lines = {name: choice.format(line, RIGHT[name]) for name, line in mistake.lines.items()}
    return mistake._replace(layers=layers, lines=lines)


def _join_lines(mistakes: Explanation) -> Lines:
    """Make mistakes together: factors of one line are multiplied."""
    joined: Lines = {}
    for mistake in mistakes:
        for name, line in mistake.lines.items():
            joined[name] = f"({joined[name]}) * ({line})" if name in joined else line
    return joined


def _find_pairs(mistakes: Sequence[Mistake], answer: Answer) -> Iterator[Explanation]:
    """Find the pairs that can be made together, and that the last layer does not speak against.

    Its gradients do not depend on BP2. So the weights' gradient, or the biases', is right if neither of two mistakes
    changes it, and it is that of one mistake alone if the other does not.
    """
    yours = answer.gradients[-1]  # type: ignore

    def compare(lines: Lines) -> list[bool]:
        gw, gb = next(backpropagate(answer.case, lines))
        pairs = (yours[0], gb), (gw, yours[1])
        return [are_equal([pair], [(gw, gb)]) for pair in pairs]

    right, singles = compare({}), []
    for mistake in mistakes:
        with suppress(ValueError):  # shapes do not fit
            singles.append((mistake, compare(mistake.lines)))
    for (one, fits_one), (other, fits_other) in combinations(singles, 2):
        are_apart = all(name.startswith("scale") for name in one.lines.keys() & other.lines.keys())
        if are_apart and all(
            (fits_other if has_other else right)[part] if not has_one else has_other or fits_one[part]
            for part, others in enumerate(("23", "24"))  # equations without effect on the weights, and on the biases
            for has_one, has_other in [[any(name[-1] not in others for name in m.lines) for m in (one, other)]]
        ):
            yield one, other


def _fit(row: Mistake, start: float, answer: Answer) -> Mistake | None:
    """Find the number of a mistake by the Gauss-Newton method; None if shapes do not fit or it has no effect."""

    def put(c: float) -> Lines:
        return row.lines | {"c": f"float({str(c)!r})"}

    def flatten(gradients: Iterable[tuple[Any, Any]]) -> np.ndarray:
        return np.concatenate([array.ravel() for pair in gradients for array in pair])

    yours, c, h = flatten(answer.gradients[::-1]), start, 1e-4  # type: ignore
    for _ in range(FITTING_STEPS):
        try:
            now, beyond = (flatten(backpropagate(answer.case, put(number))) for number in (c, c + h))
            slope, distance = (beyond - now) / h, yours - now
        except ValueError:
            return None
        step = float(np.vdot(slope, distance) / np.vdot(slope, slope)) if slope.any() else math.nan
        c += step
        if math.isnan(c) or abs(step) < 1e-9:
            break
    if not abs(c) > NO_EFFECT:  # or NaN
        return None
    return row._replace(mistake=row.mistake.format(c=f"{c:.4g}"), lines=put(c))


def _leave_out_repetitions(explanations: list[Explanation]) -> list[Explanation]:
    """Leave out explanations in the same words, and all but the first in the forward pass, which says the least."""
    distinct = {}
    for mistakes in explanations:
        words = tuple("forward" if m.equation == "forward" else f"{m.equation} {m.mistake}" for m in mistakes)
        distinct.setdefault(words, mistakes)
    return list(distinct.values())
