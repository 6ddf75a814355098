"""Checks that a call to `train` may resume the training in a checkpoint; errors name the first difference."""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from math import isclose
from typing import Any

import numpy as np

from xpnet.checkpoint.file import explain_errors
from xpnet.checkpoint.record import TrainingRecord, encode_optimizer, refuse_unknown
from xpnet.checks import choices, count, printable, truncate
from xpnet.core.model import Model
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.schedules import SCHEDULE_CLASSES, Schedule
from xpnet.errors import ArgumentError
from xpnet.training.description import describe
from xpnet.training.plan import Job
from xpnet.training.rates import learning_rates
from xpnet.version import __version__

DATA = ("train_data", "validation_data", "test_data", "sample_weight")  # compared by fingerprints
# Arguments that the oldest files lack
LATER = {"test_data", "sample_weight", "class_weight", "arguments", "schedule", "functions"}
MOST_RATES = 10_000  # compared, of a user's own schedule
LAST_COMPARED = 1000  # step, if the number of steps is not known


def check_same_network(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume the training of a network with other settings."""
    for name, value in now.items():
        if before.get(name) != value:
            raise _difference(path, f"{name}={before.get(name)!r}", f"{name}={value!r}")


def check_same_training(
    path: str, before: TrainingRecord, now: Mapping[str, Any], schedule: Schedule, steps: int | None
) -> None:
    """Refuse to resume another training, and name the difference; `steps` is the number in an epoch, if it is known.

    The number of epochs may differ if the schedule does not depend on the number of steps.
    """
    then = before.call
    with explain_errors(path):
        refuse_unknown("argument of train", (set(then) ^ {*now, "lr"}) - LATER)
        total = count("epochs", then["epochs"], 0) * (steps or 0)
    epochs = before.position["epoch"] - (not before.position["steps"])
    if now["epochs"] < epochs:
        raise ArgumentError(f"epochs={now['epochs']} are fewer than the {epochs} that {path} has begun; give more")
    for name, value in now.items():
        if name == "epochs" and not getattr(schedule, "needs_total", True):
            continue
        if name in then and not (_is_same if name in DATA else operator.eq)(then[name], value):
            raise _explain_difference(path, name, then, now)
    with explain_errors(path):
        check_steps(before.position, steps if "examples" in now["train_data"] else None)
    _check_same_schedule(path, then, schedule, total, now["epochs"] * (steps or 0))


def _check_same_schedule(path: str, then: Mapping[str, Any], schedule: Schedule, total: int, total_now: int) -> None:
    """Refuse a schedule that differs from that of the checkpoint, whose training has `total` steps."""
    compared = steps_to_compare(schedule, total)
    now = describe_schedule(schedule, total, total_now)
    with explain_errors(path):
        lr = [(step, rate) for step, rate in then["lr"]]
        before = dict(then.get("schedule", now))
    if [step for step, _ in lr] != compared:
        raise _difference(path, f"lr at the steps {[step for step, _ in lr]}", f"lr at the steps {compared}")
    if before != now and "name" in before and "name" in now:
        raise _difference(path, f"lr={_write_call(before)}", f"lr={_write_call(now)}")
    for (step, rate), (_, expected) in zip(sample_rates(schedule, compared, total_now), lr):
        if rate != expected:
            raise _difference(path, f"lr={expected!r} at step {step}", f"lr={rate!r}")
    if before != now:
        raise ArgumentError(
            f"lr differs from that of the training in {path}, though not at the steps {compared}; give the same, or "
            "another checkpoint"
        )


def describe_job(job: Job, call: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a training, with what `describe_calls` says of it, for `check_same_job`."""
    view, plan, steps = job.net.view, job.plan, job.source.steps(job.plan.sampling, job.plan.batch_size)
    total = plan.epochs * (steps or 0)
    return {
        "versions": {"xpnet": __version__, **{name: version(name) for name in {"numpy", view.backend.name}}},
        "backend": view.backend.name,
        **job.net.settings,
        **{name: value for name, value in call.items() if name not in ("validation_data", "test_data")},
        "epochs": plan.epochs,
        "chunk_steps": plan.chunk_steps,
        "optimizer": encode_optimizer(plan.optimizer) or type(plan.optimizer).__name__,
        "lr": describe_schedule(plan.schedule, total, total),  # the last, as it depends on the number of steps
    }


def check_same_job(descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to share a training among ranks if they describe it otherwise, and name the first difference."""
    first = descriptions[0]
    for rank, other in enumerate(descriptions):
        for name, value in other.items():
            if value == first[name]:
                continue
            if name in DATA:
                difference = _describe_difference(name, first[name], value, f"on rank {rank}")
            else:
                difference = f"{truncate(first[name])} and {truncate(value)}"
            raise ArgumentError(
                f"rank {rank} has other {name} than rank 0: {difference}; all processes that share a training must "
                "have the same"
            )


def check_steps(position: Mapping[str, Any], steps: int | None) -> None:
    """Refuse a position whose numbers contradict each other; `steps` is the number in an epoch, if it is certain."""
    if steps is None:
        right = position["steps"] <= position["total_steps"]
    else:
        right = position["total_steps"] == (position["epoch"] - 1) * steps + position["steps"]
        right = right and position["steps"] <= steps
    if not right:
        numbers = ", ".join(f"{name}={position[name]}" for name in ("epoch", "steps", "total_steps"))
        raise ArgumentError(f"its position {numbers} contradicts itself")


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Describe an optimizer by plain values; refuse a user's own class, whose state a file cannot hold."""
    description = encode_optimizer(optimizer)
    if description is None:
        raise ArgumentError(
            f"checkpoint= cannot hold the state of optimizer={optimizer!r}, which is of your own class; give one of "
            f"{choices(OPTIMIZERS)}, or leave checkpoint out"
        )
    return json.loads(json.dumps(description, default=np.generic.item))


def describe_schedule(schedule: Schedule, total: int, total_now: int) -> dict[str, Any]:
    """Describe a schedule by its fields, and a user's own by a digest of its rates at MOST_RATES steps or fewer.

    The steps are spread over `total`; if that is 0, because the number is not known, they are the first ones. The rates
    are those of a training of `total_now` steps, rounded to seven digits, as the last ones differ between computers.
    """
    if type(schedule) in SCHEDULE_CLASSES:
        return json.loads(json.dumps({"name": type(schedule).__name__, **asdict(schedule)}))  # type: ignore
    first = range(LAST_COMPARED + 1 if _has_rates(schedule) else 0)
    steps = range(0, total, -(-total // MOST_RATES)) if total else first
    rates = learning_rates(schedule, steps, total_now).astype(np.float32)
    return {"digest": hashlib.sha256(rates.tobytes()).hexdigest()}


def describe_functions(model: Model, metrics: Iterable[Any]) -> dict[str, str]:
    """Describe the user's own activations, cost and metrics by what they compute; the names of xpnet's say enough."""
    functions: dict[str, list[Any]] = {sigma.name: [sigma.value, sigma.pullback] for sigma in model.sigmas}
    functions[model.cost.name] = [model.cost.value, model.cost.gradient]
    functions |= {f"metric {i}": [metric] for i, metric in enumerate(metrics) if not isinstance(metric, str)}
    own = {
        name: [part for part in parts if part is not None and not _is_of_xpnet(part)]
        for name, parts in functions.items()
    }
    return {name: describe(parts) for name, parts in own.items() if parts}


def _is_of_xpnet(function: Any) -> bool:
    return str(getattr(function, "__module__", None)).startswith("xpnet.")


def _explain_difference(path: str, name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> ArgumentError:
    """Make the error for an argument that differs."""
    before, value = then[name], now[name]
    if name in DATA:
        return ArgumentError(
            f"{name} differs from that of the training in {path}: {_describe_difference(name, before, value)}; give "
            "the same, or another checkpoint"
        )
    if name == "functions":
        with explain_errors(path):
            names = [key for key in {**before, **value} if before.get(key) != value.get(key)]
            return _difference(path, f"{names[0]}={before.get(names[0])}", f"{names[0]}={value.get(names[0])}")
    if name == "arguments":
        with explain_errors(path):
            pairs = zip(then["callbacks"], before, value, strict=True)
            differing = [(kind, own, other) for kind, own, other in pairs if own != other]
            kind, before, value = differing[0]
            names = [key for key in {**before, **value} if before[key] != value[key]]
            calls = [_write_call({"name": kind, **{key: values[key] for key in names}}) for values in (before, value)]
        return _difference(path, *calls)
    return _difference(path, f"{name}={before!r}", f"{name}={value!r}")


def _write_call(description: Mapping[str, Any]) -> str:
    """Write a description as the call that makes what it describes.

    Examples
    --------
    >>> _write_call({"name": "OneCycle", "peak": 0.5, "warmup": 0.2})
    'OneCycle(peak=0.5, warmup=0.2)'
    """
    arguments = ", ".join(f"{name}={value!r}" for name, value in description.items() if name != "name")
    return f"{description['name']}({arguments})"


def _difference(path: str, before: str, now: str) -> ArgumentError:
    return ArgumentError(
        f"{path} holds a training with {printable(truncate(before))}, but this one has {now}; give the same, or "
        "another checkpoint"
    )


def _is_same(before: Any, now: Any) -> bool:
    """Compare plain values; sums may differ in their last digits, as backends add in different orders."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_is_same(before[name], now[name]) for name in now)
    if isinstance(before, float) and isinstance(now, float):
        return isclose(before, now, rel_tol=1e-5)
    return before == now


def _describe_difference(argument: str, before: Any, now: Any, place: str = "now") -> str:
    """Describe how two fingerprints differ; `place` says where or when the second one is from."""
    if before is None or now is None:
        return "that one had none" if before is None else "this one has none"
    if not (isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys()):
        return "one has it in memory, and the other does not"
    name = next(name for name in now if not _is_same(before[name], now[name]))
    if name == "digest" and argument == "sample_weight":
        return "other weights, or in another order"
    if name == "digest":
        return "the same number of examples, but other inputs or targets, or in another order"
    return f"{name} {printable(truncate(before[name]))} and {place} {now[name]}"


def steps_to_compare(schedule: Schedule, total: int) -> list[int]:
    """Choose the steps at which the rates of two schedules are compared; `total` is 0 if it is not known."""
    if total:
        return sorted({0, total // 4, total // 2, 3 * total // 4, total - 1})
    return [0, 1, 10, 100, LAST_COMPARED] if _has_rates(schedule) else []


def _has_rates(schedule: Schedule) -> bool:
    """Tell whether a schedule has rates in a training whose number of steps is 0 or not known."""
    return not getattr(schedule, "needs_total", True)


def sample_rates(schedule: Schedule, steps: Sequence[int], total: int) -> list[list[float]]:
    """List steps with their rates."""
    return [[step, float(learning_rates(schedule, range(step, step + 1), total)[0])] for step in steps]
