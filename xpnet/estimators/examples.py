"""Examples where a network computes: moved from the host, kept sparse there, held out and resampled."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.model_selection import train_test_split

from xpnet.core.arrays import Array, map_arrays, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import Scaler
from xpnet.data.known_rows import KnownRows, choose_known_rows, digest_rows, take_on_host
from xpnet.data.reader import Reader
from xpnet.data.resident import Resident, Rows, remember_rows
from xpnet.data.streams import OnDemand
from xpnet.data.weights import check_some_weight, relative_weight
from xpnet.estimators.inputs import leave_device

HELD_OUT = "a part that early_stopping makes"


@dataclass(frozen=True)
class SparseRows(OnDemand):
    """Examples whose inputs are a sparse matrix on the host; each minibatch becomes dense on its way to the device.

    Parameters
    ----------
    matrix
        The inputs, a CSR matrix (n, n_in).
    examples
        Targets and weights, on the device; their `x` is None.
    reader
        Moves the inputs to the device.
    known_rows
        Digests of some of the rows, if the network is to remember them.
    """

    matrix: Any
    examples: Examples
    reader: Reader
    known_rows: KnownRows | None = None

    def __len__(self) -> int:
        """Count the examples."""
        return self.matrix.shape[0]

    def read(self, index: np.ndarray) -> Examples:
        """Move some rows to the device, as a dense array."""
        x = self.reader.read_inputs(self.matrix[index].toarray(), "X")
        return self._take(index)._replace(x=x)

    def scaled(self, scaling: Scaler) -> "SparseRows":
        """Return the same rows with scaled targets, and a reader that scales the inputs."""
        reader = self.reader._replace(scaling=scaling)
        return replace(self, examples=self.examples._replace(y=reader.scale_targets(self.examples.y)), reader=reader)

    def rows(self, index: np.ndarray) -> "SparseRows":
        """Take some of the examples, by index."""
        known = None if self.known_rows is None else self.known_rows.take(index)
        return replace(self, matrix=self.matrix[index], examples=self._take(index), known_rows=known)

    def _take(self, index: np.ndarray) -> Examples:
        _, *columns = self.examples
        return Examples(None, *(None if column is None else self.reader.take(column, index) for column in columns))


AllRows: TypeAlias = Resident | SparseRows
RowSource: TypeAlias = AllRows | Rows


def remember(source: AllRows) -> AllRows:
    """Remember some rows, as `remember_rows` does, of a sparse matrix too. Synchronizes."""
    if isinstance(source, Resident):
        return remember_rows(source)
    model, (_, y, _) = source.reader.model, source.examples
    if model.task != "regression":
        return source
    index = choose_known_rows(len(source), model.n_in + model.n_targets)
    rows = source.matrix[index].toarray(), take_on_host(y, index, source.reader.backend)
    return replace(source, known_rows=KnownRows(index, digest_rows(*rows), len(source)))


def share_rows(source: RowSource, rows: np.ndarray) -> RowSource:
    """Take some of the examples, by index, without copying those on the device."""
    if isinstance(source, SparseRows):
        return source.rows(rows)
    return Rows(source.source, source.rows[rows]) if isinstance(source, Rows) else Rows(source, rows)


def read_targets(source: RowSource) -> tuple[np.ndarray, np.ndarray | None]:
    """Return targets and weights of the examples, on the host. Synchronizes."""
    examples = source.source.examples if isinstance(source, Rows) else source.examples
    with source.reader.scope():
        y, weight = map_arrays(source.reader.backend.to_numpy, (examples.y, examples.weight))
    if isinstance(source, Rows):
        return y[source.rows], None if weight is None else weight[source.rows]
    return y, weight


def load(x: Any, targets: Any, weight: np.ndarray | None, name: str, reader: Reader) -> AllRows:
    """Move checked examples to the device, except sparse inputs, which stay on the host.

    Parameters
    ----------
    x
        Inputs (n, n_in): an array of any library, or a sparse matrix.
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
        weight = None if weight is None else backend.asarray(weight, dtype)
        if sparse.issparse(x):
            return SparseRows(x.tocsr(), Examples(None, y, weight), reader)
        return Resident(Examples(reader.read_inputs(leave_device(x, backend), "X"), y, weight), reader)


def hold_out(
    source: AllRows, sample_weight: np.ndarray | None, fraction: float, task: str, random_state: np.random.RandomState
) -> tuple[RowSource, RowSource]:
    """Split off the validation examples that scikit-learn would choose; the weights of classes do not apply to them."""
    y, weight = read_targets(source)
    classes = (y[:, 0] > 0.5).astype(str) if task == "binary" else None  # scikit-learn's errors say "True" and "False"
    rows = np.arange(len(source), dtype=np.int32)
    parts: Any = train_test_split(rows, test_size=fraction, random_state=random_state, stratify=classes)
    training_rows, validation_rows = parts
    if len(validation_rows) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
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


def _replace_weight(source: AllRows, sample_weight: np.ndarray | None, rows: np.ndarray) -> AllRows:
    """Replace the weights of some rows by those in `sample_weight`; the other rows get the weight 0."""
    weight, reader = None, source.reader
    if sample_weight is not None:
        weight = np.zeros(len(source))
        weight[rows] = _divide_by_largest(sample_weight[rows], reader.dtype, HELD_OUT)
        with reader.scope():
            weight = reader.backend.asarray(weight, reader.dtype)
    return replace(source, examples=source.examples._replace(weight=weight), known_rows=None)


def _divide_by_largest(weight: np.ndarray | None, dtype: str, name: str) -> np.ndarray | None:
    """Divide weights by the largest; see `relative_weight`. `name` says in the error which examples have only zeros."""
    if weight is None:
        return None
    largest = float(weight.max())
    check_some_weight(largest, name)
    return relative_weight(weight, largest, dtype, np)


def dense_blocks(matrix: Any) -> Iterator[Array]:
    """Iterate over dense blocks of rows of a sparse matrix, with at most 4 million numbers each, or single rows."""
    rows, matrix = rows_per_block(matrix.shape[1]), matrix.tocsr()
    for start in range(0, matrix.shape[0], rows):
        yield matrix[start : start + rows].toarray()
