"""Where gpu.py measures: on a GPU, or in a rehearsal on the host, where the real CuPy runs over host memory."""

import functools
import importlib
import sys
from contextlib import ExitStack
from pathlib import Path

TESTS = str(Path(__file__).parents[1] / "tests")
LIBRARIES = ("cupy", "torch", "jax")
_pretending = ExitStack()  # as long as the process lives


def device(library, where):
    """Name the device of a library. In a rehearsal, CuPy takes the host's memory for a GPU; the others use the CPU."""
    return "cpu" if library == "numpy" or (where == "host" and library != "cupy") else "cuda"


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
