"""The functions of cuBLAS that CuPy and xpnet call, by NumPy, on memory of the host.

cuBLAS reads matrices column by column: element (i, j) of a matrix with leading dimension `ld` is number i + j · ld.
"""

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from host_cupy.arrays import array_at
from host_cupy.counts import Meter
from host_cupy.runtime import HostRuntime

DTYPES = {0: np.float32, 1: np.float64}  # by the numbers of CUDA's types
CONSTANTS = (
    *("CUBLAS_COMPUTE_32F", "CUBLAS_COMPUTE_32F_PEDANTIC", "CUBLAS_COMPUTE_32F_FAST_TF32"),
    *("CUBLAS_COMPUTE_64F", "CUBLAS_COMPUTE_64F_PEDANTIC"),
    *("CUBLAS_GEMM_DEFAULT", "CUBLAS_GEMM_DEFAULT_TENSOR_OP"),
)


def make_cublas(runtime: HostRuntime, meter: Meter) -> ModuleType:
    """Make the module; as CuPy's, it refuses to be called while the current stream is being captured."""
    module: Any = ModuleType("cupy_backends.cuda.libs.cublas")
    for number, name in enumerate(CONSTANTS):
        setattr(module, name, number)

    def check_and_count(detail: str) -> None:
        if runtime.is_capturing():
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        meter.add("product", detail)

    def multiply(ta: int, tb: int, m: int, n: int, k: int, a: Any, b: Any, c: Any) -> None:
        """C ← op(A) op(B); each operand is (address, leading dimension, dtype)."""
        left = _matrix(a, *((k, m) if ta else (m, k)))
        right = _matrix(b, *((n, k) if tb else (k, n)))
        _matrix(c, m, n)[...] = (left.T if ta else left) @ (right.T if tb else right)

    def gemm(handle, ta, tb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algorithm):
        check_and_count("gemm")
        multiply(ta, tb, m, n, k, (a, lda, a_type), (b, ldb, b_type), (c, ldc, c_type))

    def gemm_strided(
        handle, ta, tb, m, n, k, alpha, a, a_type, lda, step_a, b, b_type, ldb, step_b, beta, c, c_type, ldc, step_c,
        batch, compute, algorithm,
    ):  # fmt: skip
        check_and_count("batched gemm")
        size = np.dtype(DTYPES[a_type]).itemsize
        for i in range(batch):
            operands = (a + i * step_a * size, lda, a_type), (b + i * step_b * size, ldb, b_type)
            multiply(ta, tb, m, n, k, *operands, (c + i * step_c * size, ldc, c_type))

    def gemm_of_pointers(dtype: int) -> Callable[..., None]:
        def gemm_batched(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, batch):
            check_and_count("batched gemm")
            pointers = (array_at(address, (batch,), (8,), np.uint64) for address in (a, b, c))
            for x, y, z in zip(*pointers, strict=True):
                multiply(ta, tb, m, n, k, (int(x), lda, dtype), (int(y), ldb, dtype), (int(z), ldc, dtype))

        return gemm_batched

    def geam(dtype: int) -> Callable[..., None]:
        def transpose(handle, ta, tb, m, n, alpha, a, lda, beta, b, ldb, c, ldc):
            check_and_count("geam")
            source = _matrix((a, lda, dtype), *((n, m) if ta else (m, n)))
            _matrix((c, ldc, dtype), m, n)[...] = source.T if ta else source

        return transpose

    module.create, module.destroy = lambda: 1, lambda handle: None
    module.gemmEx, module.gemmStridedBatchedEx = gemm, gemm_strided
    module.sgemmBatched, module.dgemmBatched = gemm_of_pointers(0), gemm_of_pointers(1)
    module.sgeam, module.dgeam = geam(0), geam(1)
    return module


class Cublas:
    """The library as xpnet calls it, through ctypes: unlike CuPy's module, it can be captured."""

    def __init__(self, runtime: HostRuntime, meter: Meter) -> None:
        self.runtime, self.meter = runtime, meter
        self.handles = itertools.count(1)
        self.streams: dict[int, int] = {}  # by handle

    def cublasCreate_v2(self, handle):
        handle._obj.value = next(self.handles)
        return 0

    def cublasSetStream_v2(self, handle, stream):
        self.streams[handle.value] = stream.value or 0
        return 0

    def cublasSetWorkspace_v2(self, handle, workspace, size):
        assert workspace.value % 256 == 0, "cuBLAS wants an aligned workspace"
        return 0

    def cublasGemmStridedBatchedEx(
        self, handle, ta, tb, m, n, k, alpha, a, a_type, lda, step_a, b, b_type, ldb, step_b, beta, c, c_type, ldc,
        step_c, batch, compute, algorithm,
    ):  # fmt: skip
        if lda < (k if ta else m) or ldb < (n if tb else k) or ldc < m or alpha._obj.value != 1 or beta._obj.value != 0:
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        products, size = [], np.dtype(DTYPES[a_type]).itemsize
        for i in range(batch):
            left = _matrix((a.value + i * step_a.value * size, lda, a_type), *((k, m) if ta else (m, k)))
            right = _matrix((b.value + i * step_b.value * size, ldb, b_type), *((n, k) if tb else (k, n)))
            out = _matrix((c.value + i * step_c.value * size, ldc, c_type), m, n)
            products.append((left.T if ta else left, right.T if tb else right, out))

        def work() -> None:
            for left, right, out in products:
                out[...] = left @ right

        self.meter.add("product", "gemm")
        self.runtime.submit(self.streams[handle.value], work)
        return 0


def _matrix(operand: tuple[int, int, int], rows: int, columns: int) -> np.ndarray:
    address, leading, dtype = operand
    size = np.dtype(DTYPES[dtype]).itemsize
    return array_at(address, (rows, columns), (size, leading * size), DTYPES[dtype])
