"""What users may give for an argument, and what it then means; an error names argument, value, choices and remedy."""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from xpnet.activations import ACTIVATIONS
from xpnet.costs import COSTS
from xpnet.errors import in_range, unknown
from xpnet.optimizers import SGD, Optimizer
from xpnet.schedules import Constant, Schedule

# task -> (output activation, cost)
TASKS = {
    "classification": ("softmax", "cross_entropy"),
    "binary": ("sigmoid", "cross_entropy"),
    "multilabel": ("sigmoid", "cross_entropy"),
    "regression": ("identity", "quadratic"),
}
DTYPES = {"float32": "float32", "float64": "float64"}


def count(argument: str, given: object, least: int) -> int:
    """Check a whole number.

    Examples
    --------
    >>> count("epochs", 3, least=0)
    3
    """
    try:
        number = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(given, bool):
        raise ValueError(f"{argument}={given!r} must be a whole number of at least {least}")
    return number


def lookup(argument: str, given: object, table: Mapping[str, Any]) -> Any:
    """Find a named object, or raise a ValueError that names the choices.

    Examples
    --------
    >>> lookup("size", "small", {"small": 1, "large": 2})
    1
    """
    if isinstance(given, str) and given in table:
        return table[given]
    raise ValueError(unknown(argument, given, table))


def sizes(given: Any) -> list[int]:
    """Check the number of units of each layer."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ValueError(f"sizes={given!r} must list the number of units of each layer, as in [784, 30, 10]")
    units = [count(f"sizes[{l}]", size, 1) for l, size in enumerate(given)]
    if len(units) < 2:
        raise ValueError(f"sizes={units!r} must name at least two layers, inputs and outputs, as in [784, 30, 10]")
    return units


def hidden(given: Any, layers: int) -> list[str]:
    """One activation name for each hidden layer."""
    several = isinstance(given, (list, tuple))
    for name in given if several else [given]:
        lookup("activation", name, ACTIVATIONS)
    names = list(given) if several else [given] * layers
    if len(names) != layers:
        raise ValueError(f"activation={given!r} names {len(names)} layers, but there are {layers} hidden ones")
    return names


def output(activation: Any, cost: Any, task: Any, n_out: int) -> tuple[str, str, str]:
    """Names of output activation, cost and task, from those that are given."""
    if task is not None:
        meant = lookup("task", task, TASKS)
        for argument, given, means in (("output_activation", activation, meant[0]), ("cost", cost, meant[1])):
            if given is not None and given != means:
                raise ValueError(
                    f"{argument}={given!r} contradicts task={task!r}, which means {argument}={means!r}; "
                    "give one of the two"
                )
        activation, cost = meant
    activation = "sigmoid" if activation is None else activation
    cost = "quadratic" if cost is None else cost
    lookup("output_activation", activation, ACTIVATIONS)
    lookup("cost", cost, COSTS)
    if activation == "softmax" and n_out == 1:
        raise ValueError(
            'sizes ends in 1, but a softmax over 1 output is always 1; for two classes give 2 outputs, or task="binary"'
        )
    if task == "binary" and n_out != 1:
        raise ValueError(f'task="binary" has 1 output, but sizes ends in {n_out}; end it in 1, or task="multilabel"')
    return activation, cost, task or implied_task(activation, n_out)


def implied_task(activation: str, n_out: int) -> str:
    """Tell what an output layer stands for where no task was given."""
    if activation in ("identity", "relu"):
        return "regression"
    if n_out > 1:
        return "classification"
    return "binary" if activation == "sigmoid" else "regression"


def dtype(given: Any) -> str:
    """Name a dtype, given as a name or in the terms of any library."""
    if given is None or isinstance(given, str):
        return lookup("dtype", given, DTYPES)
    try:
        return lookup("dtype", np.dtype(given).name, DTYPES)
    except TypeError:
        return lookup("dtype", str(given).split(".")[-1], DTYPES)  # another library's, as in torch.float32


def generator(seed: Any) -> np.random.Generator:
    """Make the host generator of a seed."""
    try:
        return np.random.Generator(np.random.PCG64(seed))
    except (TypeError, ValueError) as error:
        raise ValueError(f"seed={seed!r} must be None or a whole number of at least 0") from error


def rate(argument: str, given: Any) -> float:
    """Check a learning rate."""
    in_range(argument, given, 0, math.inf, "0.01 is a usual one")
    return float(given)


def schedule(lr: Any) -> Schedule:
    """Take a schedule as it is, a number as a constant one."""
    if isinstance(lr, type):
        raise ValueError(f"lr={lr.__name__} is a class; give one of its objects, such as {lr.__name__}(0.1)")
    return cast(Schedule, lr) if callable(lr) else Constant(rate("lr", lr))


def optimizer(given: Any) -> Optimizer:
    """Check an optimizer; None is plain SGD."""
    if given is None:
        return SGD()
    if isinstance(given, type) or not all(hasattr(given, verb) for verb in ("init", "update", "default_lr")):
        raise TypeError(f"optimizer={given!r} is not an optimizer; give SGD(momentum=0.9), say")
    return given
