"""The arguments of `Network.train`, turned into objects; errors name argument, value, choices and remedy."""

import difflib
import inspect
import math
import re
from dataclasses import fields
from typing import Any, cast

from xpnet.core.model import Model
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.schedules import Constant, Schedule
from xpnet.training.callbacks import Callback
from xpnet.training.metrics import METRICS, Metric, of_function, top_k
from xpnet.wording.checks import choices, count, has_methods, in_range
from xpnet.wording.hints import find_nearest, look_up


def parse_epochs(value: Any) -> int:
    """Check the number of epochs, in whose place targets may have been given."""
    if isinstance(value, (list, tuple)) or getattr(value, "shape", ()) != ():  # a number of NumPy has the shape ()
        raise TypeError("epochs is an array; X and y are given together, as in train((X, y), epochs=20)")
    return count("epochs", value, 0)


def parse_rate(argument: str, value: Any) -> float:
    """Check a learning rate."""
    return in_range(argument, value, 0, math.inf, "0.01 is a usual one")


def parse_schedule(lr: Any, argument: str = "lr") -> Schedule:
    """Take a schedule as it is, and a number as a constant one."""
    if isinstance(lr, type):
        raise ValueError(f"{argument}={lr.__name__} is a class; give one of its objects, such as {lr.__name__}(0.1)")
    return cast(Schedule, lr) if callable(lr) else Constant(parse_rate(argument, lr))


def parse_optimizer(value: Any) -> Optimizer:
    """Check an optimizer."""
    if not is_optimizer(value):
        raise TypeError(f"optimizer={value!r} is not an optimizer; give {suggest_optimizer(value)}, say")
    return value


def suggest_optimizer(value: Any) -> str:
    """Write down the optimizer that a name or a class probably means, as it is made; SGD if it means none.

    Examples
    --------
    >>> suggest_optimizer("adam"), suggest_optimizer("clip"), suggest_optimizer(0.9)
    ('Adam()', 'Clip(SGD(), 1.0)', 'SGD(momentum=0.9)')
    """
    name = value.__name__ if isinstance(value, type) else value
    names = {kind.lower(): kind for kind in OPTIMIZERS}
    near = find_nearest(name, names) if isinstance(name, str) else None
    if near is None or names[near] == "SGD":
        return "SGD(momentum=0.9)"
    wraps = any(field.name == "optimizer" for field in fields(OPTIMIZERS[names[near]]))
    return f"{names[near]}({'SGD(), 1.0' if wraps else ''})"


def is_optimizer(value: Any) -> bool:
    """Tell whether an object has the methods of an optimizer."""
    return has_methods(value, "init", "update") and hasattr(value, "default_lr")


def parse_callbacks(value: Any) -> list[Callback]:
    """Check a list of callbacks."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"callbacks={value!r} must be a list of callbacks, as in [EarlyStopping()]")
    for callback in value:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks holds {callback!r}, which is not an object of a subclass of xpnet.Callback; "
                "give one, as in [EarlyStopping()]"
            )
        _check_hooks(callback)
    return list(value)


def parse_metrics(argument: str, value: Any, model: Model) -> list[Metric]:
    """Take metrics by name, as objects, or as functions (y_true, y_pred) -> number."""
    if isinstance(value, str) or not isinstance(value, (list, tuple)) or isinstance(value, Metric):
        raise TypeError(f'{argument}={value!r} must be a list of metrics, as in ["accuracy"]')
    metrics = [_parse_metric(argument, item) for item in value]
    for metric in metrics:
        if metric.tasks and model.task not in metric.tasks:
            raise ValueError(
                f"{argument} holds {metric.name!r}, which is for {choices(metric.tasks)}; the task is {model.task!r}"
            )
        if metric.outputs > model.n_out:
            raise ValueError(f"{argument} holds {metric.name!r}, which needs {metric.outputs} outputs or more")
    if metrics:
        model.cost.require_point(argument)
    names = [metric.name for metric in metrics]
    for metric in metrics:
        taken = METRICS.get(metric.name, metric) != metric or metric.name in ("cost", "size")
        if taken or names.count(metric.name) > 1:
            raise ValueError(f"{argument} holds a metric called {metric.name!r}, which is taken; give it another name")
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
    """Refuse methods that would never be called, or not with the parameters that they expect."""
    name = type(callback).__name__
    hooks = {hook: inspect.signature(getattr(Callback, hook)) for hook in vars(Callback) if hook.startswith("on_")}
    for method, function in inspect.getmembers(type(callback), inspect.isfunction):
        if method not in hooks and method.startswith("on_") and difflib.get_close_matches(method, hooks, cutoff=0.7):
            raise TypeError(f"{name}.{method} would never be called; a callback has {', '.join(hooks)}")
        if method in hooks:
            try:
                inspect.signature(function).bind(*hooks[method].parameters)
                if list(inspect.signature(function).parameters)[1:3] == ["epoch", "logs"]:  # Keras's
                    raise TypeError("another order")
            except TypeError as error:
                raise TypeError(f"{name}.{method} must have the parameters {hooks[method]}") from error
    if not isinstance(callback.adds, (tuple, list)) or not all(isinstance(added, str) for added in callback.adds):
        raise TypeError(f"{name}.adds={callback.adds!r} must be a tuple of names")
