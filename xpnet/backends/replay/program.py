"""Programs: recorded operations of some steps, and the loop that runs them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.backends.base import precision, repeat_step
from xpnet.backends.replay.eager import Eager
from xpnet.backends.replay.tape import NotRecordableError, RecordedArray, Recorder
from xpnet.core.arrays import Array, Function, leaves, map_arrays, select

FEWEST = 32  # steps: with fewer, recording does not pay, unless arrays are large
LARGE = 1 << 18  # elements of a minibatch that is large
UNROLLED = 16  # steps that are recorded, at most


class ReplayLoop:
    """Repeats a step over minibatches of the same data: `Backend.loop` of a library without a compiler.

    A program is recorded for each set of shapes of state and batches, as soon as there have been enough steps, and
    serves all later calls. Steps that are left over, or cannot be recorded, go by a plain loop.
    """

    def __init__(self, backend: Eager, step: Function, gather: Function, data: Any) -> None:
        self.backend, self.step, self.gather, self.data = backend, step, gather, data
        self.cases: dict[Any, Case] = {}

    def __call__(self, state: Any, batches: Any) -> Any:
        """Repeat the step for every batch, on a copy of the state."""
        backend = self.backend
        with backend.scope(precision(state)), np.errstate(all="ignore"):
            batches = map_arrays(backend.asarray, batches)
            case = self._find_case(state, batches)
            case.steps += leaves(batches)[0].shape[0]
            if case.refusal is None:
                try:
                    return self._replay(case, state, batches)
                except NotRecordableError as error:
                    self._refuse(case, str(error))
            return self._repeat(map_arrays(backend.copy, state), batches)

    @property
    def engine(self) -> str:
        """How most of the steps ran."""
        return max(self.cases.values(), key=lambda case: case.steps, default=Case()).engine

    def _find_case(self, state: Any, batches: Any) -> "Case":
        shapes = map_arrays(lambda x: (tuple(x.shape), x.dtype), state)
        shapes_of_batch = map_arrays(lambda x: (tuple(x.shape[1:]), x.dtype), batches)
        return self.cases.setdefault((shapes, shapes_of_batch), Case())

    def _replay(self, case: "Case", state: Any, batches: Any) -> Any:
        """Run the program of a case as far as it goes, and the other steps by a plain loop."""
        program, done = case.program, 0
        if program is None:
            n_steps = self._steps_to_record(case, batches)
            if n_steps == 0:
                return self._repeat(map_arrays(self.backend.copy, state), batches)
            program = case.program = self._record(state, batches, n_steps)
            done = n_steps  # recording has computed them
        else:
            program.set_state(state)
        done = program.run(batches, done)
        state = map_arrays(self.backend.copy, program.state)  # the program will write into its own memory again
        return self._repeat(state, select(batches, slice(done, None)))

    def _record(self, state: Any, batches: Any, n_steps: int) -> "Program":
        """Record the first steps.

        A step that fails in the same way whenever it is recorded cannot be recorded: it may test the types of its
        arrays, or a library may raise an error in the place of a refusal. The plain loop then runs it, and raises the
        error again if it is the step's own. An error that does not come again, as of a signal handler, surfaces.
        """
        try:
            return self._make_program(state, batches, n_steps)
        except NotRecordableError:
            raise
        except Exception as error:
            try:
                self._make_program(state, batches, n_steps)
            except NotRecordableError:
                raise
            except Exception as again:
                if type(again) is type(error):
                    raise NotRecordableError(f"{type(error).__name__}: {error}") from error
            raise

    def _make_program(self, state: Any, batches: Any, n_steps: int) -> "Program":
        return record(self.backend, self.step, self.gather, self.data, state, batches, n_steps)

    def _refuse(self, case: "Case", reason: str) -> None:
        """Remember that the steps of a case cannot be recorded, and why."""
        case.program, case.refusal = None, reason

    def _steps_to_record(self, case: "Case", batches: Any) -> int:
        """How many steps to record now: 0 as long as it does not pay."""
        steps = leaves(batches)[0].shape[0]
        if case.steps < 2:
            return 0
        if case.width is None:
            minibatch = self.gather(self.data, select(batches, 0), self.backend.xp)
            case.width = sum(math.prod(x.shape) for x in leaves(minibatch))
        if case.steps < FEWEST and case.width < LARGE:
            return 0
        most = max(1, min(UNROLLED, self.backend.gathered_together // case.width, steps // FEWEST))
        return min(range(most // 2 + 1, most + 1), key=lambda n: (steps % n, -n))  # so that few steps are left over

    def _repeat(self, state: Any, batches: Any) -> Any:
        return repeat_step(self.step, self.gather, self.data, state, batches, self.backend.xp)


class Case:
    """The program for arrays of the same shapes, or the reason why there is none yet."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.refusal: str | None = None  # why the step cannot be recorded
        self.steps = 0  # how many there have been
        self.width: int | None = None  # elements of a minibatch

    @property
    def engine(self) -> str:
        """How its steps run."""
        if self.program is not None:
            return self.program.engine
        return f"plain loop: {self.refusal or 'there were too few steps to record them'}"


class Program:
    """Recorded operations of `n_steps` steps, and the memory that they read and write.

    Parameters
    ----------
    backend
        The library.
    operations
        Calls without arguments.
    inputs
        Arrays into which the batches of so many steps are copied, one for each array of the batches.
    state
        A nest of arrays: where the state is, before and after.
    n_steps
        Number of steps that were recorded.
    """

    def __init__(
        self, backend: Eager, operations: Sequence[Callable[[], Any]], inputs: Sequence[Array], state: Any, n_steps: int
    ) -> None:
        self.backend, self.operations, self.n_steps = backend, operations, n_steps
        self.inputs, self.state = inputs, state
        self.engine = "replay of recorded steps"

    def set_state(self, state: Any) -> None:
        """Copy another state into the program's memory."""
        for target, x in zip(leaves(self.state), leaves(state)):
            self.backend.assign(target, x)

    def run(self, batches: Any, start: int) -> int:
        """Do the steps from `start` on in whole rounds; returns the number of the first step that is left over."""
        assign, n_steps, arrays = self.backend.assign, self.n_steps, leaves(batches)
        steps = arrays[0].shape[0]
        end = steps - steps % n_steps
        blocks = [self.backend.xp.reshape(x[start:end, ...], (-1, n_steps, *x.shape[1:])) for x in arrays]
        for arrays in zip(*blocks):
            for target, x in zip(self.inputs, arrays):
                assign(target, x)
            for operation in self.operations:
                operation()
        return end


def record(
    backend: Eager, step: Function, gather: Function, data: Any, state: Any, batches: Any, n_steps: int
) -> Program:
    """Do the first steps on a copy of the state, and record them.

    Raises
    ------
    NotRecordableError
        If the step cannot be recorded.
    """
    recorder = Recorder(backend)
    try:
        batches = map_arrays(recorder.wrap_copy, select(batches, slice(n_steps)))
        begin = map_arrays(lambda x: recorder.wrap(backend.copy(x)), state)
        end, xp = begin, recorder.namespace()
        minibatches = gather(map_arrays(recorder.wrap, data), batches, xp)
        for i in range(n_steps):
            end = step(end, map_arrays(recorder.align, select(minibatches, i)), xp)
            recorder.end_step()
        recorder.close(begin, end)
    except Exception as error:
        if recorder.refusal is not None:  # which somebody has caught, and raised another error in its place
            raise NotRecordableError(recorder.refusal) from error
        raise
    finally:
        recorder.end_step()  # what it holds refers to the recorder
    inputs, states = leaves(map_arrays(_unwrap, batches)), map_arrays(_unwrap, begin)
    return Program(backend, recorder.operations, inputs, states, n_steps)


def _unwrap(x: RecordedArray) -> Array:
    return x.array
