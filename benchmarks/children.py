"""Run a function in a process of its own, which answers step by step and is ended if it does not.

So a crash, a lack of memory or a hang costs one measurement, and not the run.
"""

import multiprocessing
import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

ANSWER, END, ERROR = "answer", "end", "error"
LONGEST = 400  # characters of an error
GOODBYE = 10  # seconds for a process to end by itself


class Child:
    """A process that runs a generator: it sends the first value at once, and each further one when it is asked.

    Parameters
    ----------
    generate
        Generator function, which a new process can import.
    *args
        Its arguments.
    patience
        Seconds to wait for a value before the process is ended; None waits for ever.
    environment
        Variables that the new process has besides those of this one.
    """

    def __init__(self, generate, *args, patience=None, environment=None):
        context = multiprocessing.get_context("spawn")
        self.patience, self.asked, self.hung = patience, time.monotonic(), False
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, generate, args), daemon=True)
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
        self.asked = time.monotonic()
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
        left = None if self.patience is None else max(0.0, self.asked + self.patience - time.monotonic())
        try:
            if not self.pipe.poll(left):
                self._kill()
                self.hung = True
                raise RuntimeError(f"it did not answer within {self.patience:g} s, and its process was ended")
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


def serve(pipe, generate, args):
    """Send the values of the generator, each but the first on request; an error is sent as text."""
    try:
        for value in generate(*args):
            pipe.send((ANSWER, value))
            if not pipe.recv():
                return
        pipe.send((END, None))
    except Exception as error:
        pipe.send((ERROR, describe(error)))
        pipe.recv()


def describe(error):
    """Describe an error, and where it was raised, in one line."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"
