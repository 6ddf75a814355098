"""The one way to train networks: jobs in, a stream of their values out."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from types import NoneType
from typing import Any, TypeAlias

from xpnet._checks import show
from xpnet._identity import is_same
from xpnet.backends import AUTO, limit_step_threads
from xpnet.core.model import Model
from xpnet.core.optimizers import Optimizer, begins_anew, count_multiplications, needs_all_examples
from xpnet.core.schedules import Constant
from xpnet.data import PlacedScaling
from xpnet.data.open import Data, describe_for_each, scale_for_each
from xpnet.data.sampling import SAMPLING
from xpnet.data.source import Source
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.training._all_examples import check_all_examples, divide_epoch
from xpnet.training._arguments import (
    check_metrics,
    parse_blas_threads,
    parse_sampling,
    parse_schedule,
    parse_threads,
)
from xpnet.training._checkpoint import CheckpointFile, SaveFunction, Writing, exiting_on_sigterm, find_starts
from xpnet.training._description import describe_initial_weights, describe_training
from xpnet.training._evaluate import Evaluate, make_evaluations
from xpnet.training._groups import check_training_memory, choose_group_threads, run_in_groups
from xpnet.training._kept_loops import KeptLoops
from xpnet.training._loop import Pauses, Runner, run_steps
from xpnet.training._plan import CompleteJob, Job, Plan
from xpnet.training._progress import Progress
from xpnet.training._rates import check_schedule
from xpnet.training._saving import Checkpoint
from xpnet.training.callback import LOGS, Callback, Trainee, Training, end_callbacks, watching
from xpnet.value import NO_CALL, History, Moment, Value, change_optimizer, check_value

BATCH_SIZE = 30  # unless given

Values: TypeAlias = Mapping[int, Value]  # new values of networks, by their numbers


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
    errors
        Gets the error of each network that diverges, by its number. It has its last value before that.
    """

    def __init__(
        self, steps: Generator[Values, None, None], trainings: list[Training], errors: dict[int, DivergenceError]
    ) -> None:
        self._steps, self._trainings, self.errors = steps, trainings, errors

    @property
    def moments(self) -> list[Moment]:
        """The moment that each training has reached."""
        return [training.position for training in self._trainings]

    def __next__(self) -> Values:
        """Go on to the next values."""
        return next(self._steps)

    def give_to(self, networks: Sequence[Trainee]) -> dict[int, DivergenceError]:
        """Give the networks their new values until the trainings end; return the errors of those that diverged.

        An error on the way, Ctrl-C for one, ends the trainings in their own way: callbacks are told, and may give last
        values. Then it is raised again.

        Raises
        ------
        ArgumentError
            If there is not one network for each job.
        """
        values, proceed, is_whole = [network.value for network in networks], partial(next, self), True
        try:
            while True:
                changes = proceed()
                try:
                    if len(networks) != len(self._trainings):
                        raise ArgumentError(
                            f"networks has {len(networks)} entries, and the stream has {len(self._trainings)} "
                            "trainings; give the network of each job, in their order"
                        )
                    if is_whole and any(network.value is not value for network, value in zip(networks, values)):
                        raise RuntimeError(
                            "a network was changed while it was being trained, by a callback or in another thread; a "
                            "callback assigns `value` of its training instead, and other threads must wait"
                        )
                    for k, value in changes.items():
                        values[k] = value
                        networks[k].receive(value)
                    proceed = partial(next, self)
                except BaseException as error:
                    proceed, is_whole = partial(self._steps.throw, error), False  # it may come between two networks
        except StopIteration:
            return self.errors
        finally:
            self.close()
            for network in networks:
                network.receive(network.value.detached())

    def finish(self) -> list[Moment]:
        """Train to the end, and return the last moments."""
        for _ in self:
            pass
        return self.moments

    def close(self) -> None:
        """End the trainings where they are."""
        self._steps.close()


def train(
    jobs: Sequence[Job],
    *,
    threads: int | str = AUTO,
    blas_threads: int | str = AUTO,
    checkpoint: Checkpoint | None = None,
    loops: KeptLoops | None = None,
    runner: AbstractContextManager[Runner] | None = None,
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
    check_parts(jobs, checkpoint)
    if checkpoint is not None and any(job.owner is None for job in jobs):
        raise ArgumentError("checkpoint= needs jobs with an owner, the network; give it, as in Job(..., owner=net)")
    if checkpoint is not None and len(jobs) > 1:
        checkpoint = replace(checkpoint, kind="ensemble")
    if checkpoint is not None and not any(isinstance(job.start, Moment) for job in jobs):
        starts = find_starts([job.owner for job in jobs], checkpoint, jobs[0].plan.progress)
        jobs = [job._replace(start=start) for job, start in zip(jobs, starts)]
    groups = group_by_structure(jobs)
    if checkpoint is not None and len(groups) > 1:
        raise ArgumentError("checkpoint= is for jobs of one structure, and these have several; train them in turn")
    trainings: dict[int, Training] = {}
    errors: dict[int, DivergenceError] = {}
    runs: list[Generator[Values, None, None]] = []
    options: dict[str, Any] = {"threads": threads, "blas_threads": blas_threads, "loops": loops, "runner": runner}
    for numbers in groups:
        group, started, file = prepare([jobs[k] for k in numbers], checkpoint, runner)
        begun = dict(zip(numbers, started))
        trainings |= begun
        runs.append(run_jobs(group, begun, errors, file and file.writing, **options))
    return Stream(run_in_turn(runs), [trainings[k] for k in range(len(jobs))], errors)


def group_by_structure(jobs: Sequence[Job]) -> list[list[int]]:
    """Group the numbers of jobs whose networks can take their steps in one program.

    Their networks have the same model, place and dtype, and their optimizers the same update, up to its numbers.
    """
    groups: list[list[int]] = []
    structures: list[Any] = []
    for k, job in enumerate(jobs):
        value = find_moment(job).value
        place = value.backend.name, value.backend.device_name, value.dtype
        structure = value.model, place, job.plan.find_optimizer(value).update
        for numbers, other in zip(groups, structures):
            if is_same(structure, other):
                numbers.append(k)
                break
        else:
            groups.append([k])
            structures.append(structure)
    return groups


def find_moment(job: Job) -> Moment:
    """Return where a job begins."""
    return job.start if isinstance(job.start, Moment) else Moment(job.start)


# What a training begins with


def check_parts(jobs: Sequence[Job], checkpoint: Any) -> None:
    """Refuse what is not made of the parts of a training, such as a network in place of its value."""
    parts = [("checkpoint", checkpoint, (Checkpoint, NoneType), 'Checkpoint("run.safetensors")')]
    for job in jobs:
        parts += [
            ("start of a job", job.start, (Value, Moment), "net.value, or a moment of an earlier training"),
            ("data of a job", job.data, (Data,), "open_data((X, y), net.value.reader)"),
            ("plan of a job", job.plan, (Plan,), "Plan(epochs=20)"),
        ]
    for name, part, kinds, remedy in parts:
        if not isinstance(part, kinds):
            raise ArgumentError(f"the {name} is {show(part)}; give {remedy}")


def prepare(
    jobs: Sequence[Job], checkpoint: Checkpoint | None, runner: AbstractContextManager[Runner] | None
) -> tuple[list[CompleteJob], list[Training], CheckpointFile | None]:
    """Complete the plans of jobs of one structure, balance and scale their data, and add the callbacks that evaluate.

    Also return their trainings, and the file for these, if there is to be one.
    """
    with find_moment(jobs[0]).value.scope():  # for the user's own code, too: metrics and callbacks
        begun = complete_jobs(jobs, runner)
        file = None if checkpoint is None else CheckpointFile(checkpoint, begun, describe_calls(begun))
        if begun[0].data.train.reader.scaling is None and (scalings := find_scalings(begun))[0] is not None:
            begun = replace_data(begun, scale_for_each([job.data for job in begun], scalings))
        return *finish_jobs(begun), file


def check_place_of_data(job: Job) -> None:
    """Refuse data that were opened for a network of another structure, or at another place."""
    value, reader = find_moment(job).value, job.data.train.reader
    if reader.place != value.place or not (reader.model is value.model or is_same(reader.model, value.model)):
        raise ArgumentError(
            f"the data of a job were opened for a network {list(reader.model.sizes)} in {reader.dtype} on "
            f"{reader.backend.name}, and it begins with the value of another, {list(value.model.sizes)} in "
            f"{value.dtype} on {value.backend.name}; open them by open_data(..., net.value.reader) of that network"
        )


def replace_data(jobs: Sequence[CompleteJob], data: Sequence[Data]) -> list[CompleteJob]:
    """Replace the data of jobs."""
    return [job._replace(data=part) for job, part in zip(jobs, data)]


def complete_jobs(jobs: Sequence[Job], runner: AbstractContextManager[Runner] | None = None) -> list[CompleteJob]:
    """Put in the plans of jobs what is not given, and balance their data.

    A plan without an optimizer leaves the steps to the runner, if there is one, and the value keeps its optimizer.
    """
    complete, begin = [complete_job(job, leaves_steps=runner is not None) for job in jobs], cache(Data.begin)
    return replace_data(complete, [begin(job.data) for job in jobs])


def complete_job(job: Job, leaves_steps: bool) -> CompleteJob:
    """Put in a plan what is not given: the optimizer of the value, its learning rate, 30 examples in a minibatch."""
    check_place_of_data(job)
    start, plan, train = find_moment(job), job.plan, job.data.train
    optimizer = None if leaves_steps and plan.optimizer is None else plan.find_optimizer(start.value)
    batch_size = plan.batch_size or BATCH_SIZE
    check_plan(plan, optimizer, start.value.model)
    if needs_all_examples(optimizer):
        batch_size = len(train.require_stored(repr(optimizer)))
    rate = 1.0 if optimizer is None else optimizer.default_lr
    complete = plan.complete(
        batch_size=batch_size,
        lr=parse_schedule("lr", rate if plan.lr is None else plan.lr),
        optimizer=optimizer,
        sampling=train.adapt(parse_sampling("sampling", plan.sampling or "shuffle")),
    )
    return CompleteJob(start, job.data, complete, job.owner)


def check_plan(plan: Plan, optimizer: Optimizer | None, model: Model) -> None:
    """Refuse a plan that does not fit a network, or the optimizer that is used, whatever the data."""
    if needs_all_examples(optimizer):
        refuse_steps(plan, type(optimizer).__name__)
    check_metrics("metrics", plan.metrics, model)
    check_metrics("training_metrics", plan.training_metrics, model)


def refuse_steps(plan: Plan, name: str) -> None:
    """Refuse what is given about steps that the optimizer of this name chooses itself."""
    rate = plan.lr.lr if isinstance(plan.lr, Constant) else plan.lr
    named = [name for name, sampling in SAMPLING.items() if sampling == plan.sampling]  # a client's own order stays
    arguments = {"batch_size": plan.batch_size, "sampling": named[0] if named else None, "lr": rate}
    for argument, value in arguments.items():
        if value is not None:
            raise ArgumentError(
                f"{argument}={value!r} is for other optimizers: {name} uses all examples in every step, and chooses "
                "its length; leave it out, or give another optimizer"
            )


def describe_calls(jobs: Sequence[CompleteJob]) -> list[dict[str, Any]]:
    """Describe the trainings of jobs by what must be the same when they are resumed. Synchronizes.

    Their plans are complete, and their examples not scaled yet.
    """
    descriptions = describe_for_each([job.data for job in jobs])
    return [
        describe_training(job, {**data, "initial_weights": describe_initial_weights(job.owner)})
        for job, data in zip(jobs, descriptions)
    ]


def find_scalings(jobs: Sequence[CompleteJob]) -> list[PlacedScaling | None]:
    """Return the scaling of each network; fit one where it standardizes and has none. Equal ones are one object."""
    distinct: dict[bytes, PlacedScaling] = {}
    scalings = [
        None if (now := job.start.value.scaling) is None else distinct.setdefault(now.content, now) for job in jobs
    ]
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


def finish_jobs(jobs: Sequence[CompleteJob]) -> tuple[list[CompleteJob], list[Training]]:
    """Finish jobs of one structure, whose data are scaled, and make their trainings."""
    bars = [Progress()] if any(job.plan.progress for job in jobs) else []  # one for all networks
    finished = [finish(job, bars, len(jobs) == 1) for job in jobs]
    if needs_all_examples(jobs[0].plan.optimizer):
        check_all_examples([job for job, _ in finished])
    return [job for job, _ in finished], [training for _, training in finished]


def finish(job: CompleteJob, bars: Sequence[Callback], is_alone: bool) -> tuple[CompleteJob, Training]:
    """Add evaluations to the callbacks of a job, and bars, say how large minibatches are, and begin."""
    if needs_all_examples(job.plan.optimizer):
        job = divide_epoch(job)
    data, plan, with_bars = job.data, job.plan, bool(bars) and is_alone
    evaluations = make_evaluations(data.validation, data.test, plan.metrics, with_bars)
    if plan.training_metrics:
        data.train.check_repeatable("training_metrics")
        evaluations.insert(0, Evaluate("training", data.train, plan.training_metrics, ("cost", "size"), with_bars))
    batch_size, callbacks = data.train.batch_size(plan.batch_size), [*evaluations, *plan.callbacks, *bars]
    job = job._replace(plan=plan.complete(batch_size=batch_size, callbacks=callbacks))
    return job, begin_training(job)


def begin_training(job: CompleteJob) -> Training:
    """Check the schedule, and make the training that the callbacks see."""
    plan, train = job.plan, job.data.train
    steps = train.steps(plan.sampling, plan.batch_size)
    check_schedule(plan.lr, plan.epochs, steps)
    accept = partial(accept_value, train.reader.scaling)
    return Training(job.owner, accept, begin_moment(job), plan.epochs, steps, dict(LOGS))


def begin_moment(job: CompleteJob) -> Moment:
    """Return the moment before the first step, with the plan's optimizer, and a history of earlier epochs alone."""
    start, plan = job.start, job.plan
    value = with_optimizer(start.value, plan.optimizer, start.has_begun)
    history = History(start.value.history.rows if start.has_begun else ())
    order = start.order if start.has_begun else plan.sampling.order
    return start._replace(value=value._replace(history=history), order=order, call=NO_CALL, callbacks=())


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


def run_in_turn(runs: Sequence[Generator[Values, None, None]]) -> Generator[Values, None, None]:
    """Run the trainings of several structures, one after the other."""
    for values in runs:
        yield from values


def run_jobs(
    jobs: Sequence[CompleteJob],
    trainings: Mapping[int, Training],
    errors: dict[int, DivergenceError],
    write: Writing | None = None,
    *,
    threads: int | str = AUTO,
    blas_threads: int | str = AUTO,
    loops: KeptLoops | None = None,
    runner: AbstractContextManager[Runner] | None = None,
) -> Generator[Values, None, None]:
    """Run the trainings of jobs of one structure, by their numbers in the stream; see `train`."""
    value, backend = jobs[0].start.value, jobs[0].start.value.backend
    batch_size = max(job.plan.batch_size for job in jobs)
    multiplications = count_multiplications(jobs[0].plan.optimizer, value.model, batch_size)
    threads, blas_threads = parse_threads(backend, threads), parse_blas_threads(backend, blas_threads)
    groups = choose_group_threads(backend, threads, multiplications)
    if len(jobs) > 1:
        check_training_memory(jobs, groups)
    own_trainings, failed = list(trainings.values()), dict[int, DivergenceError]()
    with ExitStack() as stack:
        if write is not None:
            stack.enter_context(exiting_on_sigterm())
        stack.enter_context(jobs[0].start.value.scope())
        if runner is None or blas_threads != AUTO:
            number = min(groups or 1, len(jobs))
            stack.enter_context(limit_step_threads(backend, blas_threads, multiplications, number))
        running = run_in_groups(jobs, groups, loops or KeptLoops()) if runner is None else runner
        begun = [stack.enter_context(watching(job.plan.callbacks, now)) for job, now in zip(jobs, own_trainings)]
        for job, training in zip(jobs, own_trainings):
            if job.start.has_begun:  # then callbacks give it no other value at the beginning
                value = begin_moment(job).value
                training.move(value=value._replace(history=training.history))
        writing = nullcontext(ignore_pause) if write is None else write(own_trainings)
        yield from run_to_end(run_steps(jobs, own_trainings, running, failed), trainings, begun, writing)
    errors |= {k: failed[i] for i, k in enumerate(trainings) if i in failed}


def ignore_pause(numbers: Sequence[int], division: Sequence[Sequence[int]]) -> None:
    """Write no file."""


def run_to_end(
    pauses: Pauses,
    trainings: Mapping[int, Training],
    begun: Sequence[list[Callback]],
    writing: AbstractContextManager[SaveFunction],
) -> Generator[Values, None, None]:
    """Yield the new values of networks at each pause, save them between chunks, and tell the callbacks at the end.

    They are told however the trainings end. The file that the context `writing` opens is closed before.
    """
    values = {k: training.value for k, training in trainings.items()}  # of the networks, as soon as they are yielded
    try:
        with writing as save, closing(pauses):
            yield dict(values)
            for done in pauses:
                if changes := take_changes(trainings, values):
                    yield changes
                if done is not None:
                    save(*done)
    except GeneratorExit:  # nobody takes values any more
        raise
    except BaseException:
        yield from end_trainings(begun, trainings, values)
        raise
    yield from end_trainings(begun, trainings, values)


def take_changes(trainings: Mapping[int, Training], values: dict[int, Value]) -> Values:
    """Find the new values that trainings have reached, put them into `values`, and return them by their numbers."""
    changes = {k: now for k, training in trainings.items() if (now := training.value) is not values[k]}
    values.update(changes)
    return changes


def end_trainings(
    begun: Sequence[list[Callback]], trainings: Mapping[int, Training], values: dict[int, Value]
) -> Generator[Values, None, None]:
    """Tell all callbacks that training has ended; yield the values that they give, for those that come after them."""
    with ExitStack() as stack:
        endings = [stack.enter_context(closing(end_callbacks(callbacks))) for callbacks in begun]
        for _ in chain(*endings):
            yield take_changes(trainings, values)
