"""Explanations: which columns the members of an ensemble use, and how; and which targets look wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet._checks import warn
from xpnet.core.calibration import find_wrong_targets
from xpnet.inference import predict
from xpnet.network.ensemble import Ensemble
from xpnet.tables._cells import Marks, find_decimal, open_column
from xpnet.tables.columns import Column, DateColumn, NumberColumn
from xpnet.tables.folds import Folds
from xpnet.tables.reading import Targets
from xpnet.tables.recipe import Examples, measure_rises

FEWEST_ROWS = 500  # by which the importance of a column is measured in each member; smaller folds are repeated
MOST_WORK = 200_000  # rows, times columns: of many, a part of the fold is enough


def measure_importances(
    ensemble: Ensemble, examples: Examples, folds: Folds, columns: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """Measure the permutation importance of each column among the rows left out, and its spread over the members.

    The importances sum to 1, unless no column has any; the spread is a standard deviation, in the same unit.

    Parameters
    ----------
    ensemble
        Trained members.
    examples
        What they have learned.
    folds
        The rows that each member left out.
    columns
        The number of inputs of each column of the table.
    """
    rng, targets, sizes = np.random.default_rng(0), examples.targets, [*columns.values()]
    most = max(FEWEST_ROWS, MOST_WORK // len(sizes))
    means = list[np.ndarray]()
    for network, fold in zip(ensemble, folds):
        rows = np.resize(rng.permutation(fold), np.clip(len(fold), FEWEST_ROWS, most))
        means.append(measure_rises(network, examples.x[rows], targets[rows], sizes, rng).mean(axis=1))
    mean = np.maximum(np.mean(means, axis=0), 0)
    mean, std = (part / (mean.sum() or 1.0) for part in (mean, np.std(means, axis=0)))
    return dict(zip(columns, zip(mean.tolist(), std.tolist())))


def read_texts(column: Any, part: Column) -> Any:
    """Return a column of pandas as numbers or dates if its texts are nothing else, and otherwise as it is.

    Examples
    --------
    >>> import pandas
    >>> read_texts(pandas.Series(["1,50", "2"]), NumberColumn("mass", 1.0, False, decimal=",")).tolist()
    [1.5, 2.0]
    """
    import pandas

    cells = open_column(column, "X")
    if not (cells.is_text and isinstance(part, NumberColumn | DateColumn) and part.others is None):
        return column
    values = part.read(cells, Marks(find_decimal([cells]))).values
    is_date = isinstance(part, DateColumn)
    return pandas.Series(pandas.to_datetime(values, unit="D").round("s") if is_date else values)


def choose_values(column: Any, most: int) -> np.ndarray:
    """Choose different values of a column of pandas, and return the number of a row that has each of them, in order.

    Of more than `most` numbers, dates or durations, these are quantiles; of other values, the most frequent ones.

    Examples
    --------
    >>> import pandas
    >>> choose_values(pandas.Series([3.0, 1.0, None, 2.0, 5.0, 4.0, 3.0]), 3)
    array([1, 0, 4])
    >>> choose_values(pandas.Series(["c", "a", "b", "b", "a"]), 2)
    array([1, 2])
    """
    column = column.reset_index(drop=True).dropna()
    if column.dtype.kind in "biufmM":
        ordered = column.sort_values(kind="stable")
        if ordered.nunique() > most:
            ordered = ordered.iloc[np.rint(np.linspace(0, len(ordered) - 1, most)).astype(int)]
        return ordered.drop_duplicates().index.to_numpy()
    different = column.drop_duplicates()
    frequent = different[different.isin(column.value_counts().index[:most])]
    return frequent.sort_values(key=lambda values: values.astype(str)).index.to_numpy()


def compute_partial_dependence(
    ensemble: Ensemble, x: np.ndarray, inputs: slice, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predict all rows with the inputs of a column as in each of some rows; return means (n_rows, n_targets) over them.

    The second result is the standard deviation of the means over the members. x is changed. Synchronizes.
    """
    to_numpy, is_regression = ensemble.backend.to_numpy, ensemble[0].task == "regression"
    means, members = list[np.ndarray](), list[list[np.ndarray]]()
    for block in x[rows, inputs]:
        x[:, inputs] = block
        outputs = (predict(value, x, value.model.cost.point) for value in ensemble.values)
        members.append([to_numpy(output).mean(axis=0) for output in outputs])
        means.append(
            np.mean(members[-1], axis=0) if is_regression else to_numpy(ensemble.predict_proba(x)).mean(axis=0)
        )
    return np.array(means), np.std(members, axis=1)


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
