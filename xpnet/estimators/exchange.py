"""Between these estimators and scikit-learn's: a fitted one of either kind from one of the other."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from xpnet import arguments
from xpnet.errors import choices
from xpnet.estimators.checking import chosen
from xpnet.estimators.convergence import KEPT, forget
from xpnet.estimators.fitting import Head, network
from xpnet.estimators.following import float_of, home, on_the_host
from xpnet.estimators.settings import LEARNING_RATES, SOLVERS, given

E = TypeVar("E")
FITTED = (*KEPT, "loss_", "n_iter_", "t_", "n_features_in_", "feature_names_in_")
THEIRS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}  # activations, by our names
LOSSES = ("squared_error", "poisson")


def taken_over(kind: Callable[..., E], theirs: type, fitted: Any, more: dict[str, Any]) -> E:
    """Make an estimator with the parameters and fitted attributes of scikit-learn's, without the network yet."""
    if not isinstance(fitted, theirs):
        raise TypeError(f"fitted={fitted!r} must be a fitted sklearn.neural_network.{theirs.__name__}")
    check_is_fitted(fitted)
    known = fitted.get_params(deep=False)
    if taken := sorted(known.keys() & more.keys()):
        raise TypeError(f"{', '.join(taken)}: what scikit-learn has comes from fitted; use set_params afterwards")
    est = kind(**known, **more)
    forget(est)
    for name in FITTED:
        if hasattr(fitted, name):
            value = getattr(fitted, name)
            setattr(est, name, list(value) if isinstance(value, list) else value)
    return est


def give_network(est: Any, fitted: Any, head: Head) -> None:
    """Give an estimator the network that scikit-learn's is."""
    est._home = home(fitted.coefs_[0])
    sizes = [len(w) for w in fitted.coefs_] + [head.units]
    dtype = float_of(fitted.coefs_[0]) if est.dtype is None else arguments.dtype(est.dtype)
    init = given(zip(fitted.coefs_, fitted.intercepts_))
    est.network_ = network(est, sizes, head, init, chosen(est, est._home), dtype)


def given_back(est: Any, kind: Callable[..., Any], y: Any, options: dict[str, Any]) -> Any:
    """Make scikit-learn's estimator of ours. `y` is a target of the right kind, `options` are those of its fit."""
    known = kind().get_params(deep=False)
    parameters = {name: value for name, value in est.get_params(deep=False).items() if name in known}
    names = set(est.network_.activation)
    if len(names) > 1 or not names <= set(THEIRS):
        raise ValueError(
            f"activation={est.activation!r} is none that scikit-learn has; it has {choices(THEIRS.values())}, the same "
            "for all hidden layers"
        )
    parameters["activation"] = THEIRS[names.pop()] if names else "relu"
    for name, theirs in (("solver", SOLVERS), ("learning_rate", LEARNING_RATES), ("loss", LOSSES)):
        if name in known and not (isinstance(parameters[name], str) and parameters[name] in theirs):
            parameters[name] = known[name]
    # Fitted to one row, it has all that it needs but the numbers
    plain = {"solver": "adam", "early_stopping": False, "batch_size": "auto", "warm_start": False, "random_state": 0}
    made = kind(**{**parameters, **plain})
    made.partial_fit(np.zeros((1, est.n_features_in_)), y, **options)
    if THEIRS.get(est.out_activation_, est.out_activation_) != made.out_activation_:
        raise ValueError(f"loss={est.loss!r} has the output activation {est.out_activation_!r}, scikit-learn's has not")
    made.set_params(**parameters)
    vars(made).pop("_optimizer")  # training goes on with a fresh one
    for name in ("coefs_", "intercepts_"):
        setattr(made, name, [np.array(on_the_host(x)) for x in getattr(est, name)])
        setattr(made, f"_best_{name[:-1]}", [x.copy() for x in getattr(made, name)])
    made._no_improvement_count = est._no_improvement_count
    for name in FITTED:
        vars(made).pop(name, None)
        if hasattr(est, name):
            setattr(made, name, getattr(est, name))
    return made
