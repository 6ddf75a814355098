"""The command line: ``xpnet train``, ``evaluate``, ``predict``, ``info``, ``export``, ``show``, ``backends``,
``bench`` and ``break``.

A wrong option or file prints one clear line on standard error and gives a nonzero exit status. Nothing is coloured
except the help, by newer versions of argparse, which respect NO_COLOR.
"""

import os
import sys
from collections.abc import Sequence

from xpnet.cli.options import check_paths, make_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The arguments; by default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 for an error, 130 for Ctrl-C, 141 if standard output is closed, as by ``| head``.

    Examples
    --------
    >>> main(["evaluate", "missing.safetensors"])
    1
    """
    _replace_closed_streams()
    try:
        try:
            options = make_parser().parse_args(argv)
            check_paths(options)
            options.run(options)
        finally:
            sys.stdout.flush()  # here, where a closed pipe is handled, and not when Python exits
    except KeyboardInterrupt as stop:
        print(f"xpnet: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 141
    except (ValueError, TypeError, ArithmeticError, RuntimeError, ImportError, OSError, MemoryError) as error:
        print(f"xpnet: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _replace_closed_streams() -> None:
    """Open standard streams that are closed, as by ``>&-``, on the null device.

    Otherwise printing fails, and the next file to be opened gets the stream's file descriptor and its output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
