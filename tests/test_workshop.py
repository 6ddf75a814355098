"""The tools of the project: what `.ci/run` does, what finds defects of the site, benchmarks, and releases."""

import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="not in a source archive")]
CHECK = ROOT / ".ci" / "check.py"


def load(path):
    """Import a program by its path, with its folder in front, as Python does for a script."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"program_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# In a process of its own, as it waits for any child
STEPS = """
import pathlib, runpy, sys
names = runpy.run_path(sys.argv[1])
work = pathlib.Path(sys.argv[2])
(work / "dev").mkdir()  # in place of an environment
def step(name, command, *after, **options):
    return names["Step"](name, command, after=after, **options)
print("passed:", names["run_steps"]([{steps}], work))
"""


@pytest.mark.parametrize(
    ("steps", "printed"),
    [
        ("step('b', 'echo 2', 'a'), step('a', 'echo 1')", "::: a 1 ::: passed .* ::: b 2 ::: passed .* passed: True"),
        ("step('a', 'sleep 100'), step('b', 'echo oh; false'), step('c', '', 'b')", "::: b oh ::: FAILED: b passed: F"),
        ("step('a', 'echo 12', shows=['^1', '^2'])", r"::: a 12 ::: FAILED: a, .* matches \^2 passed: False"),
    ],
)
def test_steps_wait_for_others_and_the_first_that_fails_ends_all(tmp_path, steps, printed):
    command = [sys.executable, "-c", STEPS.format(steps=steps), str(CHECK), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert re.match(printed, " ".join(output.splitlines()))


def test_every_step_can_begin_and_the_workflow_runs_every_session_of_nox():
    steps, passed = runpy.run_path(str(CHECK))["STEPS"], set()
    while len(passed) < len(steps):
        ready = {step.name for step in steps if passed.issuperset(step.after)}
        assert ready > passed
        passed = ready
    sessions = re.findall(r"^@nox\.session.*\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    lines = re.findall(r"\bsession: \[?([^\]}]+?) ?[\]}]", (ROOT / ".github/workflows/tests.yml").read_text())
    assert {name.partition("-")[0] for line in lines for name in line.split(", ")} == {*sessions}
    assert len(sessions) > 2


def test_what_passed_in_the_last_run_is_left_out(tmp_path):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text("import os\ndef test_a(): pass\ndef test_b(): assert 'GOOD' in os.environ\n")
    command = [sys.executable, "-m", "pytest", "--not-passed", "-c", "/dev/null"]
    command += ["--rootdir", str(tmp_path), "--confcutdir", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def run(**more):
        ran = subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True)
        return ran.stdout + ran.stderr

    assert "1 failed, 1 passed" in run()
    assert "1 passed, 1 deselected" in run(GOOD="yes")


# Name of a defect -> the text that has it, and what its report says
DEFECTS = {
    "picture": ('<img src="no.png" alt="">', "no.png has status 404"),
    "description": ('<img src="a.svg" alt="">', 'the picture is not described: <img src="a.svg">'),
    "frame": ('<iframe src="good.html" title="A" style="height: 40px"></iframe>', "the frame is smaller than its page"),
    "console": ("<script>console.warn('ah')</script>", "the console says ah"),
    "script": ("<script>nothing()</script>", "a script fails: nothing is not defined"),
    "request": (
        '<script src="https://www.example.com/a.js"></script>',
        "asks another host, for https://www.example.com",
    ),
    "wide": ('<div style="width: 600px">wide</div>', "this ends at 600 px, outside the window"),
    "code": (f'<pre style="overflow-x: auto; width: 300px">{60 * "code "}</pre>', "px wide, and its box 300 px"),
    "TeX": (r"<p>Half is $\frac{1}{2}$</p>", "the text shows TeX"),
    "pale": ('<p style="color: #888">pale</p>', "the contrast is 3.5 and must be 4.5"),
    "link": ('<p>A <a href="good.html" style="text-decoration: none">link</a> in</p>', "the link is not underlined"),
    "name": ("<button></button>", "must have discernible text (button-name)"),
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,
initial-scale=1">
<title>A page</title><link rel="icon" href="data:,"><style>body {{ margin: 0; background: white }}</style></head>
<body><main><h1>A page</h1>{}</main></body></html>"""


@pytest.mark.needs("chromium", "playwright", "axe_playwright_python")
def test_defects_of_the_site_are_found(tmp_path):
    (tmp_path / "a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M1 1V8"/></svg>'
    )
    (tmp_path / "good.html").write_text(PAGE.format("<p>A good page</p>"))
    (tmp_path / "bad.html").write_text(PAGE.format("".join(text for text, _ in DEFECTS.values())))
    search = "<script>const Search = {_parseQuery: (query) => [query], _performSearch: () => [['use/save']]}</script>"
    (tmp_path / "search.html").write_text(PAGE.format(search))
    looks = load(ROOT / "tools" / "look_at_site.py").look_at_site(tmp_path)
    assert looks["good.html"] == []
    assert "a search for latency shows use/save first, not use/serve" in looks["search.html"]
    assert not any("resume" in failure for failure in looks["search.html"])
    for name, (_, report) in DEFECTS.items():
        assert any(report in failure for failure in looks["bad.html"]), (name, looks["bad.html"])


def test_contenders_take_turns_and_the_slow_and_the_broken_are_left_out(monkeypatch):
    harness = load(ROOT / "benchmarks" / "harness.py")
    monkeypatch.setattr(harness, "PAUSE", 0)
    seconds = {"ours": [9, 1, 3], "theirs": [9, 4, 6], "slow": [9, 8.1], "broken": [9, 1]}

    def run(left):
        if not left:
            raise RuntimeError("no such luck")
        return SimpleNamespace(seconds=left.pop(0))

    contenders = {(name, harness.ONE): partial(run, left) for name, left in seconds.items()}
    turns = harness.take_turns(contenders, 2, warm_up=1, far=8.0, tell=lambda line: None)
    taken = {key[0]: [outcome.seconds for outcome in outcomes] for key, outcomes in turns.outcomes.items()}
    assert taken == {"ours": [1, 3], "theirs": [4, 6], "slow": [8.1]}
    assert turns.ratios(("theirs", harness.ONE), ("ours", harness.ONE)) == [4.0, 2.0]
    assert turns.failures == {("broken", harness.ONE): "no such luck"}


def test_weights_that_differ_are_found(capsys):
    same_weights = load(ROOT / "benchmarks" / "same_weights.py")
    training = json.loads(json.dumps(same_weights.draw(0, 0, ["numpy"])))
    result = same_weights.run(training, 0)
    lines = ["{}", json.dumps({"training": training} | result)]
    assert same_weights.compare(lines, ["{}", json.dumps({"training": training} | same_weights.run(training, 0))])
    result["layers"][0][0] = "another digest"
    assert not same_weights.compare(lines, ["{}", json.dumps({"training": training} | result)])
    assert "training 0 differs in layers: " in capsys.readouterr().out


def test_a_release_whose_tag_version_changelog_or_address_differs_is_refused(tmp_path):
    program, address = load(ROOT / "tools" / "check_release.py"), "https://example.org/xpnet"
    files = [problem.partition(" ")[0] for problem in program.find_problems("v7.0", address)]
    assert files == ["xpnet/version.py", "CHANGELOG.md", "pyproject.toml"]
    program.ROOT = tmp_path
    (tmp_path / "xpnet").mkdir()
    (tmp_path / files[0]).write_text('__version__ = "7.0"')
    (tmp_path / files[1]).write_text("## [7.0] - 2030-01-31\n\n## [6.0] - 2029-01-31")
    (tmp_path / files[2]).write_text(f'[project.urls]\nRepository = "{address}"')
    assert program.find_problems("v7.0", address) == []
