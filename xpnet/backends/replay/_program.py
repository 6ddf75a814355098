"""Programs: the recorded operations of a step, bound to several minibatches, and the loop that runs them."""

import math
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, ClassVar, NamedTuple

from xpnet.backends.base import Eager, Loop, NotRecordableError
from xpnet.backends.replay._tape import RecordedCall, Recorder
from xpnet.core.arrays import Function, Native, leaves, map_arrays, select, take_examples

Operations = Sequence[Callable[[], Any]]

MIN_RECORDED_STEPS = 32  # with fewer, recording does not pay, unless minibatches are large
LARGE_MINIBATCH = 1 << 18  # elements
MAX_UNROLLED = 16  # steps of a program


class Inputs(NamedTuple):
    """The arrays that are written before the operations of a program run, as nests."""

    state: Any  # the memory of the state, before and after the steps
    encoding: Any
    batches: Any  # of all steps of the program
    rows: Any  # the examples that are taken for them, (steps · m, ...)


class Program:
    """The operations of a step, bound to the minibatches of several steps, and the memory that they read and write.

    Parameters
    ----------
    backend
        The library.
    inputs
        Arrays that are written before the operations run.
    preparation
        Calls without arguments that make the minibatches of all steps.
    steps
        For each step, the calls that take it.
    n_bytes
        The size of all its arrays.
    """

    def __init__(
        self, backend: Eager, inputs: Inputs, preparation: Operations, steps: Sequence[Operations], n_bytes: int
    ) -> None:
        self.backend, self.inputs, self.n_bytes = backend, inputs, n_bytes
        self.preparation, self.steps = preparation, steps
        self.operations: Operations = [*preparation, *chain(*steps)]
        self.take: Any = backend.with_out["take"]
        self.engine = "replay of recorded steps"
        self.end: Sequence[Native] = ()  # arrays of the last state that was copied out, if it is still in the memory

    def improve(self, steps: int, state: Any, batches: Any, data: Any) -> None:
        """Make a program faster that has run this many steps, where that is possible."""

    def begin(self, state: Any, encoding: Any) -> None:
        """Copy a state, and the encoding of the examples, into the program's memory: arrays that are not there yet."""
        end, self.end = self.end, ()
        targets, arrays = leaves((self.inputs.state, self.inputs.encoding)), leaves((state, encoding))
        for target, x, present in zip_longest(targets, arrays, end):
            if x is not present:
                self.backend.assign(target, x)

    def run(self, batches: Any, examples: Any) -> None:
        """Run a step for each batch: their number is a multiple of that of the program's steps."""
        xp, inputs, assign = self.backend.xp, self.inputs, self.backend.assign
        columns = [*zip(leaves(inputs.rows), leaves(examples))]
        for arrays in zip(*(xp.reshape(x, (-1, len(self.steps), *x.shape[1:])) for x in leaves(batches))):
            for target, x in zip(leaves(inputs.batches), arrays):
                assign(target, x)
            index = xp.reshape(inputs.batches.index, (-1,))
            for target, x in columns:
                self.take(x, index, 0, target)
            for operation in self.operations:
                operation()


class ShapeCase:
    """The program for arrays of certain shapes, or the reason why there is none yet."""

    def __init__(self, program: Program | None = None) -> None:
        self.program = program
        self.refusal: str | None = None  # why the step cannot be recorded
        self.steps = 0  # how many there have been in this training
        self.width = 0  # elements of the examples of a minibatch

    @property
    def engine(self) -> str:
        """How its steps run."""
        if self.program is not None:
            return self.program.engine
        return f"plain loop: {self.refusal or 'there were too few steps to record them'}"


class ReplayLoop(Loop):
    """Repeats a step over minibatches: `Backend.loop` of a library without a compiler.

    A program is recorded for each set of shapes, as soon as there have been enough steps, and serves all later calls.
    Steps that cannot be recorded run in a plain loop.
    """

    backend: Eager
    program_type: ClassVar[type[Program]] = Program
    unrolls: ClassVar[bool] = True  # whether a program has several steps

    def __init__(self, backend: Eager, step: Function, make_minibatch: Function) -> None:
        super().__init__(backend, step, make_minibatch)
        self.cases: dict[Any, ShapeCase] = {}  # by the shapes, most recently used last

    def run(self, state: Any, batches: Any, data: Any) -> Any:
        case = self._find_case(state, batches, data)
        case.steps += batches.index.shape[0]
        if case.refusal is None:
            try:
                program = self._find_program(case, state, batches, data)
            except NotRecordableError as error:
                self._refuse(case, str(error))
            else:
                if program is not None:
                    return self._replay(case, program, state, batches, data)
        return super().run(state, batches, data)

    @property
    def engine(self) -> str:
        """How most of the steps ran, in a few words."""
        return max(self.cases.values(), key=lambda case: case.steps, default=ShapeCase()).engine

    def end_training(self, most: int) -> int:
        programs, n_bytes = {}, 0
        for key, case in reversed(self.cases.items()):
            if case.program is not None and case.steps and n_bytes + case.program.n_bytes <= most:
                case.program.end = ()
                n_bytes += case.program.n_bytes
                programs[key] = ShapeCase(case.program)
        self.cases = dict(reversed(programs.items()))
        return n_bytes

    def _find_case(self, state: Any, batches: Any, data: Any) -> ShapeCase:
        """Find the case for the shapes of all arrays; the numbers of steps and examples do not matter."""
        columns, encoding = leaves(data[0]), data[1]
        shapes = map_arrays(lambda x: (tuple(x.shape), x.dtype), (state, encoding))
        row_shapes = map_arrays(lambda x: (tuple(x.shape[1:]), x.dtype), batches)
        key = shapes, row_shapes, *[(tuple(x.shape[1:]), x.dtype) for x in columns]
        case = self.cases.pop(key, None) or ShapeCase()
        case.width = math.prod(batches.index.shape[1:]) * sum(math.prod(x.shape[1:]) for x in columns)
        self.cases[key] = case
        return case

    def _find_program(self, case: ShapeCase, state: Any, batches: Any, data: Any) -> Program | None:
        """Find the program of a case, or record one; None while recording does not pay."""
        if case.program is None:
            n_steps = self._steps_to_record(case, batches.index.shape[0])
            if n_steps:
                case.program = self._record(state, batches, data, n_steps)
        if case.program is not None:
            case.program.improve(case.steps, state, batches, data)
        return case.program

    def _replay(self, case: ShapeCase, program: Program, state: Any, batches: Any, data: Any) -> Any:
        """Run a program on a copy of the state, and the steps that are left over in the plain loop."""
        program.begin(state, data[1])
        steps = batches.index.shape[0]
        done = steps - steps % len(program.steps)
        try:
            # Cut only if there is a rest: an epoch of few steps spends much of its time here
            program.run(select(batches, slice(done)) if done < steps else batches, data[0])
        except NotRecordableError as error:
            self._refuse(case, str(error))
            done = 0
        # A copy, as the program will write into its own memory again
        state = map_arrays(self.backend.copy, program.inputs.state if done else state)
        if done < steps:
            return self.repeat(state, select(batches, slice(done, None)), data)
        program.end = leaves(state)
        return state

    def _record(self, state: Any, batches: Any, data: Any, n_steps: int) -> Program:
        """Record the first step.

        A step that fails twice in the same way cannot be recorded: it may test the types of its arrays, or a library
        may raise its own error in place of a refusal. The plain loop then runs the step, and raises the error again if
        it is the step's own. An error that does not occur again, such as one of a signal handler, surfaces.
        """
        try:
            return self._make_program(state, batches, data, n_steps)
        except NotRecordableError:
            raise
        except Exception as error:
            try:
                self._make_program(state, batches, data, n_steps)
            except Exception as again:
                if type(again) is type(error):
                    raise NotRecordableError(f"{type(error).__name__}: {error}") from error
                raise
            raise

    def _make_program(self, state: Any, batches: Any, data: Any, n_steps: int) -> Program:
        """Take the first step on a copy of the state, record it, and bind it to the minibatches of `n_steps` steps.

        Raises
        ------
        NotRecordableError
            If the step cannot be recorded.
        """
        recorder, xp = Recorder(self.backend), self.backend.xp
        batches = select(batches, slice(n_steps))
        index = xp.reshape(batches.index, (-1,))
        rows = take_examples(data[0], index, xp)
        try:
            recorded = Inputs(
                map_arrays(lambda x: recorder.wrap(self.backend.copy(x)), state),
                map_arrays(recorder.wrap_copy, data[1]),
                map_arrays(recorder.wrap_copy, batches),
                map_arrays(lambda x: recorder.wrap(xp.reshape(x, (*batches.index.shape, *x.shape[1:]))), rows),
            )
            namespace = recorder.namespace()
            minibatches = self.make_minibatch(recorded.rows, recorded.encoding, recorded.batches, namespace)
            preparation = recorder.cut()
            end = self.step(recorded.state, map_arrays(recorder.take_first, minibatches), namespace)
            recorder.close(recorded.state, end)
            calls = recorder.cut()
        except Exception as error:
            if recorder.refusal is not None:  # somebody caught it, and raised another error in its place
                raise NotRecordableError(recorder.refusal) from error
            raise
        finally:
            recorder.forget_results()  # they refer to the recorder
        inputs = map_arrays(lambda x: x.array, recorded)._replace(rows=rows)
        steps = bind_to_steps(calls, [{}, *(recorder.find_replacements(i) for i in range(1, n_steps))])
        operations = [call.operation for call in preparation]
        return self.program_type(self.backend, inputs, operations, steps, recorder.n_bytes)

    def _refuse(self, case: ShapeCase, reason: str) -> None:
        """Remember that the steps of a case cannot be recorded, and why."""
        case.program, case.refusal = None, reason

    def _steps_to_record(self, case: ShapeCase, steps: int) -> int:
        """Choose for how many of these steps to record a program now; 0 while it does not pay."""
        if case.steps < 2 or (case.steps < MIN_RECORDED_STEPS and case.width < LARGE_MINIBATCH):
            return 0
        most = max(1, min(MAX_UNROLLED if self.unrolls else 1, self.backend.gathered_together // case.width, steps))
        return min(range(most // 2 + 1, most + 1), key=lambda n: (steps % n, -n))  # so that few steps are left over


def bind_to_steps(calls: list[RecordedCall], replacements: list[dict[int, Native]]) -> list[list[Function]]:
    """Bind operations to the arrays of each step. Most use none of these, and are the same in all steps."""
    changing = [call.rebind(replacements[-1]) is not call for call in calls]
    return [
        [call.rebind(arrays).operation if changes else call.operation for call, changes in zip(calls, changing)]
        for arrays in replacements
    ]
