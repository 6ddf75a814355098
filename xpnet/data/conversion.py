"""Data from users, of any library, become arrays of real numbers."""

import math
import mmap
from collections import deque
from collections.abc import Iterator, Sequence
from inspect import isroutine
from typing import Any, TypeGuard

import array_api_compat
import numpy as np

from xpnet._checks import is_list, truncate
from xpnet.backends.base import as_array, host_array
from xpnet.core.arrays import Array
from xpnet.errors import ArgumentError

__all__ = [
    "as_real_array",
    "count_input_bytes",
    "find_map",
    "holds_arrays",
    "is_arrow_table",
    "is_pair",
    "refuse_masks_and_units",
    "stack",
    "stays_outside",
]

SEQUENCES, MAX_AXES = (list, tuple, deque), 64  # that NumPy converts to an array
NUMBERS = {bool, int, float}
UNITS = "unit", "units"  # what libraries call the unit of a quantity
LEAST_BYTES = 1 << 26  # of inputs that stay outside memory; smaller ones are read whole, which is faster


def stays_outside(x: Any) -> bool:
    """Tell whether inputs stay where they are, and are read by rows.

    These are large memory maps; large arrays with a shape, a NumPy dtype and an index of rows that are not in memory,
    as in HDF5 and Zarr files, and Dask's; and large Arrow tables, whose rows can be taken.

    Examples
    --------
    >>> stays_outside(np.zeros((2, 3)))
    False
    """
    if isinstance(x, np.ndarray):
        return x.nbytes >= LEAST_BYTES and x.dtype.kind in "buif" and x.ndim > 1 and find_map(x) is not None
    if hasattr(type(x), "stays_outside"):  # `HostRows`
        return True
    return (_is_array_of_rows(x) or is_arrow_table(x)) and count_input_bytes(x) >= LEAST_BYTES


def find_map(x: Any) -> mmap.mmap | None:
    """Find the memory map that an array is a view of, if it is one."""
    while isinstance(x, np.ndarray):
        x = x.base
    return x if isinstance(x, mmap.mmap) else None


def is_arrow_table(x: Any) -> bool:
    """Tell whether this is a table of pyarrow."""
    return all(hasattr(x, name) for name in ("schema", "take", "column_names", "nbytes", "shape"))


def count_input_bytes(x: Any) -> int:
    """Count the bytes of an array, or of an Arrow table."""
    return x.nbytes if is_arrow_table(x) else math.prod(x.shape) * x.dtype.itemsize


def _is_array_of_rows(x: Any) -> bool:
    """Tell whether an object is like an array, but is neither one in memory nor a table nor sparse."""
    if any(hasattr(x, name) for name in ("__dlpack__", "columns", "iloc", "toarray", "todense")):
        return False
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if not isinstance(shape, tuple) or len(shape) < 2 or not all(isinstance(n, (int, np.integer)) for n in shape):
        return False
    return hasattr(x, "__getitem__") and isinstance(dtype, np.dtype) and dtype.kind in "buif"


def as_real_array(x: Any, name: str) -> Array:
    """Return an array of real numbers, of whichever library; refuse objects, strings and complex numbers."""
    if type(x) is np.ndarray and x.dtype.char in "?bBhHiIlLqQfd":
        return x  # fast path: predicting one example takes microseconds
    x = _convert(x, name)
    if not _is_real(x):
        raise ArgumentError(
            f"{name} has dtype {x.dtype}; give real numbers, and classes as whole numbers from 0{_locate_text(x, name)}"
        )
    return x


def refuse_masks_and_units(x: Any, name: str) -> None:
    """Refuse arrays with a mask or a unit, and sequences that hold one: NumPy would drop the mask or the unit.

    Examples
    --------
    >>> refuse_masks_and_units([np.ma.masked_equal([1, 2], 2)], "x")
    Traceback (most recent call last):
    xpnet.ArgumentError: x is a masked array, or holds one; give its filled() values
    """
    part = _find_mask_or_unit(x)
    if _has_mask(part):
        raise ArgumentError(f"{name} is a masked array, or holds one; give its filled() values")
    if part is not None:
        raise ArgumentError(
            f"{name} is a quantity with a unit, or holds one; give its numbers in a unit of your choice, such as "
            'to_value("m") of astropy or to("m").magnitude of pint'
        )


def stack(values: Sequence[Any], name: str) -> Array:
    """Stack single examples into one array, in their own library."""
    try:
        arrays = [_convert(value, name) for value in values]
        return array_api_compat.array_namespace(arrays[0]).stack(arrays)
    except (ValueError, TypeError, RuntimeError) as error:
        shapes = sorted({tuple(as_real_array(value, name).shape) for value in values})[:3]
        raise ArgumentError(f"{name} differ from example to example (shapes {shapes}); make them equal") from error


def _convert(x: Any, name: str) -> Array:
    """Return an array of any library, or convert to one; refuse sparse and masked arrays, and those with a unit."""
    for method in ("toarray", "todense"):
        if hasattr(x, method):
            raise ArgumentError(f"{name} is sparse; give its {method}()")
    is_table = hasattr(x, "iloc")
    if not is_table:
        refuse_masks_and_units(x, name)
    x = as_array(x, name, np.float64 if _is_mixed_table(x) else None)
    if is_table and x.dtype == object:  # looking at all columns of each row would take longer
        refuse_masks_and_units(x, name)
    return host_array(x) if isinstance(x, np.ndarray) else x


def is_pair(item: Any) -> bool:
    """Tell whether this is a pair (x, y), of an example or a batch: two values in a tuple or a list."""
    return is_list(item) and len(item) == 2


def holds_arrays(data: Any) -> TypeGuard[tuple[Any, Any]]:
    """Tell whether data are a tuple (X, y), and not two pairs.

    Examples
    --------
    >>> holds_arrays(([[1.0], [2.0]], [3.0, 4.0])), holds_arrays((([1.0], 3.0), ([2.0], 4.0)))
    (True, False)
    """
    return isinstance(data, tuple) and len(data) == 2 and not all(isinstance(part, tuple) for part in data)


def _locate_text(x: Array, name: str) -> str:
    """Format the place of the first value that is not a number, in an array of objects or strings, and the remedy."""
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "OUS" or x.ndim == 0:
        return ""
    for place, value in np.ndenumerate(x):
        try:
            float(value)
        except (TypeError, ValueError, OverflowError):
            where = "row {}, column {}".format(*place) if x.ndim == 2 else f"place {', '.join(map(str, place))}"
            shown = truncate(repr(value.item() if isinstance(value, np.generic) else value), 40)
            is_table = x.ndim == 2 and name[:1] in ("x", "X")
            remedy = "; turn columns of texts into numbers first, as an encoder of tables does" if is_table else ""
            return f" ({shown} in {where}, counted from 0){remedy}"
    return ""


def _is_real(x: Array) -> bool:
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "buif"
    try:
        return array_api_compat.array_namespace(x).isdtype(x.dtype, ("bool", "integral", "real floating"))
    except TypeError:  # not a dtype of the array API, such as that of JAX's random keys
        return False


def _find_mask_or_unit(x: Any, depth: int = 0) -> Any:
    """Find an array with a mask or a unit, in nested sequences and objects too; None if there is none."""
    if not isinstance(x, SEQUENCES):
        for array in _unwrap(x):
            if _has_mask(array) or _has_unit(array):
                return array
        x = _list_objects(x)
    kinds = set(map(type, x)) - NUMBERS  # there are few, so long lists of numbers take little time
    if not kinds or depth == MAX_AXES:
        return None
    is_nested = any(issubclass(kind, SEQUENCES) for kind in kinds)
    items = x if is_nested else (next(item for item in x if type(item) is kind) for kind in kinds)
    parts = (_find_mask_or_unit(item, depth + 1) for item in items)
    return next((part for part in parts if part is not None), None)


def _unwrap(x: Any) -> Iterator[Any]:
    """Iterate over an array and those within it: the data of xarray's, and what Dask's blocks will be like."""
    yield x
    if hasattr(type(x), "data") and not hasattr(x, "__dlpack__") and x.data is not x:
        yield from _unwrap(x.data)
    elif hasattr(type(x), "__dask_graph__") and hasattr(x, "_meta"):
        yield x._meta


def _list_objects(x: Any) -> Sequence[Any]:
    """List the values of an array of objects, or of the columns of objects of pandas, of which others have one type."""
    if isinstance(x, np.ndarray):
        return x.ravel().tolist() if x.dtype == object else ()
    if not hasattr(x, "iloc") or getattr(x, "ndim", 0) not in (1, 2):
        return ()
    dtypes = [x.dtype] if x.ndim == 1 else x.dtypes
    places = [k for k, dtype in enumerate(dtypes) if getattr(dtype, "kind", "") == "O"]
    columns = (x if x.ndim == 1 else x.iloc[:, k] for k in places)
    return [value for column in columns for value in (column if column.dtype == object else column.iloc[:1])]


def _has_mask(x: Any) -> bool:
    """Tell whether a NumPy array has a mask, as those of numpy.ma and astropy."""
    return isinstance(x, np.ndarray) and hasattr(x, "mask")


def _has_unit(x: Any) -> bool:
    """Tell whether an array or number has a unit that it computes with, as those of astropy, pint and unyt.

    A text only labels, a method is no unit, and a table may have columns that are named so.
    """
    owner = x if isinstance(x, np.ndarray) else type(x)
    units = [getattr(x, name, None) for name in UNITS if hasattr(owner, name)]
    return any(not (unit is None or isinstance(unit, str) or isroutine(unit)) for unit in units)


def _is_mixed_table(x: Any) -> bool:
    """Tell whether this is a table with columns of real numbers in several dtypes, or in dtypes that NumPy lacks."""
    dtypes = list(x.dtypes) if getattr(x, "ndim", 0) == 2 and hasattr(x, "dtypes") else []
    real = all(getattr(dtype, "kind", "") in tuple("buif") for dtype in dtypes)
    return real and (len(set(dtypes)) > 1 or not all(isinstance(dtype, np.dtype) for dtype in dtypes))
