"""Standard errors: how unknown coefficients would change with the noise of the observations.

Weights and coefficients θ minimize ½ ‖r + J δθ‖² near a solution, where the rows of r and J are those of all terms,
multiplied by √(w/m). Noise ε of the observations moves the minimum by −J⁺ ε. The coefficients among θ move by −G⁺ ε,
where G is what is left of their columns beside those of the weights (R. Frisch and F. V. Waugh, "Partial Time
Regressions as Compared with Individual Trends", Econometrica 1, 1933). So their covariance is G⁺ Σ G⁺ᵀ, with the
variances Σ of the observations; equations have none, as they hold in every sample. The terms determine far fewer
combinations of weights than there are; those beyond have singular values that are only rounding.

The variance of an observation is given, or estimated as Σ r² / (m − γ) over the m of its term. γ is the part of the
term in the trace of J J⁺, the number of parameters that all terms determine.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from xpnet.core.arrays import Array, count_elements
from xpnet.physics._residuals import Present, Term, compute_rows
from xpnet.physics._terms import add_points, find_solution
from xpnet.value import Value

# Singular values relative to the largest that count as rounding: of weights, where standard errors were the same to
# 1e-5 for all from 1e-8 to 1e-12; and of coefficients, which nothing determines then
NO_WEIGHT, NO_COEFFICIENT = 1e-10, 1e-7
PART = 1e-3  # of an undetermined combination, from which a coefficient is undetermined
EXACT = 1e2  # by which rows of equations are multiplied to see where coefficients are if the equations hold
LEAST_FREEDOM = 0.5  # residuals beyond what weights and coefficients fit, to estimate noise from


class Sampling(NamedTuple):
    """Effects of the noise of observations on coefficients; those at a bound are held there."""

    covariance: np.ndarray  # of the coefficients, (k, k); infinite if nothing determines one, NaN if it is held
    shifts: np.ndarray  # (k,): the changes that take the cost to its minimum, and the equations to hold exactly
    terms: list[Term]  # with new points, at which equations are to hold, too
    noise: np.ndarray  # the standard deviation of the residuals of each term; 0 of equations, NaN if too few are left
    blocks: list[np.ndarray]  # of each of `terms`, the rows of J, with 0 for coefficients that are held, and r

    @property
    def standard_errors(self) -> list[float]:
        """The standard errors of the coefficients."""
        return np.sqrt(np.diagonal(self.covariance)).tolist()


def find_sampling(terms: Sequence[Term], value: Value) -> Sampling:
    """Find the covariance of the coefficients that `solve` has found. Synchronizes."""
    terms = add_points(terms, value)
    held = np.array([at_bound for *_, at_bound in (value.objective.coefficients or {}).values()], bool)
    n, present, to_numpy = count_elements(value.layers), find_solution(value), value.backend.to_numpy
    columns = np.concatenate([np.ones(n), ~held, [1.0]])
    blocks = [columns * _read_rows(term, present, to_numpy) for term in terms]
    rows = np.concatenate([block if term.noise else EXACT * block for term, block in zip(terms, blocks)])
    moves, leverage, rest, is_known = _solve(rows, n)
    owners = np.repeat(np.arange(len(terms)), [*map(len, blocks)])  # the terms of the rows
    noise = np.array([_find_noise(term, rest[owners == k], leverage[owners == k]) for k, term in enumerate(terms)])
    effects = moves * (noise * [*map(_root, terms)])[owners]
    covariance, shifts = effects @ effects.T, -moves @ rows[:, -1]
    covariance[~is_known, ~is_known] = np.inf
    covariance[held | (not noise.any()), :] = covariance[:, held] = shifts[held] = np.nan
    return Sampling(covariance, shifts, terms, noise, blocks)


def remove(columns: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take combinations of columns, but for those that are rounding, out of others; return the orthonormal basis."""
    basis, s, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, s > NO_WEIGHT * s.max(initial=0.0)]
    return others - basis @ (basis.T @ others), basis


def _read_rows(term: Term, present: Present, to_numpy: Callable[[Array], np.ndarray]) -> np.ndarray:
    """Compute the rows of J and r, (m, P + 1); of an equation with many points, as few with the same products."""
    rows: list[np.ndarray] = []
    for r, part in compute_rows(term, present):
        rows = [np.concatenate([*rows, np.concatenate([to_numpy(part), to_numpy(r)], axis=1)])]
        if term.noise is None and len(rows[0]) > rows[0].shape[1]:
            rows = [np.asarray(np.linalg.qr(rows[0], mode="r"))]
    return rows[0]


def _solve(rows: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Compute G⁺ of coefficients, after n weights, the diagonal of J J⁺, r − J J⁺ r, and which ones are determined."""
    sizes = np.linalg.norm(rows[:, n:-1], axis=0)
    sizes[sizes == 0.0] = 1.0
    rest, basis = remove(rows[:, :n], rows[:, n:-1] / sizes)
    others, s, combinations = np.linalg.svd(rest, full_matrices=False)
    is_known, r = s > NO_COEFFICIENT, rows[:, -1]
    others, known = others[:, is_known], combinations[is_known]
    moves = (known.T / s[is_known]) @ others.T / sizes[:, None]
    basis = np.concatenate([basis, others], axis=1)
    return moves, np.sum(basis**2, axis=1), r - basis @ (basis.T @ r), np.sum(known**2, axis=0) > 1.0 - PART**2


def _find_noise(term: Term, rest: np.ndarray, leverage: np.ndarray) -> float:
    """Find the standard deviation of the residuals of a term, 0 of an equation, NaN if it cannot be estimated."""
    if not isinstance(term.noise, str):
        return term.noise or 0.0
    freedom, size = len(rest) - float(np.sum(leverage)), float(np.linalg.norm(rest))
    return size / _root(term) / math.sqrt(freedom) if freedom > LEAST_FREEDOM else math.nan


def _root(term: Term) -> float:
    """Compute √(w/m), by which rows are multiplied."""
    return math.sqrt(term.weight / term.x.shape[0])
