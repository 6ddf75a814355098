"""Keras: networks from a Sequential model of Dense layers. Keras itself is not needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.core import activations
from xpnet.core.activations import Activation, make_elu, make_leaky_relu
from xpnet.errors import ArgumentError
from xpnet.export.parts import Part, put_together, unsupported_layer
from xpnet.network.network import Network
from xpnet.value import structure

# Names of functions in Keras -> activations
ACTIVATIONS: dict[str, Activation] = {
    "linear": activations.identity,
    **{
        name: activations.ACTIVATIONS[name]
        for name in ("relu", "sigmoid", "tanh", "softmax", "softplus", "silu", "elu", "selu", "gelu")
    },
    "swish": activations.silu,
    "exponential": activations.exp,
    "leaky_relu": make_leaky_relu(0.2),  # the slope of Keras's function; its layers have their own
}


def from_keras(
    model_or_weights: Any,
    *,
    activation: Any = None,
    output_activation: Any = None,
    task: str | None = None,
    cost: Any = None,
    backend: Any = None,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
) -> Network:
    """Make a network with the weights of a Keras model; its outputs are those of ``model.predict``.

    The model may have Dense layers, with or without bias; the layers Activation, ReLU, LeakyReLU, ELU and Softmax after
    a Dense layer without activation; Dropout; and InputLayer and Flatten at the front.

    Parameters
    ----------
    model_or_weights
        A Sequential model; or the arrays that ``model.get_weights()`` returns, kernel and
        bias of each Dense layer in turn.
    activation, output_activation
        The functions of the hidden layers and of the last one, as in `Network`; for arrays only, because a model has
        them itself.
    task, cost
        As in `Network`, for `measure` and further training. With neither, the cost is cross-entropy for a softmax or
        sigmoid output, and quadratic for most others.
    backend, device
        Where the network is to compute.
    dtype
        "float32" or "float64"; by default the dtype of the weights.
    seed
        Seed of the network's own generator, for training.

    Returns
    -------
    Network
        A network with copies of the weights.

    Raises
    ------
    ArgumentError
        If neither a Sequential model nor a list of arrays is given; or if the model has a layer or an activation that
        networks do not support (the message names its number and kind), or if arrays are given without activations.

    Examples
    --------
    >>> kernel, bias = np.array([[1.0], [2.0], [3.0]]), np.array([0.5])
    >>> net = from_keras([kernel, bias], output_activation="identity")
    >>> net.forward([1, 1, 1])
    array([6.5])
    """
    settings = {"task": task, "cost": cost, "backend": backend, "device": device, "dtype": dtype, "seed": seed}
    if isinstance(model_or_weights, (list, tuple)):
        parts = list(_read_weights(model_or_weights, activation, output_activation))
    elif any(kind.__name__ == "Sequential" for kind in type(model_or_weights).__mro__):  # others may have branches
        for name, value in (("activation", activation), ("output_activation", output_activation)):
            if value is not None:
                raise ArgumentError(
                    f"{name}={value!r} is for weights alone; the layers of a model say it, so leave it out"
                )
        parts = list(_read_layers(model_or_weights.layers))
    else:
        raise ArgumentError(
            "model_or_weights must be a Sequential model or the list that get_weights() returns, not of type "
            f"{type(model_or_weights).__name__}; put the layers, in their order, into keras.Sequential([...])"
        )
    return put_together(parts, "model_or_weights", **settings)


def _read_weights(weights: Sequence[Any], activation: Any, output_activation: Any) -> Iterator[Part]:
    if len(weights) % 2 or not weights:
        raise ArgumentError(
            f"model_or_weights has {len(weights)} arrays, but must have a kernel and a bias for each layer; give the "
            "model itself if its layers have no bias"
        )
    n = len(weights) // 2
    for name, value in (("activation", activation), ("output_activation", output_activation)):
        if value is None and (n > 1 or name == "output_activation"):
            raise ArgumentError(
                f"{name} is missing: arrays do not say which function follows them; give it, as in {name}='identity' "
                "for Dense layers without one, or the model itself"
            )
    hidden = structure.parse_hidden(activation, n - 1) if n > 1 else []
    sigmas = [*hidden, structure.parse_activation("output_activation", output_activation)]
    for l, (kernel, bias, sigma) in enumerate(zip(weights[::2], weights[1::2], sigmas)):
        yield _make_dense(f"layer {l}", kernel, bias)
        yield Part("activation", (sigma,), f"layer {l}")


def _read_layers(layers: Sequence[Any]) -> Iterator[Part]:
    for number, layer in enumerate(layers):
        kind = type(layer).__name__
        place = f"layer {number} ({kind})"
        if kind not in _READERS:
            raise ArgumentError(f"model_or_weights: {unsupported_layer(place, kind, _READERS)}")
        for part in _READERS[kind](place, layer):
            yield part._replace(place=place)


def _make_dense(place: str, kernel: Any, bias: Any = None) -> Part:
    kernel = np.asarray(kernel)
    bias = np.zeros(kernel.shape[-1:], kernel.dtype) if bias is None else np.asarray(bias)
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        raise ArgumentError(
            f"model_or_weights: {place} has weights of shapes {kernel.shape} and {bias.shape}, but a Dense layer has a "
            "kernel (n_in, n_out) and a bias (n_out,)"
        )
    return Part("dense", (kernel.T, bias), place)


def _read_dense(place: str, layer: Any) -> Iterator[Part]:
    weights = layer.get_weights()
    if not weights:
        raise ArgumentError(
            f"model_or_weights: {place} has no weights yet; build the model, as in model.build((None, 784))"
        )
    yield _make_dense(place, *weights)
    yield from _read_function(place, layer)


def _read_function(place: str, layer: Any) -> Iterator[Part]:
    function = getattr(layer, "activation", None)
    name = "linear" if function is None else getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS:
        raise ArgumentError(
            f"model_or_weights: {place} has the activation {name!r}, which is not supported; choose from "
            f"{', '.join(map(repr, ACTIVATIONS))}"
        )
    yield Part("activation", (ACTIVATIONS[name],))


def _read_relu(place: str, layer: Any) -> Iterator[Part]:
    if getattr(layer, "max_value", None) is not None or getattr(layer, "threshold", 0) != 0:
        raise ArgumentError(
            f"model_or_weights: {place} has max_value={layer.max_value}, threshold={layer.threshold}; a network's "
            "activation has neither"
        )
    slope = float(getattr(layer, "negative_slope", 0.0))
    yield Part("activation", (_make(place, make_leaky_relu, slope) if slope else activations.relu,))


def _read_leaky_relu(place: str, layer: Any) -> Iterator[Part]:
    slope = layer.negative_slope if hasattr(layer, "negative_slope") else layer.alpha  # Keras 3, Keras 2
    yield Part("activation", (_make(place, make_leaky_relu, slope),))


def _make(place: str, make: Callable[[float], Activation], number: Any) -> Activation:
    """Make an activation with a number; the error for a wrong one names the layer."""
    try:
        return make(float(number))
    except ValueError as error:
        raise ArgumentError(f"model_or_weights: {place} is not supported: {error}") from error


def _read_softmax(place: str, layer: Any) -> Iterator[Part]:
    if layer.axis not in (-1, 1):
        raise ArgumentError(f"model_or_weights: {place} has axis={layer.axis}; a network's softmax has axis=-1")
    yield Part("activation", (activations.softmax,))


_READERS: dict[str, Callable[[str, Any], Iterator[Part]]] = {
    "Dense": _read_dense,
    "Activation": _read_function,
    "ReLU": _read_relu,
    "LeakyReLU": _read_leaky_relu,
    "ELU": lambda place, layer: iter([Part("activation", (_make(place, make_elu, layer.alpha),))]),
    "Softmax": _read_softmax,
    "Dropout": lambda place, layer: iter([Part("dropout", (float(layer.rate),))]),
    "Flatten": lambda place, layer: iter([Part("flatten")]),
    "InputLayer": lambda place, layer: iter(()),
}
