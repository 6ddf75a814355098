"""Classification and regression, where they differ: targets, output layer, class weights, score and reported loss."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy.special import xlogy
from sklearn.utils.class_weight import compute_sample_weight

from xpnet.core.costs import poisson, quadratic
from xpnet.estimators.architecture import Head, parse_loss
from xpnet.estimators.labels import MULTILABEL, Labels
from xpnet.estimators.places import to_host
from xpnet.estimators.sparse import RowSource, read_targets
from xpnet.inspection.view import View
from xpnet.training.metrics import mean_r2
from xpnet.wording.checks import choices, in_range


class Problem(Protocol):
    """A problem to be learnt, for as much as depends on whether targets are labels or numbers."""

    score_name: ClassVar[str]  # what logs call the score, after "validation_"

    @property
    def watched(self) -> str:
        """What ``early_stopping=True`` watches on validation data: the "score" or the "loss"."""
        ...

    @property
    def task(self) -> str:
        """The task, as `Network` calls it."""
        ...

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        ...

    @property
    def labels(self) -> Labels | None:
        """The labels, if targets are labels."""
        ...

    def head(self) -> Head:
        """Choose the output layer."""
        ...

    def check(self, y: Any) -> None:
        """Check that y is of this problem."""
        ...

    def encode(self, y: Any) -> Any:
        """Turn y into targets for the network."""
        ...

    def weigh_classes(self, y: Any, *, partial: bool) -> np.ndarray | None:
        """Look up the weight of each example by its class, (n,); None if all classes count the same.

        `partial` says whether y is only a part of all targets.
        """
        ...

    def cost_to_loss(self, view: View, source: RowSource) -> Callable[[float], float]:
        """Return the function that turns a mean cost on a source into the loss that scikit-learn reports."""
        ...

    def score(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Score predictions on the host, as scikit-learn does; its own functions take longer than a small epoch."""
        ...


@dataclass(frozen=True)
class Classification:
    """The problem of a classifier."""

    labels: Labels
    loss: Any
    class_weight: Any
    score_name: ClassVar[str] = "accuracy"

    @property
    def watched(self) -> str:
        """What ``early_stopping=True`` watches: the accuracy."""
        return "score"

    @property
    def task(self) -> str:
        """The task, as `Network` calls it."""
        return self.labels.kind.task

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.labels.n_outputs

    def head(self) -> Head:
        """Choose the output layer: softmax for several classes, else sigmoid."""
        cost, kind = parse_loss(self.loss), self.labels.kind
        if cost.outputs is not None and kind.activation not in cost.outputs:
            raise ValueError(
                f"loss={self.loss!r} is for the output activations {choices(cost.outputs)}, and {kind.name} labels "
                f"have {kind.activation!r}; give loss='log_loss'"
            )
        return Head(self.n_outputs, kind.activation, cost, None if cost.outputs is None else self.task)

    def check(self, y: Any) -> None:
        """Check that all labels are known."""
        self.labels.check(y)

    def encode(self, y: Any) -> np.ndarray:
        """Turn labels into targets."""
        return self.labels.encode(y)

    def weigh_classes(self, y: Any, *, partial: bool) -> np.ndarray | None:
        """Look up the weight of each example by its class."""
        class_weight, multilabel = self.class_weight, self.labels.kind == MULTILABEL
        if class_weight is None:
            return None
        if isinstance(class_weight, str) and class_weight == "balanced":
            if partial:
                raise ValueError(
                    "class_weight='balanced' needs all examples, and partial_fit has only a part of them; give "
                    "{label: number}, or sample_weight"
                )
            return compute_sample_weight("balanced", y)
        if multilabel and isinstance(class_weight, list):
            return compute_sample_weight(class_weight, y)
        if multilabel or not isinstance(class_weight, Mapping):
            accepted = "a list with a {label: number} for each label" if multilabel else "{label: number}"
            raise ValueError(f"class_weight={class_weight!r} must be None, 'balanced' or {accepted}")
        classes = self.labels.classes.tolist()
        for label, weight in class_weight.items():
            if label not in classes:
                raise ValueError(f"class_weight names the class {label!r}; choose from {choices(classes)}")
            in_range("class_weight", weight, 0, math.inf, f"that of {label!r} is not")
        return np.array([class_weight.get(label, 1.0) for label in classes], float)[self.labels.numbers(y)]

    def cost_to_loss(self, view: View, source: RowSource) -> Callable[[float], float]:
        """Return the identity: costs of classes are reported as they are."""
        return float

    def score(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy; with several labels, an example counts if all of them are right."""
        is_right = (y_true == y_pred).reshape(len(y_true), -1).all(axis=1)
        return float(np.average(is_right, weights=sample_weight))


@dataclass(frozen=True)
class Regression:
    """The problem of a regressor."""

    n_outputs: int
    loss: Any
    score_name: ClassVar[str] = "r2"

    @property
    def watched(self) -> str:
        """What ``early_stopping=True`` watches: the loss, if the network predicts more than R² sees."""
        return "score" if parse_loss(self.loss).distribution is None else "loss"

    @property
    def task(self) -> str:
        """The task, as `Network` calls it."""
        return "regression"

    @property
    def labels(self) -> None:
        """Return None: targets are numbers."""

    def head(self) -> Head:
        """Choose the output layer: the activation that the cost is made for, else the identity."""
        cost = parse_loss(self.loss)
        activation = cost.activation or ("identity" if cost.outputs is None else cost.outputs[0])
        return Head(self.n_outputs * cost.outputs_per_target, activation, cost, None)

    def check(self, y: Any) -> None:
        """Check that y holds numbers for which the loss is defined."""
        if isinstance(y, np.ndarray) and y.dtype.kind in "OUS":
            raise ValueError(f"y holds {y.dtype}, such as {y.flat[0]!r}; give numbers, or use MLPClassifier for labels")
        if parse_loss(self.loss) == poisson and (least := to_host(y).min()) < 0:
            raise ValueError(f"loss={self.loss!r} is for y of at least 0, and y goes down to {least:.6g}")

    def encode(self, y: Any) -> Any:
        """Return y: numbers are targets."""
        return y

    def weigh_classes(self, y: Any, *, partial: bool) -> None:
        """Return None: numbers have no classes."""

    def cost_to_loss(self, view: View, source: RowSource) -> Callable[[float], float]:
        """Return the function that turns a mean cost into a loss. Synchronizes if the loss is the Poisson deviance."""
        if view.model.cost == quadratic:  # a mean over the outputs here, a sum over them in a network
            return lambda cost: cost / view.model.n_out
        if view.model.cost == poisson:
            deviance = _least_deviance(source)
            return lambda cost: cost + deviance
        return float

    def score(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Compute R², the mean over the targets; NaN for fewer than two examples."""
        if len(y_true) < 2:
            return math.nan
        y_true, y_pred = (np.asarray(y, np.float64).reshape(len(y), -1) for y in (y_true, y_pred))
        weight = np.ones((len(y_true), 1)) if sample_weight is None else np.asarray(sample_weight)[:, None]
        errors = (weight * (y_true - y_pred) ** 2).sum(axis=0)
        spread = (weight * (y_true - np.average(y_true, axis=0, weights=sample_weight)) ** 2).sum(axis=0)
        return mean_r2(errors, spread)


def _least_deviance(source: RowSource) -> float:
    """Compute the part of the Poisson deviance that no prediction can change, which a network's cost leaves out."""
    y, weight = read_targets(source)
    y = np.asarray(y, np.float64)
    return float(np.average((xlogy(y, y) - y).sum(axis=1), weights=weight))
