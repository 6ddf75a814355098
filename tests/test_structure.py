"""The rules of the layout, held by reading the sources and by looking at a fresh interpreter."""

import ast
import inspect
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import xpnet

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xpnet"
LIBRARIES = {"cupy", "torch", "torchvision", "jax", "array_api_compat.cupy", "array_api_compat.torch"}

# Each folder or module may import those before it, and modules of its own folder
ORDER = [
    "version",
    "errors",
    "_checks",
    "_identity",
    "_names",
    "_lazy",
    "core",
    "backends",
    "data",
    "value",
    "inference",
    "files",
    "training",
    "network",
    "physics",
    "distributed",
    "learn",
    "plots",
    "estimators",
    "tables",
    "export",
    "pages",
    "cli",
    "__main__",
]
# Packages above that a module imports when they are used: those whose names it hands on, and those that do the work of
# methods of networks
WHEN_USED = {
    "estimators": {"tables"},
    "export": {"pages"},
    "network.network": {"physics", "distributed"},
    "network.ensemble": {"physics"},
}
PUBLIC_NAMES = {"activations", "costs", "metrics", "datasets"}  # modules that only re-export
ABOVE_NETWORK = {*ORDER[ORDER.index("network") :], "__init__"}


@cache
def modules():
    return {
        str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


@cache
def read_tree(path):
    return ast.parse(path.read_text())


@cache
def parse(path):
    """All nodes of a file's syntax tree."""
    return [*ast.walk(read_tree(path))]


@cache
def imports(path):
    """List the modules that a file imports, in full: also inside functions, and for type hints only."""
    names = []
    for node in parse(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def graph():
    """The modules of the package, and the modules of the package that each of them imports."""
    paths, arrows = modules(), {}
    for name, path in paths.items():
        imported = {module.removeprefix("xpnet.") for module in imports(path)}
        # `from package import module` imports the module; that the package is imported too is Python's own doing
        packages = {module.rpartition(".")[0] for module in imported if module in paths}
        arrows[name] = (
            {module for module in imported - packages if module in paths} - {name} - WHEN_USED.get(name, set())
        )
    del arrows["__init__"]
    return arrows


def test_imports_go_one_way():
    room = {name: name.split(".")[0] for name in graph()}
    assert set(room.values()) == set(ORDER) | PUBLIC_NAMES, "a new folder or module belongs into ORDER"
    for name, imported in graph().items():
        if name in PUBLIC_NAMES:
            continue
        for other in imported:
            assert ORDER.index(room[other]) <= ORDER.index(room[name]), f"{name} imports {other}"


def test_private_modules_belong_to_their_packages():
    """A module whose name begins with an underscore is imported by its package alone."""
    for name, imported in graph().items():
        for other in imported:
            package, _, module = other.rpartition(".")
            is_inside = not package or f"{name}.".startswith(f"{package}.")
            assert is_inside or not module.startswith("_"), f"{name} imports {other}"


def test_the_kernel_has_few_public_modules():
    """Those that its packages and clients may import; an empty `__init__.py` offers nothing."""
    folders = ORDER[ORDER.index("core") : ORDER.index("network") + 1]
    kernel = {name: path for name, path in modules().items() if name.split(".")[0] in folders}
    public = [
        name
        for name, path in kernel.items()
        if not name.rpartition(".")[2].startswith("_") and len(read_tree(path).body) > 1
    ]
    assert len(public) <= 40, sorted(public)


def test_public_modules_say_what_they_offer():
    """They have `__all__`, and others of the package import nothing else from them."""
    paths, offered = modules(), {}
    for name, path in paths.items():
        assignments = [node for node in read_tree(path).body if isinstance(node, ast.Assign)]
        lists = [node.value for node in assignments if ast.unparse(node.targets[0]) == "__all__"]
        offered[name] = set(ast.literal_eval(lists[0])) if lists else None
        is_empty = path.name == "__init__.py" and len(read_tree(path).body) == 1
        is_private = name.rpartition(".")[2].startswith("_")
        assert lists or is_private or is_empty or name in ("__init__", "version", "cli"), f"{name} has no __all__"
    for name, path in paths.items():
        for node in parse(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xpnet."):
                other = node.module.removeprefix("xpnet.")
                taken = {alias.name for alias in node.names if f"{other}.{alias.name}" not in paths}
                if offered.get(other) is not None and other != name:
                    assert taken <= offered[other], f"{name} imports {taken - offered[other]} from {other}"
        own = {
            alias.asname or alias.name: f"{node.module}.{alias.name}".removeprefix("xpnet.")
            for node in parse(path)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for node in parse(path):
            other = own.get(ast.unparse(node.value), "") if isinstance(node, ast.Attribute) else ""
            assert node.attr in offered[other] if offered.get(other) else True, f"{name} takes {node.attr} from {other}"


@pytest.mark.slow
def test_no_module_imports_itself_through_others():
    arrows = graph()
    for name in arrows:
        reached, todo = set(), [name]
        while todo:
            for other in arrows[todo.pop()] - reached:
                reached.add(other)
                todo.append(other)
        assert name not in reached, f"{name} is in a circle"


def test_nobody_assigns_a_private_attribute_of_another_object():
    """A class may assign those of a new object of its own, which it has just made."""

    def is_target(node, of_self):
        if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load) or not re.match("_[^_]", node.attr):
            return False
        return (ast.unparse(node.value) == "self") == of_self

    def visit(node, own):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                annotated = {part.target.id for part in child.body if isinstance(part, ast.AnnAssign)}
                visit(child, annotated | {part.attr for part in ast.walk(child) if is_target(part, of_self=True)})
                continue
            assert not is_target(child, of_self=False) or child.attr in own, f"{path}: {ast.unparse(child)}"
            visit(child, own)

    for path in modules().values():
        visit(read_tree(path), set())


@cache
def private_members(path):
    """The private names of methods and attributes that the classes of a module define."""
    names = set()
    for node in (node for owner in parse(path) if isinstance(owner, ast.ClassDef) for node in ast.walk(owner)):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):  # also of variables: this errs on one side
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
    return {name for name in names if re.match("_[^_]", name)}


def test_private_members_are_used_only_in_the_module_of_their_class():
    """Elsewhere only by derived classes, through `self` and `cls`."""
    members = set().union(*map(private_members, modules().values()))
    used = {
        (name, node.attr)
        for name, path in modules().items()
        for node in parse(path)
        if isinstance(node, ast.Attribute)
        and node.attr in members - private_members(path)
        and ast.unparse(node.value) not in ("self", "cls", "super()")
    }
    assert used <= {("network.ensemble", "_take_values"), ("estimators._fitting", "_take_values")}


def test_nobody_below_network_names_it():
    for name, path in modules().items():
        if name.split(".")[0] not in ABOVE_NETWORK:
            named = {node.id for node in parse(path) if isinstance(node, ast.Name)}
            texts = {
                hint.value
                for node in parse(path)
                if (hint := getattr(node, "annotation", None) or getattr(node, "returns", None)) is not None
                and isinstance(hint, ast.Constant)
            }
            assert "Network" not in named | texts, f"{name} names Network"


# What the kernel names of its clients, and why; this list only becomes shorter
NAMED_ABOVE = {
    "backends._torch": {"xpnet.export"},  # a remedy: make a module of PyTorch
    "backends.base": {"xpnet.export"},  # a remedy: make a function of JAX
    "core.optimizers._levenberg_marquardt": {"estimators"},  # a remedy: `alpha`, which is weight decay there
    "_identity": {"sklearn", "verbose"},  # names without their module; an argument that only prints
    "network.network": {"xpnet.physics", "xpnet.distributed"},  # for `solve`, `fit_laplace` and `distributed=`
    "network.ensemble": {"xpnet.physics"},  # `fit_laplace`
}


def test_the_kernel_names_nothing_of_its_clients():
    """Their packages and classes, and parameters of estimators that it has not itself, in code or in texts."""
    estimators = pytest.importorskip("xpnet.estimators", reason="the estimators need scikit-learn")
    folders = ORDER[: ORDER.index("network") + 1]
    kernel = {name: path for name, path in modules().items() if name.split(".")[0] in folders}
    nodes = [node for path in kernel.values() for node in parse(path)]
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)} | {"shuffle", "network"}  # its own words
    arguments |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
    parameters = {
        name for kind in estimators.__all__ for name in inspect.signature(getattr(estimators, kind)).parameters
    }
    clients = {*ORDER[ORDER.index("network") + 1 : -1]}
    words = {*estimators.__all__, *(parameters - arguments), *(f"xpnet.{name}" for name in clients)}
    words |= {"estimators", "physics", "sklearn", "keras"}
    named = {}
    for name, path in kernel.items():
        owners = [node for node in parse(path) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
        docstrings = [node.body[0].value for node in owners if node.body and isinstance(node.body[0], ast.Expr)]
        for node in parse(path):
            found = {getattr(node, field, None) for field in ("attr", "arg", "name")}
            if isinstance(node, ast.ImportFrom):
                found.add(node.module)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                found |= {*re.findall(r"xpnet\.\w+|\w+", node.value)}
            if words & found:
                named[name] = named.get(name, set()) | (words & found)
    assert named == NAMED_ABOVE


def test_other_libraries_are_named_in_two_places():
    """`backends` computes with them, `export` writes networks for them; torchvision reads data sets, in a function."""
    for name, path in modules().items():
        if not name.startswith(("backends.", "export.")):
            named = {module for module in imports(path) if module.split(".")[0] in LIBRARIES or module in LIBRARIES}
            allowed = {"torchvision", "torchvision.datasets"} if name == "data.datasets" else set()
            assert named <= allowed, name
    for name in ("data.datasets", *(name for name in modules() if name.startswith("export."))):
        if name == "export._torch_modules":  # imported by the functions that need PyTorch
            continue
        top_level = [node for node in read_tree(modules()[name]).body if isinstance(node, ast.ImportFrom)]
        assert not {(node.module or "").split(".")[0] for node in top_level} & LIBRARIES, name


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


# In one process, which forgets xpnet between two packages and keeps what xpnet imports
IMPORTS = """
import sys
for package in {packages}:
    for name in [name for name in sys.modules if name.partition(".")[0] == "xpnet"]:
        del sys.modules[name]
    exec(f"from xpnet.{{package}} import *")
    print(package)
"""


@pytest.mark.slow
def test_each_package_in_a_circle_of_imports_can_be_imported_first():
    """The others are in none, as the tests above show."""
    packages = sorted({name.partition(".")[0] for name in WHEN_USED}.union(*WHEN_USED.values()))
    assert run(IMPORTS.format(packages=packages)) == ("\n".join(packages), "")


OTHERS = (
    "{m.split('.')[0] for m in sys.modules} & "
    "{'torch', 'jax', 'jaxlib', 'cupy', 'torchvision', 'matplotlib', 'PIL', 'mpi4py'}"
)


def test_import_and_training_bring_no_array_library_and_print_nothing():
    out, err = run(
        f"import sys, xpnet; print({OTHERS} | {{'numpy', 'tqdm'}} & set(sys.modules)); import numpy as np; "
        f"xpnet.Network([2, 1]).train((np.ones((3, 2)), [0, 1, 0]), epochs=1, progress=False); print({OTHERS})"
    )
    assert (out.split(), err) == (["set()", "set()"], "")


def test_the_estimators_say_how_to_install_scikit_learn():
    ways = ("import xpnet.estimators", "from xpnet.estimators import MLPClassifier", "xpnet.estimators")
    code = f"""
import sys, xpnet
sys.modules["sklearn"] = None
for way in {ways}:
    try:
        exec(way)
    except ImportError as error:
        print(error)
"""
    messages = run(code)[0].splitlines()
    assert len(messages) == len(ways)
    for message in messages:
        assert message.startswith("xpnet.estimators needs scikit-learn 1.8 or newer (")
        assert message.endswith("); install it with: pip install -e '.[sklearn]' in a checkout of xpnet")


def test_the_public_names_are_there():
    modules = {
        "activations",
        "backends",
        "costs",
        "datasets",
        "estimators",
        "export",
        "learn",
        "metrics",
        "plots",
        "tables",
    }
    assert {name for name in dir(xpnet) if not name.startswith("_")} == modules | set(xpnet.__all__)
    for name in xpnet.__all__:
        assert getattr(xpnet, name).__doc__, name
    assert xpnet.datasets.mnist_sample
    with pytest.raises(AttributeError, match="module 'xpnet' has no attribute 'nothing'"):
        _ = xpnet.nothing


def test_the_page_on_architecture_has_a_line_for_each_folder_and_names_files_that_are_there():
    page = (ROOT / "docs" / "understand" / "architecture.md").read_text()
    folders = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    assert folders == [name for name in ORDER if (PACKAGE / name).is_dir()]
    files = [name for name in re.findall(r"`((?:\w+/)+\w+\.py)`", page) if not name.startswith("tests/")]
    assert [name for name in files if not (PACKAGE / name).exists()] == []


def test_dotted_names_lead_to_something_that_is_there():
    """Names such as `xpnet.plots.history`, in pages and in the sources: the module, and a name in its text."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"), *modules().values()]
    pages += (ROOT / "benchmarks").glob("*.py")
    for path in pages:
        for name in set(re.findall(r"(?<![\w./@-])xpnet((?:\.[A-Za-z_]\w*)+)", path.read_text())):
            if "__" in name:  # such as `__file__`
                continue
            parts = ["__init__", *name[1:].split(".")]
            names = [".".join(parts[1:k]) or "__init__" for k in range(1, len(parts) + 1)]
            module = next(name for name in reversed(names) if name in modules())
            rest = parts[1:] if module == "__init__" else parts[1 + len(module.split(".")) :]
            text, folder = modules()[module].read_text(), modules()[module].parent
            is_there = not rest or re.search(rf"\b{rest[0]}\b", text) or [*folder.glob(f"{rest[0]}.c")]
            assert is_there, f"xpnet{name} in {path} does not exist"


def test_private_names_of_scikit_learn():
    """Its next version may change them; this one it documents, for the rows of any data."""
    estimators = pytest.importorskip("xpnet.estimators", reason="the estimators need scikit-learn")
    paths = [path for name, path in modules().items() if name.startswith("estimators")]
    imported = {name for path in paths for name in imports(path) if re.match(r"sklearn\..*\b_", name)}
    assert imported == {"sklearn.utils._safe_indexing"}
    bases = {base for kind in vars(estimators).values() if isinstance(kind, type) for base in kind.__mro__}
    texts = [inspect.getsource(sys.modules[name]) for name in {base.__module__ for base in bases} if "sklearn" in name]
    theirs = {name for text in texts for name in re.findall(r"(?:\.|\bdef |\bclass )(_[A-Za-z]\w*)", text)}
    words = (vars(node).get(name) for path in paths for node in parse(path) for name in ("attr", "name", "value"))
    assert not theirs & {word for word in words if isinstance(word, str)} - {"_safe_indexing"}


def test_each_deliberate_fault_can_be_made():
    """The text that a fault of tools/faults.json replaces occurs once in its file, and its tests are there."""
    for fault in json.loads((ROOT / "tools" / "faults.json").read_text()):
        text = (ROOT / fault["file"]).read_text()
        assert text.count(fault["old"]) == 1, f"fault {fault['id']}: {fault['old']!r} in {fault['file']}"
        assert all((ROOT / test.split("::")[0]).exists() for test in fault["tests"]), f"tests of fault {fault['id']}"
