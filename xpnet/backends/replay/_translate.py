"""Translation of recorded NumPy operations for the loop in C (`loops.c`), which runs them with the same bits."""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from xpnet.backends.base import call_and_copy

# Each element has one right result, or a nearest number to it: all of NumPy's inner loops find that, and none raises
EXACT = {
    *(np.add, np.subtract, np.multiply, np.divide, np.sqrt, np.negative, np.absolute, np.sign, np.maximum, np.minimum),
    *(np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal),
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
}
# Numbers that NumPy adds in one go: until 2.3, a buffer full of them
MOST_ADDED = np.getbufsize() if np.lib.NumpyVersion(np.__version__) < "2.3.0" else math.inf
UNITS = 8, 12, 16, 24, 32, 48  # rows
MAX_THREADS = 64  # as in pool.h
SHARED_MULTIPLICATIONS = 700_000  # a product with fewer takes too little time to be shared


def translate(
    operations: Sequence[Callable[[], Any]], batches: Sequence[np.ndarray] = (), rows: Sequence[np.ndarray] = ()
) -> tuple[Any, int]:
    """Translate operations for the loop in C.

    Parameters
    ----------
    operations
        Calls without arguments, as a recorder makes them.
    batches, rows
        Arrays that are written before the operations.

    Returns
    -------
    code
        ``code.run(numbers, *arrays)`` runs them, in their order, for each element of `numbers`. It first takes rows of
        `arrays`: for `batches` the next ones, and for `rows` those with these numbers.
        ``code.fuse(*results)`` makes updates faster; then only `results` need hold what they should in the end.
    calls
        The number of those that stay calls in Python.
    """
    from xpnet.backends.replay.loops import Operations

    code, calls = Operations(), 0
    for target in (*batches, *rows):
        code.take(target, any(target is x for x in rows))
    for operation in operations:
        if not _translate(code, operation):
            code.call(operation)
            calls += 1
    return code, calls


def _translate(code: Any, operation: Callable[[], Any]) -> bool:
    """Add an operation to the code, if it has a translation; return whether it has one."""
    if not isinstance(operation, partial):
        return False
    function, args, options = operation.func, operation.args, operation.keywords
    if function is call_and_copy:
        _, function, *args = args
        return _add_function(code, getattr(function, "__name__", ""), *args)
    if isinstance(function, np.ufunc):
        others = {name: value for name, value in options.items() if name != "out"}
        return _add_ufunc(code, function, args[: function.nin], others, options.get("out", args[-1]))
    match getattr(function, "__name__", ""):
        case "copyto" | "assign":
            return code.copy(*args[:2])
        case "reduce":
            x, axis, dtype, out, keepdims = args
            return dtype is None and _add_reduction(code, function.__self__, x, axis, out, keepdims)
        case "_max_of_short_rows":
            x, columns, out = args
            return code.copy(columns, x.mT) and _add_reduction(code, np.maximum, columns, -2, out.mT, True)
    return False


def _add_ufunc(code: Any, ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any], out: np.ndarray) -> bool:
    arrays = _as_arrays(inputs, out if ufunc.nin == 1 else None)
    if ufunc.signature is not None:
        return options in ({}, {"axis": -1}) and code.product(ufunc, arrays, out, _find_unit(ufunc, arrays, out))
    return not options and _add_elementwise(code, ufunc, arrays, out)


def _add_elementwise(code: Any, ufunc: np.ufunc, arrays: Sequence[np.ndarray], out: np.ndarray) -> bool:
    """Add a ufunc, unless its inner loop may raise, as that of integer powers does: nobody would see the error."""
    kinds, is_exact = {x.dtype.kind for x in (*arrays, out)}, ufunc in EXACT
    return kinds <= {*"fiub"} and (is_exact or kinds == {"f"}) and code.elementwise(ufunc, arrays, out, is_exact)


def _add_function(code: Any, name: str, args: Sequence[Any], options: dict[str, Any], out: np.ndarray) -> bool:
    """Add a call of a function without `out`."""
    if name == "where" and not options:
        condition, *values = args
        return code.choose((condition, *(_as_arrays((x,), out)[0] for x in values)), out)
    if name == "sign" and not options:
        return _add_elementwise(code, np.sign, args, out)
    if name == "concatenate" and options == {"axis": -1}:
        ends = np.cumsum([x.shape[-1] for x in args[0]])
        return all(code.copy(out[..., end - x.shape[-1] : end], x) for x, end in zip(args[0], ends))
    return False


def _add_reduction(code: Any, ufunc: np.ufunc, x: np.ndarray, axis: Any, out: np.ndarray, keepdims: bool) -> bool:
    """Add a sum or a maximum, in the order of NumPy: a sum begins with 0, a maximum with the first elements."""
    axes = range(x.ndim) if axis is None else [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
    if x.size == 0 or not axes:
        return False
    if not keepdims:
        out = np.expand_dims(out, tuple(axes))
    if len(axes) > 1:  # as one axis; where they are not, NumPy copies to a buffer first
        axes = sorted(axes, key=lambda a: -x.strides[a])
        if any(x.strides[a] != x.strides[b] * x.shape[b] for a, b in pairwise(axes)):
            return False
        remaining = [a for a in range(x.ndim) if a not in axes]
        x, out = (y.transpose(*remaining, *axes) for y in (x, out))
        x, out = (y.reshape(*y.shape[: len(remaining)], -1) for y in (x, out))  # views
        axes = [len(remaining)]
    if ufunc is np.add and x.shape[axes[0]] > MOST_ADDED:
        return False
    if ufunc is np.add:
        return code.copy(out, np.zeros((), out.dtype)) and code.accumulate(ufunc, x, out)
    before = (slice(None),) * axes[0]
    return code.copy(out, x[(*before, slice(1))]) and code.accumulate(ufunc, x[(*before, slice(1, None))], out)


def _find_unit(ufunc: Any, factors: Sequence[np.ndarray], out: np.ndarray) -> int:
    """Find in pieces of how many rows a large product gives the same bits as in one; 0 if there is no such number."""
    a, b = factors
    if ufunc is not np.matmul or not a.ndim == b.ndim == out.ndim == 2 or np.may_share_memory(a, b):
        return 0
    if min(*a.shape, *b.shape) < 2 or out.size * a.shape[1] < SHARED_MULTIPLICATIONS:
        return 0
    if not a.flags.forc or not b.flags.forc or not out.flags.forc:  # NumPy would copy them, and may find no memory
        return 0
    return _try_units(*((x.shape, x.dtype.char, x.flags.c_contiguous, x.flags.f_contiguous) for x in (a, b, out)))


@cache
def _try_units(*layouts: Any) -> int:
    """Try each unit on random numbers: a BLAS may add them in another order in pieces of some lengths."""
    rng = np.random.default_rng(0)
    a, b, out = (
        np.asarray(rng.standard_normal(shape), dtype, order="C" if c_contiguous else "F")
        for shape, dtype, c_contiguous, _ in layouts
    )
    np.matmul(a, b, out=out)
    n, pieces = len(a), np.empty_like(out)
    for unit in UNITS:
        lengths = {unit * math.ceil(math.ceil(n / unit) / threads) for threads in range(2, MAX_THREADS + 1)}
        ends = [rows for k in lengths for rows in (slice(k), slice((n - 1) // k * k, n))]  # those between are alike
        if n > unit and all(np.array_equal(np.matmul(a[rows], b, pieces[rows]), out[rows]) for rows in ends):
            return unit
    return 0


def _as_arrays(inputs: Sequence[Any], like: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Convert numbers among the operands as NumPy does, to the dtype of the others."""
    like = next((x for x in inputs if isinstance(x, np.ndarray)), like)
    dtype = None if like is None else like.dtype
    return tuple(x if isinstance(x, np.ndarray) else np.asarray(x, dtype) for x in inputs)
