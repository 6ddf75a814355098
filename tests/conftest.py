"""The fixtures that every numerical test takes: each backend and device that is here, and each dtype."""

import os
from collections import Counter
from contextlib import nullcontext
from importlib.metadata import distributions
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
# XLA's optimizations take half of the time that is left; an XLA that lacks these options would end the process
if any(jaxlib.version.startswith("0.10.") for jaxlib in distributions(name="jaxlib")):
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
# Or JAX takes most of a GPU's memory, which CuPy and PyTorch need too
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import host_cupy
import pytest
from helpers import GPU, HOST, LEFT_OUT, NOT_INSTALLED, PLACES, Place, marked
from hypothesis import settings

from xpnet import get_backend
from xpnet.data.prepare import Sources
from xpnet.datasets import mnist_sample
from xpnet.training import train

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("search", deadline=None, max_examples=20_000)  # other examples in each run
settings.load_profile("xpnet")


def pytest_report_header() -> list[str]:
    """Say once which places and libraries are left out, and why."""
    places = [f"left out: {name}: {why}" for name, why in LEFT_OUT.items()]
    libraries = [name for name in NOT_INSTALLED if name not in LEFT_OUT]
    return places + [f"left out: tests that need {name}, which is not installed" for name in libraries]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-combination", action="store_true", help="run those too that Thinning leaves out")
    parser.addoption("--cupy-on-host", action="store_true", help="run all tests of CuPy on host memory, and no others")
    parser.addoption("--no-cupy-on-host", action="store_true", help="run no tests of CuPy on host memory")


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
    return host_cupy.NAME in names or "host" in getattr(item, "fixturenames", ())


class Thinning:
    """Leaves out combinations of parameters that run the same lines as others.

    - float32 and float64 are crossed on NumPy, PyTorch and GPUs alone. Elsewhere float64 runs, where a float32 that
      comes in by mistake is seen; float32 is the default of most other tests.
    - array-api-strict's default device is left out: its other device runs everything, and there an array that is made
      on the default device is seen too. Modules about places name it in the marker few.
    - Of what remains, array-api-strict's other device has every second combination, PyTorch every third, and JAX, which
      compiles each, every fourth.
    - CuPy on host memory has the first combination, of the modules in MODULES_ON_HOST alone, unless the test has the
      marker whole; with --cupy-on-host it has all of them, or as many as the marker few says.
    - Places in the marker few have the first combination, or every n-th of them, as with ``few("jax", every=3)``;
      none with ``every=0``.

    Tests with the marker every_combination are not thinned.
    """

    MODULES_ON_HOST = (
        *("backprop", "costs", "dropout", "fusion", "gpu", "host_cupy", "optimizers", "replay", "training", "waits"),
    )

    def __init__(self, on_host: bool) -> None:
        self.counts: Counter[Any] = Counter()
        self.on_host = on_host

    def leaves_out(self, item: pytest.Item) -> bool:
        given = dict(getattr(getattr(item, "callspec", None), "params", {}))
        if item.get_closest_marker("whole") and needs_host(item):
            return not self.on_host
        where = next((given.pop(name) for name in ("place", "other", "eager", "cupy") if name in given), None)
        if where not in PLACES or item.get_closest_marker("every_combination"):
            return False
        marks = reversed([*item.iter_markers("few")])  # that of the module first: the test's own goes before it
        few = {name: mark.kwargs.get("every") for mark in marks for name in mark.args}
        if where == host_cupy.NAME and self.on_host:
            return where in few and self.is_between(item, where, few[where])
        paired = any("dtype" in mark.args[0] for mark in item.iter_markers("parametrize"))  # with another parameter
        if not paired and where not in ("numpy", "torch", *GPU) and given.pop("dtype", None) == "float32":
            return True
        if where == host_cupy.NAME:
            few[where] = 0 if few.get(where) == 0 else None
            if item.path.stem.removeprefix("test_") not in self.MODULES_ON_HOST:
                return True
        if few.get(where) == 0:
            return True
        few.setdefault("strict-device1", 2)
        few.setdefault("torch", 3)  # not 2, which would leave out one of the two dtypes
        few.setdefault("jax", 4)
        if where not in few or not given:
            return where == "strict" and where not in few
        return self.is_between(item, where, few[where])

    def is_between(self, item: pytest.Item, where: str, every: int | None) -> bool:
        """Whether a combination is not the first, or not one of every so many."""
        key = item.nodeid.split("[")[0], where
        self.counts[key] += 1
        return self.counts[key] > 1 if every is None else every == 0 or bool((self.counts[key] - 1) % every)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has no place to run in, and combinations that add nothing."""
    on_host, not_on_host = config.getoption("cupy_on_host"), config.getoption("no_cupy_on_host")
    thinning, kept, left_out = Thinning(on_host), [], []
    for item in items:
        thinned = not config.getoption("every_combination") and thinning.leaves_out(item)
        thinned = thinned or (on_host and not needs_host(item)) or (not_on_host and needs_host(item))
        (left_out if thinned or lacks(item) else kept).append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


@pytest.fixture(autouse=True)
def devices_on_host(request: pytest.FixtureRequest) -> Any:
    """Let CuPy find a device on host memory in the tests of that place; in others it finds none."""
    with HOST.devices(1) if HOST and needs_host(request.node) else nullcontext():
        yield


@pytest.fixture
def host() -> host_cupy.Host:
    """The pretended machine on which CuPy runs."""
    return HOST


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


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Sources]:
    """The sources of every network that is trained, before they are scaled, in the order of the calls."""
    prepare, sources = train.prepare, []

    def spy(*args: Any, **options: Any) -> list[Sources]:
        new = prepare(*args, **options)
        sources.extend(new)
        return new

    monkeypatch.setattr(train, "prepare", spy)
    return sources


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
