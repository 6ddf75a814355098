"""A loop over recorded steps in C, for NumPy where the extension was built."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from xpnet.backends.base import limit_thread_pools
from xpnet.backends.replay.loops import forget_threads, set_threads
from xpnet.backends.replay.program import Program, ReplayLoop
from xpnet.backends.replay.translate import translate
from xpnet.core.arrays import leaves, select
from xpnet.wording.checks import warn

_SHARING = Lock()
_FORKS: list[Any] = []


@contextmanager
def share_steps(number: int) -> Iterator[None]:
    """Let up to this many threads share the work of steps in C, and NumPy's products use one: no bit depends on it.

    If contexts in several Python threads overlap, the first number applies.
    """
    if hasattr(os, "register_at_fork") and not _FORKS:
        _FORKS.append(os.register_at_fork(after_in_child=forget_threads))
    if not _SHARING.acquire(blocking=False):
        yield
        return
    try:
        with limit_thread_pools("numpy", 1):
            set_threads(number)
            yield
    finally:
        set_threads(1)
        _SHARING.release()


class NativeLoop(ReplayLoop):
    """Repeats recorded steps by NumPy's inner loops, called from C; the results are those of `ReplayLoop`."""

    def _make_program(self, state: Any, batches: Any, data: Any, n_steps: int) -> Program:
        """Record the first step, and translate the program, unless the translation gives other results."""
        program = super()._make_program(state, batches, data, n_steps)
        operations = program.operations
        code, calls = translate(operations)
        batches = select(batches, slice(n_steps))
        ends = []
        for run in (operations, [code.run]):
            program.operations = run
            program.begin(state, data)
            program.run(batches, data)
            ends.append([x.tobytes() for x in leaves(program.state)])
        if ends[0] != ends[1]:
            program.operations = operations
            warn("the loop in C gives other results than NumPy here, so steps are replayed in Python, which is slower")
            return program
        share = f", {len(calls)} of {len(operations)} operations in Python" if calls else ""
        program.engine = f"replay of recorded steps in C{share}"
        return program
