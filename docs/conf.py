"""Settings of the documentation: sphinx-build -W --keep-going -b html docs docs/_build/html."""

import importlib
import inspect

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

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
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.svgbob",  # draws the diagrams that pages hold as text
]
exclude_patterns = ["_build", "generated"]
default_role = "py:obj"

html_theme = "furo"
html_title = f"xpnet {version}"
html_math_renderer = "mathml"
copybutton_prompt_text = r">>> |\.\.\. ?|\$ "  # a copy leaves out the prompts, and the answers
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = False  # the tables in api.md link to entries on the same page
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

# Modules of public names: every name in their __all__ has an entry in api.md
PUBLIC = ("activations", "costs", "datasets", "estimators", "metrics")
# Internal modules with an entry for every class and function
DOCUMENTED = (
    *("bench", "core.backprop", "core.dropout", "core.initializers", "core.minibatch", "core.model", "core.step"),
    *("core.optimizers.adam", "core.optimizers.base", "core.optimizers.sgd", "core.optimizers.wrappers"),
    *("training.callbacks", "training.history", "view"),
)


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a public name that has no entry, so that a strict build fails."""
    entries = env.get_domain("py").data["objects"]
    public = {f"xpnet.{name}" for name in xpnet.__all__}
    expected = set(public)
    for module in PUBLIC:
        expected |= {f"xpnet.{module}.{name}" for name in importlib.import_module(f"xpnet.{module}").__all__}
    for module in DOCUMENTED:
        for name, member in vars(importlib.import_module(f"xpnet.{module}")).items():
            is_own = inspect.isroutine(member) or inspect.isclass(member)
            if is_own and member.__module__ == f"xpnet.{module}" and not name.startswith("_"):
                expected.add(f"xpnet.{name}" if f"xpnet.{name}" in public else f"xpnet.{module}.{name}")
    for name in sorted(expected - set(entries)):
        logging.getLogger(__name__).warning("%s is public and has no entry in the API reference", name)


def end_blocks(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take away the empty line that ends a block of examples in the pages: doctest needs it, a reader does not."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def write_formula(self: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers draw themselves: no script, no fonts, no network."""
    self.body.append(convert(node.astext(), display="block" if isinstance(node, nodes.math_block) else "inline"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("env-check-consistency", check_complete)
    app.connect("source-read", end_blocks)
