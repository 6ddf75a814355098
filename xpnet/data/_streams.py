"""Sources that are read while a network trains: data sets read again each epoch, and iterables of batches."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count, islice
from typing import Any, ClassVar

import numpy as np

from xpnet.core.arrays import BLOCK_ELEMENTS, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import PlacedScaling
from xpnet.data.conversion import is_pair
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, cut_rows, in_order, split_into_chunks
from xpnet.data.source import Chunk, Countable, Resident, Source, weight_on_host
from xpnet.errors import ArgumentError

MAX_BLOCKS_READ = 16  # by all networks together, before training on them
MAX_EXAMPLES_READ = 1024  # one by one or batch by batch, before training on them: so the bar moves


class OnDemand(Countable):
    """Base class of sources that move examples to the device when they are needed, in the order of `Resident`."""

    reader: Reader
    most_examples: ClassVar[int] = BLOCK_ELEMENTS  # to read before training on them
    chunks_held: ClassVar[int] = 1  # in memory at the same time, which share a block

    def read(self, index: np.ndarray) -> Examples:
        """Move some of the examples to the device."""
        raise NotImplementedError

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the minibatches of one epoch."""
        for part in self.split(minibatches, most, networks):
            examples = self.read(part.ravel())
            yield Chunk(examples, weight_on_host(examples, self.reader.place), in_order(part.shape))

    def split(self, minibatches: Iterable[np.ndarray], most: int, networks: int) -> Iterator[np.ndarray]:
        """Split minibatches into chunks, (steps, m); as many as fit into memory are in a chunk."""
        for index in minibatches:
            fitting = _minibatches_that_fit(index.shape[1], self.reader, self.most_examples, networks, self.chunks_held)
            yield from split_into_chunks(index, min(most, fitting))

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over all examples in order."""
        rows = in_order((len(self),))
        for part in cut_rows(len(self), width):
            yield self.read(rows[part])


@dataclass(frozen=True, eq=False)
class Dataset(OnDemand):
    """A map-style data set that is read again each epoch, for random transforms."""

    dataset: Any
    name: str
    reader: Reader
    most_examples = MAX_EXAMPLES_READ

    def __len__(self) -> int:
        """Count the items."""
        return len(self.dataset)

    def read(self, index: np.ndarray) -> Examples:
        """Read items and move them to the device."""
        items = (read_item(self.dataset, int(i), self.name) for i in index)
        return self.reader.read_pairs(items, self.name, index)

    def scaled(self, scaling: PlacedScaling) -> "Dataset":
        """Return the data set with a reader that scales."""
        return replace(self, reader=self.reader._replace(scaling=scaling))


def read_item(dataset: Any, i: int, name: str) -> Any:
    """Read an item of a data set; an error names the item."""
    try:
        return dataset[i]
    except (LookupError, StopIteration) as error:  # StopIteration would look like the end of the data
        raise ArgumentError(
            f"item {i} of {name} cannot be read ({type(error).__name__}: {error}); there must be {len(dataset)} of "
            "them, counted from 0; give arrays and tables together, as a tuple (X, y)"
        ) from error


class Passes:
    """Passes over an iterable of batches: the only part of a source that has a state, its position.

    Parameters
    ----------
    batches
        The iterable.
    name
        Its name in error messages.
    per_epoch
        Number of batches of an epoch, which begins where the last one ended; None for epochs of a whole pass.
    """

    def __init__(self, batches: Iterable[Any], name: str, per_epoch: int | None) -> None:
        self.batches, self.name, self.per_epoch = batches, name, per_epoch
        self.repeatable = per_epoch is None and not isinstance(batches, Iterator)
        self._current: Iterator[Any] | None = None  # the pass that has begun

    def peek(self) -> list[Any]:
        """Take the first batch, if there is one, without moving past it."""
        current = self.continue_pass()
        first = list(islice(current, 1))
        # A DataLoader with persistent workers has one iterator, which every new pass restarts: it is not kept
        self._current = None if getattr(self.batches, "persistent_workers", False) else chain(first, current)
        return first

    def continue_pass(self) -> Iterator[Any]:
        """Continue the pass that has begun, or begin one."""
        current, self._current = self._current, None
        return self._begin() if current is None else current

    def _begin(self) -> Iterator[Any]:
        """Iterate over the batches once; a StopIteration of the user's code is an error, not the end of the data."""
        count = 0
        try:
            for batch in self.batches:
                yield batch
                count += 1
        except RuntimeError as error:  # to which Python converts a StopIteration in a generator
            if not isinstance(error.__cause__, StopIteration):
                raise
            raise ArgumentError(
                f"{self.name} raised StopIteration after {count} batches, as next() does on an exhausted iterator; "
                "catch it there, and return from the generator if it is the end of the data"
            ) from error
        if self._has_exact_length and count < (self.length() or 0):
            raise ArgumentError(
                f"{self.name} ended after {count} of its {self.length()} batches; if its data set raised "
                "StopIteration, as next() does on an exhausted iterator, catch it there; if its length is wrong, leave "
                "it out"
            )

    @property
    def _has_exact_length(self) -> bool:
        """Whether the length counts the batches of a pass: that of a loader over an iterable is an estimate."""
        return not isinstance(self.batches, Iterator) and not isinstance(
            getattr(self.batches, "dataset", None), Iterable
        )

    def length(self) -> int | None:
        """Number of batches of a whole pass, if the iterable says."""
        try:
            return len(self.batches)  # type: ignore
        except TypeError:  # no length, or a DataLoader of a data set without one
            return None

    def epoch(self) -> Iterator[Any]:
        """Iterate over the batches of an epoch."""
        if self.per_epoch is None:
            yield from self.continue_pass()
            return
        remaining = self.per_epoch
        while remaining:
            begins, batches, before = self._current is None, self.continue_pass(), remaining
            for batch in islice(batches, remaining):
                remaining -= 1
                yield batch
            if begins and remaining == before:
                raise ArgumentError(
                    f"{self.name} ended {remaining} batches before steps={self.per_epoch}, and cannot be iterated over "
                    "again"
                )
            self._current = batches if remaining == 0 else None


@dataclass(frozen=True, eq=False)
class Batches:
    """An iterable of batches (X, y), read again each epoch and never kept."""

    passes: Passes
    reader: Reader
    first_size: int  # examples in the first batch

    def steps(self, sampling: Sampling, batch_size: int) -> int | None:
        """Number of batches of an epoch, if it is known."""
        return self.passes.length() if self.passes.per_epoch is None else self.passes.per_epoch

    def batch_size(self, batch_size: int) -> int:
        """Number of examples in a batch, which is the iterable's choice."""
        return self.first_size

    def name_order(self, sampling: Sampling) -> str:
        """Name the order of the batches, which is the iterable's choice."""
        number = self.passes.per_epoch
        return "as they come" if number is None else f"as they come, {number} an epoch"

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Read the batches of one epoch; successive batches of equal size share a chunk."""
        group: list[Examples] = []
        for examples in _read_batches(self.passes.epoch(), self.passes.name, self.reader):
            fitting = _minibatches_that_fit(examples.x.shape[0], self.reader, MAX_EXAMPLES_READ)
            if group and (not _are_alike(examples, group[0]) or len(group) >= min(most, fitting)):
                yield self._join(group)
                group = []
            group.append(examples)
        if group:
            yield self._join(group)

    def skip_epochs(self, epochs: int) -> None:
        """Iterate over the batches of whole epochs, if an epoch begins where the last one ended."""
        if self.passes.per_epoch is not None:
            for _ in range(epochs):
                for _ in self.passes.epoch():
                    pass

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over one pass; large batches come in slices."""
        for examples in _read_batches(self.passes.continue_pass(), self.passes.name, self.reader):
            yield from Resident(examples, self.reader).blocks(width)

    def scaled(self, scaling: PlacedScaling) -> "Batches":
        """Return the batches with a reader that scales."""
        return replace(self, reader=self.reader._replace(scaling=scaling))

    def _join(self, group: Sequence[Examples]) -> Chunk:
        """Concatenate batches of the same size."""
        shape = (len(group), group[0].x.shape[0])
        place = self.reader.place
        columns = (None if columns[0] is None else place.concat(columns) for columns in zip(*group))
        examples = Examples._make(columns)
        return Chunk(examples, weight_on_host(examples, place), in_order(shape))


def make_batches(batches: Iterable[Any], name: str, reader: Reader, per_epoch: int | None) -> Batches:
    """Make a source from an iterable of batches; its first batch is checked before training begins."""
    passes = Passes(batches, name, per_epoch)
    batch = passes.peek()
    if batch and is_pair(batch[0]):
        reader = reader.learn_names(batch[0][0], f"X of batch 0 of {name}")
    first = next(_read_batches(batch, name, reader))
    return Batches(passes, reader._replace(warns=False), first.x.shape[0])


class SharedPass:
    """A pass over batches that several networks in step share: each epoch is read once, for all of them.

    Only the last chunk is kept: all networks take the same chunk before the first of them takes the next one.

    Parameters
    ----------
    batches
        The batches.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.epoch = self.number = 0  # of the last chunk, counted from 1
        self.chunk: Chunk | None = None
        self._scaled: dict[PlacedScaling, Chunk] = {}  # that chunk, by each scaling of the networks
        self._chunks: Iterator[Chunk] = iter(())

    def skip_epochs(self, epochs: int) -> None:
        """Skip the epochs up to this one, unless another network has done so."""
        self.batches.skip_epochs(max(0, epochs - self.epoch))
        self.epoch = max(epochs, self.epoch)

    def take(self, epoch: int, number: int, begin: Callable[[], Iterator[Chunk]]) -> Chunk | None:
        """Return a chunk of an epoch; None if the epoch has fewer. `begin` begins the epoch."""
        if epoch < self.epoch:
            return None  # another network has finished this epoch and begun the next
        if epoch > self.epoch:
            self.epoch, self.number, self._chunks = epoch, 0, begin()
        if number > self.number:
            self.number, self.chunk, self._scaled = number, next(self._chunks, None), {}
        return self.chunk

    def scale(self, chunk: Chunk, scaling: PlacedScaling | None) -> Chunk:
        """Scale the last chunk: at once if the dtype would round its numbers, else when minibatches are gathered."""
        if scaling is None:
            return chunk
        if scaling not in self._scaled:
            examples = Resident(chunk.examples, self.batches.reader)
            self._scaled[scaling] = (
                chunk._replace(examples=examples.scaled(scaling).examples)
                if examples.is_wide
                else chunk._replace(scaling=scaling.in_dtype)
            )
        return self._scaled[scaling]


class SharedBatches:
    """Batches that several networks in step share, as one of them takes them.

    Parameters
    ----------
    shared
        The pass that they share.
    scaling
        Standardizes the minibatches of this network; None leaves them as they are.
    """

    def __init__(self, shared: SharedPass, scaling: PlacedScaling | None = None) -> None:
        self.shared, self.scaling = shared, scaling
        self.epoch = 0  # that has begun, counted from 1

    @property
    def reader(self) -> Reader:
        """The reader of the batches, with the scaling."""
        reader = self.shared.batches.reader
        return reader if self.scaling is None else reader._replace(scaling=self.scaling)

    def steps(self, sampling: Sampling, batch_size: int) -> int | None:
        """Number of batches of an epoch, if it is known."""
        return self.shared.batches.steps(sampling, batch_size)

    def batch_size(self, batch_size: int) -> int:
        """Number of examples in a batch."""
        return self.shared.batches.batch_size(batch_size)

    def name_order(self, sampling: Sampling) -> str:
        """Name the order of the batches."""
        return self.shared.batches.name_order(sampling)

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the batches of one epoch, in step with the other networks."""
        self.epoch += 1
        begin = partial(self.shared.batches.chunks, minibatches, most)
        for number in count(1):
            chunk = self.shared.take(self.epoch, number, begin)
            if chunk is None:
                return
            yield self.shared.scale(chunk, self.scaling)

    def skip_epochs(self, epochs: int) -> None:
        """Skip epochs; the first of the networks that has come furthest skips them for all."""
        self.epoch = epochs
        self.shared.skip_epochs(epochs)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over one pass."""
        reader = self.shared.batches.reader
        for block in self.shared.batches.blocks(width):
            yield block if self.scaling is None else Resident(block, reader).scaled(self.scaling).examples

    def scaled(self, scaling: PlacedScaling) -> "SharedBatches":
        """Return the same batches with the scaling."""
        return SharedBatches(self.shared, scaling)


def _read_batches(batches: Iterable[Any], name: str, reader: Reader) -> Iterator[Examples]:
    i = -1
    for i, batch in enumerate(batches):
        if not is_pair(batch):
            raise ArgumentError(f"batch {i} of {name} is not a pair (X, y) but of type {type(batch).__name__}")
        x, y = batch
        yield reader.read_examples(x, y, f"batch {i} of {name}")
    if i < 0:
        raise ArgumentError(
            f"{name} yielded no batch; an iterator can be iterated over only once, so give an object that can be "
            "iterated over again, such as a DataLoader"
        )


def _are_alike(a: Examples, b: Examples) -> bool:
    """Tell whether batches can share a chunk: they have the same size and are stored in the same way."""
    return all((x.shape, x.dtype) == (y.shape, y.dtype) for x, y in ((a.x, b.x), (a.y, b.y)))


def _minibatches_that_fit(size: int, reader: Reader, most_examples: int, networks: int = 1, held: int = 1) -> int:
    """Count the minibatches that fit into one block and have at most `most_examples` examples; at least one.

    Many networks share a few blocks; so do `held` chunks of one network.
    """
    width = size * reader.model.n_in * max(held, math.ceil(networks / MAX_BLOCKS_READ))
    return max(1, min(rows_per_block(width), most_examples // size))


def check_repeatable(source: Source, argument: str) -> None:
    """Refuse a source that can be iterated over only once, if an argument needs another pass besides training."""
    batches = source.shared.batches if isinstance(source, SharedBatches) else source
    if isinstance(batches, Batches) and not batches.passes.repeatable:
        raise ArgumentError(
            f"{argument} iterates over the training data besides training on it, and train_data can be iterated over "
            "only once; give arrays, a data set, or an object that can be iterated over again, without steps="
        )


def refuse_iterator(data: Any, name: str) -> None:
    """Refuse an iterator as data on which every member of an ensemble is evaluated."""
    if isinstance(data, Iterator):
        raise ArgumentError(
            f"{name} is an iterator, which can be iterated over only once, and every member of an Ensemble is "
            "evaluated on it; give an object that can be iterated over again, such as a DataLoader"
        )
