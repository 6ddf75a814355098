"""What a release says of itself is the same everywhere, and one file alone names who publishes it."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import xpnet

ROOT = Path(__file__).parents[1]
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]


@pytest.fixture
def project(tmp_path):
    """The files that name the version, as they are before a release."""
    for name in ("xpnet/version.py", "CHANGELOG.md", "pyproject.toml", "tools/check_release.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, path)
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{xpnet.__version__}] - 2027-01-31\n")
    return tmp_path


def check_release(project, *words):
    """Return the status, and the lines of the message."""
    command = [sys.executable, str(project / "tools" / "check_release.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


def test_a_tag_that_fits_can_be_released(project):
    assert check_release(project, f"v{xpnet.__version__}", URLS["Repository"]) == (0, [])


def test_what_differs_is_named(project):
    (project / "CHANGELOG.md").write_text("## [9.0] - unreleased\n## [8.0] - 2027-01-31\n")
    version = xpnet.__version__
    status, lines = check_release(project, "v7.0", "https://example.org/xpnet")
    assert status == 1
    assert lines == [
        f"xpnet/version.py has {version}, and the tag is v7.0: it must be v{version}",
        f"CHANGELOG.md begins with [9.0] - unreleased: it must be [{version}] and the date",
        f"pyproject.toml has the repository {URLS['Repository']}, and it is https://example.org/xpnet",
    ]


def test_the_changelog_links_every_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.*)\] - (?:unreleased|\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert versions[0] == xpnet.__version__.partition(".dev")[0]
    assert re.findall(r"^\[(.*)\]: \.\./\.\./releases/tag/v(.*)$", text, re.MULTILINE) == [(v, v) for v in versions]
    assert re.findall(r"^## .*", text, re.MULTILINE) == re.findall(r"^## \[.*\] - .*", text, re.MULTILINE)


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not in a checkout with Git")
def test_one_file_has_the_address_of_the_project():
    owner = URLS["Repository"].split("/")[-2]
    assert URLS["Documentation"] == f"https://{owner}.github.io/xpnet/"
    command = ["git", "grep", "--name-only", "--fixed-strings", "-e", f"{owner}/xpnet", "-e", f"{owner}.github.io"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["pyproject.toml"]
