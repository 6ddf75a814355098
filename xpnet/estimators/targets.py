"""Targets: labels and numbers, the output layers that predict them, class weights, scores and reported losses.

`Classification` and `Regression` hold what differs between a classifier and a regressor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.special import xlogy
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet._checks import choices
from xpnet.backends import to_host
from xpnet.backends.base import Backend
from xpnet.core.arrays import Array
from xpnet.core.costs import Cost, poisson, quadratic
from xpnet.core.model import Model
from xpnet.data import balance_classes, is_balanced, parse_class_weight
from xpnet.data.source import Stored
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import mean_r2, predictions
from xpnet.value import Value
from xpnet.value.structure import Task, parse_cost

__all__ = [
    "BINARY",
    "MULTICLASS",
    "MULTILABEL",
    "Classification",
    "Problem",
    "Regression",
    "is_multilabel",
    "is_numeric",
    "learn_labels",
]

# scikit-learn's names -> names in xpnet
LOSS_NAMES = {"log_loss": "cross_entropy", "squared_error": "quadratic"}


def parse_loss(loss: Any) -> Cost:
    """Take a loss by its name here or in scikit-learn, or the user's own cost."""
    if isinstance(loss, (int, list, tuple)) and not isinstance(loss, Cost):
        raise ArgumentError(
            f"loss={loss!r} must be the name of a loss, or a cost; MLPRegressor takes loss first, so give sizes by "
            f"name, as in hidden_layer_sizes={loss!r}"
        )
    cost = parse_cost(LOSS_NAMES.get(loss, loss) if isinstance(loss, str) else loss, "loss")
    if not cost.has_point:
        raise ArgumentError(
            f"loss={loss!r} has no single number for each target, which predict returns; add 0.5, the median, to its "
            "levels; predict_quantiles returns all of them"
        )
    return cost


# Kinds of labels, as `Network` calls their tasks
BINARY: Task = "binary"  # one output: the probability of the second class
MULTICLASS: Task = "classification"  # an output for each class
MULTILABEL: Task = "multilabel"  # an output for each label, any number of which may be 1


def is_multilabel(y: Any) -> bool:
    """Tell whether y has several labels per example: rows of 0 and 1."""
    return type_of_target(y, input_name="y") == "multilabel-indicator"


def is_numeric(x: np.ndarray) -> bool:
    """Tell whether an array holds numbers, which every library supports, rather than strings or objects."""
    return x.dtype.kind in "biuf"


def _move_classes(classes: np.ndarray, backend: Backend) -> Array:
    """Move classes to a device, in the library's default dtype if theirs is not available."""
    info = backend.xp.__array_namespace_info__()
    if classes.dtype.name in info.dtypes(device=backend.device):
        return backend.asarray(classes)
    kind = "integral" if classes.dtype.kind in "iu" else "real floating"
    return backend.asarray(classes, str(info.default_dtypes(device=backend.device)[kind]).split(".")[-1])


# Classification and regression


@dataclass(frozen=True)
class Classification:
    """A problem with labels as targets: the labels that a classifier tells apart, on the host, and how they count.

    Parameters
    ----------
    classes
        The classes, or the names of the labels, sorted, (K,).
    task
        Their kind.
    as_sparse
        Whether labels were given as a sparse matrix; they are then predicted as one.
    loss, class_weight
        As the user gave them.
    """

    classes: np.ndarray
    task: Task
    as_sparse: bool = False
    loss: Any = "log_loss"
    class_weight: Any = None
    numeric: ClassVar[bool] = False  # whether targets are numbers
    score_name: ClassVar[str] = "accuracy"  # in logs, after "validation_"
    watched: ClassVar[str] = "score"  # what ``early_stopping=True`` watches on validation data

    @classmethod
    def learn(
        cls, estimator: Any, y: Any, classes: Any, labels: "Classification | None", *, partial: bool
    ) -> "Classification":
        """Learn the labels of y, or check them against those that an earlier call has learned.

        Parameters
        ----------
        estimator
            The estimator, which has the parameters.
        y
            Labels (n,) or (n, n_labels).
        classes
            All classes, where y may lack some; or None.
        labels
            The labels of an earlier call, if there was one.
        partial
            Whether y may lack some of these labels.
        """
        if labels is None:
            labels = learn_labels(y, classes)
        else:
            labels.check(y, classes, all_of_them=not partial)
        return replace(labels, loss=estimator.loss, class_weight=estimator.class_weight)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return 1 if self.task == BINARY else len(self.classes)

    def encode(self, y: Any) -> np.ndarray:
        """Encode labels as targets: class numbers (n,) for MULTICLASS, else rows of 0 and 1, (n, n_outputs)."""
        if self.task == MULTILABEL:
            return y.toarray() if sparse.issparse(y) else y
        numbers = self.numbers(y)
        return numbers if self.task == MULTICLASS else numbers[:, None]

    def numbers(self, y: Any) -> np.ndarray:
        """Number the class of each example from 0, (n,) int32."""
        encoder = LabelEncoder()
        encoder.classes_ = self.classes
        return np.asarray(encoder.transform(y), np.int32)

    def decode(self, a: Array, value: Value) -> Any:
        """Decode outputs (n, n_outputs) into labels on their device; strings are returned in NumPy arrays."""
        backend, xp = value.backend, value.backend.xp
        with value.scope():
            numbers = predictions(a, self.task, xp)
            if self.task == MULTILABEL:
                return sparse.csr_matrix(backend.to_numpy(numbers)) if self.as_sparse else numbers
            if len(self.classes) == 1:  # which is always predicted
                numbers = 0 * numbers
            if not is_numeric(self.classes):
                return self.classes[backend.to_numpy(numbers)]
            return xp.take(_move_classes(self.classes, backend), numbers, axis=0)

    def check(self, y: Any, classes: Any = None, *, all_of_them: bool = False) -> None:
        """Check that y has only known labels, or all of them, and that `classes`, if given, are the known ones."""
        multilabel = is_multilabel(y)
        if multilabel != (self.task == MULTILABEL) or (multilabel and y.shape[1] != self.n_outputs):
            raise ArgumentError(f"y has shape {y.shape}, but the estimator was fitted to {self.task} labels")
        if classes is not None and not np.array_equal(self.classes, unique_labels(classes)):
            raise ArgumentError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes!r}"
            )
        labels = unique_labels(y)
        if all_of_them and not np.array_equal(labels, self.classes):
            raise ArgumentError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes}, `y` has {labels}; give warm_start=False to start anew"
            )
        if len(np.setdiff1d(labels, self.classes)):
            raise ArgumentError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {labels}."
            )

    def head(self) -> tuple[int, dict[str, Any]]:
        """Choose the units and the arguments of the output layer: softmax for several classes, else sigmoid."""
        cost = parse_loss(self.loss)
        activation = "softmax" if self.task == MULTICLASS else "sigmoid"
        if cost.outputs is not None and activation not in cost.outputs:
            raise ArgumentError(
                f"loss={self.loss!r} is for the output activations {choices(cost.outputs)}, and {self.task} has "
                f"{activation!r}; give loss='log_loss'"
            )
        task = None if cost.outputs is None else self.task  # inferred from the output layer
        return self.n_outputs, {"output_activation": activation, "cost": cost, "task": task}

    def weigh_classes(self, y: Any, *, partial: bool) -> np.ndarray | None:
        """Look up the weight of each example by its class, (n,); None without class weights.

        `partial` says that y holds only some of the targets.
        """
        class_weight, multilabel = self.class_weight, self.task == MULTILABEL
        if class_weight is None:
            return None
        columns = self.encode(y).T if multilabel else [self.numbers(y)]
        labels = [0, 1] if multilabel else self.classes.tolist()
        if is_balanced(class_weight):
            if partial:
                raise ArgumentError(
                    "class_weight='balanced' needs all examples, and partial_fit has only a part of them; give "
                    "{label: number}, or sample_weight"
                )
            weights = [balance_classes(np.bincount(column, minlength=len(labels))) for column in columns]
        elif not multilabel:
            weights = [parse_class_weight(class_weight, labels)]
        elif not isinstance(class_weight, list) or len(class_weight) != self.n_outputs:
            raise ArgumentError(
                f"class_weight={class_weight!r} must be None, 'balanced' or a list with a {{label: number}} for each "
                f"label, {self.n_outputs} of them"
            )
        else:
            weights = [parse_class_weight(of_label, labels) for of_label in class_weight]
        return np.prod([column_weights[column] for column_weights, column in zip(weights, columns)], axis=0)

    def cost_to_loss(self, model: Model, examples: Stored) -> Callable[[float], float]:
        """Return the function that turns a mean cost on examples into the loss to report: the cost itself."""
        return float

    def score(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy, faster than scikit-learn; an example with several labels counts if all are right."""
        is_right = (y_true == y_pred).reshape(len(y_true), -1).all(axis=1)
        return float(np.average(is_right, weights=sample_weight))


def learn_labels(y: Any, classes: Any = None) -> Classification:
    """Learn the labels from y, or from `classes`, which lists them all where y may lack some.

    Raises
    ------
    ArgumentError
        If y does not hold labels, but real numbers, say.

    Examples
    --------
    >>> learn_labels(["no", "yes", "no"]).task, learn_labels([[0, 1], [1, 1]]).task
    ('binary', 'multilabel')
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multiclass-multioutput":
        raise ArgumentError(
            "y has several columns of classes; give one column, or for several labels an example rows of 0 and 1, or "
            "see sklearn.multioutput.MultiOutputClassifier"
        )
    if kind == "multilabel-indicator":
        n = np.shape(y)[1]
        if classes is not None and len(unique_labels(classes)) != n:
            raise ArgumentError(f"classes={classes!r} must be the labels of the {n} columns of y")
        return Classification(np.arange(n), MULTILABEL, sparse.issparse(y))
    classes = unique_labels(y if classes is None else classes)
    return Classification(classes, BINARY if len(classes) <= 2 else MULTICLASS)


@dataclass(frozen=True)
class Regression:
    """A problem with numbers as targets. Its methods are those of `Classification`."""

    n_outputs: int
    loss: Any
    task: ClassVar[Task] = "regression"
    numeric: ClassVar[bool] = True
    score_name: ClassVar[str] = "r2"

    @classmethod
    def learn(cls, estimator: Any, y: Any, classes: Any, labels: Any, *, partial: bool) -> "Regression":
        """Check the numbers in y, and count the outputs."""
        problem = cls(1 if y.ndim == 1 else y.shape[1], estimator.loss)
        problem.check(y)
        return problem

    @property
    def watched(self) -> str:
        """The quantity that ``early_stopping=True`` watches: the score, or the loss if R² ignores some outputs."""
        return "loss" if parse_loss(self.loss).has_distribution else "score"

    def head(self) -> tuple[int, dict[str, Any]]:
        """Choose the output layer: with the activation that the cost is made for, else the identity."""
        cost = parse_loss(self.loss)
        activation = cost.activation or ("identity" if cost.outputs is None else cost.outputs[0])
        return self.n_outputs * cost.outputs_per_target, {"output_activation": activation, "cost": cost}

    def check(self, y: Any) -> None:
        """Check that y holds numbers for which the loss is defined."""
        if isinstance(y, np.ndarray) and y.dtype.kind in "OUS":
            raise ArgumentError(
                f"y holds {y.dtype}, such as {y.item(0)!r}; give numbers, or use a classifier for labels"
            )
        if parse_loss(self.loss) == poisson and (least := to_host(y).min()) < 0:
            raise ArgumentError(f"loss={self.loss!r} is for y of at least 0, and y goes down to {least:.6g}")

    def encode(self, y: Any) -> Any:
        """Return y itself."""
        return y

    def weigh_classes(self, y: Any, *, partial: bool) -> None:
        """Return None: numbers have no classes."""

    def cost_to_loss(self, model: Model, examples: Stored) -> Callable[[float], float]:
        """Return the function that turns a mean cost into the loss to report. Synchronizes for the Poisson deviance."""
        if model.cost == quadratic:  # a mean over the outputs here, a sum over them in a network
            return lambda cost: cost / model.n_out
        if model.cost == poisson:  # a network's cost leaves out the constant part of the deviance
            y = np.asarray(examples.read_targets(), np.float64)
            constant = float(np.average((xlogy(y, y) - y).sum(axis=1), weights=examples.weight))
            return lambda cost: cost + constant
        return float

    def score(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Compute R², the mean over the targets, faster than scikit-learn; NaN for fewer than two examples."""
        if len(y_true) < 2:
            return math.nan
        y_true, y_pred = (np.asarray(y, np.float64).reshape(len(y), -1) for y in (y_true, y_pred))
        mean = np.average(y_true, axis=0, weights=sample_weight)
        errors, spread = (
            np.average((y_true - center) ** 2, axis=0, weights=sample_weight) for center in (y_pred, mean)
        )
        return mean_r2(errors, spread)


Problem = Classification | Regression
