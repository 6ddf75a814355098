"""Activations and errors of every layer, gradients of the cost, and derivatives with respect to the inputs."""

from collections.abc import Callable
from typing import Any

from xpnet.core.arrays import Array, Layers, blocks
from xpnet.core.backprop import backward, forward, pullback
from xpnet.core.backprop import deltas as propagate
from xpnet.core.minibatch import apply_scale, decode
from xpnet.data.reader import as_real_array
from xpnet.inspection.view import View
from xpnet.wording.checks import check_lengths


def gradients(view: View, x: Any, y: Any, backpropagate: Callable[..., Layers] | None = None) -> Layers:
    """Compute the gradient of the mean cost over examples; see `Network.backward`.

    `backpropagate` replaces `core.backprop.backward`, to show the effect of a mistake in it.
    """
    with view.scope():
        x, y, _ = _read_batch(view, x, y)
        zs, activations = forward(view.layers, view.model.sigmas, x, view.xp)
        return (backpropagate or backward)(
            view.layers, view.model.sigmas, view.model.output, zs, activations, y, view.xp
        )


def activations(view: View, x: Any) -> list[Array]:
    """Compute the activations of every layer, inputs included; see `Network.activations`."""
    with view.scope():
        x, single = _read_rows(view, x)
        _, layers = forward(view.layers, view.model.sigmas, x, view.xp)
        return [view.xp.asarray(a[0, ...] if single else a, copy=True) for a in layers]


def deltas(view: View, x: Any, y: Any) -> list[Array]:
    """Compute the errors of every layer; see `Network.deltas`."""
    with view.scope():
        x, y, single = _read_batch(view, x, y)
        zs, activations = forward(view.layers, view.model.sigmas, x, view.xp)
        delta = view.model.output.delta(zs[-1], activations[-1], y, view.xp)
        errors = propagate(view.layers, view.model.sigmas, zs, activations, delta, view.xp)
        return [error[0, ...] if single else error for error in errors]


def vjp(view: View, x: Any, g: Any) -> Array:
    """Compute a vector-Jacobian product; see `Network.vjp`."""
    with view.scope():
        x, single = _read_rows(view, x)
        shape = (view.model.n_out,) if single else (x.shape[0], view.model.n_out)
        g = as_real_array(g, "g")
        if tuple(g.shape) != shape:
            raise ValueError(f"g has shape {tuple(g.shape)}, but must have {shape}: a number for each output")
        g = view.backend.asarray(g, view.dtype, "g")
        if not view.backend.all_finite([g]):
            raise ValueError(f"g holds NaN or infinity (as {view.dtype}); give finite numbers")
        product = _pull_back(view, x, g[None, :] if single else g)
        return product[0, ...] if single else product


def jacobian(view: View, x: Any) -> Array:
    """Compute the derivatives of the outputs with respect to the inputs; see `Network.jacobian`."""
    with view.scope():
        x, single = _read_rows(view, x)
        xp, n_out = view.xp, view.model.n_out
        # One pullback for all outputs: unit vectors on an axis in front, so arrays are n_out times as large
        units = xp.eye(n_out, dtype=x.dtype, device=x.device)[:, None, :]
        parts = [_pull_back(view, block, units) for block in blocks(x, 2 * n_out * max(view.model.sizes))]
        matrices = xp.permute_dims(xp.concat(parts, axis=1), (1, 0, 2))
        return matrices[0, ...] if single else matrices


def _pull_back(view: View, x: Array, g: Array) -> Array:
    """Compute gᵀ ∂a/∂x for scaled inputs, with respect to the unscaled ones."""
    xp, scaling, scale = view.xp, view.scaling, view.reader.scale
    output_scaling = view.output_scaling
    zs, activations = forward(view.layers, view.model.sigmas, x, xp)
    if output_scaling is not None:
        g = g * view.backend.asarray(output_scaling[1], view.dtype)
    g = xp.broadcast_to(g, (*g.shape[:-2], *activations[-1].shape))
    g = pullback(view.layers, view.model.sigmas, zs, activations, g, xp)
    g = g if scale is None else g * scale
    return g if scaling is None else g / scaling.rounded.x_std


def _read_rows(view: View, x: Any) -> tuple[Array, bool]:
    """Read inputs in the form that the first layer takes, and tell whether they were a single example."""
    reader = view.reader
    rows, single = reader.as_rows(x)
    return apply_scale(reader.read_inputs(rows, "x"), reader.scale, view.xp), single


def _read_batch(view: View, x: Any, y: Any) -> tuple[Array, Array, bool]:
    """Read inputs and targets in the form that the mathematics takes, and tell whether they were a single example."""
    reader = view.reader
    rows, single = reader.as_rows(x)
    inputs = reader.read_inputs(rows, "x")
    y = as_real_array(y, "y of the batch")
    one_target = single and (y.ndim == 0 or (y.ndim == 1 and y.shape[0] == view.model.n_targets))
    targets = reader.read_targets(y[None, ...] if one_target else y, "y of the batch")
    check_lengths("X", inputs.shape[0], "y of the batch", targets.shape[0])
    inputs, targets = decode(inputs, targets, reader.encoding(), view.xp)
    return inputs, targets, single
