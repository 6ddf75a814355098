"""The parameters that all estimators have, and the settings of a training that they are checked and turned into."""

import functools
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from xpnet._checks import choices, count, in_range, yes_or_no
from xpnet._names import explain_unknown
from xpnet.core.optimizers import (
    LBFGS,
    MOST_TRIALS,
    SGD,
    AdamHat,
    LevenbergMarquardt,
    Optimizer,
    begins_anew,
    is_optimizer,
    needs_all_examples,
)
from xpnet.core.schedules import Schedule
from xpnet.errors import ArgumentError
from xpnet.estimators.inputs import require_seed
from xpnet.training import Checkpoint, FileKind, parse_callbacks, parse_checkpoint, parse_schedule
from xpnet.training.callback import Callback

SOLVERS = ("adam", "sgd", "lbfgs", "lm")
LEARNING_RATES = ("constant", "invscaling", "adaptive")
SWITCHES = ("shuffle", "warm_start", "nesterovs_momentum", "progress")  # parameters that are True or False
above = functools.partial(in_range, includes_low=False)
# The ranges of numbers, which are scikit-learn's: check, lower and upper end, remedy
RANGES = {
    "alpha": (in_range, 0, math.inf, "0 turns it off"),
    "power_t": (in_range, 0, math.inf, "0 turns it off"),
    "tol": (in_range, 0, math.inf, "0 turns it off"),
    "learning_rate_init": (above, 0, math.inf, "0.001 is usual"),
    "validation_fraction": (in_range, 0, 1, "0.1 is usual"),
    "momentum": (in_range, 0, 1, "0.9 is usual"),
    "beta_1": (in_range, 0, 1, "0.9 is usual"),
    "beta_2": (in_range, 0, 1, "0.9 is usual"),
    "epsilon": (above, 0, math.inf, "1e-8 is usual"),
}


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters of all estimators, exactly as the user gave them."""

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


@dataclass(frozen=True)
class FitSettings:
    """How to train: the checked parameters, except those that shape the network."""

    optimizer: Optimizer
    schedule: Schedule
    invscaling: bool  # whether `power_t` and the examples seen lower the learning rate from epoch to epoch
    adaptive: bool  # whether the learning rate falls when training stalls
    learning_rate_init: float
    power_t: float
    batch_size: int | None  # None: 200, or all examples if there are fewer
    shuffle: bool
    alpha: float
    early_stopping: str | None  # watches the "score" or the "loss" on validation data
    validation_fraction: float
    n_iter_no_change: float
    callbacks: Sequence[Callback]
    progress: bool
    bootstrap: bool  # whether each network trains on a sample drawn with replacement from the examples not held out
    epochs: int  # the most; with "lbfgs", each is an evaluation, and the last line is followed to its end
    max_fun: int
    tol: float
    verbose: bool
    partial: bool  # train for one epoch that continues the last call (`partial_fit`)
    lines: int | None = None  # the most with "lbfgs", whose iterations they are; None: other solvers

    @property
    def by_steps(self) -> bool:
        """Whether the optimizer takes whole steps, of all examples, and `tol` is a fraction of the loss."""
        return needs_all_examples(self.optimizer)

    @property
    def bayesian(self) -> bool:
        """Whether the optimizer finds the penalty, so that the loss may rise."""
        return getattr(self.optimizer, "bayesian", False)

    @property
    def most_trials(self) -> int:
        """Epochs in which L-BFGS may look for a step, twice: along a line, and then along the gradient."""
        return 2 * (MOST_TRIALS + 1) if isinstance(self.optimizer, LBFGS) else 0

    @property
    def rule(self) -> str:
        """How the learning rate changes between epochs, in words; empty if it does not."""
        return f"invscaling with power_t={self.power_t:g}" if self.invscaling else "adaptive" * self.adaptive


def list_fields(name: str, value: Any) -> dict[str, Any]:
    """List the settings of an optimizer or schedule in a parameter, by names such as solver__weight_decay.

    Examples
    --------
    >>> list_fields("solver", SGD(momentum=0.9))
    {'solver__momentum': 0.9, 'solver__nesterov': False, 'solver__weight_decay': 0.0}
    """
    if not is_dataclass(value) or isinstance(value, type):
        return {}
    settings = {f"{name}__{field.name}": getattr(value, field.name) for field in fields(value) if field.init}
    return {key: item for pair in settings.items() for key, item in (pair, *list_fields(*pair).items())}


def replace_field(name: str, value: Any, path: str, new: Any) -> Any:
    """Return an optimizer or schedule with another setting, whose name is `path`: weight_decay, say.

    Examples
    --------
    >>> replace_field("solver", SGD(momentum=0.9), "weight_decay", 0.1)
    SGD(momentum=0.9, nesterov=False, weight_decay=0.1)
    """
    field, _, rest = path.partition("__")
    field_names = [key.removeprefix(f"{name}__") for key in list_fields(name, value)]
    if not field_names:
        raise ArgumentError(
            f"{name}__{path}={new!r} is a setting of an object, and {name}={value!r} is none; give one, as in "
            "solver=AdamW()"
        )
    if field not in field_names:
        raise ArgumentError(f"{name}={value!r} has no setting {field!r}; choose from {choices(field_names)}")
    if rest:
        new = replace_field(f"{name}__{field}", getattr(value, field), rest, new)
    return replace(value, **{field: new})


def is_called(value: Any, name: str) -> bool:
    """Tell whether a parameter that takes names and objects is this name."""
    return isinstance(value, str) and value == name


def parse_settings(parameters: Parameters, *, partial: bool) -> FitSettings:
    """Check parameters, in the ranges that scikit-learn accepts, and turn them into settings.

    Parameters
    ----------
    parameters
        The parameters.
    partial
        Whether they are for a call of `partial_fit`.

    Raises
    ------
    ArgumentError
        If a parameter is wrong; the message names it.
    """
    numbers = {
        name: check(name, getattr(parameters, name), low, high, remedy)
        for name, (check, low, high, remedy) in RANGES.items()
    }
    switches = {name: yes_or_no(name, getattr(parameters, name)) for name in SWITCHES}
    optimizer, patience = _parse_optimizer(parameters), parameters.n_iter_no_change
    is_endless = isinstance(patience, (float, np.floating)) and patience == math.inf
    # How the learning rate changes between epochs; Adam adapts its own rates, and others have none
    has_rule = not (is_called(parameters.solver, "adam") or needs_all_examples(optimizer))
    rule = parameters.learning_rate if has_rule else None
    max_iter = count("max_iter", parameters.max_iter, 1)
    settings = FitSettings(
        optimizer=optimizer,
        schedule=_parse_schedule(parameters),
        invscaling=is_called(rule, "invscaling"),
        adaptive=is_called(rule, "adaptive"),
        learning_rate_init=numbers["learning_rate_init"],
        power_t=numbers["power_t"],
        batch_size=None if is_called(parameters.batch_size, "auto") else count("batch_size", parameters.batch_size, 1),
        shuffle=switches["shuffle"],
        alpha=numbers["alpha"],
        early_stopping=_parse_early_stopping(parameters.early_stopping),
        validation_fraction=numbers["validation_fraction"],
        n_iter_no_change=math.inf if is_endless else count("n_iter_no_change", patience, 1),
        callbacks=parse_callbacks("callbacks", parameters.callbacks),
        progress=switches["progress"],
        bootstrap=yes_or_no("bootstrap", getattr(parameters, "bootstrap", False)),  # of ensembles
        epochs=1 if partial else max_iter,
        max_fun=count("max_fun", parameters.max_fun, 1),
        tol=numbers["tol"],
        verbose=_parse_verbose(parameters.verbose),
        partial=partial,
    )
    if is_called(parameters.solver, "lbfgs"):
        _refuse_for_lbfgs(parameters)
        unused: dict[str, Any] = {"batch_size": None, "shuffle": False, "early_stopping": None, "progress": False}
        epochs = settings.max_fun + settings.most_trials
        settings = replace(settings, epochs=epochs, lines=max_iter, **unused)
    if settings.by_steps:
        _refuse_rates_and_minibatches(parameters, settings)
    if partial:
        _check_partial(settings)
    return settings


def _refuse_rates_and_minibatches(parameters: Parameters, settings: FitSettings) -> None:
    """Refuse what the solvers that take whole steps, on all examples, have no use for."""
    if settings.batch_size is not None:
        raise ArgumentError(
            f"batch_size={parameters.batch_size!r} is for other solvers: {parameters.solver!r} uses all examples in "
            "every step; leave it out"
        )
    if not isinstance(parameters.learning_rate, str):
        raise ArgumentError(
            f"learning_rate={parameters.learning_rate!r} is for other solvers: {parameters.solver!r} chooses the "
            "length of its steps; leave it out"
        )


def _parse_optimizer(parameters: Parameters) -> Optimizer:
    """Turn the solver into an optimizer."""
    solver = parameters.solver
    if not isinstance(solver, str):
        if not is_optimizer(solver):
            raise ArgumentError(
                f"solver={solver!r} must be one of {choices(SOLVERS)}, or an optimizer, as in SGD(momentum=0.9)"
            )
        return solver
    if solver not in SOLVERS:
        unknown = explain_unknown("solver", solver, SOLVERS)
        raise ArgumentError(f"{unknown}, or give an optimizer, as in SGD(momentum=0.9)")
    if solver == "lbfgs":
        return LBFGS()
    if solver == "lm":
        return LevenbergMarquardt()
    if solver == "sgd":
        nesterov = bool(parameters.nesterovs_momentum and parameters.momentum)
        return SGD(momentum=parameters.momentum, nesterov=nesterov)
    return AdamHat(beta1=parameters.beta_1, beta2=parameters.beta_2, epsilon=parameters.epsilon)


def _parse_schedule(parameters: Parameters) -> Schedule:
    """Turn the learning rate into a schedule; its changes between epochs come on top."""
    learning_rate = parameters.learning_rate
    if isinstance(learning_rate, str) and learning_rate not in LEARNING_RATES:
        raise ArgumentError(explain_unknown("learning_rate", learning_rate, LEARNING_RATES) + ", or give a schedule")
    if not isinstance(learning_rate, str) and not callable(learning_rate):
        raise ArgumentError(
            f"learning_rate={learning_rate!r} must be one of {choices(LEARNING_RATES)}, or a schedule; the number is "
            "learning_rate_init"
        )
    rate = parameters.learning_rate_init if isinstance(learning_rate, str) else learning_rate
    return parse_schedule("learning_rate", rate)


def _parse_early_stopping(value: Any) -> str | None:
    """Turn the parameter into the name of what is watched on validation data, if anything is."""
    if is_called(value, "loss"):
        return "loss"
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(
            f"early_stopping={value!r} must be True, which watches the score on validation data, 'loss', which watches "
            "the loss on them, or False"
        )
    return "score" if value else None


def _parse_verbose(value: Any) -> bool:
    if not isinstance(value, (int, np.integer, np.bool_)) or value < 0:
        raise ArgumentError(f"verbose={value!r} must be True or False, or a number of at least 0")
    return bool(value)


def _refuse_for_lbfgs(parameters: Parameters) -> None:
    """Refuse parameters that L-BFGS cannot use."""
    for name, is_used in (("dropout", np.any(parameters.dropout)), ("callbacks", parameters.callbacks)):
        if is_used:
            raise ArgumentError(
                f"{name}={getattr(parameters, name)!r} is for solvers that train epoch by epoch, which lbfgs does "
                "not; leave it out, or give solver='adam'"
            )


def _check_partial(settings: FitSettings) -> None:
    """Refuse settings that a single epoch cannot have."""
    if begins_anew(settings.optimizer):
        raise ArgumentError(
            f"partial_fit trains for one epoch, and {type(settings.optimizer).__name__} begins anew each time; call fit"
        )
    if settings.early_stopping:
        value = True if settings.early_stopping == "score" else settings.early_stopping
        raise ArgumentError(f"partial_fit does not support early_stopping={value!r}")
    if getattr(settings.schedule, "needs_total", True):
        raise ArgumentError(
            f"learning_rate={settings.schedule!r} is a schedule over all steps, and partial_fit does not know how many "
            "there will be; call fit, or give a constant one"
        )


def parse_saving_of_fit(estimator: Any, kind: FileKind, checkpoint: Any, every: Any, resume: Any) -> Checkpoint | None:
    """Check the arguments of `fit` that are about a checkpoint; None if there is to be none.

    Raises
    ------
    ArgumentError
        If the fit could not be resumed: because it has no epochs, or draws other numbers each time.
    """
    saving = parse_checkpoint(checkpoint, every, resume, kind=kind)
    if saving is None:
        return None
    if not hasattr(estimator, "partial_fit"):
        raise ArgumentError(
            f"checkpoint={saving.path!r} is for solvers that train epoch by epoch, which lbfgs does not; leave it out, "
            "or give solver='adam'"
        )
    require_seed(saving.path, estimator.random_state)
    return saving
