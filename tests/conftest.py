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
from helpers import GPU, HOST, LEFT_OUT, NOT_INSTALLED, PLACES, Place, marked
from hypothesis import settings

from xpnet import get_backend
from xpnet.backends._numpy import NumPyBackend
from xpnet.datasets import mnist_sample

# Nothing waits for the disk; tests/test_files.py sees to it that files are flushed
os.fsync = lambda number: None

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("xpnet")


# Where a test runs with one combination of its other parameters; on NumPy, and on GPUs, it runs with all of them
ONCE = ("strict-device1", "torch", "jax", "dpnp", host_cupy.NAME)
# Modules about what a library may do otherwise than NumPy. Tests of others are slow there: JAX compiles for half a
# second. Many of them have the mark not_on("jax"), with on("jax") for tests of what JAX could get wrong alone: traced,
# compiled, immutable, x64
ABOUT = {f"test_{name}" for name in ("activations", "backends", "backprop", "costs", "devices", "training", "waits")}
ABOUT |= {"test_novelty"}
RECORDED = {"test_data", "test_distributed", "test_dropout", "test_replay", "test_trainings"}
ABOUT_LIBRARIES = {
    "jax": ABOUT,
    "torch": ABOUT | RECORDED,
    "strict-device1": ABOUT | RECORDED,
    "dpnp": ABOUT,
}
# On CuPy, others are left out; these hold its graphs, and what is computed outside of a step: scales, scores, members
ON_CUPY = {f"test_{name}" for name in ("ensemble", "estimators_everywhere", "gpu", "host_cupy", "inspection")}
ON_CUPY |= {f"test_{name}" for name in ("network", "programs", "scale", "scaling", "uncertainty", "validation")}
ABOUT_LIBRARIES[host_cupy.NAME] = ABOUT | RECORDED | ON_CUPY


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-combination", action="store_true", help="run all combinations on all places")
    parser.addoption("--python-loop", action="store_true", help="let NumPy repeat steps in Python, not in C")
    parser.addoption("--operations", type=int, default=1000, help="for how many the loop in C is compared with NumPy")
    parser.addoption("--cupy-on-host", action="store_true", help="run the tests of CuPy on host memory, and no others")


def lacks(item: pytest.Item) -> bool:
    """Whether a test has no place or no library to run with; the report's head says why."""
    if {*GPU} <= {*LEFT_OUT} and item.get_closest_marker("gpu"):
        return True
    if HOST is None and needs_host(item):
        return True
    if any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip")):
        return True
    return any(name in NOT_INSTALLED for mark in item.iter_markers("needs") for name in mark.args)


def needs_host(item: pytest.Item) -> bool:
    """Whether a test runs CuPy on host memory."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    names = [value for value in params.values() if isinstance(value, str)]
    return host_cupy.NAME in names or ("host" in getattr(item, "fixturenames", ()) and "host" not in params)


def runs_there(item: pytest.Item) -> bool:
    """Whether a test runs on its place, by the closest of the marks `on` and `not_on` that name it."""
    marks = (mark for mark in item.iter_markers() if mark.name in ("on", "not_on") and get_place(item) in mark.args)
    return next((mark.name == "on" for mark in marks), True)


def is_about_other_things(item: pytest.Item) -> bool:
    """Whether a test runs on a library that its module is not about."""
    place = get_place(item)
    return place in ABOUT_LIBRARIES and item.path.stem not in ABOUT_LIBRARIES[place]


def get_place(item: pytest.Item) -> str | None:
    """Return the name of the place that a test runs on, if it has one."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((params[name] for name in ("place", "other", "eager") if name in params), None)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules whose tests would be left out on CuPy on host memory: that takes some seconds."""
    if config.getoption("every_combination") or not config.getoption("cupy_on_host") or collection_path.is_dir():
        return None
    return collection_path.stem not in ABOUT_LIBRARIES[host_cupy.NAME] or None


def choose_combinations(items: list[pytest.Item]) -> list[pytest.Item]:
    """Keep every combination of parameters on NumPy and on GPUs, and the last of them on other places.

    The mathematics is the same there. What can fail on one place alone is an operation, which has to run there once:
    `trainings.py` sees to that for steps, and tests whose parameters bring other operations have the mark everywhere.
    """
    last = {}  # of each test on each place; in float64, where a float32 that comes in by mistake is seen
    for item in items:
        once = get_place(item) in ONCE and not item.get_closest_marker("everywhere")
        last[(get_place(item), item.nodeid.split("[")[0]) if once else item] = item
    kept = {*last.values()}
    return [item for item in items if item in kept]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no place to run in, and combinations that add nothing."""
    on_host, every = config.getoption("cupy_on_host"), config.getoption("every_combination")

    def is_wanted(item: pytest.Item) -> bool:
        if not every and get_place(item) == host_cupy.NAME and is_about_other_things(item):
            return False
        return not lacks(item) and runs_there(item) and needs_host(item) == on_host

    kept = [item for item in items if is_wanted(item)]
    if not every:
        kept = choose_combinations(kept)
    for item in filter(is_about_other_things, kept):
        item.add_marker(pytest.mark.slow)
    left_out = {*items}.difference(kept)
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Any:
    """Look for no doctests in the modules of tests."""
    return [collector for collector in (yield) if type(collector) is pytest.Module]


def pytest_collection() -> None:
    """Look for no garbage while tests are collected: all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep what is there by now out of later garbage collections, and look for garbage less often.

    Each collection walks over what the last one left, and JAX and Hypothesis have functions called before and after it.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """Look for no garbage when all is over: pytest, JAX and Python itself would, through all that libraries have."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Run the tests of a module in one process, unless told otherwise; each random program goes where there is room.

    What a module imports, compiles for JAX or makes for all of its tests is then there once.
    """
    from xdist.scheduler import LoadFileScheduling

    class LoadModuleScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "test_a_random_program" in nodeid else super()._split_scope(nodeid)

    return LoadModuleScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(autouse=True)
def devices_on_host(request: pytest.FixtureRequest) -> Any:
    """Let CuPy find a device on host memory in the tests of that place; in others it finds none."""
    with HOST.devices(1) if HOST and needs_host(request.node) else nullcontext():
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
