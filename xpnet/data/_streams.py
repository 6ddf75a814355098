"""Sources that are read while a network trains: data sets read again each epoch, and iterables of batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, count, groupby, islice
from typing import Any

import numpy as np

from xpnet.core.minibatch import Examples
from xpnet.data._scaling import PlacedScaling
from xpnet.data.conversion import is_pair
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, in_order
from xpnet.data.source import Chunk, Resident, Source
from xpnet.errors import ArgumentError

MAX_EXAMPLES_READ = 1024  # one by one or batch by batch, before training on them: so the bar moves


@dataclass(frozen=True, eq=False)
class Dataset(Source):
    """A map-style data set that is read again each epoch, for random transforms."""

    dataset: Any
    name: str
    most_examples = MAX_EXAMPLES_READ

    def __len__(self) -> int:
        """Count the items."""
        return len(self.dataset)

    def read(self, index: np.ndarray) -> Examples:
        """Read items and move them to the device."""
        items = (read_item(self.dataset, int(i), self.name) for i in index)
        return self.reader.read_pairs(items, self.name, index)


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
        read = 0
        try:
            for batch in self.batches:
                yield batch
                read += 1
        except RuntimeError as error:  # to which Python converts a StopIteration in a generator
            if not isinstance(error.__cause__, StopIteration):
                raise
            raise ArgumentError(
                f"{self.name} raised StopIteration after {read} batches, as next() does on an exhausted iterator; "
                "catch it there, and return from the generator if it is the end of the data"
            ) from error
        # The length of a loader over an iterable is an estimate
        is_estimate = isinstance(self.batches, Iterator) or isinstance(getattr(self.batches, "dataset", 0), Iterable)
        if not is_estimate and read < (self.length() or 0):
            raise ArgumentError(
                f"{self.name} ended after {read} of its {self.length()} batches; if its data set raised "
                "StopIteration, as next() does on an exhausted iterator, catch it there; if its length is wrong, leave "
                "it out"
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

    def skip_epochs(self, epochs: int) -> None:
        """Iterate over the batches of whole epochs, if an epoch begins where the last one ended."""
        for _ in range(0 if self.per_epoch is None else epochs):
            deque(self.epoch(), maxlen=0)


class SharedEpochs:
    """The epochs of a training on batches: each is read once, for all networks that train on it in step.

    Only the last chunk is kept: all networks take the same chunk before the first of them takes the next one.
    """

    def __init__(self) -> None:
        self.epoch = self.number = 0  # of the last chunk, counted from 1
        self.chunk: Chunk | None = None
        self.scaling: PlacedScaling | None = None  # of its examples
        self._chunks: Iterator[Chunk] = iter(())
        self._rescale = cache(PlacedScaling.after)

    def take(self, epoch: int, number: int, batches: "Batches", most: int) -> Chunk | None:
        """Return a chunk of an epoch for one of the networks; None if the epoch has fewer."""
        if epoch < self.epoch:
            return None  # another network has finished this epoch and begun the next
        own = batches.reader.scaling
        if epoch > self.epoch:
            batches.passes.skip_epochs(epoch - self.epoch - 1)
            self.epoch, self.number, self.scaling, self._chunks = epoch, 0, own, batches.read_chunks(most)
        if number > self.number:
            self.number, self.chunk = number, next(self._chunks, None)
        if self.chunk is None or own is None or self.scaling is None or own is self.scaling:
            return self.chunk
        return self.chunk._replace(scaling=self._rescale(own, self.scaling))


@dataclass(frozen=True, eq=False)
class Batches(Source):
    """An iterable of batches (X, y), read again each epoch and never kept."""

    passes: Passes
    first_size: int  # examples in the first batch
    shared: SharedEpochs = field(default_factory=SharedEpochs)
    has_length = False
    most_examples = MAX_EXAMPLES_READ

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

    def fingerprint(self) -> dict[str, Any]:
        """Describe the batches by the size of the first one."""
        return {"batch": self.first_size}

    def check_repeatable(self, argument: str) -> None:
        """Refuse an iterator, and epochs that go on where the last one ended."""
        if self.passes.per_epoch is not None or isinstance(self.passes.batches, Iterator):
            raise ArgumentError(
                f"{argument} iterates over the training data besides training on it, and train_data can be iterated "
                "over only once; give arrays, a data set, or an object that can be iterated over again, without steps="
            )

    def begin(self) -> "Batches":
        """Return the batches for a training of several networks, which share each epoch."""
        return replace(self, shared=SharedEpochs())

    def chunks(
        self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1, epoch: int = 1
    ) -> Iterator[Chunk]:
        """Take the batches of one epoch, in step with the other networks."""
        for number in count(1):
            chunk = self.shared.take(epoch, number, self, most)
            if chunk is None:
                return
            yield chunk

    def read_chunks(self, most: int) -> Iterator[Chunk]:
        """Read the batches of one epoch; successive ones of equal size, and stored alike, share a chunk."""
        batches = _read_batches(self.passes.epoch(), self.passes.name, self.reader)
        for (shape, *_), alike in groupby(batches, lambda batch: (batch.x.shape, batch.x.dtype, batch.y.dtype)):
            while group := [*islice(alike, min(most, self.most_steps(shape[0])))]:
                yield self._join(group)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over one pass; large batches come in slices."""
        for examples in _read_batches(self.passes.continue_pass(), self.passes.name, self.reader):
            yield from Resident(self.reader, examples).blocks(width)

    def _join(self, group: Sequence[Examples]) -> Chunk:
        """Concatenate batches of the same size."""
        shape, place = (len(group), group[0].x.shape[0]), self.reader.place
        columns = (None if columns[0] is None else place.concat(columns) for columns in zip(*group))
        return Chunk(Examples._make(columns), in_order(shape))


def make_batches(batches: Iterable[Any], name: str, reader: Reader, per_epoch: int | None) -> Batches:
    """Make a source from an iterable of batches; its first batch is checked before training begins."""
    passes = Passes(batches, name, per_epoch)
    batch = passes.peek()
    if batch and is_pair(batch[0]):
        reader = reader.learn_names(batch[0][0], f"X of batch 0 of {name}")
    first = next(_read_batches(batch, name, reader))
    return Batches(reader._replace(warns=False), passes, first.x.shape[0])


def _read_batches(batches: Iterable[Any], name: str, reader: Reader) -> Iterator[Examples]:
    i = -1
    for i, batch in enumerate(batches):
        if not is_pair(batch):
            raise ArgumentError(f"batch {i} of {name} is not a pair (X, y) but of type {type(batch).__name__}")
        yield reader.read_examples(batch[0], batch[1], f"batch {i} of {name}")
    if i < 0:
        raise ArgumentError(
            f"{name} yielded no batch; an iterator can be iterated over only once, so give an object that can be "
            "iterated over again, such as a DataLoader"
        )


def refuse_iterator(data: Any, name: str) -> None:
    """Refuse an iterator as data on which every member of an ensemble is evaluated."""
    if isinstance(data, Iterator):
        raise ArgumentError(
            f"{name} is an iterator, which can be iterated over only once, and every member of an Ensemble is "
            "evaluated on it; give an object that can be iterated over again, such as a DataLoader"
        )
