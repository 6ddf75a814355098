"""Examples where a network computes: moved from the host, or gathered there, held out and resampled."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.model_selection import train_test_split

from xpnet.core.arrays import Array, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.data.gathered import OUTSIDE, Gathered, Stored, gather, share_rows
from xpnet.data.host_rows import HostRows, stays_in_place
from xpnet.data.reader import Reader
from xpnet.data.resident import Rows, make_resident
from xpnet.data.source import Weights, store
from xpnet.data.weights import check_some_weight, relative_weight
from xpnet.errors import ArgumentError
from xpnet.estimators.inputs import leave_device

HELD_OUT = "a part that early_stopping makes"

RowSource: TypeAlias = Stored | Rows


def read_targets(source: RowSource) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets and weights of the examples, on the host. Synchronizes."""
    stored = source.source if isinstance(source, Rows) else source
    with source.reader.scope():
        y = source.reader.backend.to_numpy(stored.columns.y)
    weight = None if stored.weights is None else stored.weights.on_host
    if isinstance(source, Rows):
        return y[source.rows], None if weight is None else weight[source.rows]
    return y, weight


def load(x: Any, targets: Any, weight: np.ndarray | None, name: str, reader: Reader) -> Stored:
    """Move checked examples to the device, except inputs that stay on the host: sparse ones, and those beyond memory.

    Parameters
    ----------
    x
        Inputs (n, n_in): an array of any library, a sparse matrix, or `HostRows`.
    targets
        Targets as the network outputs them.
    weight
        Weights (n,) on the host, if any.
    name
        The name of the inputs in errors.
    reader
        The reader of the network.
    """
    backend, dtype = reader.backend, reader.dtype
    weight = _divide_by_largest(weight, dtype, name)
    with reader.scope():
        y = reader.read_targets(leave_device(targets, backend), "y")
        column = None if weight is None else backend.asarray(weight, dtype)
        if sparse.issparse(x):
            return Gathered(HostRows(x.tocsr()), *store(Examples(OUTSIDE, y, column), reader.place), reader)
        if isinstance(x, HostRows) and not stays_in_place(x.inputs, reader):
            return gather(x, Examples(OUTSIDE, y, column), "X", reader)
        x = x.inputs if isinstance(x, HostRows) else leave_device(x, backend)
        return make_resident(Examples(reader.read_inputs(x, "X"), y, column), reader)


def hold_out(
    source: Stored, sample_weight: np.ndarray | None, fraction: float, task: str, random_state: np.random.RandomState
) -> tuple[RowSource, RowSource]:
    """Split off the validation examples that scikit-learn would choose; the weights of classes do not apply to them."""
    if fraction == 0:
        raise ArgumentError("validation_fraction=0 holds out nothing for early_stopping to watch; 0.1 is usual")
    y, weight = read_targets(source)
    classes = (y[:, 0] > 0.5).astype(str) if task == "binary" else None  # scikit-learn's errors say "True" and "False"
    rows = np.arange(len(source), dtype=np.int32)
    parts: Any = train_test_split(rows, test_size=fraction, random_state=random_state, stratify=classes)
    training_rows, validation_rows = parts
    if len(validation_rows) < 2:
        raise ArgumentError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    if weight is not None:
        check_some_weight(float(weight[training_rows].max()), HELD_OUT)
    validation = _replace_weight(source, sample_weight, validation_rows)
    return share_rows(source, training_rows), share_rows(validation, validation_rows)


def resample(source: RowSource, random_state: np.random.RandomState) -> RowSource:
    """Draw a sample with replacement, as large as the source."""
    rows = random_state.randint(len(source), size=len(source))
    drawn = share_rows(source, rows.astype(np.int32))
    _, weight = read_targets(drawn)
    if weight is not None:
        check_some_weight(float(weight.max()), "a bootstrap sample")
    return drawn


def _replace_weight(source: Stored, sample_weight: np.ndarray | None, rows: np.ndarray) -> Stored:
    """Replace the weights of some rows by those in `sample_weight`; the other rows get the weight 0."""
    weights, reader = None, source.reader
    if sample_weight is not None:
        weight = np.zeros(len(source))
        weight[rows] = _divide_by_largest(sample_weight[rows], reader.dtype, HELD_OUT)
        with reader.scope():
            weights = Weights(reader.backend.asarray(weight, reader.dtype), reader.place)
    return replace(source, weights=weights)


def _divide_by_largest(weight: np.ndarray | None, dtype: str, name: str) -> np.ndarray | None:
    """Divide weights by the largest; see `relative_weight`. `name` says in the error which examples have only zeros."""
    if weight is None:
        return None
    check_some_weight(float(weight.max()), name)
    return relative_weight(weight, dtype, np)


def dense_blocks(matrix: Any) -> Iterator[Array]:
    """Iterate over dense blocks of rows of a sparse matrix, with at most 4 million numbers each, or single rows."""
    rows, matrix = rows_per_block(matrix.shape[1]), matrix.tocsr()
    for start in range(0, matrix.shape[0], rows):
        yield matrix[start : start + rows].toarray()
