"""Metrics. The public name of `xpnet.inference.metrics`."""

from xpnet.inference.metrics import (
    METRICS,
    Metric,
    accuracy,
    calibrated_log_loss,
    correct,
    expected_calibration_error,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
    of_function,
    predictions,
    r2,
    root_mean_squared_error,
    top_k,
)

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "calibrated_log_loss",
    "correct",
    "expected_calibration_error",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "of_function",
    "predictions",
    "r2",
    "root_mean_squared_error",
    "top_k",
]
