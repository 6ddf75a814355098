"""CuPy on host memory: the real CuPy, on a machine without a GPU.

`install` must be called before CuPy is imported. It replaces what lies below CuPy: the functions of CUDA's runtime, so
that device memory is memory of the host; cuBLAS; and the kernels, which NumPy computes. Arrays, dtypes, memory pools,
streams, graphs and the rules of devices are CuPy's own. So it shows whether our code uses CuPy rightly: which calls
wait for the device, how many kernels a step launches, what lies on which device, what can be captured. It does not show
rounding, races or times of a GPU.

It relies on private names of CuPy 14, and says so where one is missing.
"""

import ctypes
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec

from host_cupy.counts import Counts, Meter
from host_cupy.runtime import HostRuntime

__all__ = ["NAME", "Counts", "Host", "install", "why_not"]

NAME = "cupy on host memory"
MOST_DEVICES = 2


class Host:
    """The pretended machine; what is done on its devices can be counted."""

    def __init__(self, runtime: HostRuntime, meter: Meter) -> None:
        self.runtime, self.counting = runtime, meter.counting
        runtime.n_devices = 0

    @contextmanager
    def devices(self, number: int) -> Iterator[None]:
        """Pretend that there are so many devices; outside of all such contexts there is none."""
        before, self.runtime.n_devices = self.runtime.n_devices, number
        try:
            yield
        finally:
            self.runtime.n_devices = before


def why_not() -> str | None:
    """Why CuPy cannot, or need not, run on host memory here; None if it can."""
    if find_spec("cupy") is None:
        return "CuPy is not installed"
    if _count_gpus():
        return "there is a GPU"
    version = _version()
    return None if version.startswith("14.") else f"it is made for CuPy 14, not {version}"


def install() -> Host:
    """Let CuPy run on host memory in this process.

    Raises
    ------
    RuntimeError
        If CuPy has been imported already, or lacks a name that this relies on.
    """
    if "cupy" in sys.modules:
        raise RuntimeError("cupy has been imported already; host_cupy.install() comes first")
    from host_cupy import capi, cublas

    api = importlib.import_module("cupy_backends.cuda.api.runtime")
    libraries = importlib.import_module("cupy_backends.cuda.libs")
    meter = Meter()
    runtime = HostRuntime(api, meter)
    runtime.n_devices = MOST_DEVICES
    try:
        capi.replace(api, runtime.functions())
        module = cublas.make_cublas(runtime, meter)
        sys.modules[module.__name__] = libraries.cublas = module
        from host_cupy import kernels  # imports cupy, which binds to all this

        kernels.HostKernels(runtime, meter).install()
        kernels.cupy.empty(1)  # now the memory pool has a part for each device
        from xpnet.backends import _cuda_graph as cuda_graph

        library = cublas.Cublas(runtime, meter)
        cuda_graph.load_library = lambda: library
    except (AttributeError, ImportError, RuntimeError) as error:
        raise RuntimeError(f"host_cupy relies on private names of CuPy 14, and with {_version()}: {error}") from error
    return Host(runtime, meter)


def _version() -> str:
    names = ("cupy", "cupy-cuda12x", "cupy-cuda13x")
    installed = [name for name in names if any(metadata.distributions(name=name))]
    return metadata.version(installed[0]) if installed else "none"


def _count_gpus() -> int:
    """Count the GPUs that the driver sees; none without a driver. CuPy is not asked, as it must not be imported."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
