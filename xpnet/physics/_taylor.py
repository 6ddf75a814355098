"""Taylor mode: derivatives of the outputs with respect to each input, and theirs with respect to the weights.

Along a line x + t e, the activations of each layer are series in t, and a layer maps the first coefficients of one to
those of the next: z, z′, z″ to σ(z), σ′ z′, σ″ z′² + σ′ z″ (A. Griewank and A. Walther, "Evaluating Derivatives", 2008,
chapter 13). Backpropagation through these lines gives the derivatives of u, u′ and u″ with respect to the weights. A
mixed derivative follows from the second derivatives along x_j, x_k and x_j + x_k.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xpnet.core.activations import Activation, tanh
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.dual import jvp, unit_vectors


class Series(NamedTuple):
    """Values (m, n) of a layer, and first and second derivatives along each line, (n_lines, m, n) each."""

    value: Array
    first: Array
    second: Array


class Trace(NamedTuple):
    """The quantities of the forward pass that the backward pass through a layer needs."""

    a: Series  # what the layer gets
    z: Series  # the weighted inputs
    slopes: tuple[Array, Array, Array]  # σ′, σ″ and σ‴ at z


def taylor(
    layers: Layers, sigmas: Sequence[Activation], x: Array, pairs: Sequence[tuple[int, int]], xp: Namespace
) -> tuple[Series, list[Trace]]:
    """Compute the outputs with their first and second derivatives, and the trace that `pull_rows` needs.

    The lines are along each input, then along x_j + x_k for each pair (j, k).

    Parameters
    ----------
    layers
        L layers.
    sigmas
        Their L activation functions, each of which must act on every unit by itself.
    x
        Inputs, shape (m, n_in).
    pairs
        Pairs of inputs.
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> u, _ = taylor([(np.array([[2.0]]), np.zeros((1, 1)))], [tanh], np.zeros((1, 1)), [], np)
    >>> u.value.tolist(), u.first.tolist(), u.second.tolist()
    ([[0.0]], [[[2.0]]], [[[0.0]]])
    """
    units = [*unit_vectors(x, xp)]
    lines = xp.stack([*units, *(units[j] + units[k] for j, k in pairs)])
    a = Series(x, lines, xp.zeros_like(lines))
    trace: list[Trace] = []
    for (w, b), sigma in zip(layers, sigmas):
        z = Series(xp.matmul(a.value, w.mT) + b, xp.matmul(a.first, w.mT), xp.matmul(a.second, w.mT))
        value = sigma.value(z.value, xp)
        s1, s2, s3 = slopes(sigma, z.value, value, xp)
        trace.append(Trace(a, z, (s1, s2, s3)))
        a = Series(value, s1 * z.first, s2 * z.first * z.first + s1 * z.second)
    return a, trace


def pull_rows(layers: Layers, trace: Sequence[Trace], g: Series, n_rows: int, xp: Namespace) -> Array:
    """Compute the derivatives of gᵀ (u, u′, u″) of each row with respect to all weights and biases, (n_rows, P).

    The parameters are in the order of `parameter_jacobian`.

    Parameters
    ----------
    layers
        As in `taylor`.
    trace
        As returned by `taylor`.
    g
        Gradient with respect to the outputs and their derivatives at each point, in their shapes.
    n_rows
        The number of rows, each of equally many points, which are summed.
    xp
        Namespace of the arrays.
    """
    columns: list[Array] = []
    for (w, _), (a, z, (s1, s2, s3)) in zip(reversed(layers), reversed(trace)):
        by_second = s2 * z.second + s3 * z.first * z.first
        delta = Series(
            s1 * g.value + xp.sum(s2 * z.first * g.first + by_second * g.second, axis=0),
            s1 * g.first + 2.0 * s2 * z.first * g.second,
            s1 * g.second,
        )
        products = xp.matmul(_stack(delta, n_rows, xp).mT, _stack(a, n_rows, xp))
        by_bias = xp.sum(xp.reshape(delta.value, (n_rows, -1, delta.value.shape[-1])), axis=1)
        columns += [by_bias, xp.reshape(products, (n_rows, -1))]
        g = Series(*(xp.matmul(part, w) for part in delta))
    return xp.concat(columns[::-1], axis=-1)


def slopes(sigma: Activation, z: Array, a: Array, xp: Namespace) -> tuple[Array, Array, Array]:
    """Compute σ′, σ″ and σ‴ at z, where σ(z) = a.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.core.activations import exp
    >>> [float(slope) for slope in slopes(exp, np.array(0.0), np.array(1.0), np)]
    [1.0, 1.0, 1.0]
    """
    ones = xp.ones_like(z)
    if sigma == tanh:  # several times as fast as dual numbers
        s1 = 1.0 - a * a
        return s1, -2.0 * a * s1, s1 * (6.0 * a * a - 2.0)

    def first(z: Array, ones: Array, xp: Namespace) -> Array:
        return sigma.pullback(ones, z, sigma.value(z, xp), xp)

    def first_two(z: Array, ones: Array, xp: Namespace) -> tuple[Array, Array]:
        return jvp(first, (z, ones), (ones, None), xp)

    (s1, s2), (_, s3) = jvp(first_two, (z, ones), (ones, None), xp)
    return s1, s2, s3


def _stack(series: Series, n_rows: int, xp: Namespace) -> Array:
    """Stack a layer's series of all points of a row, (n_rows, points · (1 + 2 n_lines), n)."""
    stacked = xp.concat([series.value[None, ...], series.first, series.second])
    by_row = xp.reshape(stacked, (stacked.shape[0], n_rows, -1, stacked.shape[-1]))
    return xp.reshape(xp.permute_dims(by_row, (1, 0, 2, 3)), (n_rows, -1, stacked.shape[-1]))
