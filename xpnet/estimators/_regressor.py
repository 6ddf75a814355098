"""MLPRegressor, and the base class that it shares with an ensemble of regressors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from xpnet._checks import yes_or_no
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array
from xpnet.core.laplace import Evidence
from xpnet.errors import ArgumentError
from xpnet.estimators.base import BaseLearner, BasePerceptron, has_epochs, mean_outputs
from xpnet.estimators.inputs import drop_single_output
from xpnet.value import Value


@dataclass(eq=False, repr=False)
class BaseRegressor(RegressorMixin, BaseLearner):
    """Base class of regressors, of one network or several."""

    loss: Any = "squared_error"
    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"

    @available_if(has_epochs)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, continuing from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, partial=True)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Predict numbers.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs, of the library and device of the X of `fit`.
        return_std
            Whether to return standard deviations as well: with ``loss="gaussian"`` the scatter of the data that the
            network has learned; and in an ensemble the spread of the members' predictions; both, if it has both. With
            ``solver=LevenbergMarquardt(bayesian=True)``, also the uncertainty of the weights.

        Returns
        -------
        array, or a pair of arrays
            Shape (n_samples,), or (n_samples, n_outputs) for several outputs; in the library of X, on its device.
            With quantiles as the loss, these are the medians, or the quantiles of the only level.

        Raises
        ------
        ArgumentError
            If `return_std` is given, and there is neither an ensemble nor a ``loss="gaussian"``.
        """
        if not yes_or_no("return_std", return_std):
            return self._predict(X, "predict", lambda outputs, value: drop_single_output(mean_points(outputs, value)))

        def choose_level(outputs: Sequence[Array], value: Value) -> list[Array]:
            levels = value.model.cost.levels
            return [a[..., levels.index(0.5)] if len(levels) > 1 else a for a in outputs]

        def compute(block: Any) -> Sequence[Array]:
            return self._model.predict(block, return_std=True)

        return tuple(self._predict(X, "predict", choose_level, compute))

    def predict_quantiles(self, X: Any) -> Any:
        """Predict the quantiles of all levels of the loss, as in ``loss="quantile(0.1, 0.5, 0.9)"``.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.

        Returns
        -------
        array
            Shape (n_samples, n_levels), or (n_samples, n_outputs, n_levels) for several targets, in increasing order;
            in the library of X, on its device. In an ensemble, the mean of the members' quantiles.

        Raises
        ------
        ArgumentError
            If the loss has no quantiles.
        """
        check_is_fitted(self)
        levels = self._model.values[0].model.cost.levels
        if not levels:
            raise ArgumentError(
                f"predict_quantiles needs quantiles as the loss, and this estimator has loss={self.loss!r}; give "
                "loss='quantile(0.1, 0.5, 0.9)', say"
            )
        quantiles = self._predict(
            X, "predict_quantiles", lambda outputs, value: outputs[0], lambda block: [self._model.predict(block)]
        )
        return quantiles[..., None] if len(levels) == 1 else quantiles  # networks predict one level without its axis

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Compute R² of predictions, by `sklearn.metrics.r2_score`, on the host.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        sample_weight : array of shape (n_samples,), optional
            Weights of the examples.
        """
        return self._score(r2_score, X, y, sample_weight)


@explain_arguments
@dataclass(eq=False, repr=False)
class MLPRegressor(BaseRegressor, BasePerceptron):
    """A multi-layer perceptron that predicts numbers, as a replacement for scikit-learn's.

    Parameters, attributes and methods are those of `MLPClassifier`, except as follows.

    Parameters
    ----------
    loss
        "squared_error", half the squared error; "poisson", half the Poisson deviance, for y ≥ 0, with exp as the output
        activation; "gaussian", which also learns a standard deviation for each prediction;
        "quantile(0.1, 0.5, 0.9)", which learns quantiles of any levels: `predict` returns the median, so 0.5 must be
        among them unless there is only one, and `predict_quantiles` returns all; or any cost of `xpnet`: "huber",
        "absolute", or an object of your own.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, callbacks, progress, backend, \
    device, dtype
        As in `MLPClassifier`. Scores on validation data are R², which ignores standard deviations and all
        quantiles but the median: with "gaussian" and quantiles, both ``early_stopping=True`` and "loss" watch the loss.
    standardize
        Whether to scale each input and each target to mean 0 and standard deviation 1, as in `MLPClassifier`.
        Predictions are in the units of y, and losses in those of scaled targets. Targets of losses with a positive
        output, such as "poisson", are not scaled.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regressor = MLPRegressor(learning_rate_init=0.02, standardize=True, random_state=1).fit(X_train, y_train)
    >>> round(regressor.score(X_test, y_test), 2)
    0.99
    """

    @property
    def relevance_(self) -> Array:
        """The standard deviation of the weights of each input, (n_features,), as the evidence has it.

        It is 0.01, the least, for a standardized input that does not matter. It needs
        ``solver=LevenbergMarquardt(bayesian=True)``.
        """
        check_is_fitted(self)
        memory = self.network_.state.optimizer.memory
        if not isinstance(memory, Evidence):
            raise AttributeError("relevance_ needs solver=LevenbergMarquardt(bayesian=True)")
        return memory.relevance


def mean_points(outputs: Sequence[Array], value: Value) -> Array:
    """Average the predictions of the networks."""
    return mean_outputs([value.model.cost.point(a, value.xp) for a in outputs], value.xp)
