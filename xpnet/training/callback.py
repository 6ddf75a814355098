"""The interface of callbacks: objects that observe and control a training.

Callbacks are called when a training begins, after every chunk of steps and every epoch, and when it ends. Each does one
thing; the training loop calls them in order and does not depend on any of them. All that they can see and change is the
`Training` that they receive in `on_train_begin`: they change no network, but may give its training another value.
"""

import inspect
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from xpnet._checks import in_range, warn
from xpnet._identity import is_ours
from xpnet.inference.metrics import METRICS
from xpnet.value import History, Moment, Value

__all__ = [
    "EVALUATED",
    "LOGS",
    "Callback",
    "Quantity",
    "Trainee",
    "Training",
    "Watcher",
    "decisive_arguments",
    "warn_of_write",
    "watching",
]


class Trainee(Protocol):
    """A network to train, as training sees it: what it is before the training, and how it was made."""

    @property
    def value(self) -> Value:
        """All that changes in it."""
        ...

    @property
    def has_given_seed(self) -> bool:
        """Whether the user has chosen its seed."""
        ...

    def receive(self, value: Value) -> None:
        """Take over a value that its training has reached."""
        ...


class Quantity(NamedTuple):
    """How to read a number in the logs of an epoch: which direction is better, and whether it is a whole number."""

    better: str | None = None  # "min" if smaller is better, "max" if larger is
    whole: bool = False  # whether it is a whole number


PATHS = ("path", "folder")  # arguments that say where callbacks write
LOGS = {
    "epoch": Quantity(whole=True),
    "cost": Quantity("min"),
    "lr": Quantity(),
    "seconds": Quantity(),
    "examples_per_second": Quantity(),
}
# Quantities that evaluation adds, by the names that it gives them; other callbacks may add them too
EVALUATED = {
    f"{data}_{name}": quantity
    for data in ("training", "validation", "test")
    for name, quantity in {
        "cost": Quantity("min"),
        "size": Quantity(whole=True),
        **{name: Quantity(metric.better, metric.whole) for name, metric in METRICS.items()},
    }.items()
}


@dataclass(slots=True)
class Training:
    """The training of one network, as callbacks see it.

    They may assign `value`, `lr_scale` and `stopped` at any time. Training goes on from an assigned value with the
    optimizer, history and notes that it had. The network gets it after the callbacks.
    """

    net: Any  # the network, to read; a value that a callback assigns is not in it yet
    accept: Callable[[Any, Value], Value]  # checks a value that is to replace another one
    position: Moment  # how far it has come; not at the beginning if a training is resumed
    epochs: int
    steps: int | None  # minibatches per epoch, if that is known
    quantities: dict[str, Quantity]  # of the logs of an epoch; grows as the callbacks that add to them begin
    completed: bool = False  # whether the epochs of this network ran to their end

    @property
    def value(self) -> Value:
        """All that changes in the network; assign an earlier one, or that of a changed copy, to go on from it."""
        return self.position.value

    @value.setter
    def value(self, value: Value) -> None:
        self.move(value=self.accept(value, self.value))

    @property
    def lr_scale(self) -> float:
        """The number that multiplies the schedule."""
        return self.position.lr_scale

    @lr_scale.setter
    def lr_scale(self, lr_scale: float) -> None:
        remedy = "it multiplies the schedule, and 1 leaves it as it is"
        self.move(lr_scale=in_range("lr_scale", lr_scale, 0, math.inf, remedy))

    @property
    def stopped(self) -> bool:
        """Whether training ends after this epoch."""
        return self.position.stopped

    @stopped.setter
    def stopped(self, stopped: bool) -> None:
        self.move(stopped=stopped)

    @property
    def error(self) -> str:
        """The message of the error if the training has diverged, else an empty text."""
        return self.position.error

    @property
    def history(self) -> History:
        """The quantities of the epochs so far."""
        return self.value.history

    def move(self, **changes: Any) -> None:
        """Replace parts of the moment, unchecked."""
        self.position = self.position._replace(**changes)


class Callback:
    """Base class of callbacks; override the methods that you need."""

    adds: Sequence[str] = ()  # the names of the quantities that it adds to the logs of an epoch
    quantities: Mapping[str, Quantity] = MappingProxyType({})  # how to read them, if it is known
    rate_rule: str = ""  # by which it changes the learning rate, as the provenance of a network is to tell
    changes_rate: bool = False  # whether it assigns `lr_scale`, which an optimizer without a learning rate refuses
    writes_files: bool = False  # whether copies of it would all write to the same place

    def __repr__(self) -> str:
        """Show the class and its settings."""
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def on_train_begin(self, training: Training) -> None:
        """Called before anything has changed; an exception here leaves the network as it was."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Called before an epoch, counted from 1."""

    def on_chunk_end(self, steps: int) -> None:
        """Called after `steps` more minibatches."""

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Called after an epoch; `logs` holds its quantities, and callbacks may add to it."""

    def on_train_end(self) -> None:
        """Called at the end, however training ended."""

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` needs to resume a training: plain values, as in JSON, and states of the network."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned; called after `on_train_begin` if a training is resumed."""


class Watcher(Callback):
    """A callback that looks at its training; copies and pickles of it, once that has ended, do not contain it."""

    def on_train_begin(self, training: Training) -> None:
        """Remember the training."""
        self.training = training

    def on_train_end(self) -> None:
        """Drop the reference to it."""
        vars(self).pop("training", None)


def decisive_arguments(callback: Callback) -> dict[str, Any]:
    """Return the arguments of a callback that influence training, so no paths.

    For a user's own class, they are those of the class of xpnet that it derives from; `Callback` itself has none.

    Examples
    --------
    >>> from xpnet import ReduceLROnPlateau
    >>> decisive_arguments(ReduceLROnPlateau(0.5, monitor="cost"))
    {'factor': 0.5, 'patience': 5, 'monitor': 'cost', 'mode': None, 'min_delta': 0.0, 'least': 1e-06}
    """
    kind = next(kind for kind in type(callback).__mro__ if is_ours(kind))
    values = {name: getattr(callback, name, None) for name in inspect.signature(kind).parameters if name not in PATHS}
    return {name: value for name, value in values.items() if value is None or isinstance(value, (int, float, str))}


@contextmanager
def watching(callbacks: Sequence[Callback], training: Training) -> Generator["deque[Callback]", None, None]:
    """Tell callbacks that training begins, and, when the context ends, that it has ended, even if another one raises.

    If one of them raises at the beginning, those before it are told that training has ended.

    Yields
    ------
    deque of Callback
        Those that have not been told yet that training has ended. Who tells one takes it out before.
    """
    begun: deque[Callback] = deque()
    try:
        for callback in callbacks:
            callback.on_train_begin(training)
            begun.append(callback)
            quantities = LOGS | EVALUATED | dict(callback.quantities)
            training.quantities |= {name: quantities.get(name, Quantity()) for name in callback.adds}
        yield begun
    finally:
        with ExitStack() as endings:
            for callback in reversed(begun):  # the first one is told first
                endings.callback(callback.on_train_end)


def warn_of_write(
    problem: str, error: OSError | MemoryError, outcome: str = "training continues and will try again"
) -> None:
    """Warn that a file could not be written: a full disk or too little memory must not end a training."""
    warn(f"{problem} ({str(error) or 'too little memory'}); {outcome}")
