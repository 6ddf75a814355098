"""The base classes of all estimators: parameters, fitted attributes, predictions and scores, and where they live."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from xpnet._names import look_up
from xpnet.backends import backend_of, is_foreign, to_host
from xpnet.backends.base import Backend
from xpnet.core.arrays import Array, Namespace
from xpnet.errors import ArgumentError
from xpnet.estimators._fitting import FitMixin
from xpnet.estimators._parameters import Parameters, is_called, list_fields, replace_field
from xpnet.estimators.inputs import check_kind, leave_device, move_to, name_arguments, require_place, validate_inputs
from xpnet.estimators.targets import Classification, is_numeric
from xpnet.inference import predict
from xpnet.network.network import Network
from xpnet.value import Value

__all__ = [
    "BaseLearner",
    "BaseModel",
    "BasePerceptron",
    "bring_home",
    "has_epochs",
    "mean_outputs",
]


def has_epochs(estimator: Parameters) -> bool:
    """Tell whether there is a `partial_fit`: whether the solver trains epoch by epoch."""
    if is_called(estimator.solver, "lbfgs"):
        raise AttributeError("partial_fit is for solvers that train epoch by epoch, which lbfgs does not")
    return True


def bring_home(result: Any, backend: Backend, home: Backend) -> Any:
    """Move a result, or each of several, from the backend that has computed it to where X lies."""
    if isinstance(result, (list, tuple)):
        return type(result)(bring_home(part, backend, home) for part in result)
    is_strings = isinstance(result, np.ndarray) and not is_numeric(result)
    if home == backend or is_strings or sparse.issparse(result):  # other libraries have neither of the two
        return result
    return move_to(result, home)


class BaseModel(BaseEstimator):
    """Base class of all estimators that hold networks: their scores, copies and pickles."""

    def _score(self, metric: Callable[..., float], X: Any, y: Any, sample_weight: Any) -> float:
        """Score predictions on the host."""
        predicted = to_host(self.predict(X))  # type: ignore
        check_kind(y, "y")
        check_kind(sample_weight, "sample_weight")
        with name_arguments("y and sample_weight"):
            return float(metric(to_host(y), predicted, sample_weight=to_host(sample_weight)))


class BaseLearner(FitMixin, BaseModel):
    """Base class of the estimators with scikit-learn's parameters, of one network or several."""

    # Set by `fit`
    _home: Backend  # where X lies
    _labels: Classification

    @property
    def _model(self) -> Any:
        """The fitted network, or the ensemble, whose calibration corrects the estimator's probabilities, if any."""
        raise NotImplementedError

    @property
    def n_outputs_(self) -> int:
        """Number of outputs."""
        return self._model.values[0].model.n_targets

    # Parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep`, also the settings of an optimizer or schedule: solver__weight_decay."""
        parameters = super().get_params(deep)
        nested = [list_fields(name, value) for name, value in parameters.items()] if deep else []
        return parameters | {name: value for settings in nested for name, value in settings.items()}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters, and settings of an optimizer or schedule by names such as solver__weight_decay."""
        own = self.get_params(deep=False)
        nested = [path for path in parameters if "__" in path and path.partition("__")[0] in own]
        super().set_params(**{name: value for name, value in parameters.items() if name not in nested})
        for path in nested:
            known = [name for name in self.get_params() if "__" in name]
            look_up("the setting of a parameter", path, dict.fromkeys(known))
            name, _, setting = path.partition("__")
            setattr(self, name, replace_field(getattr(self, name), setting, parameters[path]))
        return self

    # Predicting

    def _predict(
        self,
        X: Any,
        method: str,
        transform: Callable[[Sequence[Array], Value], Any],
        compute: Callable[[Any], Sequence[Array]] | None = None,
    ) -> Any:
        """Compute for X where the networks do, transform what comes out, and move the result to where X lies.

        `compute` gets X; unless given, it returns the outputs of each network. `transform` gets what it returns, and
        the first network; it may return a list of results.
        """
        check_is_fitted(self)
        first, *_ = values = self._model.values
        backend = first.backend
        home = require_place(self, X, backend, method)
        X = validate_inputs(self, home, X)
        with first.scope():
            x = leave_device(X, backend)
            outputs = [predict(value, x) for value in values] if compute is None else compute(x)
        with backend.scope(first.output_dtype):
            result = transform(outputs, first)
        return bring_home(result, backend, home)

    # scikit-learn's protocols

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags

    def __sklearn_array_api_convert__(self: Any, convert: Callable[[Any], Any]) -> Any:
        """Return a copy that lives where scikit-learn's function `convert` moves arrays."""
        return self.to(convert(self._home.asarray(np.zeros(1)))) if self.__sklearn_is_fitted__() else self


class BasePerceptron(BaseLearner):
    """Base class of `MLPClassifier` and `MLPRegressor`."""

    # Set by `fit`
    network_: Network
    _home: Backend  # where X lies

    @property
    def _model(self) -> Network:
        return self.network_

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
        return self._predict(X, "activations", lambda outputs, value: [*outputs], self.network_.activations)

    # Library, device and structure

    def to(self, X: Any) -> Self:
        """Return a copy that lives where X lies: in its library, on its device.

        Parameters
        ----------
        X
            An array of the library, on the device; lists and tables stand for NumPy.

        Raises
        ------
        ArgumentError
            If it is something else, such as the name of a device.
        """
        check_is_fitted(self)
        if isinstance(X, str) or not (is_foreign(X) or hasattr(X, "__len__")):
            raise ArgumentError(f"to(X) takes an array that lies where the estimator is to go, not {X!r}")
        new = copy.copy(self)
        new._home = backend_of(X)
        new.network_ = self.network_.to(new._home)
        return new

    @property
    def coefs_(self) -> list[Array]:
        """Copies of the weights of each layer, (n_in, n_out), in the library of the X of `fit`; assignable."""
        return [w.mT for w in self._copy_home(self.network_.w)]

    @coefs_.setter
    def coefs_(self, coefs: Sequence[Any]) -> None:
        network = self.network_.copy()  # `copy.copy` shares it
        network.w = [move_to(w, network.backend).mT for w in coefs]
        self.network_ = network

    @property
    def intercepts_(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), in the library of the X of `fit`; assignable."""
        return self._copy_home(self.network_.b)

    @intercepts_.setter
    def intercepts_(self, intercepts: Sequence[Any]) -> None:
        network = self.network_.copy()
        network.b = [move_to(b, network.backend) for b in intercepts]
        self.network_ = network

    def _copy_home(self, arrays: Sequence[Array]) -> list[Array]:
        """Copy arrays of the network to where X lies: those of scikit-learn's estimators can be written to."""
        value = self.network_.value
        with value.scope():
            copies = [value.backend.copy(array) for array in arrays]
        return [move_to(copy, self._home) for copy in copies]

    @property
    def n_layers_(self) -> int:
        """Number of layers, inputs and outputs included."""
        return self.network_.num_layers

    @property
    def out_activation_(self) -> str:
        """Activation of the output layer, by scikit-learn's name."""
        name = self.network_.output_activation
        return "logistic" if name == "sigmoid" else name


def mean_outputs(outputs: Sequence[Array], xp: Namespace) -> Array:
    """Average the outputs of several networks."""
    return outputs[0] if len(outputs) == 1 else xp.mean(xp.stack(list(outputs)), axis=0)
