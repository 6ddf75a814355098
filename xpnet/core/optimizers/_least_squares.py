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
from typing import Any, NamedTuple

import numpy as np

from xpnet.core._slopes import slope_cost, slope_errors
from xpnet.core.activations import Activation
from xpnet.core.arrays import (
    Array,
    Layers,
    Namespace,
    count_elements,
    join_layers,
    map_layers,
    rows_per_block,
    split_layers,
)
from xpnet.core.backprop import deltas, forward
from xpnet.core.costs import Composed, Cost
from xpnet.core.dual import jvp, unit_vectors
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers.base import OptimizerState, penalty

KINKED = ("absolute", "mae")  # have no second derivative, on which its steps rely
# The squared costs that it minimizes, as multiples of ½ Σ (a − y)², by the number of outputs
SQUARED: dict[str, Callable[[int], float]] = {"quadratic": lambda n_out: 1.0, "mse": lambda n_out: 2.0 / n_out}
# As multiples of the largest diagonal element of JᵀJ; rounding hides what is beyond them
LEAST_DAMPING, MOST_DAMPING = 1e-14, 1e14
LEAST = float(np.finfo(np.float64).tiny)  # keeps JᵀJ = 0 from being singular; rounding drops it from any other sum
LARGEST_GROWTH, LARGEST_FALL = 2.0**20, 1.0 / 3.0  # the damping changes by these factors at most


def is_least_squares(cost: Cost) -> bool:
    """Tell whether a cost is one of squares, or of squares with weights of their own, as Huber's and smooth others."""
    return cost.gradient is not None and cost.distribution is None and cost.name not in KINKED


class DampingHyperparameters(NamedTuple):
    """The hyperparameters of Levenberg-Marquardt as arrays; None for one that is not used."""

    damping: Array
    weight_decay: Array | None


class Damping(NamedTuple):
    """The state carried from step to step: arrays without axes, or (networks, 1, 1) for several networks."""

    mu: Array  # μ; 0 before the first step
    growth: Array  # the factor by which μ grows if the next step fails; 0 before the first


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
) -> tuple[Array, Array]:
    """Compute JᵀJ, (..., P, P), and Jᵀr, (..., P, 1), of the cost ½ Σ share (a − y)², with r = a − y.

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
        The derivatives that the outputs are to have, (..., m, n_out, n_in), and the weight of each example in
        ½ Σ slope_share (∂a/∂x − slopes)², which is then a part of the cost, (..., m, 1).
    cost
        The cost of an example in place of ½ Σ (a − y)², if it is another. Each square is then moved and weighted so
        that it has the gradient of this cost, and the curvature that `gradient_and_curvature` finds.
    """
    rows = rows_per_block(count_elements(layers))
    matrix: Any = None
    gradient: Any = None
    for start in range(0, x.shape[-2], rows):
        block = slice(start, min(start + rows, x.shape[-2]))
        zs, activations = forward(layers, sigmas, x[..., block, :], xp)
        root, error = xp.sqrt(share[..., block])[..., None], activations[-1] - y[..., block, :]
        if cost is not None:
            cost_here = cost.with_inputs(x[..., block, :])
            g, curvature = gradient_and_curvature(cost_here, activations[-1], y[..., block, :], xp)
            root, error = root * xp.sqrt(curvature), g / curvature
        parts = value_rows(layers, sigmas, zs, activations, error, root, xp)
        if slopes is not None and slope_share is not None:
            root = xp.sqrt(slope_share[..., block, :])
            parts = chain(parts, slope_rows(layers, sigmas, zs, activations, slopes[..., block, :, :], root, xp))
        for part, residuals in parts:
            square, slope = xp.matmul(part.mT, part), xp.matmul(part.mT, residuals)
            matrix = square if matrix is None else matrix + square
            gradient = slope if gradient is None else gradient + slope
    return matrix, gradient


def gradient_and_curvature(cost: Cost, a: Array, y: Array, xp: Namespace) -> tuple[Array, Array]:
    """Compute the gradient of a cost, and the curvature, above 0, of the squares that are to stand for it.

    The curvature for an output is the second derivative, or the slope of the line from the gradient at a = y to that
    here, whichever is larger: a robust cost bends down where residuals are large. Where both are 0, it is 1.
    """
    gradient: Any = cost.gradient
    changes = [jvp(gradient, (a, y), (unit, None), xp) for unit in unit_vectors(a, xp)]
    g, second = changes[0][0], xp.concat([change[..., k : k + 1] for k, (_, change) in enumerate(changes)], axis=-1)
    r = a - y
    rise, is_zero = g - gradient(y, y, xp), r == 0.0
    slope = xp.abs(rise / xp.where(is_zero, xp.ones_like(r), r))
    slope = xp.where(is_zero | xp.logical_not(xp.isfinite(slope)), xp.zeros_like(slope), slope)
    curvature = xp.maximum(second, slope)
    return g, xp.where(curvature > 0.0, curvature, xp.ones_like(curvature))


def value_rows(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    error: Array,
    root: Array,
    xp: Namespace,
) -> Iterator[tuple[Array, Array]]:
    """Compute rows of J, (..., m, P), and their residuals, root · error, (..., m, 1), of one output after the other."""
    residuals = root * error
    for k, unit in enumerate(unit_vectors(residuals, xp)):
        yield parameter_jacobian(layers, sigmas, zs, activations, root * unit, xp), residuals[..., k : k + 1]


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
    for unit, error in slope_errors(layers, sigmas, zs, activations, slopes, xp):
        for j, direction in enumerate(unit_vectors(x, xp)):
            part = jvp(rows, (layers, x, root * unit), (None, direction, None), xp)[1]
            yield part, root * error[..., j : j + 1]


def take_damped_step(
    sigmas: tuple[Activation, ...], output: Composed, state: Any, minibatch: Minibatch, xp: Namespace
) -> Any:
    """Take one step of Levenberg-Marquardt; it takes the place of `step.take_step`.

    The weights change only if the cost falls, so its result is always at least as good.
    """
    ((damping, weight_decay), memory), layers = state.optimizer, state.layers
    x, y, weight, decay = minibatch.x, minibatch.y, minibatch.weight, minibatch.decay
    slopes, slope_weight = minibatch.slopes, minibatch.slope_weight
    weights = xp.ones_like(y[..., 0]) if weight is None else weight
    share = weights / xp.sum(weights, axis=-1, keepdims=True)
    strength = sum((part for part in (decay, weight_decay) if part is not None), 0.0 * damping)
    output_here = output.with_inputs(x)

    def measure(layers: Layers) -> tuple[Array, Array]:
        """Compute the cost of each example, with the penalty, and their mean."""
        zs, activations = forward(layers, sigmas, x, xp)
        costs = output_here.value(zs[-1], activations[-1], y, xp) + penalty(layers, strength, xp)
        if slopes is not None:
            costs = costs + slope_cost(layers, sigmas, zs, activations, minibatch, xp)
        return costs, xp.sum(share * costs, axis=-1)

    factor = SQUARED.get(output.cost.name)
    squared_share, other_cost = (share, output.cost) if factor is None else (factor(y.shape[-1]) * share, None)
    slope_share = None if slope_weight is None else slope_weight * share[..., None]
    matrix, gradient = normal_equations(layers, sigmas, x, y, squared_share, xp, slopes, slope_share, other_cost)
    decays = tuple((strength + 0.0 * w, 0.0 * b) for w, b in layers)
    costs, cost = measure(layers)
    layers, memory = lower_cost(
        layers, matrix, gradient, decays, cost, lambda layers: measure(layers)[1], memory, damping, xp
    )
    optimizer = OptimizerState(state.optimizer.hyperparameters, memory)
    return state._replace(layers=layers, optimizer=optimizer, cost=state.cost + weights * costs)


def lower_cost(
    layers: Layers,
    matrix: Array,
    gradient: Array,
    decays: Layers,
    cost: Array,
    measure: Callable[[Layers], Array],
    memory: Any,
    damping: Array,
    xp: Namespace,
) -> tuple[Layers, Any]:
    """Solve the normal equations for a step, and take it if it lowers the cost; return layers and memory after it.

    Parameters
    ----------
    layers
        Weights and biases.
    matrix, gradient
        JᵀJ and Jᵀr at these, as `normal_equations` returns them, without the penalty.
    decays
        The strength λ of the penalty ½ λ θ² of each weight and bias, in their shapes.
    cost, measure
        The cost at these, with the penalty, and a function that computes it for others.
    memory, damping
        As in `descend`.
    xp
        Namespace of the arrays.
    """
    decay, parameters = join_layers(decays, xp), join_layers(layers, xp)
    gradient = gradient + decay * parameters
    identity = make_identity(parameters, xp)

    def solve(mu: Array) -> Array:
        return -xp.linalg.solve(matrix + identity * (mu + decay + LEAST), gradient)

    def measure_parameters(parameters: Array) -> Array:
        return measure(split_layers(parameters, layers, xp))

    largest = xp.max(matrix * identity, axis=(-2, -1))
    new, memory, falls = descend(parameters, solve, gradient, largest, cost, measure_parameters, memory, damping, xp)

    def choose(new: Array, old: Array) -> tuple[Array]:
        return (xp.where(falls, new, old),)

    (layers,) = map_layers(choose, split_layers(new, layers, xp), layers)
    return layers, memory


def descend(
    parameters: Array,
    solve: Callable[[Array], Array],
    gradient: Array,
    largest: Array,
    cost: Array,
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
    solve
        ``solve(mu)``: the step for the damping μ, of the same shape.
    gradient
        The gradient of the cost, of the same shape.
    largest
        The largest element of the diagonal of JᵀJ.
    cost, measure
        The cost, and a function that computes it for other parameters.
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
    memory = _bound(memory, damping, xp.reshape(largest, memory.mu.shape), xp)
    change = solve(memory.mu)
    new = parameters + change
    cost, new_cost = (xp.reshape(part, memory.mu.shape) for part in (cost, measure(new)))
    predicted = 0.5 * xp.reshape(xp.sum(change * (memory.mu * change - gradient), axis=(-2, -1)), memory.mu.shape)
    falls = new_cost < cost  # False for NaN
    return new, _adapt(memory, falls, (cost - new_cost) / predicted, xp), falls


def make_identity(parameters: Array, xp: Namespace) -> Array:
    """Make the identity (..., P, P) for columns (..., P, 1); a JAX tracer has no device to give to `eye`."""
    numbers = xp.cumulative_sum(xp.ones_like(parameters[..., 0]), axis=-1)
    return xp.astype(numbers[..., :, None] == numbers[..., None, :], parameters.dtype)


def _bound(memory: Any, start: Array, largest: Array, xp: Namespace) -> Any:
    """Begin the damping at `start`, or keep it within its bounds, as multiples of the largest diagonal element."""
    mu = xp.where(memory.mu > 0.0, memory.mu, start * largest)
    mu = xp.minimum(xp.maximum(mu, LEAST_DAMPING * largest), MOST_DAMPING * largest)
    return memory._replace(mu=mu, growth=xp.maximum(memory.growth, 2.0))


def _adapt(memory: Any, falls: Array, gain: Array, xp: Namespace) -> Any:
    """Lower the damping after a step that lowers the cost, by `gain` times what was predicted; else raise it."""
    shrunk = memory.mu * xp.maximum(1.0 - (2.0 * gain - 1.0) ** 3, LARGEST_FALL)
    growth = xp.minimum(2.0 * memory.growth, LARGEST_GROWTH)
    return memory._replace(
        mu=xp.where(falls, shrunk, memory.mu * memory.growth),
        growth=xp.where(falls, 2.0 + 0.0 * growth, growth),
    )
