"""Novelty: how far rows are from the training data of a network; the formulas are in `core.novelty`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet.core.arrays import Array
from xpnet.core.calibration import sort_errors
from xpnet.core.novelty import (
    Novelty,
    choose_directions,
    leave_one_out,
    measure_distances,
    rank_distances,
    sum_products,
    whiten,
)
from xpnet.core.scaling import mean_and_deviation, merge_moments
from xpnet.data.conversion import stays_outside
from xpnet.errors import ArgumentError
from xpnet.inference._predict import compute_for_rows, read_rows
from xpnet.value import Value

LEAST_ROWS = 20  # with fewer, no row is farther than 95 % of them


def fit_novelty(value: Value, x: Any) -> Novelty:
    """Learn from training inputs, (n, n_in), how far they are from each other; see `Network.fit_novelty`. Synchronizes.

    They are read three times, so that only a block of them is in memory.
    """
    if stays_outside(x):
        rows = x
    else:
        rows, _ = value.reader.as_rows(x)
        value.reader.check_shape(rows, "x")
    if (n := rows.shape[0]) < LEAST_ROWS:
        raise ArgumentError(f"fit_novelty needs at least {LEAST_ROWS} rows, and x has {n}; give all training rows")
    with value.scope():
        columns = merge_moments(
            [value.reader.place.moments(block) for block in read_rows(value, value.reader, rows, "x")]
        )
        if not (is_finite := np.isfinite(np.asarray(columns.squares))).all():
            column = np.argmin(is_finite)
            raise ArgumentError(
                f"fit_novelty squares the inputs, and some in column {column} of x, counted from 0, are too large for "
                f"{value.dtype}; scale them, or make the network with standardize=True"
            )
        mean, std = mean_and_deviation(columns)
        directions = choose_directions(np.where(std > 0, std, 1.0))  # the squares of tiny numbers are 0
        products = np.sum([*_compute_blocks(value, rows, sum_products, mean, directions)], axis=0)
        whitening = whiten(directions, products, n)
        distances = np.concatenate([*_compute_blocks(value, rows, measure_distances, mean, whitening)])
    distances = leave_one_out(distances, n)
    # As many as a calibration keeps errors, none of them smaller
    return Novelty(mean, whitening, sort_errors(distances[:, None, None])[:, 0, 0])


def _compute_blocks(value: Value, rows: Any, function: Any, *arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Apply a function of (x, mean, directions, xp) to each block of rows."""
    placed = [value.backend.asarray(array, value.dtype) for array in arrays]
    for block in read_rows(value, value.reader, rows, "x"):
        result = value.backend.call(function, block, *placed)
        yield np.asarray(value.backend.to_numpy(result), np.float64)


def predict_novelty(value: Value, x: Any) -> Array:
    """Compute the fraction of the training rows that are nearer than each row of x; see `Network.novelty`."""
    if value.novelty is None:
        raise ArgumentError("novelty needs to know the training data; call fit_novelty(x) with their inputs first")
    mean, whitening, distances = value.novelty
    with value.scope():
        mean, whitening = (value.backend.asarray(array, value.dtype) for array in (mean, whitening))

    def rank(inputs: Array) -> Array:
        new = value.backend.to_numpy(value.backend.call(measure_distances, inputs, mean, whitening))
        return value.backend.asarray(rank_distances(distances, np.asarray(new, np.float64)), value.dtype)

    return compute_for_rows(value, x, rank)
