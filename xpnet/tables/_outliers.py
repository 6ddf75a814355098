"""Targets that look wrong, with the labels of their rows."""

from typing import Any

import numpy as np

from xpnet._checks import warn
from xpnet.core.calibration import find_wrong_targets
from xpnet.tables.reading import Targets


def label_rows(y: Any, rows: np.ndarray) -> Any:
    """Return the labels of some rows of targets: those of their index, or their numbers; of a file, from 1.

    Examples
    --------
    >>> label_rows([0.5, 0.25], np.array([1]))
    array([1])
    """
    if isinstance(y, Targets):
        return y.rows[rows] + 1
    return y.index[rows] if hasattr(y, "iloc") else rows


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
    title, labels = "y" if hasattr(y, "iloc") else "y (rows count from 0)", label_rows(y, rows).tolist()
    if isinstance(y, Targets):
        title = f"column {y.column!r} of {y.table} (rows count from 1, without the header)"
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
