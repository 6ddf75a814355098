"""Where gpu.py measures: on a GPU, or in a rehearsal on the host, where the real CuPy runs over host memory."""

import functools
import sys
from contextlib import ExitStack
from pathlib import Path

WHERE = ("cuda", "host")
LIBRARIES = ("cupy", "torch", "jax")
_pretending = ExitStack()  # as long as the process lives


def device(library, where):
    """Name the device of a library. In a rehearsal, CuPy takes the host's memory for a GPU; the others use the CPU."""
    return "cpu" if library == "numpy" or (where == "host" and library != "cupy") else "cuda"


@functools.cache
def prepare(where):
    """Let CuPy run over host memory in this process, if this is a rehearsal; once, before CuPy is imported."""
    if where == "host":
        sys.path.append(str(Path(__file__).parents[1] / "tests"))
        import host_cupy

        if reason := host_cupy.why_not():
            raise RuntimeError(f"no rehearsal with CuPy on host memory: {reason}")
        _pretending.enter_context(host_cupy.install().devices(1))
