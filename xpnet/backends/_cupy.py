"""CuPy on an NVIDIA GPU: construction checks that the GPU can be used, and every method enters its device."""

from contextlib import AbstractContextManager, suppress
from importlib import metadata
from typing import Any

import array_api_compat.cupy
import cupy
import numpy as np

from xpnet.backends.base import Backend, cast
from xpnet.backends.choose import BACKENDS
from xpnet.core.arrays import Array
from xpnet.errors import BackendError


class CuPyBackend(Backend):
    """CuPy on one GPU."""

    threads_from = None
    overhead = 100e-6

    def __init__(self, device: Any = None) -> None:
        if len(packages := _installed_packages()) > 1:
            raise BackendError(
                f"backend='cupy' is installed {len(packages)} times, and each copy overwrites parts of the others "
                f"({', '.join(packages)}); remove all of them with: pip uninstall {' '.join(packages)}, then install "
                f"one with: {BACKENDS['cupy'][1]}"
            )
        self.name, self.xp = "cupy", array_api_compat.cupy
        self.device = cupy.cuda.Device(_device_number(device))
        self.array_type = cupy.ndarray
        if not hasattr(cupy.ndarray, "mT"):
            raise BackendError(
                f"CuPy {cupy.__version__} is too old; install version 14 or later with: {BACKENDS['cupy'][1]}"
            )
        try:
            with self.device:
                _ = cupy.ones((2, 2), dtype="float32") @ cupy.ones((2, 2), dtype="float32")
                self.device.synchronize()
        except Exception as error:  # without CUDA's libraries the import succeeds, and the first product fails
            raise BackendError(
                f"backend='cupy' cannot multiply on {self.device_name} ({type(error).__name__}: {error}); if CUDA "
                f"libraries are missing, install them with: {BACKENDS['cupy'][1]}; else check what else uses the GPU"
            ) from error

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
            return cupy.array(x, copy=True)

    def to_numpy(self, x: Array) -> np.ndarray:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        self.device.synchronize()

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        with self.scope(""):
            return cupy.asarray(cast(x, dtype))

    def _from_device(self, x: Array) -> Array:
        with self.scope(""):
            x = x if isinstance(x, cupy.ndarray) else cupy.from_dlpack(x)
            return x if x.device == self.device else cupy.array(x, copy=True)


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
