"""Fingerprints of data: plain values by which a resumed training tells whether it has the same examples."""

import hashlib
from typing import Any

import numpy as np

from xpnet.core.arrays import blocks
from xpnet.data.sources import OnDemand, Resident, Source


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
        return {"examples": len(source), "digest": _digest(source), "weight": _total_weight(source)}
    if isinstance(source, OnDemand):
        return {"examples": len(source)}
    return {"batch": source.batch_size(0)}


def _digest(source: Resident) -> str:
    digest, to_numpy = hashlib.sha256(), source.reader.backend.to_numpy
    with source.reader.scope():
        for column in (source.examples.x, source.examples.y):
            for block in blocks(column):
                digest.update(np.asarray(to_numpy(block)).tobytes())
    return digest.hexdigest()


def _total_weight(source: Resident) -> float | None:
    """Sum the weights."""
    weight = source.examples.weight
    if weight is None:
        return None
    with source.reader.scope():
        return float(source.reader.backend.to_numpy(weight).sum(dtype=np.float64))
