"""Parsing the arguments of `train`; errors name the argument, its value, the choices and the remedy."""

import copy
import difflib
import inspect
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, NamedTuple, cast

import numpy as np

from xpnet._checks import choices, count, in_range, is_list, is_text, show, yes_or_no
from xpnet._names import find_nearest, look_up
from xpnet.backends import AUTO
from xpnet.backends.base import Backend
from xpnet.core.model import Model
from xpnet.core.optimizers import OPTIMIZERS
from xpnet.core.optimizers.base import Optimizer, is_optimizer, needs_all_examples
from xpnet.core.schedules import Constant, Schedule
from xpnet.data.sampling import SAMPLING
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import METRICS, Metric, of_function, top_k
from xpnet.training._plan import Plan
from xpnet.training.callback import Callback
from xpnet.value import Value

BATCH_SIZE = 30  # unless given
MOST_THREADS = 10_000  # more than any machine's cores, and small enough for an int in C


class Request(NamedTuple):
    """The arguments of `train` as the user gave them, or their defaults; they are not checked yet."""

    train_data: Any
    epochs: int = 20
    batch_size: int | None = None
    lr: Sequence[float | Schedule | None] = (None,)  # one for each network, like optimizer and callbacks
    test_data: Any = None
    optimizer: Sequence[Optimizer | str | None] = (None,)
    sampling: str | None = None
    rows: Sequence[Any] | None = None  # for each network, those to train it on
    validation_rows: Sequence[Any] | None = None  # for each network, those to validate it on
    validation_data: Any = None
    validation_split: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    slopes: Any = None
    slope_weight: float = 1.0
    callbacks: Sequence[Sequence[Callback]] = ((),)
    metrics: Sequence[Any] = ()
    training_metrics: Sequence[Any] = ()
    steps: int | None = None
    cache: bool = True
    chunk_steps: int | None = None
    checkpoint: str | os.PathLike[str] | None = None
    every: str | int | timedelta | None = None
    resume: bool = False
    blas_threads: int | str = AUTO
    threads: int | str = AUTO
    distributed: Any = None
    progress: bool = True

    def without_watching(self) -> "Request":
        """Leave out what observes training, for a process that only shares the steps."""
        others = {"checkpoint": None, "every": None, "resume": False, "progress": False}
        nothing = {"validation_data": None, "test_data": None, "metrics": (), "training_metrics": ()}
        return self._replace(callbacks=[()], **nothing, **others)


class Parsed(NamedTuple):
    """The arguments of `train` that are not data, as objects."""

    plans: list[Plan]  # for each network, like callbacks
    callbacks: list[list[Callback]]
    metrics: list[Metric]
    training_metrics: list[Metric]
    blas_threads: int | str
    threads: int | str
    progress: bool


def parse(request: Request, optimizers: Sequence[Optimizer], first: Value) -> Parsed:
    """Check the arguments of `train` that are not data, and turn them into objects.

    Parameters
    ----------
    request
        The arguments.
    optimizers
        The optimizers that the networks have, which are the default.
    first
        One of the networks.
    """
    epochs = parse_epochs(request.epochs)
    batch_size = BATCH_SIZE if request.batch_size is None else count("batch_size", request.batch_size, 1)
    steps = None if request.steps is None else count("steps", request.steps, 1)
    chunk_steps = None if request.chunk_steps is None else count("chunk_steps", request.chunk_steps, 1)
    optimizers = [own if value is None else parse_optimizer(value) for own, value in zip(optimizers, request.optimizer)]
    check_one_update(optimizers)
    if needs_all_examples(optimizers[0]):
        _refuse_steps(optimizers[0], request)
    schedules = [
        parse_schedule(optimizer.default_lr if value is None else value)
        for optimizer, value in zip(optimizers, request.lr)
    ]
    sampling = look_up("sampling", "shuffle" if request.sampling is None else request.sampling, SAMPLING)
    return Parsed(
        plans=[
            Plan(epochs, batch_size, optimizer, schedule, sampling, steps=steps, chunk_steps=chunk_steps)
            for optimizer, schedule in zip(optimizers, schedules)
        ],
        blas_threads=parse_blas_threads(first.backend, request.blas_threads),
        threads=parse_threads(first.backend, request.threads),
        callbacks=[parse_callbacks(callbacks) for callbacks in request.callbacks],
        metrics=parse_metrics("metrics", request.metrics, first.model),
        training_metrics=parse_metrics("training_metrics", request.training_metrics, first.model),
        progress=yes_or_no("progress", request.progress),
    )


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
        lists = [parse_callbacks(callbacks(k)) for k in range(members)]
        every = [callback for part in lists for callback in part]
        if len({id(callback) for callback in every}) < len(every):
            raise ArgumentError("callbacks returns the same object for several members; make new ones in each call")
        return lists
    shared = parse_callbacks(callbacks)
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


def _refuse_steps(optimizer: Optimizer, request: Request) -> None:
    """Refuse arguments about steps that the optimizer chooses itself."""
    named = ("batch_size", request.batch_size), ("sampling", request.sampling), *(("lr", rate) for rate in request.lr)
    for name, value in named:
        if value is None:
            continue
        raise ArgumentError(
            f"{name}={value!r} is for other optimizers: {type(optimizer).__name__} uses all examples in every step, "
            "and chooses its length; leave it out, or give another optimizer"
        )


# The arguments one by one


def parse_epochs(value: Any) -> int:
    """Check the number of epochs; some users give the targets in its place."""
    if isinstance(value, (list, tuple)) or getattr(value, "shape", ()) != ():  # a number of NumPy has the shape ()
        raise ArgumentError("epochs is an array; X and y are given together, as in train((X, y), epochs=20)")
    return count("epochs", value, 0)


def parse_rate(argument: str, value: Any) -> float:
    """Check a learning rate."""
    return in_range(argument, value, 0, math.inf, "0.01 is a usual one")


def parse_schedule(lr: Any, argument: str = "lr") -> Schedule:
    """Return a schedule as it is, and a number as a constant schedule."""
    if isinstance(lr, type):
        raise ArgumentError(f"{argument}={lr.__name__} is a class; give one of its objects, such as {lr.__name__}(0.1)")
    return cast(Schedule, lr) if callable(lr) else Constant(parse_rate(argument, lr))


def parse_optimizer(value: Any) -> Optimizer:
    """Check an optimizer, or make the one that a name stands for, with its default options."""
    if isinstance(value, str):
        named = {name.lower(): kind for name, kind in OPTIMIZERS.items() if not wraps(kind)}
        named["lm"] = named.pop("levenbergmarquardt")
        return look_up("optimizer", value, named)()
    if not is_optimizer(value):
        raise ArgumentError(f"optimizer={show(value)} is not an optimizer; give {suggest_optimizer(value)}, say")
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


def parse_callbacks(value: Any) -> list[Callback]:
    """Check a list of callbacks."""
    if not is_list(value):
        raise ArgumentError(f"callbacks={show(value)} must be a list of callbacks, as in [EarlyStopping()]")
    for callback in value:
        if not isinstance(callback, Callback):
            raise ArgumentError(
                f"callbacks holds {callback!r}, which is not an object of a subclass of xpnet.Callback; "
                "give one, as in [EarlyStopping()]"
            )
        _check_hooks(callback)
    if len({id(callback) for callback in value}) < len(value):
        raise ArgumentError("callbacks holds the same object twice; make a new one for each place")
    return list(value)


def parse_metrics(argument: str, value: Any, model: Model) -> list[Metric]:
    """Parse metrics, each a name, a `Metric`, or a function (y_true, y_pred) -> number."""
    if not is_list(value) or isinstance(value, Metric):
        raise ArgumentError(f'{argument}={show(value)} must be a list of metrics, as in ["accuracy"]')
    metrics = [_parse_metric(argument, item) for item in value]
    for metric in metrics:
        if metric.tasks and model.task not in metric.tasks:
            raise ArgumentError(
                f"{argument} holds {metric.name!r}, which is for {choices(metric.tasks)}; the task is {model.task!r}"
            )
        if metric.outputs > model.n_out:
            raise ArgumentError(f"{argument} holds {metric.name!r}, which needs {metric.outputs} outputs or more")
    if metrics:
        model.cost.require_point(argument)
    names = [metric.name for metric in metrics]
    for metric in metrics:
        taken = METRICS.get(metric.name, metric) != metric or metric.name in ("cost", "size")
        if taken or names.count(metric.name) > 1:
            raise ArgumentError(
                f"{argument} holds a metric called {metric.name!r}, which is taken; give it another name"
            )
    return metrics


def _parse_metric(argument: str, value: Any) -> Metric:
    if isinstance(value, Metric):
        return value
    if callable(value) and not isinstance(value, type):
        return of_function(value)
    if isinstance(value, str) and re.fullmatch(r"top_[1-9]\d*", value):
        return top_k(int(value[4:]))
    return look_up(argument, value, METRICS)


def _check_hooks(callback: Callback) -> None:
    """Refuse methods that would never be called, or that expect other parameters."""
    name = type(callback).__name__
    hooks = {hook: inspect.signature(getattr(Callback, hook)) for hook in vars(Callback) if hook.startswith("on_")}
    for method, function in inspect.getmembers(type(callback), inspect.isfunction):
        if method not in hooks and method.startswith("on_") and difflib.get_close_matches(method, hooks, cutoff=0.7):
            raise ArgumentError(f"{name}.{method} would never be called; a callback has {', '.join(hooks)}")
        if method in hooks:
            try:
                inspect.signature(function).bind(*hooks[method].parameters)
                if list(inspect.signature(function).parameters)[1:3] == ["epoch", "logs"]:  # Keras's
                    raise ArgumentError("another order")
            except TypeError as error:
                raise ArgumentError(f"{name}.{method} must have the parameters {hooks[method]}") from error
    if not is_list(callback.adds) or not all(map(is_text, callback.adds)):
        raise ArgumentError(f"{name}.adds={callback.adds!r} must be a tuple of names")


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
        number = count(argument, threads, 1)
    except ValueError as error:
        raise ArgumentError(f'{error}, or "auto"') from None
    if number > MOST_THREADS:
        raise ArgumentError(f'{argument}={threads!r} must be at most {MOST_THREADS}, or "auto"')
    return number
