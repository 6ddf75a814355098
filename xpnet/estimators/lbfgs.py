"""L-BFGS: SciPy's, on the gradients of a network, which are computed wherever the network lives."""

import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.optimize

from xpnet.arrays import Array, Layers, Namespace, bound, each_array, leaves, map_arrays, refill
from xpnet.backends import on_host
from xpnet.backprop import Spec, State, make_step
from xpnet.data import Chunk, Kept, Sampling, cut
from xpnet.examples import Batch, gather

if TYPE_CHECKING:
    from xpnet.estimators.sparse_rows import SparseRows
    from xpnet.network import Network

TOGETHER = 2048  # examples whose gradient is computed together: on the host, so that memory is small
ON_DEVICE = 8192  # ... and on a device, where a few large steps cost less than many small ones
STEPS = 10_000  # at most so many of these in a chunk

IN_ORDER = Sampling(
    lambda n, batch_size: math.ceil(n / batch_size),
    lambda n, batch_size, rng: cut(np.arange(n, dtype=np.int32), batch_size),
)


def _add_up(layers: Layers, grads: Layers, state: Layers, lr: Array, xp: Namespace) -> tuple[Layers, Layers]:
    """Update of an optimizer that moves nothing: its state is the sum of the gradients, each times its `lr`."""
    (total,) = each_array(lambda s, g: (s + lr * g,), state, grads)
    return layers, total


def minimize(
    net: "Network",
    source: "Kept | SparseRows",
    alpha: float,
    options: dict[str, Any],
    say: Callable[[int, float], None],
) -> Any:
    """Find the weights of least cost by L-BFGS-B, from those that the network has, and give them to it.

    The cost is the mean over all examples, by their weights, plus α/2W ‖w‖², with W the sum of the weights.

    Parameters
    ----------
    net
        The network.
    source
        The examples.
    alpha
        α.
    options
        Those of SciPy's method.
    say
        Called with the number and the cost of each iteration.

    Returns
    -------
    scipy.optimize.OptimizeResult
        As SciPy gives it.
    """
    backend, dtype = net.backend, net.dtype
    step = make_step(Spec(net.sigmas, net.output, _add_up))
    begin = map_arrays(backend.to_numpy, net.state.layers)
    together = min(TOGETHER if on_host(backend) else ON_DEVICE, bound(1, net.sizes[0]))
    kept: dict[Any, Any] | None = {} if isinstance(source, Kept) else None
    weight = source.examples.weight
    weight = np.ones(source.examples.y.shape[0]) if weight is None else backend.to_numpy(weight).astype(np.float64)
    total = float(weight.sum())

    def chunks() -> Iterator[tuple[Chunk, np.ndarray]]:
        """Blocks of examples in order, and the sum of the weights in each."""
        done = 0
        for chunk in source.chunks(IN_ORDER, net.rng, together, STEPS):
            yield chunk, weight[done : done + chunk.index.size].reshape(chunk.index.shape).sum(axis=1)
            done += chunk.index.size

    def layers_of(flat: np.ndarray) -> Layers:
        parts = np.split(flat, np.cumsum([x.size for x in leaves(begin)])[:-1])
        with np.errstate(over="ignore"):
            shaped = [part.reshape(x.shape).astype(dtype) for part, x in zip(parts, leaves(begin))]
        return net.owned(refill(begin, shaped))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        layers, cost = layers_of(flat), 0.0
        state = State(layers, map_arrays(lambda x: 0.0 * x, layers), backend.asarray(np.zeros(1), dtype))
        for chunk, weights in chunks():
            live = None if weights.all() else backend.asarray(weights > 0)
            share, decay = (backend.asarray(x, dtype) for x in (weights / total, np.full(len(weights), alpha / total)))
            batches = Batch(backend.asarray(chunk.index), share, live, decay if alpha else None)
            state = state._replace(cost=backend.asarray(np.zeros(chunk.index.shape[1]), dtype))
            state = backend.fold(step, gather, state, batches, chunk.examples, kept)
            cost += float(backend.to_numpy(state.cost).sum(dtype=np.float64))
        return cost / total, _flat(map_arrays(backend.to_numpy, state.optimizer))

    result = scipy.optimize.minimize(
        objective, _flat(begin), method="L-BFGS-B", jac=True, options=options, callback=_telling(say)
    )
    net.state = net.state._replace(layers=layers_of(result.x))
    return result


def _flat(arrays: Layers) -> np.ndarray:
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in leaves(arrays)])


def _telling(say: Callable[[int, float], None]) -> Callable[..., None]:
    numbers = count(1)

    def told(intermediate_result: Any) -> None:  # by this name SciPy knows what it is to be given
        say(next(numbers), float(intermediate_result.fun))

    return told
