"""The value of a network where it computes, and on the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.checks import show
from xpnet.core.arrays import Layers, leaves, map_arrays
from xpnet.core.dropout import init_dropout
from xpnet.core.initializers import Initializer
from xpnet.core.model import Model, Seeds
from xpnet.core.optimizers.base import Optimizer, OptimizerState
from xpnet.core.optimizers.sgd import SGD
from xpnet.core.step import State
from xpnet.data.place import Place
from xpnet.data.scaling import place_scaling
from xpnet.errors import ArgumentError
from xpnet.state.history import History
from xpnet.state.provenance import Provenance, name_of
from xpnet.state.structure import draw_layer, find_seed, round_number
from xpnet.state.value import NetworkValue
from xpnet.state.view import View


def to_host(view: View) -> NetworkValue:
    """Copy the value of a network; its arrays become NumPy arrays, and its scaling an exact one. Synchronizes."""
    with view.scope():
        value = view.value.map_state(view.backend.to_numpy)
    return value._replace(scaling=value.exact_scaling)


def to_device(value: NetworkValue, view: View) -> NetworkValue:
    """Copy a value of `to_host` to where a network computes."""
    with view.scope():
        state = view.backend.copy_nest(value.state, view.dtype)
    scaling = None if value.scaling is None else place_scaling(value.scaling, view.model, view.place)  # type: ignore[arg-type]
    return value._replace(stored=state, scaling=scaling)


def check_value(value: Any, view: View) -> NetworkValue:
    """Refuse what is not the value of a network like this one, at the same place."""
    if not isinstance(value, NetworkValue) or not _fits(value, view):
        raise _refuse("value", value, view)
    return value


def check_state(state: Any, view: View) -> State:
    """Refuse what is not the state of a network like this one, at the same place."""
    if not isinstance(state, State) or not _fits(view.value._replace(stored=state, calibration=None), view):
        raise _refuse("state", state, view)
    return state


def _refuse(name: str, given: Any, view: View) -> ArgumentError:
    return ArgumentError(
        f"{name} must be an earlier {name} of this network, or that of one with the same arguments, in {view.dtype} on "
        f"{view.backend.name}, and is {show(given)}"
    )


def _fits(value: NetworkValue, view: View) -> bool:
    """Tell whether a value has the structure of a network's own, and the state of its optimizer."""
    arrays, own = (leaves((one.state.layers, one.state.dropout)) for one in (value, view.value))
    if [(type(x), x.shape, x.dtype) for x in arrays] != [(type(x), x.shape, x.dtype) for x in own]:
        return False
    fresh = init_optimizer(value.optimizer, view.layers, view.place)
    if _find_shapes(value.state.optimizer) != _find_shapes(fresh):
        return False
    if value.calibration is not None and (value.calibration.errors is None) == (view.model.task == "regression"):
        return False
    if value.scaling is None:
        return True
    x_mean, _, y_mean, _ = value.scaling.exact
    y_fits = y_mean is None or (view.model.scales_targets and y_mean.shape == (1, view.model.n_targets))
    return x_mean.shape == (1, view.model.n_in) and y_fits


def _find_shapes(optimizer: OptimizerState) -> Any:
    return map_arrays(lambda x: (tuple(x.shape), x.dtype), optimizer)


def copy_value(view: View, new: View) -> NetworkValue:
    """Copy the value of a network to where `new` computes, in its dtype."""
    if new.place == view.place:
        return view.value.map_state(view.backend.copy)  # stays on the device
    value = to_device(to_host(view), new)
    if new.dtype == view.dtype:
        return value
    # Hyperparameters are rounded from their exact values
    fresh = init_optimizer(value.optimizer, value.layers, new.place)
    optimizer = fresh._replace(memory=value.state.optimizer.memory)
    return value._replace(stored=value.state._replace(optimizer=optimizer))


def init_value(
    model: Model, initializer: Initializer | None, entropy: np.random.SeedSequence, place: Place
) -> NetworkValue:
    """Make the first value of a network, with random weights and biases."""
    rng = np.random.Generator(np.random.PCG64(entropy))
    seeds = Seeds(*(int(child.generate_state(1)[0]) for child in entropy.spawn(2)))
    initializers = [initializer or sigma.initializer for sigma in model.sigmas]
    layers = tuple(draw_layer(own, rng, n_in, n_out) for (n_out, n_in), own in zip(model.shapes, initializers))
    names = [name_of(own) for own in initializers]
    names = names[:1] if len(set(names)) == 1 else names
    optimizer, provenance = SGD(), Provenance(find_seed(entropy), ", ".join(names))
    state = init_state(layers, optimizer, seeds, model, place)
    return NetworkValue(state, optimizer, rng.bit_generator.state, seeds, provenance, History(), {})


def init_state(layers: Layers, optimizer: Optimizer, seeds: Seeds, model: Model, place: Place) -> State:
    """Make the first state of a network, from initial weights and biases in NumPy arrays."""
    with place.scope():
        nest = layers, np.zeros(1), init_dropout(seeds.dropout, model.dropout)
        layers, cost, dropout = place.backend.copy_nest(nest, place.dtype)
    return State(layers, init_optimizer(optimizer, layers, place), cost, dropout)


def init_optimizer(optimizer: Optimizer, layers: Layers, place: Place) -> OptimizerState:
    """Make a fresh state of an optimizer for weights and biases."""
    backend, dtype = place
    with place.scope():
        return optimizer.init(layers, lambda number: backend.asarray(round_number(number, dtype), dtype))


def change_optimizer(value: NetworkValue, optimizer: Optimizer, view: View) -> NetworkValue:
    """Return the value of a network with another optimizer, in a fresh state; it lies where `view` computes."""
    memory = init_optimizer(optimizer, value.layers, view.place)
    return value._replace(stored=value.state._replace(optimizer=memory), optimizer=optimizer)
