"""The training loop: epochs of chunks of steps, and what is done when one goes wrong.

A chunk works on a copy of the network's state, which replaces the network's own only when the chunk has ended well.
So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the network is as it was before it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xpnet.backends import Backend
from xpnet.backprop import State
from xpnet.callbacks import Callback, History, Training
from xpnet.data import Chunk, Kept, Sampling, Source
from xpnet.errors import DivergenceError
from xpnet.examples import Batch, gather
from xpnet.optimizers import Optimizer
from xpnet.scaling import Scaling
from xpnet.schedules import Schedule

if TYPE_CHECKING:
    from xpnet.network import Network

LOGS = ("epoch", "cost", "lr", "seconds", "examples_per_second")


class Plan(NamedTuple):
    """How to train."""

    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule  # learning rate as a function of (step, total)
    sampling: Sampling  # how minibatches are drawn
    scaling: Scaling | None = None  # what the source is scaled by
    alpha: float = 0.0  # adds α/2m ‖w‖² to the cost of a minibatch of m examples, or whose weights add up to m


def train(net: "Network", plan: Plan, source: Source, callbacks: Sequence[Callback]) -> None:
    """Run the epochs; `net.state` moves on after each chunk of steps. Synchronizes once a chunk.

    Parameters
    ----------
    net
        The network.
    plan
        How to train.
    source
        The examples.
    callbacks
        Told in this order. Nothing of the network has changed until all have been told that training begins.

    Raises
    ------
    DivergenceError
        If a cost or a weight is no longer finite.
    """
    steps = source.steps(plan.sampling, plan.batch_size)
    if steps is None and getattr(plan.schedule, "needs_total", True):
        raise ValueError("lr is a schedule, which needs the number of steps, and train_data has no length; give steps")
    total = plan.epochs * (steps or 0)
    rates(plan.schedule, range(min(1, total)), total)  # a look, before anything is changed
    training = Training(net, plan.epochs, steps, LOGS)
    begun: list[Callback] = []
    with ExitStack() as ending:
        ending.callback(_end, begun)
        for callback in callbacks:
            callback.on_train_begin(training)
            begun.append(callback)
            training.names += tuple(callback.adds)
        if plan.optimizer != net.optimizer:
            net.reset_optimizer(plan.optimizer)
        net.history = History()
        step, done = net.step(plan.optimizer), 0
        kept: dict[Any, Any] | None = {} if isinstance(source, Kept) else None  # other examples are new in each chunk
        for epoch in range(1, plan.epochs + 1):
            if training.stopped:
                break
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            logs, done = _epoch(training, plan, source, callbacks, step, epoch, done, kept)
            net.history.rows.append(logs)  # to which callbacks may add
            for callback in callbacks:
                callback.on_epoch_end(logs)
        training.completed = True


def _end(callbacks: Sequence[Callback]) -> None:
    """Tell each that training has ended, in order, whatever another does."""
    with ExitStack() as each:
        for callback in reversed(callbacks):
            each.callback(callback.on_train_end)


def _epoch(
    training: Training,
    plan: Plan,
    source: Source,
    callbacks: Sequence[Callback],
    step: Callable[..., State],
    epoch: int,
    done: int,
    kept: dict[Any, Any] | None,
) -> tuple[dict[str, Any], int]:
    """Run the chunks of an epoch, `done` steps after the first of all; returns its logs, and how many are done then."""
    net, total = training.net, plan.epochs * (training.steps or 0)
    most = steps_together(sum(w.shape[0] * w.shape[1] for w, _ in net.state.layers), plan.batch_size)
    started, cost, seen, weight, lr = time.perf_counter(), 0.0, 0, 0.0, np.zeros(1)
    for chunk in source.chunks(plan.sampling, net.rng, plan.batch_size, most):
        lr = training.lr_scale * rates(plan.schedule, range(done, done + len(chunk.index)), total)
        where = f"in epoch {epoch}, steps {done + 1} to {done + len(lr)}"
        net.state, weighed = advance(net.backend, net.dtype, step, net.state, chunk, lr, where, plan.alpha, kept)
        net.scaling = plan.scaling  # together with the first weights that have seen it
        cost += float(net.backend.to_numpy(net.state.cost).sum(dtype=np.float64))
        weight += weighed
        seen += chunk.index.size
        done += len(lr)
        for callback in callbacks:
            callback.on_chunk_end(len(lr))
    seconds = time.perf_counter() - started
    mean = cost / weight if weight else np.nan
    return dict(zip(LOGS, (epoch, mean, float(lr[-1]), seconds, seen / seconds))), done


def advance(
    backend: Backend,
    dtype: str,
    step: Callable[..., State],
    state: State,
    chunk: Chunk,
    lr: np.ndarray,
    where: str,
    alpha: float = 0.0,
    kept: dict[Any, Any] | None = None,
) -> tuple[State, float]:
    """Run the steps of a chunk; the cost starts from zero, and the state given stays as it is. Synchronizes.

    Returns the new state, and the sum of the examples' weights. A minibatch whose weights are all zero changes nothing.

    Raises
    ------
    DivergenceError
        If the new state is not finite; `where` says in which steps.
    """
    weights = totals(chunk, backend)
    live, weighed = weights > 0, float(weights.sum())
    cost = backend.asarray(np.zeros(chunk.index.shape[1]), dtype)
    if not live.any():
        return state._replace(cost=cost), 0.0
    index, flags = backend.asarray(chunk.index, "int32"), None if live.all() else backend.asarray(live)
    decay = backend.asarray(alpha / np.where(live, weights, 1.0), dtype) if alpha else None
    batches = Batch(index, backend.asarray(lr, dtype), flags, decay)
    new = backend.fold(step, gather, state._replace(cost=cost), batches, chunk.examples, kept)
    if not backend.all_finite([new.cost, *(array for layer in new.layers for array in layer)]):
        raise DivergenceError(
            f"training diverged {where}, at lr={lr.max():g}: cost or weights are not finite; the network is as it was "
            "before these steps. Give a smaller lr, or scale the inputs"
        )
    return new, weighed


def totals(chunk: Chunk, backend: Backend) -> np.ndarray:
    """Sum of the weights of each minibatch of a chunk, (steps,), on the host. Synchronizes if there are weights."""
    steps, m = chunk.index.shape
    if chunk.examples.weight is None:
        return np.full(steps, float(m))
    return backend.to_numpy(chunk.examples.weight)[chunk.index].sum(axis=1, dtype=np.float64)


def rates(schedule: Schedule, steps: range, total: int) -> np.ndarray:
    """Learning rates of some steps.

    Raises
    ------
    ValueError
        If the schedule is no function of (step, total), or what it gives is no rate.

    Examples
    --------
    >>> rates(lambda step, total: 1.0 - step / total, range(1, 3), total=4)
    array([0.75, 0.5 ])
    """
    try:
        given = [schedule(step, total) for step in steps]
    except TypeError as error:
        raise ValueError(f"lr={schedule!r} must be a function of (step, total) ({error})") from error
    try:
        lr = np.array([float(each) for each in given])
    except (TypeError, ValueError) as error:
        raise ValueError(f"lr={schedule!r} must give a number ({error})") from error
    wrong = np.flatnonzero(~((lr >= 0.0) & (lr < np.inf)))
    if wrong.size:
        at = f"{lr[wrong[0]]} at step {steps[wrong[0]] + 1}"
        raise ValueError(f"lr must be a finite number of at least 0, but the schedule gave {at}")
    return lr


def steps_together(parameters: int, batch_size: int) -> int:
    """How many steps a chunk holds: enough that its copy of the state is lost in them, in about a second if possible.

    Examples
    --------
    >>> steps_together(23_820, 10), steps_together(5_800_000, 512)
    (10000, 20)
    """
    return max(20, min(10_000, 30_000_000_000 // (parameters * batch_size)))
