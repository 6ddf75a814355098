"""CuPy on an NVIDIA GPU: construction checks that the GPU can be used, and every method enters its device."""

from contextlib import AbstractContextManager, suppress
from functools import cache
from importlib import metadata
from typing import Any

import array_api_compat.cupy
import cupy
import numpy as np

from xpnet.backends.base import Backend, cast
from xpnet.backends.choose import BACKENDS
from xpnet.backends.replay.eager import PatchedNamespace
from xpnet.core.arrays import BLOCK, Array, blocks
from xpnet.errors import BackendError


def _matmul(x: Array, y: Array) -> Array:
    # CuPy lays out a product whose first factor is a transpose, such as a gradient, in Fortran order. Weights are in C
    # order, and kernels are fast where both are laid out alike
    if not _is_transposed(x) or y.ndim < 2:
        return cupy.matmul(x, y)
    product: Array = cupy.matmul(y.mT, x.mT)
    return product.mT


def _is_transposed(x: Array) -> bool:
    return x.ndim >= 2 and x.strides[-2] == x.itemsize < x.strides[-1]


def _vecdot(x: Array, y: Array, axis: int = -1) -> Array:
    return cupy.sum(x * y, axis=axis)  # CuPy has none, and array_api_compat multiplies a stack of tiny matrices


def _sign(x: Array) -> Array:
    return cupy.where(x == x, cupy.sign(x), x)  # NaN stays NaN, without waiting for the device as array_api_compat does


_XP = PatchedNamespace(array_api_compat.cupy, matmul=_matmul, vecdot=_vecdot, sign=_sign)


class CuPyBackend(Backend):
    """CuPy on one GPU."""

    threads_from = None
    overhead = 100e-6

    def __init__(self, device: Any = None) -> None:
        _check_installation()
        self.name, self.xp = "cupy", _XP
        self.device = cupy.cuda.Device(_device_number(device))
        self.array_type = cupy.ndarray
        _check_device(self.device.id)

    @property
    def device_name(self) -> str:
        return f"cuda:{self.device.id}"

    @classmethod
    def devices(cls) -> list[str]:
        return [f"cuda:{i}" for i in range(_count_devices(None))]

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return cupy.cuda.Device(self.device.id)  # array_api_compat.cupy ignores device= when it makes an array

    def copy(self, x: Array) -> Array:
        with self.scope(""):
            return cupy.array(x, copy=True, order="C")

    def to_numpy(self, x: Array) -> np.ndarray:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        self.device.synchronize()

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        with self.scope(""):
            if x.size <= BLOCK:
                return cupy.asarray(cast(x, dtype))
            # CuPy copies through locked memory of the host, as large as the array, and keeps it: a block of it will do
            parts, start = cupy.empty(x.shape, dtype or x.dtype), 0
            for rows in blocks(x):
                parts[start : start + len(rows)] = cupy.asarray(cast(rows, dtype))
                start += len(rows)
            return parts

    def _from_device(self, x: Array) -> Array:
        with self.scope(""):
            x = x if isinstance(x, cupy.ndarray) else cupy.from_dlpack(x)
        if x.device == self.device:
            return x
        with x.device:
            x = cupy.ascontiguousarray(x)  # CuPy copies nothing else to another GPU
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
    """Check, once, that a GPU can multiply: without CUDA's libraries the import succeeds, and the first product fails.

    Synchronizes.
    """
    try:
        with cupy.cuda.Device(number) as device:
            _ = cupy.ones((2, 2), dtype="float32") @ cupy.ones((2, 2), dtype="float32")
            device.synchronize()
    except Exception as error:
        raise BackendError(
            f"backend='cupy' cannot multiply on cuda:{number} ({type(error).__name__}: {error}); if CUDA libraries are "
            f"missing, install them with: {BACKENDS['cupy'][1]}; else check what else uses the GPU"
        ) from error


def _installed_packages() -> list[str]:
    """Names of the installed packages that contain CuPy; only one may be installed."""
    names = []
    for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-5-0", "cupy-rocm-7-0"):
        with suppress(metadata.PackageNotFoundError):
            names.append(metadata.distribution(name).metadata["Name"])
    return names


def _device_number(device: Any) -> int:
    """Number of the GPU for None (CuPy's current one), ``"cuda"``, ``"cuda:1"`` or a CuPy device."""
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
    """Number of GPUs that CuPy sees; importing it succeeds without any."""
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"backend='cupy' with device={device!r} finds no usable GPU ({error}); install or update the NVIDIA "
            "driver and check it with nvidia-smi, or use backend='numpy'"
        ) from error


BACKEND = CuPyBackend
