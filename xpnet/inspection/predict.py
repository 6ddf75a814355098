"""Predictions: outputs for any number of rows, computed block by block, so that memory is bounded."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np

from xpnet.core.arrays import Array, Function, Layers, Namespace, rows_per_block
from xpnet.core.backprop import forward
from xpnet.core.dropout import Dropout, drop
from xpnet.core.minibatch import apply_scale
from xpnet.core.model import Model, is_fixed
from xpnet.data.gathered import read_in_blocks, stays_outside
from xpnet.data.reader import Reader
from xpnet.inspection.view import View

PAYS_FROM = 200  # single rows with the same weights: recording takes about as long as it saves in 50 of them
MAX_WIDTH = 1024  # units: the products of wider layers take most of the time, and their old weights should not be kept


def predict(view: View, x: Any, transform: Callable[[Array], Array] = lambda a: a) -> Array:
    """Compute the outputs for one example, for rows, or for batches of them, and transform each block of outputs.

    Parameters
    ----------
    view
        The network.
    x
        One example (n_in,), rows (m, n_in), or an iterable of batches X or (X, y), such as a DataLoader.
    transform
        Function applied to each block of outputs (m, n_out), such as one that returns their classes.
    """
    if not hasattr(type(x), "shape") and _is_stream(x):
        return _predict_batches(view, x, transform)
    reader = view.reader
    if stays_outside(x):
        return _predict_rows(view, reader, x, "x", transform)
    rows, single = reader.as_rows(x)
    result = _predict_rows(view, reader, rows, "x", transform)
    return result[0, ...] if single else result


def _predict_rows(view: View, reader: Reader, x: Array, name: str, transform: Callable[[Array], Array]) -> Array:
    xp, results = view.xp, []
    with view.scope():
        scale = reader.scale
        for inputs in read_in_blocks(x, name, sum(view.model.sizes), reader):
            outputs = _outputs(view, apply_scale(inputs, scale, xp))
            with view.output_scope():
                results.append(transform(outputs))
        with view.output_scope():
            return results[0] if len(results) == 1 else xp.concat(results, axis=0)


def _predict_batches(view: View, batches: Iterable[Any], transform: Callable[[Array], Array]) -> Array:
    """Compute the outputs for an iterable of batches X or (X, y), one after the other."""
    reader, results = view.reader, []
    for i, batch in enumerate(batches):
        x = batch[0] if isinstance(batch, (tuple, list)) and getattr(batch[0], "ndim", 0) > 1 else batch
        rows, _ = reader.as_rows(x, f"batch {i} of x")
        results.append(_predict_rows(view, reader, rows, f"batch {i} of x", transform))
    if not results:
        raise ValueError("x has no batches; an iterator can be iterated over only once, so give the batches again")
    with view.scope(), view.output_scope():
        return view.xp.concat(results, axis=0)


def _is_stream(x: Any) -> bool:
    """Tell whether something is iterated over, and is not an array, or a sequence that becomes one."""
    return isinstance(x, Iterable) and not isinstance(x, (Sequence, Mapping, Set)) and not hasattr(x, "__array__")


def sample(view: View, dropout: Dropout, x: Any, n: int) -> Array:
    """Compute the outputs n times with dropout; see `Network.sample`. Changes nothing."""
    reader, xp, results = view.reader, view.xp, []
    with view.scope():
        x, single = reader.as_rows(x)
        inputs, scale = reader.read_inputs(x, "x"), reader.scale
        m = inputs.shape[0]
        size = rows_per_block(4 * sum(view.model.sizes))  # making a mask takes several arrays
        for start in range(0, n * m, size):  # over the rows of all samples
            numbers = np.divmod(np.arange(start, min(start + size, n * m)), m)
            samples, rows = (view.backend.asarray(number.astype(np.int32)) for number in numbers)
            block = apply_scale(xp.take(inputs, rows, axis=0), scale, xp)
            state = dropout._replace(step=samples[:, None])  # the number of the sample replaces that of the step
            block, sigmas, _ = drop(state, view.model.sigmas, block, view.layers, xp, rows)
            _, activations = forward(view.layers, sigmas, block, xp)
            results.append(view.scale_back(activations[-1]))
        with view.output_scope():
            outputs = xp.reshape(xp.concat(results, axis=0), (n, m, view.model.n_out))
            return outputs[:, 0, :] if single else outputs


def _outputs(view: View, x: Array) -> Array:
    """Compute the outputs for a block of inputs, and free everything else in the forward pass."""
    return view.scale_back(
        view.single_rows(view, x) if x.shape[0] == 1 else _forward(view.model, view.layers, x, view.xp)
    )


def _forward(model: Model, layers: Layers, x: Array, xp: Namespace) -> Array:
    _, activations = forward(layers, model.sigmas, x, xp)
    return activations[-1]


class SingleRows:
    """Computes outputs for single rows of a network; as soon as this pays, by a function that the backend repeats.

    Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._last: tuple[Layers | None, int, Function | None] = None, 0, None  # changes as one: threads may share it

    def __reduce__(self) -> Any:
        """Copy and pickle nothing."""
        return SingleRows, ()

    def __call__(self, view: View, x: Array) -> Array:
        """Compute the outputs of a network for one row, (1, n_in)."""
        layers, calls, repeat = self._last
        if layers is not view.layers:
            calls, repeat = 0, None
        outputs = None if repeat is None else repeat(x)
        if outputs is not None:
            return outputs
        outputs = _forward(view.model, view.layers, x, view.xp)
        if repeat is None and max(view.model.sizes) <= MAX_WIDTH:
            if calls == PAYS_FROM and is_fixed(view.model.sigmas):
                repeat = view.backend.repeat_function(partial(_forward, view.model), view.layers, x)
            self._last = view.layers, calls + 1, repeat
        return outputs
