"""Array API functions on CuPy that take `out`, can be captured, and never wait for the device."""

import math
from typing import Any

import array_api_compat.cupy
import cupy

from xpnet.backends.base import PatchedNamespace
from xpnet.backends.cuda import cublas, sizes
from xpnet.core.arrays import Native


def matmul(x: Native, y: Native, out: Native | None = None) -> Native:
    """Multiply matrices.

    A product whose first factor is a transpose, such as a gradient, is laid out in Fortran order: weights are in C
    order, and kernels are fast where both are laid out alike.
    """
    if x.dtype != y.dtype:
        common = cupy.result_type(x, y)
        x, y = x.astype(common, copy=False), y.astype(common, copy=False)
    if y.ndim == 1:
        return _into(out, matmul(x, y[:, None])[..., 0])
    if x.ndim == 1:
        return _into(out, matmul(x[None, :], y)[..., 0, :])
    if not cublas.can_multiply(x, y):
        return _into(out, cupy.matmul(x, y))
    if _is_transposed(x):
        return cublas.multiply(y.mT, x.mT, None if out is None else out.mT).mT
    return cublas.multiply(x, y, out)


def _is_transposed(x: Native) -> bool:
    return x.strides[-2] == x.itemsize < x.strides[-1]


def sum_along(
    x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False, out: Native | None = None
) -> Native:
    """Compute sums. Along a short axis the numbers are added in order, as generated kernels do, with the same bits."""
    if dtype is not None or not is_short(x, axis):
        return x.sum(axis, dtype, out, keepdims)
    axis = axis % x.ndim
    if out is None:
        out = cupy.empty(tuple(1 if i == axis else n for i, n in enumerate(x.shape) if keepdims or i != axis), x.dtype)
    _sum_in_order(x, x.shape[axis], math.prod(x.shape[axis + 1 :]), out)
    return out


def is_short(x: Native, axis: Any) -> bool:
    """Whether an axis of a floating-point array is short enough for one thread to reduce it."""
    if type(axis) is not int or x.dtype.kind != "f" or not -x.ndim <= axis < x.ndim:
        return False
    return 0 < x.shape[axis] <= sizes.MAX_SUMMED and 0 < x.size <= sizes.ONE_BLOCK_ELEMENTS


_sum_in_order = cupy.ElementwiseKernel(
    "raw T x, int64 length, int64 inner",
    "T total",
    """
    const long long first = i / inner * length * inner + i % inner;
    total = 0;
    for (long long k = 0; k < length; ++k) total = total + x[first + k * inner];
    """,
    "xpnet_sum_in_order",
)


def max_along(x: Native, axis: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    """Return the largest numbers."""
    return x.max(axis, out, keepdims)


# CuPy compiles its kernels for `all`, `any` and `count_nonzero` from the sources of CUB when they are first called with
# 128 elements or more, which takes seconds. Its sums and minima are precompiled.


def all_along(x: Native, axis: Any = None, keepdims: bool = False) -> Native:
    """Tell whether all elements differ from zero."""
    if x.size == 0:
        return cupy.all(x, axis, keepdims=keepdims)
    return (x != 0).view("uint8").min(axis, keepdims=keepdims).view("bool")


def any_along(x: Native, axis: Any = None, keepdims: bool = False) -> Native:
    """Tell whether any element differs from zero."""
    if x.size == 0:
        return cupy.any(x, axis, keepdims=keepdims)
    return (x != 0).view("uint8").max(axis, keepdims=keepdims).view("bool")


def count_nonzero(x: Native, axis: Any = None, keepdims: bool = False) -> Native:
    """Count the elements that differ from zero."""
    return (x != 0).astype("int64").sum(axis, keepdims=keepdims)


def vecdot(x: Native, y: Native, axis: int = -1, out: Native | None = None) -> Native:
    """Return scalar products. CuPy has no such function, and array_api_compat's multiplies a stack of tiny matrices."""
    return sum_along(x * y, axis, out=out)


def take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    """Take elements by index."""
    return x.take(index, axis, out)


def astype(x: Native, dtype: Any, copy: bool = True, device: Any = None, out: Native | None = None) -> Native:
    """Convert to another dtype."""
    return x.astype(dtype, copy=copy) if out is None else assign(x, out)


def where(condition: Native, x: Any, y: Any, out: Native | None = None) -> Native:
    """Choose between two arrays, element by element."""
    return _into(out, cupy.where(condition, x, y))


def sign(x: Native, out: Native | None = None) -> Native:
    """Return the signs. NaN stays NaN, without waiting for the device as array_api_compat does."""
    return _into(out, cupy.where(x == x, cupy.sign(x), x))


def clip(x: Native, min: Any = None, max: Any = None) -> Native:
    """Limit numbers to a range, without waiting for the device as array_api_compat does."""
    x = x if min is None else cupy.maximum(x, min)
    return x if max is None else cupy.minimum(x, max)


def assign(x: Any, out: Native) -> Native:
    """Write an array or a number into an array."""
    out[...] = x
    return out


def _into(out: Native | None, result: Native) -> Native:
    return result if out is None else assign(result, out)


WITH_OUT = {
    **{name: getattr(cupy, name) for name in ("exp", "log", "log1p", "expm1", "tanh", "sqrt", "minimum", "maximum")},
    **{"abs": cupy.absolute, "sign": sign, "where": where, "astype": astype, "take": take},
    **{"sum": sum_along, "max": max_along, "vecdot": vecdot, "matmul": matmul},
}
NAMESPACE = PatchedNamespace(
    array_api_compat.cupy, clip=clip, all=all_along, any=any_along, count_nonzero=count_nonzero, **WITH_OUT
)
