"""Plans: how a network is trained, checked when they are made; and jobs: what to train by a plan, on which data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from xpnet._checks import count, overwrite, yes_or_no
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.schedules import Schedule
from xpnet.data.open import Data
from xpnet.data.sampling import Sampling
from xpnet.training._arguments import (
    parse_alpha,
    parse_callbacks,
    parse_epochs,
    parse_metrics,
    parse_optimizer,
    parse_sampling,
    parse_schedule,
)
from xpnet.training.callback import Callback
from xpnet.value import Moment, Value

CHECKS: dict[str, Callable[[Any], Any]] = {  # of the fields of a plan, which become what they return
    "epochs": parse_epochs,
    "batch_size": partial(count, "batch_size", least=1),
    "chunk_steps": partial(count, "chunk_steps", least=1),
    "optimizer": parse_optimizer,
    "lr": parse_schedule,
    "sampling": parse_sampling,
    "alpha": parse_alpha,
    "callbacks": parse_callbacks,
    "metrics": partial(parse_metrics, "metrics"),
    "training_metrics": partial(parse_metrics, "training_metrics"),
    "progress": partial(yes_or_no, "progress"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How to train a network, by the arguments of `Network.train`, which it checks. None stands for "not given".

    Parameters
    ----------
    epochs, batch_size, lr, optimizer, sampling, callbacks, metrics, training_metrics, chunk_steps, progress
        As in `Network.train`. Names become objects, and a number `lr` becomes a constant schedule.
    alpha
        Adds α/2m ‖w‖² to the cost of a minibatch; m is the sum of its examples' weights.

    Raises
    ------
    ArgumentError
        If one of them is wrong; the message names it.

    Examples
    --------
    >>> Plan(epochs=5, lr=0.1).lr
    Constant(lr=0.1)
    """

    epochs: int = 20
    batch_size: int | None = None
    lr: float | Schedule | None = None
    optimizer: Optimizer | str | None = None
    sampling: str | Sampling | None = None
    alpha: float = 0.0
    callbacks: Sequence[Callback] = ()
    metrics: Sequence[Any] = ()
    training_metrics: Sequence[Any] = ()
    chunk_steps: int | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            value = getattr(self, name)
            if value is not getattr(Plan, name):  # the default
                overwrite(self, **{name: check(value)})

    def find_optimizer(self, value: Value) -> Optimizer:
        """Return the optimizer, or that of a value if none is given."""
        return parse_optimizer(value.optimizer if self.optimizer is None else self.optimizer)

    def without_watching(self) -> "Plan":
        """Leave out what observes training, for a process that only shares the steps."""
        return replace(self, callbacks=(), metrics=(), training_metrics=(), progress=False)

    def complete(self, **fields: Any) -> "CompletePlan":
        """Return the complete plan with these values of some fields, which nothing checks again."""
        plan = object.__new__(CompletePlan)
        vars(plan).update(vars(self), **fields)
        return plan


class Job(NamedTuple):
    """A network to train, its data, and the plan.

    Parameters
    ----------
    start
        The value of a network, or the moment at which its training goes on.
    data
        The examples.
    plan
        How to train.
    owner
        The network, which callbacks see as `training.net`; training does not change it.
    """

    start: Value | Moment
    data: Data
    plan: Plan
    owner: Any = None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the plan, or that of the value."""
        return self.plan.find_optimizer(self.start.value if isinstance(self.start, Moment) else self.start)


if TYPE_CHECKING:

    class CompletePlan(Plan):
        """A plan in which nothing is left out that the steps need: what is not given has been chosen."""

        batch_size: int
        lr: Schedule
        optimizer: Optimizer | None  # None if a runner takes the steps in its own way
        sampling: Sampling

    class CompleteJob(NamedTuple):
        """A job that begins with a moment, by a complete plan: what training works on."""

        start: Moment
        data: Data
        plan: CompletePlan
        owner: Any

        @property
        def optimizer(self) -> Optimizer: ...

else:  # no kinds of their own: type checkers alone tell them from a plan and a job
    CompletePlan, CompleteJob = Plan, Job
