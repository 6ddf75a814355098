"""The names of the inputs of a network: the columns of the table that it was trained on."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

from xpnet.errors import ArgumentError


def name_part(part: str, name: str) -> str:
    """Name a part of some data for messages; data without a name have it alone.

    Examples
    --------
    >>> name_part("X", "train_data"), name_part("X", "")
    ('X of train_data', 'X')
    """
    return f"{part} of {name}" if name else part


def column_names(x: Any, name: str) -> tuple[str, ...] | None:
    """Return the column names of inputs, as scikit-learn sees them; None unless they are strings.

    Those are the columns of a table of any library, the index of a row of pandas, and the coordinates of the last axis
    of an array that has them, as in xarray.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> column_names(SimpleNamespace(columns=["width", "height"]), "x"), column_names([[1, 2]], "x")
    (('width', 'height'), None)
    """
    if hasattr(x, "columns"):
        names = x.column_names if hasattr(x, "schema") and hasattr(x, "column_names") else x.columns  # of pyarrow
    elif has_coordinates(x):
        axis = x.dims[-1]
        names = x.coords[axis].values.tolist() if axis in x.coords else None
    else:
        names = x.index if hasattr(x, "iloc") else None
    if isinstance(names, str) or not isinstance(names, Iterable):
        return None
    names = tuple(names)
    are_strings = [isinstance(column, str) for column in names]
    if any(are_strings) and not all(are_strings):
        other = names[are_strings.index(False)]
        raise ArgumentError(
            f"{name} has column names that are not strings, such as {other!r} of type {type(other).__name__}; make all "
            "of them strings, as X.columns = X.columns.astype(str) does"
        )
    if not all(are_strings) or not names:
        return None
    if len(set(names)) < len(names):
        duplicate = next(column for column in names if names.count(column) > 1)
        raise ArgumentError(f"{name} has several columns named {duplicate!r}; give each a name of its own")
    return names


def has_coordinates(x: Any) -> bool:
    """Tell whether this is a row or a table with coordinates on its axes, as in xarray."""
    return hasattr(x, "dims") and hasattr(x, "coords") and getattr(x, "ndim", 0) in (1, 2)


def compare_names(x: Any, names: tuple[str, ...], trained: tuple[str, ...]) -> str:
    """Format where the column names of x first differ from the known ones, and what to do."""
    k, pair = next((k, pair) for k, pair in enumerate(zip_longest(names, trained)) if pair[0] != pair[1])
    now, then = ("missing" if column is None else repr(column) for column in pair)
    index = f".sel({{{x.dims[-1]!r}: list(net.feature_names)}})" if has_coordinates(x) else "[list(net.feature_names)]"
    return (
        f"has other columns than the network was trained on: column {k} is {now} and was {then}, counted from 0; take "
        f"them by their names, as in X{index}; or if others are meant, give an array, or set net.feature_names to None"
    )
