"""Place: where a network computes, and in which dtype; and where arrays lie that are not rounded to it yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import get_backend
from xpnet.backends.base import Backend, host_array, on_host, precision
from xpnet.core.arrays import Array, blocks
from xpnet.core.scaling import Moments, moments

WIDE_DTYPES = {
    "float64",
    "float96",
    "float128",
    "int32",
    "int64",
    "uint32",
    "uint64",
}  # dtypes that float32 would round
WIDE_CODES = "dgiIlLqQ"  # the codes of the same dtypes in NumPy


class Place(NamedTuple):
    """Where a network computes, and in which dtype.

    Numbers that the dtype would round, and that are to be scaled first, keep their own dtype until then. They are
    called wide. Those on the host stay there, in NumPy arrays.
    """

    backend: Backend
    dtype: str

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.backend.scope(self.dtype)

    def is_wide(self, x: Array) -> bool:
        """Tell whether these are numbers, other than classes, that the network's dtype would round."""
        if self.dtype == "float64":
            return False
        return x.dtype.char in WIDE_CODES if isinstance(x, np.ndarray) else _name_dtype(x) in WIDE_DTYPES

    def home(self, x: Array) -> Backend:
        """Return the backend of an array that was read; unscaled numbers may still be in a NumPy array."""
        return self.backend if isinstance(x, self.backend.array_type) else get_backend("numpy")

    def move(self, x: Array, name: str) -> Array:
        """Move numbers to be scaled to the device; those on the host that the dtype would round stay there."""
        if not self.is_wide(x):
            return self.backend.asarray(x, self.dtype, name)
        if isinstance(x, np.ndarray):
            return x
        return host_array(x) if on_host(x) else self.backend.asarray(x, None, name)

    def arrange(self, x: Array) -> Array:
        """Bring rows into one order in memory, so that results do not depend on it; wide ones when they are scaled."""
        return x if self.is_wide(x) else self.home(x).make_contiguous(x)

    def find_not_finite(self, x: Array) -> tuple[int, int] | None:
        """Find row and place in the row of the first number that is not finite; None if all are. Synchronizes."""
        if self.home(x).all_finite([x]):
            return None
        xp, first = self.home(x).xp, 0
        for block in blocks(x):
            flags = xp.reshape(xp.astype(~xp.isfinite(block), xp.int32), (-1,))
            if int(xp.max(flags)):
                break
            first += block.shape[0]
        row, column = divmod(int(xp.argmax(flags)), math.prod(x.shape[1:]))
        return first + row, column

    def take(self, x: Array, index: np.ndarray) -> Array:
        """Take some of the rows of an array that was read."""
        home = self.home(x)
        with home.scope(precision(x)):
            return home.xp.take(x, home.asarray(index), axis=0)

    def concat(self, arrays: Sequence[Array]) -> Array:
        """Concatenate arrays that were read."""
        home = self.home(arrays[0])
        with home.scope(precision(arrays[0])):
            return home.xp.concat(list(arrays), axis=0)

    def moments(self, x: Array) -> Moments:
        """Compute the moments of columns that were read, as NumPy arrays. Synchronizes."""
        home, dtype = self.home(x), "float64" if self.is_wide(x) else self.dtype
        with home.scope(dtype):
            result = moments(home.make_contiguous(home.asarray(x, dtype)), home.xp)
            return Moments(result.n, *(home.to_numpy(array) for array in result[1:]))


def _name_dtype(x: Array) -> str:
    return str(x.dtype).rpartition(".")[2]
