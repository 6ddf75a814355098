"""L-BFGS: SciPy's optimizer, with gradients that are computed on the device of the network."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import scipy.optimize

from xpnet.backends import AUTO, choose_threads, describe_versions, limit_threads
from xpnet.backends.base import cast
from xpnet.core.arrays import Array, Layers, Namespace, leaves, map_arrays, map_layers, rebuild, rows_per_block
from xpnet.core.minibatch import Batch, make_minibatch
from xpnet.core.step import State, make_step
from xpnet.data import Stored
from xpnet.data.sampling import Sampling, count_minibatches, cut_into_minibatches
from xpnet.value import Run, Value

ROWS_ON_HOST = 2048  # examples in a step on the host, where few save memory
ROWS_ON_DEVICE = 8192  # examples in a step on a device, where a few large steps cost less than many small ones
MAX_STEPS = 10_000  # in a chunk

IN_ORDER = Sampling(
    "in order",
    count_minibatches,
    lambda n, batch_size, rng: cut_into_minibatches(np.arange(n, dtype=np.int32), batch_size),
)


def add_gradients(layers: Layers, grads: Layers, state: Layers, lr: Array, xp: Namespace) -> tuple[Layers, Layers]:
    """Add gradients, each times `lr`, to the state of an optimizer that changes no weights."""
    (total,) = map_layers(lambda s, g: (s + lr * g,), state, grads)
    return layers, total


class Objective:
    """The cost over all examples and its gradient, as functions of one flat vector of weights and biases.

    The cost is the mean over all examples, by their weights, plus α/2W ‖w‖², with W the sum of the weights.

    Parameters
    ----------
    value
        The network.
    source
        The examples.
    alpha
        α.
    """

    def __init__(self, value: Value, source: Stored, alpha: float) -> None:
        self.value, self.source, self.alpha = value, source, alpha
        backend = value.backend
        with value.scope():
            self.layers = map_arrays(backend.to_numpy, value.layers)  # all later weights have their shapes and dtypes
            self.encoding = source.reader.encoding()
            weight = np.ones(len(source)) if source.weight is None else source.weight.astype(np.float64)
            step = make_step(value.model.sigmas, value.model.output, add_gradients)
            self.loop = backend.loop(step, make_minibatch)
        self.weight, self.total = weight, float(weight.sum())
        self.rng = np.random.default_rng(0)  # `chunks` asks for a generator; examples in order do not use it
        self.rows = min(ROWS_ON_HOST if backend.on_host else ROWS_ON_DEVICE, rows_per_block(value.model.n_in))

    def __call__(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute cost and gradient. Synchronizes once a chunk."""
        backend, dtype, done, cost = self.value.backend, self.value.dtype, 0, 0.0
        layers = self.unflatten(flat)
        with self.value.scope():
            zeros = map_arrays(lambda x: 0.0 * x, layers)
            state = State(layers, zeros, backend.asarray(np.zeros(1), dtype))
            for chunk in self.source.chunks(IN_ORDER, self.rng, self.rows, MAX_STEPS):
                weights = self.weight[done : done + chunk.index.size].reshape(chunk.index.shape).sum(axis=1)
                done, used = done + chunk.index.size, weights > 0
                if not used.any():
                    continue
                batches = Batch(
                    index=chunk.index[used],
                    lr=cast(weights[used] / self.total, dtype),
                    decay=cast(np.full(used.sum(), self.alpha / self.total), dtype) if self.alpha else None,
                )
                state = state._replace(cost=backend.asarray(np.zeros(chunk.index.shape[1]), dtype))
                state = self.loop(state, batches, (chunk.examples, self.encoding))
                cost += float(backend.to_numpy(state.cost).sum(dtype=np.float64))
            return cost / self.total, flatten(map_arrays(backend.to_numpy, state.optimizer))

    def unflatten(self, flat: np.ndarray) -> Layers:
        """Copy a flat vector to the device, as weights and biases."""
        arrays = leaves(self.layers)
        parts = np.split(flat, np.cumsum([x.size for x in arrays])[:-1])
        parts = [cast(part.reshape(x.shape), self.value.dtype) for part, x in zip(parts, arrays)]
        with self.value.scope():
            return self.value.backend.copy_nest(rebuild(self.layers, parts), self.value.dtype)


def flatten(layers: Layers) -> np.ndarray:
    """Join NumPy arrays of weights and biases into one float64 vector."""
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in leaves(layers)])


def describe_run(value: Value, n: int, alpha: float, options: dict[str, Any]) -> Run:
    """Describe a training on n examples for the provenance of its network."""
    arguments = ", ".join(f"{name}={option!r}" for name, option in options.items())
    return Run(
        epochs=options["maxiter"],
        batch_size=n,
        sampling=IN_ORDER.name,
        optimizer=f"L-BFGS({arguments})",
        lr="",
        alpha=float(alpha),
        backend=value.backend.name,
        device=value.backend.device_name,
        processes=1,
        versions=f"{describe_versions(value.backend.name)}, scipy {scipy.__version__}",
    )


def minimize(
    value: Value, source: Stored, alpha: float, options: dict[str, Any], on_iteration: Callable[[int, float], None]
) -> tuple[Layers, Any]:
    """Minimize the cost by L-BFGS-B, starting from the weights of a network.

    The number of threads for matrix products is chosen as in `Network.train`.

    Parameters
    ----------
    value, source, alpha
        As in `Objective`.
    options
        The options of SciPy's method.
    on_iteration
        Called with the number and the cost of each iteration.

    Returns
    -------
    layers : Layers
        The weights, on the device.
    result : scipy.optimize.OptimizeResult
        What SciPy returns.
    """
    objective, numbers = Objective(value, source, alpha), count(1)

    def callback(intermediate_result: Any) -> None:  # SciPy looks at the name of the argument
        on_iteration(next(numbers), float(intermediate_result.fun))

    multiplications = value.model.multiplications(min(objective.rows, len(source)))
    with limit_threads(value.backend, choose_threads(value.backend, AUTO, multiplications)):
        result = scipy.optimize.minimize(
            objective, flatten(objective.layers), method="L-BFGS-B", jac=True, options=options, callback=callback
        )
    return objective.unflatten(result.x), result
