"""Recorded and compiled loops, kept from one training to the next of the same networks."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
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


def is_fixed(step: Any) -> bool:
    """Tell whether all functions of a step are xpnet's, so that it always computes the same.

    A user's function may depend on a global variable, or on an attribute that changes.

    Examples
    --------
    >>> import math
    >>> from xpnet.core.activations import relu, sigmoid
    >>> is_fixed((sigmoid, relu)), is_fixed((sigmoid, math.tanh))
    (True, False)
    """
    if isinstance(step, partial):
        return is_fixed((step.func, step.args, tuple(step.keywords.values())))
    if isinstance(step, tuple):
        return all(is_fixed(part) for part in step) and (type(step) is tuple or _is_of_xpnet(type(step)))
    return step is None or isinstance(step, (int, float, str)) or _is_of_xpnet(step)


def _is_of_xpnet(x: Any) -> bool:
    return str(getattr(x, "__module__", None)).split(".")[0] == "xpnet"
