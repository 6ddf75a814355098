"""The evidence: how strongly weights are to decay, and how noisy the targets are, found from the training examples.

With normal errors of precision β (one over their variance), and a normal prior of precision α for each weight, the most
probable weights minimize ½ β Σ r² + ½ Σ α θ². Both precisions are those under which the data are most probable: each is
estimated anew after a step, with the weights held. M = β JᵀJ + α is the inverse of the weights' covariance, and
1 − α (M⁻¹)ᵢᵢ says how well the data determine weight i, from 0 to 1. The sum of these is γ, the number of weights that
the data determine.

Weights that share an α are those of one input, those of each later layer, and the biases of each layer. An input that
does not matter gets the largest one, and its weights nearly vanish (automatic relevance determination).

D. J. C. MacKay, "Bayesian Interpolation" and "A Practical Bayesian Framework for Backpropagation Networks", Neural
Computation 4, 1992; for Levenberg-Marquardt, F. D. Foresee and M. T. Hagan, "Gauss-Newton Approximation to Bayesian
Learning", International Conference on Neural Networks, 1997.
"""

from typing import Any, NamedTuple

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, join_layers, leaves, split_layers
from xpnet.core.backprop import forward
from xpnet.core.costs import Composed
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers._least_squares import SQUARED, lower_cost, make_identity, normal_equations
from xpnet.core.optimizers.base import OptimizerState, over_matrices

# α before the first estimate and at most, for inputs with mean square 1 and targets with variance 1. Weights of larger
# ones would stay 0 for good, also if they matter once the noise is found to be small
FIRST_PRECISION, MOST_PRECISION = 1e-2, 1e4
WARM_UP = 10  # steps that lower the cost before the first estimate: else weights that learn late vanish early
SETTLED = 2.0**7  # the growth of the damping after which no step lowers the cost any more, with these precisions
MOST_CHANGE = 10.0  # by which an α grows or falls in an estimate, and by which β falls
# By which β grows: slowly, so that weights that fit the noise, as those before the first estimate may, decay before
# there seems to be none. With more weights than examples, both are a solution
NOISE_CHANGE = 1.3
LEAST_SHARE = 1e-3  # how well the data must determine a group of weights, to say anything of its precision
LEAST_FREEDOM = 1e-3  # of the number of targets: what is left of it after γ
LEAST_NOISE = 1e-14  # the least variance of the noise


class Evidence(NamedTuple):
    """The state of Bayesian Levenberg-Marquardt: the damping and the precisions, all 0 before the first step.

    Numbers are arrays without axes, or (networks, 1, 1) for several networks.
    """

    mu: Array  # the damping, as in `least_squares.Damping`
    growth: Array
    noise: Array  # β, in units of the cost
    weights: Layers  # α: (1, n_in) and (1, 1) for weights and biases of the first layer, (1, 1) and (1, 1) for others
    steps: Array  # that have lowered the cost

    @property
    def relevance(self) -> Array:
        """The standard deviation of the weights of each input, (..., n_in), 1/√α: the least if it does not matter."""
        return self.weights[0][0][..., 0, :] ** -0.5


def init_evidence(layers: Layers, zero: Array) -> Evidence:
    """Make the state before the first step."""
    first, *others = layers
    groups = [(0.0 * first[0][..., :1, :], 0.0 * first[1][..., :1, :1])]
    groups += [(0.0 * w[..., :1, :1], 0.0 * b[..., :1, :1]) for w, b in others]
    return Evidence(zero, 0.0 * zero, 0.0 * zero, tuple(groups), 0.0 * zero)


def take_bayesian_step(
    sigmas: tuple[Activation, ...], output: Composed, state: Any, minibatch: Minibatch, xp: Namespace
) -> Any:
    """Estimate the precisions, if that is due, and take a step of Levenberg-Marquardt.

    The costs that it adds up are those without the penalty, which changes from step to step.
    """
    ((damping, _), memory), layers = state.optimizer, state.layers
    x, y, weight = minibatch.x, minibatch.y, minibatch.weight
    weights = xp.ones_like(y[..., 0]) if weight is None else weight
    share, factor = weights / xp.sum(weights, axis=-1, keepdims=True), SQUARED[output.cost.name](y.shape[-1])
    shape = memory.mu.shape
    n = xp.reshape(xp.sum(xp.astype(weights > 0.0, weights.dtype), axis=-1), shape)

    def measure(layers: Layers) -> tuple[Array, Array]:
        """Compute the cost of each example, and their mean in the shape of μ."""
        zs, activations = forward(layers, sigmas, x, xp)
        costs = output.value(zs[-1], activations[-1], y, xp)
        return costs, xp.reshape(xp.sum(share * costs, axis=-1), shape)

    matrix, gradient = normal_equations(layers, sigmas, x, y, factor * share, xp)
    costs, cost = measure(layers)
    squares = xp.sum(share[..., None] * x * x, axis=-2, keepdims=True)
    variance = xp.reshape(_variance(y, share, xp), shape)
    units = unit_precisions(memory, squares, variance, xp)
    memory = begin_evidence(memory, units, 1.0 / (factor * variance), xp)
    has_settled = memory.growth >= SETTLED
    is_due = has_settled | ((memory.steps > WARM_UP) & (memory.growth == 2.0))  # the last step has lowered the cost
    estimate = estimate_precisions(memory, layers, matrix, cost, n, y.shape[-1] * n, units, NOISE_CHANGE, xp)
    memory = memory._replace(
        mu=xp.where(has_settled, 0.0 * memory.mu, memory.mu),  # which begins anew
        growth=xp.where(has_settled, 0.0 * memory.growth, memory.growth),
        noise=xp.where(is_due, estimate.noise, memory.noise),
        weights=tuple(
            tuple(xp.where(is_due, new, old) for new, old in zip(*parts))
            for parts in zip(estimate.weights, memory.weights)
        ),
    )
    decays = find_decays(memory, layers, n)

    def measure_penalized(layers: Layers) -> Array:
        return measure(layers)[1] + _penalty(layers, decays, xp)

    old_cost = cost + _penalty(layers, decays, xp)
    layers, memory = lower_cost(layers, matrix, gradient, decays, old_cost, measure_penalized, memory, damping, xp)
    memory = memory._replace(steps=memory.steps + xp.astype(memory.growth == 2.0, memory.mu.dtype))
    optimizer = OptimizerState(state.optimizer.hyperparameters, memory)
    return state._replace(layers=layers, optimizer=optimizer, cost=state.cost + weights * costs)


def find_decays(evidence: Evidence, layers: Layers, n: Array) -> Layers:
    """Find the λ in the penalty ½ λ θ² of each weight and bias that goes with the mean cost of n examples."""
    scale = evidence.noise * n
    return tuple(
        tuple(alpha / scale + 0.0 * part for alpha, part in zip(*parts)) for parts in zip(evidence.weights, layers)
    )


def estimate_precisions(
    evidence: Evidence,
    layers: Layers,
    matrix: Array,
    cost: Array,
    n: Array,
    n_targets: Array,
    units: Layers,
    noise_change: float,
    xp: Namespace,
) -> Evidence:
    """Estimate all precisions anew, with the weights held; each α changes by a factor of 10 at most.

    Parameters
    ----------
    evidence
        The precisions.
    layers
        Weights and biases.
    matrix
        JᵀJ of the mean cost at these.
    cost
        The mean cost at these.
    n, n_targets
        Number of examples, and of their targets.
    units
        As `unit_precisions` returns them.
    noise_change
        The factor by which β grows at most.
    xp
        Namespace of the arrays.
    """
    decay = join_layers(find_decays(evidence, layers, n), xp)
    identity = make_identity(decay, xp)
    inverse = xp.linalg.inv(matrix + identity * decay)
    share = 1.0 - decay * xp.sum(inverse * identity, axis=-1)[..., None]
    share = xp.minimum(xp.maximum(share, 0.0 * share), 0.0 * share + 1.0)
    gamma = xp.reshape(xp.sum(share, axis=(-2, -1)), cost.shape)
    weights = tuple(
        tuple(
            _limit(_precision(determined, part, MOST_PRECISION * unit, xp), alpha, MOST_CHANGE, xp)
            for determined, part, unit, alpha in zip(*parts)
        )
        for parts in zip(split_layers(share, layers, xp), layers, units, evidence.weights)
    )
    freedom = xp.maximum(n_targets - gamma, LEAST_FREEDOM * n_targets)
    noise = freedom / xp.maximum(2.0 * n * cost, LEAST_NOISE * freedom)
    return evidence._replace(noise=_limit(noise, evidence.noise, noise_change, xp), weights=weights)


def _precision(share: Array, part: Array, most: Array, xp: Namespace) -> Array:
    """Estimate the precision of the groups of weights that share one, which has the shape of `most`."""
    axis = -2 if most.shape[-1] == part.shape[-1] else (-2, -1)
    determined, square = (xp.sum(x, axis=axis, keepdims=True) for x in (share, part * part))
    estimate = determined / xp.maximum(square, LEAST_SHARE / most)
    return xp.minimum(xp.where(determined < LEAST_SHARE, most, estimate), most)


def _limit(new: Array, old: Array, growth: float, xp: Namespace) -> Array:
    return xp.minimum(xp.maximum(new, old / MOST_CHANGE), old * growth)


def unit_precisions(evidence: Evidence, squares: Array, variance: Array, xp: Namespace) -> Layers:
    """Compute the precisions that count as 1, in the shapes of those of the weights.

    They are 1 for inputs with mean square 1 and targets with variance 1. If there is one layer, both change its own.

    Parameters
    ----------
    evidence
        The state.
    squares
        The mean squares of the inputs, (..., 1, n_in).
    variance
        The variance of the targets.
    xp
        Namespace of the arrays.
    """
    units = [[xp.ones_like(alpha) for alpha in pair] for pair in evidence.weights]
    units[0][0] = xp.where(squares > 0.0, squares, xp.ones_like(squares))
    units[-1] = [unit / variance for unit in units[-1]]
    return tuple((w, b) for w, b in units)


def begin_evidence(evidence: Evidence, units: Layers, noise: Array, xp: Namespace) -> Evidence:
    """Set the precisions before the first step; those that are not 0 stay as they are.

    Parameters
    ----------
    evidence
        The state.
    units
        As `unit_precisions` returns them.
    noise
        The first β.
    xp
        Namespace of the arrays.
    """
    weights = tuple(
        tuple(xp.where(alpha > 0.0, alpha, FIRST_PRECISION * unit) for alpha, unit in zip(*pairs))
        for pairs in zip(evidence.weights, units)
    )
    return evidence._replace(noise=xp.where(evidence.noise > 0.0, evidence.noise, noise), weights=weights)


def _variance(y: Array, share: Array, xp: Namespace) -> Array:
    """Compute the variance of the targets around their means, for one or several networks."""
    mean = xp.sum(share[..., None] * y, axis=-2, keepdims=True)
    squares = xp.mean(xp.sum(share[..., None] * (y - mean) ** 2, axis=-2), axis=-1)
    return xp.where(squares > 0.0, squares, xp.ones_like(squares))


def _penalty(layers: Layers, decays: Layers, xp: Namespace) -> Array:
    """Compute ½ Σ λ θ², a number or (networks, 1, 1)."""
    parts = zip(leaves(layers), leaves(decays))
    total: Any = sum(over_matrices(xp.sum, decay * part * part) for part, decay in parts)
    return 0.5 * total
