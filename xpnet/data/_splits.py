"""Splits: the one parser of row numbers, fractions and splitters, by which examples are divided."""

import math
from collections import deque
from typing import Any

import numpy as np

from xpnet._checks import has_entries, has_methods, in_range, show
from xpnet.backends import to_host
from xpnet.data.conversion import holds_arrays
from xpnet.data.sampling import split_rows
from xpnet.data.source import Stored
from xpnet.errors import ArgumentError


def choose_rows(
    train: Stored, argument: str, split: Any, data: Any, seed: int, name: str = "train_data"
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to train on and those to validate on, each in increasing order; `name` is that of the data."""
    if is_fraction(split):
        check_split(argument, split)
        return draw_rows(train, argument, split, seed)
    training, n = None, len(train)
    if _is_splitter(split):
        training, split = ask_splitter(argument, split, data, name)
        argument += ".split(X, y)"
    validation = np.sort(parse_part(argument, split, n, name))
    repeated = validation[1:][validation[1:] == validation[:-1]]
    if len(repeated):
        raise ArgumentError(f"{argument} lists row {repeated[0]} more than once; give each once, as numpy.unique does")
    if training is None:
        return list_others(argument, validation, n, name), validation
    return np.sort(parse_part(argument, training, n, name)), validation


def is_fraction(split: Any) -> bool:
    """Tell whether a split is meant to be a fraction, right or wrong, and not a splitter or a list of row numbers."""
    return not _is_splitter(split) and not isinstance(split, (list, tuple, range)) and getattr(split, "shape", ()) == ()


def _is_splitter(split: Any) -> bool:
    """Tell whether an object is like the splitters of scikit-learn: strings and tensors have a method `split`, too."""
    return (
        has_methods(split, "split") and not isinstance(split, (str, bytes, bytearray)) and not hasattr(split, "shape")
    )


def check_split(argument: str, value: Any) -> None:
    """Refuse a fraction that leaves no examples to train or to validate on, whatever the data."""
    if is_fraction(value):
        remedy = "it is the fraction of the examples to validate on; or give their row numbers, or a splitter"
        in_range(argument, value, 0, 1, remedy, includes_low=False)


def ask_splitter(argument: str, splitter: Any, data: Any, name: str) -> tuple[Any, Any]:
    """Ask a splitter of scikit-learn for its last split: of splits by time, the one with the most to train on."""
    if not holds_arrays(data):
        raise ArgumentError(
            f"{argument}={show(splitter)} splits X and y; give {name} as a tuple (X, y), or the row numbers to "
            "validate on"
        )
    try:
        ((training, validation),) = deque(splitter.split(*data), maxlen=1)
    except (TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"{argument}={show(splitter)} cannot split {name} into rows to train and to validate on ({error}); if it "
            "needs groups, give the row numbers to validate on, as in next(splitter.split(X, y, groups))[1]"
        ) from error
    return training, validation


def draw_rows(train: Stored, argument: str, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rows to validate on; of each class its share."""
    y, labels = train.read_targets(), None
    if train.reader.model.task == "classification":
        labels = y if y.ndim == 1 else y.argmax(axis=-1)
    elif train.reader.model.task == "binary":
        labels = y[:, 0] > 0.5
    if (size := math.ceil(fraction * len(train))) == len(train):
        raise ArgumentError(
            f"{argument}={fraction!r} leaves none of the {len(train)} examples to train on; give a smaller "
            "fraction, or validation_data"
        )
    return split_rows(len(train), size, np.random.default_rng(seed), labels)


def parse_rows(name: str, rows: Any, members: int, n: int, data: str = "train_data") -> list[Any]:
    """Check lists of rows of n examples, one for each member of an ensemble, if there are any; `name` is theirs."""
    if rows is None:
        return [None] * members
    has_each = has_entries(rows)
    if not has_each or len(rows) != members:
        has = f"has {len(rows)} entries" if has_each else f"is {rows!r}"
        raise ArgumentError(f"{name} {has}, but must be a list of {members} arrays of row numbers, one for each member")
    return [parse_part(f"{name}[{k}]", part, n, data) for k, part in enumerate(rows)]


def parse_part(name: str, part: Any, n: int, data: str = "train_data") -> np.ndarray:
    """Check a list of rows of n examples; `name` is that of the argument."""
    try:
        part = np.asarray(to_host(part))
    except ValueError as error:
        raise ArgumentError(f"{name} must list row numbers, whole numbers ({error})") from error
    if part.shape == (0,):
        raise ArgumentError(f"{name} is empty; give at least one row")
    if part.ndim != 1 or part.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name} has shape {part.shape} and dtype {part.dtype}, but must list row numbers, whole numbers; for a "
            "mask, give numpy.flatnonzero(mask)"
        )
    if part.min() < 0 or part.max() >= n:
        raise ArgumentError(f"{name} goes from {part.min()} to {part.max()}, but {data} has {n} rows, from 0")
    return part.astype(np.int32)


def list_others(name: str, rows: np.ndarray, n: int, data: str = "train_data") -> np.ndarray:
    """List all other rows of n, to train on; refuse to leave none."""
    others = np.setdiff1d(np.arange(n, dtype=np.int32), rows)
    if len(others) == 0:
        raise ArgumentError(f"{name} holds all {n} rows of {data}; leave some to train on")
    return others
