"""Try every `pip install` command of the pages: whether there are versions that fit together.

    python tools/try_installs.py

Needs uv, which reads only the metadata of the packages, and installs nothing. What is installed does not count. Exits
with status 1 if a command fails.
"""

import re
import shlex
import subprocess
import sys
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


def main() -> None:
    """Try the commands, one after the other."""
    failures = 0
    for arguments, page in find_commands().items():
        options = ["--quiet", "--dry-run", "--reinstall", "--python", sys.executable]
        failed = subprocess.run(["uv", "pip", "install", *options, *arguments], cwd=ROOT).returncode
        print(f"{'FAILED' if failed else 'ok'}: pip install {shlex.join(arguments)} ({page})", flush=True)
        failures += bool(failed)
    sys.exit(f"{failures} commands failed" if failures else 0)


if __name__ == "__main__":
    main()
