"""Levenberg-Marquardt: a step of nonlinear least squares, for networks that minimize squared errors.

Near the weights w, the residuals r = a − y change by J h if w changes by h. So the cost C = ½ Σ r² is about that of a
linear problem, and the step h solves (JᵀJ + μ 1) h = −Jᵀr. With a small damping μ, h is a step of Gauss and Newton;
with a large one, it is a short step along the negative gradient. A step that lowers the cost is taken, and μ falls;
after one that does not, the weights stay and μ grows. Where no weight has an effect (ReLUs that are never active, units
that are saturated), J is 0, and every step fails.

K. Levenberg, "A Method for the Solution of Certain Non-Linear Problems in Least Squares", Quarterly of Applied
Mathematics 2, 1944; D. W. Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters", SIAM Journal
on Applied Mathematics 11, 1963; for networks, M. T. Hagan and M. B. Menhaj, "Training Feedforward Networks with the
Marquardt Algorithm", IEEE Transactions on Neural Networks 5, 1994. The rule for μ is that of H. B. Nielsen, "Damping
Parameter in Marquardt's Method", Technical University of Denmark, 1999.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from operator import add
from typing import Any, NamedTuple

import numpy as np

from xpnet.core._slopes import slope_errors
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, count_elements, cut_rows, positions
from xpnet.core.backprop import deltas, forward
from xpnet.core.costs import Cost, split_columns
from xpnet.core.dual import jvp, unit_vectors

__all__ = [
    "LARGEST_GROWTH",
    "LEAST",
    "SQUARED",
    "Damping",
    "LinearProblem",
    "descend",
    "gradient_and_curvature",
    "has_noise",
    "is_least_squares",
    "make_identity",
    "normal_equations",
    "parameter_jacobian",
]

KINKED = ("absolute", "mae")  # have no second derivative, on which its steps rely
# The squared costs that it minimizes, as multiples of ½ Σ (a − y)², by the number of outputs
SQUARED: dict[str, Callable[[int], float]] = {"quadratic": lambda n_out: 1.0, "mse": lambda n_out: 2.0 / n_out}
# As multiples of the largest diagonal element of JᵀJ; rounding hides what is beyond them
LEAST_DAMPING, MOST_DAMPING = 1e-14, 1e14
LEAST = float(np.finfo(np.float64).tiny)  # keeps JᵀJ = 0 from being singular; rounding drops it from any other sum
LARGEST_GROWTH, LARGEST_FALL = 2.0**20, 1.0 / 3.0  # the damping changes by these factors at most


def is_least_squares(cost: Cost) -> bool:
    """Tell whether a cost is one of squares, or of squares with weights, as Huber's, the Gaussian and smooth others."""
    return cost.gradient is not None and not cost.levels and cost.name not in KINKED


def has_noise(cost: Cost) -> bool:
    """Tell whether a cost is that of normal errors, whose noise is to be found or predicted."""
    return cost.name in SQUARED or cost.has_std


def parameter_jacobian(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    g: Array,
    xp: Namespace,
) -> Array:
    """Compute the derivatives of gᵀ a of each example with respect to all weights and biases, (..., m, P).

    They are the products δ aᵀ that BP4 sums over the examples. The P parameters come layer by layer: first the weights,
    row by row, then the biases.

    Parameters
    ----------
    layers, sigmas, zs, activations
        As in `backprop.deltas`.
    g
        Gradient with respect to the outputs, shape (..., m, n_out).
    xp
        Namespace of the arrays.
    """
    columns: list[Array] = []
    last = sigmas[-1].pullback(g, zs[-1], activations[-1], xp)
    for a, delta in zip(activations[:-1], deltas(layers, sigmas, zs, activations, last, xp)):
        products = delta[..., :, None] * a[..., None, :]
        columns += [xp.reshape(products, (*delta.shape[:-1], -1)), delta]
    return xp.concat(columns, axis=-1)


def normal_equations(
    layers: Layers,
    sigmas: Sequence[Activation],
    x: Array,
    y: Array,
    share: Array,
    xp: Namespace,
    slopes: Array | None = None,
    slope_share: Array | None = None,
    cost: Cost | None = None,
    in_groups: bool = False,
) -> tuple[Sequence[Array], Sequence[Array], Sequence[Array]]:
    """Compute JᵀJ, (..., P, P), Jᵀr, (..., P, 1), and rᵀr, (..., 1, 1), of the cost ½ Σ share (a − y)², with r = a − y.

    They are sums over blocks of examples, so that no Jacobian of all examples is stored.

    Parameters
    ----------
    layers, sigmas
        As in `backprop.forward`.
    x, y
        Inputs (..., m, n_in) and targets (..., m, n_out).
    share
        The weight of each example in the cost, (..., m).
    xp
        Namespace of the arrays.
    slopes, slope_share
        The derivatives that the outputs are to have, and the weight of each in ½ Σ slope_share (∂a/∂x − slopes)²,
        which is then a part of the cost, (..., m, n_out, n_in).
    cost
        The cost of an example in place of ½ Σ (a − y)², if it is another. Each square is then moved and weighted so
        that it has the gradient of this cost, and the curvature that `gradient_and_curvature` finds.
    in_groups
        Whether to return those of each output, and then those of the slopes by each input, one after the other.
    """
    sums: dict[int, tuple[Array, ...]] = {}
    n, n_in, n_out = *x.shape[-2:], y.shape[-1]
    for block in cut_rows(n, count_elements(layers)):
        inputs, targets = x[..., block, :], y[..., block, :]
        zs, activations = forward(layers, sigmas, inputs, xp)
        root = xp.sqrt(share[..., block])[..., None]
        if cost is None:
            error = activations[-1] - targets
        else:
            g, curvature = gradient_and_curvature(cost.with_inputs(inputs), activations[-1], targets, xp)
            root, error = root * xp.sqrt(curvature), g / curvature
        residuals = root * error
        units = enumerate(unit_vectors(residuals, xp))
        parts: Iterator[tuple[Array, Array]] = (
            (parameter_jacobian(layers, sigmas, zs, activations, root * unit, xp), residuals[..., k : k + 1])
            for k, unit in units
        )
        if slopes is not None and slope_share is not None:
            slope_root = xp.sqrt(slope_share[..., block, :, :])
            parts = chain(parts, slope_rows(layers, sigmas, zs, activations, slopes[..., block, :, :], slope_root, xp))
        for k, (part, r) in enumerate(parts):
            group = 0 if not in_groups else k if k < n_out else n_out + (k - n_out) % n_in
            products = xp.matmul(part.mT, part), xp.matmul(part.mT, r), xp.matmul(r.mT, r)
            sums[group] = tuple(map(add, sums[group], products)) if group in sums else products
    matrices, gradients, squares = zip(*sums.values())
    return matrices, gradients, squares


def gradient_and_curvature(cost: Cost, a: Array, y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Compute the gradient of a cost, and the curvature, above 0, of the squares that are to stand for it.

    The curvature for an output is the second derivative, or the slope of the line from the gradient at a = y to that
    here, whichever is larger: a robust cost bends down where residuals are large. Where both are 0, it is 1. That of
    the Gaussian cost is what a normal distribution has on average: 1/σ² for its mean, and 2/σ² for σ.
    """
    gradient: Any = cost.gradient
    if cost.has_std:
        precision = split_columns(a, 2)[1] ** -2.0
        return gradient(a, y, xp), xp.concat([precision, 2.0 * precision], axis=-1)
    changes = [jvp(gradient, (a, y), (unit, None), xp) for unit in unit_vectors(a, xp)]
    g, second = changes[0][0], xp.concat([change[..., k : k + 1] for k, (_, change) in enumerate(changes)], axis=-1)
    r = a - y
    rise, is_zero = g - gradient(y, y, xp), r == 0.0
    slope = xp.abs(rise / xp.where(is_zero, xp.ones_like(r), r))
    slope = xp.where(is_zero | xp.logical_not(xp.isfinite(slope)), xp.zeros_like(slope), slope)
    curvature = xp.maximum(second, slope)
    return g, xp.where(curvature > 0.0, curvature, xp.ones_like(curvature))


def slope_rows(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    slopes: Array,
    root: Array,
    xp: Namespace,
) -> Iterator[tuple[Array, Array]]:
    """Compute rows of J and their residuals root (∂a/∂x − slopes), for each output, of one input after the other.

    The derivative of ∂a/∂x with respect to the weights is the change of `parameter_jacobian` if x moves along this
    input.
    """

    def rows(layers: Layers, x: Array, g: Array, xp: Namespace) -> Array:
        return parameter_jacobian(layers, sigmas, *forward(layers, sigmas, x, xp), g, xp)

    x = activations[0]
    for unit, error, roots in slope_errors(layers, sigmas, zs, activations, slopes, root, xp):
        residuals = roots * error
        for j, direction in enumerate(unit_vectors(x, xp)):
            part = jvp(rows, (layers, x, roots[..., j : j + 1] * unit), (None, direction, None), xp)[1]
            yield part, residuals[..., j : j + 1]


class Damping(NamedTuple):
    """The state carried from step to step: arrays without axes, or (networks, 1, 1) for several networks."""

    mu: Array  # μ; 0 before the first step
    growth: Array  # the factor by which μ grows if the next step fails; 0 before the first


class LinearProblem(NamedTuple):
    """The linear problem of a step: what residuals r and their Jacobian J say at some parameters, (..., P, 1)."""

    matrix: Array  # JᵀJ, (..., P, P); or JJᵀ, (m, m), of fewer residuals than parameters
    gradient: Array  # of the cost, (..., P, 1)
    largest: Array  # the largest element of the diagonal of JᵀJ
    cost: Array  # at the parameters
    decay: Array | float = 0.0  # λ in the penalty ½ λ θ² of each parameter, (..., P, 1), which the cost includes
    few: tuple[Array, Array] | None = None  # r, (m, 1), and J, (m, P), of fewer residuals than parameters

    def solve(self, mu: Array, xp: Namespace) -> Array:
        """Compute the step −(JᵀJ + λ + μ)⁻¹ times the gradient; −Jᵀ (JJᵀ + μ)⁻¹ r by the smaller matrix."""
        right = self.gradient if self.few is None else self.few[0]
        diagonal = make_identity(right, xp) * (mu + self.decay + LEAST)
        step = -xp.linalg.solve(self.matrix + diagonal, right)
        return step if self.few is None else xp.matmul(self.few[1].mT, step)


def make_identity(parameters: Array, xp: Namespace) -> Array:
    """Make the identity (..., P, P) for columns (..., P, 1)."""
    numbers = positions(parameters[..., 0], xp)
    return xp.astype(numbers[..., :, None] == numbers[..., None, :], parameters.dtype)


def descend(
    parameters: Array,
    problem: LinearProblem,
    measure: Callable[[Array], Array],
    memory: Any,
    damping: Array,
    xp: Namespace,
) -> tuple[Array, Any, Array]:
    """Compute a damped step, and whether it lowers the cost.

    Parameters
    ----------
    parameters
        Columns, (..., P, 1).
    problem
        The linear problem at these.
    measure
        A function that computes the cost for other parameters.
    memory, damping
        The state of the damping, with the fields `mu` and `growth`; and τ, with which it begins.
    xp
        Namespace of the arrays.

    Returns
    -------
    parameters, memory, falls
        The parameters after the step, the state for the next one, and whether the cost falls, in the shape of μ; if
        not, the caller keeps the old parameters.
    """
    largest, cost = (xp.reshape(part, memory.mu.shape) for part in (problem.largest, problem.cost))
    mu = xp.where(memory.mu > 0.0, memory.mu, damping * largest)
    mu = xp.minimum(xp.maximum(mu, LEAST_DAMPING * largest), MOST_DAMPING * largest)
    growth = xp.maximum(memory.growth, 2.0)
    change = problem.solve(mu, xp)
    new = parameters + change
    new_cost = xp.reshape(measure(new), mu.shape)
    predicted = 0.5 * xp.reshape(xp.sum(change * (mu * change - problem.gradient), axis=(-2, -1)), mu.shape)
    falls = new_cost < cost  # False for NaN
    gain = (cost - new_cost) / predicted
    shrunk = mu * xp.maximum(1.0 - (2.0 * gain - 1.0) ** 3, LARGEST_FALL)
    grown = xp.minimum(2.0 * growth, LARGEST_GROWTH)
    memory = memory._replace(mu=xp.where(falls, shrunk, mu * growth), growth=xp.where(falls, 2.0 + 0.0 * growth, grown))
    return new, memory, falls
