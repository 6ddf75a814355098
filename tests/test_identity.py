"""Whether functions are the same: in files, fingerprints and trainings that are resumed; never by their names alone."""

import functools
import json
import os
import pickle
import subprocess
import sys
import warnings
from functools import cache, partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression

from xpnet import SGD, Clip, EarlyStopping, Ensemble, Network
from xpnet._identity import describe, is_fixed, is_ours, is_same
from xpnet.core.activations import Activation, relu
from xpnet.core.costs import Cost
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators import MLPRegressor, MLPSearchCV
from xpnet.inference.metrics import METRICS, of_function, top_k
from xpnet.training.callback import decisive_arguments

X = np.random.default_rng(0).standard_normal((20, 3))
Y = (X[:, :2] > 0).astype(float)


def bend(by):
    return Activation("bend", lambda z, xp: xp.tanh(by * z), lambda g, z, a, xp: g * by * (1.0 - a * a))


def wrapped(by):
    """Functions that `functools.wraps` gives the module and the names of xpnet's."""

    @functools.wraps(relu.value)
    def value(z, xp):
        return by * xp.maximum(z, 0.0)

    @functools.wraps(relu.pullback)
    def pullback(g, z, a, xp):
        return by * g * xp.astype(z > 0.0, g.dtype)

    return Activation("bend", value, pullback)


class Bend:
    name = "bend"

    def __init__(self, by):
        self.by = by

    def value(self, z, xp):
        return xp.tanh(self.by * z)

    def pullback(self, g, z, a, xp):
        return g * self.by * (1.0 - a * a)


class Slots:
    __slots__ = ("by",)
    name = "bend"

    def __init__(self, by):
        self.by = np.array(by)

    value, pullback = Bend.value, Bend.pullback


def partly(by):
    def value(by, z, xp):
        return xp.tanh(by * z)

    return Activation("bend", partial(value, by), lambda g, z, a, xp: g * by * (1.0 - a * a))


KINDS = [bend, wrapped, Bend, Slots, partly]


def make(*activations, **options):
    options = {"dtype": "float64", "seed": 0, **options}
    return Network([3, *[4] * len(activations), 2], activation=list(activations), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_own_functions_of_one_name_are_kept_apart(kind, tmp_path):
    net = make(kind(1.0), kind(2.0))
    assert net.fingerprint() == make(kind(1.0), kind(2.0)).fingerprint() != make(kind(2.0), kind(1.0)).fingerprint()
    net.save(tmp_path / "net")
    back = Network.load(tmp_path / "net", custom=[kind(2.0), kind(3.0), kind(1.0)])
    np.testing.assert_array_equal(back.forward(X), net.forward(X))
    assert back.fingerprint() == net.fingerprint()
    with pytest.raises(CheckpointError, match=r"2 objects in custom= are named 'bend'.* is activation\[1\] in"):
        Network.load(tmp_path / "net", custom=[kind(1.0), kind(3.0)])
    with pytest.warns(UserWarning, match=r"activation\[0\]='bend' in custom= differs from that of the file"):
        Network.load(tmp_path / "net", custom=[kind(2.0)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_not_resumed_with_another_function_of_the_same_name(kind, tmp_path):
    def train(first, **options):
        make(kind(first), kind(2.0)).train((X, Y), 2, 10, progress=False, checkpoint=tmp_path / "run", **options)

    train(1.0)
    with pytest.raises(ArgumentError, match=r"run holds a training with activation\[0\]=.*, but this one has"):
        train(3.0, resume=True)
    train(1.0, resume=True)


def test_functions_are_of_xpnet_by_what_they_are():
    mine = wrapped(1.0).value
    assert mine.__module__ == relu.value.__module__
    assert not is_ours(mine)
    assert not is_fixed((relu, mine))

    class Fake:
        def __call__(self, z, xp):
            return z

    Fake.__module__, Fake.__qualname__ = "xpnet.core.activations", "Activation"
    assert not is_ours(Fake())
    assert is_ours(relu)
    assert not is_same((relu,), (relu, relu))


class Own(SGD):
    """An optimizer of the user's."""


def test_a_step_is_fixed_if_all_that_it_holds_is_of_xpnet():
    assert is_fixed((Clip(SGD(), 1.0), SGD().init, top_k(3).measure))
    assert not is_fixed(Clip(Own(), 1.0))
    assert not is_fixed(Own().init)  # which a method of xpnet's is, of an object of the user
    assert not is_fixed(of_function(bend).combine)  # which encloses a function of the user's


def test_a_pickle_of_an_estimator_holds_its_functions():
    model = MLPRegressor(
        hidden_layer_sizes=(4,), activation=Bend(2.0), max_iter=1, random_state=0, solver="lbfgs", tol=9.0
    )
    again = pickle.loads(pickle.dumps(model.fit(X, Y[:, 0])))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_own_optimizers_are_in_the_fingerprint():
    prints = []
    for optimizer in (Own(momentum=0.5), Own(momentum=0.5), Own(momentum=0.6)):
        net = make("tanh")
        net.reset_optimizer(optimizer)
        prints.append(net.fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_metrics_of_xpnet_may_be_given_by_name_or_as_they_are(tmp_path):
    for metric, options in (("r2", {}), (METRICS["r2"], {"resume": True})):
        options |= {"metrics": [metric], "validation_data": (X, Y), "checkpoint": tmp_path / "run"}
        make("tanh", output_activation="identity").train((X, Y), 2, 10, progress=False, **options)


def test_callbacks_are_of_xpnet_by_what_they_are():
    class Mine(EarlyStopping):
        def __init__(self, words):
            super().__init__(3)

    Mine.__module__ = EarlyStopping.__module__
    assert decisive_arguments(Mine("a")) == decisive_arguments(EarlyStopping(3))


def test_a_state_that_has_changed_changes_the_fingerprint():
    sine = Bend(1.0)
    net = make(sine)
    before = net.fingerprint()
    sine.by = 2.0
    assert net.fingerprint() == make(Bend(2.0)).fingerprint() != before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_functions_are_not_the_same_for_equal_tuples():
    """Tuples of two classes are equal if their items are."""

    class Down(NamedTuple):
        by: float

        def __call__(self, z, xp):
            return -self.by * z

    class Up(Down):
        def __call__(self, z, xp):
            return self.by * z

    pull = bend(1.0).pullback
    up, down = (Activation("tilt", kind(1.0), pull) for kind in (Up, Down))
    assert up == down
    assert make(up).fingerprint() != make(down).fingerprint()
    with pytest.raises(ArgumentError, match="another activation or cost of the same name"):
        make(up).value = make(down).value
    with pytest.raises(ArgumentError, match="activations or costs of the same names that differ"):
        Ensemble.of([make(up), make(down)])
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", max_iter=5, random_state=0)
    searches = [MLPSearchCV(model, {"activation": kinds}, cv=2) for kinds in ([up, down], [up], [down])]
    both, *alone = (search.fit(X, Y[:, 0]).cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_allclose(both, np.concatenate(alone))


def test_a_value_may_be_of_another_network_with_the_same_functions():
    net, other = make(Bend(2.0)), make(Bend(2.0), seed=1)
    net.value = other.value
    assert net.fingerprint() == other.fingerprint()
    with pytest.raises(ArgumentError, match="another activation or cost of the same name"):
        make(Bend(1.0)).value = other.value


def test_training_again_sees_a_changed_state(place):
    """Also where steps are compiled once, and kept."""
    bent = Bend(1.0)
    options = {"dtype": "float32", **place._asdict()}
    net, other = make(bent, **options), make(Bend(3.0), **options)
    net.train((X, Y), 1, 10, progress=False)
    net.value, bent.by = make(bent, **options).value, 3.0
    for one in (net, other):
        one.train((X, Y), 1, 10, progress=False)
    assert net.fingerprint() == other.fingerprint()


def test_names_of_xpnets_are_taken_also_with_numbers():
    own = bend(1.0)
    for argument, value in (
        ("activation", own._replace(name="leaky_relu(0.2)")),
        ("output_activation", own._replace(name="mean_std")),
        ("cost", Cost("huber(0.5)", lambda a, y, xp: xp.sum(a - y, axis=-1))),
    ):
        with pytest.raises(ArgumentError, match=rf"{argument} is your own object named .*; rename yours"):
            Network([3, 4, 2], **{argument: value})


def test_another_version_of_python_compares_names_alone(tmp_path, monkeypatch):
    """It compiles the same code otherwise."""
    net = make(bend(1.0))
    net.train((X, Y), 2, 10, progress=False, checkpoint=tmp_path / "run")
    for module in ("files._record", "value.structure", "training._description"):
        monkeypatch.setattr(f"xpnet.{module}.PYTHON", "3.99")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network.load(tmp_path / "run", custom=[bend(2.0)])
    with pytest.raises(CheckpointError, match="2 objects in custom= are named 'bend'"):
        Network.load(tmp_path / "run", custom=[bend(1.0), bend(2.0)])
    make(bend(2.0)).train((X, Y), 3, 10, progress=False, checkpoint=tmp_path / "run", resume=True)


# What two values are described by

SOURCE = """
FACTOR = 2.0

def helper(x):
    return FACTOR * x

def function(x, by=1.0):
    'A function.'
    values = [helper(item) for item in x]  # of a list
    return np.sum(values) * by
"""


def load(before="", after=""):
    """The function of a module, one line of which may have been written otherwise."""
    assert before in SOURCE
    variables = {"__name__": "module", "np": np}
    exec(SOURCE.replace(before, after), variables)
    return variables["function"]


CLASS = """
from sklearn.base import BaseEstimator

class Base:
    factor = 2.0

    def scale(self, x):
        return self.factor * x

class Scale(Base, BaseEstimator):
    def __init__(self, by=1.0):
        self.by = by

    @property
    def offset(self):
        return 0.5

    def apply(self, x):
        Scale.calls += 1
        return self.by * self.scale(x) + self.offset

    calls = 0
"""


def load_class(before="", after=""):
    assert before in CLASS
    variables = {"__name__": "module"}
    exec(CLASS.replace(before, after), variables)
    return variables["Scale"]


def load_assigning(text):
    """A function that assigns an attribute of the same name as another function."""
    variables = {"__name__": "module"}
    exec(f"def score(x): return {text}\ndef function(self, x): self.score = score(x)", variables)
    return variables["function"]


def refer(name, value):
    """A function that refers to a value, which is a global variable."""
    return FunctionType(compile(f"{name} * 2", "module", "eval"), {"__name__": "module", name: value})


def refer_to_module(text):
    """A function that calls another of the user's modules."""
    module = ModuleType("tools")
    exec(text, vars(module))
    return FunctionType(compile("tools.double(2)", "module", "eval"), {"__name__": "module", "tools": module})


class Scale:
    def __init__(self, by):
        self.by = by

    def apply(self, x):
        return self.by * x

    def __call__(self, x):
        return self.by * x


def chain(i):
    """Two objects that hold each other, or of which one holds itself."""
    pair = Scale(1.0), Scale(2.0)
    pair[0].next, pair[1].next = pair[1], pair[i]
    return pair[0]


ONES, OTHERS = np.ones((2000, 3)), np.ones((2000, 3))
OTHERS[1000, 1] = 2.0


def frame(values):
    return pytest.importorskip("pandas").DataFrame(values, columns=["a", "b", "c"])


def run(text, name="f"):
    """A function, object or class `f` that the lines of a module of the user define."""
    variables = {"__name__": name, "np": np}
    exec(text, variables)
    return variables["f"]


def enclose(value):
    return lambda z: z * value


class Wrapper:
    """An object that looks like a function to Python."""

    def __init__(self, function, by):
        functools.update_wrapper(self, function)
        self.by = by

    def __call__(self, z):
        return self.by * z


CLASSES = {  # lines of a class of the user's, with a number that differs
    "attribute that __init__ may hide": "class C:\n k = {0}\n def __init__(self, k=0):\n  if k: self.k = k\nf = C()",
    "slots": "class C: __slots__ = ('k',)\nf = C(); f.k = {0}",
    "no pickle": "class C:\n def __reduce__(self): raise TypeError\nf = C(); f.k = {0}",
    "empty pickle": "class C:\n def __getstate__(self): return dict()\nf = C(); f.k = {0}",
    "static method": "class C:\n @staticmethod\n def k(): return {0}\nf = C()",
    "class method": "class C:\n k = {0}\n @classmethod\n def g(cls): return cls.k\nf = C.g",
    "cached property": "from functools import *\nclass C:\n @cached_property\n def k(self): return {0}\nf = C()",
    "partial method": "from functools import *\nclass C:\n def g(self, k): pass\n k = partialmethod(g, {0})\nf = C()",
    "descriptor": "class D:\n def __init__(self, v): self.v = v\nclass C: k = D({0})\nf = C()",
    "metaclass": "class M(type):\n def k(cls): return {0}\nclass C(metaclass=M): pass\nf = C()",
    "class of lists": "class C(list): pass\nf = C([{0}])",
    "attribute of a list": "class C(list): pass\nf = C(); f.k = {0}",
    "attribute of a tuple": "from collections import *\nclass C(namedtuple('T', 'a')): pass\nf = C(1); f.k = {0}",
    "float": "class C(float): pass\nf = C({0})",
    "class of arrays": "class C(np.ndarray): pass\nf = np.arange({0}.0).view(C)",
    "attribute of a function": "def f(z): return f.k * z\nf.k = {0}",
    "keyword default": "def f(z, *, k={0}): return k * z",
    "nested list of functions": "L = [[lambda z: {0} * z]]\ndef f(z): return L[0][0](z)",
    "global object": "class C: k = {0}\nC.k, c = {0}, C()\ndef f(z): return c.k * z",
    "global namespace": "from types import *\nc = SimpleNamespace(k={0})\ndef f(z): return c.k * z",
    "global number": "from fractions import *\nk = Fraction({0})\ndef f(z): return k * z",
    "global polynomial": "p = np.polynomial.Polynomial([{0}])\ndef f(z): return p(z)",
    "options": "from argparse import *\na = Namespace(k={0})\ndef f(z): return a.k * z",
    "options of another": "from argparse import *\na = Namespace(k={0})\ndef f(z): return g(a, z)\ndef g(a, z): pass",
    "attribute that a copy gets": "class C:\n k = {0}\n def g(self):\n  new = type(self)()\n  new.k = 3\nf = C()",
    "attribute of another": "def f(z):\n z.k = 1\n return f.k\nf.k = {0}",
    "handler": "def f(z):\n try: return 1 / z\n except (ValueError, OSError)[{0} - 1]: return 1",
    "dispatch": "from functools import *\n@singledispatch\ndef f(z): pass\n@f.register\ndef _(z: int): return {0}",
    "named as xpnet's": "from xpnet.core.activations import _ELU\nclass C:\n def k(self): return {0}\n"
    "C.__module__, C.__qualname__ = _ELU.__module__, _ELU.__qualname__\nf = C()",
}
DESCRIBED = {  # a value that is made twice, and one that differs
    **{name: (partial(run, text.format(1)), partial(run, text.format(2))) for name, text in CLASSES.items()},
    "run as a module of xpnet": (
        partial(run, "def f(z): return z", "xpnet.own"),
        partial(run, "def f(z): return -z", "xpnet.own"),
    ),
    "enclosed function": (lambda: enclose(enclose(1)), lambda: enclose(enclose(2))),
    "enclosed array": (lambda: enclose(ONES.copy()), lambda: enclose(OTHERS)),
    "enclosed wrapper": (lambda: enclose(Wrapper(enclose, 1)), lambda: enclose(Wrapper(enclose, 2))),
    "number of NumPy": (lambda: enclose(np.float32(1.5)), lambda: enclose(np.float64(1.5))),
    "vectorized": (lambda: np.vectorize(enclose(1)), lambda: np.vectorize(enclose(2))),
    "bound method in C": (lambda: [1, 2].count, lambda: [1, 3].count),
    "set of objects": (lambda: {*map(Scale, range(20)), "a"}, lambda: {*map(Scale, range(1, 21)), "a"}),
    "cycle": (lambda: chain(0), lambda: chain(1)),
    "code": (load, lambda: load("sum", "max")),
    "inner code": (load, lambda: load("for item in x", "for item in x if item")),
    "default": (load, lambda: load("by=1.0", "by=2.0")),
    "helper": (load, lambda: load("FACTOR * x", "FACTOR + x")),
    "constant": (load, lambda: load("2.0", "3.0")),
    "partial": (lambda: partial(load(), by=2.0), lambda: partial(load("sum", "max"), by=2.0)),
    "argument": (lambda: partial(load(), by=2.0), lambda: partial(load(), by=3.0)),
    "argument by position": (lambda: partial(load(), 2.0), lambda: partial(load(), 3.0)),
    "method": (lambda: Scale(2.0).apply, lambda: Scale(3.0).apply),
    "object": (lambda: Scale(2.0), lambda: Scale(3.0)),
    "cache": (lambda: cache(load()), lambda: cache(load("sum", "max"))),
    "set": (lambda: {"a", "b", "c"}, lambda: {"a", "b", "d"}),
    "dict": (lambda: {"a": 1, "b": 2}, lambda: {"a": 2, "b": 1}),
    "list": (lambda: ONES.tolist(), lambda: OTHERS.tolist()),
    "array": (lambda: ONES.copy("F"), lambda: OTHERS),
    "objects": (lambda: ONES.astype(object), lambda: OTHERS.astype(object)),
    "mask": (lambda: np.ma.array(ONES), lambda: np.ma.array(ONES, mask=OTHERS == 2)),
    "frozen": (
        lambda: FrozenEstimator(LinearRegression().fit(X, Y)),
        lambda: FrozenEstimator(LinearRegression().fit(X, Y[::-1])),
    ),
    "sparse": (lambda: sparse.csr_array(ONES), lambda: sparse.csr_array(OTHERS)),
    "frame": (lambda: frame(ONES), lambda: frame(OTHERS)),
    "tensor": (lambda: pytest.importorskip("torch").tensor(ONES), lambda: pytest.importorskip("torch").tensor(OTHERS)),
    "generator": (lambda: np.random.RandomState(1), lambda: np.random.RandomState(2)),
    "global list": (lambda: refer("WEIGHTS", [1, 10]), lambda: refer("WEIGHTS", [1, 20])),
    "global array": (lambda: refer("WEIGHTS", ONES), lambda: refer("WEIGHTS", OTHERS)),
    "global functions": (lambda: refer("SCORES", {"a": load()}), lambda: refer("SCORES", {"a": load("sum", "max")})),
    "global cache": (lambda: refer("score", cache(load())), lambda: refer("score", cache(load("sum", "max")))),
    "library": (lambda: refer("average", np.mean), lambda: refer("average", np.median)),
    "order": (lambda: refer("PAIR", [load(), load("sum", "max")]), lambda: refer("PAIR", [load("sum", "max"), load()])),
    "module": (
        lambda: refer_to_module("def double(x): return 2 * x"),
        lambda: refer_to_module("def double(x): return x + x"),
    ),
    "name of an attribute": (lambda: load_assigning("x"), lambda: load_assigning("2 * x")),
    "class": (load_class, lambda: load_class("self.by *", "self.by +")),
    "class of a method": (lambda: load_class()().apply, lambda: load_class("factor * x", "factor + x")().apply),
    "class of an estimator": (lambda: load_class()(), lambda: load_class("2.0", "3.0")()),
    "property": (lambda: load_class()().apply, lambda: load_class("0.5", "1.5")().apply),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_values_are_told_apart_by_all_that_they_hold(name):
    """Not by their reprs, which are shortened, or name a function only. Equal ones may be made in other orders."""
    value, other = DESCRIBED[name]
    assert describe(value()) == describe(value()) != describe(other())


def test_a_function_is_the_same_in_a_program_and_where_it_is_imported():
    program = "import sys\nK = 2\nclass C:\n def f(self): return g(K)\ndef g(k): return k\nf = C()"
    assert describe(run(program, "__main__")) == describe(run(program, "other"))


def test_comments_do_not_tell_functions_apart():
    assert describe(load()) == describe(load("# of a list", "\n")) == describe(load("A function.", "It adds."))


def test_functions_in_decorators_of_packages_are_compared(monkeypatch):
    def make(k):
        module = ModuleType("own")
        monkeypatch.setitem(sys.modules, "own", module)
        text = f"from contextlib import *\n@contextmanager\ndef f(z): yield {k} * z\ndef g(z): return f(z)"
        exec(text, vars(module))
        return module.g

    assert describe(make(1)) == describe(make(1)) != describe(make(2))


@pytest.mark.parametrize(
    "text",
    [
        "g = np.random.default_rng({0}).normal\ndef f(z): return g()",
    ],
)
def test_what_changes_as_a_program_works_is_not_compared(text):
    assert describe(run(text.format(1))) == describe(run(text.format(2)))


def test_values_that_hold_themselves_are_described():
    value = Scale([])
    value.by.append(value)
    assert "(by=[<Scale 0>]" in describe(value)


@pytest.mark.slow
def test_descriptions_are_the_same_in_another_process():
    """Where sets have another order, and objects lie elsewhere."""
    program = "import json, test_identity; print(json.dumps(test_identity.describe_all()))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=Path(__file__).parent, env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout) == describe_all()


def describe_all():
    return [describe(value()) for name, (value, _) in DESCRIBED.items() if name not in ("frame", "tensor")]
