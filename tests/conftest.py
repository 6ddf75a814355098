"""The fixtures that every numerical test takes: each backend and device that is here, and each dtype."""

import gc
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import programs.environment  # noqa: F401 - libraries read it when they are imported

# isort: split
import cpu_features
import host_cupy
import pytest
import selection
from helpers import HOST, LEFT_OUT, NOT_INSTALLED, PLACES, Place, marked
from hypothesis import settings

from xpnet import get_backend
from xpnet.backends._numpy import NumPyBackend
from xpnet.datasets import mnist_sample

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("xpnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-combination", action="store_true", help="run all combinations on all places")
    parser.addoption("--python-loop", action="store_true", help="let NumPy repeat steps in Python, not in C")
    parser.addoption("--operations", type=int, default=1000, help="for how many the loop in C is compared with NumPy")
    parser.addoption("--cupy-on-host", action="store_true", help="run the tests of CuPy on host memory, and no others")


def pytest_configure(config: pytest.Config) -> None:
    """Do without the loop in C, if asked to, as where it was not built."""
    if config.getoption("python_loop"):
        NumPyBackend.shares_steps = False


def pytest_report_header() -> list[str]:
    """Say with which kernels NumPy computes, and once which places and libraries are left out, and why."""
    kernels = cpu_features.describe(os.environ.get("NPY_DISABLE_CPU_FEATURES"))
    places = [f"left out: {name}: {why}" for name, why in LEFT_OUT.items()]
    libraries = [name for name in NOT_INSTALLED if name not in LEFT_OUT]
    return [kernels, *places] + [f"left out: tests that need {name}, which is not installed" for name in libraries]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules whose tests would be left out on CuPy on host memory: that takes some seconds."""
    if config.getoption("every_combination") or not config.getoption("cupy_on_host") or collection_path.is_dir():
        return None
    return collection_path.stem not in selection.MODULES[host_cupy.NAME] or None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Any:
    """Look for no doctests in the modules of tests."""
    return [collector for collector in (yield) if type(collector) is pytest.Module]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no place to run in, and combinations that add nothing."""
    chosen = selection.choose(items, config.getoption("cupy_on_host"), config.getoption("every_combination"))
    config.hook.pytest_deselected(items=[*{*items}.difference(chosen)])
    items[:] = chosen


def pytest_collection_finish() -> None:
    """Keep what is there by now out of garbage collections, each of which would walk over it."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the tests of a module in one process; each random program goes where there is room."""
    from xdist.scheduler import LoadFileScheduling

    class LoadModuleScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "test_a_random_program" in nodeid else super()._split_scope(nodeid)

    return LoadModuleScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(autouse=True)
def devices_on_host(request: pytest.FixtureRequest) -> Any:
    """Let CuPy find a device on host memory in the tests of that place; in others it finds none."""
    with HOST.devices(1) if HOST and selection.needs_host(request.node) else nullcontext():
        yield


@pytest.fixture
def host() -> host_cupy.Host:
    """The pretended machine on which CuPy runs."""
    return HOST


@pytest.fixture(params=marked(name for name in PLACES if name != "strict"))  # whose other device finds more mistakes
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
