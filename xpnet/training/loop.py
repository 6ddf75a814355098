"""The training loop: epochs, chunks of minibatches, steps.

`train_epochs` is the loop; it yields each chunk as a `Task`, and goes on when the task has been done. One network has
its tasks done by `train_alone`; `together` does the tasks of several networks in one program.

A chunk of steps works on a copy of the network's state. Only after the chunk has succeeded is the new state taken over
by the network. So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the network is as it was
before the chunk.
"""

import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from xpnet.backends.base import Speed, cast
from xpnet.backends.threads import AUTO
from xpnet.core.minibatch import Batch, Examples, make_minibatch
from xpnet.core.model import Model
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.schedules import Schedule
from xpnet.core.step import State, make_step
from xpnet.data.prepare import check_target_scale
from xpnet.data.reader import Reader
from xpnet.data.sampling import Sampling
from xpnet.data.sources import Chunk, Source, skip_steps
from xpnet.training.callbacks import Callback, Training
from xpnet.training.kept_loops import Loops, is_fixed
from xpnet.training.position import Position
from xpnet.wording.errors import DivergenceError, unless_stopped


class Plan(NamedTuple):
    """How to train."""

    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule  # the learning rate as a function of (step, total)
    sampling: Sampling
    threads: int | str = AUTO  # that multiply matrices, as in `choose_threads`
    alpha: float = 0.0  # adds α/2m ‖w‖² to the cost of a minibatch, m the sum of its examples' weights
    networks: int = 1  # that are trained in one program


@dataclass(slots=True)
class Task:
    """A chunk of steps to do. Whoever does it fills in the sums."""

    chunk: Chunk
    lr: np.ndarray  # the learning rate of each step
    where: str  # describes the steps in error messages
    alpha: float = 0.0  # as in `Plan`
    cost: float = 0.0  # sum over the examples of the chunk, of their costs times weights
    weight: float = 0.0  # sum of their weights
    engine: str = ""  # how the steps ran


def train_alone(
    plan: Plan,
    source: Source,
    training: Training,
    callbacks: Sequence[Callback],
    rng: np.random.Generator,
    loops: Loops | None = None,
) -> Iterator[State]:
    """Train one network, and yield its state after each chunk of steps. Synchronizes once per chunk.

    The parameters are those of `train_epochs` and `ChunkRunner`. Each chunk begins with ``training.net.state``, which
    callbacks may have changed, so whoever iterates must take over the state that is yielded.

    Raises
    ------
    DivergenceError
        If a cost or a weight is no longer finite.
    """
    runner = ChunkRunner(source.reader, plan.optimizer, plan.alpha, loops)
    for number, task in enumerate(train_epochs(plan, source, training, callbacks, rng)):
        if number == 0:
            check_targets([task], source.reader)
        state, task.cost, task.weight = runner.run(training.net.state, task.chunk, task.lr, task.where)
        task.engine = runner.loop.engine
        yield state


def train_epochs(
    plan: Plan, source: Source, training: Training, callbacks: Sequence[Callback], rng: np.random.Generator
) -> Iterator[Task]:
    """Run stochastic gradient descent, and yield each chunk of steps, to be done.

    Parameters
    ----------
    plan
        How to train.
    source
        The examples.
    training
        The call to `train`. It begins at ``training.position``, and ``training.history`` gets a row for each epoch.
    callbacks
        Told of epochs and chunks, in order.
    rng
        Draws the minibatches.
    """
    model, speed = source.reader.model, source.reader.backend.speed
    most = steps_per_chunk(model, source.batch_size(plan.batch_size), speed, plan.networks)
    n_steps = total_steps(plan, training)
    source.skip_epochs(training.position.epoch - 1)
    for epoch in range(training.position.epoch, plan.epochs + 1):
        if training.stopped:
            break
        for callback in callbacks:
            callback.on_epoch_begin(epoch)
        position = begin_epoch(training.position, rng)
        started = time.perf_counter() - position.seconds
        chunks = source.chunks(plan.sampling, rng, plan.batch_size, most, plan.networks)
        for chunk in skip_steps(chunks, position.steps):
            steps = range(position.total_steps, position.total_steps + len(chunk.index))
            lr = training.lr_scale * learning_rates(plan.schedule, steps, n_steps)
            task = Task(chunk, lr, f"in epoch {epoch}, steps {steps.start + 1} to {steps.stop}", plan.alpha)
            yield task
            training.history.engine = task.engine
            seconds = time.perf_counter() - started
            position = position.after_chunk(chunk.index.shape, task.cost, task.weight, float(lr[-1]), seconds)
            training.position = position
            for callback in callbacks:
                callback.on_chunk_end(len(steps))
        logs = position.row()
        training.history.rows.append(logs)
        training.position = position.next_epoch()
        for callback in callbacks:
            callback.on_epoch_end(logs)  # may add to the logs
    training.completed = True


def check_targets(tasks: Iterable[Task], reader: Reader) -> None:
    """Warn, once for several networks, if the targets of first chunks are not on the scale that the cost needs."""
    examples = {id(task.chunk.examples): task.chunk.examples for task in tasks if task.chunk.scaling is None}
    check_target_scale([part.y for part in examples.values()], reader)


def begin_epoch(position: Position, rng: np.random.Generator) -> Position:
    """Remember the state of the generator; or go back to it, to draw the minibatches of an epoch again."""
    if position.generator is not None:
        rng.bit_generator.state = position.generator
    return position._replace(generator=dict(rng.bit_generator.state))


class ChunkRunner:
    """Runs the steps of chunks.

    Parameters
    ----------
    reader
        Says for which model, and where and in which dtype to compute.
    optimizer
        The optimizer.
    alpha
        As in `Plan`.
    loops
        Loops of earlier trainings of the same networks, if any.
    networks
        The numbers of the networks that are trained together.
    """

    def __init__(
        self,
        reader: Reader,
        optimizer: Optimizer,
        alpha: float = 0.0,
        loops: Loops | None = None,
        networks: tuple[int, ...] = (),
    ) -> None:
        self.backend, self.dtype, self.alpha = reader.backend, reader.dtype, alpha
        self.scope, self.encoding = reader.scope, reader.encoding()
        step = make_step(reader.model.sigmas, reader.model.output, optimizer.update)
        make = partial(self.backend.loop, step, make_minibatch)
        if loops is not None and is_fixed(step):
            self.loop = loops.find((optimizer.update, networks), make)
        else:
            self.loop = make()
        self.examples: Examples | None = None

    def run(self, state: State, chunk: Chunk, lr: np.ndarray, where: str) -> tuple[State, float, float]:
        """Run the steps of a chunk on a copy of the state. Synchronizes.

        A minibatch whose weights are all zero is left out: it would change nothing.

        Parameters
        ----------
        state
            The state; it stays as it is.
        chunk
            The minibatches.
        lr
            Learning rate of each step.
        where
            Describes the steps in error messages.

        Returns
        -------
        state : State
            The new state.
        cost, weight : float
            Sums over the examples of the chunk: of their costs times weights, and of their weights.

        Raises
        ------
        DivergenceError
            If the new state is not finite.
        """
        with self.scope():
            weights = minibatch_weights(chunk.index, self._find_weights(chunk.examples))
            used = weights > 0
            if not used.any():
                return state, 0.0, 0.0
            batches = Batch(
                index=chunk.index[used],
                lr=cast(lr[used], self.dtype),
                decay=cast(self.alpha / weights[used], self.dtype) if self.alpha else None,
            )
            new = self.repeat(state, chunk.examples, chunk.scaling, batches)
            if not self.backend.all_finite([new.cost, *(array for layer in new.layers for array in layer)]):
                raise explain_divergence(where, lr)
            return new, float(self.backend.to_numpy(new.cost).sum(dtype=np.float64)), float(weights.sum())

    def repeat(self, state: State, examples: Examples, scaling: Scaling | None, batches: Batch) -> State:
        """Repeat the step for every batch, on a copy of the state. The new state holds the costs of these steps."""
        with self.scope():
            cost = self.backend.asarray(np.zeros(batches.index.shape[1:]), self.dtype)
            return self.loop(state._replace(cost=cost), batches, (examples, self.encoding._replace(scaling=scaling)))

    def _find_weights(self, examples: Examples) -> np.ndarray | None:
        """Bring the weights of examples to the host, once for all chunks of them."""
        if examples is not self.examples:
            self.examples = examples
            self.weights = None if examples.weight is None else self.backend.to_numpy(examples.weight)
        return self.weights


def explain_divergence(where: str, lr: np.ndarray, member: int | None = None) -> DivergenceError:
    """Make the error for steps after which a network, or a member of an ensemble, is not finite."""
    of_whom = "" if member is None else f" of member {member}"
    return DivergenceError(
        f"training{of_whom} diverged {where}, at lr={lr.max():g}: cost or weights are not finite; the network is as it "
        "was before these steps. Give a smaller lr, or scale the inputs"
    )


def minibatch_weights(index: np.ndarray, example_weights: np.ndarray | None) -> np.ndarray:
    """Sum the weights of the examples in each minibatch, from their indices (..., m)."""
    *steps, m = index.shape
    if example_weights is None:
        return np.full(steps, float(m))
    return example_weights[index].sum(axis=-1, dtype=np.float64)


def total_steps(plan: Plan, training: Training) -> int:
    """Number of steps of the whole call to `train`; 0 if it is not known."""
    return plan.epochs * (training.steps or 0)


def check_schedule(plan: Plan, training: Training) -> None:
    """Check, before anything is changed, that the schedule can be used and gives a first rate."""
    if training.steps is None and getattr(plan.schedule, "needs_total", True):
        raise ValueError("lr is a schedule, which needs the number of steps, and train_data has no length; give steps")
    total = total_steps(plan, training)
    try:
        inspect.signature(plan.schedule).bind(0, total)
    except unless_stopped(TypeError) as error:
        raise ValueError(f"lr={plan.schedule!r} must be a function of (step, total) ({error})") from error
    except unless_stopped(ValueError):  # it has no signature, as some functions written in C
        pass
    learning_rates(plan.schedule, range(min(1, plan.epochs)), total)


def learning_rates(schedule: Schedule, steps: range, total: int) -> np.ndarray:
    """Compute the learning rates of some steps.

    Raises
    ------
    ValueError
        If the schedule returns something that is not a rate. Its own errors surface.

    Examples
    --------
    >>> learning_rates(lambda step, total: 1.0 - step / total, range(1, 3), total=4)
    array([0.75, 0.5 ])
    """
    rates = [schedule(step, total) for step in steps]
    try:
        lr = np.array([float(rate) for rate in rates])
    except unless_stopped(TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"lr={schedule!r} must give a number ({error})") from error
    wrong = np.flatnonzero(~((lr >= 0.0) & (lr < np.inf)))
    if wrong.size:
        at = f"{lr[wrong[0]]} at step {steps[wrong[0]] + 1}"
        raise ValueError(f"lr must be a finite number of at least 0, but the schedule gave {at}")
    return lr


def steps_per_chunk(model: Model, batch_size: int, speed: Speed, networks: int = 1) -> int:
    """Choose how many steps a chunk holds: about a tenth of a second of them, or more where copying the state costs.

    The estimate of a step's time is rough, and for one core; it uses no clock, so that the same training has the same
    chunks. It counts the calls of the operations, passes over the weights, and the products.

    Parameters
    ----------
    model
        The network without its numbers.
    batch_size
        Examples in a minibatch.
    speed
        `Backend.speed`.
    networks
        The number of networks that are trained in one program.

    Examples
    --------
    >>> from xpnet import Network, get_backend
    >>> small, large = Network([784, 30, 10]).view.model, Network([784, 2048, 2048, 10]).view.model
    >>> speed = get_backend("numpy").speed
    >>> steps_per_chunk(small, 10, speed), steps_per_chunk(large, 512, speed)
    (1566, 20)
    """
    n_weights = networks * model.n_weights
    step = speed.layer * len(model.shapes) + n_weights * (speed.weight + speed.product * batch_size)
    return max(FEWEST, int(max(CHUNK_SECONDS, speed.copies * n_weights) / step))


CHUNK_SECONDS = 0.1
FEWEST = 20  # steps
