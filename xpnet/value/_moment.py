"""Moment: a training between two chunks of steps, and all that is needed to go on from there."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from xpnet.data.sampling import Order
from xpnet.value._value import Value

NO_CALL: Mapping[str, Any] = {}  # nobody writes into it


class Moment(NamedTuple):
    """A network and how far its training has come. A job begins with one, a file holds one, a stream ends with one.

    Examples
    --------
    >>> moment = Moment(None).after_chunk(None, (4, 10), cost=12.0, weight=40.0, lr=0.5, seconds=0.1)
    >>> moment.steps, moment.examples, moment.row()["cost"]
    (4, 40, 0.3)
    >>> moment.next_epoch()[1:4]
    (2, 0, 4)
    """

    value: Value  # all that changes in the network
    epoch: int = 1  # the epoch of the next step, counted from 1
    steps: int = 0  # minibatches of this epoch that have been trained on
    total_steps: int = 0  # the same, over all epochs
    examples: int = 0  # examples of this epoch that have been trained on
    cost: float = 0.0  # sum of their costs times their weights
    weight: float = 0.0  # sum of their weights
    lr: float = 0.0  # of the last step
    seconds: float = 0.0  # that this epoch has taken
    generator: Mapping[str, Any] | None = None  # its state before this epoch's minibatches were drawn; None: as it is
    order: Order | None = None  # of the examples before this epoch, if the sampling has one
    lr_scale: float = 1.0  # multiplies the schedule
    stopped: bool = False  # whether training ends after this epoch
    group: int | None = None  # of networks that take their steps in one program; None before the first step
    # In a file: what must be the same when the training is resumed, and for each callback its "name" and "values"
    call: Mapping[str, Any] = NO_CALL
    callbacks: Sequence[Mapping[str, Any]] = ()

    @property
    def has_begun(self) -> bool:
        """Whether the training that it is of has begun; else it is where a training may begin."""
        return self.total_steps > 0 or bool(self.call)

    def after_chunk(
        self, value: Value, shape: tuple[int, int], cost: float, weight: float, lr: float, seconds: float
    ) -> "Moment":
        """Move past a chunk of minibatches, of the shape (steps, examples in each), which led to a new value."""
        steps, m = shape
        return self._replace(
            value=value,
            steps=self.steps + steps,
            total_steps=self.total_steps + steps,
            examples=self.examples + steps * m,
            cost=self.cost + cost,
            weight=self.weight + weight,
            lr=lr,
            seconds=seconds,
        )

    def next_epoch(self, order: Order | None = None) -> "Moment":
        """Move to the beginning of the next epoch, with the order after this one."""
        new = {"steps": 0, "examples": 0, "cost": 0.0, "weight": 0.0, "lr": 0.0, "seconds": 0.0, "generator": None}
        return self._replace(epoch=self.epoch + 1, order=order, **new)

    def row(self) -> dict[str, Any]:
        """Make the row of the history for an epoch that has ended."""
        return {
            "epoch": self.epoch,
            "cost": self.cost / self.weight if self.weight else math.nan,
            "lr": self.lr,
            "seconds": self.seconds,
            "examples_per_second": self.examples / self.seconds if self.seconds else math.nan,
        }
