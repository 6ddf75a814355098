"""The pages: what they tell people to install, their length, and the figures that they show."""

import doctest
import itertools
import re
import runpy
import textwrap
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = {"_build", "generated", "notebooks"}  # folders that a build of the pages fills
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in WRITTEN)
PERFORMANCE = "docs/understand/performance.md"
TOOL = runpy.run_path(str(ROOT / "tools" / "try_installs.py"))
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])

# Code in the examples of a page -> the extras of which one brings what the code needs
NEEDS = {
    r"import sklearn|from sklearn|xpnet\.estimators|validation_split=": {"sklearn", "tables"},
    r"import torch\b|from torch\b|\"torch\"": {"torch", "vision"},
    r"torchvision": {"vision"},
    r"to_onnx\(": {"onnx"},
    r"(to|from)_torch\(": {"torch", "vision"},
    r"import jax|\"jax\"|(to|from)_jax\(": {"jax"},
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


# The way to every page


def test_the_calculations_by_hand_fit_on_a_phone():
    by_hand = (DOCS / "learn" / "one-step.md").read_text().partition("\n## By hand\n")[2].partition("\n## ")[0]
    blocks = [block for block in re.findall(r"```pycon\n(.*?)```", by_hand, re.DOTALL) if "= show(" in block]
    assert len(blocks) == 6  # forward, four equations, update
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 50  # at the size in style.css


def test_every_page_is_in_the_table_of_contents():
    listed = []
    for page in PAGES:
        for tree in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed += [str((page.parent / name).relative_to(DOCS)) for name in names]
    pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page != DOCS / "index.md"]
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "examples").glob("*.ipynb")]
    assert sorted(listed) == sorted([*pages, *notebooks])


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_learners_find_their_first_page_before_they_read_how_long_trainings_take(page):
    text = (ROOT / page).read_text()
    assert "learn/get-started.md" in text.partition("**For learners**")[2].partition("**For scientists**")[0]
    assert text.index("neural_network_from_scratch.ipynb") < text.index("## How long it takes")


def test_no_page_that_the_equations_link_to_is_about_cuda():
    """Nor one that another page of Learn links to where it speaks of the equations."""
    about_cuda = {page for page in PAGES if "CUDA" in page.read_text()}
    pages = [page for page in (DOCS / "learn").glob("*.md") if "BP1" in page.read_text()]
    assert DOCS / "learn" / "equations.md" in pages
    for page in pages:
        linked = {(page.parent / name).resolve() for name in re.findall(r"\]\(([^)#:]+\.md)", page.read_text())}
        assert not linked & about_cuda, page


# Code: that of a page is the library's


def test_the_code_beside_the_equations_is_that_of_the_library():
    """Each block, apart from its indentation, stands in `xpnet/core`."""
    pages = ("learn/equations.md", "learn/one-step.md", "use/derivatives.md")
    blocks = {page: re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL) for page in pages}
    assert {page: [re.findall(r"  # (BP\d)", code) for code in codes] for page, codes in blocks.items()} == {
        "learn/equations.md": [[], ["BP1"], [], ["BP2"], ["BP3"], ["BP4"]],
        "learn/one-step.md": [[], []],
        "use/derivatives.md": [["BP2"]],
    }
    sources = [(ROOT / "xpnet" / "core" / name).read_text() for name in ("backprop.py", "step.py", "costs.py")]
    sources = [source.replace("  # type: ignore", "") for source in sources]
    for block in itertools.chain(*blocks.values()):
        indented = [textwrap.indent(block, " " * width) for width in (0, 4, 8)]
        assert any(f"\n{code}" in source for source in sources for code in indented), block


# Figures: they are the same wherever they are shown


def read_table(page, heading):
    """Read the table of a page whose first row begins with that heading: its first row, and the others by name."""
    text = (ROOT / page).read_text().partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return head, {name: cells for name, *cells in rows}


@pytest.mark.parametrize("page", ["docs/index.md", "README.md"])
def test_the_whole_jobs_that_a_page_shows_are_those_of_performance(page):
    (titles, measured), (head, shown) = (read_table(name, "job") for name in (PERFORMANCE, page))
    columns = [titles.index("xpnet, NumPy" if title == "xpnet" else title) for title in head]
    assert shown == {job: [cells[i] for i in columns] for job, cells in measured.items()}


def show_span(cells):
    """Format the smallest and the largest of some multiples, as sentences have them."""
    shown = sorted((cell.removesuffix("×") for cell in cells if cell.endswith("×")), key=float)
    return f"{shown[0]} to {shown[-1]} times as long"


def test_the_sentences_about_performance_say_what_the_tables_show():
    text = " ".join((ROOT / PERFORMANCE).read_text().split())
    _, jobs = read_table(PERFORMANCE, "job")
    assert f"other libraries take {show_span(cell for cells in jobs.values() for cell in cells)} as xpnet" in text
    titles, rows = read_table(PERFORMANCE, "network")
    spans = {title: show_span(cells[i] for cells in rows.values()) for i, title in enumerate(titles)}
    assert f"by hand for NumPy takes {spans['NumPy by hand']} as xpnet on NumPy" in text
    assert f"for JAX {spans['JAX by hand']} as xpnet on JAX" in text
    assert f"PyTorch with autograd takes {spans['PyTorch, autograd']}" in text


def test_the_example_on_the_first_page_has_ten_lines():
    examples = doctest.DocTestParser().get_examples((DOCS / "index.md").read_text())
    assert sum(len(example.source.splitlines()) for example in examples) == 10
