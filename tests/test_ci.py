"""What `.ci/run` and the option --not-passed do: steps in order and two at a time, and no test a second time."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
CHECK = ROOT / ".ci" / "check.py"
NOXFILE, WORKFLOW = ROOT / "noxfile.py", ROOT / ".github" / "workflows" / "tests.yml"

# In a process of its own, as it waits for any child
PROGRAM = """
import pathlib, runpy, sys
names = runpy.run_path(sys.argv[1])
work = pathlib.Path(sys.argv[2])
(work / "dev").mkdir()  # in place of an environment
def step(name, command, *after, **options):
    return names["Step"](name, command, after=after, **options)
print("passed:", names["run_steps"]([{steps}], work))
"""


def run_steps(tmp_path, steps):
    program = PROGRAM.replace("{steps}", steps)
    command = [sys.executable, "-c", program, str(CHECK), str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.skipif(not CHECK.exists(), reason="not in a source archive")
class TestSteps:
    def test_each_waits_for_steps_before_it(self):
        steps, passed = runpy.run_path(str(CHECK))["STEPS"], set()
        assert [step.command.split(" && ")[-1] for step in steps if step.name.startswith("README: ")] == [
            "pytest -n auto",
            "xpnet train",
            "sphinx-build -W docs docs/_build/html",
        ]
        while len(passed) < len(steps):
            ready = {step.name for step in steps if passed.issuperset(step.after)}
            assert ready > passed
            passed = ready

    def test_two_run_at_a_time_and_each_is_printed_whole(self, tmp_path):
        meet = "touch $WORK/{0}; for i in {{1..400}}; do [ -e $WORK/{1} ] && break; sleep 0.05; done; [ -e $WORK/{1} ]"
        one, other = meet.format("one", "other"), meet.format("other", "one")
        steps = f"step('c', 'echo 3', 'a', 'b'), step('a', 'echo 1; {one}; echo 1'), step('b', 'echo 2; {other}')"
        lines = run_steps(tmp_path, steps)
        i, j = lines.index("::: a"), lines.index("::: b")
        assert lines[i + 1 : i + 3] == ["1", "1"]
        assert lines[i + 3].startswith("::: passed in ")
        assert lines[j + 1] == "2"
        assert lines[-4:-2] == ["::: c", "3"]
        assert lines[-1] == "passed: True"

    def test_the_first_that_fails_ends_the_others_and_is_printed_last(self, tmp_path):
        steps = "step('long', 'sleep 100'), step('bad', 'echo oh >&2; false'), step('next', 'echo no', 'bad')"
        assert run_steps(tmp_path, steps) == ["::: bad", "oh", "::: FAILED: bad", "passed: False"]

    def test_a_line_that_is_missing_is_a_failure(self, tmp_path):
        steps = "step('a', 'echo 12', shows=['^1', '^2'])"
        reason = "::: FAILED: a, as it shows no line that matches ^2"
        assert run_steps(tmp_path, steps) == ["::: a", "12", reason, "passed: False"]


@pytest.mark.skipif(not (NOXFILE.exists() and WORKFLOW.exists()), reason="not in a source archive")
def test_the_workflow_runs_every_session_of_nox():
    sessions = re.findall(r"^@nox\.session.*\ndef (\w+)", NOXFILE.read_text(), re.MULTILINE)
    lines = re.findall(r"\bsession: \[?([^\]}]+?) ?[\]}]", WORKFLOW.read_text())
    run = {name.partition("-")[0] for line in lines for name in line.split(", ")}
    assert run == {*sessions}
    assert len(sessions) > 2


def test_what_passed_in_the_last_run_is_left_out(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import os\nimport pytest\nGOOD = 'GOOD' in os.environ\n"
        "def test_one(): pass\ndef test_one_more(): assert GOOD\n"
        "def test_other():\n    if not GOOD: pytest.skip('no')\n"
    )

    def run(**variables):
        command = [sys.executable, "-m", "pytest", "-v", "--not-passed", "-c", "/dev/null", "--rootdir", str(tmp_path)]
        environment = {"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout

    first, second = run(), run(GOOD="yes")
    assert "1 failed, 1 passed, 1 skipped" in first
    assert "2 passed, 1 deselected" in second
    assert "test_one_more PASSED" in second


def test_numpy_starts_without_what_other_machines_lack():
    """Without a warning, and each value switches off what it names."""

    def run(**variables):
        environment = {name: x for name, x in os.environ.items() if name != "NPY_DISABLE_CPU_FEATURES"} | variables
        command = [sys.executable, "-W", "error", str(ROOT / "tests" / "cpu_features.py")]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    for features in run().splitlines():
        assert not {*features.split()} & {*run(NPY_DISABLE_CPU_FEATURES=features).split()}
