"""Checks a learner's own backpropagation, and names the equation, the layer and the likely mistake.

The function that is checked gets random networks and minibatches, and its gradients are compared with those of
`Network.backward`. To name a mistake, each of `mutations.MISTAKES` is made on purpose in the same networks: the one
whose gradients are those of the function is the likely mistake.
"""

from __future__ import annotations

import math
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet._names import look_up
from xpnet.core.activations import ACTIVATIONS
from xpnet.core.costs import COSTS
from xpnet.errors import ArgumentError
from xpnet.inference import table
from xpnet.learn._cases import (
    Answer,
    Case,
    Cases,
    Gradients,
    UnreadableError,
    are_equal,
    are_same,
    ask,
    choose_reading,
    compare,
    find_misshapen,
    is_close,
    is_complete,
    is_finite,
    read,
    to_layout,
)
from xpnet.learn._mutations import FORWARD_MISTAKES, MISTAKES, RIGHT, Equations, Mistake
from xpnet.learn._slips import FITTED, SLIPS
from xpnet.network.network import Network
from xpnet.value.structure import parse_seed

LAYOUTS = {"rows": "examples in rows", "columns": "examples in columns"}
REDUCTIONS = {"mean": "mean over", "sum": "sum over"}
FITTING_STEPS, STARTS = 12, (0.0, 0.3)  # of the Gauss-Newton method, for one number
# Of which a factor may be made, by which gradients are wrong
COUNTS = ["1", *(f"the number of {name}" for name in ("examples", "inputs", "outputs", "units before", "its units"))]
NO_EFFECT = 1e-4  # a smaller number, such as a learning rate, is rounding

_WHERE = {"all": "", "hidden": ", in the hidden layers only,", "last": ", in the last layer only,"}

Explanation = tuple[Mistake, ...]  # mistakes that give the learner's gradients together


@dataclass(frozen=True)
class BackpropCheck:
    """The result of `check_backprop`; printing it shows a report.

    Attributes
    ----------
    passed : bool
        Whether every gradient is right, in its shape too, and the arguments are unchanged.
    rows : list of dict
        For the weights and the biases of each layer: ``layer``, ``parameter`` ("w" or "b"), ``passed``, ``error`` (the
        largest difference, relative to the largest right derivative of the array; NaN if the shape is wrong), ``at``
        (its index), ``yours`` and ``right``, the two derivatives there, or the two shapes. Empty if there are no
        gradients.
    wrong : list of tuple
        The layer and the parameter of each row that did not pass, such as ``(1, "w")``.
    equation : str or None
        The equation that is wrong, such as "BP2", or "forward" for the forward pass; "BP1 and BP3" for two mistakes;
        "BP1 or BP2" if both would give this result; None if none is known.
    explanations : list of tuple of Mistake
        What would give exactly this result, usually one mistake. A tuple of two holds mistakes that were made together.
    notes : list of str
        What else there is to say, in sentences.
    error : Exception or None
        The exception that the function raised, with its traceback.
    title : str
        What was checked: the sizes, activations, cost and layout.
    """

    passed: bool
    rows: list[dict[str, Any]]
    equation: str | None
    explanations: list[Explanation]
    notes: list[str]
    error: Exception | None
    title: str

    @property
    def wrong(self) -> list[tuple[int, str]]:
        """The layers and parameters whose gradients are wrong."""
        return [(row["layer"], row["parameter"]) for row in self.rows if not row["passed"]]

    def __repr__(self) -> str:
        lines = [self.title]
        if self.rows:
            head = ["layer", "", "", "error", "at", "yours", "right"]
            lines.append(table([head, *(_format_row(row) for row in self.rows)], left=(1, 2)))
        verdict = "passed" if self.passed else "FAILED"
        lines.append(f"{verdict}: {_list_wrong(self.wrong)}" if self.wrong else verdict)
        for i, explanation in enumerate(self.explanations):
            for j, mistake in enumerate(explanation):
                joint = "and" if j else "or" if i else "The likely mistake:" if len(explanation) == 1 else "Together:"
                place = "the forward pass" if mistake.equation == "forward" else mistake.equation
                lines.append(f"{joint} {place}{_WHERE[mistake.layers]} {mistake.mistake}")
                lines += [f"  {place}, {mistake.formula}", f"  To mend it, {mistake.remedy}"]
        return "\n".join([*lines, *self.notes])


def _format_row(row: dict[str, Any]) -> list[str]:
    verdict = "right" if row["passed"] else "WRONG"
    if isinstance(row["yours"], tuple):
        return [str(row["layer"]), row["parameter"], verdict, "shape", "", str(row["yours"]), str(row["right"])]
    numbers = [f"{row['error']:.1e}", str(row["at"]), f"{row['yours']:.6g}", f"{row['right']:.6g}"]
    return [str(row["layer"]), row["parameter"], verdict, *numbers]


def _list_wrong(wrong: list[tuple[int, str]]) -> str:
    """Format the places that are wrong, the layers with the same parameters together."""
    layers_of: dict[str, list[str]] = {}
    for layer in dict.fromkeys(layer for layer, _ in wrong):
        names = _join(name for number, name in wrong if number == layer)
        layers_of.setdefault(names, []).append(str(layer))
    return ", ".join(
        f"{names} of layer{'s' if len(layers) > 1 else ''} {_join(layers)}" for names, layers in layers_of.items()
    )


def _join(words: Iterable[str], last: str = "and") -> str:
    """Join words as a sentence does."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def check_backprop(
    backward: Callable[..., Any],
    sizes: Sequence[int],
    *,
    layout: str = "rows",
    reduction: str = "mean",
    activation: Any = "sigmoid",
    output_activation: Any = None,
    cost: Any = "quadratic",
    seed: int = 0,
) -> BackpropCheck:
    """Check your own backpropagation: say which equation and which layer are wrong, and the likely mistake.

    The function gets random weights, biases and minibatches in float64, for networks of these sizes and for others: one
    with other widths, in which no mistake hides behind layers of a single unit; one whose widths and number of examples
    all are equal, so that shapes do not tell arrays apart; and one with more hidden layers, if it runs there and all
    layers have the same activation. Its gradients are compared with those of `Network.backward`. If they are wrong,
    common mistakes are made on purpose, until one gives exactly your gradients. A wrong gradient never raises: print
    the result.

    Parameters
    ----------
    backward
        ``backward(weights, biases, x, y)`` -> the gradients of the cost with respect to the weights and to the biases:
        two lists, with an array for each layer. The arguments are copies of NumPy arrays: the weights (n_out, n_in) of
        each layer, its biases, the inputs and the targets of several examples.
    sizes
        The number of units of each layer, from the inputs to the outputs.
    layout
        "rows": an example in each row of x (m, n_in) and y (m, n_out), and biases (n_out,). "columns", as in the book:
        an example in each column of x (n_in, m) and y (n_out, m), and biases (n_out, 1).
    reduction
        "mean" if the cost is the mean over the examples, "sum" if it is their sum.
    activation, output_activation, cost
        As in `Network`: by default sigmoid neurons and the quadratic cost ½ Σ (a − y)² of an example. They are taken to
        be right; `check_gradients` checks those of your own.
    seed
        Seed of the networks and minibatches.

    Returns
    -------
    BackpropCheck
        Prints as a report; ``passed`` says whether everything is right.

    Raises
    ------
    ArgumentError
        If `backward` is not a function; or if another argument is wrong.

    Examples
    --------
    The gradients of a single layer, whose error lacks σ′(z):

    >>> import numpy as np
    >>> def backward(weights, biases, x, y):
    ...     (w,), (b,) = weights, biases
    ...     a = 1 / (1 + np.exp(-(x @ w.T + b)))
    ...     delta = (a - y) / len(x)
    ...     return [delta.T @ x], [delta.sum(axis=0)]
    >>> check = check_backprop(backward, [3, 2])
    >>> check.passed, check.equation, check.wrong
    (False, 'BP1', [(1, 'w'), (1, 'b')])
    >>> check.explanations[0][0].mistake
    'leaves out σ′(z)'

    It is right for the cross-entropy, where σ′(z) cancels:

    >>> check_backprop(backward, [3, 2], cost="cross_entropy").passed
    True
    """
    if not callable(backward):
        raise ArgumentError(f"backward={backward!r} must be a function of (weights, biases, x, y)")
    look_up("layout", layout, LAYOUTS)
    look_up("reduction", reduction, REDUCTIONS)
    settings = {"activation": activation, "output_activation": output_activation, "cost": cost}
    model = Network(sizes, **settings).value.model
    cases = Cases(model, settings, reduction, np.random.default_rng(parse_seed(seed)))
    first, *others = *cases.draw("given", 3), *cases.draw("wide", 2)
    # Again at once and at the end: what a function keeps between calls may depend on the shapes
    answers = [ask(backward, first, layout)]
    again = [ask(backward, first, layout)]
    answers += [ask(backward, case, layout) for case in others]
    again.append(ask(backward, first, layout))
    squares = [*cases.draw("square", 3)]  # shapes that do not fit, or that tell arrays apart, fit where all are equal
    if any(answer.error for answer in answers):
        squares.pop()  # where everything fits, a function may run that never should
    answers += [ask(backward, case, layout) for case in squares]
    if not any(answer.error is None and is_finite(answer.result) for answer in answers) and len(first.layers) > 1:
        answers += [ask(backward, case, layout) for case in cases.draw("shallow", 2)]
    hints = [*_try_other_layout(backward, answers[0], layout), *_try_saturation(backward, answers[0], layout)]
    question = _Question(layout, reduction, settings)
    report = _write_report(answers, again, question, hints)
    if report.passed and len(set(model.sigmas)) == 1:  # else layers may have numbers in it
        deep = [ask(backward, case, layout) for case in cases.draw("deep", 2)]
        if all(is_complete(answer, choose_reading(answers)) for answer in deep):  # else it is for this depth only
            report = _write_report([*answers, *deep], again, question, hints)
    return report


def _try_other_layout(backward: Callable[..., Any], answer: Answer, layout: str) -> list[str]:
    """Say whether a function that raises an error runs with the other layout."""
    (other,) = LAYOUTS.keys() - {layout}
    if answer.error is None or ask(backward, answer.case, other).error is not None:
        return []
    return [f'It runs with layout="{other}", {LAYOUTS[other]}: give this argument if you mean that']


def _try_saturation(backward: Callable[..., Any], answer: Answer, layout: str) -> list[str]:
    """Say whether a function whose gradients are finite returns NaN or infinity where z of layer 1 reaches 100."""
    saturated = answer.case.saturate(100.0)
    if answer.error or not is_finite(answer.result) or not is_finite(saturated.right):
        return []
    with np.errstate(all="ignore"):
        beyond = ask(backward, saturated, layout)
    if beyond.error or is_finite(beyond.result):
        return []
    return [
        "Where z is about 100, your function returns NaN or infinity: does exp overflow, as it does in float32 from 89 "
        "on, or does it divide by a or 1 − a, which are 0 there? Write the sigmoid as 1 / (1 + exp(−z)), and δ of the "
        "cross-entropy as a − y"
    ]


# Explaining


class _Question(NamedTuple):
    """The kind of gradients that the learner's function should return."""

    layout: str
    reduction: str
    settings: dict[str, Any]

    def title(self, case: Case) -> str:
        """Format the question, for the first line of the report."""
        activations = ", then ".join(dict.fromkeys(sigma.name for sigma in case.model.sigmas))
        cost = f"{case.model.cost.name} cost, {REDUCTIONS[self.reduction]} the {LAYOUTS[self.layout]}"
        return f"Backpropagation in {_show_sizes(case)}: {activations}; {cost}"


# What a factor 1/m too much or too little means where the sum over the examples is asked for
_FOR_SUMS = {
    "BP1-twice": ("divides by the number of examples", 'leave the division out, or say reduction="mean"'),
    "BP2-twice": ("divides by the number of examples", "leave the division out"),
    "BP3-twice": ("divides by the number of examples", "take the sum over the examples, not the mean"),
    "BP4-twice": ("divides by the number of examples", "take the product alone: it is the sum over the examples"),
}
_NOT_FOR_SUMS = ("BP1", "BP3-sum", "BP4-sum")


def _list_mistakes(reduction: str) -> list[Mistake]:
    """List the mistakes that can be made with a reduction."""
    rest = FORWARD_MISTAKES.values()
    if reduction == "mean":
        return [*MISTAKES.values(), *rest]
    mistakes = {name: mistake for name, mistake in MISTAKES.items() if name not in _NOT_FOR_SUMS}
    for name, (mistake, remedy) in _FOR_SUMS.items():
        mistakes[name] = mistakes[name]._replace(mistake=mistake, remedy=remedy)
    return [*mistakes.values(), *rest]


class _Found(NamedTuple):
    """Gradients that the function returned for a case; None if it raised an error."""

    case: Case
    gradients: Gradients | None


class _Candidate(NamedTuple):
    """Mistakes that may explain the gradients, with their equations; `last` holds BP3 and BP4 of the last layer."""

    mistakes: Explanation
    equations: Equations
    last: Equations


def _gives(equations: Equations, found: Sequence[_Found], layout: str, last: Equations | None = None) -> bool:
    """Tell whether these equations give what was found, errors included."""
    for case, gradients in found:
        candidate = case.apply(equations, last=last)
        if (candidate is None) != (gradients is None):
            return False
        if candidate is not None and gradients is not None and not are_equal(gradients, candidate, layout):
            return False
    return True


def _explain(
    found: Sequence[_Found], wrong: list[tuple[int, str]], question: _Question, *, locate: bool
) -> tuple[list[Explanation], str | None, list[str]]:
    """Explain wrong gradients: by mistakes, with their equation; else, if `locate`, by the equation, and sentences."""
    finite = [_Found(case, gradients) for case, gradients in found if gradients is None or is_finite(gradients)]
    ran = [_Found(case, gradients) for case, gradients in finite if gradients is not None]
    if not ran:
        infinite = len(finite) < len(found)
        return [], None, ["There are NaN or infinity among your gradients: mend that first"] if infinite else []
    if wrong and _gives(RIGHT, ran, question.layout):
        return [], None, ["The numbers are right, but not the shapes: they must be those of the weights and biases"]
    evidence = [finite]
    if wrong:
        # A function may fail for other sizes only because it was written for the given ones, and it may take other
        # arrays where shapes are equal
        wrong_only = [found for found in ran if not _gives(RIGHT, [found], question.layout)]
        evidence += [part for part in (ran, wrong_only) if len(part) < len(evidence[-1])]
    explanations = _find_mistakes(evidence, question, together=1)
    if wrong and not explanations:
        other = _find_other_settings(ran, question)
        if other is not None:
            return [], None, [f"Your gradients are right for {other}: give this argument if you mean that"]
        explanations = _find_mistakes(evidence, question, together=2)
    if explanations or not wrong:
        names = dict.fromkeys(_name_equations(mistakes) for mistakes in explanations)
        return explanations, _join(names, "or") if names else None, _list_misshapen(_find_shapes(ran, question.layout))
    if not locate:
        return [], None, []
    return [], *_explain_places(wrong_only, wrong, question.layout)


def _explain_places(found: Sequence[_Found], wrong: list[tuple[int, str]], layout: str) -> tuple[str | None, list[str]]:
    """Say which equation seems to be wrong, from the places, shapes and sizes of the wrong gradients."""
    ran = [other for other in found if other.case.kind == found[0].case.kind]  # of the table, with its layers
    misshapen = _find_shapes(ran, layout)
    empty = _find_empty(ran, wrong)
    equation, sentence = _locate(empty or wrong, len(ran[0].case.layers))
    if empty:
        places = f"{_list_wrong(empty)} {'are' if len(empty) > 1 else 'is'} 0"
        cause = ", or is δ 0 there?" if equation in ("BP1", "BP2") else "?"
        return None, [f"{places}: {'were they' if len(empty) > 1 else 'was it'} filled in{cause}"]
    shapes = [place for place in wrong if any(place in places for places in misshapen)]
    if shapes:
        equation = equation if equation in ("BP3", "BP4") else None
        sentence = f"The shapes of {_list_wrong(shapes)} are wrong: give them those of the weights and biases"
    factor = _find_factor(found, layout)
    if equation == "BP1" and factor is None:
        equation = "BP1 or forward"
    sentences = [] if factor is None else [f"Each wrong gradient is {factor}"]
    return equation, ["No mistake known here, nor two together, gives these gradients", sentence, *sentences]


def _find_shapes(ran: Sequence[_Found], layout: str) -> list[dict[tuple[int, str], bool]]:
    """Find the wrong shapes of each case."""
    return [find_misshapen(case, gradients, layout) for case, gradients in ran if gradients is not None]


def _list_misshapen(misshapen: Sequence[dict[tuple[int, str], bool]]) -> list[str]:
    """Say which shapes are wrong besides the numbers, not because of them: those that only lost or gained axes."""
    notes = []
    for which, name in zip("wb", ("weights", "biases")):
        restorable = [mended for places in misshapen for (_, part), mended in places.items() if part == which]
        if restorable and all(restorable):
            notes.append(f"The shapes of the {name}' gradients are wrong, too: they must be those of the {name}")
    return notes


def _name_equations(mistakes: Explanation) -> str:
    return _join(sorted({name for mistake in mistakes for name in mistake.equation.split(" and ")}))


def _find_mistakes(evidence: Sequence[Sequence[_Found]], question: _Question, together: int) -> list[Explanation]:
    """Find the mistakes, alone or two together, that give exactly the first evidence, or else the next.

    Those of an equation and of the forward pass come first, as they are the most frequent.
    """
    layout = question.layout
    right = [_Found(case, to_layout(case.right, layout)) for case, _ in evidence[0]]
    frequent = _list_mistakes(question.reduction)
    first = next(found for found in evidence[-1] if found.gradients is not None)
    for mistakes in (frequent, [*frequent, *SLIPS]):
        if together > 1:  # one that has no effect here does not belong to a pair
            mistakes = [m for m in mistakes if not _gives(m.equations, right, layout)]
        # A program may have BP3 and BP4 twice, as the book's: for the last layer, and in a loop
        twice = [m for m in mistakes if m.equation.startswith(("BP3", "BP4"))] if len(right[0].case.layers) > 1 else []
        for places in (mistakes, *([m._replace(layers=layers) for m in twice] for layers in ("hidden", "last"))):
            candidates = _make_candidates(places, together, first, layout)
            for found in evidence:
                explanations = [c.mistakes for c in candidates if _gives(c.equations, found, layout, c.last)]
                if explanations:
                    return _leave_out_repetitions(explanations)
    if together > 1:
        return []
    for start in STARTS:
        fitted = [mistake for mistake in (_fit(make, start, first, layout) for make in FITTED) if mistake]
        explanations = [(mistake,) for mistake in fitted if _gives(mistake.equations, evidence[-1], layout)]
        if explanations:
            return explanations
    return []


def _make_candidates(mistakes: Sequence[Mistake], together: int, found: _Found, layout: str) -> list[_Candidate]:
    """Make candidates of one mistake or two; of two, only if the last layer does not speak against them.

    Its gradients do not depend on BP2. So the weights' gradient, or the biases', is right if neither of two mistakes
    changes it, and it is that of one mistake alone if the other does not.
    """
    singles = [c for c in (_make_candidate((m,)) for m in mistakes) if c is not None]
    if together == 1:
        return singles
    right = _fits_last_layer(_Candidate((), RIGHT, RIGHT), found, layout)
    fits = [_fits_last_layer(c, found, layout) for c in singles]
    changes = [_find_changes(c) for c in singles]

    def may_fit(i: int, j: int) -> bool:
        for part in "wb":
            changing = [k for k in (i, j) if part in changes[k]]
            if len(changing) < 2 and part not in (fits[changing[0]] if changing else right):
                return False
        return True

    pairs = [pair for pair in combinations(range(len(singles)), 2) if may_fit(*pair)]
    candidates = (_make_candidate((*singles[i].mistakes, *singles[j].mistakes)) for i, j in pairs)
    return [c for c in candidates if c is not None]


def _find_changes(candidate: _Candidate) -> str:
    """Say which gradients of the last layer a candidate changes: those of the weights, "w", of the biases, "b"."""
    changed = [*_list_changes(candidate.last)]
    changed += [name for name in _list_changes(candidate.equations) if name[:3] not in ("bp2", "bp3", "bp4")]
    parts = {"bp2": "", "bp3": "b", "bp4": "w"}
    return "".join(parts.get(name[:3], "wb") for name in changed)


def _fits_last_layer(candidate: _Candidate, found: _Found, layout: str) -> str:
    """Say which gradients of the last layer a candidate gives: those of the weights, "w", of the biases, "b"."""
    case, gradients = found
    given = case.apply(candidate.equations, last=candidate.last)
    if given is None or gradients is None:
        return ""
    last = [([arrays[-1]], []) for arrays in to_layout(given, layout)]
    return "".join(
        part for part, mine, other in zip("wb", gradients, last) if are_equal(([mine[-1]], []), other, "rows")
    )


def _fit(make: Callable[[float], Mistake], start: float, found: _Found, layout: str) -> Mistake | None:
    """Find the number of a mistake by the Gauss-Newton method; None if shapes do not fit or it has no effect."""

    def compute(c: float) -> np.ndarray | None:
        gradients = found.case.apply(make(c).equations)
        return None if gradients is None else _flatten(to_layout(gradients, layout))

    yours, c, h = _flatten(found.gradients or ([], [])), start, 1e-4
    for _ in range(FITTING_STEPS):
        now, beyond = compute(c), compute(c + h)
        if now is None or beyond is None or now.shape != yours.shape:
            return None
        slope = (beyond - now) / h
        step = float(np.vdot(slope, yours - now) / np.vdot(slope, slope)) if slope.any() else math.nan
        c += step
        if math.isnan(c) or abs(step) < 1e-9:
            break
    return make(c) if abs(c) > NO_EFFECT else None  # not NaN


def _flatten(gradients: Gradients) -> np.ndarray:
    return np.concatenate([array.ravel() for arrays in gradients for array in arrays])


def _make_candidate(mistakes: Explanation) -> _Candidate | None:
    """Make mistakes together, each in its layers; None if they exclude each other."""
    hidden = _join_equations([m for m in mistakes if m.layers != "last"])
    last = _join_equations([m for m in mistakes if m.layers != "hidden"])
    return None if hidden is None or last is None else _Candidate(mistakes, hidden, last)


def _leave_out_repetitions(explanations: list[Explanation]) -> list[Explanation]:
    """Leave out explanations in the same words, and all but the first in the forward pass, which says the least."""
    distinct = {}
    for mistakes in explanations:
        words = tuple("forward" if m.equation == "forward" else f"{m.equation} {m.mistake}" for m in mistakes)
        distinct.setdefault(words, mistakes)
    return list(distinct.values())


def _join_equations(mistakes: Sequence[Mistake]) -> Equations | None:
    """Make mistakes together; None if they are in the same place and none of them is only a factor."""
    joined: dict[str, Any] = {}
    for mistake in mistakes:
        for name, value in _list_changes(mistake.equations).items():
            if name in joined:
                if name != "bp1_scale":
                    return None
                value = partial(_multiply, joined[name], value)
            joined[name] = value
    return RIGHT._replace(**joined)


@lru_cache(maxsize=1000)
def _list_changes(equations: Equations) -> dict[str, Any]:
    """List what differs from the right equations."""
    return {name: value for name, value in equations._asdict().items() if value != getattr(RIGHT, name)}


def _multiply(one: Callable[..., float], other: Callable[..., float], x: Any, y: Any) -> float:
    return one(x, y) * other(x, y)


def _find_other_settings(ran: Sequence[_Found], question: _Question) -> str | None:
    """Find another activation or cost for which the gradients are right."""
    names = {"activation": ACTIVATIONS, "output_activation": ACTIVATIONS, "cost": COSTS}
    for argument, name in ((argument, name) for argument, known in names.items() for name in known):
        if all(_is_right_for(case, gradients, {argument: name}, question) for case, gradients in ran):
            return f'{argument}="{name}"'
    return None


def _is_right_for(case: Case, gradients: Gradients | None, change: dict[str, Any], question: _Question) -> bool:
    try:
        model = Network(case.model.sizes, **{**question.settings, **change}).value.model
    except ValueError:  # does not go with the other settings
        return False
    if model.cost.outputs_per_target != case.model.cost.outputs_per_target:
        return False
    candidate = case.apply(RIGHT, model)
    return candidate is not None and gradients is not None and are_equal(gradients, candidate, question.layout)


def _find_factor(ran: Sequence[_Found], layout: str) -> str | None:
    """Say by what all wrong gradients are multiplied; None if they are no multiples of the right ones."""
    factors, ratios = [], []
    for case, gradients in ran:
        right = to_layout(case.right, layout)
        rows = [] if gradients is None else compare(case, gradients, layout)
        for row in (row for row in rows if not row["passed"]):
            part, l = "wb".index(row["parameter"]), row["layer"] - 1
            yours, correct = gradients[part][l], right[part][l]  # type: ignore
            if yours.shape != correct.shape:
                return None
            factors.append(float(np.vdot(yours, correct) / np.vdot(correct, correct)))
            if not is_close(yours, factors[-1] * correct, np.max(np.abs(yours))):
                return None
            n_out, n_in = right[0][l].shape
            counts = [1, len(case.x), case.x.shape[1], case.y.shape[1], n_in, n_out]
            ratios.append([one / other for one in counts for other in counts])
    if not factors:
        return None
    if np.allclose(factors, factors[0]):
        return f"{factors[0]:.6g} times the right one: leave out the factor, such as a learning rate"
    ratio = np.isclose(ratios, np.array(factors)[:, None]).all(axis=0)
    if ratio.any():
        one, other = divmod(int(np.argmax(ratio)), len(COUNTS))
        return f"the right one times {COUNTS[one]} / {COUNTS[other]}: leave this factor out"
    return "a multiple of the right one, each another: is it divided by its norm, or by a number that changes?"


def _find_empty(ran: Sequence[_Found], wrong: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Find the wrong gradients that are always 0."""
    gradients = [found.gradients for found in ran if found.gradients is not None]
    return [(l, name) for l, name in wrong if not any(np.any(lists["wb".index(name)][l - 1]) for lists in gradients)]


def _locate(wrong: list[tuple[int, str]], n: int) -> tuple[str | None, str]:
    """Say which equation is wrong, from the places where the gradients are.

    The δ of a layer is made of that of the next. So where a gradient is right, the δ of its layer and of all later ones
    is right, too.
    """
    of_weights, of_biases = ({layer for layer, name in wrong if name == which} for which in "wb")
    first = next((l for l in range(1, n + 1) if l not in of_weights & of_biases), n + 1)  # whose δ is right
    later = sorted(layer for layer in of_weights | of_biases if layer >= first)
    if first > n:
        return "BP1", (
            "All layers are wrong: look at the error of the outputs, BP1, and at what comes before it, the forward "
            "pass and the examples"
        )
    if not later:
        return "BP2", f"The last layer is right, so BP1 is too: look at BP2, where it gives the δ of layer {first - 1}"
    if first > 1:
        return None, (
            f"More than one equation seems to be wrong. Begin at the outputs: mend layer {later[-1]}, and check again"
        )
    if not of_weights:
        return "BP3", "Only biases are wrong, so the errors δ are right: look at BP3"
    if not of_biases:
        return "BP4", "Only weights are wrong, so the errors δ are right: look at BP4"
    return "BP3 and BP4", (
        f"In layer 1 a gradient is right, so the errors δ of all layers are: look at BP3 and BP4 of layer"
        f"{'s' if len(later) > 1 else ''} {_join(map(str, later))}"
    )


# The report


def _find_libraries(function_file: str) -> list[Path]:
    """List the folders of libraries: those of Python, and those that .pth files name, as of editable installations.

    A folder with the learner's function in it, or around or below the current folder, is a project of the learner.
    """
    named = [
        Path(os.path.abspath(Path(folder, line.strip())))
        for folder in sys.path
        for file in Path(folder).glob("*.pth")
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
    ]
    here = Path.cwd()
    others = [
        folder
        for folder in named
        if not (
            Path(function_file).is_relative_to(folder) or here.is_relative_to(folder) or folder.is_relative_to(here)
        )
    ]
    return [Path(sysconfig.get_path("stdlib")), Path(__file__).parents[1], *others]


def _is_of_library(filename: str, libraries: Sequence[Path]) -> bool:
    path = Path(filename)
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return is_installed or filename.startswith("<frozen ") or any(path.is_relative_to(folder) for folder in libraries)


def _describe_error(answer: Answer, layout: str) -> str:
    """Say what the function raised, with which network, and in which line of it."""
    error = answer.error
    frames = traceback.extract_tb(error.__traceback__)[1:]  # type: ignore
    libraries = _find_libraries(frames[0].filename) if frames else []
    own = [frame for frame in frames if not _is_of_library(frame.filename, libraries)] or frames
    place = ""
    if own:
        file = "" if own[-1].filename == frames[0].filename else f" of {Path(own[-1].filename).name}"
        place = f" in line {own[-1].lineno}{file}{f', {own[-1].line}' if own[-1].line else ''}"
    called = "" if own else ". It is called as backward(weights, biases, x, y)"
    return (
        f"With the sizes {_show_sizes(answer.case)} and {len(answer.case.x)} {LAYOUTS[layout]}, your function raised "
        f"{type(error).__name__}{place}: {error}{called}"
    )


def _show_sizes(case: Case) -> str:
    return "-".join(map(str, case.model.sizes))


def _merge_rows(tables: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Take each row where it is worst."""
    return [
        max(rows, key=lambda row: (not row["passed"], not math.isnan(row["error"]), row["error"]))
        for rows in zip(*tables)
    ]


def _write_report(answers: list[Answer], again: list[Answer], question: _Question, hints: list[str]) -> BackpropCheck:
    """Read the answers, compare them with the right gradients, and explain the difference."""
    report = BackpropCheck(False, [], None, [], [], None, question.title(answers[0].case))
    reading = choose_reading(answers)
    if reading.note:
        report.notes.append(reading.note)
    found = []
    for answer in answers:
        try:
            gradients = None if answer.error else read(answer.result, reading, len(answer.case.layers))
        except UnreadableError as complaint:
            return replace(report, notes=[str(complaint)])
        found.append(_Found(answer.case, gradients))
    impurities = []
    changed = list(dict.fromkeys(name for answer in answers for name in answer.changed))
    if changed:
        impurities.append(f"Your function changes its arguments: {_join(changed)}. Let it work on copies of them")
    if any(answer.error is None and not are_same(answer.result, answers[0].result) for answer in again):
        impurities.append(
            "Called again with the same arguments, your function returns other numbers: it keeps something between "
            "calls, such as sums that do not begin at 0, or draws random numbers"
        )
    report.notes.extend(impurities)
    report = _diagnose(report, answers, found, question, impure=bool(impurities))
    return replace(report, notes=[*report.notes, *hints])


def _diagnose(
    report: BackpropCheck, answers: list[Answer], found: list[_Found], question: _Question, *, impure: bool
) -> BackpropCheck:
    """Add the table, the verdict and the explanation to a report; `impure` if it says what else the function does."""
    rows_of = {
        kind: _merge_rows([compare(c, g, question.layout) for c, g in found if c.kind == kind and g is not None])
        for kind in dict.fromkeys(case.kind for case, _ in found)
    }
    failure = next((answer for answer in answers if answer.error), None)
    failed = failure is not None and failure.case.kind == "given"
    wrong = [kind for kind, rows in rows_of.items() if not all(row["passed"] for row in rows)]
    kind = wrong[0] if wrong else next((kind for kind, rows in rows_of.items() if rows), "given")
    notes = []
    report = replace(report, passed=not (failed or wrong or report.notes), rows=rows_of[kind])
    if failure is not None:
        report = replace(report, error=failure.error)
        notes.append(_describe_error(failure, question.layout))
        if not failed:
            notes[-1] += ". For the sizes that you gave it runs"
    if kind != "given" and rows_of[kind]:
        why = "which shows the mistake" if wrong else "for which your function runs"
        case = next(case for case, _ in found if case.kind == kind)
        notes.insert(0, f"The table is that of another network, {_show_sizes(case)}, {why}")
        if kind == "square" and wrong and rows_of["given"]:
            notes[0] += ". Where widths differ your gradients are right: do you choose an array by its shape?"
    if not wrong and not failed:
        return replace(report, notes=[*report.notes, *notes])
    with np.errstate(all="ignore"):  # mistakes may overflow where the function does not
        explanations, equation, explanation = _explain(found, report.wrong, question, locate=not impure)
    # What the function does besides comes first: it may be the cause
    return replace(report, explanations=explanations, equation=equation, notes=[*report.notes, *explanation, *notes])
