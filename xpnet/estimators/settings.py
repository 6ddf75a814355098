"""The parameters that both estimators have, and the settings of a training that they stand for."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.optimizers.adam import AdamHat
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.sgd import SGD
from xpnet.core.schedules import Schedule
from xpnet.data.sampling import Sampling, count_minibatches, cut_into_minibatches
from xpnet.training import arguments
from xpnet.training.callback import Callback
from xpnet.wording.checks import between, choices, count, in_range, yes_or_no
from xpnet.wording.hints import explain_unknown

SOLVERS = ("adam", "sgd", "lbfgs")
LEARNING_RATES = ("constant", "invscaling", "adaptive")


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters of both estimators, exactly as the user gave them."""

    _: KW_ONLY
    loss: Any  # the order of the first three differs between the estimators
    hidden_layer_sizes: Any
    activation: Any
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
    early_stopping: Any = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: Any = 10
    max_fun: int = 15000
    dropout: Any = 0.0
    standardize: bool = False
    callbacks: Sequence[Callback] = ()
    progress: bool = False
    backend: Any = None
    device: Any = None
    dtype: Any = None


class RateRule(NamedTuple):
    """How the learning rate changes between epochs; with neither of the two, only the schedule changes it."""

    invscaling: bool
    adaptive: bool
    initial: float  # η
    power: float


class Descent(NamedTuple):
    """Settings of the solvers that train epoch by epoch."""

    optimizer: Optimizer
    schedule: Schedule
    rate_rule: RateRule
    batch_size: int | None  # None: 200, or all examples if there are fewer
    shuffle: bool
    early_stopping: str | None  # watches the "score" or the "loss" on validation data
    validation_fraction: float
    n_iter_no_change: float
    callbacks: Sequence[Callback]
    progress: bool


@dataclass(frozen=True)
class Settings:
    """How to train, checked. What shapes the network is in `Architecture`."""

    descent: Descent | None  # None: L-BFGS
    alpha: float
    max_iter: int
    max_fun: int
    tol: float
    verbose: bool
    partial: bool  # train for one epoch, which continues the last call in everything (`partial_fit`)


def is_called(value: Any, name: str) -> bool:
    """Tell whether a parameter that takes names and objects is this name."""
    return isinstance(value, str) and value == name


def parse_settings(parameters: Parameters, *, partial: bool) -> Settings:
    """Check parameters, in the ranges that scikit-learn accepts, and turn them into settings.

    Parameters
    ----------
    parameters
        The parameters.
    partial
        Whether they are for a call of `partial_fit`.

    Raises
    ------
    ValueError, TypeError
        If a parameter is wrong; the message names it.
    """
    check_parameters(parameters)
    descent = None if is_called(parameters.solver, "lbfgs") else _parse_descent(parameters)
    if partial and descent is not None:
        _check_partial(descent)
    return Settings(
        descent=descent,
        alpha=float(parameters.alpha),
        max_iter=count("max_iter", parameters.max_iter, 1),
        max_fun=count("max_fun", parameters.max_fun, 1),
        tol=float(parameters.tol),
        verbose=bool(parameters.verbose),
        partial=partial,
    )


def check_parameters(parameters: Parameters) -> None:
    """Check all parameters but those that shape the network."""
    solver, learning_rate = parameters.solver, parameters.learning_rate
    if isinstance(solver, str) and solver not in SOLVERS:
        example = arguments.suggest_optimizer(solver)
        raise ValueError(f"{explain_unknown('solver', solver, SOLVERS)}, or give an optimizer, as in {example}")
    if isinstance(learning_rate, str) and learning_rate not in LEARNING_RATES:
        raise ValueError(explain_unknown("learning_rate", learning_rate, LEARNING_RATES) + ", or give a schedule")
    if not isinstance(solver, str) and not arguments.is_optimizer(solver):
        raise TypeError(
            f"solver={solver!r} must be one of {choices(SOLVERS)}, or an optimizer, as in "
            f"{arguments.suggest_optimizer(solver)}"
        )
    if not isinstance(learning_rate, str) and not callable(learning_rate):
        raise ValueError(
            f"learning_rate={learning_rate!r} must be one of {choices(LEARNING_RATES)}, or a schedule; the number is "
            "learning_rate_init"
        )
    if not is_called(parameters.batch_size, "auto"):
        count("batch_size", parameters.batch_size, 1)
    for name in ("max_iter", "max_fun"):
        count(name, getattr(parameters, name), 1)
    if parameters.n_iter_no_change != math.inf:
        count("n_iter_no_change", parameters.n_iter_no_change, 1)
    if not isinstance(parameters.verbose, int) or parameters.verbose < 0:
        raise ValueError(f"verbose={parameters.verbose!r} must be True or False, or a number of at least 0")
    arguments.parse_callbacks(parameters.callbacks)
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "progress"):
        yes_or_no(name, getattr(parameters, name))
    _parse_early_stopping(parameters)
    for name in ("alpha", "power_t", "tol"):
        in_range(name, getattr(parameters, name), 0, math.inf, "0 turns it off")
    between("learning_rate_init", parameters.learning_rate_init, 0, math.inf, "0.001 is usual")
    for name in ("validation_fraction", "momentum", "beta_1", "beta_2"):
        usual = "0.1 is usual" if name == "validation_fraction" else "0.9 is usual"
        in_range(name, getattr(parameters, name), 0, 1, usual)
    between("epsilon", parameters.epsilon, 0, math.inf, "1e-8 is usual")
    if is_called(solver, "lbfgs"):
        for name, unused in (("dropout", not np.any(parameters.dropout)), ("callbacks", not parameters.callbacks)):
            if not unused:
                raise ValueError(
                    f"{name}={getattr(parameters, name)!r} is for solvers that train epoch by epoch, which lbfgs does "
                    "not; leave it out, or give solver='adam'"
                )


def _parse_descent(parameters: Parameters) -> Descent:
    return Descent(
        optimizer=_parse_optimizer(parameters),
        schedule=_parse_schedule(parameters),
        rate_rule=_parse_rate_rule(parameters),
        batch_size=None if is_called(parameters.batch_size, "auto") else count("batch_size", parameters.batch_size, 1),
        shuffle=bool(parameters.shuffle),
        early_stopping=_parse_early_stopping(parameters),
        validation_fraction=float(parameters.validation_fraction),
        n_iter_no_change=parameters.n_iter_no_change,
        callbacks=arguments.parse_callbacks(parameters.callbacks),
        progress=bool(parameters.progress),
    )


def _parse_early_stopping(parameters: Parameters) -> str | None:
    value = parameters.early_stopping
    if is_called(value, "loss"):
        return "loss"
    if isinstance(value, str) or str(value) not in ("True", "False"):  # of Python or NumPy
        raise ValueError(
            f"early_stopping={value!r} must be True, which watches the score on validation data, 'loss', which watches "
            "the loss on them, or False"
        )
    return "score" if value else None


def _parse_optimizer(parameters: Parameters) -> Optimizer:
    if not isinstance(parameters.solver, str):
        return parameters.solver
    if parameters.solver == "sgd":
        nesterov = bool(parameters.nesterovs_momentum and parameters.momentum)
        return SGD(momentum=parameters.momentum, nesterov=nesterov)
    return AdamHat(beta1=parameters.beta_1, beta2=parameters.beta_2, epsilon=parameters.epsilon)


def _parse_schedule(parameters: Parameters) -> Schedule:
    learning_rate = parameters.learning_rate
    rate = parameters.learning_rate_init if isinstance(learning_rate, str) else learning_rate
    return arguments.parse_schedule(rate, "learning_rate")


def _parse_rate_rule(parameters: Parameters) -> RateRule:
    """Read the rule from `learning_rate`; Adam adapts its own rates and has none."""
    name = "" if is_called(parameters.solver, "adam") else parameters.learning_rate
    return RateRule(
        invscaling=is_called(name, "invscaling"),
        adaptive=is_called(name, "adaptive"),
        initial=float(parameters.learning_rate_init),
        power=float(parameters.power_t),
    )


def _check_partial(descent: Descent) -> None:
    """Refuse what a single epoch cannot do."""
    if descent.early_stopping:
        value = True if descent.early_stopping == "score" else descent.early_stopping
        raise ValueError(f"partial_fit does not support early_stopping={value!r}")
    if getattr(descent.schedule, "needs_total", True):
        raise ValueError(
            f"learning_rate={descent.schedule!r} is a schedule over all steps, and partial_fit does not know how many "
            "there will be; call fit, or give a constant one"
        )


def make_sampling(random_state: np.random.RandomState, shuffle: bool) -> Sampling:
    """Draw minibatches as scikit-learn does: each epoch shuffles the order of the one before, or none does."""
    order = np.zeros(0, np.int32)

    def draw(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        nonlocal order
        order = order if len(order) else np.arange(n, dtype=np.int32)
        if shuffle:
            order = order[random_state.permutation(n)]  # what sklearn.utils.shuffle does, in a twentieth of the time
        return cut_into_minibatches(order, batch_size)

    return Sampling(count_minibatches, draw)
