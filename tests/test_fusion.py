"""Fused kernels: which operations they hold, that their threads wait for each other, and what CUDA makes of them.

That they give the same bits as the operations is tested with everything that is replayed, in test_replay.py.
"""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import host_cupy
import numpy as np
import pytest
from helpers import LEFT_OUT, PLACES, assert_same, marked, snapshot
from trainings import TRAININGS
from waits import STEPS, Steps, network, prepare_steps, prepare_training

from xpnet import SGD, Adam, Network, get_backend
from xpnet.backends import Backend
from xpnet.backends.replay._program import record
from xpnet.core.arrays import leaves
from xpnet.core.minibatch import make_minibatch

if not {"cupy", host_cupy.NAME} <= {*LEFT_OUT}:
    from xpnet.backends.cuda import fusion, graph, sizes, source
    from xpnet.backends.cuda.fusion import Kernel, Operation, fuse


@pytest.fixture(params=marked(["cupy", host_cupy.NAME]), autouse=True)
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy, on a GPU or over host memory."""
    PLACES[request.param]()
    return pytest.importorskip("cupy")


def fuse_steps(steps: Steps) -> list[Any]:
    """Record some steps, and fuse their operations."""
    backend, step, data, state, batches = steps
    with backend.scope("float32"):
        program = record(backend, step, make_minibatch, state, batches, data, STEPS)
        preparation = fuse(program.preparation, leaves(program.minibatches))
        return preparation + STEPS * fuse(program.steps[0], leaves(program.state))


def kernels(nodes: list[Any]) -> list[Any]:
    return [node for node in nodes if isinstance(node, Kernel)]


# How many nodes a step has

DROPOUT = {"activation": "gelu", "dropout": 0.2, "task": "classification"}


@pytest.mark.everywhere
@pytest.mark.parametrize(
    ("options", "optimizer"),
    [({}, SGD()), ({"activation": "relu", "task": "classification"}, Adam()), (DROPOUT, Adam())],
    ids=["the book", "relu, adam", "gelu, dropout, adam"],
)
def test_a_fused_step_has_few_nodes(cupy, options, optimizer):
    """784-30-10 in minibatches of 10; the engine counts a part of the nodes that decode the minibatches, too."""
    x, labels = np.random.default_rng(0).random((1000, 784), np.float32), np.arange(1000) % 10
    nodes = []
    for fusing in (True, False):
        net = Network([784, 30, 10], seed=0, backend="cupy", **options)
        net.backend.fuse = fusing
        net.train((x, labels), 1, 10, 0.01, optimizer=optimizer, progress=False)
        nodes.append(float(net.engine.removeprefix("CUDA graph, ").removesuffix(" nodes a step")))
    assert nodes[0] < min(11, nodes[1] / 3)


def test_a_graph_has_as_many_nodes_as_are_launched(host):
    nodes = [node for node in fuse_steps(prepare_steps(network("cupy"))) if not isinstance(node, Kernel)]
    captured = graph.Graph(nodes)
    with host.counting() as counts:
        captured()
    assert counts["graph launch"] == 1
    with host.counting() as counts:
        for node in nodes:
            node()
    assert captured.nodes == counts.launches() == len(nodes) >= STEPS * 5


# Which operations a kernel holds


def operations(cupy: Any, *described: tuple[Any, ...]) -> list[Any]:
    """Make operations of (function, output, inputs ...)."""
    return [Operation(function, args, {}, out) for function, out, *args in described]


def shapes(nodes: list[Any]) -> list[Any]:
    """Of each kernel, the shapes of its loops with their numbers of steps, and of another node its function."""
    return [
        [(loop.shape, len(loop.assignments)) for loop in node.loops]
        if isinstance(node, Kernel)
        else node.function.__name__
        for node in nodes
    ]


@pytest.fixture
def arrays(cupy: Any) -> Iterator[Any]:
    """Matrices (4, 3), and square ones (3, 3)."""
    return [cupy.ones((4, 3), dtype="float32") for _ in range(4)] + [cupy.ones((3, 3), dtype="float32") for _ in "ab"]


def test_operations_of_one_shape_are_one_loop(cupy, arrays):
    x, y, z, _, _, _ = arrays
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (cupy.add, z, x, y), (cupy.multiply, z, z, 2.0)), [z])
    assert shapes(nodes) == [[((4, 3), 3)]]
    assert nodes[0].loops[0].dropped == {fusion.MemoryView(y).key}  # nothing reads it afterwards
    assert fusion.find_barriers(nodes[0].loops) == set()


def test_what_reads_other_elements_is_a_loop_of_its_own_after_a_barrier(cupy, arrays):
    x, y, _, _, a, b = arrays
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (cupy.add, b, y[:3], 1.0)), [b])
    assert shapes(nodes) == [[((4, 3), 1), ((3, 3), 1)]]
    assert fusion.find_barriers(nodes[0].loops) == {1}
    assert not nodes[0].loops[0].dropped
    nodes = fuse(operations(cupy, (cupy.exp, a, b.mT), (cupy.negative, b, b)), [b, a])  # read by others, then written
    assert shapes(nodes) == [[((3, 3), 1), ((3, 3), 1)]]
    assert fusion.find_barriers(nodes[0].loops) == {1}
    assert shapes(fuse(operations(cupy, (cupy.add, b, b, b.mT)), [b])) == ["cupy_add"]  # by CuPy, whatever it does


def test_an_operation_moves_up_past_what_it_does_not_depend_on(cupy, arrays):
    from xpnet.backends.cuda.functions import matmul

    x, y, z, w, a, b = arrays
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (matmul, z, y, a), (cupy.add, w, x, y)), [w, z])
    assert shapes(nodes) == [[((4, 3), 2)], "matmul"]
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (matmul, z, y, a), (cupy.add, w, x, z)), [w, z])
    assert shapes(nodes) == [[((4, 3), 1)], "matmul", [((4, 3), 1)]]
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (matmul, z, y, a), (cupy.exp, a, b)), [a, z])  # it is read before
    assert shapes(nodes) == [[((4, 3), 1)], "matmul", [((3, 3), 1)]]


def test_long_loops_are_spread_over_the_device_and_wait_for_nothing(cupy, arrays, monkeypatch):
    monkeypatch.setattr(sizes, "ONE_BLOCK_ELEMENTS", 8)
    x, y, z, w, a, b = arrays
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (cupy.exp, b, a), (cupy.add, w, y, z)), [w, b])
    assert shapes(nodes) == [[((4, 3), 2), ((3, 3), 1)]]
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (cupy.add, b, y[:3], 1.0)), [b])
    assert shapes(nodes) == [[((4, 3), 1)], [((3, 3), 1)]]


def test_what_has_no_expression_is_launched_as_it_is(cupy, arrays):
    x, y, z, _, _, _ = arrays
    described = (cupy.sinh, y, x), (cupy.multiply, z, y, float("inf")), (cupy.exp, y.astype("float16"), x)
    assert shapes(fuse(operations(cupy, *described), [z])) == ["cupy_sinh", "cupy_multiply", "cupy_exp"]
    wider = operations(cupy, (cupy.multiply, x, x, y.astype("float64")))  # which is computed in float64, and cast
    assert shapes(fuse(wider, [x])) == ["cupy_multiply"]


def test_what_a_write_covers_is_not_read_afterwards(cupy, arrays):
    """A product written as the transpose of an array overwrites it; one written with gaps does not."""
    x, y, z, w, _, _ = arrays
    for written, overwritten in ((y.mT, True), (y[::-1], True), (y[:, :2], False), (y[1:], False)):
        described = (cupy.exp, y, x), (cupy.sinh, written, written), (cupy.add, z, y, w)
        (first, *_) = fuse(operations(cupy, *described), [z])
        assert not first.loops[0].dropped  # sinh reads it
        described = (cupy.exp, y, x), (cupy.sinh, written, cupy.zeros_like(written)), (cupy.add, z, y, w)
        (first, *_) = fuse(operations(cupy, *described), [z])
        assert bool(first.loops[0].dropped) == overwritten
    assert fusion.is_dense((3, 4, 1), (1, 3, 77))
    assert not fusion.is_dense((3, 3), (2, 2))  # some elements twice, and gaps


def test_what_is_read_before_it_is_written_is_stored_for_the_next_launch(cupy, arrays):
    x, y, z, _, _, _ = arrays
    nodes = fuse(operations(cupy, (cupy.add, z, x, y), (cupy.exp, y, z)), [z])
    assert [loop.dropped for loop in nodes[0].loops] == [set()]


@pytest.mark.parametrize(
    ("name", "n", "launch"),
    [
        ("MAX_KERNEL_THREADS", 64, (1, 64)),
        ("MAX_BLOCKS", 2, (2, 128)),
        ("THREADS_PER_BLOCK", 64, (8, 64)),
        ("", 0, (1, 512)),
    ],
)
def test_a_size_is_one_name_that_is_read_when_a_kernel_is_written(cupy, monkeypatch, name, n, launch):
    x, y, z = (cupy.ones((20, 25), dtype="float32") for _ in range(3))
    barrier = name in ("MAX_KERNEL_THREADS", "")
    if name:
        monkeypatch.setattr(sizes, name, n)
    nodes = fuse(operations(cupy, (cupy.exp, y, x), (cupy.add, z, x, y[::-1] if barrier else y)), [z])
    code, (call,) = source.write_module(nodes)
    assert (call.blocks, call.threads) == launch
    assert f"__launch_bounds__({sizes.MAX_KERNEL_THREADS})" in code


# That threads wait for each other


def train(**options: Any) -> Network:
    net = Network([7, 6, 4], seed=0, backend="cupy", activation="gelu", task="classification", dropout=0.2)
    for name, value in options.items():
        setattr(net.backend, name, value)
    x, labels = np.random.default_rng(0).random((160, 7), np.float32), np.arange(160) % 4
    net.train((x, labels), epochs=1, batch_size=5, lr=0.01, optimizer=Adam(), progress=False)
    return net


def train_plainly() -> Network:
    return train(loop=lambda *args: Backend.loop(Network([2, 1], backend="cupy").backend, *args))


@pytest.mark.parametrize(("one_block", "at_once"), [(1 << 14, 1), (20, 2), (0, 4)])
def test_threads_that_take_turns_give_the_same_bits(host, monkeypatch, one_block, at_once):
    """The last thread goes first: without a barrier, a loop would read what the others have not written yet."""
    monkeypatch.setattr(sizes, "ELEMENTS_AT_ONCE", at_once)
    monkeypatch.setattr(sizes, "ONE_BLOCK_ELEMENTS", one_block)
    with host.threads(3):
        net = train()
    assert net.engine.startswith("CUDA graph")
    assert_same(net, snapshot(train_plainly()))


@pytest.mark.filterwarnings("ignore:the steps cannot run as a CUDA graph")
def test_a_missing_barrier_is_seen(host, monkeypatch):
    monkeypatch.setattr(source, "find_barriers", lambda loops: set())
    with host.threads(3):
        net = train()
    assert net.engine == "plain loop: the captured graph gives other results on this device"


# What CUDA makes of them


def compile_for(cupy: Any, code: str, architecture: str) -> bytes:
    """Compile with CUDA's own compiler, NVRTC, which needs no GPU."""
    from cupy.cuda import compiler

    return compiler._NVRTCProgram(code, "kernels.cu").compile((f"-arch={architecture}", "--std=c++17"))[0]


@pytest.mark.needs("nvidia.cuda_nvrtc")
@pytest.mark.parametrize(
    ("at_once", "architecture", "trainings", "fewest"),
    [(1, "compute_80", TRAININGS, 100), (4, "compute_90", TRAININGS[:3], 20)],
    ids=["each", "several at once"],
)
def test_cuda_compiles_every_kernel(cupy, monkeypatch, at_once, architecture, trainings, fewest):
    monkeypatch.setattr(sizes, "ELEMENTS_AT_ONCE", at_once)
    dtypes = cycle(["float32", "float32", "float64"])
    every = [prepare_training(get_backend("cupy"), *each) for each in zip(trainings, dtypes)]
    code, _ = source.write_module([kernel for steps in every for kernel in kernels(fuse_steps(steps))])
    assert code.count("__global__") > fewest
    assert ("Elements<float, 4> all0 =" in code) == (at_once == 4)
    assert compile_for(cupy, code, architecture)


@pytest.mark.needs("nvidia.cuda_nvrtc")
def test_sums_and_products_are_rounded_one_by_one(cupy, arrays):
    """A fused multiply-add would round once, and give other bits than the operations do."""
    x, y, z, _, _, _ = arrays
    nodes = fuse(operations(cupy, (cupy.multiply, y, x, x), (cupy.add, y, y, x), (cupy.subtract, z, y, x)), [z])
    code, _ = source.write_module(nodes)
    compiled = compile_for(cupy, code, "compute_80").decode()
    assert [word for word in ("mul.rn.f32", "add.rn.f32", "sub.rn.f32", "fma") if word in compiled] == [
        *("mul.rn.f32", "add.rn.f32", "sub.rn.f32")
    ]
    contracted = compile_for(
        cupy, code.replace("__fmul_rn(a, b)", "a * b").replace("__fadd_rn(a, b)", "a + b"), "compute_80"
    )
    assert b"fma" in contracted


def test_numbers_keep_their_digits():
    assert [source.write_number(x) for x in (0.1, 3, -2.5e-8, True)] == ["(0.1)", "(3)", "(-2.5e-08)", "(1)"]


def test_offsets():
    assert source.write_offset((4, 3), (3, 1)) == "t"
    assert source.write_offset((4, 3), (0, 1)) == "(t % 3) * 1"
    assert source.write_offset((4, 3), (1, 0)) == "(t / 3) * 1"
    assert source.write_offset((4, 3), (1, 4)) == "(t / 3) * 1 + (t % 3) * 4"
    assert source.write_offset((), ()) == "t"
    assert source.write_offset((2, 4, 3), (0, 3, 1)) == "(t / 3 % 4) * 3 + (t % 3) * 1"
