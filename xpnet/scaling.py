"""Standardization: inputs, and the targets of a regression, at mean 0 and standard deviation 1.

What is learnt from the training data is kept in the network. Inputs and targets are scaled as they come in, outputs
scaled back as they go out, so the network between sees numbers of size 1 and its user never does.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from xpnet.arrays import Array, Namespace


class Scaling(NamedTuple):
    """Means and standard deviations, (1, n_in) of inputs and (1, n_out) of targets; None where those are left alone.

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
        """Inputs as the network sees them."""
        return (x - self.x_mean) / self.x_std

    def targets(self, y: Array) -> Array:
        """Targets as the network sees them."""
        return y if self.y_mean is None else (y - self.y_mean) / self.y_std

    def outputs(self, a: Array) -> Array:
        """Outputs, or targets, as the user sees them."""
        return a if self.y_mean is None else a * self.y_std + self.y_mean


class Moments(NamedTuple):
    """Mean, sum of squared deviations from it, smallest and largest of each column, over n rows."""

    n: int
    mean: Array
    squares: Array
    low: Array
    high: Array


def moments(x: Array, xp: Namespace) -> Moments:
    """Moments of the columns of a block, (m, n)."""
    mean = column_sums(x, xp) / x.shape[0]
    mean = mean + column_sums(x - mean[None, :], xp) / x.shape[0]  # the digits that the first sum has lost
    difference = x - mean[None, :]
    squares = column_sums(difference * difference, xp)
    return Moments(x.shape[0], mean, squares, xp.min(x, axis=0), xp.max(x, axis=0))


def column_sums(x: Array, xp: Namespace) -> Array:
    """Sum of each column, (n,), in two levels: NumPy adds rows one by one, and would lose digits over many of them."""
    group = 1024
    whole = x.shape[0] // group * group
    parts = xp.sum(xp.reshape(x[:whole, :], (whole // group, group, x.shape[1])), axis=1)
    return xp.sum(parts, axis=0) + xp.sum(x[whole:, :], axis=0)


def merge(parts: Sequence[Moments]) -> Moments:
    """Moments of several blocks together, from NumPy arrays, in float64 (Chan, Golub and LeVeque, 1979).

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


def learn(
    blocks: Iterable[tuple[Array, ...]], targets: bool, xp: Namespace, to_numpy: Callable[[Array], np.ndarray]
) -> Scaling:
    """Learn a scaling from blocks (x, y, ...) of the training data; of NumPy arrays. Synchronizes.

    A column that is the same everywhere is only shifted.
    """
    found: tuple[list[Moments], list[Moments]] = ([], [])
    for block in blocks:
        for parts, columns in zip(found, block[: 1 + targets]):
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later, by name
                part = moments(columns, xp)
            parts.append(Moments(part.n, *(to_numpy(each) for each in part[1:])))
    both = [_mean_and_deviation(merge(parts)) for parts in found if parts]
    return Scaling(*(array for pair in both for array in pair))


def _mean_and_deviation(whole: Moments) -> tuple[np.ndarray, np.ndarray]:
    varies = whole.high > whole.low
    mean = np.where(varies, whole.mean, whole.low)
    return mean[None, :], np.where(varies, np.sqrt(whole.squares / whole.n), 1.0)[None, :]
