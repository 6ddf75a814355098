"""CuPy on an NVIDIA GPU: every method enters the device, and loops are CUDA graphs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache
from importlib import metadata
from typing import Any, ClassVar

import cupy
import numpy as np

from xpnet._checks import name_backend
from xpnet.backends._choose import BACKENDS
from xpnet.backends.base import ON_GPU, Eager, cast
from xpnet.backends.cuda import functions
from xpnet.backends.cuda.fusion import Operation
from xpnet.backends.cuda.graph import GraphLoop
from xpnet.backends.replay import ReplayLoop
from xpnet.core.arrays import BLOCK_ELEMENTS, Function, Native, blocks
from xpnet.errors import BackendError


class CuPyBackend(Eager):
    """CuPy on one GPU."""

    threads_from = None
    speed = ON_GPU
    compiles = True
    remark = "with CUDA graphs"
    gathered_together = 1 << 24
    kept_bytes = 1 << 30  # GPUs have more memory, and graphs take longer to build
    operators: ClassVar[dict[str, Callable[..., Native]]] = {
        **{"add": cupy.add, "sub": cupy.subtract, "mul": cupy.multiply, "truediv": cupy.true_divide},
        **{"neg": cupy.negative, "abs": cupy.absolute, "invert": cupy.invert},
        **{"lt": cupy.less, "le": cupy.less_equal, "gt": cupy.greater, "ge": cupy.greater_equal},
        **{"eq": cupy.equal, "ne": cupy.not_equal},
        **{"and": cupy.bitwise_and, "or": cupy.bitwise_or, "xor": cupy.bitwise_xor},
        **{"lshift": cupy.left_shift, "rshift": cupy.right_shift, "matmul": functions.matmul},
    }

    def __init__(self, device: Any = None) -> None:
        _check_installation()
        self.name, self.xp = "cupy", functions.NAMESPACE
        self.fuse = True  # whether operations of captured steps are fused
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
        with self.scope(""):
            return cupy.array(x, copy=True, order="C")

    def make_contiguous(self, x: Native) -> Native:
        return x if x.flags.c_contiguous else self.copy(x)

    def to_numpy(self, x: Native) -> np.ndarray:
        return cupy.asnumpy(x)

    def loop(self, step: Function, make_minibatch: Function) -> ReplayLoop:
        return GraphLoop(self, step, make_minibatch)

    def synchronize(self) -> None:
        self.device.synchronize()

    def function_with_out(self, name: str) -> Callable[..., Native] | None:
        return functions.WITH_OUT.get(name)

    def assign(self, target: Native, x: Any) -> None:
        functions.assign(x, target)

    def empty_like(self, x: Native) -> Native:
        return cupy.empty_like(x)

    def shares_memory(self, x: Native, y: Native) -> bool:
        return x.data.mem is y.data.mem

    def is_aligned(self, x: Native) -> bool:
        return x.data.ptr % 16 == 0  # bytes, which a thread can read at once

    def make_constant(self, number: float, like: Native) -> Any:
        return number  # kernels take numbers as they are

    def bind(
        self, function: Callable[..., Native], args: Sequence[Any], options: Any, out: Native
    ) -> Callable[[], Any]:
        return Operation(function, args, options, out)

    def bind_assign(self, target: Native, x: Native) -> Callable[[], Any]:
        return Operation(functions.assign, (x,), {}, target)

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        with self.scope(""):
            if x.size <= BLOCK_ELEMENTS:
                return cupy.asarray(cast(x, dtype))
            # CuPy copies through page-locked host memory as large as the array, and keeps that; blocks need less
            result, start = cupy.empty(x.shape, dtype or x.dtype), 0
            for rows in blocks(x):
                result[start : start + len(rows)] = cupy.asarray(cast(rows, dtype))
                start += len(rows)
            return result

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
def _check_installation() -> None:
    """Check, once, that there is one CuPy, and that it is not too old."""
    if len(packages := _installed_packages()) > 1:
        raise BackendError(
            f"backend='cupy' is installed {len(packages)} times, and each copy overwrites parts of the others "
            f"({', '.join(packages)}); remove all of them with: pip uninstall {' '.join(packages)}, then install "
            f"one with: {BACKENDS['cupy'][1]}"
        )
    if not hasattr(cupy.ndarray, "mT"):
        raise BackendError(
            f"CuPy {cupy.__version__} is too old; install version 14 or later with: {BACKENDS['cupy'][1]}"
        )


@cache
def _check_device(number: int) -> None:
    """Check, once, that a GPU can multiply: without CUDA's libraries, the import succeeds and the first product fails.

    Synchronizes.
    """
    try:
        with cupy.cuda.Device(number):
            functions.matmul(cupy.ones((2, 2), dtype="float32"), cupy.ones((2, 2), dtype="float32"))
            cupy.cuda.get_current_stream().synchronize()  # not the device: another thread may be capturing on it
    except Exception as error:
        raise BackendError(
            f"backend='cupy' cannot multiply on cuda:{number} ({type(error).__name__}: {error}); if CUDA libraries are "
            f"missing, install them with: {BACKENDS['cupy'][1]}; else check what else uses the GPU"
        ) from error


def _installed_packages() -> list[str]:
    """List the installed packages that contain CuPy; only one may be installed."""
    names = []
    for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-5-0", "cupy-rocm-7-0"):
        with suppress(metadata.PackageNotFoundError):
            names.append(metadata.distribution(name).metadata["Name"])
    return names


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
