"""Wrong targets: numbers that lie far outside of all others, and that predictions do not expect there.

How far the largest distances from the median lie from one another depends on the tail of the distribution. In a Pareto
tail of exponent 1 / γ, the logarithm of the ratio of the two largest ones is exponential with the mean γ, which the
largest tenth of the distances tells (B. Hill, "A Simple General Approach to Inference About the Tail of a
Distribution", Annals of Statistics 3, 1975). So a gap that is wide for the tail of normal numbers is usual for that of
incomes, and only what is far outside for the tail of its own kind is named.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet._checks import warn

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
    return outliers[
        ~(np.abs(y - predicted)[outliers] <= EXPLAINED * distance[:number])
    ]  # those without a prediction, too


def warn_of_wrong_targets(y: np.ndarray, predicted: np.ndarray, name: str, labels: Sequence[Any]) -> None:
    """Warn of targets of a regression that lie far outside of all others.

    Parameters
    ----------
    y, predicted
        As in `find_wrong_targets`.
    name
        What the targets are called.
    labels
        What each row is called, a number or a label.
    """
    rows = find_wrong_targets(y, predicted)
    if not len(rows):
        return
    others = np.delete(y, rows)
    values = [f"{y[row]:g} in row {labels[row]!r}" for row in rows[:3].tolist()]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    warn(
        f"{name} has {', '.join(values)}{more}, and the others are {others.min():g} to {others.max():g}; wrong targets "
        f"move the means that are predicted, widen intervals and spoil scores: correct them, or leave their rows out"
    )
