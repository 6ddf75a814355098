"""PyTorch: its own arrays and its own devices. Its autograd sees the outputs of a network as one function."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar

import array_api_compat.torch as compat
import numpy as np
import torch

from xpnet.backends._machine import limit_once
from xpnet.backends.base import ON_CPU, ON_GPU, BindShortcut, Eager, PatchedNamespace, cast, find_operators, host_array
from xpnet.backends.replay import ReplayLoop
from xpnet.core.arrays import Function, Native
from xpnet.errors import ArgumentError, BackendError

# Functions with `out`. They do the same as those of array_api_compat, with less overhead for what a step needs.


def _sum(x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    if axis == () or dtype is not None:
        return _copy_into(out, compat.sum(x, axis=axis, dtype=dtype, keepdims=keepdims))
    return torch.sum(x, _all_if_none(axis), keepdims, out=out)


def _max(x: Native, axis: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    if axis == ():
        return _copy_into(out, compat.max(x, axis=axis, keepdims=keepdims))
    return torch.amax(x, _all_if_none(axis), keepdims, out=out)


def _all_if_none(axis: Any) -> Any:
    return () if axis is None else axis  # in PyTorch, () means all axes


def _take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    return compat.take(x, index, axis=axis, out=out)


def _matmul(x: Native, y: Native, out: Native | None = None) -> Native:
    # A product whose first factor is a transpose, as in a gradient, comes out transposed in memory, as weights are
    if x.dtype != y.dtype:
        return _copy_into(out, compat.matmul(x, y))
    if _is_transposed(x) and y.ndim >= 2:
        return torch.matmul(y.mT, x.mT, out=None if out is None else out.mT).mT
    return torch.matmul(x, y, out=out)


def _is_transposed(x: Native) -> bool:
    return x.ndim >= 2 and x.stride(-2) == 1 < x.stride(-1)


def _vecdot(x: Native, y: Native, axis: int = -1, out: Native | None = None) -> Native:
    if x.dtype != y.dtype:
        return _copy_into(out, compat.vecdot(x, y, axis=axis))
    return torch.linalg.vecdot(x, y, dim=axis, out=out)


def _astype(x: Native, dtype: Any, copy: bool = True, device: Any = None, out: Native | None = None) -> Native:
    return compat.astype(x, dtype, copy=copy, device=device) if out is None else out.copy_(x)


def _where(condition: Native, x: Any, y: Any, out: Native | None = None) -> Native:
    if _are_alike(x, y):
        return torch.where(condition, x, y, out=out)
    return _copy_into(out, compat.where(condition, x, y))


def _maximum(x: Any, y: Any, out: Native | None = None) -> Native:
    x, y = _fill_number(x, y), _fill_number(y, x)
    return torch.maximum(x, y, out=out) if _are_alike(x, y) else _copy_into(out, compat.maximum(x, y))


def _minimum(x: Any, y: Any, out: Native | None = None) -> Native:
    x, y = _fill_number(x, y), _fill_number(y, x)
    return torch.minimum(x, y, out=out) if _are_alike(x, y) else _copy_into(out, compat.minimum(x, y))


def _fill_number(x: Any, other: Any) -> Any:
    """Make a tensor of a number on the device itself; array_api_compat would copy it there, and wait for the copy."""
    if isinstance(x, torch.Tensor) or not isinstance(other, torch.Tensor):
        return x
    return torch.full((), x, dtype=compat.result_type(x, other), device=other.device)


def _are_alike(x: Any, y: Any) -> bool:
    """Whether both are tensors of one dtype, for which array_api_compat changes nothing."""
    return isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.dtype == y.dtype


def _copy_into(out: Native | None, result: Native) -> Native:
    return result if out is None else out.copy_(result)


def _divide_number(x: Native, number: Native, out: Native | None = None) -> Native:
    return torch.mul(torch.reciprocal(x, out=out), number, out=out)  # as PyTorch divides a number by a tensor


def _bind_pair(function: Callable[..., Native], direct: Callable[..., Native]) -> BindShortcut:
    """Bind PyTorch's own function where its operands are tensors of one dtype."""
    return lambda out, x, y: partial(direct if _are_alike(x, y) else function, x, y, out=out)


def _bind_sum(out: Native, x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Callable[[], Any]:
    if axis == () or dtype is not None:
        return partial(_sum, x, axis, dtype, keepdims, out=out)
    return partial(torch.sum, x, _all_if_none(axis), keepdims, out=out)


def _bind_max(out: Native, x: Native, axis: Any = None, keepdims: bool = False) -> Callable[[], Any]:
    if axis == ():
        return partial(_max, x, axis, keepdims, out=out)
    return partial(torch.amax, x, _all_if_none(axis), keepdims, out=out)


def _bind_matmul(out: Native, x: Native, y: Native) -> Callable[[], Any]:
    if x.ndim != 2 or y.ndim != 2 or x.dtype != y.dtype:
        return partial(_matmul, x, y, out=out)
    return partial(torch.mm, y.mT, x.mT, out=out.mT) if _is_transposed(x) else partial(torch.mm, x, y, out=out)


def _prefer_method(function: Callable[..., Native], method: Callable[..., Native]) -> BindShortcut:
    """Bind the in-place method where the result replaces the first operand, else the function."""
    return lambda out, x, y: partial(method, x, y) if out is x else partial(function, x, y, out=out)


@contextmanager
def _set_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)  # threadpoolctl does not reach MKL once somebody has called this
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refuse_vmap(info: Any, in_dims: Any, *args: Any) -> Any:
    """Refuse a transformation of `torch.func` that adds an axis to the arrays of a network."""
    raise ArgumentError(
        "torch.func.vmap and jacrev cannot go through a network; net.jacobian(x) computes the derivatives of all rows "
        "at once, and a module made by xpnet.export.to_torch can be transformed"
    )


class _GraphFunction(torch.autograd.Function):
    """A function in PyTorch's graph whose gradient is computed by a pullback."""

    vmap = staticmethod(_refuse_vmap)

    @staticmethod
    def forward(x: Native, function: Function, pullback: Function) -> Native:
        return function(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Native) -> None:
        x, _, ctx.pullback = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, g: Native) -> Any:
        (x,) = ctx.saved_tensors
        return _Gradient.apply(x, g, ctx.pullback), None, None


class _Gradient(torch.autograd.Function):
    """The gradient of `_GraphFunction`, which cannot be differentiated again."""

    vmap = staticmethod(_refuse_vmap)

    @staticmethod
    def forward(x: Native, g: Native, pullback: Function) -> Native:
        return pullback(x, g).reshape(x.shape).to(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Native) -> None: ...

    @staticmethod
    def backward(ctx: Any, g: Native) -> Any:
        raise ArgumentError(
            "PyTorch takes only first derivatives of a network's outputs; net.hessian(x) computes second derivatives, "
            "and a module made by xpnet.export.to_torch has those of any order"
        )


BITWISE = "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift"
_XP = PatchedNamespace(compat, matmul=_matmul, vecdot=_vecdot, maximum=_maximum, minimum=_minimum)


class TorchBackend(Eager):
    """PyTorch on any of its devices."""

    with_out: ClassVar[dict[str, Callable[..., Native]]] = {
        **{name: getattr(torch, name) for name in ["exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "sqrt"]},
        **{"minimum": _minimum, "maximum": _maximum, "matmul": _matmul, "vecdot": _vecdot, "where": _where},
        **{"sum": _sum, "max": _max, "take": _take, "astype": _astype},
    }
    operators: ClassVar[dict[str, Callable[..., Native]]] = {
        **find_operators(torch, f"add sub mul div neg abs bitwise_not lt le gt ge eq ne {BITWISE}"),
        "rtruediv": _divide_number,
    }
    shortcuts: ClassVar[dict[Any, BindShortcut]] = {
        _sum: _bind_sum,
        _max: _bind_max,
        _astype: lambda out, x, dtype, **options: partial(out.copy_, x),
        _matmul: _bind_matmul,
        _maximum: _bind_pair(_maximum, torch.maximum),
        _minimum: _bind_pair(_minimum, torch.minimum),
        torch.add: _prefer_method(torch.add, torch.Tensor.add_),
        torch.sub: _prefer_method(torch.sub, torch.Tensor.sub_),
        torch.mul: _prefer_method(torch.mul, torch.Tensor.mul_),
        torch.div: _prefer_method(torch.div, torch.Tensor.div_),
    }
    depends_on_alignment = True
    not_elementwise: ClassVar[set[Callable[..., Native]]] = {_matmul, _vecdot, _sum, _max, _take, _astype}

    def __init__(self, device: Any = None) -> None:
        try:
            torch_device = torch.get_default_device() if device is None else torch.device(device)
            super().__init__("torch", _XP, torch_device)
            self.speed = ON_CPU._replace(layer=40e-6) if self.on_host else ON_GPU._replace(layer=100e-6)
            self.to_numpy(self.xp.zeros(1, device=self.device))  # fails on "meta", whose tensors have no values
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BackendError(
                f'device={device!r} cannot be used with backend="torch" ({reason}); it has {", ".join(self.devices())}'
            ) from error

    @classmethod
    def devices(cls) -> list[str]:
        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return ["cpu", *gpus] + (["mps"] if torch.backends.mps.is_available() else [])

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return torch.no_grad()  # not inference_mode, whose results cannot enter a user's autograd graph

    def copy(self, x: Native) -> Native:
        return torch.as_tensor(x).clone(memory_format=torch.contiguous_format)

    def make_contiguous(self, x: Native) -> Native:
        return x.contiguous()

    def to_numpy(self, x: Native) -> np.ndarray:
        return host_array(x.detach().cpu())

    def records(self, x: Any) -> bool:
        return isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled()

    def join(self, function: Function, pullback: Function, x: Native) -> Native:
        return _GraphFunction.apply(x, function, pullback)

    def loop(self, step: Function, make_minibatch: Function) -> ReplayLoop:
        return ReplayLoop(self, step, make_minibatch)

    def limit_threads(self, number: int) -> AbstractContextManager[Any]:
        return limit_once("torch", lambda: _set_threads(number))

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def assign(self, target: Native, x: Any) -> None:
        target.copy_(x)

    def empty_like(self, x: Native) -> Native:
        return torch.empty_like(x)

    def memory_layout(self, x: Native) -> tuple[Any, ...]:
        return x.shape, x.dtype, x.stride()

    def shares_memory(self, x: Native, y: Native) -> bool:
        return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

    def is_aligned(self, x: Native) -> bool:
        return x.data_ptr() % 64 == 0  # the start of a cache line

    def make_constant(self, number: float, like: Native) -> Any:
        fits = like.is_floating_point() or (isinstance(number, int) and like.dtype != torch.bool)
        return torch.tensor(number, dtype=like.dtype, device=like.device) if fits else number

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        x = np.require(cast(x, dtype), requirements=["C", "A", "W"])  # a copy only where a tensor cannot share memory
        if any(stride < 0 or stride % x.itemsize for stride in x.strides):
            x = x.copy()  # NumPy calls an axis of one element contiguous, whatever its stride
        return torch.from_numpy(x).to(self.device)


BACKEND = TorchBackend
