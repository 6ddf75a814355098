"""CUDA graphs on CuPy, experimental: steps that the device runs by itself. No GPU has run them yet.

CuPy launches a kernel for each operation, and a launch takes longer than the arithmetic of a small network. So the
launches of some recorded steps are captured as a graph. CuPy refuses its own matrix product meanwhile, because cuBLAS
would allocate memory; a captured product has a handle with a workspace of its own.
"""

import ctypes
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import cupy
import numpy as np

from xpnet._checks import warn
from xpnet.backends.replay import NotRecordableError, Program, ReplayLoop, ShapeCase
from xpnet.core.arrays import Native, leaves, map_arrays, select

CHANGE_TOLERANCE = 1e-4  # relative to the change of an array
ROUNDING_TOLERANCE = 64  # units in the last place
# By dtype: numbers of cudaDataType_t and cublasComputeType_t, and the C type of the factors alpha and beta
CUBLAS_TYPES: dict[str, tuple[int, int, Any]] = {
    **{"float32": (0, 68, ctypes.c_float), "float64": (1, 70, ctypes.c_double)},
}
COMPUTE_TF32, DEFAULT_ALGORITHM = 77, -1
WORKSPACE_BYTES = 32 << 20  # as NVIDIA recommends for its larger GPUs


class GraphLoop(ReplayLoop):
    """Repeats a step by launching a graph of several steps; if the step cannot be captured, a plain loop runs it."""

    def _make_program(self, state: Any, batches: Any, data: Any, n_steps: int) -> Program:
        """Record the first step, and capture as many as the program has.

        The graph is checked: it must reach the state that a plain loop reaches. So a fault that appears only on some
        GPUs makes training slower, but no number wrong.
        """
        program = super()._make_program(state, batches, data, n_steps)
        graph = CapturedGraph([*program.preparation, *chain(*program.steps)])
        program.operations, program.engine = [graph], f"CUDA graph, {len(graph.launches) / n_steps:.3g} nodes a step"
        batches = select(batches, slice(n_steps))
        plain = self.repeat(map_arrays(self.backend.copy, state), batches, data)
        for _ in range(2):  # the second launch shows whether it depends on anything but the state
            program.begin(state, data[1])
            program.run(batches, data[0])
        if not agree(leaves(program.state), leaves(plain), leaves(state)):
            raise NotRecordableError("the captured graph gives other results on this device")
        return program

    def _refuse(self, case: ShapeCase, reason: str) -> None:
        super()._refuse(case, reason)
        message = f"the steps cannot run as a CUDA graph, and run in a plain loop, which is many times slower: {reason}"
        warn(message)


class CapturedGraph:
    """Captured launches: functions without arguments, which it keeps, because they hold the memory that it uses."""

    def __init__(self, launches: Sequence[Callable[[], Any]]) -> None:
        self.launches, self.handle = launches, find_handle(cupy.cuda.runtime.getDevice())
        pool = cupy.cuda.MemoryPool()  # its own, since every launch uses the same temporary memory
        with self.handle.lock, self.handle.stream as stream, cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            _CAPTURE.handle = self.handle
            try:
                for launch in launches:
                    launch()
            finally:
                _CAPTURE.handle = None
                self.graph = stream.end_capture()
        if pool.total_bytes():
            # Since CuPy 14.1, a deleted pool does not free its blocks; at exit, CuPy may already be unloaded
            weakref.finalize(self, _free_blocks, pool, cupy.cuda.Device()).atexit = False

    def __call__(self) -> None:
        """Launch the graph on the current stream, after all others, because they use the same workspace."""
        stream = cupy.cuda.get_current_stream()
        with self.handle.lock:
            if self.handle.last_launch is not None:
                stream.wait_event(self.handle.last_launch)
            self.graph.launch()
            self.handle.last_launch = stream.record()


def _free_blocks(pool: Any, device: Any) -> None:
    with device:
        pool.free_all_blocks()


def agree(results: Sequence[Native], expected: Sequence[Native], before: Sequence[Native]) -> bool:
    """Whether results differ from the expected ones only by rounding, relative to their change. Synchronizes."""
    for arrays in zip(results, expected, before):
        x, y, start = map(cupy.asnumpy, arrays)
        differs = (x != y) & ((x == x) | (y == y))  # NaN equals NaN here
        if not differs.any():
            continue
        if y.dtype.kind != "f" or not np.isfinite([x[differs], y[differs]]).all():
            return False
        with np.errstate(invalid="ignore"):  # both may be infinite
            change = _norm(y - start)
        allowed = CHANGE_TOLERANCE * change + ROUNDING_TOLERANCE * float(np.finfo(y.dtype).eps) * _norm(y)
        if _norm(x[differs] - y[differs]) > allowed:
            return False
    return True


def _norm(x: np.ndarray) -> float:
    """Compute the norm of the finite numbers."""
    return float(np.linalg.norm(x[np.isfinite(x)].astype("float64")))


# The product


class Handle:
    """A handle of cuBLAS for captures on a device, with its stream and workspace."""

    def __init__(self) -> None:
        self.stream, self.lock, self.last_launch = cupy.cuda.Stream(non_blocking=True), threading.Lock(), None
        self.pointer, self.workspace = ctypes.c_void_p(), cupy.cuda.Memory(WORKSPACE_BYTES)
        _call("cublasCreate_v2", ctypes.byref(self.pointer))
        _call("cublasSetStream_v2", self.pointer, ctypes.c_void_p(self.stream.ptr))  # this resets the workspace
        workspace = ctypes.c_void_p(self.workspace.ptr), ctypes.c_size_t(WORKSPACE_BYTES)
        _call("cublasSetWorkspace_v2", self.pointer, *workspace)


@cache
def find_handle(device: int) -> Handle:
    """Return the handle of the current device, whose number this is; it is kept for the life of the process."""
    return Handle()


class Capture(threading.local):
    """The handle by which this thread captures a graph, if it does."""

    handle: Handle | None = None


_CAPTURE = Capture()


def matmul(x: Native, y: Native, out: Native | None = None) -> Native:
    """Multiply matrices, or stacks of them: as CuPy does, and while a graph is captured, by a handle for that."""
    dtype = cupy.result_type(x, y)
    if _CAPTURE.handle is None or dtype.name not in CUBLAS_TYPES or x.size * y.size == 0:
        return cupy.matmul(x, y, out=out)  # which CuPy refuses during a capture
    rows = (x if x.ndim > 1 else x[None, :]).astype(dtype, copy=False)
    columns = (y if y.ndim > 1 else y[:, None]).astype(dtype, copy=False)
    shape = *np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2]), rows.shape[-2], columns.shape[-1]
    if out is not None and out.shape == shape and out.flags.c_contiguous:
        return _multiply(rows, columns, out, _CAPTURE.handle)
    product = _multiply(rows, columns, cupy.empty(shape, dtype), _CAPTURE.handle)
    product = product[..., 0, :] if x.ndim == 1 else product
    product = product[..., 0] if y.ndim == 1 else product
    if out is None:
        return product
    out[...] = product
    return out


def _multiply(x: Native, y: Native, product: Native, handle: Handle) -> Native:
    """Multiply stacks of matrices into a contiguous one, which is returned."""
    data_type, compute_type, number = CUBLAS_TYPES[x.dtype.name]
    if x.dtype.name == "float32" and os.environ.get("CUPY_TF32") == "1":  # as in CuPy's own products
        compute_type = COMPUTE_TF32
    # cuBLAS stores matrices column by column: read so, C = A B is Cᵀ = Bᵀ Aᵀ
    stack, one, zero = product.shape[:-2], ctypes.byref(number(1)), ctypes.byref(number(0))
    first, second, result = (Operand.of(z, stack) for z in (y, x, product))
    sizes, turns = (y.shape[-1], x.shape[-2], x.shape[-1]), (int(first.is_turned), int(second.is_turned))
    factors = *turns, *sizes, one, *first.arguments(data_type), *second.arguments(data_type)
    results = zero, *result.arguments(data_type), math.prod(stack), compute_type, DEFAULT_ALGORITHM
    _call("cublasGemmStridedBatchedEx", handle.pointer, *factors, *results)
    return product


class Operand(NamedTuple):
    """A stack of matrices as cuBLAS reads it."""

    array: Native  # (n, rows, columns)
    is_turned: bool  # whether the columns, and not the rows, are contiguous

    @classmethod
    def of(cls, x: Native, stack: Sequence[int]) -> "Operand":
        """Broadcast matrices to a stack; copy what cuBLAS cannot read."""
        x = cupy.broadcast_to(x, (*stack, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
        if not (x[0].flags.c_contiguous or x[0].flags.f_contiguous):
            x = cupy.ascontiguousarray(x)
        return cls(x, not x[0].flags.c_contiguous)

    def arguments(self, data_type: int) -> tuple[Any, ...]:
        """Return the address, the type, the leading dimension, and the distance of two matrices."""
        x, leading = self.array, self.array.shape[1 if self.is_turned else 2]
        return ctypes.c_void_p(x.data.ptr), data_type, leading, ctypes.c_longlong(x.strides[0] // x.itemsize)


@cache
def load_library() -> Any:
    """Load cuBLAS; CuPy finds it with the same package."""
    from cuda import pathfinder

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def _call(name: str, *args: Any) -> None:
    status = getattr(load_library(), name)(*args)
    if status:
        raise RuntimeError(f"{name} failed with status {status}")
