"""Runs: how a training is described in the provenance of its network."""

from typing import Any

from xpnet.backends import Backend, describe_versions
from xpnet.core.optimizers import OPTIMIZERS, Optimizer, needs_all_examples
from xpnet.core.schedules import SCHEDULE_CLASSES, Constant
from xpnet.training._plan import CompletePlan
from xpnet.value import Run, name_of


def describe_run(plan: CompletePlan, optimizer: Optimizer, order: str, backend: Backend) -> Run:
    """Describe a training in this process for the provenance of its network; `order` is that of its minibatches."""
    rules = ", ".join(callback.rate_rule for callback in plan.callbacks if callback.rate_rule)
    return Run(
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        sampling=order,
        optimizer=write_optimizer(optimizer),
        lr="" if needs_all_examples(plan.optimizer) else write_rate(plan.lr, rules),
        alpha=float(plan.alpha),
        backend=backend.name,
        device=backend.device_name,
        processes=1,
        versions=describe_versions(backend.name),
    )


def write_optimizer(optimizer: Optimizer) -> str:
    """Write an optimizer as the call that makes it, and one of the user's own as the name of its class.

    Examples
    --------
    >>> from xpnet import Adam, Clip
    >>> write_optimizer(Clip(Adam(), 1.0))
    'Clip(optimizer=Adam(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0), norm=1.0)'
    """
    is_own = OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer)
    return name_of(optimizer) if is_own else repr(optimizer)


def write_rate(schedule: Any, rule: str = "") -> str:
    """Write a learning rate as a number, or as the call that makes a schedule; a function of the user's by its name.

    The rule that changes it from epoch to epoch follows, if there is one.

    Examples
    --------
    >>> from xpnet import OneCycle
    >>> write_rate(Constant(0.1)), write_rate(OneCycle(0.1)), write_rate(lambda step, total: 0.1)
    ('0.1', 'OneCycle(peak=0.1, warmup=0.2)', '<lambda>')
    >>> write_rate(Constant(0.1), "adaptive")
    '0.1, adaptive'
    """
    if isinstance(schedule, Constant):
        return f"{schedule.lr!r}, {rule}" if rule else repr(schedule.lr)
    return repr(schedule) if type(schedule) in SCHEDULE_CLASSES else name_of(schedule)
