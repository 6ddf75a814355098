"""Trainings, described by plain values: in the provenance of a network, and so that only the same one is resumed.

A description to compare is a dict from the names of arguments to plain values, as in JSON, or to texts by `describe`.
Examples are described by fingerprints.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from xpnet._checks import is_dict, printable, require_keys, truncate
from xpnet._identity import PYTHON, describe, describe_call, is_fixed
from xpnet.backends import Backend, describe_versions
from xpnet.core.arrays import leaves
from xpnet.core.optimizers import OPTIMIZERS, Optimizer, needs_all_examples
from xpnet.core.schedules import SCHEDULE_CLASSES, Constant, Schedule
from xpnet.data.open import describe_for_each
from xpnet.errors import ArgumentError
from xpnet.files import encode_optimizer, explain_errors
from xpnet.training._arguments import learning_rates, needs_total
from xpnet.training._plan import Job, Plan
from xpnet.training.callback import Trainee, decisive_arguments
from xpnet.value import Moment, Run, name_of
from xpnet.value.structure import describe_own

FREE = {"chunk_steps", "progress"}  # fields of a plan that a resumed training may change
# Described by digests and sums, which say nothing to a reader
SUMMED = {"train_data", "validation_data", "test_data", "sample_weight", "initial_weights"}
MAY_BE_UNKNOWN = {"initial_weights", "init", "seed"}
MOST_RATES = 10_000  # compared, of a user's own schedule


# In the provenance


def describe_run(plan: Plan, optimizer: Optimizer, order: str, backend: Backend) -> Run:
    """Describe a training in this process for the provenance of its network; `order` is that of its minibatches."""
    rules = [callback.rate_rule for callback in plan.callbacks if callback.rate_rule]
    is_own = OPTIMIZERS.get(type(optimizer).__name__) is not type(optimizer)
    return Run(
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        sampling=order,
        optimizer=name_of(optimizer) if is_own else repr(optimizer),
        lr="" if needs_all_examples(plan.optimizer) else ", ".join([write_rate(plan.lr), *rules]),
        alpha=float(plan.alpha),
        backend=backend.name,
        device=backend.device_name,
        processes=1,
        versions=describe_versions(backend.name),
    )


def write_rate(schedule: Schedule) -> str:
    """Write a learning rate as a number, or as the call that makes a schedule; a function of the user's by its name.

    Examples
    --------
    >>> from xpnet import OneCycle
    >>> write_rate(Constant(0.1)), write_rate(OneCycle(0.1)), write_rate(lambda step, total: 0.1)
    ('0.1', 'OneCycle(peak=0.1, warmup=0.2)', '<lambda>')
    """
    if isinstance(schedule, Constant):
        return repr(schedule.lr)
    return repr(schedule) if type(schedule) in SCHEDULE_CLASSES else name_of(schedule)


# To compare


def describe_trainings(jobs: Sequence[Job], decides: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe the trainings of jobs by what must be the same when they are resumed. Synchronizes.

    Their plans are complete, and their examples not scaled yet. What a client `decides` comes first; it also says
    whether the networks are the same at the beginning.
    """
    first = describe_call(decides, describe_argument)
    examples = describe_for_each([job.data for job in jobs])
    return [{**first, **_describe_training(job, not decides), **data, **first} for job, data in zip(jobs, examples)]


def _describe_training(job: Job, with_origin: bool) -> dict[str, Any]:
    plan, model = job.plan, job.start.value.model
    optimizer = plan.find_optimizer(job.start.value)
    metrics = [*plan.metrics, *plan.training_metrics]
    functions = describe_own(model)
    functions |= {f"metric {i}": describe(metric) for i, metric in enumerate(metrics) if not is_fixed(metric)}
    total = plan.epochs * (job.data.train.steps(plan.sampling, plan.batch_size) or 0)
    settings = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name not in FREE} | {
        "sampling": plan.sampling.name,
        "optimizer": encode_optimizer(optimizer) or optimizer,
        "lr": _describe_schedule(plan.lr, total),
        "callbacks": [{"name": type(one).__name__, **decisive_arguments(one)} for one in plan.callbacks],
        **{name: [one.name for one in getattr(plan, name)] for name in ("metrics", "training_metrics")},
        # Their code differs between versions
        "functions": {"python": PYTHON, **functions} if functions else {},
    }
    origin = _describe_origin(job.owner) if with_origin else {}
    return describe_call({**settings, **origin}, describe_argument)


def _describe_origin(net: Trainee) -> dict[str, Any]:
    """Describe the network that is to be trained: its initializer, seed and weights; None for what is not known.

    The weights are those of a network that nothing has trained, and whose seed was given. Sums of the positive and of
    the negative ones tell apart two initializers of one name, and assigned weights from those of a seed. Synchronizes.
    """
    value, provenance, weights = net.value, net.value.provenance, None
    if net.has_given_seed and not (provenance.runs or provenance.earlier):
        with value.scope():
            arrays = [np.ravel(value.backend.to_numpy(x)).astype(np.float64) for x in leaves(value.layers)]
        weights = [float(part.clip(0) @ np.arange(1, 1 + len(part))) for array in arrays for part in (array, -array)]
    seed = provenance.seed if net.has_given_seed else None
    return {"init": provenance.init, "seed": seed, "initial_weights": weights}


def _describe_schedule(schedule: Schedule, total: int) -> dict[str, Any]:
    """Describe a schedule by its fields, and a user's own by a digest of its rates at MOST_RATES steps or fewer.

    The rates are rounded to seven digits, as the last ones differ between computers.
    """
    if type(schedule) in SCHEDULE_CLASSES:
        return {"name": type(schedule).__name__, **asdict(schedule)}  # type: ignore[call-overload]
    steps = range(0, total, -(-total // MOST_RATES) or 1) if needs_total(schedule) else range(1000)
    rates = learning_rates(schedule, steps, total).astype(np.float32)
    return {"name": name_of(schedule), "digest": hashlib.sha256(rates.tobytes()).hexdigest()}


def describe_argument(value: Any) -> Any:
    """Convert an argument to plain values, as in JSON; an object becomes its description.

    Examples
    --------
    >>> describe_argument({"class_weight": {np.int64(1): np.float32(0.5)}, "hidden_layer_sizes": (5,)})
    {'class_weight': {'1': 0.5}, 'hidden_layer_sizes': [5]}
    """
    if is_dict(value):
        return {str(key): describe_argument(item) for key, item in value.items()}
    if type(value) in (list, tuple):  # not a tuple with a class of its own, such as an activation
        return [describe_argument(item) for item in value]
    if issubclass(type(value), np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return describe(value)


def find_difference(then: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """Find the first difference between two descriptions: its place, and what is there in each.

    Examples
    --------
    >>> find_difference({"lr": {"name": "Constant", "lr": 0.1}}, {"lr": {"name": "Constant", "lr": 0.2}})
    ('lr.lr', 0.1, 0.2)
    """
    if is_dict(then) and is_dict(now) and then.keys() == now.keys():
        parts = (find_difference(then[key], now[key], f"{name}.{key}" if name else key) for key in now)
    elif name == "callbacks" and len(then) == len(now):
        parts = (find_difference(*pair, f"{name}[{i}]") for i, pair in enumerate(zip(then, now)))
    else:
        sums: list[Any] = [then, now]  # whose last digits may differ between backends and computers
        is_same = then == now or (name == "initial_weights" and np.allclose(*sums, rtol=1e-5, atol=0.0))
        return None if is_same else (name, then, now)
    return next((part for part in parts if part is not None), None)


def refuse_difference(path: str, then: Any, now: Any) -> None:
    """Refuse to resume what differs from the training in a file, and name the first difference."""
    with explain_errors(path):
        difference = find_difference(then, now)
    if difference is None:
        return
    place, before, value = difference
    if isinstance(before, int) or not (place.endswith("digest") or place.partition(".")[0] in SUMMED):
        what = f"{place}={printable(truncate(repr(before)))}, but this one has {place}={truncate(repr(value))}"
    else:
        what = f"other {place.partition('.')[0]}"
    raise ArgumentError(f"{path} holds a training with {what}; give the same, or another checkpoint")


def check_same_training(path: str, moment: Moment, now: Mapping[str, Any], schedule: Schedule) -> None:
    """Refuse to resume another training than that of a moment in a file.

    The number of epochs may differ if the schedule does not depend on the number of steps.
    """
    then, epochs, origin = dict(moment.call), moment.epoch - (not moment.steps), moment.value.provenance
    if "init" in now:
        then |= {"init": origin.init, "seed": describe_argument(origin.seed)}
    with explain_errors(path):
        require_keys("call", then, now)
        free = {name for name in MAY_BE_UNKNOWN & now.keys() if None in (then[name], now[name])}
        versions = [call["functions"].get("python", PYTHON) for call in (then, now)]
    if now["epochs"] < epochs:
        raise ArgumentError(f"epochs={now['epochs']} are fewer than the {epochs} that {path} has begun; give more")
    free |= set() if needs_total(schedule) else {"epochs"}
    free |= {"functions"} if versions[0] != versions[1] else set()
    refuse_difference(path, *({name: part for name, part in call.items() if name not in free} for call in (then, now)))
