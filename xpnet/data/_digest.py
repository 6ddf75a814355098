"""Fingerprints of data: plain values that tell a resumed training whether its examples and weights are the same."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np

from xpnet.backends import to_host
from xpnet.core.arrays import Array, blocks
from xpnet.data._gathered import Gathered, Stored, gather_rows
from xpnet.data._streams import OnDemand
from xpnet.data.conversion import as_real_array, stays_outside
from xpnet.data.reader import Reader
from xpnet.data.source import Resident, Rows, Source


def fingerprint_source(source: Source) -> dict[str, Any]:
    """Describe the examples of a source, before they are scaled, by a few plain values. Synchronizes.

    Arrays, in memory or outside, have a digest of all their inputs, targets and slopes, which is the same on every
    backend, and their total weight. A data set that is read again each epoch is described by its length, and an
    iterable of batches by the size of its first batch: reading them may give other examples each time.

    Examples
    --------
    >>> from xpnet import Network
    >>> from xpnet.data.open import open_source
    >>> reader = Network([2, 1]).value.reader
    >>> a, b, c = (fingerprint_source(open_source(([x], [1]), "data", reader)) for x in ([0, 1], [0.0, 1.0], [0, 2]))
    >>> a == b, a == c
    (True, False)
    """
    if isinstance(source, (Resident, Gathered)):
        columns = [column for column in (source.examples.y, source.examples.slopes) if column is not None]
        numbers = chain(_inputs_on_host(source), *(_blocks_on_host(column, source.reader) for column in columns))
        weight = None if source.weight is None else float(source.weight.sum(dtype=np.float64))
        return {"examples": len(source), "digest": digest_arrays(numbers), "weight": weight}
    if isinstance(source, OnDemand):
        return {"examples": len(source)}
    return {"batch": source.batch_size(0)}


def fingerprint_all(sources: Iterable[Source | None]) -> list[dict[str, Any] | None]:
    """Describe several sources; one that occurs several times is read once. Synchronizes."""
    describe = cache(partial(_describe, cache(fingerprint_source)))
    return [describe(source) for source in sources]


def _describe(fingerprint: Callable[[Source], dict[str, Any]], source: Source | None) -> dict[str, Any] | None:
    """Describe a source by fingerprints, those of the rows of one, too; None if there is none."""
    if not isinstance(source, Rows):
        return None if source is None else fingerprint(source)
    if stays_outside(source.examples.x):  # as if they were gathered, which depends on the free memory
        return fingerprint(gather_rows(source))
    return {**fingerprint(source.source), "rows": digest_arrays([source.rows])}


def fingerprint_weights(class_weight: Any, sample_weight: Any, reader: Reader) -> dict[str, Any]:
    """Describe the class and sample weights passed to `train`, whatever its data; `reader` has read them.

    Class weights become a list, sample weights a digest. Synchronizes.
    """
    examples = None
    with reader.scope():
        if reader.class_weight is not None:
            class_weight = reader.backend.to_numpy(reader.class_weight)[0].tolist()
        if sample_weight is not None:
            weight = as_real_array(sample_weight, "sample_weight")
            weight = reader.backend.asarray(weight, reader.dtype, "sample_weight")
            examples = {"digest": digest_arrays(_blocks_on_host(weight, reader))}
    return {"class_weight": class_weight, "sample_weight": examples}


def fingerprint_arrays(x: Any, targets: Any, *others: Any) -> dict[str, Any]:
    """Describe examples that nothing has read yet, also sparse ones, by a digest. Synchronizes.

    The others, such as weights, may be None.

    Examples
    --------
    >>> x, y = np.eye(3), np.arange(3.0)
    >>> a, b, c = (fingerprint_arrays(x, targets) for targets in (y, y.copy(), y + 1))
    >>> a == b, a == c
    (True, False)
    """
    inputs = [x.data, x.indices, x.indptr] if hasattr(x, "indptr") else [x]
    columns = [*inputs, targets, *(other for other in others if other is not None)]
    numbers = (np.asarray(to_host(block)) for column in columns for block in blocks(column))
    return {"examples": int(x.shape[0]), "digest": digest_arrays(numbers)}


def digest_arrays(arrays: Iterable[np.ndarray]) -> str:
    """Compute a digest of the numbers in arrays, one after the other.

    Examples
    --------
    >>> digest_arrays([np.arange(4)]) == digest_arrays([np.arange(3), np.array([3])])
    True
    """
    result = hashlib.sha256()
    for array in arrays:
        result.update(array.tobytes())
    return result.hexdigest()


def _inputs_on_host(source: Stored) -> Iterator[np.ndarray]:
    """Copy the inputs of a source to the host, or read them there, block by block."""
    if isinstance(source, Resident):
        return _blocks_on_host(source.examples.x, source.reader)
    inputs = (source.reader.read_inputs(block, source.name) for block in source.inputs.blocks())
    return chain.from_iterable(_blocks_on_host(x, source.reader) for x in inputs)


def _blocks_on_host(column: Array, reader: Reader) -> Iterator[np.ndarray]:
    """Copy an array that was read to the host, block by block."""
    with reader.scope():
        for block in blocks(column):
            yield np.asarray(reader.place.home(column).to_numpy(block))
