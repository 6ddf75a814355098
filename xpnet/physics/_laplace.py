"""Fitting the Laplace approximation; the formulas are in `core.laplace`.

To examples, it is fitted block by block. Where weights were fitted to equations, each observation has the precision of
its noise. Equations have that of their weights, in proportion to those of the observations, as in the cost that `solve`
has minimized. Coefficients have a flat prior: what their columns can bring about is taken out of the rows of J, which
gives the distribution of the weights for all their values.
"""

from collections.abc import Sequence
from functools import partial
from operator import iadd
from typing import Any

import numpy as np

from xpnet._checks import is_list
from xpnet.backends import require_bytes
from xpnet.core.arrays import Layers, combine_arrays, count_elements, leaves, map_arrays
from xpnet.core.laplace import (
    MOST_CHANGE,
    Evidence,
    Laplace,
    Residuals,
    begin_evidence,
    estimate_precisions,
    find_matrix,
    init_evidence,
    sum_residuals,
)
from xpnet.core.least_squares import SQUARED, has_noise, normal_equations
from xpnet.core.minibatch import Batch, Minibatch, make_minibatch
from xpnet.core.model import count_parameters
from xpnet.data.open import add_slopes, open_source
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.physics._residuals import Term
from xpnet.physics._sampling import find_sampling, remove
from xpnet.physics._terms import parse_solution
from xpnet.value import Objective, Value

MOST_ESTIMATES = 100  # of the precisions, with the weights held
LEAST_CHANGE = 1e-3  # of a precision, relative to itself; estimates that change less are the last
MATRICES = 4  # of P × P numbers in memory at once, beside two for each group of residuals


def fit_laplace(value: Value, data: Any, slopes: Any) -> Laplace:
    """Find the distribution of the weights, by training examples or by the terms of `solve`. Synchronizes."""
    if is_list(data) and any(isinstance(part, Term) for part in data[:1]):
        if slopes is not None:
            raise ArgumentError("slopes are for training examples, and these are terms; leave them out")
        return _fit_to_terms(value, data)
    return fit_to_examples(value, add_slopes(open_source(data, "train_data", value.reader), slopes))


def fit_to_examples(value: Value, source: Source) -> Laplace:
    """Find the distribution of the weights from training examples; see `Network.fit_laplace`. Synchronizes.

    The precisions are estimated with the weights held, from those of Bayesian Levenberg-Marquardt on, if it has trained
    the network.
    """
    n_in = 0 if source.reader.slope_weight is None else value.model.n_in
    _require_fit(value, n_in)
    _require_fit_to_data(value, has_slopes=n_in > 0)
    model, backend = value.model, value.backend
    factor = 1.0 if model.cost.has_std else SQUARED[model.cost.name](model.n_out)
    with backend.scope("float64"):
        layers = map_arrays(partial(backend.asarray, dtype="float64"), value.layers)
        residuals = _sum(value, layers, factor, source)
        layers, memory = map_arrays(backend.to_numpy, (layers, value.state.optimizer.memory))
    evidence = init_evidence(layers, np.zeros(()))
    if isinstance(memory, Evidence):
        evidence = map_arrays(np.float64, memory)
    laplace = _find_distribution(evidence, layers, residuals, factor)
    return laplace._replace(noise=laplace.noise[: model.n_targets])


def _fit_to_terms(value: Value, terms: Sequence[Term]) -> Laplace:
    """Find the distribution of the weights of a solution, whatever its coefficients are. Synchronizes."""
    _require_fit(value)
    with value.scope():
        terms = parse_solution("fit_laplace", terms, value)
        *_, noise, blocks = find_sampling(terms, value)
        layers = map_arrays(value.backend.to_numpy, value.layers)
    if np.isnan(noise).any() or not noise.any():
        raise ArgumentError(
            "fit_laplace needs the noise of observations; give their terms noise=, and a number where there are too "
            'few of them for "estimate"'
        )
    seen = noise > 0.0
    weights, lengths = np.array([[term.weight, term.x.shape[0]] for term in terms]).T
    precisions = lengths / np.where(seen, noise, 1.0) ** 2 / weights
    precisions[~seen] = np.average(precisions[seen], weights=weights[seen])
    rows = np.concatenate([np.sqrt(precision) * block for precision, block in zip(precisions, blocks)])
    n = count_elements(layers)
    rows, _ = remove(rows[:, n:-1], rows[:, :n])
    one = np.ones((1, 1))
    residuals = Residuals([rows.T @ rows], None, inputs=np.ones((1, value.model.n_in)), examples=one, weight=one)
    laplace = _find_distribution(init_evidence(layers, np.zeros(())), layers, residuals, 1.0)
    return laplace._replace(noise=np.broadcast_to(0.0, value.model.n_targets))


def _find_distribution(evidence: Evidence, layers: Layers, residuals: Residuals, factor: float) -> Laplace:
    """Estimate the precisions until they settle, with the weights held, and factor M⁻¹; all arrays are NumPy's.

    M = U Uᵀ with an upper triangular U, as Cholesky's factorization finds it from the last row on; so F = U⁻ᵀ. The
    parameters are those of `estimate_precisions` and `begin_evidence`. The arrays of the result cannot be written to.
    """
    evidence, units = begin_evidence(evidence, residuals, factor, np)
    try:
        for _ in range(MOST_ESTIMATES):
            before = evidence
            evidence, _ = estimate_precisions(before, layers, residuals, units, MOST_CHANGE, np)
            # Halfway: where the data hardly determine a group of weights, estimates of its α swing
            weights = combine_arrays(lambda old, new: np.sqrt(old * new), before.weights, evidence.weights)
            evidence = evidence._replace(weights=weights)
            pairs = zip(leaves(evidence), leaves(before))
            if all((abs(new - old) <= LEAST_CHANGE * old).all() for new, old in pairs):
                break
        matrix: np.ndarray = find_matrix(evidence, layers, residuals, np)[0] * (evidence.noise.mean() * residuals.n)
        upper = np.linalg.cholesky(matrix[::-1, ::-1])[::-1, ::-1]
        lower = np.tril(np.linalg.inv(upper).T)
        if not np.isfinite(lower).all():
            raise np.linalg.LinAlgError
    except np.linalg.LinAlgError as error:
        raise ArgumentError(
            f"fit_laplace cannot tell the effects of the {count_elements(layers):,} weights and biases apart in "
            "float64, as with inputs or targets far from 0; make the network with standardize=True, or train longer"
        ) from error
    laplace = Laplace(lower, 1.0 / (evidence.noise[0] * factor))
    for array in laplace:
        array.flags.writeable = False
    return laplace


def _sum(value: Value, layers: Layers, factor: float, source: Source) -> Any:
    """Sum over all examples, block by block; return `Residuals` of NumPy arrays."""
    backend, encoding, sums = value.backend, source.reader.encoding(), None
    for block in source.blocks(count_parameters(value.model.sizes)):
        minibatch = make_minibatch(block, encoding, Batch(None, None, weight=block.weight), value.xp)
        minibatch = map_arrays(partial(backend.asarray, dtype="float64"), minibatch)
        part = map_arrays(backend.to_numpy, _sum_block(value, layers, factor, minibatch))
        sums = combine_arrays(iadd, sums, part) if sums else map_arrays(np.array, part)
    return sums


def _sum_block(value: Value, layers: Layers, factor: float, minibatch: Minibatch) -> Residuals:
    """Sum over the examples of a block."""
    sigmas, xp, x, y = value.model.sigmas, value.xp, minibatch.x, minibatch.y
    w = xp.ones_like(y[:, 0]) if minibatch.weight is None else minibatch.weight
    slope_weights = minibatch.slope_weights
    slope_share = None if slope_weights is None else w[:, None, None] * slope_weights
    cost = value.model.cost if value.model.cost.has_std else None
    matrices, _, squares = normal_equations(
        layers, sigmas, x, y, factor * w, xp, minibatch.slopes, slope_share, cost, in_groups=cost is None
    )
    return sum_residuals(matrices, None if cost else squares, minibatch, w, xp)


def _require_fit(value: Value, n_slopes: int = 0) -> None:
    """Refuse a network that does not minimize squared errors, or whose matrices do not fit into memory.

    With slopes, there is a matrix for each input by which they are, and `n_slopes` is their number.
    """
    model = value.model
    if model.task != "regression" or not has_noise(model.cost):
        raise ArgumentError(
            f'fit_laplace needs a regression with cost="quadratic", "mse" or "gaussian", and this network has '
            f'task={model.task!r} and cost={model.cost.name!r}; make one with task="regression", or see calibrate for '
            "other error bars"
        )
    if value.backend.on_host:
        n_parameters = count_parameters(model.sizes)
        require_bytes(
            (MATRICES + 2 * (model.n_targets + n_slopes)) * 8 * n_parameters**2,
            f"fit_laplace with the {n_parameters:,} weights and biases of {list(model.sizes)} needs",
            'use an Ensemble, cost="gaussian", or calibrate, or a smaller network',
        )


def _require_fit_to_data(value: Value, has_slopes: bool) -> None:
    """Refuse weights that are not those of a training on such data: targets, and slopes if there are any."""
    provenance, objective = value.provenance, value.objective
    if provenance.init is not None and not provenance.runs and not provenance.edited:
        raise ArgumentError(
            "fit_laplace needs a trained network, and this one has its first weights; call train before"
        )
    if objective.coefficients is not None:
        raise ArgumentError("the weights were fitted by solve; give fit_laplace its terms in place of examples")
    if has_slopes and objective == Objective():
        raise ArgumentError("slopes are for a network that was trained with them, and this one was not; leave them out")
    if not has_slopes and objective != Objective():
        raise ArgumentError("the weights were fitted to slopes, too, which error bars would leave out; give slopes=")
