"""A network as a list of parts, in the order in which inputs pass through them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

__all__ = [
    "Part",
    "put_together",
    "require_network",
    "require_networks",
    "take_apart",
    "warn_of_calibration",
    "warn_of_losses",
]


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


def require_network(net: Any, kinds: str = "Network") -> Network:
    """Check that `net` is a network; for an ensemble or an estimator, the message says where its networks are."""
    if isinstance(net, Network):
        return net
    kind, remedy = type(net).__name__, f"give a {kinds}"
    if isinstance(net, Ensemble):
        remedy = "give its members one by one, as in net[0]"
    elif hasattr(net, "ensemble_"):
        remedy = "give its ensemble, net.ensemble_"
        if "Ensemble" not in kinds:
            remedy = "give the networks of its members one by one, as in net.ensemble_[0]"
    elif hasattr(net, "network_"):
        remedy = "give its network, net.network_"
    raise ArgumentError(f"net must be a {kinds}, not of type {kind}; {remedy}")


def require_networks(net: Any) -> list[Network]:
    """Check that `net` is a network or an ensemble, and list its networks."""
    return [*net] if isinstance(net, Ensemble) else [require_network(net, "Network or an Ensemble")]


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


def warn_of_losses(net: Network | Ensemble, *, takes_table: bool = False) -> None:
    """Warn of what a network loses when it is exported: error bars, the corrections of a calibration, and digits.

    What takes the columns of a table gets them in float64, and loses none of their digits.
    """
    warn_of_calibration(net)
    _warn_of_rounding(require_networks(net), of_inputs=not takes_table)


def warn_of_calibration(net: Network | Ensemble) -> None:
    """Warn that what is exported has no error bars, or that they or quantiles are not calibrated in it."""
    networks = require_networks(net)
    cost = networks[0].value.model.cost
    if any(network.value.laplace is not None for network in networks):
        warn("what is exported lacks the error bars of fit_laplace: net.predict(x, return_std=True) has them")
        return
    if net.calibration is None or (isinstance(net, Ensemble) and cost.distribution is None):
        return  # of such an ensemble only the mean is exported
    constant = ", which is the same for every x"
    if cost.levels:
        remedy = f"to each of its quantiles, add the amount by which net.predict(x) exceeds it{constant}"
    elif isinstance(net, Ensemble):
        remedy = "the calibrated standard deviations are those of net.predict(x, return_std=True)"
    elif cost.has_std:
        remedy = f"multiply its standard deviations by net.predict_std(x) divided by them{constant}"
    else:
        remedy = f"add and subtract half of the length of net.interval(x){constant}"
    warn(f"the network is calibrated, and what is exported is not: it predicts as before calibrate; {remedy}")


def _warn_of_rounding(networks: Sequence[Network], *, of_inputs: bool = True) -> None:
    """Warn of inputs and targets that are so far from 0 that one dtype cannot hold their differences."""
    scalings = [net.value.scaling.exact for net in networks if net.value.scaling is not None and net.dtype == "float32"]
    far = [
        name
        for name, are_far in (
            ("inputs", of_inputs and any(scaling.has_far_inputs for scaling in scalings)),
            ("targets", any(scaling.has_far_targets for scaling in scalings)),
        )
        if are_far
    ]
    if far:
        warn(
            f"the network was trained on {' and '.join(far)} so far from 0 that float32 rounds off much of their "
            'differences, and an exported network computes in one dtype; export net.to(dtype="float64") (in the shell: '
            "xpnet export --dtype float64)"
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
    plan = _Plan(source)
    for part in parts:
        plan.add(part)
    return plan.make(settings)


class _Plan:
    """Collects the settings of a network while its parts are read in order."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.scale: float | None = None
        self.inputs: tuple[Any, Any] | None = None  # mean and standard deviation
        self.outputs: tuple[Any, Any] | None = None  # factor and shift
        self.levels: tuple[float, ...] = ()  # of quantiles that are sorted
        self.layers: list[tuple[Any, Any]] = []
        self.sigmas: list[Activation | None] = []
        self.rates: list[float | None] = [None]  # of the inputs and of each layer; None where no part gives one

    def add(self, part: Part) -> None:
        """Add the next part."""
        if self.levels:
            self._refuse(part, "comes after the quantiles are sorted; nothing may follow")
        if self.outputs is not None and part.kind != "sort":
            self._refuse(part, "comes after the outputs are scaled back; only sorting may follow")
        getattr(self, f"_add_{part.kind}")(part, *part.values)

    def _add_flatten(self, part: Part) -> None:
        if self.layers:
            self._refuse(part, "comes after a linear layer; move it to the front")

    def _add_scale(self, part: Part, factor: Any) -> None:
        if self.layers or self.inputs is not None or self.scale is not None:
            self._refuse(part, "does not come first; a network scales its inputs alone, and once")
        self.scale = float(factor)

    def _add_standardize(self, part: Part, mean: Any, std: Any) -> None:
        if self.layers or self.inputs is not None or self.scale is not None:
            self._refuse(part, "does not come first; a network scales its inputs alone, and once")
        self.inputs = mean, std

    def _add_dense(self, part: Part, w: Any, b: Any) -> None:
        if self.layers and w.shape[1] != (n_out := self.layers[-1][0].shape[0]):
            self._refuse(part, f"has {w.shape[1]} inputs, but the layer before has {n_out} outputs; they must match")
        self.layers.append((w, b))
        self.sigmas.append(None)
        self.rates.append(None)

    def _add_activation(self, part: Part, sigma: Activation) -> None:
        if sigma == identity:
            return
        if not self.layers:
            self._refuse(
                part, "comes before the first linear layer; inputs have no activation, so apply it to the data"
            )
        if self.sigmas[-1] is not None:
            self._refuse(part, "follows another activation; a layer has one, so leave one out")
        if self.rates[-1] is not None:
            self._refuse(part, "follows the dropout of its layer; put the dropout after the activation")
        self.sigmas[-1] = sigma

    def _add_dropout(self, part: Part, rate: float) -> None:
        if self.rates[-1] is not None:
            self._refuse(part, "follows another dropout; leave one out")
        self.rates[-1] = float(rate)

    def _add_rescale(self, part: Part, factor: Any, shift: Any) -> None:
        if not self.layers:
            self._refuse(part, "comes before the first linear layer; it is for outputs")
        self.outputs = factor, shift

    def _add_sort(self, part: Part, levels: Any) -> None:
        if not self.layers:
            self._refuse(part, "comes before the first linear layer; it is for outputs")
        self.levels = tuple(float(level) for level in levels)

    def _refuse(self, part: Part, reason: str) -> None:
        raise ArgumentError(f"{self.source}: {part.place} {reason}")

    def make(self, settings: dict[str, Any]) -> Network:
        """Make the network."""
        if not self.layers:
            raise ArgumentError(f"{self.source} has no linear layer; a network needs at least one")
        if self.rates[-1]:
            raise ArgumentError(f"{self.source} ends in dropout; outputs are not dropped, so leave it out")
        *hidden, output = (identity if sigma is None else sigma for sigma in self.sigmas)
        if self.levels and settings["cost"] is None:
            settings["cost"] = make_quantile(*self.levels).name
        if settings["task"] is None and settings["cost"] is None:
            settings["cost"] = output.usual_cost
        if settings["dtype"] is None:
            settings["dtype"] = self._find_dtype()
        standardize = self.inputs is not None or self.outputs is not None
        net = Network(
            [self.layers[0][0].shape[1], *(w.shape[0] for w, _ in self.layers)],
            activation=hidden or "identity",
            output_activation=output,
            dropout=[rate or 0.0 for rate in self.rates[:-1]],
            scale=self.scale,
            standardize=standardize,
            init="zeros",
            **settings,
        )
        if self.levels and len(net.value.model.cost.levels) != len(self.levels):
            raise ArgumentError(
                f"{self.source} sorts quantiles of {len(self.levels)} levels, but cost={net.cost_name!r} does not have "
                "them; leave out cost and task"
            )
        net.layers = self.layers
        if standardize:
            net.scaling = self._make_scaling(net)
        return net

    def _find_dtype(self) -> str:
        names = {str(array.dtype) for layer in self.layers for array in layer}
        if names <= {"float32", "float64"}:
            return max(names)
        raise ArgumentError(
            f'{self.source} has weights of dtype {min(names - {"float32", "float64"})}; give dtype="float32" or '
            'dtype="float64" to convert them'
        )

    def _make_scaling(self, net: Network) -> Scaling:
        n_in, n_targets = net.sizes[0], net.value.model.n_targets
        mean, std = self.inputs or (np.zeros(n_in), np.ones(n_in))
        if self.outputs is None and net.task != "regression":
            return Scaling(mean[None, :], std[None, :])
        factor, shift = self.outputs or (np.ones(n_targets), np.zeros(n_targets))
        # If a cost has several outputs for each target, the first ones move with the targets
        return Scaling(mean[None, :], std[None, :], shift[None, :n_targets], factor[None, :n_targets])
