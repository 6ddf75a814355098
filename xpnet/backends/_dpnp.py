"""dpnp on a SYCL device, such as an Intel GPU: steps are recorded, and replayed into memory that is there."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import dpctl
import dpnp

from xpnet._checks import name_backend
from xpnet.backends.base import ON_CPU, ON_GPU, Eager, PatchedNamespace
from xpnet.backends.replay import ReplayLoop
from xpnet.core.arrays import Function, Native
from xpnet.errors import BackendError


def _sum(x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    return dpnp.sum(x, axis=axis, dtype=dtype, keepdims=keepdims, out=out)


def _max(x: Native, axis: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    return dpnp.max(x, axis=axis, keepdims=keepdims, out=out)


def _take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    return dpnp.take(x, index, axis=axis, out=out)


def _astype(x: Native, dtype: Any, copy: bool = True, device: Any = None, out: Native | None = None) -> Native:
    if out is None:
        return dpnp.astype(x, dtype, copy=copy)
    out[...] = x
    return out


def _matmul(x: Native, y: Native, out: Native | None = None) -> Native:
    """Multiply matrices, after a copy of those that are broadcast along an axis: dpnp 0.20 multiplies them wrongly."""
    x, y = (dpnp.asarray(factor, copy=True) if 0 in factor.strides else factor for factor in (x, y))
    return dpnp.matmul(x, y, out=out)


_NAMES = ("exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "sqrt", "where", "minimum", "maximum")
_WITH_OUT = {name: getattr(dpnp, name) for name in (*_NAMES, "vecdot")}
_WITH_OUT |= {"sum": _sum, "max": _max, "take": _take, "astype": _astype, "matmul": _matmul}


def _wait_first(wait: Callable[[], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        wait()
        return function(*args, **options)

    return call


class DpnpBackend(Eager):
    """dpnp on one SYCL device.

    On a CPU, functions wait for the device before they begin. Within an operation, dpnp 0.20 may hold Python's lock and
    wait for work that needs this lock to end, so that both wait forever; its pull request 2850 fixes this in one
    function. Operators cannot wait first: a plain loop may still hang on a busy machine.
    """

    threads_from = None
    with_out = _WITH_OUT
    operators: ClassVar[dict[str, Callable[..., Native]]] = {
        **{"add": dpnp.add, "sub": dpnp.subtract, "mul": dpnp.multiply, "truediv": dpnp.divide},
        **{"neg": dpnp.negative, "abs": dpnp.abs, "invert": dpnp.invert},
        **{"lt": dpnp.less, "le": dpnp.less_equal, "gt": dpnp.greater, "ge": dpnp.greater_equal},
        **{"eq": dpnp.equal, "ne": dpnp.not_equal},
        **{"and": dpnp.bitwise_and, "or": dpnp.bitwise_or, "xor": dpnp.bitwise_xor},
        **{"lshift": dpnp.bitwise_left_shift, "rshift": dpnp.bitwise_right_shift, "matmul": _matmul},
    }
    not_elementwise: ClassVar[set[Callable[..., Native]]] = {_sum, _max, _take, _astype, _matmul, dpnp.vecdot}

    def __init__(self, device: Any = None) -> None:
        try:
            super().__init__("dpnp", PatchedNamespace(dpnp, **_WITH_OUT), device)
        except Exception as error:  # SyclDeviceCreationError has no closer base class
            found = ", ".join(self.devices()) or "none"
            raise BackendError(
                f"{name_backend(repr('dpnp'), device)} cannot be used ({error}); SYCL devices found here: {found}; for "
                "the CPU, install intel-opencl-rt and set OCL_ICD_FILENAMES to its libintelocl.so, for a GPU its driver"
            ) from error
        self.waits = self.device.sycl_device.is_cpu
        if self.waits:
            waiting = {name: _wait_first(self.device.wait, function) for name, function in _WITH_OUT.items()}
            self.xp = PatchedNamespace(dpnp, **waiting)
        # Measured on a CPU: Python takes most of the 2 ms that a layer of a step takes
        self.speed = (ON_GPU if self.device.sycl_device.is_gpu else ON_CPU)._replace(layer=2e-3)

    @classmethod
    def devices(cls) -> list[str]:
        return [device.filter_string for device in dpctl.get_devices()]

    def loop(self, step: Function, make_minibatch: Function) -> ReplayLoop:
        return ReplayLoop(self, step, make_minibatch)

    def make_contiguous(self, x: Native) -> Native:
        return x if x.flags.c_contiguous else self.copy(x)

    def copy(self, x: Native) -> Native:
        return dpnp.asarray(x, copy=True, order="C")

    def synchronize(self) -> None:
        self.device.wait()

    def assign(self, target: Native, x: Any) -> None:
        target[...] = x

    def empty_like(self, x: Native) -> Native:
        return dpnp.empty_like(x)

    def shares_memory(self, x: Native, y: Native) -> bool:
        return x.get_array().usm_data is y.get_array().usm_data

    def bind(
        self, function: Callable[..., Native], args: Sequence[Any], options: Any, out: Native
    ) -> Callable[[], Any]:
        return self._after_waiting(super().bind(function, args, options, out))

    def bind_assign(self, target: Native, x: Native) -> Callable[[], Any]:
        return self._after_waiting(super().bind_assign(target, x))

    def _after_waiting(self, operation: Callable[[], Any]) -> Callable[[], Any]:
        return _wait_first(self.device.wait, operation) if self.waits else operation

    def make_constant(self, number: float, like: Native) -> Any:
        fits = dpnp.issubdtype(like.dtype, dpnp.floating) or (isinstance(number, int) and like.dtype != dpnp.bool)
        return dpnp.asarray(number, dtype=like.dtype, device=like.device) if fits else number


BACKEND = DpnpBackend
