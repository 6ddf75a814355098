"""NumPy's view of memory that CuPy holds."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np


def array_at(address: int, shape: Sequence[int], strides: Sequence[int], dtype: Any) -> np.ndarray:
    """Return an array over memory at an address; it does not keep the memory alive."""
    if 0 in shape:
        return np.empty(shape, dtype)
    first = last = 0
    for n, stride in zip(shape, strides, strict=True):
        if stride < 0:
            first += (n - 1) * stride
        else:
            last += (n - 1) * stride
    size = last - first + np.dtype(dtype).itemsize
    buffer = (ctypes.c_char * size).from_address(address + first)
    return np.ndarray(tuple(shape), dtype, buffer, -first, tuple(strides))
