"""Standardization: inputs, and the targets of a regression, are brought to mean 0 and standard deviation 1.

Means and standard deviations are learnt from the training data and stored in the network. Inputs and targets are scaled
on the way in, and outputs are scaled back on the way out, so users never see scaled numbers.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Namespace


class Scaling(NamedTuple):
    """Means and standard deviations, (1, n_in) of the inputs and (1, n_targets) of the targets, if these are scaled.

    Examples
    --------
    >>> scaling = Scaling(np.array([[1.0]]), np.array([[2.0]]), np.array([[10.0]]), np.array([[5.0]]))
    >>> scaling.inputs(np.array([[3.0]])), scaling.targets(np.array([[15.0]])), scaling.outputs(np.array([[1.0]]))
    (array([[1.]]), array([[1.]]), array([[15.]]))
    """

    x_mean: Array
    x_std: Array
    y_mean: Array | None = None
    y_std: Array | None = None

    def inputs(self, x: Array) -> Array:
        """Standardize inputs."""
        return (x - self.x_mean) / self.x_std

    def targets(self, y: Array) -> Array:
        """Standardize targets."""
        return y if self.y_mean is None else (y - self.y_mean) / self.y_std

    def outputs(self, a: Array) -> Array:
        """Scale standardized targets, or an output for each of them, back."""
        return a if self.y_mean is None else a * self.y_std + self.y_mean


class Moments(NamedTuple):
    """Statistics of the columns of n rows: mean, sum of squared deviations, smallest and largest value."""

    n: int
    mean: Array
    squares: Array
    low: Array
    high: Array


def moments(x: Array, xp: Namespace) -> Moments:
    """Compute the moments of the columns of a block, (m, n)."""
    mean = column_sums(x, xp) / x.shape[0]
    mean = mean + column_sums(x - mean[None, :], xp) / x.shape[0]  # recovers the digits lost in the first sum
    difference = x - mean[None, :]
    squares = column_sums(difference * difference, xp)
    return Moments(x.shape[0], mean, squares, xp.min(x, axis=0), xp.max(x, axis=0))


def column_sums(x: Array, xp: Namespace) -> Array:
    """Sum each column, (n,), in two levels: NumPy adds rows one by one and would lose digits over many of them."""
    group = 1024
    whole = x.shape[0] // group * group
    parts = xp.sum(xp.reshape(x[:whole, :], (whole // group, group, x.shape[1])), axis=1)
    return xp.sum(parts, axis=0) + xp.sum(x[whole:, :], axis=0)


def merge(parts: Sequence[Moments]) -> Moments:
    """Merge the moments of several blocks, of NumPy arrays, in float64 (Chan, Golub and LeVeque, 1979).

    Examples
    --------
    >>> whole = merge([moments(np.array([[1.0], [3.0]]), np), moments(np.array([[8.0]]), np)])
    >>> whole.n, whole.mean, whole.squares  # 3² + 1² + 4² = 26
    (3, array([4.]), array([26.]))
    """
    n = sum(part.n for part in parts)
    means = np.stack([np.asarray(part.mean, np.float64) for part in parts])
    counts = np.array([[part.n] for part in parts])
    mean = (counts * means).sum(axis=0) / n
    squares = sum(np.asarray(part.squares, np.float64) for part in parts) + (counts * (means - mean) ** 2).sum(axis=0)
    low = np.min([part.low for part in parts], axis=0)
    return Moments(n, mean, squares, low, np.max([part.high for part in parts], axis=0))


def compute_scaling(
    blocks: Iterable[tuple[Array, ...]], scale_targets: bool, xp: Namespace, to_numpy: Callable[[Array], np.ndarray]
) -> Scaling:
    """Compute a scaling, of NumPy arrays, from blocks (x, y, ...) of the training data. Synchronizes.

    A column whose values are all the same is only shifted.
    """
    moments_of: tuple[list[Moments], list[Moments]] = ([], [])  # of the inputs, and of the targets
    for block in blocks:
        for parts, columns in zip(moments_of, block[: 1 + scale_targets]):
            with np.errstate(over="ignore", invalid="ignore"):  # numbers that are not finite are refused later, by name
                part = moments(columns, xp)
            parts.append(Moments(part.n, *(to_numpy(array) for array in part[1:])))
    pairs = [_mean_and_deviation(merge(parts)) for parts in moments_of if parts]
    return Scaling(*(array for pair in pairs for array in pair))


def _mean_and_deviation(whole: Moments) -> tuple[np.ndarray, np.ndarray]:
    varies = whole.high > whole.low
    mean = np.where(varies, whole.mean, whole.low)
    return mean[None, :], np.where(varies, np.sqrt(whole.squares / whole.n), 1.0)[None, :]
