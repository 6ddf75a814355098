"""Metrics: numbers that say how good predictions are.

A metric is two functions. ``measure(y, a, task, xp)`` reduces a block of targets y and outputs a, both (m, n_out), to
some arrays on the device; ``combine(parts, sizes, backend)`` turns the arrays of all blocks, and their numbers of
examples, into one number. So memory is bounded, and the host waits for the device once. If a cost has several outputs
for each target, a holds their means or medians, (m, n_targets). `of_function` makes a metric from any function
(y_true, y_pred) -> number.

To add a metric, write its two functions and add it to `METRICS` at the end of this file.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import count
from xpnet.backends import Backend
from xpnet.core.arrays import Array, Namespace, Same, positions
from xpnet.core.model import Model
from xpnet.core.scaling import Moments, column_sums, merge_moments, moments
from xpnet.core.temperature import compute_log_loss, find_logits, sum_confidence_errors
from xpnet.errors import ArgumentError

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "calibrated_log_loss",
    "correct",
    "expected_calibration_error",
    "log_loss",
    "mean_absolute_error",
    "mean_r2",
    "mean_squared_error",
    "of_function",
    "predict_from_outputs",
    "predictions",
    "r2",
    "root_mean_squared_error",
    "top_k",
]

Parts = Sequence[tuple[Array, ...]]  # the contributions of all blocks of examples


class Metric(NamedTuple):
    """A number that says how good predictions are.

    Parameters
    ----------
    name
        Its name in a history.
    measure
        ``measure(y, a, task, xp)``: the contribution of a block of examples, a tuple of arrays.
    combine
        ``combine(parts, sizes, backend)``: the number, from the contributions of all blocks and their numbers of
        examples.
    tasks
        The tasks for which it is defined; empty for all.
    outputs
        The least number of outputs for which it is defined.
    better
        "min" if smaller is better, "max" if larger is, None if that is not known.
    whole
        Whether it is a whole number.

    Examples
    --------
    >>> y, a = np.eye(3)[[0, 1]], np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    >>> [int(hits) for hits in accuracy.measure(y, a, "classification", np)]
    [1]
    """

    name: str
    measure: Callable[[Array, Array, str, Namespace], tuple[Array, ...]]
    combine: Callable[[Parts, Sequence[int], Backend], float]
    tasks: tuple[str, ...] = ()
    outputs: int = 1
    better: str | None = None
    whole: bool = False


def predictions(a: Same, task: str, xp: Namespace) -> Same:
    """Turn outputs, or target rows, into classes, labels or values, as `Network.predict` returns them.

    Examples
    --------
    >>> predictions(np.array([[0.2, 0.7], [0.9, 0.4]]), "classification", np)
    array([1, 0])
    >>> predictions(np.array([[0.2, 0.7], [0.9, 0.6]]), "multilabel", np)
    array([[0, 1],
           [1, 1]])
    >>> predictions(np.array([[2.5], [-1.5]]), "regression", np)
    array([ 2.5, -1.5])
    """
    if task == "classification":
        return xp.argmax(a, axis=-1)
    if task == "regression":
        return a[..., 0] if a.shape[-1] == 1 else a
    labels = xp.astype(a > 0.5, xp.__array_namespace_info__().default_dtypes()["integral"])
    return labels[..., 0] if task == "binary" else labels


def predict_from_outputs(model: Model, a: Array, xp: Namespace) -> Array:
    """Turn outputs (m, n_out) of a network into classes, labels or values."""
    return predictions(model.cost.prediction(a, xp), model.task, xp)


def _hits(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    hits = predictions(a, task, xp) == predictions(y, task, xp)
    return (xp.count_nonzero(xp.all(hits, axis=-1) if task == "multilabel" else hits),)


def _absolute_errors(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    return (xp.mean(xp.abs(a - y)) * y.shape[0],)


def _squared_errors(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    return (xp.mean((a - y) ** 2) * y.shape[0],)


def _deviations(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, ...]:
    """Measure targets and errors in units of the largest target, so that float32 holds their squares."""
    largest = xp.max(xp.abs(y), axis=0)
    unit = xp.where(largest > 0, largest, xp.ones_like(largest))
    _, mean, squares, low, high = moments(y / unit, xp)
    return unit, mean, squares, low, high, column_sums(((y - a) / unit) ** 2, xp)


def _predictions(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, Array]:
    return predictions(y, task, xp), predictions(a, task, xp)


def _total(parts: Parts, sizes: Sequence[int], backend: Backend) -> int:
    return sum(int(part) for (part,) in parts)


def _mean(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
    return sum(float(part) for (part,) in parts) / sum(sizes)


def _root_mean(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
    return math.sqrt(_mean(parts, sizes, backend))


def mean_r2(errors: np.ndarray, spread: np.ndarray) -> float:
    """Compute R² of each target, and return the mean. A constant target scores 1 if it is predicted exactly, else 0.

    Parameters
    ----------
    errors
        Sum of the squared errors of each target, (n_targets,).
    spread
        Sum of the squared deviations of each target from its mean, (n_targets,).

    Examples
    --------
    >>> mean_r2(np.array([1.0, 0.0, 2.0]), np.array([4.0, 0.0, 0.0]))  # 0.75, 1 and 0
    0.5833333333333334
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(spread > 0, 1.0 - errors / spread, np.where(errors > 0, 0.0, 1.0))
    return float(scores.mean())


def _r2(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
    hosts = np.stack([np.stack([np.asarray(backend.to_numpy(array), np.float64) for array in part]) for part in parts])
    units, means, squares, lows, highs, errors = hosts.swapaxes(0, 1)
    ratios = units / units.max(axis=0)
    columns = means * ratios, squares * ratios**2, lows * ratios, highs * ratios
    whole = merge_moments([Moments(*block) for block in zip(sizes, *columns)])
    return mean_r2((errors * ratios**2).sum(axis=0), np.asarray(whole.squares))


@cache  # equal metrics are the same object
def top_k(k: int) -> Metric:
    """Make the metric "top_k": the fraction of examples whose class is among the k largest outputs.

    Of equal outputs the first one ranks higher, as in `Network.predict`, so top_k(1) is the accuracy.

    Examples
    --------
    >>> top_k(3).name
    'top_3'
    """
    count("k", k, 1)

    def measure(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
        places = positions(y[0, :], xp)
        label = xp.argmax(y, axis=-1, keepdims=True)
        output = xp.sum(xp.where(places == label, a, xp.zeros_like(a)), axis=-1, keepdims=True)
        before = (a > output) | ((a == output) & (places < label))
        return (xp.count_nonzero(xp.count_nonzero(before, axis=-1) < k),)

    return Metric(f"top_{k}", measure, _mean, ("classification",), outputs=k + 1, better="max")


def _log_loss(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    if task == "classification":  # sigmoid outputs need not add up to 1, and may all be 0
        total = xp.sum(a, axis=-1, keepdims=True)
        a = a / xp.where(total > 0, total, xp.ones_like(total))
    return (compute_log_loss(y, a, task, xp),)


def _calibration_errors(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    confidence = xp.max(a, axis=-1) if task == "classification" else xp.maximum(a, 1 - a)[:, 0]
    is_right = predictions(a, task, xp) == predictions(y, task, xp)
    return (sum_confidence_errors(confidence, is_right, xp),)


def _mean_calibration_error(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
    total = np.sum([np.asarray(backend.to_numpy(part), np.float64) for (part,) in parts], axis=0)
    return float(np.abs(total).sum()) / sum(sizes)


# Temperatures between which the best one is found: from predictions that are far too sure to ones that are not enough
TEMPERATURES = tuple(np.exp(np.linspace(-0.5, 2.5, 13)).tolist())


def _log_losses(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    """Sum the log losses of a block at each of the temperatures."""
    z = find_logits(a, task, xp)
    if task == "binary":  # of both classes
        y, z = xp.concat([1 - y, y], axis=-1), xp.concat([xp.zeros_like(z), z], axis=-1)
    z = z - xp.max(z, axis=-1, keepdims=True)
    of_targets = xp.sum(y * z)
    sums = (xp.sum(xp.log(xp.sum(xp.exp(z / t), axis=-1))) - of_targets / t for t in TEMPERATURES)
    return (xp.stack(list(sums)),)


def _least_log_loss(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
    """Find the least log loss, on the parabola through the three temperatures around it."""
    totals = np.stack([np.asarray(backend.to_numpy(part), np.float64) for (part,) in parts])
    losses = totals.sum(axis=0) / sum(sizes)
    k = int(np.clip(np.argmin(losses), 1, len(losses) - 2))
    left, middle, right = losses[k - 1 : k + 2]
    slope, curvature = (right - left) / 2, left - 2 * middle + right
    if abs(slope) >= curvature:  # the least one lies beyond the temperatures
        return float(losses.min())
    return float(middle - slope**2 / (2 * curvature))


def of_function(function: Callable[[Any, Any], Any]) -> Metric:
    """Make a metric from any function (y_true, y_pred) -> number.

    It is called once, with the predictions of all examples as `Network.predict` returns them, and targets in the same
    form, on the device.

    Examples
    --------
    >>> def worst(y_true, y_pred):
    ...     return abs(y_true - y_pred).max()
    >>> of_function(worst).name
    'worst'
    """
    name = getattr(function, "__name__", type(function).__name__).strip("<>")

    def combine(parts: Parts, sizes: Sequence[int], backend: Backend) -> float:
        y_true, y_pred = (backend.xp.concat(list(column), axis=0) for column in zip(*parts))
        value = function(y_true, y_pred)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"the metric {name} must return a number, but returned {value!r}") from error

    return Metric(name, _predictions, combine)


CLASSES = ("classification", "binary", "multilabel")

correct = Metric("correct", _hits, _total, CLASSES, better="max", whole=True)
accuracy = Metric("accuracy", _hits, _mean, CLASSES, better="max")
mean_absolute_error = Metric("mean_absolute_error", _absolute_errors, _mean, better="min")
mean_squared_error = Metric("mean_squared_error", _squared_errors, _mean, better="min")
root_mean_squared_error = Metric("root_mean_squared_error", _squared_errors, _root_mean, better="min")
r2 = Metric("r2", _deviations, _r2, ("regression",), better="max")

log_loss = Metric("log_loss", _log_loss, _mean, ("classification", "binary"), better="min")
expected_calibration_error = Metric(
    "expected_calibration_error",
    _calibration_errors,
    _mean_calibration_error,
    ("classification", "binary"),
    better="min",
)
calibrated_log_loss = Metric(
    "calibrated_log_loss", _log_losses, _least_log_loss, ("classification", "binary"), better="min"
)

METRICS = {
    metric.name: metric
    for metric in (
        *(accuracy, correct, top_k(3), top_k(5)),
        *(log_loss, calibrated_log_loss, expected_calibration_error),
        *(mean_absolute_error, mean_squared_error, root_mean_squared_error, r2),
        # The same under short names, which histories then show
        *(mean_absolute_error._replace(name="mae"), mean_squared_error._replace(name="mse")),
        root_mean_squared_error._replace(name="rmse"),
    )
}
