"""The check of gpu.py: which operations a CUDA graph can capture, and of what nodes it then consists.

It tells why steps go by the plain loop where a graph should run. What a GPU computes is checked by the tests.
"""

import functools
import importlib
import re
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from xpnet import get_backend

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


def capture_operations(report, where):
    """Capture the operations of a step, one by one, and launch them; CuPy's own product is shown for comparison.

    The products of xpnet must need no nodes that allocate memory. Raises AssertionError if one fails.
    """
    prepare(where)
    import cupy

    xp, (x, w, b, z, small), refused = get_backend("cupy", "cuda").xp, arrays(), []
    runtime, rows = cupy.cuda.runtime, cupy.asarray(np.array([3, 1, 2], np.int32))
    report(f"on {runtime.getDeviceProperties(0)['name'].decode()}, with CUDA {runtime.runtimeGetVersion()}")
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
                report(f"{name}: {nodes}{'' if same else ', BUT A WRONG RESULT'}")
                same = same and not ("product" in name and "MEM_ALLOC" in nodes)
        except Exception as error:
            same = name == "CuPy's product"  # it is known to be refused, and no step uses it
            report(f"{name}: refused, {type(error).__name__}")
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
    """Count nodes in the description of a graph, in the language DOT."""
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
