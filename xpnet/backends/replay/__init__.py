"""Record the operations of a step once, then repeat them: a loop for libraries without a compiler.

In a step of a small network, much of the time goes into Python, which decides what to do next, and into allocating
arrays. But every step does the same. So the first steps run on arrays that record each operation of the library, with
the memory that it reads and writes (`tape`). From then on only these operations run, again and again, on the same
memory (`program`). The mathematics stays the same, operation by operation, and so does every bit of the result.

It relies on steps that are pure functions of arrays: which operations run, and on which shapes, must not depend on the
values. A step that reads values, uses arrays from elsewhere, or changes an array in place that has two names cannot be
recorded. It is refused, and a plain loop runs it instead.
"""

from xpnet.backends.replay._program import Program, ReplayLoop, ShapeCase
from xpnet.backends.replay._tape import RecordedArray, RecordedView, Recorder

try:
    import xpnet.backends.replay.loops as loops
    from xpnet.backends.replay._native import NativeLoop, get_step_threads, make_native
except ImportError:  # the extension was not built
    loops = NativeLoop = get_step_threads = make_native = None

__all__ = [
    "NativeLoop",
    "Program",
    "RecordedArray",
    "RecordedView",
    "Recorder",
    "ReplayLoop",
    "ShapeCase",
    "get_step_threads",
    "loops",
    "make_native",
]
