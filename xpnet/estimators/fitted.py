"""The result of fitting, and its translation to and from the fitted attributes of an estimator."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends.base import Backend
from xpnet.estimators.labels import Labels
from xpnet.network import Network


class Features(NamedTuple):
    """The inputs that an estimator was fitted to."""

    n_features_in: int
    feature_names_in: np.ndarray | None = None  # None: X had no names


@dataclass
class ValidationCurves:
    """Scores and losses on validation data after each epoch, and the best of them."""

    scores: list[float]
    loss: list[float]
    best_score: float = -math.inf
    best_loss: float = math.inf


@dataclass
class Curves:
    """The losses of the epochs."""

    loss: list[float]
    best_loss: float | None = math.inf  # None: early stopping watches validation data instead
    validation: ValidationCurves | None = None  # None: no validation data


@dataclass
class Tally:
    """Counts and curves over successive calls to `fit` and `partial_fit`. Training writes into it."""

    n_iter: int = 0  # epochs, or iterations of L-BFGS, of the last call
    n_seen: int = 0  # examples seen
    loss: float | None = None  # of the last epoch; None before the first
    curves: Curves | None = None  # None for L-BFGS, which has no epochs
    lr_scale: float = 1.0  # multiplies the schedule
    n_without_improvement: int = 0  # successive epochs


@dataclass(frozen=True)
class Fitted:
    """The result of fitting."""

    network: Network
    home: Backend  # where the X of the last fit lies
    features: Features
    tally: Tally
    labels: Labels | None  # None for a regressor


def start_curves(previous: Curves | None, *, validates: bool, early_stopping: bool) -> Curves:
    """Continue the curves of earlier calls, or start empty ones. The lists are new."""
    curves = Curves([]) if previous is None else copy.deepcopy(previous)
    if early_stopping:
        curves.best_loss = None
    elif curves.best_loss is None:
        curves.best_loss = math.inf
    if not validates:
        curves.validation = None
    elif curves.validation is None:
        curves.validation = ValidationCurves([], [])
    return curves


# field of `ValidationCurves` -> attribute
VALIDATION_ATTRIBUTES = {
    "scores": "validation_scores_",
    "loss": "validation_loss_curve_",
    "best_score": "best_validation_score_",
    "best_loss": "best_validation_loss_",
}
TALLY_ATTRIBUTES = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", *VALIDATION_ATTRIBUTES.values()),
    *("_lr_scale", "_no_improvement_count"),
)
ATTRIBUTES = (
    *("network_", "classes_", "n_features_in_", "feature_names_in_", "_home", "_labels"),
    *TALLY_ATTRIBUTES,
)


def write_attributes(fitted: Fitted) -> dict[str, Any]:
    """List the fitted attributes of an estimator; those that it does not have are left out."""
    labels, features = fitted.labels, fitted.features
    attributes: dict[str, Any] = {"network_": fitted.network, "_home": fitted.home}
    attributes["n_features_in_"] = features.n_features_in
    if features.feature_names_in is not None:
        attributes["feature_names_in_"] = features.feature_names_in
    if labels is not None:
        attributes |= {"_labels": labels, "classes_": labels.classes}
    return attributes | write_tally(fitted.tally)


def read_attributes(attributes: Mapping[str, Any]) -> Fitted:
    """Read the result of fitting from the attributes of a fitted estimator."""
    return Fitted(
        network=attributes["network_"],
        home=attributes["_home"],
        features=read_features(attributes),
        tally=read_tally(attributes),
        labels=attributes.get("_labels"),
    )


def read_features(attributes: Mapping[str, Any]) -> Features:
    """Read number and names of the features from the attributes of any estimator of scikit-learn."""
    return Features(attributes["n_features_in_"], attributes.get("feature_names_in_"))


def write_tally(tally: Tally) -> dict[str, Any]:
    """List the fitted attributes that stand for a tally."""
    attributes: dict[str, Any] = {"n_iter_": tally.n_iter, "t_": tally.n_seen}
    attributes |= {"_lr_scale": tally.lr_scale, "_no_improvement_count": tally.n_without_improvement}
    if tally.loss is not None:
        attributes["loss_"] = tally.loss
    if (curves := tally.curves) is not None:
        attributes |= {"loss_curve_": curves.loss, "best_loss_": curves.best_loss}
        for field, name in VALIDATION_ATTRIBUTES.items():
            attributes[name] = None if curves.validation is None else getattr(curves.validation, field)
    return attributes


def read_tally(attributes: Mapping[str, Any]) -> Tally:
    """Read a tally from the fitted attributes of an estimator, scikit-learn's own included."""
    curves = None
    if "loss_curve_" in attributes:
        curves = Curves(attributes["loss_curve_"], attributes.get("best_loss_"), _read_validation_curves(attributes))
    return Tally(
        n_iter=attributes["n_iter_"],
        n_seen=attributes["t_"],
        loss=attributes.get("loss_"),
        curves=curves,
        lr_scale=attributes.get("_lr_scale", 1.0),
        n_without_improvement=attributes.get("_no_improvement_count", 0),
    )


def _read_validation_curves(attributes: Mapping[str, Any]) -> ValidationCurves | None:
    fields: dict[str, Any] = {field: attributes.get(name) for field, name in VALIDATION_ATTRIBUTES.items()}
    if fields["scores"] is None:
        return None
    if fields["loss"] is None:  # scikit-learn records no losses
        fields |= {"loss": [math.nan] * len(fields["scores"]), "best_loss": math.inf}
    return ValidationCurves(**fields)
