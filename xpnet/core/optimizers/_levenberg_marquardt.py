"""Levenberg-Marquardt as an optimizer: its hyperparameters; `least_squares` takes the steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet._checks import in_range, overwrite, yes_or_no
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, Namespace, leaves
from xpnet.core.model import Model, count_parameters
from xpnet.core.optimizers._evidence import init_evidence, take_bayesian_step
from xpnet.core.optimizers._least_squares import (
    SQUARED,
    Damping,
    DampingHyperparameters,
    gradient_and_curvature,
    is_least_squares,
    take_damped_step,
)
from xpnet.core.optimizers.base import OptimizerState, WholeStep, require_between
from xpnet.errors import ArgumentError

MATRICES = 5  # of P × P numbers in memory during a step, about: measured with NumPy for P = 3,151, it is 4.5
BYTES = 8  # of a number in float64
# The least λ in ½ λ ‖w‖² that has much effect. With 661 weights trained on 256 noisy targets, the test cost was 0.05 to
# 0.2 without decay, 0.04 to 0.07 with λ = 1e-6, 0.02 to 0.03 with 1e-5, and 0.002 with 1e-4, in three draws
LEAST_DECAY = 1e-5
# As a fraction of the targets, from which weights fit much of their noise: docs/use/regression.md has the figures
MOST_WEIGHTS = 2 / 3


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

    It needs ``dtype="float64"``, no dropout, and the cost "quadratic", "mse" or "huber", or one of your own with an
    output for each target: its squares get the gradient and the curvature of that cost anew in each step.

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
        1992; F. D. Foresee and M. T. Hagan, 1997). Networks with more weights than examples do not learn the noise,
        and inputs that do not matter lose their weights: `relevance` of ``net.state.optimizer.memory``. Each
        call of `train` begins anew. It takes twice the time; `weight_decay`, and `alpha` of the estimators, are not
        used.

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

    weight_decay: float = 0.0
    damping: float = 1e-3
    bayesian: bool = False
    default_lr: ClassVar[float] = 1.0  # not used
    needs_all_examples: ClassVar[bool] = True
    linalg: ClassVar[tuple[str, ...]] = ("diagonal", "inv", "solve")

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        overwrite(
            self,
            weight_decay=in_range("weight_decay", self.weight_decay, 0, math.inf, "0 turns it off"),
            damping=in_range("damping", self.damping, 0, math.inf, "1e-3 is usual", includes_low=False),
            bayesian=yes_or_no("bayesian", self.bayesian),
        )
        if self.bayesian and self.weight_decay:
            raise ArgumentError(
                f"bayesian=True finds the weight decay, and contradicts weight_decay={self.weight_decay!r}; give one"
            )

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        hyperparameters = DampingHyperparameters(
            damping=to_array(self.damping), weight_decay=to_array(self.weight_decay) if self.weight_decay else None
        )
        if self.bayesian:
            return OptimizerState(hyperparameters, init_evidence(layers, to_array(0.0)))
        return OptimizerState(hyperparameters, Damping(to_array(0.0), to_array(0.0)))

    @property
    def begins_anew(self) -> bool:
        """Whether every training begins with a fresh state: precisions are those of the present examples."""
        return self.bayesian

    def check_memory(self, memory: Any) -> None:
        """Refuse NumPy arrays that cannot be a damping and precisions: raise ValueError."""
        require_between("damping and precisions", leaves(memory), 0.0, math.inf)

    def check_network(
        self, model: Model, dtype: str, to_array: Callable[[Any], Array], xp: Namespace, *, slopes: bool
    ) -> None:
        """Refuse a network that it cannot train, or `slopes`."""
        cost = model.cost
        if not is_least_squares(cost) or (self.bayesian and cost.name not in SQUARED):
            costs = [f"cost={name!r}" for name in SQUARED]
            if not self.bayesian:
                costs += ["cost='huber'", "a smooth one of your own"]
            raise ArgumentError(
                f"LevenbergMarquardt minimizes squared errors, and the cost is {cost.name!r}; make the network with "
                f"{', '.join(costs)}, or give another optimizer, such as LBFGS()"
            )
        if slopes and self.bayesian:
            raise ArgumentError("slopes do not go with LevenbergMarquardt(bayesian=True); leave out one of the two")
        if dtype != "float64":
            raise ArgumentError(f'LevenbergMarquardt needs float64, and the network has {dtype}; give dtype="float64"')
        if cost.name in SQUARED:
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

    def bytes_needed(self, model: Model) -> int:
        """Count the bytes of the matrices of a step, which are far larger than the weights."""
        return MATRICES * BYTES * count_parameters(model.sizes) ** 2

    def multiplications(self, model: Model, rows: int) -> int:
        """Count the multiplications of the largest matrix product in a step with `rows` examples."""
        return rows * count_parameters(model.sizes) ** 2

    def explain_noise(self, model: Model, n_targets: int, alpha: float, *, slopes: bool) -> str:
        """Format a warning if it will learn the noise of targets; "" if weight decay, with `alpha`, bounds the weights.

        `n_targets` counts the numbers that the network is fitted to.
        """
        n_parameters = count_parameters(model.sizes)
        if self.bayesian or self.weight_decay + alpha >= LEAST_DECAY or n_parameters < MOST_WEIGHTS * n_targets:
            return ""
        bayesian = "" if slopes else "bayesian=True, or "
        return (
            f"LevenbergMarquardt learns much of the noise of {n_targets:,} targets, if there is any, with "
            f"{n_parameters:,} weights and biases; give {bayesian}weight_decay=1e-4, say (alpha in the estimators),"
            " or stop early on validation data, or make the network smaller"
        )

    @property
    def update(self) -> WholeStep:
        """The step: ``(sigmas, output, state, minibatch, xp) -> state``, which needs more than gradients."""
        return WholeStep(take_bayesian_step if self.bayesian else take_damped_step)
