"""Fingerprints of data: plain values that tell a resumed training whether its examples and weights are the same."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core.arrays import Array, blocks
from xpnet.data.prepare import Request, Sources
from xpnet.data.reader import Reader, as_real_array
from xpnet.data.resident import Resident, Rows
from xpnet.data.source import Source
from xpnet.data.streams import OnDemand


def fingerprint(source: Source) -> dict[str, Any]:
    """Describe the examples of a source, before they are scaled, by a few plain values. Synchronizes.

    Examples in memory have a digest of all their inputs and targets, which is the same on every backend, and their
    total weight. A data set that is read again each epoch is described by its length, and an iterable of batches by the
    size of its first batch: reading them may give other examples each time.

    Examples
    --------
    >>> from xpnet import Network
    >>> from xpnet.data.sources import make_source
    >>> reader = Network([2, 1]).view.reader
    >>> a, b, c = (fingerprint(make_source(([x], [1]), "data", reader)) for x in ([0, 1], [0.0, 1.0], [0, 2]))
    >>> a == b, a == c
    (True, False)
    """
    if isinstance(source, Resident):
        digest = _digest(source.reader, [source.examples.x, source.examples.y])
        return {"examples": len(source), "digest": digest, "weight": _total_weight(source)}
    if isinstance(source, OnDemand):
        return {"examples": len(source)}
    return {"batch": source.batch_size(0)}


def fingerprint_all(sources: Sequence[Sources]) -> list[dict[str, Any]]:
    """Describe the training, validation and test data of several networks, shared ones once. Synchronizes."""
    known: dict[int, Any] = {}

    def describe(source: Source | None) -> Any:
        if source is None:
            return None
        if id(source) not in known:
            if isinstance(source, Rows):
                rows = hashlib.sha256(source.rows.tobytes()).hexdigest()
                known[id(source)] = {**describe(source.source), "rows": rows}
            else:
                known[id(source)] = fingerprint(source)
        return known[id(source)]

    names = ("train_data", "validation_data", "test_data")
    return [{name: describe(source) for name, source in zip(names, part)} for part in sources]


def fingerprint_weights(request: Request, reader: Reader) -> dict[str, Any]:
    """Describe the class and sample weights passed to `train`, whatever its data; `reader` has read them.

    Class weights become a list, sample weights a digest. Synchronizes.
    """
    classes, examples = request.class_weight, None
    with reader.scope():
        if reader.class_weight is not None:
            classes = reader.backend.to_numpy(reader.class_weight)[0].tolist()
        if request.sample_weight is not None:
            weight = as_real_array(request.sample_weight, "sample_weight")
            examples = {"digest": _digest(reader, [reader.backend.asarray(weight, reader.dtype, "sample_weight")])}
    return {"class_weight": classes, "sample_weight": examples}


def _digest(reader: Reader, columns: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    with reader.scope():
        for column in columns:
            for block in blocks(column):
                digest.update(np.asarray(reader.home(column).to_numpy(block)).tobytes())
    return digest.hexdigest()


def _total_weight(source: Resident) -> float | None:
    """Sum the weights."""
    weight = source.examples.weight
    if weight is None:
        return None
    with source.reader.scope():
        return float(source.reader.backend.to_numpy(weight).sum(dtype=np.float64))
