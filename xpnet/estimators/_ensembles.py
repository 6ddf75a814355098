"""MLPEnsembleClassifier and MLPEnsembleRegressor: many networks, trained together, whose predictions are averaged."""

import copy
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated, Any, ClassVar, Self

from sklearn.utils.validation import check_is_fitted

from xpnet._checks import Count, yes_or_no
from xpnet._names import explain_arguments
from xpnet.backends import BYTES_OF_NETWORK, backend_of, require_bytes
from xpnet.backends.base import Backend
from xpnet.core.arrays import Array
from xpnet.errors import ArgumentError
from xpnet.estimators._classifier import BaseClassifier, MLPClassifier
from xpnet.estimators._fitting import assign_attributes
from xpnet.estimators._parameters import Parameters
from xpnet.estimators._regressor import BaseRegressor, MLPRegressor
from xpnet.estimators.base import BaseLearner, BasePerceptron
from xpnet.estimators.inputs import draw_seeds
from xpnet.network.ensemble import Ensemble, join_networks
from xpnet.training import copies_for_each
from xpnet.value import Value

# The remedy for callbacks that cannot be copied
INSTEAD = "leave it out, or use xpnet.Ensemble, whose train takes a function that makes the callbacks of each member"


@dataclass(eq=False, repr=False)
class EnsembleParameters(Parameters):
    """The parameters that only ensembles have."""

    _: KW_ONLY
    n_estimators: Annotated[int, Count(1)] = 16
    bootstrap: Annotated[bool, yes_or_no] = False


class BaseEnsemble(EnsembleParameters, BaseLearner):
    """Base class of `MLPEnsembleClassifier` and `MLPEnsembleRegressor`."""

    _member: ClassVar[type[BasePerceptron]]  # the class of the members

    _file_kind = "ensemble"

    # Set by `fit`
    estimators_: list[Any]
    _home: Backend  # where X lies

    @property
    def _model(self) -> Ensemble:
        return self.ensemble_

    @property
    def ensemble_(self) -> Ensemble:
        """The networks as an `Ensemble`, which can do more: `jacobian`, `save`."""
        check_is_fitted(self)
        return join_networks(member.network_ for member in self.estimators_)

    @property
    def n_iter_(self) -> int:
        """Number of epochs of the member that was trained longest, in the last call."""
        return max(member.n_iter_ for member in self.estimators_)

    def to(self, X: Any) -> Self:
        """Return a copy that lives where X lies: in its library, on its device; see `MLPClassifier.to`."""
        check_is_fitted(self)
        new = copy.copy(self)
        new.estimators_ = [member.to(X) for member in self.estimators_]
        new._home = backend_of(X)
        return new

    def _make_members(self, continues: bool) -> tuple[list[BasePerceptron], list[dict[str, Any]]]:
        """Make the members, not fitted yet, with the seeds of the previous ones if the fit continues these."""
        previous = self.estimators_ if continues else []
        n = int(self.n_estimators)
        require_bytes(n * BYTES_OF_NETWORK, f"n_estimators={n} networks need")
        if previous and n != len(previous):
            raise ArgumentError(
                f"n_estimators={n}, and the estimator was fitted with {len(previous)} members; give the same "
                "number to continue, or warm_start=False to start anew"
            )
        callbacks = copies_for_each(self.callbacks, n, INSTEAD)
        seeds = [member.random_state for member in previous] if previous else draw_seeds(self.random_state, n)
        parameters = {field.name: getattr(self, field.name) for field in fields(self._member) if field.init}
        members = [
            self._member(**{**parameters, "random_state": seed, "callbacks": watching})
            for seed, watching in zip(seeds, callbacks)
        ]
        return members, [vars(member) for member in previous] or [{} for _ in members]

    def _join_members(self, members: Sequence[Any], fitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
        for member, attributes in zip(members, fitted):
            assign_attributes(member, attributes)
        shared = {name: fitted[0][name] for name in SHARED_ATTRIBUTES if name in fitted[0]}
        return {**shared, "estimators_": members}


# Attributes of the members that the ensemble has too
SHARED_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "classes_", "_labels", "_home")


@explain_arguments
@dataclass(eq=False, repr=False)
class MLPEnsembleClassifier(BaseClassifier, BaseEnsemble):
    """Many multi-layer perceptrons that predict classes or labels by the mean of their probabilities.

    Each member is the `MLPClassifier` that its own `random_state` would give alone, to rounding. Training the members
    together takes less time.

    Parameters
    ----------
    n_estimators
        Number of members.
    bootstrap
        Whether each member trains on a sample drawn with replacement, as large as the data (bagging). With
        `early_stopping`, it is drawn from the examples that are not held out.
    random_state
        Draws the seeds of the members: a number, a `numpy.random.RandomState`, or None for NumPy's global one.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, \
    shuffle, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, \
    beta_2, epsilon, n_iter_no_change, max_fun, class_weight, loss, dropout, standardize, callbacks, progress, \
    backend, device, dtype
        As in `MLPClassifier`. Each member stops early by itself, on validation data of its own unless `fit` gets
        some. Callbacks are copied for each member.

    Attributes
    ----------
    estimators_ : list of MLPClassifier
        The fitted members.
    ensemble_ : Ensemble
        Their networks, as an `xpnet.Ensemble`.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, if X had any.
    n_iter_ : int
        Number of epochs of the member that was trained longest.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPEnsembleClassifier(
    ...     (10,), learning_rate_init=0.01, tol=1e-3, max_iter=500, n_estimators=8, random_state=0
    ... )
    >>> mean, std = classifier.fit(X, y).predict_proba(X[[0, 70]], return_std=True)
    >>> bool(mean[0].max() > 0.8), bool(mean[1].max() < 0.6)  # the second flower lies between two species
    (True, True)
    """

    _member = MLPClassifier

    def predict_proba(self, X: Any, return_std: bool = False) -> Any:
        """Predict the probability of each class, or of each label: the mean over the members.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            As in `predict`.
        return_std
            Whether to return the standard deviation over the members as well.

        Returns
        -------
        array, or a pair of arrays
            Shape (n_samples, n_classes), in the order of `classes_`, or (n_samples, n_labels).
        """
        if not yes_or_no("return_std", return_std):
            return super().predict_proba(X)

        def summarize(outputs: Sequence[Array], value: Value) -> list[Array]:
            xp = value.xp
            std = xp.std(xp.stack([self._probabilities([a], value) for a in outputs]), axis=0)
            return [self._probabilities(outputs, value), std]

        return tuple(self._predict(X, "predict_proba", summarize))


@explain_arguments
@dataclass(eq=False, repr=False)
class MLPEnsembleRegressor(BaseRegressor, BaseEnsemble):
    """Many multi-layer perceptrons that predict numbers by the mean of their predictions, with error bars.

    Parameters, attributes and methods are those of `MLPEnsembleClassifier` and `MLPRegressor`, except as follows.

    Parameters
    ----------
    n_estimators, bootstrap, random_state
        As in `MLPEnsembleClassifier`.
    loss, hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, \
    max_iter, shuffle, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, \
    beta_1, beta_2, epsilon, n_iter_no_change, max_fun, dropout, standardize, callbacks, progress, backend, device, \
    dtype
        As in `MLPRegressor`.

    Examples
    --------
    Error bars grow where there are no examples:

    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> settings = {"activation": "tanh", "batch_size": 20, "learning_rate_init": 0.01, "random_state": 0}
    >>> regressor = MLPEnsembleRegressor(n_estimators=4, hidden_layer_sizes=(20,), **settings)
    >>> mean, std = regressor.fit(X, np.sin(3 * X[:, 0])).predict([[0.5], [4.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.1), bool(std[1] > 3 * std[0])
    (True, True)
    """

    _member = MLPRegressor
