"""Checkpoints: a training in a file, written as it goes on, and read again to resume it."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Literal

import numpy as np

from xpnet._checks import check_fields, check_folder, count, decode_path, printable, yes_or_no
from xpnet._identity import is_ours
from xpnet.core.step import State
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import (
    decode_archive,
    decode_record,
    encode_archive,
    encode_network,
    encode_optimizer,
    explain_errors,
    read_file,
    refuse_unknown,
    restore,
    write_file,
)
from xpnet.training._description import check_same_training, refuse_difference
from xpnet.training._plan import Job
from xpnet.training.callback import Callback, Trainee, Training, warn_of_write
from xpnet.value import History, Moment

FileKind = Literal["network", "ensemble"]
Every = str | int | timedelta  # "epoch", a number of minibatches, or a time
# Takes the moments of all networks, which have these numbers in groups that are joined, and writes them if that is due
SaveFunction = Callable[[Sequence[Sequence[int]]], None]


def parse_path(argument: str, path: Any) -> str:
    """Convert a path to a string; users give it as the argument `checkpoint`."""
    return decode_path("checkpoint", path)


def parse_every(argument: str, every: Any) -> Every:
    """Check when to write a checkpoint."""
    is_time = isinstance(every, timedelta) and every > timedelta(0)
    if is_time or (isinstance(every, str) and every == "epoch"):
        return every
    try:
        return count(argument, every, 1)
    except ValueError as error:
        raise ArgumentError(
            f'{argument}={every!r} must be "epoch", a number of minibatches such as 1000, or a time such as '
            "datetime.timedelta(minutes=10)"
        ) from error


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where and when a training is written to a file, and whether the one in it is resumed; see :doc:`/use/save`.

    Parameters
    ----------
    path
        The file.
    every
        When to write it: after each "epoch", a number of minibatches, or a `datetime.timedelta`.
    resume
        Whether to resume the training in the file, if there is one.
    kind
        What the file holds: a "network" alone, or an "ensemble", as that of several networks does.
    decides
        What a client of `train` says, by names, that a resumed training must have in common besides data and plan; it
        also says for it whether the networks are the same at the beginning.
    noun
        The word for what is written, in messages.

    Raises
    ------
    FileExistsError
        If the file exists, and `resume` is not given.
    """

    path: Annotated[str, parse_path]
    every: Annotated[Every, parse_every] = "epoch"
    resume: Annotated[bool, yes_or_no] = False
    kind: FileKind = "network"
    decides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    noun: str = "training"

    def __post_init__(self) -> None:
        check_fields(self)
        check_folder(self.path)
        if os.path.lexists(self.path) and not self.resume:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already; give resume=True to continue the {self.noun} in it, or "
                "remove it, or give another path"
            )

    def read(self, progress: bool = True) -> bytes | None:
        """Read the file to resume; None if there is none yet. With `progress`, say so on standard error."""
        if self.resume and os.path.exists(self.path):
            return read_file(self.path)
        if self.resume and progress:
            text = f"There is no checkpoint {self.path} yet: the {self.noun} starts from the beginning"
            print(printable(text), file=sys.stderr)
        return None

    def write_first(self, content: bytes) -> None:
        """Write the file for the first time; another training may have taken the path since `train` was called."""
        try:
            write_file(self.path, content, new=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already: another {self.noun} has just begun with it; give each "
                f"{self.noun} a path of its own"
            ) from error

    def try_to_write(self, encode: Callable[[], bytes], *outcome: str) -> bool:
        """Write the file and return True, or warn; `outcome` says what happens then, unless training continues."""
        try:
            write_file(self.path, encode())
        except (OSError, MemoryError) as error:
            warn_of_write(f"checkpoint={self.path!r} could not be written", error, *outcome)
            return False
        return True

    # Several networks in one file

    def name_parts(self, n: int) -> list[str]:
        """Name the parts of the file that hold a network each, for messages."""
        return [f"member {k} of {self.path}" for k in range(n)] if self.kind == "ensemble" else [self.path]

    def join(self, parts: Sequence[bytes]) -> bytes:
        """Join the parts of the file."""
        if self.kind == "ensemble":
            return encode_archive(parts)
        (content,) = parts
        return content

    def split(self, content: bytes) -> list[bytes]:
        """Split the file into its parts."""
        if self.kind == "ensemble":
            return decode_archive(content, self.path)
        return [content]


def parse_checkpoint(path: Any, every: Any, resume: Any, **others: Any) -> Checkpoint | None:
    """Check the arguments `checkpoint`, `every` and `resume` of a call; None if there is to be no checkpoint."""
    if path is not None:
        return Checkpoint(path, "epoch" if every is None else every, resume, **others)
    for name, value in (("every", every), ("resume", yes_or_no("resume", resume) or None)):
        if value is not None:
            raise ArgumentError(f"{name}={value!r} needs checkpoint=, the file to write, as in 'run.safetensors'")
    return None


class CheckpointFile:
    """The file of a training that goes on.

    All networks run a chunk of steps at once. The moments in a file are all between the same two chunks, so the same
    networks are joined when the training is resumed, and compute the same, bit for bit.

    Parameters
    ----------
    checkpoint
        How to write it.
    jobs
        The networks, with their plans, which are complete. They begin with the moments in the file if it is resumed.
    calls
        For each, what `describe_trainings` says of it.

    Raises
    ------
    ArgumentError
        If the training in the file is not the same.
    """

    def __init__(self, checkpoint: Checkpoint, jobs: Sequence[Job], calls: Sequence[Mapping[str, Any]]) -> None:
        self.checkpoint, self.calls = checkpoint, calls
        self.callbacks = [job.plan.callbacks for job in jobs]
        self.resumed = [job.start for job in jobs if job.start.call]
        self.names, self.shows_place = checkpoint.name_parts(len(jobs)), jobs[0].plan.progress
        for job in jobs:
            if encode_optimizer(optimizer := job.plan.find_optimizer(job.start.value)) is None:
                raise ArgumentError(
                    f"checkpoint= cannot hold the state of optimizer={optimizer!r}, which is of your own class; "
                    "give one of xpnet's, or leave checkpoint out"
                )
        for name, moment, call, job in zip(self.names, self.resumed, calls, jobs):
            check_same_training(name, moment, call, job.plan.lr)

    @contextmanager
    def writing(self, trainings: Sequence[Training]) -> Generator[SaveFunction, None, None]:
        """Write the trainings in this context, and when it ends, however it ends; resume them, if they are resumed.

        Yields
        ------
        SaveFunction
            The function to call between two chunks of steps.

        Raises
        ------
        FileExistsError
            If there is a file by now that is not to be resumed.
        """
        for name, callbacks, moment in zip(self.names, self.callbacks, self.resumed):
            restore_callbacks(name, callbacks, moment)
        self.trainings = trainings
        self.moments = tuple(self._take_moment(k) for k in range(len(trainings)))
        self._mark_written()
        if not self.resumed:
            self.checkpoint.write_first(self._encode())
        elif self.shows_place:
            print(printable(_describe_place(self.checkpoint.path, trainings)), file=sys.stderr)
        try:
            yield self.update
        finally:
            if self.moments is not self.written:
                self._try_to_write("the training has ended, and the file holds what was last written")

    @property
    def steps(self) -> int:
        """Number of minibatches that the furthest network has trained on."""
        return max(training.position.total_steps for training in self.trainings)

    def update(self, division: Sequence[Sequence[int]]) -> None:
        """Take the moments of the networks, which are joined by `division`; write them if that is due."""
        groups = {k: group for group, members in enumerate(division) for k in members}
        moments = [self._take_moment(k)._replace(group=groups.get(k)) for k in range(len(self.moments))]
        self.epoch_ended |= any(now.epoch > before.epoch for now, before in zip(moments, self.moments))
        self.moments = tuple(moments)  # one assignment, which an interrupt cannot split
        if self._is_due():
            self._try_to_write()

    def _is_due(self) -> bool:
        every = self.checkpoint.every
        if isinstance(every, timedelta):
            return time.monotonic() - self.written_at >= every.total_seconds()
        return self.steps - self.steps_written >= every if isinstance(every, int) else self.epoch_ended

    def _take_moment(self, k: int) -> Moment:
        training = self.trainings[k]
        value = training.value._replace(history=History(training.history.rows))  # which grows
        remembered = [{"name": type(callback).__name__, "values": remember(callback)} for callback in self.callbacks[k]]
        return training.position._replace(value=value, call=self.calls[k], callbacks=remembered)

    def _encode(self) -> bytes:
        return self.checkpoint.join([encode_network(moment.value, moment) for moment in self.moments])

    def _try_to_write(self, *outcome: str) -> None:
        if self.checkpoint.try_to_write(self._encode, *outcome):
            self._mark_written()

    def _mark_written(self) -> None:
        self.written, self.epoch_ended = self.moments, False
        self.steps_written, self.written_at = self.steps, time.monotonic()


def find_starts(networks: Sequence[Trainee], checkpoint: Checkpoint | None, progress: bool) -> list[Moment]:
    """Find the moment at which the training of each network begins: now, or that in a file that is resumed.

    `progress` tells whether to say that there is no file yet.
    """
    content = None if checkpoint is None else checkpoint.read(progress)
    if checkpoint is None or content is None:
        return [Moment(net.value) for net in networks]
    parts = checkpoint.split(content)
    if len(parts) != len(networks):
        raise ArgumentError(
            f"{checkpoint.path} holds a training of {len(parts)} networks, but this one has {len(networks)}; they must "
            "match, or give another checkpoint"
        )
    return [read_training(*part) for part in zip(parts, checkpoint.name_parts(len(networks)), networks)]


def read_training(content: bytes, name: str, net: Trainee) -> Moment:
    """Read the training of a network from the content of a file, whose name is for messages."""
    record = decode_record(content, name)
    refuse_difference(name, record.plain["settings"], net.value.settings)
    with explain_errors(name):
        moment = restore(record, net.value)
    if record.plain["training"] is None:
        raise CheckpointError(
            f"{name} holds a network, but no training to resume; load it with Network.load and give another checkpoint"
        )
    return moment


def restore_callbacks(name: str, callbacks: Sequence[Callback], moment: Moment) -> None:
    """Give callbacks the states that they had in a file of this name; errors of a user's own are raised as they are."""
    for callback, record in zip(callbacks, moment.callbacks):
        remembered = {**record["values"]}
        if not is_ours(callback):  # it may leave some out
            callback.set_state(remembered)
            continue
        with explain_errors(name):
            callback.set_state(remembered)
            refuse_unknown(f"value of {type(callback).__name__}", remembered.keys() - callback.get_state().keys())


def remember(callback: Callback) -> dict[str, Any]:
    """Return the state of a callback: copies of plain values, and states of the network."""
    remembered: Any = callback.get_state()
    if is_ours(callback):
        return remembered  # a new dict of plain values
    try:
        states = {key: value for key, value in remembered.items() if isinstance(value, State)}
        plain = {key: value for key, value in remembered.items() if key not in states}
        return {**json.loads(json.dumps(plain, default=np.generic.item)), **states}
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArgumentError(
            f"{type(callback).__name__}.get_state must return a dict of plain values, as in JSON ({error})"
        ) from error


def _describe_place(path: str, trainings: Sequence[Training]) -> str:
    """Say where the trainings of networks resume: the epoch of the one that is furthest behind."""
    epochs = trainings[0].epochs
    epoch = min((now.position.epoch for now in trainings if not (now.stopped or now.error)), default=epochs + 1)
    if epoch > epochs:
        return f"The training in {path} has ended already"
    return f"Resuming the training in {path}: epoch {epoch} of {epochs}"


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
