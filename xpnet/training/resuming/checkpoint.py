"""Checkpoints: a training in a file, written as it goes on, and read again to resume it."""

import json
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np

from xpnet.checkpoint.file import decode, explain_errors
from xpnet.checkpoint.networks import encode_network, restore_training
from xpnet.checkpoint.record import Snapshot, check_depth, refuse_unknown
from xpnet.checks import printable
from xpnet.core.step import State
from xpnet.errors import ArgumentError, CheckpointError, unless_stopped
from xpnet.state.history import History
from xpnet.state.position import Position, Start
from xpnet.state.value import NetworkValue
from xpnet.training.callback import Callback, Trainee, Training
from xpnet.training.plan import Job
from xpnet.training.resuming.call import (
    check_same_network,
    check_same_training,
    describe_callbacks,
    describe_rates,
    refuse_own_optimizer,
)
from xpnet.training.resuming.saving import Saving


class Checkpoint:
    """Writes the training of one or several networks to a file as it goes on, and when it ends, however it ends.

    All networks run a chunk of steps at once, in rounds. The snapshots in a file are all of the same round, so the same
    networks are joined when the training is resumed, and compute the same, bit for bit.

    Parameters
    ----------
    saving
        Where and when to write it.
    jobs
        The networks, and how to train each.
    callbacks
        Those whose states the file holds, for each network.
    calls
        For each network, what `describe_training` says of a call that may resume its training.
    resumed
        The trainings to resume, if any.
    progress
        Whether to say on standard error where they resume.
    """

    def __init__(
        self,
        saving: Saving,
        jobs: Sequence[Job],
        callbacks: Sequence[Sequence[Callback]],
        calls: Sequence[dict[str, Any]],
        resumed: Sequence[Snapshot] | None,
        progress: bool,
    ) -> None:
        for job in jobs:
            refuse_own_optimizer(job.plan.optimizer)
        self.nets, self.schedules = [job.net for job in jobs], [job.plan.schedule for job in jobs]  # and no examples
        self.saving, self.callbacks, self.calls = saving, callbacks, [*calls]
        self.resumed, self.progress, self.names = resumed, progress, saving.name_parts(len(jobs))
        self.trainings: dict[int, Training] = {}  # of the networks that have begun, and not ended
        self.steps = 0  # minibatches that the furthest network has trained on
        self.epoch_ended = False  # since the file was written
        self.division = find_division(resumed or ())  # which networks are joined
        self.waiting: set[int] = set()  # networks that have taken steps since their last snapshots
        self.snapshots: dict[int, Snapshot] = {}  # the last one of each network, in their order
        self.round: tuple[Snapshot, ...] = ()  # those of the last round that all networks completed
        self.written = self.round

    def add_to(self, jobs: Sequence[Job]) -> list[Job]:
        """Add a callback that takes snapshots after the others of each network, and where its training is resumed."""
        starts = [job.start for job in jobs] if self.resumed is None else map(find_start, self.resumed)
        return [
            job._replace(callbacks=[*job.callbacks, TakeSnapshots(self, k)], start=start)
            for k, (job, start) in enumerate(zip(jobs, starts))
        ]

    def begin(self, k: int, training: Training) -> None:
        """Once all networks have begun, resume the training, or write a first file, to show that it can be written."""
        self.trainings[k] = training
        if len(self.trainings) < len(self.nets):
            return
        for k in self.trainings:  # all, before a callback is restored, which may change a file
            self._complete_call(k)
        for name, callbacks, snapshot in zip(self.names, self.callbacks, self.resumed or ()):
            restore_callbacks(name, callbacks, snapshot)
        for k, net in enumerate(self.nets):
            self._record(k, net.value if self.resumed is None else self.resumed[k].value)
        if self.resumed is None:
            self.saving.write_first(self._encode())
        elif self.progress:
            print(printable(_describe_place(self.saving.path, [*self.trainings.values()])), file=sys.stderr)
        self._mark_written()

    def begin_round(self, networks: Iterable[int], division: Sequence[Sequence[int]]) -> None:
        """Note which networks have taken steps, and how they were joined, before their callbacks are called."""
        self.division, self.waiting = division, set(networks)

    def record_chunk(self, k: int) -> None:
        """Take a snapshot of a network after a chunk of steps; write those of the round if that is due."""
        self._record(k, self.nets[k].value)
        if self.waiting:
            return
        every = self.saving.every
        if isinstance(every, timedelta):
            due = time.monotonic() - self.written_at >= every.total_seconds()
        else:
            due = isinstance(every, int) and self.steps - self.steps_written >= every
        if due:
            self._try_to_write()

    def record_epoch(self, k: int) -> None:
        """Take a snapshot of a network after an epoch; write those of the round if that is due."""
        self.epoch_ended = True
        self._record(k, self.nets[k].value)
        self.end_round()

    def end_round(self) -> None:
        """Write the snapshots if an epoch has ended in this round, and they have not been written since."""
        if self.epoch_ended and self.saving.every == "epoch" and not self.waiting:
            self._try_to_write()

    def end(self, k: int) -> None:
        """Write the last snapshots when all networks have ended, also after an exception, Ctrl-C and SIGTERM."""
        del self.trainings[k]
        if not self.trainings and self.round is not self.written:
            self._try_to_write("the training has ended, and the file holds what was last written")

    def _complete_call(self, k: int) -> None:
        """Complete the description of a call; refuse one that differs from that of the training to resume."""
        training, schedule = self.trainings[k], self.schedules[k]
        call = {**self.calls[k], **describe_callbacks(self.callbacks[k], training.quantities)}
        if self.resumed is not None:
            check_same_training(self.names[k], self.resumed[k], call, schedule, training.steps)
        self.calls[k] = {**call, **describe_rates(schedule, training.epochs * (training.steps or 0))}

    def _record(self, k: int, value: NetworkValue) -> None:
        """Take a snapshot of a network; each assignment is one that an interrupt cannot split."""
        training = self.trainings[k]
        self.snapshots[k] = take_snapshot(value, training, self.callbacks[k], self.calls[k])
        self.waiting.discard(k)
        self.steps = max(self.steps, training.position.total_steps)
        if not self.waiting and len(self.snapshots) == len(self.nets):
            groups = {k: group for group, numbers in enumerate(self.division) for k in numbers}
            self.round = tuple(snapshot._replace(group=groups.get(k)) for k, snapshot in self.snapshots.items())

    def _encode(self) -> bytes:
        pairs = zip(self.nets, self.round)
        return self.saving.join(
            [encode_network(net.settings, net.view._replace(value=now.value), now) for net, now in pairs]
        )

    def _try_to_write(self, *outcome: str) -> None:
        if self.saving.try_to_write(self._encode, *outcome):
            self._mark_written()

    def _mark_written(self) -> None:
        self.written, self.epoch_ended = self.round, False
        self.steps_written, self.written_at = self.steps, time.monotonic()


class TakeSnapshots(Callback):
    """Has a checkpoint take snapshots of one of its networks.

    It comes last among the callbacks, so that snapshots hold the state of all of them between two chunks of steps.

    Parameters
    ----------
    checkpoint
        The checkpoint.
    k
        The number of the network.
    """

    def __init__(self, checkpoint: Checkpoint, k: int) -> None:
        self.checkpoint, self.k = checkpoint, k

    def on_train_begin(self, training: Training) -> None:
        """Hand over the training."""
        self.checkpoint.begin(self.k, training)

    def on_chunk_end(self, steps: int) -> None:
        """Take a snapshot, and write it if that is due."""
        self.checkpoint.record_chunk(self.k)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Take a snapshot, and write it if that is due."""
        self.checkpoint.record_epoch(self.k)

    def on_train_end(self) -> None:
        """Write the last snapshots."""
        self.checkpoint.end(self.k)


def take_snapshot(
    value: NetworkValue, training: Training, callbacks: Sequence[Callback], call: dict[str, Any]
) -> Snapshot:
    """Take a snapshot of a network, its callbacks and its position."""
    plain: list[dict[str, Any]] = []
    states: dict[tuple[int, str], State] = {}
    for i, callback in enumerate(callbacks):
        values, nests = _split_state(callback)
        plain.append({"name": type(callback).__name__, "values": values})
        states |= {(i, name): state for name, state in nests.items()}
    value = value._replace(history=History(training.history.rows))  # which grows
    return Snapshot(value, training.position._asdict(), training.lr_scale, training.stopped, call, plain, states)


def find_division(snapshots: Sequence[Snapshot]) -> Sequence[Sequence[int]]:
    """List the networks that took their steps together, group by group."""
    groups: dict[int, list[int]] = {}
    for k, snapshot in enumerate(snapshots):
        if snapshot.group is not None:
            groups.setdefault(snapshot.group, []).append(k)
    return list(groups.values())


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
    check_same_network(name, record.settings, net.settings)
    with explain_errors(name):
        snapshot = restore_training(record, net.view)
    if snapshot is None:
        raise CheckpointError(
            f"{name} holds a network, but no training to resume; load it with Network.load and give another checkpoint"
        )
    return snapshot


def find_start(snapshot: Snapshot) -> Start:
    """Return where `train` begins to resume a training."""
    position, rows = Position(**snapshot.position), tuple(snapshot.value.history.rows)
    return Start(position, rows, snapshot.lr_scale, snapshot.stopped, snapshot.value)


def restore_callbacks(name: str, callbacks: Sequence[Callback], snapshot: Snapshot) -> None:
    """Give callbacks the states that they had in a file of this name; errors of a user's own are raised as they are."""
    for i, (callback, record) in enumerate(zip(callbacks, snapshot.callbacks)):
        states = {key: state for (number, key), state in snapshot.states.items() if number == i}
        remembered = {**record["values"], **states}
        if not is_of_xpnet(callback):  # it may leave some out
            callback.set_state(remembered)
            continue
        with explain_errors(name):
            callback.set_state(remembered)
            refuse_unknown(f"value of {type(callback).__name__}", remembered.keys() - callback.get_state().keys())


def is_of_xpnet(callback: Callback) -> bool:
    """Tell whether a callback is xpnet's, and not a user's own."""
    return type(callback).__module__.startswith("xpnet.")


def _split_state(callback: Callback) -> tuple[dict[str, Any], dict[str, State]]:
    """Split the state of a callback into copies of plain values, and states of the network."""
    name, remembered = type(callback).__name__, callback.get_state()
    try:
        states = {key: value for key, value in remembered.items() if isinstance(value, State)}
        plain = {key: value for key, value in remembered.items() if key not in states}
        if is_of_xpnet(callback):
            return plain, states  # a new dict of plain values
        check_depth(plain, 4)  # of a callback, in the callbacks, in the training, in the header
        return json.loads(json.dumps(plain, default=np.generic.item)), states
    except unless_stopped(TypeError, ValueError, AttributeError, RecursionError) as error:
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
