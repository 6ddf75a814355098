"""The exceptions that xpnet raises besides ValueError and TypeError, and those that it must not catch."""

import signal
import sys
import traceback
from collections.abc import Iterator
from functools import partial
from types import CodeType
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)


class BackendError(RuntimeError, ValueError):
    """A backend or device is not available; the message says why and what to do.

    It is a ValueError too, because the value of ``backend=`` or ``device=`` is wrong.
    """


class DivergenceError(ArithmeticError):
    """Training produced numbers that are not finite; the network is as it was before them."""


class CheckpointError(ValueError):
    """A file does not hold a network."""


def unless_stopped(*kinds: type[E]) -> tuple[type[E], ...]:
    """Return the errors that an `except` should catch: `kinds`, or none if a signal handler has stopped the program.

    A time limit, such as a `TimeoutError` that a handler of SIGALRM raises, can interrupt any line, also one that may
    raise the same kind of error itself: a `TimeoutError` is an `OSError`. It must surface, and not be taken for a file
    that cannot be written. Use this function in every ``except`` around something that takes time.

    Parameters
    ----------
    *kinds
        The exceptions that the operation itself can raise.

    Returns
    -------
    tuple
        `kinds`, or ``()`` if the exception that is being handled stops the program (`is_stop`).

    Examples
    --------
    >>> try:
    ...     raise TimeoutError("too slow")
    ... except unless_stopped(OSError):
    ...     print("the disk is full")
    Traceback (most recent call last):
    TimeoutError: too slow
    """
    error = sys.exception()
    return () if error is not None and is_stop(error) else kinds


def is_stop(error: BaseException) -> bool:
    """Tell whether an error stops the program: a signal handler raised it, or it is a time limit.

    A `TimeoutError` with an `errno` is not a time limit: the operating system raises it, for a file on a network say.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        return True
    handlers = {_find_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    frames = (frame for cause in walk_causes(error) for frame, _ in traceback.walk_tb(cause.__traceback__))
    return any(frame.f_code in handlers for frame in frames)


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error, and over the errors that caused it or were being handled when it was raised."""
    seen: set[int] = set()
    remaining: list[BaseException | None] = [error]
    while remaining:
        cause = remaining.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            remaining += [cause.__cause__, cause.__context__]


def _find_code(handler: Any) -> CodeType | None:
    """Find the code that a signal handler runs: a function, a method, a `functools.partial` or a callable object."""
    handler = handler.func if isinstance(handler, partial) else handler
    call = getattr(handler, "__call__", None)  # noqa: B004
    return getattr(handler, "__code__", None) or getattr(call, "__code__", None)
