"""Checks of values that were read from a file. The error names the place of a value, and what is expected there."""

import math
from collections.abc import Iterable
from typing import Any, cast

from xpnet._checks import truncate
from xpnet.errors import ArgumentError

NUMBER_LIMIT = 2**63  # whole numbers are smaller


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
    found: Any = list(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
    fits = isinstance(value, dict) and set(found) == set(keys)
    require(fits, place, found, f"an object with the keys {sorted(keys)}")


def check_dict(name: str, value: Any) -> dict[str, Any]:
    """Check that a value is a dict."""
    require(isinstance(value, dict), name, value, "a dict")
    return cast("dict[str, Any]", value)


def check_whole(name: str, value: Any, low: int, high: int = NUMBER_LIMIT) -> int:
    """Check that a value is a whole number from `low` and below `high`.

    Examples
    --------
    >>> check_whole("epoch", 3, 1)
    3
    """
    require(type(value) is int and low <= value < high, name, value, f"a whole number of at least {low}, below {high}")
    return value


def check_number(name: str, value: Any, least: float | None = None) -> float:
    """Check that a value is a number that a float can hold; with `least`, a finite one of at least that.

    Examples
    --------
    >>> check_number("cost", 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(f"{name}={value!r} must be a number")
    if isinstance(value, int) and abs(value) >= NUMBER_LIMIT:
        raise ArgumentError(f"{name}={value!r} is too large")
    if least is not None and not least <= value < math.inf:
        raise ArgumentError(f"{name}={value!r} must be a finite number of at least {least:g}")
    return float(value)
