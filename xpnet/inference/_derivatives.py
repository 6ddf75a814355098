"""Outputs with their graph, activations and errors of every layer, gradients of the cost, derivatives by inputs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from xpnet._checks import check_lengths
from xpnet.backends.base import refuse_graph
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, blocks
from xpnet.core.backprop import backward, forward, hessian_product, pullback
from xpnet.core.backprop import deltas as propagate
from xpnet.core.dual import jvp
from xpnet.core.laplace import outputs_with_stds
from xpnet.core.minibatch import apply_scale, decode
from xpnet.core.model import Model
from xpnet.data.conversion import as_real_array
from xpnet.errors import ArgumentError
from xpnet.inference._predict import compute_in_units, get_laplace, predict
from xpnet.value import Value, parse_layers, split_pairs


def predict_outputs(value: Value, x: Any) -> Array:
    """Compute outputs that are not calibrated; where the library differentiates, as a part of its graph."""
    value = value if value.temperature is None else value._replace(calibration=None)
    if not value.backend.records(x):
        return predict(value, x)
    return value.backend.join(partial(predict, value), partial(vjp, value), x)


def gradients(value: Value, x: Any, y: Any) -> Layers:
    """Compute the gradient of the mean cost over examples; see `Network.backward`."""
    x, y, _ = read_batch(value, x, y)
    with value.scope():
        return value.backend.call(partial(_compute_gradients, value.model), value.layers, x, y)


def _compute_gradients(model: Model, layers: Layers, x: Array, y: Array, xp: Namespace) -> Layers:
    zs, activations = forward(layers, model.sigmas, x, xp)
    return backward(layers, model.sigmas, model.output.with_inputs(x), zs, activations, y, xp)


def activations(value: Value, x: Any) -> list[Array]:
    """Compute the activations of every layer, inputs included; see `Network.activations`."""
    x, single = _read_rows(value, x)
    with value.scope():
        _, layers = forward(value.layers, value.model.sigmas, x, value.xp)
        return [value.xp.asarray(a[0, ...] if single else a, copy=True) for a in layers]


def deltas(value: Value, x: Any, y: Any) -> list[Array]:
    """Compute the errors of every layer; see `Network.deltas`."""
    x, y, single = read_batch(value, x, y)
    with value.scope():
        zs, activations = forward(value.layers, value.model.sigmas, x, value.xp)
        delta = value.model.output.with_inputs(x).delta(zs[-1], activations[-1], y, value.xp)
        errors = propagate(value.layers, value.model.sigmas, zs, activations, delta, value.xp)
        return [error[0, ...] if single else error for error in errors]


def vjp(value: Value, x: Any, g: Any) -> Array:
    """Compute a vector-Jacobian product; see `Network.vjp`."""
    x, single = _read_rows(value, x)
    shape = (value.model.n_out,) if single else (x.shape[0], value.model.n_out)
    refuse_graph(g, "g")
    g = as_real_array(g, "g")
    if tuple(g.shape) != shape:
        raise ArgumentError(f"g has shape {tuple(g.shape)}, but must have {shape}: a number for each output")
    with value.scope():
        g = value.backend.make_contiguous(value.backend.asarray(g, value.dtype, "g"))
        if not value.backend.all_finite([g]):
            raise ArgumentError(f"g holds NaN or infinity (as {value.dtype}); give finite numbers")
        _, product = _forward_and_pull_back(value, x, g[None, :] if single else g)
        return product[0, ...] if single else product


def jacobian(value: Value, x: Any) -> Array:
    """Compute the derivatives of the outputs with respect to the inputs; see `Network.jacobian`."""
    return value_and_jacobian(value, x)[1]


def value_and_jacobian(value: Value, x: Any) -> tuple[Array, Array]:
    """Compute the outputs and their derivatives by one forward pass; see `Network.value_and_jacobian`."""
    x, single = _read_rows(value, x)
    xp, n_out = value.xp, value.model.n_out
    with value.scope():
        # One pullback for all outputs: unit vectors on an axis in front, so arrays are n_out times as large
        units = xp.eye(n_out, dtype=x.dtype, device=x.device)[:, None, :]
        outputs, products = zip(
            *[_forward_and_pull_back(value, block, units) for block in blocks(x, 2 * n_out * max(value.model.sizes))]
        )
        matrices = xp.permute_dims(xp.concat(products, axis=1), (1, 0, 2))
        with value.output_scope():
            values = xp.concat(outputs, axis=0)
            return (values[0, ...], matrices[0, ...]) if single else (values, matrices)


def bars_and_jacobian(value: Value, x: Any) -> tuple[Array, Array]:
    """Predict bars by a Laplace approximation, (m, n_targets, 2), and their derivatives, (m, n_targets, 2, n_in)."""
    n_in = value.model.n_in
    with value.scope():
        directions = _to_given_inputs(value, value.backend.asarray(np.eye(n_in)[:, None, :], value.dtype))
    parts = compute_in_units(value, x, _linearize_bars, *get_laplace(value), directions)
    with value.scope(), value.output_scope():
        parts = value.xp.reshape(parts, (*parts.shape[:-1], 2, 1 + n_in))
        return parts[..., 0], parts[..., 1:]


def _linearize_bars(
    sigmas: Sequence[Activation],
    layers: Layers,
    factor: Array,
    noise: Array,
    directions: Array,
    x: Array,
    xp: Namespace,
) -> Array:
    """Compute outputs, their derivatives in k directions, standard deviations, and theirs: (m, n_out, 2 (1 + k)).

    Parameters
    ----------
    sigmas, layers, factor, noise
        As in `laplace.outputs_with_stds`.
    directions
        Shape (k, 1, n_in).
    x
        Inputs, (m, n_in).
    xp
        Namespace of the arrays.
    """
    shape = (directions.shape[0], *x.shape)
    rows, directions = xp.broadcast_to(x, shape), xp.broadcast_to(directions, shape)
    tangents = None, None, None, directions
    bars, changes = jvp(partial(outputs_with_stds, sigmas), (layers, factor, noise, rows), tangents, xp)
    parts = [part for k in range(2) for part in (bars[:1, ..., k], changes[..., k])]
    return xp.permute_dims(xp.concat(parts), (1, 2, 0))


def hessian(value: Value, x: Any) -> Array:
    """Compute the second derivatives of the outputs with respect to the inputs; see `Network.hessian`."""
    x, single = _read_rows(value, x)
    xp, n_in, n_out = value.xp, value.model.n_in, value.model.n_out
    with value.scope(), _explain_own_functions():
        directions = _to_given_inputs(value, xp.eye(n_in, dtype=x.dtype, device=x.device))[:, None, None, :]
        units = _to_scaled_outputs(value, xp.eye(n_out, dtype=x.dtype, device=x.device))[:, None, :]

        def slopes(layers: Layers, x: Array, g: Array, xp: Namespace) -> Array:
            zs, activations = forward(layers, value.model.sigmas, x, xp)
            return pullback(layers, value.model.sigmas, zs, activations, g, xp)

        parts = []
        for block in blocks(x, 4 * n_in * n_out * max(value.model.sizes)):
            # One axis in front for the directions, and one for the outputs
            rows = xp.broadcast_to(block, (n_in, 1, *block.shape))
            g = xp.broadcast_to(units, (n_in, n_out, block.shape[0], n_out))
            _, product = jvp(slopes, (value.layers, rows, g), (None, directions, None), xp)
            parts.append(xp.permute_dims(_to_given_inputs(value, product), (2, 1, 0, 3)))
        matrices = xp.concat(parts, axis=0)
        return matrices[0, ...] if single else matrices


def hvp(value: Value, x: Any, y: Any, direction: Any) -> Layers:
    """Multiply the Hessian of the mean cost by a direction; see `Network.hvp`."""
    weights, biases = split_pairs(direction, "direction")
    for part in (*weights, *biases):
        refuse_graph(part, "direction")
    vector = parse_layers(weights, biases, value.model, value.place, "direction")
    x, y, _ = read_batch(value, x, y)
    with value.scope(), _explain_own_functions():
        return hessian_product(value.layers, vector, value.model.sigmas, value.model.output, x, y, value.xp)


@contextmanager
def _explain_own_functions() -> Iterator[None]:
    """Say what the user's own functions must be like for second derivatives."""
    try:
        yield
    except (TypeError, AttributeError) as error:
        raise ArgumentError(
            f"second derivatives cannot be computed ({error}); own activations and costs must use operators and "
            "functions of xp alone"
        ) from error


def _forward_and_pull_back(value: Value, x: Array, g: Array) -> tuple[Array, Array]:
    """Compute the outputs a for scaled inputs x, and gᵀ ∂a/∂x with respect to the unscaled ones."""
    compute = partial(_compute_outputs_and_pullback, value.model)
    outputs, product = value.backend.call(compute, value.layers, x, _to_scaled_outputs(value, g))
    return value.scale_back(outputs), _to_given_inputs(value, product)


def _compute_outputs_and_pullback(
    model: Model, layers: Layers, x: Array, g: Array, xp: Namespace
) -> tuple[Array, Array]:
    zs, activations = forward(layers, model.sigmas, x, xp)
    g = xp.broadcast_to(g, (*g.shape[:-2], *activations[-1].shape))
    return activations[-1], pullback(layers, model.sigmas, zs, activations, g, xp)


def _to_scaled_outputs(value: Value, g: Array) -> Array:
    """Turn a gradient with respect to outputs in the units of the targets into one for those of the last layer."""
    scaling = value.output_scaling
    return g if scaling is None else g * value.backend.asarray(scaling[1], value.dtype)


def _to_given_inputs(value: Value, g: Array) -> Array:
    """Turn derivatives with respect to scaled inputs into those with respect to the inputs that users give."""
    g = g if value.reader.scale is None else g * value.reader.scale
    return g if value.scaling is None else g / value.scaling.rounded.x_std


def _read_rows(value: Value, x: Any) -> tuple[Array, bool]:
    """Read inputs in the form that the first layer takes, and tell whether they were a single example."""
    reader = value.reader
    rows, single = reader.as_rows(x)
    with value.scope():
        return apply_scale(reader.read_inputs(rows, "x"), reader.scale, value.xp), single


def read_batch(value: Value, x: Any, y: Any) -> tuple[Array, Array, bool]:
    """Read inputs and targets in the form that the mathematics takes, and tell whether they were a single example."""
    reader = value.reader
    rows, single = reader.as_rows(x)
    inputs = reader.read_inputs(rows, "x")
    refuse_graph(y, "y of the batch")
    y = as_real_array(y, "y of the batch")
    one_target = single and (y.ndim == 0 or (y.ndim == 1 and y.shape[0] == value.model.n_targets))
    targets = reader.read_targets(y[None, ...] if one_target else y, "y of the batch")
    check_lengths("X", inputs.shape[0], "y of the batch", targets.shape[0])
    with value.scope():
        return *decode(inputs, targets, reader.encoding(), value.xp), single
