"""Callbacks: early stopping, learning rates, files and logs."""

# pyright: reportMissingTypeStubs=false

import csv
import math
import os
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any

import numpy as np

from xpnet._checks import (
    Count,
    Real,
    check_fields,
    check_folder,
    check_number,
    choices,
    count,
    decode_path,
    install_command,
    is_text,
    yes_or_no,
)
from xpnet._names import explain_arguments, find_nearest
from xpnet.errors import ArgumentError
from xpnet.files import encode_network, write_file
from xpnet.training.callback import EVALUATED, Callback, Training, Watcher, warn_of_write
from xpnet.value import FITTED_TO_WEIGHTS

__all__ = [
    "CSVLog",
    "EarlyStopping",
    "ModelCheckpoint",
    "Monitor",
    "ReduceLROnPlateau",
    "TensorBoard",
]


@dataclass(eq=False, repr=False, kw_only=True)
class Monitor(Watcher):
    """Base class of callbacks that watch whether one quantity of the logs improves.

    Parameters
    ----------
    monitor
        Its name in the logs, such as "validation_cost", "validation_accuracy" or "cost".
    mode
        "min" if smaller is better, "max" if larger is. Costs and the metrics of xpnet know which; for others it must be
        given.
    min_delta
        The least change that counts as an improvement.

    Raises
    ------
    ArgumentError
        If an argument is wrong; or at the beginning of training, if the quantity is not computed, or if it is not known
        whether smaller or larger is better.
    """

    monitor: str = "validation_cost"
    mode: str | None = None
    min_delta: Annotated[float, Real(0, math.inf, "0 counts every improvement")] = 0.0

    def __post_init__(self) -> None:
        """Check the settings."""
        if not is_text(self.monitor):
            raise ArgumentError(f"monitor={self.monitor!r} must be a name of the logs, such as 'validation_cost'")
        if self.mode is not None and not (is_text(self.mode) and self.mode in ("min", "max")):
            raise ArgumentError(f"mode={self.mode!r} is unknown; choose from 'min', 'max'")
        check_fields(self)

    def on_train_begin(self, training: Training) -> None:
        """Reset the best value."""
        if self.monitor not in training.quantities:
            near = find_nearest(self.monitor, [*training.quantities, *EVALUATED])
            hint = f" (did you mean {near!r}?)" if near not in (None, self.monitor) else ""
            raise ArgumentError(
                f"{type(self).__name__} watches monitor={self.monitor!r}, which this training does not compute; it "
                f"computes {choices(training.quantities)}{hint}; give validation_data or validation_split, and "
                "metrics=, and put a callback that adds it before this one"
            )
        better = self.mode or training.quantities[self.monitor].better
        if better is None:
            raise ArgumentError(
                f"monitor={self.monitor!r} does not tell whether smaller or larger is better; give mode='min' or 'max'"
            )
        self.training, self.best = training, None
        self._sign = -1.0 if better == "min" else 1.0

    def get_state(self) -> dict[str, Any]:
        """Return the best value."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the best value."""
        self.best = None if state["best"] is None else check_number("best", state["best"])

    def improves(self, logs: dict[str, Any]) -> bool:
        """Tell whether the quantity is better than ever before, and if so, remember it; NaN is never better."""
        value = logs[self.monitor]
        gain = math.inf if self.best is None else self._sign * (value - self.best)
        if math.isnan(value) or not gain > self.min_delta:
            return False
        self.best = value
        return True


def _has_cost(logs: dict[str, Any]) -> bool:
    """Tell whether an epoch had examples with weight: without, there was nothing that could have improved.

    Examples
    --------
    >>> _has_cost({"epoch": 3, "cost": math.nan})
    False
    """
    return not math.isnan(logs["cost"])


@explain_arguments
@dataclass(eq=False, repr=False)
class EarlyStopping(Monitor):
    """Stop when a quantity has not improved for some epochs (the book, chapter 3, "early stopping").

    Parameters
    ----------
    patience
        Number of epochs without improvement to wait for, at least 1.
    monitor, mode, min_delta
        The quantity to watch; see `Monitor`.
    restore_best
        Whether the network then gets the weights and the optimizer state of the best epoch, even if training was
        not stopped early.

    Attributes
    ----------
    best_epoch : int
        The epoch with the best value, counted from 1.
    stopped_epoch : int or None
        The epoch after which training was stopped.

    Examples
    --------
    >>> from xpnet import Network
    >>> x, y = [[0.0], [1.0], [2.0]], [[0.0], [1.0], [2.0]]
    >>> net = Network([1, 1], task="regression", seed=0)
    >>> stop = EarlyStopping(patience=2, min_delta=0.01)
    >>> history = net.train((x, y), epochs=50, lr=0.2, validation_data=(x, y), callbacks=[stop], progress=False)
    >>> stop.best_epoch, stop.stopped_epoch, len(history)
    (4, 6, 6)
    """

    patience: Annotated[int, Count(1)] = 5
    _: KW_ONLY
    restore_best: Annotated[bool, yes_or_no] = True

    def on_train_begin(self, training: Training) -> None:
        """Reset."""
        super().on_train_begin(training)
        self.best_epoch, self.stopped_epoch, self._best = 0, None, None

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Remember the best state, or stop."""
        if self.improves(logs):
            self.best_epoch = logs["epoch"]
            self._best = self.training.value.detached()
        elif sum(map(_has_cost, self.training.history.rows[self.best_epoch :])) >= self.patience:
            self.stopped_epoch, self.training.stopped = logs["epoch"], True

    def get_state(self) -> dict[str, Any]:
        """Return the best value, its epoch, and the best state."""
        state = {**super().get_state(), "best_epoch": self.best_epoch, "stopped_epoch": self.stopped_epoch}
        return state if self._best is None else {**state, "best_state": self._best.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the best value, its epoch, and the best state."""
        super().set_state(state)
        self.best_epoch, stopped = count("best_epoch", state["best_epoch"], 0), state["stopped_epoch"]
        self.stopped_epoch = None if stopped is None else count("stopped_epoch", stopped, 1)
        best = state.get("best_state")
        self._best = None if best is None else self.training.value._replace(stored=best)

    def on_train_end(self) -> None:
        """Restore the best state."""
        if self.restore_best and self.training.completed and self._best is not None:
            self.training.value = self.training.value._replace(
                stored=self._best.stored, objective=self._best.objective, **FITTED_TO_WEIGHTS
            )
        self._best = None
        super().on_train_end()


@explain_arguments
@dataclass(eq=False, repr=False)
class ReduceLROnPlateau(Monitor):
    """Lower the learning rate when a quantity has not improved for some epochs.

    Parameters
    ----------
    factor
        Multiplies the rate, in (0, 1).
    patience
        Number of epochs without improvement to wait for, at least 1.
    monitor, mode, min_delta
        The quantity to watch; see `Monitor`.
    least
        Lower bound of the number that multiplies the schedule.

    Examples
    --------
    >>> ReduceLROnPlateau(factor=0.5, patience=3).factor
    0.5
    """

    factor: Annotated[float, Real(0, 1, "0.1 is usual", includes_low=False)] = 0.1
    patience: Annotated[int, Count(1)] = 5
    _: KW_ONLY
    least: Annotated[float, Real(0, 1, "it is a fraction of the schedule's rate")] = 1e-6

    changes_rate = True

    def on_train_begin(self, training: Training) -> None:
        """Reset."""
        super().on_train_begin(training)
        self._waited = 0

    def get_state(self) -> dict[str, Any]:
        """Return the best value, and the number of epochs since."""
        return {**super().get_state(), "waited": self._waited}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over the best value, and the number of epochs since."""
        super().set_state(state)
        self._waited = count("waited", state["waited"], 0)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Count the epochs without improvement, and lower the rate after enough of them."""
        if not _has_cost(logs):
            return
        self._waited = 0 if self.improves(logs) else self._waited + 1
        if self._waited >= self.patience:
            self.training.lr_scale = max(self.least, self.training.lr_scale * self.factor)
            self._waited = 0


@explain_arguments
class ModelCheckpoint(Monitor):
    """Save the network whenever it improves, or every few epochs.

    Each call to `train` starts afresh: a second call with the same path may replace a better network.

    Parameters
    ----------
    path
        The file. Names in braces are filled in from the epoch's logs, as in ``"net-{epoch:03d}.safetensors"``.
    every
        Save after every `every` epochs, improved or not. Unless given, save after each epoch that is the best so far.
    monitor, mode, min_delta
        The quantity that decides what is best, unless `every` is given; see `Monitor`.

    Examples
    --------
    >>> ModelCheckpoint("best.safetensors", monitor="validation_accuracy").monitor
    'validation_accuracy'
    >>> ModelCheckpoint("epoch-{epoch}.safetensors", every=10).every
    10
    """

    writes_files = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int | None = None,
        monitor: str = "validation_cost",
        mode: str | None = None,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor=monitor, mode=mode, min_delta=min_delta)
        self.path = decode_path("path", path)
        self.every = None if every is None else count("every", every, 1)

    def on_train_begin(self, training: Training) -> None:
        """Reset."""
        samples = {name: 1 if quantity.whole else 0.5 for name, quantity in training.quantities.items()}
        try:
            path = self.path.format(**samples)
        except (KeyError, IndexError, ValueError) as error:
            raise ArgumentError(
                f"path={self.path!r} cannot be filled in ({type(error).__name__}: {error}); in braces it may name "
                f"{choices(training.quantities)}; write other braces twice"
            ) from error
        check_folder(path)
        self.training, self.best = training, None
        if self.every is None:
            super().on_train_begin(training)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Save, if it is due; if that fails, warn, and save after the next epoch that beats the saved one."""
        best = self.best
        due = self.improves(logs) if self.every is None else logs["epoch"] % self.every == 0
        if due:
            path = self.path.format(**logs)
            try:
                write_file(path, encode_network(self.training.value))
            except (OSError, MemoryError) as error:
                self.best = best
                warn_of_write(f"ModelCheckpoint could not write {path!r}", error)


@explain_arguments
class CSVLog(Watcher):
    """Write one row per epoch to a CSV file with a header; an existing file is replaced.

    A column that begins in a later epoch is empty in the rows before.
    A resumed training continues after the last row of its checkpoint. If a row cannot be written, a warning says
    so, and it is written along with the next one.

    Parameters
    ----------
    path
        The file.

    Examples
    --------
    >>> CSVLog("log.csv").path
    'log.csv'
    """

    writes_files = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = decode_path("path", path)

    def on_train_begin(self, training: Training) -> None:
        """Check the folder; an existing file is replaced when the first row is written."""
        check_folder(self.path)
        self.training, self._names = training, dict[str, None]()

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the row; or all rows, if it has new columns, as the first one, or the last one could not be written."""
        rows, mode = [logs], "a"
        if not logs.keys() <= self._names.keys():
            rows, mode = self.training.history.rows, "w"
            self._names = dict.fromkeys(name for row in rows for name in row)
        try:
            with open(self.path, mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [*self._names])
                if mode == "w":
                    writer.writeheader()
                writer.writerows(rows)
        except (OSError, MemoryError) as error:
            self._names = {}
            warn_of_write(f"CSVLog could not write {self.path!r}", error)


@explain_arguments
class TensorBoard(Callback):
    """Write every number of the logs to event files, with TensorBoard's own writer (``pip install tensorboard``).

    Give each training its own folder. A resumed training writes the epochs after its checkpoint, once more if they were
    written before.

    Parameters
    ----------
    folder
        Where the event files go.

    Raises
    ------
    ImportError
        At the beginning of a training, if tensorboard is not installed.

    Examples
    --------
    >>> TensorBoard("runs/first").folder
    'runs/first'
    """

    writes_files = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = decode_path("folder", folder)
        self._writer: Any = None

    def on_train_begin(self, training: Training) -> None:
        """Open the writer."""
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise ImportError(
                f"TensorBoard needs tensorboard ({error}); install it with: {install_command('tensorboard')}"
            ) from error
        self._writer = Writer(self.folder)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the numbers."""
        for name, value in logs.items():
            if name != "epoch" and np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf":
                self._writer.add_scalar(name, float(value), logs["epoch"])
        self._writer.flush()

    def on_train_end(self) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
