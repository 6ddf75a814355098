"""Conversion of fitted estimators from scikit-learn's and back."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from xpnet._checks import choices
from xpnet.backends import backend_of, to_host
from xpnet.errors import ArgumentError
from xpnet.estimators._convergence import TALLY_ATTRIBUTES, read_tally, write_tally
from xpnet.estimators._fitting import join_attributes
from xpnet.estimators._parameters import LEARNING_RATES, THEIR_SOLVERS, Parameters
from xpnet.estimators.architecture import ACTIVATION_NAMES, choose_backend, choose_dtype, make_network, take_layers
from xpnet.estimators.base import BasePerceptron
from xpnet.estimators.inputs import float_dtype
from xpnet.estimators.targets import Problem
from xpnet.network.network import Network

# names in xpnet -> scikit-learn's
SKLEARN_ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
LOSSES = ("squared_error", "poisson")


def read_parameters(fitted: Any, kind: type[BaseEstimator], more: Mapping[str, Any]) -> dict[str, Any]:
    """Read the parameters of a fitted estimator of scikit-learn, and add those that it does not have."""
    if not isinstance(fitted, kind):
        raise ArgumentError(f"fitted={fitted!r} must be a fitted sklearn.neural_network.{kind.__name__}")
    check_is_fitted(fitted)
    parameters = fitted.get_params(deep=False)
    if repeated := sorted(parameters.keys() & more.keys()):
        raise ArgumentError(
            f"{', '.join(repeated)}: parameters of scikit-learn are taken from fitted; use set_params afterwards"
        )
    return {**parameters, **more}


def from_sklearn(fitted: Any, parameters: Parameters, problem: Problem) -> dict[str, Any]:
    """Convert the fitted attributes of an estimator of scikit-learn. Training continues with a fresh optimizer."""
    if parameters.standardize:
        raise ArgumentError("standardize=True: scikit-learn has trained the network on X as it is; leave it out")
    home, tally = backend_of(fitted.coefs_[0]), copy.deepcopy(read_tally(vars(fitted)))
    sizes = [len(w) for w in fitted.coefs_] + [problem.n_outputs]
    init = take_layers((w.T, b) for w, b in zip(fitted.coefs_, fitted.intercepts_))
    dtype, backend = choose_dtype(parameters, float_dtype(fitted.coefs_[0])), choose_backend(parameters, home)
    network = make_network(parameters, sizes, problem.head(), init, backend, dtype)
    names = getattr(fitted, "feature_names_in_", None)
    network.feature_names = names
    tally.lr_scale, tally.n_without_improvement = 1.0, 0
    return join_attributes(network, home, names, problem.labels, tally)


def to_sklearn(estimator: BasePerceptron, kind: Callable[..., Any], y: Any, options: Mapping[str, Any]) -> Any:
    """Make a fitted estimator of scikit-learn.

    Parameters
    ----------
    estimator
        The fitted estimator of xpnet.
    kind
        The class of scikit-learn.
    y
        A target of the right kind.
    options
        More arguments of its `partial_fit`.
    """
    network, parameters, defaults = estimator.network_, estimator.get_params(deep=False), kind().get_params(deep=False)
    if network.scaling is not None:
        raise ArgumentError(
            "standardize=True: scikit-learn's networks do not scale; fit with a StandardScaler in a pipeline instead"
        )
    if len(network.value.model.cost.levels) > 1:
        raise ArgumentError(
            f"loss={parameters['loss']!r} has several outputs for each target, and scikit-learn's networks have one; "
            "fit with one level"
        )
    translated = _translate(parameters, network, defaults)
    # Fitting one row sets all attributes that scikit-learn needs; their values are replaced below
    quick = {"solver": "adam", "early_stopping": False, "batch_size": "auto", "warm_start": False, "random_state": 0}
    quick["verbose"] = False
    theirs = kind(**{**translated, **quick})
    theirs.partial_fit(np.zeros((1, network.sizes[0])), y, **options)
    output = SKLEARN_ACTIVATIONS.get(network.output_activation, network.output_activation)
    if output != theirs.out_activation_:
        raise ArgumentError(
            f"loss={parameters['loss']!r} has the output activation {output!r}, which scikit-learn does not "
            "support for it"
        )
    theirs.set_params(**translated)
    _replace_attributes(theirs, estimator)
    return theirs


def _translate(parameters: Mapping[str, Any], network: Network, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the parameters that scikit-learn has; unsupported values become its defaults."""
    translated = {name: value for name, value in parameters.items() if name in defaults}
    names, parameter = set(network.activation), parameters["activation"]
    if len(names) > 1 or not names <= set(SKLEARN_ACTIVATIONS):
        raise ArgumentError(
            f"activation={parameter!r} is one that scikit-learn does not support; it has "
            f"{choices(SKLEARN_ACTIVATIONS.values())}, the same for all hidden layers"
        )
    if not names and isinstance(parameter, str):  # without hidden layers, it counts for the first weights alone
        names = {ACTIVATION_NAMES.get(parameter, parameter)} & set(SKLEARN_ACTIVATIONS)
    translated["activation"] = SKLEARN_ACTIVATIONS[names.pop()] if names else defaults["activation"]
    for name, supported in (("solver", THEIR_SOLVERS), ("learning_rate", LEARNING_RATES), ("loss", LOSSES)):
        if name in defaults and not (isinstance(translated[name], str) and translated[name] in supported):
            translated[name] = defaults[name]
    translated["early_stopping"] = bool(translated["early_stopping"])  # it cannot watch the loss
    return translated


def _replace_attributes(theirs: Any, estimator: BasePerceptron) -> None:
    """Replace the fitted attributes of an estimator of scikit-learn by those of one of ours."""
    attributes, tally = vars(theirs), write_tally(copy.deepcopy(read_tally(vars(estimator))))
    for name in ("_optimizer", *TALLY_ATTRIBUTES):  # training continues with a fresh optimizer
        attributes.pop(name, None)
    for name in ("_lr_scale", "validation_loss_curve_", "best_validation_loss_"):  # which scikit-learn does not have
        tally.pop(name, None)
    attributes.update(tally)
    if "feature_names_in_" in vars(estimator):
        attributes["feature_names_in_"] = vars(estimator)["feature_names_in_"]
    attributes["coefs_"] = [np.array(to_host(w).T) for w in estimator.network_.w]
    attributes["intercepts_"] = [np.array(to_host(b)) for b in estimator.network_.b]
    for name in ("coefs_", "intercepts_"):
        attributes[f"_best_{name[:-1]}"] = [x.copy() for x in attributes[name]]
