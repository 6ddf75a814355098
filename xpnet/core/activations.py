"""Activation functions: the value of each, and its pullback.

An activation is two functions on arrays. ``value(z, xp)`` is a = σ(z). ``pullback(g, z, a, xp)`` is g ⊙ σ′(z): it takes
the gradient g = ∂C/∂a back to ∂C/∂z, as in the book. Softmax mixes its outputs, so its pullback is gᵀ ∂a/∂z with the
whole matrix of derivatives. All arrays have shape (..., m, n), with an example in each row.

An activation of your own needs no change here: `Network` takes any object with these two functions. For one that
everybody can use by its name, add an `Activation` to `ACTIVATIONS` at the end of this file; CONTRIBUTING.md lists the
other places that need it.
"""

from collections.abc import Callable
from math import inf, pi, sqrt
from typing import NamedTuple, cast

from xpnet._checks import in_range
from xpnet.core.arrays import Array, Namespace, Same
from xpnet.core.initializers import Initializer, he_normal, lecun_normal, scaled_normal

__all__ = [
    "ACTIVATIONS",
    "PARAMETRIZED_ACTIVATIONS",
    "Activation",
    "elu",
    "exp",
    "find_kind",
    "gelu",
    "gelu_tanh",
    "identity",
    "leaky_relu",
    "make_elu",
    "make_leaky_relu",
    "mean_std",
    "normal_cdf",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


class Activation(NamedTuple):
    """An activation function.

    Parameters
    ----------
    name
        Its name, as users give it.
    value
        ``value(z, xp)``: the activation a of the weighted input z, of the same shape.
    pullback
        ``pullback(g, z, a, xp)``: g ⊙ σ′(z), or gᵀ ∂a/∂z if outputs depend on several z; of the same shape.
    low, high
        The bounds of its values; targets outside them cannot be learned.
    total
        The sum of the values of one example, if it is always the same.
    initializer
        Initializer of a layer with this activation, unless the user chooses another.
    usual_cost
        The cost of a network with this output activation that is imported from another library without a cost.

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
    initializer: Initializer = scaled_normal
    usual_cost: str = "quadratic"


# The activations of the book


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


# Rectifiers and their smooth relatives, for hidden layers; and exp, the output activation of a Poisson regression


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


# The output activation of the Gaussian cost: the first half of the units are means, the second half standard deviations

_MIN_VARIANCE = 1e-6


def _mean_std(z: Array, xp: Namespace) -> Array:
    k = z.shape[-1] // 2
    variance = softplus.value(z[..., k:], xp) + _MIN_VARIANCE  # smooth, unlike a bound, and never 0
    return xp.concat([z[..., :k], xp.sqrt(variance)], axis=-1)


def _mean_std_pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
    k = z.shape[-1] // 2
    slope = 0.5 * sigmoid.value(z[..., k:], xp) / a[..., k:]  # the derivative of √v is 1 / (2 √v), of softplus sigmoid
    return xp.concat([g[..., :k], g[..., k:] * slope], axis=-1)


# Activations with parameters. Their functions are tuples of these numbers: equal numbers make equal activations, which
# can be copied and pickled, and for which a step is compiled once.


class _LeakyReLU(NamedTuple):
    slope: float

    def __call__(self, z: Array, xp: Namespace) -> Array:
        return xp.maximum(z, self.slope * z)


class _LeakyReLUPullback(NamedTuple):
    slope: float

    def __call__(self, g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return g * (self.slope + (1.0 - self.slope) * xp.astype(z > 0.0, g.dtype))


class _ELU(NamedTuple):
    alpha: float
    scale: float

    def __call__(self, z: Array, xp: Namespace) -> Array:
        return self.scale * (xp.maximum(z, 0.0) + self.alpha * xp.expm1(xp.minimum(z, 0.0)))


class _ELUPullback(NamedTuple):
    alpha: float
    scale: float

    def __call__(self, g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return self.scale * g * xp.where(z > 0.0, 1.0, self.alpha * xp.exp(xp.minimum(z, 0.0)))


def make_leaky_relu(slope: float = 0.01) -> Activation:
    """Make a ReLU with a slope in [0, 1) for negative z (Maas et al., ICML workshop 2013), named "leaky_relu(slope)".

    Examples
    --------
    >>> import numpy as np
    >>> make_leaky_relu(0.2).value(np.array([-1.0, 1.0]), np)
    array([-0.2,  1. ])
    """
    slope = in_range("slope", slope, 0, 1, "0.01 is usual")
    name = "leaky_relu" if slope == 0.01 else f"leaky_relu({slope})"
    low = 0.0 if slope == 0.0 else -inf
    return Activation(name, _LeakyReLU(slope), _LeakyReLUPullback(slope), low=low, initializer=he_normal)


def make_elu(alpha: float = 1.0, scale: float = 1.0) -> Activation:
    """Make an exponential linear unit: scale · z above 0, scale · alpha (e^z − 1) below (arXiv:1511.07289).

    Examples
    --------
    >>> import numpy as np
    >>> make_elu(2.0).value(np.array([-100.0, 1.0]), np)
    array([-2.,  1.])
    """
    alpha = in_range("alpha", alpha, 0, inf, "1 is usual")
    scale = in_range("scale", scale, 0, inf, "1 is usual", includes_low=False)
    name = "elu" if alpha == scale == 1.0 else f"elu({alpha}, {scale})"
    low = -scale * alpha
    return Activation(name, _ELU(alpha, scale), _ELUPullback(alpha, scale), low=low, initializer=he_normal)


# The distribution function of the normal distribution, which the array API lacks and GELU needs

_C = 3.5
# Computed by tools/make_normal_cdf.py; the coefficient of the highest power first
_Q = (
    -3.2894545994837916e-09,
    7.997534951426974e-09,
    1.9926066795800325e-08,
    -7.832087134386501e-08,
    -2.1902871043576377e-08,
    4.127943476101898e-07,
    -3.472560015119601e-07,
    -1.606199677646622e-06,
    3.2945159613259524e-06,
    5.363746660293245e-06,
    -2.159770229742667e-05,
    -1.9150916560726508e-05,
    0.00013618812296753056,
    0.0001271462867731381,
    -0.0009111717661670797,
    -0.0018503482350916377,
    0.004973666459483434,
    0.033157408202727064,
    0.09012141996796257,
    0.16158909030109744,
    0.2126903072674109,
)


def normal_cdf(x: Same, xp: Namespace) -> Same:
    """Compute the distribution function of the standard normal distribution, Φ(x) = ½ (1 + erf(x / √2)).

    The tail is Φ(−x) = e^(−x²/2) t q(2t − 1) for x ≥ 0, with t = c / (c + x) and a polynomial q. In float64 the error
    is below 1e-15, and the relative error is below 1e-12 in the whole tail.

    Examples
    --------
    >>> import numpy as np
    >>> normal_cdf(np.array([-1.0, 0.0, 1.0]), np).round(6)
    array([0.158655, 0.5     , 0.841345])
    """
    t = _C / (_C + xp.abs(x))
    s, q = 2.0 * t - 1.0, 0.0 * t
    for coefficient in _Q:
        q = q * s + coefficient
    tail = xp.exp(-0.5 * x * x) * t * q
    return xp.where(x <= 0.0, tail, 1.0 - tail)  # at 0, on the side on which `dual` differentiates |x|


sigmoid = Activation("sigmoid", _sigmoid, _sigmoid_pullback, low=0.0, high=1.0, usual_cost="cross_entropy")
tanh = Activation("tanh", _tanh, _tanh_pullback, low=-1.0, high=1.0)
relu = Activation("relu", _relu, _relu_pullback, low=0.0, initializer=he_normal)
identity = Activation("identity", _identity, _identity_pullback)
softmax = Activation("softmax", _softmax, _softmax_pullback, low=0.0, high=1.0, total=1.0, usual_cost="cross_entropy")
leaky_relu = make_leaky_relu()
elu = make_elu()
# Keeps mean 0 and variance 1 from layer to layer (Klambauer et al., arXiv:1706.02515, equation 14)
selu = make_elu(1.6732632423543772, 1.0507009873554805)._replace(name="selu", initializer=lecun_normal)
softplus = Activation("softplus", _softplus, _softplus_pullback, low=0.0, initializer=he_normal)
silu = Activation("silu", _silu, _silu_pullback, low=-0.27847, initializer=he_normal)
gelu = Activation("gelu", _gelu, _gelu_pullback, low=-0.16998, initializer=he_normal)
gelu_tanh = Activation("gelu_tanh", _gelu_tanh, _gelu_tanh_pullback, low=-0.17005, initializer=he_normal)
exp = Activation("exp", _exp, _exp_pullback, low=0.0, initializer=lecun_normal, usual_cost="poisson")
# Not in the table: it belongs to the Gaussian cost alone, which names it
mean_std = Activation("mean_std", _mean_std, _mean_std_pullback, usual_cost="gaussian")

ACTIVATIONS: dict[str, Activation] = {
    sigma.name: sigma
    for sigma in (
        *(sigmoid, tanh, relu, identity, softmax),
        *(leaky_relu, elu, selu, softplus, silu, gelu, gelu_tanh, exp),
    )
}
# Activations with parameters: "leaky_relu(0.2)" is make_leaky_relu(0.2)
PARAMETRIZED_ACTIVATIONS = {"leaky_relu": make_leaky_relu, "elu": make_elu}


def find_kind(sigma: Activation) -> tuple[str | None, tuple[float, ...]]:
    """Find the name of an activation without its numbers, and its numbers; the name is None for one of the user's own.

    Examples
    --------
    >>> find_kind(relu), find_kind(make_leaky_relu(0.2)), find_kind(make_elu(2.0))
    (('relu', ()), ('leaky_relu', (0.2,)), ('elu', (2.0, 1.0)))
    """
    for name, make in PARAMETRIZED_ACTIVATIONS.items():
        if type(make().value) is type(sigma.value):
            return name, tuple(cast("tuple[float, ...]", sigma.value))
    activations = (*ACTIVATIONS.values(), mean_std)
    return next((activation.name for activation in activations if activation.value is sigma.value), None), ()
