"""Calibration: error bars and quantiles, corrected by the errors of predictions on validation data.

This is split conformal prediction. A new example is exchangeable with n examples on which the network was not trained,
so its error is the k-th smallest of n + 1, or a smaller one, with a probability of k / (n + 1): whatever the noise is
like, and however good the network (J. Lei et al., "Distribution-Free Predictive Inference for Regression", Journal of
the American Statistical Association 113, 2018; for quantiles Y. Romano, E. Patterson and E. Candès, "Conformalized
Quantile Regression", NeurIPS 2019).

Members of an ensemble that have each left out some of the examples predict these out of fold, and the errors correct
the mean of all members (CV+ and the jackknife+ after bootstrap are intervals of this kind: R. Barber, E. Candès, A.
Ramdas and R. Tibshirani, "Predictive Inference with the Jackknife+", Annals of Statistics 49, 2021; B. Kim, C. Xu and
R. Barber, "Predictive Inference Is Free with the Jackknife+-after-Bootstrap", NeurIPS 2020). The errors are then
measured in widths that follow the noise: the mean error is a function of the prediction (J. Lei et al., section 5.2).
The mean of all members lies elsewhere than a prediction out of fold, far away where the members differ much, as after a
wrong target; so each error is measured in the smaller one of the widths at both, and none is smaller than the error of
the same rank that the mean of all members makes on the examples.

Predictions are bars (..., n_targets, k): the mean and the standard deviation of each target, k = 2; or its quantiles,
if there are levels. Errors are (n, n_targets, 1), in standard deviations, or (n, n_targets, n_levels). All are NumPy
arrays in float64.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Namespace
from xpnet.core.costs import Cost
from xpnet.errors import ArgumentError

__all__ = [
    "ONE_SIGMA",
    "Calibration",
    "check_errors",
    "choose_widths",
    "combine_unseen",
    "compute_errors",
    "correct_quantiles",
    "coverage_error",
    "find_error",
    "find_shifts",
    "find_widths",
    "find_wrong_targets",
    "interpolate_widths",
    "judge_classes",
    "judge_numbers",
    "rank_errors",
    "sort_errors",
]

MOST_ERRORS = 9_999  # that a calibration keeps
MOST_KNOTS, ROWS_PER_KNOT = 8, 50  # of widths
LEAST_WIDTH = 0.01  # as a fraction of the mean error
JUDGED_LEVEL = 0.9  # of the intervals that are to be shorter with widths than without
LEAST_PART = 0.25  # least squared error assumed of the mean of all members, as a fraction of that out of fold
HALF_GAIN = 1_000  # examples with which half of the gain counts
ONE_SIGMA = math.erf(math.sqrt(0.5))  # probability of a normal error of at most one standard deviation, 0.683


class Calibration(NamedTuple):
    """Corrections of predictions, found on validation data: errors for a regression, a temperature for classes."""

    errors: np.ndarray | None  # sorted
    examples: int  # of the validation data; large ones have more than the errors that are kept
    temperature: float | None = None  # see `xpnet.core.temperature`
    widths: np.ndarray | None = None  # (n_targets, 2, n_knots), predictions and widths, between which is interpolated

    def is_same(self, other: "Calibration | None") -> bool:
        """Tell whether another calibration corrects predictions in the same way."""
        if other is None or self.temperature != other.temperature:
            return False
        pairs = (self.errors, other.errors), (self.widths, other.widths)
        return all(a is b or np.array_equal(a, b) for a, b in pairs)  # type: ignore[arg-type]


def compute_errors(y: np.ndarray, bars: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Compute the distances |y − mean| / std of targets (n, n_targets), or their differences from the quantiles."""
    if levels:
        return y[..., None] - bars
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (np.abs(y - bars[..., 0]) / bars[..., 1])[..., None]


def combine_unseen(members: np.ndarray, unseen: np.ndarray, cost: Cost) -> tuple[np.ndarray, np.ndarray]:
    """Predict each example by the mean of the members that have not been trained on it.

    These are fewer than all members, so the error of their mean has a larger part that differs from member to member.
    Its variance is known from the members that have learned from the example, which agree a little better than they
    would on a new one.

    Parameters
    ----------
    members
        Bars of all members, (n_members, n, n_targets, k).
    unseen
        Whether a member has not been trained on an example, (n_members, n); at least one for each example.
    cost
        The cost, which says whether there are standard deviations among the bars.

    Returns
    -------
    pair of arrays
        Bars out of fold, (n, n_targets, k); and the gain: by how much the squared errors of the mean of all members are
        smaller, (n, n_targets).

    Examples
    --------
    Of three members, the first has not been trained on the only example; the others differ by a variance of 2:

    >>> from xpnet.core.costs import quadratic
    >>> members = np.array([7.0, 4.0, 6.0]).reshape(3, 1, 1, 1)
    >>> combine_unseen(members, np.array([[True], [False], [False]]), quadratic)[1]  # (1/1 − 1/3) · 2
    array([[1.33333333]])
    """
    weights, seen = (part[..., None, None].astype(np.float64) for part in (unseen, ~unseen))
    number, others = weights.sum(axis=0), seen.sum(axis=0)
    mean = (weights * members).sum(axis=0) / number
    center = (seen * members).sum(axis=0) / np.maximum(others, 1)
    variance = ((seen * (members - center) ** 2).sum(axis=0) / np.maximum(others - 1, 1))[..., 0]
    gain = (1 / number - 1 / len(members))[..., 0] * variance
    if not cost.has_std:
        return mean, gain
    noise = ((weights * members**2).sum(axis=0) / number)[..., 1]
    return np.stack([mean[..., 0], np.sqrt(noise + variance)], axis=-1), gain


def choose_widths(
    y: np.ndarray, out_of_fold: np.ndarray, of_all: np.ndarray, gain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the widths of each target, and measure the standard deviations of predictions out of fold in them.

    They follow the predictions if this makes intervals shorter, in the geometric mean over the examples; else they are
    constant. Either way the errors in these units are those of the intervals around the mean of all members, or larger.

    Parameters
    ----------
    y
        Targets (n, n_targets).
    out_of_fold
        Bars of each example by the members that have not been trained on it, (n, n_targets, 2).
    of_all
        Bars of the mean of all members, (n, n_targets, 2).
    gain
        As `combine_unseen` returns it.

    Returns
    -------
    pair of arrays
        The units of the errors, (n, n_targets), and the widths for the mean of all members, (n_targets, 2, n_knots).
    """
    units: list[np.ndarray] = []
    widths: list[np.ndarray] = []
    for k in range(y.shape[1]):
        column = y[:, k], out_of_fold[:, k], of_all[:, k], gain[:, k]
        (length, chosen, knots), (constant_length, constant, one_knot) = (
            _measure_in_widths(*column, most_knots) for most_knots in (MOST_KNOTS, 1)
        )
        if length > constant_length:
            chosen, knots = constant, np.stack([knots[0], np.full_like(knots[1], one_knot[1, 0])])
        units.append(chosen)
        widths.append(knots)
    return np.stack(units, axis=-1), np.stack(widths)


def _measure_in_widths(
    y: np.ndarray, out_of_fold: np.ndarray, of_all: np.ndarray, gain: np.ndarray, most_knots: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """Measure the errors of a target in widths with at most `most_knots` knots; bars are (n, 2).

    Returns the length of an interval, in the geometric mean over the examples; the units of the errors, (n,); and the
    widths for the mean of all members, (2, n_knots).
    """
    mean, std = out_of_fold.T
    distance = np.abs(y - mean)
    knots, widths = find_widths(mean, distance / std, gain / std**2, most_knots)
    bars = (out_of_fold, of_all)
    there, here = (bar[:, 1] * interpolate_widths(bar[:, :1], knots[None], np)[:, 0] for bar in bars)
    units = np.minimum(there, here)
    length = float(np.quantile(distance / units, JUDGED_LEVEL)) * math.exp(float(np.log(here).mean()))
    return length, units, widths


def find_widths(
    predicted: np.ndarray, errors: np.ndarray, gain: np.ndarray, most_knots: int = MOST_KNOTS
) -> tuple[np.ndarray, np.ndarray]:
    """Find the mean error as a function of the prediction: that out of fold, and that of the mean of all members.

    It is interpolated between some knots at equal distances in rank, one for every 50 examples. The mean at a knot is
    weighted by a triangle that reaches to the next ones.

    Of few examples, only a part of the gain counts: members that have chosen their best epoch on them predict them
    better than new ones, by about as much as the mean of all members gains.

    Parameters
    ----------
    predicted, errors, gain
        For each example, the prediction out of fold, its error, and by how much the square of that is larger than for
        the mean of all members, (n,).
    most_knots
        The largest number of knots; 1 for constant widths.

    Returns
    -------
    pair of arrays
        Knots out of fold, and of the mean of all members, (2, n_knots): predictions and widths.

    Examples
    --------
    >>> predicted = np.linspace(0, 1, 1001)
    >>> out_of_fold, _ = find_widths(predicted, 1 + predicted, 0 * predicted)
    >>> out_of_fold.round(2)
    array([[0.05, 0.14, 0.29, 0.43, 0.57, 0.71, 0.86, 0.95],
           [1.05, 1.14, 1.29, 1.43, 1.57, 1.71, 1.86, 1.95]])
    """
    order, n = np.argsort(predicted, kind="stable"), len(predicted)
    rank = (np.arange(n) + 0.5) / n
    centers = np.linspace(0, 1, np.clip(n // ROWS_PER_KNOT, 1, most_knots))
    weights = np.maximum(1 - np.abs(rank - centers[:, None]) * (len(centers) - 1), 0)
    weights /= weights.sum(axis=1, keepdims=True)
    knots, width, square, less = (weights @ part[order] for part in (predicted, errors, errors**2, gain))
    knots = np.maximum.accumulate(knots)  # rounding can swap equal ones
    less *= n / (n + HALF_GAIN)
    width = np.maximum(width, LEAST_WIDTH * errors.mean()) if errors.any() else np.ones_like(width)
    part = np.divide(less, square, out=np.zeros_like(less), where=square > 0)
    both = width, width * np.sqrt(np.maximum(1 - part, LEAST_PART))
    _, tied = np.unique(knots, return_inverse=True)  # knots at the same prediction have the same width
    out_of_fold, of_mean = (np.stack([knots, (np.bincount(tied, w) / np.bincount(tied))[tied]]) for w in both)
    return out_of_fold, of_mean


def interpolate_widths(
    predicted: Array, widths: np.ndarray, xp: Namespace, move: Callable[[np.ndarray], Any] = np.asarray
) -> Array:
    """Interpolate widths (n_targets, 2, n_knots) at predictions (..., n_targets); they are constant beyond the ends.

    `move` brings arrays (n_targets,) to the device.

    Examples
    --------
    >>> widths = np.array([[[0.0, 2.0], [1.0, 5.0]]])
    >>> interpolate_widths(np.array([[-1.0], [0.5], [3.0]]), widths, np)[:, 0]
    array([1., 2., 5.])
    """
    knots, width = widths[:, 0], widths[:, 1]
    gaps = np.diff(knots)
    slopes = np.divide(np.diff(width), gaps, out=np.zeros_like(gaps), where=gaps > 0)
    result = xp.ones_like(predicted) * move(width[:, 0])
    for knot, gap, slope in zip(knots.T, gaps.T, slopes.T):
        result = result + xp.minimum(xp.maximum(predicted - move(knot), 0.0), move(gap)) * move(slope)
    return result


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
        raise ArgumentError(f"calibrate needs at least {least} examples, and there were {len(errors)}; give more")


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
    ArgumentError
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
        rare, most = level if lower else 1 - level, 1000 * n // (n + 1) / 1000
        raise ArgumentError(
            f"level={level:g} needs at least {math.ceil(1 / rare - 1 - 1e-9)} examples for calibrate, and there were "
            f"{n}; give more of them, or a level of at {f'least {1 - most:g}' if lower else f'most {most:g}'}"
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


def rank_errors(errors: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Compute the level of the interval at whose edge each new error (m, n_targets) lies.

    Examples
    --------
    >>> rank_errors(np.arange(1.0, 20.0)[:, None, None], np.array([[0.5], [10.5]]))
    array([[0. ],
           [0.5]])
    """
    columns = zip(errors[..., 0].T, new.T)
    ranks: list[np.ndarray] = [np.searchsorted(old, column) / (len(errors) + 1) for old, column in columns]
    return np.stack(ranks, axis=-1)


# Wrong targets: numbers far outside of all others, and targets that predictions out of fold do not expect.
#
# How large the largest distances are by chance, from a median or from predictions, depends on the tail of their
# distribution. In a Pareto tail of exponent 1 / γ, the fraction above a distance d falls as d^(−1/γ), and two quantiles
# tell γ. So a distance that is too large for the tail of normal numbers is usual for that of incomes, and only what is
# far outside for the tail of its own kind is named.

FEWEST_TARGETS = 50  # targets that differ from the median; of fewer, the tail is not known
MOST_WRONG, MOST_WRONG_SHARE = 3, 0.01  # targets that may be wrong: more of them are a group of their own
FALSE_ALARMS = 0.0005  # expected in a table, of warnings
EXPLAINED = 0.25  # error of a target that is predicted, as a fraction of its distance from the median
INNER_SHARE, OUTER_SHARE = 0.2, 0.02  # of the errors that are larger than those that tell their tail
LEAST_TAIL = 0.25  # of γ, a little more than that of normal numbers
UNUSUAL_ROWS = 15, 50  # of the least probable classes, the numbers of those that tell how right the probabilities are
USUAL_LEVEL = 0.9  # of the intervals beside targets, and of the errors that no wrong target reaches


def count_false_alarms(distances: np.ndarray) -> np.ndarray:
    """Count how many of the distances (n,) to expect that are at least as large as each one, if none is wrong.

    Examples
    --------
    >>> count_false_alarms(np.r_[1.0 / np.arange(1.0, 101.0), 90.0]).round(2)[[-1, 0, 1, 2]]
    array([0.01, 1.01, 2.03, 3.04])
    """
    outer_share = np.clip(2 * MOST_WRONG / len(distances), OUTER_SHARE, INNER_SHARE / 2)
    inner, outer = np.quantile(distances, [1 - INNER_SHARE, 1 - outer_share]).clip(np.finfo(np.float32).tiny)
    tail = max(np.log(outer / inner) / np.log(INNER_SHARE / outer_share), LEAST_TAIL)
    with np.errstate(divide="ignore"):
        return len(distances) * np.minimum(outer_share * (distances / outer) ** (-1 / tail), 1)


def find_wrong_targets(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Find the rows of targets (n,) that lie far outside of all others, the farthest first.

    Parameters
    ----------
    y
        Targets, (n,).
    predicted
        Their predictions out of fold, (n,); NaN where there are none. A target that is predicted, as in a small group
        that the inputs tell apart, is not wrong.

    Examples
    --------
    >>> y = np.sin(np.arange(500.0))
    >>> y[7:12] = -70.0, 99999.0, 800.0, 900.0, 1000.0
    >>> find_wrong_targets(y, np.zeros(500))
    array([ 8, 11, 10,  9,  7])
    >>> find_wrong_targets(np.exp(9 * np.sin(np.arange(100.0))), np.zeros(100))
    array([], dtype=int64)
    """
    distances = np.abs(y - np.median(y))
    number = np.count_nonzero(count_false_alarms(distances) <= FALSE_ALARMS)
    if number > max(MOST_WRONG, MOST_WRONG_SHARE * len(y)) or np.count_nonzero(distances) - number < FEWEST_TARGETS:
        number = 0
    outliers = np.argsort(-distances, kind="stable")[:number]
    is_predicted = np.abs(y - predicted)[outliers] <= EXPLAINED * distances[outliers]
    return outliers[~is_predicted]  # those without a prediction, too


def judge_numbers(y: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how strange targets are beside their predictions out of fold, all (n,).

    Returns
    -------
    pair of arrays
        Half of the width of an interval for each target; and the number of targets to expect whose errors are at least
        as large, if none is wrong. Errors are measured in the mean error of rows with similar predictions.

    Examples
    --------
    >>> predicted = np.repeat([1.0, 100.0], 200)
    >>> y = predicted * (1 + np.sin(np.arange(400.0)))
    >>> y[[7, 8]] = 10.0, 99999.0
    >>> np.flatnonzero(judge_numbers(y, predicted)[1] < 1)
    array([7, 8])
    """
    errors = np.abs(y - predicted)
    widths, _ = find_widths(predicted, np.minimum(errors, np.quantile(errors, USUAL_LEVEL)), np.zeros_like(errors))
    units = interpolate_widths(predicted[:, None], widths[None], np)[:, 0]
    return units * np.quantile(errors / units, USUAL_LEVEL), count_false_alarms(errors / units)


def judge_classes(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how strange classes (n,) are beside their probabilities out of fold (n, n_classes).

    Returns
    -------
    pair of arrays
        The probability of the class of each row; and the number of rows with a class at most as probable to expect, if
        no class is wrong. That is the sum of all probabilities that are not larger, or more: the smallest probabilities
        are often too small. How much, the rows tell that are unusual, but more than those that may be wrong: from the
        15th to the 50th, the number of rows grows as a power of that sum, and before them it is taken to do so.

    Examples
    --------
    >>> judge_classes(np.array([0, 1, 1]), np.array([[0.75, 0.25], [0.5, 0.5], [0.875, 0.125]]))
    (array([0.75 , 0.5  , 0.125]), array([2.125, 1.375, 0.125]))
    """
    own, ordered = p[np.arange(len(y)), y], np.sort(p, axis=None)
    sums = np.cumsum(ordered, dtype=np.float64).clip(np.finfo(np.float32).tiny)  # a probability may be rounded to 0
    expected = sums[np.searchsorted(ordered, own, side="right") - 1]
    few, many = UNUSUAL_ROWS
    if len(y) < many:
        return own, expected
    first, last = np.sort(expected)[[few - 1, many - 1]]
    with np.errstate(divide="ignore", over="ignore"):
        power = np.log(many / few) / np.log(last / first)
        return own, np.clip(few * (expected / first) ** power, expected, len(y))
