"""Learning-rate schedules: functions of (step, total steps of this call to train) that return the rate of a step.

Any such function is a schedule; the ones here are classes only so that they print well and compare equal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from xpnet.errors import in_range

Schedule: TypeAlias = Callable[[int, int], float]


@dataclass(frozen=True)
class Constant:
    """The same rate at every step.

    Parameters
    ----------
    lr
        The learning rate.

    Examples
    --------
    >>> Constant(0.5)(3, 10)
    0.5
    """

    lr: float

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return self.lr


@dataclass(frozen=True)
class OneCycle:
    """Up in a straight line to a peak, then down in one to nothing (after Smith, arXiv:1803.09820).

    With t = (step + ½) / total, the rate is peak · t / warmup while t < warmup, then peak · (1 − t) / (1 − warmup).

    Parameters
    ----------
    peak
        The largest rate.
    warmup
        The part of all steps in [0, 1) that leads up to it.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> schedule = OneCycle(1.0, warmup=0.5)
    >>> [round(schedule(step, 4), 3) for step in range(4)]
    [0.25, 0.75, 0.75, 0.25]
    """

    peak: float
    warmup: float = 0.2

    def __post_init__(self) -> None:
        """Check the numbers."""
        in_range("peak", self.peak, 0, math.inf, "it is the largest learning rate")
        in_range("warmup", self.warmup, 0, 1, "it is a part of all steps")

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        t = (step + 0.5) / total
        return self.peak * (t / self.warmup if t < self.warmup else (1.0 - t) / (1.0 - self.warmup))
