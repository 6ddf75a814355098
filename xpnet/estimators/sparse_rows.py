"""Examples whose inputs are a sparse matrix: rows become dense some thousand at a time, never all together."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet.arrays import Array, bound
from xpnet.data import InTurn, Reader
from xpnet.examples import Examples, rows
from xpnet.scaling import Scaling


class SparseRows(InTurn):
    """A source whose inputs stay a sparse matrix on the host; dense are a minibatch, or some of 4 million numbers.

    Parameters
    ----------
    x
        Sparse matrix (n, n_in).
    examples
        Targets and weights, on the device; they have no x.
    reader
        What brings the inputs to the device.
    """

    def __init__(self, x: Any, examples: Examples, reader: Reader) -> None:
        self.x, self.examples, self.reader = x.tocsr(), examples, reader

    def __len__(self) -> int:
        """Count the rows."""
        return self.x.shape[0]

    def read(self, index: np.ndarray) -> Examples:
        """Make rows dense."""
        backend = self.reader.backend
        taken = rows(self.examples, backend.asarray(index), backend.xp)
        return taken._replace(x=self.reader.inputs(self.x[index].toarray(), "X"))

    def scaled(self, scaling: Scaling) -> "SparseRows":
        """Refuse: an estimator's inputs are scaled by scikit-learn's transformers."""
        raise NotImplementedError


def dense_blocks(x: Any) -> Iterator[Array]:
    """Cut a sparse matrix into dense rows of at most 4 million numbers together, or single ones."""
    together = bound(1, x.shape[1])
    x = x.tocsr()
    for start in range(0, x.shape[0], together):
        yield x[start : start + together].toarray()
