"""What users may give for an argument, and what it then means; an error names argument, value, choices and remedy."""

import difflib
import inspect
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from xpnet.activations import Activation
from xpnet.callbacks import Callback
from xpnet.costs import Cost
from xpnet.errors import choices, count, in_range, unknown
from xpnet.initializers import Initializer
from xpnet.metrics import METRICS, Metric, of_function, top_k
from xpnet.names import ACTIVATIONS, ACTIVATIONS_OF, COSTS, COSTS_OF, DTYPES, INITIALIZERS, TASKS
from xpnet.optimizers import Optimizer
from xpnet.schedules import Constant, Schedule


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


def activation(argument: str, given: Any) -> Activation:
    """Take an activation by name, or a user's own object with the two functions.

    Examples
    --------
    >>> activation("activation", "relu").name, activation("activation", "leaky_relu(0.2)").name
    ('relu', 'leaky_relu(0.2)')
    """
    found = given
    if not isinstance(given, Activation):
        if not _has(given, "value", "pullback"):
            return _of_name(argument, given, ACTIVATIONS, ACTIVATIONS_OF)
        bounds = {name: getattr(given, name) for name in ("low", "high", "total") if hasattr(given, name)}
        found = Activation(_name(given), given.value, given.pullback, **bounds)
    return _not_taken(argument, found, ACTIVATIONS)


def cost(given: Any, argument: str = "cost") -> Cost:
    """Take a cost by name, or a user's own object with the two functions."""
    found = given
    if not isinstance(given, Cost):
        if not _has(given, "value", "gradient"):
            return _of_name(argument, given, COSTS, COSTS_OF)
        found = Cost(_name(given), given.value, given.gradient)
    return _not_taken(argument, found, COSTS)


def hidden(given: Any, layers: int) -> list[Activation]:
    """One activation for each hidden layer."""
    several = isinstance(given, (list, tuple)) and not isinstance(given, Activation)
    found = [activation("activation", each) for each in (given if several else [given] * max(1, layers))]
    if several and len(found) != layers:
        raise ValueError(
            f"activation={given!r} names {len(found)} layers, but there are {layers} hidden ones; give as many"
        )
    return found[:layers]


def output(given: Any, given_cost: Any, task: Any, n_out: int) -> tuple[Activation, Cost, str]:
    """Output activation, cost and task, from those that are given; names must go with the task."""
    if task is not None:
        meant = lookup("task", task, TASKS)
        for argument, value, fit in (
            ("output_activation", given, meant.activations),
            ("cost", given_cost, meant.costs),
        ):
            name = str(value if isinstance(value, str) else getattr(value, "name", "")).partition("(")[0]
            if name in {**ACTIVATIONS, **COSTS} and name not in fit:
                raise ValueError(
                    f"{argument}={value!r} contradicts task={task!r}, which goes with {choices(fit)}; "
                    "leave one of the two out"
                )
        given_cost = meant.costs[0] if given_cost is None else given_cost
        accepted = cost(given_cost).outputs or meant.activations
        given = next((name for name in accepted if name in meant.activations), accepted[0]) if given is None else given
    sigma = activation("output_activation", "sigmoid" if given is None else given)
    chosen = cost("quadratic" if given_cost is None else given_cost)
    if sigma.name == "softmax" and n_out == 1:
        raise ValueError(
            'sizes ends in 1, but a softmax over 1 output is always 1; for two classes give 2 outputs, or task="binary"'
        )
    if task == "binary" and n_out != 1:
        raise ValueError(f'task="binary" has 1 output, but sizes ends in {n_out}; end it in 1, or task="multilabel"')
    return sigma, chosen, task or implied_task(sigma, n_out)


def implied_task(sigma: Activation, n_out: int) -> str:
    """Tell what an output layer stands for where no task was given."""
    if sigma.high == math.inf:
        return "regression"
    if n_out > 1:
        return "classification"
    return "binary" if sigma.name == "sigmoid" else "regression"


def initializer(given: Any) -> Initializer | None:
    """Take an initializer by name, or a function (rng, n_in, n_out) -> (w, b); None is each layer's own."""
    if callable(given) and not isinstance(given, type):
        return cast(Initializer, given)
    return None if given is None else lookup("init", given, INITIALIZERS)


def drawn(make: Initializer, rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Initial weights and biases of a layer, checked."""
    try:
        w, b = (np.asarray(each, dtype=np.float64) for each in make(rng, n_in, n_out))
    except (TypeError, ValueError) as error:
        raise ValueError(f"init={make!r} must be a function (rng, n_in, n_out) -> (w, b) ({error})") from error
    if w.shape != (n_out, n_in) or b.shape != (n_out,) or not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ValueError(
            f"init={make!r} gave w of shape {w.shape} and b of shape {b.shape}, but must give finite numbers of "
            f"{(n_out, n_in)} and {(n_out,)}"
        )
    return w, b


def dropout(given: Any, layers: int) -> list[float]:
    """Rates of the inputs and of each hidden layer; a number stands for every hidden layer."""
    several = isinstance(given, (list, tuple, np.ndarray))
    rates = list(given) if several else [0.0] + [given] * (layers - 1)
    for rate in rates if several else [given]:
        in_range("dropout", rate, 0, 1, "0 turns it off, 0.5 is usual for hidden layers")
    if len(rates) != layers:
        raise ValueError(
            f"dropout={given!r} has {len(rates)} rates, but there are {layers} layers that can drop: the inputs and "
            f"{layers - 1} hidden ones"
        )
    if not several and given and layers == 1:
        raise ValueError(f"dropout={given!r} is of hidden layers, and there are none; for the inputs give [{given!r}]")
    return [float(rate) for rate in rates]


def dtype(given: Any) -> str:
    """Name a dtype, given as a name or in the terms of any library."""
    names = {name: name for name in DTYPES}
    if given is None or isinstance(given, str):
        return lookup("dtype", given, names)
    try:
        return lookup("dtype", np.dtype(given).name, names)
    except TypeError:
        return lookup("dtype", str(given).split(".")[-1], names)  # another library's, as in torch.float32


def entropy(seed: Any) -> np.random.SeedSequence:
    """What all that is random in a network comes from."""
    try:
        return np.random.SeedSequence(seed)
    except (TypeError, ValueError) as error:
        raise ValueError(f"seed={seed!r} must be None or a whole number of at least 0") from error


def callbacks(given: Any) -> list[Callback]:
    """Check that each is a callback's object."""
    if not isinstance(given, (list, tuple)):
        raise TypeError(f"callbacks={given!r} must be a list of callbacks, as in [EarlyStopping()]")
    for each in given:
        if not isinstance(each, Callback):
            raise TypeError(
                f"callbacks holds {each!r}, which is no object of a subclass of xpnet.callbacks.Callback; "
                "give one, as in [EarlyStopping()]"
            )
        _check_hooks(each)
    return list(given)


def _check_hooks(callback: Callback) -> None:
    """Refuse methods that would never be called, or not with what they expect."""
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
    if not isinstance(callback.adds, (tuple, list)) or not all(isinstance(each, str) for each in callback.adds):
        raise TypeError(f"{name}.adds={callback.adds!r} must be a tuple of names")


def metrics(argument: str, given: Any, task: str, n_out: int) -> list[Metric]:
    """Take metrics by name, as objects, or as functions (y_true, y_pred) -> number."""
    if isinstance(given, str) or not isinstance(given, (list, tuple)) or isinstance(given, Metric):
        raise TypeError(f'{argument}={given!r} must be a list of metrics, as in ["accuracy"]')
    found: list[Metric] = []
    for each in given:
        if isinstance(each, Metric):
            found.append(each)
        elif callable(each) and not isinstance(each, type):
            found.append(of_function(each))
        elif isinstance(each, str) and re.fullmatch(r"top_[1-9]\d*", each):
            found.append(top_k(int(each[4:])))
        else:
            found.append(lookup(argument, each, METRICS))
    for metric in found:
        if metric.tasks and task not in metric.tasks:
            raise ValueError(
                f"{argument} holds {metric.name!r}, which is for {choices(metric.tasks)}; the task is {task!r}"
            )
        if metric.outputs > n_out:
            raise ValueError(f"{argument} holds {metric.name!r}, which needs {metric.outputs} outputs or more")
    names = [metric.name for metric in found]
    for metric in found:
        taken = METRICS.get(metric.name, metric) != metric or metric.name in ("cost", "size")
        if taken or names.count(metric.name) > 1:
            raise ValueError(f"{argument} holds a metric called {metric.name!r}, which is taken; give it another name")
    return found


def epochs(given: Any) -> int:
    """Check the number of epochs; targets may have been given in its place."""
    if isinstance(given, (list, tuple)) or hasattr(given, "shape"):
        raise TypeError("epochs is an array; X and y are given together, as in train((X, y), epochs=20)")
    return count("epochs", given, 0)


def rate(argument: str, given: Any) -> float:
    """Check a learning rate."""
    in_range(argument, given, 0, math.inf, "0.01 is a usual one")
    return float(given)


def scale(given: Any, standardize: bool, dtype: str) -> float | None:
    """Check what inputs are multiplied by."""
    if given is None:
        return None
    if standardize:
        raise ValueError(f"scale={given!r} contradicts standardize=True, which scales inputs itself; leave one out")
    try:
        with np.errstate(over="ignore"):
            number = float(np.asarray(float(given), dtype))
    except (TypeError, ValueError, OverflowError):
        number = 0.0
    if isinstance(given, (bool, str, bytes)) or number == 0 or not math.isfinite(number):
        raise ValueError(
            f"scale={given!r} must be a finite number other than 0 (in {dtype}); 1/255 is usual for pixels"
        )
    return float(given)


def rounded(value: float, dtype: str) -> np.ndarray:
    """Round a number of an optimizer to the network's dtype; it may not become 0, 1 or infinite by that.

    Examples
    --------
    >>> rounded(0.5, "float32")
    array(0.5, dtype=float32)
    """
    with np.errstate(over="ignore"):
        found = np.asarray(value, dtype)
    if (found == 0) != (value == 0) or (found == 1) != (value == 1) or not np.isfinite(found):
        raise ValueError(f'the optimizer\'s number {value!r} is {found} in {dtype}; give another, or dtype="float64"')
    return found


def schedule(lr: Any, argument: str = "lr") -> Schedule:
    """Take a schedule as it is, a number as a constant one."""
    if isinstance(lr, type):
        raise ValueError(f"{argument}={lr.__name__} is a class; give one of its objects, such as {lr.__name__}(0.1)")
    return cast(Schedule, lr) if callable(lr) else Constant(rate(argument, lr))


def optimizer(given: Any) -> Optimizer:
    """Check an optimizer."""
    if not is_optimizer(given):
        raise TypeError(f"optimizer={given!r} is not an optimizer; give SGD(momentum=0.9), say")
    return given


def is_optimizer(given: Any) -> bool:
    """Whether it has what optimizers have."""
    return _has(given, "init", "update") and hasattr(given, "default_lr")


def _has(given: Any, *functions: str) -> bool:
    return not isinstance(given, type) and all(callable(getattr(given, name, None)) for name in functions)


def _of_name(argument: str, given: Any, table: Mapping[str, Any], families: Mapping[str, Any]) -> Any:
    """Find a named object, or make one of a family, as in "leaky_relu(0.2)"."""
    family, _, numbers = given.partition("(") if isinstance(given, str) else ("", "", "")
    if family not in families or not numbers.endswith(")"):
        return lookup(argument, given, table)
    try:
        return families[family](*(float(number) for number in numbers[:-1].split(",")))
    except TypeError as error:
        raise ValueError(f"{argument}={given!r} is wrong in its brackets: too many numbers") from error
    except ValueError as error:
        raise ValueError(f"{argument}={given!r} is wrong in its brackets: {error}") from error


def _not_taken(argument: str, found: Any, table: Mapping[str, Any]) -> Any:
    """Refuse an object of a user's own by a name that stands for another: a file would confuse them."""
    if table.get(found.name, found) != found:
        raise ValueError(f"{argument} is an object of your own called {found.name!r}, which is taken; rename it")
    return found


def _name(given: Any) -> str:
    return str(getattr(given, "name", type(given).__name__))
