"""One step of training: forward pass, backpropagation, update.

A step maps a state and a minibatch to a new state: ``step(state, minibatch, xp) -> state``. It may overwrite its
state argument, of which a loop gives it a copy; otherwise it has no side effects. A backend repeats it: compiled,
recorded and replayed, or in a plain loop.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from xpnet.core._slopes import add_slopes
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.backprop import backward, forward
from xpnet.core.costs import Output
from xpnet.core.dropout import Dropout, drop
from xpnet.core.minibatch import Minibatch
from xpnet.core.optimizers.base import Update, WholeStep, add_decay, penalty

__all__ = [
    "State",
    "add_slopes",
    "drop_and_step",
    "make_step",
    "penalize_and_weigh",
    "take_step",
]


class State(NamedTuple):
    """Everything that changes from step to step."""

    layers: Layers
    optimizer: Any
    cost: Any  # (..., m): the cost at each position of the minibatch, before the update, summed over a chunk's steps
    dropout: Dropout | None = None


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
    zs, activations = forward(state.layers, sigmas, minibatch.x, xp)
    grads = backward(state.layers, sigmas, output, zs, activations, minibatch.y, xp, minibatch.weight)
    cost = output.value(zs[-1], activations[-1], minibatch.y, xp)
    if minibatch.slopes is not None:
        grads, cost = add_slopes(grads, cost, state.layers, sigmas, zs, activations, minibatch, xp)
    grads, cost = penalize_and_weigh(grads, cost, state.layers, minibatch, xp)  # often there is nothing to do
    total = state.cost
    total += cost
    layers, optimizer = update(state.layers, grads, state.optimizer, minibatch.lr, xp)
    return State(layers, optimizer, total, state.dropout)


def penalize_and_weigh(
    grads: Layers, cost: Array, layers: Layers, minibatch: Minibatch, xp: Namespace
) -> tuple[Layers, Array]:
    """Add the penalty on the weights, if there is one, and multiply costs by the weights of their examples, if any."""
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
