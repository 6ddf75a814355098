"""Try every `pip install` command of the pages: whether there are versions that fit together.

    python tools/try_installs.py

Needs uv, which reads only the metadata of the packages, and installs nothing. What is installed does not count. Exits
with status 1 if a command fails.
"""

import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/*.py", "examples/*.ipynb")


def find_commands() -> dict[tuple[str, ...], str]:
    """Find the different commands: the arguments of pip install, and the page where they stand first."""
    commands: dict[tuple[str, ...], str] = {}
    for page in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        for arguments in re.findall(r"pip install ([^`#&\n]+)", page.read_text()):
            commands.setdefault(tuple(shlex.split(arguments)), str(page.relative_to(ROOT)))
    return commands


def is_met(arguments: tuple[str, ...]) -> bool:
    """Whether there are versions that fit together; if not, uv says why."""
    options = ["--quiet", "--dry-run", "--reinstall", "--python", sys.executable]
    return subprocess.run(["uv", "pip", "install", *options, *arguments], cwd=ROOT).returncode == 0


def main() -> None:
    """Try the commands, four at a time, as uv mostly waits for the index."""
    failures, commands = 0, find_commands()
    with ThreadPoolExecutor(4) as threads:
        for (arguments, page), met in zip(commands.items(), threads.map(is_met, commands)):
            print(f"{'ok' if met else 'FAILED'}: pip install {shlex.join(arguments)} ({page})", flush=True)
            failures += not met
    sys.exit(f"{failures} commands failed" if failures else 0)


if __name__ == "__main__":
    main()
