"""Arrays, layers of arrays, and nests of both.

A nest is an array, None, or a tuple of nests: the layers of a network, or the state of an optimizer.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from xpnet.errors import ArgumentError

__all__ = [
    "BLOCK_ELEMENTS",
    "Array",
    "Function",
    "Layer",
    "Layers",
    "Namespace",
    "Native",
    "Nest",
    "Same",
    "blocks",
    "combine_arrays",
    "count_bytes",
    "count_elements",
    "cut_rows",
    "join_layers",
    "leaves",
    "map_arrays",
    "map_layers",
    "positions",
    "rebuild",
    "rows_per_block",
    "select",
    "split_layers",
    "take_examples",
]

# An array of whichever library the network computes with. The mathematics uses only what all of them have, named as
# in the Array API standard, and assigns to no elements, which JAX does not allow
Array: TypeAlias = Any
Function: TypeAlias = Callable[..., Any]
Namespace: TypeAlias = Any  # that library's Array API namespace, called xp everywhere
Native: TypeAlias = Any  # an array of a library known by name, with all that this library offers; only for backends

BLOCK_ELEMENTS = 1 << 22  # elements in a block of rows; bounds the memory that checks, predictions and evaluation take

Same = TypeVar("Same", bound=Any)  # what a function returns is of the library of its arguments
Nest: TypeAlias = Any  # an array, None, or a tuple of nests, such as the state of an optimizer

# Weights and biases of every layer, or arrays of the same shapes (gradients, velocities): a pair (w, b) for each layer,
# with w of shape (n_out, n_in) and b of shape (1, n_out), a row that can be added to a minibatch of rows.
Layers: TypeAlias = tuple[tuple[Array, Array], ...]


class Layer(NamedTuple):
    """Weights and biases of one layer, or their gradients, in the shapes that users see."""

    w: Array  # (n_out, n_in)
    b: Array  # (n_out,)


def map_arrays(function: Callable[[Any], Any], nest: Nest) -> Any:
    """Apply a function to every array in a nest and keep the structure.

    Examples
    --------
    >>> map_arrays(lambda x: 10 * x, (Layer(1, 2), None, ()))
    (Layer(w=10, b=20), None, ())
    """
    if not isinstance(nest, tuple):
        return None if nest is None else function(nest)
    # Calls for tuples alone: an epoch of few steps spends much of its time here
    parts: list[Any] = [
        map_arrays(function, part) if isinstance(part, tuple) else None if part is None else function(part)
        for part in nest
    ]
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)  # faster than `_make`


def combine_arrays(function: Callable[..., Any], nest: Nest, *others: Nest) -> Any:
    """Apply a function to the arrays at the same place of several nests, in the structure of the first.

    Examples
    --------
    >>> combine_arrays(lambda x, y: x + y, (Layer(1, 2), None), (Layer(10, 20), 30))
    (Layer(w=11, b=22), None)
    """
    if not isinstance(nest, tuple):
        return None if nest is None else function(nest, *others)
    parts: list[Any] = [combine_arrays(function, *parts) for parts in zip(nest, *others)]
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)


def leaves(nest: Nest) -> list[Any]:
    """List every array in a nest, in order.

    Examples
    --------
    >>> leaves((Layer(1, 2), None, (3,)))
    [1, 2, 3]
    """
    if not isinstance(nest, tuple):
        return [] if nest is None else [nest]
    arrays: list[Any] = []
    for part in nest:
        if isinstance(part, tuple):
            arrays += leaves(part)
        elif part is not None:
            arrays.append(part)
    return arrays


def count_bytes(x: Array) -> int:
    """Count the bytes of the elements of an array.

    Examples
    --------
    >>> import numpy as np
    >>> count_bytes(np.ones((2, 3), np.float32))
    24
    """
    return math.prod(x.shape) * np.dtype(str(x.dtype).rpartition(".")[2]).itemsize


def select(nest: Any, i: Any) -> Any:
    """Index every array in a nest along its first axis, with a number or a slice.

    Examples
    --------
    >>> import numpy as np
    >>> select((np.arange(3), None), 1)
    (array(1), None)
    """
    return map_arrays(lambda x: x[i, ...], nest)


def take_examples(nest: Any, index: Array, xp: Namespace) -> Any:
    """Take rows of every array in a nest by their numbers: an index (..., m) turns (n, k) into (..., m, k).

    Examples
    --------
    >>> import numpy as np
    >>> take_examples((np.array([[1, 2], [3, 4]]), None), np.array([[1], [0]]), np)[0].tolist()
    [[[3, 4]], [[1, 2]]]
    """
    flat = xp.reshape(index, (-1,))
    return map_arrays(lambda x: xp.reshape(xp.take(x, flat, axis=0), (*index.shape, *x.shape[1:])), nest)


def positions(x: Array, xp: Namespace) -> Array:
    """Number the elements along the last axis of x from 0, in int32: a JAX tracer has no device to give to `arange`.

    Examples
    --------
    >>> import numpy as np
    >>> positions(np.ones((2, 3)), np).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    return xp.cumulative_sum(xp.ones_like(x, dtype=xp.int32), axis=-1, dtype=xp.int32) - 1


def rebuild(nest: Any, arrays: Sequence[Array]) -> Any:
    """Replace the arrays of a nest, in order, by others of the same shapes and dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> rebuild((np.ones(2), None), [np.zeros(2)])
    (array([0., 0.]), None)
    """
    expected, actual = ([(x.shape, str(x.dtype)) for x in xs] for xs in (leaves(nest), arrays))
    if expected != actual:
        raise ArgumentError(f"arrays of {actual} cannot replace those of {expected}")
    remaining = iter(arrays)
    return map_arrays(lambda _: next(remaining), nest)


def map_layers(rule: Callable[..., tuple[Array, ...]], *nests: Layers) -> tuple[Layers, ...]:
    """Apply a rule to the weights, and to the biases, of every layer.

    The rule takes an array of each nest and returns a tuple of arrays, one for each nest of the result.

    Examples
    --------
    >>> map_layers(lambda w, g: (w - g, 2 * g), ((5, 6),), ((1, 2),))
    (((4, 4),), ((2, 4),))
    """
    layers = [[rule(*arrays) for arrays in zip(*layer)] for layer in zip(*nests)]
    return tuple(zip(*[zip(*layer) for layer in layers]))


def blocks(x: Same, width: int | None = None) -> Iterator[Same]:
    """Cut an array into blocks of rows, sized for `width` elements per row; by default, the elements of a row."""
    n, width = x.shape[0], math.prod(x.shape[1:]) if width is None else width
    if n <= rows_per_block(width):
        yield x
        return
    for rows in cut_rows(n, width):
        yield x[rows, ...]


def cut_rows(n: int, width: int) -> Iterator[slice]:
    """Cut the rows 0, 1, ..., n - 1 into blocks, sized for `width` values per row.

    Examples
    --------
    >>> list(cut_rows(5, 2**21))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = rows_per_block(width)
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def rows_per_block(width: int) -> int:
    """Count the rows of `width` elements that fit into one block; at least one."""
    return max(1, BLOCK_ELEMENTS // width)


def count_elements(layers: Layers) -> int:
    """Count the weights and biases of a network, or of each of several."""
    return sum(part.shape[-1] * part.shape[-2] for part in leaves(layers))


def join_layers(layers: Layers, xp: Namespace) -> Array:
    """Join weights and biases into columns (..., P, 1), layer by layer: first the weights, row by row."""
    return xp.concat([xp.reshape(part, (*part.shape[:-2], -1, 1)) for part in leaves(layers)], axis=-2)


def split_layers(parameters: Array, layers: Layers, xp: Namespace) -> Layers:
    """Split columns (..., P, 1) into weights and biases of the shapes of `layers`."""
    arrays, start = list[Array](), 0
    for part in leaves(layers):
        end = start + part.shape[-1] * part.shape[-2]
        arrays.append(xp.reshape(parameters[..., start:end, :], part.shape))
        start = end
    return tuple(zip(arrays[::2], arrays[1::2]))
