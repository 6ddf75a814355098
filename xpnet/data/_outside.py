"""Inputs that stay where they are, beyond memory or sparse: their rows are read when they are needed."""

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet.backends import find_free_memory
from xpnet.backends.base import as_array, host_array
from xpnet.core.arrays import Array, blocks
from xpnet.data.conversion import count_input_bytes, find_map, is_arrow_table, refuse_masks_and_units, stays_outside
from xpnet.data.reader import Reader
from xpnet.data.sampling import cut_rows

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
    """Check inputs of any kind, and move them to the device, in blocks sized for `width` values per row. Synchronizes.

    Only inputs that stay outside are read block by block.
    """
    n_done = 0
    if not stays_outside(x) or stays_in_place(x, reader):
        x = reader.move_inputs(x, name)
        for block in blocks(x, width):
            row_numbers = range(n_done, x.shape[0]) if n_done else None  # for messages
            yield reader.finish_inputs(block, name, row_numbers)  # the block is still cached
            n_done += block.shape[0]
        return
    inputs = as_host_rows(x)
    reader.check_names(inputs.inputs, name)
    reader.check_shape(inputs, name)
    for part in cut_rows(len(inputs), width):
        yield reader.read_inputs(inputs[part], name, range(part.start, part.stop))
        reader = reader._replace(warns=False)
