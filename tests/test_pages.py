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


def read_ratios(kind):
    """Read the ratios of training steps from the results, of plain descent or momentum: {ratio: {network: number}}."""
    networks, _, *rows = read_tables(RESULTS, "ratio of times (quartiles)")[["book", "momentum"].index(kind)]
    return {name: dict(zip(networks[1:], map(read_number, cells), strict=True)) for name, *cells in rows}


def test_the_steps_of_a_page_are_those_that_were_measured():
    """The page says how many times as long others take, and the results have the inverse, with two decimals."""
    ((head, _, *rows),) = read_tables(PERFORMANCE, "network")
    measured = read_ratios("book")
    assert [network for network, *_ in rows] == list(measured["best xpnet / scikit-learn"])
    for network, *cells in rows:
        for name, cell in zip(head[1:], cells, strict=True):
            ratio = measured[peers.SHORT[name]][network]
            if ratio is None:
                assert cell == "–"
            else:  # both are rounded
                number, half = read_number(cell), 0.5 / 10 ** len(cell.rstrip("×").partition(".")[2])
                assert 1 / (number + half) < ratio + 0.005001
                assert 1 / (number - half) > ratio - 0.005001


def list_shown(name):
    """List how many times as long another takes for each network, as the page shows it."""
    ((head, _, *rows),) = read_tables(PERFORMANCE, "network")
    return [number for cells in rows if (number := read_number(cells[head.index(name)])) is not None]


def list_momentum(name):
    """List how many times as long another takes for each network with momentum: the inverses of the results."""
    return [1 / ratio for ratio in read_ratios("momentum")[peers.SHORT[name]].values() if ratio is not None]


def show_span(numbers):
    """Format the smallest and the largest of multiples, as sentences have them."""
    return " to ".join(peers.format_times(number).removesuffix("×") for number in (min(numbers), max(numbers)))


def test_the_sentences_about_steps_say_what_was_measured():
    text = " ".join((ROOT / PERFORMANCE).read_text().split())
    assert f"by hand for NumPy takes {show_span(list_shown('NumPy by hand'))} times as long" in text
    assert f"for JAX {show_span(list_shown('JAX by hand'))} times as long as xpnet on JAX" in text
    for list_times in (list_shown, list_momentum):
        assert f"PyTorch with autograd takes {show_span(list_times('PyTorch, autograd'))} times as long" in text
        assert f"scikit-learn {show_span(list_times('scikit-learn'))} times." in text


def test_the_sentence_about_predictions_says_what_was_measured():
    ((_, _, *measured),) = read_tables(RESULTS, "measurement")
    text = " ".join((ROOT / PERFORMANCE).read_text().split())
    for library, words in (
        ("scikit-learn", "scikit-learn takes {} times as long"),
        ("PyTorch", "and PyTorch {} times."),
    ):
        times = [1 / read_number(value) for name, value, _ in measured if name.endswith(f"relative to {library}")]
        assert len(times) == 4
        assert words.format(show_span(times)) in text


def test_the_sentence_about_whole_jobs_says_what_the_table_shows():
    text = " ".join((ROOT / PERFORMANCE).read_text().split())
    ratios = [n for (_, name), n in list_jobs(PERFORMANCE).items() if n is not None and not name.startswith("xpnet")]
    assert f"other libraries take {min(ratios)} to {max(ratios)} times as long as xpnet on NumPy" in text


def test_the_example_on_the_first_page_has_ten_lines():
    examples = doctest.DocTestParser().get_examples((DOCS / "index.md").read_text())
    assert sum(len(example.source.splitlines()) for example in examples) == 10
