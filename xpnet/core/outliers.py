"""Wrong targets: numbers far outside of all others, and targets that predictions out of fold do not expect.

How large the largest distances are by chance, from a median or from predictions, depends on the tail of their
distribution. In a Pareto tail of exponent 1 / γ, the fraction above a distance d falls as d^(−1/γ), and two quantiles
tell γ. So a distance that is too large for the tail of normal numbers is usual for that of incomes, and only what is
far outside for the tail of its own kind is named.
"""

import numpy as np

from xpnet.core.calibration import find_widths, interpolate_widths

__all__ = ["find_wrong_targets", "judge_classes", "judge_numbers"]

FEWEST = 50  # targets that differ from the median; of fewer, the tail is not known
MOST, MOST_SHARE = 3, 0.01  # targets that may be wrong: more of them are a group of their own
FALSE_ALARMS = 0.0005  # expected in a table, of warnings
EXPLAINED = 0.25  # error of a target that is predicted, as a fraction of its distance from the median
INNER_SHARE, OUTER_SHARE = 0.2, 0.02  # of the errors that are larger than those that tell their tail
LEAST_TAIL = 0.25  # of γ, a little more than that of normal numbers
LEVEL = 0.9  # of the intervals beside targets, and of the errors that no wrong target reaches


def count_false_alarms(distances: np.ndarray) -> np.ndarray:
    """Count how many of the distances (n,) to expect that are at least as large as each one, if none is wrong.

    Examples
    --------
    >>> count_false_alarms(np.r_[1.0 / np.arange(1.0, 101.0), 90.0]).round(2)[[-1, 0, 1, 2]]
    array([0.01, 1.01, 2.03, 3.04])
    """
    outer_share = np.clip(2 * MOST / len(distances), OUTER_SHARE, INNER_SHARE / 2)
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
    if number > max(MOST, MOST_SHARE * len(y)) or np.count_nonzero(distances) - number < FEWEST:
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
    widths, _ = find_widths(predicted, np.minimum(errors, np.quantile(errors, LEVEL)), np.zeros_like(errors))
    units = interpolate_widths(predicted[:, None], widths[None], np)[:, 0]
    return units * np.quantile(errors / units, LEVEL), count_false_alarms(errors / units)


def judge_classes(y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure how strange classes (n,) are beside their probabilities out of fold (n, n_classes).

    Returns
    -------
    pair of arrays
        The probability of the class of each row; and the number of rows with a class at most as probable to expect, if
        the probabilities are right: the sum of all probabilities that are not larger.

    Examples
    --------
    >>> judge_classes(np.array([0, 1, 1]), np.array([[0.75, 0.25], [0.5, 0.5], [0.875, 0.125]]))
    (array([0.75 , 0.5  , 0.125]), array([2.125, 1.375, 0.125]))
    """
    own, ordered = p[np.arange(len(y)), y], np.sort(p, axis=None)
    return own, np.cumsum(ordered)[np.searchsorted(ordered, own, side="right") - 1]
