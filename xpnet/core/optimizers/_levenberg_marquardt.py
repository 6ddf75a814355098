"""Levenberg-Marquardt as an optimizer: its hyperparameters and its steps; the formulas are in `core.least_squares`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from xpnet._checks import Real, check_fields, yes_or_no
from xpnet._names import explain_arguments
from xpnet.core._slopes import slope_cost
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, join_layers, map_arrays, split_layers
from xpnet.core.backprop import backward, forward
from xpnet.core.costs import Composed
from xpnet.core.laplace import (
    NOISE_CHANGE,
    Evidence,
    Residuals,
    begin_evidence,
    estimate_precisions,
    find_spread,
    init_evidence,
    sum_groups,
    sum_residuals,
    weigh_parts,
)
from xpnet.core.least_squares import (
    SQUARED,
    Damping,
    LinearProblem,
    descend,
    gradient_and_curvature,
    has_noise,
    is_least_squares,
    make_identity,
    normal_equations,
)
from xpnet.core.minibatch import Minibatch
from xpnet.core.model import Model, count_parameters
from xpnet.core.optimizers._base import Decay, OptimizerState
from xpnet.core.step import State, WholeStep, over_matrices, penalty, select_arrays
from xpnet.errors import ArgumentError

MATRICES = 4  # of P × P numbers in memory during a step, about, beside one for each group of residuals
BYTES = 8  # of a number in float64
# The least λ in ½ λ ‖w‖² that has much effect. With 661 weights trained on 256 noisy targets, the test cost was 0.05 to
# 0.2 without decay, 0.04 to 0.07 with λ = 1e-6, 0.02 to 0.03 with 1e-5, and 0.002 with 1e-4, in three draws
LEAST_DECAY = 1e-5
WARM_UP = 10  # steps that lower the cost before the first estimate: else weights that learn late vanish early
SETTLED = 2.0**7  # the growth of the damping after which no step lowers the cost any more, with these precisions
# As a fraction of the targets, from which weights fit much of their noise: docs/use/second-order.md has the figures
MOST_WEIGHTS = 2 / 3


class DampingHyperparameters(NamedTuple):
    """The hyperparameters of Levenberg-Marquardt as arrays; None for one that is not used."""

    damping: Array
    weight_decay: Array | None


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class LevenbergMarquardt:
    """Levenberg-Marquardt, for regressions with few weights and squared errors (MATLAB's ``trainlm``).

    An epoch is one step, which uses all examples and solves a linear problem for all P weights and biases: it takes
    about n_examples × n_out × P² multiplications and P³, and memory for about five P × P matrices. Up to some thousands
    of weights, it often reaches errors that others do not (K. Levenberg, 1944; D. W. Marquardt, 1963; M. T. Hagan and
    M. B. Menhaj, "Training Feedforward Networks with the Marquardt Algorithm", IEEE Transactions on Neural Networks 5,
    1994). The weights change only if the cost falls; it chooses the length of its steps, so `lr` and `batch_size` are
    left out.

    It needs ``dtype="float64"``, no dropout, and the cost "quadratic", "mse", "huber" or "gaussian", or one of your own
    with an output for each target: its squares get the gradient and the curvature of that cost anew in each step.

    Parameters
    ----------
    weight_decay
        λ ≥ 0: adds λ/2 ‖w‖² to the cost, as in `SGD`.
    damping
        τ > 0: the damping begins at τ times the largest element of the diagonal of JᵀJ. If training does not get going,
        or ends in a poor minimum, try a larger one.
    bayesian
        Whether to find the weight decay from the training examples, without validation data: one for the weights of
        each input and of each later layer, and for the biases of each layer (MATLAB's ``trainbr``; D. J. C. MacKay,
        1992; F. D. Foresee and M. T. Hagan, 1997), and the noise of each target. The cost is "quadratic", "mse" or
        "gaussian". Networks with more weights than examples do not learn the noise,
        and inputs that do not matter lose their weights: `relevance` of ``net.state.optimizer.memory``. Each
        call of `train` begins anew. It takes twice the time; `weight_decay`, and `alpha` of the estimators, are not
        used. Slopes get a weight for each input, in place of `slope_weight`.

    Raises
    ------
    ArgumentError
        If a number is out of range, or `weight_decay` is given with `bayesian`.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet import Network
    >>> x = np.linspace(-3, 3, 50)[:, None]
    >>> net = Network([1, 5, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    >>> history = net.train((x, np.sin(x)), epochs=50, optimizer=LevenbergMarquardt(), progress=False)
    >>> net.cost((x, np.sin(x))) < 1e-6
    True
    """

    weight_decay: Decay = 0.0
    damping: Annotated[float, Real(0, math.inf, "1e-3 is usual", includes_low=False)] = 1e-3
    bayesian: Annotated[bool, yes_or_no] = False
    default_lr: ClassVar[float] = 1.0  # not used
    needs_all_examples: ClassVar[bool] = True
    linalg: ClassVar[tuple[str, ...]] = ("diagonal", "inv", "solve")

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        check_fields(self)
        if self.bayesian and self.weight_decay:
            raise ArgumentError(
                f"bayesian=True finds the weight decay, and contradicts weight_decay={self.weight_decay!r}; give one"
            )

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        numbers = map_arrays(to_array, DampingHyperparameters(self.damping, self.weight_decay or None))
        memory = init_evidence(layers, to_array(0.0)) if self.bayesian else Damping(to_array(0.0), to_array(0.0))
        return OptimizerState(numbers, memory)

    @property
    def begins_anew(self) -> bool:
        """Whether every training begins with a fresh state: precisions are those of the present examples."""
        return self.bayesian

    def check_network(
        self, model: Model, dtype: str, to_array: Callable[[Any], Array], xp: Namespace, slope_weight: Any
    ) -> None:
        """Refuse a network that it cannot train, or a weight of slopes."""
        cost = model.cost
        if not is_least_squares(cost) or (self.bayesian and not has_noise(cost)):
            costs = [f"cost={name!r}" for name in (*SQUARED, "gaussian")]
            if not self.bayesian:
                costs += ["cost='huber'", "a smooth one of your own"]
            raise ArgumentError(
                f"LevenbergMarquardt minimizes squared errors, and the cost is {cost.name!r}; make the network with "
                f"{', '.join(costs)}, or give another optimizer, such as LBFGS()"
            )
        if self.bayesian and slope_weight not in (None, 1.0):
            raise ArgumentError(
                f"bayesian=True finds the weight of slopes by each input, and contradicts slope_weight={slope_weight}; "
                "give one"
            )
        if dtype != "float64":
            raise ArgumentError(f'LevenbergMarquardt needs float64, and the network has {dtype}; give dtype="float64"')
        if has_noise(cost):
            return
        x, a, y = (to_array(np.full((1, n), 0.5)) for n in (model.n_in, model.n_out, model.n_out))
        try:
            with np.errstate(all="ignore"):
                gradient_and_curvature(cost.with_inputs(x), a, y, xp)
        except (TypeError, AttributeError) as error:
            raise ArgumentError(
                f"LevenbergMarquardt cannot differentiate the gradient of cost={cost.name!r} ({error}); let it use "
                "operators and functions of xp alone, or give LBFGS()"
            ) from error

    def bytes_needed(self, model: Model, *, slopes: bool) -> int:
        """Count the bytes of the matrices of a step, which are far larger than the weights."""
        n_groups = model.n_targets + slopes * model.n_in if self.bayesian else 1
        return (MATRICES + n_groups) * BYTES * count_parameters(model.sizes) ** 2

    def multiplications(self, model: Model, rows: int) -> int:
        """Count the multiplications of the largest matrix product in a step with `rows` examples."""
        return rows * count_parameters(model.sizes) ** 2

    def explain_noise(self, model: Model, n_targets: int, alpha: float) -> str:
        """Format a warning if it will learn the noise of targets; "" if weight decay, with `alpha`, bounds the weights.

        `n_targets` counts the numbers that the network is fitted to.
        """
        n_parameters = count_parameters(model.sizes)
        if self.bayesian or self.weight_decay + alpha >= LEAST_DECAY or n_parameters < MOST_WEIGHTS * n_targets:
            return ""
        return (
            f"LevenbergMarquardt learns much of the noise of {n_targets:,} targets, if there is any, with "
            f"{n_parameters:,} weights and biases; give bayesian=True, or weight_decay=1e-4, say (alpha in "
            "the estimators), or stop early on validation data, or make the network smaller"
        )

    @property
    def update(self) -> WholeStep:
        """The step: ``(sigmas, output, state, minibatch, xp) -> state``, which needs more than gradients."""
        return WholeStep(take_damped_step)


def take_damped_step(
    sigmas: tuple[Activation, ...], output: Composed, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Take one step of Levenberg-Marquardt, a Bayesian one after its precisions; it takes the place of `take_step`.

    The weights change only if the cost falls, so its result is always at least as good. The costs that it adds up are
    without the penalty by precisions, which changes from step to step.
    """
    ((damping, weight_decay), memory), layers = state.optimizer, state.layers
    x, y, slopes, slope_weights = minibatch.x, minibatch.y, minibatch.slopes, minibatch.slope_weights
    weights = xp.ones_like(y[..., 0]) if minibatch.weight is None else minibatch.weight
    share = weights / xp.sum(weights, axis=-1, keepdims=True)
    output_here, shape = output.with_inputs(x), memory.mu.shape

    def compute_costs(layers: Layers, targets: Array = y) -> Array:
        """Compute the cost of each example without any penalty."""
        zs, activations = forward(layers, sigmas, x, xp)
        costs = output_here.value(zs[-1], activations[-1], targets, xp)
        return costs if slopes is None else costs + slope_cost(layers, sigmas, zs, activations, minibatch, xp)

    other_cost = None if output.cost.name in SQUARED else output.cost
    factor = 1.0 if other_cost else SQUARED[output.cost.name](y.shape[-1])
    slope_share = None if slope_weights is None else slope_weights * share[..., None, None]
    in_groups = isinstance(memory, Evidence) and not other_cost
    matrices, gradients, squares = normal_equations(
        layers, sigmas, x, y, factor * share, xp, slopes, slope_share, other_cost, in_groups
    )
    costs, minimized = compute_costs(layers), compute_costs
    if isinstance(memory, Evidence):
        residuals = sum_residuals(matrices, None if other_cost else squares, minibatch, share, xp)
        memory, (of_groups, decay), covariance = renew_precisions(memory, layers, residuals, factor, xp)
        matrix, gradient = (sum_groups(of_groups, parts) for parts in (matrices, gradients))
        if other_cost:
            spread = find_spread(sigmas, layers, covariance, x, y.shape[-1], xp)
            targets, (zs, activations) = (y + spread, y - spread), forward(layers, sigmas, x, xp)
            grads = (backward(layers, sigmas, output_here, zs, activations, t, xp, weights) for t in targets)
            gradient = sum(0.5 * join_layers(part, xp) for part in grads)

            def minimized(layers: Layers) -> Array:
                return sum(0.5 * compute_costs(layers, t) for t in targets)
        else:
            of_targets, of_slopes = of_groups[..., : y.shape[-1]], of_groups[..., None, y.shape[-1] :]
            weighted = None if slope_weights is None else minibatch._replace(slope_weights=slope_weights * of_slopes)

            def minimized(layers: Layers) -> Array:
                zs, activations = forward(layers, sigmas, x, xp)
                costs = 0.5 * factor * xp.sum(of_targets * (activations[-1] - y) ** 2, axis=-1)
                return costs if weighted is None else costs + slope_cost(layers, sigmas, zs, activations, weighted, xp)

    else:
        (matrix,), (gradient,) = matrices, gradients
        strength = sum((part for part in (minibatch.decay, weight_decay) if part is not None), 0.0 * damping)
        decay = join_layers(tuple((strength + 0.0 * w, 0.0 * b) for w, b in layers), xp)
        costs = costs + penalty(layers, strength, xp)

    def measure(parameters: Array) -> Array:
        cost = xp.sum(share * minimized(split_layers(parameters, layers, xp)), axis=-1)
        return xp.reshape(cost, shape) + 0.5 * over_matrices(xp.sum, decay * parameters * parameters)

    parameters = join_layers(layers, xp)
    largest = xp.max(matrix * make_identity(parameters, xp), axis=(-2, -1))
    problem = LinearProblem(matrix, gradient + decay * parameters, largest, measure(parameters), decay)
    new, memory, falls = descend(parameters, problem, measure, memory, damping, xp)
    if isinstance(memory, Evidence):
        memory = memory._replace(steps=memory.steps + xp.astype(falls, memory.mu.dtype))
    layers = select_arrays(falls, split_layers(new, layers, xp), layers, xp)
    optimizer = state.optimizer._replace(memory=memory)
    return state._replace(layers=layers, optimizer=optimizer, cost=state.cost + weights * costs)


def renew_precisions(
    memory: Evidence, layers: Layers, residuals: Residuals, factor: float, xp: Namespace
) -> tuple[Evidence, tuple[Array, Array], Array]:
    """Estimate the precisions, if that is due; return them, what `weigh_parts` does, and the covariance of weights.

    Parameters
    ----------
    memory
        The precisions.
    layers, residuals
        Weights and biases, and the residuals of all examples at these.
    factor
        The cost of an example, as a multiple of ½ Σ (a − y)².
    xp
        Namespace of the arrays.
    """
    memory, units = begin_evidence(memory, residuals, factor, xp)
    has_settled = memory.growth >= SETTLED
    is_due = has_settled | ((memory.steps > WARM_UP) & (memory.growth == 2.0))  # the last step has lowered the cost
    estimate, inverse = estimate_precisions(memory, layers, residuals, units, NOISE_CHANGE, xp)
    memory = select_arrays(is_due, estimate, memory, xp)
    memory = memory._replace(
        mu=xp.where(has_settled, 0.0 * memory.mu, memory.mu),  # which begins anew
        growth=xp.where(has_settled, 0.0 * memory.growth, memory.growth),
    )
    return memory, weigh_parts(memory, layers, residuals, xp), inverse / residuals.n
