"""One step of training on a minibatch that is cut into parts: several processes may share them.

Each part has its own gradient, that of its share of the mean cost. Their sum is the gradient of the whole minibatch.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.backprop import backward, forward
from xpnet.core.costs import Output
from xpnet.core.dropout import drop
from xpnet.core.minibatch import Batch, Encoding, Examples, Minibatch, make_minibatch
from xpnet.core.step import State, Update, add_decay, add_slopes, penalty

AddUp: TypeAlias = Callable[[Layers, Namespace], Layers]  # adds up the gradients of all processes


def make_shared_step(
    sigmas: tuple[Activation, ...], output: Output, update: Update, add_up: AddUp
) -> Callable[[State, tuple[Minibatch, ...], Namespace], State]:
    """Build the step for a structure: `take_shared_step` with its first four arguments."""
    return partial(take_shared_step, sigmas, output, update, add_up)


def take_shared_step(
    sigmas: Sequence[Activation],
    output: Output,
    update: Update,
    add_up: AddUp,
    state: State,
    parts: Sequence[Minibatch],
    xp: Namespace,
) -> State:
    """Take one step on the parts of a minibatch that this process has. It may overwrite the arrays of `state`.

    The cost of the state has an array (m,) for each part.
    """
    first = parts[0]
    added = None if first.decay is None else penalty(state.layers, first.decay, xp)
    grads, costs = add_parts(sigmas, output, state, parts, added, xp)
    grads = add_decay(add_up(grads, xp), state.layers, first.decay)
    totals = []
    for total, cost in zip(state.cost, costs):
        total += cost
        totals.append(total)
    layers, optimizer = update(state.layers, grads, state.optimizer, first.lr, xp)
    dropout = state.dropout and state.dropout._replace(step=state.dropout.step + 1)
    return State(layers, optimizer, tuple(totals), dropout)


def add_parts(
    sigmas: Sequence[Activation],
    output: Output,
    state: State,
    parts: Sequence[Minibatch],
    penalty: Array | None,
    xp: Namespace,
) -> tuple[Layers, list[Array]]:
    """Compute the sum of the gradients of parts of a minibatch, and the costs of each part.

    The sums form a binary tree: each half of the parts is added up by itself.
    """
    if len(parts) == 1:
        grads, cost = measure_part(sigmas, output, state, parts[0], penalty, xp)
        return grads, [cost]
    half = len(parts) // 2
    grads, costs = add_parts(sigmas, output, state, parts[:half], penalty, xp)
    others, other_costs = add_parts(sigmas, output, state, parts[half:], penalty, xp)
    return add_layers(grads, others), costs + other_costs


def measure_part(
    sigmas: Sequence[Activation], output: Output, state: State, part: Minibatch, penalty: Array | None, xp: Namespace
) -> tuple[Layers, Array]:
    """Compute the gradient and the costs of a part of a minibatch."""
    output = output.with_inputs(part.x)
    x, masked_sigmas, _ = drop(state.dropout, sigmas, part.x, state.layers, xp, part.rows)
    zs, activations = forward(state.layers, masked_sigmas, x, xp)
    grads = backward(state.layers, masked_sigmas, output, zs, activations, part.y, xp, part.weight, part.total)
    cost = output.value(zs[-1], activations[-1], part.y, xp)
    if part.slopes is not None:
        grads, cost = add_slopes(grads, cost, state.layers, masked_sigmas, zs, activations, part, xp)
    return grads, part.weight * (cost if penalty is None else cost + penalty)


def add_layers(grads: Layers, others: Layers) -> Layers:
    """Add gradients to others, whose arrays are overwritten where the library allows it."""
    sums = []
    for (gw, gb), (other_w, other_b) in zip(grads, others):
        gw += other_w
        gb += other_b
        sums.append((gw, gb))
    return tuple(sums)


def make_parts(copies: bool, rows: Examples, encoding: Encoding, batch: Batch, xp: Namespace) -> tuple[Minibatch, ...]:
    """Decode the examples of one step, or of a stack of steps, and cut them into parts along the axis before the rows.

    Parameters
    ----------
    copies
        Whether the inputs of each part are copied to memory of their own, as a product may depend on its alignment.
    rows, encoding, batch
        As in `make_minibatch`; indices and weights are of shape (..., parts, m).
    xp
        Namespace of the arrays.
    """
    whole = make_minibatch(rows, encoding, batch, xp)

    def cut(i: int) -> Minibatch:
        x = whole.x[..., i, :, :]
        return whole._replace(
            x=xp.asarray(x, copy=True) if copies else x,
            y=whole.y[..., i, :, :],
            weight=whole.weight[..., i, :],  # type: ignore[index]
            rows=None if whole.rows is None else whole.rows[..., i, :],
            slopes=None if whole.slopes is None else whole.slopes[..., i, :, :, :],
        )

    return tuple(cut(i) for i in range(batch.index.shape[-2]))
