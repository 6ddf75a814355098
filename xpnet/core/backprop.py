"""The mathematics of a network: the forward pass and backpropagation.

The notation is that of Nielsen, "Neural Networks and Deep Learning", chapter 2, with an example in each row: layer l
has weights w (n_out, n_in) and biases b (1, n_out); its weighted input is z = a wᵀ + b and its activation a = σ(z).
The cost of an example is C_x, and C is their mean over the minibatch. The error of an example is δ = ∂C_x/∂z; in
`backward`, `delta` is ∂C/∂z, whose row i is δ/m of example i. "The four equations" in the documentation derives each
line.

Every function is pure, as it changes none of its arguments (``z += b`` writes into the product, a new array), and uses
only functions of the Array API, so the same lines run on every backend. The last two axes are (examples, units); any
leading axes are carried along.
"""

from collections.abc import Sequence

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.costs import Output
from xpnet.core.dual import jvp

__all__ = [
    "backward",
    "deltas",
    "forward",
    "hessian_product",
    "pullback",
]


def forward(layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace) -> tuple[list[Array], list[Array]]:
    """Compute the weighted inputs z and the activations a of every layer.

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
    zs: list[Array] = []
    activations = [x]
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
    """Propagate the error of the output layer back to every layer.

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    zs, activations
        As returned by `forward`.
    delta
        The error of the output layer, shape (..., m, n_out): ∂C_x/∂z of each example x, or ∂C/∂z.
    xp
        Namespace of the arrays.

    Returns
    -------
    list
        The errors, of the same cost: L arrays (..., m, n_out), from the first layer to the last.
    """
    errors = [delta]
    for l in reversed(range(1, len(layers))):
        w, _ = layers[l]
        delta = sigmas[l - 1].pullback(xp.matmul(delta, w), zs[l - 1], activations[l], xp)  # BP2
        errors.append(delta)
    return errors[::-1]


def backward(
    layers: Layers,
    sigmas: Sequence[Activation],
    output: Output,
    zs: Sequence[Array],
    activations: Sequence[Array],
    y: Array,
    xp: Namespace,
    weight: Array | None = None,
    total: Array | None = None,
) -> Layers:
    """Compute the gradient of C, the mean cost over the minibatch, by the four equations of backpropagation.

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    output
        The cost together with the activation of the output layer.
    zs, activations
        As returned by `forward`.
    y
        Targets, shape (..., m, n_targets).
    xp
        Namespace of the arrays.
    weight
        Weights of the examples, shape (..., m), if C is a weighted mean; their sum must not be 0.
    total
        The sum of the weights of a whole minibatch, if these examples are a part; C is then their share of its mean.

    Returns
    -------
    tuple of pairs
        ∂C/∂w, shape (n_out, n_in), and ∂C/∂b, shape (1, n_out), of each layer.
    """
    m = y.shape[-2]
    delta = output.delta(zs[-1], activations[-1], y, xp)  # BP1
    if weight is None:
        delta = delta / m  # the mean enters here, once
    else:
        delta = delta * (weight / (xp.sum(weight, axis=-1, keepdims=True) if total is None else total))[..., None]
    errors = deltas(layers, sigmas, zs, activations, delta, xp)
    grads: list[tuple[Array, Array]] = []
    for a, delta in zip(activations[:-1], errors):  # δᵀ a, written as (aᵀ δ)ᵀ, lies in memory as weights do, by columns
        gb = xp.sum(delta, axis=-2, keepdims=True)  # BP3
        gw = xp.matmul(a.mT, delta).mT  # BP4
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
    """Pull a gradient with respect to the outputs back to the inputs: gᵀ ∂a/∂x of each example, shape (..., m, n_in).

    Parameters
    ----------
    layers, sigmas
        As in `forward`.
    zs, activations
        As returned by `forward`.
    g
        Gradient with respect to the outputs, shape (..., m, n_out).
    xp
        Namespace of the arrays.
    """
    delta = sigmas[-1].pullback(g, zs[-1], activations[-1], xp)
    w, _ = layers[0]
    first = deltas(layers, sigmas, zs, activations, delta, xp)[0]
    return xp.matmul(first, w)  # BP2 for the inputs, which have no activation


def hessian_product(
    layers: Layers, direction: Layers, sigmas: Sequence[Activation], output: Output, x: Array, y: Array, xp: Namespace
) -> Layers:
    """Multiply the Hessian of the mean cost over the minibatch, ∂²C/∂(w, b)², by a direction.

    It is the derivative of the gradient in this direction, forward over reverse (B. A. Pearlmutter, "Fast Exact
    Multiplication by the Hessian", Neural Computation 6, 1994), and takes a few times as long as the gradient.

    Parameters
    ----------
    layers, sigmas, output, y
        As in `backward`.
    direction
        Arrays of the shapes of `layers`.
    x
        Inputs, shape (..., m, n_in).
    xp
        Namespace of the arrays.

    Returns
    -------
    tuple of pairs
        The product, in the shapes of `layers`.
    """

    def gradient(layers: Layers, x: Array, y: Array, xp: Namespace) -> Layers:
        return backward(layers, sigmas, output.with_inputs(x), *forward(layers, sigmas, x, xp), y, xp)

    return jvp(gradient, (layers, x, y), (direction, None, None), xp)[1]
