"""Run a function in a process of its own, which answers step by step and is ended if it does not.

So a crash, a lack of memory or a hang costs one measurement, and not the run.
"""

import multiprocessing
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

ANSWER, END, ERROR = "answer", "end", "error"
LONGEST = 400  # characters of an error
GOODBYE = 10  # seconds for a process to end by itself


class Child:
    """A process that runs a function: it sends the first value at once, and each further one when it is asked.

    Parameters
    ----------
    function
        A function of (report, *args), which a new process can import. It calls `report` with each value.
    *args
        Its arguments.
    patience
        Seconds to wait for a value before the process is ended; None waits forever.
    first_patience
        The same for the first value; by default `patience`.
    environment
        Variables that the new process has besides those of this one.
    """

    def __init__(self, function, *args, patience=None, first_patience=None, environment=None):
        context = multiprocessing.get_context("spawn")
        self.patience, self.asked, self.hung = patience, time.monotonic(), False
        self.limit = patience if first_patience is None else first_patience  # of the next value
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, function, args), daemon=True)
        before = dict(os.environ)
        os.environ.update(environment or {})
        self.process.start()
        os.environ.clear()
        os.environ.update(before)
        theirs.close()

    def __iter__(self):
        """Yield all values; raise RuntimeError as `answer` does."""
        while (message := self._receive())[0] != END:
            yield message[1]
            self.ask()
        self.stop()

    def ask(self):
        """Ask for the next value."""
        self.asked, self.limit = time.monotonic(), self.patience
        with suppress(OSError):  # the process has ended: `answer` says so
            self.pipe.send(True)

    def answer(self):
        """Wait for the value that was asked for; raise RuntimeError with the reason if it does not come."""
        kind, value = self._receive()
        if kind == END:
            raise RuntimeError("it has no more answers")
        return value

    def stop(self):
        """End the process."""
        with suppress(OSError):  # it may have ended already
            self.pipe.send(False)
        self.process.join(GOODBYE)
        self._kill()

    def _receive(self):
        left = None if self.limit is None else max(0.0, self.asked + self.limit - time.monotonic())
        try:
            if not self.pipe.poll(left):
                self._kill()
                self.hung = True
                raise RuntimeError(f"it did not answer within {self.limit:g} s, and its process was ended")
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise RuntimeError(f"its process ended with {self.process.exitcode}") from None
        if kind == ERROR:
            self.stop()
            raise RuntimeError(value)
        return kind, value

    def _kill(self):
        self.process.kill()
        self.process.join()


def serve(pipe, function, args):
    """Send the values that the function reports, each but the first on request; an error is sent as text."""

    def report(value):
        """Send a value, and wait until the next one is asked for; end the process if none is."""
        pipe.send((ANSWER, value))
        if not pipe.recv():
            sys.exit()

    try:
        function(report, *args)
        pipe.send((END, None))
    except Exception as error:
        pipe.send((ERROR, describe(error)))
        pipe.recv()


def run_alone(function, *args, **options):
    """Run a function in a process of its own, and return its result; raise RuntimeError if it fails or hangs.

    The options are those of `Child`.
    """
    (result,) = Child(report_result, function, *args, **options)
    return result


def report_result(report, function, *args):
    """Report the result of a function."""
    report(function(*args))


def describe(error):
    """Describe an error, and where it was raised, in one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"
