"""Whether functions are the same: in files, fingerprints and trainings that are resumed; never by their names alone."""

import functools
import json
import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LinearRegression

from xpnet import SGD, Clip, EarlyStopping, Ensemble, Network
from xpnet._identity import describe, is_fixed, is_ours, is_same
from xpnet.core.activations import Activation, relu
from xpnet.core.costs import Cost
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators import MLPRegressor, MLPSearchCV
from xpnet.inference.metrics import of_function, top_k
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
    with pytest.raises(ArgumentError, match=r"run holds a training with .*activation\[0\]=.*, but this one has"):
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


def run(text, name="f"):
    """A function, object or class `f` that the lines of a module of the user define."""
    variables = {"__name__": name, "np": np}
    exec(text, variables)
    return variables["f"]


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


def chain(i):
    """Two objects that hold each other, or of which one holds itself."""
    pair = Scale(1.0), Scale(2.0)
    pair[0].next, pair[1].next = pair[1], pair[i]
    return pair[0]


def enclose(value):
    return lambda z: z * value


class Wrapper:
    """An object that looks like a function to Python."""

    def __init__(self, function, by):
        functools.update_wrapper(self, function)
        self.by = by

    def __call__(self, z):
        return self.by * z


ONES, OTHERS = np.ones((2000, 3)), np.ones((2000, 3))
OTHERS[1000, 1] = 2.0
WRITTEN = {  # lines of a module of the user's, with a number that differs
    "code": "def f(z): return [{0} * item for item in z]",
    "default": "def f(z, k={0}): return k * z",
    "keyword default": "def f(z, *, k={0}): return k * z",
    "helper": "K = {0}\ndef g(z): return K * z\ndef f(z): return g(z)",
    "attribute of a class": "class C:\n k = {0}\n @classmethod\n def g(cls): return cls.k\nf = C.g",
    "base": "class B:\n def g(self): return {0}\nclass C(B): pass\nf = C()",
    "slots": "class C: __slots__ = ('k',)\nf = C(); f.k = {0}",
    "no pickle": "class C:\n def __reduce__(self): raise TypeError\nf = C(); f.k = {0}",
    "empty pickle": "class C:\n def __getstate__(self): return dict()\nf = C(); f.k = {0}",
    "static method": "class C:\n @staticmethod\n def k(): return {0}\nf = C()",
    "property": "class C:\n @property\n def k(self): return {0}\nf = C()",
    "cached property": "from functools import *\nclass C:\n @cached_property\n def k(self): return {0}\nf = C()",
    "descriptor": "class D:\n def __init__(self, v): self.v = v\nclass C: k = D({0})\nf = C()",
    "metaclass": "class M(type):\n def k(cls): return {0}\nclass C(metaclass=M): pass\nf = C()",
    "class of lists": "class C(list): pass\nf = C([{0}])",
    "attribute of a tuple": "from collections import *\nclass C(namedtuple('T', 'a')): pass\nf = C(1); f.k = {0}",
    "class of arrays": "class C(np.ndarray): pass\nf = np.arange({0}.0).view(C)",
    "attribute of a function": "def f(z): return f.k * z\nf.k = {0}",
    "nested list of functions": "L = [[lambda z: {0} * z]]\ndef f(z): return L[0][0](z)",
    "global object": "class C: k = {0}\nC.k, c = {0}, C()\ndef f(z): return c.k * z",
    "global namespace": "from types import *\nc = SimpleNamespace(k={0})\ndef f(z): return c.k * z",
    "global number": "from fractions import *\nk = Fraction({0})\ndef f(z): return k * z",
    "handler": "def f(z):\n try: return 1 / z\n except (ValueError, OSError)[{0} - 1]: return 1",
    "dispatch": "from functools import *\n@singledispatch\ndef f(z): pass\n@f.register\ndef _(z: int): return {0}",
    "cache": "from functools import *\n@cache\ndef f(z): return {0}",
    "named as xpnet's": "from xpnet.core.activations import _ELU\nclass C:\n def k(self): return {0}\n"
    "C.__module__, C.__qualname__ = _ELU.__module__, _ELU.__qualname__\nf = C()",
}
MADE = {  # of a number, or of one of two arrays, that differs
    "enclosed function": lambda k, x: enclose(enclose(k)),
    "enclosed array": lambda k, x: enclose(x),
    "enclosed wrapper": lambda k, x: enclose(Wrapper(enclose, k)),
    "vectorized": lambda k, x: np.vectorize(enclose(k)),
    "bound method in C": lambda k, x: [1, k].count,
    "partial": lambda k, x: partial(enclose, value=k),
    "method": lambda k, x: Scale(k).apply,
    "set": lambda k, x: {*map(Scale, range(k, 20 + k)), "a"},
    "dict": lambda k, x: {"a": k, "b": 2},
    "cycle": lambda k, x: chain(k - 1),
    "list": lambda k, x: x.tolist(),
    "order": lambda k, x: [enclose(k), enclose(3 - k)],
    "array": lambda k, x: x.copy("F"),
    "objects": lambda k, x: x.astype(object),
    "mask": lambda k, x: np.ma.array(ONES, mask=x == 2),
    "fitted": lambda k, x: LinearRegression().fit(x, ONES[:, 0] + x[:, 1]),
    "sparse": lambda k, x: sparse.csr_array(x),
    "frame": lambda k, x: pytest.importorskip("pandas").DataFrame(x, columns=["a", "b", "c"]),
    "tensor": lambda k, x: pytest.importorskip("torch").tensor(x),
    "generator": lambda k, x: np.random.RandomState(k),
    "library": lambda k, x: enclose((np.mean, np.median)[k - 1]),
    "module": lambda k, x: refer_to_module(f"def double(x): return {k} * x"),
}
DESCRIBED = {name: partial(lambda text, k: run(text.format(k)), text) for name, text in WRITTEN.items()}
DESCRIBED |= {name: partial(lambda make, k: make(k, (ONES, OTHERS)[k - 1]), make) for name, make in MADE.items()}


@pytest.mark.parametrize("name", DESCRIBED)
def test_values_are_told_apart_by_all_that_they_hold(name):
    """Not by their reprs, which are shortened, or name a function only."""
    make = DESCRIBED[name]
    assert describe(make(1)) == describe(make(1)) != describe(make(2))


def test_a_function_is_the_same_in_a_program_and_where_it_is_imported():
    program = "import sys\nK = 2\nclass C:\n def f(self): return g(K)\ndef g(k): return k\nf = C()"
    assert describe(run(program, "__main__")) == describe(run(program, "other"))
    as_ours, other = (run(f"def f(z): return {sign}z", "xpnet.own") for sign in ("", "-"))
    assert describe(as_ours) != describe(other)


def test_comments_do_not_tell_functions_apart():
    texts = "def f(z):\n 'A.'\n return z", "def f(z):\n 'B.'\n\n return z # c"
    assert describe(run(texts[0])) == describe(run(texts[1]))


def test_functions_in_decorators_of_packages_are_compared(monkeypatch):
    def make(k):
        module = ModuleType("own")
        monkeypatch.setitem(sys.modules, "own", module)
        text = f"from contextlib import *\n@contextmanager\ndef f(z): yield {k} * z\ndef g(z): return f(z)"
        exec(text, vars(module))
        return module.g

    assert describe(make(1)) == describe(make(1)) != describe(make(2))


def test_generators_of_random_numbers_that_a_function_uses_are_not_compared():
    text = "g = np.random.default_rng({0}).normal\ndef f(z): return g()"
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
    return [describe(make(1)) for name, make in DESCRIBED.items() if name not in ("frame", "tensor")]
