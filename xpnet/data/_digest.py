"""Digests of data, by which a resumed training tells whether its examples and weights are the same."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from xpnet.backends import to_host
from xpnet.core.arrays import blocks
from xpnet.data.conversion import as_real_array
from xpnet.data.reader import Reader


def fingerprint_weights(class_weight: Any, sample_weight: Any, reader: Reader) -> dict[str, Any]:
    """Describe the class and sample weights passed to `train`, whatever its data; `reader` has read them.

    Class weights become a list, sample weights a digest. Synchronizes.
    """
    examples = None
    with reader.scope():
        if reader.class_weight is not None:
            class_weight = reader.backend.to_numpy(reader.class_weight)[0].tolist()
        if sample_weight is not None:
            weight = reader.backend.asarray(as_real_array(sample_weight, "sample_weight"), reader.dtype)
            examples = {"digest": digest_arrays([reader.backend.to_numpy(weight)])}
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
