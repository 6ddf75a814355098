"""Known rows: recognizes examples that a network was trained or calibrated on, by digests of some of their rows.

A digest has 32 bits and is that of a row's inputs and targets in float32, before they are scaled: it depends neither on
the library nor on the dtype in which the user gives these numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends.base import Backend, cast, host_array, on_host, precision
from xpnet.core.arrays import Array

MOST_ROWS, MOST_NUMBERS, FEWEST_ROWS = 256, 2**15, 32  # of which digests are kept; fewer rows if they are long
LEAST_SHARE = 0.25  # of examples that are known: fewer are not worth a warning
# By which known rows must exceed those that chance explains. In 10,500 simulated pairs of independent sets, whose rows
# repeat never, sometimes or often, 0.2 % were then taken for known; of those that were known and do not repeat, nearly
# all were recognized, or 60 % where they were 500 of 10,000 examples
STANDARD_ERRORS = 3.5
FEWEST_KNOWN = 8  # rows, to tell anything by


class KnownRows(NamedTuple):
    """Digests of some rows, evenly spaced among some examples."""

    index: np.ndarray  # (k,), the numbers of these rows
    digests: np.ndarray  # (k,) uint32
    examples: int | None  # how many there are in all; None if that is not known

    def take(self, rows: np.ndarray) -> KnownRows:
        """Return the known rows among some of the examples, by their numbers; one may occur several times.

        Examples
        --------
        >>> known = KnownRows(np.array([0, 2]), np.array([7, 8], np.uint32), 4)
        >>> known.take(np.array([1, 2, 3])).digests
        array([8], dtype=uint32)
        """
        has = np.isin(rows, self.index)
        index = np.flatnonzero(has)
        return KnownRows(index, self.digests[np.searchsorted(self.index, rows[has])], len(rows))

    def describe(self) -> dict[str, Any] | None:
        """Return plain values for the network and its file; None if no row is known."""
        if not len(self.digests):
            return None
        return {"examples": self.examples, "digests": self.digests.astype("<u4").tobytes().hex()}


def choose_known_rows(n: int, width: int) -> np.ndarray:
    """Choose the rows whose digests are kept, of n examples with `width` numbers each, evenly spaced.

    Examples
    --------
    >>> choose_known_rows(4, 2), choose_known_rows(1000, 2)[:4]
    (array([0, 1, 2, 3]), array([ 0,  3,  7, 11]))
    """
    k = min(n, max(FEWEST_ROWS, min(MOST_ROWS, MOST_NUMBERS // width)))
    return np.arange(k) * n // k


def read_known_rows(x: Array, y: Array, examples: int | None, backend: Backend) -> KnownRows:
    """Compute the digests of some rows of inputs (n, n_in) and targets, (n, n_targets) or classes (n,). Synchronizes.

    They are on the host, or where `backend` computes. `examples` is the number of all examples.
    """
    index = choose_known_rows(x.shape[0], x.shape[1] + math.prod(y.shape[1:]))
    return KnownRows(index, digest_rows(*(take_on_host(part, index, backend) for part in (x, y))), examples)


def take_on_host(x: Array, index: np.ndarray, backend: Backend) -> np.ndarray:
    """Take some rows of an array to the host."""
    if on_host(x):
        return host_array(x)[index]
    with backend.scope(precision(x)):
        return backend.to_numpy(backend.xp.take(x, backend.asarray(index.astype(np.int32)), axis=0))


def digest_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the digests (n,) uint32 of the rows of inputs and targets: multilinear hashes of their bits.

    Examples
    --------
    >>> x, y = np.array([[1.0], [2.0], [1.0]]), np.array([[3], [3], [4]])
    >>> a, b, c = digest_rows(x, y)
    >>> digest_rows(x[:1].astype(np.float32), y[:1].astype(np.int32)) == a, len({a, b, c})
    (array([ True]), 3)
    """
    columns = [cast(part.reshape(len(part), -1), "float32") for part in (x, y)]
    bits = np.concatenate(columns, axis=1).view(np.uint32)
    factors = _draw_factors(bits.shape[1] + 1)
    return ((bits.astype(np.uint64) @ factors[1:] + factors[0]) >> np.uint64(32)).astype(np.uint32)


@cache
def _draw_factors(n: int) -> np.ndarray:
    """Draw the factors of a hash: the same ones with every version of NumPy."""
    return np.random.PCG64(0).random_raw(n)


def estimate_known_share(known: Mapping[str, Any] | None, digests: np.ndarray) -> float:
    """Estimate which part of some examples was among those of `known`; 0 where chance could explain it.

    Where rows repeat, some of new data equal a known one by chance. A known row then occurs exactly once as often as a
    row of the data has exactly one twin among them, which is what the known rows that occur once are compared with.

    Parameters
    ----------
    known
        The description of known rows.
    digests
        The digests of all rows of the examples, (n,).

    Examples
    --------
    >>> x = np.arange(1000.0)[:, None]
    >>> known = read_known_rows(x, x, 1000, None).describe()
    >>> estimate_known_share(known, digest_rows(x[::2], x[::2])), estimate_known_share(known, digest_rows(x, -x))
    (1.0, 0.0)
    """
    rows, n = np.frombuffer(bytes.fromhex("" if known is None else known["digests"]), "<u4"), len(digests)
    if known is None or len(rows) < FEWEST_KNOWN:
        return 0.0
    values, counts = np.unique(digests, return_counts=True)
    found, twins = np.isin(rows, values[counts == 1]).mean(), 2 * np.sum(counts == 2) / n
    variance = found * (1 - found) / len(rows) + 2 * twins * (1 - twins) / n
    if found - twins <= STANDARD_ERRORS * math.sqrt(variance):
        return 0.0
    return float(min(1.0, (found - twins) * (known["examples"] or n) / n))
