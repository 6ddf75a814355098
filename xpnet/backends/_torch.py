"""PyTorch: its own arrays, its own devices, and no autograd."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import array_api_compat.torch
import numpy as np
import torch

from xpnet.arrays import Array
from xpnet.backends import cast, host_array
from xpnet.backends._replay import Eager, Lean, Shortcut
from xpnet.errors import BackendError


def _sum(x: Array, axis: int | None = None, keepdims: bool = False, out: Array | None = None) -> Array:
    return torch.sum(x, _axes(axis), keepdims, out=out)


def _max(x: Array, axis: int | None = None, keepdims: bool = False, out: Array | None = None) -> Array:
    return torch.amax(x, _axes(axis), keepdims, out=out)


def _axes(axis: Any) -> Any:
    return () if axis is None else axis  # all of them


def _take(x: Array, index: Array, axis: int, out: Array | None = None) -> Array:
    return torch.index_select(x, axis, index, out=out)


def _matmul(x: Array, y: Array, out: Array | None = None) -> Array:
    # What begins with a transpose, as a gradient does, comes out transposed in memory: then it lies there as weights do
    if x.dtype != y.dtype:
        return _into(out, array_api_compat.torch.matmul(x, y))
    if _is_turned(x) and y.ndim >= 2:
        return torch.matmul(y.mT, x.mT, out=None if out is None else out.mT).mT
    return torch.matmul(x, y, out=out)


def _is_turned(x: Array) -> bool:
    return x.ndim >= 2 and x.stride(-2) == 1 < x.stride(-1)


def _vecdot(x: Array, y: Array, axis: int = -1, out: Array | None = None) -> Array:
    if x.dtype != y.dtype:
        return _into(out, array_api_compat.torch.vecdot(x, y, axis=axis))
    return torch.linalg.vecdot(x, y, dim=axis, out=out)


def _astype(x: Array, dtype: Any, copy: bool = True, out: Array | None = None) -> Array:
    return x.to(dtype, copy=copy) if out is None else out.copy_(x)


def _where(condition: Array, x: Any, y: Any, out: Array | None = None) -> Array:
    if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
        return torch.where(condition, x, y, out=out)
    return _into(out, array_api_compat.torch.where(condition, x, y))


def _into(out: Array | None, found: Array) -> Array:
    return found if out is None else out.copy_(found)


def _divided(x: Array, number: Array, out: Array | None = None) -> Array:
    return torch.mul(torch.reciprocal(x, out=out), number, out=out)  # as PyTorch divides a number by a tensor


def _short_matmul(out: Array, x: Array, y: Array) -> Callable[[], Any]:
    if x.ndim != 2 or y.ndim != 2 or x.dtype != y.dtype:
        return partial(_matmul, x, y, out=out)
    return partial(torch.mm, y.mT, x.mT, out=out.mT) if _is_turned(x) else partial(torch.mm, x, y, out=out)


def _short(function: Callable[..., Array], method: Callable[..., Array]) -> Shortcut:
    return lambda out, x, y: partial(method, x, y) if out is x else partial(function, x, y, out=out)


_XP = Lean(array_api_compat.torch, matmul=_matmul, vecdot=_vecdot)


class TorchBackend(Eager):
    """PyTorch on any of its devices."""

    writers: ClassVar[dict[str, Callable[..., Array]]] = {
        **{"exp": torch.exp, "log": torch.log, "log1p": torch.log1p, "expm1": torch.expm1, "tanh": torch.tanh},
        **{"abs": torch.abs, "sign": torch.sign, "sqrt": torch.sqrt, "where": _where},
        **{"minimum": torch.minimum, "maximum": torch.maximum, "matmul": _matmul, "vecdot": _vecdot},
        **{"sum": _sum, "max": _max, "take": _take, "astype": _astype},
    }
    operators: ClassVar[dict[str, Callable[..., Array]]] = {
        **{"add": torch.add, "sub": torch.sub, "mul": torch.mul, "truediv": torch.div, "rtruediv": _divided},
        **{"neg": torch.neg, "abs": torch.abs, "invert": torch.bitwise_not},
        **{"lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge, "eq": torch.eq, "ne": torch.ne},
        **{"and": torch.bitwise_and, "or": torch.bitwise_or, "xor": torch.bitwise_xor},
        **{"lshift": torch.bitwise_left_shift, "rshift": torch.bitwise_right_shift},
    }
    shortcuts: ClassVar[dict[Any, Shortcut]] = {
        _sum: lambda out, x, axis=None, keepdims=False: partial(torch.sum, x, _axes(axis), keepdims, out=out),
        _astype: lambda out, x, dtype, **options: partial(out.copy_, x),
        _max: lambda out, x, axis=None, keepdims=False: partial(torch.amax, x, _axes(axis), keepdims, out=out),
        _matmul: _short_matmul,
        **{torch.add: _short(torch.add, torch.Tensor.add_), torch.sub: _short(torch.sub, torch.Tensor.sub_)},
        **{torch.mul: _short(torch.mul, torch.Tensor.mul_), torch.div: _short(torch.div, torch.Tensor.div_)},
    }

    def __init__(self, device: Any = None) -> None:
        try:
            where = torch.get_default_device() if device is None else torch.device(device)
            super().__init__("torch", _XP, where)
            self.to_numpy(self.xp.zeros(1, device=self.device))  # "meta" holds no numbers
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BackendError(
                f'device={device!r} cannot be used with backend="torch" ({reason}); it has {", ".join(self.devices())}'
            ) from error

    @classmethod
    def devices(cls) -> list[str]:
        found = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return found + (["mps"] if torch.backends.mps.is_available() else [])

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return torch.no_grad()  # not inference_mode: its results fail in a user's autograd

    def own(self, x: Array) -> Array:
        return torch.as_tensor(x).clone(memory_format=torch.contiguous_format)

    def to_numpy(self, x: Array) -> np.ndarray:
        return host_array(x.detach().cpu())

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def writer(self, name: str) -> Callable[..., Array] | None:
        return self.writers.get(name)

    def write(self, target: Array, x: Any) -> None:
        target.copy_(x)

    def like(self, x: Array) -> Array:
        return torch.empty_like(x)

    def layout(self, x: Array) -> tuple[Any, ...]:
        return x.shape, x.dtype, x.stride()

    def share(self, x: Array, y: Array) -> bool:
        return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()

    def aligned(self, x: Array) -> bool:
        return x.data_ptr() % 64 == 0  # the beginning of a cache line

    def constant(self, number: float, like: Array) -> Any:
        whole = isinstance(number, int) and like.dtype != torch.bool
        return (
            torch.tensor(number, dtype=like.dtype, device=like.device) if whole or like.is_floating_point() else number
        )

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        x = np.require(cast(x, dtype), requirements=["C", "W"])  # what a tensor can share, else a copy
        return torch.from_numpy(x).to(self.device)


BACKEND = TorchBackend
