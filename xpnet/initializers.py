"""Initial weights and biases, drawn on the host, so that a seed gives the same network on every backend.

An initializer is a function ``(rng, n_in, n_out) -> (w, b)`` of a NumPy generator, with w of shape (n_out, n_in) and b
of shape (n_out,), both float64. To add one, write the function and put it into the table at the end.
"""

from collections.abc import Callable
from math import sqrt
from typing import TypeAlias

import numpy as np

Initializer: TypeAlias = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def normal(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases from N(0, 1), as in the book's first network.

    Examples
    --------
    >>> w, b = normal(np.random.default_rng(0), 3, 2)
    >>> w.shape, b.shape
    ((2, 3), (2,))
    """
    return rng.standard_normal((n_out, n_in)), rng.standard_normal(n_out)


def scaled_normal(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights from N(0, 1/n_in), biases from N(0, 1): the book, chapter 3, "Weight initialization".

    Examples
    --------
    >>> w, b = scaled_normal(np.random.default_rng(0), 400, 300)
    >>> round(float(w.std() * 20), 2)
    1.0
    """
    w, b = normal(rng, n_in, n_out)
    return w / sqrt(n_in), b


def he(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights from N(0, 2/n_in), biases zero (He et al., arXiv:1502.01852, equation 10); for ReLU.

    Examples
    --------
    >>> w, b = he(np.random.default_rng(0), 3, 2)
    >>> b
    array([0., 0.])
    """
    return rng.standard_normal((n_out, n_in)) * sqrt(2.0 / n_in), np.zeros(n_out)


INITIALIZERS: dict[str, Initializer] = {"normal": normal, "scaled_normal": scaled_normal, "he": he}


def default(activation: str) -> Initializer:
    """Initializer of a layer with the named activation, unless another is asked for.

    Examples
    --------
    >>> default("relu").__name__, default("sigmoid").__name__
    ('he', 'scaled_normal')
    """
    return he if activation == "relu" else scaled_normal
