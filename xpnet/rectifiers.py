"""Rectifiers and their smooth relatives: activations of hidden layers; and exp, the output of a Poisson regression.

Each is an `Activation`: its value, and its pullback g ⊙ σ′(z).
"""

from collections.abc import Callable
from functools import cache
from math import inf, pi, sqrt
from typing import Any

from xpnet.activations import Activation, sigmoid
from xpnet.arrays import Array, Namespace
from xpnet.errors import between, in_range
from xpnet.special import normal_cdf


def _softplus(z: Array, xp: Namespace) -> Array:
    return xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z)))  # ln(1 + e^z), with e^z kept below 1


def _softplus_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * sigmoid.value(z, xp)


def _silu(z: Array, xp: Namespace) -> Array:
    return z * sigmoid.value(z, xp)


def _silu_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    s = sigmoid.value(z, xp)
    return g * (s + a * (1.0 - s))  # s + z s (1 − s)


def _gelu(z: Array, xp: Namespace) -> Array:
    return z * normal_cdf(z, xp)


def _gelu_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * (normal_cdf(z, xp) + z * (xp.exp(-0.5 * z * z) / sqrt(2.0 * pi)))  # Φ(z) + z φ(z)


def _gelu_tanh(z: Array, xp: Namespace) -> Array:
    return 0.5 * z * (1.0 + xp.tanh(sqrt(2.0 / pi) * (z + 0.044715 * z * z * z)))


def _gelu_tanh_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    t = xp.tanh(sqrt(2.0 / pi) * (z + 0.044715 * z * z * z))
    slope = sqrt(2.0 / pi) * (1.0 + 3.0 * 0.044715 * z * z)
    return 0.5 * g * (1.0 + t + z * (1.0 - t * t) * slope)


def _exp(z: Array, xp: Namespace) -> Array:
    return xp.exp(z)


def _exp_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    return g * a


class _Made(Activation):
    """An activation made of numbers: a copy or a pickle holds them, and makes it anew."""

    maker: tuple[Callable[..., Activation], tuple[Any, ...]]

    def __reduce__(self) -> Any:
        return self.maker


def make_leaky_relu(slope: float = 0.01) -> Activation:
    """ReLU with a slope in [0, 1) for negative z (Maas et al., ICML workshop 2013); called "leaky_relu(0.2)", say.

    Examples
    --------
    >>> import numpy as np
    >>> make_leaky_relu(0.2).value(np.array([-1.0, 1.0]), np)
    array([-0.2,  1. ])
    """
    in_range("slope", slope, 0, 1, "0.01 is usual")
    return _leaky_relu(float(slope))


def make_elu(alpha: float = 1.0, scale: float = 1.0) -> Activation:
    """Exponential linear unit: scale · z above 0, scale · alpha (e^z − 1) below (Clevert et al., arXiv:1511.07289).

    Examples
    --------
    >>> import numpy as np
    >>> make_elu(2.0).value(np.array([-100.0, 1.0]), np)
    array([-2.,  1.])
    """
    in_range("alpha", alpha, 0, inf, "1 is usual")
    between("scale", scale, 0, inf, "1 is usual")
    return _elu(float(alpha), float(scale), "elu" if alpha == scale == 1.0 else f"elu({float(alpha)}, {float(scale)})")


@cache  # equal activations are equal structure
def _leaky_relu(slope: float) -> Activation:
    def value(z: Array, xp: Namespace) -> Array:
        return xp.maximum(z, slope * z)

    def pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return g * (slope + (1.0 - slope) * xp.astype(z > 0.0, g.dtype))

    name = "leaky_relu" if slope == 0.01 else f"leaky_relu({slope})"
    made = _Made(name, value, pullback, low=0.0 if slope == 0.0 else -inf)
    made.maker = (_leaky_relu, (slope,))
    return made


@cache
def _elu(alpha: float, scale: float, name: str) -> Activation:
    def value(z: Array, xp: Namespace) -> Array:
        return scale * (xp.maximum(z, 0.0) + alpha * xp.expm1(xp.minimum(z, 0.0)))

    def pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return scale * g * xp.where(z > 0.0, 1.0, alpha * xp.exp(xp.minimum(z, 0.0)))

    made = _Made(name, value, pullback, low=-scale * alpha)
    made.maker = (_elu, (alpha, scale, name))
    return made


softplus = Activation("softplus", _softplus, _softplus_pullback, low=0.0)
leaky_relu = make_leaky_relu()
elu = make_elu()
# Keeps mean 0 and variance 1 from layer to layer (Klambauer et al., arXiv:1706.02515, equation 14)
selu = _elu(1.6732632423543772, 1.0507009873554805, "selu")
silu = Activation("silu", _silu, _silu_pullback, low=-0.27847)
gelu = Activation("gelu", _gelu, _gelu_pullback, low=-0.16998)
gelu_tanh = Activation("gelu_tanh", _gelu_tanh, _gelu_tanh_pullback, low=-0.17005)
exp = Activation("exp", _exp, _exp_pullback, low=0.0)
