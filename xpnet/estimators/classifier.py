"""MLPClassifier."""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy import sparse
from sklearn import neural_network
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators.exchange as exchange
import xpnet.estimators.settings as settings
from xpnet.arrays import Array
from xpnet.errors import choices, in_range
from xpnet.estimators.fitting import Head
from xpnet.estimators.following import on_the_host
from xpnet.estimators.labels import SEVERAL, Labels, learn
from xpnet.estimators.perceptron import Perceptron, has_epochs

Self = TypeVar("Self", bound="MLPClassifier")


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, Perceptron):
    """A multi-layer perceptron that predicts classes or labels, in the place of scikit-learn's.

    Every parameter of `sklearn.neural_network.MLPClassifier` is here, with its meaning and default: the same
    `random_state` gives the same initial weights and minibatches, and so the same network but for rounding. It computes
    where X lies: NumPy in gives NumPy out, CuPy gives CuPy. More than scikit-learn has are `class_weight`, `loss`,
    `dropout`, `callbacks`, `progress`, `backend`, `device`, `dtype`, and what stands below of `activation`, `solver`
    and `learning_rate`.

    Parameters
    ----------
    hidden_layer_sizes
        Number of units of each hidden layer; may be empty.
    activation
        "relu", "logistic", "tanh", "identity", or another of `xpnet.Network`; or a list with one for each hidden layer.
    solver
        "adam", "sgd", "lbfgs"; or an optimizer, as in ``Clip(AdamW(), 1.0)``, which has its own numbers in the place of
        `momentum`, `beta_1` and the like.
    alpha
        α ≥ 0: adds α/2m ‖w‖² to the loss of a minibatch of m examples, or whose weights add up to m.
    batch_size
        Examples in a minibatch; "auto" is 200, or all if there are fewer.
    learning_rate
        "constant"; for solver "sgd" also "invscaling" and "adaptive"; or a schedule, as in ``Cosine(0.1)``.
    learning_rate_init
        η > 0, the learning rate, or the first one.
    power_t
        Exponent of "invscaling": from the second epoch on η / (t + 1)ᵖ, after t examples.
    max_iter
        Epochs at most; iterations of L-BFGS.
    shuffle
        Whether each epoch has its own order.
    random_state
        A number, a `numpy.random.RandomState`, or None for NumPy's global one, as everywhere in scikit-learn.
    tol
        How much loss, or validation score, must become better to count.
    verbose
        Whether to print a line an epoch.
    warm_start
        Whether `fit` goes on from the last one.
    momentum, nesterovs_momentum
        Of solver "sgd".
    early_stopping
        Whether to hold back a part of X, stop when the score on it becomes no better, and take the best weights.
    validation_fraction
        That part.
    beta_1, beta_2, epsilon
        Of solver "adam"; see `xpnet.adaptive.AdamHat`.
    n_iter_no_change
        After how many epochs that bring nothing training stops.
    max_fun
        Evaluations of L-BFGS at most.
    class_weight
        How much the examples of each class count, {label: number}; "balanced" for classes that count the same all
        together.
    loss
        "log_loss", or any cost of `xpnet` that goes with the output: "quadratic", or an object of your own.
    dropout
        Part of the units of each hidden layer that every step leaves out, or a list with the part of the inputs and of
        each hidden layer.
    callbacks
        Objects that watch and steer, as in `xpnet.Network.train`. Logs have "cost", and "validation_cost" and
        "validation_accuracy" where there is something to validate on.
    progress
        Whether to show a bar on standard error.
    backend, device
        Where to compute, as in `xpnet.Network`; X is moved there and results come back. Unless given, where X lies.
    dtype
        "float32" or "float64". Unless given, that of X, and "float64" for others.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        The smallest; None with `early_stopping`. As all of the next three, not for solver "lbfgs".
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_, validation_loss_curve_ : list of float, or None
        Score and loss on validation data after each epoch, if there are any.
    best_validation_score_ : float or None
        The largest of the scores.
    t_ : int
        Examples seen.
    coefs_, intercepts_ : list of array
        Weights (n_in, n_out) and biases (n_out,) of each layer: copies, in the library of X.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had any.
    n_iter_ : int
        Epochs, or iterations of L-BFGS, of the last call.
    n_layers_, n_outputs_ : int
        Number of layers, and of outputs.
    out_activation_ : str
        Activation of the output layer.
    network_ : Network
        The network itself, for all else that it can do: `save`, `summary`, `jacobian`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=1)
    >>> classifier = MLPClassifier((64,), dropout=0.2, max_iter=60, tol=0.0, n_iter_no_change=60, random_state=1)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # it has not converged after 60 epochs
    ...     classifier = classifier.fit(X_train, y_train, validation_data=(X_test, y_test))
    >>> classifier.score(X_test, y_test) > 0.95, len(classifier.validation_loss_curve_)
    (True, 60)
    """

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    class_weight: Any = None
    loss: Any = "log_loss"

    _score_name: ClassVar[str] = "accuracy"
    _score: ClassVar[Callable[..., float]] = staticmethod(accuracy_score)
    _numeric: ClassVar[bool] = False

    @available_if(has_epochs)
    def partial_fit(self: Self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch, on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y may lack some of the classes.
        classes
            All of them; needed in the first call, but where y has several labels an example.
        """
        if classes is None and not hasattr(self, "network_") and type_of_target(on_the_host(y)) != SEVERAL:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return self._fit(X, y, sample_weight, classes=classes, once=True)

    def predict(self, X: Any) -> Any:
        """Predict the class of each example, or its labels.

        Parameters
        ----------
        X
            Inputs (n, n_features), of the library and device of the X of `fit`.

        Returns
        -------
        array
            Classes (n,), or rows of 0 and 1, (n, n_labels); in the library of X, on its device. Strings are NumPy's.
        """
        return self._outputs(X, "predict", lambda a: self._labels.decode(a, self.network_.backend))

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class, (n, n_classes), in the order of `classes_`; of each label, (n, n_labels).

        Parameters
        ----------
        X
            As in `predict`.
        """
        return self._outputs(X, "predict_proba", self._probabilities)

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithm of what `predict_proba` gives.

        Parameters
        ----------
        X
            As in `predict`.
        """

        def logarithms(a: Array) -> Array:
            with np.errstate(divide="ignore"):
                return self.network_.backend.xp.log(self._probabilities(a))

        return self._outputs(X, "predict_log_proba", logarithms)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of predictions that are right, by `sklearn.metrics.accuracy_score`, on the host.

        An example with several labels counts if all of them are right.

        Parameters
        ----------
        X
            As in `predict`.
        y
            True labels (n,) or (n, n_labels).
        sample_weight
            How much each example counts, (n,).
        """
        return self._scored(X, y, sample_weight)

    @classmethod
    def from_sklearn(cls: type[Self], fitted: Any, **more: Any) -> Self:
        """Take over a fitted `sklearn.neural_network.MLPClassifier`: its parameters, weights and fitted attributes.

        Training goes on with a fresh optimizer.

        Parameters
        ----------
        fitted
            The estimator of scikit-learn.
        **more
            Parameters that it has not, such as ``device="cuda"``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.neural_network import MLPClassifier as Theirs
        >>> X, y = load_iris(return_X_y=True)
        >>> theirs = Theirs(solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
        >>> ours = MLPClassifier.from_sklearn(theirs, backend="numpy")
        >>> bool((ours.predict(X) == theirs.predict(X)).all())
        True
        """
        est = exchange.taken_over(cls, neural_network.MLPClassifier, fitted, more)
        kinds = {"softmax": "multiclass", "logistic": "multilabel" if len(fitted.intercepts_[-1]) > 1 else "binary"}
        as_sparse = getattr(fitted._label_binarizer, "sparse_input_", False)
        est._labels = Labels(fitted.classes_, kinds[fitted.out_activation_], as_sparse)
        est.classes_ = fitted.classes_
        exchange.give_network(est, fitted, est._head(None))
        return est

    def to_sklearn(self) -> Any:
        """Make a `sklearn.neural_network.MLPClassifier` of it, fitted, on the host.

        Parameters that scikit-learn has not are left out; they change no prediction.

        Raises
        ------
        ValueError
            If it has activations that scikit-learn has not.
        """
        check_is_fitted(self)
        y = self.classes_[:1]
        if self._labels.kind == "multilabel":
            y = np.zeros((1, self.n_outputs_), int)
            y = sparse.csr_matrix(y) if self._labels.as_sparse else y
        return exchange.given_back(self, neural_network.MLPClassifier, y, {"classes": self.classes_})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def _task(self) -> str:  # type: ignore
        return {"multiclass": "classification"}.get(self._labels.kind, self._labels.kind)

    def _encoded(self, y: Any, goes_on: bool, classes: Any) -> Any:
        if goes_on:
            self._check_labels(y, classes)
        else:
            self._labels = learn(y, classes)
            self.classes_ = self._labels.classes
        return self._labels.encode(y)

    def _check_labels(self, y: Any, classes: Any) -> None:
        """Refuse other labels than those that are known."""
        if classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        several = type_of_target(y, input_name="y") == SEVERAL
        if several != (self._labels.kind == "multilabel") or (several and y.shape[1] != self.n_outputs_):
            raise ValueError(f"y has shape {y.shape}, but the estimator was fitted to {self._labels.kind} labels")
        found = unique_labels(y)
        if len(np.setdiff1d(found, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {found}."
            )

    def _head(self, y: Any) -> Head:
        cost = settings.cost(self.loss)
        activation = "softmax" if self._labels.kind == "multiclass" else "sigmoid"
        if cost.outputs is not None and activation not in cost.outputs:
            raise ValueError(
                f"loss={self.loss!r} is for the output activations {choices(cost.outputs)}, and {self._labels.kind} "
                f"labels have {activation!r}; give loss='log_loss'"
            )
        return Head(self._labels.outputs, activation, cost, None if cost.outputs is None else self._task)

    def _class_weights(self, y: Any, once: bool) -> Any:
        given, several = self.class_weight, self._labels.kind == "multilabel"
        if given is None:
            return None
        if isinstance(given, str) and given == "balanced":
            if once:
                raise ValueError(
                    "class_weight='balanced' cannot be told from a part of the examples, which is what partial_fit "
                    "has; give {label: number}, or sample_weight"
                )
            return compute_sample_weight("balanced", y)
        if several and isinstance(given, list):
            return compute_sample_weight(given, y)
        if several or not isinstance(given, Mapping):
            numbers = "a list with a {label: number} for each label" if several else "{label: number}"
            raise ValueError(f"class_weight={given!r} must be None, 'balanced' or {numbers}")
        known = self.classes_.tolist()
        for label, weight in given.items():
            if label not in known:
                raise ValueError(f"class_weight names the class {label!r}; choose from {choices(known)}")
            in_range("class_weight", weight, 0, math.inf, f"that of {label!r} is not")
        return np.array([given.get(label, 1.0) for label in known], float)[self._labels.numbers(y)]

    def _probabilities(self, a: Array) -> Array:
        """Outputs as probabilities of all classes."""
        return a if self._labels.kind != "binary" else self.network_.backend.xp.concat([1.0 - a, a], axis=-1)
