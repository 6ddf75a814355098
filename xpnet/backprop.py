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
from xpnet.arrays import Array, Layers, Namespace
from xpnet.costs import Output


class Examples(NamedTuple):
    """Inputs and targets on the device."""

    x: Array  # (n, n_in)
    y: Array  # (n, n_out)


class Batch(NamedTuple):
    """What varies from step to step: which examples, and the learning rate. Stacked: an axis of steps in front."""

    index: Array  # (m,) int32
    lr: Array  # ()


class State(NamedTuple):
    """What a step consumes and returns."""

    layers: Layers
    optimizer: Any
    cost: Array  # (m,), of the examples in each place of the minibatch: a sum over steps, each before its update


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


def backward(
    layers: Layers,
    sigmas: Sequence[Activation],
    output: Output,
    zs: Sequence[Array],
    activations: Sequence[Array],
    y: Array,
    xp: Namespace,
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

    Returns
    -------
    tuple of pairs
        ∂C/∂w, shape (n_out, n_in), and ∂C/∂b, shape (1, n_out), of each layer.
    """
    m = y.shape[-2]
    delta = output.delta(zs[-1], activations[-1], y, xp) / m  # BP1; the mean enters here, once
    grads = []
    for l in reversed(range(len(layers))):
        gb = xp.sum(delta, axis=-2, keepdims=True)  # BP3
        gw = xp.matmul(activations[l].mT, delta).mT  # BP4
        grads.append((gw, gb))
        if l > 0:
            w, _ = layers[l]
            delta = sigmas[l - 1].pullback(xp.matmul(delta, w), zs[l - 1], activations[l], xp)  # BP2
    return tuple(reversed(grads))


@lru_cache(maxsize=64)
def make_step(spec: Spec, xp: Namespace) -> Callable[[State, Batch, Examples], State]:
    """Build the step of training for a structure; equal structures get the same step, so it is compiled once."""

    def step(state: State, batch: Batch, data: Examples) -> State:
        x = xp.take(data.x, batch.index, axis=0)
        y = xp.take(data.y, batch.index, axis=0)
        zs, activations = forward(state.layers, spec.sigmas, x, xp)
        grads = backward(state.layers, spec.sigmas, spec.output, zs, activations, y, xp)
        cost = state.cost + spec.output.value(zs[-1], activations[-1], y, xp)
        layers, optimizer = spec.update(state.layers, grads, state.optimizer, batch.lr, xp)
        return State(layers, optimizer, cost)

    return step
