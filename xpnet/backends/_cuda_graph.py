"""CUDA graphs on CuPy, experimental: steps that the device runs by itself. No GPU has run them yet.

CuPy launches a kernel for each operation, and a launch takes longer than the arithmetic of a small network. So the
launches of some recorded steps are captured as a graph. CuPy refuses its own matrix product meanwhile, because cuBLAS
would allocate memory; a captured product has a handle with a workspace of its own.
"""

import ctypes
import math
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import cupy
import numpy as np

from xpnet._checks import warn
from xpnet.backends.base import NotRecordableError
from xpnet.backends.replay import Program, ReplayLoop, ShapeCase
from xpnet.core.arrays import Native, leaves, map_arrays, select

CHANGE_TOLERANCE = 1e-4  # relative to the change of an array
ROUNDING_TOLERANCE = 64  # units in the last place
# By dtype: numbers of cudaDataType_t and cublasComputeType_t, and the C type of the factors alpha and beta
CUBLAS_TYPES: dict[str, tuple[int, int, Any]] = {
    **{"float32": (0, 68, ctypes.c_float), "float64": (1, 70, ctypes.c_double)},
}
DEFAULT_ALGORITHM = -1
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
        if not agree(leaves(program.inputs.state), leaves(plain), leaves(state)):
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
        allowed = 0.0
        if y.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # both may be infinite
                allowed = CHANGE_TOLERANCE * _norm(y - start)
            allowed += ROUNDING_TOLERANCE * float(np.finfo(y.dtype).eps) * _norm(y)
        if not np.linalg.norm(x[differs] - y[differs]) <= allowed:
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
    handle = _CAPTURE.handle
    if handle is None or x.dtype != y.dtype or x.dtype.name not in CUBLAS_TYPES or min(x.ndim, y.ndim) < 2:
        return cupy.matmul(x, y, out=out)  # which CuPy refuses during a capture
    data_type, compute_type, number = CUBLAS_TYPES[x.dtype.name]
    stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    is_direct = out is not None and out.flags.c_contiguous
    product = out if is_direct else cupy.empty((*stack, x.shape[-2], y.shape[-1]), x.dtype)
    # cuBLAS stores matrices column by column: read so, C = A B is Cᵀ = Bᵀ Aᵀ
    operands = [_arrange(z, stack) for z in (y, x, product)]  # which keep their copies until the product is captured
    (first, *columns), (second, *rows), (_, *result) = (_describe(z, data_type) for z in operands)
    one, zero = ctypes.byref(number(1)), ctypes.byref(number(0))
    factors = first, second, y.shape[-1], x.shape[-2], x.shape[-1], one, *columns, *rows
    results = zero, *result, math.prod(stack), compute_type, DEFAULT_ALGORITHM
    _call("cublasGemmStridedBatchedEx", handle.pointer, *factors, *results)
    if out is None or is_direct:
        return product
    out[...] = product
    return out


def _arrange(x: Native, stack: Sequence[int]) -> Native:
    """Broadcast matrices to a stack, (n, rows, columns), and copy what cuBLAS cannot read."""
    x = cupy.broadcast_to(x, (*stack, *x.shape[-2:])).reshape(-1, *x.shape[-2:])
    return x if x[0].flags.c_contiguous or x[0].flags.f_contiguous else cupy.ascontiguousarray(x)


def _describe(x: Native, data_type: int) -> tuple[Any, ...]:
    """Describe a stack: whether columns, not rows, are contiguous; address, type, leading dimension, distance."""
    is_turned = int(not x[0].flags.c_contiguous)
    address, distance = ctypes.c_void_p(x.data.ptr), ctypes.c_longlong(x.strides[0] // x.itemsize)
    return is_turned, address, data_type, x.shape[2 - is_turned], distance


@cache
def load_library() -> Any:
    """Load cuBLAS; CuPy finds it with the same package."""
    from cuda import pathfinder

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)


def _call(name: str, *args: Any) -> None:
    status = getattr(load_library(), name)(*args)
    if status:
        raise RuntimeError(f"{name} failed with status {status}")
