"""Error bars of solutions: the Laplace approximation of weights that were fitted to equations and observations.

Each observation has the precision of its noise. Equations have that of their weights, in proportion to those of the
observations, as in the cost that `solve` has minimized. Coefficients have a flat prior: what their columns can bring
about is taken out of the rows of J, which gives the distribution of the weights for all their values.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet._checks import is_list
from xpnet.core.arrays import map_arrays
from xpnet.core.laplace import Laplace, Residuals, begin_evidence, init_evidence
from xpnet.data.open import add_slopes, open_source
from xpnet.errors import ArgumentError
from xpnet.physics._laplace import find_distribution, fit_laplace, require_fit
from xpnet.physics._residuals import Term
from xpnet.physics._sampling import find_basis, find_sampling
from xpnet.physics._terms import parse_solution
from xpnet.value import Value


def find_laplace(value: Value, data: Any, slopes: Any) -> Laplace:
    """Find the distribution of the weights, by training examples or by the terms of `solve`. Synchronizes."""
    if is_list(data) and any(isinstance(part, Term) for part in data):
        if slopes is not None:
            raise ArgumentError("slopes are for training examples, and these are terms; leave them out")
        return fit_to_terms(value, data)
    return fit_laplace(value, add_slopes(open_source(data, "train_data", value.reader), slopes))


def fit_to_terms(value: Value, terms: Sequence[Term]) -> Laplace:
    """Find the distribution of the weights of a solution, whatever its coefficients are. Synchronizes."""
    require_fit(value)
    with value.scope():
        terms, present, held = parse_solution("fit_laplace", terms, value)
        *_, noise, blocks = find_sampling(terms, present, held, value.backend.to_numpy)
        layers = map_arrays(value.backend.to_numpy, present.layers)
    if np.isnan(noise).any() or not noise.any():
        raise ArgumentError(
            "fit_laplace needs the noise of observations; give their terms noise=, and a number where there are too "
            'few of them for "estimate"'
        )
    seen = noise > 0.0
    weights, lengths = np.array([[term.weight, term.x.shape[0]] for term in terms]).T
    precisions = lengths / np.where(seen, noise, 1.0) ** 2 / weights
    precisions[~seen] = np.sum(precisions[seen] * weights[seen]) / np.sum(weights[seen])
    rows = np.concatenate([np.sqrt(factor) * block for factor, block in zip(precisions, blocks)])
    columns = rows[:, -1 - len(held) : -1][:, ~np.array(held, bool)]
    basis, rows = find_basis(columns), rows[:, : -1 - len(held)]
    rows = rows - basis @ (basis.T @ rows)
    ones = np.ones((1, 1))
    evidence = init_evidence(layers, np.zeros(()))._replace(noise=ones)
    evidence, units = begin_evidence(evidence, np.ones((1, value.model.n_in)), ones, 1.0, np)
    residuals = Residuals([rows.T @ rows], np.array(1.0))
    nothing = np.zeros(value.model.n_targets)
    nothing.flags.writeable = False
    return find_distribution(evidence, layers, residuals, units, 1.0)._replace(noise=nothing)
