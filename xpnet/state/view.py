"""View: a network at one moment, for everything that only reads it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from xpnet.backends import Backend
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.calibration import Calibration, correct_points, find_shifts
from xpnet.core.model import Model
from xpnet.core.scaling import Scaler
from xpnet.core.temperature import temper
from xpnet.data.place import Place
from xpnet.data.reader import Reader
from xpnet.state.single_rows import SingleRows
from xpnet.state.value import NetworkValue

NO_SETTINGS = nullcontext()


class View(NamedTuple):
    """A network at one moment: its value, and where it computes. Training never writes into its arrays.

    Parameters
    ----------
    value
        Everything that changes in it.
    place
        Where it computes, and in which dtype.
    single_rows
        Computes the outputs for single rows.
    """

    value: NetworkValue
    place: Place
    single_rows: SingleRows

    @property
    def model(self) -> Model:
        """The structure of the network."""
        return self.value.model

    @property
    def backend(self) -> Backend:
        """Where it computes."""
        return self.place.backend

    @property
    def dtype(self) -> str:
        """The dtype of its weights and of all computations."""
        return self.place.dtype

    @property
    def layers(self) -> Layers:
        """Its weights and biases."""
        return self.value.stored.layers

    @property
    def scaling(self) -> Scaler | None:
        """The scaling by which inputs and targets are standardized, if any."""
        return self.value.scaling

    @property
    def calibration(self) -> Calibration | None:
        """The calibration of its error bars, quantiles or probabilities, if any."""
        return self.value.calibration

    @property
    def xp(self) -> Namespace:
        """Namespace of the arrays."""
        return self.backend.xp

    @property
    def reader(self) -> Reader:
        """The reader that moves inputs and targets to this network."""
        return Reader(self.model, self.place, self.value.scaling, self.value.feature_names)

    @property
    def output_dtype(self) -> str:
        """The dtype of outputs in the units of the targets: float64 if the network's dtype cannot hold them."""
        scaling = self.scaling
        return "float64" if scaling is not None and scaling.widens else self.dtype

    @property
    def target_scaling(self) -> tuple[Array, Array] | None:
        """Mean and standard deviation of the targets, (1, n_targets) each, in the dtype of outputs, if any."""
        scaling = self.scaling
        if scaling is None:
            return None
        exact, rounded, widens = scaling.exact, scaling.rounded, scaling.widens
        mean, std = (exact.y_mean, exact.y_std) if widens else (rounded.y_mean, rounded.y_std)
        if mean is None or std is None:
            return None
        return (self.backend.asarray(mean), self.backend.asarray(std)) if widens else (mean, std)

    @property
    def output_scaling(self) -> tuple[Array, Array] | None:
        """The shift and the factor, (1, n_out) each, that bring outputs to the units of the targets, if any."""
        scaling = self.target_scaling
        if scaling is None or self.model.cost.distribution is None:
            return scaling
        with self.output_scope():
            return self.model.cost.output_scaling(*scaling, self.xp)

    def scale_back(self, a: Array) -> Array:
        """Bring outputs to the units of the targets."""
        if self.value.scaling is None:
            return a  # fast path: predicting one example takes microseconds
        return self._rescale(a, self.output_scaling)

    def choose_points(self, a: Array) -> Array:
        """Turn outputs in the units of the targets into one number for each target."""
        cost, xp = self.model.cost, self.xp
        if self.calibration is None or self.calibration.errors is None or not cost.levels:
            return cost.point(a, xp)
        shifts = self.backend.asarray(find_shifts(self.calibration.errors, cost.levels), self.output_dtype)
        return correct_points(xp.stack(cost.blocks(a, xp), axis=-1), shifts, cost, xp)

    @property
    def calibrated(self) -> View:
        """The network whose outputs are the calibrated probabilities of a classification; itself without these."""
        calibration = self.value.calibration
        if calibration is None or calibration.temperature is None:
            return self
        with self.scope():
            layers = temper(self.layers, calibration.temperature)
        value = self.value._replace(stored=self.value.state._replace(layers=layers), calibration=None)
        return self._replace(value=value, single_rows=SingleRows())

    def with_calibration(self, calibration: Calibration | None) -> View:
        """Return the network with another calibration, such as that of the ensemble in which it is."""
        return self._replace(value=self.value._replace(calibration=calibration))

    def scale_targets_back(self, y: Array) -> Array:
        """Bring standardized targets back to their units."""
        return self._rescale(y, self.target_scaling)

    def _rescale(self, a: Array, scaling: tuple[Array, Array] | None) -> Array:
        if scaling is None:
            return a
        shift, factor = scaling
        if not self.scaling.widens:  # type: ignore[union-attr]
            return a * factor + shift
        with self.output_scope():
            return self.backend.asarray(a, self.output_dtype) * factor + shift

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        backend, dtype = self.place
        return backend.scope(dtype)

    def output_scope(self) -> AbstractContextManager[Any]:
        """Enter, within `scope`, the settings for computing outputs in the units of the targets."""
        scaling = self.value.scaling
        if scaling is None or not scaling.widens:
            return NO_SETTINGS  # fast path: predicting one example takes microseconds
        return self.backend.scope(self.output_dtype)
