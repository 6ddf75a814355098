"""Settings of the documentation: sphinx-build -W -j auto docs docs/_build/html."""

import contextlib
import doctest
import functools
import hashlib
import html
import importlib
import inspect
import json
import os
import re
import types
from collections.abc import Callable
from html import escape
from importlib import metadata
from io import StringIO
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

# Threads that wait for one another take much longer over small products; read when NumPy is imported, in notebooks too
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import matplotlib.pyplot as plt
import numpy as np
import ziamath
from bs4 import BeautifulSoup
from docutils import nodes
from fontTools.ttLib import TTFont
from latex2mathml.converter import convert
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.index_entries import split_index_msg
from sphinx.util.inspect import object_description, stringify_signature
from sphinx.util.inspect import signature as find_signature
from sphinx.util.typing import stringify_annotation
from sphinx.writers.html5 import HTML5Translator

import xpnet
from xpnet import Adam, Network, plots
from xpnet.datasets import mnist_sample
from xpnet.export import write_lesson, write_page
from xpnet.pages import LESSONS

DOCS = Path(__file__).parent
os.environ["MATPLOTLIBRC"] = str(DOCS / "notebooks.matplotlibrc")  # of the kernels that run the notebooks
os.environ["JUPYTER_PATH"] = str(DOCS)  # kernels/ is the usual one, without its warning that its port is not encrypted

project = "xpnet"
author = "The xpnet developers"
copyright = author
version = release = xpnet.__version__

extensions = [
    "myst_nb",  # MyST, and the notebooks, which it runs
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.svgbob",  # draws the diagrams that pages hold as text
]
exclude_patterns = ["_build", "generated"]
default_role = "py:obj"
smartquotes_action = "qe"  # not dashes: -- begins an option

html_theme = "furo"
html_title = f"xpnet {version}"
html_favicon = "favicon.svg"
templates_path = ["templates"]
pygments_dark_style = "a11y-dark"  # the theme's underlines names of modules, as if they were links
MATH_FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
html_static_path = ["style.css", "frames.js", "scrolling.js"]
html_css_files = ["style.css"]
html_js_files = ["frames.js", "scrolling.js"]
html_math_renderer = "mathml"
html_copy_source = False
copybutton_prompt_text = r">>> |\.\.\. ?|\$ "  # a copy leaves out the prompts, and the answers
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

nb_execution_raise_on_error = True
nb_execution_timeout = 120  # seconds for a cell
nb_merge_streams = True
nb_output_stderr = "remove"  # says which of this machine's devices cannot be used

autosummary_generate = True  # a page for each name in the tables of reference/api.md
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = False
numpydoc_show_class_members = False

# Modules of public names: every name in their __all__ has an entry in a page of reference/
PUBLIC = (
    *("activations", "costs", "datasets", "estimators", "learn", "learn.exercises"),
    *("export", "metrics", "plots"),
)


# Members to show of classes of the kernel, which have more for other modules than for users
MEMBERS = {
    "Callback": "on_train_begin on_epoch_begin on_chunk_end on_epoch_end on_train_end get_state set_state",
    "History": "to_dict to_pandas",
    "SGD": "init update",
    "core.optimizers.Optimizer": "init update",
    "core.scaling.Scaling": "inputs targets outputs",
    "training.Data": "part split fit_scaling scaled",
    "training.Stream": "moments give_to finish close",
    "training.callbacks.Monitor": "improves",
    "value.Provenance": "to_dict",
}


def list_members(name: str, kind: type) -> list[str]:
    """List the methods and properties to show of a class: not fields, which its docstring describes."""
    if name in MEMBERS or kind.__module__.startswith(("xpnet.core", "xpnet.training", "xpnet.value")):
        return MEMBERS.get(name, "").split()
    bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith("xpnet")]
    members = {name: member for base in bases for name, member in vars(base).items() if not name.startswith("_")}
    kinds = (types.FunctionType, property, classmethod, staticmethod, functools.cached_property)
    return [name for name, member in members.items() if isinstance(member, kinds) and member.__doc__]


LISTED = re.findall(r"^   ([\w.]+)$", (DOCS / "reference" / "api.md").read_text(), re.MULTILINE)


LINKED = {"Activation", "Cost", *(name.rpartition(".")[2] for name in LISTED)}  # where they are types of parameters


def find_members() -> dict[str, list[str]]:
    """Find the members of each class in the tables of reference/api.md, for the template of its page."""
    members = {}
    for name in LISTED:
        module, _, short = f"xpnet.{name}".rpartition(".")
        thing = getattr(importlib.import_module(module), short)
        if inspect.isclass(thing):
            members[f"xpnet.{name}"] = list_members(name, thing)
    return members


autosummary_context = {"members_of": find_members()}
for page in (DOCS / "reference" / "generated").glob("*.rst"):  # of an earlier build
    if page.stem.removeprefix("xpnet.") not in LISTED:
        page.unlink()


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a public name that has no entry, so that a strict build fails."""
    entries = env.get_domain("py").data["objects"]
    expected = {f"xpnet.{name}" for name in xpnet.__all__}
    for module in PUBLIC:
        expected |= {f"xpnet.{module}.{name}" for name in importlib.import_module(f"xpnet.{module}").__all__}
    for name in sorted(expected - set(entries)):
        logging.getLogger(__name__).warning("%s is public and has no entry in the API reference", name)


def list_parameters(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Leave the types out of a signature whose docstring describes the parameters, where `add_types` writes them."""
    if not arguments or "\nParameters\n" not in (inspect.getdoc(thing) or ""):
        return None
    parameters = [parameter for name, parameter in find_signature(thing).parameters.items() if name != "self"]
    return stringify_signature(inspect.Signature(parameters), show_annotation=False), returns


def add_types(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Write the type and the default of each parameter beside its name, above its description."""
    if "Parameters" not in lines:
        return
    parameters = find_signature(thing).parameters
    for i in range(lines.index("Parameters") + 2, len(lines)):
        if lines[i].startswith("---"):  # the next section
            break
        names = [name.lstrip("*") for name in lines[i].split(", ")]
        if all(name in parameters for name in names):
            texts = dict.fromkeys(describe(parameters[name]) for name in names)
            lines[i] = " : ".join(filter(None, (lines[i], "; ".join(texts))))


def describe(parameter: inspect.Parameter) -> str:
    """Return the type of a parameter, with links to the library's, and its default."""
    kind, default = parameter.annotation, parameter.default
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    text = "" if kind is inspect.Parameter.empty else re.sub(r"~(\w+\.)+", "", stringify_annotation(kind, "smart"))
    text = re.sub(r"Literal\[(.*?)\]", lambda values: values[1].replace(", ", " | "), text)
    text = re.sub(r"'\w+'", r"``\g<0>``", text)
    text = re.sub(r"\b[A-Z]\w+", lambda name: f"`.{name[0]}`" if name[0] in LINKED else name[0], text)
    value = "" if default is inspect.Parameter.empty else f"default ``{object_description(default)}``"
    return ", ".join(part for part in (text, value) if part not in ("", "Any"))


def end_blocks(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take away the empty line that ends a block of examples in the pages: doctest needs it, a reader does not."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def highlight_equations(app: Sphinx, doctree: nodes.document) -> None:
    """Highlight the lines of code that are one of the four equations."""
    for block in doctree.findall(nodes.literal_block):
        lines = [i for i, line in enumerate(block.astext().splitlines(), 1) if re.search("  # BP[1-4]", line)]
        if lines and block["language"] == "python":
            block["highlight_args"] = {"hl_lines": lines}


def embed_diagrams(app: Sphinx, doctree: nodes.document) -> None:
    """Put the diagrams into the pages themselves, where they have the colours of the page, light or dark."""
    for image in list(doctree.findall(lambda node: isinstance(node, nodes.image) and "svgbob" in node)):
        drawing = (Path(doctree["source"]).parent / image["uri"]).read_text()
        for color, of_page in (("black", "currentColor"), ("white", "var(--color-background-primary)")):
            drawing = drawing.replace(f": {color};", f": {of_page};")
        section = image.parent
        while not isinstance(section, nodes.section):
            section = section.parent
        label = html.escape(f"Diagram: {section[0].astext()}")
        size = rf'viewBox="0 0 \1 \2" role="img" aria-label="{label}"'
        drawing = re.sub('width="([0-9.]+)" height="([0-9.]+)"', size, drawing, count=1)
        image.replace_self(nodes.raw("", f'<div class="diagram">{drawing}</div>', format="html"))


def mend_links_to_docs(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Let the link from each definition in a page of code lead to its entry.

    viewcode takes all entries for names of one module, but those that `xpnet` exports have its name, and others not.
    """
    if not pagename.startswith("_modules/xpnet/"):
        return
    entries = app.env.get_domain("py").data["objects"]
    module = pagename.removeprefix("_modules/").replace("/", ".")

    def find_entry(link: re.Match[str]) -> str:
        name = f"{module}.{link['name']}"
        if f"{link['module']}.{link['name']}" in entries or name not in entries:
            return link[0]
        return f'href="{app.builder.get_relative_uri(pagename, entries[name].docname)}#{name}"'

    pattern = f'(?<=class="viewcode-back" )href="[^"#]*#(?P<module>xpnet|{re.escape(module)})\\.(?P<name>[^"]*)"'
    context["body"] = re.sub(pattern, find_entry, context["body"])


def write_formula(self: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers draw themselves, with the font in style.css."""
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if block else "inline")
    if "\\" in formula:
        logging.getLogger(__name__).warning("latex2mathml does not understand %s", node.astext(), location=node)
    # Spaces as TeX has them: around the name of a function, such as ln, and not inside the bars of an absolute value
    formula = re.sub("<mo>([a-z]{2,})</mo>", r"<mi>\1</mi>", formula)
    space = '<mspace width="0.17em"/>'
    formula = re.sub("(<mi>[a-z]{2,}</mi>)(?=<m[^o])", rf"\1{space}", formula)
    formula = re.sub("(</m[^o][a-z]*>)(?=<mi>[a-z]{2,}</mi>)", rf"\1{space}", formula)
    formula = re.sub("<mo>(&#x0(?:2202|2207);)</mo>", r'<mi mathvariant="normal">\1</mi>', formula)  # ∂ and ∇
    formula = re.sub("<mo[^>]*>(?=&#x0(007C|2223|2016);)", '<mo lspace="0" rspace="0" stretchy="false">', formula)
    self.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def join_marks(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Keep a formula and the full stop or comma after it on one line, where browsers would let it begin the next."""
    for formula in list(doctree.findall(nodes.math)):
        after = formula.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and after[:1] in ".,;:)":
            i = next(i for i, node in enumerate(after.parent) if node is after)  # an equal text may come before it
            after.parent[i] = nodes.Text(after[1:])
            formula.replace_self(nodes.inline("", "", formula.deepcopy(), nodes.Text(after[:1]), classes=["together"]))


GENERATED = DOCS / "generated"


@functools.cache
def hash_library() -> str:
    """Return a digest of the library, and of the packages that compute and draw."""
    files = [
        path for path in sorted(Path(xpnet.__file__).parent.rglob("*")) if path.is_file() and path.suffix != ".pyc"
    ]
    versions = [metadata.version(package) for package in ("numpy", "scikit-learn", "matplotlib")]
    return hash_texts(*versions, *(path.read_bytes().decode("latin-1") for path in files))


def hash_texts(*texts: str) -> str:
    """Return a digest of texts."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def refresh(path: Path, code: str, write: Callable[[Path], object]) -> None:
    """Write a file if it is missing, or not made by this code, these settings and this library."""
    made_by, mark = hash_texts(hash_library(), Path(__file__).read_text(), code), GENERATED / "made_by" / path.name
    if not (path.exists() and mark.exists() and mark.read_text() == made_by):
        path.parent.mkdir(parents=True, exist_ok=True)
        mark.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        mark.write_text(made_by)


def read_code(source: str) -> str:
    """Read an example, or those of a page that show no errors."""
    text = (DOCS.parent / source).read_text()
    if source.endswith(".py"):
        return text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(text) if not example.exc_msg)


@functools.cache
def run(source: str) -> dict[str, Any]:
    """Run an example, or those of a page, and return what they define."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(None):
        exec(read_code(source), names)
    return names


def draw_error_bars(names: dict[str, Any]) -> Figure:
    """Draw what `ensemble_error_bars.py` trains."""
    ensemble, train_data = names["train"]()
    return plots.error_bars(ensemble, *train_data)


def draw_search(names: dict[str, Any]) -> Figure:
    """Draw what `search.py` finds with half of its epochs, which shows the same."""
    figure, ax = plt.subplots(figsize=(5.5, 3.2))
    X, _, y, _ = names["load"]()
    names["draw_picture"](ax, names["search"](X, y, epochs=10).cv_results_)
    return figure


def draw_paths(names: dict[str, Any]) -> Figure:
    """Draw the paths from a weighted input to the cost, which BP2 adds up."""
    figure, ax = plt.subplots(figsize=(4.6, 2.7), layout="constrained")
    ax.set(xlim=(-0.4, 4.7), ylim=(-1.55, 1.55), aspect="equal")
    ax.set_axis_off()

    def draw_circle(x: float, y: float, symbol: str) -> None:
        ax.add_patch(Circle((x, y), 0.36, fill=False, edgecolor=plt.rcParams["axes.edgecolor"]))
        ax.text(x, y - 0.02, symbol, ha="center", va="center", fontsize=11)

    def draw_arrow(start: tuple[float, float], end: tuple[float, float], symbol: str, color: str) -> None:
        arrow = {"arrowstyle": "->", "color": color, "shrinkA": 23, "shrinkB": 23}
        ax.annotate("", end, start, arrowprops=arrow)
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.13
        ax.text(*middle, symbol, ha="center", va="bottom", fontsize=11)

    draw_arrow((0, 0), (1.2, 0), r"$\sigma'(z_j^l)$", "C7")
    for k, y, color in ((1, 1.1, "C0"), (2, 0.0, "C1"), (3, -1.1, "C2")):
        draw_arrow((1.2, 0), (2.8, y), rf"$w_{{{k}j}}^{{l+1}}$", color)
        draw_arrow((2.8, y), (4.3, 0), rf"$\delta_{k}^{{l+1}}$", color)
        draw_circle(2.8, y, rf"$z_{k}^{{l+1}}$")
    for x, symbol in ((0, "$z_j^l$"), (1.2, "$a_j^l$"), (4.3, "$C_x$")):
        draw_circle(x, 0, symbol)
    return figure


def draw_saturation(names: dict[str, Any]) -> Figure:
    """Draw the sigmoid above the weighted inputs of thirty units, with large and with small initial weights."""
    figure, (curve, inputs) = plt.subplots(2, 1, figsize=(5.5, 3.2), sharex=True, layout="constrained")
    z = np.linspace(-25, 25, 501)
    curve.plot(z, 1 / (1 + np.exp(-z)), color="C7")
    curve.set(ylabel=r"$\sigma(z)$", xlim=(-25, 25))
    images = mnist_sample()[0][0]
    for init, variance, line in (("scaled_normal", "1/784", "-"), ("normal", "1", "--")):
        net = Network([784, 30, 10], init=init, seed=0)
        z = images @ net.w[0].T + net.b[0]
        inputs.hist(z.ravel(), 50, range=(-25, 25), density=True, histtype="step", linestyle=line, label=variance)
    inputs.set(xlabel="$z$ of the hidden units", ylabel="density")
    inputs.legend(title="variance of the weights")
    return figure


PICTURES = {
    "first-page": (
        "docs/index.md",
        itemgetter("figure"),
        "The pixels of a nine, cells for thirty hidden units, and a long bar at output 9",
    ),
    "error-bars": (
        "examples/ensemble_error_bars.py",
        draw_error_bars,
        "A curve that networks have learnt; its error bars are wide where examples lack",
    ),
    "search": ("examples/search.py", draw_search, "Accuracy for each pair of a learning rate and an alpha"),
    "intervals": (
        "docs/use/intervals.md",
        itemgetter("pit"),
        "Histograms of ten bins, with a hill in the middle before the calibration, and a slight slope after it",
    ),
    "equations": (
        "docs/use/differential-equations.md",
        itemgetter("solutions"),
        "A damped oscillation, and a sine that becomes steep in the middle",
    ),
    "inverse": (
        "docs/use/inverse-problems.md",
        itemgetter("fits"),
        "A concentration that rises and falls among noisy points, and a rising line within a band that widens at its "
        "ends",
    ),
    "paths": (
        "docs/learn/equations.md",
        draw_paths,
        "An arrow from z of unit j to its a, with σ′(z); from there arrows to z of three units of the next layer, with "
        "their weights w; and from each of these an arrow to the cost, with its error δ",
    ),
    "saturation": (
        "docs/learn/questions.md",
        draw_saturation,
        "The sigmoid; below, a narrow hill of z where it is steep, for weights of variance 1/784, and a wide one that "
        "reaches far to where it is flat, for variance 1",
    ),
}
PICTURES |= {
    name: ("docs/use/inspect.md", itemgetter(name), label)
    for name, label in {
        "curves": "Cost and accuracy on training and test images after each epoch",
        "comparison": "The test accuracy after each epoch, with the quadratic cost and with cross-entropy",
        "confusion": "A table of ten by ten classes: nearly all test images are on the diagonal",
        "mistakes": "Twelve images of digits that are classified wrongly, with their true and predicted classes",
        "weights": "The weights of thirty hidden units as images: dark and light spots in the middle",
        "activations": "An image of a nine, the activations of thirty hidden units, and the largest output, the nine",
        "boundary": "Three arms of a spiral, each in the region that the network gives to its class",
        "bars": "A curve with bands of noise and disagreement; the disagreement grows beyond the examples",
        "against": "Predictions along a diagonal, and their residuals around 0",
    }.items()
}


def draw_picture(name: str, path: Path) -> None:
    """Run the code of a picture, and save what it draws, as the pages include it."""
    source, draw, label = PICTURES[name]
    text = "#010203"  # stands for the colour of the page's text, light or dark
    colors = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), text)
    svg = StringIO()
    with plt.rc_context({**colors, "backend": "agg", "svg.hashsalt": "xpnet", "legend.frameon": False}):
        figure = draw(run(source))
        figure.savefig(svg, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
    drawing = svg.getvalue().replace(text, "currentColor")
    drawing = drawing[drawing.index("<svg ") :]
    # These belong to a file of its own; several pictures on a page would have the same names of groups
    drawing = re.sub('<metadata>.*?</metadata>|<style.*?</style>|(?<=<g) id="[^"]*"', "", drawing, flags=re.DOTALL)
    size = f'role="img" aria-label="{label}" class="figure" stroke-linejoin="round"'
    path.write_text(re.sub('width="[^"]*" height="[^"]*"', size, drawing, count=1))


def draw_pictures(app: Sphinx) -> None:
    """Draw the pictures that the pages include."""
    for name, (source, _, _) in PICTURES.items():
        refresh(GENERATED / f"{name}.svg", read_code(source), functools.partial(draw_picture, name))


def learn_digits() -> Network:
    """Return the network of the examples of use/show.md."""
    net = run("docs/use/show.md")["net"]
    net.notes = {}
    return net


def learn_regression() -> Network:
    """Train a network on a function of four inputs."""
    rng = np.random.default_rng(0)
    x = rng.uniform([10, 1, 0, 0.2], [90, 6, 20, 3], size=(1000, 4))
    heat, flow, wind, depth = x.T
    y = np.stack([heat * np.exp(-depth / flow) + 0.02 * wind**2, flow * np.tanh(wind / 5) + 0.03 * heat], axis=1)
    net = Network([4, 30, 20, 2], activation="tanh", task="regression", standardize=True, seed=0)
    net.train((x, y), epochs=60, lr=0.01, optimizer=Adam(), progress=False)
    net.feature_names = ["heat", "flow", "wind", "depth"]
    return net


# page that readers can try -> function that trains its network, and its title
LIVE = {"digits": (learn_digits, "Handwritten digits"), "regression": (learn_regression, "A regression")}


def write_live_page(name: str, path: Path) -> None:
    """Write a page that readers can try."""
    learn, title = LIVE[name]
    write_page(learn(), path, title=title)


def compress_font(path: Path) -> None:
    """Write the font for formulas in half of the bytes."""
    font = TTFont(MATH_FONT)
    font.flavor = "woff"
    font.save(path)


def write_static_files(app: Sphinx) -> None:
    """Write the font, and the pages that readers can try, where Sphinx copies them to the site."""
    folder = GENERATED / "static"
    refresh(folder / f"{MATH_FONT.stem}.woff", "", compress_font)
    for name in LIVE:
        refresh(folder / f"{name}.html", read_code("docs/use/show.md"), functools.partial(write_live_page, name))
    for name in LESSONS:
        refresh(folder / f"{name}.html", "", functools.partial(write_lesson, name))
    app.config.html_static_path.append(str(folder))


class Live(SphinxDirective):
    """Shows one of the pages in `LIVE` or `LESSONS`, the argument, small in a frame. Its content describes the page."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the frame, and a link to the whole page."""
        if self.arguments[0] not in {**LIVE, **LESSONS}:
            raise self.error(f"{self.arguments[0]} is no live page; choose from {', '.join([*LIVE, *LESSONS])}")
        address = "../" * self.env.docname.count("/") + f"_static/{self.arguments[0]}.html"
        title = escape(" ".join(self.content))
        frame = f'<iframe class="live" src="{address}#compact" title="{title}" loading="lazy"></iframe>'
        link = f'<p class="live"><a href="{address}">Open the whole page</a></p>'
        return [nodes.raw("", frame + link, format="html")]


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks to where Sphinx finds pages; as they hold no outputs, it runs those that changed.

    Links to pages are those of the repository, and become those of the site. A copy changes with the library, too.
    """
    folder, settings = DOCS / "notebooks", Path(os.environ["MATPLOTLIBRC"]).read_text()
    folder.mkdir(exist_ok=True)
    for notebook in (DOCS.parent / "examples").glob("*.ipynb"):
        content, copy = json.loads(notebook.read_text().replace("](../docs/", "](../")), folder / notebook.name
        content["metadata"]["made_by"] = hash_texts(hash_library(), settings)
        text = json.dumps(content)
        if not copy.exists() or copy.read_text() != text:
            copy.write_text(text)


def shorten_sidebar(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let the sidebar list the names of the reference on its own pages alone; on all, they take a third of the time."""
    toctree = context["toctree"]
    context["toctree"] = lambda **options: toctree(**options | {"collapse": True})


def fold_sidebar(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Fold the groups of the sidebar; that of the page is open, and Learn on the first page."""
    tree = BeautifulSoup(context["furo_navigation_tree"], "html.parser")
    for caption in tree.select("p.caption"):
        pages, title = caption.find_next_sibling("ul"), caption.get_text()
        group, summary = tree.new_tag("details"), tree.new_tag("summary", attrs={"class": "caption"})
        if pages.select(".current") or (pagename == "index" and title == "Learn"):
            group["open"] = ""
        summary.string = title
        caption.replace_with(group)
        group.extend([summary, pages.extract()])
    context["furo_navigation_tree"] = str(tree)


def restore_index_entries(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the search the index entries of all pages: Sphinx forgets those of pages that it does not write again."""
    if pagename == "search":  # written in every build, before what the search knows
        known, entries = app.builder.indexer._index_entries, app.env.domains["index"].entries
        for name in app.env.all_docs.keys() - known.keys():
            found = [
                (word, target, main)
                for kind, value, target, main, _ in entries[name]
                for word in split_index_msg(kind, value)
            ]
            known[name] = sorted(set(found))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", draw_pictures)
    app.connect("builder-inited", copy_notebooks)
    app.connect("builder-inited", write_static_files)
    app.add_directive("live", Live)
    app.connect("env-check-consistency", check_complete)
    app.connect("source-read", end_blocks)
    app.connect("autodoc-process-signature", list_parameters)
    app.connect("autodoc-process-docstring", add_types, priority=400)  # before numpydoc reads it
    app.connect("doctree-read", highlight_equations)
    app.connect("doctree-read", embed_diagrams, priority=400)  # before Sphinx collects the images
    app.connect("doctree-resolved", join_marks)
    app.connect("html-page-context", mend_links_to_docs)
    app.connect("html-page-context", restore_index_entries)
    app.connect("html-page-context", shorten_sidebar)  # before the theme writes it
    app.connect("html-page-context", fold_sidebar, priority=900)  # after the theme has written it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
