"""Activation functions: the value of each, and its pullback.

An activation is two functions on arrays. ``value(z, xp)`` is a = σ(z). ``pullback(g, z, a, xp)`` takes a
gradient g = ∂C/∂a back through it to ∂C/∂z = gᵀ ∂a/∂z: for an element-wise σ that is g ⊙ σ′(z), as in the
book; softmax mixes its outputs, and so its pullback does too. All arrays have shape (..., m, n): a row an example.

Here are those of the book; `rectifiers` holds more. To add an activation, write its two functions and put it into the
table in `names`.
"""

from collections.abc import Callable
from math import inf
from typing import NamedTuple

from xpnet.arrays import Array, Namespace


class Activation(NamedTuple):
    """An activation function.

    Parameters
    ----------
    name
        What users call it.
    value
        ``value(z, xp)``: the activation a of the weighted input z, of the same shape.
    pullback
        ``pullback(g, z, a, xp)``: gᵀ ∂a/∂z, of the same shape.
    low, high
        The bounds of its values; targets outside them cannot be learnt.
    total
        What the values of an example add up to, if that is fixed.

    Examples
    --------
    >>> import numpy as np
    >>> relu.value(np.array([-2.0, 3.0]), np)
    array([0., 3.])
    """

    name: str
    value: Callable[[Array, Namespace], Array]
    pullback: Callable[[Array, Array, Array, Namespace], Array]
    low: float = -inf
    high: float = inf
    total: float | None = None


def _sigmoid(z: Array, xp: Namespace) -> Array:
    # 1 / (1 + e^−z), multiplied through by e^z: small values keep their relative precision. exp(89) overflows
    # float32; from 88 on the quotient is 1 in every precision.
    e = xp.exp(xp.minimum(z, 88.0))
    return e / (1.0 + e)


def _sigmoid_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * (a - a * a)


def _tanh(z: Array, xp: Namespace) -> Array:
    return xp.tanh(z)


def _tanh_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * (1.0 - a * a)


def _relu(z: Array, xp: Namespace) -> Array:
    return xp.maximum(z, 0.0)


def _relu_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * xp.astype(z > 0.0, g.dtype)  # 0 at z = 0, as is usual


def _identity(z: Array, xp: Namespace) -> Array:
    return z


def _identity_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g


def _softmax(z: Array, xp: Namespace) -> Array:
    e = xp.exp(z - xp.max(z, axis=-1, keepdims=True))  # the largest exponent is 0: nothing overflows
    return e / xp.sum(e, axis=-1, keepdims=True)


def _softmax_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    # ∂a_k/∂z_j = a_k (δ_kj − a_j), so gᵀ ∂a/∂z = a ⊙ (g − Σ_k g_k a_k)
    return a * (g - xp.sum(g * a, axis=-1, keepdims=True))


sigmoid = Activation("sigmoid", _sigmoid, _sigmoid_pullback, low=0.0, high=1.0)
tanh = Activation("tanh", _tanh, _tanh_pullback, low=-1.0, high=1.0)
relu = Activation("relu", _relu, _relu_pullback, low=0.0)
identity = Activation("identity", _identity, _identity_pullback)
softmax = Activation("softmax", _softmax, _softmax_pullback, low=0.0, high=1.0, total=1.0)
