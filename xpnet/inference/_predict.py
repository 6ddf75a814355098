"""Predictions: outputs for any number of rows, computed block by block, so that memory is bounded."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np

from xpnet._checks import count
from xpnet.core.arrays import Array, Function, Namespace, blocks, cut_rows, positions
from xpnet.core.backprop import forward
from xpnet.core.dropout import Dropout, drop, make_masks
from xpnet.core.laplace import Laplace, outputs_with_stds
from xpnet.core.minibatch import apply_scale
from xpnet.core.model import count_parameters
from xpnet.data import read_in_blocks
from xpnet.data.conversion import stays_outside
from xpnet.data.reader import Reader
from xpnet.errors import ArgumentError
from xpnet.value import Value, compute_activations

Transform = Callable[[Array, Namespace], Array]


def predict(value: Value, x: Any, transform: Transform | None = None) -> Array:
    """Compute the outputs for one example, for rows, or for batches of them, and transform each block of outputs.

    Probabilities are at the temperature of the calibration, if it has one.

    Parameters
    ----------
    value
        The network.
    x
        One example (n_in,), rows (m, n_in), or an iterable of batches X or (X, y), such as a DataLoader.
    transform
        Pure function (outputs, xp) applied to each block of outputs (m, n_out), such as one that returns their classes.
    """
    return compute_for_rows(value, x, partial(_transform_outputs, value, transform))


def compute_for_rows(value: Value, x: Any, function: Callable[[Array], Array]) -> Array:
    """Apply a function to the inputs for one example, for rows, or for batches of them, and join what it returns.

    Parameters
    ----------
    value, x
        As in `predict`.
    function
        Function of a block of inputs (m, n_in), as the first layer gets them; it returns an array with m rows.
    """
    reader, results, single = value.reader, list[Array](), False
    is_stream = not hasattr(type(x), "shape") and _is_stream(x)
    for name, rows in _name_batches(x) if is_stream else [("x", x)]:
        if not stays_outside(rows):  # before the scope, in which PyTorch does not say whether it records
            rows, single = reader.as_rows(rows, name)
        with value.scope():
            results += [value.backend.map_rows(function, inputs) for inputs in read_rows(value, reader, rows, name)]
    if not results:
        raise ArgumentError("x has no batches; an iterator can be iterated over only once, so give the batches again")
    if len(results) > 1:
        with value.scope(), value.output_scope():
            results = [value.xp.concat(results, axis=0)]
    return results[0][0, ...] if single and not is_stream else results[0]


def read_rows(value: Value, reader: Reader, x: Array, name: str) -> Iterator[Array]:
    """Read rows of inputs, within the value's scope, in blocks (m, n_in), as the first layer gets them."""
    scale = reader.scale
    for inputs in read_in_blocks(x, name, sum(value.model.sizes), reader):
        yield apply_scale(inputs, scale, value.xp)


def _name_batches(batches: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    """Iterate over the inputs of batches X or (X, y), with their names for messages."""
    for i, batch in enumerate(batches):
        has_targets = isinstance(batch, (tuple, list)) and len(batch) in (1, 2) and getattr(batch[0], "ndim", 0) > 1
        yield f"batch {i} of x", batch[0] if has_targets else batch


def _is_stream(x: Any) -> bool:
    """Tell whether something is iterated over, and is not an array, or a sequence that becomes one."""
    return isinstance(x, Iterable) and not isinstance(x, (Sequence, Mapping, Set)) and not hasattr(x, "__array__")


def dropout_masks(value: Value, step: int, m: int) -> list[Array | None]:
    """Compute the masks of a step; see `Network.dropout_masks`."""
    step, m = count("step", step, 0), count("m", m, 1)
    dropout = _require_dropout(value, "dropout_masks")
    backend, xp = value.backend, value.xp
    with value.scope():
        x = backend.asarray(np.zeros((m, value.model.n_in)), value.dtype)
        state = dropout._replace(step=backend.asarray(np.array([step], np.int32)))
        return [*make_masks(state, x, value.layers, xp, positions(x[:, 0], xp))]


def sample(value: Value, x: Any, n: int) -> Array:
    """Compute the outputs n times with dropout; see `Network.sample`. Changes nothing."""
    n, dropout = count("n", n, 1), _require_dropout(value, "sample before fit_laplace")
    reader, xp, results = value.reader, value.xp, []
    x, single = reader.as_rows(x)
    with value.scope():
        inputs, scale = reader.read_inputs(x, "x"), reader.scale
        m = inputs.shape[0]
        width = 4 * sum(value.model.sizes)  # making a mask takes several arrays
        for part in cut_rows(n * m, width):  # of the rows of all samples
            numbers = np.divmod(np.arange(part.start, part.stop), m)
            samples, rows = (value.backend.asarray(number.astype(np.int32)) for number in numbers)
            block = apply_scale(xp.take(inputs, rows, axis=0), scale, xp)
            state = dropout._replace(step=samples[:, None])  # the number of the sample replaces that of the step
            block, sigmas, _ = drop(state, value.model.sigmas, block, value.layers, xp, rows)
            _, activations = forward(value.layers, sigmas, block, xp)
            results.append(value.scale_back(activations[-1]))
        with value.output_scope():
            outputs = xp.reshape(xp.concat(results, axis=0), (n, m, value.model.n_out))
            return outputs[:, 0, :] if single else outputs


def _require_dropout(value: Value, what: str) -> Dropout:
    """Return the state of dropout; refuse a network that has none."""
    dropout = value.state.dropout
    if dropout is None:
        raise ArgumentError(f"{what} needs dropout, and this network has none; make one with dropout=0.1, say")
    return dropout


def _transform_outputs(value: Value, transform: Transform | None, x: Array) -> Array:
    outputs = _compute_block(value, x)
    if transform is None:
        return outputs
    with value.output_scope():
        return value.backend.call(transform, outputs)


def _compute_block(value: Value, x: Array) -> Array:
    """Compute the outputs for a block of inputs, and free everything else in the forward pass."""
    if x.shape[0] == 1:
        return value.scale_back(value.single_rows(value, x))
    return value.scale_back(value.backend.call(partial(compute_activations, value.model), value.calibrated_layers, x))


def predict_with_stds(value: Value, x: Any) -> Array:
    """Predict bars, (m, n_targets, 2), of a network with a Laplace approximation."""
    return compute_in_units(value, x, outputs_with_stds, *get_laplace(value))


def get_laplace(value: Value) -> Laplace:
    """Return the Laplace approximation of a network that has one."""
    assert value.laplace is not None
    return value.laplace


def compute_in_units(value: Value, x: Any, function: Function, *arrays: Array) -> Array:
    """Compute outputs, and what belongs to them, in the units of the targets, block by block.

    Parameters
    ----------
    value, x
        As in `predict`.
    function
        Pure function (sigmas, layers, *arrays, inputs, xp) that returns the outputs of a block of m rows, and others
        in their units, but without their shift: (m, n_targets, 1 + k), or more rows, which are left out.
    arrays
        Of any library.
    """
    backend, xp, model = value.backend, value.xp, value.model
    width = model.n_targets * (model.n_in + 1) * count_parameters(model.sizes)  # of derivatives
    with value.scope():
        placed = [backend.asarray(array, value.dtype) for array in arrays]

    def compute(inputs: Array) -> Array:
        call = partial(backend.call, partial(function, model.sigmas), value.layers, *placed)
        parts = [call(block) for block in blocks(inputs, width)]
        both = (parts[0] if len(parts) == 1 else xp.concat(parts, axis=0))[:, : model.n_targets, :]
        mean, scaling = value.scale_targets_back(both[..., 0]), value.target_scaling
        with value.output_scope():
            others = both[..., 1:] if scaling is None else both[..., 1:] * scaling[1][..., None]
            return xp.concat([mean[..., None], others], axis=-1)

    return compute_for_rows(value, x, compute)
