"""Sources of examples: their protocol, the chunks of minibatches that they give, and those that stay on the device.

Every source answers the same questions: how many minibatches an epoch has (`steps`), the minibatches to train on, one
chunk at a time (`chunks`), and all examples in order, one block at a time (`blocks`).
"""

import sys
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from xpnet.backends.base import Place
from xpnet.core.arrays import map_arrays, select
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import PlacedScaling, Scaling, ScalingInParts
from xpnet.data._scaling import place_scaling, scale_inputs, scale_slopes, scale_targets
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, cut_rows, split_into_chunks

__all__ = [
    "Chunk",
    "Countable",
    "Resident",
    "Rows",
    "Source",
    "identify",
    "make_bar",
    "scale_examples",
    "skip_steps",
    "take_rows",
    "weight_on_host",
    "with_bar",
]

BAR_DELAY_SECONDS = 0.5  # before a bar appears for something that may not take long


class Chunk(NamedTuple):
    """Several minibatches of one size: examples on the device, and the indices of those that each step takes."""

    examples: Examples
    weight: np.ndarray | None  # (n,), those of the examples, on the host
    index: np.ndarray  # (steps, m) int32, on the host
    scaling: Scaling | ScalingInParts | None = None  # still to be applied to the minibatches
    lr: np.ndarray = np.zeros(0)  # (steps,), the learning rates; the training loop adds them
    size: int = 0  # examples in a minibatch, also added there: a process that shares minibatches has a part in `index`


def weight_on_host(examples: Examples, place: Place) -> np.ndarray | None:
    """Return the weights of examples in a NumPy array, if they have any. Synchronizes."""
    if examples.weight is None:
        return None
    with place.scope():
        return place.backend.to_numpy(examples.weight)


def identify(examples: Examples) -> tuple[int, ...]:
    """Return what is equal for examples that share their arrays; their weights may differ.

    Examples
    --------
    >>> x, y, weight = np.eye(2), np.ones(2), np.ones(2)
    >>> a, b, c = map(identify, (Examples(x, y), Examples(x, y, weight), Examples(y, y)))
    >>> a == b, a == c
    (True, False)
    """
    return id(examples.x), id(examples.y), id(examples.slopes)


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

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the minibatches of one epoch, at most `most` of them in a chunk.

        They are stacks of indices, (steps, m); a source whose batches come as they are needs none. The more `networks`
        hold a chunk at the same time, the less each may read into memory.
        """
        ...

    def name_order(self, sampling: Sampling) -> str:
        """Name the order of its minibatches, for the provenance of a network."""
        ...

    def skip_epochs(self, epochs: int) -> None:
        """Skip the minibatches of whole epochs, if an epoch begins where the last one ended."""
        ...

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over all examples in order, in blocks sized for `width` values per row."""
        ...

    def scaled(self, scaling: PlacedScaling) -> "Source":
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

    def name_order(self, sampling: Sampling) -> str:
        """Name the order of the minibatches: that in which they are drawn."""
        return sampling.name

    def skip_epochs(self, epochs: int) -> None:
        """Do nothing: each epoch begins with the first example."""


@dataclass(frozen=True, eq=False)
class Resident(Countable):
    """Examples that stay on the device from the first epoch to the last."""

    examples: Examples
    reader: Reader

    def __len__(self) -> int:
        """Count the examples."""
        return self.examples.y.shape[0]

    @cached_property
    def weight(self) -> np.ndarray | None:
        """The weights of the examples on the host, if they have any. Synchronizes."""
        return weight_on_host(self.examples, self.reader.place)

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the minibatches of one epoch."""
        for index in minibatches:
            for part in split_into_chunks(index, most):
                yield Chunk(self.examples, self.weight, part)

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

    def scaled(self, scaling: PlacedScaling) -> "Resident":
        """Scale the examples."""
        return Resident(
            scale_examples(self.examples, scaling, self.reader.place), self.reader._replace(scaling=scaling)
        )

    def find_overwritten(self) -> str | None:
        """Name a number that has become NaN or infinite since it was read: arrays may share the user's memory."""
        with self.reader.scope():
            arrays = {"X": self.examples.x, "y": self.examples.y, "slopes": self.examples.slopes}
            for name, array in ((name, x) for name, x in arrays.items() if x is not None and x.ndim > 1):
                if (place := self.reader.place.find_not_finite(array)) is not None:
                    return f"row {place[0]}, column {place[1]} of {name}"
        return None

    @property
    def is_wide(self) -> bool:
        """Whether some numbers are still unscaled, because the dtype would round them."""
        x, y, place = self.examples.x, self.examples.y, self.reader.place
        return place.is_wide(x) or (y.ndim > 1 and place.is_wide(y))


@dataclass(frozen=True, eq=False)
class Rows(Countable):
    """Some rows of a source whose examples are shared; a row may occur several times.

    Shared examples are not scaled in place: a scaling is applied to each block, and to each minibatch when it is
    gathered. If the examples are scaled already, only the difference between the two scalings is applied.
    """

    source: Resident
    rows: np.ndarray  # (n,) int32, on the host
    scaling: PlacedScaling | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    @property
    def examples(self) -> Examples:
        """The examples of the source, all rows included."""
        return self.source.examples

    @property
    def weight(self) -> np.ndarray | None:
        """The weights of these rows on the host, if they have any. Synchronizes."""
        return None if self.source.weight is None else self.source.weight[self.rows]

    @property
    def reader(self) -> Reader:
        """The reader of the source, with the scaling."""
        reader = self.source.reader
        return reader if self.scaling is None else reader._replace(scaling=self.scaling)

    @cached_property
    def remaining(self) -> Scaling | ScalingInParts | None:
        """The scaling that the examples of the source still need, on the device."""
        before = self.source.reader.scaling
        if self.scaling is None or before is None:
            return None if self.scaling is None else self.scaling.in_dtype
        reader = self.source.reader
        return place_scaling(self.scaling.exact.after(before.exact), reader.model, reader.place).in_dtype

    def chunks(self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1) -> Iterator[Chunk]:
        """Take the minibatches of one epoch."""
        for index in minibatches:
            for part in split_into_chunks(index, most):
                yield Chunk(self.source.examples, self.source.weight, self.rows[part], self.remaining)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over the rows in order."""
        for part in cut_rows(len(self), width):
            block, scaling = take_rows(self.source, self.rows[part]).examples, self.remaining
            if scaling is not None:
                with self.source.reader.scope():
                    block = block._replace(x=scaling.inputs(block.x), y=scaling.targets(block.y))
            yield block

    def scaled(self, scaling: PlacedScaling) -> "Rows | Resident":
        """Return the same rows, scaled; if the dtype would round the numbers, a scaled copy of these rows."""
        if self.source.is_wide:
            return take_rows(self.source, self.rows).scaled(scaling)
        return replace(self, scaling=scaling)


def scale_examples(examples: Examples, scaling: PlacedScaling, place: Place) -> Examples:
    """Scale inputs, targets and slopes."""
    x, y = scale_inputs(examples.x, scaling, place), scale_targets(examples.y, scaling, place)
    return Examples(x, y, examples.weight, scale_slopes(examples.slopes, scaling, place))


def take_rows(source: Resident, index: np.ndarray) -> Resident:
    """Take some of a source's examples, by index."""
    place = source.reader.place
    return Resident(map_arrays(lambda column: place.take(column, index), source.examples), source.reader)


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
