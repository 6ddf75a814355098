"""What can watch a training: callbacks are told when it begins, after every chunk of steps and every epoch, and when
it ends. Each does one thing; `training` calls them in order and knows none of them.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any


class Callback:
    """Base class; override what you need."""

    def on_train_begin(self, plan: dict[str, Any]) -> None:
        """Before the first step; `plan` holds ``epochs`` and ``steps`` (minibatches an epoch, or None)."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch, counted from 1."""

    def on_chunk_end(self, steps: int) -> None:
        """After `steps` more minibatches."""

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """After an epoch; `logs` holds what is known of it, and may be added to."""

    def on_train_end(self) -> None:
        """At the end, whichever way it came."""


class History(Callback):
    """What each epoch was like.

    ``history["cost"]`` is a list with an entry an epoch; ``history.rows`` a list of dicts. Every epoch has ``epoch``,
    ``cost`` (the mean over its examples, each seen before the update of its own minibatch), ``lr`` (of its last step),
    ``seconds`` and ``examples_per_second``; with test data also ``test_correct``, ``test_size`` and ``test_accuracy``,
    or ``test_cost`` for a regression.

    Examples
    --------
    >>> history = History()
    >>> history.on_epoch_end({"epoch": 1, "cost": 0.5})
    >>> history["cost"]
    [0.5]
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def __len__(self) -> int:
        """Count the epochs."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __getitem__(self, name: str) -> list[Any]:
        """Look up one quantity over the epochs."""
        return [row[name] for row in self.rows]

    def __repr__(self) -> str:
        if not self.rows:
            return "History(0 epochs)"
        return f"History({len(self)} epochs, cost {self.rows[0]['cost']:.6g} -> {self.rows[-1]['cost']:.6g})"

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Keep the row."""
        self.rows.append(dict(logs))


class Test(Callback):
    """Add to each epoch's logs what a function finds on the test data."""

    __test__ = False  # not a test of pytest's

    def __init__(self, score: Callable[[], dict[str, Any]]) -> None:
        self.score = score

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Look at the test data."""
        logs.update(self.score())


class Progress(Callback):
    """A bar over minibatches on standard error; where there is test data, a line an epoch on standard output."""

    def on_train_begin(self, plan: dict[str, Any]) -> None:
        """Show the bar."""
        from tqdm.auto import tqdm

        self.epochs = plan["epochs"]
        total = plan["steps"] and plan["steps"] * plan["epochs"]
        self.bar = tqdm(total=total, unit="batch", leave=False, dynamic_ncols=True)

    def on_epoch_begin(self, epoch: int) -> None:
        """Name the epoch."""
        self.bar.set_description(f"Epoch {epoch}/{self.epochs}")

    def on_chunk_end(self, steps: int) -> None:
        """Move the bar."""
        self.bar.update(steps)

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Write the line of the epoch."""
        self.bar.set_postfix(cost=f"{logs['cost']:.4g}", refresh=False)
        head = f"Epoch: {logs['epoch']} / {self.epochs},\t "
        if "test_correct" in logs:
            line = f"Nr of correctly classified samples: {logs['test_correct']}/{logs['test_size']}\t "
            self._write(head + line + f"accuracy: {logs['test_accuracy']:.5f}")
        elif "test_cost" in logs:
            self._write(head + f"cost on the test data: {logs['test_cost']:.6g}")

    def on_train_end(self) -> None:
        """Take the bar away."""
        self.bar.close()

    def _write(self, line: str) -> None:
        self.bar.write(line, file=sys.stdout)  # clears the bar first
        sys.stdout.flush()
