"""The checks of gpu.py: what to know of a GPU before anything is timed on it.

Each check is a generator of lines. It runs in a process of its own, so that an error on the GPU, after which CUDA
refuses everything, ends that check alone. An exception, most often an AssertionError, means that it has failed.
"""

import functools
import importlib
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from xpnet import get_backend

CHECKS = (
    "cost_of_a_launch",
    "operations_that_can_be_captured",
)
NODES = ("MEM_ALLOC", "MEM_FREE", "MEMCPY", "MEMSET")  # of a graph, as its description names them; the rest are kernels
TESTS = str(Path(__file__).parents[1] / "tests")
_pretending = ExitStack()  # as long as the process lives


def device(library, where):
    """Name the device of a library. In a rehearsal, CuPy takes the host's memory for a GPU; the others use the CPU."""
    return "cpu" if where == "host" and library != "cupy" else "cuda"


def load_host_cupy():
    """Import the module that lets CuPy run over host memory; that alone changes nothing."""
    if TESTS not in sys.path:
        sys.path.append(TESTS)
    return importlib.import_module("host_cupy")


@functools.cache
def prepare(where):
    """Let CuPy run over host memory in this process, if this is a rehearsal; once, before CuPy is imported."""
    if where == "host":
        _pretending.enter_context(load_host_cupy().install().devices(1))


def run_check(report, name, where, quick):
    """Report the lines of a check."""
    prepare(where)
    for line in globals()[name](where, quick):
        report(line)


def cost_of_a_launch(where, quick):
    """Time single operations of CuPy, and graphs of 1, 8, 64 and 512 small kernels."""
    import cupy

    runtime, xp, (x, w, b, z, small) = cupy.cuda.runtime, get_backend("cupy", "cuda").xp, arrays()
    yield f"CuPy uses CUDA {runtime.runtimeGetVersion()} and a driver for CUDA {runtime.driverGetVersion()}"
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
    for n in (1, 8, 64, 512):
        with captured(lambda n=n: [cupy.add(z, b, out=z) for _ in range(n)]) as (graph, _):
            graph.upload()
            yield f"a graph of {n} nodes: {microseconds(graph.launch, 20 if quick else 200)}"


def operations_that_can_be_captured(where, quick):
    """Capture the operations of a step, one by one, and launch them; CuPy's own product is shown for comparison.

    The products of xpnet must need no nodes that allocate memory.
    """
    import cupy

    xp, (x, w, b, z, small), refused = get_backend("cupy", "cuda").xp, arrays(), []
    rows = cupy.asarray(np.array([3, 1, 2], np.int32))
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
        "forward product": lambda: xp.matmul(x, w.mT),
        "product for the gradient": lambda: xp.matmul(z.mT, x),
        "product for delta": lambda: xp.matmul(z, w),
        "CuPy's product": lambda: cupy.matmul(x, w.mT),
    }
    for name, operation in operations.items():
        expected = cupy.asnumpy(operation())
        try:
            with captured(operation) as (graph, result):
                result.fill(7)
                graph.launch()
                nodes, same = describe_nodes(graph, where), np.array_equal(cupy.asnumpy(result), expected)
                yield f"{name}: {nodes}{'' if same else ', BUT A WRONG RESULT'}"
                same = same and not ("product" in name and "MEM_ALLOC" in nodes)
        except Exception as error:
            same = name == "CuPy's product"  # it is known to be refused, and no step uses it
            yield f"{name}: refused, {type(error).__name__}"
        if not same:
            refused.append(name)
    assert not refused, f"not captured rightly: {', '.join(refused)}"


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
