"""Weights and biases that come from outside: checked, and copied to the device."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xpnet.arrays import Array
from xpnet.data import numbers

if TYPE_CHECKING:
    from xpnet.network import Network


def pairs(layers: Any) -> tuple[list[Any], list[Any]]:
    """Weights and biases of a list of pairs (w, b)."""
    if not isinstance(layers, (tuple, list)) or not all(
        isinstance(layer, (tuple, list)) and len(layer) == 2 for layer in layers
    ):
        raise TypeError("layers must be a list of pairs (w, b)")
    return [w for w, _ in layers], [b for _, b in layers]


def checked(net: "Network", name: str, arrays: Sequence[Any]) -> list[Array]:
    """Arrays of the network's own for its weights (`name` is "w") or its biases ("b")."""
    shapes = [(m, n) if name == "w" else (1, m) for n, m in zip(net.sizes, net.sizes[1:])]
    if not isinstance(arrays, (tuple, list)):
        raise TypeError(f"{name} must be a list of {len(shapes)} arrays, not a {type(arrays).__name__}")
    if len(arrays) != len(shapes):
        raise ValueError(f"{name} has {len(arrays)} arrays, but the network has {len(shapes)} layers of weights")
    found, backend = [], net.backend
    with backend.scope(net.dtype):
        for l, (array, shape) in enumerate(zip(arrays, shapes)):
            label = f"{name}[{l}]"
            x = numbers(array, label)
            wanted = shape if name == "w" else shape[1:]
            if tuple(x.shape) not in ({wanted} if name == "w" else {wanted, shape, shape[::-1]}):
                raise ValueError(f"{label} has shape {tuple(x.shape)}, but must have {wanted}")
            x = backend.asarray(x, net.dtype, label)
            if not backend.all_finite([x]):
                raise ValueError(f"{label} holds NaN or infinity")
            found.append(backend.own(backend.xp.reshape(x, shape)))
    return found
