"""CuPy on an NVIDIA GPU: a usable GPU is proved at construction, and its device entered at every public call."""

from contextlib import AbstractContextManager, suppress
from importlib import metadata
from typing import Any

import array_api_compat.cupy
import cupy
import numpy as np

from xpnet.arrays import Array
from xpnet.backends import BACKENDS, Backend, cast
from xpnet.errors import BackendError


class CuPyBackend(Backend):
    """CuPy on one GPU."""

    blas = False

    def __init__(self, device: Any = None) -> None:
        if len(packages := _packages()) > 1:
            raise BackendError(
                f"backend='cupy' is installed {len(packages)} times, and each overwrites a part of the others "
                f"({', '.join(packages)}); remove all of them with: pip uninstall {' '.join(packages)}, then install "
                f"one with: {BACKENDS['cupy'][1]}"
            )
        self.name, self.xp = "cupy", array_api_compat.cupy
        self.device = cupy.cuda.Device(_number(device))
        self._array_type = cupy.ndarray
        if not hasattr(cupy.ndarray, "mT"):
            raise BackendError(
                f"CuPy {cupy.__version__} is too old, 14 is needed; install it with: {BACKENDS['cupy'][1]}"
            )
        try:
            with self.device:
                _ = cupy.ones((2, 2), dtype="float32") @ cupy.ones((2, 2), dtype="float32")
                self.device.synchronize()
        except Exception as error:  # a driver without CUDA's libraries imports, and fails at the first product
            raise BackendError(
                f"backend='cupy' cannot multiply on {self.device_name} ({type(error).__name__}: {error}); if CUDA "
                f"libraries are missing, install them with: {BACKENDS['cupy'][1]}; else see what else uses the GPU"
            ) from error

    @property
    def device_name(self) -> str:
        return f"cuda:{self.device.id}"

    @classmethod
    def devices(cls) -> list[str]:
        return [f"cuda:{i}" for i in range(_count(None))]

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return cupy.cuda.Device(self.device.id)  # array_api_compat.cupy ignores device= when it makes an array

    def own(self, x: Array) -> Array:
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


def _packages() -> list[str]:
    """Names of the packages that hold CuPy; only one may be there."""
    found = []
    for name in ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x", "cupy-rocm-5-0", "cupy-rocm-7-0"):
        with suppress(metadata.PackageNotFoundError):
            found.append(metadata.distribution(name).metadata["Name"])
    return found


def _number(device: Any) -> int:
    """Number of the GPU that None (CuPy's current one), ``"cuda"``, ``"cuda:1"`` or a CuPy device names."""
    name = f"cuda:{device.id}" if isinstance(device, cupy.cuda.Device) else str("cuda" if device is None else device)
    platform, _, index = name.partition(":")
    if platform != "cuda" or not (index or "0").isdecimal():
        raise BackendError(f'device={device!r} contradicts backend="cupy", which takes "cuda" or "cuda:N"')
    count = _count(device)
    number = int(index) if index else cupy.cuda.runtime.getDevice()
    if number >= count:
        raise BackendError(f"device={device!r} cannot be had: {count} GPU{'s' * (count != 1)} visible, counted from 0")
    return number


def _count(device: Any) -> int:
    """How many GPUs CuPy sees; its import succeeds without any."""
    try:
        return cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"backend='cupy' with device={device!r} finds no usable GPU ({error}); install or update the NVIDIA "
            "driver and check it with nvidia-smi, or use backend='numpy'"
        ) from error


BACKEND = CuPyBackend
