"""NumPy on the CPU: its Array API namespace, with less overhead."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import array_api_compat.numpy
import numpy as np

from xpnet.backends._subnormals import find_modes
from xpnet.backends.base import (
    UFUNCS,
    Backend,
    BindShortcut,
    Eager,
    GroupLimits,
    PatchedNamespace,
    astype,
    cast,
    find_operators,
)
from xpnet.backends.replay import NativeLoop, ReplayLoop, get_step_threads, make_native
from xpnet.core.arrays import Function, Native, blocks
from xpnet.errors import BackendError

# In short rows of many numbers, the maximum is faster column by column. Measured on an AMD EPYC (Zen 5): over the last
# axis of (10, 32, 10) it takes a third of the time, of (10, 200, 10) an eighth
SHORT_ROW, MANY_NUMBERS = 16, 256  # numbers in a row at most, and altogether at least

_add_reduce: Any = np.add.reduce  # the type stubs lack `out` by position, which is fastest
_maximum_reduce: Any = np.maximum.reduce


def _sum(x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    return _add_reduce(x, axis, dtype, out, keepdims)


def _max(x: Native, axis: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    return _maximum_reduce(x, axis, None, out, keepdims)


def _bind_max(out: Native, x: Native, axis: Any = None, keepdims: bool = False) -> Callable[[], Any]:
    if axis == -1 and keepdims and x.shape[-1] <= SHORT_ROW and x.size >= MANY_NUMBERS:
        return partial(_max_of_short_rows, x, np.empty(x.mT.shape, x.dtype), out)
    return partial(_maximum_reduce, x, axis, None, out, keepdims)


def _max_of_short_rows(x: Native, columns: Native, out: Native) -> None:
    """Find the largest number of each row. NumPy compares numbers of a row one by one, but whole rows at once."""
    np.copyto(columns, x.mT)
    _maximum_reduce(columns, -2, None, out.mT, True)


def _take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    return x.take(index, axis, out, "wrap")  # faster than "raise"; the package never makes an index out of range


_WITH_OUT = {name: f for name, f in vars(array_api_compat.numpy).items() if isinstance(f, np.ufunc) and f.nout == 1}
_WITH_OUT |= {"sum": _sum, "max": _max, "take": _take, "astype": astype, "matmul": np.matmul, "abs": np.abs}
_XP = PatchedNamespace(array_api_compat.numpy, **_WITH_OUT)


class NumPyBackend(Eager):
    """NumPy, in the host's memory."""

    operators = find_operators(np, UFUNCS)
    shortcuts: ClassVar[dict[Any, BindShortcut]] = {
        _sum: lambda out, x, axis=None, dtype=None, keepdims=False: partial(_add_reduce, x, axis, dtype, out, keepdims),
        _max: _bind_max,
        astype: lambda out, x, dtype, **options: partial(np.copyto, out, x, casting="unsafe"),
    }
    with_out = _WITH_OUT
    not_elementwise: ClassVar[set[Callable[..., Native]]] = {_sum, _max, _take, astype}
    slow_with_numbers: ClassVar[set[Callable[..., Native]]] = {np.maximum, np.minimum}  # by 5 times, in NumPy 2.4
    by_columns = True
    shares_steps = NativeLoop is not None
    # The loop in C spends little on a call, so it gains more if what a step works through stays in a cache of 1 MiB
    group_limits = GroupLimits(numbers=1 << 17, fewest=2) if shares_steps else Backend.group_limits
    remark = (
        "with the loop in C" if shares_steps else "with the loop in Python; for that in C, install with a C compiler"
    )

    def __init__(self, device: Any = None) -> None:
        if device is not None and str(device) != "cpu":
            raise BackendError(f'device={device!r} contradicts backend="numpy", which computes on "cpu" only')
        self.name, self.xp, self.device = "numpy", _XP, "cpu"
        self.array_type = np.ndarray
        self.on_host = True

    def asarray(self, x: Any, dtype: str | None = None, name: str = "the array") -> Native:
        return cast(x, dtype) if type(x) is np.ndarray else super().asarray(x, dtype, name)

    def copy(self, x: Native) -> Native:
        return np.array(x.mT, order="C").mT if x.ndim > 1 else x.copy()  # a wᵀ is faster where wᵀ is contiguous

    def keep_order(self, x: Native) -> Native:
        return x if x.ndim < 2 or x.mT.flags.c_contiguous else self.copy(x)

    def make_contiguous(self, x: Native) -> Native:
        return x if x.flags.c_contiguous and x.flags.aligned else x.copy()

    def stack(self, arrays: Sequence[Native]) -> Native:
        return np.stack([x.mT for x in arrays]).mT if arrays[0].ndim > 1 else np.stack(arrays)  # in the order of `copy`

    def copy_to_read(self, x: Native) -> Native:
        x = x.copy("K")
        x.flags.writeable = False
        return x

    def all_finite(self, arrays: Iterable[Native]) -> bool:
        return all(map(_all_finite, arrays))

    def loop(self, step: Function, make_minibatch: Function) -> ReplayLoop:
        loop = NativeLoop if NativeLoop and self.shares_steps else ReplayLoop
        return loop(self, step, make_minibatch)

    def repeat_function(self, function: Function, nest: Any, x: Native) -> Function | None:
        return make_native(self, function, nest, x) if make_native and self.shares_steps else None

    def share_steps(self, number: int) -> AbstractContextManager[Any]:
        assert get_step_threads
        return get_step_threads().share(number)

    def assign(self, target: Native, x: Any) -> None:
        np.copyto(target, x)

    def shares_memory(self, x: Native, y: Native) -> bool:
        return np.may_share_memory(x, y)

    def make_constant(self, number: float, like: Native) -> Any:
        kinds = "fiu" if isinstance(number, int) else "f"
        return np.array(number, like.dtype) if like.dtype.kind in kinds else number

    def bind(
        self, function: Callable[..., Native], args: Sequence[Any], options: Any, out: Native
    ) -> Callable[[], Any]:
        if function is np.matmul and min(x.ndim for x in args) > 1 and args[0].shape[-1] == 1:
            function = np.multiply  # a column times a row, which NumPy does not leave to BLAS: 6 times as fast
        by_position = isinstance(function, np.ufunc) and not options and function not in (np.maximum, np.minimum)
        return partial(function, *args, out) if by_position else super().bind(function, args, options, out)

    def _find_modes(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        return find_modes()

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        return cast(x, dtype)


@np.errstate(all="ignore")  # as a decorator, it takes half the time of a context
def _all_finite(x: Native) -> bool:
    if x.dtype.kind == "f" and x.flags.forc:
        flat = x.ravel("K")
        # A sum of squares is finite only if every term is, needs no memory, and runs as fast as memory is read
        if math.isfinite(flat.dot(flat)):
            return True
    return all(np.logical_and.reduce(np.isfinite(rows), axis=None) for rows in blocks(x))


BACKEND = NumPyBackend
