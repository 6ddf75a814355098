"""Slopes: known derivatives of the targets with respect to the inputs, which the outputs are to have as well.

With J the derivatives of the targets of an example, its cost is C_x + ½ Σ λ (∂a/∂x − J)², summed over outputs and
inputs (W. M. Czarnecki et al., "Sobolev Training for Neural Networks", NIPS 2017). Its gradient needs derivatives of
derivatives. Hold c = λ (∂a/∂x − J) of an output fixed: Σ c ∂a/∂x is then the change of a if x moves along c, so its
gradient is the change of the gradient of a. That is one `jvp` of backpropagation for each output, however many inputs
there are.

Inputs and outputs are those that the layers see: what scales them also scales the slopes, before they come here.
"""

from collections.abc import Iterator, Sequence
from operator import add

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, combine_arrays
from xpnet.core.backprop import backward, forward, pullback
from xpnet.core.costs import Composed, Cost
from xpnet.core.dual import jvp, unit_vectors
from xpnet.core.minibatch import Minibatch


def _product_gradient(a: Array, g: Array, xp: Namespace) -> Array:
    return g


_PRODUCT = Cost("product", gradient=_product_gradient)  # gᵀ a, with g in the place of the targets


def slope_errors(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    slopes: Array,
    weights: Array,
    xp: Namespace,
) -> Iterator[tuple[Array, Array, Array]]:
    """Compute ∂a/∂x − J of one output after the other.

    Parameters
    ----------
    layers, sigmas, zs, activations
        As in `backprop.pullback`.
    slopes, weights
        J, and the weight of each of its numbers, shape (..., m, n_out, n_in).
    xp
        Namespace of the arrays.

    Yields
    ------
    unit
        1 in the column of the output and 0 elsewhere, shape (..., m, n_out).
    error, weight
        ∂a/∂x − J of this output, and the weights, shape (..., m, n_in).
    """
    for k, unit in enumerate(unit_vectors(activations[-1], xp)):
        error = pullback(layers, sigmas, zs, activations, unit, xp) - slopes[..., k, :]
        yield unit, error, weights[..., k, :]


def slope_cost(
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    minibatch: Minibatch,
    xp: Namespace,
) -> Array:
    """Compute ½ Σ λ (∂a/∂x − J)² of each example, shape (..., m); the parameters are those of `add_slopes`."""
    slopes, weights = minibatch.slopes, minibatch.slope_weights
    errors = slope_errors(layers, sigmas, zs, activations, slopes, weights, xp)  # type: ignore[arg-type]
    return sum(0.5 * xp.vecdot(weight * error, error) for _, error, weight in errors)  # type: ignore


def add_slopes(
    grads: Layers,
    cost: Array,
    layers: Layers,
    sigmas: Sequence[Activation],
    zs: Sequence[Array],
    activations: Sequence[Array],
    minibatch: Minibatch,
    xp: Namespace,
) -> tuple[Layers, Array]:
    """Add ½ Σ λ (∂a/∂x − J)² to the cost of each example, and the gradient of its mean to that of the mean cost.

    Parameters
    ----------
    grads, cost
        The gradient, as `backward` returns it, and the costs, shape (..., m).
    layers, sigmas, zs, activations
        As in `backprop.backward`.
    minibatch
        The examples, with their slopes.
    xp
        Namespace of the arrays.
    """
    output, (x, weight, total) = Composed(sigmas[-1], _PRODUCT), (minibatch.x, minibatch.weight, minibatch.total)

    def gradient(layers: Layers, x: Array, g: Array, weight: Array, total: Array, xp: Namespace) -> Layers:
        return backward(layers, sigmas, output, *forward(layers, sigmas, x, xp), g, xp, weight, total)

    slopes, weights = minibatch.slopes, minibatch.slope_weights
    for unit, error, slope_weight in slope_errors(layers, sigmas, zs, activations, slopes, weights, xp):  # type: ignore
        along = slope_weight * error
        cost = cost + 0.5 * xp.vecdot(along, error)
        change = jvp(gradient, (layers, x, unit, weight, total), (None, along, None, None, None), xp)[1]
        grads = combine_arrays(add, grads, change)
    return grads, cost
