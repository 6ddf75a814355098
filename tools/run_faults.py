"""See whether the tests catch deliberate faults: python tools/run_faults.py [--only 3 4] [--programs].

A suite that passes says little until it is known to fail when the package is wrong. `faults.json`, beside this file,
lists mistakes that would be easy to make, in every module that computes. Each one replaces a text, which must occur
exactly once in its file (`tests/test_structure.py` checks that), and names the tests that should notice it; "k" is an
expression for pytest's -k, which saves time. Run this after tests were removed or thinned out, or when a fault was
added to the list. All of them take about a quarter of an hour; with `--processes 2`, less. With `--programs`, random
programs (`tests/programs`) look for each fault in place of its tests, for at most a minute.

Testers that make mutants by rule do not take its place: of its first 62 faults, mutmut 3.8 would make 7 and cosmic-ray
8.7 would make 7, 10 between them. Most of the others leave something out, or use the wrong one of two arrays.

The faults are made in a copy of the checkout, so that its files stay as they are. A fault is

- caught, if one of its tests failed;
- missed, if all of them passed;
- broken, if there was something else: a text that does not occur once, a name that is not there any more, a test that
  is not there, a test that fails without the fault too.

The exit status is 0 if all of them are caught.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("xpnet", "tests", "conftest.py", "pyproject.toml")  # what the tests need of a checkout
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
REPEATED = re.compile(r"^ *(python tests/run_programs\.py --repeat .*)$", re.MULTILINE)
NO_FAULT = re.compile(r"^E +((?:NameError|UnboundLocalError|ImportError|AttributeError): .*)$", re.MULTILINE)


def copy_checkout(folder: Path) -> Path:
    """Copy what the tests need, and make sure that they import the copy."""
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    command = [sys.executable, "-c", "import xpnet; print(xpnet.__file__)"]
    found = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=True)
    if not Path(found.stdout.strip()).resolve().is_relative_to(folder):
        raise SystemExit(f"tests would import {found.stdout.strip()}, and not the copy in {folder}")
    return folder


def environment(tree: Path) -> dict[str, str]:
    """Return the environment of the tests."""
    return {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "1000"}


def run_pytest(tree: Path, *arguments: str, timeout: float | None = None) -> tuple[int | None, str]:
    """Run tests up to the first failure, as continuous integration does; no exit status: it took too long."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider"]
    command += ["-m", "slow or not slow", *arguments]
    try:
        done = subprocess.run(command, cwd=tree, env=environment(tree), capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def run_programs(tree: Path, _: dict[str, Any], timeout: float) -> tuple[str, str]:
    """Let random programs look for a fault, up to the first failure; return what came of it, and the failure."""
    command = [sys.executable, "tests/run_programs.py", "--programs", "100000", "--seconds", str(timeout / 2), "-x"]
    summaries = []
    for kind in ("networks", "estimators"):
        done = subprocess.run(
            [*command, "--kinds", kind], cwd=tree, env=environment(tree), capture_output=True, text=True
        )
        summaries += done.stdout.strip().splitlines()[-3:]
        if done.returncode != 0:
            caught = REPEATED.search(done.stdout)
            return ("caught", " ".join(summaries)) if caught else ("broken", done.stderr[-500:])
    return "missed", " ".join(summaries)


def run_tests(tree: Path, fault: dict[str, Any], timeout: float) -> tuple[str, str]:
    """Run the tests of a fault; return what came of it, and the test that caught it."""
    choice = ["-k", fault["k"]] if "k" in fault else []
    status, output = run_pytest(tree, *choice, *fault["tests"], timeout=timeout)
    failed, unknown = FAILED.search(output), NO_FAULT.search(output)
    if unknown:
        return "broken", unknown[1]
    if status == 1 and failed:
        return "caught", failed[1]
    if status == 0:
        return "missed", " ".join([*fault["tests"], *choice])
    return "broken", "took too long" if status is None else f"pytest ended with {status}: {output[-500:]}"


def try_fault(
    tree: Path, fault: dict[str, Any], find: Callable[..., tuple[str, str]], timeout: float
) -> tuple[str, str]:
    """Make a fault; return what came of it, and what caught it, or what went wrong."""
    path = tree / fault["file"]
    right = path.read_text(encoding="utf-8") if path.exists() else ""
    if right.count(fault["old"]) != 1:
        return "broken", f"{fault['old']!r} occurs {right.count(fault['old'])} times in {fault['file']}"
    wrong = right.replace(fault["old"], fault["new"])
    compile(wrong, fault["file"], "exec")
    try:
        path.write_text(wrong, encoding="utf-8")
        return find(tree, fault, timeout)
    finally:
        path.write_text(right, encoding="utf-8")


def check_right_code(outcome: str, by: str) -> None:
    """Refuse the results if something fails without any fault, too."""
    if outcome != "missed":
        raise SystemExit(f"without any fault too, this fails: {by}")


def main() -> None:
    """Try the faults, print a line for each, and run the tests that caught them once more, without any fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="+", metavar="ID", help="faults to try; all unless given")
    parser.add_argument("--list", type=Path, default=ROOT / "tools" / "faults.json", help="another list of faults")
    parser.add_argument("--processes", type=int, default=1, help="faults to try at a time, each in a copy of its own")
    parser.add_argument("--programs", action="store_true", help="let random programs look for the faults")
    parser.add_argument("--timeout", type=float, help="seconds for the tests (600), or the programs (60), of a fault")
    given = parser.parse_args()
    faults = json.loads(given.list.read_text(encoding="utf-8"))
    chosen = [fault for fault in faults if given.only is None or fault["id"] in given.only]
    find, timeout = (run_programs, given.timeout or 60) if given.programs else (run_tests, given.timeout or 600)
    counts, catchers = {"caught": 0, "missed": 0, "broken": 0}, []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.processes) as threads:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.processes):
            trees.put(copy_checkout(Path(folder).resolve() / str(number)))

        def try_somewhere(fault: dict[str, Any]) -> tuple[str, str]:
            tree = trees.get()
            try:
                return try_fault(tree, fault, find, timeout)
            finally:
                trees.put(tree)

        for fault, (outcome, by) in zip(chosen, threads.map(try_somewhere, chosen), strict=True):
            counts[outcome] += 1
            catchers += [by] if outcome == "caught" else []
            print(f"{fault['id']:3d} {outcome}  {fault['file']}: {fault['what']}\n      {by}", flush=True)
        if given.programs:
            check_right_code(*run_programs(trees.get(), {}, timeout))
        elif catchers:
            status, output = run_pytest(trees.get(), *dict.fromkeys(catchers))
            check_right_code("missed" if status == 0 else "caught", ", ".join(FAILED.findall(output)) or output)
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    sys.exit(counts["caught"] < len(chosen))


if __name__ == "__main__":
    main()
