"""Sources of examples: their protocol, the chunks of minibatches that they give, and those that stay on the device.

Every source answers the same questions: how many minibatches an epoch has (`steps`), the minibatches to train on, one
chunk at a time (`chunks`), and all examples in order, one block at a time (`blocks`).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpnet.core.arrays import Array, map_arrays, select
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import AnyScaling, Scaler
from xpnet.data.place import Place
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, cut_rows, split_into_chunks
from xpnet.data.scaling import place_scaling, scale_inputs, scale_slopes, scale_targets

BAR_DELAY_SECONDS = 0.5  # before a bar appears for something that may not take long


@dataclass(frozen=True, eq=False)
class Columns:
    """Stored inputs, targets and slopes. They equal only themselves: those who share them refer to one object."""

    x: Array
    y: Array
    slopes: Array | None = None


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of examples, (n,), that are stored; as `Columns`, they equal only themselves."""

    array: Array
    place: Place

    @cached_property
    def on_host(self) -> np.ndarray:
        """A NumPy array of them, which is made once. Synchronizes."""
        with self.place.scope():
            return self.place.backend.to_numpy(self.array)


def store(examples: Examples, place: Place) -> tuple[Columns, Weights | None]:
    """Store examples, so that they can be shared."""
    x, y, weight, slopes = examples
    return Columns(x, y, slopes), None if weight is None else Weights(weight, place)


def as_nest(columns: Columns, weights: Weights | None) -> Examples:
    """Return stored examples as a nest of arrays."""
    return Examples(columns.x, columns.y, None if weights is None else weights.array, columns.slopes)


class Chunk(NamedTuple):
    """Several minibatches of one size: examples on the device, and the indices of those that each step takes."""

    columns: Columns
    weights: Weights | None
    index: np.ndarray  # (steps, m) int32, on the host
    scaling: AnyScaling | None = None  # still to be applied to the minibatches
    lr: np.ndarray = np.zeros(0)  # (steps,), the learning rates, which the training loop adds
    size: int = 0  # examples in a minibatch, likewise: `index` may have only those of one of several processes
    generator: Mapping[str, Any] | None = None  # its state after these minibatches were drawn, likewise

    @property
    def examples(self) -> Examples:
        """The examples as a nest of arrays."""
        return as_nest(self.columns, self.weights)

    def weigh(self) -> np.ndarray | None:
        """Look up the weights of the examples in each minibatch, (steps, m), if they have any."""
        return None if self.weights is None else self.weights.on_host[self.index]


class Source(Protocol):
    """Where examples come from. Scaling a source returns a new one."""

    @property
    def reader(self) -> Reader:
        """The reader that moved, or will move, its examples to the device."""
        ...

    def steps(self, sampling: Sampling, batch_size: int) -> int | None:
        """Number of minibatches of an epoch; None if it is not known in advance."""
        ...

    def batch_size(self, batch_size: int) -> int:
        """Number of examples in a minibatch, if the user asks for `batch_size`."""
        ...

    def chunks(
        self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int, networks: int = 1
    ) -> Iterator[Chunk]:
        """Draw the minibatches of one epoch, at most `most` of them in a chunk.

        The more `networks` hold a chunk at the same time, the less each may read into memory.
        """
        ...

    def skip_epochs(self, epochs: int) -> None:
        """Skip the minibatches of whole epochs, if an epoch begins where the last one ended."""
        ...

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over all examples in order, in blocks sized for `width` values per row."""
        ...

    def scaled(self, scaling: Scaler) -> "Source":
        """Return the same source with its examples scaled."""
        ...


class Countable:
    """Base class of sources that know how many examples they have, and begin each epoch with the first one."""

    def __len__(self) -> int:
        """Count the examples."""
        raise NotImplementedError

    def steps(self, sampling: Sampling, batch_size: int) -> int:
        """Number of minibatches of an epoch."""
        return sampling.steps(len(self), batch_size)

    def batch_size(self, batch_size: int) -> int:
        """Number of examples in a minibatch."""
        return min(batch_size, len(self))

    def skip_epochs(self, epochs: int) -> None:
        """Do nothing: each epoch begins with the first example."""


@dataclass(frozen=True, eq=False)
class Resident(Countable):
    """Examples that stay on the device from the first epoch to the last."""

    columns: Columns
    weights: Weights | None
    reader: Reader

    def __len__(self) -> int:
        """Count the examples."""
        return self.columns.y.shape[0]

    @property
    def examples(self) -> Examples:
        """The examples as a nest of arrays."""
        return as_nest(self.columns, self.weights)

    def chunks(
        self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int, networks: int = 1
    ) -> Iterator[Chunk]:
        """Draw the minibatches of one epoch."""
        for index in sampling.draw(len(self), batch_size, rng):
            for part in split_into_chunks(index, most):
                yield Chunk(self.columns, self.weights, part)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over slices of the examples."""
        parts = list(cut_rows(len(self), width))
        if len(parts) == 1:
            yield self.examples
            return
        for part in parts:
            with self.reader.scope():
                block = select(self.examples, part)
            yield block

    def scaled(self, scaling: Scaler) -> "Resident":
        """Scale the examples."""
        return self.with_scaled(scale_columns(self.columns, scaling, self.reader.place), scaling)

    def with_scaled(self, columns: Columns, scaling: Scaler) -> "Resident":
        """Replace inputs and targets by those that were scaled."""
        return replace(self, columns=columns, reader=self.reader._replace(scaling=scaling))

    def find_overwritten(self) -> str | None:
        """Name a number that has become NaN or infinite since it was read: arrays may share the user's memory."""
        with self.reader.scope():
            arrays = {"X": self.columns.x, "y": self.columns.y, "slopes": self.columns.slopes}
            for name, array in ((name, x) for name, x in arrays.items() if x is not None and x.ndim > 1):
                if (place := self.reader.place.find_not_finite(array)) is not None:
                    return f"row {place[0]}, column {place[1]} of {name}"
        return None

    @property
    def is_wide(self) -> bool:
        """Whether some numbers are still unscaled, because the dtype would round them."""
        x, y, place = self.columns.x, self.columns.y, self.reader.place
        return place.is_wide(x) or (y.ndim > 1 and place.is_wide(y))


@dataclass(frozen=True, eq=False)
class Rows(Countable):
    """Some rows of a source whose examples are shared; a row may occur several times.

    Shared examples are not scaled in place: a scaling is applied to each block, and to each minibatch when it is
    gathered. If the examples are scaled already, only the difference between the two scalings is applied.
    """

    source: Resident
    rows: np.ndarray  # (n,) int32, on the host
    scaling: Scaler | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    @property
    def columns(self) -> Columns:
        """Inputs and targets of the source, all rows included."""
        return self.source.columns

    @property
    def reader(self) -> Reader:
        """The reader of the source, with the scaling."""
        reader = self.source.reader
        return reader if self.scaling is None else reader._replace(scaling=self.scaling)

    @cached_property
    def remaining(self) -> AnyScaling | None:
        """The scaling that the examples of the source still need, on the device."""
        before = self.source.reader.scaling
        if self.scaling is None or before is None:
            return None if self.scaling is None else self.scaling.in_dtype
        reader = self.source.reader
        return place_scaling(self.scaling.exact.after(before.exact), reader.model, reader.place).in_dtype

    def chunks(
        self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int, networks: int = 1
    ) -> Iterator[Chunk]:
        """Draw the minibatches of one epoch."""
        for index in sampling.draw(len(self), batch_size, rng):
            for part in split_into_chunks(index, most):
                yield Chunk(self.source.columns, self.source.weights, self.rows[part], self.remaining)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over the rows in order."""
        for part in cut_rows(len(self), width):
            block, scaling = take_rows(self.source, self.rows[part]).examples, self.remaining
            if scaling is not None:
                with self.source.reader.scope():
                    block = block._replace(x=scaling.inputs(block.x), y=scaling.targets(block.y))
            yield block

    def with_scaled(self, columns: Columns, scaling: Scaler) -> "Rows":
        """Replace inputs and targets of the source by those that were scaled."""
        return replace(self, source=self.source.with_scaled(columns, scaling))

    def scaled(self, scaling: Scaler) -> "Rows | Resident":
        """Return the same rows, scaled; if the dtype would round the numbers, a scaled copy of these rows."""
        if self.source.is_wide:
            return take_rows(self.source, self.rows).scaled(scaling)
        return replace(self, scaling=scaling)


def make_resident(examples: Examples, reader: Reader) -> Resident:
    """Make a source of examples on the device."""
    return Resident(*store(examples, reader.place), reader)


def scale_columns(columns: Columns, scaling: Scaler, place: Place) -> Columns:
    """Scale inputs, targets and slopes."""
    x, y = scale_inputs(columns.x, scaling, place), scale_targets(columns.y, scaling, place)
    return Columns(x, y, scale_slopes(columns.slopes, scaling, place))


def take_rows(source: Resident, index: np.ndarray) -> Resident:
    """Take some of a source's examples, by index."""
    place = source.reader.place
    columns, weights = store(map_arrays(lambda column: place.take(column, index), source.examples), place)
    return replace(source, columns=columns, weights=weights)


def skip_steps(chunks: Iterable[Chunk], steps: int) -> Iterator[Chunk]:
    """Skip the first minibatches of an epoch.

    Examples
    --------
    >>> chunks = [Chunk(None, None, np.array([[1], [2], [3]])), Chunk(None, None, np.array([[4]]))]
    >>> [chunk.index.tolist() for chunk in skip_steps(chunks, 2)]
    [[[3]], [[4]]]
    """
    for chunk in chunks:
        skipped = min(steps, len(chunk.index))
        steps -= skipped
        if skipped < len(chunk.index):
            yield chunk._replace(index=chunk.index[skipped:])


def make_bar(iterable: Iterable[Any] | None = None, *, disable: bool = False, **options: Any) -> Any:
    """Make a bar of tqdm on standard error; it shows nothing if that is closed, a file or a pipe."""
    from tqdm import auto

    # Where standard error is no terminal, either
    in_notebook = any(kind.__module__ == "tqdm.notebook" for kind in auto.tqdm.__mro__)
    disable = disable or sys.stderr is None or (not in_notebook and not sys.stderr.isatty())
    return auto.tqdm(iterable, disable=disable, **options)


def with_bar(blocks: Iterator[Examples], label: str, source: Source) -> Iterator[Examples]:
    """Iterate over the blocks of a source, with a bar on standard error if that takes a noticeable time."""
    total = len(source) if isinstance(source, Sized) else None
    with make_bar(
        total=total, desc=label, unit="example", delay=BAR_DELAY_SECONDS, leave=False, dynamic_ncols=True
    ) as bar:
        for block in blocks:
            yield block
            bar.update(block.y.shape[0])
