"""CuPy on an NVIDIA GPU: every method enters the device, and loops are CUDA graphs. No GPU has run it yet."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, ClassVar

import array_api_compat.cupy
import cupy
import numpy as np

from xpnet._checks import name_backend
from xpnet.backends._choose import BACKENDS
from xpnet.backends._cuda_graph import GraphLoop, matmul
from xpnet.backends.base import (
    ON_GPU,
    UFUNCS,
    Eager,
    PatchedNamespace,
    astype,
    cast,
    find_operators,
)
from xpnet.core.arrays import Native
from xpnet.errors import BackendError

# Functions that take `out`, can be captured, and never wait for the device, as some of array_api_compat do


def sum_along(
    x: Native, axis: Any = None, dtype: Any = None, keepdims: bool = False, out: Native | None = None
) -> Native:
    """Compute sums."""
    return x.sum(axis, dtype, out, keepdims)


def max_along(x: Native, axis: Any = None, keepdims: bool = False, out: Native | None = None) -> Native:
    """Return the largest numbers."""
    return x.max(axis, out, keepdims)


def vecdot(x: Native, y: Native, axis: int = -1, out: Native | None = None) -> Native:
    """Return scalar products. CuPy has no such function, and array_api_compat's multiplies a stack of tiny matrices."""
    return (x * y).sum(axis, None, out)


def take(x: Native, index: Native, axis: int | None = None, out: Native | None = None) -> Native:
    """Take elements by index."""
    return x.take(index, axis, out)


def sign(x: Native) -> Native:
    """Return the signs; NaN stays NaN."""
    return cupy.where(x == x, cupy.sign(x), x)


def clip(x: Native, min: Any = None, max: Any = None) -> Native:
    """Limit numbers to a range."""
    x = x if min is None else cupy.maximum(x, min)
    return x if max is None else cupy.minimum(x, max)


WITH_OUT: dict[str, Callable[..., Native]] = {
    **{name: getattr(cupy, name) for name in ("exp", "log", "log1p", "expm1", "tanh", "sqrt", "minimum", "maximum")},
    **{"abs": cupy.absolute, "astype": astype, "take": take},
    **{"sum": sum_along, "max": max_along, "vecdot": vecdot, "matmul": matmul},
}
NAMESPACE = PatchedNamespace(array_api_compat.cupy, clip=clip, sign=sign, where=cupy.where, **WITH_OUT)


class CuPyBackend(Eager):
    """CuPy on one GPU."""

    loop_type = GraphLoop
    threads_from = None
    speed = ON_GPU
    compiles = True
    remark = "with CUDA graphs"
    gathered_together = 1 << 24
    by_columns = True
    kept_bytes = 1 << 30  # GPUs have more memory, and graphs take longer to build
    operators: ClassVar[dict[str, Callable[..., Native]]] = {**find_operators(cupy, UFUNCS), "matmul": matmul}
    with_out = WITH_OUT

    def __init__(self, device: Any = None) -> None:
        if not hasattr(cupy.ndarray, "mT"):
            raise BackendError(
                f"CuPy {cupy.__version__} is too old; install version 14 or later with: {BACKENDS['cupy'][1]}"
            )
        self.name, self.xp = "cupy", NAMESPACE
        self.device = cupy.cuda.Device(_device_number(device))
        self.array_type = cupy.ndarray
        self.on_host = False
        _check_device(self.device.id)

    @property
    def device_name(self) -> str:
        return f"cuda:{self.device.id}"

    @classmethod
    def devices(cls) -> list[str]:
        return [f"cuda:{i}" for i in range(_count_devices(None))]

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return cupy.cuda.Device(self.device.id)  # array_api_compat.cupy ignores device= when it makes an array

    def copy(self, x: Native) -> Native:
        with self.scope(""):  # by columns, as the gradients of weights are
            return cupy.array(x.mT, order="C").mT if x.ndim > 1 else cupy.array(x)

    def make_contiguous(self, x: Native) -> Native:
        with self.scope(""):
            return cupy.ascontiguousarray(x)

    def to_numpy(self, x: Native) -> np.ndarray:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        self.device.synchronize()

    def shares_memory(self, x: Native, y: Native) -> bool:
        return x.data.mem is y.data.mem

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        with self.scope(""):
            return cupy.asarray(cast(x, dtype))

    def _from_device(self, x: Native) -> Native:
        with self.scope(""):
            x = x if isinstance(x, cupy.ndarray) else cupy.from_dlpack(x)
        if x.device == self.device:
            return x
        with x.device:
            x = cupy.ascontiguousarray(x)  # CuPy copies only contiguous arrays between GPUs
        with self.scope(""):
            return cupy.array(x, copy=True)


@cache
def _check_device(number: int) -> None:
    """Check, once, that a GPU can multiply: without CUDA's libraries, the import succeeds and the first product fails.

    Synchronizes.
    """
    try:
        with cupy.cuda.Device(number):
            matmul(cupy.ones((2, 2), dtype="float32"), cupy.ones((2, 2), dtype="float32"))
            cupy.cuda.get_current_stream().synchronize()  # not the device: another thread may be capturing on it
    except Exception as error:
        raise BackendError(
            f"backend='cupy' cannot multiply on cuda:{number} ({type(error).__name__}: {error}); if CUDA libraries are "
            f"missing, install them with: {BACKENDS['cupy'][1]}; else check what else uses the GPU"
        ) from error


def _device_number(device: Any) -> int:
    """Return the number of the GPU for None (CuPy's current one), ``"cuda"``, ``"cuda:1"`` or a CuPy device."""
    name = f"cuda:{device.id}" if isinstance(device, cupy.cuda.Device) else str("cuda" if device is None else device)
    platform, _, index = name.partition(":")
    if platform != "cuda" or not (index or "0").isdecimal():
        raise BackendError(f'device={device!r} contradicts backend="cupy", which takes "cuda" or "cuda:N"')
    count = _count_devices(device)
    number = int(index) if index else cupy.cuda.runtime.getDevice()
    if number >= count:
        raise BackendError(
            f"device={device!r} is not available: {count} GPU{'s' * (count != 1)} visible, counted from 0"
        )
    return number


def _count_devices(device: Any) -> int:
    """Count the GPUs that CuPy sees; CuPy can be imported without any."""
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"{name_backend(repr('cupy'), device)} finds no usable GPU ({error}); install or update the NVIDIA "
            "driver and check it with nvidia-smi, or use backend='numpy'"
        ) from error


BACKEND = CuPyBackend
