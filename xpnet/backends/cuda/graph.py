"""CUDA graphs: a recorded program that the device runs by itself."""

import math
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import cupy

from xpnet._checks import warn
from xpnet.backends.base import Eager
from xpnet.backends.cuda import cublas
from xpnet.backends.cuda.functions import any_along
from xpnet.backends.cuda.fusion import Kernel, fuse
from xpnet.backends.cuda.source import Call, write_module
from xpnet.backends.replay import Case, NotRecordableError, Operations, Program, ReplayLoop
from xpnet.core.arrays import Function, Native, leaves, map_arrays, select

CHANGE_TOLERANCE = 1e-4  # relative to the change of an array
ROUNDING_TOLERANCE = 64  # units in the last place


class GraphLoop(ReplayLoop):
    """Repeats a step by launching a graph of several steps; if the step cannot be captured, a plain loop runs it.

    Parameters
    ----------
    backend, step, make_minibatch
        As in `Backend.loop`. The backend says whether to fuse operations into generated kernels.
    """

    backend: Any

    def __init__(self, backend: Eager, step: Function, make_minibatch: Function) -> None:
        super().__init__(backend, step, make_minibatch)
        self.fusing = True

    def __call__(self, state: Any, batches: Any, data: Any) -> Any:
        """Repeat the step for every batch, on a copy of the state."""
        if self.backend.fuse != self.fusing:
            self.fusing, self.cases = self.backend.fuse, {}
        return super().__call__(state, batches, data)

    def _make_program(self, state: Any, batches: Any, data: Any, n_steps: int) -> Program:
        """Record the first step, and capture as many as the program has.

        The graph is checked: it must reach the state that a plain loop reaches. So a fault that appears only on some
        GPUs makes training slower, but no number wrong.
        """
        program = super()._make_program(state, batches, data, n_steps)
        program.preparation, program.steps = prepare_launches(program, self.fusing)
        graph = Graph([*program.preparation, *chain(*program.steps)])
        program.operations, program.engine = [graph], f"CUDA graph, {graph.nodes / n_steps:.3g} nodes a step"
        batches = select(batches, slice(n_steps))
        plain = self.repeat(map_arrays(self.backend.copy, state), batches, data)
        for _ in range(2):  # the second launch shows whether it depends on anything but the state
            program.begin(state, data)
            program.run(batches, data)
        if not agree(leaves(program.state), leaves(plain), leaves(state)):
            raise NotRecordableError("the captured graph gives other results on this device")
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
        pool = cupy.cuda.MemoryPool()  # its own, since every launch uses the same temporary memory
        with cublas.capturing() as self.handle, cupy.cuda.using_allocator(pool.malloc):
            self.handle.stream.begin_capture()
            try:
                for launch in launches:
                    launch()
            finally:
                self.graph = self.handle.stream.end_capture()
        if pool.total_bytes():
            # Since CuPy 14.1, a deleted pool does not free its blocks; at exit, CuPy may already be unloaded
            weakref.finalize(self, _free_blocks, pool, cupy.cuda.Device()).atexit = False

    def __call__(self) -> None:
        """Launch the graph on the current stream."""
        self.graph.launch()


def _free_blocks(pool: Any, device: Any) -> None:
    with device:
        pool.free_all_blocks()


def prepare_launches(program: Program, fusing: bool) -> tuple[Operations, list[Operations]]:
    """Return the launches of a program's preparation, and of each step; with `fusing`, in generated kernels.

    The step is fused once. The kernels of the other steps differ only in some of their arrays.
    """
    if not fusing:
        return program.preparation, list(program.steps)
    preparation = fuse(program.preparation, leaves(program.minibatches))
    step = fuse(program.steps[0], leaves(program.state))
    kernels = [node for node in [*preparation, *step] if isinstance(node, Kernel)]
    source, calls = write_module(kernels, program.replacements)
    module = cupy.RawModule(code=source)
    functions = {call.name: module.get_function(call.name) for call in calls}  # compiled and loaded before the capture
    remaining = iter(calls)
    nodes: list[Any] = [next(remaining) if isinstance(node, Kernel) else node for node in [*preparation, *step]]

    def launches(nodes: Sequence[Any], operations: Operations, replacements: dict[int, Native]) -> Operations:
        operation_of: dict[int, Any] = dict(zip(map(id, program.steps[0]), operations))
        return [
            _bind(functions, node, replacements) if isinstance(node, Call) else operation_of.get(id(node), node)
            for node in nodes
        ]

    first, rest = nodes[: len(preparation)], nodes[len(preparation) :]
    steps = [launches(rest, *step) for step in zip(program.steps, program.replacements)]
    return launches(first, (), {}), steps


def _bind(functions: dict[str, Any], call: Call, replacements: dict[int, Native]) -> Callable[[], Any]:
    arrays = tuple(replacements.get(id(x), x) for x in call.arrays)
    return partial(functions[call.name], (call.blocks,), (call.threads,), arrays)


def agree(results: Sequence[Native], expected: Sequence[Native], before: Sequence[Native]) -> bool:
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
        if not bool(any_along(differs)):
            continue
        if y.dtype.kind != "f" or bool(any_along(differs & ~(cupy.isfinite(x) & cupy.isfinite(y)))):
            return False
        allowed = CHANGE_TOLERANCE * _norm(y - start) + ROUNDING_TOLERANCE * float(cupy.finfo(y.dtype).eps) * _norm(y)
        if _norm(cupy.where(differs, x - y, 0)) > allowed:
            return False
    return True


def _norm(x: Native) -> float:
    """Compute the norm of the finite numbers."""
    x = cupy.where(cupy.isfinite(x), x, 0).astype("float64")
    return math.sqrt(float((x * x).sum()))
