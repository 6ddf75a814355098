"""From any source of examples to arrays on the device, and the order in which minibatches are drawn.

A `Reader` knows what a network takes: it checks, moves and encodes. `Reader.source` makes one of three sources of
what the user gives, and each answers the same three questions: how many minibatches an epoch has (`steps`), what to
train on, a chunk of minibatches at a time (`chunks`), and what to look at, a block of examples at a time (`blocks`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

import array_api_compat
import numpy as np

from xpnet.activations import Activation
from xpnet.arrays import Array
from xpnet.backends import Backend, as_array
from xpnet.backprop import Examples
from xpnet.errors import warn

BLOCK = 1 << 22  # array elements looked at together; bounds the memory that checks and evaluation take


class Chunk(NamedTuple):
    """Minibatches of one size: examples on the device, and which of them each step takes."""

    examples: Examples
    index: np.ndarray  # (steps, m) int32, on the host


class Source(Protocol):
    """Where examples come from."""

    def steps(self, batch_size: int) -> int | None:
        """How many minibatches an epoch has; None if only its end will tell."""
        ...

    def chunks(self, draw: "Draw", rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch, at most `most` of them together."""
        ...

    def blocks(self) -> Iterator[Examples]:
        """Every example once, in order, some thousands together."""
        ...


# (number of examples, batch size, generator) -> indices of minibatches, (steps, m) each
Draw = Callable[[int, int, np.random.Generator], Iterator[np.ndarray]]


def shuffle(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw every example once, in random order; the last minibatch holds what is left.

    Examples
    --------
    >>> [index.shape for index in shuffle(10, 4, np.random.default_rng(0))]
    [(2, 4), (1, 2)]
    """
    order = rng.permutation(n).astype(np.int32)
    m = min(batch_size, n)
    whole = n - n % m
    yield order[:whole].reshape(-1, m)
    if whole < n:
        yield order[None, whole:]


def replacement(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw n // batch_size minibatches, at least one, each example from all.

    Examples
    --------
    >>> [index.shape for index in replacement(10, 4, np.random.default_rng(0))]
    [(2, 4)]
    """
    m = min(batch_size, n)
    yield rng.integers(n, size=(n // m, m), dtype=np.int32)


SAMPLING: dict[str, Draw] = {"shuffle": shuffle, "replacement": replacement}


def split(index: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Cut minibatches into equal chunks of at most `most`, and at most one smaller: few shapes to compile.

    Examples
    --------
    >>> [len(part) for part in split(np.zeros((11, 5)), most=4)]
    [4, 4, 3]
    """
    if len(index):
        size = math.ceil(len(index) / math.ceil(len(index) / most))
        for start in range(0, len(index), size):
            yield index[start : start + size]


@dataclass(frozen=True)
class Reader:
    """What a network takes, and how it comes to the device.

    Parameters
    ----------
    backend, dtype
        Where arrays go, and the dtype they have there.
    n_in, n_out
        Width of inputs and targets.
    output
        The activation whose values targets must be among.
    """

    backend: Backend
    dtype: str
    n_in: int
    n_out: int
    output: Activation

    def inputs(self, x: Any, name: str) -> Array:
        """Check inputs of shape (n, n_in), or (n, ...) of as many elements, and move them: (n, n_in). Synchronizes."""
        x = numbers(x, name)
        if x.ndim < 2 or math.prod(x.shape[1:]) != self.n_in:
            raise ValueError(f"{name} has shape {tuple(x.shape)}, but must have (n, {self.n_in}): {self._remedy(x)}")
        if x.shape[0] == 0:
            raise ValueError(f"{name} is empty: it has shape {tuple(x.shape)}")
        xp = array_api_compat.array_namespace(x)
        if x.dtype == xp.uint8 and int(xp.max(x)) > 1:
            warn(f"{name} holds uint8 values up to {int(xp.max(x))}, which are not scaled; divide them by 255")
        x = self.backend.xp.reshape(self.backend.asarray(x, self.dtype, name), (-1, self.n_in))
        self._check_finite(x, name)
        return x

    def targets(self, y: Any, name: str) -> Array:
        """Check and move targets: classes (n,), or rows (n, n_out); (n,) too for one output. Synchronizes."""
        y = numbers(y, name)
        if y.ndim == 1 and self.n_out > 1:
            return self._one_hot(y, name)
        if y.ndim == 0 or math.prod(y.shape[1:]) != self.n_out:
            raise ValueError(
                f"{name} has shape {tuple(y.shape)}, but must have (n, {self.n_out})"
                + (", or (n,) of integer classes" if self.n_out > 1 else " or (n,)")
            )
        y = self.backend.xp.reshape(self.backend.asarray(y, self.dtype, name), (-1, self.n_out))
        self._check_finite(y, name)
        self._check_reach(y, name)
        return y

    def examples(self, x: Any, y: Any, name: str) -> Examples:
        """Check, move and encode inputs and targets of the same examples. Synchronizes."""
        x, y = self.inputs(x, f"X of {name}"), self.targets(y, f"y of {name}")
        if x.shape[0] != y.shape[0]:
            raise ValueError(f"X of {name} has {x.shape[0]} examples and y of {name} has {y.shape[0]}; give as many")
        return Examples(x, y)

    def pairs(self, items: Iterable[Any], name: str) -> Examples:
        """Check, move and encode a number of (x, y) pairs. Synchronizes."""
        xs, ys = [], []
        for i, item in enumerate(items):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise TypeError(
                    f"item {i} of {name} is not an (x, y) pair but of type {type(item).__name__}; "
                    "arrays are given together, as a tuple (X, y)"
                )
            xs.append(item[0])
            ys.append(item[1])
        if not xs:
            raise ValueError(f"{name} is empty")
        return self.examples(stack(xs, f"x of {name}"), stack(ys, f"y of {name}"), name)

    def source(
        self,
        given: Any,
        name: str,
        *,
        epochs: int = 1,
        steps: int | None = None,
        cache: bool = True,
        progress: bool = False,
    ) -> Source:
        """Make a source of what the user gives.

        Parameters
        ----------
        given
            A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; an iterable of batches.
        name
            What errors call it.
        epochs
            How often it will be gone through.
        steps
            Minibatches an epoch, of an iterable of batches only.
        cache
            Whether a data set is read once and kept, or read again each epoch.
        progress
            Whether reading a data set shows a bar.

        Raises
        ------
        TypeError, ValueError
            If it is none of these, or holds what the network cannot take.
        """
        if given is None:
            raise ValueError(f"{name} is missing: give (X, y), pairs, a data set or an iterable of batches")
        if isinstance(given, (str, bytes, dict)) or array_api_compat.is_array_api_obj(given):
            raise TypeError(f"{name} is of type {type(given).__name__}; {KINDS}")
        mapped = hasattr(given, "__len__") and hasattr(given, "__getitem__")
        if not mapped and hasattr(given, "__iter__"):
            if epochs > 1 and steps is None and iter(given) is given:
                raise ValueError(
                    f"{name} is an iterator, which can be gone through only once, not epochs={epochs} times; give an "
                    "object that can be iterated again, such as a DataLoader, or steps="
                )
            return Batches(given, self, name, steps)
        if steps is not None:
            raise ValueError(f"steps={steps!r} is for an iterable of batches; {name} has a length, so give epochs")
        if not mapped:
            raise TypeError(f"{name} is of type {type(given).__name__}; {KINDS}")
        if isinstance(given, tuple) and len(given) == 2 and not all(isinstance(each, tuple) for each in given):
            return Kept(self.examples(*given, name))
        if len(given) == 0:
            raise ValueError(f"{name} is empty")
        if not cache and not isinstance(given, (tuple, list)):
            return Reread(given, self, name)
        pixels = None if isinstance(given, (tuple, list)) else untransformed(given)
        if pixels is not None:
            return Kept(self.examples(*pixels, name))
        return Kept(self.pairs(items(given, name, progress), name))

    def _remedy(self, x: Array) -> str:
        if self.n_in == 1 and x.ndim == 1:
            return "one feature an example is a column, x.reshape(-1, 1)"
        if x.ndim == 2 and tuple(x.shape) == (self.n_in, 1):
            return "a column is not an example; give it as a row, x.T or x[:, 0]"
        if x.ndim == 1 and x.shape[0] == self.n_in:
            return "an example is a row, so one example is x[None, :]"
        return f"a row an example, {self.n_in} features in each"

    def _one_hot(self, y: Array, name: str) -> Array:
        xp = array_api_compat.array_namespace(y)
        if not xp.isdtype(y.dtype, "integral"):
            raise ValueError(
                f"{name} has shape {tuple(y.shape)} and dtype {y.dtype}, but must have (n, {self.n_out}), "
                "or (n,) of integer classes"
            )
        if y.shape[0] == 0:
            raise ValueError(f"{name} is empty")
        low, high = int(xp.min(y)), int(xp.max(y))
        if low < 0 or high >= self.n_out:
            raise ValueError(
                f"{name} holds the label {low if low < 0 else high}; with {self.n_out} outputs, "
                f"labels go from 0 to {self.n_out - 1}"
            )
        xp = self.backend.xp
        labels = self.backend.asarray(y, "int32", name)
        classes = xp.arange(self.n_out, dtype=xp.int32, device=labels.device)
        return xp.astype(labels[:, None] == classes[None, :], getattr(xp, self.dtype))

    def _check_finite(self, x: Array, name: str) -> None:
        xp = self.backend.xp
        if not all(bool(xp.all(xp.isfinite(rows))) for rows in blocks(x)):
            raise ValueError(f"{name} holds NaN or infinity (as {self.dtype}); remove or replace such examples")

    def _check_reach(self, y: Array, name: str) -> None:
        xp, slack = self.backend.xp, 1e-4
        low, high = self.output.low, self.output.high
        least, largest = float(xp.min(y)), float(xp.max(y))
        if least < low - slack or largest > high + slack:
            raise ValueError(
                f"{name} goes from {least:.6g} to {largest:.6g}, but the {self.output.name} output reaches only "
                f'[{low:g}, {high:g}]; for real targets make the network with task="regression"'
            )
        if self.output.total is not None:
            off = float(xp.max(xp.abs(xp.sum(y, axis=-1) - self.output.total)))
            if off > slack:
                raise ValueError(
                    f"{name} has a row whose sum is off {self.output.total:g} by {off:.6g}, but a row of "
                    f"{self.output.name} outputs adds up to it; give classes or one-hot rows, "
                    'or for several labels an example task="multilabel"'
                )


KINDS = (
    "give a tuple (X, y) of arrays, a sequence of (x, y) pairs, a data set with __len__ and __getitem__, "
    "or an iterable of batches (X, y)"
)


@dataclass(frozen=True)
class Kept:
    """Examples that lie on the device from the first epoch to the last."""

    examples: Examples

    def steps(self, batch_size: int) -> int:
        """Minibatches of an epoch that takes every example once."""
        return math.ceil(self.examples.x.shape[0] / batch_size)

    def chunks(self, draw: Draw, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch."""
        for index in draw(self.examples.x.shape[0], batch_size, rng):
            for part in split(index, most):
                yield Chunk(self.examples, part)

    def blocks(self) -> Iterator[Examples]:
        """Slices of the examples."""
        for x, y in zip(blocks(self.examples.x), blocks(self.examples.y, like=self.examples.x)):
            yield Examples(x, y)


@dataclass(frozen=True)
class Reread:
    """A map-style data set whose items differ each time they are read (random transforms)."""

    dataset: Any
    reader: Reader
    name: str

    def steps(self, batch_size: int) -> int:
        """Minibatches of an epoch that takes every example once."""
        return math.ceil(len(self.dataset) / batch_size)

    def chunks(self, draw: Draw, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch, each read when its turn comes; the order is that of `Kept`."""
        for index in draw(len(self.dataset), batch_size, rng):
            for part in split(index, min(most, bound(index.shape[1], self.reader.n_in))):
                yield Chunk(self._read(part.ravel()), in_order(part.shape))

    def blocks(self) -> Iterator[Examples]:
        """Every item once."""
        for part in split(np.arange(len(self.dataset)), bound(1, self.reader.n_in)):
            yield self._read(part)

    def _read(self, index: np.ndarray) -> Examples:
        return self.reader.pairs((self.dataset[int(i)] for i in index), self.name)


class Batches:
    """An iterable of batches (X, y), never kept: read again each epoch, or `steps` of it an epoch."""

    def __init__(self, batches: Iterable[Any], reader: Reader, name: str, per_epoch: int | None) -> None:
        self.batches, self.reader, self.name, self.per_epoch = batches, reader, name, per_epoch
        self._rest: Iterator[Any] = iter(())

    def steps(self, batch_size: int) -> int | None:
        """Batches an epoch, if it is known."""
        return self.per_epoch or (len(self.batches) if hasattr(self.batches, "__len__") else None)  # type: ignore

    def chunks(self, draw: Draw, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Batches of one epoch; neighbours of equal size go together."""
        group: list[Examples] = []
        for examples in self._read(self._epoch()):
            m = examples.x.shape[0]
            if group and (m != group[0].x.shape[0] or len(group) >= min(most, bound(m, self.reader.n_in))):
                yield self._join(group)
                group = []
            group.append(examples)
        if group:
            yield self._join(group)

    def blocks(self) -> Iterator[Examples]:
        """Every batch once."""
        return self._read(iter(self.batches))

    def _epoch(self) -> Iterator[Any]:
        """Iterate the batches of an epoch; with `steps`, from where the last one stopped, and again from the start."""
        if self.per_epoch is None:
            yield from self.batches
            return
        left = self.per_epoch
        while left:
            taken = 0
            for taken, batch in enumerate(islice(self._rest, left), start=1):  # noqa: B007
                yield batch
            left -= taken
            if left:
                self._rest = iter(self.batches)
                first = next(self._rest, None)
                if first is None:
                    return
                left -= 1
                yield first

    def _read(self, batches: Iterator[Any]) -> Iterator[Examples]:
        i = -1
        for i, batch in enumerate(batches):
            if not isinstance(batch, (tuple, list)) or len(batch) != 2:
                raise TypeError(f"batch {i} of {self.name} is not a pair (X, y) but of type {type(batch).__name__}")
            x, y = batch
            yield self.reader.examples(x, y, f"batch {i} of {self.name}")
        if i < 0:
            raise ValueError(
                f"{self.name} gave no batch; an iterator can be read only once, so give an object that can be iterated "
                "again, such as a DataLoader or a list"
            )

    def _join(self, group: Sequence[Examples]) -> Chunk:
        xp, (m, _) = self.reader.backend.xp, group[0].x.shape
        joined = Examples(xp.concat([x for x, _ in group], axis=0), xp.concat([y for _, y in group], axis=0))
        return Chunk(joined, in_order((len(group), m)))


def numbers(x: Any, name: str) -> Array:
    """Have an array of real numbers, of whichever library; refuse objects, strings and complex numbers."""
    try:
        x = as_array(x)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot be made an array ({error}); its rows must be of equal length") from error
    xp = array_api_compat.array_namespace(x)
    if (isinstance(x, np.ndarray) and x.dtype.kind not in "buif") or not _is_real(x, xp):
        raise TypeError(f"{name} has dtype {x.dtype}; give real numbers")
    return x


def _is_real(x: Array, xp: Any) -> bool:
    return xp.isdtype(x.dtype, ("bool", "integral", "real floating"))


def stack(values: Sequence[Any], name: str) -> Array:
    """Put single examples into one array, in their own library."""
    first = as_array(values[0])
    try:
        return array_api_compat.array_namespace(first).stack([as_array(value) for value in values])
    except (ValueError, TypeError, RuntimeError) as error:
        shapes = sorted({np.shape(value) for value in values})[:3]
        raise ValueError(f"{name} differ from example to example (shapes {shapes}); make them equal") from error


def blocks(x: Array, like: Array | None = None) -> Iterator[Array]:
    """Cut an array into rows of bounded size; as many together as those of `like`, if it is given."""
    rows = bound(1, math.prod((x if like is None else like).shape[1:]))
    for start in range(0, x.shape[0], rows):
        yield x[start : min(start + rows, x.shape[0]), ...]


def bound(m: int, n: int) -> int:
    """How many (m, n) arrays may be looked at together."""
    return max(1, BLOCK // (m * n))


def in_order(shape: tuple[int, ...]) -> np.ndarray:
    """Indices 0, 1, 2, ... as minibatches of the given shape."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


def items(dataset: Any, name: str, progress: bool) -> Iterator[Any]:
    """Read a sequence item by item; a data set shows a bar, on standard error."""
    if isinstance(dataset, (tuple, list)) or not progress:
        return (dataset[i] for i in range(len(dataset)))
    from tqdm.auto import tqdm

    return iter(tqdm((dataset[i] for i in range(len(dataset))), f"Reading {name}", len(dataset), leave=False))


def untransformed(dataset: Any) -> tuple[Array, Array] | None:
    """Take pixels and labels out of a torchvision data set that has no transform, without reading it item by item.

    Pixels are scaled, and axes ordered, as torchvision's ToTensor would do it. None for any other data set.
    """
    if getattr(dataset, "transform", dataset) is not None or not hasattr(dataset, "targets"):
        return None
    pixels, labels = as_array(getattr(dataset, "data", None)), dataset.targets
    if str(pixels.dtype).split(".")[-1] != "uint8":
        return None
    pixels = np.asarray(pixels)
    if pixels.ndim == 4:
        pixels = np.moveaxis(pixels, -1, 1)  # channels come first
    if getattr(dataset, "target_transform", None) is not None:
        labels = stack([dataset.target_transform(int(label)) for label in labels], "y")
    return pixels.astype(np.float32) / np.float32(255), labels
