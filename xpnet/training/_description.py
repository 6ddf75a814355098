"""Calls, described by plain values and compared, so that only the same training or search is resumed.

A description is a dict from the names of arguments to plain values, as in JSON, or to texts by `describe`. Examples are
described by fingerprints. Errors name the first difference.
"""

import hashlib
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from math import isclose
from typing import Any

import numpy as np

from xpnet._checks import choices, count, is_dict, printable, require_keys, truncate
from xpnet._identity import PYTHON, describe, describe_call, is_fixed
from xpnet.core.arrays import leaves
from xpnet.core.model import Model
from xpnet.core.optimizers import OPTIMIZERS, Optimizer
from xpnet.core.schedules import SCHEDULE_CLASSES, Schedule
from xpnet.errors import ArgumentError
from xpnet.files import encode_optimizer, explain_errors
from xpnet.training._plan import CompleteJob
from xpnet.training._rates import learning_rates
from xpnet.training.callback import Callback, Trainee, decisive_arguments
from xpnet.value import Moment
from xpnet.value.structure import describe_own

# Described by fingerprints, which are compared
FINGERPRINTED = ("train_data", "validation_data", "test_data", "sample_weight")
APART = {"lr", "callbacks", "metrics", "training_metrics"}  # the fields of a plan that are described by functions
FREE = {"chunk_steps", "progress"}  # those that a resumed training may change
MOST_RATES = 10_000  # compared, of a user's own schedule
LAST_COMPARED = 1000  # step, if the number of steps is not known

# Describing


def describe_training(job: CompleteJob, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the training of a network, whose plan is complete, by what must be the same when it is resumed.

    These are the fields of the plan, and `arguments`; `describe_callbacks` and `describe_rates` add those of `APART`.
    """
    plan = job.plan
    names = [field.name for field in fields(plan) if field.name not in FREE | APART]
    settings = {name: getattr(plan, name) for name in names}
    settings |= {"sampling": plan.sampling.name, "optimizer": encode_optimizer(job.optimizer) or job.optimizer}
    functions = describe_functions(job.start.value.model, [*plan.metrics, *plan.training_metrics])
    return describe_call({**settings, "functions": functions, **arguments}, describe_argument)


def describe_initial_weights(net: Trainee) -> list[float] | None:
    """Describe the weights of a network that nothing has trained; None if something has, or if its seed was drawn.

    Sums of the positive and of the negative ones tell apart two initializers of one name, and assigned weights from
    those of a seed. Synchronizes.
    """
    value = net.value
    if value.provenance.runs or value.provenance.earlier or not net.has_given_seed:
        return None
    with value.scope():
        arrays = [np.ravel(value.backend.to_numpy(x)).astype(np.float64) for x in leaves(value.layers)]
    return [float(part.clip(0) @ np.arange(1, 1 + len(part))) for array in arrays for part in (array, -array)]


def describe_callbacks(callbacks: Sequence[Callback], quantities: Iterable[str]) -> dict[str, Any]:
    """Describe callbacks by their classes and arguments, and the quantities that a training computes."""
    return {
        "quantities": list(quantities),
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "arguments": [decisive_arguments(callback) for callback in callbacks],
    }


def describe_rates(schedule: Schedule, total: int) -> dict[str, Any]:
    """Describe the learning rates of a training of `total` steps, which are 0 if the number is not known."""
    rates = sample_rates(schedule, steps_to_compare(schedule, total), total)
    return {"lr": rates, "schedule": describe_schedule(schedule, total, total)}


def describe_schedule(schedule: Schedule, total: int, total_now: int) -> dict[str, Any]:
    """Describe a schedule by its fields, and a user's own by a digest of its rates at MOST_RATES steps or fewer.

    The steps are spread over `total`; if that is 0, because the number is not known, they are the first ones. The rates
    are those of a training of `total_now` steps, rounded to seven digits, as the last ones differ between computers.
    """
    if type(schedule) in SCHEDULE_CLASSES:
        return describe_argument({"name": type(schedule).__name__, **asdict(schedule)})  # type: ignore
    first = range(LAST_COMPARED + 1 if _has_rates(schedule) else 0)
    steps = range(0, total, -(-total // MOST_RATES)) if total else first
    rates = learning_rates(schedule, steps, total_now).astype(np.float32)
    return {"digest": hashlib.sha256(rates.tobytes()).hexdigest()}


def describe_functions(model: Model, metrics: Iterable[Any]) -> dict[str, str]:
    """Describe the user's own activations, cost and metrics by what they are, with the version that compiled them."""
    functions = describe_own(model)
    functions |= {f"metric {i}": describe(metric) for i, metric in enumerate(metrics) if not is_fixed(metric)}
    return {"python": PYTHON, **functions} if functions else {}


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


# Comparing


def check_same_network(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume the training of a network with other settings."""
    difference = explain_other_call(path, {name: before.get(name) for name in now}, now)
    if difference is not None:
        raise difference


def check_same_origin(path: str, net: Trainee, before: Moment, networks: int) -> None:
    """Refuse to resume the training of a network with another initializer, or another seed, unless that was drawn.

    Those of several `networks` are from one seed.
    """
    note = " (drawn from the seed or random_state of all)" if networks > 1 else ""
    now, then = net.value.provenance, before.value.provenance
    for name in ("init", "seed") if net.has_given_seed else ("init",):
        pair = getattr(then, name), getattr(now, name)
        if pair[0] != pair[1] and None not in pair:  # which would say that it is not known
            raise _difference(path, f"{name}={pair[0]!r}", f"{name}={pair[1]!r}{note if name == 'seed' else ''}")
    sums: Any = (before.call.get("initial_weights"), describe_initial_weights(net))
    with explain_errors(path):
        are_same = None in sums or np.allclose(*sums, rtol=1e-5)  # their last digits may differ between computers
    if not are_same:
        raise ArgumentError(
            f"{path} holds a training from other initial weights than those of this network, with "
            f"init={now.init!r} or assigned ones; give the same, or another checkpoint"
        )


def check_same_training(
    path: str, before: Moment, now: Mapping[str, Any], schedule: Schedule, steps: int | None
) -> None:
    """Refuse to resume another training, and name the difference; `steps` is the number in an epoch, if it is known.

    The number of epochs may differ if the schedule does not depend on the number of steps.
    """
    then = before.call
    with explain_errors(path):
        require_keys("call", then, {*now, "lr", "schedule"})
        total = count("epochs", then["epochs"], 0) * (steps or 0)
    epochs = before.epoch - (not before.steps)
    if now["epochs"] < epochs:
        raise ArgumentError(f"epochs={now['epochs']} are fewer than the {epochs} that {path} has begun; give more")
    free = {"initial_weights", *(["epochs"] if _has_rates(schedule) else [])}
    with explain_errors(path):
        versions = {call.get("functions", {}).get("python") for call in (then, now)} - {None}
    if len(versions) > 1:  # which compile the same code otherwise
        free.add("functions")
    with explain_errors(path):
        compared = {name: value for name, value in now.items() if name not in free}
        difference = explain_other_call(path, then, compared)
    if difference is not None:
        raise difference
    with explain_errors(path):
        check_steps(before, steps if "examples" in now["train_data"] else None)
    _check_same_schedule(path, then, schedule, total, now["epochs"] * (steps or 0))


def _check_same_schedule(path: str, then: Mapping[str, Any], schedule: Schedule, total: int, total_now: int) -> None:
    """Refuse a schedule that differs from that of the checkpoint, whose training has `total` steps."""
    compared = steps_to_compare(schedule, total)
    now = describe_schedule(schedule, total, total_now)
    with explain_errors(path):
        rates = dict(then["lr"])
        before = dict(then["schedule"])
    if [*rates] != compared:
        raise _difference(path, f"lr at the steps {[*rates]}", f"lr at the steps {compared}")
    if before != now and "name" in before and "name" in now:
        raise _difference(path, f"lr={_write_call(before)}", f"lr={_write_call(now)}")
    for step, rate in sample_rates(schedule, compared, total_now):
        if rate != rates[step]:
            raise _difference(path, f"lr={rates[step]!r} at step {step}", f"lr={rate!r}")
    if before != now:
        raise ArgumentError(
            f"lr differs from that of the training in {path}, though not at the steps {compared}; give the same, or "
            "another checkpoint"
        )


def check_steps(moment: Moment, steps: int | None) -> None:
    """Refuse a moment whose numbers contradict each other; `steps` is the number in an epoch, if it is certain."""
    if steps is None:
        right = moment.steps <= moment.total_steps
    else:
        right = moment.total_steps == (moment.epoch - 1) * steps + moment.steps and moment.steps <= steps
    if not right:
        numbers = ", ".join(f"{name}={getattr(moment, name)}" for name in ("epoch", "steps", "total_steps"))
        raise ArgumentError(f"its position {numbers} contradicts itself")


def refuse_own_optimizer(optimizer: Optimizer) -> None:
    """Refuse an optimizer of a user's own class, whose state a file cannot hold."""
    if encode_optimizer(optimizer) is None:
        raise ArgumentError(
            f"checkpoint= cannot hold the state of optimizer={optimizer!r}, which is of your own class; give one of "
            f"{choices(OPTIMIZERS)}, or leave checkpoint out"
        )


def explain_other_call(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> ArgumentError | None:
    """Make the error that names the first argument of a call that differs; None if there is none.

    Parameters
    ----------
    path
        The file.
    before
        The description in the file.
    now
        The description of the call.
    """
    for name, value in now.items():
        then = before[name]
        if (_is_same if name in FINGERPRINTED else operator.eq)(then, value):
            continue
        if name not in FINGERPRINTED:
            return _difference(path, *_show_difference(name, before, now))
        how = compare_examples(name, then, value)
        return ArgumentError(
            f"{name} differs from that of the training in {path}{f': {how}' if how else ''}; give the same, or another "
            "checkpoint"
        )
    return None


def _show_difference(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    """Show what differs in an argument, in the file and in the call."""
    then, value = before[name], now[name]
    if name == "functions":
        key = next(key for key in {**then, **value} if then.get(key) != value.get(key))
        return f"{key}={then.get(key)}", f"{key}={value.get(key)}"
    if name == "arguments":
        parts = zip(before["callbacks"], then, value, strict=True)
        kind, old, new = next(part for part in parts if part[1] != part[2])
        names = [key for key in {**old, **new} if old[key] != new[key]]
        calls = [_write_call({"name": kind, **{key: values[key] for key in names}}) for values in (old, new)]
        return calls[0], calls[1]
    return f"{name}={then!r}", f"{name}={value!r}"


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
        f"{path} holds a training with {printable(truncate(before))}, but this one has {truncate(now)}; give the same, "
        "or another checkpoint"
    )


def _is_same(before: Any, now: Any) -> bool:
    """Compare plain values; sums may differ in their last digits, as backends add in different orders."""
    if is_dict(before) and is_dict(now):
        return before.keys() == now.keys() and all(_is_same(before[name], now[name]) for name in now)
    if isinstance(before, float) and isinstance(now, float):
        return isclose(before, now, rel_tol=1e-5)
    return before == now


def compare_examples(argument: str, before: Any, now: Any, place: str = "now") -> str:
    """Describe how two fingerprints differ, if they tell it; `place` says where or when the second one is from."""
    if isinstance(before, str) and isinstance(now, str):
        return ""
    if before is None or now is None:
        return "that one had none" if before is None else "this one has none"
    if not (is_dict(before) and is_dict(now) and before.keys() == now.keys()):
        return "one has it in memory, and the other does not"
    name = next(name for name in now if not _is_same(before[name], now[name]))
    if name == "digest" and argument == "sample_weight":
        return "other weights, or in another order"
    if name == "digest":
        return "the same number of examples, but other inputs, targets or slopes, or in another order"
    return f"{name} {printable(truncate(before[name]))} and {place} {now[name]}"
