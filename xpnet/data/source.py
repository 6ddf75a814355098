"""Sources of examples, the chunks of minibatches that they give, and examples that stay on the device.

Every source answers the same questions: how many minibatches an epoch has (`steps`), the minibatches to train on, one
chunk at a time (`chunks`), and all examples in order, one block at a time (`blocks`).
"""

import hashlib
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from xpnet.backends import to_host
from xpnet.core.arrays import BLOCK_ELEMENTS, blocks, cut_rows, map_arrays, rows_per_block, select
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import Scaling, compute_scaling
from xpnet.data._scaling import PlacedScaling, place_scaling
from xpnet.data._weights import check_some_weight
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling, in_order, leave_out_weightless, split_into_chunks
from xpnet.errors import ArgumentError

__all__ = [
    "Chunk",
    "Resident",
    "Source",
    "Stored",
    "digest_arrays",
    "fingerprint_arrays",
    "identify",
    "make_bar",
    "skip_steps",
]

MAX_BLOCKS_READ = 16  # by all networks together, before training on them
BAR_DELAY_SECONDS = 0.5  # before a bar appears for something that may not take long

AnySource = TypeVar("AnySource", bound="Source")
AnyStored = TypeVar("AnyStored", bound="Stored")


class Chunk(NamedTuple):
    """Several minibatches of one size: examples on the device, and the indices of those that each step takes."""

    examples: Examples
    index: np.ndarray  # (steps, m) int32, on the host
    scaling: Scaling | None = None  # still to be applied to the minibatches
    lr: np.ndarray = np.zeros(0)  # (steps,), the learning rates; the training loop adds them
    size: int = 0  # examples in a minibatch, also added there: a process that shares minibatches has a part in `index`


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


@dataclass(frozen=True, eq=False)
class Source:
    """Where examples come from. Scaling a source returns a new one.

    Unless a subclass says otherwise, it has a length, each epoch begins with the first example, and examples are moved
    to the device when they are needed.

    Parameters
    ----------
    reader
        The reader that moved, or will move, its examples to the device.
    """

    reader: Reader
    has_length: ClassVar[bool] = True
    most_examples: ClassVar[int] = BLOCK_ELEMENTS  # to read before training on them
    chunks_held: ClassVar[int] = 1  # in memory at the same time, which share a block

    def __len__(self) -> int:
        """Count the examples, if the source has a length."""
        raise NotImplementedError

    def steps(self, sampling: Sampling, batch_size: int) -> int | None:
        """Number of minibatches of an epoch; None if it is not known in advance."""
        return sampling.steps(len(self), batch_size)

    def batch_size(self, batch_size: int) -> int:
        """Number of examples in a minibatch, if the user asks for `batch_size`."""
        return min(batch_size, len(self))

    def name_order(self, sampling: Sampling) -> str:
        """Name the order of its minibatches, for the provenance of a network."""
        return sampling.name

    def adapt(self, sampling: Sampling) -> Sampling:
        """Return the sampling for a training on this source; refuse a source whose examples all have no weight."""
        return sampling

    def begin(self: AnySource) -> AnySource:
        """Return the source for a training of its own, of one network or several in step."""
        return self

    def chunks(
        self, minibatches: Iterable[np.ndarray], most: int, networks: int = 1, epoch: int = 1
    ) -> Iterator[Chunk]:
        """Take the minibatches of one epoch, by its number, at most `most` of them in a chunk.

        They are stacks of indices, (steps, m); a source whose batches come as they are needs none. The more `networks`
        hold a chunk at the same time, the less each may read into memory.
        """
        parts = (
            part
            for index in minibatches
            for part in split_into_chunks(index, min(most, self.most_steps(index.shape[1], networks)))
        )
        return self.take_chunks(parts, networks == 1)

    def most_steps(self, size: int, networks: int = 1) -> int:
        """Count the minibatches of a size that fit into one block, and have at most `most_examples`; at least one.

        Many networks share a few blocks; so do the chunks of one network that are held.
        """
        width = size * self.reader.model.n_in * max(self.chunks_held, math.ceil(networks / MAX_BLOCKS_READ))
        return max(1, min(rows_per_block(width), self.most_examples // size))

    def read(self, index: np.ndarray) -> Examples:
        """Move some of the examples to the device."""
        raise NotImplementedError

    def take_chunks(self, parts: Iterator[np.ndarray], is_alone: bool) -> Iterator[Chunk]:
        """Take chunks of minibatches, of one network alone or of several."""
        for part in parts:
            yield Chunk(self.read(part.ravel()), in_order(part.shape))

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over all examples in order, in blocks sized for `width` values per row, weights on the device."""
        for part in cut_rows(len(self), width):
            yield self.reader.move_weight(self.read(np.arange(part.start, part.stop, dtype=np.int32)))

    def scaled(self: AnySource, scaling: PlacedScaling) -> AnySource:
        """Return the same source with its examples scaled."""
        return replace(self, reader=self.reader._replace(scaling=scaling))

    def fit_scaling(self, progress: bool = False) -> PlacedScaling:
        """Fit a scaling to the examples; with a bar if it takes a noticeable time. Synchronizes."""
        self.check_repeatable("standardize=True")
        reader = self.reader
        with reader.scope():
            examples = self.blocks(4 * reader.model.n_in)
            examples = _with_bar(examples, "Standardizing train_data", self) if progress else examples
            scaling = compute_scaling(examples, reader.model.scales_targets, reader.place.moments)
            return place_scaling(scaling, reader.model, reader.place)

    def check_repeatable(self, argument: str) -> None:
        """Refuse a source that can be iterated over only once, if an argument needs another pass besides training."""

    def require_stored(self, argument: str, data: str = "train_data") -> "Stored":
        """Return the source, if it has all examples beforehand, which `argument` needs; `data` is its name."""
        cache = " with cache=True" if data == "train_data" else ""
        raise ArgumentError(
            f"{argument} needs all examples beforehand; give {data} as arrays, as pairs, or as a data set{cache}"
        )

    def fingerprint(self) -> dict[str, Any]:
        """Describe the examples, before they are scaled, by a few plain values. Synchronizes.

        Arrays, in memory or outside, have a digest of their numbers, which is the same on every backend. A data set
        that is read again each epoch is described by its length, and an iterable of batches by the size of its first
        batch: reading them may give other examples each time.
        """
        return {"examples": len(self)}


@dataclass(frozen=True, eq=False)
class Stored(Source):
    """Some rows of examples whose targets and slopes are on the device, and may be shared by others.

    Parameters
    ----------
    reader
        The reader that moved them.
    examples
        All of them.
    rows
        The numbers (n,) int32 of the rows, on the host; one may occur several times. None: all.
    """

    examples: Examples
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return self.examples.y.shape[0] if self.rows is None else len(self.rows)

    @property
    def weight(self) -> np.ndarray | None:
        """The weights of these rows, if they have any."""
        weight = self.examples.weight
        return weight if weight is None or self.rows is None else weight[self.rows]

    def read_targets(self) -> np.ndarray:
        """Return the targets of these rows, on the host. Synchronizes."""
        with self.reader.scope():
            y = to_host(self.examples.y)  # where they are already, if they are to be scaled
        return y[... if self.rows is None else self.rows]

    def number(self, index: np.ndarray) -> np.ndarray:
        """Return the numbers that some of these rows have among the examples."""
        return index if self.rows is None else self.rows[index]

    def take(self: AnyStored, index: np.ndarray) -> AnyStored:
        """Take some of the rows, by their numbers, and share the examples."""
        return replace(self, rows=self.number(index))

    def with_weight(self: AnyStored, weight: Any) -> AnyStored:
        """Replace the weights of all examples by others, (n,) on the host, or None."""
        return replace(self, examples=self.examples._replace(weight=weight))

    def weigh(self: AnyStored, weight: Any) -> AnyStored:
        """Multiply the weights of all examples by others, (n,)."""
        before = self.examples.weight
        return self.with_weight(weight if before is None else weight * before)

    def adapt(self, sampling: Sampling) -> Sampling:
        """Draw no examples without weight, if the sampling draws with replacement."""
        weight = self.weight
        if weight is None:
            return sampling
        check_some_weight(float(np.max(weight)), "train_data")
        return leave_out_weightless(sampling, weight)

    def require_stored(self: AnyStored, argument: str, data: str = "train_data") -> AnyStored:
        """Return itself."""
        return self

    def fingerprint(self) -> dict[str, Any]:
        """Describe the rows by their number and a digest. Synchronizes."""
        return {"examples": len(self), "digest": digest_arrays(self._list_numbers())}

    def _list_numbers(self) -> Iterator[np.ndarray]:
        """Iterate over all inputs, targets and slopes of these rows on the host, block by block."""
        home = self.reader.place.home
        for block in self.blocks(self.reader.model.n_in):
            with self.reader.scope():
                columns = [column for column in (block.x, block.y, block.slopes) if column is not None]
                numbers = [np.asarray(home(column).to_numpy(column)) for column in columns]
            yield from numbers

    def take_columns(self, index: np.ndarray, examples: Examples) -> Examples:
        """Copy some of these rows of all columns."""
        rows = self.number(index)
        return map_arrays(lambda column: self.reader.place.take(column, rows), examples)


@dataclass(frozen=True, eq=False)
class Resident(Stored):
    """Examples that stay on the device from the first epoch to the last.

    Parameters
    ----------
    reader, examples, rows
        As in `Stored`.
    remaining
        The scaling that the examples still need: it is applied to each block, and to each minibatch when it is
        gathered, as other networks that share the examples have other scalings.
    """

    remaining: Scaling | None = None

    def most_steps(self, size: int, networks: int = 1) -> int:
        """Count none: nothing is read."""
        return sys.maxsize

    def take_chunks(self, parts: Iterator[np.ndarray], is_alone: bool) -> Iterator[Chunk]:
        """Take chunks of minibatches: all examples, and indices."""
        for part in parts:
            yield Chunk(self.examples, self.number(part), self.remaining)

    def blocks(self, width: int) -> Iterator[Examples]:
        """Iterate over the rows in order."""
        parts = list(cut_rows(len(self), width))
        for part in parts:
            with self.reader.scope():
                if self.rows is not None:
                    block = self.take_columns(np.arange(part.start, part.stop), self.examples)
                else:
                    block = self.examples if len(parts) == 1 else select(self.examples, part)
                if (scaling := self.remaining) is not None:
                    block = block._replace(x=scaling.inputs(block.x), y=scaling.targets(block.y))
            yield self.reader.move_weight(block)

    def copied(self) -> "Resident":
        """Copy the rows, which makes them faster to read."""
        return Resident(self.reader, self.take_columns(np.arange(len(self)), self.examples))

    def scaled(self, scaling: PlacedScaling) -> "Resident":
        """Scale the examples."""
        return self.replace_scaled(scaling.examples(self.examples), scaling)

    def replace_scaled(
        self, examples: Examples, scaling: PlacedScaling, remaining: Scaling | None = None
    ) -> "Resident":
        """Replace the examples by scaled ones, with the same weights."""
        examples = examples._replace(weight=self.examples.weight)
        return Resident(self.reader._replace(scaling=scaling), examples, self.rows, remaining)

    @property
    def is_wide(self) -> bool:
        """Whether some numbers are still unscaled, because the dtype would round them."""
        x, y, place = self.examples.x, self.examples.y, self.reader.place
        return place.is_wide(x) or (y.ndim > 1 and place.is_wide(y))


def fingerprint_arrays(x: Any, targets: Any, *others: Any) -> dict[str, Any]:
    """Describe examples that nothing has read yet, also sparse ones, by a digest. Synchronizes.

    The others, such as weights, may be None.

    Examples
    --------
    >>> x, y = np.eye(3), np.arange(3.0)
    >>> a, b, c = (fingerprint_arrays(x, targets) for targets in (y, y.copy(), y + 1))
    >>> a == b, a == c
    (True, False)
    """
    inputs = [x.data, x.indices, x.indptr] if hasattr(x, "indptr") else [x]
    columns = [*inputs, targets, *(other for other in others if other is not None)]
    numbers = (np.asarray(to_host(block)) for column in columns for block in blocks(column))
    return {"examples": int(x.shape[0]), "digest": digest_arrays(numbers)}


def digest_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Compute a digest of the numbers in arrays, one after the other.

    Examples
    --------
    >>> digest_arrays([np.arange(4)]) == digest_arrays([np.arange(3), np.array([3])])
    True
    """
    result = hashlib.sha256()
    for array in arrays:
        result.update(array.tobytes())
    return result.hexdigest()


def skip_steps(chunks: Iterable[Chunk], steps: int) -> Iterator[Chunk]:
    """Skip the first minibatches of an epoch.

    Examples
    --------
    >>> chunks = [Chunk(None, np.array([[1], [2], [3]])), Chunk(None, np.array([[4]]))]
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


def _with_bar(blocks: Iterator[Examples], label: str, source: Source) -> Iterator[Examples]:
    """Iterate over the blocks of a source, with a bar on standard error if that takes a noticeable time."""
    total = len(source) if source.has_length else None
    with make_bar(
        total=total, desc=label, unit="example", delay=BAR_DELAY_SECONDS, leave=False, dynamic_ncols=True
    ) as bar:
        for block in blocks:
            yield block
            bar.update(block.y.shape[0])
