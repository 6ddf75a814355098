"""Levenberg-Marquardt: its linear problem, its steps, and training by it at every door."""

import re
import warnings
from contextlib import nullcontext

import host_cupy
import numpy as np
import pytest
from helpers import assert_same, flatten, layers_of, snapshot, tanh_network, with_parameters
from sklearn.exceptions import ConvergenceWarning

from xpnet import LBFGS, ArgumentError, Ensemble, LevenbergMarquardt
from xpnet.costs import make_huber
from xpnet.estimators import MLPRegressor, MLPSearchCV

pytestmark = pytest.mark.not_on(host_cupy.NAME)  # its linear algebra needs a driver
RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (40, 2))
Y = np.stack([np.sin(X[:, 0]) * X[:, 1], X.sum(axis=1) ** 2], axis=1) + 0.05 * RNG.standard_normal((40, 2))
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64"}
TRAIN = {"optimizer": LevenbergMarquardt(), "progress": False}


def make(sizes=(2, 4, 2), seed=0, **options):
    return tanh_network(sizes, seed, **options)


def flat_outputs(net, parameters):
    """Outputs (m, n_out) for a flat vector of weights and biases."""
    return with_parameters(net, parameters).forward(X)


def test_it_finds_the_minimum_that_scipy_finds():
    """The same least squares, by MINPACK's Levenberg-Marquardt, from the same weights."""
    from scipy.optimize import least_squares

    net = make((2, 2, 2), seed=1)
    y = net.forward(X) + 0.05 * RNG.standard_normal((len(X), 2))
    net.layers = [(1.2 * w + 0.1, b - 0.1) for w, b in net.layers]
    tight = {"method": "lm", "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15}
    theirs = least_squares(lambda p: (flat_outputs(net, p) - y).ravel(), flatten(net), **tight)
    net.train((X, y), epochs=40, **TRAIN)
    np.testing.assert_allclose(flatten(net), theirs.x, rtol=1e-5)
    assert net.cost((X, y)) == pytest.approx(theirs.cost / len(X), rel=1e-10)


@pytest.mark.parametrize("delta", [1.0, 0.1])
def test_with_outliers_it_finds_the_minimum_of_hubers_cost_that_scipy_finds(delta):
    from scipy.optimize import least_squares

    net = make((2, 2, 2), seed=1, cost="huber" if delta == 1 else make_huber(delta))
    y = net.forward(X) + 0.05 * RNG.standard_normal((len(X), 2))
    y[::10] += 3.0
    start = flatten(net)
    options = {"loss": "huber", "f_scale": delta, "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 2000}
    theirs = least_squares(lambda p: (flat_outputs(net, p) - y).ravel(), start, **options)
    net.train((X, y), epochs=150, **TRAIN)
    assert net.cost((X, y)) == pytest.approx(theirs.cost / len(X), rel=1e-6)
    np.testing.assert_allclose(net.forward(X), flat_outputs(net, theirs.x), atol=1e-3)


class Cauchy:
    """ln(1 + r²/2), which outliers hardly move; its gradient is left to `dual`."""

    name = "cauchy"

    def value(self, a, y, xp):
        return xp.sum(xp.log1p(0.5 * (a - y) ** 2), axis=-1)


class Upwards:
    """(a² − y)²/4 at inputs x, times 1 + x²: its gradient may have the sign that a − y has not."""

    name = "upwards"

    def value(self, a, y, x, xp):
        return 0.25 * xp.sum((1.0 + x[..., :1] ** 2) * (a * a - y) ** 2, axis=-1)


def measure_slope(cost, epochs, **place):
    """Train with a cost of one's own, and return the largest derivative of the cost with its penalty."""
    y = np.abs(Y) + 0.5
    y[::10] += 5.0 if cost.name == "cauchy" else 0.0
    net = make((2, 3, 2), seed=1, cost=cost, **place)
    costs = net.train((X, y), epochs, optimizer=LevenbergMarquardt(weight_decay=1e-2), progress=False)["cost"]
    assert (np.diff(costs) <= 1e-12).all()
    decayed = [
        part
        for (gw, gb), (w, _) in zip(net.backward(X, y), layers_of(net), strict=True)
        for part in (net.backend.to_numpy(gw) + 1e-2 * w, net.backend.to_numpy(gb))
    ]
    return max(abs(part).max() for part in decayed)


def test_a_robust_cost_of_ones_own_reaches_a_minimum(place):
    assert measure_slope(Cauchy(), 60, **place._asdict()) < 1e-5


@pytest.mark.slow
def test_a_cost_that_is_not_least_at_the_targets_reaches_a_minimum():
    assert measure_slope(Upwards(), 200) < 1e-5


class Quartic:
    """(a − y)⁴/4, whose curvature 3 r² is above the slope r² of the line to its minimum."""

    def value(self, a, y, xp):
        return 0.25 * xp.sum((a - y) ** 4, axis=-1)


@pytest.mark.parametrize(
    ("cost", "gradient", "curvature"),
    [
        (Quartic(), lambda r: r**3, lambda r: 3 * r**2),
        (Cauchy(), lambda r: r / (1 + r**2 / 2), lambda r: 1 / (1 + r**2 / 2)),
    ],
)
def test_a_step_has_the_gradient_and_the_curvature_of_the_cost(cost, gradient, curvature):
    net, inputs = make((2, 1), cost=cost), np.hstack([X, np.ones((40, 1))])
    start, r = flatten(net), net.forward(X)[:, 0] - Y[:, 0]
    matrix = (inputs.T * curvature(r)) @ inputs / 40
    damped = matrix + 0.5 * matrix.diagonal().max() * np.eye(3)
    net.train((X, Y[:, :1]), epochs=1, optimizer=LevenbergMarquardt(damping=0.5), progress=False)
    np.testing.assert_allclose(flatten(net) - start, -np.linalg.solve(damped, inputs.T @ gradient(r) / 40), rtol=1e-9)


def test_a_gradient_that_cannot_be_differentiated_is_named():
    class Own(Quartic):
        def gradient(self, a, y, xp):
            return np.power(a - y, 3)

    with pytest.raises(ArgumentError, match="cannot differentiate the gradient of cost='Own'"):
        make(cost=Own()).train((X, Y), epochs=1, **TRAIN)


def test_a_step_that_raises_the_cost_is_not_taken():
    """With so little damping, the first step would multiply the cost by 100."""
    x = np.random.default_rng(1).uniform(-3, 3, (30, 1))
    options = {"optimizer": LevenbergMarquardt(damping=1e-8, weight_decay=1e-4), "progress": False}
    costs = make((1, 6, 1), seed=1).train((x, np.sin(3 * x)), epochs=25, **options)["cost"]
    assert np.isclose(costs, costs[0], rtol=1e-12).sum() == 7  # until the damping has grown by 2, 4, ... and 64
    assert (np.diff(costs) <= 1e-12).all()
    assert costs[-1] < costs[0] / 2


def test_where_no_weight_has_an_effect_steps_fail_and_other_members_go_on(place):
    """JᵀJ is 0 where no ReLU is active."""
    options = {**OPTIONS, "activation": "relu", "output_activation": "relu"}
    ensemble, data = Ensemble([2, 3, 1], 3, seed=0, **options, **place._asdict()), (X, abs(Y[:, 1]))
    for net, bias in zip(ensemble, (2.0, -50.0, 2.0), strict=True):
        net.b = [np.full(3, bias), [10 * bias]]
    alone = ensemble.copy()
    before = [flatten(net) for net in alone]
    stuck = pytest.warns(
        UserWarning, match="none of the 4 steps of LevenbergMarquardt lowered the cost, .*; the weights"
    )
    with stuck:
        ensemble.train(data, epochs=4, **TRAIN)
    for k, (net, member) in enumerate(zip(alone, ensemble, strict=True)):
        with stuck if k == 1 else nullcontext():
            net.train(data, epochs=4, **TRAIN)
        np.testing.assert_allclose(flatten(net), flatten(member), rtol=1e-6, atol=1e-9)
        assert np.array_equal(flatten(net), before[k]) is (k == 1)


FEW = X[:20], Y[:20, 0]
FIT = {"hidden_layer_sizes": (7,), "solver": "lm", "max_iter": 20, "tol": 0.5, "n_iter_no_change": 1}


def count_warnings(call, n):
    """Count the warnings of a call that a network with 29 weights and biases learns the noise of n targets."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        call()
    text = f"learns much of the noise of {n} targets, if there is any, with 29 weights and biases; give bayesian=True"
    return [text in str(warning.message) for warning in caught].count(True)


DOORS = {
    "network": (20, lambda: make((2, 7, 1)).train(FEW, epochs=2, **TRAIN)),
    "ensemble": (20, lambda: Ensemble([2, 7, 1], 2, **OPTIONS).train(FEW, epochs=2, **TRAIN)),
    "estimator": (20, lambda: MLPRegressor(**FIT, random_state=0).fit(*FEW)),
    "search": (10, lambda: MLPSearchCV(MLPRegressor(**FIT), {"alpha": [0.0, 1e-4]}, cv=2, refit=False).fit(*FEW)),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_network_that_can_fit_the_noise_is_warned_of_once(door):
    n, call = DOORS[door]
    assert count_warnings(call, n) == 1


@pytest.mark.not_on("jax")  # the count knows no library
def test_only_examples_that_are_seen_count_as_fitted(place):
    """Of 40, 20 have a weight; and a bootstrap draws rows of these several times."""
    x, y = np.concatenate([FEW[0], FEW[0] + 1]), np.concatenate([FEW[1], FEW[1]])
    weight = np.repeat([1.0, 0.0], 20)
    net, ensemble = make((2, 7, 1), **place._asdict()), Ensemble([2, 7, 1], 2, **{**OPTIONS, **place._asdict()})
    assert count_warnings(lambda: net.train((x, y), epochs=1, sample_weight=weight, **TRAIN), 20) == 1
    assert count_warnings(lambda: ensemble.train((x, y), epochs=1, rows=[np.arange(40) % 10] * 2, **TRAIN), 10) == 1


def test_steps_that_have_nothing_to_do_warn_of_nothing(tmp_path):
    """At a cost of 0, and where a training that has ended is resumed."""
    net = make((2, 3, 1))
    net.layers = [(0 * w, 0 * b) for w, b in net.layers]
    net.train((X, 0 * Y[:, 0]), epochs=5, **TRAIN)
    for resume in (False, True):
        net = make((2, 3, 1))
        net.train((X, Y[:, 0]), epochs=9, checkpoint=tmp_path / "training", resume=resume, **TRAIN)


def test_nothing_warns_where_noise_is_not_fitted():
    make((2, 7, 1)).train(FEW, epochs=1, progress=False, optimizer=LevenbergMarquardt(weight_decay=1e-4))
    make((2, 7, 1)).train(FEW, epochs=1, validation_data=(X, Y[:, 0]), **TRAIN)
    make((2, 5, 2)).train((X[:21], Y[:21]), epochs=1, **TRAIN)  # 27 weights and biases; 2/3 of the targets are 28
    with pytest.warns(UserWarning, match="much of the noise of 40 targets"):
        make((2, 5, 2)).train((X[:20], Y[:20]), epochs=1, **TRAIN)
    MLPRegressor(**FIT, alpha=0.01, random_state=0).fit(*FEW)
    MLPRegressor(**FIT, early_stopping=True, random_state=1).fit(*FEW)


@pytest.mark.parametrize(
    ("options", "optimizer", "message"),
    [
        (
            {"dtype": "float32"},
            LevenbergMarquardt(),
            'needs float64, and the network has float32; give dtype="float64"',
        ),
        ({"cost": "absolute"}, LevenbergMarquardt(), "the cost is 'absolute'; make the network with cost='quadratic'"),
        ({"cost": "huber"}, LevenbergMarquardt(bayesian=True), "the cost is 'huber'; make the network with"),
    ],
)
def test_a_network_that_it_cannot_train_is_refused(options, optimizer, message):
    net = make(**options)
    before = snapshot(net)
    with pytest.raises(ArgumentError, match=re.escape(message)):
        net.train((X, Y), epochs=1, optimizer=optimizer, progress=False)
    assert_same(net, before)


@pytest.mark.parametrize(("members", "needed"), [(1, r"0\.9"), (2, r"1\.9")])
def test_it_says_how_much_memory_it_needs(members, needed, monkeypatch):
    """[2, 1000, 2] has 2·1000 + 1000 + 1000·2 + 2 = 5,002 parameters; 5 · 8 · 5002² bytes are 0.93 GiB."""
    ensemble = Ensemble([2, 1000, 2], members, **OPTIONS)
    monkeypatch.setattr("xpnet.backends._machine.find_memory", lambda: 2**29)
    with pytest.raises(MemoryError, match=f"the 5,002 weights and biases .* needs about {needed} GiB"):
        ensemble.train((X, Y), epochs=1, **TRAIN)


# In the estimators

SMALL = {"hidden_layer_sizes": (5,), "activation": "tanh", "random_state": 0, "solver": "lm"}


def test_an_estimator_trains_until_the_loss_no_longer_falls():
    """`tol` is a fraction of the loss, so that it trains on below the default of 1e-4."""
    x = np.linspace(-3, 3, 60)[:, None]
    regressor = MLPRegressor(**SMALL, alpha=0.0, max_iter=500, tol=1e-3).fit(x, np.sin(x[:, 0]))
    assert regressor.loss_ < 1e-6
    assert regressor.n_iter_ < 500
    assert regressor.network_.optimizer == LevenbergMarquardt()
    with pytest.warns(ConvergenceWarning, match=r"^LevenbergMarquardt: Maximum iterations \(1\) reached and"):
        MLPRegressor(**SMALL, max_iter=1).fit(X, Y)


@pytest.mark.parametrize(
    ("solver", "seed"), [(LevenbergMarquardt(damping=1e-8), 24), (LBFGS(), 21)], ids=["lm", "lbfgs"]
)
def test_the_best_epoch_counts_also_after_one_without_a_step(solver, seed):
    """The loss of an epoch is that before its step, so it comes again in the best one."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (60, 2))
    y = np.sin(3 * x[:, 0]) * x[:, 1] + 0.3 * rng.standard_normal(60)
    options = {
        "hidden_layer_sizes": (12,),
        "activation": "tanh",
        "alpha": 0.0,
        "dtype": "float64",
        "random_state": seed,
    }
    regressor = MLPRegressor(**options, solver=solver, early_stopping="loss", max_iter=150)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more weights than examples
        regressor.fit(x[:40], y[:40], X_val=x[40:], y_val=y[40:])
    error = 0.5 * ((regressor.predict(x[40:]) - y[40:]) ** 2).mean()
    assert error == pytest.approx(min(regressor.validation_loss_curve_), rel=1e-9)


def test_the_alpha_of_an_estimator_is_that_of_lbfgs():
    """Both minimize the mean loss plus α/2m ‖w‖²; without hidden layers, there is one minimum."""
    fits = [
        MLPRegressor(**{**SMALL, "solver": solver, "hidden_layer_sizes": ()}, alpha=5.0, tol=1e-9).fit(X, Y)
        for solver in ("lm", "lbfgs")
    ]
    for mine, theirs in zip(*[fit.coefs_ + fit.intercepts_ for fit in fits], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)
