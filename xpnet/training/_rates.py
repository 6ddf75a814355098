"""Learning rates: a schedule's values, checked."""

import inspect
import math
from typing import Any

import numpy as np

from xpnet._checks import in_range
from xpnet.core.schedules import SCHEDULE_CLASSES, Schedule
from xpnet.errors import ArgumentError


def learning_rates(schedule: Schedule, steps: range, total: int) -> np.ndarray:
    """Compute the learning rates of a range of steps.

    Raises
    ------
    ArgumentError
        If the schedule returns something that is not a rate. Exceptions that it raises are not caught.

    Examples
    --------
    >>> learning_rates(lambda step, total: 1.0 - step / total, range(1, 3), total=4)
    array([0.75, 0.5 ])
    """
    rates = [schedule(step, total) for step in steps]
    try:
        lr = np.array([float(rate) for rate in rates])
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"lr={schedule!r} must return a number ({error})") from error
    wrong = np.flatnonzero(~((lr >= 0.0) & (lr < np.inf)))
    if wrong.size:
        at = f"{lr[wrong[0]]} at step {steps[wrong[0]] + 1}"
        raise ArgumentError(f"lr must be a finite number of at least 0, but the schedule gave {at}")
    return lr


def check_schedule(schedule: Schedule, epochs: int, steps: int | None) -> None:
    """Check, before anything has changed, that a schedule can be called and returns a valid first rate.

    Parameters
    ----------
    schedule
        The learning rate as a function of (step, total).
    epochs
        Number of epochs.
    steps
        Minibatches per epoch, if that is known.
    """
    if steps is None and getattr(schedule, "needs_total", True):
        raise ArgumentError(
            "lr is a schedule, which needs the number of steps, and train_data has no length; give steps"
        )
    total = epochs * (steps or 0)
    if type(schedule) not in SCHEDULE_CLASSES:
        try:
            inspect.signature(schedule).bind(0, total)
        except TypeError as error:
            raise ArgumentError(f"lr={schedule!r} must be a function of (step, total) ({error})") from error
        except ValueError:  # it has no signature, as some functions written in C
            pass
    learning_rates(schedule, range(min(1, epochs)), total)


def check_length(schedule: Schedule, steps: int | None, taken: int) -> None:
    """Refuse more minibatches in an epoch than the length of the data said, if the schedule is made for that number."""
    if steps is not None and taken > steps and getattr(schedule, "needs_total", True):
        raise ArgumentError(
            f"lr is a schedule for the {steps} batches an epoch that train_data has by its length, and it yields more; "
            "give steps, the number of batches of an epoch, or fix the length"
        )


def check_scale(lr_scale: Any) -> float:
    """Check the number by which callbacks multiply the schedule."""
    return in_range("lr_scale", lr_scale, 0, math.inf, "it multiplies the schedule, and 1 leaves it as it is")
