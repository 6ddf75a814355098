"""Weights and biases that users assign: checked, and copied to the device."""

from collections.abc import Sequence
from typing import Any

from xpnet.backends.base import Place
from xpnet.core.arrays import Array
from xpnet.core.model import Model
from xpnet.data.conversion import as_real_array
from xpnet.errors import ArgumentError


def parse_weights(weights: Any, model: Model, place: Place, name: str = "") -> list[Array]:
    """Check weights (n_out, n_in) of each layer, and copy them to the device."""
    name = f"w of {name}" if name else "w"
    arrays = _check_arrays(name, weights, len(model.shapes))
    return [
        _parse_parameter(f"{name}[{l}]", array, [shape], place)
        for l, (array, shape) in enumerate(zip(arrays, model.shapes))
    ]


def parse_biases(biases: Any, model: Model, place: Place, name: str = "") -> list[Array]:
    """Check biases (n_out,), (1, n_out) or (n_out, 1) of each layer, and copy them to the device as (1, n_out)."""
    name = f"b of {name}" if name else "b"
    arrays = _check_arrays(name, biases, len(model.shapes))
    return [
        _parse_parameter(f"{name}[{l}]", array, [(n_out,), (1, n_out), (n_out, 1)], place)
        for l, (array, (n_out, _)) in enumerate(zip(arrays, model.shapes))
    ]


def split_layers(layers: Any, name: str = "layers") -> tuple[list[Any], list[Any]]:
    """Split a list of pairs (w, b) into weights and biases."""
    if not isinstance(layers, (tuple, list)) or not all(
        isinstance(layer, (tuple, list)) and len(layer) == 2 for layer in layers
    ):
        raise ArgumentError(f"{name} must be a list of pairs (w, b)")
    return [w for w, _ in layers], [b for _, b in layers]


def _check_arrays(name: str, arrays: Any, n: int) -> Sequence[Any]:
    if not isinstance(arrays, (tuple, list)):
        raise ArgumentError(f"{name} must be a list of {n} arrays, not a {type(arrays).__name__}")
    if len(arrays) != n:
        raise ArgumentError(f"{name} has {len(arrays)} arrays, but the network has {n} layers of weights")
    return arrays


def _parse_parameter(name: str, array: Any, shapes: Sequence[tuple[int, ...]], place: Place) -> Array:
    """Check an array of weights or biases, which may have any of the shapes, and copy it to the device as a matrix."""
    x = as_real_array(array, name)
    if tuple(x.shape) not in shapes:
        raise ArgumentError(f"{name} has shape {tuple(x.shape)}, but must have {shapes[0]}")
    backend = place.backend
    with place.scope():
        x = backend.asarray(x, place.dtype, name)
        if not backend.all_finite([x]):
            raise ArgumentError(f"{name} holds NaN or infinity")
        matrix = shapes[0] if len(shapes) == 1 else (1, *shapes[0])
        return backend.copy(backend.xp.reshape(x, matrix))
