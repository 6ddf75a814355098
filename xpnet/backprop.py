"""The mathematics of a network: the forward pass, backpropagation, and one step of training.

The notation is that of Nielsen, "Neural Networks and Deep Learning", chapter 2, with an example in each row: layer l
has weights w (n_out, n_in) and biases b (1, n_out); its weighted input is z = a wᵀ + b and its activation a = σ(z).
The error is δ = ∂C/∂z, and C the mean cost over the minibatch.

Every function is pure and uses the Array API alone, so the same lines run on every backend; only the last two axes
(examples, units) are named.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from xpnet.activations import Activation
from xpnet.arrays import Array, Layers, Namespace, leaves, map_arrays, refill
from xpnet.costs import Output
from xpnet.dropout import Dropout, drop
from xpnet.examples import Minibatch
from xpnet.optimizers import decay, penalty


class State(NamedTuple):
    """What a step consumes and returns."""

    layers: Layers
    optimizer: Any
    cost: Array  # (m,), of the examples in each place of the minibatch: a sum over steps, each before its update
    dropout: Dropout | None = None


class Spec(NamedTuple):
    """The structure of a step, without any numbers."""

    sigmas: tuple[Activation, ...]
    output: Output
    update: Callable[..., tuple[Layers, Any]]


def forward(layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace) -> tuple[list[Array], list[Array]]:
    """Weighted inputs z of every layer, and activations a from the input on (so one more).

    Parameters
    ----------
    layers
        L layers.
    sigmas
        Their L activation functions.
    x
        Inputs, shape (..., m, n_in).
    xp
        Namespace of the arrays.

    Returns
    -------
    zs
        L arrays (..., m, n_out).
    activations
        L + 1 arrays: x, then σ(z) of each layer; the last is the network's output.
    """
    zs, activations = [], [x]
    for (w, b), sigma in zip(layers, sigmas):
        z = xp.matmul(activations[-1], w.mT)
        z += b
        zs.append(z)
        activations.append(sigma.value(z, xp))
    return zs, activations


def deltas(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    delta: Array,
    xp: Namespace,
) -> list[Array]:
    """Errors of every layer, from that of the output: backpropagation proper.

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    zs, activations
        What `forward` returned.
    delta
        The error of the output layer, shape (..., m, n_out).
    xp
        Namespace of the arrays.

    Returns
    -------
    list
        L arrays (..., m, n_out), of the first layer to the last.
    """
    found = [delta]
    for l in reversed(range(1, len(layers))):
        w, _ = layers[l]
        found.append(sigmas[l - 1].pullback(xp.matmul(found[-1], w), zs[l - 1], activations[l], xp))  # BP2
    return found[::-1]


def backward(
    layers: Layers,
    sigmas: Sequence[Activation],
    output: Output,
    zs: Sequence[Array],
    activations: Sequence[Array],
    y: Array,
    xp: Namespace,
    weight: Array | None = None,
) -> Layers:
    """Gradient of the mean cost over the minibatch, by the four equations of backpropagation.

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    output
        The cost, joined with the activation of the last layer.
    zs, activations
        What `forward` returned.
    y
        Targets, shape (..., m, n_out).
    xp
        Namespace of the arrays.
    weight
        How much each example counts, shape (..., m), for a weighted mean; their sum is not 0.

    Returns
    -------
    tuple of pairs
        ∂C/∂w, shape (n_out, n_in), and ∂C/∂b, shape (1, n_out), of each layer.
    """
    delta = output.delta(zs[-1], activations[-1], y, xp)  # BP1
    if weight is None:
        delta = delta / y.shape[-2]  # the mean enters here, once
    else:
        delta = delta * (weight / xp.sum(weight, axis=-1, keepdims=True))[..., None]
    grads = []
    for a, error in zip(activations, deltas(layers, sigmas, zs, activations, delta, xp)):
        gb = xp.sum(error, axis=-2, keepdims=True)  # BP3
        gw = xp.matmul(a.mT, error).mT  # BP4
        grads.append((gw, gb))
    return tuple(grads)


def pullback(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    g: Array,
    xp: Namespace,
) -> Array:
    """Take a gradient by the outputs back to the inputs: gᵀ ∂a/∂x of each example, shape (..., m, n_in).

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    zs, activations
        What `forward` returned.
    g
        Gradient by the outputs, shape (..., m, n_out).
    xp
        Namespace of the arrays.
    """
    delta = sigmas[-1].pullback(g, zs[-1], activations[-1], xp)
    w, _ = layers[0]
    return xp.matmul(deltas(layers, sigmas, zs, activations, delta, xp)[0], w)  # BP2 once more, without an activation


@lru_cache(maxsize=64)
def make_step(spec: Spec) -> Callable[[State, Minibatch, Namespace], State]:
    """Build the step of training for a structure; equal structures get the same step, so it is compiled once."""

    def step(state: State, batch: Minibatch, xp: Namespace) -> State:
        before = None if batch.live is None else map_arrays(lambda x: xp.asarray(x, copy=True), state)
        x, sigmas, dropout = drop(state.dropout, spec.sigmas, batch.x, state.layers, xp)
        zs, activations = forward(state.layers, sigmas, x, xp)
        grads = backward(state.layers, sigmas, spec.output, zs, activations, batch.y, xp, batch.weight)
        cost = spec.output.value(zs[-1], activations[-1], batch.y, xp)
        if batch.decay is not None:
            grads, cost = decay(state.layers, grads, batch.decay), cost + penalty(state.layers, batch.decay, xp)
        cost = state.cost + (cost if batch.weight is None else batch.weight * cost)
        layers, optimizer = spec.update(state.layers, grads, state.optimizer, batch.lr, xp)
        after = State(layers, optimizer, cost, dropout)
        if before is None:
            return after
        return refill(after, [xp.where(batch.live, new, old) for new, old in zip(leaves(after), leaves(before))])

    return step
