"""The one way to train networks: jobs in, a stream of their values out."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import Any

from xpnet._checks import printable, show, truncate
from xpnet._identity import is_same
from xpnet.backends import AUTO, limit_step_threads
from xpnet.core.model import Model
from xpnet.core.optimizers import Optimizer, begins_anew, count_multiplications, needs_all_examples
from xpnet.core.schedules import Constant
from xpnet.data import PlacedScaling
from xpnet.data.open import Data, scale_for_each
from xpnet.data.sampling import SAMPLING
from xpnet.data.source import Source
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.training._all_examples import check_all_examples, divide_epoch, warn_if_unmoved
from xpnet.training._arguments import (
    check_metrics,
    check_schedule,
    parse_blas_threads,
    parse_sampling,
    parse_schedule,
    parse_threads,
)
from xpnet.training._checkpoint import Checkpoint, CheckpointFile, SaveFunction, exiting_on_sigterm, find_starts
from xpnet.training._description import describe_trainings
from xpnet.training._evaluate import make_evaluations
from xpnet.training._groups import KeptLoops, check_training_memory, choose_group_threads, run_in_groups
from xpnet.training._loop import Course, Runner, Values, run_together
from xpnet.training._plan import Job, Plan
from xpnet.training._progress import Progress
from xpnet.training.callback import LOGS, Trainee, Training, watching
from xpnet.value import NO_CALL, History, Moment, Value, change_optimizer, check_value

BATCH_SIZE = 30  # unless given

NOTHING: Values = {}


class Stream(Iterator[Values]):
    """Trainings that go on while somebody reads from them: an iterator of the new values of networks, by their numbers.

    Training goes on when the next values are asked for. Callbacks are called, and files are written, after that: when
    the values that they are about have been taken.

    Parameters
    ----------
    steps
        Generates the values.
    trainings
        The trainings of all networks.
    """

    def __init__(self, steps: Generator[Values, None, None], trainings: list[Training]) -> None:
        self._steps, self._trainings = steps, trainings

    @property
    def errors(self) -> dict[int, DivergenceError]:
        """The error of each network that has diverged, by its number; its last value is the one before."""
        return {
            k: DivergenceError(printable(truncate(training.error)))  # perhaps from a file
            for k, training in enumerate(self._trainings)
            if training.error
        }

    @property
    def moments(self) -> list[Moment]:
        """The moment that each training has reached."""
        return [training.position for training in self._trainings]

    def __next__(self) -> Values:
        """Go on to the next values."""
        return next(filter(None, self._steps))

    def give_to(self, networks: Sequence[Trainee]) -> dict[int, DivergenceError]:
        """Give the networks their new values until the trainings end; return the errors of those that diverged.

        However the trainings end, by Ctrl-C for one, the networks get the last values, also those that callbacks give.

        Raises
        ------
        ArgumentError
            If there is not one network for each job.
        """
        if len(networks) != len(self._trainings):
            raise ArgumentError(
                f"networks has {len(networks)} entries, and the stream has {len(self._trainings)} trainings; give the "
                "network of each job, in their order"
            )
        given: dict[int, Value] = {}
        try:
            for values in chain(self, [NOTHING]):
                if any(networks[k].value is not value for k, value in given.items()):
                    raise RuntimeError(
                        "a network was changed while it was being trained, by a callback or in another thread; a "
                        "callback assigns `value` of its training instead, and other threads must wait"
                    )
                for k, value in values.items():
                    given[k] = value  # before it is in the network, as an interrupt may come between the two
                    networks[k].receive(value)
        finally:
            self.close()
            for k in given:
                networks[k].receive(self._trainings[k].value.detached())
        return self.errors

    def finish(self) -> list[Moment]:
        """Train to the end, and return the last moments."""
        for _ in self:
            pass
        return self.moments

    def close(self) -> None:
        """End the trainings where they are."""
        self._steps.close()


def ignore_pause(division: Sequence[Sequence[int]]) -> None:
    """Write no file."""


class Alone:
    """The only process of a training: it makes what it needs. `xpnet.distributed.Ranks` are several that share one."""

    def make_own(self, make: Callable[[], Any]) -> Any:
        """Make something on every process that stays there."""
        return make()

    make_on_first = make_own  # on the first process, for all of them
    keep_on_first = make_own  # on the first process, where it stays

    def compare(
        self, jobs: Sequence[Job], describe: Callable[[], list[dict[str, Any]]], is_needed: bool
    ) -> list[dict[str, Any]]:
        """Describe trainings, if that is needed; processes must have the same."""
        return describe() if is_needed else []

    def share(self, job: Job) -> Job:
        """Return a finished job as one that several processes share."""
        return job

    def run(self, job: Job) -> AbstractContextManager[Runner] | None:
        """Return the context of what takes the steps, if processes share them."""
        return None

    def running(self, file: CheckpointFile | None) -> AbstractContextManager[Any]:
        """Return the context of a training that goes on."""
        return nullcontext() if file is None else exiting_on_sigterm()

    def writing(
        self, file: CheckpointFile | None, trainings: Sequence[Training]
    ) -> AbstractContextManager[SaveFunction]:
        """Return the context in which trainings are written, if there is a file."""
        return nullcontext(ignore_pause) if file is None else file.writing(trainings)


def train(
    jobs: Sequence[Job],
    *,
    threads: int | str = AUTO,
    blas_threads: int | str = AUTO,
    checkpoint: Checkpoint | None = None,
    loops: KeptLoops | None = None,
    runner: AbstractContextManager[Runner] | None = None,
    ranks: Alone | None = None,
) -> Stream:
    """Train networks of any structures; see :doc:`/use/parts`. It changes none of them.

    Networks of one structure advance together, and one structure is trained after the other. A network that diverges
    stops, and the others continue.

    Parameters
    ----------
    jobs
        What to train, on which data, and how. Jobs that share `Data`, or parts of one, share the examples.
    threads, blas_threads
        As in `Ensemble.train` and `Network.train`.
    checkpoint
        Where the training is written, for jobs of one structure; the first call that resumes it reads it again, unless
        the jobs begin with moments.
    loops
        The recorded or compiled loops of an earlier training of these networks.
    runner
        The context of what takes the steps; a plan without an optimizer leaves them to it, and the value keeps its own.
        Unless given, they are taken in this process, for several networks at once.
    ranks
        The processes that share the training of a network; this one alone unless given.

    Returns
    -------
    Stream
        The new values of the networks; training begins when the first ones are asked for.

    Raises
    ------
    ArgumentError
        If a plan does not fit its network or its data; the message names the argument. So do the steps.
    MemoryError
        If the machine has less memory than training several networks needs.

    Examples
    --------
    >>> from xpnet import Network
    >>> from xpnet.training import Job, Plan, open_data, train
    >>> net = Network([2, 2, 1], activation="tanh", task="binary", seed=1)
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> data, plan = open_data((x, y), net.value.reader), Plan(epochs=400, batch_size=4, lr=1.0)
    >>> (moment,) = train([Job(net.value, data, plan)]).finish()
    >>> net.value = moment.value
    >>> net.predict(x)
    array([0, 1, 1, 0])
    """
    for job in jobs:
        check_parts(job)
    if checkpoint is not None:
        if any(job.owner is None for job in jobs):
            raise ArgumentError("checkpoint= needs jobs with an owner, the network; give it, as in Job(..., owner=net)")
        checkpoint = replace(checkpoint, kind="ensemble") if len(jobs) > 1 else checkpoint
        if not any(isinstance(job.start, Moment) for job in jobs):
            starts = find_starts([job.owner for job in jobs], checkpoint, jobs[0].plan.progress)
            jobs = [job._replace(start=start) for job, start in zip(jobs, starts)]
    jobs, ranks = [job._replace(start=find_moment(job)) for job in jobs], ranks or Alone()
    groups = group_by_structure(jobs)
    if checkpoint is not None and len(groups) > 1:
        raise ArgumentError("checkpoint= is for jobs of one structure, and these have several; train them in turn")
    prepared = [(group, *prepare([jobs[k] for k in group], checkpoint, runner is not None, ranks)) for group in groups]
    trainings = {k: training for group, _, begun, _ in prepared for k, training in zip(group, begun)}

    def run_in_turn() -> Generator[Values, None, None]:
        for group in prepared:
            yield from run_jobs(*group, ranks, threads=threads, blas_threads=blas_threads, loops=loops, runner=runner)

    return Stream(run_in_turn(), [trainings[k] for k in range(len(jobs))])


def group_by_structure(jobs: Sequence[Job]) -> list[list[int]]:
    """Group the numbers of jobs whose networks can take their steps in one program.

    Their networks have the same model, up to rates of dropout, and the same place and dtype, and their optimizers the
    same update, up to its numbers.
    """
    groups: list[tuple[Any, list[int]]] = []
    for k, job in enumerate(jobs):
        value = find_moment(job).value
        place = value.backend.name, value.backend.device_name, value.dtype
        structure = value.model.program, place, job.plan.find_optimizer(value).update
        numbers = next((numbers for other, numbers in groups if is_same(structure, other)), None)
        if numbers is None:
            groups.append((structure, [k]))
        else:
            numbers.append(k)
    return [numbers for _, numbers in groups]


def find_moment(job: Job) -> Moment:
    """Return where a job begins."""
    return job.start if isinstance(job.start, Moment) else Moment(job.start)


# What a training begins with


def check_parts(job: Job) -> None:
    """Refuse what is not made of the parts of a training, such as a network in place of its value."""
    for part, kinds, remedy in (
        (job.start, (Value, Moment), "net.value, or a moment of an earlier training, as its start"),
        (job.data, Data, "open_data((X, y), net.value.reader) as its data"),
        (job.plan, Plan, "Plan(epochs=20) as its plan"),
    ):
        if not isinstance(part, kinds):
            raise ArgumentError(f"a job has {show(part)}; give {remedy}")


def prepare(
    jobs: Sequence[Job], checkpoint: Checkpoint | None, leaves_steps: bool, ranks: Alone
) -> tuple[list[Job], list[Training], CheckpointFile | None]:
    """Complete the plans of jobs of one structure, balance and scale their data, and add the callbacks that evaluate.

    Also return their trainings, and the file for these, if there is to be one.
    """
    begin = cache(Data.begin)  # once for those that share data
    with jobs[0].start.value.scope():  # for the user's own code, too: metrics and callbacks
        complete = ranks.make_own(lambda: [complete_job(job, leaves_steps, begin) for job in jobs])
        describe = partial(describe_trainings, complete, {} if checkpoint is None else checkpoint.decides)
        calls = ranks.compare(complete, describe, checkpoint is not None)
        file = ranks.keep_on_first(lambda: None if checkpoint is None else CheckpointFile(checkpoint, complete, calls))
        is_scaled = complete[0].data.train.reader.scaling is not None
        scalings = [None] if is_scaled else ranks.make_on_first(partial(find_scalings, complete))
        if scalings[0] is not None:
            scaled = scale_for_each([job.data for job in complete], scalings)
            complete = [job._replace(data=data) for job, data in zip(complete, scaled)]
        finished, trainings = ranks.make_own(partial(finish_jobs, complete))
        return [ranks.share(job) for job in finished], trainings, file


def complete_job(job: Job, leaves_steps: bool, begin: Callable[[Data], Data]) -> Job:
    """Put in a plan what is not given: the optimizer of the value, its learning rate, 30 examples in a minibatch.

    A plan without an optimizer `leaves_steps` to a runner, if there is one, and the value keeps its optimizer. `begin`
    balances data.
    """
    value, plan, train = job.start.value, job.plan, job.data.train
    reader = train.reader
    if reader.place != value.place or not is_same(reader.model.program, value.model.program):
        raise ArgumentError(
            f"the data of a job were opened for a network {list(reader.model.sizes)} in {reader.dtype} on "
            f"{reader.backend.name}, and it begins with the value of another, {list(value.model.sizes)} in "
            f"{value.dtype} on {value.backend.name}; open them by open_data(..., net.value.reader) of that network"
        )
    optimizer = None if leaves_steps and plan.optimizer is None else plan.find_optimizer(value)
    check_plan(plan, optimizer, value.model)
    batch_size, rate = plan.batch_size or BATCH_SIZE, 1.0
    if optimizer is not None:
        rate = optimizer.default_lr
        batch_size = len(train.require_stored(repr(optimizer))) if needs_all_examples(optimizer) else batch_size
    complete = plan.complete(
        batch_size=batch_size,
        lr=parse_schedule("lr", rate if plan.lr is None else plan.lr),
        optimizer=optimizer,
        sampling=train.adapt(parse_sampling("sampling", plan.sampling or "shuffle")),
    )
    return job._replace(data=begin(job.data), plan=complete)


def check_plan(plan: Plan, optimizer: Optimizer | None, model: Model) -> None:
    """Refuse a plan that does not fit a network, or the optimizer that is used, whatever the data."""
    if needs_all_examples(optimizer):
        rate = plan.lr.lr if isinstance(plan.lr, Constant) else plan.lr
        sampling = next((name for name, order in SAMPLING.items() if order == plan.sampling), None)  # a client's stays
        arguments = {"batch_size": plan.batch_size, "sampling": sampling, "lr": rate}
        for argument, value in arguments.items():
            if value is not None:
                raise ArgumentError(
                    f"{argument}={value!r} is for other optimizers: {type(optimizer).__name__} uses all examples in "
                    "every step, and chooses its length; leave it out, or give another optimizer"
                )
    check_metrics("metrics", plan.metrics, model)
    check_metrics("training_metrics", plan.training_metrics, model)


def find_scalings(jobs: Sequence[Job]) -> list[PlacedScaling | None]:
    """Return the scaling of each network; fit one where it standardizes and has none. Equal ones are one object."""
    distinct: dict[bytes, PlacedScaling] = {}
    present = [job.start.value.scaling for job in jobs]
    scalings = [None if now is None else distinct.setdefault(now.content, now) for now in present]
    if jobs[0].start.value.model.standardize:

        @cache
        def fit(source: Source) -> PlacedScaling:
            return source.fit_scaling(jobs[0].plan.progress)

        return [scaling or fit(job.data.train) for job, scaling in zip(jobs, scalings)]
    if distinct and None in scalings:
        raise ArgumentError(
            f"member {scalings.index(None)} has no scaling, and others have one; give all of them one, or set the "
            "scaling of each to None"
        )
    return scalings


def finish_jobs(jobs: Sequence[Job]) -> tuple[list[Job], list[Training]]:
    """Add evaluations to the callbacks of jobs, whose data are scaled, and make the trainings that callbacks see."""
    takes_all = needs_all_examples(jobs[0].plan.optimizer)
    finished, trainings = list[Job](), list[Training]()
    furthest = max((job.start.epoch, job.start.steps) for job in jobs)
    for job in map(divide_epoch, jobs) if takes_all else jobs:
        train, validation, test = job.data.train, job.data.validation, job.data.test
        evaluations = make_evaluations(job.plan, train if job.plan.training_metrics else None, validation, test)
        batch_size = train.batch_size(job.plan.batch_size)
        plan = job.plan.complete(batch_size=batch_size, callbacks=[*evaluations, *job.plan.callbacks])
        steps = train.steps(plan.sampling, batch_size)
        check_schedule(plan.lr, plan.epochs, steps)
        start, has_begun = job.start, job.start.has_begun
        if (start.epoch, start.steps) == furthest:  # it diverged, and no other has gone on: it tries again
            start = start._replace(error="")
        value = with_optimizer(start.value, plan.optimizer, has_begun)
        value = value._replace(history=History(start.value.history.rows if has_begun else ()))
        order = start.order if has_begun else plan.sampling.order
        moment = start._replace(value=value, order=order, call=NO_CALL, callbacks=())
        finished.append(job._replace(plan=plan))
        accept = partial(accept_value, train.reader.scaling)
        trainings.append(Training(job.owner, accept, moment, plan.epochs, steps, dict(LOGS)))
    if takes_all:
        check_all_examples(finished)
    return finished, trainings


def with_optimizer(value: Value, optimizer: Optimizer | None, has_begun: bool = False) -> Value:
    """Return a value with an optimizer, in a fresh state unless its own is equal and goes on."""
    if optimizer is None:
        return value
    if value.optimizer == optimizer and (has_begun or not begins_anew(optimizer)):
        return value._replace(optimizer=optimizer)
    return change_optimizer(value, optimizer)


def accept_value(scaling: PlacedScaling | None, value: Any, present: Value) -> Value:
    """Check a value that a callback gives to a training, whose optimizer, history and notes it gets."""
    value = check_value(value, present)
    content = None if scaling is None else scaling.content
    if value.scaling is not None and value.scaling.content != content:
        raise ArgumentError("value has another scaling than the examples of this training; give one with the same")
    return with_optimizer(value, present.optimizer)._replace(history=present.history, notes=present.notes)


# The course of a training


def run_jobs(
    numbers: Sequence[int],
    jobs: Sequence[Job],
    trainings: Sequence[Training],
    file: CheckpointFile | None,
    ranks: Alone,
    *,
    threads: int | str,
    blas_threads: int | str,
    loops: KeptLoops | None,
    runner: AbstractContextManager[Runner] | None,
) -> Generator[Values, None, None]:
    """Run the trainings of jobs of one structure, which have these numbers in the stream; see `train`.

    Yields their new values at each pause. They are written between chunks, and callbacks are told that trainings have
    ended after the last time, however they end.
    """
    value, optimizer, backend = jobs[0].start.value, jobs[0].plan.optimizer, jobs[0].start.value.backend
    batch_size, takes_all = max(job.plan.batch_size for job in jobs), needs_all_examples(optimizer)
    multiplications = count_multiplications(optimizer, value.model, batch_size)
    threads, blas_threads = parse_threads(backend, threads), parse_blas_threads(backend, blas_threads)
    groups = choose_group_threads(backend, threads, multiplications)
    if len(jobs) > 1 and backend.on_host:
        check_training_memory(jobs)
    values: dict[int, Value] = {}  # of the networks, as soon as they are yielded

    def take_changes() -> Values:
        changes = {k: now for k, one in zip(numbers, trainings) if (now := one.position.value) is not values.get(k)}
        values.update(changes)
        return changes

    with ranks.running(file), value.scope(), ExitStack() as stack:
        runner = runner or ranks.run(jobs[0])
        if runner is None or blas_threads != AUTO:
            number = min(groups or 1, len(jobs))
            stack.enter_context(limit_step_threads(backend, blas_threads, multiplications, number))
        starts = [training.value for training in trainings]
        begun = [stack.enter_context(watching(job.plan.callbacks, now)) for job, now in zip(jobs, trainings)]
        for job, training, start in zip(jobs, trainings, starts):
            if job.start.has_begun:  # then callbacks give it no other value at the beginning
                training.move(value=start)
        with ranks.writing(file, trainings) as save:
            yield take_changes()
            has_bar = any(job.plan.progress for job in jobs)
            progress = stack.enter_context(closing(Progress(trainings))) if has_bar else None

            def end_chunk(division: Sequence[Sequence[int]]) -> None:
                save(division)
                if progress is not None:
                    progress.update()

            with runner or run_in_groups(jobs, groups, loops or KeptLoops()) as runs:
                courses = [Course(*pair, len(jobs), runs.run_fields) for pair in zip(jobs, trainings)]
                yield from run_together(courses, runs, take_changes, end_chunk)
            if takes_all:
                warn_if_unmoved(jobs, trainings)
        for callbacks in begun:
            while callbacks:
                callbacks.popleft().on_train_end()
                if changes := take_changes():
                    yield changes  # for callbacks that come after
