"""The command line: ``xpnet train``, ``evaluate``, ``predict``, ``info``, ``export``, ``show`` and ``backends``.

A wrong option or file prints one clear line on standard error and gives a nonzero exit status. Nothing is colored
except the help, by newer versions of argparse, which respect NO_COLOR.
"""

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from xpnet._checks import printable
from xpnet.cli._options import check_paths, parse


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
        ``| head``.

    Examples
    --------
    >>> main(["evaluate", "missing.safetensors"])
    1
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # files and pipes are in UTF-8, and terminals print what they can
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="backslashreplace")
    show, warnings.showwarning = warnings.showwarning, _print_warning
    try:
        options = parse(argv)
        check_paths(options)
        options.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a closed pipe is handled, and not when Python exits
    except KeyboardInterrupt as stop:
        print(f"xpnet: {printable(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at exit
        return 141
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError, OSError, MemoryError) as error:
        _print_message("error", error)
        return 1
    finally:
        warnings.showwarning = show
    return 0


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as errors are printed, without a line of code that users of a command did not write."""
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):  # above a bar
        _print_message("warning", message)


def _print_message(kind: str, message: object) -> None:
    print(f"xpnet: {kind}: {printable(' '.join(str(message).split()))}", file=sys.stderr)
