"""Standardization: inputs, and the targets of a regression, get mean 0 and standard deviation 1.

Means and standard deviations are those of the training data, and stored in the network. Inputs and targets are scaled
on the way in, and outputs are scaled back on the way out, so users never see scaled numbers.

Numbers far from 0 compared with their spread, such as times in seconds since 1970, lose their digits when they are
rounded to float32. They are therefore scaled in float64, and rounded afterwards.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Namespace, Same

__all__ = [
    "Moments",
    "Scaling",
    "column_sums",
    "compute_scaling",
    "mean_and_deviation",
    "merge_moments",
    "moments",
]

# In standard deviations. Outputs whose mean is further from 0 are scaled back in float64: float32 would round them by
# more than 1.5e-5 standard deviations
FAR_FROM_ZERO = 2.0**8
NEAR_EACH_OTHER = 2.0**10  # a scaling can replace another one if their means are at most this far apart


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

    def inputs(self, x: Same) -> Same:
        """Standardize inputs."""
        return (x - self.x_mean) / self.x_std

    def targets(self, y: Same) -> Same:
        """Standardize targets."""
        return y if self.y_mean is None else (y - self.y_mean) / self.y_std

    def slopes(self, slopes: Same) -> Same:
        """Turn derivatives of the targets with respect to the inputs, (..., n_targets, n_in), into those once scaled.

        Examples
        --------
        >>> scaling = Scaling(np.array([[1.0]]), np.array([[2.0]]), np.array([[10.0]]), np.array([[5.0]]))
        >>> scaling.slopes(np.array([[[3.0]]]))  # 3 · 2 / 5
        array([[[1.2]]])
        """
        slopes = slopes * self.x_std[..., None, :]
        return slopes if self.y_std is None else slopes / self.y_std[..., None]

    def outputs(self, a: Same) -> Same:
        """Scale back standardized targets, or outputs that predict them."""
        return a if self.y_mean is None else a * self.y_std + self.y_mean

    def after(self, other: "Scaling") -> "Scaling":
        """Return the scaling that turns numbers scaled by `other` into numbers scaled by this one.

        Examples
        --------
        >>> one, other = (Scaling(*np.array(parts)[:, None, None]) for parts in ([1.0, 2, 3, 4], [3.0, 4, 5, 8]))
        >>> x = np.array([[5.0]])
        >>> one.inputs(x), one.after(other).inputs(other.inputs(x))
        (array([[2.]]), array([[2.]]))
        >>> one.targets(x), one.after(other).targets(other.targets(x))
        (array([[0.5]]), array([[0.5]]))
        """
        parts = [(self.x_mean - other.x_mean) / other.x_std, self.x_std / other.x_std]
        if self.y_mean is not None and other.y_mean is not None and other.y_std is not None:
            parts += [(self.y_mean - other.y_mean) / other.y_std, self.y_std / other.y_std]
        return Scaling(*parts)

    def is_near(self, other: "Scaling") -> bool:
        """Tell whether numbers scaled by `other`, and rounded to the dtype, have enough digits for this scaling.

        Both scalings hold NumPy arrays.
        """
        if (self.y_mean is None) != (other.y_mean is None):
            return False
        pairs = [(self.x_mean, self.x_std, other.x_mean)]
        if self.y_mean is not None and self.y_std is not None and other.y_mean is not None:
            pairs.append((self.y_mean, self.y_std, other.y_mean))
        return all(bool((abs(mean - other_mean) <= NEAR_EACH_OTHER * std).all()) for mean, std, other_mean in pairs)

    @property
    def has_far_inputs(self) -> bool:
        """Whether float32 cannot hold the inputs; the scaling must hold NumPy arrays."""
        return bool((abs(self.x_mean) > FAR_FROM_ZERO * self.x_std).any())

    @property
    def has_far_targets(self) -> bool:
        """Whether float32 cannot hold the targets; the scaling must hold NumPy arrays."""
        if self.y_mean is None or self.y_std is None:
            return False
        return bool((abs(self.y_mean) > FAR_FROM_ZERO * self.y_std).any())


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


def merge_moments(parts: Sequence[Moments]) -> Moments:
    """Merge the moments of several blocks, NumPy arrays, in float64 (Chan, Golub and LeVeque, 1979).

    Examples
    --------
    >>> whole = merge_moments([moments(np.array([[1.0], [3.0]]), np), moments(np.array([[8.0]]), np)])
    >>> whole.n, whole.mean, whole.squares  # 3² + 1² + 4² = 26
    (3, array([4.]), array([26.]))
    """
    n = sum(part.n for part in parts)
    means = np.stack([np.asarray(part.mean, np.float64) for part in parts])
    counts = np.array([[part.n] for part in parts])
    mean = (counts * means).sum(axis=0) / n
    squares = sum(np.asarray(part.squares, np.float64) for part in parts) + (counts * (means - mean) ** 2).sum(axis=0)
    low = np.min([np.asarray(part.low) for part in parts], axis=0)
    high = np.max([np.asarray(part.high) for part in parts], axis=0)
    return Moments(n, mean, squares, low, high)


def compute_scaling(
    blocks: Iterable[tuple[Any, ...]], scale_targets: bool, moments: Callable[[Array], Moments]
) -> Scaling:
    """Compute a scaling, in NumPy arrays, from blocks (x, y, ...) of the training data. Synchronizes.

    A column whose values are all the same is only shifted. `moments` returns the moments of a block as NumPy arrays.
    """
    moments_of: tuple[list[Moments], list[Moments]] = ([], [])  # of the inputs, and of the targets
    for block in blocks:
        for parts, columns in zip(moments_of, block[: 1 + scale_targets]):
            parts.append(moments(columns))
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that are not finite are refused later, by name
        pairs = [mean_and_deviation(merge_moments(parts)) for parts in moments_of if parts]
    return Scaling(*(array for pair in pairs for array in pair))


def mean_and_deviation(whole: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and standard deviation of each column, (1, n); the deviation is 1 where all values are the same."""
    varies = whole.high > whole.low
    mean = np.where(varies, np.asarray(whole.mean), np.asarray(whole.low))
    return mean[None, :], np.where(varies, np.sqrt(whole.squares / whole.n), 1.0)[None, :]
