"""The base class of classifier and regressor: they have one network."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from xpnet.core.arrays import Array
from xpnet.estimators import fitting
from xpnet.estimators.architecture import ACTIVATION_NAMES
from xpnet.estimators.base import BaseLearner
from xpnet.estimators.fitted import ATTRIBUTES, Fitted, read_attributes, write_attributes
from xpnet.estimators.inputs import FitArguments, validate_inputs
from xpnet.estimators.places import backend_of, is_foreign, move_to, same_place
from xpnet.estimators.settings import parse_settings
from xpnet.network import Network

Self = TypeVar("Self", bound="BasePerceptron")


class BasePerceptron(BaseLearner):
    """Base class of `MLPClassifier` and `MLPRegressor`."""

    # Set by `fit`
    network_: Network

    @property
    def _networks(self) -> Sequence[Network]:
        return [self.network_]

    def _fit(self: Self, arguments: FitArguments) -> Self:
        settings, previous = parse_settings(self, partial=arguments.partial), self._previous(arguments.partial)
        data = self._check(arguments, settings, previous)
        random_state = check_random_state(self.random_state)
        network = self._start_network(data, settings, previous, random_state)
        sources = fitting.make_sources(data, network)
        fit = fitting.prepare(network, settings, data, sources, previous, random_state)
        fitting.run(fit)
        self._assign(Fitted(fit.network, data.home, data.features, fit.tally, data.problem.labels))
        return self

    def _previous(self, partial: bool) -> Fitted | None:
        """Return the result of the last fit, if this one continues it."""
        continues = (partial or self.warm_start) and hasattr(self, "network_")
        return read_attributes(vars(self)) if continues else None

    def _assign(self, fitted: Fitted) -> None:
        """Replace all fitted attributes."""
        others = {name: value for name, value in vars(self).items() if name not in ATTRIBUTES}
        self.__dict__ = others | write_attributes(fitted)  # at once: an interrupt comes before it or after it

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
        return self.network_.view.model.n_targets

    @property
    def out_activation_(self) -> str:
        """Activation of the output layer, by scikit-learn's name."""
        name = self.network_.output_activation
        return next((theirs for theirs, ours in ACTIVATION_NAMES.items() if ours == name), name)

    # scikit-learn's protocols

    def __sklearn_array_api_convert__(self: Self, convert: Callable[[Any], Any]) -> Self:
        """Return a copy that lives where scikit-learn's function `convert` moves arrays."""
        return self.to(convert(self.coefs_[0])) if hasattr(self, "network_") else self
