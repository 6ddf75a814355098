"""The order in which examples are drawn into minibatches, on the host, so that it is the same on every backend."""

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet.errors import ArgumentError

__all__ = [
    "IN_ORDER",
    "LAST_APART",
    "SAMPLING",
    "Drawn",
    "GeneratorState",
    "Order",
    "Sampling",
    "check_order",
    "count_minibatches",
    "in_order",
    "leave_out_weightless",
    "make_generator",
    "shuffle_further",
    "split_into_chunks",
    "split_rows",
    "unpack_state",
]

GeneratorState = Mapping[str, Any]  # of a PCG64 of NumPy's


class NoSeed(np.random.bit_generator.ISeedSequence):
    """Seeds a generator that gets another state, in a tenth of the time that a seed takes."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """Generate zeros."""
        return np.zeros(n_words, dtype)


class Order(NamedTuple):
    """An order of all examples, and the state of the generator that shuffles it again for the next epoch."""

    rows: np.ndarray  # (n,) int32
    state: np.ndarray  # (625,) int32, of NumPy's RandomState: the 624 words of the Mersenne Twister, and the next one


Drawn = tuple[Sequence[np.ndarray], GeneratorState, Order | None]


class Sampling(NamedTuple):
    """A way to draw the minibatches of an epoch. It maps values to values, and changes none."""

    name: str
    steps: Callable[[int, int], int]  # (number of examples, batch size) -> number of minibatches
    # (number of examples, batch size, generator, order) -> their indices, (steps, m) int32, and the last two after that
    draw: Callable[[int, int, GeneratorState, Order | None], Drawn]
    order: Order | None = None  # before the first epoch, for a way that needs it


def make_generator(state: GeneratorState) -> np.random.Generator:
    """Make a generator in a state."""
    pcg64: Any = np.random.PCG64  # which takes more seeds and states than its types say
    bits = pcg64(NoSeed())
    bits.state = state
    return np.random.Generator(bits)


def shuffle(n: int, batch_size: int, generator: GeneratorState, order: Order | None) -> Drawn:
    """Draw every example once, in random order; the last minibatch holds the remainder.

    Examples
    --------
    >>> minibatches, _, _ = shuffle(10, 4, np.random.PCG64(0).state, None)
    >>> [index.shape for index in minibatches]
    [(2, 4), (1, 2)]
    """
    rng = make_generator(generator)
    return cut_into_minibatches(rng.permutation(n).astype(np.int32), batch_size), rng.bit_generator.state, order


def draw_with_replacement(
    n: int, batch_size: int, generator: GeneratorState, order: Order | None, among: np.ndarray | None = None
) -> Drawn:
    """Draw n // batch_size minibatches, at least one, each example independently from all, or from some of them.

    Examples
    --------
    >>> minibatches, _, _ = draw_with_replacement(10, 4, np.random.PCG64(0).state, None)
    >>> [index.shape for index in minibatches]
    [(2, 4)]
    """
    m, rng = min(batch_size, n), make_generator(generator)
    index = rng.integers(n if among is None else len(among), size=(n // m, m), dtype=np.int32)
    return [index if among is None else among[index]], rng.bit_generator.state, order


def draw_in_order(n: int, batch_size: int, generator: GeneratorState, order: Order | None) -> Drawn:
    """Take every example once, in order."""
    return cut_into_minibatches(np.arange(n, dtype=np.int32), batch_size), generator, order


def draw_last_apart(n: int, batch_size: int, generator: GeneratorState, order: Order | None) -> Drawn:
    """Take every example once, in order, with the last minibatch apart from the others.

    Examples
    --------
    >>> minibatches, _, _ = draw_last_apart(12, 4, np.random.PCG64(0).state, None)
    >>> [index.shape for index in minibatches]
    [(2, 4), (1, 4)]
    """
    rows, before = np.arange(n, dtype=np.int32), (count_minibatches(n, batch_size) - 1) * batch_size
    return [rows[:before].reshape(-1, batch_size), rows[None, before:]], generator, order


def count_minibatches(n: int, batch_size: int) -> int:
    """Count the minibatches of an epoch in which every example occurs once."""
    return math.ceil(n / batch_size)


SAMPLING = {
    "shuffle": Sampling("shuffle", count_minibatches, shuffle),
    "replacement": Sampling("replacement", lambda n, batch_size: max(1, n // batch_size), draw_with_replacement),
}
IN_ORDER = Sampling("in order", count_minibatches, draw_in_order)
LAST_APART = Sampling("in order", count_minibatches, draw_last_apart)


def shuffle_further(generator: np.random.RandomState, n: int) -> Sampling:
    """Make a sampling that shuffles n examples further in each epoch, beginning with a generator in this state.

    Examples
    --------
    >>> sampling = shuffle_further(np.random.RandomState(0), 4)
    >>> (index,), _, order = sampling.draw(4, 4, {}, sampling.order)
    >>> index.tolist(), order.rows.tolist()
    ([[2, 3, 1, 0]], [2, 3, 1, 0])
    >>> (again,), *_ = sampling.draw(4, 4, {}, sampling.order)
    >>> again.tolist()
    [[2, 3, 1, 0]]
    """
    bits = np.random.MT19937(0)  # gets the state of an order before each draw; to make one takes long
    random_state, state = np.random.RandomState(bits), view_state(bits)

    def draw(n: int, batch_size: int, pcg64: GeneratorState, order: Order | None) -> Drawn:
        if order is None or len(order.rows) != n:
            raise ArgumentError(f"the training has no order of its {n} examples")
        state[:] = order.state
        rows = order.rows[random_state.permutation(n)]
        return cut_into_minibatches(rows, batch_size), pcg64, Order(rows, state.copy())

    return Sampling("shuffle", count_minibatches, draw, Order(np.arange(n, dtype=np.int32), pack_state(generator)))


def view_state(bits: np.random.MT19937) -> np.ndarray:
    """View the memory of a Mersenne Twister as an `Order` holds its state; NumPy's own functions take 25 µs for a copy.

    Examples
    --------
    >>> bits = np.random.MT19937(0)
    >>> state, generator = view_state(bits), np.random.RandomState(bits)
    >>> generator.permutation(9).tolist() and bool((pack_state(generator) == state).all())
    True
    """
    return np.ctypeslib.as_array((ctypes.c_int32 * 625).from_address(bits.ctypes.state_address))


def pack_state(generator: np.random.RandomState) -> np.ndarray:
    """Return the state of a generator, as an `Order` holds it."""
    _, words, place, *_ = generator.get_state()  # type: ignore[misc]
    return np.append(np.asarray(words, np.uint32).view(np.int32), np.int32(place))


def unpack_state(order: Order) -> tuple[str, np.ndarray, int]:
    """Return the state in an order as ``RandomState.set_state`` takes it."""
    return "MT19937", order.state[:-1].view(np.uint32), int(order.state[-1])


def check_order(order: Order) -> Order:
    """Refuse what cannot be an order."""
    rows, state = order
    if rows.dtype != np.int32 or rows.ndim != 1 or not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise ArgumentError("the rows of an order must be 0, 1, 2, ... in any order")
    if state.dtype != np.int32 or state.shape != (625,) or not 0 <= state[-1] <= 624:
        raise ArgumentError("the state of an order must be 624 words, and the number of the next one")
    return order


def leave_out_weightless(sampling: Sampling, weight: np.ndarray) -> Sampling:
    """Let a sampling with replacement draw only examples with weight: an epoch of the others would have no cost."""
    if sampling.draw is not draw_with_replacement or weight.all():
        return sampling
    return sampling._replace(draw=partial(draw_with_replacement, among=np.flatnonzero(weight).astype(np.int32)))


def cut_into_minibatches(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut indices into minibatches of the same size, and one smaller minibatch if there is a remainder."""
    n = len(rows)
    m = min(batch_size, n)
    whole = n - n % m
    return [rows[:whole].reshape(-1, m), *([rows[None, whole:]] if whole < n else [])]


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


def split_rows(
    n: int, size: int, rng: np.random.Generator, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split n row numbers at random into those to train on and `size` to validate on, each in increasing order.

    With labels (n,), each class has its share of both parts, up to one row: the rows are put in random order, sorted by
    class, and taken at equal distances (systematic sampling).

    Examples
    --------
    >>> training, validation = split_rows(10, 3, np.random.default_rng(0), np.repeat([0, 1], 5))
    >>> len(training), len(validation), len({*training, *validation})
    (7, 3, 10)
    """
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    chosen = np.zeros(n, bool)
    chosen[order[(np.arange(size) * n + rng.integers(n)) // size]] = True
    return np.flatnonzero(~chosen).astype(np.int32), np.flatnonzero(chosen).astype(np.int32)


def in_order(shape: tuple[int, ...]) -> np.ndarray:
    """Number the examples 0, 1, 2, ... in minibatches of the given shape, (steps, m)."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
