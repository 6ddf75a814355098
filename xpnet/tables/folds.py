"""Rows that are held out: for testing, and by each member of an ensemble; and what is predicted of the latter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet._checks import check_lengths, count, in_range
from xpnet.backends import to_host
from xpnet.core.temperature import find_logits, output_of
from xpnet.data.sampling import split_rows
from xpnet.errors import ArgumentError
from xpnet.inference import predict
from xpnet.network.ensemble import Ensemble

__all__ = [
    "TEST_SPLIT",
    "Folds",
    "choose_training_rows",
    "count_folds",
    "divide_rows",
    "hold_out",
    "make_folds",
    "number_groups",
    "predict_out_of_fold",
]

Folds = Sequence[np.ndarray]  # the rows that each member leaves out

TEST_SPLIT = 0.2  # the fraction of the rows for testing
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
        The group of each row, whole numbers from 0; the rows of a group stay together.

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
    >>> _spread_groups(np.array([2, 2, 2, 0, 0, 1]), 2, np.random.default_rng(0)).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    sizes = np.bincount(groups)
    rows, fold_of_group, order = np.zeros(folds, np.intp), np.empty(len(sizes), np.intp), rng.permutation(len(sizes))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of_group[group] = np.argmin(rows)
        rows[fold_of_group[group]] += sizes[group]
    return fold_of_group[groups]


def divide_rows(n: int, folds: Folds, rng: np.random.Generator, groups: Any = None) -> np.ndarray:
    """Number the part of each of n rows: its fold, or if no member leaves it out, one of some more.

    Examples
    --------
    >>> divide_rows(6, [np.array([0, 1]), np.array([2, 5])], np.random.default_rng(0)).tolist()
    [0, 0, 1, 3, 2, 1]
    """
    part = np.full(n, -1)
    for k, fold in enumerate(folds):
        part[fold] = k
    rest = np.flatnonzero(part < 0)
    if len(rest):
        further = make_folds(len(rest), LONE_FOLDS, rng, groups=None if groups is None else groups[rest])
        for k, rows in enumerate(further, len(folds)):
            part[rest[rows]] = k
    return np.unique(part, return_inverse=True)[1]


def choose_training_rows(folds: Folds, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Choose the rows that each member trains on: those outside its fold, the same number for each member.

    Members with the same number of rows take their steps together. Where folds of groups differ so much that this would
    leave out more than a tenth of them, each member has all of them.
    """
    others = [np.setdiff1d(np.arange(n, dtype=np.int32), fold) for fold in folds]
    least = min(map(len, others))
    if least < 0.9 * max(map(len, others)):
        return others
    return [np.sort(rng.permutation(rows)[:least]) for rows in others]


def predict_out_of_fold(ensemble: Ensemble, x: np.ndarray, folds: Folds) -> np.ndarray:
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
        outputs = value.backend.to_numpy(predict(value, x[fold], value.model.cost.point))
        total[fold] += outputs if task == "regression" else find_logits(outputs, task, np)
        members[fold] += 1
    mean = np.divide(total, members, out=np.full_like(total, np.nan), where=members > 0)
    return mean if task == "regression" else np.asarray(output_of(task).value(mean, np))  # combined as by the ensemble


def hold_out(
    y: Any, fraction: float = TEST_SPLIT, *, groups: Any = None, last: bool = False, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows of a table to test on, as ``xpnet train`` does.

    Parameters
    ----------
    y : array of shape (n,)
        The target of each row. Of each class of whole numbers or texts, the same fraction is held out.
    fraction
        The fraction of the rows, at least 0 and below 1.
    groups : array of shape (n,), optional
        The group of each row, such as a patient: groups are held out as a whole.
    last
        Whether the last rows are held out, for tables in the order of time.
    seed
        Seed of the choice.

    Returns
    -------
    train, test : arrays of int
        The numbers of the rows.

    Examples
    --------
    >>> hold_out([0.1, 0.7, 0.3, 0.5], 0.25, last=True)
    (array([0, 1, 2]), array([3]))
    """
    in_range("fraction", fraction, 0, 1, "0 holds nothing out")
    y, labels = np.asarray(y), None
    if y.dtype.kind != "f":
        labels = np.unique(y if y.dtype.kind in "biu" else y.astype(str), axis=0, return_inverse=True)[1].reshape(-1)
    n, rng = len(y), np.random.default_rng(count("seed", seed, least=0))
    groups = number_groups("y", n, groups)
    if last and groups is not None:
        raise ArgumentError("last=True holds out the last rows, and groups= whole groups; give one of them")
    n_held_out = max(1, round(fraction * n)) if fraction else 0
    if n_held_out >= n:
        raise ArgumentError(f"fraction={fraction:g} leaves none of the {n} rows to train on")
    if last or n_held_out == 0:
        return np.arange(n - n_held_out), np.arange(n - n_held_out, n)
    if groups is None:
        return split_rows(n, n_held_out, rng, labels)
    test = _draw_groups(groups, n_held_out, rng)
    return np.flatnonzero(~test), np.flatnonzero(test)


def number_groups(argument: str, n: int, groups: Any, rows: Any = slice(None)) -> np.ndarray | None:
    """Number the groups of some rows from 0, as texts of those of all n rows of an argument; refuse a single one."""
    if groups is None:
        return None
    groups = np.asarray(to_host(groups))
    check_lengths(argument, n, "groups", len(groups))
    if groups.ndim != 1 or any(group is None or group != group for group in groups.tolist()):
        raise ArgumentError(f"groups has shape {groups.shape}, or lacks values; give one group for each row, ({n},)")
    names, numbers = np.unique(np.array([str(group) for group in groups], object)[rows], return_inverse=True)
    if len(names) == 1:
        raise ArgumentError("groups has one group, and groups are left out as a whole; give two or more, or none")
    return numbers


def _draw_groups(groups: np.ndarray, n_held_out: int, rng: np.random.Generator) -> np.ndarray:
    """Choose whole groups, of two or more, at random: those that fit into `n_held_out` rows, or the smallest.

    Examples
    --------
    >>> _draw_groups(np.array([0, 0, 0, 1, 1, 2]), 3, np.random.default_rng(0)).tolist()
    [False, False, False, True, True, True]
    """
    counts = np.bincount(groups)
    order, room = rng.permutation(len(counts)), n_held_out
    chosen = np.zeros(len(counts), bool)
    for group in order:
        if counts[group] <= room:
            chosen[group] = True
            room -= int(counts[group])
    if not chosen.any():
        chosen[min(order, key=lambda group: counts[group])] = True
    return chosen[groups]
