"""The value of a network where it computes, and on the host."""

from dataclasses import replace

import numpy as np

from xpnet.backends import Backend
from xpnet.core.arrays import Layers
from xpnet.core.dropout import init_dropout
from xpnet.core.model import Model, Seeds
from xpnet.core.optimizers.base import Optimizer, OptimizerState
from xpnet.core.step import State
from xpnet.state.structure import round_number
from xpnet.state.value import NetworkValue
from xpnet.state.view import View


def to_host(view: View) -> NetworkValue:
    """Copy the value of a network; its arrays become NumPy arrays, and its scaling an exact one. Synchronizes."""
    with view.scope():
        value = view.value.map_state(view.backend.to_numpy)
    return replace(value, scaling=value.exact_scaling)


def to_device(value: NetworkValue, view: View) -> NetworkValue:
    """Copy a value of `to_host` to where a network computes."""
    with view.scope():
        state = view.backend.copy_nest(value.state, view.dtype)
    scaling = None if value.scaling is None else view.reader.place(value.scaling)  # type: ignore[arg-type]
    return replace(value, stored=state, scaling=scaling)


def init_state(layers: Layers, optimizer: Optimizer, seeds: Seeds, model: Model, backend: Backend, dtype: str) -> State:
    """Make the first state of a network, from initial weights and biases in NumPy arrays."""
    with backend.scope(dtype):
        layers, dropout = backend.copy_nest((layers, init_dropout(seeds.dropout, model.dropout)), dtype)
        cost = backend.copy_nest(np.zeros(1), dtype)
    return State(layers, init_optimizer(optimizer, layers, backend, dtype), cost, dropout)


def init_optimizer(optimizer: Optimizer, layers: Layers, backend: Backend, dtype: str) -> OptimizerState:
    """Make a fresh state of an optimizer for weights and biases."""
    with backend.scope(dtype):
        return optimizer.init(layers, lambda number: backend.asarray(round_number(number, dtype), dtype))


def change_optimizer(value: NetworkValue, optimizer: Optimizer, view: View) -> NetworkValue:
    """Return the value of a network with another optimizer, in a fresh state; it lies where `view` computes."""
    memory = init_optimizer(optimizer, value.layers, view.backend, view.dtype)
    return replace(value, stored=value.state._replace(optimizer=memory), optimizer=optimizer)
