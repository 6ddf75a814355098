"""Checkpointing: when a training is written to a file, and how it resumes."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from xpnet.checkpoint.file import decode, explain_errors
from xpnet.checkpoint.networks import encode_network, read_state, restore
from xpnet.checkpoint.record import (
    TrainingRecord,
    callback_tensors_of,
    check_depth,
    refuse_unknown,
    training_of,
)
from xpnet.checkpoint.writing import read_file, write_file
from xpnet.checks import check_folder, count, decode_path, printable, yes_or_no
from xpnet.core.schedules import Schedule
from xpnet.core.step import State
from xpnet.errors import ArgumentError, CheckpointError, unless_stopped
from xpnet.state.history import History
from xpnet.state.value import NetworkValue
from xpnet.training.callback import Callback, Trainee, Training, decisive_arguments, warn_of_write
from xpnet.training.plan import Job
from xpnet.training.position import Position, Start
from xpnet.training.same_training import (
    check_same_network,
    check_same_training,
    describe_optimizer,
    describe_schedule,
    sample_rates,
    steps_to_compare,
)

Every: TypeAlias = str | int | timedelta  # "epoch", a number of minibatches, or a time
CallbackStates: TypeAlias = "dict[tuple[int, str], State]"  # (number of the callback, name) -> state of the network


class FileKind(NamedTuple):
    """How the contents of one or several network files are packed into one file."""

    pack: Callable[[Sequence[bytes]], bytes]
    unpack: Callable[[bytes, str], list[bytes]]  # the second argument is the path, for messages


def _pack_archive(contents: Sequence[bytes]) -> bytes:
    from xpnet.checkpoint import archive  # slow to import

    return archive.encode(contents)


def _unpack_archive(content: bytes, path: str) -> list[bytes]:
    from xpnet.checkpoint import archive

    return archive.decode(content, path)


ONE_NETWORK = FileKind(lambda contents: contents[0], lambda content, path: [content])
SEVERAL_NETWORKS = FileKind(_pack_archive, _unpack_archive)


class Saving(NamedTuple):
    """Where and when a training is written to a file, and whether one in that file is resumed."""

    path: str
    every: Every
    resume: bool
    kind: FileKind


class Resumed(NamedTuple):
    """A training that was read from a file, to be resumed."""

    training: TrainingRecord
    value: NetworkValue  # the network as it was

    def start(self) -> Start:
        """Return where `train` begins."""
        training, value = self.training, self.value
        position, rows = Position(**training.position), tuple(value.history.rows)
        return Start(position, rows, training.lr_scale, training.stopped, value)


class Snapshot(NamedTuple):
    """A network and its training between two chunks of steps."""

    value: NetworkValue
    training: TrainingRecord


class Round(NamedTuple):
    """Snapshots of all networks after one round of chunks, and the numbers of those that took their steps together."""

    snapshots: tuple[Snapshot, ...] = ()
    division: Sequence[Sequence[int]] = ()


class Recorder(Callback):
    """Takes snapshots of a network in training, for a checkpoint.

    It comes last among the callbacks, so its snapshots hold the state of all of them between two chunks of steps.

    Parameters
    ----------
    net
        The network.
    callbacks
        The user's callbacks, whose states are written as well.
    schedule
        The schedule of the learning rate.
    call
        The call to `train` as plain values, which a call that resumes the training must match.
    name
        The file, for messages.
    resumed
        The training to resume, if any.
    """

    def __init__(
        self,
        net: Trainee,
        callbacks: Sequence[Callback],
        schedule: Schedule,
        call: dict[str, Any],
        name: str,
        resumed: Resumed | None,
    ) -> None:
        self.net, self.callbacks, self.schedule, self.call = net, callbacks, schedule, call
        self.name, self.resumed = name, resumed
        self.checkpoint: Checkpoint
        self.snapshot: Snapshot

    def on_train_begin(self, training: Training) -> None:
        """Describe the call; once all networks have begun, resume the training, or write the first file."""
        self.training = training
        self.call |= {
            "quantities": list(training.quantities),
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "arguments": [decisive_arguments(callback) for callback in self.callbacks],
        }
        self.checkpoint.begin()

    def on_chunk_end(self, steps: int) -> None:
        """Take a snapshot."""
        self.record(self.net.value)
        self.checkpoint.update_after_chunk(self.training.position.total_steps)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Take a snapshot."""
        self.record(self.net.value)
        self.checkpoint.update_after_epoch()

    def on_train_end(self) -> None:
        """Let the checkpoint write the last snapshots once all networks have ended."""
        self.checkpoint.end()
        del self.training

    def check(self) -> None:
        """Refuse to resume another training, and complete the description of this one."""
        training = self.training
        total = training.epochs * (training.steps or 0)
        if self.resumed is not None:
            check_same_training(self.name, self.resumed.training, self.call, self.schedule, training.steps)
        self.call["lr"] = sample_rates(self.schedule, steps_to_compare(self.schedule, total), total)
        self.call["schedule"] = describe_schedule(self.schedule, total, total)

    def record_start(self) -> None:
        """Take a snapshot before the first step, which is that of the training to resume, if there is one."""
        self.record(self.net.value if self.resumed is None else self.resumed.value)

    def record(self, value: NetworkValue) -> None:
        """Take a snapshot of network, callbacks and position; one assignment, so that an interrupt cannot split it."""
        values: list[dict[str, Any]] = []
        states: CallbackStates = {}
        for i, callback in enumerate(self.callbacks):
            plain, nests = _split_state(callback)
            states |= {(i, name): state for name, state in nests.items()}
            values.append({"name": type(callback).__name__, "values": plain})
        training = self.training
        record = TrainingRecord(
            training.position._asdict(),
            training.lr_scale,
            training.stopped,
            self.call,
            callbacks=values,
            states=states,
        )
        self.snapshot = Snapshot(value._replace(history=History(training.history.rows)), record)
        self.checkpoint.waiting.discard(self)

    def restore_callbacks(self) -> None:
        """Give the callbacks the states that they had; errors of a user's own are raised as they are."""
        resumed = self.resumed
        if resumed is None:
            return
        for i, (callback, record) in enumerate(zip(self.callbacks, resumed.training.callbacks)):
            states = {name: state for (number, name), state in resumed.training.states.items() if number == i}
            remembered = {**record["values"], **states}
            if not is_of_xpnet(callback):  # it may leave some out
                callback.set_state(remembered)
                continue
            with explain_errors(self.name):
                callback.set_state(remembered)
                unknown = remembered.keys() - callback.get_state().keys()
                refuse_unknown(f"value of {type(callback).__name__}", unknown)


class Checkpoint:
    """Writes the training of one or several networks to a file as it goes on, and when it ends, however it ends.

    All networks run a chunk of steps at once, in rounds. The snapshots in a file are all of the same round, so the same
    networks are joined when the training is resumed, and compute the same, bit for bit.

    Parameters
    ----------
    path
        The file.
    every
        When to write it.
    recorders
        The callbacks of the networks that take the snapshots.
    kind
        The kind of file.
    progress
        Whether to say on standard error where a training resumes.
    """

    def __init__(self, path: str, every: Every, recorders: Sequence[Recorder], kind: FileKind, progress: bool) -> None:
        self.path, self.every, self.recorders, self.kind, self.progress = path, every, recorders, kind, progress
        for recorder in recorders:
            recorder.checkpoint = self
        groups: dict[int, list[int]] = {}
        for k, recorder in enumerate(recorders):
            group = None if recorder.resumed is None else recorder.resumed.training.group
            if group is not None:
                groups.setdefault(group, []).append(k)
        self.division: Sequence[Sequence[int]] = list(groups.values())  # which networks are joined
        self.begun = self.steps = 0  # networks that have begun, and minibatches that the furthest one has trained on
        self.epoch_ended = False
        self.waiting: set[Recorder] = set()  # those whose networks have taken steps since their last snapshots
        self.collected = self.written = Round()  # the last one that all networks completed

    def add_to(self, jobs: Sequence[Job]) -> list[Job]:
        """Give each network its recorder, after its other callbacks, and the place where its training is resumed."""
        return [
            job._replace(
                callbacks=[*job.callbacks, recorder],
                start=job.start if recorder.resumed is None else recorder.resumed.start(),
            )
            for job, recorder in zip(jobs, self.recorders)
        ]

    def begin(self) -> None:
        """Once all networks have begun, resume the training, or write a first file, to show that it can be written."""
        self.begun += 1
        if self.begun < len(self.recorders):
            return
        for recorder in self.recorders:
            recorder.check()
        for recorder in self.recorders:
            recorder.restore_callbacks()
        for recorder in self.recorders:
            recorder.record_start()
        self._collect()
        self.steps = max(recorder.training.position.total_steps for recorder in self.recorders)
        if all(recorder.resumed is None for recorder in self.recorders):
            self._write_first()
        elif self.progress:
            place = _describe_place(self.path, [recorder.training for recorder in self.recorders])
            print(printable(place), file=sys.stderr)
        self._mark_written()

    def begin_round(self, networks: Iterable[int], division: Sequence[Sequence[int]]) -> None:
        """Note which networks have taken steps, and how they were joined, before their callbacks are called."""
        self.division, self.waiting = division, {self.recorders[k] for k in networks}

    def update_after_chunk(self, steps: int) -> None:
        """Collect the snapshots after the last network of a round has taken its own, and write them if that is due."""
        self.steps = max(self.steps, steps)
        if not self._collect():
            return
        if isinstance(self.every, timedelta):
            due = time.monotonic() - self.written_at >= self.every.total_seconds()
        else:
            due = isinstance(self.every, int) and self.steps - self.steps_written >= self.every
        if due:
            self._try_to_write()

    def update_after_epoch(self) -> None:
        """Collect the snapshots after the last network of a round has ended an epoch, and write them if that is due."""
        self.epoch_ended = True
        if self._collect() and self.every == "epoch":
            self._try_to_write()

    def end_round(self) -> None:
        """Write the snapshots if an epoch has ended in this round, and they have not been written since."""
        if self.epoch_ended and self.every == "epoch" and self._collect():
            self._try_to_write()

    def end(self) -> None:
        """Write the last snapshots when all networks have ended, also after an exception, Ctrl-C and SIGTERM."""
        self.begun -= 1
        if self.begun or not self.collected.snapshots:
            return
        self._collect()
        if self.collected is not self.written:
            self._try_to_write("the training has ended, and the file holds what was last written")

    def _collect(self) -> bool:
        """Collect the snapshots of all networks; False if one of them is still to come.

        They are collected in one assignment, so that an interrupt cannot split it.
        """
        if self.waiting:
            return False
        snapshots = tuple(recorder.snapshot for recorder in self.recorders)
        before = self.collected.snapshots
        if len(before) != len(snapshots) or any(x is not y for x, y in zip(snapshots, before)):
            self.collected = Round(snapshots, self.division)
        return True

    def _encode(self) -> bytes:
        snapshots, division = self.collected
        groups = {k: group for group, numbers in enumerate(division) for k in numbers}
        contents = []
        for k, (snapshot, recorder) in enumerate(zip(snapshots, self.recorders)):
            net, training = recorder.net, snapshot.training._replace(group=groups.get(k))
            contents.append(encode_network(net.settings, net.view._replace(value=snapshot.value), training))
        return self.kind.pack(contents)

    def _write_first(self) -> None:
        """Write the first file; another training may have taken the path since `train` was called."""
        try:
            write_file(self.path, self._encode(), new=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already: another training has just begun with it; give each training "
                "a path of its own"
            ) from error

    def _try_to_write(self, *outcome: str) -> None:
        """Write the last snapshots, or warn; `outcome` says what then, unless training continues."""
        try:
            write_file(self.path, self._encode())
        except unless_stopped(OSError, MemoryError) as error:
            warn_of_write(f"checkpoint={self.path!r} could not be written", error, *outcome)
        else:
            self._mark_written()

    def _mark_written(self) -> None:
        self.written, self.epoch_ended = self.collected, False
        self.steps_written, self.written_at = self.steps, time.monotonic()


def make_checkpoint(
    saving: Saving,
    jobs: Sequence[Job],
    callbacks: Sequence[Sequence[Callback]],
    calls: Sequence[Mapping[str, Any]],
    resumed: Sequence[Resumed] | None,
    progress: bool,
) -> Checkpoint:
    """Make the checkpoint of a training.

    Parameters
    ----------
    saving
        Where and when to write it.
    jobs
        The networks, and how to train each.
    callbacks
        Those whose states the file holds, for each network.
    calls
        What a call that resumes the training must have in common with it, besides the plan, as plain values.
    resumed
        The trainings to resume, if any.
    progress
        Whether to say on standard error where they resume.
    """
    recorders = []
    for k, (job, name) in enumerate(zip(jobs, name_parts(saving.path, len(jobs), saving.kind))):
        plan = {"epochs": job.plan.epochs, "optimizer": describe_optimizer(job.plan.optimizer)}
        training = None if resumed is None else resumed[k]
        recorders.append(Recorder(job.net, callbacks[k], job.plan.schedule, {**calls[k], **plan}, name, training))
    return Checkpoint(saving.path, saving.every, recorders, saving.kind, progress)


def read_trainings(saving: Saving, networks: Sequence[Trainee], progress: bool) -> list[Resumed] | None:
    """Read the trainings of networks to resume, if any; `progress` tells whether to say that there is no file yet."""
    path, kind = saving.path, saving.kind
    if not saving.resume:
        return None
    if not os.path.exists(path):
        if progress:
            print(printable(f"There is no checkpoint {path} yet: training starts from the beginning"), file=sys.stderr)
        return None
    contents = kind.unpack(read_file(path), path)
    if len(contents) != len(networks):
        raise ArgumentError(
            f"{path} holds a training of {len(contents)} networks, but this one has {len(networks)}; they must match, "
            "or give another checkpoint"
        )
    names = name_parts(path, len(networks), kind)
    return [read_training(content, name, net) for content, name, net in zip(contents, names, networks)]


def read_training(content: bytes, name: str, net: Trainee) -> Resumed:
    """Read the training of a network from the content of a file, whose name is for messages."""
    record = decode(content, name)
    check_same_network(name, record.settings, net.settings)
    with explain_errors(name):
        training = training_of(record)
        value = restore(record, net.view)
        states = {
            key: read_state(tensors, value.optimizer, value.seeds, net.view)
            for key, tensors in callback_tensors_of(record).items()
        }
    if training is None:
        raise CheckpointError(
            f"{name} holds a network, but no training to resume; load it with Network.load and give another checkpoint"
        )
    return Resumed(training._replace(states=states), value)


def _describe_place(path: str, trainings: Sequence[Training]) -> str:
    """Say where the trainings of networks resume: the place of the one that is furthest behind."""
    epochs, total = trainings[0].epochs, trainings[0].steps
    active = [now.position for now in trainings if not now.stopped and now.position.epoch <= epochs]
    if not active:
        return f"The training in {path} has ended already, after {max(len(now.history) for now in trainings)} epochs"
    place = min(active, key=lambda position: position.total_steps)
    within = f", after {place.steps:,}{f' of its {total:,}' if total else ''} minibatches" if place.steps else ""
    return f"Resuming the training in {path}: epoch {place.epoch} of {epochs}{within}"


def name_parts(path: str, networks: int, kind: FileKind) -> list[str]:
    """Name the parts of a file for messages."""
    return [path] if kind is ONE_NETWORK else [f"member {k} of {path}" for k in range(networks)]


def parse_saving(kind: FileKind, path: Any, every: Any, resume: Any) -> Saving | None:
    """Check the arguments `checkpoint`, `every` and `resume` of `train`; None if there is to be no checkpoint."""
    every, resume = None if every is None else parse_every(every), yes_or_no("resume", resume)
    path = parse_checkpoint(path, every, resume)
    return None if path is None else Saving(path, "epoch" if every is None else every, resume, kind)


def parse_checkpoint(path: Any, every: Every | None, resume: bool) -> str | None:
    """Check where a checkpoint is to be written; None if there is to be none."""
    if path is None:
        for name, value in (("every", every), ("resume", resume or None)):
            if value is not None:
                raise ArgumentError(f"{name}={value!r} needs checkpoint=, the file to write, as in 'run.safetensors'")
        return None
    path = decode_path("checkpoint", path)
    check_folder(path)
    if os.path.lexists(path) and not resume:
        raise FileExistsError(
            f"checkpoint={path!r} exists already; give resume=True to continue the training in it, or remove it, or "
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
        raise ArgumentError(
            f'every={every!r} must be "epoch", a number of minibatches such as 1000, or a time such as '
            "datetime.timedelta(minutes=10)"
        ) from error


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


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
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
