"""Value: what a network is, for what trains it and for what only reads it; Moment: how far its training has come."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from xpnet.backends import Backend
from xpnet.backends.base import Place
from xpnet.core.arrays import Array, Layers, Namespace, map_arrays
from xpnet.core.calibration import Calibration, correct_quantiles, find_shifts
from xpnet.core.laplace import Laplace
from xpnet.core.members import MemberState, whole
from xpnet.core.model import Model, Seeds
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.core.temperature import temper
from xpnet.data import PlacedScaling
from xpnet.data.reader import Reader
from xpnet.data.sampling import Order
from xpnet.value._history import History, Provenance
from xpnet.value._single_rows import SingleRows

NO_SETTINGS = nullcontext()
FITTED_TO_WEIGHTS: dict[str, Any] = {"calibration": None, "shared": None, "laplace": None}  # once weights change


class Objective(NamedTuple):
    """Slopes or equations that the weights were fitted to, besides targets or in place of them.

    Parameters
    ----------
    slope_weight
        The weight of the slopes of targets, a number or one for each input; 0 without them.
    coefficients
        The first and the present values of the coefficients of the equations that `solve` fitted them to, and whether
        the present one is a bound, by their names; None if there are no equations.
    """

    slope_weight: float | list[float] = 0.0
    coefficients: Mapping[str, tuple[float, float, bool]] | None = None


class Value(NamedTuple):
    """The state of a network at one moment, and the place where it computes. Training maps one value to the next.

    Nobody writes into its arrays, so values may share them. Only the history of a training that goes on gets longer,
    and `notes` is the user's.

    Parameters
    ----------
    model
        The structure of the network that it is a value of.
    place
        Where it computes, and in which dtype.
    stored
        What changes from step to step: layers, and the states of optimizer and dropout; or the part of a joined state
        that it can be copied from.
    optimizer
        The optimizer that the state belongs to.
    generator
        The state of the generator that draws minibatches.
    seeds
        Seeds of dropout and of the validation split.
    provenance
        How the network was made and trained.
    history
        The history of the last training.
    notes
        Plain values of the user's.
    single_rows
        Computes outputs for one row at a time; it may have recorded how.
    scaling
        The scaling by which inputs and targets are standardized, if any.
    feature_names
        The names of the inputs, if they are known.
    calibration
        What corrects error bars, quantiles or probabilities, if anything.
    shared
        The number of networks of the ensemble that it is a member of, and what corrects the ensemble's, if anything.
    laplace
        How uncertain the weights are, if it has been fitted to them.
    novelty
        What the training inputs are like, if it has been fitted to them.
    objective
        What the weights were fitted to in the last training, besides targets.
    """

    model: Model
    place: Place
    stored: State | MemberState
    optimizer: Optimizer
    generator: Mapping[str, Any]
    seeds: Seeds
    provenance: Provenance
    history: History
    notes: dict[str, Any]
    single_rows: SingleRows
    scaling: PlacedScaling | None = None
    feature_names: tuple[str, ...] | None = None
    calibration: Calibration | None = None
    shared: tuple[int, Calibration] | None = None
    laplace: Laplace | None = None
    novelty: Novelty | None = None
    objective: Objective = Objective()

    @property
    def state(self) -> State:
        """The layers, and the states of the optimizer and dropout."""
        return whole(self.stored)

    @property
    def layers(self) -> Layers:
        """The weights and biases."""
        return self.stored.layers

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make a network like this one."""
        return self.model.settings(self.dtype)

    @property
    def backend(self) -> Backend:
        """Where it computes."""
        return self.place.backend

    @property
    def dtype(self) -> str:
        """The dtype of its weights and of all computations."""
        return self.place.dtype

    @property
    def xp(self) -> Namespace:
        """Namespace of the arrays."""
        return self.place.backend.xp

    @property
    def reader(self) -> Reader:
        """The reader that moves inputs and targets to this network."""
        return Reader(self.model, self.place, self.scaling, self.feature_names)

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.place.scope()

    @property
    def exact_scaling(self) -> Scaling | None:
        """The scaling in NumPy arrays of float64."""
        return None if self.scaling is None else self.scaling.exact

    # Outputs, in the units of the targets

    @property
    def output_dtype(self) -> str:
        """The dtype of outputs in the units of the targets: float64 if the network's dtype cannot hold them."""
        return "float64" if self.scaling is not None and self.scaling.widens else self.dtype

    def output_scope(self) -> AbstractContextManager[Any]:
        """Enter, within `scope`, the settings for computing outputs in the units of the targets."""
        if self.scaling is None or not self.scaling.widens:
            return NO_SETTINGS  # fast path: predicting one example takes microseconds
        return self.backend.scope(self.output_dtype)

    @property
    def target_scaling(self) -> tuple[Array, Array] | None:
        """Mean and standard deviation of the targets, (1, n_targets) each, in the dtype of outputs, if any."""
        return None if self.scaling is None else self.scaling.of_targets

    @property
    def output_scaling(self) -> tuple[Array, Array] | None:
        """The shift and the factor, (1, n_out) each, that bring outputs to the units of the targets, if any."""
        scaling = self.target_scaling
        if scaling is None or not self.model.cost.has_distribution:
            return scaling
        with self.output_scope():
            return self.model.cost.output_scaling(*scaling, self.xp)

    def scale_back(self, a: Array) -> Array:
        """Bring outputs to the units of the targets."""
        return a if self.scaling is None else self._rescale(a, self.output_scaling)

    def scale_targets_back(self, y: Array) -> Array:
        """Bring standardized targets back to their units."""
        return self._rescale(y, self.target_scaling)

    def _rescale(self, a: Array, scaling: tuple[Array, Array] | None) -> Array:
        if scaling is None:
            return a
        shift, factor = scaling
        if not self.scaling.widens:  # type: ignore[union-attr]
            return a * factor + shift  # fast path: predicting one example takes microseconds
        with self.output_scope():
            return self.backend.asarray(a, self.output_dtype) * factor + shift

    def choose_points(self, blocks: Sequence[Array]) -> Array:
        """Choose one number for each target, (m, n_targets), from `Cost.blocks` in the units of the targets."""
        cost, xp = self.model.cost, self.xp
        if cost.levels and self.calibration is not None and self.calibration.errors is not None:
            shifts = self.backend.asarray(find_shifts(self.calibration.errors, cost.levels), self.output_dtype)
            corrected = correct_quantiles(xp.stack([*blocks], axis=-1), shifts, cost.levels, xp)
            blocks = [corrected[..., k] for k in range(len(blocks))]
        return cost.choose_point(blocks)

    @property
    def temperature(self) -> float | None:
        """The temperature of calibrated probabilities, if there is one."""
        return None if self.calibration is None else self.calibration.temperature

    @property
    def calibrated_layers(self) -> Layers:
        """The weights and biases with which outputs are at the temperature; the network's own without one."""
        if self.temperature is None:
            return self.layers
        with self.scope():
            return temper(self.layers, self.temperature)

    # Other values

    def map_state(self, function: Callable[[Array], Array]) -> Value:
        """Apply a function to every array of the state, and copy history and notes."""
        state, history, notes = map_arrays(function, self.state), *copy.deepcopy((self.history, self.notes))
        return self._replace(stored=state, history=history, notes=notes, single_rows=SingleRows())

    def detached(self) -> Value:
        """Return it with a state of its own: a part of a joined state keeps all of that in memory."""
        return self if isinstance(self.stored, State) else self._replace(stored=whole(self.stored))


NO_CALL: Mapping[str, Any] = {}  # nobody writes into it


class Moment(NamedTuple):
    """A network and how far its training has come. A job begins with one, a file holds one, a stream ends with one.

    Examples
    --------
    >>> moment = Moment(None).after_chunk(None, (4, 10), cost=12.0, weight=40.0, lr=0.5, seconds=0.1)
    >>> moment.steps, moment.examples, moment.row()["cost"]
    (4, 40, 0.3)
    >>> moment.next_epoch()[1:4]
    (2, 0, 4)
    """

    value: Value  # all that changes in the network
    epoch: int = 1  # the epoch of the next step, counted from 1
    steps: int = 0  # minibatches of this epoch that have been trained on
    total_steps: int = 0  # the same, over all epochs
    examples: int = 0  # examples of this epoch that have been trained on
    cost: float = 0.0  # sum of their costs times their weights
    weight: float = 0.0  # sum of their weights
    lr: float = 0.0  # of the last step
    seconds: float = 0.0  # that this epoch has taken
    generator: Mapping[str, Any] | None = None  # its state before this epoch's minibatches were drawn; None: as it is
    order: Order | None = None  # of the examples before this epoch, if the sampling has one
    lr_scale: float = 1.0  # multiplies the schedule
    stopped: bool = False  # whether training ends after this epoch
    error: str = ""  # of steps that gave numbers that are not finite, with which the training has ended
    group: int | None = None  # of networks that take their steps in one program; None before the first step
    # In a file: what must be the same when the training is resumed, and for each callback its "name" and "values"
    call: Mapping[str, Any] = NO_CALL
    callbacks: Sequence[Mapping[str, Any]] = ()

    @property
    def has_begun(self) -> bool:
        """Whether the training that it is of has begun; else it is where a training may begin."""
        return self.total_steps > 0 or bool(self.call)

    def after_chunk(
        self, value: Value, shape: tuple[int, int], cost: float, weight: float, lr: float, seconds: float
    ) -> Moment:
        """Move past a chunk of minibatches, of the shape (steps, examples in each), which led to a new value."""
        steps, m = shape
        return self._replace(
            value=value,
            steps=self.steps + steps,
            total_steps=self.total_steps + steps,
            examples=self.examples + steps * m,
            cost=self.cost + cost,
            weight=self.weight + weight,
            lr=lr,
            seconds=seconds,
        )

    def next_epoch(self, order: Order | None = None) -> Moment:
        """Move to the beginning of the next epoch, with the order after this one."""
        return self._replace(
            epoch=self.epoch + 1,
            order=order,
            steps=0,
            examples=0,
            cost=0.0,
            weight=0.0,
            lr=0.0,
            seconds=0.0,
            generator=None,
        )

    def row(self) -> dict[str, Any]:
        """Make the row of the history for an epoch that has ended."""
        return {
            "epoch": self.epoch,
            "cost": self.cost / self.weight if self.weight else math.nan,
            "lr": self.lr,
            "seconds": self.seconds,
            "examples_per_second": self.examples / self.seconds if self.seconds else math.nan,
        }
