"""Results that networks give: predictions, derivatives, error bars, metrics, a summary."""

from xpnet.inference._calibration import calibrate
from xpnet.inference._derivatives import (
    activations,
    deltas,
    gradients,
    hessian,
    hvp,
    jacobian,
    predict_outputs,
    read_batch,
    value_and_jacobian,
    vjp,
)
from xpnet.inference._intervals import (
    Bars,
    Coverage,
    differentiate,
    measure_coverage,
    predict_interval,
    predict_mean_and_std,
    predict_points,
    predict_values,
    shape_quantiles,
    transform_targets,
)
from xpnet.inference._novelty import LEAST_ROWS, fit_novelty, predict_novelty
from xpnet.inference._posterior import Posterior, find_covariance, find_posterior, sample_functions
from xpnet.inference._predict import dropout_masks, predict, sample
from xpnet.inference._summary import Summary, summarize, table

__all__ = [
    "LEAST_ROWS",
    "Bars",
    "Coverage",
    "Posterior",
    "Summary",
    "activations",
    "calibrate",
    "deltas",
    "differentiate",
    "dropout_masks",
    "find_covariance",
    "find_posterior",
    "fit_novelty",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "measure_coverage",
    "predict",
    "predict_interval",
    "predict_mean_and_std",
    "predict_novelty",
    "predict_outputs",
    "predict_points",
    "predict_values",
    "read_batch",
    "sample",
    "sample_functions",
    "shape_quantiles",
    "summarize",
    "table",
    "transform_targets",
    "value_and_jacobian",
    "vjp",
]
