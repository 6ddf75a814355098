"""Rows that are held out: which rows of a table, or of .npy files, a network is tested on."""

from typing import Any

import numpy as np

from xpnet._checks import check_lengths, count, in_range
from xpnet.errors import ArgumentError

__all__ = ["TEST_SPLIT", "hold_out"]

TEST_SPLIT = 0.2


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
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        y = np.unique(y.astype(str), return_inverse=True)[1]
    n, rng = len(y), np.random.default_rng(count("seed", seed, least=0))
    if groups is not None:
        groups = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
        check_lengths("y", n, "groups", len(groups))
        if groups.max(initial=0) == 0:
            raise ArgumentError("groups has one group, and groups are held out as a whole; give two or more, or none")
    if last and groups is not None:
        raise ArgumentError("last=True holds out the last rows, and groups= whole groups; give one of them")
    n_held_out = max(1, round(fraction * n)) if fraction else 0
    if n_held_out == n:
        raise ArgumentError(f"fraction={fraction:g} leaves none of the {n} rows to train on")
    if last or n_held_out == 0:
        test = np.arange(n) >= n - n_held_out
    elif groups is None:
        test = _draw_rows(y, n_held_out, rng)
    else:
        test = _draw_groups(groups, n_held_out, rng)
    return np.flatnonzero(~test), np.flatnonzero(test)


def _draw_rows(y: np.ndarray, n_held_out: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows at random, the same fraction of each class."""
    n = len(y)
    order = rng.permutation(n)
    if y.dtype.kind in "biu":  # every n/n_held_out-th row, class by class; rows of 0 and 1 are sorted as whole rows
        order = order[np.lexsort(y[order].reshape(n, -1).T)]
    chosen = np.zeros(n, bool)
    chosen[order[((np.arange(n_held_out) + 0.5) * n / n_held_out).astype(int)]] = True
    return chosen


def _draw_groups(groups: np.ndarray, n_held_out: int, rng: np.random.Generator) -> np.ndarray:
    """Choose whole groups, of two or more, at random: those that fit into `n_held_out` rows, or the smallest.

    Examples
    --------
    >>> _draw_groups(np.array([0, 0, 0, 1, 1, 2]), 3, np.random.default_rng(0)).tolist()
    [False, False, False, True, True, True]
    """
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order, room = rng.permutation(len(counts)), n_held_out
    chosen = np.zeros(len(counts), bool)
    for group in order:
        if counts[group] <= room:
            chosen[group] = True
            room -= int(counts[group])
    if not chosen.any():
        chosen[min(order, key=lambda group: counts[group])] = True
    return chosen[codes]
