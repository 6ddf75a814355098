"""Progress: a bar over the minibatches of a training, and a line per epoch."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from xpnet.data.source import make_bar
from xpnet.training.callback import Callback, Training

EVALUATIONS = ("test_", "validation_", "training_")  # how the names of evaluated quantities begin
NAMES_OF_BOOK = {"test_correct", "test_size", "test_accuracy", "test_cost"}  # written as the book's program does


class Progress(Callback):
    """A bar over minibatches on standard error, and a line per epoch on standard output if anything is evaluated.

    The bar is shown in terminals and notebooks, and not in files and pipes. Networks that are trained together share
    one object. Its bar then shows the network that is furthest ahead, and its lines have the mean of each quantity over
    the networks.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.trainings: list[Training] = []
        self.bar: Any = None
        self.lines = self.steps = self.epoch = 0  # epochs with a line; minibatches and epoch that the bar shows
        # To look at all networks once a round, and not once for each of them
        self.chunks_to_come = self.epochs_to_come = 0  # of networks, before the bar moves, and before a line can be due

    def on_train_begin(self, training: Training) -> None:
        """Add a network."""
        self.trainings.append(training)
        self.lines = max(self.lines, len(training.history))
        self.steps = max(self.steps, training.position.total_steps)

    def on_epoch_begin(self, epoch: int) -> None:
        """Name the epoch."""
        if self.bar is None:
            total = max(training.epochs * (training.steps or 0) for training in self.trainings) or None
            self.bar = make_bar(total=total, initial=self.steps, unit="batch", leave=False, dynamic_ncols=True)
        if epoch > self.epoch:
            self.epoch = epoch
            networks = f", {len(self._find_active())} networks" if len(self.trainings) > 1 else ""
            self.bar.set_description(f"Epoch {epoch}/{self.trainings[0].epochs}{networks}")

    def on_chunk_end(self, steps: int) -> None:
        """Move the bar."""
        self.chunks_to_come -= 1
        if self.chunks_to_come > 0:
            return
        self.chunks_to_come = len(self._find_active())
        furthest = max(training.position.total_steps for training in self.trainings)
        self.bar.update(furthest - self.steps)
        self.steps = furthest

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write a line for the epoch, if all networks have ended it."""
        self.epochs_to_come -= 1
        if self.epochs_to_come > 0:
            return
        self._write_lines()
        self.epochs_to_come = sum(len(training.history) <= self.lines for training in self._find_active())

    def on_train_end(self) -> None:
        """Write the lines of the last epochs, and remove the bar."""
        if self.bar is not None:
            self._write_lines()
            self.bar.close()
        self._reset()

    def _find_active(self) -> list[Training]:
        return [training for training in self.trainings if not (training.stopped or training.completed)]

    def _write_lines(self) -> None:
        """Write a line for each epoch that all networks in training have ended."""
        lengths = [len(training.history) for training in self.trainings]
        ended = min((len(training.history) for training in self._find_active()), default=max(lengths))
        while self.lines < ended:
            rows = [part.history.rows[self.lines] for part in self.trainings if len(part.history) > self.lines]
            self.lines += 1
            mean = sum(row["cost"] for row in rows) / len(rows)
            self.bar.set_postfix(cost=f"{mean:.4g}", refresh=False)
            networks = len(self.trainings)
            line = describe_epoch(rows[0]) if networks == 1 else describe_epochs(rows, networks)
            if line and sys.stdout is not None:  # which may be closed
                self.bar.write(f"Epoch: {self.lines} / {self.trainings[0].epochs},\t {line}", file=sys.stdout)
                sys.stdout.flush()


def describe_epoch(row: Mapping[str, Any]) -> str:
    r"""Describe an epoch of one network by what was evaluated, as the book's program does.

    Examples
    --------
    >>> describe_epoch({"cost": 0.3, "test_cost": 0.25, "test_r2": 0.75, "validation_r2": 0.5})
    'cost on the test data: 0.25\t test r2: 0.75\t validation r2: 0.5'
    """
    parts: list[str] = []
    if "test_correct" in row:
        parts.append(
            f"Nr of correctly classified samples: {row['test_correct']}/{row['test_size']}\t "
            f"accuracy: {row['test_accuracy']:.5f}"
        )
    if "test_cost" in row:
        parts.append(f"cost on the test data: {row['test_cost']:.6g}")
    others = [name for name in row if name.startswith(EVALUATIONS) and name not in NAMES_OF_BOOK]
    parts += [f"{name.replace('_', ' ')}: {row[name]:.6g}" for name in others]
    return "\t ".join(parts)


def describe_epochs(rows: Sequence[Mapping[str, Any]], networks: int) -> str:
    """Describe an epoch of several networks by the means of what was evaluated, in a line that is not too wide.

    Costs are left out where metrics say more. If networks have stopped before, the line counts the others.

    Examples
    --------
    >>> describe_epochs([{"cost": 0.3, "test_cost": 0.25}, {"cost": 0.4, "test_cost": 0.75}], 2)
    'test: cost 0.5'
    >>> describe_epochs([{"cost": 0.3, "test_cost": 0.25, "test_r2": 0.75}], 2)
    'test: r2 0.75 (1 of 2)'
    """
    parts: list[str] = []
    for kind in EVALUATIONS:
        names = [name for name in rows[0] if name.startswith(kind) and all(name in row for row in rows)]
        metrics = [name for name in names if name.removeprefix(kind) not in ("cost", "size", "correct")]
        means = {name: sum(row[name] for row in rows) / len(rows) for name in metrics or names}
        if means:
            texts = (f"{name.removeprefix(kind).replace('_', ' ')} {mean:.4g}" for name, mean in means.items())
            parts.append(f"{kind[:-1]}: {', '.join(texts)}")
    some = f" ({len(rows)} of {networks})" if len(rows) < networks else ""
    return f"{'; '.join(parts)}{some}" if parts else ""
