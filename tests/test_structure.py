"""The rules of the layout, held by reading the sources and by looking at a fresh interpreter."""

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from helpers import installed

import xpnet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xpnet"
LIBRARIES = {"cupy", "torch", "torchvision", "jax", "array_api_compat.cupy", "array_api_compat.torch"}

# Each level may import those before it
LEVELS = [
    {"arrays", "errors"},
    {"examples", "special", "activations", "schedules", "initializers", "callbacks"},
    {"optimizers", "backends", "scaling"},
    {"rectifiers", "costs", "adaptive", "modifiers", "dropout", "metrics", "backends._replay"},
    {"backends._numpy", "backends._cupy", "backends._torch", "backends._jax", "names", "backprop"},
    {"arguments", "data", "checkpoint"},
    {"training", "datasets", "parameters", "inspection", "prediction", "preparation", "threads"},
    {"evaluation"},
    {"network"},
    {"gradcheck", "bench", "estimators.following"},
    {"estimators.labels", "estimators.checking", "estimators.sparse_rows", "estimators.lbfgs", "estimators.settings"},
    {"estimators.convergence"},
    {"estimators.fitting"},
    {"estimators.perceptron", "estimators.exchange"},
    {"estimators.classifier", "estimators.regressor"},
    {"estimators"},
    {"cli"},
    {"__main__"},
]
CORE = ("network", "backprop", "activations", "costs", "optimizers", "backends/__init__")


def modules():
    return {
        str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imports(path, inside_functions=True):
    """Modules that a file imports, in full; not those that only a type checker sees."""
    tree = ast.parse(path.read_text())
    if not inside_functions:
        tree.body = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_go_one_way():
    levels = {name: number for number, names in enumerate(LEVELS) for name in names}
    found = modules()
    assert set(found) - {"__init__"} == set(levels), "a new module belongs to a level"
    for name in levels:
        for imported in imports(found[name]):
            imported = imported.removeprefix("xpnet.")
            if imported in levels:
                assert levels[imported] < levels[name], f"{name} imports {imported}"


def test_no_array_library_is_named_outside_backends():
    """But torchvision, which reads data sets, in `datasets` and inside a function."""
    for name, path in modules().items():
        if name.startswith("backends."):
            continue
        named = {each for each in imports(path) if each.split(".")[0] in LIBRARIES or each in LIBRARIES}
        assert named <= ({"torchvision", "torchvision.datasets"} if name == "datasets" else set()), name
        assert not any(each.startswith("torchvision") for each in imports(path, inside_functions=False))


def code_lines(path):
    """Lines of code: docstrings, comments and blank lines do not count."""
    source, docs = path.read_text(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            docs |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type not in skip]
    return len({line for t in tokens for line in range(t.start[0], t.end[0] + 1)} - docs)


def test_the_core_reads_in_an_afternoon():
    assert sum(code_lines(PACKAGE / f"{name}.py") for name in CORE) <= 700
    assert code_lines(PACKAGE / "backprop.py") <= 120


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


OTHERS = (
    "{m.split('.')[0] for m in sys.modules} & {'torch', 'jax', 'jaxlib', 'cupy', 'torchvision', 'matplotlib', 'PIL'}"
)


def test_import_brings_no_array_library_and_prints_nothing():
    out, err = run(f"import sys, xpnet; print({OTHERS} | {{'numpy', 'tqdm', 'safetensors'}} & set(sys.modules))")
    assert (out, err) == ("set()", "")


def test_training_on_numpy_brings_no_other_array_library():
    out, _ = run(
        "import sys; from xpnet import Network; import numpy as np; "
        f"Network([2, 1]).train((np.ones((3, 2)), [0, 1, 0]), epochs=1, progress=False); print({OTHERS})"
    )
    assert out == "set()"


@pytest.mark.parametrize("name", installed(["torch", "jax"]))
def test_a_backend_brings_its_own_library_only(name):
    out, _ = run(f"import sys; from xpnet import Network; Network([2, 1], backend='{name}'); print({OTHERS})")
    assert name in out
    assert {"torch": "jax", "jax": "torch"}[name] not in out
    assert "cupy" not in out


def test_the_public_names_are_there():
    assert set(xpnet.__all__) <= set(dir(xpnet))
    for name in xpnet.__all__:
        assert getattr(xpnet, name).__doc__, name
    assert xpnet.datasets.mnist_sample
    with pytest.raises(AttributeError, match="module 'xpnet' has no attribute 'nothing'"):
        _ = xpnet.nothing
