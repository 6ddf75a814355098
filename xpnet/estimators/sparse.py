"""Sparse inputs: a matrix stays sparse on the host, and becomes dense a minibatch or a block of rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from xpnet.core.arrays import Array, map_arrays, rows_per_block
from xpnet.core.minibatch import Examples
from xpnet.core.scaling import Scaler
from xpnet.data.reader import Reader
from xpnet.data.sources import OnDemand, Resident, Rows


@dataclass(frozen=True)
class SparseRows(OnDemand):
    """Examples whose inputs are a sparse matrix on the host.

    Parameters
    ----------
    matrix
        The inputs, a CSR matrix (n, n_in).
    examples
        Targets and weights, on the device; their `x` is None.
    reader
        Moves the inputs to the device.
    """

    matrix: Any
    examples: Examples
    reader: Reader

    def __len__(self) -> int:
        """Count the examples."""
        return self.matrix.shape[0]

    def read(self, index: np.ndarray) -> Examples:
        """Make some rows dense, and move them to the device."""
        x = self.reader.read_inputs(self.matrix[index].toarray(), "X")
        return self._take(index)._replace(x=x)

    def scaled(self, scaling: Scaler) -> "SparseRows":
        """Scale the targets, and return the same rows with a reader that scales the inputs."""
        reader = self.reader._replace(scaling=scaling)
        return replace(self, examples=self.examples._replace(y=reader.scale_targets(self.examples.y)), reader=reader)

    def rows(self, index: np.ndarray) -> "SparseRows":
        """Take some of the examples, by index."""
        return replace(self, matrix=self.matrix[index], examples=self._take(index))

    def _take(self, index: np.ndarray) -> Examples:
        _, *columns = self.examples
        return Examples(None, *(None if column is None else self.reader.take(column, index) for column in columns))


AllRows: TypeAlias = Resident | SparseRows
RowSource: TypeAlias = AllRows | Rows  # whose rows can be taken by index


def share_rows(source: RowSource, rows: np.ndarray) -> RowSource:
    """Take some of the examples, by index; those on the device are shared, not copied."""
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


def dense_blocks(matrix: Any) -> Iterator[Array]:
    """Iterate over dense blocks of rows of a sparse matrix, with at most 4 million numbers each, or single rows."""
    rows, matrix = rows_per_block(matrix.shape[1]), matrix.tocsr()
    for start in range(0, matrix.shape[0], rows):
        yield matrix[start : start + rows].toarray()
