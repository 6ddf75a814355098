"""Bayesian weights: how strongly they are to decay, how noisy the targets are, and what the examples leave open.

With normal errors of precision β (one over their variance), and a normal prior of precision α for each weight, the most
probable weights minimize ½ β Σ r² + ½ Σ α θ². Both precisions are those under which the data are most probable: each is
estimated anew after a step, with the weights held. M = β JᵀJ + α is the inverse of the weights' covariance, and
1 − α (M⁻¹)ᵢᵢ says how well the data determine weight i, from 0 to 1. The sum of these is γ, the number of weights that
the data determine, and β = (n − γ) / Σ r² for n residuals. Residuals with unlike noise, such as those of each target,
are groups with a β each, by their own n and Σ r², and their share of γ, which is β tr(M⁻¹ JᵀJ). Slopes, if there are
any, are a group for each input, as some are less exact than others.

A network with the Gaussian cost predicts the noise σ of each example itself. JᵀJ is then the Fisher matrix, and β is 1.
Where the weights leave a mean open by a variance v, it fits the noise, and r² is too small by about as much. So the
cost is its mean over this distribution, as in an EM algorithm: with r² + v, the mean of those of r + √v and r − √v.

Weights that share an α are those of one input, those of each later layer, and the biases of each layer. An input that
does not matter gets the largest one, and its weights nearly vanish (automatic relevance determination).

Around the most probable weights, their distribution is about a normal one: the Laplace approximation. An output changes
by J h if the weights change by h, so its variance is J M⁻¹ Jᵀ, which grows where there are no examples. With a factor F
of the covariance, M⁻¹ = F Fᵀ, it is the squared length of J F, which rounding does not make negative. The variance of
the noise, 1/β, comes on top of it.

D. J. C. MacKay, "Bayesian Interpolation" and "A Practical Bayesian Framework for Backpropagation Networks", Neural
Computation 4, 1992; for Levenberg-Marquardt, F. D. Foresee and M. T. Hagan, "Gauss-Newton Approximation to Bayesian
Learning", International Conference on Neural Networks, 1997; for error bars, E. Daxberger et al., "Laplace Redux",
NeurIPS 2021.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import (
    Array,
    Layers,
    Namespace,
    combine_arrays,
    count_elements,
    cut_rows,
    join_layers,
    split_layers,
)
from xpnet.core.backprop import forward
from xpnet.core.dual import unit_vectors
from xpnet.core.least_squares import LEAST, make_identity, parameter_jacobian
from xpnet.core.minibatch import Minibatch

__all__ = [
    "MOST_CHANGE",
    "NOISE_CHANGE",
    "Evidence",
    "Laplace",
    "Residuals",
    "begin_evidence",
    "estimate_noise",
    "estimate_precisions",
    "find_matrix",
    "find_spread",
    "init_evidence",
    "outputs_with_changes",
    "outputs_with_stds",
    "sum_groups",
    "sum_residuals",
    "unfold_laplace",
    "weigh_parts",
]

# α before the first estimate and at most, for inputs with mean square 1 and targets with variance 1. Weights of larger
# ones would stay 0 for good, also if they matter once the noise is found to be small
FIRST_PRECISION, MOST_PRECISION = 1e-2, 1e4
MOST_CHANGE = 10.0  # by which an α grows or falls in an estimate, and by which β falls
# By which β grows: slowly, so that weights that fit the noise, as those before the first estimate may, decay before
# there seems to be none. With more weights than examples, both are a solution
NOISE_CHANGE = 1.3
LEAST_SHARE = 1e-3  # how well the data must determine a group of weights, to say anything of its precision
LEAST_FREEDOM = 1e-3  # of the number of residuals: what must be left of it after γ, to say anything of their noise
LEAST_NOISE = 1e-14  # the least variance of the noise
ROUNDING = 16.0 * float(np.finfo(np.float64).eps)  # of the mean square of targets; a smaller variance is rounding
LEAST_SLOPES = 1e-6  # of slopes by an input, the least mean square from which the first precision is found


class Evidence(NamedTuple):
    """The state of Bayesian Levenberg-Marquardt: the damping and the precisions, all 0 before the first step.

    Numbers are arrays without axes, or (networks, 1, 1) for several networks.
    """

    mu: Array  # the damping, as in `least_squares.Damping`
    growth: Array
    noise: Array  # β of each target, in units of the cost, (..., 1, n_targets)
    slope_noise: Array  # β of the slopes by each input, (..., 1, n_in); 0 without slopes
    weights: Layers  # α: (1, n_in) and (1, 1) for weights and biases of the first layer, (1, 1) and (1, 1) for others
    steps: Array  # that have lowered the cost

    @property
    def relevance(self) -> Array:
        """The standard deviation of the weights of each input, (..., n_in), 1/√α: the least if it does not matter."""
        return self.weights[0][0][..., 0, :] ** -0.5


def init_evidence(layers: Layers, zero: Array) -> Evidence:
    """Make the state before the first step."""
    ends = None, *[1] * (len(layers) - 1)  # each input of the first layer has a group of its own
    groups = tuple((0.0 * w[..., :1, :end], 0.0 * b[..., :1, :1]) for (w, b), end in zip(layers, ends))
    return Evidence(zero, 0.0 * zero, 0.0 * layers[-1][1], 0.0 * layers[0][0][..., :1, :], groups, 0.0 * zero)


class Residuals(NamedTuple):
    """Residuals and their derivatives at some weights, as sums over examples, in groups with a precision each."""

    matrices: Sequence[Array]  # JᵀJ of each group, (..., P, P)
    squares: Sequence[Array] | None  # rᵀr of each group, (..., 1, 1); None if precisions are known
    inputs: Array  # the squares of the inputs, (..., 1, n_in)
    examples: Array  # their number, not weighted, (..., 1, 1)
    weight: Array  # of all examples, (..., 1, 1)
    targets: Array = None  # (..., 1, n_targets)
    data: Array = None  # the squares of targets, and of slopes, in each group, (..., 1, n_groups)
    known: Array = None  # 1 for each of these
    counts: Array = None  # the number of residuals in each group, not weighted

    @property
    def n(self) -> Array:
        """The number of examples for a unit of weight, by which these sums become those over all examples."""
        return self.examples / self.weight


def sum_residuals(
    matrices: Sequence[Array], squares: Sequence[Array] | None, minibatch: Minibatch, weights: Array, xp: Namespace
) -> Residuals:
    """Sum over examples with these weights, (..., m); JᵀJ and rᵀr are sums already."""
    y, slopes, slope_weights, column = minibatch.y, minibatch.slopes, minibatch.slope_weights, weights[..., None]
    data, known = y * y, xp.ones_like(y)
    if slopes is not None and slope_weights is not None:
        data = xp.concat([data, xp.sum(slopes * slopes, axis=-2)], axis=-1)
        known = xp.concat([known, xp.sum(xp.astype(slope_weights > 0.0, y.dtype), axis=-2)], axis=-1)
    is_used = xp.astype(column > 0.0, y.dtype)
    rows = column * minibatch.x**2, is_used, column, column * y, column * data, column * known, is_used * known
    return Residuals(matrices, squares, *(xp.sum(part, axis=-2, keepdims=True) for part in rows))


def begin_evidence(evidence: Evidence, residuals: Residuals, factor: float, xp: Namespace) -> tuple[Evidence, Layers]:
    """Set the precisions before the first step; those that are not 0 stay as they are.

    Parameters
    ----------
    evidence
        The state.
    residuals
        The residuals, of which inputs, targets and slopes count.
    factor
        The cost of an example, as a multiple of ½ Σ (a − y)².
    xp
        Namespace of the arrays.

    Returns
    -------
    evidence, units
        The precisions; and those that count as 1, in the shapes of those of the weights: they are 1 for inputs with
        mean square 1 and targets with variance 1. If there is one layer, both change its own.
    """
    noise, slope_noise, n = evidence.noise, evidence.slope_noise, evidence.noise.shape[-1]
    squares = residuals.inputs / residuals.weight
    squares = xp.where(squares > 0.0, squares, xp.ones_like(squares))
    data = variance = xp.ones_like(noise)  # of examples that have precisions of their own, or of constant targets
    if residuals.squares is not None:
        data = residuals.data / xp.maximum(residuals.known, LEAST)
        centered = data[..., :n] - (residuals.targets / residuals.weight) ** 2
        variance = xp.where(centered > ROUNDING * data[..., :n], centered, variance)
    mean = xp.mean(variance, axis=-1, keepdims=True)
    groups = [[xp.ones_like(alpha) for alpha in pair] for pair in evidence.weights]
    groups[0][0] = squares
    groups[-1] = [unit / mean for unit in groups[-1]]
    units = tuple((w, b) for w, b in groups)

    def begin(alpha: Array, unit: Array) -> Array:
        return xp.where(alpha > 0.0, alpha, FIRST_PRECISION * unit)

    weights = combine_arrays(begin, evidence.weights, units)
    noise = xp.where(noise > 0.0, noise, 1.0 / (factor * variance))
    if len(residuals.matrices) > n:
        least = LEAST_SLOPES * mean / squares
        slope_noise = xp.where(slope_noise > 0.0, slope_noise, 1.0 / xp.maximum(data[..., n:], least))
    return evidence._replace(noise=noise, slope_noise=slope_noise, weights=weights), units


def join_noise(evidence: Evidence, residuals: Residuals, xp: Namespace) -> Array:
    """Return the precisions of all groups of residuals, (..., 1, n_groups): of targets alone, or of slopes, too."""
    return xp.concat([evidence.noise, evidence.slope_noise], axis=-1)[..., : len(residuals.matrices)]


def weigh_parts(evidence: Evidence, layers: Layers, residuals: Residuals, xp: Namespace) -> tuple[Array, Array]:
    """Find the weights of groups of residuals in the mean cost of n examples; their mean over the targets is 1.

    Also the λ in the penalty ½ λ θ² of each weight and bias that goes with this cost, (..., P, 1).
    """
    mean = xp.mean(evidence.noise, axis=-1, keepdims=True)
    alphas = join_layers(combine_arrays(lambda alpha, part: alpha + 0.0 * part, evidence.weights, layers), xp)
    return join_noise(evidence, residuals, xp) / mean, alphas / (mean * residuals.n)


def sum_groups(weights: Array, parts: Sequence[Array]) -> Array:
    """Sum arrays of groups of residuals, (..., P, k) each, by the weights of the groups, (..., 1, n_groups)."""
    return reduce(add, (weights[..., k : k + 1] * part for k, part in enumerate(parts)))


def find_matrix(evidence: Evidence, layers: Layers, residuals: Residuals, xp: Namespace) -> tuple[Array, Array]:
    """Find M, (..., P, P), as part of the mean cost of n examples, and the decays in it, (..., P, 1)."""
    weights, decay = weigh_parts(evidence, layers, residuals, xp)
    return sum_groups(weights, residuals.matrices) + make_identity(decay, xp) * decay, decay


def estimate_noise(
    noise: Array, inverse: Array, gamma: Array, residuals: Residuals, growth: float, xp: Namespace
) -> Array:
    """Estimate the precision of each group of residuals anew, with the parameters held.

    Parameters
    ----------
    noise
        The precisions β, (..., 1, n_groups).
    inverse
        The inverse of the matrix M, (..., P, P), or a multiple of it.
    gamma
        The number of parameters that all residuals determine, (..., 1, 1).
    residuals
        The residuals.
    growth
        The factor by which a precision grows at most; it falls by 10 at most.
    xp
        Namespace of the arrays.
    """
    traces = [xp.sum(inverse * matrix, axis=(-2, -1), keepdims=True) for matrix in residuals.matrices]
    shares = noise * xp.concat(traces, axis=-1)
    shares = xp.maximum(shares, 0.0 * shares)  # what is below 0 is rounding
    determined = gamma * (shares / xp.maximum(xp.sum(shares, axis=-1, keepdims=True), LEAST))
    least = LEAST_FREEDOM * residuals.counts
    freedom = xp.maximum(residuals.counts - determined, least)
    squares = xp.concat(residuals.squares, axis=-1)
    new = freedom / xp.maximum(residuals.n * squares, LEAST_NOISE * freedom + LEAST)
    return xp.where(freedom > least, limit(new, noise, growth, xp), noise)


def limit(new: Array, old: Array, growth: float, xp: Namespace) -> Array:
    """Limit how much a precision changes."""
    return xp.minimum(xp.maximum(new, old / MOST_CHANGE), old * growth)


def estimate_precisions(
    evidence: Evidence, layers: Layers, residuals: Residuals, units: Layers, noise_change: float, xp: Namespace
) -> tuple[Evidence, Array]:
    """Estimate all precisions anew, with the weights held; each α changes by a factor of 10 at most.

    Returns them, and the inverse of M by those before, (..., P, P), as a part of the mean cost.

    Parameters
    ----------
    evidence
        The precisions.
    layers
        Weights and biases.
    residuals
        The residuals at these.
    units
        As `begin_evidence` returns them.
    noise_change
        The factor by which β grows at most.
    xp
        Namespace of the arrays.
    """
    matrix, decay = find_matrix(evidence, layers, residuals, xp)
    inverse = xp.linalg.inv(matrix)
    share = 1.0 - decay * xp.linalg.diagonal(inverse)[..., None]
    share = xp.minimum(xp.maximum(share, 0.0 * share), 0.0 * share + 1.0)
    gamma = xp.sum(share, axis=(-2, -1), keepdims=True)

    def estimate(share: Array, part: Array, unit: Array, alpha: Array) -> Array:
        """Estimate the precisions of the groups of weights that share one."""
        most = MOST_PRECISION * unit
        axis = -2 if most.shape[-1] == part.shape[-1] else (-2, -1)
        determined, square = (xp.sum(x, axis=axis, keepdims=True) for x in (share, part * part))
        precision = determined / xp.maximum(square, LEAST_SHARE / most)
        precision = xp.minimum(xp.where(determined < LEAST_SHARE, most, precision), most)
        return limit(precision, alpha, MOST_CHANGE, xp)

    weights = combine_arrays(estimate, split_layers(share, layers, xp), layers, units, evidence.weights)
    if residuals.squares is not None:
        noise = estimate_noise(join_noise(evidence, residuals, xp), inverse, gamma, residuals, noise_change, xp)
        n = evidence.noise.shape[-1]
        slope_noise = noise[..., n:] if len(residuals.matrices) > n else evidence.slope_noise
        evidence = evidence._replace(noise=noise[..., :n], slope_noise=slope_noise)
    return evidence._replace(weights=weights), inverse


class Laplace(NamedTuple):
    """The distribution of all weights and biases, and the noise of standardized targets: NumPy arrays in float64."""

    factor: np.ndarray  # the lower triangular F, (P, P), with covariance F Fᵀ, in the order of `parameter_jacobian`
    noise: np.ndarray  # (n_targets,): the variance of each target around the outputs, or a multiple of that predicted

    @property
    def triangle(self) -> np.ndarray:
        """The numbers of the factor that are not 0, (P (P + 1) / 2,), row by row up to its diagonal."""
        return self.factor[np.tri(len(self.factor), dtype=bool)]

    def __reduce__(self) -> Any:
        """Pickle the triangle, which has half the bytes."""
        return unfold_laplace, (self.triangle, self.noise)


def unfold_laplace(triangle: np.ndarray, noise: np.ndarray) -> Laplace:
    """Make the distribution with this triangle."""
    size = (math.isqrt(8 * len(triangle) + 1) - 1) // 2
    factor = np.zeros((size, size))
    factor[np.tri(size, dtype=bool)] = triangle
    return Laplace(factor, noise)


def outputs_with_stds(
    sigmas: Sequence[Activation], layers: Layers, factor: Array, noise: Array, x: Array, xp: Namespace
) -> Array:
    """Compute outputs, and standard deviations of targets around them, (..., m, n_targets, 2); by those of a `Laplace`.

    An output σ is known up to a variance v, as if from σ² / 2v errors. Then σ² + 4v is about the variance of a target,
    which has Student's distribution.
    """
    parts, n_targets = outputs_with_changes(sigmas, layers, factor, x, xp), noise.shape[-1]
    a, variances = parts[..., 0], xp.sum(parts[..., 1:] ** 2, axis=-1)
    if a.shape[-1] > n_targets:
        noise = noise * (a[..., n_targets:] ** 2 + 4.0 * variances[..., n_targets:])
    return xp.stack([a[..., :n_targets], xp.sqrt(noise + variances[..., :n_targets])], axis=-1)


def find_spread(
    sigmas: Sequence[Activation], layers: Layers, covariance: Array, x: Array, n_targets: int, xp: Namespace
) -> Array:
    """Find the standard deviation of the first outputs by the uncertainty of the weights, (..., m, n_targets)."""
    parts: list[Array] = []
    for block in cut_rows(x.shape[-2], count_elements(layers)):
        _, slopes = outputs_with_jacobians(sigmas, layers, x[..., block, :], xp)
        columns = [xp.sum(xp.matmul(part, covariance) * part, axis=-1) for part in slopes[:n_targets]]
        variances = xp.stack(columns, axis=-1)
        parts.append(xp.sqrt(xp.maximum(variances, 0.0 * variances)))
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-2)


def outputs_with_changes(
    sigmas: Sequence[Activation], layers: Layers, changes: Array, x: Array, xp: Namespace
) -> Array:
    """Compute the outputs, and what changes of the weights, (P, k), add to them: (..., m, n_out, 1 + k)."""
    a, slopes = outputs_with_jacobians(sigmas, layers, x, xp)
    return xp.concat([a[..., None], xp.stack([xp.matmul(part, changes) for part in slopes], axis=-2)], axis=-1)


def outputs_with_jacobians(
    sigmas: Sequence[Activation], layers: Layers, x: Array, xp: Namespace
) -> tuple[Array, list[Array]]:
    """Compute the outputs, and the derivatives of each with respect to the weights, (..., m, P)."""
    zs, activations = forward(layers, sigmas, x, xp)
    units = unit_vectors(activations[-1], xp)
    return activations[-1], [parameter_jacobian(layers, sigmas, zs, activations, unit, xp) for unit in units]
