"""The pages: what they tell people to install, their length, and the figures that they show."""

import doctest
import re
import runpy
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import peers

DOCS = ROOT / "docs"
WRITTEN = {"_build", "generated", "notebooks"}  # folders that a build of the pages fills
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in WRITTEN)
RESULTS, PERFORMANCE = "benchmarks/RESULTS.md", "docs/understand/performance.md"
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_whose_examples_need_an_extra_begins_with_its_command(page):
    text = page.read_text()
    code = "\n".join(re.findall(r"```(?:pycon|python)\n(.*?)```", text, re.DOTALL))
    beginning = set(extras(text.partition("\n## ")[0]))
    for pattern, choices in NEEDS.items():
        found = re.search(pattern, code)
        assert not found or beginning & choices, f"{found[0]} needs one of the extras {choices}"


# Length, and the way to every page


def test_no_page_is_longer_than_two_hundred_lines():
    lengths = {str(page.relative_to(DOCS)): len(page.read_text().splitlines()) for page in PAGES}
    assert {name: length for name, length in lengths.items() if length > 200} == {}


def test_every_page_is_in_the_table_of_contents():
    listed = []
    for page in PAGES:
        for tree in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed += [str((page.parent / name).relative_to(DOCS)) for name in names]
    pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page != DOCS / "index.md"]
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "examples").glob("*.ipynb")]
    assert sorted(listed) == sorted([*pages, *notebooks])


# Code: that of a page is the library's


def test_the_code_beside_the_equations_is_that_of_the_library():
    """Each block, apart from its indentation, stands in `xpnet/core`."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "learn" / "equations.md").read_text(), re.DOTALL)
    sources = [(ROOT / "xpnet" / "core" / name).read_text() for name in ("backprop.py", "step.py")]
    assert [re.findall(r"  # (BP\d)", block) for block in blocks] == [
        [],
        ["BP1"],
        ["BP2"],
        ["BP3"],
        ["BP4"],
        [],
        ["BP2"],
    ]
    for block in blocks:
        indented = [textwrap.indent(block, " " * width) for width in (0, 4, 8)]
        assert any(f"\n{code}" in source for source in sources for code in indented), block


# Figures: those of the pages are those that were measured


def read_tables(page, heading):
    """Read the tables of a page whose first row begins with that heading, each as its rows of cells."""
    parts = f"\n{(ROOT / page).read_text()}".split(f"\n| {heading} |")[1:]
    tables = [(f"| {heading} |" + part).partition("\n\n")[0].removesuffix("\n```").splitlines() for part in parts]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in table] for table in tables]


def read_number(cell):
    """Read the number at the beginning of a cell, as in "3.0 s", "2.1×" and "**0.92** (0.91–0.93)"; None for a dash."""
    return None if cell == "–" else float(re.match(r"\**([\d.]+)", cell)[1])


def list_jobs(page):
    """Read the table of whole jobs of a page: {(job, contender): number}."""
    ((head, _, *rows),) = read_tables(page, "job")
    return {(job, name): read_number(cell) for job, *cells in rows for name, cell in zip(head[1:], cells, strict=True)}


def list_measured_jobs():
    """Read seconds and ratios of whole jobs from the results: {(job, contender): (seconds, ratio)}."""
    ((_, _, *rows),) = read_tables(RESULTS, "job")
    measured, job = {}, ""
    for cell, contender, seconds, ratio, *_ in rows:
        job = cell or job  # only the first row of a job names it
        measured[job, contender.removesuffix(", one thread")] = read_number(seconds), read_number(ratio)
    return measured


@pytest.mark.parametrize(("page", "columns"), [("docs/index.md", 3), (PERFORMANCE, 6), ("README.md", 6)])
def test_the_whole_jobs_that_a_page_shows_are_those_that_were_measured(page, columns):
    measured, shown = list_measured_jobs(), list_jobs(page)
    assert len(shown) == columns * len({job for job, _ in measured})
    for (job, name), number in shown.items():
        title = "xpnet, NumPy" if name == "xpnet" else name
        if number is None:
            assert (job, title) not in measured
        else:
            seconds, ratio = measured[job, title]
            assert number == seconds if title.startswith("xpnet") else abs(number - ratio) < 0.0501


def test_the_ratios_of_a_step_are_those_that_were_measured():
    short, full = read_tables(PERFORMANCE, "network"), read_tables(RESULTS, "ratio of times (quartiles)")
    assert len(short) == 2
    for (head, _, *rows), (networks, _, *ratios) in zip(short, full):  # the third was measured with one thread
        cells = {name: dict(zip(networks[1:], cells, strict=True)) for name, *cells in ratios}
        assert len(rows) == len(networks) - 1
        for network, *numbers in rows:
            assert numbers == [cells[peers.SHORT[name]][network].split()[0].strip("*") for name in head[1:]]


def test_the_times_of_predictions_are_those_that_were_measured():
    ((_, _, *measured),) = read_tables(RESULTS, "measurement")
    values = {name: value for name, value, _ in measured}
    ((head, _, *rows),) = read_tables(PERFORMANCE, "rows")
    for n, network, *ratios in rows:
        for library, ratio in zip(head[2:], ratios, strict=True):
            name = f"`predict_proba` of {n} rows, {network}, NumPy, relative to {library}"
            assert values.pop(name).split()[0] == ratio
    assert not [name for name in values if "relative to scikit-learn" in name or "relative to PyTorch" in name]


def test_the_sentences_above_the_tables_say_what_the_tables_show():
    text = " ".join((ROOT / PERFORMANCE).read_text().split())
    ratios = [n for (_, name), n in list_jobs(PERFORMANCE).items() if n is not None and not name.startswith("xpnet")]
    assert f"other libraries take {min(ratios)} to {max(ratios)} times as long as xpnet on NumPy" in text
    columns = {}
    for head, _, *rows in read_tables(PERFORMANCE, "network"):
        for name, *cells in zip(head, *rows):
            columns.setdefault(name, []).extend(cells)
    numbers = {
        name: list(filter(None, map(read_number, cells))) for name, cells in columns.items() if name in peers.SHORT
    }
    spans = {name: f"{min(each):.2f} to {max(each):.2f} of" for name, each in numbers.items()}
    assert f"{spans['PyTorch, autograd']} the time of PyTorch with autograd" in text
    assert f"{spans['scikit-learn']} that of scikit-learn" in text
    by_hand = max(abs(ratio - 1) for ratio in numbers["NumPy by hand"])
    assert f"as long as one written by hand for NumPy, within {by_hand:.0%}" in text.replace(" %", "%")
    longest = max(numbers["JAX by hand"]) - 1
    assert f"at most {longest:.0%} longer than one written by hand for JAX" in text.replace(" %", "%")


def test_the_example_on_the_first_page_has_ten_lines():
    examples = doctest.DocTestParser().get_examples((DOCS / "index.md").read_text())
    assert sum(len(example.source.splitlines()) for example in examples) == 10
