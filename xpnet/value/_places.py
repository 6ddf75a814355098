"""The value of a network where it computes, and on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from xpnet._checks import show
from xpnet.backends import get_backend
from xpnet.core.arrays import Layers
from xpnet.core.calibration import Calibration
from xpnet.core.dropout import init_dropout
from xpnet.core.initializers import Initializer
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model, Seeds
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers import SGD
from xpnet.core.optimizers.base import Optimizer, OptimizerState, is_optimizer
from xpnet.core.scaling import Scaler
from xpnet.core.step import State
from xpnet.data.place import Place
from xpnet.data.scaling import place_scaling
from xpnet.errors import ArgumentError
from xpnet.value._history import History
from xpnet.value._member import MemberState
from xpnet.value._parts import (
    check_calibration,
    check_generator,
    check_laplace,
    check_novelty,
    check_objective,
    check_seeds,
)
from xpnet.value._provenance import Provenance, name_of
from xpnet.value._value import Objective, Value
from xpnet.value.structure import draw_layer, find_difference, find_seed, parse_feature_names, round_number

NONE = type(None)
KINDS: dict[str, type | tuple[type, ...]] = {  # of the parts of a value; files refuse notes that they cannot hold
    "model": Model,
    "place": Place,
    "stored": (State, MemberState),
    "generator": dict,
    "seeds": Seeds,
    "provenance": Provenance,
    "history": History,
    "scaling": (Scaler, NONE),
    "feature_names": (tuple, NONE),
    "calibration": (Calibration, NONE),
    "laplace": (Laplace, NONE),
    "novelty": (Novelty, NONE),
    "objective": Objective,
}
CHECKS: dict[str, Callable[[Any, Model], Any]] = {  # of parts that fit the model
    "generator": lambda generator, _: check_generator(generator),
    "seeds": lambda seeds, _: check_seeds(seeds._asdict()),
    "feature_names": lambda names, model: parse_feature_names(names, model.n_in),
    "calibration": check_calibration,
    "laplace": check_laplace,
    "novelty": check_novelty,
    "objective": lambda objective, _: check_objective(objective),
}


def to_host(value: Value) -> Value:
    """Copy a value; its arrays become NumPy arrays, and its scaling an exact one. Synchronizes."""
    with value.scope():
        host = value.map_state(value.backend.to_numpy)
    return host._replace(place=Place(get_backend("numpy"), value.dtype), scaling=value.exact_scaling)


def to_device(value: Value, place: Place) -> Value:
    """Copy a value of `to_host` to a place."""
    with place.scope():
        state = place.backend.copy_nest(value.state, place.dtype)
    scaling = None if value.scaling is None else place_scaling(value.scaling, value.model, place)  # type: ignore[arg-type]
    return value._replace(place=place, stored=state, scaling=scaling)


def check_value(value: Any, own: Value) -> Value:
    """Refuse what is not a value of a network with the same model and place, or has parts that do not fit it."""
    if not isinstance(value, Value):
        raise _refuse("value", own, f"it is {show(value)}")
    for name, kind in KINDS.items():
        if not isinstance(part := getattr(value, name), kind):
            raise _refuse("value", own, f"its {name} is {show(part)}")
    if value.place != own.place:
        raise _refuse("value", own, f"it is in {value.dtype} on {value.backend.name}")
    difference = find_difference(value.model, own.model)
    if difference is not None:
        raise _refuse("value", own, difference)
    try:
        for name, check in CHECKS.items():
            part = getattr(value, name)
            if part is not None and part is not getattr(own, name):
                check(part, own.model)
    except ArgumentError as error:
        raise _refuse("value", own, str(error)) from error
    if value.scaling is not None and value.scaling is not own.scaling:
        _check_scaling(value.scaling, own)
    if value.stored is not own.stored or value.optimizer is not own.optimizer:
        _check_arrays("value", value.state, value.optimizer, own)
    return value


def check_state(state: Any, own: Value) -> State:
    """Refuse what is not the state of a network with this value, or of one like it."""
    if not isinstance(state, State):
        raise _refuse("state", own, f"it is {show(state)}")
    _check_arrays("state", state, own.optimizer, own)
    return state


def _check_arrays(name: str, state: State, optimizer: Optimizer, own: Value) -> None:
    """Refuse a state whose arrays are others than those of the network, or than those that its optimizer has."""
    for part, expected in (("layers", own.layers), ("dropout", own.state.dropout)):
        if _outline(getattr(state, part)) != _outline(expected):
            raise _refuse(name, own, f"its {part} have other shapes, types or dtypes")
    if not is_optimizer(optimizer):
        raise _refuse(name, own, f"its optimizer is {show(optimizer)}")
    fresh = init_optimizer(optimizer, own.layers, own.place)
    if _outline(state.optimizer, typed=False) != _outline(fresh, typed=False):  # numbers need not be arrays
        raise _refuse(name, own, f"its optimizer has another state than that of {show(optimizer)}")


def _check_scaling(scaling: Scaler, own: Value) -> None:
    """Refuse a scaling for other inputs or targets, or of another place."""
    try:
        placed = place_scaling(scaling.exact, own.model, own.place)
    except (ArgumentError, AttributeError, TypeError) as error:  # it holds something else than arrays
        raise _refuse("value", own, f"its scaling does not fit: {error}") from error
    fits = [
        _outline(getattr(one, part)) for one in (scaling, placed) for part in ("exact", "rounded", "widens", "in_dtype")
    ]
    if fits[:4] != fits[4:]:
        raise _refuse("value", own, "its scaling has other shapes, types or dtypes")


def _outline(nest: Any, *, typed: bool = True) -> Any:
    """Describe the arrays of a nest by their shapes and dtypes, and by their types, which tell the libraries apart."""
    if isinstance(nest, tuple):
        return tuple(_outline(part, typed=typed) for part in cast("tuple[Any, ...]", nest))
    kind = cast("type[Any]", type(nest))
    return typed and kind, tuple(getattr(nest, "shape", ())), getattr(nest, "dtype", kind)


def _refuse(name: str, own: Value, problem: str) -> ArgumentError:
    return ArgumentError(
        f"{name} must be an earlier {name} of this network, or that of one with the same arguments, in {own.dtype} on "
        f"{own.backend.name}; {problem}"
    )


def copy_value(value: Value, place: Place) -> Value:
    """Copy a value to a place, in its dtype."""
    if place == value.place:
        return value.map_state(value.backend.copy)  # stays on the device
    new = to_device(to_host(value), place)
    if place.dtype == value.dtype:
        return new
    # Hyperparameters, and the factors of dropout, are rounded from their exact values
    state, fresh = new.state, init_optimizer(new.optimizer, new.layers, place)
    state = state._replace(optimizer=fresh._replace(memory=state.optimizer.memory))
    exact = init_dropout(new.seeds.dropout, new.model.dropout)
    if exact is not None and state.dropout is not None:
        with place.scope():
            scales = place.backend.copy_nest(exact.scales, place.dtype)
        state = state._replace(dropout=state.dropout._replace(scales=scales))
    return new._replace(stored=state)


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
    return Value(model, place, state, optimizer, rng.bit_generator.state, seeds, provenance, History(), {})


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


def change_optimizer(value: Value, optimizer: Optimizer) -> Value:
    """Return a value with another optimizer, in a fresh state."""
    memory = init_optimizer(optimizer, value.layers, value.place)
    return value._replace(stored=value.state._replace(optimizer=memory), optimizer=optimizer)
