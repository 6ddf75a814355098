"""The value of a network where it computes, and on the host."""

import numpy as np

from xpnet.backends import find_place
from xpnet.backends.base import Place
from xpnet.core.arrays import Layers
from xpnet.core.dropout import init_dropout
from xpnet.core.initializers import Initializer
from xpnet.core.model import Model, Seeds
from xpnet.core.optimizers import SGD, Optimizer, OptimizerState
from xpnet.core.step import State
from xpnet.data import place_scaling
from xpnet.value._history import History, Provenance, name_of
from xpnet.value._single_rows import SingleRows
from xpnet.value._value import Value
from xpnet.value.structure import draw_layer, find_seed, round_number


def copy_to_host(value: Value) -> Value:
    """Copy a value; its arrays become NumPy arrays, and its scaling an exact one. Synchronizes."""
    with value.scope():
        host = value.map_state(value.backend.to_numpy)
    return host._replace(place=find_place("numpy", None, value.dtype), scaling=value.exact_scaling)


def copy_to_device(value: Value, place: Place) -> Value:
    """Copy a value of `copy_to_host` to a place."""
    with place.scope():
        state = place.backend.copy_nest(value.state, place.dtype)
    scaling = None if value.scaling is None else place_scaling(value.scaling, value.model, place)  # type: ignore[arg-type]
    return value._replace(place=place, stored=state, scaling=scaling)


def copy_value(value: Value, place: Place) -> Value:
    """Copy a value to a place, in its dtype."""
    if place == value.place:
        return value.map_state(value.backend.copy)._replace(place=place)  # stays on the device
    host = copy_to_host(value)
    new = copy_to_device(host, place)
    if place.dtype == value.dtype:
        return new
    # Hyperparameters, and the factors of dropout, are rounded from their exact values
    state, fresh = new.state, init_state(host.layers, value.optimizer, value.seeds, value.model, place)
    optimizer = fresh.optimizer._replace(memory=state.optimizer.memory)
    dropout = state.dropout and fresh.dropout and state.dropout._replace(scales=fresh.dropout.scales)
    return new._replace(stored=state._replace(optimizer=optimizer, dropout=dropout))


def init_value(model: Model, initializer: Initializer | None, entropy: np.random.SeedSequence, place: Place) -> Value:
    """Make the first value of a network, with random weights and biases."""
    rng = np.random.Generator(np.random.PCG64(entropy))
    seeds = Seeds(*(int(child.generate_state(1)[0]) for child in entropy.spawn(2)))
    initializers = [initializer or sigma.initializer for sigma in model.sigmas]
    layers = tuple(draw_layer(own, rng, n_in, n_out) for (n_out, n_in), own in zip(model.shapes, initializers))
    names = [name_of(own) for own in initializers]
    names = names[:1] if len(set(names)) == 1 else names
    optimizer, provenance = SGD(), Provenance(find_seed(entropy), ", ".join(names))
    state = init_state(layers, optimizer, seeds, model, place)
    return Value(
        model, place, state, optimizer, rng.bit_generator.state, seeds, provenance, History(), {}, SingleRows()
    )


def init_state(layers: Layers, optimizer: Optimizer, seeds: Seeds, model: Model, place: Place) -> State:
    """Make the first state of a network, from initial weights and biases in NumPy arrays."""
    with place.scope():
        nest = layers, np.zeros(1), init_dropout(seeds.dropout, model.dropout)
        layers, cost, dropout = place.backend.copy_nest(nest, place.dtype)
    return State(layers, init_optimizer(optimizer, layers, place), cost, dropout)


def init_optimizer(optimizer: Optimizer, layers: Layers, place: Place) -> OptimizerState:
    """Make a fresh state of an optimizer for weights and biases."""
    backend, dtype, _ = place
    with place.scope():
        return optimizer.init(layers, lambda number: backend.asarray(round_number(number, dtype), dtype))


def change_optimizer(value: Value, optimizer: Optimizer) -> Value:
    """Return a value with another optimizer, in a fresh state."""
    memory = init_optimizer(optimizer, value.layers, value.place)
    return value._replace(stored=value.state._replace(optimizer=memory), optimizer=optimizer)
