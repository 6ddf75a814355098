"""The fixtures that every numerical test takes: each backend and device that is here, and each dtype."""

import os
from pathlib import Path
from typing import Any

# Small products gain nothing from threads, and lose much where cores are shared; read when NumPy and torch are imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Or scikit-learn's checks of the array API are skipped; read when SciPy is imported
os.environ["SCIPY_ARRAY_API"] = "1"
# Half of the time of the tests on JAX is compilation: what was compiled once is kept, for the other processes and runs
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Or JAX takes most of a GPU's memory, which CuPy and PyTorch need too
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import pytest
from helpers import PLACES, Place, marked
from hypothesis import settings

from xpnet import get_backend
from xpnet.datasets import mnist_sample

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("xpnet")


@pytest.fixture(params=marked(PLACES))
def place(request: pytest.FixtureRequest) -> Place:
    """Backend and device, as Network takes them: ``Network(sizes, **place._asdict())``."""
    return PLACES[request.param]()


@pytest.fixture
def backend(place: Place) -> Any:
    """The same as a Backend."""
    return get_backend(*place)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def digits() -> Any:
    """The bundled sample of MNIST."""
    return mnist_sample()


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """Folder with full MNIST, or a skip."""
    for folder in (os.environ.get("XPNET_DATA"), Path(__file__).parents[2] / "shared" / "data"):
        if folder and (Path(folder) / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
            return Path(folder)
    pytest.skip("full MNIST is not here; set XPNET_DATA to a folder that holds MNIST/raw")
