"""Recorded and compiled loops, kept from one training to the next of the same networks."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from xpnet.backends.base import Backend, Loop


class Loops:
    """Loops of the last training and of this one.

    Copies and pickles are empty.

    Examples
    --------
    >>> loops = Loops()
    >>> first, second = (loops.find("a", lambda: object()) for _ in range(2))
    >>> first is second
    True
    """

    def __init__(self) -> None:
        self._before: dict[Any, Loop] = {}  # of the last training
        self._now: dict[Any, Loop] = {}

    def __reduce__(self) -> Any:
        """Copy and pickle nothing."""
        return Loops, ()

    def find(self, key: Hashable, make: Callable[[], Loop]) -> Loop:
        """Find the loop with a key, or make one. Equal keys must mean equal steps."""
        if key not in self._now:
            self._now[key] = self._before.get(key) or make()
        return self._now[key]

    def end_training(self, backend: Backend) -> None:
        """Keep the loops of this training for the next one, within the memory that the backend allows."""
        self._before, self._now = self._now, {}
        most = backend.kept_bytes
        for loop in reversed(self._before.values()):
            most -= loop.end_training(most)


@contextmanager
def keep_loops(attributes: dict[str, Any], backend: Backend) -> Iterator[Loops]:
    """Take the loops of the last training out of an object's attributes, and put those of this training there.

    Two trainings of the same networks at once, in two threads, share none. After an error or an interrupt, none are
    kept: another thread may still be running one.
    """
    loops = attributes.pop("_loops", None) or Loops()
    yield loops
    loops.end_training(backend)
    attributes["_loops"] = loops
