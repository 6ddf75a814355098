"""dpnp on a SYCL device, experimental: its namespace, with remedies for two defects of dpnp 0.20."""

from functools import wraps
from typing import Any

import dpctl
import dpnp

from xpnet._checks import name_backend
from xpnet.backends.base import ON_CPU, ON_GPU, Backend, PatchedNamespace
from xpnet.core.arrays import Native
from xpnet.errors import BackendError


def matmul(x: Native, y: Native) -> Native:
    """Multiply matrices, after a copy of those that are broadcast along an axis: dpnp 0.20 multiplies them wrongly."""
    return dpnp.matmul(*(dpnp.asarray(factor, copy=True) if 0 in factor.strides else factor for factor in (x, y)))


class DpnpBackend(Backend):
    """dpnp on one SYCL device.

    On a CPU, functions wait for the device before they begin. Within an operation, dpnp 0.20 may hold Python's lock and
    wait for work that needs this lock to end, so that both wait forever. Operators cannot wait first.
    """

    threads_from = None

    def __init__(self, device: Any = None) -> None:
        try:
            super().__init__("dpnp", PatchedNamespace(dpnp, matmul=matmul), device)
        except Exception as error:  # SyclDeviceCreationError has no closer base class
            there = ", ".join(self.devices()) or "none"
            raise BackendError(
                f"{name_backend(repr('dpnp'), device)} cannot be used ({error}); SYCL devices found here: {there}; for "
                "the CPU, install intel-opencl-rt and set OCL_ICD_FILENAMES to its libintelocl.so, for a GPU its driver"
            ) from error
        if self.device.sycl_device.is_cpu:
            names = ("exp", "log", "log1p", "expm1", "tanh", "abs", "sign", "sqrt", "where", "minimum", "maximum")
            waiting = (*names, "vecdot", "sum", "max", "take", "astype", "matmul")
            self.xp = PatchedNamespace(dpnp, **{name: self._wait_first(getattr(self.xp, name)) for name in waiting})
        # Measured on a CPU: Python takes most of the 2 ms that a layer of a step takes
        self.speed = (ON_GPU if self.device.sycl_device.is_gpu else ON_CPU)._replace(layer=2e-3)

    @classmethod
    def devices(cls) -> list[str]:
        return [device.filter_string for device in dpctl.get_devices()]

    def synchronize(self) -> None:
        self.device.wait()

    def _wait_first(self, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            self.device.wait()
            return function(*args, **options)

        return call


BACKEND = DpnpBackend
