"""The functions of cuBLAS that CuPy and xpnet call, by NumPy, on memory of the host.

cuBLAS reads matrices column by column: element (i, j) of a matrix with leading dimension `ld` is number i + j · ld.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
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

    def multiply(detail: str, products: Iterable[tuple[np.ndarray, ...]]) -> None:
        if runtime.is_capturing():
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
        meter.add("product", detail)
        for left, right, out in products:
            out[...] = left @ right

    def gemm(handle, ta, tb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, *_):
        multiply("gemm", [_product(ta, tb, m, n, k, (a, lda, a_type), (b, ldb, b_type), (c, ldc, c_type))])

    def gemm_strided(handle, *arguments):
        multiply("batched gemm", _list_products(*arguments))

    def gemm_of_pointers(dtype: int) -> Callable[..., None]:
        def gemm_batched(handle, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, batch):
            pointers = (array_at(address, (batch,), (8,), np.uint64).tolist() for address in (a, b, c))
            operands = ([(x, lda, dtype), (y, ldb, dtype), (z, ldc, dtype)] for x, y, z in zip(*pointers, strict=True))
            multiply("batched gemm", (_product(ta, tb, m, n, k, *matrices) for matrices in operands))

        return gemm_batched

    module.create, module.destroy = lambda: 1, lambda handle: None
    module.gemmEx, module.gemmStridedBatchedEx = gemm, gemm_strided
    module.sgemmBatched, module.dgemmBatched = gemm_of_pointers(0), gemm_of_pointers(1)
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

    def cublasGemmStridedBatchedEx(self, handle, *arguments):
        numbers = [getattr(x, "value", x) for x in arguments]
        (ta, tb, m, n, k, alpha), lda, ldb, beta, ldc = numbers[:6], numbers[8], numbers[12], numbers[14], numbers[17]
        if lda < (k if ta else m) or ldb < (n if tb else k) or ldc < m or alpha._obj.value != 1 or beta._obj.value != 0:
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        products = [*_list_products(*numbers)]

        def work() -> None:
            for left, right, out in products:
                out[...] = left @ right

        self.meter.add("product", "gemm")
        self.runtime.submit(self.streams[handle.value], work)
        return 0


def _list_products(
    ta, tb, m, n, k, alpha, a, a_type, lda, step_a, b, b_type, ldb, step_b, beta, c, c_type, ldc, step_c, batch, *_
) -> Iterator[tuple[np.ndarray, ...]]:  # fmt: skip
    """Find the matrices of a product of stacks, given as to cublasGemmStridedBatchedEx."""
    size = np.dtype(DTYPES[a_type]).itemsize
    for i in range(batch):
        operands = (a + i * step_a * size, lda, a_type), (b + i * step_b * size, ldb, b_type)
        yield _product(ta, tb, m, n, k, *operands, (c + i * step_c * size, ldc, c_type))


def _product(ta: int, tb: int, m: int, n: int, k: int, a: Any, b: Any, c: Any) -> tuple[np.ndarray, ...]:
    """Find the matrices of C ← op(A) op(B); each operand is (address, leading dimension, dtype)."""
    left = _matrix(a, *((k, m) if ta else (m, k)))
    right = _matrix(b, *((n, k) if tb else (k, n)))
    return left.T if ta else left, right.T if tb else right, _matrix(c, m, n)


def _matrix(operand: tuple[int, int, int], rows: int, columns: int) -> np.ndarray:
    address, leading, dtype = operand
    size = np.dtype(DTYPES[dtype]).itemsize
    return array_at(address, (rows, columns), (size, leading * size), DTYPES[dtype])
