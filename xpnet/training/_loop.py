"""The training loop, for a list of networks: epochs, minibatches, steps.

`run_steps` takes the steps of all networks, and `run_epochs` goes through the epochs of one of them. The latter is a
generator: it yields the minibatches of a chunk of steps and is sent the result, so that the chunks of all networks run
at once. A lone network is a list of one.

A chunk of steps works on a copy of a network's state, and the moment of a training moves on only after the chunk has
succeeded. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the training is as it was
before the chunk.
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

from xpnet.backends import Backend
from xpnet.core.arrays import Layers, leaves
from xpnet.core.optimizers import needs_all_examples
from xpnet.data.source import Chunk, skip_steps
from xpnet.errors import DivergenceError
from xpnet.training._all_examples import warn_of_no_step
from xpnet.training._groups import ChunkResult, ChunkResults, steps_per_chunk
from xpnet.training._plan import CompleteJob
from xpnet.training._rates import check_length, check_scale, learning_rates
from xpnet.training._runs import describe_run
from xpnet.training._target_scale import check_target_scale
from xpnet.training.callback import Training
from xpnet.value import (
    FITTED_TO_WEIGHTS,
    Objective,
    Value,
)

# Yields chunks of steps, each of which it is sent the result of, with None before and after callbacks
Epochs: TypeAlias = Generator[Chunk | None, ChunkResult | None, None]
# Yields None when networks have new values; between two chunks, the numbers of those that have taken steps, and
# those of networks that are joined, group by group
Pauses: TypeAlias = Generator[tuple[Sequence[int], Sequence[Sequence[int]]] | None, None, None]


class Runner(Protocol):
    """An object that takes the steps of networks."""

    @property
    def division(self) -> Sequence[Sequence[int]]:
        """The numbers of those that are joined, group by group: a file keeps them."""
        ...

    @property
    def run_fields(self) -> Mapping[str, Any]:
        """Fields of the `Run` in provenance that it knows better than the plan."""
        ...

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Take the steps of a chunk of each network, given by their numbers, on copies of their states. Synchronizes.

        Returns
        -------
        dict
            For each network what changes in its value, its state at least; the sum of its costs, each times its weight;
            the sum of these weights; and how its steps ran. None if the state is not finite.
        """
        ...


def run_steps(
    jobs: Sequence[CompleteJob],
    trainings: Sequence[Training],
    running: AbstractContextManager[Runner],
    errors: dict[int, DivergenceError],
) -> Pauses:
    """Take the steps of several networks, a chunk of each at once, until the training of each has ended.

    A network that diverges stays as it was before that chunk, and stops; the others continue.

    Parameters
    ----------
    jobs
        The networks. Their optimizers have the same `update`; everything else may differ.
    trainings
        Their trainings, which move on.
    running
        The context of what takes the steps.
    errors
        Gets the error of each network that diverges, by its number.
    """
    reader = jobs[0].data.train.reader
    # Networks of which a warning is due unless weights change; resumed ones may have changed before
    unmoved = {k for k, job in enumerate(jobs) if needs_all_examples(job.plan.optimizer) and not job.start.has_begun}
    with running as runner:
        epochs = [run_epochs(*pair, len(jobs), runner.run_fields) for pair in zip(jobs, trainings)]
        chunks = draw_chunks(epochs, range(len(jobs)))
        targets = {id(chunk.examples.y): chunk.examples.y for chunk in chunks.values() if chunk.scaling is None}
        check_target_scale(targets.values(), reader)
        while chunks:
            values = {k: trainings[k].value for k in chunks}
            results = runner.run(values, chunks)
            done = {k: result for k, result in results.items() if result is not None}
            for k in results.keys() - done.keys():
                errors[k], trainings[k].stopped = explain_divergence(jobs[k], trainings[k], chunks[k].lr), True
            for k in unmoved.intersection(done):
                if have_moved(values[k].layers, done[k][0]["stored"].layers, reader.backend):
                    unmoved.discard(k)
            for k, result in done.items():
                epochs[k].send(result)
            yield None
            for k in done:
                next(epochs[k])  # callbacks are called
            yield [*done], runner.division
            chunks = draw_chunks(epochs, done)
            for k in done.keys() - chunks.keys():
                trainings[k].move(value=trainings[k].value.detached())  # or it would keep a joined state in memory
    for k in sorted(unmoved - errors.keys())[:1]:
        warn_of_no_step(type(jobs[k].optimizer).__name__, trainings[k].history)


def draw_chunks(epochs: Sequence[Epochs], numbers: Iterable[int]) -> dict[int, Chunk]:
    """Draw the next chunks of networks, by their numbers; there are none of a network that has ended.

    An epoch that is resumed may have none left: its training goes on with the next one.
    """
    chunks = {k: next((chunk for chunk in epochs[k] if chunk is not None), None) for k in numbers}
    return {k: chunk for k, chunk in chunks.items() if chunk is not None}


def run_epochs(job: CompleteJob, training: Training, networks: int, run_fields: Mapping[str, Any]) -> Epochs:
    """Run stochastic gradient descent on one network.

    Yields each chunk of steps, and is sent its result; then yields None, when the network is to get its new value, and
    again between two chunks.

    Parameters
    ----------
    job
        The network, and how to train it.
    training
        Its training. It begins at ``training.position``, and ``training.history`` gets a row for each epoch.
    networks
        The number of networks that are trained in one program.
    run_fields
        Those of the runner.
    """
    plan, source = job.plan, job.data.train
    after_steps, total = fields_after_steps(job, training, run_fields), plan.epochs * (training.steps or 0)
    m, n = plan.batch_size, len(source) if source.has_length else None
    model, speed = source.reader.model, source.reader.backend.speed
    most = plan.chunk_steps or steps_per_chunk(model, m, speed, networks)
    for epoch in range(training.position.epoch, plan.epochs + 1):
        if training.stopped:
            break
        for callback in plan.callbacks:
            callback.on_epoch_begin(epoch)
        generator = training.position.generator or training.value.generator  # an epoch that is resumed draws it again
        training.move(generator=generator)
        started = time.perf_counter() - training.position.seconds
        minibatches, order = (), None  # where batches come as they are
        if n is not None:
            minibatches, generator, order = plan.sampling.draw(n, m, generator, training.position.order)
        chunks = source.chunks(minibatches, most, networks, epoch)
        for i, chunk in enumerate(skip_steps(chunks, training.position.steps)):
            if i > 0:
                yield None
            done, total_done = training.position.steps, training.position.total_steps
            steps = len(chunk.index)
            check_length(plan.lr, training.steps, done + steps)
            lr = check_scale(training.lr_scale) * learning_rates(plan.lr, range(total_done, total_done + steps), total)
            size = chunk.index.shape[1] if n is None else min(m, n - done * m)  # not that of `index`, as in `Chunk`
            # Meanwhile these steps are taken
            result = yield chunk._replace(lr=lr, size=size)
            assert result is not None
            changes, cost, weight, engine = result
            training.history.engine = engine
            value = change_value(training.value, {"generator": generator, **after_steps, **changes})
            seconds = time.perf_counter() - started
            training.position = training.position.after_chunk(
                value, (steps, size), cost, weight, float(lr[-1]), seconds
            )
            yield None  # the network gets its new value
            for callback in plan.callbacks:
                callback.on_chunk_end(steps)
        logs = training.position.row()
        training.history.rows.append(logs)
        training.position = training.position.next_epoch(order)
        for callback in plan.callbacks:
            callback.on_epoch_end(logs)  # may add to the logs
        yield None
    training.completed = True


def fields_after_steps(job: CompleteJob, training: Training, run_fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a network's value that are the same after each of its steps."""
    reader, value, order = job.data.train.reader, training.value, job.data.train.name_order(job.plan.sampling)
    run = describe_run(job.plan, job.optimizer, order, reader.backend)._replace(**run_fields)
    return {
        "provenance": value.provenance.add(run, resumed=training.position.total_steps > 0),
        "history": training.history,
        "scaling": reader.scaling,
        "feature_names": reader.feature_names,
        "objective": Objective() if reader.slope_weight is None else Objective(float(reader.slope_weight)),
        **FITTED_TO_WEIGHTS,
        "novelty": None,
    }


def change_value(value: Value, changes: Mapping[str, Any]) -> Value:
    """Return the value of a network after a chunk of steps."""
    new = value._replace(**changes)
    return new._replace(provenance=new.provenance.edit()) if value.provenance.edited else new


def have_moved(old: Layers, new: Layers, backend: Backend) -> bool:
    """Tell whether weights or biases have changed. Synchronizes."""
    pairs = zip(leaves(old), leaves(new))
    return any((backend.to_numpy(x) != backend.to_numpy(y)).any() for x, y in pairs)


def explain_divergence(job: CompleteJob, training: Training, lr: np.ndarray) -> DivergenceError:
    """Make the error for steps that diverged, with their learning rates; they began at the training's position."""
    source, position, model = job.data.train, training.position, job.data.train.reader.model
    scales = model.scales_targets and model.scale is None and not model.standardize
    remedy = "standardize=True, which scales inputs and targets" if scales else "scale the inputs"
    first, last = position.total_steps + 1, position.total_steps + len(lr)
    steps = f"training diverged in epoch {position.epoch}, steps {first} to {last}"
    if (place := source.find_overwritten()) is not None:
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
