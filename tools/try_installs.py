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
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/*.py", "examples/*.ipynb")


def find_commands() -> dict[tuple[str, ...], str]:
    """Find the different commands: the arguments of pip install, and the page where they stand first."""
    commands: dict[tuple[str, ...], str] = {}
    for page in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        for arguments in re.findall(r"pip install ([^`#&\n]+)", page.read_text()):
            commands.setdefault(tuple(shlex.split(arguments)), str(page.relative_to(ROOT)))
    return commands


def prepare(folder: Path) -> None:
    """Make an empty environment, and a project with the requirements of this one, which uv reads without a build."""
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder / "env"], check=True)
    text = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('dynamic = ["version"]', 'version = "0"'))


def is_met(arguments: tuple[str, ...], folder: Path) -> bool:
    """Whether there are versions that fit together; if not, uv says why."""
    command = ["uv", "pip", "install", "--quiet", "--dry-run", "--python", str(folder / "env"), *arguments]
    return subprocess.run(command, cwd=folder).returncode == 0


def main() -> None:
    """Try the commands, four at a time, as uv mostly waits for the index."""
    failures, commands = 0, find_commands()
    with TemporaryDirectory() as name, ThreadPoolExecutor(4) as threads:
        prepare(folder := Path(name))
        for (arguments, page), met in zip(commands.items(), threads.map(is_met, commands, repeat(folder))):
            print(f"{'ok' if met else 'FAILED'}: pip install {shlex.join(arguments)} ({page})", flush=True)
            failures += not met
    sys.exit(f"{failures} commands failed" if failures else 0)


if __name__ == "__main__":
    main()
