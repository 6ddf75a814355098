"""Inputs that stay where they are, beyond memory or sparse: their rows are read when they are needed.

While a network trains on one chunk, a thread gathers the next one. Targets and weights are small, and are kept on the
device.
"""

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from xpnet._checks import check_lengths
from xpnet.backends import Workers, find_free_memory
from xpnet.backends.base import as_array, host_array
from xpnet.core.arrays import Array, cut_rows, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.data._scaling import PlacedScaling
from xpnet.data.conversion import count_input_bytes, find_map, is_arrow_table, refuse_masks_and_units, stays_outside
from xpnet.data.reader import Reader, name_part
from xpnet.data.sampling import in_order
from xpnet.data.source import Chunk, Stored

LARGE_SHARE = 0.5  # of the free memory: larger files are not kept in memory by the system once they have been read


@dataclass(frozen=True, eq=False)
class HostRows:
    """Rows of inputs that stay where they are on the host, read when they are needed.

    Parameters
    ----------
    inputs
        A NumPy array that is a memory map; any object with `shape`, `dtype` and an index of rows; an Arrow table; or a
        sparse matrix, whose rows become dense.
    rows
        The numbers of the rows; None for all.
    own_dtype
        The dtype of the rows that are read; None for that of the inputs.

    Examples
    --------
    >>> rows = HostRows(np.arange(8).reshape(4, 2)).take(np.array([3, 1, 0]))
    >>> rows.shape, rows[1:].tolist(), rows.read(np.array([2, 0])).tolist()
    ((3, 2), [[2, 3], [0, 1]], [[0, 1], [6, 7]])
    """

    inputs: Any
    rows: np.ndarray | None = None
    own_dtype: Any = None
    stays_outside: ClassVar[bool] = True  # whatever its size

    def __len__(self) -> int:
        """Count the rows."""
        return self.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        n, *others = self.inputs.shape
        return int(n if self.rows is None else len(self.rows)), *map(int, others)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows that are read."""
        return self[:1].dtype

    def take(self, index: np.ndarray) -> "HostRows":
        """Take some of the rows, by their numbers, without reading them."""
        return replace(self, rows=self.number(index))

    def number(self, index: np.ndarray) -> np.ndarray:
        """Return the numbers that these rows have in the inputs."""
        return index if self.rows is None else self.rows[index]

    def read(self, index: np.ndarray) -> np.ndarray:
        """Read some of the rows, by their numbers, into memory."""
        block = _read_rows(self.inputs, self.number(index))
        return block if self.own_dtype is None else block.astype(self.own_dtype, copy=False)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read the rows that an index of the first axis selects."""
        return self.read(np.arange(len(self))[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all rows."""
        return np.asarray(self[:], dtype)


def as_host_rows(x: Any) -> HostRows:
    """Return inputs that stay outside as rows."""
    return x if isinstance(x, HostRows) else HostRows(x)


def _read_rows(inputs: Any, index: np.ndarray) -> np.ndarray:
    if isinstance(inputs, np.ndarray):
        return inputs.take(index, axis=0)
    if hasattr(inputs, "toarray"):
        return inputs[index].toarray()
    rows, places = np.unique(index, return_inverse=True)  # HDF5 takes nothing else
    if is_arrow_table(inputs):
        block = inputs.take(rows)
    else:
        first, after_last = int(rows[0]), int(rows[-1]) + 1
        block = inputs[slice(first, after_last) if after_last - first == len(rows) else rows]
    refuse_masks_and_units(block, "X")
    return host_array(as_array(block, "X"))[places]


def stays_in_place(x: Any, reader: Reader) -> bool:
    """Tell whether a network computes with a memory map as it is."""
    if not isinstance(x, np.ndarray) or reader.backend.array_type is not np.ndarray:
        return False
    if reader.keeps_digits or reader.scaling is not None or not (x.ndim == 2 or x.flags.c_contiguous):
        return False
    fits = x.dtype == reader.dtype or (x.dtype == np.uint8 and reader.model.scale is not None)
    return bool(fits) and not exceeds_memory(x)


# Reading them


def exceeds_memory(inputs: Any) -> bool:
    """Tell whether the system cannot keep these inputs in memory once they have been read."""
    free = find_free_memory()
    return free is not None and count_input_bytes(inputs) > LARGE_SHARE * free


@contextmanager
def reading_at_random(inputs: Any) -> Iterator[Callable[[np.ndarray], None] | None]:
    """Let the system read single rows of a memory map, not whole neighbourhoods, where it exceeds the free memory.

    Yields a function that asks for rows, by their numbers; the disk then reads many at once. None if there is no use.
    """
    file = find_map(inputs) if hasattr(mmap, "MADV_RANDOM") else None
    if file is None or not inputs[:1].flags.c_contiguous or inputs.strides[0] <= 0 or not exceeds_memory(inputs):
        yield None
        return
    begin, size = inputs.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data, inputs[:1].nbytes

    def ask_for(index: np.ndarray) -> None:
        starts = begin + np.sort(index).astype(np.int64) * inputs.strides[0]
        for start, stop in zip((starts & -mmap.PAGESIZE).tolist(), (starts + size).tolist()):
            file.madvise(mmap.MADV_WILLNEED, start, stop - start)

    file.madvise(mmap.MADV_RANDOM)
    try:
        yield ask_for
    finally:
        file.madvise(mmap.MADV_NORMAL)


def read_in_blocks(x: Any, name: str, width: int, reader: Reader) -> Iterator[Array]:
    """Check inputs, arrays or such that stay outside, and move them to the device, as `Reader.read_inputs` does.

    This is done in blocks sized for `width` values per row.
    """
    if stays_outside(x) and not stays_in_place(x, reader):
        x = as_host_rows(x)
        reader.check_names(x.inputs, name)
    elif x.ndim < 2 or x.shape[0] <= rows_per_block(width):  # fast path: predicting one example takes microseconds
        yield reader.read_inputs(x, name)
        return
    else:
        reader.warn_of_bytes(x, name)
        reader = reader._replace(warns=False)
    reader.check_shape(x, name)
    for part in cut_rows(x.shape[0], width):
        yield reader.read_inputs(x[part, ...], name, range(part.start, part.stop))
        reader = reader._replace(warns=False)


# The source of such inputs


ROWS_TO_CHECK = 1024  # before training; the others are checked when they are read

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Gathered(Stored):
    """Examples whose inputs stay where they are on the host: ``examples.x`` are `HostRows`.

    Parameters
    ----------
    reader, examples, rows
        As in `Stored`. The reader checks the inputs, moves them to the device and scales them.
    name
        The name of the inputs in errors.
    """

    name: str = "X"
    chunks_held = 6  # one that is trained on, the next one, and copies on their way to the device

    @property
    def inputs(self) -> HostRows:
        """The inputs of all examples."""
        inputs: Any = self.examples.x
        return inputs

    def read(self, index: np.ndarray) -> Examples:
        """Gather some rows and move them to the device."""
        return self._move(index, self.inputs.read(self.number(index)))

    def take_chunks(self, parts: Iterator[np.ndarray], is_alone: bool) -> Iterator[Chunk]:
        """Gather chunks of minibatches; for a lone network, a thread gathers one ahead.

        For a device, it only gathers, for another thread must not use the device while a step is recorded there.
        """
        at_once = self.reader.backend.on_host
        with reading_at_random(self.inputs.inputs) as ask_for:

            def gather(part: np.ndarray) -> Any:
                index = part.ravel()
                if ask_for is not None:
                    ask_for(self.inputs.number(self.number(index)))
                return self.read(index) if at_once else self.inputs.read(self.number(index))

            for part, rows in read_ahead(gather, parts) if is_alone else ((part, gather(part)) for part in parts):
                yield Chunk(rows if at_once else self._move(part.ravel(), rows), in_order(part.shape))

    def scaled(self, scaling: PlacedScaling) -> "Gathered":
        """Return the same rows with scaled targets, and a reader that scales the inputs."""
        y, slopes = scaling.targets(self.examples.y), scaling.slopes(self.examples.slopes)
        return replace(super().scaled(scaling), examples=self.examples._replace(y=y, slopes=slopes))

    def _move(self, index: np.ndarray, block: np.ndarray) -> Examples:
        with self.reader.scope():
            x = self.reader.read_inputs(block, self.name, self.inputs.number(self.number(index)))
        return self.take_columns(index, self.examples._replace(x=None))._replace(x=x)


def read_ahead(read: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[tuple[Part, Result]]:
    """Read parts in a thread, each while the one before is used.

    Examples
    --------
    >>> list(read_ahead(abs, [-1, -2]))
    [(-1, 1), (-2, 2)]
    """
    waiting = deque[tuple[Part, Callable[[], Result]]]()
    with closing(Workers(1)) as workers:
        for part in parts:
            waiting.append((part, workers.start(read, part)))
            if len(waiting) > 1:
                before, wait = waiting.popleft()
                yield before, wait()
        for before, wait in waiting:
            yield before, wait()


def gather_examples(x: Any, y: Any, name: str, reader: Reader) -> Gathered:
    """Make a source of inputs that stay outside, and their targets; the first are checked before training begins."""
    x_name, y_name = name_part("X", name), name_part("y", name)
    y, inputs = reader.read_targets(y, y_name), as_host_rows(x)
    columns: Any = inputs, y, reader.weigh_classes(y)
    check_lengths(x_name, len(inputs), y_name, y.shape[0])
    reader.check_names(inputs.inputs, x_name)
    reader.check_shape(inputs, x_name)
    source = Gathered(reader, Examples(*columns), name=x_name)
    n = min(len(source), ROWS_TO_CHECK, rows_per_block(reader.model.n_in))
    source.read(np.arange(n, dtype=np.int32))
    return replace(source, reader=reader._replace(warns=False))
