"""Activation functions. The public name of `xpnet.core.activations`."""

from xpnet.core.activations import (
    Activation,
    elu,
    exp,
    gelu,
    gelu_tanh,
    identity,
    leaky_relu,
    make_elu,
    make_leaky_relu,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)

__all__ = [
    "Activation",
    "elu",
    "exp",
    "gelu",
    "gelu_tanh",
    "identity",
    "leaky_relu",
    "make_elu",
    "make_leaky_relu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
