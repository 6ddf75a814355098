"""The result of fitting, and its translation to and from the fitted attributes of an estimator."""

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
class Curves:
    """Losses and scores of the epochs, and the best of them; None where there are none."""

    loss: list[float]
    best_loss: float | None
    validation_scores: list[float] | None
    validation_loss: list[float] | None
    best_validation_score: float | None


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
    if previous is None:
        previous = Curves([], None, None, None, None)
    score, loss = previous.best_validation_score, previous.best_loss
    return Curves(
        loss=[*previous.loss],
        best_loss=None if early_stopping else math.inf if loss is None else loss,
        validation_scores=[*(previous.validation_scores or ())] if validates else None,
        validation_loss=[*(previous.validation_loss or ())] if validates else None,
        best_validation_score=(-math.inf if score is None else score) if validates else None,
    )


TALLY_ATTRIBUTES = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "best_validation_score_"),
    *("validation_scores_", "validation_loss_curve_", "_lr_scale", "_no_improvement_count"),
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
    if tally.curves is not None:
        attributes["loss_curve_"] = tally.curves.loss
        attributes["best_loss_"] = tally.curves.best_loss
        attributes["validation_scores_"] = tally.curves.validation_scores
        attributes["validation_loss_curve_"] = tally.curves.validation_loss
        attributes["best_validation_score_"] = tally.curves.best_validation_score
    return attributes


def read_tally(attributes: Mapping[str, Any]) -> Tally:
    """Read a tally from the fitted attributes of an estimator, scikit-learn's own included."""
    curves = None
    if "loss_curve_" in attributes:
        curves = Curves(
            loss=attributes["loss_curve_"],
            best_loss=attributes.get("best_loss_"),
            validation_scores=attributes.get("validation_scores_"),
            validation_loss=attributes.get("validation_loss_curve_"),
            best_validation_score=attributes.get("best_validation_score_"),
        )
    return Tally(
        n_iter=attributes["n_iter_"],
        n_seen=attributes["t_"],
        loss=attributes.get("loss_"),
        curves=curves,
        lr_scale=attributes.get("_lr_scale", 1.0),
        n_without_improvement=attributes.get("_no_improvement_count", 0),
    )
