"""The pages: what they tell people to install, and what the first page shows."""

import doctest
import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TOOL = runpy.run_path(str(ROOT / "tools" / "try_installs.py"))
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])

# Code in the examples of a page -> the extras of which one brings what the code needs
NEEDS = {
    r"import sklearn|from sklearn|xpnet\.estimators|validation_split=": {"sklearn"},
    r"import torch\b|from torch\b|\"torch\"": {"torch", "vision"},
    r"torchvision": {"vision"},
    r"to_onnx\(": {"onnx"},
    r"(to|from)_torch\(": {"torch", "vision"},
    r"from distributed|backend=\"dask\"": {"dask"},
    r"import jax|\"jax\"": {"jax"},
    r"import cupy|\"cupy\"\)|\"cuda": {"cuda12", "cuda13"},
    r"\.plot\(|matplotlib|\bplots\b": {"plots"},
    r"TensorBoard\(": {"tensorboard"},
}


def extras(text):
    """Names in brackets after `pip install`: those in `pip install -e '.[torch,vision]'`, of xpnet only.

    In code, the names that messages are made with, as in `install_command("torch")`, too.
    """
    yield from re.findall(r"install_command\(\W(\w+)", text)
    for command in re.findall("pip install ([^`#&\n]*)", text):
        for names in re.findall(r"(?<![\w-])(?:\.|xpnet)\[([\w,-]+)\]", command):
            yield from names.split(",")


@pytest.mark.parametrize("folder", ["", "docs", "benchmarks", "examples", "xpnet"])
def test_every_extra_that_people_are_told_to_install_exists(folder):
    files = [
        *(ROOT.glob("*.md") if not folder else (ROOT / folder).rglob("*.md")),
        *((ROOT / folder).rglob("*.py") if folder else []),
    ]
    named = {name: str(file) for file in files for name in extras(file.read_text())}
    assert named
    assert {name: file for name, file in named.items() if name not in EXTRAS} == {}


def test_the_commands_that_are_tried_are_found():
    """`tools/try_installs.py` finds the README's commands, and those in the middle of a sentence."""
    commands = TOOL["find_commands"]()
    assert {
        ("-e", "."),
        ("-e", ".[test]"),
        ("-e", ".[docs]"),
        ("-e", ".[sklearn]"),
        ("thinc", "skorch", "keras"),
    } <= set(commands)
    assert commands["-e", ".[docs]"] == "README.md"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_a_page_whose_examples_need_an_extra_begins_with_its_command(page):
    text = page.read_text()
    code = "\n".join(re.findall(r"```(?:pycon|python)\n(.*?)```", text, re.DOTALL))
    beginning = set(extras(text.partition("\n## ")[0]))
    for pattern, choices in NEEDS.items():
        found = re.search(pattern, code)
        assert not found or beginning & choices, f"{found[0]} needs one of the extras {choices}"


# The first page


def read_table(page, heading):
    """Read the first table of a page whose first row begins with that heading, as its rows of cells."""
    lines = (DOCS / page).read_text().partition(f"| {heading} |")
    table = "".join(lines[1:]).partition("\n\n")[0].partition("\n```")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_ratios_on_the_first_page_are_those_that_were_measured():
    head, _, *rows = read_table("understand/performance.md", "ratio of times (quartiles)")
    measured = {(name, network): cell for name, *cells in rows for network, cell in zip(head[1:], cells, strict=True)}
    head, _, *rows = read_table("index.md", "network")
    shown = {
        (name, f"{network}, batch {batch}"): ratio
        for network, batch, *ratios in rows
        for name, ratio in zip(head[2:], ratios, strict=True)
    }
    assert len(shown) == 36
    assert shown == {place: measured[place].split()[0].strip("*") for place in shown}


def test_the_example_on_the_first_page_has_ten_lines():
    examples = doctest.DocTestParser().get_examples((DOCS / "index.md").read_text())
    assert sum(len(example.source.splitlines()) for example in examples) == 10
