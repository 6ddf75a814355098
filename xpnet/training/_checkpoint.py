"""Checkpoints: a training in a file, written as it goes on, and read again to resume it."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpnet._checks import printable
from xpnet.backends.identity import is_ours
from xpnet.core.schedules import Schedule
from xpnet.core.step import State
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import Snapshot, check_depth, decode, encode_network, explain_errors, refuse_unknown, restore_training
from xpnet.training._comparison import (
    check_same_network,
    check_same_training,
    describe_callbacks,
    describe_rates,
    refuse_own_optimizer,
)
from xpnet.training._plan import Job
from xpnet.training._saving import Saving
from xpnet.training.callback import Callback, Trainee, Training
from xpnet.value import History, Position, Start

# Takes new snapshots of the networks of these numbers, joined in these groups, and writes all of them if that is due
SaveFunction: TypeAlias = Callable[[Collection[int], Sequence[Sequence[int]]], None]


class Checkpoint(NamedTuple):
    """How the training of one or several networks is written to a file, and the one in that file, if it is resumed."""

    saving: Saving
    schedules: Sequence[Schedule]  # for each network
    callbacks: Sequence[Sequence[Callback]]  # whose states the file holds, for each network
    calls: Sequence[dict[str, Any]]  # for each, what `describe_training` says of a call that may resume its training
    resumed: Sequence[Snapshot] | None
    progress: bool  # whether to say on standard error where the training resumes

    @property
    def division(self) -> Sequence[Sequence[int]]:
        """The networks that took their steps together in the training that is resumed, group by group."""
        groups: dict[int, list[int]] = {}
        for k, snapshot in enumerate(self.resumed or ()):
            if snapshot.group is not None:
                groups.setdefault(snapshot.group, []).append(k)
        return list(groups.values())


def make_checkpoint(
    saving: Saving,
    resumed: Sequence[Snapshot] | None,
    jobs: Sequence[Job],
    callbacks: Sequence[Sequence[Callback]],
    calls: Sequence[dict[str, Any]],
    progress: bool,
) -> Checkpoint:
    """Make the checkpoint of networks; refuse optimizers whose states a file cannot hold."""
    for job in jobs:
        refuse_own_optimizer(job.plan.optimizer)
    return Checkpoint(saving, [job.plan.schedule for job in jobs], callbacks, calls, resumed, progress)


@contextmanager
def write_training(checkpoint: Checkpoint | None, trainings: Sequence[Training]) -> Generator[SaveFunction, None, None]:
    """Write the training of networks in this context, and when it ends, however it ends; resume it, if it is resumed.

    Yields
    ------
    SaveFunction
        The function to call between two chunks of steps. Without a checkpoint, it does nothing.

    Raises
    ------
    ArgumentError
        If the training in the file is not the same.
    FileExistsError
        If there is a file by now that is not to be resumed.
    """
    if checkpoint is None:
        yield lambda numbers, division: None
        return
    saving, resumed = checkpoint.saving, checkpoint.resumed
    names = saving.name_parts(len(trainings))
    calls = [complete_call(checkpoint, k, training) for k, training in enumerate(trainings)]
    # After all comparisons, as it may change a file
    for name, own, snapshot in zip(names, checkpoint.callbacks, resumed or ()):
        restore_callbacks(name, own, snapshot)
    file = CheckpointFile(checkpoint, calls, trainings)
    if resumed is None:
        file.write_first()
    elif checkpoint.progress:
        print(printable(_describe_place(saving.path, trainings)), file=sys.stderr)
    try:
        yield file.update
    finally:
        file.write_last()


def complete_call(checkpoint: Checkpoint, k: int, training: Training) -> dict[str, Any]:
    """Complete the description of a call; refuse one that differs from that of the training to resume."""
    schedule = checkpoint.schedules[k]
    call = {**checkpoint.calls[k], **describe_callbacks(checkpoint.callbacks[k], training.quantities)}
    if checkpoint.resumed is not None:
        name = checkpoint.saving.name_parts(len(checkpoint.calls))[k]
        check_same_training(name, checkpoint.resumed[k], call, schedule, training.steps)
    return {**call, **describe_rates(schedule, training.epochs * (training.steps or 0))}


class CheckpointFile:
    """The file of a training that goes on.

    All networks run a chunk of steps at once. The snapshots in a file are all of the same moment between two chunks, so
    the same networks are joined when the training is resumed, and compute the same, bit for bit.

    Parameters
    ----------
    checkpoint
        How to write it.
    calls
        Describes the call for each network.
    trainings
        The trainings of the networks, as they begin.
    """

    def __init__(self, checkpoint: Checkpoint, calls: Sequence[dict[str, Any]], trainings: Sequence[Training]) -> None:
        self.checkpoint, self.calls, self.trainings = checkpoint, calls, trainings
        self.snapshots = tuple(self._take_snapshot(k) for k in range(len(trainings)))
        self.snapshots = mark_groups(self.snapshots, checkpoint.division)
        self.epoch_ended = False  # since the file was written
        self._mark_written()

    @property
    def steps(self) -> int:
        """Number of minibatches that the furthest network has trained on."""
        return max(training.position.total_steps for training in self.trainings)

    def update(self, numbers: Collection[int], division: Sequence[Sequence[int]]) -> None:
        """Take new snapshots of networks that have taken steps, joined by `division`; write all if that is due."""
        snapshots = (self._take_snapshot(k) if k in numbers else now for k, now in enumerate(self.snapshots))
        self.snapshots = mark_groups(snapshots, division)  # one assignment, which an interrupt cannot split
        self.epoch_ended |= any(self.trainings[k].position.steps == 0 for k in numbers)
        if self._is_due():
            self._try_to_write()

    def write_first(self) -> None:
        """Write the file before the first step, which shows that it can be written."""
        self.checkpoint.saving.write_first(self._encode())

    def write_last(self) -> None:
        """Write the last snapshots, unless the file holds them."""
        if self.snapshots is not self.written:
            self._try_to_write("the training has ended, and the file holds what was last written")

    def _is_due(self) -> bool:
        every = self.checkpoint.saving.every
        if isinstance(every, timedelta):
            return time.monotonic() - self.written_at >= every.total_seconds()
        return self.steps - self.steps_written >= every if isinstance(every, int) else self.epoch_ended

    def _take_snapshot(self, k: int) -> Snapshot:
        return take_snapshot(self.trainings[k], self.checkpoint.callbacks[k], self.calls[k])

    def _encode(self) -> bytes:
        parts = [encode_network(snapshot.value, snapshot) for training, snapshot in zip(self.trainings, self.snapshots)]
        return self.checkpoint.saving.join(parts)

    def _try_to_write(self, *outcome: str) -> None:
        if self.checkpoint.saving.try_to_write(self._encode, *outcome):
            self._mark_written()

    def _mark_written(self) -> None:
        self.written, self.epoch_ended = self.snapshots, False
        self.steps_written, self.written_at = self.steps, time.monotonic()


def take_snapshot(training: Training, callbacks: Sequence[Callback], call: dict[str, Any]) -> Snapshot:
    """Take a snapshot of a training and of its callbacks, with the description of its call."""
    plain: list[dict[str, Any]] = []
    states: dict[tuple[int, str], State] = {}
    for i, callback in enumerate(callbacks):
        values, nests = _split_state(callback)
        plain.append({"name": type(callback).__name__, "values": values})
        states |= {(i, name): state for name, state in nests.items()}
    value = training.value._replace(history=History(training.history.rows))  # which grows
    return Snapshot(value, training.position._asdict(), training.lr_scale, training.stopped, call, plain, states)


def mark_groups(snapshots: Iterable[Snapshot], division: Sequence[Sequence[int]]) -> tuple[Snapshot, ...]:
    """Note in snapshots which networks are joined, by the number of their group."""
    groups = {k: group for group, numbers in enumerate(division) for k in numbers}
    return tuple(snapshot._replace(group=groups.get(k)) for k, snapshot in enumerate(snapshots))


# Reading


def read_trainings(saving: Saving, networks: Sequence[Trainee], progress: bool) -> list[Snapshot] | None:
    """Read the trainings of networks to resume, if any; `progress` tells whether to say that there is no file yet."""
    content = saving.read(progress)
    if content is None:
        return None
    parts = saving.split(content)
    if len(parts) != len(networks):
        raise ArgumentError(
            f"{saving.path} holds a training of {len(parts)} networks, but this one has {len(networks)}; they must "
            "match, or give another checkpoint"
        )
    names = saving.name_parts(len(networks))
    return [read_training(part, name, net) for part, name, net in zip(parts, names, networks)]


def read_training(content: bytes, name: str, net: Trainee) -> Snapshot:
    """Read the training of a network from the content of a file, whose name is for messages."""
    record = decode(content, name)
    check_same_network(name, record.settings, net.value.settings)
    with explain_errors(name):
        snapshot = restore_training(record, net.value)
    if snapshot is None:
        raise CheckpointError(
            f"{name} holds a network, but no training to resume; load it with Network.load and give another checkpoint"
        )
    return snapshot


def find_starts(networks: Sequence[Trainee], resumed: Sequence[Snapshot] | None) -> list[Start]:
    """Find where the training of each network begins: where it ended before, if it is resumed."""
    if resumed is None:
        return [Start(net.value) for net in networks]
    return [
        Start(one.value, True, Position(**one.position), tuple(one.value.history.rows), one.lr_scale, one.stopped)
        for one in resumed
    ]


def restore_callbacks(name: str, callbacks: Sequence[Callback], snapshot: Snapshot) -> None:
    """Give callbacks the states that they had in a file of this name; errors of a user's own are raised as they are."""
    for i, (callback, record) in enumerate(zip(callbacks, snapshot.callbacks)):
        states = {key: state for (number, key), state in snapshot.states.items() if number == i}
        remembered = {**record["values"], **states}
        if not is_ours(callback):  # it may leave some out
            callback.set_state(remembered)
            continue
        with explain_errors(name):
            callback.set_state(remembered)
            refuse_unknown(f"value of {type(callback).__name__}", remembered.keys() - callback.get_state().keys())


def _split_state(callback: Callback) -> tuple[dict[str, Any], dict[str, State]]:
    """Split the state of a callback into copies of plain values, and states of the network."""
    name, remembered = type(callback).__name__, callback.get_state()
    try:
        states = {key: value for key, value in remembered.items() if isinstance(value, State)}
        plain = {key: value for key, value in remembered.items() if key not in states}
        if is_ours(callback):
            return plain, states  # a new dict of plain values
        check_depth(plain, 4)  # of a callback, in the callbacks, in the training, in the header
        return json.loads(json.dumps(plain, default=np.generic.item)), states
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArgumentError(f"{name}.get_state must return a dict of plain values, as in JSON ({error})") from error


def _describe_place(path: str, trainings: Sequence[Training]) -> str:
    """Say where the trainings of networks resume: the place of the one that is furthest behind."""
    epochs, total = trainings[0].epochs, trainings[0].steps
    active = [now.position for now in trainings if not now.stopped and now.position.epoch <= epochs]
    if not active:
        return f"The training in {path} has ended already, after {max(len(now.history) for now in trainings)} epochs"
    place = min(active, key=lambda position: position.total_steps)
    within = f", after {place.steps:,}{f' of its {total:,}' if total else ''} minibatches" if place.steps else ""
    return f"Resuming the training in {path}: epoch {place.epoch} of {epochs}{within}"


@contextmanager
def exiting_on_sigterm() -> Generator[None, None, None]:
    """Make SIGTERM raise SystemExit in this context, not end the process at once; a user's own handler stays."""
    in_main_thread = threading.current_thread() is threading.main_thread()  # handlers can be set only there
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
