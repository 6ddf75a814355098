"""Plans: how a network is trained, checked when they are made; and jobs: what to train by a plan, on which data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from xpnet._checks import Count, Real, check_fields, yes_or_no
from xpnet.core.optimizers import Optimizer
from xpnet.data.open import Data
from xpnet.training._arguments import (
    parse_callbacks,
    parse_metrics,
    parse_optimizer,
    parse_sampling,
    parse_schedule,
)
from xpnet.training.callback import Callback
from xpnet.value import Value


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

    epochs: Annotated[int, Count(0)] = 20
    batch_size: Annotated[Any, Count(1)] = None
    lr: Annotated[Any, parse_schedule] = None
    optimizer: Annotated[Any, parse_optimizer] = None
    sampling: Annotated[Any, parse_sampling] = None
    alpha: Annotated[float, Real(0, math.inf, "0 turns it off")] = 0.0
    callbacks: Annotated[Sequence[Callback], parse_callbacks] = ()
    metrics: Annotated[Sequence[Any], parse_metrics] = ()
    training_metrics: Annotated[Sequence[Any], parse_metrics] = ()
    chunk_steps: Annotated[int | None, Count(1)] = None
    progress: Annotated[bool, yes_or_no] = False

    def __post_init__(self) -> None:
        check_fields(self)

    def find_optimizer(self, value: Value) -> Optimizer:
        """Return the optimizer, or that of a value if none is given."""
        return parse_optimizer("optimizer", value.optimizer if self.optimizer is None else self.optimizer)

    def complete(self, **fields: Any) -> "Plan":
        """Return the plan with these values of some fields, which nothing checks."""
        plan = object.__new__(Plan)
        vars(plan).update(vars(self), **fields)
        return plan

    def without_watching(self) -> "Plan":
        """Leave out what observes training, for a process that only shares the steps."""
        return self.complete(callbacks=(), metrics=(), training_metrics=(), progress=False)


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

    start: Any  # which `train` turns into a moment
    data: Data
    plan: Plan
    owner: Any = None
