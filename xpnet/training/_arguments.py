"""Parsing the arguments of `train`; errors name the argument, its value, the choices and the remedy."""

import copy
import difflib
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, cast

import numpy as np

from xpnet._checks import choices, count, in_range, is_list, is_text, show
from xpnet._names import find_nearest, look_up
from xpnet.backends import AUTO
from xpnet.backends.base import Backend
from xpnet.core.model import Model
from xpnet.core.optimizers import OPTIMIZERS, Optimizer, is_optimizer
from xpnet.core.schedules import Constant, Schedule
from xpnet.data.sampling import SAMPLING, Sampling
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import METRICS, Metric, of_function, top_k
from xpnet.training.callback import Callback

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
        check_call(callbacks)
        lists = [parse_callbacks("callbacks", callbacks(k)) for k in range(members)]
        every = [callback for part in lists for callback in part]
        if len({id(callback) for callback in every}) < len(every):
            raise ArgumentError("callbacks returns the same object for several members; make new ones in each call")
        return lists
    shared = parse_callbacks("callbacks", callbacks)
    for callback in shared:
        if callback.writes_files:
            function = f"callbacks=lambda k: [{type(callback).__name__}(f'member-{{k}}')]"
            remedy = remedy or f"give a function of the member's number, as in {function}"
            raise ArgumentError(
                f"callbacks holds {callback!r}, and all members would write to the same place; {remedy}"
            )
    return [copy.deepcopy(shared) for _ in range(members)]


def check_call(callbacks: Callable[..., Any]) -> None:
    """Refuse a function that cannot be called with the number of a member."""
    try:
        inspect.signature(callbacks).bind(0)
    except TypeError as error:
        raise ArgumentError(
            f"callbacks={callbacks!r} must be a list of callbacks, or a function of the member's number that returns "
            f"one ({error})"
        ) from error
    except ValueError:  # it has no signature, as some functions written in C
        pass


def check_one_update(optimizers: Sequence[Optimizer]) -> None:
    """Refuse optimizers that differ in more than their numbers."""
    for k, optimizer in enumerate(optimizers[1:], 1):
        if optimizer.update != optimizers[0].update:
            raise ArgumentError(
                f"the optimizer of member {k} is {optimizer!r} and that of member 0 is {optimizers[0]!r}; members take "
                "their steps together, so give all of them one kind with the same options turned on"
            )


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
        named = {name.lower(): kind for name, kind in OPTIMIZERS.items() if not wraps(kind)}
        named["lm"] = named.pop("levenbergmarquardt")
        return look_up(argument, value, named)()
    if not is_optimizer(value):
        raise ArgumentError(f"{argument}={show(value)} is not an optimizer; give {suggest_optimizer(value)}, say")
    return value


def suggest_optimizer(value: Any) -> str:
    """Write the call that makes the optimizer that a name or a class probably means; SGD if it is unclear.

    Examples
    --------
    >>> suggest_optimizer("adamw"), suggest_optimizer("clip"), suggest_optimizer(0.9)
    ('AdamW()', 'Clip(SGD(), 1.0)', 'SGD(momentum=0.9)')
    """
    name = value.__name__ if isinstance(value, type) else value
    names = {kind.lower(): kind for kind in OPTIMIZERS}
    near = find_nearest(name, names) if isinstance(name, str) else None
    if near is None or names[near] == "SGD":
        return "SGD(momentum=0.9)"
    return f"{names[near]}({'SGD(), 1.0' if wraps(OPTIMIZERS[names[near]]) else ''})"


def wraps(kind: type[Optimizer]) -> bool:
    """Tell whether a class of optimizers wraps another optimizer."""
    return any(field.name == "optimizer" for field in fields(kind))  # type: ignore[arg-type]


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
        check_hooks(type(callback))
        if not is_list(callback.adds) or not all(map(is_text, callback.adds)):
            raise ArgumentError(f"{type(callback).__name__}.adds={callback.adds!r} must be a tuple of names")
    if len({id(callback) for callback in value}) < len(value):
        raise ArgumentError(f"{argument} holds the same object twice; make a new one for each place")
    return list(value)


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


@cache
def check_hooks(kind: type[Callback]) -> None:
    """Refuse methods that would never be called, or that expect other parameters."""
    name = kind.__name__
    hooks = {hook: inspect.signature(getattr(Callback, hook)) for hook in vars(Callback) if hook.startswith("on_")}
    for method, function in inspect.getmembers(kind, inspect.isfunction):
        if method not in hooks and method.startswith("on_") and difflib.get_close_matches(method, hooks, cutoff=0.7):
            raise ArgumentError(f"{name}.{method} would never be called; a callback has {', '.join(hooks)}")
        if method in hooks:
            try:
                inspect.signature(function).bind(*hooks[method].parameters)
                if list(inspect.signature(function).parameters)[1:3] == ["epoch", "logs"]:  # Keras's
                    raise ArgumentError("another order")
            except TypeError as error:
                raise ArgumentError(f"{name}.{method} must have the parameters {hooks[method]}") from error


def parse_blas_threads(backend: Backend, threads: Any) -> int | str:
    """Check the number of threads that multiply matrices; some libraries manage these themselves."""
    number = _parse_number_of_threads("blas_threads", threads)
    if number != AUTO and backend.threads_from is None:
        raise ArgumentError(
            f"blas_threads={threads!r} has no effect on backend={backend.name!r}, which has its own threads; leave it "
            "out, and restrict the process to fewer cores (taskset) if it should use fewer"
        )
    return number


def parse_threads(backend: Backend, threads: Any) -> int | str:
    """Check the number of threads among which networks are divided."""
    number = _parse_number_of_threads("threads", threads)
    if number != AUTO and not backend.on_host:
        raise ArgumentError(
            f"threads={threads!r} has no effect on {backend.device_name}, where all networks compute together; leave "
            "it out"
        )
    return number


def _parse_number_of_threads(argument: str, threads: Any) -> int | str:
    if isinstance(threads, str) and threads == AUTO:
        return threads
    try:
        return count(argument, threads, 1, MOST_THREADS + 1)
    except ValueError as error:
        raise ArgumentError(f'{error}, or "auto"') from None
