"""The mistakes that people write in backpropagation, in one table, and the search for those that give some gradients.

A mistake replaces lines of `RIGHT`, the program of one layer. The table, `_mistakes.toml`, holds
its equation, the wrong lines as code, its sentence and its remedy.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain, combinations, product
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.activations import ACTIVATIONS  # noqa: F401, for lines of the table
from xpnet.core.costs import COSTS, Fused  # noqa: F401, for lines of the table
from xpnet.learn._cases import Answer, Case, are_equal, compute_gradients

FITTING_STEPS, START = 12, 0.3  # of the Gauss-Newton method, for one number
NO_EFFECT = 1e-4  # a smaller number, such as a learning rate, is rounding

Lines = dict[str, str]  # the name of an array, and the line that computes it

# The equations of `xpnet.core.backprop` for a layer between two others, `before` and `next`; either may be None
RIGHT: Lines = {
    "activation": "case.model.sigmas[l]",
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
    "error": "next.delta2 @ next.w if next else gradient if not has_cancelled else "
    "-y / a / divisor if is_softmax else gradient / slope",
    "pulled": "gradient if has_cancelled else pull(gradient)",
    "bp1": "pulled",
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
    "right_gw": "factor * divisor / m * (delta.T @ a_in)",  # for BP2: a wrong line of BP4 might need its δ
    "right_gb": "factor * divisor / m * delta.sum(axis=0, keepdims=True)",
    "earlier": "pass_through(case.earlier or case, {})[l]",
}


class LayerPass(dict[str, Any]):
    """A layer in a pass forward and backward: its arrays by name, computed by their lines when they are asked for."""

    def __init__(self, case: Case, lines: Lines, layers: list[LayerPass]) -> None:
        l = len(layers)
        before, (w, b), output = layers[-1] if l else None, case.layers[l], case.model.output.with_inputs(case.x)
        super().__init__(case=case, l=l, w=w, b=b, x=case.x, y=case.y, m=len(case.x), factor=case.factor)
        self.update(layers=layers, before=before, next=None, output=output, sigma=self.sigma, pull=self.pull)
        self.update(is_softmax=case.model.sigmas[l].name == "softmax", has_cancelled=isinstance(output, Fused))
        self.lines = lines
        if before:
            before["next"] = self

    def __missing__(self, name: str) -> Any:
        value = self[name] = eval(_compile(self.lines[name]), globals(), self)  # lines of this file
        return value

    __getattr__ = dict.__getitem__

    def sigma(self, z: Any) -> Any:
        """Compute σ(z)."""
        return self.activation.value(z, np)

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
    place
        Where the mistake is, if it is not in all layers: "in the hidden layers", "in the last layer" or "in layer 1".
    """

    equation: str
    lines: Lines
    mistake: str
    remedy: str
    reduction: str = ""
    place: str = ""

    @property
    def formula(self) -> str:
        """The correct equation, in words and symbols."""
        return TABLE["formulas"][self.equation]


def _read(kind: str) -> Iterator[Mistake]:
    """Read the mistakes of a kind from the table."""
    for group in TABLE[kind]:
        equations = group.get("equations") or {group["equation"]: "{0}"}
        for (code, words), variant in product(group["rows"], ["", *group.get("variants", ())]):
            places = [(equation, form, words) for equation, form in equations.items()]
            if len(places) > 1:  # in both, too
                verb, _, rest = words.partition(" ")
                plural = f"{'multiply' if verb == 'multiplies' else verb.removesuffix('s')} {rest}"
                places.append((" and ".join(equations), "; ".join(equations.values()), plural))
            for equation, form, phrase in places:
                lines = dict(line.split(" = ", 1) for line in (form.format(code) + variant).split("; "))
                yield Mistake(equation, lines, phrase, group["remedy"], group.get("reduction", ""))


TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FREQUENT, RARE, FITTED = (list(_read(kind)) for kind in ("frequent", "rare", "fitted"))

# The search

Explanation = tuple[Mistake, ...]  # mistakes that give the learner's gradients together


def pass_through(case: Case, lines: Lines) -> list[LayerPass]:
    """Begin a pass through the layers, with some lines in place of the right ones."""
    layers: list[LayerPass] = []
    for _ in case.layers:
        layers.append(LayerPass(case, RIGHT | lines, layers))
    return layers


def backpropagate(case: Case, lines: Lines) -> Iterator[tuple[Any, Any]]:
    """Compute the gradients of the layers, from the last to the first."""
    return (case.lay_out(layer.gw, layer.gb) for layer in reversed(pass_through(case, lines)))


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
    n = len(first.case.layers)
    # A program may have an equation twice, as the book's, for the last layer and in a loop; or once for each layer
    places, movable = {"in the hidden layers": "next", "in the last layer": "not next"}, ("BP3", "BP4")
    if together == 1:
        places |= {f"in layer {l + 1}": f"l == {l}" for l in range(n - 1)}
        movable = ("BP2", "forward", *movable)

    def place_all(rows: Sequence[Mistake]) -> Iterator[Sequence[Mistake]]:
        mistakes = [mistake for mistake in rows if mistake.reduction in ("", reduction)]
        yield mistakes
        for place, condition in places.items() if n > 1 else ():
            yield [_place(mistake, place, condition) for mistake in mistakes if mistake.equation.startswith(movable)]

    for placed in chain(place_all(FREQUENT), place_all([*FREQUENT, *RARE])):
        candidates = [(mistake,) for mistake in placed] if together == 1 else _find_pairs(placed, first)
        explanations = [mistakes for mistakes in candidates if gives(_join_lines(mistakes), answers)]
        if explanations:
            return _leave_out_repetitions(explanations)
    for placed in place_all(FITTED) if together == 1 else ():
        fitted = [mistake for mistake in (_fit(row, first) for row in placed) if mistake]
        explanations = [(mistake,) for mistake in fitted if gives(mistake.lines, answers)]
        if explanations:
            return _leave_out_repetitions(explanations)
    return []


def _place(mistake: Mistake, place: str, condition: str) -> Mistake:
    lines = {name: f"({line}) if {condition} else ({RIGHT[name]})" for name, line in mistake.lines.items()}
    return mistake._replace(place=place, lines=lines)


def _join_lines(mistakes: Explanation) -> Lines:
    """Make mistakes together: factors of one line are multiplied."""
    joined: Lines = {}
    for mistake in mistakes:
        for name, line in mistake.lines.items():
            joined[name] = f"({joined[name]}) * ({line})" if name in joined else line
    return joined


def _find_pairs(mistakes: Sequence[Mistake], answer: Answer) -> Iterator[Explanation]:
    """Find the pairs that can be made together, and that no part of the gradients speaks against.

    The parts are the weights' gradients and the biases', of the last layer and of all. Those that one mistake cannot
    change must be those of the other alone, unless this takes into the last layer what is of those before it.
    """
    yours: Any = answer.gradients[::-1]  # type: ignore
    parts = {"23b": (1, 0), "24w": (1, 1), "3b": (None, 0), "4w": (None, 1)}  # ends of lines that do not change them

    def find_fitting(lines: Lines) -> set[str]:
        crosses = any("before.delta" in line or "for layer" in line for line in lines.values())
        candidate = [*backpropagate(answer.case, lines)]
        mixed: list[Any] = [((w, gb), (gw, b)) for (w, b), (gw, gb) in zip(yours, candidate)]
        return {
            ends
            for ends, (n, i) in parts.items()
            if (n and crosses) or are_equal([pairs[i] for pairs in mixed[:n]], candidate)
        }

    singles = []
    for mistake in mistakes:
        unchanged = {ends for ends in parts if all(name[-1] in ends for name in mistake.lines)}
        with suppress(ValueError):  # shapes do not fit
            singles.append((mistake, unchanged, find_fitting(mistake.lines)))
    for (one, unchanged, fitting), (other, others_unchanged, others_fitting) in combinations(singles, 2):
        are_apart = all(name.startswith("scale") for name in one.lines.keys() & other.lines.keys())
        if are_apart and unchanged <= others_fitting and others_unchanged <= fitting:
            yield one, other


def _fit(row: Mistake, answer: Answer) -> Mistake | None:
    """Find the number of a mistake by the Gauss-Newton method; None if shapes do not fit or it has no effect."""

    def put(c: float) -> Lines:
        return row.lines | {"c": f"float({str(c)!r})"}

    def flatten(gradients: Iterable[tuple[Any, Any]]) -> np.ndarray:
        return np.concatenate([array.ravel() for pair in gradients for array in pair])

    yours, c, h = flatten(answer.gradients[::-1]), START, 1e-4  # type: ignore
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
    return row._replace(mistake=row.mistake.format(c=f"{c:.5g}"), lines=put(c))


def _leave_out_repetitions(explanations: list[Explanation]) -> list[Explanation]:
    """Leave out explanations in the same words, and all but the first in the forward pass, which says the least."""
    distinct = {}
    for mistakes in explanations:
        words = tuple("forward" if m.equation == "forward" else f"{m.equation} {m.mistake}" for m in mistakes)
        distinct.setdefault(words, mistakes)
    return list(distinct.values())
