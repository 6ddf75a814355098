"""Checks of ranges, counts and lengths, and the wording that error messages share."""

import math
import operator
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

# names in other libraries -> names here
NAMES_ELSEWHERE = {
    "acc": ("accuracy",),
    "bce": ("cross_entropy",),
    "he": ("he_normal",),
    "linear": ("identity",),
    "logistic": ("sigmoid",),
    "pinball": ("quantile(0.1, 0.5, 0.9)",),
    "quantile": ("quantile(0.1, 0.5, 0.9)",),
    "swish": ("silu",),
    "xavier": ("glorot_uniform",),
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


def unknown(argument: str, name: object, names: Iterable[str]) -> str:
    """Format the message for an unknown name: the accepted names, and the one that was probably meant.

    Examples
    --------
    >>> unknown("activation", "rleu", ["relu", "tanh"])
    "activation='rleu' is unknown; choose from 'relu', 'tanh' (did you mean 'relu'?)"
    """
    names = list(names)
    import difflib  # rarely needed, and slow to import

    near = [other for other in names if other in NAMES_ELSEWHERE.get(str(name).lower(), ())]
    near = near or difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
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
