"""The phases of the work on a table, beside the epochs of its training: what is being done, if that may take long."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xpnet._checks import printable
from xpnet.data.source import make_bar
from xpnet.training.callback import Callback, Training

__all__ = ["LARGE", "MoveBar", "show_phase"]

LARGE = 200_000  # cells of a table, from which a phase may take several seconds


@contextmanager
def show_phase(name: str, is_shown: bool, is_long: bool) -> Iterator[Any]:
    """Name what is being done in the place of a training's bar, and give this bar.

    Where bars are not shown, as in files and pipes, standard output gets a line if it may take long.
    """
    bar = make_bar(desc=printable(name), bar_format="{desc}", leave=False, dynamic_ncols=True, disable=not is_shown)
    with bar:
        if is_shown and is_long and bar.disable:
            print(printable(name), flush=True)
        yield bar


class MoveBar(Callback):
    """Moves a bar with the steps of a training that writes no lines."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def on_train_begin(self, training: Training) -> None:
        """Count the steps."""
        self._bar.bar_format = None
        self._bar.reset(training.epochs * (training.steps or 0))

    def on_chunk_end(self, steps: int) -> None:
        """Move the bar."""
        self._bar.update(steps)
