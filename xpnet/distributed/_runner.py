"""Running the steps of a chunk of minibatches that several processes share, each of which has a part of every one.

A process may cut its part again. Each part has its own gradient, that of its share of the mean cost. Their sum is the
gradient of the whole minibatch.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import iadd

import numpy as np

from xpnet.backends.base import Eager, cast
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, combine_arrays, leaves
from xpnet.core.costs import Output
from xpnet.core.dropout import drop
from xpnet.core.minibatch import Batch, Encoding, Examples, Minibatch, make_minibatch
from xpnet.core.optimizers import Optimizer
from xpnet.core.step import State, Update, differentiate
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk
from xpnet.distributed._ranks import Ranks
from xpnet.training import ChunkResult, ChunkResults
from xpnet.value import Value


class SharedRunner:
    """Runs the steps of one network with this rank's part of each minibatch; all ranks get the same new state.

    Parameters
    ----------
    reader
        Knows the model, the backend and the dtype.
    optimizer
        The optimizer.
    ranks
        The processes that share the steps.
    """

    division = ()  # a lone network has no group

    def __init__(self, reader: Reader, optimizer: Optimizer, ranks: Ranks) -> None:
        assert isinstance(reader.backend, Eager)
        self.backend, self.dtype, self.ranks = reader.backend, reader.dtype, ranks
        self.run_fields = {"processes": ranks.size}
        self.scope, self.encoding = reader.scope, reader.encoding()
        add_up = partial(ranks.add_up, self.backend.by_columns)
        step = partial(take_shared_step, reader.model.sigmas, reader.model.output, optimizer.update, add_up)
        self.loop = ranks.attach(self.backend).loop(step, partial(make_parts, self.backend.depends_on_alignment))

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Obey a signal of the chunk before, on all ranks, and take the steps of a chunk. Synchronizes."""
        self.ranks.obey()
        return {k: self.run_chunk(values[k].state, chunk) for k, chunk in chunks.items()}

    def run_chunk(self, state: State, chunk: Chunk) -> ChunkResult | None:
        """Run the steps of a chunk on a copy of the state; None if it is no longer finite. Synchronizes."""
        with self.scope():
            weight, totals = self.ranks.weigh(chunk.index, chunk.size, chunk.examples.weight)
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
            weight=np.ascontiguousarray(cast(weight, self.dtype)),
            total=cast(totals, self.dtype),
            rows=None if state.dropout is None else np.ascontiguousarray(np.broadcast_to(places, weight.shape)),
        )
        cost = tuple(self.backend.asarray(np.zeros(rows), self.dtype) for _ in range(parts))
        data = chunk.examples._replace(weight=None), self.encoding._replace(scaling=chunk.scaling)
        return self.loop(state._replace(cost=cost), batches, data)


def take_shared_step(
    sigmas: Sequence[Activation],
    output: Output,
    update: Update,
    add_up: Callable[[Layers, Namespace], Layers],
    state: State,
    parts: Sequence[Minibatch],
    xp: Namespace,
) -> State:
    """Take one step on the parts of a minibatch that this process has; `add_up` adds the gradients of all processes.

    It may overwrite the arrays of `state`, whose cost has an array (m,) for each part.
    """
    grads, costs = add_parts(sigmas, output, state, parts, xp)
    layers, optimizer = update(state.layers, add_up(grads, xp), state.optimizer, parts[0].lr, xp)
    dropout = state.dropout and state.dropout._replace(step=state.dropout.step + 1)
    return State(layers, optimizer, combine_arrays(iadd, state.cost, costs), dropout)


def add_parts(
    sigmas: Sequence[Activation], output: Output, state: State, parts: Sequence[Minibatch], xp: Namespace
) -> tuple[Layers, tuple[Array, ...]]:
    """Compute the sum of the gradients of parts of a minibatch, and the costs of each part.

    The sums form a binary tree: each half of the parts is added up by itself.
    """
    if len(parts) == 1:
        (part,) = parts
        x, masked_sigmas, _ = drop(state.dropout, sigmas, part.x, state.layers, xp, part.rows)
        output = output.with_inputs(part.x)  # without masks
        grads, cost = differentiate(masked_sigmas, output, state.layers, part._replace(x=x), xp)
        return grads, (cost,)
    half = len(parts) // 2
    grads, costs = add_parts(sigmas, output, state, parts[:half], xp)
    other_grads, other_costs = add_parts(sigmas, output, state, parts[half:], xp)
    return combine_arrays(iadd, grads, other_grads), costs + other_costs


def make_parts(copies: bool, rows: Examples, encoding: Encoding, batch: Batch, xp: Namespace) -> tuple[Minibatch, ...]:
    """Decode the examples of one step, or of a stack of steps, and cut them into parts along the axis before the rows.

    Parameters
    ----------
    copies
        Whether the inputs of each part are copied to memory of their own, as a product may depend on its alignment.
    rows, encoding, batch
        As in `make_minibatch`; indices and weights are of shape (..., parts, m).
    xp
        Namespace of the arrays.
    """
    whole = make_minibatch(rows, encoding, batch, xp)
    of_rows = {name: getattr(whole, name) for name in ("x", "y", "weight", "rows", "slopes", "slope_weights")}
    steps = (slice(None),) * (batch.index.ndim - 2)  # the axis of a stack of them

    def cut(i: int) -> Minibatch:
        part = {name: x[(*steps, i, ...)] for name, x in of_rows.items() if x is not None}
        return whole._replace(**part | {"x": xp.asarray(part["x"], copy=True) if copies else part["x"]})

    return tuple(cut(i) for i in range(batch.index.shape[-2]))
