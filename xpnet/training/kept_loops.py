"""The backend's loops, kept from one training of the same networks to the next: what was recorded once serves again."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from xpnet.backends.base import Loop


class Loops:
    """Loops of the last training and of this one.

    Examples
    --------
    >>> loops = Loops()
    >>> first, second = (loops.find("a", lambda: object()) for _ in range(2))
    >>> first is second
    True
    """

    def __init__(self) -> None:
        self._kept: dict[Any, Loop] = {}  # from the last training
        self._used: dict[Any, Loop] = {}  # in this one

    def find(self, key: Hashable, make: Callable[[], Loop]) -> Loop:
        """Find the loop with a key, or make one. Equal keys must mean equal steps."""
        if key not in self._used:
            self._used[key] = self._kept.get(key) or make()
        return self._used[key]

    def end_training(self) -> None:
        """Keep the loops of this training for the next one."""
        self._kept, self._used = self._used, {}
        for loop in self._kept.values():
            loop.end_training()


@contextmanager
def keep_loops(attributes: dict[str, Any]) -> Iterator[Loops]:
    """Take the loops of the last training out of an object's attributes, and put those of this training there.

    Two trainings of the same networks at once, in two threads, share none.
    """
    loops = attributes.pop("_loops", None) or Loops()
    try:
        yield loops
    finally:
        loops.end_training()
        attributes["_loops"] = loops
