"""CuPy's kernels, by NumPy, on memory of the host.

CuPy asks two hooks before it launches a kernel: one for element-wise kernels, one for reductions. Which dtypes an
operation takes and gives is looked up in CuPy's own tables.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cupy
import numpy as np

from host_cupy.arrays import array_at
from host_cupy.counts import Meter
from host_cupy.runtime import HostRuntime

# Ufuncs that NumPy has by another name, or not as a ufunc
UFUNCS: dict[str, Callable[..., Any]] = {
    "cupy_copy": lambda x: x,
    "cupy_where": np.where,
    "cupy_conjugate": np.conjugate,
    "cupy_absolute": np.absolute,
    "cupy_true_divide": np.true_divide,
}
KINDS = {"b": 0, "i": 1, "u": 1, "f": 2}  # a Python number adapts to arrays of its own kind or a later one
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "cupy_sum": np.sum,
    "cupy_prod": np.prod,
    "cupy_max": np.max,
    "cupy_min": np.min,
    "cupy_all": np.all,
    "cupy_any": np.any,
    "cupy_argmax": np.argmax,
    "cupy_argmin": np.argmin,
    "cupy_mean": np.mean,
    "cupy_count_nonzero": np.count_nonzero,
}


class HostKernels:
    """The hooks."""

    def __init__(self, runtime: HostRuntime, meter: Meter) -> None:
        self.runtime, self.meter = runtime, meter
        self.types: dict[Any, Any] = {}  # of a ufunc's inputs and output, by what they are looked up for
        self.elementwise = {
            "cupy_take": _take,
            "cupy_take_scalar": _take,
            "cupy_fill": lambda value, out: _assign(out, lambda: value),
            "cupy_arange": lambda start, step, out: _assign(out, lambda: start + step * np.arange(out.size)),
            "cupy_concatenate_same_size": _concatenate,
            "cupy_concatenate": _concatenate_unequal,
            "cupy_mat_ptrs": _list_matrices,
        }

    def install(self) -> None:
        """Set CuPy's hooks, and replace the kernels that ask none."""
        from cupy.cuda import cub

        cub.cub_reduction = cub.cub_scan = lambda *args, **options: None  # then CuPy takes its plain reductions
        kernels = self
        cupy.ndarray.__cupy_override_elementwise_kernel__ = lambda array, kernel, *args, **options: (
            kernels.call_ufunc(kernel, args, **options)
            if isinstance(kernel, cupy.ufunc)
            else kernels.call_elementwise(kernel, args)
        )
        cupy.ndarray.__cupy_override_reduction_kernel__ = lambda array, kernel, axis, dtype, out, keepdims: (
            kernels.call_reduction(kernel, array, axis, dtype, out, keepdims)
        )
        cupy.cumsum, cupy.sort = self.cumsum, self.sort
        cupy.var, cupy.std = partial(self.spread, np.var), partial(self.spread, np.std)

    def launch(self, name: str, arrays: Sequence[Any], work: Callable[[], Any]) -> None:
        """Run a kernel on the current stream, and count it.

        Raises
        ------
        ValueError
            If an array lies on another device than the current one. A card would reach it, slowly or not at all.
        """
        for array in arrays:
            if isinstance(array, cupy.ndarray) and array.data.device_id != self.runtime.device:
                raise ValueError(
                    f"{name} on device {self.runtime.device} was given an array of device {array.data.device_id}"
                )
        self.meter.add("kernel", name)
        if self.runtime.is_capturing():
            self.runtime.submit(cupy.cuda.get_current_stream().ptr, work)
        else:
            work()

    def call_ufunc(self, ufunc, args, out=None, dtype=None, casting=None, _where=None):
        """Call a ufunc of CuPy."""
        inputs, outputs = args[: ufunc.nin], args[ufunc.nin :] or (() if out is None else (out,))
        in_types, result_type, function = self.find_function(ufunc, inputs, dtype)
        shapes = {x.shape for x in (*inputs, *outputs) if isinstance(x, cupy.ndarray)}
        shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
        if outputs and outputs[0].shape != shape:
            raise ValueError("Out shape is mismatched")
        result = outputs[0] if outputs else cupy.ndarray(shape, result_type)
        if outputs and not np.can_cast(result_type, result.dtype, casting or ufunc._default_casting):
            raise TypeError(f"{ufunc.name} gives {result_type}, which cannot be cast to {result.dtype}")
        if ufunc.name == "cupy_arange":
            function = lambda start, step: start + np.arange(result.size, dtype=result.dtype) * step  # noqa: E731
        operands, target, where = [_view(x) for x in inputs], _view(result), True if _where is None else _view(_where)

        def work() -> None:
            with np.errstate(all="ignore"):
                value = np.asarray(function(*map(np.asarray, operands, in_types)), result_type)
                np.copyto(target, value, casting="unsafe", where=where)

        self.launch(ufunc.name, [*inputs, result], work)
        return result

    def find_function(self, ufunc: Any, inputs: Sequence[Any], dtype: Any) -> tuple[list[np.dtype], np.dtype, Any]:
        """Find the dtypes that a ufunc converts its inputs to, the one that it gives, and its function in NumPy."""
        key = (ufunc, dtype, *(x.dtype if isinstance(x, (cupy.ndarray, np.generic)) else type(x) for x in inputs))
        if key not in self.types:
            in_types, (result_type, *_) = _types_of(_find_operation(ufunc, inputs, dtype))
            function = UFUNCS.get(ufunc.name) or getattr(np, ufunc.name.removeprefix("cupy_"))
            self.types[key] = in_types, result_type, function
        return self.types[key]

    def call_elementwise(self, kernel, args):
        """Call one of CuPy's element-wise kernels that are not ufuncs."""
        if kernel.name not in self.elementwise:
            raise NotImplementedError(f"host_cupy has no kernel {kernel.name}: {kernel.operation}")
        self.launch(kernel.name, args, self.elementwise[kernel.name](*args))
        return args[-1]

    def call_reduction(self, kernel, array, axis, dtype, out, keepdims):
        """Call one of CuPy's reductions."""
        name = kernel.name.replace("cupy_amax", "cupy_max").replace("cupy_amin", "cupy_min")
        function = next((f for prefix, f in REDUCTIONS.items() if name.startswith(prefix)), None)
        if function is None:
            raise NotImplementedError(f"host_cupy has no reduction {kernel.name}")
        result_type = self.find_result_type(kernel, array.dtype, dtype)
        if array.size == 0 and name.startswith(("cupy_max", "cupy_min", "cupy_arg")):
            raise ValueError("zero-size array to reduction operation, which has no identity")
        axis = tuple(int(i) for i in axis) if isinstance(axis, (tuple, list)) else None if axis is None else int(axis)
        shape = np.sum(np.empty(array.shape, bool), axis=axis, keepdims=keepdims).shape
        result = out if out is not None else cupy.ndarray(shape, result_type)
        if result.shape != shape:
            raise ValueError("Out shape is mismatched")
        source = _view(array)
        work = _assign(result, lambda: np.asarray(function(source, axis=axis, keepdims=keepdims)).astype(result_type))
        self.launch(kernel.name, [array, result], work)
        return result

    def find_result_type(self, kernel: Any, dtype: np.dtype, asked: Any) -> np.dtype:
        """Find the dtype that a reduction gives."""
        key = (kernel, dtype, asked)
        if key not in self.types:
            table = kernel._ops
            by_asked = asked is not None
            guess = table._guess_routine_from_dtype if by_asked else table._guess_routine_from_in_types
            operation = guess(np.dtype(asked) if by_asked else (dtype,))
            if operation is None:
                raise TypeError(f"{kernel.name} does not take {dtype}")
            self.types[key] = _types_of(operation)[1][0]
        return self.types[key]

    def cumsum(self, a, axis=None, dtype=None, out=None):
        """Sum up along an axis, in place of kernels of CuPy's that ask no hook."""
        dtype = np.cumsum(np.empty(0, a.dtype)).dtype if dtype is None else np.dtype(dtype)
        result = cupy.ndarray(a.shape, dtype) if out is None else out
        source = _view(a)
        work = _assign(result, lambda: np.cumsum(source, axis=axis, dtype=result.dtype).reshape(result.shape))
        self.launch("cumsum", [a, result], work)
        return result

    def sort(self, a, axis=-1, kind=None):
        """Return a sorted copy, in place of Thrust's."""
        result, source = cupy.ndarray(a.shape, a.dtype), _view(a)
        self.launch("sort", [a, result], _assign(result, lambda: np.sort(source, axis=axis)))
        return result

    def spread(self, function, a, axis=None, ddof=0, keepdims=False):
        """Compute a variance or a standard deviation, in place of kernels of CuPy's that ask no hook."""
        options, source = {"axis": axis, "keepdims": keepdims}, _view(a)
        result = cupy.ndarray(np.sum(np.broadcast_to(False, a.shape), **options).shape, a.dtype)
        self.launch(function.__name__, [a, result], _assign(result, lambda: function(source, ddof=ddof, **options)))
        return result


def _view(x: Any) -> Any:
    """Return NumPy's view of a CuPy array, and anything else as it is.

    A view holds an address, not the array: a graph does not keep memory alive either.
    """
    return array_at(x.data.ptr, x.shape, x.strides, x.dtype) if isinstance(x, cupy.ndarray) else x


def _assign(out: Any, value: Callable[[], Any]) -> Callable[[], None]:
    """Make the work that computes a value into `out`."""
    target = _view(out)

    def work() -> None:
        with np.errstate(all="ignore"):
            np.copyto(target, np.asarray(value()), casting="unsafe")

    return work


def _take(array, index, left, middle, right, length, out):
    """Take along one axis of `length`: `middle` indices for each of `left` parts, `right` elements for each."""
    source, index, shape, size = _view(array).reshape(-1), _view(index), out.shape, out.size

    def value() -> np.ndarray:
        flat = np.broadcast_to(np.asarray(index).astype(np.int64) % length, shape).copy()
        i = np.arange(size).reshape(shape)
        if left != 1:
            flat += i // (middle * right) * length
        return source[flat * right + i % right if right != 1 else flat]

    return _assign(out, value)


def _concatenate(pointers, base, out):
    """Join arrays of equal size, given by their addresses; `base` is the number of elements of each along the rest."""
    addresses, size, dtype, shape = _view(pointers), out.size, out.dtype, out.shape

    def value() -> np.ndarray:
        i = np.arange(size)
        row = i // base
        which, offset = row % len(addresses), i + (row // len(addresses) - row) * base
        flat = np.empty(size, dtype)
        for k, address in enumerate(addresses):
            own = offset[which == k]
            if own.size:
                flat[which == k] = array_at(int(address), (int(own.max()) + 1,), (dtype.itemsize,), dtype)[own]
        return flat.reshape(shape)

    return _assign(out, value)


def _concatenate_unequal(pointers, axis, starts, strides, out):
    """Join arrays along an axis, given by their addresses, strides, and where each starts in the result."""
    addresses, starts, strides, axis = _view(pointers), _view(starts).tolist(), _view(strides), int(axis)

    def value() -> np.ndarray:
        parts: list[np.ndarray] = []
        for address, start, end, steps in zip(addresses, starts, [*starts[1:], out.shape[axis]], strides):
            shape = (*out.shape[:axis], end - start, *out.shape[axis + 1 :])
            parts.append(array_at(int(address), shape, tuple(steps.tolist()), out.dtype))
        return np.concatenate(parts, axis)

    return _assign(out, value)


def _list_matrices(base, step, out):
    """List the addresses of the matrices of a stack."""
    base, n = _view(base), out.shape[-1]
    return _assign(out, lambda: np.asarray(base).astype(np.uint64) + np.uint64(step) * np.arange(n, dtype=np.uint64))


def _find_operation(ufunc, inputs, dtype):
    """Find the row of a ufunc's table that its inputs select; Python numbers adapt to arrays."""
    if dtype is not None:
        table = ufunc._ops if ufunc._out_ops is None else ufunc._out_ops
        return table._guess_routine_from_dtype(np.dtype(dtype))
    types, weak = [], []
    for x in inputs:
        number = type(x) in (int, float)
        if not number and not isinstance(x, (bool, cupy.ndarray, np.generic)):
            raise TypeError(f"Unsupported type {type(x)}")
        types.append(x.dtype if isinstance(x, (cupy.ndarray, np.generic)) else np.dtype(type(x)))
        weak.append(type(x) if number else False)
    numbers = [KINDS[t.kind] for t, number in zip(types, weak, strict=True) if number]
    arrays = [KINDS[t.kind] for t, number in zip(types, weak, strict=True) if not number]
    adapts = bool(numbers and arrays) and max(arrays) >= max(numbers)
    operation = ufunc._ops._guess_routine_from_in_types(tuple(types), tuple(weak) if adapts else (False,) * len(types))
    if operation is None:
        raise TypeError(f"{ufunc.name} does not take {types}")
    return operation


def _types_of(operation: Any) -> tuple[list[np.dtype], list[np.dtype]]:
    """Read the dtypes of inputs and outputs from an operation's repr: its fields are not visible to Python."""
    found = re.fullmatch(r".*_Op\(\((.*?),?\), \((.*?),?\), (?:routine|None|<|'|error).*", repr(operation), re.DOTALL)
    if found is None:
        raise RuntimeError(f"host_cupy cannot read the dtypes of {operation!r}")
    inputs, outputs = ([np.dtype(t) for t in re.findall(r"dtype\('([^']*)'\)", part)] for part in found.groups())
    return inputs, outputs
