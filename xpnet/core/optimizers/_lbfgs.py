"""L-BFGS as an optimizer: its hyperparameters; `core.lbfgs` takes the steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from xpnet._checks import count, in_range, overwrite
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, leaves
from xpnet.core.optimizers._lbfgs_steps import init_line, take_lbfgs_step
from xpnet.core.optimizers.base import OptimizerState, WholeStep, require_finite


class LBFGSHyperparameters(NamedTuple):
    """The hyperparameters of L-BFGS as arrays; None for one that is not used."""

    weight_decay: Array | None


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class LBFGS:
    """L-BFGS, for networks and data that are small enough for all examples in every step.

    An epoch measures cost and gradient of all examples once: the first one where the weights are, each other one at a
    length along a line. Mostly it goes there, and else tries another length in the next epoch (D. C. Liu and J.
    Nocedal, "On the Limited Memory BFGS Method for Large Scale Optimization", Mathematical Programming 45, 1989). It
    takes any cost, any number of weights, and only as much memory as all activations at once. But for rounding, the
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

    weight_decay: float = 0.0
    history: int = 10
    default_lr: ClassVar[float] = 1.0  # not used
    needs_all_examples: ClassVar[bool] = True
    begins_anew: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        overwrite(
            self,
            weight_decay=in_range("weight_decay", self.weight_decay, 0, math.inf, "0 turns it off"),
            history=count("history", self.history, 1),
        )

    def init(self, layers: Layers, to_array: Callable[[Any], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float, or an array of NumPy's."""
        decay = to_array(self.weight_decay) if self.weight_decay else None
        return OptimizerState(LBFGSHyperparameters(decay), init_line(layers, self.history, to_array))

    def check_memory(self, memory: Any) -> None:
        """Refuse NumPy arrays that cannot be lines and steps: raise ValueError."""
        require_finite("lines and steps", leaves(memory))

    @property
    def update(self) -> WholeStep:
        """The step: ``(sigmas, output, state, minibatch, xp) -> state``, which needs more than gradients."""
        return WholeStep(take_lbfgs_step)
