"""The checks of gpu.py: what to know of a GPU before anything is timed on it.

Each check is a generator of lines. It runs in a process of its own, so that an error on the GPU, after which CUDA
refuses everything, ends that check alone. An exception, most often an AssertionError, means that it has failed.
"""

import re
import time
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
from contenders import Row, engine, one_hot, open_backend, start
from machine import cards, cuda, machine
from places import LIBRARIES, prepare
from turns import parts_off

from xpnet import SGD, Adam, Network, OneCycle, get_backend
from xpnet.datasets import mnist_sample

CHECKS = (
    "versions",
    "cost_of_a_launch",
    "products_in_every_layout",
    "operations_that_can_be_captured",
    "captured_products",
    "time_of_a_node",
    "networks_on_every_engine",
    "steps_of_784_30_10_in_tens",
    "steps_of_784_100_10_in_128s",
    "steps_of_784_512_512_10_in_128s",
    "memory_after_50_epochs",
)
ENGINES = {"plain": {"plain": True}, "graph": {"fuse": False}, "fused": {}}  # as arguments of open_backend
GRAPH = "CUDA graph"  # beginning of `net.engine` where a graph ran
BOUND, EXACT_BOUND = 1e-3, 1e-6  # differences of weights, relative to their change: in float32, in float64
SETTLING = 6  # trainings until the memory that is kept for later ones is there
GROWTH = 4 << 20  # bytes that the driver may take besides what CuPy asks for
NODES = ("MEM_ALLOC", "MEM_FREE", "MEMCPY", "MEMSET")  # of a graph, as its description names them; the rest are kernels


def run_check(report, name, where, quick):
    """Report the lines of a check."""
    prepare(where)
    for line in globals()[name](where, quick):
        report(line)


def versions(where, quick):
    """Name the GPU, the driver, CUDA and the libraries."""
    import cupy

    yield cards() or "nvidia-smi finds no GPU"
    yield machine(*(name for name in LIBRARIES if find_spec(name)))
    yield ", ".join(cuda()) or "no packages with CUDA libraries"
    runtime = cupy.cuda.runtime
    yield f"CuPy uses CUDA {runtime.runtimeGetVersion()} and a driver for CUDA {runtime.driverGetVersion()}"
    yield f"CuPy computes on {runtime.getDeviceProperties(0)['name'].decode()}"


def cost_of_a_launch(where, quick):
    """Time single operations of CuPy."""
    import cupy

    xp, (x, w, _, z, small) = get_backend("cupy", "cuda").xp, arrays()
    operations = {
        "add(a, b, out=c)": lambda: cupy.add(small, small, out=z),
        "a + b": lambda: small + small,
        "a + 1.0": lambda: small + 1.0,
        "sum(a, axis=-2)": lambda: xp.sum(small, axis=-2, keepdims=True),
        "CuPy's product": lambda: cupy.matmul(x, w.mT),
        "xpnet's product": lambda: xp.matmul(x, w.mT),
    }
    yield "µs of the host a call, and in brackets until the GPU is done"
    for name, operation in operations.items():
        yield f"{name}: {microseconds(operation, 200 if quick else 2000)}"


def products_in_every_layout(where, quick):
    """Compare products with NumPy's: C and Fortran order, transposes, slices, stacks, in both precisions."""
    import cupy

    backend, rng, n = get_backend("cupy", "cuda"), np.random.default_rng(0), 0
    layouts = {
        "C order": cupy.ascontiguousarray,
        "Fortran order": cupy.asfortranarray,
        "a slice": lambda a: cupy.repeat(a, 2, axis=-1)[..., ::2],
        "a transpose": lambda a: cupy.ascontiguousarray(a.mT).mT,
    }
    sizes = ((10, 784, 30), (1, 5, 7), (33, 1, 9), (64, 64, 64), (7, 3, 1), (1, 1, 1))
    for dtype, bound in (("float32", 1e-5), ("float64", 1e-13)):
        for m, k, l in sizes:
            for stack in ((), (3,)):
                a, b = (rng.standard_normal(stack + shape).astype(dtype) for shape in ((m, k), (k, l)))
                for one, lay_a in layouts.items():
                    for other, lay_b in layouts.items():
                        with backend.scope(dtype):
                            product = backend.xp.matmul(lay_a(cupy.asarray(a)), lay_b(cupy.asarray(b)))
                        what = f"{dtype} {a.shape} in {one} times {b.shape} in {other}"
                        assert product.dtype == dtype, f"{what} is {product.dtype}"
                        off = np.abs(cupy.asnumpy(product) - a @ b).max()
                        assert off <= bound * k**0.5 * np.abs(a).max() * np.abs(b).max(), f"{what} is off by {off:.1e}"
                        n += 1
    yield f"{n} products are those of NumPy"


def operations_that_can_be_captured(where, quick):
    """Capture the operations of a step, one by one, and launch them; CuPy's own product is shown for comparison."""
    import cupy

    backend, (x, w, b, z, small), refused = get_backend("cupy", "cuda"), arrays(), []
    xp, rows = backend.xp, cupy.asarray(np.array([3, 1, 2], np.int32))
    operations = {
        "add(a, b, out=c)": lambda: cupy.add(z, b, out=cupy.empty_like(z)),
        "take": lambda: xp.take(x, rows, axis=0),
        "sum, axis=-2": lambda: xp.sum(z, axis=-2, keepdims=True),
        "sum, axis=-1": lambda: xp.sum(z, axis=-1),
        "max, axis=-1": lambda: xp.max(z, axis=-1, keepdims=True),
        "where": lambda: xp.where(z > 0, z, small),
        "concat": lambda: xp.concat([z, small], axis=-1),
        "sign": lambda: xp.sign(z),
        "vecdot": lambda: xp.vecdot(z, small),
        "cumulative_sum": lambda: xp.cumulative_sum(rows, axis=0),
        "exp": lambda: xp.exp(-z),
        "copy": lambda: cupy.array(z, copy=True),
        "CuPy's product": lambda: cupy.matmul(x, w.mT),
    }
    for name, operation in operations.items():
        expected = cupy.asnumpy(operation())
        try:
            with captured(operation) as (graph, result):
                result.fill(7)
                graph.launch()
                same = np.array_equal(cupy.asnumpy(result), expected)
                yield f"{name}: {describe_nodes(graph, where)}{'' if same else ', BUT A WRONG RESULT'}"
        except Exception as error:
            same = name == "CuPy's product"  # it is known to be refused, and no step uses it
            yield f"{name}: refused, {type(error).__name__}"
        if not same:
            refused.append(name)
    assert not refused, f"not captured rightly: {', '.join(refused)}"


def captured_products(where, quick):
    """Capture the three products of a layer, without nodes that allocate memory, and launch them on other numbers."""
    import cupy

    xp, (x, w, _, delta, _) = get_backend("cupy", "cuda").xp, arrays()
    products = {
        "forward": lambda xp, x, w, delta: xp.matmul(x, w.mT),
        "gradient": lambda xp, x, w, delta: xp.matmul(delta.mT, x),
        "delta": lambda xp, x, w, delta: xp.matmul(delta, w),
    }
    for name, product in products.items():
        with captured(lambda product=product: product(xp, x, w, delta)) as (graph, result):
            for array in (x, w, delta):
                array *= 1.5
            result.fill(7)
            graph.launch()
            expected = product(np, *map(cupy.asnumpy, (x, w, delta)))
            off = np.abs(cupy.asnumpy(result) - expected).max() / np.abs(expected).max()
            assert off < 1e-5, f"{name}: off by {off:.1e}"
            nodes = describe_nodes(graph, where)
            assert "MEM_ALLOC" not in nodes, f"{name}: {nodes}"
            yield f"{name}: {nodes}"


def time_of_a_node(where, quick):
    """Time graphs of 1, 8, 64 and 512 small kernels."""
    import cupy

    _, _, b, z, _ = arrays()
    yield "µs of the host a launch, and in brackets until the GPU is done"
    for n in (1, 8, 64, 512):
        with captured(lambda n=n: [cupy.add(z, b, out=z) for _ in range(n)]) as (graph, _):
            graph.upload()
            yield f"{n} nodes: {microseconds(graph.launch, 20 if quick else 200)}"


def networks_on_every_engine(where, quick):
    """Compare the weights of small trainings on every engine with those on NumPy."""
    rng, n, epochs = np.random.default_rng(0), 279 if quick else 399, 2 if quick else 4
    x, y = rng.standard_normal((n, 20)), rng.integers(3, size=n)  # the last minibatch of 8 is smaller
    rich = {"activation": "gelu", "task": "classification", "dropout": 0.2, "dtype": "float64"}
    trainings = {
        "sigmoid, SGD, float32": ({}, {"lr": 0.5}, BOUND),
        "ReLU, momentum, float64": (
            {"activation": "relu", "task": "classification", "dtype": "float64"},
            {"lr": 0.05, "optimizer": SGD(momentum=0.9)},
            EXACT_BOUND,
        ),
        "GELU, dropout, Adam, float64": (rich, {"lr": OneCycle(0.01), "optimizer": Adam()}, EXACT_BOUND),
    }
    wrong = []
    for name, (options, settings, bound) in trainings.items():
        networks = {}
        for how in ("NumPy", *ENGINES):
            backend = get_backend("numpy") if how == "NumPy" else open_backend("cupy", "cuda", **ENGINES[how])
            net = Network([20, 16, 3], seed=0, backend=backend, **options)
            begun = weights(net)
            net.train((x, y), epochs, batch_size=8, progress=False, **settings)
            networks[how] = weights(net)
            off = largest_difference(begun, networks["NumPy"], networks[how])
            if how != "NumPy":
                yield f"{name}, {how}: off by {off:.1e} of the change of the weights; {engine(net) or 'plain loop'}"
            if not off <= bound:
                wrong.append(f"{name}, {how}")
    assert not wrong, f"other weights than on NumPy: {'; '.join(wrong)}"


def steps_of_784_30_10_in_tens(where, quick):
    """Time the steps of a small network on every engine, and compare the weights."""
    return steps_on_every_engine(Row((784, 30, 10), 10, 3.0), quick)


def steps_of_784_100_10_in_128s(where, quick):
    """The same for a wider network."""
    return steps_on_every_engine(Row((784, 100, 10), 128, 3.0), quick)


def steps_of_784_512_512_10_in_128s(where, quick):
    """The same for a deeper network."""
    return steps_on_every_engine(Row((784, 512, 512, 10), 128, 0.3), quick)


def steps_on_every_engine(row, quick):
    """Train on the bundled digits; the first epoch compiles and captures, and the best of the others is the time."""
    steps, epochs, networks, wrong = 40 if quick else 480, 2 if quick else 4, {}, []
    (x, labels), _ = mnist_sample()
    chosen = np.arange(steps * row.batch_size) % len(x)
    for how, options in ENGINES.items():
        backend = open_backend("cupy", "cuda", **options)
        data = backend.asarray(x[chosen]), backend.asarray(one_hot(labels[chosen]))
        net = start(row, backend=backend)
        begun = weights(net)
        history = net.train(data, epochs, row.batch_size, row.lr, progress=False)
        networks[how] = weights(net)
        first, *later = (seconds / steps * 1e6 for seconds in history["seconds"])
        off = largest_difference(begun, networks["plain"], networks[how])
        compared = "" if how == "plain" else f"; off by {off:.1e} of the change of the weights"
        yield f"{how}: {min(later):.1f} µs a step (first epoch {first:.1f}){compared}; {engine(net) or 'plain loop'}"
        if not off <= BOUND:
            wrong.append(f"{how} has other weights than plain")
        if how != "plain" and not engine(net).startswith(GRAPH):
            wrong.append(f"{how} ran no graph")
    assert not wrong, "; ".join(wrong)


def memory_after_50_epochs(where, quick):
    """Train on and on: once it has settled, neither CuPy's memory nor the GPU's may grow."""
    import cupy

    rng = np.random.default_rng(0)
    x, y = rng.random((1000, 20), np.float32), rng.integers(3, size=1000)
    net, used = Network([20, 16, 3], seed=0, backend="cupy", device="cuda"), []
    for epochs in (*[2] * SETTLING, 5 if quick else 50):
        net.train((x, y), epochs, 10, 0.1, progress=False)
        net.backend.synchronize()
        used.append((cupy.get_default_memory_pool().used_bytes(), cupy.cuda.runtime.memGetInfo()[0]))
        yield f"after {epochs} more epochs: {used[-1][0]:,} bytes used in CuPy's pool, {used[-1][1]:,} free on the GPU"
    if where == "host":
        yield "not on host memory: the bytes free on the GPU"
    *_, (pool, free), (pool_after, free_after) = used
    assert pool_after <= pool, f"CuPy's pool grew by {pool_after - pool:,} bytes"
    assert free - free_after <= GROWTH, (
        f"{free - free_after:,} bytes of the GPU are gone (does another program use it?)"
    )


# What the checks share


def arrays():
    """Arrays of a layer of 784-30-10 with minibatches of 10: x, w, b, z, and ones in the shape of z."""
    import cupy

    rng = np.random.default_rng(0)
    x, w, b, z = (
        cupy.asarray(rng.standard_normal(shape, np.float32)) for shape in ((10, 784), (30, 784), (1, 30), (10, 30))
    )
    return x, w, b, z, cupy.ones_like(z)


def microseconds(operation, n):
    """Time a call: of the host alone, and until the GPU is done."""
    import cupy

    stream = cupy.cuda.get_current_stream()
    for _ in range(20):
        operation()
    stream.synchronize()
    started = time.perf_counter()
    for _ in range(n):
        operation()
    host = time.perf_counter() - started
    stream.synchronize()
    return f"{host / n * 1e6:.2f} ({(time.perf_counter() - started) / n * 1e6:.2f})"


@contextmanager
def captured(operation):
    """Capture an operation; the context is the graph and the result, whose memory lives as long as the context."""
    import cupy

    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()  # the stream does not wait for others
    with stream:
        operation()  # compiles kernels, and makes what is kept for later products
        with cupy.cuda.using_allocator(pool.malloc):
            operation()  # now the pool has the memory
            stream.synchronize()
            stream.begin_capture()
            try:
                result = operation()
            finally:
                graph = stream.end_capture()
    yield graph, result


def read_nodes(dot):
    """Count nodes in the description of a graph, in the language DOT.

    Examples
    --------
    >>> dot = '''digraph dot {
    ... subgraph cluster_1 {
    ... "graph_1_node_0"[style="bold" label="0
    ... cupy_add"];
    ... "graph_1_node_1"[style="solid" label="1
    ... MEM_ALLOC"];
    ... "graph_1_node_0" -> "graph_1_node_1"[headlabel=0];
    ... }}'''
    >>> dict(read_nodes(dot))
    {'kernel': 1, 'MEM_ALLOC': 1}
    """
    labels = re.findall(r'^\s*"graph_\d+_node_\d+"\s*\[(.*?)\];', dot, re.DOTALL | re.MULTILINE)
    return Counter(next((kind for kind in NODES if kind in label), "kernel") for label in labels)


def describe_nodes(graph, where):
    """Say what a graph is made of, if CUDA draws it, and as it did when this was written."""
    if where == "host":
        return "captured (not on host memory: the kinds of nodes)"
    try:
        nodes = read_nodes(graph.debug_dot_str())
    except Exception as error:
        return f"captured; its nodes could not be counted ({type(error).__name__})"
    if not nodes:
        return "captured; its nodes could not be counted"
    return "captured as " + ", ".join(f"{n} × {kind}" for kind, n in nodes.items())


def weights(net):
    """The layers of a network, on the host."""
    return [tuple(map(net.backend.to_numpy, layer)) for layer in net.layers]


def largest_difference(begun, layers, others):
    """The largest difference of an array between two networks, relative to its change."""
    return max(off for _, off in parts_off(begun, layers, others))
