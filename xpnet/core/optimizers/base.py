"""The interface of optimizers, and weight decay, which several of them share.

An optimizer is a frozen set of hyperparameters with two functions. ``init`` makes its state for a network, such as a
velocity of zeros; ``update`` maps layers, gradients and state to new layers and a new state.

The caller passes arrays that nobody else uses, and updates work in place where the library's arrays are writable: on
the layers, the gradients and ``memory``. The hyperparameters travel in the state as arrays, so changing one of them
compiles nothing again. The structure of the state (a velocity or none) depends on the settings.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeGuard

from xpnet._checks import has_methods
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.model import Model
from xpnet.errors import ArgumentError

__all__ = [
    "Optimizer",
    "OptimizerState",
    "Update",
    "WholeStep",
    "add_decay",
    "begins_anew",
    "count_multiplications",
    "is_optimizer",
    "needs_all_examples",
    "over_matrices",
    "penalty",
    "require_between",
    "require_finite",
]


class OptimizerState(NamedTuple):
    """The state of an optimizer, in two parts."""

    hyperparameters: Any  # its settings, as arrays without axes; None for one that is not used
    memory: Any  # what it remembers from step to step (velocities, means); this is what a file stores


# (layers, grads, state, lr, xp) -> (layers, state)
Update: TypeAlias = Callable[[Layers, Layers, Any, Array, Namespace], tuple[Layers, Any]]


class WholeStep(NamedTuple):
    """The update of an optimizer that takes the whole step: it needs the examples, or the cost at other weights."""

    take: Callable[..., Any]  # (sigmas, output, state, minibatch, xp) -> state
    add: Callable[..., Any] | None = None  # likewise, for parts of the examples before the last one; None: no parts

    def __call__(self, *arguments: Any) -> Any:
        """Take the step."""
        return self.take(*arguments)


class Optimizer(Protocol):
    """An optimizer. Training again with an equal one continues with its state.

    Those of xpnet have another method, for files: ``check_memory(memory)`` refuses NumPy arrays that cannot be its
    memory, in the structure of a fresh one. One that needs more may say so, in class attributes or methods; without
    them, the defaults hold:

    - ``needs_all_examples = True`` (default False): every step takes all examples, and `update` is a `WholeStep`;
    - ``begins_anew = True`` (default False): every training begins with a fresh state;
    - ``multiplications(model, rows)``: as `count_multiplications`;
    - if it needs all examples, also ``linalg``, the names of functions of that extension of the array API standard;
      ``bytes_needed(model)`` beside weights and activations; ``check_network(model, dtype, to_array, xp, slopes=...)``,
      which raises an `ArgumentError`; ``explain_noise(model, n_targets, alpha, slopes=...)``, a warning or "".
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


def add_decay(grads: Layers, layers: Layers, strength: Array | None) -> Layers:
    """Add the gradient of λ/2 ‖w‖², which is λ w; biases do not decay."""
    if strength is None:
        return grads
    return tuple((gw + strength * w, gb) for (w, _), (gw, gb) in zip(layers, grads))


def penalty(layers: Layers, strength: Array, xp: Namespace) -> Array:
    """Compute λ/2 ‖w‖², whose gradient `add_decay` adds; a number, or (networks, 1) for several networks."""
    number = 0.5 * strength * sum(over_matrices(xp.sum, w * w) for w, _ in layers)
    return number[..., 0] if number.ndim else number


def over_matrices(reduce: Callable[..., Array], x: Array) -> Array:
    """Reduce a matrix to a number, or the matrices of several networks to (networks, 1, 1).

    Examples
    --------
    >>> import numpy as np
    >>> float(over_matrices(np.sum, np.ones((3, 4)))), over_matrices(np.sum, np.ones((2, 3, 4))).shape
    (12.0, (2, 1, 1))
    """
    return reduce(x) if x.ndim == 2 else reduce(x, axis=(-2, -1), keepdims=True)


def require_finite(name: str, arrays: Iterable[Array]) -> None:
    """Refuse NumPy arrays that hold NaN or infinity."""
    if not all((abs(array) < math.inf).all() for array in arrays):
        raise ArgumentError(f"the {name} of the optimizer must be finite")


def require_between(name: str, arrays: Iterable[Array], low: float, high: float) -> None:
    """Refuse NumPy arrays that hold NaN, or numbers outside of [low, high]."""
    if not all(((array >= low) & (array <= high)).all() for array in arrays):
        raise ArgumentError(f"the {name} of the optimizer must be from {low:g} to {high:g}")
