"""Find the coefficients in xpnet/core/activations.py: python tools/make_normal_cdf.py (needs mpmath).

The tail of the normal distribution is Φ(−x) = e^(−x²/2) t q(s) for x ≥ 0, with t = c / (c + x) and s = 2t − 1, which
goes from −1 at infinity to 1 at 0. q is smooth, so the polynomial through its values at the Chebyshev points is close
to the best one of its degree.
"""

import mpmath as mp

DEGREE, C = 20, mp.mpf("3.5")

mp.mp.dps = 50


def q(s: mp.mpf) -> mp.mpf:
    """Value of q by its definition."""
    t = (s + 1) / 2
    x = C * (1 - t) / t
    # Φ(−x) e^(x²/2) = ∫ e^(−u²/2 − x u) du / √(2π), over u ≥ 0
    return mp.quad(lambda u: mp.exp(-u * u / 2 - x * u), [0, 1 / (1 + x), 5 / (1 + x), 20]) / mp.sqrt(2 * mp.pi) / t


points = [mp.cos(mp.pi * (2 * k + 1) / (2 * DEGREE + 2)) for k in range(DEGREE + 1)]
vandermonde = mp.matrix([[s**j for j in range(DEGREE, -1, -1)] for s in points])
for each in mp.lu_solve(vandermonde, mp.matrix([q(s) for s in points])):
    print(f"    {float(each)!r},")
