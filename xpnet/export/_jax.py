"""JAX: a network as a pure function of its parameters, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from xpnet._checks import install_command, yes_or_no
from xpnet.backends.base import PatchedNamespace
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layer
from xpnet.core.backprop import forward
from xpnet.core.laplace import outputs_with_stds
from xpnet.core.model import Model
from xpnet.errors import ArgumentError
from xpnet.export.parts import require_networks, take_apart, take_laplace, warn_of_losses
from xpnet.inference import Bars
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.value import assign_layers, split_pairs

SCALES = ("scale", "standardize", "rescale")  # parts whose numbers are no parameters


def to_jax(net: Network | Ensemble, *, return_std: bool = False) -> tuple[Callable[[Any, Any], Any], tuple[Layer, ...]]:
    """Make a pure function, and its parameters, whose outputs are those of `Network.forward`.

    The function ``f(params, x)`` can be compiled, mapped and differentiated, any number of times, with respect to both
    arguments: by ``jax.jit``, ``jax.vmap``, ``jax.grad``, ``jax.hessian``. It includes scaling of inputs and outputs,
    activations of your own, whose derivatives are their pullbacks, and no dropout. As for `forward`, nothing is
    calibrated, and quantiles are not sorted. Matrices are multiplied as your program has it
    (``jax.default_matmul_precision``).

    Parameters
    ----------
    net
        The network, on any backend; or an ensemble, whose members are computed at once.
    return_std
        Make a function that returns what `Network.predict` returns with `return_std`: the means and the standard
        deviations, calibrated if the network is; of an ensemble, those of all members together. The error bars of
        `fit_laplace` keep the covariance of the weights, whatever ``params`` are.

    Returns
    -------
    f
        ``f(params, x)`` computes the outputs (..., n_out) for inputs x (..., n_in), in the dtype of the parameters; of
        an ensemble (members, ..., n_out). With `return_std`, it returns a pair of arrays (..., n_targets).
    params
        A pair (w, b) for each layer, w (n_out, n_in) and b (n_out,), as in ``net.layers``, copied to JAX's default
        device. Those of an ensemble have an axis of members in front.

    Raises
    ------
    ArgumentError
        If `net` is neither; if it computes in float64 and JAX does not: ``jax.config.update("jax_enable_x64", True)``
        makes it; or if `return_std` is given for a network without standard deviations.
    ImportError
        If JAX is not installed.

    Examples
    --------
    >>> import jax
    >>> net = Network([3, 4, 1], task="regression", seed=0)
    >>> f, params = to_jax(net)
    >>> slopes = jax.vmap(jax.grad(lambda x: f(params, x)[0]))(np.eye(3, dtype="float32"))
    >>> bool(np.allclose(slopes, net.jacobian(np.eye(3))[:, 0], atol=1e-6))
    True
    """
    try:
        import jax
    except ImportError as error:
        raise ImportError(f"to_jax needs JAX ({error}); install it with: {install_command('jax')}") from error
    networks = require_networks(net)
    if jax.dtypes.canonicalize_dtype(networks[0].dtype) != networks[0].dtype:
        raise ArgumentError(
            'net computes in float64, and JAX in float32 unless told otherwise; call jax.config.update("jax_enable_x64'
            '", True) before, or give net.to(dtype="float32")'
        )
    net = net.to("numpy")
    bars = Bars(net.values, isinstance(net, Ensemble))
    if yes_or_no("return_std", return_std):
        bars.require_std("to_jax(return_std=True)")
    warn_of_losses(net, has_std=return_std)
    model, members = bars.value.model, [take_apart(member) for member in require_networks(net)]
    sigmas = tuple(_differentiate_by_pullback(sigma, jax) for sigma in model.sigmas)
    compute = partial(_compute_outputs, jax.numpy, model, sigmas)
    layers = [tuple(Layer(*part.values) for part in parts if part.kind == "dense") for parts in members]
    numbers = [{part.kind: part.values for part in parts if part.kind in SCALES} for parts in members]
    if return_std and bars.has_laplace:
        numbers = [{**own, "laplace": take_laplace(value)} for own, value in zip(numbers, bars.values)]
    if bars.is_ensemble:
        numbers, params = (jax.tree.map(lambda *arrays: np.stack(arrays), *nests) for nests in (numbers, layers))
        f = partial(jax.vmap(compute, (0, 0, None)), numbers)
    else:
        f, params = partial(compute, numbers[0]), layers[0]
    if return_std:
        f = partial(_compute_mean_and_std, jax.numpy, bars, f)
    return f, jax.tree.map(jax.numpy.asarray, params)


def from_jax(net: Network | Ensemble, params: Any) -> Any:
    """Make a copy of a network with the weights and biases of the parameters that `to_jax` made.

    Parameters
    ----------
    net
        The network, or ensemble, that was given to `to_jax`. It does not change.
    params
        Its parameters, as JAX has changed them, on any device.

    Returns
    -------
    Network or Ensemble
        A copy, where `net` is. Its calibration has ended.

    Raises
    ------
    ArgumentError
        If the parameters do not fit the network, or are not finite.

    Examples
    --------
    >>> net = Network([3, 4, 1], task="regression", seed=0)
    >>> f, params = to_jax(net)
    >>> trained = from_jax(net, [(2 * w, b) for w, b in params])
    >>> bool((trained.w[0] == 2 * net.w[0]).all())
    True
    """
    networks, new = require_networks(net), net.copy()
    if isinstance(new, Network):
        new.value = assign_layers(new.value, *split_pairs(params, "params"), "params")
        return new
    for k, (member, layers) in enumerate(zip(new, _take_members(params, len(networks)))):
        member.value = assign_layers(member.value, *split_pairs(layers), f"params[{k}]")
    return new


def _take_members(params: Any, members: int) -> list[list[tuple[Any, Any]]]:
    """List the layers of each member."""
    weights, biases = split_pairs(params, "params")
    shapes = [np.shape(array) for array in (*weights, *biases)]
    if any(shape[:1] != (members,) for shape in shapes):
        raise ArgumentError(f"params has arrays of shapes {shapes}, each of which must begin with {members} members")
    return [[(np.asarray(w)[k], np.asarray(b)[k]) for w, b in zip(weights, biases)] for k in range(members)]


def _differentiate_by_pullback(sigma: Activation, jax: Any) -> Activation:
    """Make the derivative of an activation its pullback, also at kinks; JAX's own is wrong there for softplus."""
    # |x| has a derivative at 0, on the same side as in `core.dual`
    xp: Any = PatchedNamespace(jax.numpy, abs=lambda x: jax.numpy.where(x > 0.0, x, -x))

    @jax.custom_jvp
    def value(z: Any) -> Any:
        return sigma.value(z, xp)

    @value.defjvp
    def push_forward(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        (z,), a = primals, value(*primals)
        # A pullback is linear in g, and the derivative in a direction is its transpose
        push = jax.linear_transpose(lambda g: sigma.pullback(g, z, a, xp), a)
        return a, push(*tangents)[0]

    return sigma._replace(value=lambda z, xp: value(z))


def _compute_mean_and_std(jnp: Any, bars: Bars, compute: Any, params: Any, x: Any) -> tuple[Array, Array]:
    members = compute(params, x)
    both = bars.make(list(members) if bars.is_ensemble else [members], jnp)
    return both[..., 0], both[..., 1]


def _compute_outputs(
    jnp: Any, model: Model, sigmas: tuple[Activation, ...], numbers: dict[str, Any], params: Any, x: Any
) -> Array:
    """Compute outputs, (..., n_out); with a Laplace approximation, bars, (..., n_targets, 2)."""
    weights, biases = split_pairs(params, "params")
    shapes = [(jnp.shape(w), jnp.shape(b)) for w, b in zip(weights, biases)]
    expected = [(shape, shape[:1]) for shape in model.shapes]
    if shapes != expected:
        raise ArgumentError(f"params has arrays of shapes {shapes}, but must have {expected}")
    layers = tuple((jnp.asarray(w), jnp.asarray(b)) for w, b in zip(weights, biases))
    x = jnp.asarray(x, layers[0][0].dtype)
    if x.shape[-1:] != (model.n_in,):
        raise ArgumentError(f"x has shape {x.shape}, but its last axis must hold the {model.n_in} inputs")
    rows = jnp.reshape(x, (-1, model.n_in))
    if "scale" in numbers:
        rows = rows * numbers["scale"][0]
    if "standardize" in numbers:
        mean, std = numbers["standardize"]
        rows = (rows - mean) / std
    y_std, y_mean = numbers.get("rescale", (jnp.ones(model.n_out, x.dtype), 0.0))
    a = forward(layers, sigmas, rows, jnp)[1][-1] * y_std + y_mean
    if "laplace" in numbers:
        factor, noise = numbers["laplace"]
        std, n = outputs_with_stds(sigmas, layers, factor, noise, rows, jnp)[..., 1], noise.shape[-1]
        a = jnp.stack([a[..., :n], std * y_std[:n]], axis=-1)
    return jnp.reshape(a, (*x.shape[:-1], *a.shape[1:]))
