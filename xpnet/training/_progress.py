"""Progress: a bar over the minibatches of a training, and a line per epoch."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from xpnet.data.source import make_bar
from xpnet.training.callback import Training

EVALUATIONS = ("test_", "validation_", "training_")  # how the names of evaluated quantities begin
NAMES_OF_BOOK = {"test_correct", "test_size", "test_accuracy", "test_cost"}  # written as the book's program does


class Progress:
    """A bar over minibatches on standard error, and a line per epoch on standard output if anything is evaluated.

    The bar is shown in terminals and notebooks, and not in files and pipes. For networks that are trained together, it
    shows the one that is furthest ahead, and the lines have the mean of each quantity over the networks.

    Parameters
    ----------
    trainings
        The trainings of the networks, which go on.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        self.trainings, self.epochs = trainings, trainings[0].epochs
        self.lines = max(len(training.history) for training in trainings)  # epochs with a line
        self.steps = max(training.position.total_steps for training in trainings)  # that the bar shows
        total = max(self.epochs * (training.steps or 0) for training in trainings) or None
        self.bar = make_bar(total=total, initial=self.steps, unit="batch", leave=False, dynamic_ncols=True)
        self.name_epoch()

    def update(self) -> None:
        """Move the bar, and write a line for each epoch that all networks in training have ended."""
        furthest = max(training.position.total_steps for training in self.trainings)
        if furthest > self.steps:
            self.bar.update(furthest - self.steps)
            self.steps = furthest
        lengths = [len(training.history) for training in self.trainings]
        ended = min((len(training.history) for training in self._find_active()), default=max(lengths))
        if self.lines < ended < self.epochs:
            self.name_epoch()
        while self.lines < ended:
            rows = [part.history.rows[self.lines] for part in self.trainings if len(part.history) > self.lines]
            self.lines += 1
            mean = sum(row["cost"] for row in rows) / len(rows)
            self.bar.set_postfix(cost=f"{mean:.4g}", refresh=False)
            networks = len(self.trainings)
            line = describe_epoch(rows[0]) if networks == 1 else describe_epochs(rows, networks)
            if line and sys.stdout is not None:  # which may be closed
                self.bar.write(f"Epoch: {self.lines} / {self.epochs},\t {line}", file=sys.stdout)
                sys.stdout.flush()

    def close(self) -> None:
        """Write the lines of the last epochs, and remove the bar."""
        self.update()
        self.bar.close()

    def name_epoch(self) -> None:
        """Name the epoch, and count the networks that are still in training."""
        active = self._find_active()
        networks = f", {len(active)} networks" if len(self.trainings) > 1 else ""
        epoch = max((training.position.epoch for training in active), default=self.epochs)
        self.bar.set_description(f"Epoch {epoch}/{self.epochs}{networks}")

    def _find_active(self) -> list[Training]:
        return [
            training for training in self.trainings if not (training.stopped or training.completed or training.error)
        ]


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
