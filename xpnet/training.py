"""The training loop: epochs of chunks of steps, and what is done when one goes wrong.

A chunk works on a copy of the network's state, which replaces the network's own only when the chunk has ended well.
So whatever happens in it (Ctrl-C, an exception, numbers that are not finite), the network is as it was before it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.arrays import map_arrays
from xpnet.backends import Backend
from xpnet.backprop import Batch, State
from xpnet.callbacks import Callback
from xpnet.data import Chunk, Sampling, Source
from xpnet.errors import DivergenceError
from xpnet.schedules import Schedule

if TYPE_CHECKING:
    from xpnet.network import Network


def train(
    net: "Network",
    step: Callable[..., State],
    source: Source,
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule,
    sampling: Sampling,
    callbacks: Sequence[Callback],
) -> None:
    """Run the epochs; `net.state` moves on after each chunk of steps. Synchronizes once a chunk.

    Parameters
    ----------
    net
        The network; its `state` must be of the structure that `step` takes.
    step
        One step of training.
    source
        The examples.
    epochs, batch_size
        How often the source is gone through, and how many examples a step takes.
    schedule
        Learning rate as a function of (step, total).
    sampling
        How minibatches are drawn.
    callbacks
        Told in this order.

    Raises
    ------
    DivergenceError
        If a cost or a weight is no longer finite.
    """
    steps = source.steps(sampling, batch_size)
    total = 0 if steps is None else epochs * steps
    most = steps_together(sum(w.shape[0] * w.shape[1] for w, _ in net.state.layers), batch_size)
    done = 0
    with ExitStack() as ending:
        for callback in callbacks:
            callback.on_train_begin({"epochs": epochs, "steps": steps})
            ending.callback(callback.on_train_end)
        for epoch in range(1, epochs + 1):
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            started, cost, seen, lr = time.perf_counter(), 0.0, 0, np.zeros(1)
            for chunk in source.chunks(sampling, net.rng, batch_size, most):
                lr = rates(schedule, range(done, done + len(chunk.index)), total)
                where = f"in epoch {epoch}, steps {done + 1} to {done + len(lr)}"
                net.state = run(net.backend, net.dtype, step, net.state, chunk, lr, where)
                cost += float(net.backend.to_numpy(net.state.cost).sum(dtype=np.float64))
                seen += chunk.index.size
                done += len(lr)
                for callback in callbacks:
                    callback.on_chunk_end(len(lr))
            seconds = time.perf_counter() - started
            logs: dict[str, Any] = {"epoch": epoch, "cost": cost / seen, "lr": float(lr[-1]), "seconds": seconds}
            logs["examples_per_second"] = seen / seconds
            for callback in callbacks:
                callback.on_epoch_end(logs)


def run(
    backend: Backend,
    dtype: str,
    step: Callable[..., State],
    state: State,
    chunk: Chunk,
    lr: np.ndarray,
    where: str,
) -> State:
    """Run the steps of a chunk on a copy of the state; its cost starts from zero. Synchronizes.

    Raises
    ------
    DivergenceError
        If the new state is not finite; `where` says in which steps.
    """
    batches = Batch(backend.asarray(chunk.index, "int32"), backend.asarray(lr, dtype))
    cost = backend.asarray(np.zeros(chunk.index.shape[1]), dtype)
    own = map_arrays(backend.own, state._replace(cost=cost))
    new = backend.fold(step, own, batches, chunk.examples)
    if not backend.all_finite([new.cost, *(array for layer in new.layers for array in layer)]):
        raise DivergenceError(
            f"training diverged {where}, at lr={lr.max():g}: cost or weights are not finite; the network is as it was "
            "before these steps. Give a smaller lr, or scale the inputs"
        )
    return new


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
        lr = np.array([float(schedule(step, total)) for step in steps])
    except TypeError as error:
        raise ValueError(
            f"lr={schedule!r} must be a function of (step, total) that gives a number ({error})"
        ) from error
    wrong = np.flatnonzero(~((lr >= 0.0) & (lr < np.inf)))
    if wrong.size:
        at = f"{lr[wrong[0]]} at step {steps[wrong[0]] + 1}"
        raise ValueError(f"lr must be a finite number of at least 0, but the schedule gave {at}")
    return lr


def steps_together(parameters: int, batch_size: int) -> int:
    """How many steps a chunk holds: enough that its overhead is lost in them, in well under a second if possible.

    Examples
    --------
    >>> steps_together(23_820, 10), steps_together(5_800_000, 512)
    (10000, 10)
    """
    return max(10, min(10_000, 10_000_000_000 // (parameters * batch_size)))
