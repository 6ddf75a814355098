"""What the classifier and the regressor share: their parameters, and what can be done with them."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

import xpnet.estimators.checking as checking
import xpnet.estimators.fitting as fitting
from xpnet import prediction
from xpnet.arrays import Array
from xpnet.backends import Backend
from xpnet.callbacks import Callback
from xpnet.estimators.following import brought, home, is_foreign, on_the_host, same
from xpnet.estimators.settings import ACTIVATIONS, is_called
from xpnet.estimators.sparse_rows import dense_blocks
from xpnet.examples import Examples
from xpnet.network import Network

Self = TypeVar("Self", bound="Perceptron")


def has_epochs(est: Any) -> bool:
    """Whether its solver trains epoch by epoch, so that there is a `partial_fit`."""
    if is_called(est.solver, "lbfgs"):
        raise AttributeError("partial_fit is for solvers that train epoch by epoch, which lbfgs does not")
    return True


@dataclass(eq=False, repr=False)
class Perceptron(BaseEstimator):
    """Base class of `MLPClassifier` and `MLPRegressor`; the fields are their parameters."""

    _: KW_ONLY
    solver: Any = "adam"
    alpha: float = 0.0001
    batch_size: Any = "auto"
    learning_rate: Any = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: Any = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: Any = 10
    max_fun: int = 15000
    dropout: Any = 0.0
    callbacks: Sequence[Callback] = ()
    progress: bool = False
    backend: Any = None
    device: Any = None
    dtype: Any = None

    # What each of the two has of its own

    _numeric: ClassVar[bool]  # whether targets are numbers
    _score: ClassVar[Callable[..., float]]  # scikit-learn's
    _score_name: ClassVar[str]  # what the score is called in the logs of an epoch, after "validation_"
    _task: ClassVar[Any]  # as in `Network`

    if TYPE_CHECKING:  # set by `fit`; they are no parameters
        network_: Network
        n_features_in_: int
        _home: Backend

    def _encoded(self, y: Any, goes_on: bool, classes: Any) -> Any:
        """Make targets of y; learns the labels, or checks them if training goes on."""
        raise NotImplementedError

    def _head(self, y: Any) -> fitting.Head:
        """Describe the output layer for such targets."""
        raise NotImplementedError

    def _class_weights(self, y: Any, once: bool) -> Any:
        """How much each example counts by its class, (n,); None for all the same."""
        return None

    def _reported(self, examples: Examples) -> Callable[[float], float]:
        """What scikit-learn reports as the loss where the network's mean cost of some examples is a number."""
        return float

    # Fitting

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> Self:
        """Fit the network to inputs and targets.

        Parameters
        ----------
        X
            Inputs (n, n_features): an array of any library, on any device; a table, a list, or a sparse matrix.
        y
            Targets: labels or numbers (n,), or rows (n, n_outputs).
        sample_weight
            How much each example counts, (n,), at least 0.
        validation_data
            A tuple (X, y) or (X, y, sample_weight): each epoch computes loss and score on it, and `early_stopping` goes
            by it, instead of holding back a part of X.

        Returns
        -------
        self
            The estimator, fitted.

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is wrong, or weights become infinite or NaN; the estimator is as it was then.
        """
        return self._fit(X, y, sample_weight, validation_data)

    def _fit(
        self: Self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any = None,
        classes: Any = None,
        once: bool = False,
    ) -> Self:
        """Fit; when that fails, in whichever way, the estimator is as it was."""
        before, net = dict(vars(self)), vars(self).get("network_")
        known = {} if net is None else dict(vars(net))
        try:
            fitting.fit(self, X, y, sample_weight, validation_data, classes, once)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            if net is not None:
                vars(net).update(known)
            raise
        return self

    # Predicting

    def _outputs(self, X: Any, method: str, of: Callable[[Array], Any]) -> Any:
        """What `of` makes of the outputs for X, in the library of X and on its device."""
        check_is_fitted(self)
        here, net = checking.home_of(self, X, method), self.network_
        X = checking.inputs(self, X)
        with net.backend.scope(net.dtype):
            if sparse.issparse(X):
                a = net.backend.xp.concat([prediction.outputs(net, block) for block in dense_blocks(X)], axis=0)
            else:
                a = prediction.outputs(net, brought(X, net.backend))
            found = of(a)
        stays = same(here, net.backend) or sparse.issparse(found) or str(found.dtype)[:1] in "<O"  # strings
        return found if stays else brought(found, here)

    def activations(self, X: Any) -> list[Array]:
        """Activations of every layer, `n_layers_` arrays (n, units), the first X itself; in the library of X.

        Parameters
        ----------
        X
            Inputs (n, n_features); sparse ones become dense.
        """
        check_is_fitted(self)
        here, net = checking.home_of(self, X, "activations"), self.network_
        X = checking.inputs(self, X)
        found = net.activations(X.toarray() if sparse.issparse(X) else brought(X, net.backend))
        return found if same(here, net.backend) else [brought(a, here) for a in found]

    def _scored(self, X: Any, y: Any, sample_weight: Any) -> float:
        """Score predictions on the host, whichever library they are of."""
        predicted = on_the_host(self.predict(X))  # type: ignore
        return float(self._score(on_the_host(y), predicted, sample_weight=on_the_host(sample_weight)))

    # Where it lives, and what it is made of

    def to(self: Self, X: Any) -> Self:
        """Return a copy that lives where X lies: in its library, on its device.

        Parameters
        ----------
        X
            An array; lists and tables stand for NumPy.

        Raises
        ------
        TypeError
            If it is none of these, such as the name of a device.
        """
        check_is_fitted(self)
        if isinstance(X, str) or not (is_foreign(X) or hasattr(X, "__len__")):
            raise TypeError(f"to(X) takes an array that lies where the estimator is to go, not {X!r}")
        new = copy.copy(self)
        new._home = home(X)
        new.network_ = self.network_.to(new._home)
        return new

    @property
    def coefs_(self) -> list[Array]:
        """Copies of the weights of each layer, (n_in, n_out), in the library of the X of `fit`; assignable."""
        return [brought(w, self._home).mT for w in self.network_.w]

    @coefs_.setter
    def coefs_(self, coefs: Sequence[Any]) -> None:
        self.network_.w = [brought(w, self.network_.backend).mT for w in coefs]

    @property
    def intercepts_(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), in the library of the X of `fit`; assignable."""
        return [brought(b, self._home) for b in self.network_.b]

    @intercepts_.setter
    def intercepts_(self, intercepts: Sequence[Any]) -> None:
        self.network_.b = [brought(b, self.network_.backend) for b in intercepts]

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
        return next((theirs for theirs, ours in ACTIVATIONS.items() if ours == name), name)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_array_api_convert__(self: Self, convert: Callable[[Any], Any]) -> Self:
        """Be moved by scikit-learn's own function."""
        return self.to(convert(self.coefs_[0])) if hasattr(self, "network_") else self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.array_api_support = True
        return tags
