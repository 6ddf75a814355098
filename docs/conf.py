"""Settings of the documentation: sphinx-build -W --keep-going -b html docs docs/_build/html."""

import importlib
import inspect
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import xpnet

project = "xpnet"
author = "The xpnet developers"
copyright = author
version = release = xpnet.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "generated"]
default_role = "py:obj"

html_theme = "furo"
html_title = f"xpnet {version}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = False  # the tables in api.md link to entries on the same page
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

# Modules whose every public class and function has an entry in api.md; of the others, only what is in xpnet.__all__.
DOCUMENTED = (
    *("activations", "adaptive", "backprop", "callbacks", "costs", "datasets", "dropout", "initializers", "metrics"),
    *("bench", "estimators", "examples", "modifiers", "names", "optimizers", "rectifiers", "schedules"),
)


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a public name that has no entry, so that a strict build fails."""
    entries = env.get_domain("py").data["objects"]
    wanted: dict[str, Any] = {f"xpnet.{name}": getattr(xpnet, name) for name in xpnet.__all__}
    for module in DOCUMENTED:
        members = vars(importlib.import_module(f"xpnet.{module}")).items()
        for name, member in members:
            own = inspect.isroutine(member) or inspect.isclass(member)
            if own and member.__module__ == f"xpnet.{module}" and not name.startswith("_"):
                wanted[f"xpnet.{module}.{name}"] = member
    for name in sorted(set(wanted) - set(entries)):
        logging.getLogger(__name__).warning("%s is public and has no entry in the API reference", name)


def end_blocks(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take away the empty line that ends a block of examples in the pages: doctest needs it, a reader does not."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("env-check-consistency", check_complete)
    app.connect("source-read", end_blocks)
