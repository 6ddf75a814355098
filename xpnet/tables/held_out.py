"""Rows that are held out: which rows of a table, or of .npy files, a network is tested on and validated on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import check_lengths, count, in_range
from xpnet.errors import ArgumentError

TEST_SPLIT = 0.2
NAME = "held_out"  # of the note in a file
TYPES = {
    **{"test_split": float, "seed": int, "group": (str, type(None)), "last": bool},
    **{"rows": int, "test_rows": int, "cost": float},
}


__all__ = ["NAME", "TEST_SPLIT", "Division", "HoldOut", "Note", "hold_out", "read_note"]


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
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        y = np.unique(y.astype(str), return_inverse=True)[1]
    if groups is not None:
        groups = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
        check_lengths("y", len(y), "groups", len(groups))
        if groups.max(initial=0) == 0:
            raise ArgumentError("groups has one group, and groups are held out as a whole; give two or more, or none")
    if last and groups is not None:
        raise ArgumentError("last=True holds out the last rows, and groups= whole groups; give one of them")
    test = HoldOut(fraction, seed, None if groups is None else "groups", last).choose(
        "fraction", fraction, y, "y", groups
    )
    return np.flatnonzero(~test), np.flatnonzero(test)


class HoldOut(NamedTuple):
    """How rows are held out: at random, as whole groups, or from the end.

    Parameters
    ----------
    test_split
        The fraction of the rows to test on.
    seed
        Seed of the choice.
    group
        The column whose equal values make a group, if all rows of a group are to be on one side.
    last
        Whether the last rows are held out.
    """

    test_split: float = TEST_SPLIT
    seed: int = 0
    group: str | None = None
    last: bool = False

    def divide(
        self, y: np.ndarray, name: str, groups: np.ndarray | None = None, validation_split: float | None = None
    ) -> Division:
        """Divide examples into those to train on, to test on, and to validate on.

        Parameters
        ----------
        y
            The targets, (n,) or (n, n_out).
        name
            Name of the data, for messages.
        groups
            The number of each example's group, (n,).
        validation_split
            The fraction of the other rows to validate on.
        """
        test = self.choose("test_split", self.test_split, y, name, groups)
        validation = np.zeros(len(y), bool)
        if validation_split is not None:
            rest = ~test
            rest_of_groups = None if groups is None else groups[rest]
            validation[rest] = self.choose("validation_split", validation_split, y[rest], name, rest_of_groups)
        return Division(self, test, validation, groups)

    def choose(
        self, argument: str, fraction: float, y: np.ndarray, name: str, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Choose a fraction of examples to hold out; return which they are, (n,) of bool.

        Examples
        --------
        >>> HoldOut().choose("test_split", 0.25, np.array([0, 1, 0, 1, 1, 1, 0, 0]), "x.csv").nonzero()[0].tolist()
        [0, 5]
        >>> HoldOut(last=True).choose("test_split", 0.25, np.zeros(8), "x.csv").nonzero()[0].tolist()
        [6, 7]
        """
        in_range(argument, fraction, 0, 1, "0 holds nothing out")
        n = len(y)
        if fraction == 0:
            return np.zeros(n, bool)
        n_held_out = max(1, round(fraction * n))
        option = f"{argument}={fraction:g}"
        if n_held_out == n:
            raise ArgumentError(f"{option} leaves none of the {n} rows of {name} to train on")
        if self.last:
            return np.arange(n) >= n - n_held_out
        rng = np.random.default_rng(count("seed", self.seed, least=0))
        if groups is None:
            return draw_held_out_rows(y, n_held_out, rng)
        if len(np.unique(groups)) == 1:
            rest, leave_out = "", ""
            if argument != "test_split":
                rest, leave_out = " that is not for testing", ", or --validation-split 0"
            raise ArgumentError(
                f"{option} holds out whole groups, but {name} has only one group of {self.group!r}{rest}; give another "
                f"column as --test-group{leave_out}"
            )
        return draw_held_out_groups(groups, n_held_out, rng)


class Division(NamedTuple):
    """Which examples are for testing and for validation, (n,) of bool; the others are for training."""

    hold_out: HoldOut
    test: np.ndarray
    validation: np.ndarray
    groups: np.ndarray | None

    @property
    def train(self) -> np.ndarray:
        """Which examples are for training."""
        return ~(self.test | self.validation)

    def __str__(self) -> str:
        """Say how many examples are held out, and which."""
        parts = {"testing": self.test, "validation": self.validation}
        parts = {use: rows for use, rows in parts.items() if rows.any()}
        if self.hold_out.last:
            words = ["the last {:,} of them for {}", "the {:,} before them for {}"]
        else:
            words = ["{:,} of them for {}", "{:,} for {}"]
        text = " and ".join(word.format(int(rows.sum()), use) for word, (use, rows) in zip(words, parts.items()))
        if self.groups is not None:
            numbers = " and ".join(f"{len(np.unique(self.groups[rows])):,}" for rows in parts.values())
            text += f": {numbers} of {len(np.unique(self.groups)):,} groups of {self.hold_out.group!r}"
        return text


def draw_held_out_rows(y: np.ndarray, n_held_out: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows at random, the same fraction of each class."""
    n = len(y)
    order = rng.permutation(n)
    if y.dtype.kind in "biu":  # every n/n_held_out-th row, class by class; rows of 0 and 1 are sorted as whole rows
        order = order[np.lexsort(y[order].reshape(n, -1).T)]
    chosen = np.zeros(n, bool)
    chosen[order[((np.arange(n_held_out) + 0.5) * n / n_held_out).astype(int)]] = True
    return chosen


def draw_held_out_groups(groups: np.ndarray, n_held_out: int, rng: np.random.Generator) -> np.ndarray:
    """Choose whole groups, of two or more, at random: those that fit into `n_held_out` rows, or the smallest.

    Examples
    --------
    >>> draw_held_out_groups(np.array([0, 0, 0, 1, 1, 2]), 3, np.random.default_rng(0)).tolist()
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


class Note(NamedTuple):
    """The rows that a network was tested on, as its notes describe them.

    Parameters
    ----------
    hold_out
        How they were chosen.
    rows, test_rows
        The number of all rows, and of those held out.
    cost
        The cost on those held out.
    """

    hold_out: HoldOut
    rows: int
    test_rows: int
    cost: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {**self.hold_out._asdict(), "rows": self.rows, "test_rows": self.test_rows, "cost": self.cost}

    def __str__(self) -> str:
        """Say which rows are held out."""
        n, (split, seed, group, last) = f"{self.test_rows:,} of {self.rows:,} rows", self.hold_out
        groups = "" if group is None else f"whole groups of {group!r} "
        return f"the last {n}" if last else f"{n}, {groups}at random (test split {split:g}, seed {seed})"


def read_note(notes: Mapping[str, Any]) -> Note | None:
    """Read from a network's notes how rows were held out; None if they do not say.

    Raises
    ------
    ArgumentError
        If the note, which may come from a file, is not valid.

    Examples
    --------
    >>> note = Note(HoldOut(0.5), rows=8, test_rows=4, cost=1.5).to_dict()
    >>> print(read_note({"held_out": note}))
    4 of 8 rows, at random (test split 0.5, seed 0)
    """
    if NAME not in notes:
        return None
    note = notes[NAME]
    valid = isinstance(note, Mapping) and set(note) == set(TYPES)
    valid = valid and all(isinstance(note[name], kind) for name, kind in TYPES.items())
    if not (valid and 0 <= note["test_split"] < 1 and note["seed"] >= 0 and math.isfinite(note["cost"])):
        raise ArgumentError(f"held_out={note!r} in its notes is not valid")
    return Note(HoldOut(*(note[name] for name in HoldOut._fields)), note["rows"], note["test_rows"], note["cost"])
