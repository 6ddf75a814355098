"""Check that a release says the same everywhere: its tag, the version, the changelog, and the address of the project.

    python tools/check_release.py v0.1.0 ADDRESS

The address is that of the repository. The workflow that releases calls this. Exits with status 1 if something differs.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def find_problems(tag: str, address: str) -> list[str]:
    """Say what must be changed before a commit with this tag can be released."""
    version = re.findall(r'__version__ = "(.*)"', (ROOT / "xpnet" / "version.py").read_text())[0]
    newest, date = re.findall(r"^## \[(.*)\] - (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    problems = []
    if tag != f"v{version}":
        problems.append(f"xpnet/version.py has {version}, and the tag is {tag}: it must be v{version}")
    if newest != version or not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        problems.append(f"CHANGELOG.md begins with [{newest}] - {date}: it must be [{version}] and the date")
    if urls["Repository"] != address:
        problems.append(f"pyproject.toml has the repository {urls['Repository']}, and it is {address}")
    return problems


if __name__ == "__main__":
    sys.exit("\n".join(find_problems(*sys.argv[1:])) or None)  # of an empty text, the status would be 1
