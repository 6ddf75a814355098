"""The pages: their commands, their place in the table of contents, the code and the figures that they repeat."""

import itertools
import re
import runpy
import textwrap
import tomllib
from pathlib import Path

import pytest
from helpers import run_command

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = {"_build", "generated", "notebooks"}  # folders that a build of the pages fills
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in WRITTEN)
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
    commands = runpy.run_path(str(ROOT / "tools" / "try_installs.py"))["find_commands"]()
    assert {("-e", "."), ("-e", ".[test]"), ("-e", ".[docs]"), ("-e", ".[tables]")} <= set(commands)
    assert commands["-e", ".[docs]"] == "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_whose_examples_need_an_extra_begins_with_its_command(page):
    text = page.read_text()
    code = "\n".join(re.findall(r"```(?:pycon|python)\n(.*?)```", text, re.DOTALL))
    beginning = set(extras(text.partition("\n## ")[0]))
    for pattern, choices in NEEDS.items():
        found = re.search(pattern, code)
        assert not found or beginning & choices, f"{found[0]} needs one of the extras {choices}"


def test_every_page_is_in_the_table_of_contents():
    listed = []
    for page in PAGES:
        for tree in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed += [str((page.parent / name).relative_to(DOCS)) for name in names]
    pages = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES if page != DOCS / "index.md"]
    notebooks = [f"notebooks/{path.stem}" for path in (ROOT / "examples").glob("*.ipynb")]
    assert sorted(listed) == sorted([*pages, *notebooks])


def test_links_between_files_lead_somewhere():
    """Relative links in the files that a build of the pages does not check: README and the like, and the notebooks."""
    for file in [*ROOT.glob("*.md"), ROOT / "benchmarks/README.md", *(ROOT / "examples").glob("*.ipynb")]:
        for link in re.findall(r"\]\(([^):\s#]+)[#)]", file.read_text()):
            assert (file.parent / link).exists(), f"{file.name} links to {link}"


def test_files_that_pages_name_exist():
    pattern = r"\b(?:tests|benchmarks|tools|examples|xpnet)/[\w/]+\.(?:py|c|json|ipynb|md)\b"
    for file in [*ROOT.glob("*.md"), *PAGES]:
        for path in re.findall(pattern, file.read_text()):
            assert (ROOT / path).exists(), f"{file.name} names {path}"


def test_the_code_beside_the_equations_is_that_of_the_library():
    """Each block, apart from its indentation, stands in `xpnet/core`."""
    pages = ("learn/equations.md", "learn/one-step.md", "use/derivatives.md")
    blocks = {page: re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL) for page in pages}
    equations = re.findall(r"  # (BP\d)", "".join(itertools.chain(*blocks.values())))
    assert equations == ["BP1", "BP2", "BP3", "BP4", "BP2"]
    sources = [(ROOT / "xpnet" / "core" / name).read_text() for name in ("backprop.py", "step.py", "costs.py")]
    sources = [source.replace("  # type: ignore", "") for source in sources]
    for block in itertools.chain(*blocks.values()):
        indented = [textwrap.indent(block, " " * width) for width in (0, 4, 8)]
        assert any(f"\n{code}" in source for source in sources for code in indented), block


def read_table(page, heading):
    """Read the table of a page whose first row begins with that heading: its first row, and the others by name."""
    text = (ROOT / page).read_text().partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return head, {name: cells for name, *cells in rows}


def test_the_whole_jobs_that_readme_shows_are_those_of_performance():
    _, measured = read_table("docs/understand/performance.md", "job")
    _, shown = read_table("README.md", "task")
    for job, (seconds, _, sklearn, torch) in measured.items():
        assert shown[job] == [seconds, sklearn, f"PyTorch {torch}" if torch != "–" else ""]


@pytest.mark.needs("pandas", "sklearn")
def test_the_commands_on_tables_print_what_the_page_shows(capsys, tmp_path, monkeypatch):
    """Two epochs print the same lines, but for numbers."""
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "use" / "tables.md").read_text()
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    train, info, predict = re.findall(r"^xpnet (\w+ .*penguins.*)", page, re.MULTILINE)
    lines = run_command(capsys, *train.split(), "--epochs", 2)[1]
    shown = [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    printed, expected = (
        {re.sub(r"-?\d+\.?\d*", "0", " ".join(line.split())) for line in some if "(1 of 8)" not in line}
        for some in (lines, shown)
    )
    assert expected - printed == {"..."}
    assert [run_command(capsys, *words.split())[0] for words in (info, predict)] == [0, 0]
