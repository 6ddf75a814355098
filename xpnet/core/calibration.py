"""Calibration: error bars and quantiles, corrected by the errors of predictions on validation data.

This is split conformal prediction. A new example is exchangeable with n examples that the network has not learnt from,
so its error is the k-th smallest of n + 1, or a smaller one, with a probability of k / (n + 1): whatever the noise is
like, and however good the network (J. Lei et al., "Distribution-Free Predictive Inference for Regression", Journal of
the American Statistical Association 113, 2018; for quantiles Y. Romano, E. Patterson and E. Candès, "Conformalized
Quantile Regression", NeurIPS 2019).

Predictions are bars (..., n_targets, k): the mean and the standard deviation of each target, k = 2; or its quantiles,
if there are levels. Errors are (n, n_targets, 1), in standard deviations, or (n, n_targets, n_levels). All are NumPy
arrays in float64.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Namespace
from xpnet.core.costs import Cost

MOST_ERRORS = 9_999  # that a calibration keeps
ONE_SIGMA = math.erf(math.sqrt(0.5))  # probability of a normal error of at most one standard deviation, 0.683


class Calibration(NamedTuple):
    """What corrects predictions, found on validation data: errors for a regression, a temperature for classes."""

    errors: np.ndarray | None  # sorted
    examples: int  # of the validation data; large ones have more than the errors that are kept
    known_rows: Mapping[str, Any] | None = None  # describes some of the validation data; stays in memory
    temperature: float | None = None  # see `xpnet.core.temperature`

    def is_same(self, other: "Calibration | None") -> bool:
        """Tell whether another calibration corrects predictions in the same way."""
        if other is None or self.temperature != other.temperature:
            return False
        return self.errors is other.errors or np.array_equal(self.errors, other.errors)  # type: ignore[arg-type]


def compute_errors(y: np.ndarray, bars: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Compute the distances |y − mean| / std of targets (n, n_targets), or their differences from the quantiles."""
    if levels:
        return y[..., None] - bars
    with np.errstate(divide="ignore", invalid="ignore"):
        return (np.abs(y - bars[..., 0]) / bars[..., 1])[..., None]


def sort_errors(errors: np.ndarray, levels: Sequence[float] = ()) -> np.ndarray:
    """Sort the errors of each column; of more than `MOST_ERRORS`, keep that many at equal distances.

    Those that are kept are not smaller than the same fraction of all, and for quantiles of `levels` below 0.5 not
    larger, so that intervals become no shorter.

    Examples
    --------
    >>> sort_errors(np.array([[[3.0]], [[1.0]], [[2.0]]]))[:, 0, 0]
    array([1., 2., 3.])
    """
    errors, n = np.sort(errors, axis=0), len(errors)
    if n <= MOST_ERRORS:
        return errors
    ranks = np.arange(1, MOST_ERRORS + 1) * (n + 1) / (MOST_ERRORS + 1)
    rounded = [np.floor(ranks) if level < 0.5 else np.ceil(ranks) for level in levels or [1.0]]
    return np.stack([errors[column.astype(int) - 1, :, k] for k, column in enumerate(rounded)], axis=-1)


def check_errors(errors: np.ndarray, levels: Sequence[float]) -> None:
    """Refuse sorted errors that are too few for one standard deviation, or for the levels of quantiles."""
    least = math.ceil(1 / (1 - ONE_SIGMA) - 1)
    if levels:
        find_shifts(errors, levels)
    elif len(errors) < least:
        raise ValueError(f"calibrate needs at least {least} examples, and there were {len(errors)}; give more")


def find_error(errors: np.ndarray, level: float, column: int = 0, *, lower: bool = False) -> np.ndarray:
    """Find the error of each target, (n_targets,), that a new one exceeds with a probability of at most 1 − level.

    With `lower`, that it falls short of with a probability of at most `level`.

    Parameters
    ----------
    errors
        Sorted errors (n, n_targets, k).
    level
        A probability, above 0 and below 1.
    column
        Which of the k.
    lower
        Whether the error bounds new ones from below.

    Raises
    ------
    ValueError
        If there are too few errors for this level.

    Examples
    --------
    >>> errors = np.arange(1.0, 20.0)[:, None, None]  # 1 to 19
    >>> find_error(errors, 0.9), find_error(errors, 0.05, lower=True)
    (array([18.]), array([1.]))
    """
    n = len(errors)
    rank = math.floor((n + 1) * level + 1e-9) if lower else math.ceil((n + 1) * level - 1e-9)
    if not 1 <= rank <= n:
        rare = level if lower else 1 - level
        raise ValueError(
            f"level={level:g} needs at least {math.ceil(1 / rare - 1 - 1e-9)} examples for calibrate, and there were "
            f"{n}; give more of them, or a level nearer to 0.5"
        )
    return errors[rank - 1, :, column]


def coverage_error(level: float, n: int, examples: int | None = None) -> float:
    """Compute the standard error of the fraction of n new targets within intervals of a level, or below a quantile.

    After a calibration with some `examples`, it includes that of these: the coverage of the intervals then has the
    distribution Beta(k, examples + 1 − k) with k = level (examples + 1), so that the number of targets is
    beta-binomial.

    Examples
    --------
    >>> round(coverage_error(0.9, 900), 4), round(coverage_error(0.9, 900, 99), 4)
    (0.01, 0.0315)
    """
    variance = level * (1 - level) / n
    if examples is not None:
        variance *= (examples + 1 + n) / (examples + 2)
    return math.sqrt(variance)


def find_shifts(errors: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Find the shift that corrects the quantile of each target and level, (n_targets, n_levels)."""
    return np.stack([find_error(errors, level, k, lower=level < 0.5) for k, level in enumerate(levels)], axis=-1)


def correct_quantiles(quantiles: Array, shifts: Array, levels: Sequence[float], xp: Namespace) -> Array:
    """Shift quantiles, (..., n_targets, n_levels), and move those that cross then away from the median.

    So intervals between two levels on either side of 0.5 only become longer, and a median stays where it is.

    Examples
    --------
    >>> levels = 0.25, 0.5, 0.75
    >>> correct_quantiles(np.array([[1.0, 2.0, 4.0]]), np.array([[1.5, 0.0, -3.0]]), levels, np)
    array([[2., 2., 2.]])
    """
    shifted = quantiles + shifts
    columns = [shifted[..., k] for k in range(len(levels))]
    ordered, below = [*columns], sum(level < 0.5 for level in levels)
    for k in reversed(range(below)):
        if k + 1 < len(levels):
            ordered[k] = xp.minimum(columns[k], ordered[k + 1])
    for k in range(max(below, 1), len(levels)):
        if levels[k] != 0.5:
            ordered[k] = xp.maximum(columns[k], columns[k - 1] if k == below else ordered[k - 1])
    return xp.stack(ordered, axis=-1)


def correct_points(quantiles: Array, shifts: Array, cost: Cost, xp: Namespace) -> Array:
    """Correct quantiles, (..., n_targets, n_levels), and choose the one for each target: the median, or the only one.

    Examples
    --------
    >>> from xpnet.core.costs import make_quantile
    >>> correct_points(np.array([[1.0], [2.0]]), np.array([[0.5]]), make_quantile(0.3), np)
    array([1.5, 2.5])
    """
    corrected = correct_quantiles(quantiles, shifts, cost.levels, xp)
    return cost.choose_point([corrected[..., k] for k in range(len(cost.levels))], xp)


def rank_errors(errors: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Compute the level of the interval at whose edge each new error (m, n_targets) lies.

    Examples
    --------
    >>> rank_errors(np.arange(1.0, 20.0)[:, None, None], np.array([[0.5], [10.5]]))
    array([[0. ],
           [0.5]])
    """
    columns = zip(errors[..., 0].T, new.T)
    return np.stack([np.searchsorted(old, column) / (len(errors) + 1) for old, column in columns], axis=-1)
