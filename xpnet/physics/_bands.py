"""Error bars of solutions: the Laplace approximation of weights that were fitted to equations and observations.

Each observation has the precision of its noise. Equations have that of their weights, in proportion to those of the
observations, as in the cost that `solve` has minimized. Coefficients have a flat prior: what their columns can bring
about is taken out of the rows of J, which gives the distribution of the weights for all their values.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet._checks import is_list
from xpnet.core.arrays import count_elements, map_arrays
from xpnet.core.laplace import Laplace, Residuals, begin_evidence, init_evidence
from xpnet.data.open import add_slopes, open_source
from xpnet.errors import ArgumentError
from xpnet.physics._laplace import find_distribution, fit_to_examples, require_fit
from xpnet.physics._residuals import Term
from xpnet.physics._sampling import find_sampling, remove
from xpnet.physics._terms import parse_solution
from xpnet.value import Value


def fit_laplace(value: Value, data: Any, slopes: Any) -> Laplace:
    """Find the distribution of the weights, by training examples or by the terms of `solve`. Synchronizes."""
    if is_list(data) and any(isinstance(part, Term) for part in data[:1]):
        if slopes is not None:
            raise ArgumentError("slopes are for training examples, and these are terms; leave them out")
        return fit_to_terms(value, data)
    return fit_to_examples(value, add_slopes(open_source(data, "train_data", value.reader), slopes))


def fit_to_terms(value: Value, terms: Sequence[Term]) -> Laplace:
    """Find the distribution of the weights of a solution, whatever its coefficients are. Synchronizes."""
    require_fit(value)
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
    evidence, squares = init_evidence(layers, np.zeros(())), np.ones((1, value.model.n_in))
    evidence, units = begin_evidence(evidence, squares, np.ones((1, 1)), 1.0, np)
    laplace = find_distribution(evidence, layers, Residuals([rows.T @ rows], np.array(1.0)), units, 1.0)
    return laplace._replace(noise=np.broadcast_to(0.0, value.model.n_targets))
