"""NetworkValue: everything that changes in a network, as one value."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import Array, Layers, map_arrays
from xpnet.core.calibration import Calibration
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model, Seeds
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaler, Scaling
from xpnet.core.step import State
from xpnet.state.history import History
from xpnet.state.member import MemberState, whole
from xpnet.state.provenance import Provenance

FITTED_TO_WEIGHTS: dict[str, Any] = {"calibration": None, "laplace": None}  # the fields that other weights empty


class Objective(NamedTuple):
    """Slopes or equations that the weights were fitted to, besides targets or in place of them.

    Parameters
    ----------
    slope_weight
        The weight of the slopes of targets; 0 without them.
    coefficients
        The first and the present values of the coefficients of the equations that `solve` fitted them to, by their
        names; None if there are no equations.
    """

    slope_weight: float = 0.0
    coefficients: Mapping[str, tuple[float, float]] | None = None


class NetworkValue(NamedTuple):
    """Everything that changes in a network, as one value. What trains a network maps one value to the next.

    Nobody writes into its arrays, so values may share them. Only the history of a training that goes on gets longer,
    and `notes` is the user's.

    Parameters
    ----------
    model
        The structure of the network that it is a value of.
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
    scaling
        The scaling by which inputs and targets are standardized, if any.
    feature_names
        The names of the inputs, if they are known.
    calibration
        What corrects error bars, quantiles or probabilities, if anything.
    laplace
        How uncertain the weights are, if it has been fitted to them.
    novelty
        What the training inputs are like, if it has been fitted to them.
    objective
        What the weights were fitted to in the last training, besides targets.
    """

    model: Model
    stored: State | MemberState
    optimizer: Optimizer
    generator: Mapping[str, Any]
    seeds: Seeds
    provenance: Provenance
    history: History
    notes: dict[str, Any]
    scaling: Scaler | None = None
    feature_names: tuple[str, ...] | None = None
    calibration: Calibration | None = None
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
    def exact_scaling(self) -> Scaling | None:
        """The scaling in NumPy arrays of float64."""
        return None if self.scaling is None else self.scaling.exact

    def map_state(self, function: Callable[[Array], Array]) -> NetworkValue:
        """Apply a function to every array of the state, and copy history and notes."""
        state, history, notes = map_arrays(function, self.state), *copy.deepcopy((self.history, self.notes))
        return self._replace(stored=state, history=history, notes=notes)

    def detached(self) -> NetworkValue:
        """Return it with a state of its own: a part of a joined state keeps all of that in memory."""
        return self if isinstance(self.stored, State) else self._replace(stored=whole(self.stored))


def make_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """Make a generator in a state."""
    generator = np.random.Generator(np.random.PCG64(0))
    generator.bit_generator.state = state
    return generator
