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
from helpers import GPU, LEFT_OUT, NOT_INSTALLED, PLACES, Place, marked
from hypothesis import settings

from xpnet import get_backend
from xpnet.datasets import mnist_sample

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("xpnet")


def pytest_report_header() -> list[str]:
    """Say once which places and libraries are left out, and why."""
    places = [f"left out: {name}: {why}" for name, why in LEFT_OUT.items()]
    libraries = [name for name in NOT_INSTALLED if name not in LEFT_OUT]
    return places + [f"left out: tests that need {name}, which is not installed" for name in libraries]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that have no place or library to run with; the report's head says why."""

    no_gpu = {*GPU} <= {*LEFT_OUT}

    def lacks(item: pytest.Item) -> bool:
        if no_gpu and item.get_closest_marker("gpu"):
            return True
        if any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip")):
            return True
        return any(name in NOT_INSTALLED for mark in item.iter_markers("needs") for name in mark.args)

    config.hook.pytest_deselected(items=[item for item in items if lacks(item)])
    items[:] = [item for item in items if not lacks(item)]


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
