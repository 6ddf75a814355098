"""Checking a solution: the residuals of each term, and the coefficients with their standard errors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.inference import table
from xpnet.physics._residuals import Term, evaluate
from xpnet.physics._sampling import find_sampling
from xpnet.physics._terms import find_solution, parse_solution
from xpnet.value import Value, make_table

# What is doubtful: the residual at new points as a multiple of that at the term's own; a shift as a multiple of the
# standard error; and the fall of the cost, of which little matters to a function that is known by noisy observations
MOST_ELSEWHERE, MOST_SHIFT = 2.0, 0.2
MOST_LOWERED, MOST_LOWERED_OF_FUNCTIONS = 0.1, 0.003


@dataclass(frozen=True, eq=False)
class SolutionCheck:
    """How well a network solves equations, and how well observations determine coefficients; printing it shows tables.

    Attributes
    ----------
    terms : list of dict
        For each term: ``term``, its number from 0; ``points``, their number; ``residual``, the root of the mean of r²
        there; ``residual_elsewhere``, the same at as many new points by its `draw`, or between the points of the
        equation with the most, else NaN; ``noise``, the standard deviation of its observations, given or estimated: 0
        for equations, NaN if there are too few residuals to estimate it.
    coefficients : list of dict
        For each coefficient: ``coefficient``, its name; ``value``; ``standard_error``, by the noise of the
        observations; ``shift``, by how much the value would change if the steps went on and all equations held exactly,
        in linear approximation: weights of equations are too small unless this is a small part of the standard error;
        ``at_bound``, whether it is at a bound, and has no standard error (NaN), as those of the others hold for this
        value of it. Equations are to hold at the new points, too. A coefficient that nothing determines has an infinite
        standard error.
    covariance : np.ndarray
        The covariance of the coefficients, (k, k), in their order.
    cost : dict
        The ``cost`` after the last step, and the part of it by which the last ten steps have lowered it,
        ``lowered_in_10_steps``: NaN after fewer, below 0 if weights or points have changed.

    Notes
    -----
    Below the tables, it prints its `doubts`: reasons for which the solution may be wrong. Without any, it may be wrong,
    too.
    """

    terms: list[dict[str, Any]]
    coefficients: list[dict[str, Any]]
    covariance: np.ndarray
    cost: dict[str, Any]

    def __repr__(self) -> str:
        """Tables of terms and coefficients, and doubts."""
        return "\n\n".join([*(table(lines) for lines in self._tables()), *self.doubts])

    def _repr_html_(self) -> str:
        """Return the tables and doubts for notebooks."""
        return "".join([*map(make_table, self._tables()), *(f"<p>{doubt}</p>" for doubt in self.doubts)])

    @property
    def doubts(self) -> list[str]:
        """Reasons for which the solution may be wrong, as sentences."""
        is_function = not self.coefficients and any(row["noise"] != 0.0 for row in self.terms)
        most_lowered = MOST_LOWERED_OF_FUNCTIONS if is_function else MOST_LOWERED
        reasons = [(self.cost["lowered_in_10_steps"] > most_lowered, "The cost still falls; take more steps.")]
        for row in self.terms:
            name, most = f"Term {row['term']}", row["noise"] * (1.0 + math.sqrt(2.0 / row["points"]))
            is_larger, is_above = row["residual_elsewhere"] > MOST_ELSEWHERE * row["residual"], row["residual"] > most
            reasons += [
                (is_larger, f"{name}: the residual is larger at new points; give more points, or redraw more often."),
                (is_above and most > 0.0, f"{name}: the residual is above the noise; try another seed, or more steps."),
            ]
        for row in self.coefficients:
            is_moved = abs(row["shift"]) > MOST_SHIFT * row["standard_error"]
            advice = "take more steps; if that does not help, more units and points."
            reasons.append((is_moved, f"{row['coefficient']}: the shift is large beside the standard error; {advice}"))
        return [reason for is_so, reason in reasons if is_so]

    def _tables(self) -> list[list[list[str]]]:
        return [
            [[name.replace("_", " ") for name in rows[0]], *([_format(part) for part in row.values()] for row in rows)]
            for rows in (self.terms, [self.cost], self.coefficients)
            if rows
        ]


def check_solution(value: Value, terms: Sequence[Term]) -> SolutionCheck:
    """Check how well a network solves equations; see `Network.check_solution`. Synchronizes."""
    rows = list[dict[str, Any]]()
    with value.scope():
        terms = parse_solution("check_solution", terms, value)
        sampling = find_sampling(terms, value)
        for k, (term, more, std) in enumerate(zip(terms, sampling.terms, sampling.noise)):
            r = np.split(value.backend.to_numpy(evaluate(more, find_solution(value))), [m := term.x.shape[0]])
            own, elsewhere = (float(np.sqrt(np.mean(part**2))) if part.size else math.nan for part in r)
            row = {"residual": own, "residual_elsewhere": elsewhere, "noise": float(std)}
            rows.append({"term": k, "points": m, **row})
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
