"""What everything here is made of: arrays, layers of them, and nests of both.

Nothing in this module computes; every other module may import it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

Array: TypeAlias = Any  # an array of whichever library the network computes with
Namespace: TypeAlias = Any  # that library's Array API namespace, called xp everywhere


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
