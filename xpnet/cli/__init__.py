"""The command line: ``xpnet train``, ``evaluate``, ``predict``, ``info``, ``export``, ``show`` and ``backends``.

A wrong option or file prints one clear line on standard error and gives a nonzero exit status. Nothing is coloured
except the help, by newer versions of argparse, which respect NO_COLOR.
"""

import argparse
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from xpnet._checks import printable
from xpnet.cli._options import Parser, check_paths, make_parser, writes_files
from xpnet.cli._printing import speaks


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 for an error, 130 for Ctrl-C, 141 if nobody reads standard output any more, as after
        ``| head``, and no file is to be written.

    Examples
    --------
    >>> main(["evaluate", "missing.safetensors"])
    1
    """
    _prepare_streams()
    command, options = make_parser(), argparse.Namespace(ranks=None)
    try:
        try:
            options = command.parse_args(argv)
            command = options.command
            check_paths(options)
            with _print_warnings(options), _tolerate_closed_pipe() if writes_files(options) else nullcontext():
                options.run(options)
        finally:
            sys.stdout.flush()  # here, where a closed pipe is handled, and not when Python exits
    except KeyboardInterrupt as stop:
        if speaks(options):
            print(f"xpnet: {printable(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _discard(sys.stdout)  # or Python complains when it flushes at exit
        return 141
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError, OSError, MemoryError) as error:
        if speaks(options):  # all processes of a training raise an error if one does
            _print_message("error", error, command)
        return 1
    return 0


def _print_message(kind: str, error: Exception | str, command: Parser) -> None:
    """Print an error or a warning in one line, in terms of the options of a command."""
    print(f"xpnet: {kind}: {printable(command.name_options(' '.join(str(error).split())))}", file=sys.stderr)


@contextmanager
def _print_warnings(options: argparse.Namespace) -> Iterator[None]:
    """Print warnings as errors are printed, without a line of code that users of a command did not write."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if speaks(options):
            _print_message("warning", message, options.command)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


def _prepare_streams() -> None:
    """Open standard streams that are closed, as by ``>&-``, on the null device; let others write every character.

    Otherwise printing to a closed one fails, and the next file to be opened gets its file descriptor and its output.
    Characters that the encoding lacks, as that of files on Windows does, are escaped as on standard error.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def _tolerate_closed_pipe() -> Iterator[None]:
    """Let a command go on when nobody reads its standard output any more: its results are files."""
    with redirect_stdout(_Report(sys.stdout)) as report:  # type: ignore[type-var]
        try:
            yield
        finally:
            report.flush()


class _Report:
    """A stream that is discarded once nobody reads it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        self._unless_closed(self.stream.write, text)

    def flush(self) -> None:
        self._unless_closed(self.stream.flush)

    def _unless_closed(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            call(*args)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # Windows may give the second for a closed pipe
                raise
            _discard(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _discard(stream: Any) -> None:
    """Send what is written to a stream to the null device, with what it has buffered."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
