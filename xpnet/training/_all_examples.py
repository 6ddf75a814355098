"""Requirements of all optimizers that take all examples in each step; each may require more of a network."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from xpnet._checks import warn
from xpnet.backends import require_bytes, to_host
from xpnet.backends.base import Backend
from xpnet.core.arrays import leaves, rows_per_block
from xpnet.core.model import Model, count_parameters
from xpnet.core.optimizers import Optimizer
from xpnet.data.sampling import LAST_APART, count_minibatches
from xpnet.errors import ArgumentError
from xpnet.training._plan import Job
from xpnet.training._warnings import warn_of_no_step
from xpnet.training.callback import Callback, Training

ROWS_ON_HOST = 2048  # examples in a part on the host, where few stay in the cache
ROWS_ON_DEVICE = 8192  # on a device, where a few large steps cost less than many small ones


def check_all_examples(jobs: Sequence[Job]) -> None:
    """Check jobs whose optimizer needs all examples in every step; warn if it will learn the noise of the targets.

    Raises
    ------
    ArgumentError
        If the optimizer cannot train such a network, or with such data.
    MemoryError
        If the machine has not enough memory.
    """
    optimizer, reader = jobs[0].plan.optimizer, jobs[0].data.train.reader
    name, model = type(optimizer).__name__, reader.model
    for job in jobs:
        refuse_rates(job.plan.callbacks, name)
    if any(model.dropout):
        raise ArgumentError(
            f"{name} does not go with dropout={list(model.dropout)}; leave dropout out, and give weight_decay or "
            "validation data instead"
        )
    if check_network := getattr(optimizer, "check_network", None):
        to_array = partial(reader.backend.asarray, dtype=reader.dtype)
        with reader.scope():
            check_network(model, reader.dtype, to_array, reader.backend.xp, reader.slope_weight)
    check_machine(optimizer, reader.backend, model, len(jobs), slopes=reader.slope_weight is not None)
    for warning in [text for text in map(explain_noise, jobs) if text][:1]:
        warn(warning)


def divide_epoch(job: Job) -> Job:
    """Return the job for epochs of one step; or of several, in order, if the optimizer adds parts of the examples up.

    Then the rate is 0 before the last part, and 1 there. No part may be without weight, as it would be skipped.
    """
    source = job.data.train.require_stored(repr(job.plan.optimizer))
    n, reader, weight = len(source), source.reader, source.weight
    rows = min(ROWS_ON_HOST if reader.backend.on_host else ROWS_ON_DEVICE, rows_per_block(reader.model.n_in))
    is_whole = rows >= n or getattr(job.plan.optimizer.update, "add", None) is None
    if is_whole or (weight is not None and not np.add.reduceat(weight, range(0, n, rows)).all()):
        return job._replace(plan=job.plan.complete(batch_size=n))
    parts = count_minibatches(n, rows)

    def rate(step: int, total: int) -> float:
        return float(step % parts == parts - 1)

    return job._replace(plan=job.plan.complete(batch_size=rows, sampling=LAST_APART, lr=rate))


def check_machine(
    optimizer: Optimizer, backend: Backend, model: Model, networks: int = 1, *, slopes: bool = False
) -> None:
    """Refuse a library without the linear algebra that the optimizer uses, and too large networks."""
    name = type(optimizer).__name__
    names = getattr(optimizer, "linalg", ())  # of functions in the extension linalg of the array API standard
    missing = [function for function in names if not hasattr(getattr(backend.xp, "linalg", None), function)]
    if missing:
        raise ArgumentError(
            f"{name} needs linalg.{', linalg.'.join(missing)}, which backend={backend.name} lacks; give "
            'another optimizer, such as LBFGS(), or a network with backend="numpy"'
        )
    bytes_needed = getattr(optimizer, "bytes_needed", None)
    if bytes_needed is not None and backend.on_host:
        require_bytes(
            networks * bytes_needed(model, slopes=slopes),
            f"{name} with the {count_parameters(model.sizes):,} weights and biases of {list(model.sizes)} needs",
            "give another optimizer, such as LBFGS(), or a smaller network",
        )


def explain_noise(job: Job) -> str:
    """Format the optimizer's warning that it will learn the noise of the targets; "" if it has none."""
    source = job.data.train.require_stored(repr(job.plan.optimizer))
    validates = any(name.startswith("validation_") for callback in job.plan.callbacks for name in callback.adds)
    explain: Callable[..., str] | None = getattr(job.plan.optimizer, "explain_noise", None)
    if validates or explain is None:
        return ""
    model = source.reader.model
    rows = source.number(np.arange(len(source)))
    # Only those with a weight are fitted, and each once, however often it was drawn
    rows = np.unique(rows if source.weight is None else rows[source.weight > 0])
    n_targets = len(rows) * model.n_targets
    if source.reader.slope_weight is not None:
        is_known = ~np.isnan(to_host(source.examples.slopes)[rows])
        n_targets += np.count_nonzero(is_known * np.asarray(source.reader.slope_weight))
    return explain(model, n_targets, job.plan.alpha / len(source))


def warn_if_unmoved(jobs: Sequence[Job], trainings: Sequence[Training]) -> None:
    """Warn of the first training that has ended with the weights with which it began. Synchronizes."""
    for job, training in zip(jobs, trainings):
        before, after, backend = job.start.value.layers, training.value.layers, training.value.backend
        pairs = [(backend.to_numpy(x), backend.to_numpy(y)) for x, y in zip(leaves(before), leaves(after))]
        if not (job.start.has_begun or training.error) and all((x == y).all() for x, y in pairs):
            warn_of_no_step(type(job.plan.optimizer).__name__, training.history)
            return


def refuse_rates(callbacks: Sequence[Callback], name: str) -> None:
    """Refuse a callback that changes learning rates."""
    for callback in callbacks:
        if callback.changes_rate:
            raise ArgumentError(
                f"{type(callback).__name__} is for other optimizers: {name} has no learning rate; leave it out"
            )
