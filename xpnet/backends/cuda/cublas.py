"""Matrix products with cuBLAS, on handles of our own, because CuPy's handle cannot be used while a graph is captured.

cuBLAS stores matrices column by column, CuPy row by row. Read in the other order, a matrix is its transpose, so the
product C = A B is computed as Cᵀ = Bᵀ Aᵀ.
"""

import ctypes
import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from xpnet.core.arrays import Native

# By dtype: numbers of cudaDataType_t and cublasComputeType_t, and the C type of the factors alpha and beta
CUBLAS_TYPES: dict[str, tuple[int, int, Any]] = {
    **{"float32": (0, 68, ctypes.c_float), "float64": (1, 70, ctypes.c_double)},
}
COMPUTE_TF32 = 77
DEFAULT_ALGORITHM = -1
HOPPER = 90  # compute capability from which NVIDIA recommends the larger workspace
WORKSPACE_BYTES, WORKSPACE_BYTES_ON_HOPPER = 4 << 20, 32 << 20


def can_multiply(x: Native, y: Native) -> bool:
    """Whether `multiply` takes these arrays: matrices or stacks of them that fit, of one dtype, none of them empty."""
    if min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-2]:
        return False
    return x.dtype == y.dtype and x.dtype.name in CUBLAS_TYPES and x.size > 0 and y.size > 0


def multiply(x: Native, y: Native, out: Native | None = None) -> Native:
    """Multiply matrices, or stacks of matrices that broadcast, on the current stream.

    Parameters
    ----------
    x, y
        The factors, (..., m, k) and (..., k, n), in any memory layout. A factor that cuBLAS cannot read is copied.
    out
        Native for the product, (..., m, n), with contiguous rows; None makes a new one.
    """
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = cupy.empty((*stack, x.shape[-2], y.shape[-1]), x.dtype) if out is None else out
    data_type, compute_type, number = CUBLAS_TYPES[x.dtype.name]
    if x.dtype.name == "float32" and os.environ.get("CUPY_TF32") == "1":  # as in CuPy's own products
        compute_type = COMPUTE_TF32
    first, second, product = _make_operand(y, stack), _make_operand(x, stack), _make_operand(out, stack)
    sizes = y.shape[-1], x.shape[-2], x.shape[-1]
    handle, one, zero = _current_handle().pointer, ctypes.byref(number(1)), ctypes.byref(number(0))
    if not stack:
        factors = (*first.arguments(data_type), *second.arguments(data_type))
        result = zero, *product.arguments(data_type), compute_type, DEFAULT_ALGORITHM
        _call("cublasGemmEx", handle, first.transposed, second.transposed, *sizes, one, *factors, *result)
        return out
    factors = (*first.arguments(data_type, True), *second.arguments(data_type, True))
    result = zero, *product.arguments(data_type, True), math.prod(stack), compute_type, DEFAULT_ALGORITHM
    _call("cublasGemmStridedBatchedEx", handle, first.transposed, second.transposed, *sizes, one, *factors, *result)
    return out


class Operand(NamedTuple):
    """A matrix, or a stack of them, as cuBLAS reads it."""

    array: Native
    transposed: int  # 1 if the columns, not the rows, are contiguous
    row_step: int  # distance of the rows, or columns, in elements
    matrix_step: int  # distance of the matrices of a stack

    def arguments(self, data_type: int, stacked: bool = False) -> tuple[Any, ...]:
        """Return the pointer, data type and leading dimension, and for a stack the distance of its matrices."""
        step = (ctypes.c_longlong(self.matrix_step),) if stacked else ()
        return ctypes.c_void_p(self.array.data.ptr), data_type, self.row_step, *step


def _make_operand(x: Native, stack: Sequence[int]) -> Operand:
    """Make the operand of a matrix or stack of them, broadcast to another stack; copy what cuBLAS cannot read."""
    (m, n), size = x.shape[-2:], x.itemsize
    if x.shape[:-2] != tuple(stack):
        x = cupy.broadcast_to(x, (*stack, m, n))
    x = x.reshape(-1, m, n) if stack else x[None, ...]  # copies if the distances between matrices differ
    rows, columns = x.strides[-2:]
    if (columns == size or n == 1) and (rows >= n * size or m == 1):
        return Operand(x, 0, rows // size if m > 1 else n, x.strides[0] // size)
    if (rows == size or m == 1) and (columns >= m * size or n == 1):
        return Operand(x, 1, columns // size if n > 1 else m, x.strides[0] // size)
    return _make_operand(cupy.ascontiguousarray(x[0] if not stack else x.reshape(*stack, m, n)), stack)


class Handle:
    """A cuBLAS handle with its own workspace; without one, a captured product would allocate memory."""

    def __init__(self) -> None:
        self.pointer = ctypes.c_void_p()
        self.stream: Any = None  # of the last product
        _call("cublasCreate_v2", ctypes.byref(self.pointer))
        is_hopper = int(cupy.cuda.Device().compute_capability) >= HOPPER
        size = WORKSPACE_BYTES_ON_HOPPER if is_hopper else WORKSPACE_BYTES
        try:
            self.workspace = cupy.cuda.Memory(size)
        except cupy.cuda.memory.OutOfMemoryError:
            cupy.get_default_memory_pool().free_all_blocks()
            self.workspace = cupy.cuda.Memory(size)

    def use(self, stream: Any) -> None:
        """Multiply on this stream from now on, after all earlier products, because they use the same workspace."""
        if self.stream is not None and self.stream.ptr == stream.ptr:
            return
        if self.stream is not None:
            stream.wait_event(self.stream.record())
        _call("cublasSetStream_v2", self.pointer, ctypes.c_void_p(stream.ptr))  # this resets the workspace
        workspace = ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(self.workspace.size)
        _call("cublasSetWorkspace_v2", self.pointer, *workspace)
        self.stream = stream


class Handles:
    """The handles of a thread: for each device, one for direct products and one for captured products."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, bool], Handle] = {}
        self.capturing: Handle | None = None  # replaces the one for direct products while a graph is captured

    def find(self, captures: bool) -> Handle:
        """Return the handle for the current device."""
        key = cupy.cuda.runtime.getDevice(), captures
        if key not in self.held:
            unused = _UNUSED[key]
            handle = self.held[key] = unused.pop() if unused else Handle()
            if captures and handle.stream is None:
                handle.use(cupy.cuda.Stream(non_blocking=True))
        return self.held[key]

    def __del__(self) -> None:
        """Keep the handles for other threads when this one ends: destroying one would disturb their captures."""
        for key, handle in self.held.items():
            _UNUSED[key].append(handle)


_LOCAL = threading.local()
_UNUSED: dict[tuple[int, bool], list[Handle]] = defaultdict(list)


def _thread_handles() -> Handles:
    if not hasattr(_LOCAL, "handles"):
        _LOCAL.handles = Handles()
    return _LOCAL.handles


def _current_handle() -> Handle:
    handles = _thread_handles()
    if handles.capturing is not None:
        return handles.capturing
    handle = handles.find(captures=False)
    handle.use(cupy.cuda.get_current_stream())
    return handle


@contextmanager
def capturing() -> Iterator[Handle]:
    """Enter the stream on which this thread captures, and use its handle for products.

    All graphs of a thread share the workspace of this handle. They run one after another, because training waits for
    the end of each chunk.
    """
    handles = _thread_handles()
    handle = handles.find(captures=True)
    handles.capturing = handle
    try:
        with handle.stream:
            yield handle
    finally:
        handles.capturing = None


@cache
def load_library() -> Any:
    """Load cuBLAS; CuPy finds it with the same package."""
    from cuda import pathfinder

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def _call(name: str, *args: Any) -> None:
    status = getattr(load_library(), name)(*args)
    if status:
        raise RuntimeError(f"{name} failed with status {status}")
