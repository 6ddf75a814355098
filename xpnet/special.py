"""Functions that the array API lacks, from those that it has."""

from xpnet.arrays import Array, Namespace

_C = 3.5
# Found by tools/make_normal_cdf.py; the highest power first
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


def normal_cdf(x: Array, xp: Namespace) -> Array:
    """Distribution function of the standard normal distribution, Φ(x) = ½ (1 + erf(x / √2)), of the same shape.

    The tail is Φ(−x) = e^(−x²/2) t q(2t − 1) for x ≥ 0, with t = c / (c + x) and a polynomial q. In float64 the error
    is below 1e-15, and relatively below 1e-12 in the whole tail.

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
    return xp.where(x < 0.0, tail, 1.0 - tail)
