"""What a GPU brings: full float32, memory, streams, and steps that are captured as CUDA graphs.

That graphs give the bits of the plain loop is tested where it is for other steps that are replayed, in test_replay.py.

What needs a GPU is left out without one, and the report says why. Graphs are tested on CuPy over host memory too. That
a seed gives the same network on a GPU is tested where it is for the other places: the fixture `place` has CuPy's,
PyTorch's and JAX's GPU too, and so has test_mnist.py.
"""

import copy
import gc
import re
import sys
import warnings
from typing import Any

import host_cupy
import numpy as np
import pytest
from helpers import GPU, HOST, LEFT_OUT, PLACES, Place, assert_same, marked, snapshot

from xpnet import Network, get_backend
from xpnet.backends.base import Loop
from xpnet.core.activations import Activation

if not {"cupy", host_cupy.NAME} <= {*LEFT_OUT}:
    from xpnet.backends import _cuda_graph as cuda_graph

RNG = np.random.default_rng(0)
X, CLASS = RNG.random((399, 20), np.float32), RNG.integers(3, size=399)
PLACES_OF_CUPY = ["cupy", host_cupy.NAME]


@pytest.fixture(params=marked(PLACES_OF_CUPY))
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy, on a GPU or over host memory."""
    PLACES[request.param]()
    return pytest.importorskip("cupy")


@pytest.fixture(params=marked(GPU))
def gpu(request: pytest.FixtureRequest) -> Place:
    """Each library on its GPU."""
    return PLACES[request.param]()


def network(device: Any = "cuda", **options: Any) -> Network:
    return Network([20, 16, 3], **{"device": device, "seed": 0, **options})


def train(net: Network, epochs: int = 1, **options: Any) -> Network:
    net.train((X, CLASS), epochs, **{"batch_size": 10, "lr": 0.1, "progress": False, **options})
    return net


def plainly(net: Network) -> Network:
    """The same network, whose steps go by the plain loop."""
    backend = copy.copy(net.backend)
    backend.loop_type = Loop
    return net.to(backend)


def memory(net: Network) -> int:
    """Bytes that a library has in use on its GPU, by itself."""
    gc.collect()
    net.backend.synchronize()
    if net.backend.name == "cupy":
        return sys.modules["cupy"].get_default_memory_pool().used_bytes()
    if net.backend.name == "torch":
        return sys.modules["torch"].cuda.memory_allocated(net.backend.device)
    return net.backend.device.memory_stats()["bytes_in_use"]


# Each library


@pytest.mark.gpu
def test_float32_is_float32(gpu):
    """No product rounds its factors to the 11 bits of TF32, which would be off by 3e-4."""
    x, y = (np.random.default_rng(i).standard_normal((512, 512)) for i in range(2))
    backend = get_backend(*gpu)
    with backend.scope("float32"):
        found = backend.to_numpy(backend.xp.matmul(backend.asarray(x, "float32"), backend.asarray(y, "float32")))
    want = x.astype(np.float32).astype(float) @ y.astype(np.float32).astype(float)
    assert np.linalg.norm(found - want) <= 1e-5 * np.linalg.norm(want)


@pytest.mark.gpu
def test_training_again_takes_no_more_memory(gpu):
    net = train(train(Network([20, 16, 3], seed=0, **gpu._asdict())))
    used = memory(net)
    train(net, epochs=5)
    assert memory(net) <= used


# CuPy's graphs


def test_steps_are_captured_and_it_says_so(cupy):
    net = network()
    assert net.engine == ""
    assert re.fullmatch(r"CUDA graph, \d\d(\.\d)? nodes a step", train(net).engine)
    assert network("cpu").to("cupy").engine == ""
    assert train(network("cpu")).engine.startswith("replay of recorded steps")


OPERATIONS: dict[str, Any] = {  # of a step, on x, w and z of the first layer of 784-30-10, and on rows of x
    "take": lambda xp, x, w, z, rows: xp.take(x, rows, axis=0),
    "sum of columns": lambda xp, x, w, z, rows: xp.sum(z, axis=-2, keepdims=True),
    "where": lambda xp, x, w, z, rows: xp.where(z > 0, z, -z),
    "vecdot": lambda xp, x, w, z, rows: xp.vecdot(z, z),
    "cumulative_sum": lambda xp, x, w, z, rows: xp.cumulative_sum(rows, axis=0),
    "product for z": lambda xp, x, w, z, rows: xp.matmul(x, w.mT),
    "product for the gradient": lambda xp, x, w, z, rows: xp.matmul(z.mT, x),
    "product of stacks": lambda xp, x, w, z, rows: xp.matmul(xp.stack([x, -x])[:, None, ...], xp.stack([w, w, w]).mT),
    "product of columns": lambda xp, x, w, z, rows: xp.matmul(x[:, ::2], w[:, 1::2].mT),
    "product in another order": lambda xp, x, w, z, rows: xp.matmul(
        x, w.mT, out=xp.zeros((30, 10), dtype="float32").mT
    ),
    "product of few": lambda xp, x, w, z, rows: xp.matmul(x[:1, :1], w[:1, :]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_of_a_step_is_captured(cupy, name):
    """Where a GPU runs no graph, this tells which operation it refuses."""
    rng, results = np.random.default_rng(0), []
    x, w, z = (cupy.asarray(rng.standard_normal(shape, np.float32)) for shape in ((10, 784), (30, 784), (10, 30)))
    rows, xp = cupy.asarray([3, 1, 2]), get_backend("cupy", "cuda").xp
    expected = cupy.asnumpy(OPERATIONS[name](xp, x, w, z, rows))  # and what an operation makes once is there
    captured = cuda_graph.CapturedGraph([lambda: results.append(OPERATIONS[name](xp, x, w, z, rows))])
    results[0].fill(7)
    captured()
    np.testing.assert_allclose(cupy.asnumpy(results[0]), expected, rtol=1e-5, atol=1e-5 * abs(expected).max())
    if "product" in name and HOST is None:  # on a GPU; cuBLAS would allocate, but for the workspace that it is given
        assert "MEM_ALLOC" not in captured.graph.debug_dot_str()


def test_a_launch_leaves_the_used_bytes_unchanged(cupy):
    net = train(network(), epochs=2)
    pool = cupy.get_default_memory_pool()
    gc.collect()
    used = pool.used_bytes(), pool.total_bytes()
    for _ in range(3):
        train(net)
    gc.collect()
    assert (pool.used_bytes(), pool.total_bytes()) == used
    assert "graph" in net.engine


@pytest.mark.slow
@pytest.mark.parametrize("cupy", marked(["cupy"]), indirect=True)
def test_a_million_steps_grow_no_memory(cupy):
    net = train(network(), epochs=100)
    assert "graph" in net.engine
    net.backend.synchronize()
    used, (free, _) = memory(net), cupy.cuda.runtime.memGetInfo()
    train(net, epochs=10_000, lr=1e-6)
    assert memory(net) <= used
    assert cupy.cuda.runtime.memGetInfo()[0] >= free - 2**26  # whatever else uses the card


def asking(z: Any, xp: Any) -> Any:
    """The identity, and a question that a capture cannot answer."""
    float(xp.sum(z))
    return z + 0.0


def choosing(z: Any, xp: Any) -> Any:
    """Some columns, by a list that has to be copied to the device: that can be recorded, and not captured."""
    return 1.0 * z[:, list(range(z.shape[-1]))]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(asking, "__float__ cannot be recorded"), (choosing, "the current stream is capturing")],
)
def test_what_cannot_be_captured_goes_by_the_plain_loop_and_it_says_why(cupy, value, reason):
    net = network(activation=Activation("own", value, lambda g, z, a, xp: g + 0.0))
    twin = plainly(net)
    with warnings.catch_warnings(record=True, action="default") as warned:
        for _ in range(2):
            train(net)
    assert net.engine.startswith("plain loop: ")
    assert reason in net.engine
    assert [str(each.message) for each in warned] == [
        "the steps cannot run as a CUDA graph, and run in a plain loop, which is many times slower:"
        f"{net.engine.removeprefix('plain loop:')}"
    ]
    train(train(twin))
    assert_same(net, snapshot(twin))


@pytest.mark.parametrize("fault", ["left out", "not a number", "twice", "what the launch before left"])
def test_a_graph_that_gives_other_results_is_not_used(cupy, monkeypatch, fault):
    """As a fault that only some GPU shows would: it costs time, and no number is wrong."""
    make, left = cuda_graph.CapturedGraph, cupy.zeros(())
    changes: dict[str, Any] = {
        "left out": lambda launches: launches[:-1],
        "not a number": lambda launches: [*launches, lambda: launches[-1].keywords["out"].fill(np.nan)],
        "twice": lambda launches: [*launches, launches[-1]],
        "what the launch before left": lambda launches: [
            *launches,
            lambda: cupy.add(launches[-1].keywords["out"], left, out=launches[-1].keywords["out"]),
            lambda: cupy.add(left, 1, out=left),
        ],
    }
    monkeypatch.setattr(cuda_graph, "CapturedGraph", lambda launches: make(changes[fault](launches)))
    net = network()
    twin = plainly(net)
    with pytest.warns(UserWarning, match="which is many times slower: the captured graph gives other results"):
        train(net)
    train(twin)
    assert net.engine == "plain loop: the captured graph gives other results on this device"
    assert_same(net, snapshot(twin))
