"""Callbacks of a training on several processes: rank 0 has them, and tells the others what they have changed."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet.core.arrays import leaves
from xpnet.data.source import digest_arrays
from xpnet.distributed._ranks import Ranks
from xpnet.training.callback import Callback, Training, watching
from xpnet.value import History, Moment, Value, copy_to_device, copy_to_host


class Changes(NamedTuple):
    """The state of a training after callbacks of rank 0, for the other ranks to take over."""

    lr_scale: float
    stopped: bool
    value: Value | None  # of the network, in NumPy arrays; None if it is as training has left it
    logs: dict[str, Any] | None


class Shared(Callback):
    """The callback of each rank: on rank 0 it calls the callbacks, and all ranks take over what they have changed.

    Parameters
    ----------
    callbacks
        The callbacks, which rank 0 alone has.
    ranks
        The processes that share the training.
    """

    def __init__(self, callbacks: Sequence[Callback], ranks: Ranks) -> None:
        self.callbacks, self.ranks, self.context = callbacks, ranks, ExitStack()

    def on_train_begin(self, training: Training) -> None:
        """Tell the callbacks that training begins."""
        self.training = training
        self._share(lambda: self.context.enter_context(watching(self.callbacks, training)))

    def on_epoch_begin(self, epoch: int) -> None:
        """Call the callbacks."""
        self._share(lambda: [callback.on_epoch_begin(epoch) for callback in self.callbacks])

    def on_chunk_end(self, steps: int) -> None:
        """Call the callbacks."""
        self._share(lambda: [callback.on_chunk_end(steps) for callback in self.callbacks])

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Call the callbacks, once all ranks have the same weights."""
        check_weights(self.training, self.ranks)
        self._share(lambda: [callback.on_epoch_end(logs) for callback in self.callbacks], logs)

    def on_train_end(self) -> None:
        """Tell the callbacks that training has ended."""
        self._share(self.context.close)
        del self.training

    def _share(self, call: Callable[[], Any], logs: dict[str, Any] | None = None) -> None:
        training, before = self.training, self.training.value

        def find_changes() -> Changes:
            call()
            value = None if training.value is before else describe_value(training.value)
            return Changes(training.lr_scale, training.stopped, value, logs)

        changes: Changes | None = self.ranks.make_on_first(find_changes)
        if changes is None or self.ranks.leads:
            return
        training.lr_scale, training.stopped = changes.lr_scale, changes.stopped
        if changes.value is not None:
            training.value = take_over(changes.value, training.value)
        if logs is not None:
            logs.clear()
            logs.update(changes.logs or {})


def describe_start(start: Moment) -> Moment:
    """Describe how the training of rank 0's network begins, or resumes, in NumPy arrays. Synchronizes."""
    value = describe_value(start.value)._replace(history=start.value.history)
    return start._replace(value=value, callbacks=())


def take_over_start(start: Moment, of_first: Moment, present: Value) -> Moment:
    """Move rank 0's start to where the network of a rank computes; rank 0 knows what its callbacks remember."""
    value = take_over(start.value, present)._replace(history=start.value.history)
    return start._replace(value=value, callbacks=of_first.callbacks)


def describe_value(value: Value) -> Value:
    """Describe the value of rank 0's network for others, who have its model; history and notes stay there.

    They may hold anything, as may the model: functions that cannot be sent.
    """
    return copy_to_host(value)._replace(model=None, history=History(), notes={})  # type: ignore[arg-type]


def take_over(value: Value, present: Value) -> Value:
    """Move rank 0's value to where the network of another rank computes, whose history and notes it gets."""
    return copy_to_device(
        value._replace(model=present.model, history=present.history, notes=present.notes), present.place
    )


def check_weights(training: Training, ranks: Ranks) -> None:
    """Raise an error on all ranks if they have different weights. Synchronizes."""
    digests = ranks.make_on_all(partial(digest_weights, training.value))
    others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    with ranks.agreeing():
        if others:
            raise RuntimeError(
                f"after epoch {training.position.epoch - 1}, rank {others[0]} has other weights than rank 0: processes "
                "that share a training must have the same versions of the libraries, and CPUs of one kind"
            )


def digest_weights(value: Value) -> str:
    """Compute a digest of the weights and biases of a network. Synchronizes."""
    with value.scope():
        return digest_arrays(np.ascontiguousarray(value.backend.to_numpy(x)) for x in leaves(value.layers))
