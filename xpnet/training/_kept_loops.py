"""Recorded and compiled loops, kept from one training to the next of the same networks."""

from collections import defaultdict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager, suppress
from typing import Any

from xpnet.backends.base import Backend, Loop


class Loops:
    """Loops of the last training and of this one, which are lent to one thread at a time.

    Examples
    --------
    >>> loops = Loops()
    >>> with loops.lend("a", object) as first, loops.lend("a", object) as second:
    ...     first is second
    False
    >>> with loops.lend("a", object) as again:
    ...     again is first
    True
    """

    def __init__(self) -> None:
        self._before: dict[Any, list[Loop]] = {}  # of the last training
        self._now: dict[Any, list[Loop]] = defaultdict(list)  # those that nobody has borrowed

    @contextmanager
    def lend(self, key: Hashable, make: Callable[[], Loop]) -> Generator[Loop, None, None]:
        """Lend a loop with a key, or a new one. Equal keys must mean equal steps."""
        for free in (self._now[key], self._before.get(key, [])):
            with suppress(IndexError):  # two threads may ask for the last one
                loop = free.pop()
                break
        else:
            loop = make()
        yield loop
        self._now[key].append(loop)

    def end_training(self, backend: Backend) -> None:
        """Keep the loops of this training for the next one, within the memory that the backend allows."""
        self.trim(backend)
        self._before, self._now = dict(self._now), defaultdict(list)

    def trim(self, backend: Backend) -> None:
        """Release memory of the loops of this training, but for what the backend allows. None may be borrowed."""
        most = backend.kept_bytes
        for loops in reversed(self._now.values()):
            for loop in reversed(loops):
                most -= loop.end_training(most)


class KeptLoops:
    """The loops of a network's last training, for its next one. Copies and pickles are empty."""

    def __init__(self) -> None:
        self._kept: list[Loops] = []  # at most one

    def __reduce__(self) -> Any:
        """Copy and pickle nothing."""
        return KeptLoops, ()

    @contextmanager
    def lend(self, backend: Backend) -> Generator[Loops, None, None]:
        """Lend the loops to a training, and keep those that it has then.

        Two trainings of the same networks at once, in two threads, share none. After an error or an interrupt, none are
        kept: another thread may still be running one.
        """
        loops = Loops()
        with suppress(IndexError):
            loops = self._kept.pop()
        yield loops
        loops.end_training(backend)
        self._kept = [loops]
