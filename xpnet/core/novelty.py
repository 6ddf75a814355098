"""Novelty: how far a row of inputs is from the training data, as a fraction of these that are nearer.

The distance is that of P. C. Mahalanobis (1936), √((x − μ)ᵀ Σ⁻¹ (x − μ)): far are values far from the mean, and usual
values that do not occur together. That of a training row is measured from all others, as that of a new row is measured
from all. So a new row like them is farther than a fraction 1 − α of them with a probability of about α at most,
whatever their distribution, and one minus its novelty is a p-value (R. Laxhammar and G. Falkman, "Conformal Prediction
for Distribution-Independent Anomaly Detection in Streaming Vessel Data", StreamKDD 2010).

Columns are scaled to a variance of 1. More than `MOST_DIRECTIONS` are projected onto that many random directions, so
that the memory is no more than that many numbers for each column.
"""

from typing import NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Namespace

__all__ = [
    "MOST_DIRECTIONS",
    "Novelty",
    "choose_directions",
    "leave_one_out",
    "measure_distances",
    "rank_distances",
    "sum_products",
    "whiten",
]

MOST_DIRECTIONS = 256
RIDGE = 0.01  # added to variances of 1, for columns that determine one another, or never vary


class Novelty(NamedTuple):
    """A summary of the training inputs, to compute how novel a row is: NumPy arrays in float64."""

    mean: np.ndarray  # (1, n_in)
    whitening: np.ndarray  # (n_in, n_directions); makes the covariance of the training rows the identity
    distances: np.ndarray  # (n,), sorted: squared distances of training rows from the others


def choose_directions(std: np.ndarray) -> np.ndarray:
    """Choose directions (n_in, n_directions) with a variance of 1, for columns with these deviations, (1, n_in).

    They are the columns, or random ones, always the same, if there are too many columns.

    Examples
    --------
    >>> choose_directions(np.array([[2.0, 1.0]]))
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    n_in = std.size
    if n_in <= MOST_DIRECTIONS:
        return np.diag(1 / std[0])
    normal = np.random.Generator(np.random.PCG64(0)).standard_normal((n_in, MOST_DIRECTIONS))
    return normal / np.sqrt(n_in) / std.T


def sum_products(x: Array, mean: Array, directions: Array, xp: Namespace) -> Array:
    """Sum, over rows (m, n_in), the products of each pair of directions: (n_directions, n_directions)."""
    z = xp.matmul(x - mean, directions)
    return xp.matmul(z.mT, z)


def whiten(directions: np.ndarray, products: np.ndarray, n: int) -> np.ndarray:
    """Combine directions into others along which the n training rows are uncorrelated, with a variance of 1."""
    covariance = products / (n - 1) + RIDGE * np.eye(len(products))
    return np.linalg.solve(np.linalg.cholesky(covariance), directions.T).T


def measure_distances(x: Array, mean: Array, whitening: Array, xp: Namespace) -> Array:
    """Compute the squared distances of rows (m, n_in) from the mean of the training rows, (m,)."""
    z = xp.matmul(x - mean, whitening)
    return xp.sum(z * z, axis=-1)


def leave_one_out(distances: np.ndarray, n: int) -> np.ndarray:
    """Turn squared distances of n rows from all of them into distances of each row from the others.

    Without a row u, centered, the mean is u / (n − 1) less, and the covariance n / (n − 1)² u uᵀ, so that its inverse
    follows from the formula of Sherman and Morrison; the sum of the others is still divided by n − 1.
    """
    rest = np.maximum(1 - n / (n - 1) ** 2 * distances, 1e-6)  # above 0, but for rounding
    return (n / (n - 1)) ** 2 * distances / rest


def rank_distances(distances: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Compute the fraction of sorted distances, and of one more, that are smaller than each new one.

    Examples
    --------
    >>> rank_distances(np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.5, 9.0]))
    array([0.  , 0.5 , 0.75])
    """
    return np.searchsorted(distances, new) / (len(distances) + 1)
