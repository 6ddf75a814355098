"""L-BFGS: its directions and lines, and training by it at every door."""

import re

import numpy as np
import pytest
from helpers import Stream, assert_same, flatten, layers_of, snapshot, tanh_network, with_parameters
from sklearn.linear_model import LogisticRegression

from xpnet import (
    LBFGS,
    ArgumentError,
    Callback,
    DivergenceError,
    Ensemble,
    LevenbergMarquardt,
    Network,
    ReduceLROnPlateau,
)
from xpnet.core.arrays import leaves
from xpnet.core.costs import Cost
from xpnet.core.optimizers._lbfgs import Line, LinePoint, try_next
from xpnet.estimators import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (60, 3))
Y = np.stack([np.sin(2 * X[:, 0]) * X[:, 1], X.sum(axis=1) ** 2 / 4], axis=1)
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64"}
SCALES = [(a, b) for a in (0.01, 1.0, 30.0) for b in (1e-4, 1.0, 1e3, 1e6)]
TRAIN = {"optimizer": LBFGS(), "progress": False}


def make(sizes=(3, 8, 2), seed=0, **options):
    return tanh_network(sizes, seed, **options)


# Directions and lines


@pytest.mark.parametrize("exponent", [-3, 1, *(pytest.param(exponent, marks=pytest.mark.slow) for exponent in (-1, 0))])
def test_lengths_along_a_line_are_those_of_scipy(exponent):
    """Of lines that fall steeply, then fall and rise in waves of all lengths."""
    dcsrch = pytest.importorskip("scipy.optimize._dcsrch")
    trials = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        waves, heights, phases = 10 ** rng.uniform(-2, 1.5, 4), rng.normal(size=4), rng.uniform(0, 7, 4)
        drop, width = 10 ** rng.uniform(-3, 3, 2)
        tried, expected, length = [], [], 10**exponent * rng.uniform(1, 5)

        def value(t):
            expected.append(float(t))  # noqa: B023
            return (heights * np.sin(waves * t + phases)).sum() + drop * np.hypot(t / width - 1, 0.01)  # noqa: B023

        def slope(t):
            bend = (t / width - 1) / np.hypot(t / width - 1, 0.01)  # noqa: B023
            return (heights * waves * np.cos(waves * t + phases)).sum() + drop / width * bend  # noqa: B023

        zero = np.zeros(())
        start = LinePoint(zero, value(0.0), slope(0.0))
        if start.slope >= 0:
            continue
        with np.errstate(all="ignore"):
            search = dcsrch.DCSRCH(value, slope, 1e-3, 0.9, 0.1, 0.0, 1e10)
            search(length, start.cost, start.slope, maxiter=20)
            none, width_before = LinePoint(zero - 1, zero, zero), zero + 1e10
            state = none, width_before, 2 * width_before, None, None, None
            line = Line(None, None, start.cost, zero + length, zero, start, *state)
            for t in expected[1:]:
                tried.append(float(line.length))
                line = try_next(line, LinePoint(line.length, value(t), slope(t)), start.slope, np)
                expected.pop()
        trials.append(len(tried))
        assert tried == pytest.approx(expected[1:], rel=1e-6), seed
    assert max(trials) > 8


# Minima


def test_it_finds_the_only_minimum_of_a_logistic_regression(place):
    """Its penalty is 1/2 ‖w‖² beside the sum of the costs, as scikit-learn's with C = 1."""
    y = (X[:, 0] + X[:, 1] ** 2 + 0.5 * RNG.standard_normal(60) > 1).astype(int)
    theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000).fit(X, y)
    net = Network([3, 1], task="binary", dtype="float64", seed=0, **place._asdict())
    net.train((X, y), epochs=40, optimizer=LBFGS(weight_decay=1 / 60), progress=False)
    ((w, b),) = layers_of(net)
    np.testing.assert_allclose(w, theirs.coef_, rtol=1e-5)
    np.testing.assert_allclose(np.ravel(b), theirs.intercept_, rtol=1e-4, atol=1e-6)


def minimize_by_scipy(net, data, **options):
    """Minimize the cost of a network by L-BFGS-B, and list the costs after its iterations."""
    from scipy.optimize import minimize

    costs = []

    def objective(parameters):
        other = with_parameters(net, parameters)
        layers = other.backward(*data)
        return other.cost(data), np.concatenate([np.ravel(part) for layer in layers for part in layer])

    def keep(intermediate_result):
        costs.append(intermediate_result.fun)

    options = {"maxiter": 10**6, "ftol": 0.0, "gtol": 0.0, **options}
    return minimize(objective, flatten(net), method="L-BFGS-B", jac=True, options=options, callback=keep), costs


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_its_steps_are_those_of_scipy(scales):
    """Also where lines are long, and need many trials."""
    net, data = make(), (scales[0] * X, scales[1] * Y)
    theirs, costs = minimize_by_scipy(net, data, maxiter=8)
    mine = net.train(data, epochs=theirs.nfev + 1, **TRAIN)["cost"]
    after_lines = [cost for cost, before in zip(mine[1:], mine, strict=False) if cost != before]
    assert after_lines[:5] == pytest.approx(costs[:5], rel=1e-6)


def test_costs_that_overflow_halve_the_bracket():
    """The first step is of length 1, where e^800 is infinite; the cost is that of a Poisson regression."""
    x, y = np.full((20, 1), 1e3), np.full(20, 2.0)
    net = Network([1, 1], cost="poisson", output_activation="exp", dtype="float64", seed=0)
    net.layers = [([[0.0]], [0.0])]
    other = net.copy()
    with pytest.warns(match="none of the 2 steps"):
        other.train((x, y), epochs=2, **TRAIN)
    assert all(np.isfinite(part).all() for part in leaves(other.value.state.optimizer.memory))
    costs = net.train((x, y), epochs=60, **TRAIN)["cost"]
    assert (np.diff(costs) <= 0).all()
    assert net.predict([1e3]) == pytest.approx(2.0, rel=1e-6)


def test_a_length_at_which_the_cost_has_risen_a_little_is_not_taken():
    """−b + 2.0015 b² − 1.001 b³ is 0 at 0, and 0.0005 at the first length, 1, where it is flat."""
    own = Cost("own", lambda a, y, xp: xp.sum(-a + 2.0015 * a**2 - 1.001 * a**3, axis=-1))
    net = Network([1, 1], task="regression", cost=own, dtype="float64", init="zeros")
    net.train(([[0.0]], [[0.0]]), epochs=2, **TRAIN)
    assert net.b[0] == 0.0


# Everything else of a training


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_are_trained_as_if_alone(place, dtype):
    ensemble = Ensemble([3, 6, 2], 3, seed=0, **{**OPTIONS, "dtype": dtype, **place._asdict()})
    alone, weight = ensemble.copy(), np.linspace(0.1, 2.0, 60)
    train = {"epochs": 12, "sample_weight": weight, "optimizer": LBFGS(weight_decay=1e-3), "progress": False}
    ensemble.train((X, Y), **train)
    rtol = 1e-9 if dtype == "float64" else 1e-3
    for net, member in zip(alone, ensemble, strict=True):
        net.train((X, Y), **train)
        np.testing.assert_allclose(flatten(net), flatten(member), rtol=rtol, atol=rtol)


def test_weights_count_as_copies_of_their_examples():
    counts = np.arange(60) % 3
    nets = make(), make()
    nets[0].train((X, Y), epochs=20, sample_weight=counts, **TRAIN)
    nets[1].train((np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0)), epochs=20, **TRAIN)
    np.testing.assert_allclose(*[flatten(net) for net in nets], rtol=1e-7)


@pytest.mark.parametrize("weight", [None, np.arange(60) % 3, np.arange(60) < 45], ids=["none", "some", "no last part"])
def test_parts_of_the_examples_add_up(monkeypatch, weight):
    """Of 25, 25 and 10; a part without weight is never left alone."""
    whole, ensemble = make(), Ensemble([3, 8, 2], 2, seed=0, **OPTIONS)
    train = {"epochs": 12, "sample_weight": weight, "optimizer": LBFGS(weight_decay=1e-2), "progress": False}
    parts, costs = whole.copy(), whole.train((X, Y), **train)["cost"]
    members = [net.copy() for net in ensemble]
    for net in members:
        net.train((X, Y), **train)
    monkeypatch.setattr("xpnet.training._all_examples.ROWS_ON_HOST", 25)
    np.testing.assert_allclose(parts.train((X, Y), **train)["cost"], costs, rtol=1e-9)
    ensemble.train((X, Y), **train)
    for net, other in ((parts, whole), *zip(ensemble, members, strict=True)):
        np.testing.assert_allclose(flatten(net), flatten(other), rtol=1e-7)


def test_every_training_begins_anew():
    """Also with an equal optimizer, for the other examples have another cost."""
    nets = make(), make()
    nets[0].train((X, Y), epochs=7, **TRAIN)
    nets[1].layers = nets[0].layers
    for net in nets:
        net.train((X[:30], 5 * Y[:30]), epochs=9, **TRAIN)
    np.testing.assert_allclose(*[flatten(net) for net in nets], rtol=1e-9)


@pytest.mark.parametrize("optimizer", [LBFGS(), LevenbergMarquardt(weight_decay=1e-3)], ids=["lbfgs", "lm"])
def test_weights_keep_the_memory_order_of_copies(optimizer):
    """Another order could change the last bits of products, so a copy, or a resumed training, would go on otherwise."""
    net = make()
    net.train((X, Y), epochs=2, optimizer=optimizer, progress=False)
    assert [w.strides for w, _ in net.value.layers] == [w.strides for w, _ in net.copy().value.layers]


def test_weights_that_a_callback_gives_begin_a_new_line():
    net = make()
    other = make(seed=5)
    expected = other.copy().train((X, Y), epochs=4, **TRAIN)["cost"]

    class Replace(Callback):
        def on_train_begin(self, training):
            self.training = training

        def on_epoch_end(self, logs):
            if logs["epoch"] == 3:
                self.training.value = other.value

    assert net.train((X, Y), epochs=7, callbacks=[Replace()], **TRAIN)["cost"][3:] == expected


def test_where_the_cost_is_infinite_no_rate_is_to_blame():
    net = Network([1, 1], cost="poisson", output_activation="exp", dtype="float64", seed=0)
    net.layers = [([[1.0]], [0.0])]
    with pytest.raises(DivergenceError, match="Scale the inputs"):
        net.train((np.full((5, 1), 1e4), np.ones(5)), epochs=3, **TRAIN)


# In the estimators, and in the shell


def test_a_long_search_along_a_line_does_not_end_a_fit():
    """Targets of a million let the first line take 12 epochs; as it ended the fit, the loss was 0.044."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 2))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=100)
    options = {"hidden_layer_sizes": (8,), "activation": "tanh", "alpha": 0, "dtype": "float64", "random_state": 0}
    fitted = MLPRegressor(**options, solver=LBFGS(), max_iter=2000).fit(x, 1e6 * y)
    assert fitted.loss_ < 0.035e12


@pytest.mark.filterwarnings("ignore:LBFGS. Maximum iterations")
def test_estimators_have_it_with_all_that_epochs_bring():
    """Unlike the solver "lbfgs", which ends by scikit-learn's rules, it has early stopping, curves and callbacks."""
    fit = {"hidden_layer_sizes": (8,), "activation": "tanh", "random_state": 0, "solver": LBFGS(), "alpha": 1e-3}
    regressor = MLPRegressor(**fit, max_iter=500, early_stopping=True).fit(X[:40], Y[:40], X_val=X[40:], y_val=Y[40:])
    assert len(regressor.validation_loss_curve_) == regressor.n_iter_ < 500
    classifier = MLPClassifier(**fit, max_iter=300).fit(X, Y[:, 0] > 0)
    assert classifier.score(X, Y[:, 0] > 0) > 0.9
    with pytest.raises(ArgumentError, match="partial_fit trains for one epoch, and LBFGS begins anew"):
        MLPRegressor(**fit).partial_fit(X, Y)


# What L-BFGS and Levenberg-Marquardt refuse


@pytest.mark.parametrize("optimizer", [LBFGS(), LevenbergMarquardt()], ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"dropout": 0.1}, {}, "does not go with dropout=[0.0, 0.1]; leave dropout out"),
        ({}, {"lr": 0.1}, "lr=0.1 is for other optimizers"),
        ({}, {"batch_size": 30}, "batch_size=30 is for other optimizers"),  # the default of others
        ({}, {"sampling": "shuffle"}, "sampling='shuffle' is for other optimizers"),  # likewise
        (
            {},
            {"validation_data": (X, Y), "callbacks": [ReduceLROnPlateau()]},
            "ReduceLROnPlateau is for other optimizers",
        ),
        ({}, {"train_data": Stream((X, Y)), "steps": 1}, "give train_data as arrays"),
    ],
    ids=["dropout", "lr", "batch_size", "sampling", "plateau", "stream"],
)
def test_what_does_not_go_with_all_examples_is_refused_before_anything_changes(optimizer, options, arguments, message):
    net = make(**options)
    before, arguments = snapshot(net), {"train_data": (X, Y), "epochs": 1, "progress": False, **arguments}
    with pytest.raises(ArgumentError, match=re.escape(message)):
        net.train(optimizer=optimizer, **arguments)
    assert_same(net, before)
