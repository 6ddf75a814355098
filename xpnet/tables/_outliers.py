"""Wrong targets: numbers that lie far outside of all others, and that predictions do not expect there.

How far the largest distances from the median lie from one another depends on the tail of the distribution. In a Pareto
tail of exponent 1 / γ, the logarithm of the ratio of the two largest ones is exponential with the mean γ, which the
largest tenth of the distances tells (B. Hill, "A Simple General Approach to Inference About the Tail of a
Distribution", Annals of Statistics 3, 1975). So a gap that is wide for the tail of normal numbers is usual for that of
incomes, and only what is far outside for the tail of its own kind is named.
"""

from typing import Any

import numpy as np

from xpnet._checks import warn
from xpnet.tables.reading import Targets

FEWEST = 50  # targets that differ from the median; of fewer, the tail is not known
MOST, MOST_SHARE = 3, 0.01  # targets that may be wrong: more of them are a group of their own
GAP = 10.0  # in units of γ: one in exp(10) = 22,000 tables of such a tail has a wider one
EXPLAINED = 0.25  # error of a target that is predicted, as a fraction of its distance from the median
LEAST_TAIL = 0.25  # of γ, a little more than that of normal numbers


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
    >>> y = np.sin(np.arange(100.0))
    >>> y[[7, 8]] = -70.0, 99999.0
    >>> find_wrong_targets(y, np.zeros(100))
    array([8, 7])
    >>> find_wrong_targets(np.exp(9 * np.sin(np.arange(100.0))), np.zeros(100))
    array([], dtype=int64)
    """
    distance = np.abs(y - np.median(y))
    order = np.argsort(-distance, kind="stable")
    distance = distance[order]
    n, number = np.count_nonzero(distance), 0
    for k in range(1, max(MOST, int(MOST_SHARE * len(y))) + 1):
        if n - k < FEWEST:
            break
        rest: np.ndarray = np.log(distance[k:n])
        tail = len(rest) // 10
        spread = max(float((rest[:tail] - rest[tail]).mean()), LEAST_TAIL)
        if np.log(distance[k - 1]) - rest[0] > GAP * spread:
            number = k
    outliers = order[:number]
    is_predicted = np.abs(y - predicted)[outliers] <= EXPLAINED * distance[:number]
    return outliers[~is_predicted]  # those without a prediction, too


def warn_of_wrong_targets(y: Any, rows: np.ndarray, targets: np.ndarray, predicted: np.ndarray) -> None:
    """Warn of targets of a regression that lie far outside of all others, with the labels of their rows.

    Parameters
    ----------
    y
        The targets as the user gave them, which know the names of rows and columns.
    rows
        The rows of them that were learnt.
    targets, predicted
        The targets of these rows, (n,) or (n, k), and their predictions out of fold, (n, k).
    """
    title, labels = "y (rows count from 0)", rows
    if isinstance(y, Targets):
        title, labels = f"column {y.column!r} of {y.table} (rows count from 1, without the header)", y.rows[rows] + 1
    elif hasattr(y, "iloc"):
        title, labels = "y", y.index[rows]
    labels = labels.tolist()
    columns = targets.reshape(predicted.shape).T
    for name, column, its in zip(getattr(y, "columns", range(len(columns))), columns, predicted.T):
        if not len(wrong := find_wrong_targets(column, its)):
            continue
        whose = title if len(columns) == 1 else f"column {name!r} of {title}"
        values = [f"{column[k]:g} in row {labels[k]!r}" for k in wrong[:3].tolist()]
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        others = np.delete(column, wrong)
        warn(
            f"{whose} has {', '.join(values)}{more}, and the others are {others.min():g} to {others.max():g}; wrong "
            "targets move the means that are predicted, widen intervals and spoil scores: correct them, or leave their "
            "rows out"
        )
