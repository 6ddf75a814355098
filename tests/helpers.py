"""What several tests share besides fixtures."""

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from struct import pack
from typing import Any, NamedTuple

import host_cupy
import numpy as np
import pytest
from browser import CHROMIUM
from mpi import MPIEXEC
from threadpoolctl import threadpool_limits

from xpnet import BackendError, Callback, Network, get_backend
from xpnet.cli import main
from xpnet.core.activations import ACTIVATIONS, mean_std
from xpnet.core.arrays import leaves as flat
from xpnet.core.arrays import map_arrays


class Place(NamedTuple):
    """What to give to Network to have it on a backend and device."""

    backend: Any
    device: Any


def _strict(device: str | None) -> Place:
    strict = pytest.importorskip("array_api_strict")
    return Place(strict, device and strict.Device(device))


def _library(name: str, device: str | None = None) -> Place:
    try:
        get_backend(name, device)
    except BackendError as error:
        pytest.skip(str(error))
    return Place(name, device)


def _cupy() -> Place:
    if HOST:
        pytest.skip("no GPU can be used")
    return _library("cupy")


def _cupy_on_host() -> Place:
    if HOST is None:
        pytest.skip(host_cupy.why_not())
    with HOST.devices(1):
        return _library("cupy")


WANTED = os.environ.get("XPNET_PLACES", "").split()  # whose libraries alone are imported; all, if there are none

# CuPy without a GPU, where there is none; tests see a device only at this place
HOST = host_cupy.install() if not WANTED and host_cupy.why_not() is None else None

PLACES = {
    "numpy": lambda: _library("numpy"),
    "strict": lambda: _strict(None),
    "strict-device1": lambda: _strict("device1"),
    "torch": lambda: _library("torch"),
    "jax": lambda: _library("jax", "cpu"),
    "dpnp": lambda: _library("dpnp"),
    "cupy": _cupy,
    host_cupy.NAME: _cupy_on_host,
    "torch-cuda": lambda: _library("torch", "cuda"),
    "jax-cuda": lambda: _library("jax", "cuda"),
}
GPU = ("cupy", "torch-cuda", "jax-cuda")


def _why_not(name: str, make: Callable[[], Place]) -> str | None:
    if WANTED and name not in WANTED:
        return "XPNET_PLACES does not name it"
    try:
        make()
    except pytest.skip.Exception as skipped:
        return skipped.msg
    return None


# Places that are not here, and why: no test is made for them, and the report's head says so once
LEFT_OUT = {name: why for name, make in PLACES.items() if (why := _why_not(name, make))}


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of the package that it is part of
        return False


# What the mark needs("library") can name, and whether it is here: libraries, the browser, and the launcher of MPI
INSTALLED = {
    name: _is_installed(name)
    for name in (
        *("torch", "jax", "cupy", "torchvision", "pandas", "pyarrow", "polars", "xarray", "sklearn", "playwright"),
        *("axe_playwright_python", "onnx", "onnxruntime", "dask", "h5py", "zarr", "skops", "skl2onnx", "mpi4py"),
    )
} | {"chromium": bool(CHROMIUM), "mpiexec": bool(MPIEXEC)}
NOT_INSTALLED = [name for name, is_here in INSTALLED.items() if not is_here]


def marked(names: Iterable[str]) -> list[Any]:
    """Names of places as parameters of a test: those that are here; those on a GPU are marked so."""
    return [pytest.param(n, marks=[pytest.mark.gpu] if n in GPU else []) for n in names if n not in LEFT_OUT]


def installed(cases: Iterable[Any]) -> list[Any]:
    """Of parameters that are names of libraries, or begin with one, those whose library is installed."""
    return [case for case in cases if (case if isinstance(case, str) else case[0]) not in NOT_INSTALLED]


@contextmanager
def two_blas_threads() -> Iterator[None]:
    """Let NumPy's BLAS use two threads.

    Since threadpoolctl 3.8, no other Python thread can set the number while the one that has set it is alive.
    """
    with ThreadPoolExecutor(1) as pool:
        limits = pool.submit(threadpool_limits, 2).result()
    try:
        yield
    finally:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(limits.restore_original_limits).result()


class Items:
    """A map-style data set: it has a length, and items."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i], self.y[i]


class Batches:
    """An iterable of batches without a length, which can be iterated again."""

    def __init__(self, x: Any, y: Any, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __iter__(self) -> Any:
        rows = (slice(start, start + self.size) for start in range(0, len(self.x), self.size))
        return ((self.x[each], self.y[each]) for each in rows)


class Stream:
    """An iterable of batches: no length, no items, as many iterations as one likes."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class Interrupt(Callback):
    """Ctrl-C, or another error, at the end of an epoch, or after so many chunks; without either, nothing."""

    def __init__(self, epoch=None, chunks=None, error=KeyboardInterrupt):
        self.epoch, self.chunks, self.error = epoch, chunks, error

    def on_chunk_end(self, steps):
        if self.chunks is not None:
            self.chunks -= 1
            if self.chunks < 0:
                raise self.error

    def on_epoch_end(self, logs):
        if logs["epoch"] == self.epoch:
            raise self.error


def regression_problem(sizes: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets between 0 and 1, both without any rule."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, sizes[0])), rng.uniform(size=(n, sizes[-1]))


def assert_same(net: Network, state: Any) -> None:
    """The network's state is, bit for bit, the nest of NumPy arrays `state` (see `snapshot`)."""
    for now, then in zip(flat(snapshot(net)), flat(state), strict=True):
        np.testing.assert_array_equal(now, then)


def snapshot(net: Network) -> Any:
    """Weights and optimizer state as NumPy arrays."""
    with net.backend.scope(net.dtype):
        return map_arrays(lambda x: np.array(net.backend.to_numpy(x)), net.state._replace(cost=None))


def is_flushing() -> bool:
    """Whether subnormal numbers are 0 in the arithmetic of this thread, both results and operands."""
    smallest, is_result_0 = 5e-324, pack("d", sys.float_info.min * 0.5) == bytes(8)
    assert (smallest == 0.0) == is_result_0
    return is_result_0


def peak(call: Callable[[], Any]) -> tuple[Any, int]:
    """What a call gives, and the most bytes that there were above those before it."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        return call(), tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def run_command(capsys, *words):
    """Status, lines of standard output, and standard error, of a command in this process."""
    capsys.readouterr()
    try:
        status = main([str(word) for word in words])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


# Networks and functions for tests of the mathematics


def make(place, sizes, activation, output, cost, seed=0, dtype="float64", **options):
    """A network at a place."""
    settings = {"activation": activation, "output_activation": output, "cost": cost, "dtype": dtype, "seed": seed}
    return Network(sizes, **settings, **place._asdict(), **options)


def host(net, arrays):
    return [net.backend.to_numpy(x) for x in arrays]


def layers_of(net):
    return list(zip(host(net, net.w), host(net, net.b), strict=True))


def assert_layers(net, layers, rtol, atol=0.0):
    """The layers of a network are these but for rounding."""
    for ours, theirs in zip(layers_of(net), layers, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def flatten(net):
    """Weights and biases as one vector, in the order of `layers`."""
    return np.concatenate([part.ravel() for layer in layers_of(net) for part in layer])


def with_parameters(net, parameters):
    """A copy of a network with other weights and biases, in the order of `flatten`."""
    parts, other = [part for layer in layers_of(net) for part in layer], net.copy()
    each = np.split(parameters, np.cumsum([part.size for part in parts])[:-1])
    arrays = [new.reshape(part.shape) for new, part in zip(each, parts, strict=True)]
    other.layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    return other


def tanh_network(sizes, seed=0, **options):
    """A network for a regression in float64."""
    settings = {"activation": "tanh", "task": "regression", "dtype": "float64"}
    return Network(list(sizes), seed=seed, **{**settings, **options})


def on(backend, function, *arrays, dtype="float64"):
    """Evaluate a function of arrays on a backend, from NumPy to NumPy; JAX compiles it, as it does in a step."""
    with backend.scope(dtype):
        result = backend.call(function, *(backend.asarray(np.asarray(x), dtype) for x in arrays))
        assert str(result.dtype).endswith(dtype)
        assert result.device == backend.asarray(np.zeros(1)).device
        return backend.to_numpy(result)


def targets(output, rng, m=3, n=4):
    """Targets that an output activation can reach."""
    if output == "softmax":
        return np.eye(n)[rng.integers(n, size=m)]
    sigma = mean_std if output == "mean_std" else ACTIVATIONS[output]
    return rng.uniform(max(sigma.low, -2), min(sigma.high, 2), (m, n))


class Steep:
    """An activation of one's own, with a number in it."""

    name = "steep"

    def __init__(self, by):
        self.by = by

    def value(self, z, xp):
        return self.by * z

    def pullback(self, g, z, a, xp):
        return self.by * g


class Bent:
    """(√(z² + 1) − 1) / 2 + z; an activation of nothing but the two functions."""

    def value(self, z, xp):
        return (xp.sqrt(z * z + 1.0) - 1.0) / 2.0 + z

    def pullback(self, g, z, a, xp):
        return g * (z / (2.0 * xp.sqrt(z * z + 1.0)) + 1.0)


class Softsign:
    """z / (1 + |z|), with all that an activation can say of itself."""

    name, low, high = "soft sign", -1.0, 1.0

    def value(self, z, xp):
        return z / (1.0 + xp.abs(z))

    def pullback(self, g, z, a, xp):
        return g / (1.0 + xp.abs(z)) ** 2


class LogCosh:
    """Σ ln cosh(a − y); a cost of nothing but the two functions."""

    def value(self, a, y, xp):
        return xp.sum(xp.log(xp.cosh(a - y)), axis=-1)

    def gradient(self, a, y, xp):
        return xp.tanh(a - y)


@contextmanager
def refused(net: Network, error: Any, message: str) -> Iterator[None]:
    """The block raises `error` with a message that matches, and the network is as it was."""
    before, history = snapshot(net), (net.history, list(net.history))
    rng, optimizer = net.value.generator, net.optimizer
    with pytest.raises(error, match=f"(?s){message}"):
        yield
    assert_same(net, before)
    assert net.value.generator == rng
    assert (net.history, list(net.history)) == history
    assert net.optimizer == optimizer
