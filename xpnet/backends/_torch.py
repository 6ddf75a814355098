"""PyTorch: its own arrays and its own devices. Its autograd sees the outputs of a network as one function."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, ClassVar

import array_api_compat.torch as compat
import numpy as np
import torch

from xpnet.backends._machine import limit_once
from xpnet.backends._subnormals import find_modes
from xpnet.backends.base import ON_CPU, ON_GPU, BindShortcut, Eager, PatchedNamespace, cast, find_operators, host_array
from xpnet.backends.replay import ReplayLoop
from xpnet.core.arrays import Function, Native
from xpnet.errors import ArgumentError, BackendError

# Functions of the namespace. Those of array_api_compat also take operands of two dtypes, and numbers


def _matmul(x: Native, y: Native) -> Native:
    # A product whose first factor is a transpose, as in a gradient, comes out transposed in memory, as weights are
    if x.dtype == y.dtype and y.ndim >= 2 and _is_transposed(x):
        return torch.matmul(y.mT, x.mT).mT
    return compat.matmul(x, y)


def _is_transposed(x: Native) -> bool:
    return x.ndim >= 2 and x.stride(-2) == 1 < x.stride(-1)


def _vecdot(x: Native, y: Native, axis: int = -1) -> Native:
    return torch.linalg.vecdot(x, y, dim=axis) if x.dtype == y.dtype else compat.vecdot(x, y, axis=axis)


def _fill_numbers(function: Callable[..., Native]) -> Callable[..., Native]:
    return lambda x, y: function(_fill_number(x, y), _fill_number(y, x))


_maximum, _minimum = _fill_numbers(compat.maximum), _fill_numbers(compat.minimum)


def _fill_number(x: Any, other: Any) -> Any:
    """Make a tensor of a number on the device itself; array_api_compat would copy it there, and wait for the copy."""
    if isinstance(x, torch.Tensor) or not isinstance(other, torch.Tensor):
        return x
    return torch.full((), x, dtype=compat.result_type(x, other), device=other.device)


def _take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    return compat.take(x, index, axis=axis, out=out)


def _divide_number(x: Native, number: Native) -> Native:
    return torch.mul(torch.reciprocal(x), number)  # as PyTorch divides a number by a tensor


# Calls that write into `out` what the functions return; None if PyTorch has no function for these operands


def _bind_reduction(
    reduce: Callable[..., Native], out: Native, x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False
) -> Callable[[], Any] | None:
    axes = () if axis is None else axis  # in PyTorch, () means all axes
    return None if axis == () or dtype is not None else partial(reduce, x, axes, keepdims, out=out)


def _bind_matmul(out: Native, x: Native, y: Native) -> Callable[[], Any] | None:
    if x.dtype != y.dtype:
        return None
    multiply = torch.mm if x.ndim == y.ndim == 2 else torch.matmul
    if y.ndim >= 2 and _is_transposed(x):
        return partial(multiply, y.mT, x.mT, out=out.mT)
    return partial(multiply, x, y, out=out)


def _bind_vecdot(out: Native, x: Native, y: Native, axis: int = -1) -> Callable[[], Any] | None:
    return partial(torch.linalg.vecdot, x, y, dim=axis, out=out) if x.dtype == y.dtype else None


def _bind_where(out: Native, condition: Native, x: Any, y: Any) -> Callable[[], Any] | None:
    return partial(torch.where, condition, x, y, out=out) if _are_alike(x, y) else None


def _bind_pair(function: Callable[..., Native]) -> BindShortcut:
    return lambda out, x, y: partial(function, x, y, out=out) if _are_alike(x, y) else None


def _are_alike(x: Any, y: Any) -> bool:
    """Whether both are tensors of one dtype, for which array_api_compat changes nothing."""
    return isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and x.dtype == y.dtype


def _bind_division(out: Native, x: Native, number: Native) -> Callable[[], Any]:
    return lambda: torch.mul(torch.reciprocal(x, out=out), number, out=out)


def _prefer_method(name: str) -> BindShortcut:
    """Bind the in-place method where the result replaces the first operand, else the function."""
    function, method = getattr(torch, name), getattr(torch.Tensor, f"{name}_")
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
_ELEMENTWISE = ("exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "sqrt")
_XP = PatchedNamespace(
    compat,
    **{name: getattr(torch, name) for name in _ELEMENTWISE},
    **{"matmul": _matmul, "vecdot": _vecdot, "maximum": _maximum, "minimum": _minimum, "take": _take},
)


class TorchBackend(Eager):
    """PyTorch on any of its devices."""

    with_out: ClassVar[dict[str, Callable[..., Native]]] = {
        name: getattr(_XP, name)
        for name in (*_ELEMENTWISE, "minimum", "maximum", "matmul", "vecdot", "where", "sum", "max", "take", "astype")
    }
    operators: ClassVar[dict[str, Callable[..., Native]]] = {
        **find_operators(torch, f"add sub mul div neg abs bitwise_not lt le gt ge eq ne {BITWISE} matmul"),
        "rtruediv": _divide_number,
    }
    shortcuts: ClassVar[dict[Any, BindShortcut]] = {
        compat.sum: partial(_bind_reduction, torch.sum),
        compat.max: partial(_bind_reduction, torch.amax),
        _vecdot: _bind_vecdot,
        compat.where: _bind_where,
        compat.astype: lambda out, x, dtype, **options: partial(out.copy_, x),
        _matmul: _bind_matmul,
        _maximum: _bind_pair(torch.maximum),
        _minimum: _bind_pair(torch.minimum),
        _divide_number: _bind_division,
        **{getattr(torch, name): _prefer_method(name) for name in ("add", "sub", "mul", "div")},
    }
    not_elementwise: ClassVar[set[Callable[..., Native]]] = {
        *(_matmul, _vecdot, compat.sum, compat.max, _take, compat.astype),
    }
    depends_on_alignment = True
    loop_type = ReplayLoop

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

    def limit_threads(self, number: int) -> AbstractContextManager[Any]:
        return limit_once("torch", lambda: _set_threads(number))

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def assign(self, target: Native, x: Any) -> None:
        target.copy_(x)

    def memory_layout(self, x: Native) -> tuple[Any, ...]:
        return x.shape, x.dtype, x.stride()

    def shares_memory(self, x: Native, y: Native) -> bool:
        return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

    def is_aligned(self, x: Native) -> bool:
        return x.data_ptr() % 64 == 0  # the start of a cache line

    def make_constant(self, number: float, like: Native) -> Any:
        fits = like.is_floating_point() or (isinstance(number, int) and like.dtype != torch.bool)
        return torch.tensor(number, dtype=like.dtype, device=like.device) if fits else number

    def _find_modes(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        # Its threads have modes of their own: one that starts while this one flushes would do so ever after
        is_alone = self.on_host and torch.get_num_threads() == 1
        return find_modes() if is_alone else super()._find_modes()

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        x = np.require(cast(x, dtype), requirements=["C", "A", "W"])  # a copy only where a tensor cannot share memory
        if any(stride < 0 or stride % x.itemsize for stride in x.strides):
            x = x.copy()  # NumPy calls an axis of one element contiguous, whatever its stride
        return torch.from_numpy(x).to(self.device)


BACKEND = TorchBackend
