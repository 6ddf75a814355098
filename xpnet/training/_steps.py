"""Running the steps of a chunk of minibatches on a network's state."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from xpnet.backends.base import Loop, Speed, cast
from xpnet.backends.identity import is_fixed
from xpnet.core.arrays import leaves
from xpnet.core.members import MemberState
from xpnet.core.minibatch import Batch, Examples, make_minibatch
from xpnet.core.model import Model
from xpnet.core.optimizers.base import Optimizer, WholeStep
from xpnet.core.scaling import AnyScaling
from xpnet.core.step import State, make_step
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk
from xpnet.training._loops import Loops

CHUNK_SECONDS = 0.1
FEWEST_STEPS = 20  # in a chunk


# The state after a chunk of steps; the sum over its examples, of each cost times its weight; the sum of their weights;
# and how the steps ran
Result: TypeAlias = tuple[State | MemberState, float, float, str]
Results: TypeAlias = dict[int, Result | None]  # by the numbers of the networks; None if it is not finite


class ChunkRunner:
    """Runs the steps of chunks.

    Parameters
    ----------
    reader
        Knows the model, the backend and the dtype.
    optimizer
        The optimizer.
    alpha
        Adds α/2m ‖w‖² to the cost of a minibatch; m is the sum of its examples' weights.
    loops
        Loops of other runners for networks of the same model, if any.
    """

    def __init__(self, reader: Reader, optimizer: Optimizer, alpha: float = 0.0, loops: Loops | None = None) -> None:
        self.backend, self.dtype, self.alpha = reader.backend, reader.dtype, alpha
        self.scope, self.encoding = reader.scope, reader.encoding()
        # What uses linalg cannot be recorded
        plain = partial(Loop, self.backend) if getattr(optimizer, "linalg", ()) and not self.backend.compiles else None

        def prepare(update: Any) -> Callable[[], AbstractContextManager[Loop]]:
            step = make_step(reader.model.sigmas, reader.model.output, update)
            make = partial(plain or self.backend.loop, step, make_minibatch)
            if loops is not None and is_fixed(step):
                return partial(loops.lend, update, make)
            return partial(nullcontext, make())

        self.lend_taking, add = prepare(optimizer.update), getattr(optimizer.update, "add", None)
        self.lend_adding = self.lend_taking if add is None else prepare(WholeStep(add))

    def lend(self, lr: np.ndarray) -> AbstractContextManager[Loop]:
        """Lend the loop for steps with these rates; where they are 0, whole steps only add parts of the examples."""
        return self.lend_taking() if lr.any() else self.lend_adding()

    def run(self, state: State, chunk: Chunk) -> Result | None:
        """Run the steps of a chunk on a copy of the state; None if it is no longer finite. Synchronizes.

        Minibatches of zero weight are skipped: they would change nothing.
        """
        with self.scope(), self.lend(chunk.lr) as loop:
            weights = minibatch_weights(chunk)
            used = weights > 0
            if not used.any():
                return state, 0.0, 0.0, loop.engine
            batches = Batch(
                index=chunk.index[used],
                lr=cast(chunk.lr[used], self.dtype),
                decay=cast(self.alpha / weights[used], self.dtype) if self.alpha else None,
            )
            new = self.repeat(loop, state, chunk.examples, chunk.scaling, batches)
            if not self.backend.all_finite(leaves((new.cost, new.layers))):
                return None
            cost = float(self.backend.to_numpy(new.cost).sum(dtype=np.float64))
            return new, cost, float(weights.sum()), loop.engine

    def repeat(self, loop: Loop, state: State, examples: Examples, scaling: AnyScaling | None, batches: Batch) -> State:
        """Repeat the step for every batch, on a copy of the state. The new state holds the costs of these steps."""
        with self.scope():
            cost = self.backend.asarray(np.zeros(batches.index.shape[1:]), self.dtype)
            return loop(state._replace(cost=cost), batches, (examples, self.encoding._replace(scaling=scaling)))


def minibatch_weights(chunk: Chunk) -> np.ndarray:
    """Sum the weights of the examples in each minibatch."""
    weights = chunk.weigh()
    if weights is None:
        return np.full(len(chunk.index), float(chunk.index.shape[1]))
    return weights.sum(axis=-1, dtype=np.float64)


def steps_per_chunk(model: Model, batch_size: int, speed: Speed, networks: int = 1) -> int:
    """Choose the number of steps in a chunk: about a tenth of a second's, or more where copying the state takes long.

    The time of a step is a rough estimate, for one core: calls of operations, passes over the weights, and products. It
    reads no clock, so the same training always has the same chunks.

    Parameters
    ----------
    model
        The structure of the network.
    batch_size
        Examples in a minibatch.
    speed
        `Backend.speed`.
    networks
        The number of networks that are trained in one program.

    Examples
    --------
    >>> from xpnet import Network, get_backend
    >>> small, large = Network([784, 30, 10]).value.model, Network([784, 2048, 2048, 10]).value.model
    >>> speed = get_backend("numpy").speed
    >>> steps_per_chunk(small, 10, speed), steps_per_chunk(large, 512, speed)
    (1566, 20)
    """
    n_weights = networks * model.n_weights
    step = speed.layer * len(model.shapes) + n_weights * (speed.weight + speed.product * batch_size)
    return max(FEWEST_STEPS, int(max(CHUNK_SECONDS, speed.copies * n_weights) / step))
