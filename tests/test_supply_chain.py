"""What xpnet brings and what it reaches for: no network, nothing executed from files, every licence in its place."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_structure import modules, parse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xpnet"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Refuses every use of the network and every other program, and remembers it: libraries may swallow the error
GUARD = """
import json, sys
events = []
def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.spawn")):
        if event not in ("socket.__new__", "socket.gethostname"):  # these reach nobody
            events.append(f"{event} {arguments[:2]!r}")  # without the environment of a program
            raise OSError("no network here")
sys.addaudithook(refuse)
"""

USE = """
import contextlib, os, pkgutil, sys
import xpnet
from xpnet import Adam, EarlyStopping, ModelCheckpoint, Network
from xpnet.datasets import mnist_sample

folder = sys.argv[1]
(x, y), test_data = mnist_sample()
net = Network([784, 10, 10], scale=0.5, dropout=0.1, seed=0)
net.train((x[:200], y[:200]), epochs=2, optimizer=Adam(), validation_split=0.1, test_data=test_data, progress=False,
          callbacks=[EarlyStopping(), ModelCheckpoint(folder + "/best")])
net.save(folder + "/net")
Network.load(folder + "/net").predict(test_data[0])

import importlib.util
for module in pkgutil.walk_packages(xpnet.__path__, "xpnet."):
    # the command would begin, each backend and modules of PyTorch need their library, and pictures need matplotlib
    left_out = ("xpnet.__main__", "xpnet.backends._", "xpnet.export._torch_modules")
    if importlib.util.find_spec("matplotlib") is None:
        left_out += ("xpnet.plots",)
    if not module.name.startswith(left_out):
        importlib.import_module(module.name)
from xpnet.cli import main
from xpnet.estimators import MLPClassifier, MLPRegressor
for estimator in (MLPClassifier, MLPRegressor):
    estimator(max_iter=2, n_iter_no_change=2, early_stopping=True).fit(x[:200], y[:200]).predict(x[:10])
if importlib.util.find_spec("onnx"):
    xpnet.export.to_onnx(net, folder + "/net.onnx")
with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
    assert main(["train", "--epochs", "1", "--save", folder + "/digits.safetensors"]) == 0
    assert main(["evaluate", folder + "/digits.safetensors"]) == 0
"""

# As datasets are downloaded
DOWNLOAD = """
import urllib.request
assert events == [], events
try:
    urllib.request.urlopen("https://example.org")
except OSError as error:
    assert "no network here" in str(error), error
"""


def run(code, *arguments):
    """Run code under the guard in a new process, and return what it reached for."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        f"{GUARD}\n{code}\nprint(json.dumps(events))",
        *map(str, arguments),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_nothing_reaches_for_the_network_or_another_program(tmp_path):
    """A download would be noticed."""
    found = run(USE + DOWNLOAD, tmp_path)
    assert {event.partition(" ")[0] for event in found} == {"socket.getaddrinfo"}


@pytest.mark.slow
def test_loading_a_network_executes_nothing(tmp_path):
    """Python reports each compilation, execution, import and class from a pickle to an audit hook."""
    code = """
import sys
from xpnet import Adam, Clip, Network

net = Network([3, 4, 2], task="regression", dropout=0.5, standardize=True, seed=0)
net.train(([[1, 2, 3], [4, 5, 7]], [[1, 2], [3, 4]]), epochs=1, optimizer=Clip(Adam(), 1.0), progress=False)
net.save(sys.argv[1] + "/net")

def load():
    Network.load(sys.argv[1] + "/net")

load()  # the modules of xpnet that load are imported now
seen = set()
sys.addaudithook(lambda event, arguments: seen.add(event))
load()
names = ("compile", "exec", "import", "pickle.find_class", "marshal.loads", "code.__new__", "function.__new__")
events += sorted(event for event in seen if event in names or event.startswith("ctypes."))
assert "open" in seen
"""
    assert run(code, tmp_path) == []


# The sources

# What would execute or import what a file holds, or start a program
FORBIDDEN = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "runpy"),
    *("eval", "exec", "compile", "__import__", "execfile", "find_class", "Unpickler", "subprocess", "system", "popen"),
    *("import_module", "CDLL", "RawModule", "RawKernel", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"),
    *("socket", "urllib", "requests", "http", "ftplib", "urlopen", "urlretrieve"),
}
JUSTIFIED = {
    # imports by name: the name is one of xpnet's own modules
    ("__init__", "import_module"),
    ("_lazy", "import_module"),  # their own modules
    ("backends._choose", "import_module"),
    # copies and pickles: what a program asks Python for, and no file that xpnet reads
    ("backends.base", "__reduce__"),
    ("training._groups", "__reduce__"),  # of an empty object
    ("core.members", "__reduce__"),  # of its state
    ("core.laplace", "__reduce__"),  # of a triangle of numbers
    ("value._single_rows", "__reduce__"),  # of another
    ("backends.base", "import_module"),  # a backend in a pickle is the name of its library
    ("network.network", "__getstate__"),
    ("value._history", "__getstate__"),
    ("network.network", "__setstate__"),
    # checkpoints: parameters are described by what a pickle of them would hold; none is written or read
    ("_identity", "__reduce_ex__"),
    ("_identity", "__getstate__"),
    # searches: joblib hands fits to its workers
    ("estimators._search", "joblib"),
    ("tables._models", "joblib"),  # counts the threads that n_jobs means
    # processes that share a training send one another errors as pickles: those of one job, which run the same program
    ("distributed._ranks", "pickle"),
    # learning: lines of the table of mistakes, which stands in the module itself
    ("learn._mistakes", "compile"),
    ("learn._mistakes", "eval"),
    # JAX compiles the steps of a training, by a method of its own
    ("backends._jax", "compile"),
    # GPUs: NVIDIA's library of products
    ("backends._cuda_graph", "CDLL"),
}


def names_in(nodes):
    """Every name that a module uses, imports or defines; `re.compile` is not the builtin."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node) != "re.compile":
                names.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            names |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
    return names


def test_the_sources_execute_nothing_but_what_is_justified():
    found = {(module, name) for module, path in modules().items() for name in names_in(parse(path)) & FORBIDDEN}
    assert found == JUSTIFIED


# What is bundled


def test_every_bundled_file_has_a_licence():
    """Files that are not xpnet's own are named by a licence beside them, which goes into the wheel and its metadata."""
    own = [
        *(path for path in (PACKAGE / "pages").glob("*_files/*") if path.suffix in (".html", ".css", ".js")),
        *(path for path in (PACKAGE / "backends" / "replay").iterdir() if path.suffix in (".c", ".h", ".so", ".pyd")),
    ]
    others = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    others = [path for path in others if path.name not in ("_names.json", "_mistakes.toml")]  # our own
    others = [path for path in others if path not in own]
    licences = [path for path in others if path.name.startswith("LICENSE")]
    bundled = sorted(path for path in others if path not in licences and path.name != "py.typed")
    assert [path.name for path in bundled] == ["mnist_sample.npz"]
    for path in bundled:
        assert any(path.name in licence.read_text() for licence in licences if licence.parent == path.parent), path
    named = {ROOT / name for name in PROJECT["license-files"]}
    assert named == {ROOT / "LICENSE", *licences}
    assert all(path.is_file() for path in named)


def test_the_package_needs_no_more_than_four_small_libraries():
    """NumPy and threadpoolctl are BSD, array-api-compat MIT, tqdm MPL 2.0 and MIT.

    They need no others, but for colorama (BSD) on Windows. Before you add one, look at its licence and its needs.
    """
    names = {requirement.partition(">")[0] for requirement in PROJECT["dependencies"]}
    assert names == {"numpy", "array-api-compat", "tqdm", "threadpoolctl"}
