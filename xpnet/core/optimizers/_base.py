"""The interface of optimizers.

An optimizer is a frozen set of hyperparameters with two functions. ``init`` makes its state for a network, such as a
velocity of zeros; ``update`` maps layers, gradients and state to new layers and a new state.

The caller passes arrays that nobody else uses, and updates work in place where the library's arrays are writable: on
the layers, the gradients and ``memory``. The hyperparameters travel in the state as arrays, so changing one of them
compiles nothing again. The structure of the state (a velocity or none) depends on the settings.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, TypeGuard

from xpnet._checks import Real, has_methods
from xpnet.core.arrays import Array, Layers, map_arrays
from xpnet.core.model import Model
from xpnet.core.step import Update, WholeStep


class OptimizerState(NamedTuple):
    """The state of an optimizer, in two parts."""

    hyperparameters: Any  # its settings, as arrays without axes; None for one that is not used
    memory: Any  # what it remembers from step to step (velocities, means); this is what a file stores


Updated = tuple[Layers, OptimizerState]  # what an update returns
Decay = Annotated[float, Real(0, math.inf, "0 turns it off")]


class Optimizer(Protocol):
    """An optimizer. Training again with an equal one continues with its state.

    One that needs more may say so, in class attributes or methods; without them, the defaults hold:

    - ``needs_all_examples = True`` (default False): every step takes all examples, and `update` is a `WholeStep`;
    - ``begins_anew = True`` (default False): every training begins with a fresh state;
    - ``multiplications(model, rows)``: as `count_multiplications`;
    - if it needs all examples, also ``linalg``, the names of functions of that extension of the array API standard;
      ``bytes_needed(model, slopes=...)`` beside weights and activations; ``check_network(model, dtype, to_array, xp,
      slope_weight)``, which raises an `ArgumentError`; ``explain_noise(model, n_targets, alpha)``, a warning or "".
    """

    default_lr: ClassVar[float]  # the learning rate if the user does not choose one

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float, or an array of NumPy's."""
        ...

    @property
    def update(self) -> "Update | WholeStep":
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``, the same for equal structures."""
        ...


def is_optimizer(value: Any) -> bool:
    """Tell whether an object has the methods of an optimizer."""
    return has_methods(value, "init", "update") and hasattr(value, "default_lr")


def needs_all_examples(optimizer: Optimizer | None) -> TypeGuard[Optimizer]:
    """Tell whether every step of an optimizer takes all examples; it takes the step itself, and not only the update."""
    return getattr(optimizer, "needs_all_examples", False)


def begins_anew(optimizer: Optimizer) -> bool:
    """Tell whether every training begins with a fresh state, as it describes the cost of the present examples."""
    return getattr(optimizer, "begins_anew", False)


def count_multiplications(optimizer: Optimizer | None, model: Model, rows: int) -> int:
    """Count the multiplications of the largest matrix product in a step with `rows` examples."""
    count = getattr(optimizer, "multiplications", None)
    return model.multiplications(rows) if count is None else count(model, rows)


def zeros_like(layers: Layers) -> Layers:
    """Make zeros in the shapes of weights and biases, and in their memory order."""
    return map_arrays(lambda x: 0.0 * x, layers)
