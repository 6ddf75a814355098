"""L-BFGS: steps along a line to lower cost, whose directions know the curvature from the last steps.

Near a minimum, a step s changes the gradient by about y = H s, where H is the matrix of second derivatives. A few pairs
(s, y) of past steps say enough of H to turn the gradient g into a direction d ≈ −H⁻¹ g, by two passes over the pairs,
without any matrix. Along this line, the cost falls enough at a length that meets the strong Wolfe conditions: below
start.cost + 10⁻⁴ length × start.slope, with a slope of at most 0.9 times that of the start. Length 1 mostly does. If it
does not, the minimum along the line is bracketed, and approached by a cubic polynomial through the ends of the bracket.

Each step of training measures cost and gradient once, with all examples, at one length. The weights change when the
conditions are met.

D. C. Liu and J. Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", Mathematical Programming 45,
1989; J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 3.5, 3.6 and 7.4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import (
    Array,
    Layers,
    Namespace,
    count_elements,
    join_layers,
    leaves,
    map_arrays,
    rebuild,
    split_layers,
)
from xpnet.core.costs import Output
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers.base import OptimizerState, over_matrices
from xpnet.core.step import State, take_step

ENOUGH_FALL, FLAT_ENOUGH = 1e-4, 0.9  # the constants of the Wolfe conditions, as usual for quasi-Newton methods
EXPANSION = 4.0  # of a length at which the cost still falls steeply
MARGIN = 0.1  # a length is at least this fraction of the bracket away from its ends
MOST_TRIALS = 20  # lengths along a line; then the best one is taken
LEAST_CURVATURE = 2.0**-52  # sᵀy as a fraction of yᵀy, below which rounding may have made it: as in L-BFGS-B


class Trial(NamedTuple):
    """Cost and slope at a length along a line; numbers, or (networks, 1, 1) for several networks."""

    length: Array
    cost: Array
    slope: Array


class Line(NamedTuple):
    """The state of L-BFGS: the line that is searched, and the pairs (s, y) of the last steps. All are 0 at first."""

    direction: Array  # (..., P, 1)
    gradient: Array  # (..., P, 1), at the start of the line
    cost: Array  # at the start
    length: Array  # at which cost and gradient are measured next; 0 before the first step
    trials: Array  # lengths that have been tried
    low: Trial  # the end of the bracket with less cost; at first, the start of the line
    high: Trial  # the other end; its length is −1 as long as the cost falls, and 0 before the first step
    changes: Array  # s of the last steps, (..., pairs, P), the newest last; 0 for none
    gradient_changes: Array  # their y


def init_line(layers: Layers, pairs: int, to_array: Callable[[Any], Array]) -> Line:
    """Make the state before the first step.

    Parameters
    ----------
    layers
        Weights and biases.
    pairs
        The number of steps to remember.
    to_array
        Converts numbers, and arrays of NumPy's.
    """
    p = count_elements(layers)
    column, rows, zero = np.zeros((p, 1)), np.zeros((pairs, p)), np.zeros(())
    trial = Trial(zero, zero, zero)
    return map_arrays(to_array, Line(column, column, zero, zero, zero, trial, trial, rows, rows))


def take_lbfgs_step(
    sigmas: tuple[Activation, ...], output: Output, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Measure cost and gradient at one length along a line; go there, or choose the next length."""
    (weight_decay,), line = state.optimizer
    point = join_layers(state.layers, xp)
    trial_point = point + line.length * line.direction
    cost, gradient = measure(sigmas, output, split_layers(trial_point, state.layers, xp), weight_decay, minibatch, xp)
    start_slope = _dot(line.direction, line.gradient, xp)
    trial = Trial(line.length, xp.reshape(cost, line.cost.shape), _dot(line.direction, gradient, xp))

    is_first = line.length == 0.0  # also where a line has led to nothing: then the pairs are forgotten
    falls = trial.cost <= line.cost + ENOUGH_FALL * trial.length * start_slope  # False for NaN
    is_flat = xp.abs(trial.slope) <= -FLAT_ENOUGH * start_slope
    is_taken = is_first | (falls & is_flat) | (line.trials >= MOST_TRIALS)

    begun, tried = begin_line(line, trial, gradient, is_first, xp), try_next(line, trial, falls, xp)
    layers = split_layers(xp.where(is_taken, trial_point, point), state.layers, xp)
    optimizer = OptimizerState(state.optimizer.hyperparameters, choose(is_taken, begun, tried, xp))
    old_cost = xp.where(is_first, trial.cost, line.cost)
    weights = xp.ones_like(state.cost) if minibatch.weight is None else minibatch.weight
    costs = weights * (old_cost[..., 0] if old_cost.ndim else old_cost)
    return state._replace(layers=layers, optimizer=optimizer, cost=state.cost + costs)


def measure(
    sigmas: tuple[Activation, ...],
    output: Output,
    layers: Layers,
    weight_decay: Array | None,
    minibatch: Minibatch,
    xp: Namespace,
) -> tuple[Array, Array]:
    """Compute the mean cost of the examples, with the penalty, (...,), and its gradient, (..., P, 1)."""

    def keep_gradient(layers: Layers, grads: Layers, state: None, lr: Array, xp: Namespace) -> tuple[Layers, None]:
        return grads, state

    decays = [decay for decay in (minibatch.decay, weight_decay) if decay is not None]
    penalized = minibatch._replace(decay=sum(decays) if decays else None)
    before = State(layers, None, xp.zeros_like(minibatch.y[..., 0]))
    after = take_step(sigmas, output.given(minibatch.x), keep_gradient, before, penalized, xp)
    weights = xp.ones_like(after.cost) if minibatch.weight is None else minibatch.weight
    return xp.sum(after.cost, axis=-1) / xp.sum(weights, axis=-1), join_layers(after.layers, xp)


def begin_line(line: Line, trial: Trial, gradient: Array, is_first: Array, xp: Namespace) -> Line:
    """Begin a new line at the point of a trial; the first step forgets all pairs."""
    change, gradient_change = trial.length * line.direction, gradient - line.gradient
    product, square = _dot(change, gradient_change, xp), _dot(gradient_change, gradient_change, xp)
    is_new = xp.logical_not(is_first) & (product > LEAST_CURVATURE * square)

    def remember(pairs: Array, new: Array) -> Array:
        longer = xp.concat([pairs[..., 1:, :], new.mT], axis=-2)
        return xp.where(is_new, longer, xp.where(is_first, 0.0 * pairs, pairs))

    changes = remember(line.changes, change)
    gradient_changes = remember(line.gradient_changes, gradient_change)
    direction = -multiply_inverse_hessian(gradient, changes, gradient_changes, xp)
    length = xp.where(is_first, _first_length(gradient, xp), xp.ones_like(trial.length))
    zero = 0.0 * trial.length
    start = Trial(zero, trial.cost, _dot(direction, gradient, xp))
    return Line(
        direction, gradient, trial.cost, length, zero, start, Trial(zero - 1.0, zero, zero), changes, gradient_changes
    )


def multiply_inverse_hessian(gradient: Array, changes: Array, gradient_changes: Array, xp: Namespace) -> Array:
    """Multiply the gradient by the inverse of H that the pairs (s, y) tell; without pairs, it is 1.

    Parameters
    ----------
    gradient
        (..., P, 1).
    changes, gradient_changes
        s and y, (..., pairs, P), the newest last; rows of zeros count for nothing.
    xp
        Namespace of the arrays.
    """
    pairs = [(changes[..., i : i + 1, :], gradient_changes[..., i : i + 1, :]) for i in range(changes.shape[-2])]
    inverses = [_invert(xp.matmul(s, y.mT), xp) for s, y in pairs]
    result, shares = gradient, list[Array]()
    for (s, y), inverse in zip(reversed(pairs), reversed(inverses)):
        share = inverse * xp.matmul(s, result)
        result = result - share * y.mT
        shares.append(share)
    s, y = pairs[-1]
    scale = xp.matmul(s, y.mT) * _invert(xp.matmul(y, y.mT), xp)
    result = xp.where(scale > 0.0, scale, xp.ones_like(scale)) * result
    for (s, y), inverse, share in zip(pairs, inverses, reversed(shares)):
        result = result + (share - inverse * xp.matmul(y, result)) * s.mT
    return result


def try_next(line: Line, trial: Trial, falls: Array, xp: Namespace) -> Line:
    """Choose the next length along a line, after a trial that does not meet the Wolfe conditions."""
    low, high = line.low, line.high
    is_finite = xp.isfinite(trial.cost) & xp.isfinite(trial.slope)
    halving = Trial(trial.length, low.cost, -low.slope)  # an end with which `interpolate` halves the bracket
    trial = choose(is_finite, trial, halving, xp)
    is_too_long = xp.logical_not(is_finite & falls & (trial.cost < low.cost))
    has_passed = trial.slope * xp.where(high.length < 0.0, xp.ones_like(low.length), high.length - low.length) >= 0.0
    new_high = choose(is_too_long, trial, choose(has_passed, low, high, xp), xp)
    new_low = choose(is_too_long, low, trial, xp)
    trials = line.trials + 1.0
    inside = interpolate(new_low, new_high, xp)
    length = xp.where(new_high.length < 0.0, EXPANSION * trial.length, inside)
    length = xp.where(trials >= MOST_TRIALS, new_low.length, length)
    return line._replace(length=length, trials=trials, low=new_low, high=new_high)


def interpolate(low: Trial, high: Trial, xp: Namespace) -> Array:
    """Find the length between two at which a cubic polynomial with their costs and slopes is least."""
    width = high.length - low.length
    mean = low.slope + high.slope - 3.0 * (high.cost - low.cost) / width
    root = xp.sqrt(xp.maximum(mean * mean - low.slope * high.slope, 0.0 * mean))
    root = xp.where(width < 0.0, -root, root)
    fraction = 1.0 - (high.slope + root - mean) / (high.slope - low.slope + 2.0 * root)
    one = xp.ones_like(fraction)
    fraction = xp.where(xp.isfinite(fraction), fraction, 0.5 * one)
    fraction = xp.minimum(xp.maximum(fraction, MARGIN * one), (1.0 - MARGIN) * one)
    return low.length + fraction * width


def choose(condition: Array, new: Any, old: Any, xp: Namespace) -> Any:
    """Choose between two nests of arrays."""
    return rebuild(new, [xp.where(condition, *parts) for parts in zip(leaves(new), leaves(old))])


def _first_length(gradient: Array, xp: Namespace) -> Array:
    """Find the length of the first step: its norm is 1, or that of the gradient if this is less."""
    square = over_matrices(xp.sum, gradient * gradient)
    return 1.0 / xp.sqrt(xp.maximum(square, xp.ones_like(square)))


def _dot(p: Array, q: Array, xp: Namespace) -> Array:
    """Multiply columns, (..., P, 1): a number, or (networks, 1, 1)."""
    return over_matrices(xp.sum, p * q)


def _invert(x: Array, xp: Namespace) -> Array:
    """Compute 1/x, and 0 for 0."""
    is_zero = x == 0.0
    return xp.where(is_zero, 0.0 * x, 1.0 / xp.where(is_zero, xp.ones_like(x), x))
