"""Making a source of the user's data: arrays, pairs, a data set, or an iterable of batches."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, TypeGuard

import array_api_compat

from xpnet._checks import check_count
from xpnet.data._gathered import Stored, gather_examples
from xpnet.data._host_rows import HostRows, stays_in_place
from xpnet.data._names import name_part
from xpnet.data._streams import Dataset, make_batches, read_item
from xpnet.data._vision import pixels_and_labels
from xpnet.data.conversion import is_pair, stays_outside
from xpnet.data.reader import Reader
from xpnet.data.resident import Resident, make_resident
from xpnet.data.source import Source, make_bar
from xpnet.errors import ArgumentError

CHOICES = (
    "give a tuple (X, y) of arrays, a sequence of (x, y) pairs, a data set with __len__ and __getitem__, "
    "or an iterable of batches (X, y)"
)


def make_source(
    data: Any,
    name: str,
    reader: Reader,
    *,
    epochs: int = 1,
    steps: int | None = None,
    cache: bool = True,
    progress: bool = False,
) -> Source:
    """Make a source from the user's data.

    Parameters
    ----------
    data
        A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; an iterable of batches.
    name
        Its name in error messages.
    reader
        Checks the examples and moves them to the device.
    epochs
        Number of passes over it.
    steps
        Minibatches per epoch, for an iterable of batches only.
    cache
        Whether a data set is read once and kept on the device, or read again each epoch.
    progress
        Whether reading a data set shows a bar.

    Raises
    ------
    ArgumentError
        If it is none of these, or holds examples that do not fit the network.
    """
    if data is None:
        raise ArgumentError(f"{name} is missing: give (X, y), pairs, a data set or an iterable of batches")
    if isinstance(data, (str, bytes, memoryview, Mapping)) or array_api_compat.is_array_api_obj(data):
        raise ArgumentError(f"{name} is of type {type(data).__name__}; {CHOICES}")
    has_length = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if not has_length and isinstance(data, Iterable):
        if epochs > 1 and steps is None and isinstance(data, Iterator):
            raise ArgumentError(
                f"{name} is an iterator, which can be iterated over only once, not epochs={epochs} times; give an "
                "object that can be iterated over again, such as a DataLoader, or steps="
            )
        return make_batches(data, name, reader, steps)
    if not has_length:
        raise ArgumentError(f"{name} is of type {type(data).__name__}; {CHOICES}")
    if steps is not None:
        raise ArgumentError(f"steps={steps!r} is for an iterable of batches; {name} has a length, so give epochs")
    if holds_arrays(data):
        return _open_arrays(*data, name, reader.learn_names(data[0], name_part("X", name)))
    n_items = _count_items(data, name)
    if n_items == 0:
        raise ArgumentError(f"{name} is empty")
    check_count(name, n_items)
    if isinstance(data, (tuple, list)):
        return _read_pairs(data, name, reader)
    pixels = pixels_and_labels(data, raw=reader.model.scale is not None)
    if pixels is not None:
        return make_resident(reader.read_examples(*pixels, name), reader)
    if not cache:
        reader = _read_pairs([read_item(data, 0, name)], name, reader).reader  # checked before training begins
        return Dataset(data, name, reader._replace(warns=False))
    return _read_pairs(_items(data, name, progress), name, reader)


def holds_arrays(data: Any) -> TypeGuard[tuple[Any, Any]]:
    """Tell whether data are a tuple (X, y), and not two pairs.

    Examples
    --------
    >>> holds_arrays(([[1.0], [2.0]], [3.0, 4.0])), holds_arrays((([1.0], 3.0), ([2.0], 4.0)))
    (True, False)
    """
    return isinstance(data, tuple) and len(data) == 2 and not all(isinstance(part, tuple) for part in data)


def _open_arrays(x: Any, y: Any, name: str, reader: Reader) -> Stored:
    """Make a source of inputs and targets: inputs that stay outside are gathered, all others are moved at once.

    A memory map that NumPy can compute with as it is stays in place, unless it exceeds the free memory.
    """
    if isinstance(x, HostRows) and x.rows is None and stays_in_place(x.inputs, reader):
        x = x.inputs
    if stays_outside(x) and not stays_in_place(x, reader):
        return gather_examples(x, y, name, reader)
    return make_resident(reader.read_examples(x, y, name), reader)


def _read_pairs(pairs: Iterable[Any], name: str, reader: Reader) -> Resident:
    """Read (x, y) pairs; all of them have the column names of the first, if it has any."""
    remaining = iter(pairs)
    first = list(islice(remaining, 1))
    if first and is_pair(first[0]):
        reader = reader.learn_names(first[0][0], f"x of item 0 of {name}")
    return make_resident(reader.read_pairs(chain(first, remaining), name), reader)


def _items(dataset: Any, name: str, progress: bool) -> Iterator[Any]:
    """Read a data set item by item, with a bar on standard error."""
    bar = make_bar(range(len(dataset)), desc=f"Reading {name}", leave=False, disable=not progress)
    return (read_item(dataset, i, name) for i in bar)


def _count_items(data: Any, name: str) -> int:
    try:
        return len(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"{name} is of type {type(data).__name__}, which has no length ({error}); {CHOICES}"
        ) from error
