"""Fitting the Laplace approximation, block by block; the formulas are in `core.laplace`."""

from functools import partial
from operator import add
from typing import Any

import numpy as np

from xpnet.backends import on_host_only, require_bytes
from xpnet.core.arrays import Array, Layers, combine_arrays, count_elements, map_arrays
from xpnet.core.backprop import forward
from xpnet.core.laplace import Evidence, Laplace, Residuals, approximate, begin_evidence, init_evidence
from xpnet.core.least_squares import SQUARED, has_noise, normal_equations
from xpnet.core.minibatch import decode
from xpnet.core.model import count_parameters
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.value import Objective, Value

MATRICES = 4  # of P × P numbers in memory at once, beside one for each target


def fit_laplace(value: Value, source: Source) -> Laplace:
    """Find the covariance of a network's weights from its training examples; see `Network.fit_laplace`. Synchronizes.

    The precisions are estimated with the weights held, from those of Bayesian Levenberg-Marquardt on, if it has trained
    the network.
    """
    require_fit(value)
    _require_fit_to_targets(value)
    model, backend = value.model, value.backend
    factor = 1.0 if model.cost.has_std else SQUARED[model.cost.name](model.n_out)
    with backend.scope("float64"):
        layers = map_arrays(partial(backend.asarray, dtype="float64"), value.layers)
        (matrices, squares, input_squares, targets, target_squares), n = _average(value, layers, factor, source)
        layers = map_arrays(backend.to_numpy, layers)
    limits = np.finfo(np.float64)
    variance = np.maximum(target_squares - targets**2, limits.eps * target_squares + limits.tiny)  # less is rounding
    memory, evidence = value.state.optimizer.memory, init_evidence(layers, np.zeros(()))
    if isinstance(memory, Evidence):
        with value.scope():
            evidence = map_arrays(lambda x: np.asarray(backend.to_numpy(x), np.float64), memory)
    if model.cost.has_std:  # of which each example has its own
        evidence, units = begin_evidence(evidence, input_squares, np.ones_like(evidence.noise), factor, np)
        laplace = find_distribution(evidence, layers, Residuals(matrices, n), units, factor)
        return laplace._replace(noise=laplace.noise[: model.n_targets])
    evidence, units = begin_evidence(evidence, input_squares, variance, factor, np)
    residuals = Residuals(matrices, n, squares, np.full(squares.shape, n))
    return find_distribution(evidence, layers, residuals, units, factor)


def find_distribution(
    evidence: Evidence, layers: Layers, residuals: Residuals, units: Layers, factor: float
) -> Laplace:
    """Find the distribution of the weights, whose arrays cannot be written to; see `approximate`."""
    try:
        laplace = approximate(evidence, layers, residuals, units, factor)
    except np.linalg.LinAlgError as error:
        raise ArgumentError(
            f"fit_laplace cannot tell the effects of the {count_elements(layers):,} weights and biases apart in "
            "float64, as with inputs or targets far from 0; make the network with standardize=True, or train longer"
        ) from error
    for array in laplace:
        array.flags.writeable = False
    return laplace


def _average(value: Value, layers: Layers, factor: float, source: Source) -> tuple[Any, np.ndarray]:
    """Average over examples, weighted, what `_sum_block` lists first; return this, and the number of examples."""
    encoding, sums = source.reader.encoding(), tuple[Any, ...]()
    for block in source.blocks(count_parameters(value.model.sizes)):
        x, y = decode(block.x, block.y, encoding, value.xp)
        part = map_arrays(value.backend.to_numpy, _sum_block(value, layers, factor, x, y, block.weight))
        sums = combine_arrays(add, sums, part) if sums else part
    *sums, n, total = sums
    return map_arrays(lambda part: part / total, tuple(sums)), n


def _sum_block(
    value: Value, layers: Layers, factor: float, x: Array, y: Array, weight: Array | None
) -> tuple[Any, ...]:
    """Sum over examples, weighted: JᵀJ and r² of each target; squares of inputs; targets, their squares; 1; weights."""
    backend, sigmas, xp = value.backend, value.model.sigmas, value.xp
    x, y = (backend.asarray(part, "float64") for part in (x, y))
    w = xp.ones_like(y[:, 0]) if weight is None else backend.asarray(weight, "float64")
    cost, groups = (value.model.cost, None) if value.model.cost.has_std else (None, range(y.shape[-1]))
    matrices, _ = normal_equations(layers, sigmas, x, y, factor * w, xp, cost=cost, groups=groups)
    _, activations = forward(layers, sigmas, x, xp)
    column = w[:, None]
    rows = factor * column * (activations[-1][:, : y.shape[-1]] - y) ** 2, column * x * x, column * y, column * y * y
    sums = (xp.sum(part, axis=0, keepdims=True) for part in rows)
    return tuple(matrices), *sums, xp.sum(xp.astype(w != 0.0, w.dtype)), xp.sum(w)


def require_fit(value: Value) -> None:
    """Refuse a network that does not minimize squared errors, or whose matrices do not fit into memory."""
    model = value.model
    if model.task != "regression" or not has_noise(model.cost):
        raise ArgumentError(
            f'fit_laplace needs a regression with cost="quadratic", "mse" or "gaussian", and this network has '
            f'task={model.task!r} and cost={model.cost.name!r}; make one with task="regression", or see calibrate for '
            "other error bars"
        )
    n_parameters = count_parameters(model.sizes)
    require_bytes(
        on_host_only(value.backend, (MATRICES + model.n_targets) * 8 * n_parameters**2),
        f"fit_laplace with the {n_parameters:,} weights and biases of {list(model.sizes)} needs",
        'use an Ensemble, cost="gaussian", or calibrate, or a smaller network',
    )


def _require_fit_to_targets(value: Value) -> None:
    """Refuse weights that are not those of a training on targets alone."""
    provenance, objective = value.provenance, value.objective
    if provenance.init is not None and not provenance.runs and not provenance.edited:
        raise ArgumentError(
            "fit_laplace needs a trained network, and this one has its first weights; call train before"
        )
    if objective != Objective():
        used = "slopes=" if objective.coefficients is None else "solve"
        raise ArgumentError(
            f"fit_laplace knows targets alone, and the weights were fitted by {used}, which its error bars would leave "
            "out; use an Ensemble, or calibrate on validation data"
        )
