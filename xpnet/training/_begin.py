"""What callbacks see of a training as it begins, and the values that they may give it."""

from functools import partial
from typing import Any

from xpnet.core.optimizers.base import Optimizer, begins_anew
from xpnet.core.scaling import PlacedScaling
from xpnet.errors import ArgumentError
from xpnet.training._plan import Plan
from xpnet.training._rates import check_schedule
from xpnet.training.callback import LOGS, Training
from xpnet.value import NO_CALL, History, Moment, Value, change_optimizer, check_value


def begin_training(start: Moment, plan: Plan, steps: int | None, scaling: PlacedScaling | None, owner: Any) -> Training:
    """Check the schedule, and make the training that the callbacks see.

    Parameters
    ----------
    start
        Where it begins.
    plan
        How to train.
    steps
        The number of minibatches of an epoch, if it is known.
    scaling
        That of the examples.
    owner
        The network.
    """
    check_schedule(plan.lr, plan.epochs, steps)
    accept = partial(accept_value, scaling)
    return Training(owner, accept, begin_moment(start, plan), plan.epochs, steps, dict(LOGS))


def begin_moment(start: Moment, plan: Plan) -> Moment:
    """Return the moment before the first step, with the plan's optimizer, and a history of earlier epochs alone."""
    value = with_optimizer(start.value, plan.optimizer, start.has_begun)
    history = History(start.value.history.rows if start.has_begun else ())
    order = start.order if start.has_begun else plan.sampling.order
    return start._replace(value=value._replace(history=history), order=order, call=NO_CALL, callbacks=())


def with_optimizer(value: Value, optimizer: Optimizer | None, has_begun: bool = False) -> Value:
    """Return a value with an optimizer, in a fresh state unless its own is equal and goes on."""
    if optimizer is None:
        return value
    if value.optimizer == optimizer and (has_begun or not begins_anew(optimizer)):
        return value._replace(optimizer=optimizer)
    return change_optimizer(value, optimizer)


def accept_value(scaling: PlacedScaling | None, value: Any, present: Value) -> Value:
    """Check a value that a callback gives to a training, whose optimizer, history and notes it gets."""
    value = check_value(value, present)
    content = None if scaling is None else scaling.content
    if value.scaling is not None and value.scaling.content != content:
        raise ArgumentError("value has another scaling than the examples of this training; give one with the same")
    return with_optimizer(value, present.optimizer)._replace(history=present.history, notes=present.notes)
