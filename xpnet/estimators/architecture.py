"""The network of an estimator, as its parameters describe it."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import count
from xpnet.backends import backend_of, get_backend
from xpnet.backends.base import Backend
from xpnet.core.activations import Activation
from xpnet.core.costs import Cost
from xpnet.core.initializers import Initializer
from xpnet.errors import ArgumentError
from xpnet.estimators._parameters import is_called
from xpnet.estimators.inputs import name_place
from xpnet.value import structure
from xpnet.value.structure import Task

__all__ = [
    "ACTIVATION_NAMES",
    "Head",
    "choose_backend",
    "draw_uniform",
    "is_elsewhere",
    "parse_hidden_activation",
    "parse_hidden_sizes",
    "parse_loss",
    "require_place",
    "take_layers",
]

# scikit-learn's names -> names in xpnet
ACTIVATION_NAMES = {"logistic": "sigmoid"}
LOSS_NAMES = {"log_loss": "cross_entropy", "squared_error": "quadratic"}


class Head(NamedTuple):
    """The output layer of a network, its cost and its task."""

    units: int
    activation: str | Activation
    cost: Cost
    task: Task | None  # None: inferred from the output layer


def parse_hidden_sizes(value: Any) -> list[int]:
    """Check the numbers of units of the hidden layers: one number, or a list."""
    return [count("hidden_layer_sizes", size, 1) for size in (list(value) if np.ndim(value) else [value])]


def parse_hidden_activation(value: Any, layers: int) -> list[Activation]:
    """Take one activation for all hidden layers, or a list with one for each, by its name here or in scikit-learn."""

    def translate(item: Any) -> Any:
        return ACTIVATION_NAMES.get(item, item) if isinstance(item, str) else item

    has_each = isinstance(value, (list, tuple)) and not isinstance(value, Activation)
    return structure.parse_hidden([translate(item) for item in value] if has_each else translate(value), layers)


def parse_loss(loss: Any) -> Cost:
    """Take a loss by its name here or in scikit-learn, or the user's own cost."""
    if isinstance(loss, (int, list, tuple)) and not isinstance(loss, Cost):
        raise ArgumentError(
            f"loss={loss!r} must be the name of a loss, or a cost; MLPRegressor takes loss first, so give sizes by "
            f"name, as in hidden_layer_sizes={loss!r}"
        )
    cost = structure.parse_cost(LOSS_NAMES.get(loss, loss) if isinstance(loss, str) else loss, "loss")
    if not cost.has_point:
        raise ArgumentError(
            f"loss={loss!r} has no single number for each target, which predict returns; add 0.5, the median, to its "
            "levels; predict_quantiles returns all of them"
        )
    return cost


def follows_inputs(parameters: Any) -> bool:
    """Tell whether the network computes where X lies, rather than where `backend` or `device` say."""
    return parameters.backend is None and parameters.device is None


def is_elsewhere(parameters: Any, home: Backend, backend: Backend) -> bool:
    """Tell whether arrays lie elsewhere than the network, which has to follow them."""
    return follows_inputs(parameters) and home != backend


def require_place(estimator: Any, x: Any, backend: Backend, method: str) -> Backend:
    """Return the backend of X, which must be that of the network unless `backend` or `device` is given."""
    home = backend_of(x)
    if is_elsewhere(estimator, home, backend):
        raise ArgumentError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device "
            f"as those passed to fit(): X is of {name_place(home)}, and the estimator lives on {name_place(backend)}; "
            "move it to X with est = est.to(X)"
        )
    return home


def choose_backend(parameters: Any, home: Backend) -> Backend:
    """Choose where to compute: where `backend` and `device` say, or else at home, where X lies."""
    if follows_inputs(parameters):
        return home
    library = parameters.backend
    if library is None and home.name != "numpy":
        library = home.library
    backend = get_backend(library, parameters.device)
    return home if parameters.device is None and backend.name == home.name else backend


def draw_uniform(activation: Any, random_state: np.random.RandomState, layers: int) -> Initializer:
    """Return an initializer that draws as scikit-learn does: layer by layer from U(−r, r), r² = c / (n_in + n_out).

    c is 2 for layers of sigmoid units, else 6; the output layer has the c of the last of the hidden `layers`. See
    Glorot and Bengio, AISTATS 2010, equation 16.
    """
    c = [2.0 if sigma.name == "sigmoid" else 6.0 for sigma in parse_hidden_activation(activation, layers)]
    if not layers and is_called(activation, "logistic"):
        c = [2.0]
    remaining = iter([*c, c[-1] if c else 6.0])

    def sklearn_uniform(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
        r = math.sqrt(next(remaining) / (n_in + n_out))
        w = random_state.uniform(-r, r, (n_in, n_out))
        return w.T, random_state.uniform(-r, r, n_out)

    return sklearn_uniform


def take_layers(layers: Iterable[tuple[np.ndarray, np.ndarray]]) -> Initializer:
    """Return an initializer that takes existing weights (n_out, n_in) and biases (n_out,), layer by layer."""
    remaining = iter(layers)

    def existing_weights(rng: np.random.Generator, n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
        return next(remaining)

    return existing_weights
