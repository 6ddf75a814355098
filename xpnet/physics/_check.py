"""Checking a solution: the residuals of each term, and the coefficients with their standard errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet.core.arrays import Array
from xpnet.inference import table
from xpnet.physics._residuals import Present, Term, evaluate
from xpnet.physics._sampling import find_sampling, find_standard_errors
from xpnet.physics._terms import parse_solution, read_points
from xpnet.value import Value, make_table

SEED = 2**31  # of points that are drawn anew, one that nobody has drawn the others with


@dataclass(frozen=True, eq=False)
class SolutionCheck:
    """How well a network solves equations, and how well observations determine coefficients; printing it shows tables.

    Attributes
    ----------
    terms : list of dict
        For each term: ``term``, its number from 0; ``points``, their number; ``residual``, the root of the mean of r²
        there; ``residual_elsewhere``, the same at as many new points by its `draw`, NaN without one; ``noise``, the
        standard deviation of its observations, given or estimated: 0 for equations, NaN if there are too few residuals
        to estimate it.
    coefficients : list of dict
        For each coefficient: ``coefficient``, its name; ``value``; ``standard_error``, by the noise of the
        observations; ``shift``, by how much the value would change if the steps went on and all equations held exactly,
        in linear approximation: weights of equations are too small unless this is a small part of the standard error;
        ``at_bound``, whether it is at a bound, and has no standard error (NaN), as those of the others hold for this
        value of it. A coefficient that nothing determines has an infinite one.
    covariance : np.ndarray
        The covariance of the coefficients, (k, k), in their order.
    cost : dict
        The ``cost`` after the last step, and the part of it by which the last ten steps have lowered it,
        ``lowered_in_10_steps``: NaN after fewer, below 0 if weights or points have changed.
    """

    terms: list[dict[str, Any]]
    coefficients: list[dict[str, Any]]
    covariance: np.ndarray
    cost: dict[str, Any]

    def __repr__(self) -> str:
        """Tables of terms and coefficients."""
        return "\n\n".join(table(lines) for lines in self._tables())

    def _repr_html_(self) -> str:
        """Return the tables for notebooks."""
        return "".join(map(make_table, self._tables()))

    def _tables(self) -> list[list[list[str]]]:
        return [
            [[name.replace("_", " ") for name in rows[0]], *([_format(part) for part in row.values()] for row in rows)]
            for rows in (self.terms, [self.cost], self.coefficients)
            if rows
        ]


def check_solution(value: Value, terms: Sequence[Term]) -> SolutionCheck:
    """Check how well a network solves equations; see `Network.check_solution`. Synchronizes."""
    to_numpy = value.backend.to_numpy
    with value.scope():
        terms, present, held = parse_solution("check_solution", terms, value)
        covariance, shifts, noise, _ = find_sampling(terms, present, held, to_numpy)
        rows = [
            {
                "term": k,
                "points": term.x.shape[0],
                "residual": _measure(term, present, to_numpy),
                "residual_elsewhere": _measure(_draw_anew(term, k, value), present, to_numpy) if term.draw else np.nan,
                "noise": float(std),
            }
            for k, (term, std) in enumerate(zip(terms, noise))
        ]
    columns = zip(present.coefficients.items(), find_standard_errors(covariance), shifts.tolist(), held)
    coefficients = [
        {"coefficient": name, "value": float(number), "standard_error": error, "shift": shift, "at_bound": at_bound}
        for (name, number), error, shift, at_bound in columns
    ]
    costs = [np.nan] * 11 + value.history["cost"]
    cost = {"cost": costs[-1], "lowered_in_10_steps": 1.0 - costs[-1] / costs[-11] if costs[-11] else 0.0}
    return SolutionCheck(rows, coefficients, covariance, cost)


def _measure(term: Term, present: Present, to_numpy: Callable[[Array], np.ndarray]) -> float:
    """Compute the root of the mean of r²."""
    return float(np.sqrt(np.mean(to_numpy(evaluate(term, present)) ** 2)))


def _draw_anew(term: Term, k: int, value: Value) -> Term:
    """Draw as many points as term k has."""
    points: Any = term.draw and term.draw(np.random.default_rng(SEED), term.x.shape[0])
    return replace(term, x=read_points(points, f"draw of term {k}", value))


def _format(part: Any) -> str:
    return f"{part:.4g}" if isinstance(part, float) else ["no", "yes"][part] if isinstance(part, bool) else str(part)
