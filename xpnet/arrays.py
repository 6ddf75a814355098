"""What everything here is made of: arrays, layers of them, and nests of both.

Nothing in this module computes; every other module may import it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

Array: TypeAlias = Any  # an array of whichever library the network computes with
Function: TypeAlias = Callable[..., Any]
Namespace: TypeAlias = Any  # that library's Array API namespace, called xp everywhere

BLOCK = 1 << 22  # elements looked at together; bounds the memory that checks and evaluation take


# Weights and biases of every layer, or what is shaped like them (gradients, velocities), inside: a pair (w, b) a layer,
# w of shape (n_out, n_in) and b of shape (1, n_out), a row that adds to a minibatch of rows.
Layers: TypeAlias = tuple[tuple[Array, Array], ...]


class Layer(NamedTuple):
    """Weights and biases of one layer, or their gradients, as the public sees them."""

    w: Array  # (n_out, n_in)
    b: Array  # (n_out,)


def map_arrays(function: Callable[[Array], Any], nest: Any) -> Any:
    """Apply `function` to every array in a nest of tuples, keeping its structure.

    Examples
    --------
    >>> map_arrays(lambda x: 10 * x, (Layer(1, 2), None, ()))
    (Layer(w=10, b=20), None, ())
    """
    if nest is None:
        return None
    if not isinstance(nest, tuple):
        return function(nest)
    parts = [map_arrays(function, part) for part in nest]
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)


def leaves(nest: Any) -> list[Array]:
    """List every array in a nest of tuples, in order.

    Examples
    --------
    >>> leaves((Layer(1, 2), None, (3,)))
    [1, 2, 3]
    """
    if nest is None:
        return []
    return [leaf for part in nest for leaf in leaves(part)] if isinstance(nest, tuple) else [nest]


def part(nest: Any, i: Any) -> Any:
    """Take an index, or a slice, along the first axis of every array in a nest.

    Examples
    --------
    >>> import numpy as np
    >>> part((np.arange(3), None), 1)
    (array(1), None)
    """
    return map_arrays(lambda x: x[i, ...], nest)


def refill(nest: Any, arrays: Sequence[Array]) -> Any:
    """Put other arrays of the same shapes and dtypes into a nest, in order.

    Examples
    --------
    >>> import numpy as np
    >>> refill((np.ones(2), None), [np.zeros(2)])
    (array([0., 0.]), None)
    """
    wanted, given = ([(x.shape, str(x.dtype)) for x in each] for each in (leaves(nest), arrays))
    if wanted != given:
        raise ValueError(f"arrays of {given} cannot stand for those of {wanted}")
    left = iter(arrays)
    return map_arrays(lambda _: next(left), nest)


def each_array(rule: Callable[..., tuple[Array, ...]], *nests: Layers) -> tuple[Layers, ...]:
    """Apply a rule to the weights, and to the biases, of every layer: arrays of each nest in, an array of each out.

    Examples
    --------
    >>> each_array(lambda w, g: (w - g, 2 * g), ((5, 6),), ((1, 2),))
    (((4, 4),), ((2, 4),))
    """
    layers = [[rule(*parts) for parts in zip(*layer)] for layer in zip(*nests)]
    return tuple(zip(*[zip(*layer) for layer in layers]))


def blocks(x: Array, width: int | None = None, most: int = BLOCK) -> Iterator[Array]:
    """Cut an array into rows of at most so many numbers, counting `width` numbers a row, or those it has."""
    n, rows = x.shape[0], max(1, most // (math.prod(x.shape[1:]) if width is None else width))
    if n <= rows:
        yield x
        return
    for start in range(0, n, rows):
        yield x[start : min(start + rows, n), ...]


def bound(m: int, n: int) -> int:
    """How many (m, n) arrays may be looked at together."""
    return max(1, BLOCK // (m * n))
