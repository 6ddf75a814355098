"""Checkpoints of fits: where they are written, and what a fit must have in common with one that it resumes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from xpnet.backends.choose import to_host
from xpnet.core.arrays import blocks
from xpnet.data.fingerprint import digest
from xpnet.errors import ArgumentError
from xpnet.training.checkpointing import FileKind, Resumed, Saving, parse_saving
from xpnet.training.description import describe
from xpnet.training.plan import Job

# Parameters that a resumed fit may change; the number of epochs and the callbacks are compared on their own
FREE = {"backend", "device", "verbose", "progress", "warm_start", "max_iter", "callbacks"}


def parse_saving_of_fit(estimator: Any, kind: FileKind, checkpoint: Any, every: Any, resume: Any) -> Saving | None:
    """Check the arguments of `fit` that are about a checkpoint; None if there is to be none.

    Raises
    ------
    ArgumentError
        If the fit could not be resumed: because it has no epochs, or draws other numbers each time.
    """
    saving = parse_saving(kind, checkpoint, every, resume)
    if saving is None:
        return None
    if not hasattr(estimator, "partial_fit"):
        raise ArgumentError(
            f"checkpoint={saving.path!r} is for solvers that train epoch by epoch, which lbfgs does not; leave it out, "
            "or give solver='adam'"
        )
    require_seed(saving.path, estimator.random_state)
    return saving


def require_seed(checkpoint: Any, random_state: Any) -> None:
    """Check that a fit with a checkpoint draws the same numbers each time."""
    if not isinstance(random_state, (int, np.integer)):
        raise ArgumentError(
            f"checkpoint={checkpoint!r} needs random_state to be a whole number, not {random_state!r}: the fit that "
            "resumes it must draw the same initial weights, validation data and minibatches"
        )


def describe_estimator(estimator: Any) -> dict[str, Any]:
    """Describe an estimator by its class and its parameters, as plain values, except those that may change."""
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in FREE}
    return {"estimator": describe(type(estimator)), **_to_plain(parameters)}


def skip_epochs(jobs: Sequence[Job], resumed: Sequence[Resumed]) -> None:
    """Draw the minibatches of past epochs again, so that the generators of `random_state` are where they were."""
    for job, training in zip(jobs, resumed):
        for _ in range(training.start().position.epoch - 1):
            job.plan.sampling.draw(len(job.source), job.plan.batch_size, np.random.default_rng(0))  # type: ignore


def fingerprint(x: Any, targets: Any, weight: np.ndarray | None) -> dict[str, Any]:
    """Describe the examples of a fit by a digest of inputs, targets and weights. Synchronizes.

    Examples
    --------
    >>> x, y = np.eye(3), np.arange(3.0)
    >>> fingerprint(x, y, None) == fingerprint(x, y, None), fingerprint(x, y, None) == fingerprint(x, y + 1, None)
    (True, False)
    """
    columns = [x.data, x.indices, x.indptr, targets] if sparse.issparse(x) else [x, targets]
    if weight is not None:
        columns.append(weight)
    numbers = (np.asarray(to_host(block)) for column in columns for block in blocks(column))
    return {"examples": int(x.shape[0]), "digest": digest(numbers)}


def _to_plain(value: Any) -> Any:
    """Convert parameters to plain values, as in JSON; an object becomes its description.

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
    return describe(value)
