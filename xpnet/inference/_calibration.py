"""Calibration: what corrects the error bars, quantiles or probabilities of networks and ensembles, from examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.core.activations import identity
from xpnet.core.calibration import (
    Calibration,
    check_errors,
    choose_widths,
    combine_unseen,
    compute_errors,
    interpolate_widths,
    sort_errors,
)
from xpnet.core.temperature import can_temper, find_temperature
from xpnet.data import parse_rows
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.inference._intervals import Bars, combine_bars, examine, predict_targets
from xpnet.inference._predict import predict


def calibrate(bars: Bars, validation_data: Any, rows: Any = None) -> Calibration:
    """Find what corrects predictions; see `Network.calibrate` and `Ensemble.calibrate`. Synchronizes."""
    bars = bars._replace(values=[value._replace(calibration=None) for value in bars.values])
    source = bars.open(validation_data, "validation_data")
    if rows is not None:
        n = len(source.require_stored("rows", "validation_data"))
        rows = parse_rows("rows", rows, len(bars.values), n, "validation_data")
    if bars.value.model.task != "regression":
        return _find_temperature(bars, source, rows)
    if rows is not None:
        return _find_errors_out_of_fold(bars, source, rows)
    y, predicted = predict_targets(bars, source)
    return Calibration(_sort_errors(bars, y, predicted), len(y))


def _find_errors_out_of_fold(bars: Bars, source: Source, rows: Sequence[np.ndarray]) -> Calibration:
    """Find the sorted errors of predictions by members that have not learnt from an example, and their widths."""
    if bars.has_laplace:
        raise ArgumentError("calibrate with rows is not for members with fit_laplace; leave out one of the two")
    y, members = examine(bars, source, bars.predict_members)
    y, members, unseen = _choose_examples(y, members, rows)
    predicted, gain = combine_unseen(members, unseen, bars.value.model.cost)
    if bars.levels:
        errors, widths = _sort_errors(bars, y, predicted), None
    else:
        of_all = np.asarray(combine_bars([*members], np, (), True) if bars.has_noise else members.mean(axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):  # standard deviations of 0 are refused later
            units, widths = choose_widths(y, predicted, of_all, gain)
        units_of_all = interpolate_widths(of_all[..., 0], widths, np) * of_all[..., 1]
        both = (predicted[..., 0], units), (of_all[..., 0], units_of_all)
        # The mean of all is better where it has learnt, unless a wrong target moves it more than members without it
        errors = np.maximum(*(_sort_errors(bars, y, np.stack(parts, axis=-1)) for parts in both))
    return Calibration(errors, len(y), widths=widths)


def _sort_errors(bars: Bars, y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Compute and sort the errors of bars, read-only; refuse those that are infinite, or too few."""
    errors = compute_errors(y, predicted, bars.levels)
    if not np.isfinite(errors).all():
        _refuse_infinite(predicted)
        raise ArgumentError(_explain_infinite(bars))
    errors = sort_errors(errors, bars.levels)
    check_errors(errors, bars.levels)
    errors.flags.writeable = False
    return errors


def _find_temperature(bars: Bars, source: Source, rows: Sequence[np.ndarray] | None) -> Calibration:
    """Find the temperature of a classification."""
    model = bars.value.model
    if not can_temper(model):
        raise ArgumentError(
            f"calibrate needs probabilities that add up to 1, and the output activation is {model.sigmas[-1].name!r}; "
            'make a network with task="classification", whose output is softmax'
        )
    linear = model._replace(sigmas=(*model.sigmas[:-1], identity))  # its outputs keep all digits of weighted inputs
    y, members = examine(bars, source, lambda x: [predict(value._replace(model=linear), x) for value in bars.values])
    y, members, unseen = _choose_examples(y, members, rows)
    logits = np.mean(members, axis=0, where=unseen[..., None])
    return Calibration(None, len(y), find_temperature(logits, y, model.task))


def _choose_examples(
    y: np.ndarray, members: Sequence[np.ndarray], rows: Sequence[np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose the examples that are in the rows of any member, and tell in those of which ones, (n_members, n).

    What the members have predicted, (n, ...) each, must be finite.
    """
    for predicted in members:
        _refuse_infinite(predicted)
    unseen = np.full((len(members), len(y)), rows is None)
    for k, part in enumerate(rows or ()):
        unseen[k, part] = True
    is_used = unseen.any(axis=0)
    return y[is_used], np.asarray(members, np.float64)[:, is_used], unseen[:, is_used]


def _refuse_infinite(predicted: np.ndarray) -> None:
    """Refuse predictions (n, ...) that are infinite or NaN."""
    if len(rows := np.argwhere(~np.isfinite(predicted))):
        raise ArgumentError(
            f"calibrate needs finite predictions, and that for row {rows[0, 0]} of validation_data, counted from 0, is "
            "infinite or NaN; scale the inputs as in training, or leave such examples out"
        )


def _explain_infinite(bars: Bars) -> str:
    """Say why predicted standard deviations are 0."""
    if bars.value.model.cost.has_std:
        reason = "or nearly so; give standardize=True, or other initial weights"
    else:
        reason = 'as where all members of an ensemble agree; give cost="gaussian", or more members'
    return f"calibrate divides errors by predicted standard deviations, and some for validation_data are 0, {reason}"
