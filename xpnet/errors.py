"""The exceptions that xpnet raises, and those that it must not catch."""

import signal
import sys
import traceback
from collections.abc import Collection, Iterator
from functools import partial
from types import CodeType, FrameType
from typing import Any

GENERATOR = 0x20  # inspect.CO_GENERATOR; inspect is slow to import


class ArgumentError(ValueError, TypeError):
    """An argument is wrong, or data given as one; the message names it, and says what is accepted.

    Nothing has changed then. It is both a ValueError and a TypeError, so code that expects either works.
    """


class BackendError(ArgumentError, RuntimeError):
    """A backend or device is not available; the message says why and what to do."""


class CheckpointError(ArgumentError):
    """A file does not hold what is to be read from it, such as a network or a training, or is damaged."""


class DivergenceError(ArithmeticError):
    """Training produced numbers that are not finite; the network is as it was before them."""


for kind in (ArgumentError, BackendError, CheckpointError, DivergenceError):
    kind.__module__ = "xpnet"  # where users find it, and what tracebacks call it


def unless_stopped(*kinds: type[BaseException]) -> tuple[Any, ...]:
    """Return the errors that an `except` should catch: `kinds`, or none if a signal handler has stopped the program.

    A time limit, such as a `TimeoutError` that a handler of SIGALRM raises, can interrupt any line, also one that may
    raise the same kind of error itself: a `TimeoutError` is an `OSError`. It must surface, and not be taken for a file
    that cannot be written. Use this function in every ``except`` around something that takes time.

    An error that comes later, while a stop ends the program, is an error like any other: a last file that cannot be
    written does not change how the program ends.

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
    return () if error is not None and is_stop(error, _find_outer_frames(sys._getframe(1))) else kinds


def is_stop(error: BaseException, outer: Collection[FrameType] = ()) -> bool:
    """Tell whether an error stops the program: a signal handler raised it, or it is a time limit.

    A `TimeoutError` with an `errno` is not a time limit: the operating system raises it, for a file on a network say.

    Parameters
    ----------
    error
        The error.
    outer
        The frames outside of the ``try``. An exception that has left one of them was there before the ``try``.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        return True
    handlers = {_find_code(signal.getsignal(number)) for number in range(1, signal.NSIG)} - {None}
    frames = (frame for cause in walk_causes(error, outer) for frame, _ in traceback.walk_tb(cause.__traceback__))
    return any(frame.f_code in handlers for frame in frames)


def walk_causes(error: BaseException, outer: Collection[FrameType] = ()) -> Iterator[BaseException]:
    """Iterate over an error, and over those that caused it or were being handled, except in `outer` frames."""
    seen: set[int] = set()
    remaining: list[BaseException | None] = [error]
    while remaining:
        cause = remaining.pop()
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            if cause is not error and any(frame in outer for frame, _ in traceback.walk_tb(cause.__traceback__)):
                continue
            yield cause
            remaining += [cause.__cause__, cause.__context__]


def _find_outer_frames(frame: FrameType | None) -> set[FrameType]:
    """List the frames outside of a ``try``; if it is in a context manager, those outside of the ``with``."""
    while frame is not None and (frame.f_code.co_flags & GENERATOR or frame.f_globals.get("__name__") == "contextlib"):
        frame = frame.f_back
    frames = set()
    while frame is not None and (frame := frame.f_back) is not None:
        frames.add(frame)
    return frames


def _find_code(handler: Any) -> CodeType | None:
    """Find the code that a signal handler runs: a function, a method, a `functools.partial` or a callable object."""
    handler = handler.func if isinstance(handler, partial) else handler
    call = getattr(handler, "__call__", None)  # noqa: B004
    return getattr(handler, "__code__", None) or getattr(call, "__code__", None)
