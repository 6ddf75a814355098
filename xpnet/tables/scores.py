"""Scores of networks in the units of their targets: on data, or of the rows that members left out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import get_backend
from xpnet.inference.metrics import Metric, accuracy, correct, log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network

__all__ = ["Scores", "score", "score_out_of_fold"]


LEVEL = 0.9  # of intervals that are judged
FEWEST_ERRORS = 9  # by which intervals of this level are calibrated


class Scores(NamedTuple):
    """How good a network is on data."""

    name: str  # of the first score: accuracy, or R2
    values: str  # that score, and further ones with their names
    cost: float  # NaN where it is not measured

    def __str__(self) -> str:
        return f"{self.name}: {self.values}"

    def describe(self, heading: str) -> str:
        """Format them as a sentence; `heading` names the data, with {} in place of the first score."""
        text = f"{heading.format(self.name)}: {self.values}"
        return text[0].upper() + text[1:]


def score(
    model: Network | Ensemble, data: tuple[Any, np.ndarray], extra: Sequence[Metric] = (), *, intervals: bool = True
) -> Scores:
    """Compute scores of a network or an ensemble on data.

    They are accuracy, or R2 and mean absolute error; after a calibration also the log loss, or the fraction of targets
    within intervals, if `intervals` are to be judged and there were enough errors for them; and extra metrics.
    """
    metrics = choose_score_metrics(model, extra)
    scores = model.measure(data, metrics=metrics)
    errors = () if model.calibration is None else model.calibration
    if intervals and len(errors) >= FEWEST_ERRORS and not _first(model).value.model.cost.levels:
        rows = model.coverage(data, [LEVEL]).rows
        scores["coverage"] = sum(row["measured"] for row in rows) / len(rows)
    return format_scores(scores, metrics)


def score_out_of_fold(ensemble: Ensemble, y: np.ndarray, predicted: np.ndarray, extra: Sequence[Metric] = ()) -> Scores:
    """Compute scores as `score` does, of the predictions of `predict_out_of_fold`; rows without one are left out."""
    metrics, host, n = choose_score_metrics(ensemble, extra), get_backend(), predicted.shape[1]
    rows = np.flatnonzero(~np.isnan(predicted[:, 0]))
    predicted = predicted[rows]
    targets = np.eye(n)[y[rows]] if y.ndim == 1 and n > 1 else y[rows].reshape(-1, n).astype(np.float64)
    parts = [metric.measure(targets, predicted, ensemble[0].task, host.xp) for metric in metrics]
    scores = {metric.name: metric.combine([part], [len(rows)], host) for metric, part in zip(metrics, parts)}
    return format_scores({**scores, "size": len(rows), "cost": math.nan}, metrics)


def choose_score_metrics(model: Network | Ensemble, extra: Sequence[Metric]) -> list[Metric]:
    """Choose the metrics of a model's scores, the usual ones first."""
    first = _first(model)
    usual = [r2, mean_absolute_error] if first.task == "regression" else [accuracy, correct]
    usual += [log_loss] if model.temperature is not None and first.task in log_loss.tasks else []
    return list(dict.fromkeys([*usual, *extra]))


def format_scores(scores: Mapping[str, float], metrics: Sequence[Metric]) -> Scores:
    """Format scores, by the names of the metrics; and the coverage of intervals, if it is among them."""
    if r2 in metrics:
        name, values = "R2", f"{scores['r2']:.4f}, mean absolute error: {scores['mean_absolute_error']:.6g}"
    else:
        name, values = "accuracy", f"{scores['accuracy']:.2%} ({scores['correct']}/{scores['size']})"
    if "coverage" in scores:
        values += f", within {LEVEL:.0%} intervals: {scores['coverage']:.1%}"
    if log_loss in metrics:
        values += f", log loss: {scores['log_loss']:.4f}"
    others = [metric for metric in metrics if metric not in (r2, mean_absolute_error, accuracy, correct, log_loss)]
    values += "".join(f", {metric.name}: {scores[metric.name]:.6g}" for metric in others)
    return Scores(name, values, float(scores["cost"]))


def _first(model: Network | Ensemble) -> Network:
    return model[0] if isinstance(model, Ensemble) else model
