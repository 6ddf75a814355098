"""Folds: the rows that each member of an ensemble leaves out, and what is predicted of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core.temperature import find_logits, output_of
from xpnet.data import HostRows
from xpnet.data.conversion import stays_outside
from xpnet.inference import predict_calibrated
from xpnet.network.ensemble import Ensemble

__all__ = ["LONE_FOLDS", "choose_training_rows", "count_folds", "make_folds", "predict_out_of_fold"]

FEWEST_FOLDS = 4  # so that a few members leave out no more than a quarter of the rows
LONE_FOLDS = 5  # of a single member
FOLD_ROWS = 20  # in a fold, if there are more than 8: the best epoch on fewer flatters the errors that calibrate
USUAL_FOLDS = 8


def count_folds(n: int, members: int, groups: Any = None) -> int:
    """Choose the number of folds of n rows: one for each member, if that leaves enough rows, and a group, in each.

    Examples
    --------
    >>> [count_folds(200, members) for members in (1, 2, 8, 16)], count_folds(1_000, 16), count_folds(3, 8)
    ([5, 4, 8, 10], 16, 3)
    """
    units = n if groups is None else len(np.unique(groups))
    if members == 1:
        return min(LONE_FOLDS, units)
    most = max(USUAL_FOLDS, n // FOLD_ROWS)
    return min(max(members, FEWEST_FOLDS), most, units)


def make_folds(
    n: int, members: int, rng: np.random.Generator, *, classes: np.ndarray | None = None, groups: Any = None
) -> list[np.ndarray]:
    """Divide n rows into folds of about equal size, and return those that the members leave out.

    With more members than folds, several members leave out the same rows; see `count_folds`.

    Parameters
    ----------
    n
        Number of rows, at least 2.
    members
        Number of members.
    rng
        Draws the order of the rows.
    classes
        The class of each row; each fold then has its share of every class.
    groups
        The group of each row, whole numbers; the rows of a group stay together.

    Examples
    --------
    >>> [fold.tolist() for fold in make_folds(6, 4, np.random.default_rng(0))]
    [[0, 3], [1, 2], [5], [4]]
    """
    folds = count_folds(n, members, groups)
    if groups is not None:
        fold = _spread_groups(groups, folds, rng)
    else:
        order, fold = rng.permutation(n), np.empty(n, np.intp)
        if classes is not None:
            order = order[np.argsort(classes[order], kind="stable")]
        fold[order] = np.arange(n) % folds
    return [np.flatnonzero(fold == k % folds).astype(np.int32) for k in range(members)]


def _spread_groups(groups: Any, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row: the largest groups first, each into the fold with the fewest rows so far.

    Examples
    --------
    >>> _spread_groups(np.array([7, 7, 7, 5, 5, 6]), 2, np.random.default_rng(0)).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    values, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rows, fold_of_group = np.zeros(folds, np.intp), np.empty(len(values), np.intp)
    order = rng.permutation(len(values))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = np.argmin(rows)
        rows[fold_of_group[group]] += sizes[group]
    return fold_of_group[numbers]


def choose_training_rows(folds: Sequence[np.ndarray], n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Choose the rows that each member trains on: those outside its fold, the same number for each member.

    Members with the same number of rows take their steps together. Where folds of groups differ so much that this would
    leave out more than a tenth of them, each member has all of them.
    """
    others = [np.setdiff1d(np.arange(n, dtype=np.int32), fold) for fold in folds]
    least = min(map(len, others))
    if least < 0.9 * max(map(len, others)):
        return others
    return [np.sort(rng.permutation(rows)[:least]) for rows in others]


def predict_out_of_fold(ensemble: Ensemble, x: np.ndarray, folds: Sequence[np.ndarray]) -> np.ndarray:
    """Predict each row by the members that have not learnt from it, (n, n_targets), on the host. Synchronizes.

    These are probabilities, or means or medians of a regression.

    Rows that no member has left out are NaN.

    Parameters
    ----------
    ensemble
        The trained members, whose probabilities are calibrated.
    x
        The encoded inputs that they were trained on, (n, n_in).
    folds
        The rows that each member left out.
    """
    values = ensemble.values
    total, members = np.zeros((len(x), values[0].model.n_targets)), np.zeros((len(x), 1))
    task = values[0].model.task
    for value, fold in zip(values, folds):
        if not len(fold):
            continue
        rows = HostRows(x).take(fold) if stays_outside(x) else x[fold]
        outputs = value.backend.to_numpy(predict_calibrated(value, rows, value.model.cost.point))
        total[fold] += outputs if task == "regression" else find_logits(outputs, task, np)
        members[fold] += 1
    mean = np.divide(total, members, out=np.full_like(total, np.nan), where=members > 0)
    return mean if task == "regression" else np.asarray(output_of(task).value(mean, np))  # combined as by the ensemble
