"""Parsing the arguments of `train`; errors name the argument, its value, the choices and the remedy."""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, cast

import numpy as np

from xpnet._checks import choices, count, in_range, is_list, is_text, show
from xpnet._names import look_up
from xpnet.backends import AUTO
from xpnet.backends.base import Backend
from xpnet.core.model import Model
from xpnet.core.optimizers import OPTIMIZERS, LevenbergMarquardt, Optimizer, is_optimizer
from xpnet.core.schedules import Constant, Schedule
from xpnet.data.sampling import SAMPLING, Sampling
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import METRICS, Metric, of_function, top_k
from xpnet.training.callback import Callback

# By name, without those that wrap another optimizer
NAMED_OPTIMIZERS = {
    "lm" if kind is LevenbergMarquardt else name.lower(): kind
    for name, kind in OPTIMIZERS.items()
    if all(field.name != "optimizer" for field in fields(kind))  # type: ignore[arg-type]
}
MOST_THREADS = 10_000  # more than any machine's cores, and small enough for an int in C


# What may differ by member of an ensemble


def one_for_each(argument: str, value: Any, members: int) -> list[Any]:
    """Give each member its entry of a list, or all of them the same value.

    Examples
    --------
    >>> one_for_each("lr", 0.1, 3), one_for_each("lr", [0.1, 0.2], 2)
    ([0.1, 0.1, 0.1], [0.1, 0.2])
    """
    shape = getattr(value, "shape", ())
    if isinstance(value, np.ndarray):
        if len(shape) > 1:
            raise ArgumentError(f"{argument} has shape {shape}; give a number, or a list of {members}")
        value = value.tolist()
    if not is_list(value):
        return [value] * members
    if len(value) != members:
        raise ArgumentError(
            f"{argument} has {len(value)} entries, and the ensemble {members} members; give one for all of them, or a "
            "list with one for each"
        )
    return list(value)


def copies_for_each(callbacks: Any, members: int, remedy: str | None = None) -> list[list[Callback]]:
    """Copy a list of callbacks for each member, or call a function that makes them.

    `remedy` says what to do about a callback that cannot be copied; the default is to give a function.
    """
    if callable(callbacks) and not isinstance(callbacks, type):
        lists = [parse_callbacks("callbacks", callbacks(k)) for k in range(members)]
        every = [callback for part in lists for callback in part]
        if len({id(callback) for callback in every}) < len(every):
            raise ArgumentError("callbacks returns the same object for several members; make new ones in each call")
        return lists
    shared = parse_callbacks("callbacks", callbacks)
    for callback in shared:
        if callback.writes_files:
            function = f"callbacks=lambda k: [{type(callback).__name__}(f'member-{{k}}')]"
            raise ArgumentError(
                f"callbacks holds {callback!r}, and all members would write to the same place; "
                + (remedy or f"give a function of the member's number, as in {function}")
            )
    return [copy.deepcopy(shared) for _ in range(members)]


# The arguments one by one


def parse_sampling(argument: str, value: Any) -> Sampling:
    """Check a sampling, or find the one that a name stands for."""
    return value if isinstance(value, Sampling) else look_up(argument, value, SAMPLING)


def parse_rate(argument: str, value: Any) -> float:
    """Check a learning rate."""
    return in_range(argument, value, 0, math.inf, "0.01 is a usual one")


def parse_schedule(argument: str, lr: Any) -> Schedule:
    """Return a schedule as it is, and a number as a constant schedule."""
    if isinstance(lr, type):
        raise ArgumentError(f"{argument}={lr.__name__} is a class; give one of its objects, such as {lr.__name__}(0.1)")
    return cast(Schedule, lr) if callable(lr) else Constant(parse_rate(argument, lr))


def parse_optimizer(argument: str, value: Any) -> Optimizer:
    """Check an optimizer, or make the one that a name stands for, with its default options."""
    if isinstance(value, str):
        return look_up(argument, value, NAMED_OPTIMIZERS)()
    if not is_optimizer(value):
        raise ArgumentError(f"{argument}={show(value)} is not an optimizer; give an object, such as SGD(momentum=0.9)")
    return value


def needs_total(schedule: Schedule) -> bool:
    """Tell whether a schedule depends on the number of all steps; a function of the user's own may say so."""
    return getattr(schedule, "needs_total", True)


def learning_rates(schedule: Schedule, steps: range, total: int) -> np.ndarray:
    """Compute the learning rates of a range of steps.

    Raises
    ------
    ArgumentError
        If the schedule returns something that is not a rate. Exceptions that it raises are not caught.

    Examples
    --------
    >>> learning_rates(lambda step, total: 1.0 - step / total, range(1, 3), total=4)
    array([0.75, 0.5 ])
    """
    rates = [schedule(step, total) for step in steps]
    try:
        lr = np.array([float(rate) for rate in rates])
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"lr={schedule!r} must return a number ({error})") from error
    wrong = np.flatnonzero(~((lr >= 0.0) & (lr < np.inf)))
    if wrong.size:
        at = f"{lr[wrong[0]]} at step {steps[wrong[0]] + 1}"
        raise ArgumentError(f"lr must be a finite number of at least 0, but the schedule gave {at}")
    return lr


def check_schedule(schedule: Schedule, epochs: int, steps: int | None) -> None:
    """Check, before anything has changed, that a schedule can be called and returns a valid first rate.

    `steps` is the number of minibatches in an epoch, if that is known.
    """
    if steps is None and needs_total(schedule):
        raise ArgumentError(
            "lr is a schedule, which needs the number of steps, and train_data has no length; give steps"
        )
    try:
        learning_rates(schedule, range(min(1, epochs)), epochs * (steps or 0))
    except TypeError as error:
        raise ArgumentError(f"lr={schedule!r} must be a function of (step, total) ({error})") from error


def parse_callbacks(argument: str, value: Any) -> list[Callback]:
    """Check a list of callbacks."""
    if not is_list(value):
        raise ArgumentError(f"{argument}={show(value)} must be a list of callbacks, as in [EarlyStopping()]")
    for callback in value:
        if not isinstance(callback, Callback):
            raise ArgumentError(
                f"{argument} holds {callback!r}, which is not an object of a subclass of xpnet.Callback; "
                "give one, as in [EarlyStopping()]"
            )
        _check_hooks(type(callback))
        if not is_list(callback.adds) or not all(map(is_text, callback.adds)):
            raise ArgumentError(f"{type(callback).__name__}.adds={callback.adds!r} must be a tuple of names")
    if len({id(callback) for callback in value}) < len(value):
        raise ArgumentError(f"{argument} holds the same object twice; make a new one for each place")
    return list(value)


@cache
def _check_hooks(kind: type[Callback]) -> None:
    hooks = [name for name in dir(Callback) if name.startswith("on_")]
    for name in dir(kind):
        if name.startswith("on_") and name not in hooks:
            raise ArgumentError(f"{kind.__name__}.{name} would never be called; a callback has {', '.join(hooks)}")


def parse_metrics(argument: str, value: Any, model: Model | None = None) -> list[Metric]:
    """Parse metrics, each a name, a `Metric`, or a function (y_true, y_pred) -> number, which must suit the model."""
    if not is_list(value) or isinstance(value, Metric):
        raise ArgumentError(f'{argument}={show(value)} must be a list of metrics, as in ["accuracy"]')
    metrics = [_parse_metric(argument, item) for item in value]
    names = [metric.name for metric in metrics]
    for metric in metrics:
        taken = METRICS.get(metric.name, metric) != metric or metric.name in ("cost", "size")
        if taken or names.count(metric.name) > 1:
            raise ArgumentError(
                f"{argument} holds a metric called {metric.name!r}, which is taken; give it another name"
            )
    if model is not None:
        check_metrics(argument, metrics, model)
    return metrics


def check_metrics(argument: str, metrics: Sequence[Metric], model: Model) -> None:
    """Refuse metrics that are not for a network."""
    for metric in metrics:
        if metric.tasks and model.task not in metric.tasks:
            raise ArgumentError(
                f"{argument} holds {metric.name!r}, which is for {choices(metric.tasks)}; the task is {model.task!r}"
            )
        if metric.outputs > model.n_out:
            raise ArgumentError(f"{argument} holds {metric.name!r}, which needs {metric.outputs} outputs or more")
    if metrics:
        model.cost.require_point(argument)


def _parse_metric(argument: str, value: Any) -> Metric:
    if isinstance(value, Metric):
        return value
    if callable(value) and not isinstance(value, type):
        return of_function(value)
    if isinstance(value, str) and re.fullmatch(r"top_[1-9]\d*", value):
        return top_k(int(value[4:]))
    return look_up(argument, value, METRICS)


def parse_blas_threads(backend: Backend, threads: Any) -> int | str:
    """Check the number of threads that multiply matrices; some libraries manage these themselves."""
    if _parse_threads("blas_threads", threads) != AUTO and backend.threads_from is None:
        raise ArgumentError(
            f"blas_threads={threads!r} has no effect on backend={backend.name!r}, which has its own threads; leave it "
            "out, and restrict the process to fewer cores (taskset) if it should use fewer"
        )
    return threads


def parse_threads(backend: Backend, threads: Any) -> int | str:
    """Check the number of threads among which networks are divided."""
    if _parse_threads("threads", threads) != AUTO and not backend.on_host:
        raise ArgumentError(
            f"threads={threads!r} has no effect on {backend.device_name}, where all networks compute together; leave "
            "it out"
        )
    return threads


def _parse_threads(argument: str, threads: Any) -> int | str:
    try:
        return AUTO if isinstance(threads, str) and threads == AUTO else count(argument, threads, 1, MOST_THREADS + 1)
    except ValueError as error:
        raise ArgumentError(f'{error}, or "auto"') from None
