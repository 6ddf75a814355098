"""Results that networks give: predictions, derivatives, error bars, metrics, a summary."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.inference._calibration import calibrate as calibrate
    from xpnet.inference._calibration import count_rows as count_rows
    from xpnet.inference._derivatives import activations as activations
    from xpnet.inference._derivatives import deltas as deltas
    from xpnet.inference._derivatives import gradients as gradients
    from xpnet.inference._derivatives import hessian as hessian
    from xpnet.inference._derivatives import hvp as hvp
    from xpnet.inference._derivatives import jacobian as jacobian
    from xpnet.inference._derivatives import read_batch as read_batch
    from xpnet.inference._derivatives import value_and_jacobian as value_and_jacobian
    from xpnet.inference._derivatives import vjp as vjp
    from xpnet.inference._intervals import Bars as Bars
    from xpnet.inference._intervals import Coverage as Coverage
    from xpnet.inference._intervals import bars_of_ensemble as bars_of_ensemble
    from xpnet.inference._intervals import bars_of_network as bars_of_network
    from xpnet.inference._intervals import combine_bars as combine_bars
    from xpnet.inference._intervals import differentiate as differentiate
    from xpnet.inference._intervals import measure_coverage as measure_coverage
    from xpnet.inference._intervals import predict_interval as predict_interval
    from xpnet.inference._intervals import predict_mean_and_std as predict_mean_and_std
    from xpnet.inference._intervals import predict_points as predict_points
    from xpnet.inference._intervals import predict_quantiles as predict_quantiles
    from xpnet.inference._intervals import predict_targets as predict_targets
    from xpnet.inference._intervals import shape_quantiles as shape_quantiles
    from xpnet.inference._intervals import transform_targets as transform_targets
    from xpnet.inference._novelty import LEAST_ROWS as LEAST_ROWS
    from xpnet.inference._novelty import fit_novelty as fit_novelty
    from xpnet.inference._novelty import predict_novelty as predict_novelty
    from xpnet.inference._predict import SingleRows as SingleRows
    from xpnet.inference._predict import dropout_masks as dropout_masks
    from xpnet.inference._predict import predict as predict
    from xpnet.inference._predict import predict_calibrated as predict_calibrated
    from xpnet.inference._predict import predict_outputs as predict_outputs
    from xpnet.inference._predict import predict_with_variances as predict_with_variances
    from xpnet.inference._predict import sample as sample
    from xpnet.inference._summary import Summary as Summary
    from xpnet.inference._summary import summarize as summarize
    from xpnet.inference._summary import table as table

__all__ = [
    "LEAST_ROWS",
    "Bars",
    "Coverage",
    "SingleRows",
    "Summary",
    "activations",
    "bars_of_ensemble",
    "bars_of_network",
    "calibrate",
    "combine_bars",
    "count_rows",
    "deltas",
    "differentiate",
    "dropout_masks",
    "fit_novelty",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "measure_coverage",
    "predict",
    "predict_calibrated",
    "predict_interval",
    "predict_mean_and_std",
    "predict_novelty",
    "predict_outputs",
    "predict_points",
    "predict_quantiles",
    "predict_targets",
    "predict_with_variances",
    "read_batch",
    "sample",
    "shape_quantiles",
    "summarize",
    "table",
    "transform_targets",
    "value_and_jacobian",
    "vjp",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_calibration": (
            "calibrate",
            "count_rows",
        ),
        "_derivatives": (
            "activations",
            "deltas",
            "gradients",
            "hessian",
            "hvp",
            "jacobian",
            "read_batch",
            "value_and_jacobian",
            "vjp",
        ),
        "_intervals": (
            "Bars",
            "Coverage",
            "bars_of_ensemble",
            "bars_of_network",
            "combine_bars",
            "differentiate",
            "measure_coverage",
            "predict_interval",
            "predict_mean_and_std",
            "predict_points",
            "predict_quantiles",
            "predict_targets",
            "shape_quantiles",
            "transform_targets",
        ),
        "_novelty": (
            "LEAST_ROWS",
            "fit_novelty",
            "predict_novelty",
        ),
        "_predict": (
            "SingleRows",
            "dropout_masks",
            "predict",
            "predict_calibrated",
            "predict_outputs",
            "predict_with_variances",
            "sample",
        ),
        "_summary": (
            "Summary",
            "summarize",
            "table",
        ),
    },
)
