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
    """Choose the kinds of errors that an `except` catches: these, but none if a signal handler has stopped the program.

    A time limit, such as a `TimeoutError` that a handler of SIGALRM raises, can come at any line, and it may be of the
    kind that this line raises itself: a `TimeoutError` is an `OSError`. It must surface, and not be taken for a file
    that cannot be written. Use it in an ``except`` around everything that takes time.

    Parameters
    ----------
    *kinds
        The exceptions that the operation itself can raise.

    Returns
    -------
    tuple
        `kinds`, or ``()`` while an exception is being handled that `is_stop`.

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
    """Tell whether an error stops the program: a signal handler has raised it, or it is a time limit.

    Those of the operating system have an `errno`, and so has a `TimeoutError` of a file on a network.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        return True
    handlers = {_find_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    frames = (frame for each in walk_causes(error) for frame, _ in traceback.walk_tb(each.__traceback__))
    return any(frame.f_code in handlers for frame in frames)


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and those that it was made of."""
    seen: set[int] = set()
    remaining: list[BaseException | None] = [error]
    while remaining:
        each = remaining.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            remaining += [each.__cause__, each.__context__]


def _find_code(handler: Any) -> CodeType | None:
    """Find the code that a signal handler runs: a function, a method, a `functools.partial` or a callable object."""
    handler = handler.func if isinstance(handler, partial) else handler
    call = getattr(handler, "__call__", None)  # noqa: B004
    return getattr(handler, "__code__", None) or getattr(call, "__code__", None)
