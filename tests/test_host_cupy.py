"""What CuPy on host memory shows besides the numbers: what is launched, and what lies where.

That no step waits for the device is tested in test_waits.py, where other libraries are watched too.
"""

import ctypes
import gc
from typing import Any

import numpy as np
import pytest
from waits import N, X, Y, count_plain_steps, network, prepare_steps

from xpnet import SGD, Adam, Network, get_backend
from xpnet.core.activations import Activation


@pytest.mark.parametrize(
    ("options", "optimizer", "most"),
    [
        pytest.param({"activation": "sigmoid"}, SGD(), 43, id="the book"),
        pytest.param({"activation": "relu", "task": "classification"}, SGD(momentum=0.9), 50, id="relu"),
        pytest.param({"activation": "gelu", "dropout": 0.2}, Adam(), 335, id="gelu, dropout, adam"),
    ],
)
def test_a_step_launches_at_most_so_many_kernels(host, options, optimizer, most):
    counts = count_plain_steps(prepare_steps(network("cupy", **options), Y, optimizer), host.counting, 1)
    assert counts.launches() <= most, counts.lines("kernel")


def test_memory_that_is_used_again_is_written_before_it_is_read(host):
    """Each array begins as noise, not as what it happened to hold: the results are those of new memory."""
    cupy = pytest.importorskip("cupy")
    pool = cupy.get_default_memory_pool()

    def poisoned(size: int) -> Any:
        memory = pool.malloc(size)
        ctypes.memset(memory.ptr, 0xFF, size)  # NaN, as a number
        return memory

    def train() -> list[Any]:
        net = network("cupy", activation="gelu", dropout=0.2, task="classification")
        net.train((X, np.arange(N) % 3), epochs=3, batch_size=5, optimizer=Adam(), progress=False)
        return [cupy.asnumpy(w) for w in net.w]

    plain = train()
    with cupy.cuda.using_allocator(poisoned):
        again = train()
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_graphs_leave_no_memory_behind(host):
    """An activation of one's own makes arrays while it is captured, in a pool that is the graph's."""
    cupy = pytest.importorskip("cupy")
    sigma = Activation("own", lambda z, xp: xp.sinh(z), lambda g, z, a, xp: g * xp.cosh(z))

    def allocate() -> int:
        net = Network([5, 64, 3], activation=sigma, backend="cupy", seed=0)
        net.train((X, Y), epochs=5, batch_size=1, lr=1e-3, progress=False)
        assert net.engine.startswith("CUDA graph")
        del net
        gc.collect()
        cupy.get_default_memory_pool().free_all_blocks()
        return host.runtime.allocated()

    first = allocate()
    assert [allocate() for _ in range(4)] == [first] * 4


def test_graphs_run_one_after_the_other_whatever_the_stream(host):
    """They share the workspace of their products."""
    cupy = pytest.importorskip("cupy")
    from xpnet.backends._cuda_graph import CapturedGraph

    x = cupy.ones((4, 4))
    graphs = [CapturedGraph([lambda: cupy.multiply(x, 3.0, out=x)]) for _ in range(2)]
    graphs[0]()
    with host.counting() as counts, cupy.cuda.Stream(non_blocking=True):
        graphs[1]()
    assert counts["wait for another stream"] == 1
    assert (x == 9).all()


# What lies where


def are_by_columns(arrays: Any) -> list[bool]:
    return [x.flags.f_contiguous for x in arrays]


def test_a_network_from_numpy_lies_in_memory_as_one_made_here(host):
    moved, made = Network([5, 4, 3], seed=0).to("cupy"), Network([5, 4, 3], seed=0, backend="cupy")
    for net in (moved, made, made.copy()):
        weights = [w for w, _ in net.state.layers]
        assert are_by_columns(weights) == [True, True]
    x, y = moved.backend.asarray(X.astype(np.float32)), np.arange(N) % 3
    assert are_by_columns(g for g, _ in moved.backward(x, y)) == [True, True]  # as weights do


def test_a_device_proves_once_that_it_can_multiply(host):
    get_backend("cupy")
    with host.counting() as counts:
        get_backend("cupy")
    assert counts["product"] == counts["synchronization"] == 0


def test_two_devices(host):
    """A network stays on its device, whichever is the current one, and refuses nothing that lies on the other."""
    cupy = pytest.importorskip("cupy")
    data = (X, np.arange(N) % 3)
    with host.devices(2):
        nets = [Network([5, 4, 3], task="classification", device=f"cuda:{i}", seed=0) for i in range(2)]
        for net in nets:
            net.train(data, epochs=2, batch_size=5, progress=False)
        assert cupy.cuda.runtime.getDevice() == 0
        assert [{w.device.id for w in net.w} for net in nets] == [{0}, {1}]
        np.testing.assert_array_equal(*(cupy.asnumpy(net.w[0]) for net in nets))
        assert nets[1].to(device="cuda:0").w[0].device.id == 0
        there = nets[0].backend
        x, y = there.asarray(np.asfortranarray(X)), there.asarray(np.arange(N) % 3)
        assert nets[1].predict(x[:, ::-1]).device.id == 1
        pixels = there.asarray(np.ones((N, 5), np.uint8))
        assert nets[1].backward(pixels, y)[0].w.device.id == 1
