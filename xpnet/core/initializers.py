"""Initial weights and biases, drawn on the host, so that a seed gives the same ones on every backend.

An initializer is a function ``(rng, n_in, n_out) -> (w, b)`` of a NumPy generator, with w of shape (n_out, n_in) and b
of shape (n_out,), both float64. Those of the book come first.

Give your own function to `Network` as `init`. For one that everybody can use by its name, add the function to
`INITIALIZERS` at the end of this file; CONTRIBUTING.md lists the other places that need it.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np

__all__ = [
    "INITIALIZERS",
    "Initializer",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "normal",
    "orthogonal",
    "scaled_normal",
    "zeros",
]

Drawn = tuple[np.ndarray, np.ndarray]  # w and b
Initializer = Callable[[np.random.Generator, int, int], Drawn]  # (rng, n_in, n_out) -> (w, b)


def normal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights and biases from N(0, 1), as in the book's first network.

    Examples
    --------
    >>> w, b = normal(np.random.default_rng(0), 3, 2)
    >>> w.shape, b.shape
    ((2, 3), (2,))
    """
    return rng.standard_normal((n_out, n_in)), rng.standard_normal(n_out)


def scaled_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from N(0, 1/n_in), biases from N(0, 1): the book, chapter 3, "Weight initialization".

    Examples
    --------
    >>> w, b = scaled_normal(np.random.default_rng(0), 400, 300)
    >>> round(float(w.std() * 20), 2)
    1.0
    """
    w, b = normal(rng, n_in, n_out)
    return w / sqrt(n_in), b


def he_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from N(0, 2/n_in), biases zero (He et al., arXiv:1502.01852, equation 10); for ReLU and its relatives.

    Examples
    --------
    >>> w, b = he_normal(np.random.default_rng(0), 3, 2)
    >>> b
    array([0., 0.])
    """
    return rng.standard_normal((n_out, n_in)) * sqrt(2.0 / n_in), np.zeros(n_out)


def he_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from U(−r, r) with r² = 6/n_in, which has the variance of `he_normal`; biases zero.

    Examples
    --------
    >>> w, b = he_uniform(np.random.default_rng(0), 600, 50)
    >>> round(float(abs(w).max()), 3)
    0.1
    """
    return _uniform(rng, n_in, n_out, 6.0 / n_in)


def glorot_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from N(0, 2/(n_in + n_out)), biases zero (Glorot and Bengio, AISTATS 2010, equation 12).

    Examples
    --------
    >>> w, b = glorot_normal(np.random.default_rng(0), 300, 500)
    >>> round(float(w.std() * 20), 2)
    1.0
    """
    return rng.standard_normal((n_out, n_in)) * sqrt(2.0 / (n_in + n_out)), np.zeros(n_out)


def glorot_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from U(−r, r) with r² = 6/(n_in + n_out), biases zero (Glorot and Bengio, AISTATS 2010, equation 16).

    Examples
    --------
    >>> w, b = glorot_uniform(np.random.default_rng(0), 100, 500)
    >>> round(float(abs(w).max()), 3)
    0.1
    """
    return _uniform(rng, n_in, n_out, 6.0 / (n_in + n_out))


def lecun_normal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights from N(0, 1/n_in), biases zero (LeCun et al., "Efficient BackProp", 1998, equation 16); for SELU.

    Examples
    --------
    >>> w, b = lecun_normal(np.random.default_rng(0), 400, 300)
    >>> round(float(w.std() * 20), 2)
    1.0
    """
    return rng.standard_normal((n_out, n_in)) / sqrt(n_in), np.zeros(n_out)


def orthogonal(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights with orthonormal rows, or columns if n_out > n_in; biases zero (Saxe et al., arXiv:1312.6120).

    Every such matrix is equally likely.

    Examples
    --------
    >>> w, b = orthogonal(np.random.default_rng(0), 5, 3)
    >>> abs(w @ w.T).round(6)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
    q *= np.sign(np.diag(r))  # or some matrices would be likelier than others (Mezzadri, math-ph/0609050)
    return q if n_out >= n_in else q.T, np.zeros(n_out)


def zeros(rng: np.random.Generator, n_in: int, n_out: int) -> Drawn:
    """Weights and biases zero, for networks without hidden layers: hidden units that start equal stay equal.

    Examples
    --------
    >>> w, b = zeros(np.random.default_rng(0), 2, 1)
    >>> w, b
    (array([[0., 0.]]), array([0.]))
    """
    return np.zeros((n_out, n_in)), np.zeros(n_out)


def _uniform(rng: np.random.Generator, n_in: int, n_out: int, r_squared: float) -> Drawn:
    return rng.uniform(-sqrt(r_squared), sqrt(r_squared), (n_out, n_in)), np.zeros(n_out)


INITIALIZERS: dict[str, Initializer] = {
    initializer.__name__: initializer
    for initializer in (
        *(normal, scaled_normal, he_normal, he_uniform, glorot_normal, glorot_uniform),
        *(lecun_normal, orthogonal, zeros),
    )
}
