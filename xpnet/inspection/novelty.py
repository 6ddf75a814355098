"""Novelty: how far rows are from the training data of a network; the formulas are in `core.novelty`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet.core.arrays import Array
from xpnet.core.novelty import (
    Novelty,
    choose_directions,
    leave_one_out,
    measure_distances,
    rank_distances,
    sort_distances,
    sum_products,
    whiten,
)
from xpnet.core.scaling import mean_and_deviation, merge_moments
from xpnet.data.conversion import stays_outside
from xpnet.errors import ArgumentError
from xpnet.inspection.predict import compute_for_rows, read_rows
from xpnet.state.value import Value

LEAST_ROWS = 20  # with fewer, no row is farther than 95 % of them


def fit_novelty(view: Value, x: Any) -> Novelty:
    """Learn from training inputs, (n, n_in), how far they are from each other; see `Network.fit_novelty`. Synchronizes.

    They are read three times, so that only a block of them is in memory.
    """
    if stays_outside(x):
        rows = x
    else:
        rows, _ = view.reader.as_rows(x)
        view.reader.check_shape(rows, "x")
    if (n := rows.shape[0]) < LEAST_ROWS:
        raise ArgumentError(f"fit_novelty needs at least {LEAST_ROWS} rows, and x has {n}; give all training rows")
    with view.scope():
        columns = merge_moments([view.reader.place.moments(block) for block in read_rows(view, view.reader, rows, "x")])
        if not (is_finite := np.isfinite(np.asarray(columns.squares))).all():
            column = np.argmin(is_finite)
            raise ArgumentError(
                f"fit_novelty squares the inputs, and some in column {column} of x, counted from 0, are too large for "
                f"{view.dtype}; scale them, or make the network with standardize=True"
            )
        mean, std = mean_and_deviation(columns)
        directions = choose_directions(np.where(std > 0, std, 1.0))  # the squares of tiny numbers are 0
        products = np.sum([*_compute_blocks(view, rows, sum_products, mean, directions)], axis=0)
        whitening = whiten(directions, products, n)
        distances = np.concatenate([*_compute_blocks(view, rows, measure_distances, mean, whitening)])
    return Novelty(mean, whitening, sort_distances(leave_one_out(distances, n)))


def _compute_blocks(view: Value, rows: Any, function: Any, *values: np.ndarray) -> Iterator[np.ndarray]:
    """Apply a function of (x, mean, directions, xp) to each block of rows."""
    placed = [view.backend.asarray(value, view.dtype) for value in values]
    for block in read_rows(view, view.reader, rows, "x"):
        result = view.backend.call(function, block, *placed)
        yield np.asarray(view.backend.to_numpy(result), np.float64)


def predict_novelty(view: Value, x: Any) -> Array:
    """Compute the fraction of the training rows that are nearer than each row of x; see `Network.novelty`."""
    if view.novelty is None:
        raise ArgumentError("novelty needs to know the training data; call fit_novelty(x) with their inputs first")
    mean, whitening, distances = view.novelty
    with view.scope():
        mean, whitening = (view.backend.asarray(value, view.dtype) for value in (mean, whitening))

    def rank(inputs: Array) -> Array:
        new = view.backend.to_numpy(view.backend.call(measure_distances, inputs, mean, whitening))
        return view.backend.asarray(rank_distances(distances, np.asarray(new, np.float64)), view.dtype)

    return compute_for_rows(view, x, rank)
