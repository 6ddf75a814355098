"""Running the steps of a chunk of minibatches that several processes share."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np

from xpnet.backends.base import Eager, cast
from xpnet.core.arrays import leaves
from xpnet.core.minibatch import Batch
from xpnet.core.optimizers import Optimizer
from xpnet.core.step import State
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk
from xpnet.distributed._ranks import Ranks
from xpnet.distributed._shared_step import make_parts, make_shared_step
from xpnet.training import ChunkResult, ChunkResults
from xpnet.value import Value


@contextmanager
def run_together(
    reader: Reader, optimizer: Optimizer, alpha: float, ranks: Ranks
) -> Generator["SharedRunner", None, None]:
    """Return the context of a runner on several processes; see `SharedRunner`. A signal is obeyed at its end, too."""
    try:
        yield SharedRunner(reader, optimizer, alpha, ranks)
    except BaseException:
        ranks.leave_steps()
        raise
    ranks.obey()


class SharedRunner:
    """Runs the steps of one network with this rank's part of each minibatch; all ranks get the same new state.

    Parameters
    ----------
    reader
        Knows the model, the backend and the dtype.
    optimizer
        The optimizer.
    alpha
        Adds α/2m ‖w‖² to the cost of a minibatch; m is the sum of its examples' weights.
    ranks
        The processes that share the steps.
    """

    division = ()  # a lone network has no group

    def __init__(self, reader: Reader, optimizer: Optimizer, alpha: float, ranks: Ranks) -> None:
        assert isinstance(reader.backend, Eager)
        self.backend, self.dtype, self.alpha, self.ranks = reader.backend, reader.dtype, alpha, ranks
        self.run_fields = {"processes": ranks.size}
        self.scope, self.encoding = reader.scope, reader.encoding()
        add_up = partial(ranks.add_up, self.backend.by_columns)
        step = make_shared_step(reader.model.sigmas, reader.model.output, optimizer.update, add_up)
        make_minibatch = partial(make_parts, self.backend.depends_on_alignment)
        self.loop = ranks.attach(self.backend).loop(step, make_minibatch)

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Obey a signal of the chunk before, on all ranks, and take the steps of a chunk. Synchronizes."""
        self.ranks.obey()
        return {k: self.run_chunk(values[k].state, chunk) for k, chunk in chunks.items()}

    def run_chunk(self, state: State, chunk: Chunk) -> ChunkResult | None:
        """Run the steps of a chunk on a copy of the state; None if it is no longer finite. Synchronizes."""
        with self.scope():
            weight, totals = self.ranks.weigh(chunk.index, chunk.size, chunk.weight)
            used = totals > 0
            if not used.any():
                return {"stored": state}, 0.0, 0.0, self.loop.engine
            new = self._repeat(state, chunk, used, weight[used], totals[used])
            costs = [self.backend.to_numpy(cost) for cost in new.cost]
            cost, finite = self.ranks.sum_costs(costs, self.backend.all_finite(leaves((new.cost, new.layers))))
            if not finite:
                return None
            return {"stored": new._replace(cost=state.cost)}, cost, float(totals.sum()), self.loop.engine

    def _repeat(self, state: State, chunk: Chunk, used: np.ndarray, weight: np.ndarray, totals: np.ndarray) -> State:
        """Repeat the step for every minibatch that has a weight, on a copy of the state."""
        _, parts, rows = weight.shape
        places = self.ranks.find_own(chunk.size).places
        batches = Batch(
            index=np.ascontiguousarray(chunk.index[used].reshape(weight.shape)),
            lr=cast(chunk.lr[used], self.dtype),
            decay=cast(self.alpha / totals, self.dtype) if self.alpha else None,
            weight=np.ascontiguousarray(cast(weight, self.dtype)),
            total=cast(totals, self.dtype),
            rows=None if state.dropout is None else np.ascontiguousarray(np.broadcast_to(places, weight.shape)),
        )
        cost = tuple(self.backend.asarray(np.zeros(rows), self.dtype) for _ in range(parts))
        data = chunk.examples, self.encoding._replace(scaling=chunk.scaling)
        return self.loop(state._replace(cost=cost), batches, data)
