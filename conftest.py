"""What pytest leaves out when it collects doctests, and how it says what was skipped."""

from collections import Counter
from importlib.util import find_spec

import pytest

PASSED = "xpnet/passed"  # the tests that passed in the last run, in pytest's cache

OPTIONAL = {f"xpnet/backends/_{name}.py": (name,) for name in ("cupy", "torch", "jax", "dpnp")}
OPTIONAL |= {"xpnet/backends/_cuda_graph.py": ("cupy",), "xpnet/export/_torch_modules.py": ("torch",)}
OPTIONAL |= {"xpnet/export/_torch.py": ("torch",), "xpnet/export/_jax.py": ("jax",), "xpnet/export/onnx.py": ("onnx",)}
OPTIONAL |= {"docs/use/export.md": ("onnx", "onnxruntime", "torch"), "docs/use/larger-programs.md": ("torch", "jax")}
OPTIONAL |= {"docs/use/serve.md": ("pandas", "fastapi", "httpx2")}
OPTIONAL |= {"docs/use/derivatives.md": ("jax",), "docs/use/differential-equations.md": ("matplotlib",)}
OPTIONAL |= {"docs/use/inverse-problems.md": ("matplotlib",)}
OPTIONAL |= dict.fromkeys(("xpnet/plots", "tests/test_plots.py", "docs/index.md"), ("matplotlib",))
OPTIONAL |= dict.fromkeys(("docs/use/inspect.md", "docs/use/intervals.md"), ("matplotlib",))
OPTIONAL |= dict.fromkeys((f"docs/use/{name}.md" for name in ("tables", "table-columns", "table-models")), ("pandas",))
OPTIONAL |= {"docs/use/explain.md": ("pandas", "matplotlib"), "xpnet/tables/_explain.py": ("pandas",)}
OPTIONAL |= dict.fromkeys((f"xpnet/tables/{name}.py" for name in ("_cells", "_encoder", "_models")), ("pandas",))
MISSING = {path: name for path, names in OPTIONAL.items() for name in names if find_spec(name) is None}

# Pages whose examples take more than half a second
SLOW = (
    "book",
    "derivatives",
    "differential-equations",
    "ensembles",
    "error-bars",
    "export",
    "inspect",
    "inverse-problems",
    "larger-programs",
    "surrogates",
)
SLOW_PAGES = {f"{name}.md" for name in (*SLOW, "explain", "scikit-learn", "search", "serve", "table-models")}

# Programs, and what replaces CuPy
collect_ignore = ["docs/conf.py", "tests/host_cupy", *MISSING]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option by which CI does not repeat what has just passed in the environment of README's command."""
    parser.addoption("--not-passed", action="store_true", help="leave out tests that passed in the last run")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the examples of pages that take long."""
    if item.path.name in SLOW_PAGES:
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)  # combinations are chosen from all, as they were then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that passed in the last run, if asked to."""
    passed = {*config.cache.get(PASSED, [])} if config.getoption("not_passed") else set()
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
    items[:] = [item for item in items if item.nodeid not in passed]


def pytest_report_header() -> list[str]:
    """Say what is left out, and why."""
    return [f"left out: {path}, as {name} is not installed" for path, name in MISSING.items()]


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Remember what passed, and say why tests were skipped, a line for each reason and not one for each test."""
    if hasattr(config, "cache"):  # as it is not with -p no:cacheprovider
        config.cache.set(PASSED, sorted({report.nodeid for report in terminalreporter.stats.get("passed", [])}))
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")
