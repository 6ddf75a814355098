"""L-BFGS: steps along a line to lower cost, whose directions know the curvature from the last steps.

Near a minimum, a step s changes the gradient by about y = H s, where H is the matrix of second derivatives. A few pairs
(s, y) of past steps say enough of H to turn the gradient g into a direction d ≈ −H⁻¹ g, by two passes over the pairs,
without any matrix. Along this line, the cost falls enough at a length that meets the strong Wolfe conditions: below
start.cost + 10⁻³ length × start.slope, with a slope of at most 0.9 times that of the start. Length 1 mostly does. If it
does not, longer ones are tried, until a minimum along the line lies between two, and then some between these, each
where a polynomial through costs and slopes is least. All numbers are those of L-BFGS-B in SciPy, so that training takes
the same steps, but for rounding and rare cases.

An epoch measures cost and gradient once, of all examples, at one length: many of them part by part. The weights change
when the conditions are met.

D. C. Liu and J. Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", Mathematical Programming 45,
1989; J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd edition, 2006, algorithm 7.4; J. J. Moré and D. J.
Thuente, "Line Search Algorithms with Guaranteed Sufficient Decrease", ACM Transactions on Mathematical Software 20,
1994.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from xpnet._checks import Checked, Count
from xpnet._names import explain_arguments
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, count_elements, join_layers, map_arrays, split_layers
from xpnet.core.costs import Output
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers._base import Decay, OptimizerState
from xpnet.core.step import State, WholeStep, differentiate, over_matrices, select_arrays

ENOUGH_FALL, FLAT_ENOUGH = 1e-3, 0.9  # the constants of the Wolfe conditions, as in L-BFGS-B
MOST_GROWTH = 4.0  # of a length, in units of its distance from the best one before it
NARROW = 0.1  # a bracket, as a fraction of its longer end; then its better end is taken
SHRINKING = 0.66  # a bracket that has become no narrower than by this factor after two trials is halved
WIDEST = 1e10  # the width before there is a bracket
MOST_TRIALS = 20  # lengths along a line; then the best one is taken
LEAST_CURVATURE = 2.0**-52  # sᵀy as a fraction of the slope before the step, below which rounding may have made it


class LBFGSHyperparameters(NamedTuple):
    """The hyperparameters of L-BFGS as arrays; None for one that is not used."""

    weight_decay: Array | None


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class LBFGS(Checked):
    """L-BFGS, for networks and data that are small enough for all examples in every step.

    An epoch measures cost and gradient of all examples once: the first one where the weights are, each other one at a
    length along a line. Mostly it goes there, and else tries another length in the next epoch (D. C. Liu and J.
    Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", Mathematical Programming 45, 1989). It
    takes any cost, any number of weights and any number of examples, part by part. But for rounding, the
    cost never rises; `lr` and `batch_size` are left out. Each call of `train` begins anew. The search along a line
    takes up to 20 epochs without a change: let callbacks that stop early wait longer.

    Give ``dtype="float64"``: in float32, it ends where rounding hides a lower cost. For regressions with up to some
    thousands of weights and squared errors, `LevenbergMarquardt` is better.

    Parameters
    ----------
    weight_decay
        λ ≥ 0: adds λ/2 ‖w‖² to the cost, as in `SGD`.
    history
        The number of steps that it remembers, of P numbers twice.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet import Network
    >>> x = np.linspace(-3, 3, 50)[:, None]
    >>> net = Network([1, 5, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    >>> history = net.train((x, np.sin(x)), epochs=200, optimizer=LBFGS(), progress=False)
    >>> net.cost((x, np.sin(x))) < 1e-4
    True
    """

    weight_decay: Decay = 0.0
    history: Annotated[int, Count(1)] = 10
    default_lr: ClassVar[float] = 1.0  # not used
    needs_all_examples: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = True

    def init(self, layers: Layers, to_array: Callable[[Any], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float, or an array of NumPy's."""
        p, zero = count_elements(layers), np.zeros(())
        column, rows, point = np.zeros((p, 1)), np.zeros((self.history, p)), LinePoint(zero, zero, zero)
        sums = Sums(zero, column, zero)
        line = Line(column, column, zero, zero, zero, point, point, zero, zero, sums, rows, rows)
        return map_arrays(to_array, OptimizerState(LBFGSHyperparameters(self.weight_decay or None), line))

    @property
    def update(self) -> WholeStep:
        """The step: ``(sigmas, output, state, minibatch, xp) -> state``, which needs more than gradients."""
        return WholeStep(take_lbfgs_step, add_lbfgs_part)


class LinePoint(NamedTuple):
    """Cost and slope at a length along a line; numbers, or (networks, 1, 1) for several networks."""

    length: Array
    cost: Array
    slope: Array


class Sums(NamedTuple):
    """Sums over the examples that have been measured at the present length, and the sum of their weights."""

    cost: Array
    gradient: Array  # (..., P, 1)
    weight: Array


class Line(NamedTuple):
    """The state of L-BFGS: the line that is searched, and the pairs (s, y) of the last steps. All are 0 at first."""

    direction: Array  # (..., P, 1)
    gradient: Array  # (..., P, 1), at the start of the line
    cost: Array  # at the start
    length: Array  # at which cost and gradient are measured next; 0 before the first step
    trials: Array  # lengths that have been tried
    low: LinePoint  # the end of the bracket with less cost; at first, the start of the line
    high: LinePoint  # the other end; its length is −1 as long as there is none, and 0 before the first step
    width: Array  # of the bracket
    wider: Array  # the width one trial before
    sums: Sums
    changes: Array  # s of the last steps, (..., pairs, P), the newest last; 0 for none
    gradient_changes: Array  # their y


def take_lbfgs_step(
    sigmas: tuple[Activation, ...], output: Output, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Measure cost and gradient at one length along a line; go there, or choose the next length."""
    (weight_decay,), line = state.optimizer
    trial_layers, sums = evaluate_at_length(sigmas, output, state, weight_decay, minibatch, xp)
    gradient = sums.gradient / sums.weight
    start_slope = _dot(line.direction, line.gradient, xp)
    trial = LinePoint(line.length, sums.cost / sums.weight, _dot(line.direction, gradient, xp))

    is_first = line.length == 0.0  # also where a line has led to nothing: then the pairs are forgotten
    falls = trial.cost <= line.cost + ENOUGH_FALL * trial.length * start_slope  # False for NaN
    is_flat = xp.abs(trial.slope) <= -FLAT_ENOUGH * start_slope
    is_taken = (falls & is_flat) | (line.length == line.low.length)  # the latter comes again as nothing is left to try

    line = line._replace(sums=map_arrays(xp.zeros_like, sums))
    begun, tried = begin_line(line, trial, gradient, is_first, xp), try_next(line, trial, start_slope, xp)
    layers = select_arrays(is_taken, trial_layers, state.layers, xp)
    optimizer = OptimizerState(state.optimizer.hyperparameters, select_arrays(is_taken, begun, tried, xp))
    costs = sums.weight / state.cost.shape[-1] * xp.where(is_first, trial.cost, line.cost)  # an equal share of each row
    return state._replace(
        layers=layers, optimizer=optimizer, cost=state.cost + (costs[..., 0] if costs.ndim else costs)
    )


def add_lbfgs_part(
    sigmas: tuple[Activation, ...], output: Output, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Add costs and gradients of some of the examples, which are not the last ones."""
    _, sums = evaluate_at_length(sigmas, output, state, None, minibatch._replace(decay=None), xp)
    (hyperparameters, line) = state.optimizer
    return state._replace(optimizer=OptimizerState(hyperparameters, line._replace(sums=sums)))


def evaluate_at_length(
    sigmas: tuple[Activation, ...],
    output: Output,
    state: State,
    weight_decay: Array | None,
    minibatch: Minibatch,
    xp: Namespace,
) -> tuple[Layers, Sums]:
    """Compute the weights at the present length, and the sums with the costs and gradients of a minibatch there."""
    line, sums, shape = state.optimizer.memory, state.optimizer.memory.sums, state.optimizer.memory.cost.shape
    layers = split_layers(join_layers(state.layers, xp) + line.length * line.direction, state.layers, xp)
    weights = xp.ones_like(minibatch.y[..., 0]) if minibatch.weight is None else minibatch.weight
    weight = xp.reshape(xp.sum(weights, axis=-1), shape)
    total = sums.weight + weight
    decays = [] if minibatch.decay is None else [minibatch.decay]
    decays += [] if weight_decay is None else [weight_decay * (total / weight)]
    penalized = minibatch._replace(decay=sum(decays) if decays else None)
    grads, costs = differentiate(sigmas, output.with_inputs(minibatch.x), layers, penalized, xp)
    cost = xp.reshape(xp.sum(costs, axis=-1), shape)
    return layers, Sums(sums.cost + cost, sums.gradient + weight * join_layers(grads, xp), total)


def begin_line(line: Line, trial: LinePoint, gradient: Array, is_first: Array, xp: Namespace) -> Line:
    """Begin a new line at the point of a trial; the first step forgets all pairs."""
    change, gradient_change = trial.length * line.direction, gradient - line.gradient
    least = -LEAST_CURVATURE * _dot(change, line.gradient, xp)
    is_new = xp.logical_not(is_first) & (_dot(change, gradient_change, xp) > least)

    def remember(pairs: Array, new: Array) -> Array:
        longer = xp.concat([pairs[..., 1:, :], new.mT], axis=-2)
        return xp.where(is_new, longer, xp.where(is_first, 0.0 * pairs, pairs))

    changes = remember(line.changes, change)
    gradient_changes = remember(line.gradient_changes, gradient_change)
    direction = -multiply_inverse_hessian(gradient, changes, gradient_changes, xp)
    square = _dot(gradient, gradient, xp)
    ones = xp.ones_like(square)
    length = xp.where(is_first, 1.0 / xp.sqrt(xp.where(square > 0.0, square, ones)), ones)  # the first has the norm 1
    zero = 0.0 * trial.length
    start = LinePoint(zero, trial.cost, _dot(direction, gradient, xp))
    none, width = LinePoint(zero - 1.0, zero, zero), zero + WIDEST
    ends = start, none, width, 2.0 * width
    return Line(direction, gradient, trial.cost, length, zero, *ends, line.sums, changes, gradient_changes)


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
    inverses = _invert(xp.sum(changes * gradient_changes, axis=-1, keepdims=True), xp)
    rows = [slice(i, i + 1) for i in range(changes.shape[-2])]
    pairs = [tuple(part[..., row, :] for part in (changes, gradient_changes, inverses)) for row in rows]
    result, shares = gradient, list[Array]()
    for s, y, inverse in reversed(pairs):
        share = inverse * xp.matmul(s, result)
        result = result - share * y.mT
        shares.append(share)
    s, y, _ = pairs[-1]
    scale = xp.matmul(s, y.mT) * _invert(xp.matmul(y, y.mT), xp)
    result = xp.where(scale > 0.0, scale, xp.ones_like(scale)) * result
    for (s, y, inverse), share in zip(pairs, reversed(shares)):
        result = result + (share - inverse * xp.matmul(y, result)) * s.mT
    return result


def try_next(line: Line, trial: LinePoint, start_slope: Array, xp: Namespace) -> Line:
    """Choose the next length along a line, after a trial that does not meet the Wolfe conditions.

    A cost below the best one that has not fallen enough counts as the height above the line from the start with the
    least slope that is enough.
    """
    low, high = line.low, line.high
    is_finite = xp.isfinite(trial.cost) & xp.isfinite(trial.slope)
    halving = LinePoint(trial.length, low.cost, -low.slope)  # an end with which `choose_length` halves the bracket
    trial = select_arrays(is_finite, trial, halving, xp)
    enough = ENOUGH_FALL * start_slope
    has_fallen_little = (trial.cost <= low.cost) & (trial.cost > line.cost + trial.length * enough)
    enough = xp.where(has_fallen_little, enough, 0.0 * enough)
    ends = (low, high, trial)
    a, b, c = (LinePoint(end.length, end.cost - end.length * enough, end.slope - enough) for end in ends)
    is_higher = xp.logical_not(is_finite) | (c.cost > a.cost)
    has_passed = c.slope * a.slope < 0.0
    length = choose_length(a, b, c, is_higher, has_passed, xp)

    high = select_arrays(is_higher, trial, select_arrays(has_passed, low, high, xp), xp)
    low = select_arrays(is_higher, low, trial, xp)
    trials, is_bracketed, width = line.trials + 1.0, high.length >= 0.0, xp.abs(high.length - low.length)
    middle = low.length + 0.5 * (high.length - low.length)
    length = xp.where(is_bracketed & (width >= SHRINKING * line.wider), middle, length)
    shorter, longer = xp.minimum(low.length, high.length), xp.maximum(low.length, high.length)
    is_narrow = (length <= shorter) | (length >= longer) | (width <= NARROW * longer)
    is_last = (is_bracketed & is_narrow) | (trials >= MOST_TRIALS)
    return line._replace(
        length=xp.where(is_last, low.length, length),
        trials=trials,
        low=low,
        high=high,
        width=xp.where(is_bracketed, width, line.width),
        wider=xp.where(is_bracketed, line.width, line.wider),
    )


def choose_length(
    low: LinePoint, high: LinePoint, trial: LinePoint, is_higher: Array, has_passed: Array, xp: Namespace
) -> Array:
    """Choose the next length where a polynomial is least: a cubic one, or one through a cost and two slopes or so.

    Parameters
    ----------
    low, high
        The ends of the bracket; the length of `high` is −1 if there is none yet.
    trial
        The last trial.
    is_higher
        Whether its cost is above that of `low`.
    has_passed
        Whether its slope has the other sign.
    xp
        Namespace of the arrays.
    """
    is_bracketed, width = high.length >= 0.0, trial.length - low.length
    fraction = find_least(low, trial, xp)
    cubic = low.length + fraction * width
    fall = low.cost - trial.cost
    square = low.length + 0.5 * low.slope / (fall / width + low.slope) * width  # by two costs and a slope
    secant = trial.length - trial.slope / (trial.slope - low.slope) * width  # by two slopes

    # Where slopes of one sign become flatter, the minimum lies beyond the trial; there, lengths are bounded
    most = trial.length + MOST_GROWTH * width
    end = xp.where(is_bracketed, high.length, most)
    beyond = xp.where(fraction > 1.0, cubic, end)
    is_nearer = xp.abs(beyond - trial.length) < xp.abs(secant - trial.length)
    near, far = xp.where(is_nearer, beyond, secant), xp.where(is_nearer, secant, beyond)
    limit = trial.length + SHRINKING * (high.length - trial.length)
    near = xp.where(width > 0.0, xp.minimum(near, limit), xp.maximum(near, limit))
    flatter = xp.where(is_bracketed, near, xp.minimum(far, most))

    steeper = trial.length + find_least(trial, high, xp) * (high.length - trial.length)
    same_sign = xp.where(xp.abs(trial.slope) < xp.abs(low.slope), flatter, xp.where(is_bracketed, steeper, most))
    is_far = xp.abs(cubic - trial.length) > xp.abs(secant - trial.length)
    past = xp.where(is_far, cubic, secant)
    is_close = xp.abs(cubic - low.length) < xp.abs(square - low.length)
    higher = xp.where(is_close, cubic, 0.5 * (cubic + square))
    return xp.where(is_higher, higher, xp.where(has_passed, past, same_sign))


def find_least(low: LinePoint, high: LinePoint, xp: Namespace) -> Array:
    """Find where a cubic polynomial through the costs and slopes of two trials is least, as a fraction of the way.

    It is a half where the polynomial has no minimum.
    """
    width = high.length - low.length
    mean = low.slope + high.slope - 3.0 * (high.cost - low.cost) / width
    square = mean * mean - low.slope * high.slope
    root = xp.sqrt(xp.maximum(square, 0.0 * mean))
    root = xp.where(width < 0.0, -root, root)
    fraction = 1.0 - (high.slope + root - mean) / (high.slope - low.slope + 2.0 * root)
    return xp.where(xp.isfinite(fraction) & (square > 0.0), fraction, 0.5 * xp.ones_like(fraction))


def _dot(p: Array, q: Array, xp: Namespace) -> Array:
    """Multiply columns, (..., P, 1): a number, or (networks, 1, 1)."""
    return over_matrices(xp.sum, p * q)


def _invert(x: Array, xp: Namespace) -> Array:
    """Compute 1/x, and 0 for 0."""
    is_zero = x == 0.0
    return xp.where(is_zero, 0.0 * x, 1.0 / xp.where(is_zero, xp.ones_like(x), x))
