"""The base class of all estimators: what they check, and how they predict and score."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from xpnet.backends.base import Backend
from xpnet.core.arrays import Array, Namespace
from xpnet.estimators import fitting
from xpnet.estimators.architecture import Architecture, choose_backend
from xpnet.estimators.fitted import Fitted, read_features
from xpnet.estimators.inputs import (
    CheckedData,
    FitArguments,
    FitData,
    check_kind,
    naming,
    parse_sample_weight,
    validate_examples,
    validate_inputs,
)
from xpnet.estimators.labels import Labels, is_numeric
from xpnet.estimators.places import backend_of, describe, move_to, same_place, to_host
from xpnet.estimators.problems import Problem
from xpnet.estimators.settings import Parameters, Settings, is_called
from xpnet.estimators.sparse import dense_blocks
from xpnet.inspection.predict import predict
from xpnet.network import Network
from xpnet.wording.errors import unless_stopped

Self = TypeVar("Self", bound="BaseLearner")


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


class BaseLearner(Parameters, BaseEstimator):
    """Base class of all estimators, of one network or several."""

    _numeric: ClassVar[bool]  # whether targets are numbers, rather than labels

    # Set by `fit`
    _home: Backend
    _labels: Labels

    @property
    def _networks(self) -> Sequence[Network]:
        """The networks that it was fitted with."""
        raise NotImplementedError

    def _fit(self: Self, arguments: FitArguments) -> Self:
        """Fit. Nothing of the estimator changes before the last line."""
        raise NotImplementedError

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
        return self._fit(FitArguments(X, y, sample_weight, (X_val, y_val, sample_weight_val)))

    def _start_network(
        self, data: FitData, settings: Settings, previous: Fitted | None, random_state: np.random.RandomState
    ) -> Network:
        """Continue the network of the last fit in `partial_fit`, or make a new one."""
        if previous is not None and settings.partial:
            return previous.network.copy()
        return fitting.start_network(self._architecture, data, previous, random_state)

    def _check(self, arguments: FitArguments, settings: Settings, previous: Fitted | None) -> FitData:
        """Check the arguments of a fit."""
        X, y, sample_weight, validation, classes, partial = arguments
        validates = _has_validation(*validation)
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
        except unless_stopped(TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{error} (these are X_val, y_val and sample_weight_val)") from error

    # Predicting

    def _predict(self, X: Any, method: str, transform: Callable[[Sequence[Array]], Any]) -> Any:
        """Compute the outputs of each network for X, transform them there, and move the result to where X lies."""
        check_is_fitted(self)
        home, views = self._check_place(X, method), [network.view for network in self._networks]
        X, backend = validate_inputs(self, X), views[0].backend
        with views[0].scope():
            blocks = dense_blocks(X) if sparse.issparse(X) else [move_to(X, backend)]
            outputs = list(zip(*([predict(view, block) for view in views] for block in blocks)))
        dtype = max(view.output_dtype for view in views)  # some members may need float64, and others not
        with backend.scope(dtype):
            joined = (a[0] if len(a) == 1 else backend.xp.concat(a, axis=0) for a in outputs)
            result = transform([backend.asarray(a, dtype) for a in joined])
        if sparse.issparse(result) or (isinstance(result, np.ndarray) and not is_numeric(result)):
            return result  # as other libraries have neither
        return result if same_place(home, backend) else move_to(result, home)

    def _score(self, metric: Callable[..., float], X: Any, y: Any, sample_weight: Any) -> float:
        """Score predictions on the host."""
        predicted = to_host(self.predict(X))  # type: ignore
        check_kind(y, "y")
        check_kind(sample_weight, "sample_weight")
        with naming("y and sample_weight"):
            return float(metric(to_host(y), predicted, sample_weight=to_host(sample_weight)))

    # Library and device

    @property
    def _architecture(self) -> Architecture:
        """The parameters that shape the network."""
        return Architecture(
            self.hidden_layer_sizes,
            self.activation,
            self.dropout,
            self.standardize,
            self.backend,
            self.device,
            self.dtype,
        )

    def _is_elsewhere(self, home: Backend, backend: Backend) -> bool:
        """Tell whether arrays do not lie where the network computes, though it is to follow them."""
        return self._architecture.follows_inputs and not same_place(home, backend)

    def _check_place(self, X: Any, method: str) -> Backend:
        """Return the backend of X; refuse any but the network's, unless `backend` or `device` chose that one."""
        home, backend = backend_of(X), self._networks[0].backend
        if self._is_elsewhere(home, backend):
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace and the same device as "
                f"those passed to fit(): X is of {describe(home)}, and the estimator lives on {describe(backend)}; "
                "move it to X with est = est.to(X)"
            )
        return home

    # scikit-learn's protocols

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_home")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags


def mean_outputs(outputs: Sequence[Array], xp: Namespace) -> Array:
    """Average the outputs of several networks."""
    return outputs[0] if len(outputs) == 1 else xp.mean(xp.stack(list(outputs)), axis=0)
