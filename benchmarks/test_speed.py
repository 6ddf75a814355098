"""Speed of individual parts, with pytest-benchmark: `pytest benchmarks/test_speed.py`.

To compare two versions of the code on the same machine, run the old one with `--benchmark-save=before` and the new one
with `--benchmark-compare=*before`.
"""

import subprocess
import sys

import numpy as np
import pytest

from xpnet import BackendError, Network
from xpnet.core.arrays import map_arrays, select, take_examples
from xpnet.core.minibatch import Batch, Examples, make_minibatch
from xpnet.core.step import make_step

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
    """Sixty-four minibatches: examples on the device, the batches on the host."""
    rng, (sizes, m) = np.random.default_rng(0), shape
    with net.backend.scope(net.dtype):
        x, y = (net.backend.asarray(rng.random((64 * m, n)), "float32") for n in (sizes[0], 10))
        cost = net.backend.asarray(np.zeros(m), "float32")
        encoding = net.view.reader.encoding()
    index, lr = rng.permutation(64 * m).reshape(64, m).astype(np.int32), np.full(64, 0.1, np.float32)
    return (Examples(x, y), encoding), Batch(index, lr), net.state._replace(cost=cost)


def test_step(benchmark, net, inputs):
    """One step as the mathematics is written, with nothing compiled or replayed."""
    data, batches, state = inputs
    step, xp = make_step(net.sigmas, net.output, net.optimizer.update), net.backend.xp
    with net.backend.scope(net.dtype):
        (examples, encoding), batch = data, map_arrays(net.backend.asarray, select(batches, slice(1)))
        rows = take_examples(examples, batch.index, xp)
        minibatch = select(make_minibatch(rows, encoding, batch, xp), 0)

        def run():
            step(map_arrays(net.backend.copy, state), minibatch, xp)
            net.backend.synchronize()

        benchmark(run)


def test_loop(benchmark, net, inputs):
    """Sixty-four steps, as training runs them."""
    data, batches, state = inputs
    step = make_step(net.sigmas, net.output, net.optimizer.update)
    with net.backend.scope(net.dtype):
        loop = net.backend.loop(step, make_minibatch)
        benchmark(lambda: net.backend.to_numpy(loop(state, batches, data).cost))


@pytest.mark.parametrize("rows", [1, 10_000])
def test_predict(benchmark, net, rows):
    x = np.random.default_rng(0).random((rows, net.sizes[0]), np.float32)
    x = x[0] if rows == 1 else x
    benchmark(lambda: net.backend.to_numpy(net.predict(x)))


@pytest.mark.parametrize("code", ["import numpy", "import xpnet", "from xpnet import Network"])
def test_import(benchmark, code):
    """Each import in a new process."""
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", code], check=True), rounds=10, warmup_rounds=1)
