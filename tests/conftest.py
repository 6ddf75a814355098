"""The fixtures that every numerical test takes: each backend and device that is here, and each dtype."""

import os
from pathlib import Path
from typing import Any, NamedTuple

# Small products gain nothing from threads, and lose much where cores are shared; read when NumPy and torch are imported
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

import xpnet
from xpnet import Network, get_backend
from xpnet.datasets import mnist_sample

settings.register_profile("xpnet", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("xpnet")


class Place(NamedTuple):
    """What to give to Network to have it on a backend and device."""

    backend: Any
    device: Any


def _strict(device: str | None) -> Place:
    strict = pytest.importorskip("array_api_strict")
    return Place(strict, device and strict.Device(device))


def _library(name: str) -> Place:
    try:
        get_backend(name)
    except xpnet.BackendError as error:
        pytest.skip(str(error))
    return Place(name, None)


PLACES = {
    "numpy": lambda: _library("numpy"),
    "strict": lambda: _strict(None),
    "strict-device1": lambda: _strict("device1"),
    "torch": lambda: _library("torch"),
    "jax": lambda: _library("jax"),
    "cupy": lambda: _library("cupy"),
}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.gpu] if name == "cupy" else []) for name in PLACES])
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


def assert_same(net: Network, state: Any) -> None:
    """The network's state is, bit for bit, the nest of NumPy arrays `state` (see `snapshot`)."""
    for now, then in zip(flat(snapshot(net)), flat(state), strict=True):
        np.testing.assert_array_equal(now, then)


def snapshot(net: Network) -> Any:
    """Weights and optimizer state as NumPy arrays."""
    from xpnet.arrays import map_arrays

    with net.backend.scope(net.dtype):
        return map_arrays(lambda x: np.array(net.backend.to_numpy(x)), net.state._replace(cost=None))


def flat(nest: Any) -> list[np.ndarray]:
    if nest is None:
        return []
    return [x for part in nest for x in flat(part)] if isinstance(nest, tuple) else [nest]
