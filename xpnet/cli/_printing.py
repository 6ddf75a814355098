"""Printing: messages and remarks of the commands, from the one process that speaks."""

import argparse
import sys
from collections.abc import Sequence

from xpnet._checks import printable


def speaks(options: argparse.Namespace) -> bool:
    """Tell whether this process prints and writes files: of several that train one network, rank 0 does."""
    return options.ranks is None or options.ranks.leads


def say(text: str) -> None:
    """Print a line that may contain names or texts from files, with control characters escaped."""
    print(printable(text))


def print_remarks(remarks: Sequence[str]) -> None:
    """Print remarks on standard error; results go to standard output."""
    for remark in remarks:
        print(f"xpnet: {printable(remark)}", file=sys.stderr)
