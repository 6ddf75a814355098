"""Calibration: what corrects the error bars, quantiles or probabilities of networks and ensembles, from examples."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from xpnet.core.activations import identity
from xpnet.core.calibration import Calibration, check_errors, compute_errors, sort_errors
from xpnet.core.temperature import can_temper, find_temperature
from xpnet.data.known_rows import KnownRows, choose_known_rows
from xpnet.data.source import Source
from xpnet.inspection.intervals import Bars, Examined, examine, predict_targets, warn_of_training_data
from xpnet.inspection.predict import predict
from xpnet.inspection.single_rows import SingleRows
from xpnet.inspection.view import View


def count_examples(source: Source) -> int:
    """Count the examples of a source, among which rows are chosen; refuse batches, whose number is not known."""
    if not isinstance(source, Sized):
        raise ValueError(
            "rows needs the number of examples beforehand; give validation_data as arrays, as pairs, or as a data set"
        )
    return len(source)


def calibrate(bars: Bars, source: Source, rows: Sequence[np.ndarray] | None = None) -> Calibration:
    """Find what corrects predictions; see `Network.calibrate` and `Ensemble.calibrate`. Synchronizes.

    `rows` are the numbers of the examples that each member predicts; all examples unless given.
    """
    find = _find_errors if bars.view.model.task == "regression" else _find_temperature
    return find(bars, source, rows)


def _find_errors(bars: Bars, source: Source, rows: Sequence[np.ndarray] | None) -> Calibration:
    """Find the sorted errors of a regression."""
    model, examples = bars.view.model, predict_targets(bars, source)
    errors = compute_errors(examples.y, examples.bars, bars.levels)
    if not np.isfinite(errors).all():
        _refuse_infinite(examples.bars)
        raise ValueError(_explain_infinite(bars))
    errors = sort_errors(errors, bars.levels)
    check_errors(errors, bars.levels)
    _warn_of_training_data(bars, examples, "errors on those are too small for intervals that hold")
    errors.flags.writeable = False
    return Calibration(errors, len(examples.y), _describe_rows(examples, model.n_in + model.n_targets))


def _find_temperature(bars: Bars, source: Source, rows: Sequence[np.ndarray] | None) -> Calibration:
    """Find the temperature of a classification."""
    model = bars.view.model
    if not can_temper(model):
        raise ValueError(
            f"calibrate needs probabilities that add up to 1, and the output activation is {model.sigmas[-1].name!r}; "
            'make a network with task="classification", whose output is softmax'
        )
    views = [_without_output_activation(view) for view in bars.views]
    examples = examine(bars, source, lambda x: [predict(view, x) for view in views])
    for z in examples.computed:
        _refuse_infinite(z)
    if rows is None:
        rows = [np.arange(len(examples.y))] * len(bars.views)
        _warn_of_training_data(bars, examples, "probabilities of those are too sure to correct others")
    rows = [np.unique(part) for part in rows]
    logits = [np.asarray(z[part], np.float64) for z, part in zip(examples.computed, rows)]
    temperature = find_temperature(logits, rows, examples.y, model.task)
    return Calibration(None, len(examples.y), _describe_rows(examples, model.n_in + model.n_targets), temperature)


def _without_output_activation(view: View) -> View:
    """Return a network whose outputs are the weighted inputs of the output layer, which keep all their digits."""
    model = view.model._replace(sigmas=(*view.model.sigmas[:-1], identity))
    return view._replace(model=model, single_rows=SingleRows())


def _refuse_infinite(predicted: np.ndarray) -> None:
    """Refuse predictions (n, ...) that are infinite or NaN."""
    if len(rows := np.argwhere(~np.isfinite(predicted))):
        raise ValueError(
            f"calibrate needs finite predictions, and that for row {rows[0, 0]} of validation_data, counted from 0, is "
            "infinite or NaN; scale the inputs as in training, or leave such examples out"
        )


def _explain_infinite(bars: Bars) -> str:
    """Say why predicted standard deviations are 0."""
    if bars.view.model.cost.has_std:
        reason = "or nearly so; give standardize=True, or other initial weights"
    else:
        reason = 'as where all members of an ensemble agree; give cost="gaussian", or more members'
    return f"calibrate divides errors by predicted standard deviations, and some for validation_data are 0, {reason}"


def _warn_of_training_data(bars: Bars, examples: Examined, consequence: str) -> None:
    warn_of_training_data(bars, examples.digests, "validation_data", consequence)


def _describe_rows(examples: Examined, width: int) -> dict[str, Any] | None:
    """Describe some of the rows, by which the examples are recognized later."""
    index = choose_known_rows(len(examples.y), width)
    return KnownRows(index, examples.digests[index], len(examples.y)).describe()
