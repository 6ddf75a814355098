"""Parses the arguments of `Network`. Errors name the argument, the value, the choices and the remedy."""

import inspect
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from xpnet._checks import choices, count, has_entries, has_methods, in_range, is_list, is_text, show, to_float, warn
from xpnet._identity import PYTHON, describe, digest_text, is_same
from xpnet._names import look_up
from xpnet.core.activations import ACTIVATIONS, PARAMETRIZED_ACTIVATIONS, Activation, mean_std
from xpnet.core.arrays import Array, Namespace
from xpnet.core.costs import COSTS, PARAMETRIZED_COSTS, Cost
from xpnet.core.dual import ValueGradient
from xpnet.core.initializers import INITIALIZERS, Initializer
from xpnet.core.model import Model
from xpnet.errors import ArgumentError

__all__ = [
    "DTYPES",
    "TASKS",
    "Task",
    "check_functions",
    "choose_own",
    "describe_own",
    "draw_layer",
    "find_difference",
    "find_seed",
    "parse_cost",
    "parse_dtype",
    "parse_feature_names",
    "parse_hidden",
    "parse_initializer",
    "parse_model",
    "parse_scale",
    "parse_seed",
    "parse_sizes",
    "round_number",
]

UNORDERED = (str, bytes, bytearray, memoryview, Set, Mapping)  # or of characters
DTYPES = ("float32", "float64")
Task = Literal["classification", "binary", "multilabel", "regression"]
# The output activations and costs that a task accepts; the first of each is the default
CLASS_COSTS = ["cross_entropy", "log_likelihood"]
TASKS: dict[str, tuple[list[str], list[str]]] = {
    "classification": (["softmax"], CLASS_COSTS),
    "binary": (["sigmoid"], ["cross_entropy"]),
    "multilabel": (["sigmoid"], ["cross_entropy"]),
    "regression": (
        ["identity", *(name for name in ACTIVATIONS if name not in ("identity", "softmax"))],
        [name for name in COSTS if name not in CLASS_COSTS],
    ),
}


# The structure of a network


def parse_model(
    sizes: Any,
    activation: Any,
    output_activation: Any,
    cost: Any,
    task: Any,
    dropout: Any,
    scale: float | None,
    standardize: bool = False,
) -> Model:
    """Make a model from the arguments of `Network`."""
    units = parse_sizes(sizes)
    hidden = parse_hidden(activation, len(units) - 2)
    output, cost, resolved = parse_output(output_activation, cost, task, units[-1])
    cost.combine(output)  # raises if they do not go together
    n = cost.outputs_per_target
    if units[-1] % n:
        raise ArgumentError(
            f"sizes ends in {units[-1]}, but cost={cost.name!r} has {n} outputs for each target; end it in {n} for one "
            f"target, in {2 * n} for two"
        )
    rates = parse_dropout(dropout, len(units) - 1)
    return Model(tuple(units), (*hidden, output), cost, resolved, tuple(rates), scale, standardize, task)


def find_difference(model: Model, wanted: Model) -> str | None:
    """Say in what the model of a value differs from that of a network; None if they are the same.

    Examples
    --------
    >>> own = parse_model([2, 1], "tanh", None, None, None, 0.0, None)
    >>> find_difference(own._replace(sizes=(3, 1)), own), find_difference(own, own)
    ('it is of a network with sizes=[3, 1], and this one has sizes=[2, 1]', None)
    """
    if is_same(model, wanted) or describe(model) == describe(wanted):
        return None
    given = model.settings("")
    for name, value in wanted.settings("").items():
        if given[name] != value:
            return f"it is of a network with {name}={given[name]!r}, and this one has {name}={value!r}"
    return "it is of a network with another activation or cost of the same name"


def _is_iterable(value: Any, *kinds: type) -> bool:
    """Tell whether a value can be iterated over, or is of one of these kinds; type checkers learn nothing of it."""
    return isinstance(value, kinds or Iterable)


def parse_sizes(sizes: Any) -> list[int]:
    """Check the number of units of each layer."""
    if not _is_iterable(sizes) or _is_iterable(sizes, *UNORDERED) or getattr(sizes, "shape", None) == ():
        raise ArgumentError(f"sizes={show(sizes)} must list the number of units of each layer, as in [784, 30, 10]")
    units = [count(f"sizes[{l}]", size, 1) for l, size in enumerate(sizes)]
    if len(units) < 2:
        raise ArgumentError(f"sizes={units!r} must have at least two layers, inputs and outputs, as in [784, 30, 10]")
    return units


def parse_activation(argument: str, value: Any) -> Activation:
    """Look up an activation by name, or wrap the user's own object with the two functions.

    Examples
    --------
    >>> parse_activation("activation", "relu").name, parse_activation("activation", "leaky_relu(0.2)").name
    ('relu', 'leaky_relu(0.2)')
    """
    if not isinstance(value, Activation):
        if not has_methods(value, "value", "pullback"):
            return _look_up_part(argument, value, Activation)
        bounds = {name: getattr(value, name) for name in ("low", "high", "total") if hasattr(value, name)}
        value = Activation(_name_of(value), value.value, value.pullback, **bounds)
    return _check_name_is_free(argument, value)


def parse_cost(value: Any, argument: str = "cost") -> Cost:
    """Look up a cost by name, or wrap the user's own object with a value and, if it has one, a gradient."""
    if not isinstance(value, Cost):
        if has_methods(value, "pullback") or not has_methods(value, "value"):
            return _look_up_part(argument, value, Cost)
        value = Cost(_name_of(value), value.value, getattr(value, "gradient", None))
    if value.value is not None:
        functions = [one for one in (value.value, value.gradient) if one and not isinstance(one, ValueGradient)]
        places = {_find_x(function) for function in functions}
        if len(places) > 1 or max(places, default=0) > 2:
            raise ArgumentError(
                f"{argument}={value.name!r} sees x in one function only, or not as the third parameter; write "
                "value(a, y, x, xp), and gradient(a, y, x, xp) if it has one"
            )
        gradient = value.gradient or (None if value.fused else ValueGradient(value.name, value.value))
        value = value._replace(sees_x=places == {2}, gradient=gradient)
    return _check_name_is_free(argument, value)


def _find_x(function: Callable[..., Any]) -> int:
    """Find the place of the parameter x; −1 without it, or if outputs or targets are called so."""
    try:
        names = [*inspect.signature(function).parameters]
    except ValueError:  # it has no signature, as some functions written in C
        names = []
    return names.index("x") if "x" in names[2:] else -1


def parse_hidden(value: Any, layers: int) -> list[Activation]:
    """Parse the activations of the hidden layers: one for all of them, or a list with one for each."""
    has_each = is_list(value) and not isinstance(value, Activation)
    activations = [parse_activation("activation", item) for item in (value if has_each else [value] * max(1, layers))]
    if has_each and len(activations) != layers:
        raise ArgumentError(
            f"activation={value!r} names {len(activations)} layers, but there are {layers} hidden ones; they must match"
        )
    return activations[:layers]


def parse_output(activation: Any, cost: Any, task: Any, n_out: int) -> tuple[Activation, Cost, str]:
    """Choose output activation, cost and task; refuse arguments that contradict each other."""
    outputs, costs = (["sigmoid"], ["quadratic"]) if task is None else look_up("task", task, TASKS)
    cost = parse_cost(costs[0] if cost is None else cost)
    if task is not None:
        _check_fits_task("cost", cost, task, COSTS, costs)
    usual = cost.activation
    if usual is not None and (activation is None or (is_text(activation) and activation == usual.name)):
        activation = usual
    elif activation is None:
        accepted = (task and cost.outputs) or outputs
        activation = next((name for name in accepted if name in outputs), accepted[0])
    output = parse_activation("output_activation", activation)
    if task is not None and output is not usual:
        _check_fits_task("output_activation", output, task, ACTIVATIONS, outputs)
    if output.name == "softmax" and n_out == 1:
        raise ArgumentError(
            'sizes ends in 1, but a softmax over 1 output is always 1; for two classes give 2 outputs, or task="binary"'
        )
    if task == "binary" and n_out != 1:
        raise ArgumentError(f'task="binary" has 1 output, but sizes ends in {n_out}; end it in 1, or task="multilabel"')
    if task is None:
        is_class = output.high < math.inf and (n_out > 1 or output.name == "sigmoid")
        task = "regression" if not is_class else "classification" if n_out > 1 else "binary"
    return output, cost, task


def _check_fits_task(
    argument: str, part: Activation | Cost, task: str, known: Iterable[str], accepted: Sequence[str]
) -> None:
    """Refuse an activation or a cost of xpnet, with any numbers, that is not one of those that a task accepts."""
    kinds = [{name.partition("(")[0] for name in names} for names in ([part.name], known, accepted)]
    if kinds[0] <= kinds[1] - kinds[2]:
        raise ArgumentError(
            f"{argument}={part.name!r} contradicts task={task!r}, which goes with {choices(accepted)}; leave one of "
            "the two out"
        )


def parse_dropout(value: Any, layers: int) -> list[float]:
    """Check the dropout rates of the inputs and of each hidden layer; a number is the rate of all hidden layers."""
    has_each = has_entries(value)
    usual = "0 turns it off, 0.5 is usual for hidden layers"
    rates = [in_range("dropout", rate, 0, 1, usual) for rate in (value if has_each else [value])]
    rates = rates if has_each else [0.0] + rates * (layers - 1)
    if len(rates) != layers:
        raise ArgumentError(
            f"dropout={value!r} has {len(rates)} rates, but there are {layers} layers that can drop: the inputs and "
            f"{layers - 1} hidden ones"
        )
    if not has_each and value and layers == 1:
        raise ArgumentError(
            f"dropout={value!r} is for hidden layers, and there are none; for the inputs give [{value!r}]"
        )
    return rates


def parse_scale(value: Any, standardize: bool, dtype: str) -> float | None:
    """Check the number that multiplies the inputs."""
    if value is None:
        return None
    if standardize:
        raise ArgumentError(f"scale={value!r} contradicts standardize=True, which scales inputs itself; leave one out")
    number = to_float(value)
    with np.errstate(over="ignore"):
        rounded = np.asarray(number, dtype)
    if rounded == 0 or not np.isfinite(rounded):
        raise ArgumentError(
            f"scale={show(value)} must be a finite number other than 0 (in {dtype}); 1/255 is usual for pixels"
        )
    return number


def check_functions(model: Model, asarray: Callable[[np.ndarray], Array], xp: Namespace) -> None:
    """Call the user's own activations and cost once, to check the shapes that they return."""
    with np.errstate(all="ignore"):
        for sigma, n in zip(model.sigmas, model.sizes[1:]):
            if not _is_known(sigma):
                z = asarray(np.linspace(0.1, 0.9, 2 * n).reshape(2, n))
                _check_like(f"activation {sigma.name!r}: value", sigma.value(z, xp), z)
                _check_like(f"activation {sigma.name!r}: pullback", sigma.pullback(z, z, z, xp), z)
        widths = model.n_out, model.n_targets, model.n_in
        a, y, x = (asarray(np.full((2, n), number)) for n, number in zip(widths, (0.25, 0.5, 0.75)))
        cost = model.cost.with_inputs(x)
        if not _is_known(model.cost) and cost.value and cost.gradient:
            _check_like(f"cost {cost.name!r}: value", cost.value(a, y, xp), a[:, 0])
            _check_like(f"cost {cost.name!r}: gradient", cost.gradient(a, y, xp), a)


def _check_like(function: str, result: Any, like: Array) -> None:
    """Refuse what a function has returned for two examples, unless it has the shape and dtype of another array."""
    shape = tuple(like.shape)
    if tuple(getattr(result, "shape", (None,))) != shape or result.dtype != like.dtype:
        is_array = hasattr(result, "dtype")
        actual = f"shape {tuple(result.shape)} and dtype {result.dtype}" if is_array else repr(result)
        raise ArgumentError(
            f"{function} must return an array of shape {shape} and dtype {like.dtype} for two examples, but returned "
            f"{actual}"
        )


# The parameters of a network


def parse_dtype(value: Any) -> str:
    """Return the name of a dtype, which may be a name or an object of any library."""
    name = value
    if not (value is None or isinstance(value, str)):
        try:
            name = np.dtype(value).name
        except TypeError:
            name = str(value).split(".")[-1]  # another library's, as in torch.float32
    return look_up("dtype", name, {name: name for name in DTYPES})


def parse_feature_names(names: Any, n_in: int) -> tuple[str, ...]:
    """Check the names of the inputs.

    Examples
    --------
    >>> parse_feature_names(["width", "height"], n_in=2)
    ('width', 'height')
    """
    strings = tuple(names) if _is_iterable(names) and not is_text(names) else ()
    if len(set(strings)) != n_in or len(strings) != n_in or not all(map(is_text, strings)):
        raise ArgumentError(
            f"feature_names={reprlib.repr(names)} must be {n_in} different strings, one for each input, or None"
        )
    return strings


def parse_seed(value: Any) -> np.random.SeedSequence:
    """Turn a seed into the `SeedSequence` from which everything random in a network is drawn."""
    try:
        return np.random.SeedSequence(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"seed={show(value)} must be None or a whole number of at least 0") from error


def find_seed(entropy: np.random.SeedSequence) -> Any:
    """Return the seed that a `SeedSequence` was made of, as a whole number, or a tuple of them.

    Examples
    --------
    >>> find_seed(parse_seed(7)), find_seed(parse_seed([1, 2])), find_seed(parse_seed(None)) > 0
    (7, (1, 2), True)
    """
    seed = entropy.entropy
    return int(seed) if np.ndim(seed) == 0 else tuple(int(number) for number in np.ravel(seed))  # type: ignore[arg-type]


def parse_initializer(value: Any) -> Initializer | None:
    """Look up an initializer by name, or return a function of the user; None means the default of each layer."""
    if callable(value) and not isinstance(value, type):
        return cast(Initializer, value)
    return None if value is None else look_up("init", value, INITIALIZERS)


def draw_layer(
    initializer: Initializer, rng: np.random.Generator, n_in: int, n_out: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the initial weights (n_out, n_in) and biases (1, n_out) of a layer, and check them."""
    try:
        w, b = (np.asarray(array, dtype=np.float64) for array in initializer(rng, n_in, n_out))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"init={initializer!r} must be a function (rng, n_in, n_out) -> (w, b) ({error})"
        ) from error
    if w.shape != (n_out, n_in) or b.shape != (n_out,) or not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise ArgumentError(
            f"init={initializer!r} returned w of shape {w.shape} and b of shape {b.shape}, but must return finite "
            f"numbers of shapes {(n_out, n_in)} and {(n_out,)}"
        )
    return w, b[None, :]


def round_number(value: float | np.ndarray, dtype: str) -> np.ndarray:
    """Round numbers of an optimizer to the network's dtype; refuse one that becomes 0, 1 or infinite.

    Examples
    --------
    >>> round_number(0.5, "float32")
    array(0.5, dtype=float32)
    """
    with np.errstate(over="ignore"):
        rounded = np.asarray(value, dtype)
    changes = ((rounded == 0) != (value == 0)) | ((rounded == 1) != (value == 1))
    if np.any(changes | ~np.isfinite(rounded)):
        raise ArgumentError(
            f'the optimizer\'s number {value!r} is {rounded} in {dtype}; give another, or dtype="float64"'
        )
    return rounded


# Names of activations and costs, and the user's own


KNOWN: dict[type, Any] = {  # those of xpnet by name, with makers of those with parameters; and what one's own must have
    Activation: (ACTIVATIONS, PARAMETRIZED_ACTIVATIONS, {"value": "z, xp", "pullback": "g, z, a, xp"}),
    Cost: (COSTS, PARAMETRIZED_COSTS, {"value": "a, y, xp"}),
}


def _look_up_part(argument: str, value: Any, kind: type) -> Any:
    """Find an activation or a cost by its name, or make one with parameters, as in "leaky_relu(0.2)"."""
    table, parametrized, methods = KNOWN[kind]
    missing = [f"{name}({arguments})" for name, arguments in methods.items() if not has_methods(value, name)]
    if missing and any(has_methods(value, name) for name in ("value", "pullback", "gradient")):
        own = kind.__name__.lower()
        raise ArgumentError(f"{argument}={value!r} lacks the method {missing[0]}, which your own {own} needs")
    family, _, numbers = value.partition("(") if isinstance(value, str) else ("", "", "")
    if family not in parametrized or not numbers.endswith(")"):
        return look_up(argument, value, table)
    try:
        return parametrized[family](*(float(number) for number in numbers[:-1].split(",")))
    except (ValueError, TypeError) as error:
        reason = "too many numbers" if isinstance(error, TypeError) else error
        raise ArgumentError(f"{argument}={value!r} has invalid parameters: {reason}") from error


def _check_name_is_free(argument: str, value: Any) -> Any:
    """Refuse a user's own object with the name of another: files would confuse the two."""
    if _find_known(value) is not None and not _is_known(value):
        raise ArgumentError(
            f"{argument} is your own object named {value.name!r}, but xpnet has one of that name; rename yours"
        )
    return value


def _find_known(value: Activation | Cost) -> Activation | Cost | None:
    """Find the activation or cost of xpnet with the name of another one, as in "relu" or "leaky_relu(0.2)"."""
    if value.name == mean_std.name:  # that of the Gaussian cost cannot be given by its name
        return mean_std
    with suppress(ArgumentError):
        return _look_up_part("", value.name, Activation if isinstance(value, Activation) else Cost)
    return None


def _is_known(part: Activation | Cost) -> bool:
    """Tell whether an activation or a cost is that of xpnet with its name."""
    return is_same(part, _find_known(part))


def describe_own(model: Model) -> dict[str, str]:
    """Describe the user's own activations and cost in a model, by the arguments that they are; see `describe`.

    Examples
    --------
    >>> import math
    >>> own = Activation("mine", math.tanh, math.exp)
    >>> [*describe_own(parse_model([3, 4, 4, 2], [own, "tanh"], own, None, None, 0.0, None))]
    ['activation[0]', 'output_activation']
    """
    parts = {f"activation[{l}]": sigma for l, sigma in enumerate(model.sigmas[:-1])}
    parts |= {"output_activation": model.sigmas[-1], "cost": model.cost}
    return {name: describe(part) for name, part in parts.items() if not _is_known(part)}


def choose_own(argument: str, name: str, custom: Sequence[Any], digests: Mapping[str, str]) -> Any:
    """Choose one of the user's own objects by its name, for an argument of a network in a file; else return the name.

    Of several, it is that with the digest in the file. If there is no such one, a warning says so.
    """
    parse: Any = parse_cost if argument == "cost" else partial(parse_activation, argument)
    named = [one for one in custom if _name_of(one) == name and has_methods(one, "pullback") == (argument != "cost")]
    by_digest = {digest_text(describe(parse(one))): one for one in named}
    digest = digests.get(argument, "") if digests.get("python") == PYTHON else ""
    if len(by_digest) > 1 and digest not in by_digest:
        raise ArgumentError(
            f"{len(by_digest)} objects in custom= are named {name!r}, and it cannot be told which of them is "
            f"{argument} in the file; give that one alone"
        )
    if digest and by_digest and digest not in by_digest:
        warn(
            f"{argument}={name!r} in custom= differs from that of the file, in its code or its values; the network may "
            "predict otherwise"
        )
    return by_digest.get(digest, [*by_digest.values(), name][0])


def _name_of(value: Any) -> str:
    return str(getattr(value, "name", type(value).__name__))
