"""A network as a list of parts, in the order in which inputs pass through them, and back."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import warn
from xpnet.backends.base import cast
from xpnet.core.activations import Activation, identity
from xpnet.core.arrays import map_arrays
from xpnet.core.costs import make_quantile
from xpnet.core.scaling import Scaling
from xpnet.core.temperature import temper
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.value import Value

__all__ = [
    "Part",
    "put_together",
    "require_network",
    "require_networks",
    "take_apart",
    "take_laplace",
    "warn_of_calibration",
    "warn_of_losses",
]


# Which parts may follow each part
INPUTS = ("flatten", "scale", "standardize", "dropout", "dense")
OUTPUTS = ("dense", "rescale", "sort")
MAY_FOLLOW = {
    **{"start": INPUTS, "flatten": INPUTS, "scale": ("dropout", "dense"), "standardize": ("dropout", "dense")},
    **{"dense": ("activation", "dropout", *OUTPUTS), "activation": ("dropout", *OUTPUTS), "dropout": ("dense",)},
    **{"rescale": ("sort",), "sort": ()},
}
ORDER = "a scaling of inputs, layers of Linear, activation and Dropout, and a scaling of outputs, in this order"


class Part(NamedTuple):
    """One part of a network, and its numbers as NumPy arrays.

    Parameters
    ----------
    kind
        What the part computes from its inputs x, with its values:

        - "scale", (factor,): factor · x, of inputs
        - "standardize", (mean, std): (x − mean) / std, of inputs
        - "dense", (w, b): x wᵀ + b, with w of shape (n_out, n_in) and b of shape (n_out,)
        - "activation", (sigma,): σ(x), with an `Activation`
        - "dropout", (rate,): drops units in training
        - "rescale", (factor, shift): factor · x + shift, of outputs
        - "sort", (levels,): sorts quantiles of these levels in increasing order; the columns of x are the quantiles of
          all targets for the first level, then those for the second, and so on
        - "flatten", (): joins all axes after the first
    values
        Its numbers.
    place
        The layer of another library's model that it comes from, for messages.

    Examples
    --------
    >>> Part("dropout", (0.5,), "layer 2 (Dropout)").kind
    'dropout'
    """

    kind: str
    values: tuple[Any, ...] = ()
    place: str = ""


def require_networks(net: Any) -> list[Network]:
    """Check that `net` is a network or an ensemble, and list its networks."""
    if isinstance(net, Network):
        return [net]
    if isinstance(net, Ensemble):
        return [*net]
    inside = next((name for name in ("network_", "ensemble_") if hasattr(net, name)), None)
    remedy = f"; give net.{inside}" if inside else ""
    raise ArgumentError(f"net must be a Network or an Ensemble, not of type {type(net).__name__}{remedy}")


def require_network(net: Any) -> Network:
    """Check that `net` is one network."""
    if isinstance(net, Ensemble):
        raise ArgumentError("net must be a Network, not an Ensemble; give its members one by one, as in net[0]")
    return require_networks(net)[0]


def take_apart(net: Network, scaling_dtype: str | None = None, *, temperature: float | None = None) -> list[Part]:
    """List the parts of a network, with copies of its arrays on the host. Synchronizes.

    Means and standard deviations have the dtype of the network, or `scaling_dtype`; "float64" keeps all their digits.
    With the `temperature` of a calibration, the probabilities are the calibrated ones.

    Examples
    --------
    >>> [part.kind for part in take_apart(Network([784, 30, 10], scale=1 / 255, dropout=0.5))]
    ['scale', 'dense', 'activation', 'dropout', 'dense', 'activation']
    """
    value, parts, dtype = net.value, [], scaling_dtype or net.dtype
    scaling = None if value.scaling is None else map_arrays(lambda array: cast(array, dtype), value.scaling.exact)
    with value.scope():
        layers = value.layers if temperature is None else temper(value.layers, temperature)
        layers = map_arrays(lambda array: np.array(value.backend.to_numpy(array)), layers)
    if value.model.scale is not None:
        parts.append(Part("scale", (np.asarray(value.model.scale, value.dtype),)))
    if scaling is not None:
        parts.append(Part("standardize", (scaling.x_mean[0], scaling.x_std[0])))
    for (w, b), sigma, rate in zip(layers, value.model.sigmas, value.model.dropout):
        if rate:
            parts.append(Part("dropout", (rate,)))
        parts += [Part("dense", (w, b[0])), Part("activation", (sigma,))]
    if scaling is not None and scaling.y_mean is not None:
        shift, factor = value.model.cost.output_scaling(scaling.y_mean, scaling.y_std, np)
        parts.append(Part("rescale", (factor[0], shift[0])))
    if len(value.model.cost.levels) > 1:
        parts.append(Part("sort", (np.asarray(value.model.cost.levels),)))
    return parts


def take_laplace(value: Value) -> tuple[np.ndarray, ...]:
    """List the factor and the noise of a Laplace approximation, in the dtype of the network."""
    assert value.laplace is not None
    return tuple(part.astype(value.dtype) for part in value.laplace)


def warn_of_losses(net: Network | Ensemble, *, takes_table: bool = False, has_std: bool = False) -> None:
    """Warn of what a network loses when it is exported: error bars, the corrections of a calibration, and digits.

    What takes the columns of a table gets them in float64, and loses none of their digits. With `has_std`, the error
    bars are in what is exported, as `predict` returns them.
    """
    if not has_std:
        warn_of_calibration(net)
    networks = [member for member in require_networks(net) if member.value.scaling is not None]
    scalings = [member.value.scaling.exact for member in networks if member.dtype == "float32"]  # type: ignore[union-attr]
    if any(scaling.has_far_targets or (scaling.has_far_inputs and not takes_table) for scaling in scalings):
        warn(
            "the network was trained on numbers so far from 0 that float32 rounds off much of their differences, and "
            'an exported network computes in one dtype; export net.to(dtype="float64") (in the shell: xpnet export '
            "--dtype float64)"
        )


def warn_of_calibration(net: Network | Ensemble) -> None:
    """Warn that what is exported has no error bars, or that they or quantiles are not calibrated in it."""
    networks = require_networks(net)
    cost = networks[0].value.model.cost
    has_own_bars = cost.has_distribution or not isinstance(net, Ensemble)  # else only the mean is exported
    if any(network.value.laplace is not None for network in networks):
        warn(
            "what is exported lacks the error bars of fit_laplace: net.predict(x, return_std=True) has them; to_onnx "
            "and to_jax export them with return_std=True"
        )
    elif net.calibration is not None and has_own_bars:
        warn(
            "the network is calibrated, and what is exported is not: it predicts as before calibrate; quantiles, "
            "standard deviations and intervals are those of net.predict(x), net.predict(x, return_std=True) and "
            "net.interval(x), but for an amount or a factor that is the same for every x"
        )


def put_together(parts: Iterable[Part], source: str, **settings: Any) -> Network:
    """Make a network of parts.

    Parameters
    ----------
    parts
        The parts, in order.
    source
        The name of the argument that holds them, for messages.
    **settings
        Arguments of `Network`: task, cost, backend, device, dtype and seed. Without task and cost, the cost is the
        usual one for the output activation; without dtype, it is that of the weights.

    Raises
    ------
    ArgumentError
        If a network cannot have these parts in this order; the message names the layer.
    """
    parts = [part for part in parts if part.kind != "activation" or part.values[0] != identity]
    for before, part in pairwise([Part("start"), *parts]):
        if part.kind not in MAY_FOLLOW[before.kind]:
            raise ArgumentError(f"{source}: {part.place} is out of order; a network has {ORDER}")
    layers: list[tuple[Any, ...]] = []
    sigmas, rates, others = list[Activation](), [0.0], dict[str, tuple[Any, ...]]()
    for part in parts:
        match part.kind:
            case "dense":
                layers.append(part.values)
                sigmas.append(identity)
                rates.append(0.0)
            case "activation":
                sigmas[-1] = part.values[0]
            case "dropout":
                rates[-1] = float(part.values[0])
            case _:
                others[part.kind] = part.values
    if not layers or rates[-1]:
        raise ArgumentError(f"{source} must end in a linear layer, with or without activation; a network has {ORDER}")
    *hidden, output = sigmas
    settings["dtype"] = settings["dtype"] or max(str(array.dtype) for layer in layers for array in layer)
    levels = tuple(map(float, others.get("sort", ((),))[0]))
    if levels and settings["cost"] is None:
        settings["cost"] = make_quantile(*levels).name
    if settings["task"] is None and settings["cost"] is None:
        settings["cost"] = output.usual_cost
    net = Network(
        [layers[0][0].shape[1], *(w.shape[0] for w, _ in layers)],
        activation=hidden or "identity",
        output_activation=output,
        dropout=rates[:-1],
        scale=float(others["scale"][0]) if "scale" in others else None,
        standardize="standardize" in others or "rescale" in others,
        init="zeros",
        **settings,
    )
    if len(levels) > 1 and len(net.value.model.cost.levels) != len(levels):
        raise ArgumentError(
            f"{source} sorts quantiles of {len(levels)} levels, but cost={net.cost_name!r} does not have them; leave "
            "out cost and task"
        )
    net.layers = layers
    if net.standardize:
        net.scaling = _make_scaling(net, others)
    return net


def _make_scaling(net: Network, parts: Mapping[str, tuple[Any, ...]]) -> Scaling:
    n_in, n_targets = net.sizes[0], net.value.model.n_targets
    mean, std = parts.get("standardize", (np.zeros(n_in), np.ones(n_in)))
    if "rescale" not in parts and net.task != "regression":
        return Scaling(mean[None, :], std[None, :])
    factor, shift = parts.get("rescale", (np.ones(n_targets), np.zeros(n_targets)))
    # If a cost has several outputs for each target, the first ones move with the targets
    return Scaling(mean[None, :], std[None, :], shift[None, :n_targets], factor[None, :n_targets])
