"""Speed of individual parts, with pytest-benchmark: `pytest benchmarks/test_speed.py`.

To compare two versions of the code on the same machine, run the old one with `--benchmark-save=before` and the new one
with `--benchmark-compare=*before`.
"""

import subprocess
import sys

import numpy as np
import pytest

from xpnet import BackendError, Network
from xpnet.arrays import map_arrays, part
from xpnet.examples import Batch, Examples, gather

SHAPES = {"784-30-10, batch 10": ([784, 30, 10], 10), "784-512-512-10, batch 128": ([784, 512, 512, 10], 128)}


@pytest.fixture(params=["numpy", "torch", "jax", "cupy"])
def backend(request):
    return request.param


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture
def net(backend, shape):
    try:
        return Network(shape[0], seed=0, backend=backend)
    except BackendError as error:
        pytest.skip(str(error))


@pytest.fixture
def inputs(net, shape):
    """Examples, 64 batches of them and the state, on the device."""
    rng, (sizes, m) = np.random.default_rng(0), shape
    with net.backend.scope(net.dtype):
        x, y, lr = (
            net.backend.asarray(each, "float32")
            for each in (rng.random((64 * m, sizes[0])), rng.random((64 * m, 10)), np.full(64, 0.1))
        )
        index = net.backend.asarray(rng.permutation(64 * m).reshape(64, m), "int32")
        cost = net.backend.asarray(np.zeros(m), "float32")
    return Examples(x, y), Batch(index, lr), net.state._replace(cost=cost)


def test_step(benchmark, net, inputs):
    """One step as the mathematics is written, with nothing compiled or replayed."""
    examples, batches, state = inputs
    step, xp = net.step(net.optimizer), net.backend.xp
    with net.backend.scope(net.dtype):
        minibatch = gather(examples, part(batches, 0), xp)

        def run():
            step(map_arrays(net.backend.own, state), minibatch, xp)
            net.backend.synchronize()

        benchmark(run)


def test_fold(benchmark, net, inputs):
    """64 steps, as training runs them."""
    examples, batches, state = inputs
    step = net.step(net.optimizer)
    with net.backend.scope(net.dtype):

        def run():
            found = net.backend.fold(step, gather, state, batches, examples)
            net.backend.to_numpy(found.cost)

        benchmark(run)


@pytest.mark.parametrize("rows", [1, 10_000])
def test_predict(benchmark, net, rows):
    x = np.random.default_rng(0).random((rows, net.sizes[0]), np.float32)
    x = x[0] if rows == 1 else x
    benchmark(lambda: net.backend.to_numpy(net.predict(x)))


@pytest.mark.parametrize("code", ["import numpy", "import xpnet", "from xpnet import Network"])
def test_import(benchmark, code):
    """Each import in a new process."""
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=10, warmup_rounds=1)
