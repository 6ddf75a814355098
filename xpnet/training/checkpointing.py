"""Checkpointing: when a training is written to a file, and whether a call to `train` may resume it."""

import hashlib
import json
import operator
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from math import isclose
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpnet.checkpoint.file import explain_errors
from xpnet.checkpoint.record import Snapshot, TrainingRecord, check_depth, encode_optimizer, refuse_unknown
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.schedules import SCHEDULE_CLASSES, Schedule
from xpnet.core.step import State
from xpnet.training.callbacks import Callback, Training, decisive_arguments, warn_of_write
from xpnet.training.loop import learning_rates
from xpnet.training.position import Position, Start
from xpnet.wording.checks import check_folder, choices, count, truncate
from xpnet.wording.errors import CheckpointError, unless_stopped

Every: TypeAlias = "str | int | timedelta"  # "epoch", a number of minibatches, or a time
CallbackStates: TypeAlias = "dict[tuple[int, str], State]"  # (number of the callback, name) -> state of the network

DATA = ("train_data", "validation_data", "test_data", "sample_weight")  # what a training has in common as fingerprints
LATER = {"test_data", "sample_weight", "class_weight", "arguments", "schedule"}  # that the first files do not hold
MOST_RATES = 10_000  # of a schedule of the user's own that are compared
FURTHEST = 1000  # step whose rate is compared if the number of steps is not known


class Resumed(NamedTuple):
    """A training that was read from a file, and how to go on with it."""

    training: TrainingRecord
    callback_states: CallbackStates
    take_over: Callable[[], None]  # gives the network the state that it had

    def start(self, rows: Sequence[dict[str, Any]]) -> Start:
        """Say where `train` begins; `rows` are those of the history."""
        position = Position(**self.training.position)
        return Start(position, tuple(rows), self.training.lr_scale, self.training.stopped)


class Checkpoint(Callback):
    """Write a training to a file as it goes on, and when it ends, however it ends; or resume one.

    It stands last among the callbacks: whatever it writes is the state of all of them between two chunks of steps.

    Parameters
    ----------
    path
        The file.
    every
        When to write it.
    callbacks
        The user's callbacks, whose states are written along.
    schedule
        The schedule of the learning rate.
    call
        What a training that resumes this one must have in common with it, as plain values.
    snapshot
        Takes a snapshot of the network, with a record of the training and the callbacks' states.
    write
        Writes a snapshot to the file; by `new=True`, only if there is none. Synchronizes.
    resumed
        The training to go on with, if any.
    """

    def __init__(
        self,
        path: str,
        every: Every,
        callbacks: Sequence[Callback],
        schedule: Schedule,
        call: dict[str, Any],
        snapshot: Callable[[TrainingRecord, CallbackStates], Snapshot],
        write: Callable[..., None],
        resumed: Resumed | None = None,
    ) -> None:
        self.path, self.every, self.callbacks, self.schedule = path, parse_every(every), callbacks, schedule
        self.call, self.take_snapshot, self.write, self.resumed = call, snapshot, write, resumed

    def on_train_begin(self, training: Training) -> None:
        """Resume the training that was read, or write the first file, which shows that it can be written."""
        self.training = training
        total = training.epochs * (training.steps or 0)
        self.call |= {
            "quantities": list(training.quantities),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "arguments": [decisive_arguments(callback) for callback in self.callbacks],
        }
        if self.resumed is not None:
            check_same_training(self.path, self.resumed.training, self.call, self.schedule, training.steps)
        self.call["lr"] = _sample_rates(self.schedule, _steps_to_compare(total), total)
        self.call["schedule"] = describe_schedule(self.schedule, total, total)
        if self.resumed is None:
            self._remember()
            self._write_first()
        else:
            self._restore_callbacks(self.resumed)
            self.resumed.take_over()
            self._remember()
        self._mark_written()

    def on_chunk_end(self, steps: int) -> None:
        """Take a snapshot, and write it if it is due."""
        self._remember()
        self._steps += steps
        if isinstance(self.every, timedelta):
            due = time.monotonic() - self._written_at >= self.every.total_seconds()
        else:
            due = isinstance(self.every, int) and self._steps >= self.every
        if due:
            self._try_to_write()

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Take a snapshot, and write it if it is due."""
        self._remember()
        if self.every == "epoch":
            self._try_to_write()

    def on_train_end(self) -> None:
        """Write the last snapshot, also after an exception, Ctrl-C and SIGTERM."""
        if self._snapshot is not self._written:
            self._try_to_write()
        del self.training, self._snapshot, self._written

    def _remember(self) -> None:
        """Take a snapshot of network, callbacks and position: one assignment, so that an interrupt cannot split it."""
        values: list[dict[str, Any]] = []
        states: CallbackStates = {}
        for i, callback in enumerate(self.callbacks):
            plain, nests = _split_state(callback)
            states |= {(i, name): state for name, state in nests.items()}
            values.append({"name": type(callback).__name__, "values": plain})
        training = self.training
        record = TrainingRecord(
            training.position._asdict(), training.lr_scale, training.stopped, self.call, callbacks=values
        )
        self._snapshot = self.take_snapshot(record, states)._replace(history=list(training.history.rows))

    def _write_first(self) -> None:
        """Write the first file; the path was free when `train` was called, but another training may have taken it."""
        try:
            self.write(self._snapshot, new=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already: another training has just begun with it; give each training "
                "a path of its own"
            ) from error

    def _try_to_write(self) -> None:
        """Write the last snapshot, or warn."""
        try:
            self.write(self._snapshot)
        except unless_stopped(OSError, MemoryError) as error:
            warn_of_write(f"checkpoint={self.path!r} could not be written", error)
        else:
            self._mark_written()

    def _mark_written(self) -> None:
        self._written, self._steps, self._written_at = self._snapshot, 0, time.monotonic()

    def _restore_callbacks(self, resumed: Resumed) -> None:
        """Give callbacks the states that they had."""
        with explain_errors(self.path):
            for i, (callback, record) in enumerate(zip(self.callbacks, resumed.training.callbacks)):
                states = {name: state for (number, name), state in resumed.callback_states.items() if number == i}
                remembered = {**record["values"], **states}
                callback.set_state(remembered)
                if type(callback).__module__ == Callback.__module__:  # those of the user's own may leave some out
                    kind = type(callback).__name__
                    refuse_unknown(f"value of {kind}", remembered.keys() - callback.get_state().keys())


def parse_checkpoint(path: Any, every: Any, resume: bool) -> str | None:
    """Check the arguments `checkpoint`, `every` and `resume` of `train`."""
    if path is None:
        for name, value, default in (("every", every, "epoch"), ("resume", resume, False)):
            if value != default:
                raise ValueError(f"{name}={value!r} needs checkpoint=, the file to write, as in 'run.safetensors'")
        return None
    try:
        path = os.fsdecode(path)
    except TypeError as error:
        raise TypeError(f"checkpoint={path!r} must be a path, as in 'run.safetensors'") from error
    parse_every(every)
    check_folder(path)
    if os.path.lexists(path) and not resume:
        raise FileExistsError(
            f"checkpoint={path!r} exists already; give resume=True to go on with the training in it, or remove it, or "
            "give another path"
        )
    return path


def parse_every(every: Any) -> Every:
    """Check when to write a checkpoint."""
    if isinstance(every, timedelta) and every > timedelta(0):
        return every
    if isinstance(every, str) and every == "epoch":
        return every
    try:
        return count("every", every, 1)
    except ValueError as error:
        raise ValueError(
            f'every={every!r} must be "epoch", a number of minibatches such as 1000, or a time such as '
            "datetime.timedelta(minutes=10)"
        ) from error


def require_training(path: str, training: TrainingRecord | None) -> TrainingRecord:
    """Refuse to resume a file that `save` wrote."""
    if training is None:
        raise CheckpointError(
            f"{path} holds a network, but no training to go on with; load it with Network.load and give another "
            "checkpoint"
        )
    return training


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Describe an optimizer by plain values; a file cannot hold the state of one of the user's own class."""
    description = encode_optimizer(optimizer)
    if description is None:
        raise ValueError(
            f"checkpoint= cannot hold the state of optimizer={optimizer!r}, which is of your own class; give one of "
            f"{choices(OPTIMIZERS)}, or leave checkpoint out"
        )
    return json.loads(json.dumps(description, default=np.generic.item))


def check_same_network(path: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume the training of a network with other settings."""
    for name, value in now.items():
        if before.get(name) != value:
            raise _difference(path, f"{name}={before.get(name)!r}", f"{name}={value!r}")


def describe_schedule(schedule: Schedule, total: int, total_now: int) -> dict[str, Any]:
    """Describe a schedule by its fields; one of the user's own by a digest of its rates at MOST_RATES steps or fewer.

    The steps are spread over `total`, or are the first ones if that is 0, for a number that is not known. The rates are
    those of a training of `total_now` steps, rounded to seven digits, as the last ones differ between computers.
    """
    if type(schedule) in SCHEDULE_CLASSES:
        return json.loads(json.dumps({"name": type(schedule).__name__, **asdict(schedule)}))  # type: ignore
    steps = range(0, total, -(-total // MOST_RATES)) if total else range(FURTHEST + 1)
    rates = learning_rates(schedule, steps, total_now).astype(np.float32)
    return {"digest": hashlib.sha256(rates.tobytes()).hexdigest()}


def check_same_training(
    path: str, before: TrainingRecord, now: Mapping[str, Any], schedule: Schedule, steps: int | None
) -> None:
    """Refuse to resume another training, and name the difference; `steps` are those of an epoch, if that is known.

    The number of epochs may differ if the schedule does not depend on the number of steps.
    """
    then = before.call
    with explain_errors(path):
        refuse_unknown("argument of train", (set(then) ^ {*now, "lr"}) - LATER)
        total = count("epochs", then["epochs"], 0) * (steps or 0)
    epochs = before.position["epoch"] - (not before.position["steps"])
    if now["epochs"] < epochs:
        raise ValueError(f"epochs={now['epochs']} are fewer than the {epochs} that {path} has begun; give more")
    for name, value in now.items():
        if name == "epochs" and not getattr(schedule, "needs_total", True):
            continue
        if name in then and not (_is_same if name in DATA else operator.eq)(then[name], value):
            raise _explain_difference(path, name, then, now)
    with explain_errors(path):
        check_steps(before.position, steps if "examples" in now["train_data"] else None)
    _check_same_schedule(path, then, schedule, total, now["epochs"] * (steps or 0))


def _check_same_schedule(path: str, then: Mapping[str, Any], schedule: Schedule, total: int, total_now: int) -> None:
    """Refuse another schedule than that of a training of `total` steps."""
    compared = _steps_to_compare(total)
    now = describe_schedule(schedule, total, total_now)
    with explain_errors(path):
        lr = [(step, rate) for step, rate in then["lr"]]
        before = dict(then.get("schedule", now))
    if [step for step, _ in lr] != compared:
        raise _difference(path, f"lr at the steps {[step for step, _ in lr]}", f"lr at the steps {compared}")
    if before != now and "name" in before and "name" in now:
        raise _difference(path, f"lr={_write_call(before)}", f"lr={_write_call(now)}")
    for (step, rate), (_, wanted) in zip(_sample_rates(schedule, compared, total_now), lr):
        if rate != wanted:
            raise _difference(path, f"lr={wanted!r} at step {step}", f"lr={rate!r}")
    if before != now:
        raise ValueError(
            f"lr differs from that of the training in {path}, though not at the steps {compared}; give the same, or "
            "another checkpoint"
        )


def check_steps(position: Mapping[str, Any], steps: int | None) -> None:
    """Refuse a position whose numbers contradict each other; `steps` are those of an epoch, if that is certain."""
    if steps is None:
        right = position["steps"] <= position["total_steps"]
    else:
        right = position["total_steps"] == (position["epoch"] - 1) * steps + position["steps"]
        right = right and position["steps"] <= steps
    if not right:
        numbers = ", ".join(f"{name}={position[name]}" for name in ("epoch", "steps", "total_steps"))
        raise ValueError(f"its position {numbers} contradicts itself")


def _explain_difference(path: str, name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> ValueError:
    """Make the error for an argument that differs."""
    before, value = then[name], now[name]
    if name in DATA:
        return ValueError(
            f"{name} differs from that of the training in {path}: {_describe_difference(name, before, value)}; give "
            "the same, or another checkpoint"
        )
    if name == "arguments":
        with explain_errors(path):
            pairs = zip(then["callbacks"], before, value, strict=True)
            differing = [(kind, own, other) for kind, own, other in pairs if own != other]
            kind, before, value = differing[0]
            names = [key for key in {**before, **value} if before[key] != value[key]]
            calls = [_write_call({"name": kind, **{key: each[key] for key in names}}) for each in (before, value)]
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


def _difference(path: str, before: str, now: str) -> ValueError:
    return ValueError(
        f"{path} holds a training with {truncate(before)}, but this one has {now}; give the same, or another checkpoint"
    )


def _is_same(before: Any, now: Any) -> bool:
    """Compare plain values; numbers that backends sum in other orders may differ in their last digits."""
    if isinstance(before, dict) and isinstance(now, dict):
        return before.keys() == now.keys() and all(_is_same(before[name], now[name]) for name in now)
    if isinstance(before, float) and isinstance(now, float):
        return isclose(before, now, rel_tol=1e-5)
    return before == now


def _describe_difference(argument: str, before: Any, now: Any) -> str:
    """Say how two fingerprints differ."""
    if before is None or now is None:
        return "that one had none" if before is None else "this one has none"
    if not (isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys()):
        return "one has it in memory, and the other does not"
    name = next(name for name in now if not _is_same(before[name], now[name]))
    if name == "digest" and argument == "sample_weight":
        return "other weights, or in another order"
    if name == "digest":
        return "the same number of examples, but other inputs or targets, or in another order"
    return f"{name} {truncate(before[name])} and now {now[name]}"


def _steps_to_compare(total: int) -> list[int]:
    """Choose steps at which the rates of two schedules are compared."""
    return sorted({0, total // 4, total // 2, 3 * total // 4, total - 1}) if total else [0, 1, 10, 100, FURTHEST]


def _sample_rates(schedule: Schedule, steps: Sequence[int], total: int) -> list[list[float]]:
    """List steps with their rates."""
    return [[step, float(learning_rates(schedule, range(step, step + 1), total)[0])] for step in steps]


def _split_state(callback: Callback) -> tuple[dict[str, Any], dict[str, State]]:
    """Split what a callback remembers into plain values, copied, and states of the network."""
    name, remembered = type(callback).__name__, callback.get_state()
    try:
        states = {key: value for key, value in remembered.items() if isinstance(value, State)}
        plain = {key: value for key, value in remembered.items() if key not in states}
        check_depth(plain, 4)  # of a callback, in the callbacks, in the training, in the header
        return json.loads(json.dumps(plain, default=np.generic.item)), states
    except unless_stopped(TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}.get_state must return a dict of plain values, as in JSON ({error})") from error


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit meanwhile, where it would end the process at once; a handler of the user's stays."""
    in_main_thread = threading.current_thread() is threading.main_thread()  # only there handlers can be set
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def exit_process(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    try:
        signal.signal(signal.SIGTERM, exit_process)
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
