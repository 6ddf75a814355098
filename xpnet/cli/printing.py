"""What the commands print besides their results, and which process prints."""

import argparse
import sys
from collections.abc import Sequence

from xpnet.wording.checks import printable


def speaks(options: argparse.Namespace) -> bool:
    """Tell whether this process prints and writes files: of several that train one network, rank 0 does."""
    return options.ranks is None or options.ranks.leads


def say(text: str) -> None:
    """Print a line that names files, or is from one."""
    print(printable(text))


def print_remarks(remarks: Sequence[str]) -> None:
    """Print what is to be said besides results, which go to standard output, on standard error."""
    for remark in remarks:
        print(f"xpnet: {printable(remark)}", file=sys.stderr)
