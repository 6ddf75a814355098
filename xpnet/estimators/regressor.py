"""MLPRegressor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy.special import xlogy
from sklearn import neural_network
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators.exchange as exchange
import xpnet.estimators.settings as settings
from xpnet.arrays import Array
from xpnet.estimators.fitting import Head
from xpnet.estimators.following import on_the_host
from xpnet.estimators.perceptron import Perceptron, has_epochs
from xpnet.examples import Examples

Self = TypeVar("Self", bound="MLPRegressor")


@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, Perceptron):
    """A multi-layer perceptron that predicts numbers, in the place of scikit-learn's.

    Parameters, attributes and methods are those of `MLPClassifier`, but for what follows.

    Parameters
    ----------
    loss
        "squared_error", half of it; "poisson", half the Poisson deviance, for y ≥ 0 with exp as the output activation;
        or any cost of `xpnet`: "huber", "absolute", or an object of your own.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
    shuffle, random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, \
    validation_fraction, beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, callbacks, progress, backend, \
    device, dtype
        As in `MLPClassifier`. Scores on validation data are R².

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=1)
    >>> regressor = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X_train, y_train)
    >>> regressor.score(X_test, y_test) > 0.98
    True
    """

    loss: Any = "squared_error"
    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"

    _score_name: ClassVar[str] = "r2"
    _score: ClassVar[Callable[..., float]] = staticmethod(r2_score)
    _numeric: ClassVar[bool] = True
    _task: ClassVar[str] = "regression"

    @available_if(has_epochs)
    def partial_fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, on from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        return self._fit(X, y, sample_weight, once=True)

    def predict(self, X: Any) -> Array:
        """Predict numbers.

        Parameters
        ----------
        X
            Inputs (n, n_features), of the library and device of the X of `fit`.

        Returns
        -------
        array
            (n,), or (n, n_outputs) for several outputs; in the library of X, on its device.
        """
        return self._outputs(X, "predict", lambda a: a[:, 0] if a.shape[1] == 1 else a)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of predictions, by `sklearn.metrics.r2_score`, on the host.

        Parameters
        ----------
        X
            As in `predict`.
        y
            True values (n,) or (n, n_outputs).
        sample_weight
            How much each example counts, (n,).
        """
        return self._scored(X, y, sample_weight)

    @classmethod
    def from_sklearn(cls: type[Self], fitted: Any, **more: Any) -> Self:
        """Take over a fitted `sklearn.neural_network.MLPRegressor`; see `MLPClassifier.from_sklearn`."""
        est = exchange.taken_over(cls, neural_network.MLPRegressor, fitted, more)
        exchange.give_network(est, fitted, est._head_of(len(fitted.intercepts_[-1])))
        return est

    def to_sklearn(self) -> Any:
        """Make a `sklearn.neural_network.MLPRegressor` of it; see `MLPClassifier.to_sklearn`."""
        check_is_fitted(self)
        y = np.zeros((1, self.n_outputs_) if self.n_outputs_ > 1 else 1)
        return exchange.given_back(self, neural_network.MLPRegressor, y, {})

    def _encoded(self, y: Any, goes_on: bool, classes: Any) -> Any:
        if isinstance(y, np.ndarray) and y.dtype.kind in "OUS":
            raise ValueError(
                f"y holds {y.dtype}, such as {y.flat[0]!r}; give numbers, or take MLPClassifier for labels"
            )
        if settings.cost(self.loss).name == "poisson" and (least := on_the_host(y).min()) < 0:
            raise ValueError(f"loss={self.loss!r} is for y of at least 0, and y goes down to {least:.6g}")
        return y

    def _head(self, y: Any) -> Head:
        return self._head_of(1 if y.ndim == 1 else y.shape[1])

    def _head_of(self, units: int) -> Head:
        cost = settings.cost(self.loss)
        return Head(units, "identity" if cost.outputs is None else cost.outputs[0], cost, None)

    def _reported(self, examples: Examples) -> Callable[[float], float]:
        cost = self.network_.cost_name
        if cost == "quadratic":
            return lambda mean: mean / self.n_outputs_  # a mean over the outputs, where the network's is a sum
        if cost == "poisson":
            to_numpy = self.network_.backend.to_numpy
            y = np.asarray(to_numpy(examples.y), np.float64)
            weight = None if examples.weight is None else to_numpy(examples.weight)
            least = float(
                np.average((xlogy(y, y) - y).sum(axis=1), weights=weight)
            )  # no weight changes it: not in ours
            return lambda mean: mean + least
        return float
