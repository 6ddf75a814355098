"""Error bars by the Laplace approximation; the formulas are in `core.laplace` and `core.evidence`."""

from functools import partial
from typing import Any

import numpy as np

from xpnet.backends.memory import count_parameters, on_host_only, require_bytes
from xpnet.core.arrays import Array, join_layers, leaves, map_arrays
from xpnet.core.backprop import forward
from xpnet.core.evidence import (
    MOST_CHANGE,
    Evidence,
    begin,
    estimate_precisions,
    find_decays,
    init_evidence,
    unit_precisions,
)
from xpnet.core.laplace import Laplace, outputs_with_variances
from xpnet.core.least_squares import SQUARED, normal_equations
from xpnet.core.minibatch import decode
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.inspection.predict import compute_for_rows
from xpnet.state.view import View

MOST_ESTIMATES = 100  # of the precisions
LEAST_CHANGE = 1e-3  # of a precision, relative to itself; estimates that change less are the last
MATRICES = 4  # of P × P numbers in memory at once


def fit_laplace(view: View, source: Source) -> Laplace:
    """Find the covariance of a network's weights from its training examples; see `Network.fit_laplace`. Synchronizes.

    The precisions are estimated with the weights held, from those of Bayesian Levenberg-Marquardt on, if it has trained
    the network.
    """
    _require_squares(view)
    model, backend, xp = view.model, view.backend, view.xp
    n_parameters = count_parameters(model.sizes)
    require_bytes(
        on_host_only(backend, MATRICES * 8 * n_parameters**2),
        f"fit_laplace with the {n_parameters:,} weights and biases of {list(model.sizes)} needs",
        'use an Ensemble, cost="gaussian", or calibrate, or a smaller network',
    )
    factor, matrix = SQUARED[model.cost.name](model.n_out), np.zeros((n_parameters, n_parameters))
    n, total, cost = 0, 0.0, 0.0  # examples with a weight, the sum of the weights, and that of weighted costs
    input_squares = np.zeros((1, model.n_in))  # their sums, times the weights
    targets, target_squares = np.zeros(model.n_out), np.zeros(model.n_out)  # likewise
    with view.scope():
        placed = view.layers
        encoding = source.reader.encoding()
        blocks = [(*decode(part.x, part.y, encoding, xp), part.weight) for part in source.blocks(n_parameters)]
    with backend.scope("float64"):
        layers = map_arrays(partial(backend.asarray, dtype="float64"), placed)
        for x, y, weight in blocks:
            x, y = (backend.asarray(part, "float64") for part in (x, y))
            weight = xp.ones_like(y[:, 0]) if weight is None else backend.asarray(weight, "float64")
            part, _ = normal_equations(layers, model.sigmas, x, y, factor * weight, xp)
            _, activations = forward(layers, model.sigmas, x, xp)
            squares = xp.sum(weight[:, None] * (activations[-1] - y) ** 2)
            matrix += backend.to_numpy(part)
            cost += 0.5 * factor * float(backend.to_numpy(squares))
            input_squares += backend.to_numpy(xp.sum(weight[:, None] * x * x, axis=0, keepdims=True))
            targets += backend.to_numpy(xp.sum(weight[:, None] * y, axis=0))
            target_squares += backend.to_numpy(xp.sum(weight[:, None] * y * y, axis=0))
            weight = backend.to_numpy(weight)
            n, total = n + int(np.count_nonzero(weight)), total + weight.sum()
        layers = map_arrays(backend.to_numpy, layers)
    matrix /= total
    variance = np.mean(target_squares / total - (targets / total) ** 2)
    scales = input_squares / total, np.maximum(variance, np.finfo(np.float64).tiny), factor
    evidence = _find_evidence(view, layers, matrix, scales, np.array(cost / total), n)
    decay = join_layers(find_decays(evidence, layers, np.array(float(n))), np)
    covariance = np.linalg.inv(matrix + np.diag(decay[:, 0])) / (evidence.noise * n)
    laplace = Laplace((covariance + covariance.T) / 2, np.reshape(1.0 / (evidence.noise * factor), (1,)))
    for array in laplace:
        array.flags.writeable = False
    return laplace


def _require_squares(view: View) -> None:
    """Refuse a network that does not minimize squared errors."""
    if view.model.task != "regression" or view.model.cost.name not in SQUARED:
        raise ArgumentError(
            f'fit_laplace needs a regression with cost="quadratic" or "mse", and this network has '
            f'task={view.model.task!r} and cost={view.model.cost.name!r}; make one with task="regression", or see '
            "calibrate for other error bars"
        )


def _find_evidence(
    view: View, layers: Any, matrix: np.ndarray, scales: tuple[np.ndarray, np.ndarray, float], cost: np.ndarray, n: int
) -> Evidence:
    """Estimate the precisions, with the weights held, until they settle."""
    memory, n_examples = view.value.state.optimizer.memory, np.array(float(n))
    evidence = init_evidence(layers, np.zeros(()))
    if isinstance(memory, Evidence):
        with view.scope():
            evidence = map_arrays(lambda x: np.asarray(view.backend.to_numpy(x), np.float64), memory)
    input_squares, variance, factor = scales
    units = unit_precisions(evidence, input_squares, variance, np)
    evidence = begin(evidence, units, 1.0 / (factor * variance), np)
    for _ in range(MOST_ESTIMATES):
        n_targets = view.model.n_out * n_examples
        new = estimate_precisions(evidence, layers, matrix, cost, n_examples, n_targets, units, MOST_CHANGE, np)
        pairs = zip(leaves((new.noise, new.weights)), leaves((evidence.noise, evidence.weights)))
        has_settled = all((abs(after - before) <= LEAST_CHANGE * before).all() for after, before in pairs)
        evidence = new
        if has_settled:
            break
    return evidence


def predict_with_variances(view: View, x: Any) -> Array:
    """Predict bars, (m, n_targets, 2), of a network with a Laplace approximation."""
    laplace = view.value.laplace
    assert laplace is not None
    with view.scope():
        covariance, noise = (view.backend.asarray(array, view.dtype) for array in laplace)

    def compute(inputs: Array) -> Array:
        function = partial(outputs_with_variances, view.model.sigmas)
        both, xp = view.backend.call(function, view.layers, covariance, noise, inputs), view.xp
        mean, std = view.scale_back(both[..., 0]), xp.sqrt(both[..., 1])
        with view.output_scope():
            factor = None if view.target_scaling is None else view.target_scaling[1]
            std = view.backend.asarray(std, view.output_dtype)
            return xp.stack([mean, std if factor is None else std * factor], axis=-1)

    return compute_for_rows(view, x, compute)
