"""MLPClassifier, and the base class that it shares with an ensemble of classifiers."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if

from xpnet._names import explain_arguments
from xpnet.backends import to_host
from xpnet.core.arrays import Array
from xpnet.core.temperature import combine
from xpnet.errors import ArgumentError
from xpnet.estimators.base import BaseLearner, BasePerceptron, has_epochs, mean_outputs
from xpnet.estimators.targets import BINARY, is_multilabel
from xpnet.value import Value


@dataclass(eq=False, repr=False)
class BaseClassifier(ClassifierMixin, BaseLearner):
    """Base class of classifiers, of one network or several."""

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    class_weight: Any = None
    loss: Any = "log_loss"

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch, continuing from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y may lack some of the classes.
        classes : array of shape (n_classes,)
            All classes. The first call needs them, unless y has several labels per example.

        Returns
        -------
        self
            The fitted estimator.
        """
        if classes is None and not self.__sklearn_is_fitted__() and not is_multilabel(to_host(y)):
            raise ArgumentError("classes must be passed on the first call to partial_fit.")
        return self._fit(X, y, sample_weight, classes=classes, partial=True)

    def predict(self, X: Any) -> Any:
        """Predict the class of each example, or its labels.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs, of the library and device of the X of `fit`.

        Returns
        -------
        array
            Classes (n_samples,), or rows of 0 and 1, (n_samples, n_labels), in the library of X, on its device. Strings
            are in NumPy arrays.
        """
        return self._predict(
            X, "predict", lambda outputs, value: self._labels.decode(combine_outputs(outputs, value), value)
        )

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class, or of each label.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.

        Returns
        -------
        array
            Shape (n_samples, n_classes), in the order of `classes_`, or (n_samples, n_labels).
        """
        return self._predict(X, "predict_proba", self._probabilities)

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithms of the probabilities that `predict_proba` returns.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.

        Returns
        -------
        array
            As in `predict_proba`.
        """

        def logarithms(outputs: Sequence[Array], value: Value) -> Array:
            with np.errstate(divide="ignore"):
                return value.xp.log(self._probabilities(outputs, value))

        return self._predict(X, "predict_log_proba", logarithms)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute the accuracy of predictions, by `sklearn.metrics.accuracy_score`, on the host.

        An example with several labels counts as correct only if all of them are.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.
        y : array of shape (n_samples,) or (n_samples, n_labels)
            True labels.
        sample_weight : array of shape (n_samples,), optional
            Weights of the examples.
        """
        return self._score(accuracy_score, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _probabilities(self, outputs: Sequence[Array], value: Value) -> Array:
        """Turn the outputs of the networks into probabilities of all classes or labels."""
        a = combine_outputs(outputs, value)
        return value.xp.concat([1.0 - a, a], axis=-1) if self._labels.task == BINARY else a


@explain_arguments
@dataclass(eq=False, repr=False)
class MLPClassifier(BaseClassifier, BasePerceptron):
    """A multi-layer perceptron that predicts classes or labels, as a replacement for scikit-learn's.

    It has every parameter of `sklearn.neural_network.MLPClassifier`, with the same meaning and default: the same
    `random_state` gives the same initial weights and minibatches, and so the same network up to rounding, which grows
    during training. It computes where X lies: NumPy arrays give NumPy arrays, CuPy arrays give CuPy arrays. New are
    `class_weight`, `loss`, `dropout`, `standardize`, `callbacks`, `progress`, `backend`, `device`, `dtype`, and more
    values for `activation`, `solver` and `learning_rate`.

    Parameters
    ----------
    hidden_layer_sizes
        Number of units of each hidden layer; may be empty.
    activation
        "relu", "logistic", "tanh", "identity", or any other of `xpnet.Network`; or a list with one for each
        hidden layer.
    solver
        "adam", "sgd", "lbfgs"; "lm" for regressions with few weights (see `xpnet.LevenbergMarquardt`); or an optimizer,
        as in ``Clip(AdamW(), 1.0)``, which has its own numbers instead of `momentum`, `beta_1` and the like.
    alpha
        α ≥ 0: adds α/2m ‖w‖² to the loss of a minibatch, where m is the sum of its examples' weights.
    batch_size
        Examples in a minibatch; "auto" is 200, or all if there are fewer.
    learning_rate
        "constant"; for solver "sgd" also "invscaling" and "adaptive"; or a schedule, as in ``Cosine(0.1)``.
    learning_rate_init
        η > 0, the learning rate, or the initial one.
    power_t
        Exponent p of "invscaling": η / (t + 1)ᵖ after t examples, from the second epoch on.
    max_iter
        Maximum number of epochs, or of iterations of L-BFGS.
    shuffle
        Whether to shuffle the examples before each epoch.
    random_state
        A number, a `numpy.random.RandomState`, or None for NumPy's global one, as everywhere in scikit-learn.
    tol
        Least change of the loss, or of the validation score, that counts as an improvement; for "lm", a fraction of
        the loss.
    verbose
        Whether to print a line per epoch.
    warm_start
        Whether `fit` continues from the weights of the last call.
    momentum, nesterovs_momentum
        The momentum of solver "sgd", and whether it is Nesterov's.
    early_stopping
        Whether to hold out a part of X, stop when the score on it no longer improves, and restore the weights of the
        best score. "loss" does the same with the loss on that part, which is better if some classes are rare.
    validation_fraction
        Fraction of X to hold out, if `fit` gets no validation data.
    beta_1, beta_2, epsilon
        The numbers of solver "adam"; see `xpnet.core.optimizers._adam.AdamHat`.
    n_iter_no_change
        Stop after this many epochs without improvement.
    max_fun
        Maximum number of evaluations of L-BFGS.
    class_weight
        Weights of the classes, {label: number}; or "balanced", so that all classes have the same total weight.
    loss
        "log_loss", or any cost of `xpnet` that goes with the output: "quadratic", or an object of your own.
    dropout
        Dropout rate of the hidden layers, or a list with the rates of the inputs and of each hidden layer.
    standardize
        Whether to scale each input to mean 0 and standard deviation 1, like a `StandardScaler` before the estimator.
        Both are those of X in the first call of `fit` or `partial_fit`, examples that `early_stopping` holds out
        included; sparse inputs stay sparse.
    callbacks
        Objects that observe and control training, as in `xpnet.Network.train`. Logs have "cost", and with validation
        data "validation_cost" and "validation_accuracy".
    progress
        Whether to show a bar on standard error.
    backend, device
        Where to compute, as in `xpnet.Network`; X is moved there, and results are moved back. Unless given, it is where
        X lies.
    dtype
        "float32" or "float64". Unless given, it is the dtype of X if that is one of the two, else "float64".

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    loss_ : float
        Loss of the last epoch, penalty included.
    best_loss_ : float or None
        The smallest loss; None with `early_stopping`. Solver "lbfgs" has neither this nor the next five.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_scores_, validation_loss_curve_ : list of float, or None
        Score and loss on validation data after each epoch; None without validation data.
    best_validation_score_, best_validation_loss_ : float or None
        The best score and the smallest loss, perhaps of different epochs. The network has the weights of the former
        with ``early_stopping=True``, and of the latter with ``early_stopping="loss"``.
    t_ : int
        Number of examples seen.
    coefs_, intercepts_ : list of array
        Weights (n_in, n_out) and biases (n_out,) of each layer: copies, in the library of X.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had any.
    n_iter_ : int
        Number of epochs, or of iterations of L-BFGS, of the last call.
    n_layers_, n_outputs_ : int
        Number of layers, and of outputs.
    out_activation_ : str
        Activation of the output layer.
    network_ : Network
        The network itself, which can do more: `save`, `summary`, `jacobian`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, stratify=y, random_state=1)
    >>> classifier = MLPClassifier((64,), dropout=0.2, max_iter=60, tol=0.0, n_iter_no_change=60, random_state=1)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # it has not converged after 60 epochs
    ...     classifier = classifier.fit(X_train, y_train, X_val=X_test, y_val=y_test)
    >>> round(classifier.score(X_test, y_test), 2), len(classifier.validation_loss_curve_)
    (0.96, 60)
    """


def combine_outputs(outputs: Sequence[Array], value: Value) -> Array:
    """Combine the outputs of the networks, as `Ensemble.predict_proba` does."""
    if value.calibration is None or len(outputs) == 1:
        return mean_outputs(outputs, value.xp)
    return combine(value.xp.stack(list(outputs)), value.model.task, value.xp)
