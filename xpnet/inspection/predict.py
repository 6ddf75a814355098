"""Predictions: outputs for any number of rows, computed block by block, so that memory is bounded."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np

from xpnet.checks import count
from xpnet.core.arrays import Array, Namespace, positions, rows_per_block
from xpnet.core.backprop import forward
from xpnet.core.dropout import Dropout, drop, make_masks
from xpnet.core.minibatch import apply_scale
from xpnet.data.conversion import stays_outside
from xpnet.data.host_rows import read_in_blocks
from xpnet.data.reader import Reader
from xpnet.errors import ArgumentError
from xpnet.state.single_rows import SingleRows, compute_outputs
from xpnet.state.value import Value

Transform = Callable[[Array, Namespace], Array]


def predict_outputs(view: Value, x: Any, single_rows: SingleRows) -> Array:
    """Compute the outputs of a network; where the library differentiates, as a part of its graph.

    Parameters
    ----------
    view, x, single_rows
        As in `predict`.
    """
    if not view.backend.records(x):
        return predict(view, x, single_rows=single_rows)
    from xpnet.inspection.derivatives import vjp

    return view.backend.join(partial(predict, view), partial(vjp, view), x)


def predict_calibrated(
    value: Value, x: Any, transform: Transform | None = None, single_rows: SingleRows | None = None
) -> Array:
    """Compute outputs as `predict` does, and those of a calibrated classification at its temperature."""
    calibrated = value.calibrated
    return predict(calibrated, x, transform, single_rows if calibrated is value else None)


def predict(view: Value, x: Any, transform: Transform | None = None, single_rows: SingleRows | None = None) -> Array:
    """Compute the outputs for one example, for rows, or for batches of them, and transform each block of outputs.

    Parameters
    ----------
    view
        The network.
    x
        One example (n_in,), rows (m, n_in), or an iterable of batches X or (X, y), such as a DataLoader.
    transform
        Pure function (outputs, xp) applied to each block of outputs (m, n_out), such as one that returns their classes.
    single_rows
        What computes the outputs for one row, and records how; those of the network, whose weights the value has.
    """
    return compute_for_rows(view, x, partial(_transform_outputs, view, transform, single_rows))


def compute_for_rows(view: Value, x: Any, function: Callable[[Array], Array]) -> Array:
    """Apply a function to the inputs for one example, for rows, or for batches of them, and join what it returns.

    Parameters
    ----------
    view, x
        As in `predict`.
    function
        Function of a block of inputs (m, n_in), as the first layer gets them; it returns an array with m rows.
    """
    if not hasattr(type(x), "shape") and _is_stream(x):
        return _compute_for_batches(view, x, function)
    reader = view.reader
    if stays_outside(x):
        return _compute_in_blocks(view, reader, x, "x", function)
    rows, single = reader.as_rows(x)
    result = _compute_in_blocks(view, reader, rows, "x", function)
    return result[0, ...] if single else result


def read_rows(view: Value, reader: Reader, x: Array, name: str) -> Iterator[Array]:
    """Read rows of inputs, within the view's scope, in blocks (m, n_in), as the first layer gets them."""
    scale = reader.scale
    for inputs in read_in_blocks(x, name, sum(view.model.sizes), reader):
        yield apply_scale(inputs, scale, view.xp)


def _compute_in_blocks(view: Value, reader: Reader, x: Array, name: str, function: Callable[[Array], Array]) -> Array:
    with view.scope():
        results = [view.backend.map_rows(function, inputs) for inputs in read_rows(view, reader, x, name)]
        with view.output_scope():
            return results[0] if len(results) == 1 else view.xp.concat(results, axis=0)


def _compute_for_batches(view: Value, batches: Iterable[Any], function: Callable[[Array], Array]) -> Array:
    """Apply a function to an iterable of batches X or (X, y), one after the other."""
    reader, results = view.reader, []
    for i, batch in enumerate(batches):
        has_targets = isinstance(batch, (tuple, list)) and len(batch) in (1, 2) and getattr(batch[0], "ndim", 0) > 1
        x = batch[0] if has_targets else batch
        rows, _ = reader.as_rows(x, f"batch {i} of x")
        results.append(_compute_in_blocks(view, reader, rows, f"batch {i} of x", function))
    if not results:
        raise ArgumentError("x has no batches; an iterator can be iterated over only once, so give the batches again")
    with view.scope(), view.output_scope():
        return view.xp.concat(results, axis=0)


def _is_stream(x: Any) -> bool:
    """Tell whether something is iterated over, and is not an array, or a sequence that becomes one."""
    return isinstance(x, Iterable) and not isinstance(x, (Sequence, Mapping, Set)) and not hasattr(x, "__array__")


def dropout_masks(view: Value, step: int, m: int) -> list[Array | None]:
    """Compute the masks of a step; see `Network.dropout_masks`."""
    step, m = count("step", step, 0), count("m", m, 1)
    dropout = _require_dropout(view, "dropout_masks")
    backend, xp = view.backend, view.xp
    with view.scope():
        x = backend.asarray(np.zeros((m, view.model.n_in)), view.dtype)
        state = dropout._replace(step=backend.asarray(np.array([step], np.int32)))
        return [*make_masks(state, x, view.layers, xp, positions(x[:, 0], xp))]


def sample(view: Value, x: Any, n: int) -> Array:
    """Compute the outputs n times with dropout; see `Network.sample`. Changes nothing."""
    n, dropout = count("n", n, 1), _require_dropout(view, "sample")
    reader, xp, results = view.reader, view.xp, []
    x, single = reader.as_rows(x)
    with view.scope():
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


def _require_dropout(view: Value, what: str) -> Dropout:
    """Return the state of dropout; refuse a network that has none."""
    dropout = view.state.dropout
    if dropout is None:
        raise ArgumentError(f"{what} needs dropout, and this network has none; make one with dropout=0.1, say")
    return dropout


def _transform_outputs(view: Value, transform: Transform | None, single_rows: SingleRows | None, x: Array) -> Array:
    outputs = _compute_block(view, single_rows, x)
    if transform is None:
        return outputs
    with view.output_scope():
        return view.backend.call(transform, outputs)


def _compute_block(view: Value, single_rows: SingleRows | None, x: Array) -> Array:
    """Compute the outputs for a block of inputs, and free everything else in the forward pass."""
    if single_rows is not None and x.shape[0] == 1:
        return view.scale_back(single_rows(view.backend, view.model, view.layers, x))
    return view.scale_back(view.backend.call(partial(compute_outputs, view.model), view.layers, x))
