"""Checks a learner's own backpropagation, and names the equation, the layer and the likely mistake.

The function that is checked gets random networks and minibatches, and its gradients are compared with the right ones.
To name a mistake, each of the table in `_mistakes` is made on purpose in the same networks: the one whose gradients
are those of the function is the likely mistake.
"""

import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet._names import look_up
from xpnet.errors import ArgumentError
from xpnet.inference import table
from xpnet.learn._cases import (
    Answer,
    Cases,
    Form,
    UnreadableError,
    are_same,
    ask,
    choose_form,
    choose_reading,
    compare,
    find_misshapen,
    is_complete,
    is_finite,
    read,
)
from xpnet.learn._mistakes import Explanation, find_mistakes, gives
from xpnet.network.network import Network
from xpnet.value.structure import parse_seed

LAYOUTS = {"rows": "examples in rows", "columns": "examples in columns"}
REDUCTIONS = {"mean": "mean over", "sum": "sum over"}
HINTS = {
    "rows": 'It runs with layout="rows", examples in rows: give this argument if you mean that',
    "columns": 'It runs with layout="columns", examples in columns: give this argument if you mean that',
    "row": "It runs with one example, x[0] and y[0]: call it for each example, and add up the gradients",
    "column": (
        'It runs with layout="columns" and one example, x[:, [0]] and y[:, [0]]: give this argument, call it for each '
        "example, and add up the gradients"
    ),
}


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
                where = mistake.place and f", {mistake.place} only,"
                lines.append(f"{joint} {place}{where} {mistake.mistake}")
                lines += [f"  {place}, {mistake.formula}", f"  To fix it, {mistake.remedy}"]
        return "\n".join([*lines, *self.notes])


def _format_row(row: dict[str, Any]) -> list[str]:
    start = [str(row["layer"]), row["parameter"], "right" if row["passed"] else "WRONG"]
    if isinstance(row["yours"], tuple):
        return [*start, "shape", "", str(row["yours"]), str(row["right"])]
    return [*start, f"{row['error']:.1e}", str(row["at"]), f"{row['yours']:.6g}", f"{row['right']:.6g}"]


def _list_wrong(wrong: list[tuple[int, str]]) -> str:
    """Format the places that are wrong, the layers with the same parameters together."""
    layers_of: dict[str, list[str]] = {}
    for layer in dict.fromkeys(layer for layer, _ in wrong):
        names = _join(name for number, name in wrong if number == layer)
        layers_of.setdefault(names, []).append(str(layer))
    return ", ".join(f"{names} of {_name_layers(layers)}" for names, layers in layers_of.items())


def _name_layers(layers: Sequence[Any]) -> str:
    return f"layer{'s' if len(layers) > 1 else ''} {_join(map(str, layers))}"


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
    cases = Cases(model, settings, Form(layout), reduction, np.random.default_rng(parse_seed(seed)))
    drawn = [*cases.draw("given", 3), *cases.draw("wide", 2)]
    form = choose_form(backward, [drawn[-1], drawn[0]])
    if form.layout != layout:
        return _write_report([ask(backward, drawn[0])], [], cases, [HINTS[form.layout]])
    cases = cases._replace(form=form)
    if form.labels:  # of targets that are 0 and 1
        drawn = [*cases.draw("given", 3), *cases.draw("wide", 2)]
    first, *others = (case._replace(form=form) for case in drawn)
    # Again at once and at the end: what a function keeps between calls may depend on the shapes
    answers, again = [ask(backward, first)], [ask(backward, first)]
    answers += [ask(backward, case) for case in others]
    again.append(ask(backward, first))
    squares = [*cases.draw("square", 3)]  # shapes that do not fit, or that tell arrays apart, fit where all are equal
    if any(answer.error for answer in answers):
        squares.pop()  # where everything fits, a function may run that never should
    answers += [ask(backward, case) for case in squares]
    if not any(answer.error is None and is_finite(answer.result) for answer in answers) and len(first.layers) > 1:
        answers += [ask(backward, case) for case in cases.draw("shallow", 2)]
    hints = _try_saturation(backward, answers[0])
    report = _write_report(answers, again, cases, hints)
    if report.passed and len(set(model.sigmas)) == 1:  # else layers may have numbers in it
        deep = [ask(backward, case) for case in cases.draw("deep", 2)]
        if all(is_complete(answer, choose_reading(answers)) for answer in deep):  # else it is for this depth only
            report = _write_report([*answers, *deep], again, cases, hints)
    return report


def _try_saturation(backward: Callable[..., Any], answer: Answer) -> list[str]:
    """Say whether a function whose gradients are finite returns NaN or infinity where z of layer 1 reaches 100."""
    if answer.error or not is_finite(answer.result):
        return []
    with np.errstate(all="ignore"):
        saturated = answer.case.saturate(100.0)
        beyond = ask(backward, saturated)
        if not is_finite(saturated.right) or beyond.error or is_finite(beyond.result):
            return []
    return [
        "Where z is about 100, your function returns NaN or infinity: does exp overflow, as it does in float32 from 89 "
        "on, or does it divide by a or 1 − a, which are 0 there? Write the sigmoid as 1 / (1 + exp(−z)), and δ of the "
        "cross-entropy as a − y"
    ]


# Explaining


def _explain(
    answers: Sequence[Answer], wrong: list[tuple[int, str]], cases: Cases, *, locate: bool
) -> tuple[list[Explanation], str | None, list[str]]:
    """Explain wrong gradients: by mistakes, with their equation; else, if `locate`, by the equation, and sentences."""
    finite = [answer for answer in answers if answer.gradients is None or is_finite(answer.gradients)]
    ran = [answer for answer in finite if answer.gradients is not None]
    if not ran:
        infinite = len(finite) < len(answers)
        return [], None, ["There are NaN or infinity among your gradients: fix that first"] if infinite else []
    if wrong and gives({}, ran):
        remedy = "return [g.reshape(w.shape) for g, w in zip(gw, weights)], and the same for gb and the biases"
        return [], None, [f"The numbers are right, but not the shapes: {remedy}"]
    wrong_only = [answer for answer in ran if not gives({}, [answer])]
    explanations = find_mistakes(wrong_only or finite, cases.reduction, together=1)
    if wrong_only and not explanations:
        explanations = find_mistakes(wrong_only, cases.reduction, together=2)
    if explanations or not wrong_only:
        names = dict.fromkeys(_name_equations(mistakes) for mistakes in explanations)
        return explanations, _join(names, "or") if names else None, _list_misshapen(ran)
    sentence, shapes = _explain_places(wrong_only, wrong) if locate else (None, [])
    return [], sentence, shapes


def _explain_places(answers: Sequence[Answer], wrong: list[tuple[int, str]]) -> tuple[str | None, list[str]]:
    """Say which equation seems to be wrong, from the places, shapes and sizes of the wrong gradients."""
    ran = [answer for answer in answers if answer.case.kind == answers[0].case.kind]  # of the table, with its layers
    empty = [
        (l, name)
        for l, name in wrong
        if not any(np.any(answer.gradients[l - 1]["wb".index(name)]) for answer in ran)  # type: ignore
    ]
    equation, sentence = _locate(empty or wrong, len(ran[0].case.layers))
    if empty:
        many = len(empty) > 1
        cause = ", or is δ 0 there" if equation in ("BP1", "BP2") else ""
        return None, [
            f"{_list_wrong(empty)} {'are' if many else 'is'} 0: {'were they' if many else 'was it'} filled in{cause}? "
            "1 // m, and arrays of integers, give 0, too"
        ]
    misshapen = {place for answer in ran for place in find_misshapen(answer)}
    shapes = [place for place in wrong if place in misshapen]
    if shapes:
        equation = equation if equation in ("BP3", "BP4") else None
        sentence = f"The shapes of {_list_wrong(shapes)} are wrong: give them those of the weights and biases"
    if equation == "BP1":
        equation = "BP1 or forward"
    return equation, ["No mistake known here, nor two together, gives these gradients", sentence]


def _list_misshapen(ran: Sequence[Answer]) -> list[str]:
    """Say which shapes are wrong besides the numbers, not because of them: those that only lost or gained axes."""
    places = [item for answer in ran for item in find_misshapen(answer).items()]
    notes = []
    for part, name in zip("wb", ("weights", "biases")):
        mended = [is_mended for (_, which), is_mended in places if which == part]
        if mended and all(mended):
            notes.append(f"The shapes of the {name}' gradients are wrong, too: they must be those of the {name}")
    return notes


def _name_equations(mistakes: Explanation) -> str:
    return _join(sorted({name for mistake in mistakes for name in mistake.equation.split(" and ")}))


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
            f"More than one equation seems to be wrong. Begin at the outputs: fix layer {later[-1]}, and check again"
        )
    if not of_weights:
        return "BP3", "Only biases are wrong, so the errors δ are right: look at BP3"
    if not of_biases:
        return "BP4", "Only weights are wrong, so the errors δ are right: look at BP4"
    return "BP3 and BP4", (
        "In layer 1 a gradient is right, so the errors δ of all layers are: look at BP3 and BP4 of "
        f"{_name_layers(later)}"
    )


# The report


def _describe_error(answer: Answer) -> str:
    """Say what the function raised, with which network, and in which line of it."""
    error, case = answer.error, answer.case
    frames = traceback.extract_tb(error.__traceback__)[1:]  # type: ignore
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    place = call = ""
    if own:
        line = own[-1].line
        place = f" in line {own[-1].lineno}{f', {line}' if line else ''}"
    if isinstance(error, TypeError):
        call = (
            ". It is called as backward(weights, biases, x, y), with lists: make of them what your own function takes, "
            'such as params = {f"W{l}": w for l, w in enumerate(weights, 1)}'
        )
    return (
        f"With the sizes {case.sizes} and {len(case.x)} {LAYOUTS[case.form.layout]}, your function raised "
        f"{type(error).__name__}{place}: {error}{call}"
    )


def _write_report(answers: list[Answer], again: list[Answer], cases: Cases, hints: list[str]) -> BackpropCheck:
    """Read the answers, compare them with the right gradients, and explain the difference."""
    activations = ", then ".join(dict.fromkeys(sigma.name for sigma in cases.model.sigmas))
    examples = f"{REDUCTIONS[cases.reduction]} the {LAYOUTS[cases.form.layout]}"
    examples += ", weights (n_in, n_out)" * cases.form.transposed + ", labels" * cases.form.labels
    examples += ", biases (n_out,)" * cases.form.flat
    sizes = answers[0].case.sizes
    title = f"Backpropagation in {sizes}: {activations}; {cases.model.cost.name} cost, {examples}"
    reading = choose_reading(answers)
    try:
        answers = [
            answer if answer.error else answer._replace(gradients=read(answer.result, reading, len(answer.case.layers)))
            for answer in answers
        ]
    except UnreadableError as complaint:
        return BackpropCheck(False, [], None, [], [str(complaint)], None, title)
    # What the function does besides comes first: it may be the cause
    impurities = _find_impurities(answers, again)
    besides = [reading, *impurities] if reading else impurities
    cases_of = {answer.case.kind: answer.case for answer in answers}
    rows_of = {kind: _tabulate(answer for answer in answers if answer.case.kind == kind) for kind in cases_of}
    wrong_kinds = [kind for kind, rows in rows_of.items() if not all(row["passed"] for row in rows)]
    kind = next((kind for kind in (*wrong_kinds, *rows_of) if rows_of[kind]), "given")
    notes, rows = [], rows_of[kind]
    if kind != "given" and rows:
        why = "which shows the mistake" if wrong_kinds else "for which your function runs"
        notes.append(f"The table is that of another network, {cases_of[kind].sizes}, {why}")
        if kind == "square" and wrong_kinds and rows_of["given"]:
            notes[0] += ". Where widths differ your gradients are right: do you choose an array by its shape?"
    failure = next((answer for answer in answers if answer.error), None)
    failed = failure is not None and failure.case.kind == "given"
    if failure is not None:
        notes.append(_describe_error(failure) + ("" if failed else ". For the sizes that you gave it runs"))
    explained: tuple[list[Explanation], str | None, list[str]] = [], None, []
    if wrong_kinds or failed:
        with np.errstate(all="ignore"):  # mistakes may overflow where the function does not
            wrong = [(row["layer"], row["parameter"]) for row in rows if not row["passed"]]
            explained = _explain(answers, wrong, cases, locate=not impurities)
    explanations, equation, explanation = explained
    return BackpropCheck(
        passed=not (failed or wrong_kinds or besides),
        rows=rows,
        equation=equation,
        explanations=explanations,
        notes=[*besides, *explanation, *notes, *hints],
        error=failure.error if failure else None,
        title=title,
    )


def _find_impurities(answers: Sequence[Answer], again: Sequence[Answer]) -> list[str]:
    """Say what the function does besides computing gradients."""
    impurities = []
    changed = list(dict.fromkeys(name for answer in answers for name in answer.changed))
    if changed:
        impurities.append(f"Your function changes its arguments: {_join(changed)}. Let it work on copies of them")
    if any(answer.error is None and not are_same(answer.result, answers[0].result) for answer in again):
        impurities.append(
            "Called again with the same arguments, your function returns other numbers: it keeps something between "
            "calls, such as sums that do not begin at 0, or draws random numbers: turn dropout off"
        )
    return impurities


def _tabulate(answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """Compare answers for networks of the same sizes with the right gradients, and take each row where it is worst."""
    tables = [compare(answer) for answer in answers if answer.gradients is not None]
    return [
        max(rows, key=lambda row: (not row["passed"], not math.isnan(row["error"]), row["error"]))
        for rows in zip(*tables)
    ]
