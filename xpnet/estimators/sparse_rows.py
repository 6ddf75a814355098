"""Examples whose inputs are a sparse matrix: rows become dense some thousand at a time, never all together."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet.arrays import BLOCK, Array, bound
from xpnet.data import Chunk, Reader, Sampling, in_order, split
from xpnet.examples import Examples, rows
from xpnet.scaling import Scaling


class SparseRows:
    """A source whose inputs stay a sparse matrix on the host. Dense are at most 4 million numbers at a time.

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

    def steps(self, sampling: Sampling, batch_size: int) -> int:
        """Minibatches of an epoch."""
        return sampling.steps(self.x.shape[0], batch_size)

    def chunks(self, sampling: Sampling, rng: np.random.Generator, batch_size: int, most: int) -> Iterator[Chunk]:
        """Minibatches of one epoch, dense when their turn comes."""
        for index in sampling.draw(self.x.shape[0], batch_size, rng):
            for part in split(index, min(most, bound(index.shape[1], self.reader.n_in))):
                yield Chunk(self._read(part.ravel()), in_order(part.shape))

    def blocks(self, width: int) -> Iterator[Examples]:
        """Every example once, in order."""
        for part in split(np.arange(self.x.shape[0], dtype=np.int32), bound(1, width)):
            yield self._read(part)

    def scaled(self, scaling: Scaling) -> "SparseRows":
        """Refuse: an estimator's inputs are scaled by scikit-learn's transformers."""
        raise NotImplementedError

    def _read(self, index: np.ndarray) -> Examples:
        backend = self.reader.backend
        taken = rows(self.examples, backend.asarray(index), backend.xp)
        return taken._replace(x=self.reader.inputs(self.x[index].toarray(), "X"))


def dense_blocks(x: Any) -> Iterator[Array]:
    """Cut a sparse matrix into dense rows of at most 4 million numbers."""
    together = max(1, BLOCK // max(1, x.shape[1]))
    x = x.tocsr()
    for start in range(0, x.shape[0], together):
        yield x[start : start + together].toarray()
