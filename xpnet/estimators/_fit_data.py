"""The arguments of `fit` and `partial_fit`: as the user gave them, and checked."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier

from xpnet.backends import backend_of
from xpnet.backends.base import Backend
from xpnet.data import fingerprint_arrays, parse_slope_weight
from xpnet.data.conversion import as_real_array
from xpnet.errors import ArgumentError
from xpnet.estimators._parameters import is_called
from xpnet.estimators.architecture import choose_backend, is_elsewhere, require_place
from xpnet.estimators.inputs import check_sample_weight, name_place, validate_examples
from xpnet.estimators.targets import Classification, Problem, Regression
from xpnet.training import Checkpoint


class Call(NamedTuple):
    """The arguments of `fit` or `partial_fit`, as the user gave them."""

    X: Any
    y: Any
    sample_weight: Any = None
    X_val: Any = None
    y_val: Any = None
    sample_weight_val: Any = None
    classes: Any = None
    slopes: Any = None
    slope_weight: Any = 1.0
    partial: bool = False  # whether it is `partial_fit`
    saving: Checkpoint | None = None  # the checkpoint, if there is to be one


class FitData(NamedTuple):
    """The examples of a fit, checked, and still where the user has them."""

    home: Backend  # where X lies
    feature_names: np.ndarray | None  # None: X has no names
    problem: Problem
    x: Any  # (n, n_features): an array of any library, or a sparse matrix
    targets: Any  # as the network outputs them; see `Classification.encode`
    sample_weight: np.ndarray | None  # (n,) float64, on the host
    weight: np.ndarray | None  # the same, times the weights of the classes
    validation: "FitData | None" = None
    slopes: Any = None  # an array of any library, whose shape is not checked yet
    slope_weight: float = 1.0


def check_data(estimator: Any, call: Call, last: Mapping[str, Any]) -> FitData:
    """Check the examples of a call against one another, and against the fitted attributes `last` that it continues."""
    _check_pairs(estimator, call)
    X, y, sample_weight, *_ = call
    previous = last.get("network_")
    if previous is None:
        home = backend_of(X)
    else:
        home = require_place(estimator, X, previous.backend, "partial_fit" if call.partial else "fit")
    kind = Classification if is_classifier(estimator) else Regression
    stand_in = copy.copy(estimator)  # scikit-learn's checks set `n_features_in_` and `feature_names_in_` on it
    X, y = validate_examples(stand_in, X, y, numeric=kind.numeric, reset=previous is None)
    problem = kind.learn(estimator, y, call.classes, last.get("_labels"), partial=call.partial)
    targets, sample_weight = problem.encode(y), check_sample_weight(sample_weight, X.shape[0])
    weight = problem.weigh_classes(y, partial=call.partial)
    if weight is None:
        weight = sample_weight
    elif sample_weight is not None:
        weight = sample_weight * weight
    names = vars(stand_in).get("feature_names_in_")
    slopes = None if call.slopes is None else as_real_array(call.slopes, "slopes")
    slope_weight = parse_slope_weight(slopes, call.slope_weight)
    data = FitData(home, names, problem, X, targets, sample_weight, weight, None, slopes, slope_weight)
    return data if call.X_val is None else data._replace(validation=_check_validation(stand_in, call, data))


def _check_pairs(estimator: Any, call: Call) -> None:
    """Refuse validation data that are incomplete, or that the solver cannot use."""
    if call.X_val is None and (call.y_val is not None or call.sample_weight_val is not None):
        raise ArgumentError("y_val and sample_weight_val are for validation data, which need X_val; give it too")
    if call.X_val is not None and call.y_val is None:
        raise ArgumentError("X_val needs y_val, the targets of the validation data; give both, or neither")
    if call.X_val is not None and is_called(estimator.solver, "lbfgs"):
        raise ArgumentError(
            "X_val is for solvers that train epoch by epoch, which lbfgs does not; leave it out, or give solver='adam'"
        )


def _check_validation(stand_in: Any, call: Call, train: FitData) -> FitData:
    """Check validation data."""
    home, backend = backend_of(call.X_val), choose_backend(stand_in, train.home)
    if is_elsewhere(stand_in, home, backend):
        raise ArgumentError(
            f"X_val is of {name_place(home)}, and X of {name_place(backend)}; give both in one library and on one "
            "device, or choose where to compute by backend= and device="
        )
    problem = train.problem
    try:
        X, y = validate_examples(stand_in, call.X_val, call.y_val, numeric=problem.numeric, reset=False)
        problem.check(y)
        targets, sample_weight = problem.encode(y), check_sample_weight(call.sample_weight_val, X.shape[0])
        return FitData(home, train.feature_names, problem, X, targets, sample_weight, sample_weight)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{error} (these are X_val, y_val and sample_weight_val)") from error


def fingerprint_data(data: FitData) -> dict[str, Any]:
    """Describe the examples of a fit by digests. Synchronizes."""
    held_out = data.validation
    return {
        "train_data": fingerprint_arrays(data.x, data.targets, data.weight, data.slopes),
        "slope_weight": data.slope_weight,
        "validation_data": held_out and fingerprint_arrays(held_out.x, held_out.targets, held_out.weight),
    }
