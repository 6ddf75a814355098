"""The parameters that all estimators have, and the settings of a training that they are checked and turned into."""

import copy
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, is_dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np

from xpnet._checks import Count, Real, check_fields, choices, count, yes_or_no
from xpnet._names import look_up
from xpnet.core.optimizers import (
    LBFGS,
    MOST_TRIALS,
    SGD,
    AdamHat,
    Optimizer,
    begins_anew,
    needs_all_examples,
)
from xpnet.core.schedules import Schedule
from xpnet.errors import ArgumentError
from xpnet.estimators.inputs import require_seed
from xpnet.training import Checkpoint, FileKind, parse_callbacks, parse_checkpoint, parse_optimizer, parse_schedule
from xpnet.training.callback import Callback

LEARNING_RATES = ("constant", "invscaling", "adaptive")
AT_LEAST_0 = Real(0, math.inf, "0 turns it off")
FRACTION = Real(0, 1, "0.9 is usual")


def is_called(value: Any, name: str) -> bool:
    """Tell whether a parameter that takes names and objects is this name."""
    return isinstance(value, str) and value == name


def parse_batch_size(name: str, value: Any) -> Any:
    """Check the number of examples in a minibatch, or "auto": 200, or all if there are fewer."""
    return value if is_called(value, "auto") else count(name, value, 1)


def parse_patience(name: str, value: Any) -> float:
    """Check a number of epochs without improvement, which may be infinite."""
    return math.inf if isinstance(value, (float, np.floating)) and value == math.inf else count(name, value, 1)


def parse_verbose(name: str, value: Any) -> bool:
    """Check `verbose`, which may be a number, too."""
    if not isinstance(value, (int, np.integer, np.bool_)) or value < 0:
        raise ArgumentError(f"{name}={value!r} must be True or False, or a number of at least 0")
    return bool(value)


def parse_early_stopping(name: str, value: Any) -> str:
    """Turn the parameter into the name of what is watched on validation data, if anything is."""
    if is_called(value, "loss"):
        return "loss"
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(
            f"{name}={value!r} must be True, which watches the score on validation data, 'loss', which watches the "
            "loss on them, or False"
        )
    return "score" if value else ""


@dataclass(eq=False, repr=False)
class Parameters:
    """The parameters of all estimators, exactly as the user gave them; their checks make what `parse_settings` keeps.

    The ranges of numbers are scikit-learn's.
    """

    _: KW_ONLY
    loss: Any  # the order of the first three differs between the estimators
    hidden_layer_sizes: Any
    activation: Any
    solver: Any = "adam"
    alpha: Annotated[float, AT_LEAST_0] = 0.0001
    batch_size: Annotated[Any, parse_batch_size] = "auto"
    learning_rate: Any = "constant"
    learning_rate_init: Annotated[float, Real(0, math.inf, "0.001 is usual", includes_low=False)] = 0.001
    power_t: Annotated[float, AT_LEAST_0] = 0.5
    max_iter: Annotated[int, Count(1)] = 200
    shuffle: Annotated[bool, yes_or_no] = True
    random_state: Any = None
    tol: Annotated[float, AT_LEAST_0] = 1e-4
    verbose: Annotated[Any, parse_verbose] = False
    warm_start: Annotated[bool, yes_or_no] = False
    momentum: Annotated[float, FRACTION] = 0.9
    nesterovs_momentum: Annotated[bool, yes_or_no] = True
    early_stopping: Annotated[Any, parse_early_stopping] = False
    validation_fraction: Annotated[float, Real(0, 1, "0.1 is usual", includes_low=False)] = 0.1
    beta_1: Annotated[float, FRACTION] = 0.9
    beta_2: Annotated[float, FRACTION] = 0.999
    epsilon: Annotated[float, Real(0, math.inf, "1e-8 is usual", includes_low=False)] = 1e-8
    n_iter_no_change: Annotated[Any, parse_patience] = 10
    max_fun: Annotated[int, Count(1)] = 15000
    dropout: Any = 0.0
    standardize: bool = False
    callbacks: Annotated[Sequence[Callback], parse_callbacks] = ()
    progress: Annotated[bool, yes_or_no] = False
    backend: Any = None
    device: Any = None
    dtype: Any = None


class Settings(NamedTuple):
    """How to train."""

    checked: Any  # a copy of the estimator: its `Parameters`, as their checks return them
    optimizer: Optimizer
    schedule: Schedule
    partial: bool  # train for one epoch that continues the last call (`partial_fit`)

    @property
    def by_lines(self) -> bool:
        """Whether an epoch is an evaluation of L-BFGS, and an iteration a line."""
        return is_called(self.checked.solver, "lbfgs")

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
    def epochs(self) -> int:
        """The most epochs; with L-BFGS, the last line is followed to its end."""
        if self.by_lines:
            return self.checked.max_fun + self.most_trials
        return 1 if self.partial else self.checked.max_iter

    @property
    def rule(self) -> str:
        """How the learning rate changes between epochs: "invscaling", "adaptive", or not at all: "".

        Adam adapts its own rates, and solvers that take whole steps have none.
        """
        rate = self.checked.learning_rate
        is_fixed = is_called(self.checked.solver, "adam") or self.by_steps or not isinstance(rate, str)
        return "" if is_fixed or rate == "constant" else rate


def parse_settings(parameters: Parameters, *, partial: bool) -> Settings:
    """Check parameters, and turn them into settings, for `fit`, or for `partial_fit` if `partial` is True.

    Raises
    ------
    ArgumentError
        If a parameter is wrong; the message names it.
    """
    checked = copy.copy(parameters)
    check_fields(checked)
    settings = Settings(checked, _parse_solver(checked), _parse_learning_rate(checked), partial)
    unused: dict[str, bool] = {}
    if settings.by_lines:
        unused = {"dropout": bool(np.any(parameters.dropout)), "callbacks": bool(checked.callbacks)}
        checked.batch_size, checked.shuffle, checked.early_stopping, checked.progress = "auto", False, "", False
    if settings.by_steps:
        unused |= {
            "batch_size": checked.batch_size != "auto",
            "learning_rate": callable(checked.learning_rate),
        }
    for name, is_given in unused.items():
        if is_given:
            raise ArgumentError(
                f"{name}={getattr(parameters, name)!r} is not for solver={parameters.solver!r}, which takes steps of "
                "its own length on all examples; leave it out, or give solver='adam'"
            )
    if partial:
        _check_partial(settings)
    return settings


def _parse_solver(parameters: Parameters) -> Optimizer:
    """Turn the solver into an optimizer."""
    solver = parameters.solver
    if is_called(solver, "sgd"):
        return SGD(momentum=parameters.momentum, nesterov=parameters.nesterovs_momentum and parameters.momentum > 0)
    if is_called(solver, "adam"):
        return AdamHat(beta1=parameters.beta_1, beta2=parameters.beta_2, epsilon=parameters.epsilon)
    return parse_optimizer("solver", solver)


def _parse_learning_rate(parameters: Parameters) -> Schedule:
    """Turn the learning rate into a schedule; its changes between epochs come on top."""
    rate = parameters.learning_rate
    if isinstance(rate, str):
        look_up("learning_rate", rate, dict.fromkeys(LEARNING_RATES))
        return parse_schedule("learning_rate_init", parameters.learning_rate_init)
    if not callable(rate):
        raise ArgumentError(
            f"learning_rate={rate!r} must be one of {choices(LEARNING_RATES)}, or a schedule; the number is "
            "learning_rate_init"
        )
    return parse_schedule("learning_rate", rate)


def _check_partial(settings: Settings) -> None:
    """Refuse settings that a single epoch cannot have."""
    if begins_anew(settings.optimizer):
        raise ArgumentError(
            f"partial_fit trains for one epoch, and {type(settings.optimizer).__name__} begins anew each time; call fit"
        )
    if watched := settings.checked.early_stopping:
        raise ArgumentError(f"partial_fit does not support early_stopping={'loss' if watched == 'loss' else True!r}")
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
    if saving is not None:
        if not hasattr(estimator, "partial_fit"):
            raise ArgumentError(
                f"checkpoint={saving.path!r} is for solvers that train epoch by epoch, which lbfgs does not; leave it "
                "out, or give solver='adam'"
            )
        require_seed(saving.path, estimator.random_state)
    return saving


# Settings of an optimizer or schedule as parameters, by names such as solver__weight_decay


def list_fields(name: str, value: Any) -> dict[str, Any]:
    """List the settings of an optimizer or schedule that a parameter may be.

    Examples
    --------
    >>> list_fields("solver", SGD(momentum=0.9))
    {'solver__momentum': 0.9, 'solver__nesterov': False, 'solver__weight_decay': 0.0}
    """
    if not is_dataclass(value) or isinstance(value, type):
        return {}
    settings = {f"{name}__{field.name}": getattr(value, field.name) for field in fields(value) if field.init}
    return {key: item for pair in settings.items() for key, item in (pair, *list_fields(*pair).items())}


def replace_field(value: Any, path: str, new: Any) -> Any:
    """Return an optimizer or schedule with another setting.

    Examples
    --------
    >>> replace_field(SGD(momentum=0.9), "weight_decay", 0.1)
    SGD(momentum=0.9, nesterov=False, weight_decay=0.1)
    """
    field, _, rest = path.partition("__")
    return replace(value, **{field: replace_field(getattr(value, field), rest, new) if rest else new})
