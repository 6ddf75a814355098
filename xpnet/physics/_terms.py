"""Arguments of `solve`: the network, coefficients and terms, checked before anything has changed."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from xpnet._checks import check_dict, choices, count, has_entries, in_range, is_dict, is_list, show, to_float
from xpnet.core.arrays import Array
from xpnet.core.optimizers import LevenbergMarquardt
from xpnet.errors import ArgumentError
from xpnet.physics._residuals import Present, Term, add_pairs, compute_rows, evaluate, mixes_rows, weigh_terms
from xpnet.physics._taylor import slopes
from xpnet.training import check_machine
from xpnet.training.callback import LOGS
from xpnet.value import Value

ARGUMENTS = ("x", "u", "du", "ddu", "xp")  # of a residual
SEED = 2**31  # of points that are added, one that nobody has drawn the others with
MOST_ADDED = 1000  # as points between others are found from all distances
PART_OF_WAY = 0.4  # to the nearest: not a half, as two may be nearest to each other
BESIDE_ZERO, LEAST_JUMP = 1e-9, 1e-3  # where kinks are, and how much a derivative changes across one
SMOOTH = 'give a smooth one, such as activation="tanh" and output_activation="identity"'


def check_network(value: Value) -> None:
    """Refuse a network that `solve` cannot fit."""
    model = value.model
    if value.dtype != "float64":
        raise ArgumentError(f'solve needs float64, and the network has {value.dtype}; give dtype="float64"')
    if model.standardize or model.scale is not None or value.scaling is not None:
        raise ArgumentError(
            "solve differentiates with respect to the inputs, so it does not go with standardize=True, a scaling or "
            "scale=; leave them out, and choose units in which x and u are about 1"
        )
    if any(model.dropout):
        raise ArgumentError(f"solve does not go with dropout={list(model.dropout)}; leave dropout out")
    rows = np.array([[-1.0, -0.3, 0.3, 1.0]]), np.array([-BESIDE_ZERO, BESIDE_ZERO])
    with value.scope():
        z, beside_zero = (value.backend.asarray(row, value.dtype) for row in rows)
        for sigma in model.sigmas:
            part, whole = (value.backend.to_numpy(sigma.value(inputs, value.xp)) for inputs in (z[:, :2], z))
            if not np.allclose(part, whole[:, :2], equal_nan=True):
                raise ArgumentError(
                    f"solve needs activations that act on each unit by itself, unlike {sigma.name!r}; {SMOOTH}"
                )
            for slope in slopes(sigma, beside_zero, sigma.value(beside_zero, value.xp), value.xp)[:2]:
                if abs(float(slope[1] - slope[0])) > LEAST_JUMP:
                    raise ArgumentError(f"solve needs activations without a kink, unlike {sigma.name!r}; {SMOOTH}")
    check_machine(LevenbergMarquardt(), value.backend, model)


def parse_coefficients(coefficients: Any) -> dict[str, float]:
    """Check the first values of unknown coefficients."""
    if coefficients is None:
        return {}
    if not is_dict(coefficients):
        raise ArgumentError(f"coefficients={show(coefficients)} must be a dict of first values, such as {{'c': 1.0}}")
    for name in {*ARGUMENTS, *LOGS} & coefficients.keys():
        raise ArgumentError(
            f"coefficients has the name {name!r}, which means something else in a residual or a history; choose "
            f"another than {choices((*ARGUMENTS, *LOGS))}"
        )
    return {
        name: in_range(f"coefficients[{name!r}]", number, -math.inf, math.inf, "give a first guess", False)
        for name, number in coefficients.items()
    }


def parse_bounds(bounds: Any, first: dict[str, float]) -> np.ndarray:
    """Check bounds of coefficients; return the least and the largest value of each, (2, k)."""
    intervals = dict.fromkeys(first, (-math.inf, math.inf))
    for name, pair in check_dict("bounds", {} if bounds is None else bounds).items():
        ends = pair if is_list(pair) and len(pair) == 2 else (math.nan, math.nan)
        low, high = (none if end is None else to_float(end) for end, none in zip(ends, (-math.inf, math.inf)))
        if name not in first or not (low <= first[name] <= high and low < high):
            raise ArgumentError(
                f"bounds[{name!r}]={show(pair)} must be a pair (low, high) in increasing order, None for no bound, "
                f"around the first value of a coefficient, {choices(first)}"
            )
        intervals[name] = low, high
    return np.array([*intervals.values()]).reshape(-1, 2).T


def make_present(value: Value, coefficients: Mapping[str, float]) -> Present:
    """Put a network and values of coefficients together."""
    numbers = {name: value.backend.asarray(np.asarray(number), value.dtype) for name, number in coefficients.items()}
    return Present(value.layers, value.model.sigmas, numbers, value.xp)


def find_solution(value: Value) -> Present:
    """Put a network and the coefficients that `solve` has found for it together."""
    fitted = value.objective.coefficients or {}
    return make_present(value, {name: number for name, (_, number, _) in fitted.items()})


def parse_terms(terms: Any, present: Present, value: Value) -> list[Term]:
    """Check terms; their points move to the device, and their residuals get only the coefficients that they take.

    Each residual is computed and differentiated once, to raise what is wrong with it before anything has changed.
    """
    if not is_list(terms) or not terms or not all(isinstance(term, Term) for term in terms):
        raise ArgumentError(f"terms={show(terms)} must be a list of xpnet.Term, one for each equation")
    unweighted = [k for k, term in enumerate(terms) if term.weight is None]
    if 0 < len(unweighted) < len(terms):
        raise ArgumentError(
            f"terms {unweighted} have no weight, but others do; give a weight to every term, or to none"
        )
    taken, residuals = zip(*(_give(term.residual, present.coefficients) for term in terms))
    for name in set(present.coefficients).difference(*taken):
        raise ArgumentError(
            f"coefficients has {name!r}, which no residual takes; write it as a further argument, as in "
            f"residual(x, u, du, ddu, xp, {name})"
        )
    points = (read_points(term.x, f"x of term {k}", value) for k, term in enumerate(terms))
    placed = (replace(term, x=x, residual=residual) for term, x, residual in zip(terms, points, residuals))
    return [_check_residual(term, k, present) for k, term in enumerate(placed)]


def parse_edges(time: Any, edges: Any, terms: Sequence[Term], steps: int, value: Value) -> list[float]:
    """Check the ends of windows of time; return that of each step. The last window holds all points."""
    if time is None and edges is None:
        return [math.inf] * steps
    n_in = value.model.n_in
    if count("time", time, 0) >= n_in:
        raise ArgumentError(f"time={show(time)} must be the number of an input, from 0 to {n_in - 1}")
    times = np.concatenate([np.ravel(value.backend.to_numpy(term.x)[..., time]) for term in terms])
    low, high = times.min(), times.max()
    ends = [low, *map(to_float, edges if has_entries(edges) else ())]
    if len(ends) == 1 or not all(start < end <= high for start, end in pairwise(ends)):
        raise ArgumentError(
            f"edges={show(edges)} must be a list of numbers in increasing order, above {low:g} and at most {high:g}, "
            f"the times of points (input {time})"
        )
    windows = [*(end for end in ends[1:] if end < high), math.inf]
    if len(windows) > steps:
        raise ArgumentError(f"steps={steps} must be at least the number of windows of edges={show(edges)}")
    return [windows[k * len(windows) // steps] for k in range(steps)]


def parse_solution(caller: str, terms: Any, value: Value) -> list[Term]:
    """Check and weigh terms that `solve` has fitted a network to."""
    check_network(value)
    if value.objective.coefficients is None:
        raise ArgumentError(f"{caller} of terms needs a network whose last training was solve; call solve before")
    present = find_solution(value)
    return weigh_terms(parse_terms(terms, present, value), present)


def _give(residual: Any, coefficients: Iterable[str]) -> tuple[list[str], Callable[..., Any]]:
    """Find the coefficients that a residual takes; make one of it that is given all."""
    parameters = inspect.signature(residual).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    names = [name for name in coefficients if takes_all or name in parameters]
    return names, lambda *arguments, **numbers: residual(*arguments, **{name: numbers[name] for name in names})


def read_points(x: Any, name: str, value: Value) -> Array:
    """Check points, or rows of points that belong together, and move them to the device."""
    if is_list(x) and len(x) > 1:
        shapes = [tuple(np.shape(part)) for part in x]
        if len({*shapes}) > 1 or any(getattr(part, "ndim", 0) > 1 for part in x):
            raise ArgumentError(
                f"{name} is a list with parts of the shapes {show(shapes)}; give one array. For pairs of points, make "
                "it by np.stack([left, right], axis=1) of equally many points on both sides"
            )
    x, n_in = value.reader.as_rows(x, name)[0], value.model.n_in
    if x.ndim < 3:
        return value.reader.read_inputs(x, name)
    if x.ndim > 3 or x.shape[-1] != n_in:
        raise ArgumentError(
            f"{name} has shape {tuple(x.shape)}, but must have (m, {n_in}), or (m, k, {n_in}) where the k points of a "
            "row belong together"
        )
    x = value.place.move(x, name)
    rows = value.reader.read_inputs(value.place.home(x).xp.reshape(x, (-1, n_in)), name)
    return value.xp.reshape(rows, x.shape)


def draw_points(term: Term, k: int, n: int, rng: np.random.Generator, value: Value) -> Term:
    """Give term k, which has a `draw`, n points that are drawn anew."""
    assert term.draw is not None
    points = read_points(term.draw(rng, n), f"draw of term {k}", value)
    if points.shape != (shape := (n, *term.x.shape[1:])):
        raise ArgumentError(f"draw of term {k} has shape {tuple(points.shape)}, but must have {tuple(shape)}")
    return replace(term, x=points)


def add_points(terms: Sequence[Term], value: Value) -> list[Term]:
    """Add new points to terms: by their `draw`, or between the points of the equation with the most.

    Points at an end of an input do not count, so that those of a boundary do not.
    """
    rng, rows, added = np.random.default_rng(SEED), [value.backend.to_numpy(term.x) for term in terms], list[Term]()
    inside = [np.all((x > x.min(axis=0)) & (x < x.max(axis=0)), axis=tuple(range(1, x.ndim))) for x in rows]
    counts = [0 if term.noise else np.sum(part) for term, part in zip(terms, inside)]
    for k, (term, x) in enumerate(zip(terms, rows)):
        if draw := term.draw or (0 < counts[k] == max(counts) and partial(_draw_between, x)):
            points = draw_points(replace(term, draw=draw), k, min(len(x), MOST_ADDED), rng, value).x
            more = replace(term, x=value.xp.concat([term.x, points]))
            with suppress(Exception):  # a residual may have an array of as many numbers as it had points
                evaluate(more, find_solution(value))
                term = more
        added.append(term)
    return added


def _draw_between(x: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw n points, each on the way from one of as many to the nearest other."""
    x = rng.permutation(x)[:n]
    rows = x.reshape(n, -1)
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    return x + PART_OF_WAY * (x[np.argsort(distances)[:, 1]] - x)


def _check_residual(term: Term, k: int, present: Present) -> Term:
    """Compute and differentiate the residual of term k once; return it with the mixed derivatives that this uses."""
    name = f"the residual of term {k}"
    try:
        term = add_pairs(term, present)
        next(compute_rows(term, present))
        with np.errstate(all="ignore"):
            is_mixed = mixes_rows(term, present)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArgumentError(
            f"{name} cannot be computed and differentiated ({error}); it must be a function of "
            f"{', '.join(ARGUMENTS)} and of coefficients with first values, such as coefficients={{'c': 1.0}}, use "
            "operators and functions of xp alone, and compare with arrays that have a row for each point"
        ) from error
    if is_mixed:
        raise ArgumentError(
            f"{name} mixes rows: it must use each row of u, du and ddu by itself, without means, sums, "
            "differences or sorting over the rows; give x the shape (m, k, n_in) where the k points of a row "
            "belong together"
        )
    return term
