"""The training loop, for a list of networks: epochs, minibatches, steps.

`Course.run_epochs` goes through the epochs and minibatches of one network, and `run_together` takes the steps of all: a
chunk of them for each network at once. A lone network is a list of one. For each chunk of a network:

1. `Course.draw` draws minibatches.
2. A `Runner` takes the steps.
3. `Course.move` moves the training on, and whoever reads from the training gets the new value.
4. `Course.call_back` calls `on_chunk_end` of the callbacks, and `on_epoch_end` after the last chunk of an epoch.
5. Files are written.

A chunk of steps works on a copy of a network's state, and the moment of a training moves on only after the chunk has
succeeded. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the training is as it was
before the chunk.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from xpnet.core.optimizers import needs_all_examples
from xpnet.data.source import Chunk, skip_steps
from xpnet.training._arguments import learning_rates
from xpnet.training._checkpoint import SaveFunction
from xpnet.training._description import describe_run
from xpnet.training._groups import ChunkResult, ChunkResults, steps_per_chunk
from xpnet.training._plan import Job
from xpnet.training._warnings import check_target_scale
from xpnet.training.callback import Training
from xpnet.value import FITTED_TO_WEIGHTS, Objective, Value

Values = Mapping[int, Value]  # new values of networks, by their numbers


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


def run_together(
    courses: Sequence["Course"], runner: Runner, take_changes: Callable[[], Values], end_chunk: SaveFunction
) -> Generator[Values, None, None]:
    """Train several networks, a chunk of steps of each at once, until the training of each has ended.

    Parameters
    ----------
    courses
        The networks. Their optimizers have the same `update`; everything else may differ.
    runner
        Takes the steps.
    take_changes
        Returns the values that have changed since its last call; these are yielded.
    end_chunk
        Is called after each chunk, when callbacks have been called.
    """
    chunks = draw_chunks(courses)
    check_target_scale(chunks.values(), courses[0].job.data.train.reader)
    while chunks:
        results = runner.run({k: courses[k].training.value for k in chunks}, chunks)
        for k, result in results.items():
            courses[k].move(chunks[k], result)
        yield take_changes()
        for k in results:
            courses[k].call_back()
        if changes := take_changes():
            yield changes
        end_chunk(runner.division)
        chunks = draw_chunks(courses)


def draw_chunks(courses: Sequence["Course"]) -> dict[int, Chunk]:
    """Draw the next chunks of networks, by their numbers; there are none of a network whose training has ended."""
    return {k: chunk for k, course in enumerate(courses) if (chunk := course.draw()) is not None}


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
        self.n = len(source) if source.has_length else None  # examples
        self.total = plan.epochs * (training.steps or 0)
        chunk_steps = steps_per_chunk(reader.model, plan.batch_size, reader.backend.speed, networks)
        self.most_steps = plan.chunk_steps or chunk_steps
        self.epochs = self.run_epochs()
        self.started = 0.0  # when the epoch would have begun without an interruption
        # Of the value, the same after each of its steps; but for the generator, which an epoch that begins replaces
        self.after_steps: dict[str, Any] = {
            "provenance": value.provenance.add(run, resumed=training.position.total_steps > 0),
            "history": training.history,
            "scaling": reader.scaling,
            "feature_names": reader.feature_names,
            "objective": Objective() if reader.slope_weight is None else Objective(reader.slope_weight),
            **FITTED_TO_WEIGHTS,
            "novelty": None,
        }

    def draw(self) -> Chunk | None:
        """Draw the next chunk of minibatches; None if the training has ended.

        An epoch that is resumed may have none left: its training goes on with the next one.
        """
        return None if self.training.error else next((chunk for chunk in self.epochs if chunk is not None), None)

    def call_back(self) -> None:
        """Call the callbacks after a chunk, unless its steps have diverged."""
        if not self.training.error:
            next(self.epochs)

    def run_epochs(self) -> Iterator[Chunk | None]:
        """Yield each chunk of minibatches, for `move` to be called; and None after each, when callbacks were called."""
        plan, source, training = self.job.plan, self.job.data.train, self.training
        for epoch in range(training.position.epoch, plan.epochs + 1):
            if training.stopped:
                break
            for callback in plan.callbacks:
                callback.on_epoch_begin(epoch)
            # An epoch that is resumed draws the same minibatches again
            training.move(generator=training.position.generator or training.value.generator)
            self.started = time.perf_counter() - training.position.seconds
            minibatches, generator, order = (), training.position.generator, None  # where batches come as they are
            if self.n is not None:
                drawn = plan.sampling.draw(self.n, plan.batch_size, generator, training.position.order)
                minibatches, generator, order = drawn
            self.after_steps["generator"] = generator
            chunks = source.chunks(minibatches, self.most_steps, self.networks, epoch)
            for i, chunk in enumerate(skip_steps(chunks, training.position.steps)):
                if i > 0:
                    yield None
                yield self.set_rates(chunk)
                for callback in plan.callbacks:
                    callback.on_chunk_end(len(chunk.index))
            logs = training.position.row()
            training.history.rows.append(logs)
            training.position = training.position.next_epoch(order)
            for callback in plan.callbacks:
                callback.on_epoch_end(logs)  # may add to the logs
            yield None
        training.completed = True
        training.move(value=training.value.detached())  # or it would keep a joined state in memory

    def set_rates(self, chunk: Chunk) -> Chunk:
        """Set the learning rate of each step of the next chunk, and the number of examples in its minibatches."""
        plan, position = self.job.plan, self.training.position
        steps = range(position.total_steps, position.total_steps + len(chunk.index))
        lr = position.lr_scale * learning_rates(plan.lr, steps, self.total)
        size = chunk.index.shape[1]
        if self.n is not None:  # the minibatches may be shared, and those of the chunk parts of them
            size = min(plan.batch_size, self.n - position.steps * plan.batch_size)
        return chunk._replace(lr=lr, size=size)

    def move(self, chunk: Chunk, result: ChunkResult | None) -> None:
        """Move the training past a chunk, whose steps have been taken; end it with an error if they have diverged."""
        training, steps = self.training, len(chunk.index)
        if result is None:
            training.move(error=explain_divergence(self.job, training, chunk.lr))
            return
        changes, cost, weight, training.history.engine = result
        value = training.value._replace(**{**self.after_steps, **changes})
        if training.value.provenance.edited:
            value = value._replace(provenance=value.provenance._replace(edited=True))
        seconds = time.perf_counter() - self.started
        training.position = training.position.after_chunk(
            value, (steps, chunk.size), cost, weight, float(chunk.lr[-1]), seconds
        )


def explain_divergence(job: Job, training: Training, lr: np.ndarray) -> str:
    """Describe the error of steps that diverged, with their learning rates; they began at the training's position."""
    position, model = training.position, job.data.train.reader.model
    scales = model.scales_targets and model.scale is None and not model.standardize
    remedy = "standardize=True, which scales inputs and targets" if scales else "scale the inputs"
    first, last = position.total_steps + 1, position.total_steps + len(lr)
    steps = f"training diverged in epoch {position.epoch}, steps {first} to {last}"
    if needs_all_examples(job.plan.optimizer):
        remedy = f"Give {remedy}" if scales else "Scale the inputs"
    else:
        steps, remedy = f"{steps}, at lr={lr.max():g}", f"Give a smaller lr, or {remedy}"
    return f"{steps}: cost or weights are not finite; the network is as it was before these steps. {remedy}"
