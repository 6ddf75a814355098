"""Weights, biases and scalings that users assign: checked, copied to the device, and put into a new value."""

from collections.abc import Sequence
from typing import Any

from xpnet._checks import is_list
from xpnet.backends.base import Place
from xpnet.core.arrays import Array, Layers
from xpnet.core.model import Model
from xpnet.core.scaling import Scaling
from xpnet.data import place_scaling
from xpnet.data.conversion import as_real_array
from xpnet.errors import ArgumentError
from xpnet.value._value import FITTED_TO_WEIGHTS, Objective, Value

FITTED_TO_LAYERS = {**FITTED_TO_WEIGHTS, "objective": Objective()}  # likewise, once users change weights themselves


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


def split_pairs(layers: Any, name: str = "layers") -> tuple[list[Any], list[Any]]:
    """Split a list of pairs (w, b) into weights and biases."""
    if not is_list(layers) or not all(is_list(layer) and len(layer) == 2 for layer in layers):
        raise ArgumentError(f"{name} must be a list of pairs (w, b)")
    return [w for w, _ in layers], [b for _, b in layers]


def _check_arrays(name: str, arrays: Any, n: int) -> Sequence[Any]:
    if not is_list(arrays):
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


def assign_layers(value: Value, layers: Any, name: str = "") -> Value:
    """Replace weights and biases, which are pairs (w, b); `name` is that of the argument, for messages."""
    weights, biases = split_pairs(layers, name or "layers")
    weights = parse_weights(weights, value.model, value.place, name)
    biases = parse_biases(biases, value.model, value.place, name)
    return _replace_layers(value, weights, biases)


def assign_weights(value: Value, weights: Any) -> Value:
    """Replace the weights."""
    weights = parse_weights(weights, value.model, value.place)
    return _replace_layers(value, weights, [b for _, b in value.state.layers])


def assign_biases(value: Value, biases: Any) -> Value:
    """Replace the biases."""
    biases = parse_biases(biases, value.model, value.place)
    return _replace_layers(value, [w for w, _ in value.state.layers], biases)


def _replace_layers(value: Value, weights: Sequence[Array], biases: Sequence[Array]) -> Value:
    layers: Layers = tuple(zip(weights, biases))
    state = value.state._replace(layers=layers)
    return value._replace(stored=state, **FITTED_TO_LAYERS, provenance=value.provenance.edit())


def assign_scaling(value: Value, scaling: Any) -> Value:
    """Replace the scaling of `standardize`; None means that there is none yet."""
    placed = None
    if scaling is not None:
        if not isinstance(scaling, Scaling):
            raise ArgumentError(f"scaling={scaling!r} must be a Scaling, such as that of another network, or None")
        arrays = (x if x is None else as_real_array(x, "scaling") for x in scaling)
        placed = place_scaling(Scaling._make(arrays), value.model, value.place)
    return value._replace(scaling=placed, **FITTED_TO_WEIGHTS, novelty=None)
