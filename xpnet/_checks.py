"""Checks of ranges, counts and lengths, and the phrases that error messages share."""

import math
import operator
import os
import re
import reprlib
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, TypeGuard, cast

import numpy as np

from xpnet.errors import ArgumentError

NUMBER_LIMIT = 2**63  # whole numbers in files are smaller


def in_range(argument: str, value: Any, low: float, high: float, remedy: str = "", includes_low: bool = True) -> float:
    """Check that ``low <= value < high``, or ``low < value < high``, for a number of any kind; return it as a float.

    Examples
    --------
    >>> from fractions import Fraction
    >>> in_range("momentum", Fraction(1, 2), 0, 1, "0 turns it off")
    0.5
    >>> in_range("factor", 0, 0, 1, "0.1 is usual", includes_low=False)
    Traceback (most recent call last):
    xpnet.ArgumentError: factor=0 must be above 0 and below 1; 0.1 is usual
    """
    number = to_float(value)
    if not low <= number < high or (number == low and not includes_low):
        if high == math.inf:
            interval = f"a finite number {'of at least' if includes_low else 'above'} {low:g}"
        else:
            interval = f"in [{low:g}, {high:g})" if includes_low else f"above {low:g} and below {high:g}"
        raise ArgumentError(f"{argument}={show(value)} must be {interval}" + (f"; {remedy}" if remedy else ""))
    return number


def to_float(value: Any) -> float:
    """Convert a number of any kind, also NumPy's, a Decimal or a Fraction; NaN for anything else, such as an array."""
    if isinstance(value, (str, bytes, bytearray, bool)) or getattr(value, "shape", ()) != ():
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):  # not a number, or too large for a float
        return math.nan


def yes_or_no(argument: str, value: Any) -> bool:
    """Check that a value is True or False, of Python or NumPy.

    Examples
    --------
    >>> yes_or_no("nesterov", True)
    True
    """
    if value is True or value is False:
        return value
    if not isinstance(value, np.bool_):
        raise ArgumentError(f"{argument}={show(value)} must be True or False")
    return bool(value)


def count(argument: str, value: Any, least: int, below: int = NUMBER_LIMIT) -> int:
    """Check that a value is a whole number of at least `least`.

    Examples
    --------
    >>> count("epochs", 3, least=0)
    3
    """
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number < below:
        limit = f", below {below}" if number >= least else ""
        raise ArgumentError(f"{argument}={show(value)} must be a whole number of at least {least}{limit}")
    return number


class Real(NamedTuple):
    """A kind of argument, for `check_fields`: a number as `in_range` checks it."""

    low: float
    high: float
    remedy: str = ""
    includes_low: bool = True

    def __call__(self, argument: str, value: Any) -> float:
        """Check a value."""
        return in_range(argument, value, *self)


class Count(NamedTuple):
    """A kind of argument, for `check_fields`: a whole number of at least `least`."""

    least: int

    def __call__(self, argument: str, value: Any) -> int:
        """Check a value."""
        return count(argument, value, self.least)


def check_fields(settings: Any) -> None:
    """Check the fields of a dataclass as their annotations say, for its `__post_init__`.

    A field annotated with ``Annotated[kind, check]`` becomes ``check(name, value)``, unless it is the default. A check
    is a `Real`, a `Count`, or a function such as `yes_or_no`. Annotations must not be postponed (`__future__`).

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from typing import Annotated
    >>> @dataclass
    ... class Settings:
    ...     momentum: Annotated[float, Real(0, 1, "0 turns it off")] = 0.0
    ...     steps: Annotated[int | None, Count(1)] = None
    ...     def __post_init__(self):
    ...         check_fields(self)
    >>> Settings(steps=0)
    Traceback (most recent call last):
    xpnet.ArgumentError: steps=0 must be a whole number of at least 1
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        for check in getattr(field.type, "__metadata__", ()):
            if value is not field.default:
                object.__setattr__(settings, field.name, check(field.name, value))


class Checked:
    """Base class of dataclasses whose fields are checked, and nothing else."""

    def __post_init__(self) -> None:
        """Check the fields."""
        check_fields(self)


def check_count(name: str, n: int) -> None:
    """Refuse more examples than can be numbered: every library indexes with int32.

    Examples
    --------
    >>> check_count("X", 2**31)
    Traceback (most recent call last):
    xpnet.ArgumentError: X has 2,147,483,648 examples, and at most 2,147,483,647 can be numbered; give them in batches
    """
    if n >= 2**31:
        raise ArgumentError(
            f"{name} has {n:,} examples, and at most {2**31 - 1:,} can be numbered; give them in batches"
        )


def check_lengths(x_name: str, n_x: int, y_name: str, n_y: int) -> None:
    """Check that inputs and targets have the same number of examples.

    Examples
    --------
    >>> check_lengths("X", 3, "y", 3)
    """
    if n_x != n_y:
        raise ArgumentError(f"{x_name} has {n_x} examples and {y_name} has {n_y}; they must match")


def decode_path(argument: str, path: Any) -> str:
    """Convert a path of any kind to a string.

    Examples
    --------
    >>> decode_path("path", b"run.safetensors")
    'run.safetensors'
    """
    try:
        return os.fsdecode(path)
    except TypeError as error:
        raise ArgumentError(f"{argument}={show(path)} must be a path: a string or a pathlib.Path") from error


def check_folder(path: str | os.PathLike[str]) -> None:
    """Check that the folder of a file to be written exists."""
    path = decode_path("path", path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{path}: there is no folder {folder}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that points to the user's line: the first on the stack outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "xpnet":
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


def list_names(names: Sequence[str]) -> str:
    """Format names; of many, the first twelve.

    Examples
    --------
    >>> list_names(["a", "b"])
    "'a', 'b'"
    """
    return choices(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")


def name_backend(backend: str, device: Any = None) -> str:
    """Format the arguments that ask for a backend: backend=, and device= unless it is None.

    Examples
    --------
    >>> name_backend("'cupy'"), name_backend("'cupy'", "cuda:1")
    ("backend='cupy'", "backend='cupy' with device='cuda:1'")
    """
    return f"backend={backend}" if device is None else f"backend={backend} with device={device!r}"


def truncate(text: object, most: int = 1000) -> str:
    """Shorten a text that may be long, such as a value from a file.

    Examples
    --------
    >>> truncate("abc" * 99, most=5)
    'abcab...'
    """
    text = str(text)
    return text if len(text) <= most else text[:most] + "..."


def describe_error(error: Exception) -> str:
    """Quote an error about a file in a message, with the name of its kind if it is Python's or a library's.

    Examples
    --------
    >>> describe_error(ArgumentError("it is damaged")), describe_error(KeyError("layers"))
    ('it is damaged', "KeyError: 'layers'")
    """
    text = printable(truncate(error))
    return text if isinstance(error, ArgumentError) else f"{type(error).__name__}: {text}"


def show(value: object) -> str:
    """Write a value for a message in one line; of a long one, such as an array, only the beginning.

    Examples
    --------
    >>> show("tanh"), len(show([0] * 1000))
    ("'tanh'", 203)
    """
    return truncate(re.sub(r"\s*\n\s*", " ", repr(value)), 200)


def printable(text: object) -> str:
    r"""Escape line breaks, and whatever a terminal would act on or not show: the text may come from a stranger's file.

    Texts that `repr` has quoted need no more.

    Examples
    --------
    >>> print(printable("accuracy: 99%\x1b[2J"), printable("100 µm"))
    accuracy: 99%\x1b[2J 100 µm
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of a JSON object, as its `object_pairs_hook`; refuse duplicate keys, which JSON would ignore.

    Examples
    --------
    >>> refuse_duplicates([("a", 1), ("a", 2)])
    Traceback (most recent call last):
    xpnet.ArgumentError: the key 'a' appears twice
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = Counter(key for key, _ in pairs)
        raise ArgumentError(f"the key {reprlib.repr(keys.most_common(1)[0][0])} appears twice")
    return record


def is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Tell whether a value is a list or a tuple."""
    return isinstance(value, (list, tuple))


def has_entries(value: Any) -> bool:
    """Tell whether a value is a list, a tuple, or a NumPy array with an axis."""
    return is_list(value) or (isinstance(value, np.ndarray) and value.ndim > 0)


def is_dict(value: Any) -> TypeGuard[dict[Any, Any]]:
    """Tell whether a value is a dict."""
    return isinstance(value, dict)


def is_text(value: Any) -> bool:
    """Tell whether a value is a string, where type checkers take it for granted."""
    return isinstance(value, str)


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


# Values from a file; the error names the place of a value, and what is expected there


def require(condition: bool, place: str, value: Any, expected: str) -> None:
    """Refuse a value unless it is what is expected.

    Examples
    --------
    >>> require(False, "history", 1, "a list of rows")
    Traceback (most recent call last):
    xpnet.ArgumentError: history=1 must be a list of rows
    """
    if not condition:
        raise ArgumentError(f"{place}={truncate(repr(value), 100)} must be {expected}")


def require_keys(place: str, value: Any, keys: Iterable[str]) -> None:
    """Refuse a value unless it is a dict, in JSON an object, with these keys and no others."""
    found: Any = list(value) if is_dict(value) else value
    fits = is_dict(value) and set(found) == set(keys)
    require(fits, place, found, f"an object with the keys {sorted(keys)}")


def check_dict(name: str, value: Any) -> dict[str, Any]:
    """Check that a value is a dict."""
    require(isinstance(value, dict), name, value, "a dict")
    return cast("dict[str, Any]", value)


def check_number(place: str, value: Any) -> float:
    """Check that a value is a number that a float can hold, or NaN.

    Examples
    --------
    >>> check_number("cost", 1)
    1.0
    """
    require(type(value) is float or (type(value) is int and abs(value) < NUMBER_LIMIT), place, value, "a number")
    return float(value)
