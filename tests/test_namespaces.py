"""What xpnet needs of a namespace: the list is that of the code and of the page, it is enough, and it is checked."""

import ast
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import minimal
import numpy as np
import pytest
from helpers import Place
from test_trainings import test_a_training_is_that_on_numpy as compare_with_numpy
from trainings import TRAININGS

import xpnet
from xpnet import BackendError, LevenbergMarquardt, Network
from xpnet.backends._choose import to_host
from xpnet.backends.base import ARRAY_MEMBERS, NAMESPACE_DTYPES, NAMESPACE_FUNCTIONS

PACKAGE = Path(xpnet.__file__).parent
# Modules about libraries known by name, or whose functions are called where a function of the user calls them
OTHERS = re.compile(r"backends/(_|replay)|learn/|distributed/|core/dual")
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 4)), np.arange(40) % 2


def find_names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Find what a module uses of `xp`, `x.xp` or `array_namespace(x)`, and of its `linalg`."""
    names, solvers = set(), set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        if re.search(r"(^|\.)(xp|array_namespace\(.*\))\.\w+$", ast.unparse(node)):
            names.add(node.attr)
        if re.search(r"(^|\.)xp\.linalg\.\w+$", ast.unparse(node)):
            solvers.add(node.attr)
    return names, solvers


def test_the_list_is_that_of_the_code_and_of_the_page():
    files = [path for path in PACKAGE.rglob("*.py") if not OTHERS.search(path.relative_to(PACKAGE).as_posix())]
    names, solvers = zip(*(find_names(ast.parse(path.read_text())) for path in files))
    used = set().union(*names) - {"__name__", "linalg", "empty_like"}  # the last by `Eager`, of libraries known by name
    assert {*NAMESPACE_FUNCTIONS, *NAMESPACE_DTYPES} == used | {"float32", "float64"}
    assert {*LevenbergMarquardt.linalg} == set().union(*solvers)
    page = (PACKAGE.parent / "docs" / "use" / "backends.md").read_text().partition("## Other array libraries")[2]
    rows = [line.split("|")[2] for line in page.partition("\n## ")[0].splitlines() if line.startswith("|")]
    assert [re.findall(r"`(\w+)`", row) for row in rows[2:]] == [
        [*NAMESPACE_FUNCTIONS],
        [*NAMESPACE_DTYPES],
        [*ARRAY_MEMBERS],
        [*LevenbergMarquardt.linalg],
    ]


@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_what_is_listed_is_enough_for_a_training(training):
    compare_with_numpy(Place(minimal, None), training)


def test_what_is_listed_is_enough_for_all_else(tmp_path):
    """Also with arrays of the namespace as data, and for values on their way to and from a file."""
    nets = [Network([4, 5, 2], task="classification", seed=0, dtype="float64", backend=xp) for xp in (minimal, "numpy")]
    results = []
    for net in nets:
        asarray = net.backend.asarray
        net.train((asarray(X), asarray(Y)), epochs=2, validation_split=0.25, progress=False)
        net.calibrate((X + 0.1, Y))
        net.save(tmp_path / "net.safetensors")
        for each in (net, net.to("numpy"), Network.load(tmp_path / "net.safetensors", backend=minimal)):
            labels, w = each.predict(X), each.backward(X, np.eye(2)[Y])[0].w
            arrays = each.predict_proba(X), each.jacobian(X), labels, w, each.w[0], each.deltas(X, Y)[0]
            results.append([*map(each.backend.to_numpy, arrays), each.accuracy((X, Y)), each.cost((X, Y))])
    for result in results:
        for ours, expected in zip(result, results[-1], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture
def namespace(monkeypatch) -> ModuleType:
    """A copy of the module, and of the class of its arrays, to change."""
    copy, kind = ModuleType("mine"), type("Mine", (minimal.Minimal,), {})
    vars(copy).update({name: value for name, value in vars(minimal).items() if not name.startswith("__")})
    copy.__array_namespace_info__ = minimal.__array_namespace_info__
    monkeypatch.setattr(minimal, "Minimal", kind)
    kind.__array_namespace__ = lambda self, api_version=None: copy
    copy.Array = kind
    return copy


def test_all_that_is_missing_is_named_at_once(namespace):
    del namespace.take, namespace.int32
    namespace.Array.to_device = property()  # raises AttributeError
    namespace.Array.__lt__, namespace.Array.device = object.__lt__, None
    missing = "take, int32, Mine.device, Mine.__lt__, Mine.to_device"
    with pytest.raises(BackendError, match=f"^backend=mine cannot be used, as it lacks {missing}; give an Array API"):
        Network([2, 1], backend=namespace)


def refuse(self: Any, *args: Any, **options: Any) -> Any:
    raise RuntimeError("not here")


@pytest.mark.parametrize("device", ["cpu", "chip"])
@pytest.mark.parametrize("member", [None, lambda self, *args, **options: self._x, refuse])
def test_arrays_come_to_the_host_by_what_works(namespace, member, device):
    """By `__array__` where it works, and else by DLPack, also that of libraries whose devices it cannot copy from."""
    if member:
        namespace.Array.__array__ = member
    namespace.Array.device = property(lambda self: device)
    if device == "chip":
        namespace.Array.__dlpack__ = lambda self, stream=None: self._x.__dlpack__()
    net = Network([4, 2], seed=0, backend=namespace)
    np.testing.assert_array_equal(net.to("numpy").w[0], Network([4, 2], seed=0).w[0])


def test_arrays_that_do_not_come_back_as_they_went_are_refused(namespace):
    namespace.Array.__dlpack__ = refuse
    with pytest.raises(BackendError, match=r"cannot be used \(.*cannot be converted to a NumPy array \(not here\)"):
        Network([4, 2], backend=namespace)
    namespace.Array.__array__ = lambda self, *args, **options: self._x.astype(object)
    with pytest.raises(BackendError, match=r"its asarray must read NumPy arrays, and np\.from_dlpack its own"):
        Network([4, 2], backend=namespace)


def test_arrays_of_any_namespace_are_data(namespace):
    """Only a network on it needs what is listed."""
    del namespace.matmul
    x, y = namespace.asarray(X), namespace.asarray(Y)
    with pytest.raises(BackendError, match="lacks matmul;"):
        Network([4, 2], backend=namespace)
    nets = [Network([4, 2], seed=0, task="classification") for _ in range(2)]
    for net, data in zip(nets, ((x, y), (X, Y))):
        net.train(data, epochs=1, progress=False)
    assert nets[0].w[0].tobytes() == nets[1].w[0].tobytes()
    assert to_host(x).tobytes() == X.tobytes()


def test_levenberg_marquardt_needs_an_extension(namespace):
    net = Network([4, 2], task="regression", seed=0, dtype="float64", backend=namespace)
    with pytest.raises(
        xpnet.ArgumentError, match=r"needs linalg.diagonal, linalg.inv, linalg.solve, which backend=mine lacks; "
    ):
        net.train((X, X[:, :2]), epochs=1, optimizer=LevenbergMarquardt(), progress=False)
