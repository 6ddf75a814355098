"""Checking a solution: the residuals of each term, and the coefficients with their standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.inference import table
from xpnet.physics._residuals import Term, evaluate
from xpnet.physics._sampling import find_sampling
from xpnet.physics._terms import draw_points, find_solution, parse_solution
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

    def measure(term: Term) -> float:
        return float(np.sqrt(np.mean(value.backend.to_numpy(evaluate(term, find_solution(value))) ** 2)))

    rng = np.random.default_rng(SEED)
    with value.scope():
        terms = parse_solution("check_solution", terms, value)
        sampling = find_sampling(terms, value)
        rows = [
            {
                "term": k,
                "points": (m := term.x.shape[0]),
                "residual": measure(term),
                "residual_elsewhere": measure(draw_points(term, k, m, rng, value)) if term.draw else np.nan,
                "noise": float(std),
            }
            for k, (term, std) in enumerate(zip(terms, sampling.noise))
        ]
    fitted = value.objective.coefficients or {}
    columns = zip(fitted.items(), sampling.standard_errors, sampling.shifts.tolist())
    coefficients = [
        {"coefficient": name, "value": number, "standard_error": error, "shift": shift, "at_bound": at_bound}
        for (name, (_, number, at_bound)), error, shift in columns
    ]
    costs = [np.nan] * 11 + value.history["cost"]
    cost = {"cost": costs[-1], "lowered_in_10_steps": 1.0 - costs[-1] / costs[-11] if costs[-11] else 0.0}
    return SolutionCheck(rows, coefficients, sampling.covariance, cost)


def _format(part: Any) -> str:
    return f"{part:.4g}" if isinstance(part, float) else ["no", "yes"][part] if isinstance(part, bool) else str(part)
