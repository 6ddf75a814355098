"""Learning-rate schedules: functions of (step, total steps of this call to train) that return the rate of a step.

Any such function is a schedule; the ones here are classes only so that they print well and compare equal. A schedule
that does not use the total sets ``needs_total = False`` and can then be used with data of unknown length.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from xpnet._checks import Checked, Real, is_list, show
from xpnet._names import explain_arguments
from xpnet.errors import ArgumentError

__all__ = [
    "SCHEDULES",
    "SCHEDULE_CLASSES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "Step",
]

Schedule = Callable[[int, int], float]

Rate = Annotated[float, Real(0, math.inf, "0.01 is a usual rate")]
RateAboveZero = Annotated[float, Real(0, math.inf, "0.01 is a usual rate", includes_low=False)]
Fraction = Annotated[float, Real(0, 1, "it is a fraction of all steps")]


def parse_points(argument: str, value: Any) -> tuple[float, ...]:
    """Check the points of `Step`."""
    if not is_list(value):
        raise ArgumentError(f"{argument}={show(value)} must be a tuple of fractions of all steps, as in (0.5, 0.75)")
    return tuple(Real(0, 1, "each is a fraction of all steps")(argument, point) for point in value)


@explain_arguments
@dataclass(frozen=True)
class Constant(Checked):
    """The same rate at every step.

    Parameters
    ----------
    lr
        The learning rate.

    Raises
    ------
    ArgumentError
        If it is not a finite number of at least 0.

    Examples
    --------
    >>> Constant(0.5)(3, 10)
    0.5
    """

    lr: Rate
    needs_total: ClassVar[bool] = False

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return self.lr


@explain_arguments
@dataclass(frozen=True)
class Step(Checked):
    """Drop the rate at certain points of the training.

    The rate is lr · factorᵏ after k points.

    Parameters
    ----------
    lr
        The first learning rate.
    factor
        Multiplies the rate at each point.
    at
        The points, as fractions of all steps in [0, 1).

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> schedule = Step(1.0, factor=0.5, at=(0.5, 0.75))
    >>> [schedule(step, 4) for step in range(4)]
    [1.0, 1.0, 0.5, 0.25]
    """

    lr: Rate
    factor: Annotated[float, Real(0, math.inf, "0.1 is usual")] = 0.1
    at: Annotated[Sequence[float], parse_points] = (0.5, 0.75)

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return self.lr * self.factor ** sum(step / max(1, total) >= point for point in self.at)


@explain_arguments
@dataclass(frozen=True)
class Exponential(Checked):
    """Decay exponentially from a first rate to a last one.

    With t = step / (total − 1), the rate is lr · (final / lr)ᵗ.

    Parameters
    ----------
    lr, final
        The rates of the first and of the last step, above 0.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> [round(Exponential(1.0, 0.01)(step, 3), 3) for step in range(3)]
    [1.0, 0.1, 0.01]
    """

    lr: RateAboveZero
    final: RateAboveZero

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return self.lr * (self.final / self.lr) ** (step / max(1, total - 1))


@explain_arguments
@dataclass(frozen=True)
class InverseScaling(Checked):
    """Divide the rate by a power of the step number: lr / (step + 1)^power.

    It does not depend on the total number of steps.

    Parameters
    ----------
    lr
        The rate of the first step.
    power
        The power, at least 0.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> [InverseScaling(1.0, power=0.5)(step, 0) for step in (0, 3, 15)]
    [1.0, 0.5, 0.25]
    """

    lr: Rate
    power: Annotated[float, Real(0, math.inf, "0.5 is usual")] = 0.5
    needs_total: ClassVar[bool] = False

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        return self.lr / (step + 1) ** self.power


@explain_arguments
@dataclass(frozen=True)
class Cosine(Checked):
    """Warm up linearly, then follow half a cosine down (Loshchilov and Hutter, arXiv:1608.03983, equation 5).

    With t = (step + ½) / total, the rate is peak · t / warmup while t < warmup, and then
    final + ½ (peak − final) (1 + cos(π (t − warmup) / (1 − warmup))).

    Parameters
    ----------
    peak
        The largest rate.
    warmup
        The fraction of all steps, in [0, 1), in which the rate rises to the peak.
    final
        The rate at the end.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> [round(Cosine(1.0, warmup=0.25)(step, 4), 3) for step in range(4)]
    [0.5, 0.933, 0.5, 0.067]
    """

    peak: Rate
    warmup: Fraction = 0.0
    final: Rate = 0.0

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        t = (step + 0.5) / total
        if t < self.warmup:
            return self.peak * t / self.warmup
        turn = math.cos(math.pi * (t - self.warmup) / (1.0 - self.warmup))
        return self.final + 0.5 * (self.peak - self.final) * (1.0 + turn)


@explain_arguments
@dataclass(frozen=True)
class OneCycle(Checked):
    """Rise linearly to a peak, then fall linearly to zero (after Smith, arXiv:1803.09820).

    With t = (step + ½) / total, the rate is peak · t / warmup while t < warmup, then peak · (1 − t) / (1 − warmup).

    Parameters
    ----------
    peak
        The largest rate.
    warmup
        The fraction of all steps, in [0, 1), in which the rate rises to the peak.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> schedule = OneCycle(1.0, warmup=0.5)
    >>> [round(schedule(step, 4), 3) for step in range(4)]
    [0.25, 0.75, 0.75, 0.25]
    """

    peak: Rate
    warmup: Fraction = 0.2

    def __call__(self, step: int, total: int) -> float:
        """Learning rate of a step."""
        t = (step + 0.5) / total
        return self.peak * (t / self.warmup if t < self.warmup else (1.0 - t) / (1.0 - self.warmup))


SCHEDULE_CLASSES = (Constant, Step, Exponential, InverseScaling, Cosine, OneCycle)
# name -> function that makes the schedule of a largest rate
SCHEDULES: dict[str, Callable[[float], Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": lambda lr: Exponential(lr, 0.01 * lr),
    "inverse-scaling": InverseScaling,
    "cosine": lambda lr: Cosine(lr, warmup=0.05),
    "one-cycle": OneCycle,
}
