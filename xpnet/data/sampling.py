"""The order in which examples are drawn into minibatches, on the host, so that it is the same on every backend."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from xpnet.core.arrays import rows_per_block


class Sampling(NamedTuple):
    """A way to draw the minibatches of an epoch."""

    name: str
    steps: Callable[[int, int], int]  # (number of examples, batch size) -> number of minibatches
    draw: Callable[[int, int, np.random.Generator], Iterator[np.ndarray]]  # -> their indices, (steps, m) int32


def shuffle(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw every example once, in random order; the last minibatch holds the remainder.

    Examples
    --------
    >>> [index.shape for index in shuffle(10, 4, np.random.default_rng(0))]
    [(2, 4), (1, 2)]
    """
    return cut_into_minibatches(rng.permutation(n).astype(np.int32), batch_size)


def draw_with_replacement(
    n: int, batch_size: int, rng: np.random.Generator, among: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Draw n // batch_size minibatches, at least one, each example independently from all, or from some of them.

    Examples
    --------
    >>> [index.shape for index in draw_with_replacement(10, 4, np.random.default_rng(0))]
    [(2, 4)]
    """
    m = min(batch_size, n)
    index = rng.integers(n if among is None else len(among), size=(n // m, m), dtype=np.int32)
    yield index if among is None else among[index]


def count_minibatches(n: int, batch_size: int) -> int:
    """Count the minibatches of an epoch in which every example occurs once."""
    return math.ceil(n / batch_size)


SAMPLING = {
    "shuffle": Sampling("shuffle", count_minibatches, shuffle),
    "replacement": Sampling("replacement", lambda n, batch_size: max(1, n // batch_size), draw_with_replacement),
}


def leave_out_weightless(sampling: Sampling, weight: np.ndarray) -> Sampling:
    """Let a sampling with replacement draw only examples with weight: an epoch of the others would have no cost."""
    if sampling.draw is not draw_with_replacement or weight.all():
        return sampling
    return sampling._replace(draw=partial(draw_with_replacement, among=np.flatnonzero(weight).astype(np.int32)))


def draw_last_apart(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Take every example once, in order, with the last minibatch apart from the others.

    Examples
    --------
    >>> [index.shape for index in draw_last_apart(12, 4, np.random.default_rng(0))]
    [(2, 4), (1, 4)]
    """
    order = np.arange(n, dtype=np.int32)
    before = (count_minibatches(n, batch_size) - 1) * batch_size
    yield order[:before].reshape(-1, batch_size)
    yield order[None, before:]


LAST_APART = Sampling("in order", count_minibatches, draw_last_apart)


def cut_into_minibatches(order: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Cut indices into minibatches of the same size, and one smaller minibatch if there is a remainder."""
    n = len(order)
    m = min(batch_size, n)
    whole = n - n % m
    yield order[:whole].reshape(-1, m)
    if whole < n:
        yield order[None, whole:]


def split_into_chunks(index: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Split minibatches into chunks of equal length, at most `most`; only the last one may be shorter.

    Few different lengths mean few programs to compile.

    Examples
    --------
    >>> [len(part) for part in split_into_chunks(np.zeros((11, 5)), most=4)]
    [4, 4, 3]
    """
    if len(index):
        size = math.ceil(len(index) / math.ceil(len(index) / most))
        for start in range(0, len(index), size):
            yield index[start : start + size]


def cut_rows(n: int, width: int) -> Iterator[slice]:
    """Cut the rows 0, 1, ..., n - 1 into blocks, sized for `width` values per row.

    Examples
    --------
    >>> list(cut_rows(5, 2**21))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = rows_per_block(width)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def split_rows(
    n: int, fraction: float, rng: np.random.Generator, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split n row numbers at random into those to train and those to validate on, each in increasing order.

    With labels (n,), each class has its share of both parts, up to one row: the rows are put in random order, sorted by
    class, and taken at equal distances (systematic sampling).

    Examples
    --------
    >>> training, validation = split_rows(10, 0.3, np.random.default_rng(0), np.repeat([0, 1], 5))
    >>> len(training), len(validation), len({*training, *validation})
    (7, 3, 10)
    """
    order, size = rng.permutation(n), math.ceil(fraction * n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    chosen = np.zeros(n, bool)
    chosen[order[(np.arange(size) * n + rng.integers(n)) // size]] = True
    return np.flatnonzero(~chosen).astype(np.int32), np.flatnonzero(chosen).astype(np.int32)


def in_order(shape: tuple[int, ...]) -> np.ndarray:
    """Number the examples 0, 1, 2, ... in minibatches of the given shape, (steps, m)."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
