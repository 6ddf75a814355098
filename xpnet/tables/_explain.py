"""Explanations of the members of an ensemble: which columns they use, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xpnet.network.ensemble import Ensemble
from xpnet.tables.recipe import Examples, measure_rises

FEWEST_ROWS = 500  # by which the importance of a column is measured in each member; smaller folds are repeated
MOST_WORK = 200_000  # rows, times columns: of many, a part of the fold is enough


def measure_importances(
    ensemble: Ensemble, examples: Examples, folds: Sequence[np.ndarray], columns: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """Measure the permutation importance of each column among the rows left out, and its spread over the members.

    The importances sum to 1, unless no column has any; the spread is a standard deviation, in the same unit.

    Parameters
    ----------
    ensemble
        Trained members.
    examples
        What they have learned.
    folds
        The rows that each member left out.
    columns
        The number of inputs of each column of the table.
    """
    rng, targets, sizes = np.random.default_rng(0), examples.targets, [*columns.values()]
    most = max(FEWEST_ROWS, MOST_WORK // len(sizes))
    means = list[np.ndarray]()
    for network, fold in zip(ensemble, folds):
        rows = np.resize(rng.permutation(fold), np.clip(len(fold), FEWEST_ROWS, most))
        means.append(measure_rises(network, examples.x[rows], targets[rows], sizes, rng).mean(axis=1))
    mean = np.maximum(np.mean(means, axis=0), 0)
    mean, std = (part / (mean.sum() or 1.0) for part in (mean, np.std(means, axis=0)))
    return dict(zip(columns, zip(mean.tolist(), std.tolist())))
