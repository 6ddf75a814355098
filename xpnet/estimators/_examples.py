"""Examples of estimators: some are held out, as scikit-learn does, or drawn with replacement."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from xpnet.core.arrays import Array, rows_per_block
from xpnet.data import read_targets
from xpnet.data.open import Data
from xpnet.data.weights import check_some_weight, relative_weight
from xpnet.errors import ArgumentError

HELD_OUT = "a part that early_stopping makes"


def hold_out(
    data: Data, sample_weight: np.ndarray | None, fraction: float, task: str, random_state: np.random.RandomState
) -> Data:
    """Split off the validation examples that scikit-learn would choose; the weights of classes do not apply to them."""
    if fraction == 0:
        raise ArgumentError("validation_fraction=0 holds out nothing for early_stopping to watch; 0.1 is usual")
    y, weight = read_targets(data.train)  # type: ignore[arg-type]
    classes = (y[:, 0] > 0.5).astype(str) if task == "binary" else None  # scikit-learn's errors say "True" and "False"
    parts: Any = train_test_split(np.arange(len(y)), test_size=fraction, random_state=random_state, stratify=classes)
    training_rows, validation_rows = parts
    if len(validation_rows) < 2:
        raise ArgumentError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    for own, rows in ((weight, training_rows), (sample_weight, validation_rows)):
        if own is not None:
            check_some_weight(float(own[rows].max()), HELD_OUT)
    return data.part(training_rows, validation_rows, validation_weight=sample_weight)


def resample(data: Data, random_state: np.random.RandomState) -> Data:
    """Draw a sample with replacement, as large as the examples to train on."""
    n = len(data.train)  # type: ignore[arg-type]
    drawn = data.part(random_state.randint(n, size=n))
    _, weight = read_targets(drawn.train)  # type: ignore[arg-type]
    if weight is not None:
        check_some_weight(float(weight.max()), "a bootstrap sample")
    return drawn


def divide_by_largest(weight: np.ndarray | None, dtype: str, name: str) -> np.ndarray | None:
    """Divide weights by the largest; `name` says in the error which examples have only zeros."""
    if weight is None:
        return None
    check_some_weight(float(weight.max()), name)
    return relative_weight(weight, dtype, np)


def dense_blocks(matrix: Any) -> Iterator[Array]:
    """Iterate over dense blocks of rows of a sparse matrix, with at most 4 million numbers each, or single rows."""
    rows, matrix = rows_per_block(matrix.shape[1]), matrix.tocsr()
    for start in range(0, matrix.shape[0], rows):
        yield matrix[start : start + rows].toarray()
