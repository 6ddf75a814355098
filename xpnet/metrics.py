"""Metrics: numbers that say how good predictions are.

A metric is two functions. ``measure(y, a, task, xp)`` makes arrays of a block of targets y and outputs a, both
(m, n_out), on the device; ``combine(parts, sizes, backend)`` makes a number of what all blocks gave, of so many
examples each. So memory is bounded, and the host waits once. Any function (y_true, y_pred) -> number becomes one by
`of_function`.

To add a metric, write its two functions and put it into the table at the end.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from xpnet.arrays import Array, Namespace
from xpnet.backends import Backend
from xpnet.errors import count
from xpnet.scaling import Moments, column_sums, merge, moments


class Metric(NamedTuple):
    """A number that says how good predictions are.

    Parameters
    ----------
    name
        What it is called in a history.
    measure
        ``measure(y, a, task, xp)``: what a block of examples contributes, a tuple of arrays.
    combine
        ``combine(parts, sizes, backend)``: the number, from the tuples of all blocks and their numbers of examples.
    tasks
        The tasks that it is for; empty for all.
    outputs
        The least number of outputs for which it says something.

    Examples
    --------
    >>> y, a = np.eye(3)[[0, 1]], np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]])
    >>> [int(hits) for hits in accuracy.measure(y, a, "classification", np)]
    [1]
    """

    name: str
    measure: Callable[[Array, Array, str, Namespace], tuple[Array, ...]]
    combine: Callable[[Sequence[tuple[Array, ...]], Sequence[int], Backend], float]
    tasks: tuple[str, ...] = ()
    outputs: int = 1


def predictions(a: Array, task: str, xp: Namespace) -> Array:
    """Classes, labels or values that outputs (or target rows) stand for, as `Network.predict` returns them.

    Examples
    --------
    >>> predictions(np.array([[0.2, 0.7], [0.9, 0.4]]), "classification", np)
    array([1, 0])
    >>> predictions(np.array([[0.2, 0.7], [0.9, 0.6]]), "multilabel", np)
    array([[0, 1],
           [1, 1]])
    """
    if task == "classification":
        return xp.argmax(a, axis=-1)
    if task == "regression":
        return a
    labels = xp.astype(a > 0.5, xp.__array_namespace_info__().default_dtypes()["integral"])
    return labels[:, 0] if task == "binary" else labels


def _hits(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    hits = predictions(a, task, xp) == predictions(y, task, xp)
    return (xp.count_nonzero(xp.all(hits, axis=-1) if task == "multilabel" else hits),)


def _absolute_errors(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    return (xp.mean(xp.abs(a - y)) * y.shape[0],)


def _squared_errors(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
    return (xp.mean((a - y) ** 2) * y.shape[0],)


def _deviations(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, ...]:
    _, mean, squares, low, high = moments(y, xp)
    return mean, squares, low, high, column_sums((y - a) ** 2, xp)


def _total(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> int:
    return sum(int(part) for (part,) in parts)


def _share(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
    return sum(float(part) for (part,) in parts) / sum(sizes)


def _explained(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
    hosts = [[backend.to_numpy(array) for array in part] for part in parts]
    spread = merge([Moments(m, *host[:4]) for m, host in zip(sizes, hosts)]).squares
    errors = sum(np.asarray(host[4], np.float64) for host in hosts)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(spread > 0, 1.0 - errors / spread, np.where(errors > 0, 0.0, 1.0))
    return float(scores.mean())


@cache  # equal ones are the same
def top_k(k: int) -> Metric:
    """Share of the examples whose class is among the k largest outputs; called "top_3", say.

    Of equal outputs the first is the larger, as in `Network.predict`, so top_k(1) is the accuracy.

    Examples
    --------
    >>> top_k(3).name
    'top_3'
    """
    count("k", k, 1)

    def measure(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array]:
        places = xp.arange(y.shape[1], device=y.device)[None, :]
        label = xp.argmax(y, axis=-1, keepdims=True)
        output = xp.sum(xp.where(places == label, a, xp.zeros_like(a)), axis=-1, keepdims=True)
        before = (a > output) | ((a == output) & (places < label))
        return (xp.count_nonzero(xp.count_nonzero(before, axis=-1) < k),)

    return Metric(f"top_{k}", measure, _share, ("classification",), outputs=k + 1)


def of_function(function: Callable[[Any, Any], Any]) -> Metric:
    """Make a metric of any function (y_true, y_pred) -> number.

    It gets what `Network.predict` returns, and targets in the same form, of all examples together, on the device.

    Examples
    --------
    >>> def worst(y_true, y_pred):
    ...     return abs(y_true - y_pred).max()
    >>> of_function(worst).name
    'worst'
    """
    name = getattr(function, "__name__", type(function).__name__).strip("<>")

    def measure(y: Array, a: Array, task: str, xp: Namespace) -> tuple[Array, Array]:
        return predictions(y, task, xp), predictions(a, task, xp)

    def combine(parts: Sequence[tuple[Array, ...]], sizes: Sequence[int], backend: Backend) -> float:
        y_true, y_pred = (backend.xp.concat(list(each), axis=0) for each in zip(*parts))
        value = function(y_true, y_pred)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the metric {name} must give a number, but gave {value!r}") from error

    return Metric(name, measure, combine)


CLASSES = ("classification", "binary", "multilabel")

correct = Metric("correct", _hits, _total, CLASSES)
accuracy = Metric("accuracy", _hits, _share, CLASSES)
mean_absolute_error = Metric("mean_absolute_error", _absolute_errors, _share)
mean_squared_error = Metric("mean_squared_error", _squared_errors, _share)
r2 = Metric("r2", _deviations, _explained, ("regression",))

METRICS = {
    each.name: each for each in (accuracy, correct, top_k(3), top_k(5), mean_absolute_error, mean_squared_error, r2)
}
