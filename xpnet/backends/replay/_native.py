"""A loop over recorded steps in C, for NumPy where the extension was built."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numpy as np

from xpnet._checks import warn
from xpnet.backends._machine import limit_thread_pools
from xpnet.backends.base import Eager, NotRecordableError
from xpnet.backends.replay._program import Program, ReplayLoop
from xpnet.backends.replay._tape import Recorder
from xpnet.backends.replay._translate import translate
from xpnet.backends.replay.loops import forget_threads, set_threads
from xpnet.core.arrays import Function, Native, leaves, map_arrays, select

PAYS_FROM = 8  # steps: large ones take long to try
TRIED = 2  # steps, to compare the results of both loops


class NativeProgram(Program):
    """A program of one step that is run in C once it has been translated."""

    code: Any = None
    was_translated = False

    def improve(self, steps: int, state: Any, batches: Any, data: Any) -> None:
        """Translate the operations, if this gives the bits of those in Python for the first batches.

        So a fault makes training slower, but no number wrong.
        """
        if steps < PAYS_FROM or self.was_translated:
            return
        self.was_translated = True
        code, calls = translate(self.operations, leaves(self.inputs.batches), leaves(self.inputs.rows))
        code.fuse(*leaves(self.inputs.state))
        batches = select(batches, slice(TRIED))
        expected = self._try(state, batches, data)
        self.code = code
        if self._try(state, batches, data) != expected:
            self.code = None
            warn("the loop in C gives other results than NumPy here, so steps are replayed in Python, which is slower")
            return
        in_python = f", {calls} of {len(self.operations)} operations in Python" if calls else ""
        self.engine = f"replay of recorded steps in C{in_python}"

    def run(self, batches: Any, examples: Any) -> None:
        """Run a step for each batch."""
        if self.code is None:
            return super().run(batches, examples)
        batches = map_arrays(np.ascontiguousarray, batches)
        columns = [np.require(x, requirements="A") for x in leaves(examples)]
        self.code.run(batches.index, *leaves(batches), *columns)

    def _try(self, state: Any, batches: Any, data: Any) -> list[bytes]:
        """Run steps, and return all bits of the state after them."""
        self.begin(state, data[1])
        self.run(batches, data[0])
        return [x.tobytes() for x in leaves(self.inputs.state)]


class NativeLoop(ReplayLoop):
    """Repeats recorded steps by NumPy's inner loops, called from C; the results are those of `ReplayLoop`.

    C begins the next step without Python, and what a step reads stays in the cache: a program has one step.
    """

    program_type = NativeProgram
    unrolls = False


class NativeFunction:
    """A recorded function of an array, run in C on arrays of one shape and dtype."""

    def __init__(self, x: Native, code: Any, result: Native) -> None:
        self.x, self.code, self.result, self.lock = x, code, result, Lock()

    def __call__(self, x: Native) -> Native | None:
        """Compute the result for an array; None if it is not contiguous, or another thread is computing one."""
        if not x.flags.c_contiguous or not self.lock.acquire(blocking=False):
            return None
        try:
            np.copyto(self.x, x)
            self.code.run()
            return self.result.copy()
        finally:
            self.lock.release()


def make_native(backend: Eager, function: Function, nest: Any, x: Native) -> NativeFunction | None:
    """Record a function for `Backend.repeat_function`; None unless all of it runs in C, with the same bits."""
    recorder = Recorder(backend)
    recorded = recorder.wrap_copy(np.ascontiguousarray(x))
    try:
        result = function(map_arrays(recorder.wrap, nest), recorded, recorder.namespace())
        code, calls = translate([call.operation for call in recorder.cut()])
    except NotRecordableError:
        return None
    finally:
        recorder.forget_results()
    if calls:
        return None
    native, other = NativeFunction(recorded.array, code, result.array), x + 1  # all results but those of x
    repeated = native(other)
    same = repeated is not None and repeated.tobytes() == function(nest, other, backend.xp).tobytes()
    return native if same else None


class StepThreads:
    """The threads that share steps, while NumPy's BLAS uses one: as long as any training runs.

    If trainings in several Python threads overlap, the number of the first applies to all.
    """

    def __init__(self) -> None:
        self.lock, self.trainings, self.limit = Lock(), 0, ExitStack()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    @contextmanager
    def share(self, number: int) -> Iterator[None]:
        """Return a context in which up to this many threads share the work of steps: no bit depends on the number."""
        with self.lock:
            if self.trainings == 0:
                self.limit.enter_context(limit_thread_pools("numpy", 1))
                set_threads(number)
            self.trainings += 1
        try:
            yield
        finally:
            with self.lock:
                self.trainings = max(0, self.trainings - 1)  # 0 already if this process was forked in the context
                if self.trainings == 0:
                    set_threads(1)
                    self.limit.close()

    def forget(self) -> None:
        """Forget the threads of the process from which this one was forked."""
        self.lock, self.trainings, self.limit = Lock(), 0, ExitStack()  # another thread may have held the lock
        forget_threads()


@cache
def get_step_threads() -> StepThreads:
    """Return the only object of this class: the threads belong to the process, as those of a BLAS do."""
    return StepThreads()
