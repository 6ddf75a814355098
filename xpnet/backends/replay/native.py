"""A loop over recorded steps in C, for NumPy where the extension was built."""

from typing import Any

from xpnet.backends.replay.program import Case, Program, ReplayLoop
from xpnet.backends.replay.translate import translate
from xpnet.core.arrays import Array, leaves, select
from xpnet.wording.checks import warn


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
        program.untranslated = calls
        return program
