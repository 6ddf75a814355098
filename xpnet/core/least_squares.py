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
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, leaves, map_layers, rows_per_block
from xpnet.core.backprop import deltas, forward
from xpnet.core.costs import Composed
from xpnet.core.dual import unit_vectors
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers.base import OptimizerState, penalty

# The costs that it minimizes, as multiples of ½ Σ (a − y)², by the number of outputs
SQUARED: dict[str, Callable[[int], float]] = {"quadratic": lambda n_out: 1.0, "mse": lambda n_out: 2.0 / n_out}
# As multiples of the largest diagonal element of JᵀJ; rounding hides what is beyond them
LEAST_DAMPING, MOST_DAMPING = 1e-14, 1e14
LEAST = float(np.finfo(np.float64).tiny)  # keeps JᵀJ = 0 from being singular; rounding drops it from any other sum
LARGEST_GROWTH, LARGEST_FALL = 2.0**20, 1.0 / 3.0  # the damping changes by these factors at most


class DampingHyperparameters(NamedTuple):
    """The hyperparameters of Levenberg-Marquardt as arrays; None for one that is not used."""

    damping: Array
    weight_decay: Array | None


class Damping(NamedTuple):
    """The state carried from step to step: arrays without axes, or (networks, 1, 1) for several networks."""

    mu: Array  # μ; 0 before the first step
    growth: Array  # the factor by which μ grows if the next step fails; 0 before the first


def jacobian(
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
    layers: Layers, sigmas: Sequence[Activation], x: Array, y: Array, share: Array, xp: Namespace
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
    """
    n_parameters = sum(w.shape[-1] * w.shape[-2] + b.shape[-1] for w, b in layers)
    rows = rows_per_block(n_parameters)
    matrix: Any = None
    gradient: Any = None
    for start in range(0, x.shape[-2], rows):
        block = slice(start, min(start + rows, x.shape[-2]))
        zs, activations = forward(layers, sigmas, x[..., block, :], xp)
        root = xp.sqrt(share[..., block])[..., None]
        residuals = root * (activations[-1] - y[..., block, :])
        for k, unit in enumerate(unit_vectors(residuals, xp)):
            part = jacobian(layers, sigmas, zs, activations, root * unit, xp)
            square, slope = xp.matmul(part.mT, part), xp.matmul(part.mT, residuals[..., k : k + 1])
            matrix = square if matrix is None else matrix + square
            gradient = slope if gradient is None else gradient + slope
    return matrix, gradient


def take_damped_step(
    sigmas: tuple[Activation, ...], output: Composed, state: Any, minibatch: Minibatch, xp: Namespace
) -> Any:
    """Take one step of Levenberg-Marquardt; it takes the place of `step.take_step`.

    The weights change only if the cost falls, so its result is always at least as good.
    """
    ((damping, weight_decay), memory), layers = state.optimizer, state.layers
    x, y, weight, decay = minibatch.x, minibatch.y, minibatch.weight, minibatch.decay
    weights = xp.ones_like(y[..., 0]) if weight is None else weight
    share = weights / xp.sum(weights, axis=-1, keepdims=True)
    strength = sum((part for part in (decay, weight_decay) if part is not None), 0.0 * damping)

    def measure(layers: Layers) -> tuple[Array, Array]:
        """Compute the cost of each example, with the penalty, and their mean."""
        zs, activations = forward(layers, sigmas, x, xp)
        costs = output.value(zs[-1], activations[-1], y, xp) + penalty(layers, strength, xp)
        return costs, xp.sum(share * costs, axis=-1)

    matrix, gradient = normal_equations(layers, sigmas, x, y, SQUARED[output.cost.name](y.shape[-1]) * share, xp)
    decays, parameters = (join(part, xp) for part in (tuple((strength + 0.0 * w, 0.0 * b) for w, b in layers), layers))
    gradient = gradient + decays * parameters
    costs, cost = measure(layers)
    numbers = xp.cumulative_sum(xp.ones_like(parameters[..., 0]), axis=-1)
    identity = xp.astype(numbers[..., :, None] == numbers[..., None, :], parameters.dtype)

    def solve(mu: Array) -> Array:
        return -xp.linalg.solve(matrix + identity * (mu + decays + LEAST), gradient)

    def measure_cost(parameters: Array) -> Array:
        return measure(split(parameters, layers, xp))[1]

    largest = xp.max(matrix * identity, axis=(-2, -1))
    new, memory, falls = descend(parameters, solve, gradient, largest, cost, measure_cost, memory, damping, xp)

    def choose(new: Array, old: Array) -> tuple[Array]:
        return (xp.where(falls, new, old),)

    (layers,) = map_layers(choose, split(new, layers, xp), layers)
    optimizer = OptimizerState(state.optimizer.hyperparameters, memory)
    return state._replace(layers=layers, optimizer=optimizer, cost=state.cost + weights * costs)


def descend(
    parameters: Array,
    solve: Callable[[Array], Array],
    gradient: Array,
    largest: Array,
    cost: Array,
    measure: Callable[[Array], Array],
    memory: Damping,
    damping: Array,
    xp: Namespace,
) -> tuple[Array, Damping, Array]:
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
        The state of the damping, and τ, with which it begins.
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


def _bound(memory: Damping, start: Array, largest: Array, xp: Namespace) -> Damping:
    """Begin the damping at `start`, or keep it within its bounds, as multiples of the largest diagonal element."""
    mu = xp.where(memory.mu > 0.0, memory.mu, start * largest)
    mu = xp.minimum(xp.maximum(mu, LEAST_DAMPING * largest), MOST_DAMPING * largest)
    return Damping(mu, xp.maximum(memory.growth, 2.0))


def _adapt(memory: Damping, falls: Array, gain: Array, xp: Namespace) -> Damping:
    """Lower the damping after a step that lowers the cost, by `gain` times what was predicted; else raise it."""
    shrunk = memory.mu * xp.maximum(1.0 - (2.0 * gain - 1.0) ** 3, LARGEST_FALL)
    growth = xp.minimum(2.0 * memory.growth, LARGEST_GROWTH)
    return Damping(
        mu=xp.where(falls, shrunk, memory.mu * memory.growth),
        growth=xp.where(falls, 2.0 + 0.0 * growth, growth),
    )


def join(layers: Layers, xp: Namespace) -> Array:
    """Join weights and biases into columns (..., P, 1), in the order of `jacobian`."""
    return xp.concat([xp.reshape(part, (*part.shape[:-2], -1, 1)) for part in leaves(layers)], axis=-2)


def split(parameters: Array, layers: Layers, xp: Namespace) -> Layers:
    """Split columns (..., P, 1) into weights and biases of the shapes of `layers`."""

    def parts() -> Iterator[Array]:
        start = 0
        for part in leaves(layers):
            size = part.shape[-1] * part.shape[-2]
            yield xp.reshape(parameters[..., start : start + size, :], part.shape)
            start += size

    arrays = list(parts())
    return tuple(zip(arrays[::2], arrays[1::2]))
