"""Networks to the content of files, and back."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from xpnet.checkpoint import record as records
from xpnet.checkpoint.file import encode
from xpnet.checkpoint.provenance import Provenance, from_plain
from xpnet.checkpoint.record import Record, Snapshot
from xpnet.core.arguments import parse_feature_names, round_number
from xpnet.core.arrays import leaves, map_arrays, rebuild
from xpnet.core.dropout import init_dropout
from xpnet.core.model import Seeds
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.step import State
from xpnet.data.parameters import parse_biases, parse_weights
from xpnet.inspection.view import View
from xpnet.wording.version import __version__


def encode_network(snapshot: Snapshot, view: View) -> bytes:
    """Return the content of the file of a network, whose arrays are where those of `view` are. Synchronizes."""
    with view.scope():
        return encode(records.make_record(snapshot, view.backend.to_numpy), __version__)


def fingerprint(snapshot: Snapshot, view: View) -> str:
    """Compute the digest of a network, whose arrays are where those of `view` are. Synchronizes."""
    plain = {
        "settings": snapshot.settings,
        "optimizer": records.encode_optimizer(snapshot.optimizer) or repr(snapshot.optimizer),
        "generator": snapshot.generator,
        "seeds": snapshot.seeds,
        "feature_names": snapshot.feature_names,
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    with view.scope():
        arrays = records.name_arrays(snapshot, view.backend.to_numpy)
    for name, array in sorted(arrays.items()):
        # All zeros get a plus sign: nothing depends on theirs, and equal trainings have been seen to differ in it
        little = (array + array.dtype.type(0)).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def join_fingerprints(fingerprints: Iterable[str]) -> str:
    """Compute the digest of several networks in their order."""
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()


def restore(record: Record, view: View) -> dict[str, Any]:
    """Return everything in a record but its settings: the attributes of a network whose structure and place `view` has.

    The history is a list of its rows.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the record is not that of such a network.
    """
    model = view.model
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = records.generator_of(record)
    seeds, notes, names = Seeds(**records.seeds_of(record)), records.notes_of(record), records.feature_names_of(record)
    optimizer, scaling = records.optimizer_of(record), records.scaling_of(record)
    return {
        "rng": rng,
        "notes": notes,
        "history": records.history_of(record),
        "_seeds": seeds,
        "_feature_names": None if names is None else parse_feature_names(names, model.n_in),
        "_optimizer": optimizer,
        "_state": read_state(records.tensors_of(record), optimizer, seeds, view),
        "_scaling": None if scaling is None else view.reader.place(scaling),
        "_provenance": Provenance() if record.provenance is None else from_plain(record.provenance),
        "_calibrations": records.calibrations_of(record, model),
        "_novelty": records.novelty_of(record, model),
    }


def read_state(tensors: dict[str, np.ndarray], optimizer: Optimizer, seeds: Seeds, view: View) -> State:
    """Make a state of the arrays in a record, where `view` computes."""
    model, backend, dtype = view.model, view.backend, view.dtype
    weights, biases = zip(*records.layers_of(tensors, len(model.shapes)))
    layers = tuple(zip(parse_weights(weights, model, backend, dtype), parse_biases(biases, model, backend, dtype)))
    dropout = init_dropout(seeds.dropout, model.dropout)
    with view.scope():
        state = optimizer.init(layers, lambda value: backend.asarray(round_number(value, dtype), dtype))
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
