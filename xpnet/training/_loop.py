"""The training loop, for a list of networks: epochs, minibatches, steps.

`Course` goes through the epochs of one network, and `run_steps` takes a chunk of steps of each network at once. A lone
network is a list of one. For each chunk of a network:

1. `Course.run_epochs` draws minibatches, and yields them as a chunk (`draw_chunks`).
2. A `Runner` takes the steps.
3. `Course.move` moves the training on, and whoever reads from the training gets the new value.
4. `Course.run_epochs` goes on: `on_chunk_end` of the callbacks is called, and `on_epoch_end` after the last chunk of an
   epoch. It yields None.
5. `run_steps` yields the numbers of the networks that have gone on, and files are written.

A chunk of steps works on a copy of a network's state, and the moment of a training moves on only after the chunk has
succeeded. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the training is as it was
before the chunk.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

from xpnet.backends import Backend
from xpnet.core.arrays import Layers, leaves
from xpnet.core.optimizers import needs_all_examples
from xpnet.data.source import Chunk, skip_steps
from xpnet.errors import DivergenceError
from xpnet.training._arguments import learning_rates
from xpnet.training._description import describe_run
from xpnet.training._groups import ChunkResult, ChunkResults, steps_per_chunk
from xpnet.training._plan import Job
from xpnet.training._warnings import check_target_scale, warn_of_no_step
from xpnet.training.callback import Training
from xpnet.value import FITTED_TO_WEIGHTS, Objective, Value

# Yields None when networks have new values, before callbacks are called; and the numbers of those that have gone on
# when callbacks have been called, with those of networks that are joined, group by group
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


def run_steps(jobs: Sequence[Job], trainings: Sequence[Training], running: AbstractContextManager[Runner]) -> Pauses:
    """Take the steps of several networks, a chunk of each at once, until the training of each has ended.

    A network that diverges stays as it was before that chunk, and its training ends with an error; the others continue.

    Parameters
    ----------
    jobs
        The networks. Their optimizers have the same `update`; everything else may differ.
    trainings
        Their trainings, which move on.
    running
        The context of what takes the steps.
    """
    reader = jobs[0].data.train.reader
    # Networks of which a warning is due unless weights change; resumed ones may have changed before
    unmoved = {k for k, job in enumerate(jobs) if needs_all_examples(job.plan.optimizer) and not job.start.has_begun}
    for k, error in find_left_behind(jobs, trainings).items():
        trainings[k].error, trainings[k].stopped = error, True
    with running as runner:
        courses = [Course(*pair, len(jobs), runner.run_fields) for pair in zip(jobs, trainings)]
        epochs = [course.run_epochs() for course in courses]
        chunks = draw_chunks(epochs, [k for k, training in enumerate(trainings) if training.error is None])
        targets = {id(chunk.examples.y): chunk.examples.y for chunk in chunks.values() if chunk.scaling is None}
        check_target_scale(targets.values(), reader)
        while chunks:
            values = {k: trainings[k].value for k in chunks}
            results = runner.run(values, chunks)
            done = {k: result for k, result in results.items() if result is not None}
            for k in results.keys() - done.keys():
                trainings[k].error = explain_divergence(jobs[k], trainings[k], chunks[k].lr)
                trainings[k].stopped = True
            for k in unmoved.intersection(done):
                if have_moved(values[k].layers, done[k][0]["stored"].layers, reader.backend):
                    unmoved.discard(k)
            for k, result in done.items():
                courses[k].move(chunks[k], result)
            yield None
            for k in done:
                next(epochs[k])  # callbacks are called
            yield [*done], runner.division
            chunks = draw_chunks(epochs, done)
            for k in done.keys() - chunks.keys():
                trainings[k].move(value=trainings[k].value.detached())  # or it would keep a joined state in memory
    for k in [k for k in sorted(unmoved) if trainings[k].error is None][:1]:
        warn_of_no_step(type(jobs[k].plan.optimizer).__name__, trainings[k].history)


def draw_chunks(epochs: Sequence[Iterator[Chunk | None]], numbers: Iterable[int]) -> dict[int, Chunk]:
    """Draw the next chunks of networks, by their numbers; there are none of a network that has ended.

    An epoch that is resumed may have none left: its training goes on with the next one.
    """
    chunks = {k: next((chunk for chunk in epochs[k] if chunk is not None), None) for k in numbers}
    return {k: chunk for k, chunk in chunks.items() if chunk is not None}


class Course:
    """Stochastic gradient descent on one network, epoch by epoch.

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

    def __init__(self, job: Job, training: Training, networks: int, run_fields: Mapping[str, Any]) -> None:
        self.job, self.training, self.networks = job, training, networks
        source, value, plan = job.data.train, training.value, job.plan
        reader, order = source.reader, source.name_order(plan.sampling)
        run = describe_run(plan, value.optimizer, order, reader.backend)._replace(**run_fields)
        self.total = plan.epochs * (training.steps or 0)
        chunk_steps = steps_per_chunk(reader.model, plan.batch_size, reader.backend.speed, networks)
        self.most_steps = plan.chunk_steps or chunk_steps
        self.started = 0.0  # when the epoch would have begun without an interruption
        # Of the value, the same after each of its steps; but for the generator, which an epoch that begins replaces
        self.after_steps: dict[str, Any] = {
            "provenance": value.provenance.add(run, resumed=training.position.total_steps > 0),
            "history": training.history,
            "scaling": reader.scaling,
            "feature_names": reader.feature_names,
            "objective": Objective() if reader.slope_weight is None else Objective(float(reader.slope_weight)),
            **FITTED_TO_WEIGHTS,
            "novelty": None,
        }

    def run_epochs(self) -> Iterator[Chunk | None]:
        """Yield each chunk of minibatches, for `move` to be called once its steps are taken, or the training ends.

        After each, when callbacks have been called, yield None.
        """
        plan, source, training = self.job.plan, self.job.data.train, self.training
        n = len(source) if source.has_length else None
        for epoch in range(training.position.epoch, plan.epochs + 1):
            if training.stopped:
                break
            for callback in plan.callbacks:
                callback.on_epoch_begin(epoch)
            # An epoch that is resumed draws the same minibatches again
            training.move(generator=training.position.generator or training.value.generator)
            self.started = time.perf_counter() - training.position.seconds
            minibatches, generator, order = (), training.position.generator, None  # where batches come as they are
            if n is not None:
                drawn = plan.sampling.draw(n, plan.batch_size, generator, training.position.order)
                minibatches, generator, order = drawn
            self.after_steps["generator"] = generator
            yield from self._run_minibatches(minibatches, n)
            logs = training.position.row()
            training.history.rows.append(logs)
            training.position = training.position.next_epoch(order)
            for callback in plan.callbacks:
                callback.on_epoch_end(logs)  # may add to the logs
            yield None
        training.completed = True

    def _run_minibatches(self, minibatches: Iterable[np.ndarray], n: int | None) -> Iterator[Chunk | None]:
        """Yield the chunks of an epoch of n examples, and None between two of them."""
        plan, source, training = self.job.plan, self.job.data.train, self.training
        chunks = source.chunks(minibatches, self.most_steps, self.networks, training.position.epoch)
        for i, chunk in enumerate(skip_steps(chunks, training.position.steps)):
            if i > 0:
                yield None
            done, first = training.position.steps, training.position.total_steps
            steps = range(first, first + len(chunk.index))
            lr = training.lr_scale * learning_rates(plan.lr, steps, self.total)
            # Its size is not that of `index`, as in `Chunk`
            size = chunk.index.shape[1] if n is None else min(plan.batch_size, n - done * plan.batch_size)
            yield chunk._replace(lr=lr, size=size)
            for callback in plan.callbacks:
                callback.on_chunk_end(len(steps))

    def move(self, chunk: Chunk, result: ChunkResult) -> None:
        """Move the training past a chunk, whose steps have been taken."""
        training, steps = self.training, len(chunk.index)
        changes, cost, weight, training.history.engine = result
        value = training.value._replace(**{**self.after_steps, **changes})
        if training.value.provenance.edited:
            value = value._replace(provenance=value.provenance.edit())
        seconds = time.perf_counter() - self.started
        training.position = training.position.after_chunk(
            value, (steps, chunk.size), cost, weight, float(chunk.lr[-1]), seconds
        )


def have_moved(old: Layers, new: Layers, backend: Backend) -> bool:
    """Tell whether weights or biases have changed. Synchronizes."""
    pairs = zip(leaves(old), leaves(new))
    return any((backend.to_numpy(x) != backend.to_numpy(y)).any() for x, y in pairs)


def find_left_behind(jobs: Sequence[Job], trainings: Sequence[Training]) -> dict[int, DivergenceError]:
    """Find networks that diverged before they were resumed, and cannot go on: the batches are those of the others."""
    errors: dict[int, DivergenceError] = {}
    furthest: dict[int, tuple[int, int]] = {}  # epoch and steps, by the pass over batches that networks share
    places = [(now.position.epoch, now.position.steps) for now in trainings]
    passes = [getattr(job.data.train, "shared", None) for job in jobs]
    for place, shared in zip(places, passes):
        furthest[id(shared)] = max(place, furthest.get(id(shared), place))
    for k, (place, shared) in enumerate(zip(places, passes)):
        if shared is not None and place < furthest[id(shared)] and not trainings[k].stopped:
            errors[k] = DivergenceError(
                f"training diverged in epoch {place[0]}, before it was resumed, and the others have gone on with the "
                "batches that they share; the network is as it was then. Give a smaller lr, or scale the inputs"
            )
    return errors


def explain_divergence(job: Job, training: Training, lr: np.ndarray) -> DivergenceError:
    """Make the error for steps that diverged, with their learning rates; they began at the training's position."""
    position, model = training.position, job.data.train.reader.model
    scales = model.scales_targets and model.scale is None and not model.standardize
    remedy = "standardize=True, which scales inputs and targets" if scales else "scale the inputs"
    first, last = position.total_steps + 1, position.total_steps + len(lr)
    steps = f"training diverged in epoch {position.epoch}, steps {first} to {last}"
    if needs_all_examples(job.plan.optimizer):
        remedy = f"Give {remedy}" if scales else "Scale the inputs"
    else:
        steps, remedy = f"{steps}, at lr={lr.max():g}", f"Give a smaller lr, or {remedy}"
    return DivergenceError(
        f"{steps}: cost or weights are not finite; the network is as it was before these steps. {remedy}"
    )
