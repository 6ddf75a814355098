"""The errors that xpnet raises besides ValueError and TypeError, and the wording they share."""

import difflib
import math
import operator
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# what things are called here that have another name elsewhere
ELSEWHERE = {
    "acc": ("accuracy",),
    "bce": ("cross_entropy",),
    "he": ("he_normal",),
    "linear": ("identity",),
    "logistic": ("sigmoid",),
    "mae": ("absolute", "mean_absolute_error"),
    "mse": ("quadratic", "mean_squared_error"),
    "swish": ("silu",),
    "xavier": ("glorot_uniform",),
}


class BackendError(RuntimeError, ValueError):
    """A backend or device that cannot be had; the message says why and what to do.

    It is a ValueError too: the value of ``backend=`` or ``device=`` is what is wrong.
    """


class DivergenceError(ArithmeticError):
    """Training produced numbers that are not finite; the network is as it was before them."""


class CheckpointError(ValueError):
    """A file that does not hold a network."""


def in_range(argument: str, given: Any, low: float, high: float, remedy: str) -> None:
    """Check that ``low <= given < high``, as a number.

    Examples
    --------
    >>> in_range("momentum", 0.9, 0, 1, "0 turns it off")
    """
    try:
        holds = bool(low <= given < high) and not isinstance(given, bool)
    except (TypeError, ValueError):  # not a number, or many
        holds = False
    if not holds:
        interval = f"in [{low:g}, {high:g})" if high < math.inf else f"a finite number of at least {low:g}"
        raise ValueError(f"{argument}={given!r} must be {interval}; {remedy}")


def between(argument: str, given: Any, low: float, high: float, remedy: str) -> None:
    """Check that ``low < given < high``, as a number.

    Examples
    --------
    >>> between("validation_split", 0.2, 0, 1, "it is a part of the examples")
    """
    try:
        holds = bool(low < given < high) and not isinstance(given, bool)
    except (TypeError, ValueError):  # not a number, or many
        holds = False
    if not holds:
        interval = f"above {low:g} and below {high:g}" if high < math.inf else f"a finite number above {low:g}"
        raise ValueError(f"{argument}={given!r} must be {interval}; {remedy}")


def yes_or_no(argument: str, given: Any) -> bool:
    """Check a truth value.

    Examples
    --------
    >>> yes_or_no("nesterov", True)
    True
    """
    if isinstance(given, str) or str(given) not in ("True", "False"):  # NumPy's too
        raise ValueError(f"{argument}={given!r} must be True or False")
    return bool(given)


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


def need_folder(path: str | os.PathLike[str]) -> None:
    """Check that the folder of a file that is to be written is there."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"{os.fspath(path)}: there is no folder {folder}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of `message` at the user's line: the first on the stack that is not in this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def choices(names: Iterable[object]) -> str:
    """Write out what is accepted.

    Examples
    --------
    >>> choices(["relu", "tanh"])
    "'relu', 'tanh'"
    """
    return ", ".join(repr(name) for name in names)


def unknown(argument: str, given: object, names: Iterable[str]) -> str:
    """Say that a name is not known, which are, and which was probably meant.

    Examples
    --------
    >>> unknown("activation", "rleu", ["relu", "tanh"])
    "activation='rleu' is unknown; choose from 'relu', 'tanh' (did you mean 'relu'?)"
    """
    names = list(names)
    near = [name for name in names if name in ELSEWHERE.get(str(given).lower(), ())]
    near = near or difflib.get_close_matches(str(given).lower(), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{argument}={given!r} is unknown; choose from {choices(names)}{hint}"
