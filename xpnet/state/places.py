"""The value of a network where it computes, and on the host."""

from typing import Any

import numpy as np

from xpnet.checks import show
from xpnet.core.arrays import Layers, leaves
from xpnet.core.dropout import init_dropout
from xpnet.core.model import Model, Seeds
from xpnet.core.optimizers.base import Optimizer, OptimizerState
from xpnet.core.step import State
from xpnet.data.place import Place
from xpnet.data.scaling import place_scaling
from xpnet.errors import ArgumentError
from xpnet.state.structure import round_number
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
    """Refuse what is not the value of such a network, at the same place."""
    if isinstance(value, NetworkValue):
        dtypes = {str(x.dtype).rpartition(".")[2] for x in leaves(value.layers)}
        is_here = all(isinstance(x, view.backend.array_type) for x in leaves(value.layers)) and dtypes == {view.dtype}
        if is_here and [tuple(w.shape) for w, _ in value.layers] == view.model.shapes:
            return value
    raise ArgumentError(
        f"value={show(value)} must be an earlier value of this network, or that of one with the sizes "
        f"{list(view.model.sizes)} in {view.dtype} on {view.backend.name}"
    )


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
