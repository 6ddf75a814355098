"""What can watch a training, and steer it.

Callbacks are told when it begins, after every chunk of steps and every epoch, and when it ends. Each does one thing;
`training` calls them in order and knows none of them. What they can see and change is the `Training` that they get at
the beginning.
"""

import csv
import inspect
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpnet.errors import between, choices, count, in_range, need_folder, yes_or_no

if TYPE_CHECKING:
    from xpnet.network import Network


@dataclass(slots=True)
class Training:
    """A call to `train`, as callbacks see it; the last three are theirs to change or to read as it goes on."""

    net: "Network"
    epochs: int
    steps: int | None  # minibatches an epoch, if that is known
    names: tuple[str, ...]  # of what the logs of an epoch will hold, when the turn comes to the callback that looks
    lr_scale: float = 1.0  # multiplies the schedule
    stopped: bool = False  # True ends training after this epoch
    completed: bool = False  # whether it came to its end: no exception, no Ctrl-C


class Callback:
    """Base class; override what you need."""

    adds: tuple[str, ...] = ()  # names that it adds to the logs of an epoch

    def __repr__(self) -> str:
        """Class and settings."""
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def on_train_begin(self, training: Training) -> None:
        """Before anything has changed; an exception here leaves the network as it was."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, counted from 1."""

    def on_chunk_end(self, steps: int) -> None:
        """After `steps` more minibatches."""

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """After an epoch; `logs` holds what is known of it, and may be added to."""

    def on_train_end(self) -> None:
        """At the end, whichever way it came."""


class History:
    """What each epoch was like.

    ``history["cost"]`` is a list with an entry an epoch; ``history.rows`` a list of dicts. Every epoch has ``epoch``,
    ``cost`` (the mean over its examples, each seen before the update of its own minibatch), ``lr`` (of its last step),
    ``seconds`` and ``examples_per_second``; with validation data ``validation_cost``; with test data ``test_correct``,
    ``test_size`` and ``test_accuracy``, or ``test_cost`` for a regression; and metrics by their names, as in
    ``validation_accuracy`` and ``training_accuracy``.

    Examples
    --------
    >>> history = History([{"epoch": 1, "cost": 0.5}])
    >>> history["cost"]
    [0.5]
    >>> history.to_dict()
    {'epoch': [1], 'cost': [0.5]}
    """

    def __init__(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        """Count the epochs."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __getitem__(self, name: str | int | slice) -> Any:
        """Look up one quantity over the epochs by its name, or one epoch's row by its place."""
        if not isinstance(name, str):
            return self.rows[name]
        names = self.to_dict()
        if name not in names and self.rows:
            raise KeyError(f"{name!r} is not in this history; it has {choices(names)}")
        return names.get(name, [])

    def __repr__(self) -> str:
        if not self.rows:
            return "History(0 epochs)"
        return f"History({len(self)} epochs, cost {self.rows[0]['cost']:.6g} -> {self.rows[-1]['cost']:.6g})"

    def to_dict(self) -> dict[str, list[Any]]:
        """Every quantity over the epochs; None where an epoch has it not."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    def to_pandas(self) -> Any:
        """Make a pandas DataFrame with a row an epoch (``pip install pandas``)."""
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(f"to_pandas needs pandas ({error}); install it with: pip install pandas") from error
        return pd.DataFrame(self.rows)


class Evaluate(Callback):
    """Add to each epoch's logs what a function finds.

    Parameters
    ----------
    adds
        The names of what it finds.
    score
        A function without arguments that gives a dict of them.
    """

    def __init__(self, adds: Sequence[str], score: Callable[[], dict[str, Any]]) -> None:
        self.adds, self.score = tuple(adds), score

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Look."""
        logs.update(self.score())


class Progress(Callback):
    """A bar over minibatches on standard error; where something is evaluated, a line an epoch on standard output."""

    def on_train_begin(self, training: Training) -> None:
        """Show the bar."""
        from tqdm.auto import tqdm

        self.training = training
        total = training.steps and training.steps * training.epochs
        self.bar = tqdm(total=total, unit="batch", leave=False, dynamic_ncols=True)

    def on_epoch_begin(self, epoch: int) -> None:
        """Name the epoch."""
        self.bar.set_description(f"Epoch {epoch}/{self.training.epochs}")

    def on_chunk_end(self, steps: int) -> None:
        """Move the bar."""
        self.bar.update(steps)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the line of the epoch."""
        self.bar.set_postfix(cost=f"{logs['cost']:.4g}", refresh=False)
        said = []
        if "test_correct" in logs:
            said.append(
                f"Nr of correctly classified samples: {logs['test_correct']}/{logs['test_size']}\t "
                f"accuracy: {logs['test_accuracy']:.5f}"
            )
        elif "test_cost" in logs:
            said.append(f"cost on the test data: {logs['test_cost']:.6g}")
        watched = [name for name in logs if name.startswith(("validation_", "training_"))]
        said += [f"{name.replace('_', ' ')}: {logs[name]:.6g}" for name in watched]
        if said:
            self.bar.write(f"Epoch: {logs['epoch']} / {self.training.epochs},\t " + "\t ".join(said), file=sys.stdout)
            sys.stdout.flush()

    def on_train_end(self) -> None:
        """Take the bar away."""
        self.bar.close()
        del self.bar, self.training


class Monitor(Callback):
    """Base class of what watches one quantity of the logs become better.

    Parameters
    ----------
    monitor
        Its name in the logs, such as "validation_cost", "validation_accuracy" or "cost".
    mode
        "min" if smaller is better, "max" if larger is; None tells it from the name.
    min_delta
        How much better it must become to count.

    Raises
    ------
    ValueError
        If an argument is wrong; and at the beginning of a training that does not compute the quantity.
    """

    def __init__(self, monitor: str = "validation_cost", mode: str | None = None, min_delta: float = 0.0) -> None:
        if not isinstance(monitor, str):
            raise ValueError(f"monitor={monitor!r} must be a name of the logs, such as 'validation_cost'")
        if mode is None:
            small, large = ("cost", "error"), ("accuracy", "r2", "correct")
            mode = (
                "min" if monitor.endswith(small) else "max" if monitor.endswith(large) or "_top_" in monitor else None
            )
            if mode is None:
                raise ValueError(
                    f"monitor={monitor!r} does not tell whether smaller or larger is better; give mode='min' or 'max'"
                )
        if mode not in ("min", "max"):
            raise ValueError(f"mode={mode!r} is unknown; choose from 'min', 'max'")
        in_range("min_delta", min_delta, 0, math.inf, "0 counts every improvement")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta

    def on_train_begin(self, training: Training) -> None:
        """Begin anew."""
        if self.monitor not in training.names:
            raise ValueError(
                f"{type(self).__name__} watches monitor={self.monitor!r}, which this training does not compute; it "
                f"computes {choices(training.names)}; give validation_data or validation_split, and metrics=, and put "
                "a callback that adds it before this one"
            )
        self.training = training
        self.best: float | None = None

    def on_train_end(self) -> None:
        """Let go of the network: a callback is copied and pickled without it."""
        vars(self).pop("training", None)

    def improves(self, logs: dict[str, Any]) -> bool:
        """Whether the quantity is better than ever before; NaN never is."""
        if self.monitor not in logs:
            raise ValueError(f"monitor={self.monitor!r} is named in `adds` of a callback that has not added it")
        value = logs[self.monitor]
        gain = math.inf if self.best is None else (self.best - value if self.mode == "min" else value - self.best)
        if math.isnan(value) or not gain > self.min_delta:
            return False
        self.best = value
        return True


class EarlyStopping(Monitor):
    """Stop when a quantity has not become better for some epochs (the book, chapter 3, "early stopping").

    Parameters
    ----------
    patience
        For how many epochs to wait, at least 1.
    monitor, mode, min_delta
        What to watch; see `Monitor`.
    restore_best
        Whether the network then gets the weights (and the optimizer its state) of the best epoch, also when training
        comes to its end without being stopped.

    Attributes
    ----------
    best_epoch : int
        The epoch whose value was the best, from 1.
    stopped_epoch : int or None
        The epoch after which it stopped.

    Examples
    --------
    >>> from xpnet import Network
    >>> x, y = [[0.0], [1.0], [2.0]], [[0.0], [1.0], [2.0]]
    >>> net = Network([1, 1], task="regression", seed=0)
    >>> stop = EarlyStopping(patience=2, min_delta=0.01)
    >>> history = net.train((x, y), epochs=50, lr=0.2, validation_data=(x, y), callbacks=[stop], progress=False)
    >>> len(history) == stop.stopped_epoch == stop.best_epoch + 2
    True
    """

    def __init__(
        self,
        patience: int = 5,
        *,
        monitor: str = "validation_cost",
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = count("patience", patience, 1)
        self.restore_best = yes_or_no("restore_best", restore_best)

    def on_train_begin(self, training: Training) -> None:
        """Begin anew."""
        super().on_train_begin(training)
        self.best_epoch, self.stopped_epoch, self._state = 0, None, None

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Keep the best state, or stop."""
        if self.improves(logs):
            self.best_epoch = logs["epoch"]
            self._state = self.training.net.state  # training never writes into a state that the network has had
        elif logs["epoch"] - self.best_epoch >= self.patience:
            self.stopped_epoch, self.training.stopped = logs["epoch"], True

    def on_train_end(self) -> None:
        """Give the best state back."""
        if self.restore_best and self.training.completed and self._state is not None:
            self.training.net.state = self._state
        self._state = None
        super().on_train_end()


class ReduceLROnPlateau(Monitor):
    """Lower the learning rate when a quantity has not become better for some epochs.

    Parameters
    ----------
    factor
        What the rate is multiplied by, in (0, 1).
    patience
        For how many epochs to wait, at least 1.
    monitor, mode, min_delta
        What to watch; see `Monitor`.
    least
        The schedule is never multiplied by less than this.

    Examples
    --------
    >>> ReduceLROnPlateau(factor=0.5, patience=3).factor
    0.5
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 5,
        *,
        monitor: str = "validation_cost",
        mode: str | None = None,
        min_delta: float = 0.0,
        least: float = 1e-6,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        between("factor", factor, 0, 1, "0.1 is usual")
        in_range("least", least, 0, 1, "it is a part of the schedule's rate")
        self.factor, self.patience, self.least = factor, count("patience", patience, 1), least

    def on_train_begin(self, training: Training) -> None:
        """Begin anew."""
        super().on_train_begin(training)
        self._since = 0

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Count, or lower the rate."""
        self._since = 0 if self.improves(logs) else self._since + 1
        if self._since >= self.patience:
            self.training.lr_scale = max(self.least, self.training.lr_scale * self.factor)
            self._since = 0


class ModelCheckpoint(Monitor):
    """Save the network as it becomes better, or every so many epochs.

    What is best counts anew in each call to `train`: a second call with the same path may replace a better network.

    Parameters
    ----------
    path
        The file. What stands in braces is taken from the epoch's logs, as in ``"net-{epoch:03d}.safetensors"``.
    every
        Save after every so many epochs, whatever they bring. Unless given, save after each epoch that is the best so
        far.
    monitor, mode, min_delta
        What "best" means, "validation_cost" unless given; see `Monitor`.

    Examples
    --------
    >>> ModelCheckpoint("best.safetensors", monitor="validation_accuracy").mode
    'max'
    >>> ModelCheckpoint("epoch-{epoch}.safetensors", every=10).every
    10
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int | None = None,
        monitor: str | None = None,
        mode: str | None = None,
        min_delta: float = 0.0,
    ) -> None:
        self.path = os.fspath(path)
        self.every = None if every is None else count("every", every, 1)
        if every is not None and (monitor, mode, min_delta) != (None, None, 0.0):
            raise ValueError(
                f"every={every!r} contradicts monitor, mode and min_delta, which say what is best; give one"
            )
        super().__init__("validation_cost" if monitor is None else monitor, mode, min_delta)

    def on_train_begin(self, training: Training) -> None:
        """Begin anew."""
        counts = ("epoch", "correct", "size")  # whole numbers
        try:
            path = self.path.format(**{name: 1 if name.endswith(counts) else 0.5 for name in training.names})
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"path={self.path!r} cannot be filled in ({type(error).__name__}: {error}); in braces it may name "
                f"{choices(training.names)}; other braces are written twice"
            ) from error
        need_folder(path)
        self.training = training
        if self.every is None:
            super().on_train_begin(training)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Save, if it is time."""
        due = self.improves(logs) if self.every is None else logs["epoch"] % self.every == 0
        if due:
            self.training.net.save(self.path.format(**logs))


class CSVLog(Callback):
    """Write a row an epoch to a CSV file, with a header; an existing file is replaced.

    Parameters
    ----------
    path
        The file.

    Examples
    --------
    >>> CSVLog("log.csv").path
    'log.csv'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def on_train_begin(self, training: Training) -> None:
        """Look for the folder; the file is replaced when there is something to write."""
        need_folder(self.path)
        self._names: list[str] = []

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the row."""
        first = not self._names
        self._names = self._names or list(logs)
        with open(self.path, "w" if first else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._names, extrasaction="ignore")
            if first:
                writer.writeheader()
            writer.writerow(logs)


class TensorBoard(Callback):
    """Write every number of the logs for TensorBoard, by TensorBoard's own writer (``pip install tensorboard``).

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

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_train_begin(self, training: Training) -> None:
        """Open the writer."""
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise ImportError(
                f'TensorBoard needs tensorboard ({error}); install it with: pip install "xpnet[tensorboard]"'
            ) from error
        self._writer = Writer(self.folder)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the numbers."""
        for name, value in logs.items():
            if name != "epoch":
                self._writer.add_scalar(name, float(value), logs["epoch"])
        self._writer.flush()

    def on_train_end(self) -> None:
        """Close the writer."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
