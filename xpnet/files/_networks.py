"""Networks to the content of files, and back."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from xpnet._checks import check_dict
from xpnet.backends import Backend
from xpnet.backends.identity import describe
from xpnet.core.arrays import leaves, map_arrays, rebuild
from xpnet.core.calibration import Calibration
from xpnet.core.dropout import init_dropout
from xpnet.core.laplace import Laplace
from xpnet.core.model import Model, Seeds
from xpnet.core.novelty import Novelty
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.step import State
from xpnet.data import place_scaling
from xpnet.files import _record as records
from xpnet.files._file import encode_record, explain_errors
from xpnet.files._provenance import parse_provenance
from xpnet.files._record import NO_CALIBRATIONS, Calibrations, Record
from xpnet.value import History, Moment, Value, check_parts, init_optimizer, parse_biases, parse_weights
from xpnet.value.structure import describe_own
from xpnet.version import __version__

AnyNetwork = TypeVar("AnyNetwork")  # `Network`, which is above


def encode_network(
    value: Value,
    moment: Moment | None = None,
    shared: Calibrations = NO_CALIBRATIONS,
) -> bytes:
    """Return the content of the file of a network; see `make_record`. Synchronizes."""
    with value.scope():
        record = records.make_record(value, moment, shared, describe_own(value.model))
        return encode_record(record, __version__)


def fingerprint(value: Value) -> str:
    """Compute the digest of a network. Synchronizes."""
    plain = {
        "settings": value.settings,
        "optimizer": records.encode_optimizer(value.optimizer) or describe(value.optimizer),
        "generator": value.generator,
        "seeds": value.seeds._asdict(),
        "feature_names": value.feature_names,
        "coefficients": value.objective.coefficients,
    }
    if functions := describe_own(value.model):
        plain["functions"] = functions
    with value.scope():
        return digest_all(plain, records.name_arrays(value))


def digest_all(plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """Compute the digest of plain values and of arrays by their names."""
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        # All zeros get a plus sign: nothing depends on theirs, and equal trainings have been seen to differ in it
        little = (array + array.dtype.type(0)).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def fingerprint_members(fingerprints: Sequence[str], calibration: Calibration | None) -> str:
    """Compute the digest of an ensemble, from those of its members in their order, and from its calibration."""
    arrays = {} if calibration is None else records.name_arrays_of("calibration", calibration)
    return digest_all({"members": fingerprints}, arrays)


def read_network(
    make: Callable[..., AnyNetwork], record: Record, path: str, backend: Backend, custom: Iterable[Any]
) -> AnyNetwork:
    """Make a network of a record from a file, whose path is for messages; `make` is `Network` or derived from it."""
    with explain_errors(path):
        records.training_of(record)  # raises if there is one that is not valid
        return restore_network(make, record, records.settings_of(record, custom), backend)


def restore_network(
    make: Callable[..., AnyNetwork], record: Record, settings: Mapping[str, Any], backend: Backend
) -> AnyNetwork:
    """Make a network of a record, with these arguments of `Network`; see `read_network`."""
    net: Any = make(**settings, init="zeros", seed=0, backend=backend)  # both are replaced
    net.value = restore(record, net.value)
    return net


def restore(record: Record, present: Value) -> Value:
    """Return everything in a record but its settings, for a network with the structure and the place of `present`.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the record is not that of such a network.
    """
    model, seeds = present.model, Seeds(**check_dict("seeds", record.seeds))
    names, optimizer = records.feature_names_of(record), records.optimizer_of(record)
    scaling = records.scaling_of(record)
    value = Value(
        model=model,
        place=present.place,
        stored=present.stored,
        optimizer=optimizer,
        generator=record.generator,
        seeds=seeds,
        scaling=None if scaling is None else place_scaling(scaling, model, present.place),
        feature_names=None if names is None else tuple(names),
        calibration=records.calibrations_of(record, model).get(0),
        laplace=records.fit_of(record, "laplace", Laplace),
        novelty=records.fit_of(record, "novelty", Novelty),
        provenance=parse_provenance(record.provenance),
        history=History(records.history_of(record)),
        notes=check_dict("notes", record.notes),
        objective=records.objective_of(record),
    )
    check_parts(value, present)
    return value._replace(stored=read_state(records.tensors_of(record), optimizer, seeds, present))


def restore_training(record: Record, present: Value) -> Moment | None:
    """Return the moment of a training in a record as it was written, if there is one; see `restore`."""
    training, value = records.training_of(record), restore(record, present)
    states: dict[int, dict[str, State]] = {}
    for (i, name), tensors in records.callback_tensors_of(record).items():
        states.setdefault(i, {})[name] = read_state(tensors, value.optimizer, value.seeds, present)
    if training is None:
        return None
    callbacks = [
        {**callback, "values": {**callback["values"], **states.get(i, {})}}
        for i, callback in enumerate(training["callbacks"])
    ]
    others = {name: part for name, part in training.items() if name != "position"}
    return Moment(value, **{**training["position"], **others, "callbacks": callbacks}, order=records.order_of(record))


def share_calibration(values: Sequence[Value]) -> Calibrations:
    """Return the calibration of an ensemble with these values as the records of its members hold it."""
    calibration = values[0].calibration
    return NO_CALIBRATIONS if calibration is None else {len(values): calibration}


def find_shared_calibration(members: Sequence[Record], model: Model) -> Calibration | None:
    """Find the calibration of an ensemble in the records of all its members; None if it has none."""
    first, *others = (records.calibrations_of(record, model).get(len(members)) for record in members)
    return first if first is not None and all(map(first.is_same, others)) else None


def read_state(tensors: dict[str, np.ndarray], optimizer: Optimizer, seeds: Seeds, present: Value) -> State:
    """Make a state of the arrays in a record, for a network with the structure and the place of `present`."""
    model, (backend, dtype, _) = present.model, present.place
    weights, biases = zip(*records.layers_of(tensors, len(model.shapes)))
    layers = tuple(zip(parse_weights(weights, model, present.place), parse_biases(biases, model, present.place)))
    dropout = init_dropout(seeds.dropout, model.dropout)
    state = init_optimizer(optimizer, layers, present.place)
    with present.scope():
        memory = map_arrays(backend.to_numpy, state.memory)
        memory = rebuild(memory, records.memory_of(tensors, len(leaves(memory))))
        optimizer.check_memory(memory)  # type: ignore[attr-defined]
        state = state._replace(memory=backend.copy_nest(memory, dtype))
        if dropout is None:
            records.refuse_unknown("tensor", {"dropout.step"} & tensors.keys())
        else:
            dropout = dropout._replace(step=records.dropout_step_of(tensors))
        dropout, cost = (backend.copy_nest(nest, dtype) for nest in (dropout, np.zeros(1)))
    return State(layers, state, cost, dropout)
