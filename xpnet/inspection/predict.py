"""Predictions: outputs for any number of rows, computed block by block, so that memory is bounded."""

from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import Array, blocks
from xpnet.core.backprop import forward
from xpnet.core.minibatch import apply_scale
from xpnet.data.reader import as_rows
from xpnet.view import View


def predict(view: View, x: Any, transform: Callable[[Array], Array] = lambda a: a) -> Array:
    """Compute the outputs for one example or for rows, and transform each block of them.

    Parameters
    ----------
    view
        The network.
    x
        One example (n_in,), or rows (m, n_in).
    transform
        A function of a block of outputs (m, n_out), such as one that returns their classes.
    """
    reader, xp, results = view.reader, view.xp, []
    with view.scope():
        rows, single = as_rows(x, view.model.n_in)
        x, scale = reader.move_inputs(rows, "x"), reader.scale
        for block in blocks(x, sum(view.model.sizes)):
            numbers = (
                range(len(results) * results[0].shape[0], x.shape[0]) if results else None
            )  # of rows, for messages
            inputs = apply_scale(reader.check_inputs(block, "x", numbers), scale, xp)  # while the block is in the cache
            results.append(transform(_outputs(view, inputs)))
        result = results[0] if len(results) == 1 else xp.concat(results, axis=0)
        return result[0, ...] if single else result


def _outputs(view: View, x: Array) -> Array:
    """Compute the outputs for a block of inputs; everything else in the forward pass is freed."""
    _, activations = forward(view.layers, view.model.sigmas, x, view.xp)
    return activations[-1] if view.scaling is None else view.scaling.outputs(activations[-1])
