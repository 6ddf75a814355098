"""Checkpoints of fits: where they are written, and what a fit must have in common with one that it resumes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from xpnet.core.arrays import blocks
from xpnet.estimators.inputs import to_host
from xpnet.training.callback import Callback
from xpnet.training.checkpointing import (
    Checkpoint,
    Every,
    FileKind,
    Recorder,
    Resumed,
    name_parts,
    parse_checkpoint,
    read_trainings,
)
from xpnet.training.plan import Job, Plan
from xpnet.training.same_training import describe_optimizer
from xpnet.wording.checks import yes_or_no

# Parameters that a resumed fit may change; the number of epochs and the callbacks are compared on their own
FREE = {"backend", "device", "verbose", "progress", "warm_start", "max_iter", "callbacks"}


class Saving(NamedTuple):
    """The arguments of `fit` that are about a checkpoint, checked."""

    path: str
    every: Every
    resume: bool
    kind: FileKind
    call: dict[str, Any]  # the estimator's class and its parameters, as plain values


def parse_saving(estimator: Any, kind: FileKind, checkpoint: Any, every: Any, resume: Any) -> Saving | None:
    """Check the arguments of `fit` that are about a checkpoint; None if there is to be none.

    Raises
    ------
    ValueError
        If the fit could not be resumed: because it has no epochs, or draws other numbers each time.
    """
    path = parse_checkpoint(checkpoint, every, yes_or_no("resume", resume))
    if path is None:
        return None
    if not hasattr(estimator, "partial_fit"):
        raise ValueError(
            f"checkpoint={path!r} is for solvers that train epoch by epoch, which lbfgs does not; leave it out, or "
            "give solver='adam'"
        )
    if not isinstance(estimator.random_state, (int, np.integer)):
        raise ValueError(
            f"checkpoint={path!r} needs random_state to be a whole number, not {estimator.random_state!r}: the fit "
            "that resumes it must draw the same initial weights, validation data and minibatches"
        )
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in FREE}
    return Saving(path, every, resume, kind, {"estimator": type(estimator).__name__, **_to_plain(parameters)})


def make_checkpoint(
    saving: Saving,
    jobs: Sequence[Job],
    callbacks: Sequence[Sequence[Callback]],
    data: Mapping[str, Any],
    *,
    progress: bool,
) -> tuple[Checkpoint, list[Job]]:
    """Make the checkpoint of fits, and jobs that resume those in its file, if there are any.

    Parameters
    ----------
    saving
        Where and when to write it.
    jobs
        The networks of the fits, and how to train each.
    callbacks
        Those whose states the file holds, for each network.
    data
        The fingerprints of the training and the validation data.
    progress
        Whether to say that there is no file yet.
    """
    networks = [job.net for job in jobs]
    resumed: Sequence[Resumed | None] = [None] * len(jobs)
    if saving.resume:
        resumed = read_trainings(saving.path, networks, saving.kind, progress) or resumed
    recorders = []
    for job, own, training, name in zip(
        jobs, callbacks, resumed, name_parts(saving.path, len(jobs), saving.kind), strict=True
    ):
        call = {**saving.call, **data, "epochs": job.plan.epochs, "optimizer": describe_optimizer(job.plan.optimizer)}
        recorders.append(Recorder(job.net, own, job.plan.schedule, call, name, training))
    checkpoint = Checkpoint(saving.path, saving.every, recorders, saving.kind)
    resuming = []
    for job, training, recorder in zip(jobs, resumed, recorders):
        job = job._replace(callbacks=[*job.callbacks, recorder])
        if training is not None:
            job = job._replace(start=training.start())
            skip_epochs(job.plan, len(job.source), job.start.position.epoch - 1)  # type: ignore[arg-type]
        resuming.append(job)
    return checkpoint, resuming


def skip_epochs(plan: Plan, n: int, epochs: int) -> None:
    """Draw the minibatches of past epochs again, so that the generator of `random_state` is where it was."""
    for _ in range(epochs):
        plan.sampling.draw(n, plan.batch_size, np.random.default_rng(0))


def fingerprint(x: Any, targets: Any, weight: np.ndarray | None) -> dict[str, Any]:
    """Describe the examples of a fit by a digest of inputs, targets and weights. Synchronizes.

    Examples
    --------
    >>> x, y = np.eye(3), np.arange(3.0)
    >>> fingerprint(x, y, None) == fingerprint(x, y, None), fingerprint(x, y, None) == fingerprint(x, y + 1, None)
    (True, False)
    """
    digest, columns = hashlib.sha256(), [targets, *([] if weight is None else [weight])]
    columns = [x.data, x.indices, x.indptr, *columns] if sparse.issparse(x) else [x, *columns]
    for column in columns:
        for block in blocks(column):
            digest.update(np.ascontiguousarray(to_host(block)).tobytes())
    return {"examples": int(x.shape[0]), "digest": digest.hexdigest()}


def _to_plain(value: Any) -> Any:
    """Convert parameters to plain values, as in JSON; an object becomes its representation without addresses.

    Examples
    --------
    >>> _to_plain({"class_weight": {np.int64(1): np.float32(0.5)}, "hidden_layer_sizes": (5,)})
    {'class_weight': {'1': 0.5}, 'hidden_layer_sizes': [5]}
    """
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return f"{type(value).__name__} {getattr(value, '__qualname__', '') or repr(value).split(' at 0x')[0]}"
