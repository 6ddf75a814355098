"""Scores of networks in the units of their targets: on data, or of the rows that members left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.backends import get_backend
from xpnet.inference.metrics import Metric, accuracy, correct, log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network

__all__ = ["score", "score_predictions"]


LEVEL = 0.9  # of intervals that are judged
FEWEST_ERRORS = 9  # by which intervals of this level are calibrated


def score(model: Network | Ensemble, data: tuple[Any, np.ndarray], extra: Sequence[Metric] = ()) -> str:
    """Compute scores of a network or an ensemble on data, and format them in a line.

    They are accuracy, or R2 and mean absolute error; after a calibration also the log loss, or the fraction of targets
    within intervals, if there were enough errors for them; and extra metrics.
    """
    structure = model.values[0].model
    metrics = _choose_metrics(structure.task, model.temperature, extra)
    scores = model.measure(data, metrics=metrics)
    errors = () if model.calibration is None else model.calibration
    if len(errors) >= FEWEST_ERRORS and not structure.cost.levels:
        rows = model.coverage(data, [LEVEL]).rows
        scores["coverage"] = sum(row["measured"] for row in rows) / len(rows)
    return _format(scores, metrics)


def score_predictions(
    ensemble: Ensemble,
    y: np.ndarray,
    predicted: np.ndarray,
    extra: Sequence[Metric] = (),
    class_weight: np.ndarray | None = None,
) -> str:
    """Compute scores as `score` does, of predictions such as those of `predict_out_of_fold`, without rows that are NaN.

    With the weights of classes, (n_classes,), the class with the largest product of weight and probability is
    predicted. Errors, which are better if they are smaller, are those of the probabilities.
    """
    metrics, host, n = _choose_metrics(ensemble[0].task, ensemble.temperature, extra), get_backend(), predicted.shape[1]
    rows = np.flatnonzero(~np.isnan(predicted[:, 0]))
    targets = np.eye(n)[y[rows]] if y.ndim == 1 and n > 1 else y[rows].reshape(-1, n).astype(np.float64)
    outputs = predicted[rows]
    weighted = outputs if class_weight is None else outputs * class_weight
    parts = [
        metric.measure(targets, outputs if metric.better == "min" else weighted, ensemble[0].task, host.xp)
        for metric in metrics
    ]
    scores = {metric.name: metric.combine([part], [len(rows)], host) for metric, part in zip(metrics, parts)}
    return _format({**scores, "size": len(rows)}, metrics)


def _choose_metrics(task: str, temperature: float | None, extra: Sequence[Metric]) -> list[Metric]:
    """Choose the metrics of a model's scores, the usual ones first."""
    usual = [r2, mean_absolute_error] if task == "regression" else [accuracy, correct]
    usual += [log_loss] if temperature is not None and task in log_loss.tasks else []
    return list(dict.fromkeys([*usual, *extra]))


def _format(scores: Mapping[str, float], metrics: Sequence[Metric]) -> str:
    if r2 in metrics:
        text = f"R2: {scores['r2']:.4f}, mean absolute error: {scores['mean_absolute_error']:.6g}"
    else:
        text = f"accuracy: {scores['accuracy']:.2%} ({scores['correct']}/{scores['size']})"
    if "coverage" in scores:
        text += f", within {LEVEL:.0%} intervals: {scores['coverage']:.1%}"
    if log_loss in metrics:
        text += f", log loss: {scores['log_loss']:.4f}"
    others = [metric for metric in metrics if metric not in (r2, mean_absolute_error, accuracy, correct, log_loss)]
    return text + "".join(f", {metric.name}: {scores[metric.name]:.6g}" for metric in others)
