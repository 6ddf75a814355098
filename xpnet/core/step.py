"""One step of training: forward pass, backpropagation, update.

A step maps a state and a minibatch to a new state: ``step(state, minibatch, xp) -> state``. It may overwrite its
state argument, of which a loop gives it a copy; otherwise it has no side effects. A backend repeats it: compiled,
recorded and replayed, or in a plain loop.
"""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from xpnet.core._slopes import add_slopes
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, combine_arrays
from xpnet.core.backprop import backward, forward
from xpnet.core.costs import Output
from xpnet.core.dropout import Dropout, drop
from xpnet.core.minibatch import Minibatch

__all__ = [
    "State",
    "Update",
    "WholeStep",
    "add_decay",
    "differentiate",
    "drop_and_step",
    "make_step",
    "over_matrices",
    "penalty",
    "select_arrays",
    "take_step",
]

# The update of an optimizer: (layers, grads, state, lr, xp) -> (layers, state)
Update = Callable[[Layers, Layers, Any, Array, Namespace], tuple[Layers, Any]]


class State(NamedTuple):
    """Everything that changes from step to step."""

    layers: Layers
    optimizer: Any
    cost: Any  # (..., m): the cost at each position of the minibatch, before the update, summed over a chunk's steps
    dropout: Dropout | None = None


class WholeStep(NamedTuple):
    """The update of an optimizer that takes the whole step: it needs the examples, or the cost at other weights."""

    take: Callable[..., Any]  # (sigmas, output, state, minibatch, xp) -> state
    add: Callable[..., Any] | None = None  # likewise, for parts of the examples before the last one; None: no parts

    def __call__(self, *arguments: Any) -> Any:
        """Take the step."""
        return self.take(*arguments)


def make_step(
    sigmas: tuple[Activation, ...], output: Output, update: Any
) -> Callable[[State, Minibatch, Namespace], State]:
    """Build the step for a structure: `drop_and_step` with its first three arguments, or the step that `update` is."""
    if isinstance(update, WholeStep):
        return partial(update, sigmas, output)
    return partial(drop_and_step, sigmas, output, update)  # shows its parts, unlike a closure: equal steps are reused


def take_step(
    sigmas: Sequence[Activation], output: Output, update: Update, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Take one step of training. It may overwrite the arrays of `state`, so give it a copy."""
    grads, cost = differentiate(sigmas, output, state.layers, minibatch, xp)
    total = state.cost
    total += cost
    layers, optimizer = update(state.layers, grads, state.optimizer, minibatch.lr, xp)
    return State(layers, optimizer, total, state.dropout)


def differentiate(
    sigmas: Sequence[Activation], output: Output, layers: Layers, minibatch: Minibatch, xp: Namespace
) -> tuple[Layers, Array]:
    """Compute the gradient of the mean cost of a minibatch, and the cost of each example, times its weight."""
    zs, activations = forward(layers, sigmas, minibatch.x, xp)
    grads = backward(layers, sigmas, output, zs, activations, minibatch.y, xp, minibatch.weight, minibatch.total)
    cost = output.value(zs[-1], activations[-1], minibatch.y, xp)
    if minibatch.slopes is not None:
        grads, cost = add_slopes(grads, cost, layers, sigmas, zs, activations, minibatch, xp)
    if minibatch.decay is not None:  # the estimators' α; the weight_decay of optimizers is applied in their update
        grads = add_decay(grads, layers, minibatch.decay)
        cost = cost + penalty(layers, minibatch.decay, xp)
    return grads, cost if minibatch.weight is None else minibatch.weight * cost


def drop_and_step(
    sigmas: Sequence[Activation], output: Output, update: Update, state: State, minibatch: Minibatch, xp: Namespace
) -> State:
    """Take one step with dropout: a plain step with masked inputs and activation functions."""
    output = output.with_inputs(minibatch.x)  # without masks
    x, masked_sigmas, dropout = drop(state.dropout, sigmas, minibatch.x, state.layers, xp)
    return take_step(masked_sigmas, output, update, state._replace(dropout=dropout), minibatch._replace(x=x), xp)


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


def select_arrays(condition: Array, new: Any, old: Any, xp: Namespace) -> Any:
    """Choose between two nests of arrays: the new ones where the condition holds."""
    return combine_arrays(lambda x, other: x if x is other else xp.where(condition, x, other), new, old)
