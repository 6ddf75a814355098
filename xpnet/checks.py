"""Checks of ranges, counts and lengths, and the wording that error messages share."""

import functools
import math
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")

# names in other libraries and in books -> names here, or the argument as it is written here; the first that fits counts
NAMES_ELSEWHERE = {
    # activations, costs, metrics, initial weights
    "acc": ("accuracy",),
    "bce": ("cross_entropy",),
    "he": ("he_normal",),
    "linear": ("identity",),
    "logistic": ("sigmoid",),
    "pinball": ("quantile(0.1, 0.5, 0.9)",),
    "quantile": ("quantile(0.1, 0.5, 0.9)",),
    "swish": ("silu",),
    "xavier": ("glorot_uniform",),
    # quantities of a history
    "val_acc": ("validation_accuracy",),
    "val_accuracy": ("validation_accuracy",),
    "val_loss": ("validation_cost",),
    # arguments of Network
    "criterion": ("cost",),
    "dropout_rate": ("dropout",),
    "hidden_layer_sizes": ("sizes",),
    "kernel_initializer": ("init",),
    "layer_sizes": ("sizes",),
    "loss": ("cost",),
    "loss_fn": ("cost",),
    "random_state": ("seed",),
    # arguments of train
    "early_stopping": ("callbacks=[EarlyStopping()]",),
    "eta": ("lr",),
    "evaluation_data": ("validation_data",),
    "learning_rate": ("lr", "peak"),
    "learning_rate_init": ("lr",),
    "max_iter": ("epochs",),
    "mini_batch_size": ("batch_size",),
    "n_epochs": ("epochs",),
    "n_jobs": ("blas_threads",),
    "num_epochs": ("epochs",),
    "patience": ("callbacks=[EarlyStopping(patience=5)]",),
    "shuffle": ("sampling",),
    "steps_per_epoch": ("steps",),
    "training_data": ("train_data",),
    "validation_fraction": ("validation_split",),
    "verbose": ("progress=False",),
    # arguments of optimizers
    "alpha": ("rho", "weight_decay"),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "betas": ("beta1",),
    "decay": ("weight_decay",),
    "eps": ("epsilon",),
    "l2": ("weight_decay",),
    "lmbda": ("weight_decay",),
    "momentum": ("optimizer=SGD(momentum=0.9)",),
    "weight_decay": ("optimizer=SGD(weight_decay=1e-4)",),
    # arguments of schedules and callbacks
    "filename": ("path",),
    "filepath": ("path",),
    "log_dir": ("folder",),
    "lr": ("peak",),
    "max_lr": ("peak",),
    "min_lr": ("least",),
    "restore_best_weights": ("restore_best",),
    # attributes of a network
    "biases": ("b",),
    "weights": ("w",),
}

# where an argument belongs -> the arguments that people look for in other places
ARGUMENTS = {
    "train": (
        *("epochs", "batch_size", "lr", "test_data", "optimizer", "sampling", "validation_data", "validation_split"),
        *("sample_weight", "class_weight", "callbacks", "metrics", "training_metrics", "steps", "cache", "progress"),
    ),
    "Network": (
        *("sizes", "activation", "output_activation", "cost", "task", "init", "dropout", "scale", "standardize"),
        *("backend", "device", "dtype", "seed"),
    ),
    "SGD": ("momentum", "nesterov", "weight_decay"),
    "EarlyStopping": ("patience", "restore_best"),
}


def in_range(argument: str, value: Any, low: float, high: float, remedy: str) -> None:
    """Check that ``low <= value < high``, as a number.

    Examples
    --------
    >>> in_range("momentum", 0.9, 0, 1, "0 turns it off")
    """
    try:
        inside = bool(low <= value < high) and not isinstance(value, bool)
    except (TypeError, ValueError):  # not a number, or an array of them
        inside = False
    if not inside:
        interval = f"in [{low:g}, {high:g})" if high < math.inf else f"a finite number of at least {low:g}"
        raise ValueError(f"{argument}={value!r} must be {interval}; {remedy}")


def between(argument: str, value: Any, low: float, high: float, remedy: str) -> None:
    """Check that ``low < value < high``, as a number.

    Examples
    --------
    >>> between("validation_split", 0.2, 0, 1, "it is a fraction of the examples")
    """
    try:
        inside = bool(low < value < high) and not isinstance(value, bool)
    except (TypeError, ValueError):  # not a number, or an array of them
        inside = False
    if not inside:
        interval = f"above {low:g} and below {high:g}" if high < math.inf else f"a finite number above {low:g}"
        raise ValueError(f"{argument}={value!r} must be {interval}; {remedy}")


def yes_or_no(argument: str, value: Any) -> bool:
    """Check that a value is True or False.

    Examples
    --------
    >>> yes_or_no("nesterov", True)
    True
    """
    if isinstance(value, str) or str(value) not in ("True", "False"):  # of Python or NumPy
        raise ValueError(f"{argument}={value!r} must be True or False")
    return bool(value)


def count(argument: str, value: object, least: int) -> int:
    """Check that a value is a whole number of at least `least`.

    Examples
    --------
    >>> count("epochs", 3, least=0)
    3
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ValueError(f"{argument}={value!r} must be a whole number of at least {least}")
    return number


def check_lengths(x_name: str, n_x: int, y_name: str, n_y: int) -> None:
    """Check that inputs and targets have the same number of examples.

    Examples
    --------
    >>> check_lengths("X", 3, "y", 3)
    """
    if n_x != n_y:
        raise ValueError(f"{x_name} has {n_x} examples and {y_name} has {n_y}; they must match")


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that the folder of a file to be written exists."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{os.fspath(path)}: there is no folder {folder}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points to the user's line: the first on the stack outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def choices(names: Iterable[object]) -> str:
    """Format the accepted values.

    Examples
    --------
    >>> choices(["relu", "tanh"])
    "'relu', 'tanh'"
    """
    return ", ".join(repr(name) for name in names)


def nearest(name: object, names: Iterable[str]) -> str | None:
    """Find the name that was probably meant: the one for what other libraries call so, or one that is spelt alike.

    Examples
    --------
    >>> nearest("val_loss", ["cost", "validation_cost"]), nearest("rleu", ["relu", "tanh"]), nearest("x", ["relu"])
    ('validation_cost', 'relu', None)
    """
    import difflib  # rarely needed, and slow to import

    names, word = list(names), str(name).lower()
    near = [other for other in NAMES_ELSEWHERE.get(word, ()) if other in names]
    return next(iter(near or difflib.get_close_matches(word, names, n=1)), None)


def unknown(argument: str, name: object, names: Iterable[str]) -> str:
    """Format the message for an unknown name: the accepted names, and the one that was probably meant.

    Examples
    --------
    >>> unknown("activation", "rleu", ["relu", "tanh"])
    "activation='rleu' is unknown; choose from 'relu', 'tanh' (did you mean 'relu'?)"
    """
    names = list(names)
    near = nearest(name, names)
    hint = f" (did you mean {near!r}?)" if near else ""
    return f"{argument}={name!r} is unknown; choose from {choices(names)}{hint}"


def look_up(argument: str, name: object, table: Mapping[str, Any]) -> Any:
    """Find a named object, or raise a ValueError that lists the choices.

    Examples
    --------
    >>> look_up("size", "small", {"small": 1, "large": 2})
    1
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(unknown(argument, name, table))


def has_methods(value: Any, *names: str) -> bool:
    """Tell whether an object, not a class, has methods of these names.

    Examples
    --------
    >>> has_methods([], "append"), has_methods(list, "append")
    (True, False)
    """
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)


def install_command(extra: str) -> str:
    """Format the command that installs an extra, and where to run it: xpnet is not on PyPI.

    Examples
    --------
    >>> install_command("torch")
    "pip install -e '.[torch]' in a checkout of xpnet"
    """
    return f"pip install -e '.[{extra}]' in a checkout of xpnet"


# Arguments that do not fit a signature


def explain_arguments(target: T) -> T:
    """Decorate a function, or a class, so that a call whose arguments do not fit says what was probably meant.

    The signature stays as it is, and is read only after Python has refused a call.

    Examples
    --------
    >>> @explain_arguments
    ... def train(data, *, lr=0.1): ...
    >>> train([], learning_rate=0.2)
    Traceback (most recent call last):
        ...
    TypeError: learning_rate=0.2 is not an argument of train (did you mean 'lr'?); choose from 'data', 'lr'
    """
    if isinstance(target, type):
        target.__init__ = explain_arguments(target.__init__)  # type: ignore[misc]
        return target
    function = cast(Callable[..., Any], target)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError:
            message = _explain_call(function, args, options)
            if message is None:
                raise
        raise TypeError(message)

    return cast(T, call)


def suggest_argument(name: str, names: Iterable[str]) -> str:
    """Format what was probably meant by an unknown argument: one of `names`, or an argument of something else.

    Examples
    --------
    >>> suggest_argument("verbose", ["lr", "progress"]), suggest_argument("lr", ["beta1"])
    (' (did you mean progress=False?)', ' (lr is an argument of train)')
    >>> suggest_argument("dropuot", ["w", "b"])
    " (did you mean 'dropout', an argument of Network?)"
    """
    import difflib

    names = list(names)
    owners = {argument: owner for owner, arguments in ARGUMENTS.items() for argument in arguments}
    meant = {text.partition("=")[0]: text for text in (name, *NAMES_ELSEWHERE.get(name.lower(), ()))}
    for argument, text in meant.items():
        if argument in names:
            return f" (did you mean {text if '=' in text else repr(text)}?)"
    for argument in meant:
        if argument in owners:
            return f" ({argument} is an argument of {owners[argument]})"
    near = difflib.get_close_matches(name.lower(), [*names, *owners], n=1)
    if not near:
        return ""
    owner = "" if near[0] in names else f", an argument of {owners[near[0]]}"
    return f" (did you mean {near[0]!r}{owner}?)"


def _explain_call(function: Callable[..., Any], args: Sequence[Any], options: Mapping[str, Any]) -> str | None:
    """Say which argument a function does not take; None if there is no such one, and Python's own message is clear."""
    import inspect  # slow to import

    name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    parameters = dict(inspect.signature(function).parameters)
    if parameters.pop("self", None):
        args = args[1:]
    by_position = [key for key, value in parameters.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
    takes_data = by_position[:1] in (["train_data"], ["data"], ["batch"])
    together = f"X and y are given together, as in {name}((X, y))"
    for key, value in options.items():
        if key not in parameters:
            hint = f" ({together})" if takes_data and key in ("x", "X", "y") else suggest_argument(key, parameters)
            return f"{key}={_brief(value)} is not an argument of {name}{hint}; choose from {choices(parameters)}"
    if len(args) <= len(by_position):
        return None
    if not by_position:  # an optimizer: in other libraries, the learning rate comes first
        example = f"{name}({next(iter(parameters))}={_brief(args[0])})"
        return f"{name} takes its arguments by name, as in {example}; lr is an argument of train"
    message = f"{name} takes {choices(by_position)} by position, but was given {len(args)} arguments"
    if takes_data and hasattr(args[1], "__len__"):
        return f"{message}; {together}"
    if by_name := list(parameters)[len(by_position) :]:
        message += f"; give others by name, as in {by_name[0]}={_brief(args[len(by_position)])}"
    return message


def _brief(value: Any) -> str:
    return repr(value) if isinstance(value, (bool, int, float, str, type(None))) else "..."
