"""The base class of classifier and regressor: fitting, predicting, and moving between libraries and devices."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from xpnet.backends.base import Backend
from xpnet.core.arrays import Array
from xpnet.estimators import fitting
from xpnet.estimators.architecture import ACTIVATION_NAMES, Architecture, choose_backend
from xpnet.estimators.fitted import ATTRIBUTES, Fitted, read_attributes, read_features, write_attributes
from xpnet.estimators.fitting import Fit, FitSources
from xpnet.estimators.inputs import (
    CheckedData,
    FitData,
    check_kind,
    naming,
    parse_sample_weight,
    validate_examples,
    validate_inputs,
)
from xpnet.estimators.labels import Labels, is_numeric
from xpnet.estimators.places import backend_of, describe, is_foreign, move_to, same_place, to_host
from xpnet.estimators.problems import Problem
from xpnet.estimators.settings import Parameters, Settings, is_called, parse_settings
from xpnet.estimators.sparse import RowSource, dense_blocks
from xpnet.inspection.predict import predict
from xpnet.network import Network

Self = TypeVar("Self", bound="BasePerceptron")


def has_epochs(estimator: Parameters) -> bool:
    """Tell whether the solver trains epoch by epoch, so that there is a `partial_fit`."""
    if is_called(estimator.solver, "lbfgs"):
        raise AttributeError("partial_fit is for solvers that train epoch by epoch, which lbfgs does not")
    return True


def _has_validation(X_val: Any, y_val: Any, sample_weight_val: Any) -> bool:
    """Tell whether there are validation data; inputs and targets go together."""
    if X_val is None and (y_val is not None or sample_weight_val is not None):
        raise ValueError("y_val and sample_weight_val are for validation data, which need X_val; give it too")
    if X_val is not None and y_val is None:
        raise ValueError("X_val needs y_val, the targets of the validation data; give both, or neither")
    return X_val is not None


class BasePerceptron(Parameters, BaseEstimator):
    """Base class of `MLPClassifier` and `MLPRegressor`."""

    _numeric: ClassVar[bool]  # whether targets are numbers, rather than labels

    # Set by `fit`
    network_: Network
    _home: Backend
    _labels: Labels

    def _make_problem(self, y: Any, classes: Any, labels: Labels | None, *, partial: bool) -> Problem:
        """Make the problem to learn: learn the labels of y, or check them against those of an earlier call.

        `partial` says whether y may lack some of them.
        """
        raise NotImplementedError

    # Fitting

    def fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the network to inputs and targets.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs: an array of any library, on any device; a table, a list, or a sparse matrix.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
            Targets: labels or numbers.
        sample_weight : array of shape (n_samples,), optional
            Weights of the examples, at least 0.
        X_val : array of shape (n_val, n_features), optional
            Validation data: loss and score on them are computed after each epoch, and `early_stopping` watches them
            instead of holding out a part of X. A pipeline transforms them with ``transform_input=["X_val"]``.
        y_val : array of shape (n_val,) or (n_val, n_outputs), optional
            Their targets.
        sample_weight_val : array of shape (n_val,), optional
            Their weights.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is wrong, or weights become infinite or NaN; the estimator is then unchanged. With
            `early_stopping`, such weights only end training, with a warning.
        """
        return self._fit(X, y, sample_weight, validation=(X_val, y_val, sample_weight_val))

    def _fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        validation: tuple[Any, Any, Any] = (None, None, None),
        classes: Any = None,
        partial: bool = False,
    ) -> Self:
        """Fit. Nothing of the estimator changes before the last line."""
        settings, previous = parse_settings(self, partial=partial), self._previous(partial)
        data = self._check(X, y, sample_weight, validation, classes, settings, previous)
        fit = self._prepare(data, settings, previous)
        fitting.run(fit)
        self._assign(Fitted(fit.network, data.home, data.features, fit.tally, data.problem.labels))
        return self

    def _previous(self, partial: bool) -> Fitted | None:
        """Return the result of the last fit, if this one continues it."""
        continues = (partial or self.warm_start) and hasattr(self, "network_")
        return read_attributes(vars(self)) if continues else None

    def _check(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any],
        classes: Any,
        settings: Settings,
        previous: Fitted | None,
    ) -> FitData:
        """Check the arguments of a fit."""
        partial, validates = settings.partial, _has_validation(*validation)
        if validates and settings.descent is None:
            raise ValueError(
                "X_val is for solvers that train epoch by epoch, which lbfgs does not; leave it out, or give "
                "solver='adam'"
            )
        home = backend_of(X) if previous is None else self._check_place(X, "partial_fit" if partial else "fit")
        stand_in = copy.copy(self)  # scikit-learn's checks set `n_features_in_` and `feature_names_in_` on it
        X, y = validate_examples(stand_in, X, y, numeric=self._numeric, reset=previous is None)
        problem = self._make_problem(y, classes, None if previous is None else previous.labels, partial=partial)
        train = CheckedData(
            X,
            problem.encode(y),
            parse_sample_weight(sample_weight, X.shape[0]),
            problem.weigh_classes(y, partial=partial),
        )
        held_out = None
        if validates:
            backend = choose_backend(self._architecture, home)
            held_out = self._check_validation(stand_in, *validation, problem, backend)
        return FitData(home, read_features(vars(stand_in)), problem, train, held_out)

    def _prepare(
        self,
        data: FitData,
        settings: Settings,
        previous: Fitted | None,
        sources: FitSources | None = None,
        resample: Callable[[RowSource], RowSource] | None = None,
    ) -> Fit:
        """Prepare a fit, of the network of the last one or a new one; `sources` are shared with other fits."""
        random_state = check_random_state(self.random_state)
        if previous is not None and settings.partial:
            network = previous.network.copy()
        else:
            network = fitting.start_network(self._architecture, data, previous, random_state)
        if sources is None:
            sources = fitting.make_sources(data, network.view.reader)
        tally = None if previous is None else previous.tally
        return fitting.prepare(network, settings, data, sources, tally, random_state, resample)

    def _assign(self, fitted: Fitted) -> None:
        """Replace all fitted attributes."""
        others = {name: value for name, value in vars(self).items() if name not in ATTRIBUTES}
        self.__dict__ = others | write_attributes(fitted)  # at once: an interrupt comes before it or after it

    def _check_validation(
        self, stand_in: BaseEstimator, X: Any, y: Any, sample_weight: Any, problem: Problem, backend: Backend
    ) -> CheckedData:
        """Check validation data, for a network on a backend."""
        home = backend_of(X)
        if self._is_elsewhere(home, backend):
            raise ValueError(
                f"X_val is of {describe(home)}, and X of {describe(backend)}; give both in one library and on one "
                "device, or choose where to compute by backend= and device="
            )
        try:
            X, y = validate_examples(stand_in, X, y, numeric=self._numeric, reset=False)
            problem.check(y)
            return CheckedData(X, problem.encode(y), parse_sample_weight(sample_weight, X.shape[0]))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} (these are X_val, y_val and sample_weight_val)") from error

    # Predicting

    def _predict(self, X: Any, method: str, transform: Callable[[Array], Any]) -> Any:
        """Compute the outputs for X, transform them on the device, and move the result to where X lies."""
        check_is_fitted(self)
        home, view = self._check_place(X, method), self.network_.view
        X = validate_inputs(self, X)
        with view.scope():
            if sparse.issparse(X):
                outputs = view.xp.concat([predict(view, block) for block in dense_blocks(X)], axis=0)
            else:
                outputs = predict(view, move_to(X, view.backend))
            result = transform(outputs)
        if sparse.issparse(result) or (isinstance(result, np.ndarray) and not is_numeric(result)):
            return result  # as other libraries have neither
        return result if same_place(home, view.backend) else move_to(result, home)

    def activations(self, X: Any) -> list[Array]:
        """Compute the activations of every layer.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Inputs; sparse ones become dense.

        Returns
        -------
        list of array
            `n_layers_` arrays of shape (n_samples, n_units), the first of them X itself, in the library of X.
        """
        check_is_fitted(self)
        home, net = self._check_place(X, "activations"), self.network_
        X = validate_inputs(self, X)
        activations = net.activations(X.toarray() if sparse.issparse(X) else move_to(X, net.backend))
        return activations if same_place(home, net.backend) else [move_to(a, home) for a in activations]

    def _score(self, metric: Callable[..., float], X: Any, y: Any, sample_weight: Any) -> float:
        """Score predictions on the host."""
        predicted = to_host(self.predict(X))  # type: ignore
        check_kind(y, "y")
        check_kind(sample_weight, "sample_weight")
        with naming("y and sample_weight"):
            return float(metric(to_host(y), predicted, sample_weight=to_host(sample_weight)))

    # Library, device and structure

    def to(self: Self, X: Any) -> Self:
        """Return a copy that lives where X lies: in its library, on its device.

        Parameters
        ----------
        X
            An array; lists and tables stand for NumPy.

        Raises
        ------
        TypeError
            If it is something else, such as the name of a device.
        """
        check_is_fitted(self)
        if isinstance(X, str) or not (is_foreign(X) or hasattr(X, "__len__")):
            raise TypeError(f"to(X) takes an array that lies where the estimator is to go, not {X!r}")
        new = copy.copy(self)
        new._home = backend_of(X)
        new.network_ = self.network_.to(new._home)
        return new

    @property
    def coefs_(self) -> list[Array]:
        """Copies of the weights of each layer, (n_in, n_out), in the library of the X of `fit`; assignable."""
        return [move_to(w, self._home).mT for w in self._writable(self.network_.w)]

    @coefs_.setter
    def coefs_(self, coefs: Sequence[Any]) -> None:
        self.network_.w = [move_to(w, self.network_.backend).mT for w in coefs]

    @property
    def intercepts_(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), in the library of the X of `fit`; assignable."""
        return [move_to(b, self._home) for b in self._writable(self.network_.b)]

    @intercepts_.setter
    def intercepts_(self, intercepts: Sequence[Any]) -> None:
        self.network_.b = [move_to(b, self.network_.backend) for b in intercepts]

    def _writable(self, arrays: Sequence[Array]) -> list[Array]:
        """Copy arrays of the network: those of scikit-learn's estimators can be written to."""
        view = self.network_.view
        with view.scope():
            return [view.backend.copy(array) for array in arrays]

    @property
    def n_layers_(self) -> int:
        """Number of layers, inputs and outputs included."""
        return self.network_.num_layers

    @property
    def n_outputs_(self) -> int:
        """Number of outputs."""
        return self.network_.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """Activation of the output layer, by scikit-learn's name."""
        name = self.network_.output_activation
        return next((theirs for theirs, ours in ACTIVATION_NAMES.items() if ours == name), name)

    @property
    def _architecture(self) -> Architecture:
        """The parameters that shape the network."""
        return Architecture(
            self.hidden_layer_sizes, self.activation, self.dropout, self.backend, self.device, self.dtype
        )

    def _is_elsewhere(self, home: Backend, backend: Backend) -> bool:
        """Tell whether arrays do not lie where the network computes, though it is to follow them."""
        return self._architecture.follows_inputs and not same_place(home, backend)

    def _check_place(self, X: Any, method: str) -> Backend:
        """Return the backend of X; refuse any but the network's, unless `backend` or `device` chose that one."""
        home, backend = backend_of(X), self.network_.backend
        if self._is_elsewhere(home, backend):
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and the same device as "
                f"those passed to fit(): X is of {describe(home)}, and the estimator lives on {describe(backend)}; "
                "move it to X with est = est.to(X)"
            )
        return home

    # scikit-learn's protocols

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_array_api_convert__(self: Self, convert: Callable[[Any], Any]) -> Self:
        """Return a copy that lives where scikit-learn's function `convert` moves arrays."""
        return self.to(convert(self.coefs_[0])) if hasattr(self, "network_") else self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags
