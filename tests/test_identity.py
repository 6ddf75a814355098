"""Whether functions are the same: in files, fingerprints and trainings that are resumed; never by their names alone."""

import functools
import warnings
from typing import NamedTuple

import numpy as np
import pytest

from xpnet import Ensemble, Network
from xpnet.backends.identity import is_fixed, is_ours
from xpnet.core.activations import Activation, relu
from xpnet.core.costs import Cost
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators import MLPRegressor, MLPSearchCV

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

    return Activation("bend", functools.partial(value, by), lambda g, z, a, xp: g * by * (1.0 - a * a))


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
    with pytest.raises(ArgumentError, match="and this one has another of that name"):
        make(up).value = make(down).value
    with pytest.raises(ArgumentError, match="activations or costs of the same names that differ"):
        Ensemble.of([make(up), make(down)])
    model = MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", max_iter=5, random_state=0)
    search = MLPSearchCV(model, {"activation": [up, down]}, cv=2)
    assert np.ptp(search.fit(X, Y[:, 0]).cv_results_["mean_test_score"]) > 0


def test_a_value_may_be_of_another_network_with_the_same_functions():
    net, other = make(Bend(2.0)), make(Bend(2.0), seed=1)
    net.value = other.value
    assert net.fingerprint() == other.fingerprint()
    with pytest.raises(ArgumentError, match="and this one has another of that name"):
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
    for module in ("checkpoint.record", "state.structure", "training.resuming.comparison"):
        monkeypatch.setattr(f"xpnet.{module}.PYTHON", "3.99")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Network.load(tmp_path / "run", custom=[bend(2.0)])
    with pytest.raises(CheckpointError, match="2 objects in custom= are named 'bend'"):
        Network.load(tmp_path / "run", custom=[bend(1.0), bend(2.0)])
    make(bend(2.0)).train((X, Y), 3, 10, progress=False, checkpoint=tmp_path / "run", resume=True)
