"""The training loop, for a list of networks: epochs, chunks of minibatches, steps.

`train_networks` loops over all networks, and `train_epochs` over the epochs of one of them. The latter is a generator:
it yields the minibatches of a chunk of steps and is sent the result, so that the chunks of all networks run at once. A
lone network is a list of one.

Training maps values of networks to values: it begins with that of a job, and keeps the present one in a `Training`,
where callbacks see it and may give another. It yields new values, and the caller assigns them to networks before
callbacks are called. A chunk of steps works on a copy of a network's state, and its value is yielded only after the
chunk has succeeded. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the network is as it
was before the chunk.
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from xpnet.backends import AUTO, limit_step_threads
from xpnet.core.arrays import Layers, leaves
from xpnet.core.optimizers.base import Optimizer, begins_anew, needs_all_examples
from xpnet.core.scaling import Scaler
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk, Countable, Resident, Rows, Source, skip_steps
from xpnet.distributed import Ranks
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.training._all_examples import use_all_examples, warn_of_no_step
from xpnet.training._checkpoint import Checkpoint, SaveFunction, exiting_on_sigterm, write_training
from xpnet.training._groups import Groups, check_training_memory, choose_group_threads, largest_product
from xpnet.training._loops import KeptLoops
from xpnet.training._plan import Job
from xpnet.training._prepare import check_target_scale
from xpnet.training._rates import check_length, check_scale, check_schedule, learning_rates
from xpnet.training._runs import describe_run
from xpnet.training._steps import ChunkResult, steps_per_chunk
from xpnet.training.callback import LOGS, Callback, Training, end_callbacks, watching
from xpnet.value import FITTED_TO_WEIGHTS, History, Objective, Value, change_optimizer, check_value, make_generator

# Yields the new values of networks, by their numbers; returns the errors of those that have diverged
ValueStream: TypeAlias = Generator[Mapping[int, Value], None, dict[int, DivergenceError]]
# Yields chunks of steps, each of which it is sent the result of, with None after it
EpochRun: TypeAlias = Generator[Chunk | None, ChunkResult | None, None]


def train_networks(
    jobs: Sequence[Job],
    *,
    blas_threads: int | str = AUTO,
    threads: int | str = AUTO,
    checkpoint: Checkpoint | None = None,
    kept_loops: KeptLoops | None = None,
) -> ValueStream:
    """Train networks of one shape by stochastic gradient descent; a lone network is a list of one.

    A network that diverges goes back to its state before that chunk of steps and stops; the others continue.

    Parameters
    ----------
    jobs
        The networks, and how to train each. Their optimizers have the same `update`; everything else may differ.
        Networks whose minibatches have the same size are joined. Their examples are joined too, unless they are the
        same arrays: sources that are `Rows` of one, or differ in their weights alone, share them.
    blas_threads
        Number of threads that share the work of a step (NumPy), or that multiply matrices (PyTorch).
    threads
        Number of threads among which several networks are divided.
    checkpoint
        Writes the training to a file.
    kept_loops
        The recorded or compiled loops of an earlier training of these networks.

    Yields
    ------
    dict
        New values of networks, by their numbers, which the caller is to assign before it goes on.

    Returns
    -------
    dict
        The error of each network that has diverged, by its number.
    """
    if needs_all_examples(jobs[0].plan.optimizer):
        jobs = use_all_examples(jobs)
    ranks, reader = jobs[0].plan.ranks, jobs[0].source.reader
    backend, multiplications = reader.backend, largest_product(jobs)
    n_threads = choose_group_threads(backend, threads, multiplications)
    if len(jobs) > 1:
        check_training_memory(jobs, n_threads)
    trainings = [begin(job) for job in jobs]
    with ExitStack() as stack:
        if ranks is not None:
            stack.enter_context(ranks.listening())
        elif checkpoint is not None:
            stack.enter_context(exiting_on_sigterm())
        stack.enter_context(reader.scope())
        stack.enter_context(limit_step_threads(backend, blas_threads, multiplications, min(n_threads or 1, len(jobs))))
        begun = [stack.enter_context(watching(job.callbacks, own)) for job, own in zip(jobs, trainings)]
        for job, training in zip(jobs, trainings):
            if job.start.is_resumed:  # then callbacks give it no other value at the beginning
                training.reached = begin_value(job, training.history)
        values = [training.value for training in trainings]  # of the networks, as soon as they are yielded
        steps = run_with_file(jobs, trainings, values, n_threads, kept_loops or KeptLoops(), checkpoint)
        return (yield from run_to_end(steps, begun, trainings, values))


def run_with_file(
    jobs: Sequence[Job],
    trainings: Sequence[Training],
    values: list[Value],
    threads: int | None,
    kept_loops: KeptLoops,
    checkpoint: Checkpoint | None,
) -> ValueStream:
    """Run all chunks of steps with the loops, the groups of networks, and the file that they need."""
    ranks, division = jobs[0].plan.ranks, None if checkpoint is None else checkpoint.division
    with ExitStack() as stack:
        save = open_file(checkpoint, trainings, ranks, stack)
        yield dict(enumerate(values))
        loops = stack.enter_context(kept_loops.lend(jobs[0].source.reader.backend))
        groups = stack.enter_context(closing(Groups(jobs, threads, loops, division)))
        if ranks is not None:
            stack.enter_context(ranks.stepping_together())
        return (yield from run_all_chunks(jobs, trainings, values, groups, save))


def run_all_chunks(
    jobs: Sequence[Job],
    trainings: Sequence[Training],
    values: list[Value],
    groups: Groups,
    save: SaveFunction,
) -> ValueStream:
    """Run a chunk of steps of every network at once, and repeat until all of them have ended; see `train_networks`.

    The networks' values are replaced in `values`.
    """
    errors: dict[int, DivergenceError] = {}
    unmoved = {k for k, job in enumerate(jobs) if needs_all_examples(job.plan.optimizer) and not job.start.is_resumed}
    ranks = jobs[0].plan.ranks
    after_steps = [fields_after_steps(job, training) for job, training in zip(jobs, trainings)]
    epochs = [train_epochs(job, training, len(jobs)) for job, training in zip(jobs, trainings)]
    chunks = draw_chunks(epochs, range(len(jobs)))
    check_targets(chunks.values(), jobs[0].source.reader)
    yield take_changes(trainings, values)
    while chunks:
        results = groups.run({k: values[k].stored for k in chunks}, chunks)
        done = {k: result for k, result in results.items() if result is not None}
        for k in results.keys() - done.keys():
            errors[k], trainings[k].stopped = explain_divergence(jobs[k], trainings[k], chunks[k].lr), True
        unmoved -= {k for k in unmoved & done.keys() if have_moved(values[k].layers, done[k].state.layers, jobs[k])}
        for k, result in done.items():
            trainings[k].reached = take_result(values[k], after_steps[k], chunks[k], result)
        yield take_changes(trainings, values)
        for k, result in done.items():
            pause = epochs[k].send(result)
            assert pause is None
        save(done, groups.division)
        if ranks is not None:
            ranks.obey()
        chunks = draw_chunks(epochs, done)
        for k in done.keys() - chunks.keys():
            trainings[k].reached = trainings[k].reached.detached()  # or it would keep a joined state in memory
        if changes := take_changes(trainings, values):
            yield changes
    for k in sorted(unmoved - errors.keys())[:1]:
        warn_of_no_step(type(jobs[k].plan.optimizer).__name__, trainings[k].history)
    return errors


def have_moved(old: Layers, new: Layers, job: Job) -> bool:
    """Tell whether weights or biases have changed. Synchronizes."""
    to_numpy = job.source.reader.backend.to_numpy
    return any((to_numpy(x) != to_numpy(y)).any() for x, y in zip(leaves(old), leaves(new)))


def take_changes(trainings: Sequence[Training], values: list[Value]) -> dict[int, Value]:
    """Find the new values that trainings have reached, put them into `values`, and return them by their numbers."""
    changes = {k: training.reached for k, training in enumerate(trainings) if training.reached is not values[k]}
    for k, value in changes.items():
        values[k] = value
    return changes


def run_to_end(
    steps: ValueStream, begun: Sequence[list[Callback]], trainings: Sequence[Training], values: list[Value]
) -> ValueStream:
    """Run the steps of trainings, and tell the callbacks when they have ended, however they ended."""
    try:
        errors = yield from steps
    except GeneratorExit:  # nobody takes values any more
        raise
    except BaseException:
        yield from end_trainings(begun, trainings, values)
        raise
    yield from end_trainings(begun, trainings, values)
    return errors


def end_trainings(
    begun: Sequence[list[Callback]], trainings: Sequence[Training], values: list[Value]
) -> Generator[Mapping[int, Value], None, None]:
    """Tell all callbacks that training has ended; yield the values that they give, for those that come after them."""
    with ExitStack() as stack:
        endings = [stack.enter_context(closing(end_callbacks(callbacks))) for callbacks in begun]
        for _ in chain(*endings):
            yield take_changes(trainings, values)


def open_file(
    checkpoint: Checkpoint | None, trainings: Sequence[Training], ranks: Ranks | None, stack: ExitStack
) -> SaveFunction:
    """Open the file of a checkpoint, on rank 0 of several processes, and return the function that updates it."""
    enter = partial(stack.enter_context, write_training(checkpoint, trainings))
    if ranks is None:
        return enter()
    save = ranks.keep_on_first(enter)
    return lambda numbers, division: ranks.make_on_first(lambda: save(numbers, division))


def draw_chunks(epochs: Sequence[EpochRun], numbers: Iterable[int]) -> dict[int, Chunk]:
    """Draw the next chunks of networks, by their numbers; there are none of a network that has ended."""
    chunks = {k: next((chunk for chunk in epochs[k] if chunk is not None), None) for k in numbers}
    return {k: chunk for k, chunk in chunks.items() if chunk is not None}


def train_epochs(job: Job, training: Training, networks: int = 1) -> EpochRun:
    """Run stochastic gradient descent on one network.

    Yields each chunk of steps, and is sent its result; then yields None, between two chunks.

    Parameters
    ----------
    job
        The network, and how to train it.
    training
        The call to `train`. It begins at ``training.position``, and ``training.history`` gets a row for each epoch.
    networks
        Number of networks that are trained in one program.
    """
    plan, source, callbacks, ranks = job.plan, job.source, job.callbacks, job.plan.ranks
    sampling = plan.sampling if ranks is None else ranks.share(plan.sampling)
    speed, total = source.reader.backend.speed, plan.epochs * (training.steps or 0)
    most = plan.chunk_steps
    if most is None:
        most = steps_per_chunk(source.reader.model, source.batch_size(plan.batch_size), speed, networks)
    source.skip_epochs(training.position.epoch - 1)
    generator = training.value.generator
    rng = make_generator(generator)
    for epoch in range(training.position.epoch, plan.epochs + 1):
        if training.stopped:
            break
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        beginning = training.position.generator or training.value.generator  # an epoch that is resumed draws it again
        if beginning is not generator:
            rng = make_generator(beginning)
        position = training.position._replace(generator=beginning)
        started = time.perf_counter() - position.seconds
        chunks = skip_steps(source.chunks(sampling, rng, plan.batch_size, most, networks), position.steps)
        for i, chunk in enumerate(chunks):
            generator = rng.bit_generator.state
            if i > 0:
                yield None
            steps = range(position.total_steps, position.total_steps + len(chunk.index))
            check_length(plan.schedule, training.steps, position.steps + len(chunk.index))
            lr = check_scale(training.lr_scale) * learning_rates(plan.schedule, steps, total)
            size = chunk.index.shape[1] if ranks is None else minibatch_size(source, plan.batch_size, position.steps)
            # Meanwhile these steps are taken, and the network gets its new value
            done = yield chunk._replace(lr=lr, size=size, generator=generator)
            assert done is not None
            training.history.engine = done.engine
            seconds = time.perf_counter() - started
            position = position.after_chunk((len(steps), size), done.cost, done.weight, float(lr[-1]), seconds)
            training.position = position
            for callback in callbacks:
                callback.on_chunk_end(len(steps))
        logs = position.row()
        training.history.rows.append(logs)
        training.position = position.next_epoch()
        for callback in callbacks:
            callback.on_epoch_end(logs)  # may add to the logs
        yield None
    training.completed = True


def minibatch_size(source: Source, batch_size: int, step: int) -> int:
    """Count the examples of a minibatch of an epoch, by its number; the last one may have fewer than the others."""
    assert isinstance(source, Sized)
    m = source.batch_size(batch_size)
    return min(m, len(source) - step * m)


def begin(job: Job) -> Training:
    """Check the schedule, and make the training that the callbacks see."""
    plan, start, history = job.plan, job.start, History(job.start.history)
    steps = job.source.steps(plan.sampling, plan.batch_size)
    check_schedule(plan.schedule, plan.epochs, steps)
    accept = partial(accept_value, plan.optimizer, job.source.reader.scaling)
    value = begin_value(job, history)
    return Training(
        job.net, accept, value, plan.epochs, steps, dict(LOGS), history, start.position, start.lr_scale, start.stopped
    )


def begin_value(job: Job, history: History) -> Value:
    """Return the value of a network before the first step, with the plan's optimizer and an empty history."""
    value = with_optimizer(job.start.value, job.plan.optimizer, job.start.is_resumed)
    return value._replace(history=history)


def with_optimizer(value: Value, optimizer: Optimizer, is_resumed: bool = False) -> Value:
    """Return a value with an optimizer, in a fresh state unless its own is equal and goes on."""
    if value.optimizer == optimizer and (is_resumed or not begins_anew(optimizer)):
        return value._replace(optimizer=optimizer)
    return change_optimizer(value, optimizer)


def accept_value(optimizer: Optimizer, scaling: Scaler | None, value: Any, present: Value) -> Value:
    """Check a value that a callback gives to a training, whose optimizer, history and notes it gets."""
    value = check_value(value, present)
    own = None if scaling is None else scaling.content
    if value.scaling is not None and value.scaling.content != own:
        raise ArgumentError("value has another scaling than the examples of this training; give one with the same")
    return with_optimizer(value, optimizer)._replace(history=present.history, notes=present.notes)


def fields_after_steps(job: Job, training: Training) -> dict[str, Any]:
    """Return the fields of a network's value that are the same after each of its steps."""
    value, plan, source, reader = training.value, job.plan, job.source, job.source.reader
    draws, batch_size = isinstance(source, Countable), source.batch_size(plan.batch_size)
    run = describe_run(plan, job.callbacks, batch_size, reader.backend, draws=draws)
    return {
        "optimizer": job.plan.optimizer,
        "provenance": value.provenance.add(run, resumed=training.position.total_steps > 0),
        "history": training.history,
        "scaling": reader.scaling,
        "feature_names": reader.feature_names,
        "objective": Objective() if reader.slope_weight is None else Objective(float(reader.slope_weight)),
        **FITTED_TO_WEIGHTS,
        "novelty": None,
    }


def take_result(value: Value, after_steps: Mapping[str, Any], chunk: Chunk, result: ChunkResult) -> Value:
    """Return the value of a network after a chunk of steps."""
    new = value._replace(stored=result.state, generator=chunk.generator, **after_steps)
    return new._replace(provenance=new.provenance.edit()) if value.provenance.edited else new


def check_targets(chunks: Iterable[Chunk], reader: Reader) -> None:
    """Warn once if the targets of the first chunks are not on the scale that the cost needs."""
    targets = {id(chunk.examples.y): chunk.examples.y for chunk in chunks if chunk.scaling is None}
    check_target_scale(targets.values(), reader)


def explain_divergence(job: Job, training: Training, lr: np.ndarray) -> DivergenceError:
    """Make the error for steps that diverged, with their learning rates; they began at the training's position."""
    source, position, model = job.source, training.position, job.source.reader.model
    scales = model.scales_targets and model.scale is None and not model.standardize
    remedy = "standardize=True, which scales inputs and targets" if scales else "scale the inputs"
    first, last = position.total_steps + 1, position.total_steps + len(lr)
    steps = f"training diverged in epoch {position.epoch}, steps {first} to {last}"
    stored = source.source if isinstance(source, Rows) else source
    if isinstance(stored, Resident) and (place := stored.find_overwritten()) is not None:
        return DivergenceError(
            f"{steps}: {place} of the training data, counted from 0, has become NaN or infinite since training began; "
            "the network is as it was before these steps. Do not write into data that are trained on, or give a copy"
        )
    if needs_all_examples(job.plan.optimizer):
        remedy = f"Give {remedy}" if scales else "Scale the inputs"
    else:
        steps, remedy = f"{steps}, at lr={lr.max():g}", f"Give a smaller lr, or {remedy}"
    return DivergenceError(
        f"{steps}: cost or weights are not finite; the network is as it was before these steps. {remedy}"
    )
