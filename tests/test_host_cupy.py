"""What CuPy on host memory shows besides the numbers: what waits for the device, what is launched, and what lies where.

A step must not wait for the device: no value comes to the host, and nothing is copied there or back. On a GPU that
would cost more than the step itself.
"""

import ctypes
from typing import Any

import numpy as np
import pytest
from test_costs import PAIRS, count_outputs, targets
from test_optimizers import EVERY

from xpnet import SGD, Adam, Network, get_backend
from xpnet.core import arrays
from xpnet.core.activations import ACTIVATIONS
from xpnet.core.arrays import map_arrays
from xpnet.core.minibatch import Batch, Encoding, Examples, gather
from xpnet.core.step import make_step

WAITS = ("synchronization", "copy to the device", "copy to the host")
M, N, STEPS = 4, 12, 3
X = np.random.default_rng(0).standard_normal((N, 5))
Y = np.random.default_rng(1).uniform(size=(N, 3))


def count_steps(host: Any, net: Network, y: np.ndarray, optimizer: Any = None, **more: Any) -> Any:
    """Take steps by the loop of a network's backend; return what was counted in all of them but the first."""
    net.reset_optimizer(optimizer or SGD())
    backend = net.backend
    with backend.scope(net.dtype):
        encoding = Encoding(np.arange(3, dtype=np.int32), more.pop("scale", None))
        examples = Examples(more.pop("x", X).astype(more.pop("x_dtype", net.dtype)), y, more.pop("weight", None))
        data = map_arrays(backend.asarray, (examples, encoding))
        state = net.state._replace(cost=backend.asarray(np.zeros(M, net.dtype)))
        index, lr = np.arange(N, dtype=np.int32).reshape(STEPS, M), np.full(STEPS, 0.05, net.dtype)
        batches = map_arrays(backend.asarray, Batch(index, lr, **more))
        step = make_step(net.sigmas, net.output, net.optimizer.update)
        for i in range(STEPS):
            minibatch = map_arrays(lambda column, i=i: column[i, ...], batches)
            with host.counting() as counts:
                state = step(state, gather(data, minibatch, backend.xp), backend.xp)
    return counts


def network(outputs: int = 3, **options: Any) -> Network:
    return Network([5, 4, outputs], **{"activation": "tanh", "backend": "cupy", "seed": 0, **options})


def assert_no_waits(counts: Any) -> None:
    for wait in WAITS:
        assert counts[wait] == 0, f"a step waits for the device, by a {wait}: {counts.lines(wait)}"
    assert counts.launches() > 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_step_waits_with_any_activation(host, activation):
    assert_no_waits(count_steps(host, network(activation=activation), Y))


FIRST = {cost: output for output, cost in reversed(PAIRS)}  # of each cost; the activations are tested above


@pytest.mark.parametrize(
    ("output", "cost"),
    [pytest.param(*pair, marks=[] if FIRST[pair[1]] == pair[0] else [pytest.mark.slow]) for pair in PAIRS],
)
def test_no_step_waits_with_any_cost(host, output, cost):
    y = targets(output, np.random.default_rng(2), N, 3)
    given = None if output == "mean_std" else output  # which its cost brings
    net = network(count_outputs(cost, 3), output_activation=given, cost=cost)
    assert_no_waits(count_steps(host, net, y.astype("float32")))


@pytest.mark.parametrize("optimizer", EVERY, ids=str)
def test_no_step_waits_with_any_optimizer(host, optimizer):
    assert_no_waits(count_steps(host, network(), Y, optimizer))


def test_no_step_waits_with_dropout_weights_penalty_classes_and_bytes(host):
    assert_no_waits(count_steps(host, network(dropout=[0.2, 0.5]), Y, Adam()))
    pixels = np.random.default_rng(3).integers(256, size=(N, 5), dtype=np.uint8)
    net = network(task="classification", dropout=0.3)
    more = {"x": pixels, "x_dtype": np.uint8, "scale": np.float32(1 / 255), "weight": np.ones(N, np.float32)}
    labels = np.arange(N, dtype=np.int32) % 3
    assert_no_waits(count_steps(host, net, labels, Adam(), **more, decay=np.full(STEPS, 0.1, np.float32)))


def test_a_step_that_waits_is_found_with_its_line(host):
    def update(layers: Any, grads: Any, state: Any, lr: Any, xp: Any) -> Any:
        float(lr)
        return layers, state

    net = network()
    with net.backend.scope("float32"), host.counting() as counts:
        update((), (), (), net.backend.asarray(np.ones(())), net.backend.xp)
    assert counts["synchronization"] == counts["copy to the host"] == 1
    with pytest.raises(AssertionError, match="waits for the device, by a synchronization"):
        assert_no_waits(counts)
    with host.counting() as counts:
        net.backend.to_numpy(net.backend.asarray(np.ones(3)))
    assert "xpnet/backends/_cupy.py" in counts.lines("synchronization")


@pytest.mark.parametrize(
    ("options", "optimizer", "most"),
    [
        pytest.param({"activation": "sigmoid"}, SGD(), 43, id="the book"),
        pytest.param({"activation": "relu", "task": "classification"}, SGD(momentum=0.9), 50, id="relu"),
        pytest.param({"activation": "gelu", "dropout": 0.2}, Adam(), 335, id="gelu, dropout, adam"),
    ],
)
def test_a_step_launches_at_most_so_many_kernels(host, options, optimizer, most):
    counts = count_steps(host, network(**options), Y, optimizer)
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
        net = network(activation="gelu", dropout=0.2, task="classification")
        net.train((X, np.arange(N) % 3), epochs=3, batch_size=5, optimizer=Adam(), progress=False)
        return [cupy.asnumpy(w) for w in net.w]

    plain = train()
    with cupy.cuda.using_allocator(poisoned):
        again = train()
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_array_equal(one, other)


# What lies where


def is_c_contiguous(arrays: Any) -> list[bool]:
    return [x.flags.c_contiguous for x in arrays]


def test_a_network_from_numpy_lies_in_memory_as_one_made_here(host):
    moved, made = Network([5, 4, 3], seed=0).to("cupy"), Network([5, 4, 3], seed=0, backend="cupy")
    for net in (moved, made, made.copy()):
        weights = [w for w, _ in net.state.layers]
        assert is_c_contiguous(weights) == [True, True]
    x, y = moved.backend.asarray(X.astype(np.float32)), np.arange(N) % 3
    assert is_c_contiguous(g for g, _ in moved.backward(x, y)) == [True, True]  # as weights do


def test_a_device_proves_once_that_it_can_multiply(host):
    get_backend("cupy")
    with host.counting() as counts:
        get_backend("cupy")
    assert counts["product"] == counts["synchronization"] == 0


def test_large_arrays_are_copied_in_blocks(host, monkeypatch):
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(arrays, "BLOCK", 600)
    monkeypatch.setattr("xpnet.backends._cupy.BLOCK", 600)
    backend, x = get_backend("cupy"), np.arange(7000, dtype=np.float64).reshape(1000, 7)
    cupy.get_default_pinned_memory_pool().free_all_blocks()
    host.runtime.pinned.clear()
    np.testing.assert_array_equal(cupy.asnumpy(backend.asarray(x, "float32")), x.astype("float32"))
    assert max(host.runtime.pinned) < 7000  # locked in all, in steps of 512 bytes; the array has 28,000


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


def test_capture_refuses_what_a_card_refuses(host):
    cupy = pytest.importorskip("cupy")
    x = cupy.ones((4, 4), dtype="float32")
    out = cupy.empty_like(x)
    stream = cupy.cuda.Stream(non_blocking=True)

    def capture(operation: Any) -> Any:
        with stream:
            stream.begin_capture()
            try:
                operation()
            finally:
                graph = stream.end_capture()
        return graph

    graph = capture(lambda: cupy.multiply(x, 3.0, out=out))
    assert not (out == 3).any()
    with host.counting() as counts:
        graph.launch()
    assert (out == 3).all()
    assert counts["graph launch"] == 1
    for refused in (lambda: float(x[0, 0]), lambda: cupy.asnumpy(x), stream.synchronize):
        with pytest.raises((RuntimeError, SystemError)):
            capture(refused)
    with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
        capture(lambda: x @ x)
