"""Position: how far a training has come, between two chunks of steps."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from xpnet.value._value import Value


class Position(NamedTuple):
    """How far a training has come. With the network's state, it determines how training continues.

    Examples
    --------
    >>> position = Position().after_chunk((4, 10), cost=12.0, weight=40.0, lr=0.5, seconds=0.1)
    >>> position.steps, position.examples, position.row()["cost"]
    (4, 40, 0.3)
    >>> position.next_epoch()[:3]
    (2, 0, 4)
    """

    epoch: int = 1  # the epoch of the next step, counted from 1
    steps: int = 0  # minibatches of this epoch that have been trained on
    total_steps: int = 0  # the same, over all epochs
    examples: int = 0  # examples of this epoch that have been trained on
    cost: float = 0.0  # sum of their costs times their weights
    weight: float = 0.0  # sum of their weights
    lr: float = 0.0  # of the last step
    seconds: float = 0.0  # that this epoch has taken
    generator: Mapping[str, Any] | None = None  # its state before this epoch's minibatches were drawn; None: as it is

    def after_chunk(self, shape: tuple[int, int], cost: float, weight: float, lr: float, seconds: float) -> "Position":
        """Move past a chunk of minibatches, of the shape (steps, examples in each)."""
        steps, m = shape
        return self._replace(
            steps=self.steps + steps,
            total_steps=self.total_steps + steps,
            examples=self.examples + steps * m,
            cost=self.cost + cost,
            weight=self.weight + weight,
            lr=lr,
            seconds=seconds,
        )

    def next_epoch(self) -> "Position":
        """Move to the beginning of the next epoch."""
        return Position(epoch=self.epoch + 1, total_steps=self.total_steps)

    def row(self) -> dict[str, Any]:
        """Make the row of the history for an epoch that has ended."""
        return {
            "epoch": self.epoch,
            "cost": self.cost / self.weight if self.weight else math.nan,
            "lr": self.lr,
            "seconds": self.seconds,
            "examples_per_second": self.examples / self.seconds if self.seconds else math.nan,
        }


class Start(NamedTuple):
    """Where the training of a network begins: before the first step, unless it is resumed."""

    value: Value
    is_resumed: bool = False
    position: Position = Position()
    history: tuple[dict[str, Any], ...] = ()  # rows of earlier epochs
    lr_scale: float = 1.0
    stopped: bool = False
