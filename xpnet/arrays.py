"""What everything here is made of: arrays, layers of them, and nests of both.

Nothing in this module computes; every other module may import it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

Array: TypeAlias = Any  # an array of whichever library the network computes with
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


def blocks(x: Array, width: int | None = None) -> Iterator[Array]:
    """Cut an array into rows of bounded size, counting `width` numbers a row, or those it has."""
    rows = bound(1, math.prod(x.shape[1:]) if width is None else width)
    for start in range(0, x.shape[0], rows):
        yield x[start : min(start + rows, x.shape[0]), ...]


def bound(m: int, n: int) -> int:
    """How many (m, n) arrays may be looked at together."""
    return max(1, BLOCK // (m * n))
