"""The training loop, for a list of networks: epochs, chunks of minibatches, steps.

`train_networks` loops over all networks, and `train_epochs` over the epochs of one of them. The latter is a generator:
it yields the minibatches of a chunk of steps and is sent the result, so that the chunks of all networks run at once. A
lone network is a list of one.

The loop writes into no network. It yields the new values of networks, and the caller assigns them before callbacks are
called; these may assign others. A chunk of steps works on a copy of a network's state, and its value is yielded only
after the chunk has succeeded. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the
network is as it was before the chunk.
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence, Sized
from contextlib import ExitStack
from typing import TypeAlias

import numpy as np

from xpnet.backends.threads import AUTO, limit_step_threads
from xpnet.data.reader import Reader
from xpnet.data.resident import Resident, Rows
from xpnet.data.source import Chunk, Countable, Source, describe_known_rows, skip_steps
from xpnet.errors import DivergenceError
from xpnet.state.history import History
from xpnet.state.places import change_optimizer
from xpnet.state.provenance import Provenance
from xpnet.state.value import NetworkValue, make_generator
from xpnet.training.agreement import Lead
from xpnet.training.all_examples import use_all_examples
from xpnet.training.callback import LOGS, Training, watching
from xpnet.training.groups import Groups, check_training_memory, choose_group_threads, largest_product
from xpnet.training.kept_loops import KeptLoops
from xpnet.training.plan import Job
from xpnet.training.prepare import check_target_scale
from xpnet.training.provenance import describe_run
from xpnet.training.rates import check_length, check_scale, check_schedule, learning_rates
from xpnet.training.resuming.checkpoint import Checkpoint, exiting_on_sigterm
from xpnet.training.steps import Done, steps_per_chunk

# Yields the new values of networks, by their numbers; returns the errors of those that have diverged
Values: TypeAlias = Generator[Mapping[int, NetworkValue], None, dict[int, DivergenceError]]


def train_networks(
    jobs: Sequence[Job],
    *,
    blas_threads: int | str = AUTO,
    threads: int | str = AUTO,
    checkpoint: Checkpoint | None = None,
    kept_loops: KeptLoops | None = None,
) -> Values:
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
    jobs = use_all_examples(jobs)
    ranks = jobs[0].plan.ranks
    if checkpoint is not None:
        jobs = checkpoint.add_to(jobs)
    if ranks is not None and ranks.leads:
        jobs = [job._replace(callbacks=[Lead(job.callbacks, ranks)]) for job in jobs]
    trainings = [begin(job) for job in jobs]
    reader = jobs[0].source.reader
    backend, multiplications = reader.backend, largest_product(jobs)
    n_threads = choose_group_threads(backend, threads, multiplications)
    if len(jobs) > 1:
        check_training_memory(jobs, n_threads)
    with ExitStack() as stack:
        if ranks is not None:
            stack.enter_context(ranks.listening())
        elif checkpoint is not None:
            stack.enter_context(exiting_on_sigterm())
        stack.enter_context(reader.scope())
        stack.enter_context(limit_step_threads(backend, blas_threads, multiplications, min(n_threads or 1, len(jobs))))
        for job, training in zip(jobs, trainings):
            stack.enter_context(watching(job.callbacks, training))
        yield {k: begin_value(job, training) for k, (job, training) in enumerate(zip(jobs, trainings))}
        loops = stack.enter_context((kept_loops or KeptLoops()).lend(backend))
        groups = Groups(jobs, n_threads, loops, None if checkpoint is None else checkpoint.division)
        stack.callback(groups.close)
        stack.callback(release_joined_states, jobs)
        if ranks is not None:
            stack.enter_context(ranks.stepping_together())
        return (yield from run_all_chunks(jobs, trainings, groups, checkpoint))


def run_all_chunks(
    jobs: Sequence[Job], trainings: Sequence[Training], groups: Groups, checkpoint: Checkpoint | None
) -> Values:
    """Run a chunk of steps of every network at once, and repeat until all of them have ended; see `train_networks`."""
    epochs = [train_epochs(job, training, len(jobs)) for job, training in zip(jobs, trainings)]
    errors: dict[int, DivergenceError] = {}
    ranks = jobs[0].plan.ranks
    chunks = {k: first for k, loop in enumerate(epochs) if (first := next(loop, None)) is not None}
    check_targets(chunks.values(), jobs[0].source.reader)
    known_rows = [describe_known_rows(job.source) for job in jobs]
    yield {  # of trainings that are resumed, maybe after their last step
        k: job.net.value._replace(known_rows=known_rows[k])
        for k, job in enumerate(jobs)
        if trainings[k].position.total_steps > 0
    }
    provenances = [add_run(job, training) for job, training in zip(jobs, trainings)]
    while chunks:
        results = groups.run({k: with_optimizer(jobs[k].net.value, jobs[k]).stored for k in chunks}, chunks)
        changed = {}
        for k, result in results.items():
            if result is None:
                errors[k] = explain_divergence(jobs[k].source, trainings[k], chunks[k].lr)
                trainings[k].stopped = True
            else:
                value = take_result(jobs[k], chunks[k], result, provenances[k])
                changed[k] = value._replace(history=trainings[k].history, known_rows=known_rows[k])
        yield changed
        if checkpoint is not None:
            advanced = (k for k, result in results.items() if result is not None)
            checkpoint.begin_round(advanced, groups.division)
        previous, chunks = chunks, {}
        for k, result in results.items():
            if result is not None and (following := send(epochs[k], result)) is not None:
                chunks[k] = following
        release_joined_states([jobs[k] for k in previous.keys() - chunks.keys()])
        if checkpoint is not None:
            checkpoint.end_round()
        if ranks is not None:
            ranks.obey()
    yield {  # of networks that a callback has given an earlier value
        k: job.net.value._replace(history=training.history)
        for k, (job, training) in enumerate(zip(jobs, trainings))
        if job.net.value.history is not training.history
    }
    return errors


def train_epochs(job: Job, training: Training, networks: int = 1) -> Generator[Chunk, Done, None]:
    """Run stochastic gradient descent on one network: yield each chunk of steps, and be sent its result.

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
    generator = job.net.value.generator
    rng = make_generator(generator)
    for epoch in range(training.position.epoch, plan.epochs + 1):
        if training.stopped:
            break
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        beginning = training.position.generator or job.net.value.generator  # an epoch that is resumed draws it again
        if beginning is not generator:
            rng = make_generator(beginning)
        position = training.position._replace(generator=beginning)
        started = time.perf_counter() - position.seconds
        for chunk in skip_steps(source.chunks(sampling, rng, plan.batch_size, most, networks), position.steps):
            steps = range(position.total_steps, position.total_steps + len(chunk.index))
            check_length(plan.schedule, training.steps, position.steps + len(chunk.index))
            lr = check_scale(training.lr_scale) * learning_rates(plan.schedule, steps, total)
            size = chunk.index.shape[1] if ranks is None else minibatch_size(source, plan.batch_size, position.steps)
            generator = rng.bit_generator.state
            # Meanwhile these steps are taken, and the network gets its new value
            done = yield chunk._replace(lr=lr, size=size, generator=generator)
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
    training.completed = True


def minibatch_size(source: Source, batch_size: int, step: int) -> int:
    """Count the examples of a minibatch of an epoch, by its number; the last one may have fewer than the others."""
    assert isinstance(source, Sized)
    m = source.batch_size(batch_size)
    return min(m, len(source) - step * m)


def send(loop: Generator[Chunk, Done, None], result: Done) -> Chunk | None:
    """Send a loop the result of its chunk, and return its next one; None if it has ended."""
    try:
        return loop.send(result)
    except StopIteration:
        return None


def begin(job: Job) -> Training:
    """Check the schedule, and make the training that the callbacks see."""
    plan, start = job.plan, job.start
    steps = job.source.steps(plan.sampling, plan.batch_size)
    check_schedule(plan.schedule, plan.epochs, steps)
    history = History(start.history)
    return Training(job.net, plan.epochs, steps, dict(LOGS), history, start.position, start.lr_scale, start.stopped)


def begin_value(job: Job, training: Training) -> NetworkValue:
    """Return the value of a network before the first step: it has the plan's optimizer, and an empty history."""
    value = with_optimizer(job.net.value if job.start.value is None else job.start.value, job)
    return value._replace(history=training.history)


def with_optimizer(value: NetworkValue, job: Job) -> NetworkValue:
    """Return a value with the plan's optimizer, in a fresh state unless its own is equal."""
    optimizer = job.plan.optimizer
    if value.optimizer is optimizer:
        return value
    if value.optimizer == optimizer:
        return value._replace(optimizer=optimizer)
    return change_optimizer(value, optimizer, job.net.view)


def take_result(job: Job, chunk: Chunk, result: Done, provenance: Provenance) -> NetworkValue:
    """Return the value of a network after a chunk of steps; what was fitted to its old weights has gone."""
    value, reader = job.net.value, job.source.reader
    return value._replace(
        stored=result.state,
        optimizer=job.plan.optimizer,
        generator=chunk.generator,
        provenance=provenance.edit() if value.provenance.edited else provenance,
        scaling=reader.scaling,
        feature_names=reader.feature_names,
        calibration=None,
        novelty=None,
    )


def add_run(job: Job, training: Training) -> Provenance:
    """Add a training to the provenance of its network."""
    plan, source = job.plan, job.source
    draws, batch_size = isinstance(source, Countable), source.batch_size(plan.batch_size)
    run = describe_run(plan, batch_size, source.reader.backend, draws=draws)
    return job.net.value.provenance.add(run, resumed=training.position.total_steps > 0)


def release_joined_states(jobs: Iterable[Job]) -> None:
    """Copy the networks' states out of joined states, which stay in memory as long as anything refers to a part."""
    for job in jobs:
        _ = job.net.value.state


def check_targets(chunks: Iterable[Chunk], reader: Reader) -> None:
    """Warn once if the targets of the first chunks are not on the scale that the cost needs."""
    columns = dict.fromkeys(chunk.columns for chunk in chunks if chunk.scaling is None)
    check_target_scale([part.y for part in columns], reader)


def explain_divergence(source: Source, training: Training, lr: np.ndarray) -> DivergenceError:
    """Make the error for steps that diverged, with their learning rates; they began at the training's position."""
    net, position = training.net, training.position
    model = net.view.model
    scales = model.scales_targets and model.scale is None and not net.standardize
    remedy = "standardize=True, which scales inputs and targets" if scales else "scale the inputs"
    first, last = position.total_steps + 1, position.total_steps + len(lr)
    steps = f"training diverged in epoch {position.epoch}, steps {first} to {last}"
    stored = source.source if isinstance(source, Rows) else source
    if isinstance(stored, Resident) and (place := stored.find_overwritten()) is not None:
        return DivergenceError(
            f"{steps}: {place} of the training data, counted from 0, has become NaN or infinite since training began; "
            "the network is as it was before these steps. Do not write into data that are trained on, or give a copy"
        )
    return DivergenceError(
        f"{steps}, at lr={lr.max():g}: cost or weights are not finite; the network is as it was before these steps. "
        f"Give a smaller lr, or {remedy}"
    )
