"""CUDA graphs: a recorded program that the device runs by itself."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import cupy

from xpnet.backends.cuda import cublas
from xpnet.backends.cuda.fusion import Kernel, fuse
from xpnet.backends.cuda.source import Call, write_module
from xpnet.backends.replay.eager import Eager
from xpnet.backends.replay.program import Case, Program, ReplayLoop
from xpnet.backends.replay.tape import NotRecordableError
from xpnet.checks import warn
from xpnet.core.arrays import Array, Function, leaves, map_arrays

TOLERANCE = 1e-4  # relative to the change
ROUNDING = 64  # units in the last place


class GraphLoop(ReplayLoop):
    """Repeats a step by launching a graph of several steps; if the step cannot be captured, a plain loop runs it.

    Parameters
    ----------
    backend, step, gather, data
        As in `Backend.loop`.
    fusing
        Whether to fuse operations into generated kernels.
    """

    def __init__(self, backend: Eager, step: Function, gather: Function, data: Any, fusing: bool) -> None:
        super().__init__(backend, step, gather, data)
        self.fusing = fusing

    def _make_program(self, state: Any, batches: Any, n_steps: int) -> Program:
        """Record the first steps and capture them.

        The graph proves itself: it repeats these steps and must arrive at the same state. So a fault that appears only
        on some GPU makes training slower, but no number wrong.
        """
        program = super()._make_program(state, batches, n_steps)
        plain = map_arrays(self.backend.copy, program.state)
        graph = Graph(fuse_operations(program, self.fusing))
        for _ in range(2):  # the second launch shows whether it depends on anything but the state
            program.set_state(state)
            graph()
        if not agree(leaves(program.state), leaves(plain), leaves(state)):
            raise NotRecordableError("the captured graph gives other results on this device")
        program.operations = [graph]
        program.engine = f"CUDA graph, {graph.nodes / n_steps:.3g} nodes a step"
        return program

    def _refuse(self, case: Case, reason: str) -> None:
        super()._refuse(case, reason)
        message = f"the steps cannot run as a CUDA graph, and run in a plain loop, which is many times slower: {reason}"
        warn(message)


class Graph:
    """Captured launches.

    Parameters
    ----------
    launches
        Functions without arguments that launch kernels or products on the current stream. The graph keeps them, because
        they hold the memory that it uses.
    """

    def __init__(self, launches: Sequence[Callable[[], Any]]) -> None:
        self.launches, self.nodes = launches, len(launches)
        self.pool = cupy.cuda.MemoryPool()  # its own, since every launch uses the same temporary memory
        with cublas.capturing() as self.handle, cupy.cuda.using_allocator(self.pool.malloc):
            self.handle.stream.begin_capture()
            try:
                for launch in launches:
                    launch()
            finally:
                self.graph = self.handle.stream.end_capture()

    def __call__(self) -> None:
        """Launch the graph on the current stream."""
        self.graph.launch()


def fuse_operations(program: Program, fusing: bool) -> list[Callable[[], Any]]:
    """Return the launches of a program; with `fusing`, its operations are fused into generated kernels."""
    if not fusing:
        return list(program.operations)
    nodes = fuse(program.operations, leaves(program.state))
    source, calls = write_module([node for node in nodes if isinstance(node, Kernel)])
    module = cupy.RawModule(code=source)
    functions = {call.name: module.get_function(call.name) for call in calls}  # compiled and loaded before the capture
    remaining = iter(calls)
    return [_bind(functions, next(remaining)) if isinstance(node, Kernel) else node for node in nodes]


def _bind(functions: dict[str, Any], call: Call) -> Callable[[], Any]:
    return partial(functions[call.name], (call.blocks,), (call.threads,), tuple(call.arrays))


def agree(results: Sequence[Array], expected: Sequence[Array], before: Sequence[Array]) -> bool:
    """Whether results differ from the expected ones only by rounding, relative to the change. Synchronizes.

    Parameters
    ----------
    results, expected
        The arrays of the state, after the same steps.
    before
        The same arrays before these steps.
    """
    for x, y, start in zip(results, expected, before):
        differs = (x != y) & ((x == x) | (y == y))  # NaN equals NaN here
        if not bool(differs.any()):
            continue
        if y.dtype.kind != "f" or bool((differs & ~(cupy.isfinite(x) & cupy.isfinite(y))).any()):
            return False
        allowed = TOLERANCE * _norm(y - start) + ROUNDING * float(cupy.finfo(y.dtype).eps) * _norm(y)
        if _norm(cupy.where(differs, x - y, 0)) > allowed:
            return False
    return True


def _norm(x: Array) -> float:
    """Compute the norm of the finite numbers."""
    return float(cupy.linalg.norm(cupy.where(cupy.isfinite(x), x, 0).ravel().astype("float64")))
