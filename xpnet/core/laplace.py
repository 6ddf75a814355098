"""The Laplace approximation: how uncertain a network's outputs are, because the examples do not determine its weights.

Around the most probable weights, their distribution is about a normal one, whose covariance is the inverse of
M = β JᵀJ + α (see `evidence`). An output changes by J h if the weights change by h, so its variance is J M⁻¹ Jᵀ, which
grows where there are no examples. The variance of the noise, 1/β, comes on top of it.

D. J. C. MacKay, "A Practical Bayesian Framework for Backpropagation Networks", Neural Computation 4, 1992; E. Daxberger
et al., "Laplace Redux", NeurIPS 2021.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, rows_per_block
from xpnet.core.backprop import forward
from xpnet.core.dual import unit_vectors
from xpnet.core.optimizers import parameter_jacobian

__all__ = [
    "Laplace",
    "outputs_with_variances",
]


class Laplace(NamedTuple):
    """The covariance of all weights and biases, and the noise of standardized targets: NumPy arrays in float64."""

    covariance: np.ndarray  # (P, P), in the order of `parameter_jacobian`
    noise: np.ndarray  # (1,): the variance of the targets around the outputs


def outputs_with_variances(
    sigmas: Sequence[Activation], layers: Layers, covariance: Array, noise: Array, x: Array, xp: Namespace
) -> Array:
    """Compute outputs, and the variances of targets around them, (m, n_out, 2)."""
    rows = rows_per_block(covariance.shape[-1])
    blocks: list[Array] = []
    for start in range(0, x.shape[0], rows):
        block = x[start : min(start + rows, x.shape[0]), ...]
        zs, activations = forward(layers, sigmas, block, xp)
        columns: list[Array] = []
        for unit in unit_vectors(activations[-1], xp):
            slopes = parameter_jacobian(layers, sigmas, zs, activations, unit, xp)
            columns.append(xp.sum(xp.matmul(slopes, covariance) * slopes, axis=-1))
        blocks.append(xp.stack([activations[-1], noise + xp.stack(columns, axis=-1)], axis=-1))
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=0)
