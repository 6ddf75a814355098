"""Checkpoints: a training in a file, written as it goes on, and read again to resume it."""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np

from xpnet._checks import printable
from xpnet._identity import describe_call, is_ours
from xpnet.core.step import State
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import decode_record, encode_network, explain_errors, refuse_unknown, restore
from xpnet.training._description import (
    check_same_network,
    check_same_origin,
    check_same_training,
    describe_argument,
    describe_callbacks,
    describe_rates,
    refuse_own_optimizer,
)
from xpnet.training._evaluate import Evaluate
from xpnet.training._plan import CompleteJob
from xpnet.training._progress import Progress
from xpnet.training._saving import Checkpoint
from xpnet.training.callback import Callback, Trainee, Training
from xpnet.value import History, Moment

# Takes the moments of the networks of these numbers, joined in these groups, and writes those of all if that is due
SaveFunction: TypeAlias = Callable[[Sequence[int], Sequence[Sequence[int]]], None]
# Writes trainings in a context, and when it ends
Writing: TypeAlias = Callable[[Sequence[Training]], AbstractContextManager[SaveFunction]]


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
        For each, what `describe_training` says of it.
    """

    def __init__(self, checkpoint: Checkpoint, jobs: Sequence[CompleteJob], calls: Sequence[dict[str, Any]]) -> None:
        self.checkpoint, self.jobs = checkpoint, jobs
        decides = describe_call(checkpoint.decides, describe_argument)
        self.calls = [{**decides, **call, **decides} for call in calls]  # it is compared first
        self.callbacks = [
            [callback for callback in job.plan.callbacks if not isinstance(callback, (Evaluate, Progress))]
            for job in jobs
        ]
        for job in jobs:
            refuse_own_optimizer(job.optimizer)

    @contextmanager
    def writing(self, trainings: Sequence[Training]) -> Generator[SaveFunction, None, None]:
        """Write the trainings in this context, and when it ends, however it ends; resume them, if they are resumed.

        Yields
        ------
        SaveFunction
            The function to call between two chunks of steps.

        Raises
        ------
        ArgumentError
            If the training in the file is not the same.
        FileExistsError
            If there is a file by now that is not to be resumed.
        """
        resumed = [job.start for job in self.jobs if job.start.call]
        names = self.checkpoint.name_parts(len(self.jobs))
        for k, training in enumerate(trainings):
            plan, steps = self.jobs[k].plan, training.steps
            call = {**self.calls[k], **describe_callbacks(self.callbacks[k], training.quantities)}
            if resumed:
                check_same_training(names[k], resumed[k], call, plan.lr, steps)
            self.calls[k] = {**call, **describe_rates(plan.lr, plan.epochs * (steps or 0))}
        # After all comparisons, as it may change a file
        for name, callbacks, moment in zip(names, self.callbacks, resumed):
            restore_callbacks(name, callbacks, moment)
        self.trainings = trainings
        self.moments = tuple(self._take_moment(k) for k in range(len(trainings)))
        self.epoch_ended = False  # since the file was written
        self._mark_written()
        if not resumed:
            self.checkpoint.write_first(self._encode())
        elif self.jobs[0].plan.progress:
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

    def update(self, numbers: Sequence[int], division: Sequence[Sequence[int]]) -> None:
        """Take the moments of networks that have taken steps, joined by `division`; write all if that is due."""
        moments = (self._take_moment(k) if k in numbers else now for k, now in enumerate(self.moments))
        groups = {k: group for group, members in enumerate(division) for k in members}
        # One assignment, which an interrupt cannot split
        self.moments = tuple(moment._replace(group=groups.get(k)) for k, moment in enumerate(moments))
        self.epoch_ended |= any(self.trainings[k].position.steps == 0 for k in numbers)
        if self._is_due():
            self._try_to_write()

    def _is_due(self) -> bool:
        every = self.checkpoint.every
        if isinstance(every, timedelta):
            return time.monotonic() - self.written_at >= every.total_seconds()
        return self.steps - self.steps_written >= every if isinstance(every, int) else self.epoch_ended

    def _take_moment(self, k: int) -> Moment:
        return take_moment(self.trainings[k], self.callbacks[k], self.calls[k])

    def _encode(self) -> bytes:
        return self.checkpoint.join([encode_network(moment.value, moment) for moment in self.moments])

    def _try_to_write(self, *outcome: str) -> None:
        if self.checkpoint.try_to_write(self._encode, *outcome):
            self._mark_written()

    def _mark_written(self) -> None:
        self.written, self.epoch_ended = self.moments, False
        self.steps_written, self.written_at = self.steps, time.monotonic()


def take_moment(training: Training, callbacks: Sequence[Callback], call: dict[str, Any]) -> Moment:
    """Take the moment of a training, with what its callbacks remember, and the description of its call."""
    value = training.value._replace(history=History(training.history.rows))  # which grows
    remembered = [{"name": type(callback).__name__, "values": remember(callback)} for callback in callbacks]
    return training.position._replace(value=value, call=call, callbacks=remembered)


# Reading


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
    names = checkpoint.name_parts(len(networks))
    moments = [read_training(part, name, net) for part, name, net in zip(parts, names, networks)]
    for name, net, moment in zip(names, networks, moments):
        if not checkpoint.decides:
            check_same_origin(name, net, moment, len(networks))
    return moments


def read_training(content: bytes, name: str, net: Trainee) -> Moment:
    """Read the training of a network from the content of a file, whose name is for messages."""
    record = decode_record(content, name)
    check_same_network(name, record.plain["settings"], net.value.settings)
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
    name, remembered = type(callback).__name__, callback.get_state()
    try:
        states = {key: value for key, value in remembered.items() if isinstance(value, State)}
        plain = {key: value for key, value in remembered.items() if key not in states}
        if is_ours(callback):
            return remembered  # a new dict of plain values
        return {**json.loads(json.dumps(plain, default=np.generic.item)), **states}
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
