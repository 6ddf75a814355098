"""Costs with several outputs for each target, what is predicted of them, and samples with dropout."""

import pickle
import re
from contextlib import nullcontext

import host_cupy
import numpy as np
import pytest
from helpers import Batches, Items, Place, assert_same, on, snapshot
from programs import oracle
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss

from xpnet import SGD, Adam, EarlyStopping, Ensemble, Network, OneCycle
from xpnet.backends import to_host
from xpnet.core.activations import identity, mean_std
from xpnet.core.calibration import (
    MOST_ERRORS,
    choose_widths,
    coverage_error,
    find_error,
    interpolate_widths,
    sort_errors,
)
from xpnet.core.costs import gaussian, make_quantile
from xpnet.core.scaling import Scaling
from xpnet.core.temperature import find_shift, find_temperature
from xpnet.estimators import MLPClassifier, MLPEnsembleRegressor, MLPRegressor, MLPSearchCV
from xpnet.export import make_page
from xpnet.files import encode_archive, encode_network
from xpnet.inference import Bars, transform_targets

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

COSTS = {"gaussian": 2, "quantile(0.1, 0.5, 0.9)": 3}  # and their outputs for each target
N, NUMPY = 12, Place("numpy", None)
X = np.random.default_rng(0).standard_normal((N, 3))
NEAR = np.random.default_rng(1).standard_normal((N, 2))
Y = 100 + 20 * NEAR
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "standardize": True}  # an estimator


def network(place, cost="gaussian", targets=2, **options):
    options = {"dtype": "float64", "activation": "tanh", "seed": 0, **options}
    return Network([3, 4, COSTS[cost] * targets], cost=cost, **options, **place._asdict())


# The mathematics


def test_gaussian_worked_by_hand(backend, dtype):
    """y = 3, mean 1, standard deviation 2: ½ (2 / 2)² + ln 2 + ½ ln 2π; slopes −2 / 2² and ½ − 2² / 2³.

    y = 21 is 10 standard deviations off: ½ 5² + 5² ln (10 / 5) in place of ½ 10²; slopes −5² / 20 and (1 − 5²) / 2.
    """
    a, y = [[1.0, 2.0], [1.0, 2.0]], [[3.0], [21.0]]
    value = np.array([0.5, 12.5 + 25 * np.log(2)]) + np.log(2) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(on(backend, gaussian.value, a, y, dtype=dtype), value, rtol=1e-6)
    np.testing.assert_array_equal(on(backend, gaussian.gradient, a, y, dtype=dtype), [[-0.5, 0.0], [-1.25, -12.0]])


def test_quantiles_worked_by_hand(backend, dtype):
    """Levels ¼ and ¾ of y = (1, 2).

    The outputs are (0, 3) for ¼, with errors (1, −1) that cost ¼ · 1 + ¾ · 1, and (1, 0) for ¾, with errors (0, 2) that
    cost 0 + ¾ · 2. At the error 0 the slope is ½ − p.
    """
    a, y, cost = [[0.0, 3.0, 1.0, 0.0]], [[1.0, 2.0]], make_quantile(0.25, 0.75)
    np.testing.assert_array_equal(on(backend, cost.value, a, y, dtype=dtype), [0.25 + 0.75 + 1.5])
    np.testing.assert_array_equal(on(backend, cost.gradient, a, y, dtype=dtype), [[-0.25, 0.75, -0.25, -0.75]])


@pytest.mark.on("jax")
def test_standard_deviations_are_above_0_and_all_is_finite(backend, dtype):
    """At least a thousandth, however negative the weighted input; with a large one, its square root."""
    raw = np.array([-1e4, -100.0, -20.0, 0.0, 50.0, 1e4])
    z, y = np.stack([np.full(6, 0.5), raw], axis=1), np.full((6, 1), 2.0)
    a = on(backend, mean_std.value, z, dtype=dtype)
    np.testing.assert_allclose(a, np.stack([z[:, 0], np.sqrt(np.logaddexp(0, raw) + 1e-6)], axis=1), rtol=1e-6)
    pair = gaussian.combine(mean_std)
    assert np.isfinite(on(backend, pair.value, z, a, y, dtype=dtype)).all()
    delta = on(backend, pair.delta, z, a, y, dtype=dtype)
    variance, slope = np.logaddexp(0, raw) + 1e-6, np.exp(raw - np.logaddexp(0, raw))
    distance = 1.5 / np.sqrt(variance)
    part = np.minimum(1, 25 / distance**2)  # of the slope of a normal distribution, more than 5 standard deviations off
    exact = [-part * 1.5 / variance, 0.5 * (1 - part * distance**2) / variance * slope]
    np.testing.assert_allclose(delta, np.stack(exact, axis=1), rtol=1e-4, atol=1e-30)


def test_equal_levels_are_the_same_cost():
    assert make_quantile(0.1, np.float64(0.9)) == make_quantile(0.1, 0.9)
    assert make_quantile(0.25).name == "quantile(0.25)"


# Networks


def test_a_cost_alone_makes_a_regression(place):
    for cost, output in (("gaussian", mean_std), ("quantile(0.3)", identity)):
        net = Network([3, 4, 2], cost=cost, **place._asdict())
        assert (net.task, net.sigmas[-1], net.cost_name) == ("regression", output, cost)


@pytest.mark.on("jax")
def test_quantiles_are_predicted_in_order(place):
    net = Network([1, 3], cost="quantile(0.1, 0.5, 0.9)", **place._asdict())
    net.layers = [([[1.0], [0.0], [-1.0]], [0.0, 0.0, 0.0])]
    x = [[1.0], [-1.0]]
    assert to_host(net.predict(x)).tolist() == [[-1, 0, 1], [-1, 0, 1]]
    assert to_host(net.forward(x)).tolist() == [[1, 0, -1], [-1, 0, 1]]


def test_one_level_predicts_a_number_for_each_target(place):
    for n in (1, 2):
        net = Network([3, n], cost="quantile(0.9)", **place._asdict())
        assert tuple(net.predict(X).shape) == ((N,) if n == 1 else (N, n))


def test_targets_are_as_many_as_their_shape_says():
    one, two = Network([3, 2], cost="gaussian"), Network([3, 4], cost="gaussian")
    assert one.cost((X, Y[:, :1])) == one.cost((X, Y[:, 0]))
    assert [tuple(part.shape) for part in two.deltas(X[0], Y[0])] == [(4,)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("y", [Y[:, 0], Y])
def test_the_estimators_predict_quantiles(y):
    loss = "quantile(0.05, 0.5, 0.95)"
    regressor = MLPRegressor(loss, **SMALL).fit(X, y)
    predicted = regressor.predict_quantiles(X)
    assert predicted.shape == (*y.shape, 3)
    assert (np.diff(predicted, axis=-1) >= 0).all()
    one = MLPRegressor("quantile(0.3)", max_iter=200, tol=10.0, random_state=0).fit(X, y)
    np.testing.assert_array_equal(one.predict_quantiles(X), one.predict(X)[..., None])
    np.testing.assert_array_equal(predicted, regressor.network_.predict(X))
    np.testing.assert_array_equal(regressor.predict(X), predicted[..., 1])
    ensemble = MLPEnsembleRegressor(loss, n_estimators=2, **SMALL).fit(X, y)
    members = [member.predict_quantiles(X) for member in ensemble.estimators_]
    np.testing.assert_allclose(ensemble.predict_quantiles(X), np.mean(members, axis=0), rtol=1e-12)
    median, spread = ensemble.predict(X, return_std=True)
    np.testing.assert_allclose(median, np.mean(members, axis=0)[..., 1], rtol=1e-12)
    np.testing.assert_allclose(spread, np.std([each[..., 1] for each in members], axis=0), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_early_stopping_of_quantiles_watches_the_loss():
    """R² would see the median alone."""
    fits = [MLPRegressor("quantile(0.1, 0.5, 0.9)", **SMALL, early_stopping=stop) for stop in (True, "loss")]
    first, second = (fit.fit(X, Y[:, 0]) for fit in fits)
    assert first.best_validation_loss_ == min(first.validation_loss_curve_)
    np.testing.assert_array_equal(first.predict_quantiles(X), second.predict_quantiles(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("loss", "y"), [("gaussian", Y[:, 0]), (gaussian, NEAR)])
def test_the_estimators_predict_standard_deviations(loss, y):
    regressor = MLPRegressor(loss, **SMALL).fit(X, y)
    mean, std = regressor.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, regressor.predict(X))
    np.testing.assert_array_equal(std, regressor.network_.predict_std(X))
    ensemble = MLPEnsembleRegressor(loss, n_estimators=3, **SMALL).fit(X, y)
    mean, std = ensemble.predict(X, return_std=True)
    means, stds = zip(*(member.predict(X, return_std=True) for member in ensemble.estimators_))
    np.testing.assert_allclose(mean, np.mean(means, axis=0))
    np.testing.assert_allclose(std**2, np.var(means, axis=0) + np.mean(np.square(stds), axis=0))
    with pytest.raises(ValueError, match='predict_std needs cost="gaussian"'):
        MLPRegressor(**SMALL).fit(X, y).predict(X, return_std=True)


def train_on(source, kind=Network, members=(), **options):
    """A door: train a network, or an ensemble, on what `source` makes of the targets."""

    def train(y):
        model = kind([3, 4, 2 * y.shape[1]], *members, cost="gaussian", seed=0)
        model.train(source(y), 2, 4, lr=0.0, progress=False, **options)

    return train


PLAIN = {**SMALL, "standardize": False, "loss": "gaussian"}
SCALE_DOORS = {
    "Network": train_on(lambda y: (X, y)),
    "data set": train_on(lambda y: Items(X, y), cache=False),
    "Ensemble": train_on(lambda y: (X, y), Ensemble, [3]),
    "MLPEnsembleRegressor": lambda y: MLPEnsembleRegressor(**PLAIN).fit(X, y),
    "MLPSearchCV": lambda y: MLPSearchCV(MLPRegressor(**PLAIN), {"alpha": [0.0, 1.0]}, cv=2, refit=False).fit(X, y),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("door", SCALE_DOORS)
def test_targets_far_from_their_scale_are_told_of_once(door):
    with pytest.warns(UserWarning, match=r"^targets have mean \d+(\.\d)? and .*; give standardize=True") as seen:
        SCALE_DOORS[door](np.stack([NEAR[:, 0], Y[:, 0]], axis=1))
    assert len([w for w in seen if "standard deviation" in str(w.message)]) == 1
    assert door == "MLPSearchCV" or seen[0].filename == __file__  # joblib calls the fits of a search
    SCALE_DOORS[door](NEAR)


@pytest.mark.parametrize("y", [60 + Y / 100, Y - 100, (Y - 100) / 2000], ids=["mean", "wide", "narrow"])
def test_each_bound_on_the_scale_of_targets(place, y):
    with pytest.warns(UserWarning, match=r"^targets have mean .* and standard deviation"):
        network(place).train((X, y), epochs=1, lr=0.0, progress=False)


def test_targets_near_their_scale_and_other_costs_warn_of_nothing(place):
    for y in (3 * NEAR, 0.1 * NEAR, NEAR + 10, 0 * NEAR):
        network(place).train((X, y), epochs=1, lr=0.0, progress=False)
    network(place, standardize=True).train((X, Y), epochs=1, progress=False)
    network(place, "quantile(0.1, 0.5, 0.9)").train((X, Y), epochs=1, progress=False)  # which has no such cliff


def test_the_spread_of_the_data_is_found():
    """y = 1 + 2 x + 0.5 times standard normal numbers: within 3 standard errors of 2,000 examples, about 0.03."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1))
    y = 1 + 2 * x[:, 0] + 0.5 * rng.standard_normal(2000)
    net = Network([1, 2], cost="gaussian", seed=0)
    net.train((x, y), 20, 50, OneCycle(0.1), optimizer=SGD(momentum=0.9), progress=False)
    np.testing.assert_allclose(net.predict([[-1.0], [1.0]]), [-1, 3], atol=0.1)
    np.testing.assert_allclose(net.predict_std([[-1.0], [1.0]]), [0.5, 0.5], atol=0.05)
    net = Network([1, 3], cost="quantile(0.1, 0.5, 0.9)", seed=0)
    net.train((x, y), 20, 50, OneCycle(0.1), optimizer=Adam(), progress=False)
    below = (y[:, None] < net.predict(x)).mean(axis=0)
    np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=0.03)


def test_one_wrong_target_does_not_end_training_early():
    """It is among the validation examples, and further off the more certain the network is; the noise is 0.05."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    y = np.sin(3 * x[:, 0]) + 0.05 * rng.standard_normal(400)
    wrong = np.concatenate([y[300:301] + 3, y[301:]])
    net, stop = Network([1, 16, 2], activation="tanh", cost="gaussian", standardize=True, seed=0), EarlyStopping(10)
    options = {"optimizer": Adam(), "validation_data": (x[300:], wrong), "callbacks": [stop], "progress": False}
    net.train((x[:300], y[:300]), 60, 10, 0.005, **options)
    assert stop.best_epoch > 20  # with the cost of a normal distribution alone, 5
    assert net.predict_std(x).mean() < 0.1  # and 0.24


# Samples with dropout


def diagonal(place, dtype="float32", **options):
    """A network whose outputs are tanh of its inputs, but for the masks of the inputs and of the hidden units."""
    options = {"dropout": [0.25, 0.5], "activation": "tanh", "task": "regression", **options}
    net = Network([6, 6, 6], seed=9, dtype=dtype, **options, **place._asdict())
    net.layers = [(np.eye(6), np.zeros(6))] * 2
    return net


def masks(net, m, n):
    """Those of the definition, (n, m, 6) of the inputs and of the hidden units, for sample numbers as steps."""
    seed, pairs = net.seeds.dropout, enumerate(net.dropout)
    return [
        np.array([oracle.dropout_mask(seed, step, layer, m, 6, rate) for step in range(n)]) for layer, rate in pairs
    ]


@pytest.mark.on("jax")
def test_samples_have_the_masks_of_training_on_every_backend(place, dtype):
    """All bits of them; the network does not change."""
    net, x = diagonal(place, dtype), np.random.default_rng(0).uniform(1, 2, (7, 6)).astype(dtype)
    state, rng = snapshot(net), net.value.generator
    inputs, hidden = masks(net, 7, 5)
    exact = np.tanh(inputs * x) * hidden
    assert 0.5 < (exact == 0).mean() < 0.75
    found = to_host(net.sample(x, 5))
    assert found.shape == (5, 7, 6)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found == 0, exact == 0)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    np.testing.assert_allclose(to_host(net.sample(x[0], 5)), found[:, 0], rtol=1e-6)
    for step in range(5):
        for mask, expected in zip(net.dropout_masks(step, 7), (inputs, hidden), strict=True):
            np.testing.assert_allclose(to_host(mask), expected[step], rtol=1e-6)
    assert_same(net, state)
    assert net.value.generator == rng


# How well error bars cover, and their calibration


def bars(place, cost, targets, members):
    """A network, or an ensemble, that has learnt nothing, and the number of its outputs for each target."""
    k = {"mse": 1, "gaussian": 2}.get(cost, 3)
    options = {"cost": cost, "task": "regression", "activation": "tanh", "standardize": True, "seed": 0}
    options |= {"dtype": "float64", **place._asdict()}
    sizes = [3, 4, k * targets]
    model = Network(sizes, **options) if members is None else Ensemble(sizes, members, **options)
    for net in [model] if members is None else model:
        mean, std = np.full((1, targets), 100.0), np.full((1, targets), 20.0)
        net.scaling = Scaling(np.zeros((1, 3)), np.ones((1, 3)), mean, std)
    return model


def examples(n, targets, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3)), 100 + 30 * rng.standard_t(3, (n, targets))


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("cost", ["gaussian", "quantile(0.05, 0.5, 0.95)"])
def test_calibrated_intervals_hold_on_new_data(cost, members):
    """On noise with heavy tails that nobody has learnt; three standard errors are allowed."""
    model = bars(NUMPY, cost, 1, members)
    validation, test = examples(2000, 1, 2), examples(20_000, 1, 3)
    raw = [row["measured"] - row["nominal"] for row in model.coverage(test).rows]
    model.calibrate(validation)
    rows = model.coverage(test).rows
    for row in rows:
        assert abs(row["measured"] - row["nominal"]) < 3 * row["standard_error"]
    assert max(map(abs, raw)) > 0.05
    y, (low, high) = test[1][:, 0], model.interval(test[0], 0.9)
    assert np.mean((low <= y) & (y <= high)) == pytest.approx(0.9, abs=0.02)
    if cost == "gaussian":
        mean, std = model.predict(test[0], return_std=True)
        assert np.mean(abs(y - mean) <= std) == pytest.approx(0.683, abs=0.03)
        probabilities = transform_targets(Bars(model.values, True) if members else Bars([model.value]), test)[:, 0]
        assert np.mean((probabilities > 0.5) == (y > mean)) > 0.999
    predicted = model.predict(test[0])
    point = predicted if cost == "gaussian" else predicted[:, 1]
    error = np.abs(point - test[1][:, 0]).mean()
    assert model.measure(test, metrics=["mae"])["mae"] == pytest.approx(error, rel=1e-9)
    rows = "below  standard error\n  0.050" if cost.startswith("quantile") else "within  standard error\n  0.680"
    assert repr(model.coverage(test)).startswith(f"nominal  {rows}")
    assert "<td" in model.coverage(test)._repr_html_()


def test_a_calibration_is_kept_until_the_weights_change(place):
    net, (x, y) = bars(place, "gaussian", 1, None), examples(20, 1)
    net.calibrate((x, y))
    for twin in (net.to(dtype="float32"), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin.calibration, net.calibration)
        np.testing.assert_allclose(to_host(twin.predict_std(X)), to_host(net.predict_std(X)), rtol=1e-6)
    with pytest.raises(ValueError, match="read-only"):
        net.calibration[0] = 0.0
    net.train((x, y), epochs=1, lr=0.0, progress=False)
    assert net.calibration is None


def test_calibration_of_numbers_far_from_0():
    net, (x, y) = bars(NUMPY, "gaussian", 1, None).to(dtype="float32"), examples(20, 1)
    far = net.copy()
    far.scaling = net.scaling._replace(y_mean=net.scaling.y_mean + 1e9)
    net.calibrate((x, y))
    far.calibrate((x, y + 1e9))
    np.testing.assert_allclose(far.calibration, net.calibration, rtol=1e-4)
    np.testing.assert_allclose(far.interval(x)[0] - 1e9, net.interval(x)[0], rtol=1e-4)
    assert far.interval(x)[0].dtype == np.float64


def test_members_of_which_one_has_targets_far_from_0_predict_together_in_float64():
    near, far = (bars(NUMPY, "mse", 1, None).to(dtype="float32") for _ in range(2))
    far.scaling = near.scaling._replace(y_mean=near.scaling.y_mean + 1e9)
    means = [net.predict(X).astype("float64") for net in (near, far)]
    mean, std = Ensemble.of([near, far]).predict(X, return_std=True)
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, np.std(means, axis=0), rtol=1e-12)


def test_many_errors_are_thinned_to_some_that_are_not_smaller():
    """Nor larger, for quantiles below the median."""
    errors = np.random.default_rng(0).exponential(size=(25_001, 1, 1))
    thin = sort_errors(errors)
    assert len(thin) == MOST_ERRORS
    for level in (0.1, 0.68, 0.9, 0.99):
        exact = find_error(np.sort(errors, axis=0), level)
        assert exact <= find_error(thin, level) < 1.01 * exact
    thin = sort_errors(np.repeat(errors, 2, axis=2), (0.1, 0.9))
    low, high = (find_error(np.sort(errors, axis=0), level, lower=level < 0.5) for level in (0.1, 0.9))
    assert 0.99 * low < find_error(thin, 0.1, 0, lower=True) <= low
    assert high <= find_error(thin, 0.9, 1) < 1.01 * high


FEW = examples(5, 1)


def certain():
    """A network whose predicted standard deviations are the least that there are."""
    net = Network([3, 2], cost="gaussian", dtype="float64", seed=0)
    net.b = [[0.0, -1e4]]
    return net


def exploding():
    """A network whose predictions are infinite, except for the inputs 0."""
    net = Network([3, 1], task="regression", output_activation="exp", cost="poisson", seed=0)
    net.layers = [([[1e9, 1e9, 1e9]], [0.0])]
    return net


def refusing():
    """Calls, and what the message begins with, and has as the remedy."""
    net = bars(NUMPY, "gaussian", 1, None)
    net.calibrate(FEW)
    quantiles, plain = bars(NUMPY, "quantile(0.1, 0.5, 0.9)", 1, None), Network([3, 1], task="regression", seed=0)
    classes, ensemble = Network([3, 2], seed=0), Ensemble([3, 1], 1, task="regression")
    few, labels = FEW, (X, np.arange(N) % 2)
    return [
        (lambda: make_quantile(), "levels=() must be numbers in increasing order", "0.1, 0.5, 0.9"),
        (lambda: make_quantile(0.9, 0.1), "levels=(0.9, 0.1) must be numbers in increasing order", "0.1, 0.5, 0.9"),
        (lambda: make_quantile(0.0), "level=0.0 must be above 0 and below 1", "0.5 is the median"),
        (lambda: make_quantile(np.nan), "level=nan must be above 0 and below 1", "0.5 is the median"),
        (
            lambda: Network([3, 3], cost="gaussian"),
            "sizes ends in 3, but cost='gaussian' has 2 outputs for each target",
            "end it in 2 for one",
        ),
        (
            lambda: Network([3, 2], cost="gaussian", output_activation="softplus"),
            "cost='gaussian' does not go with output_activation='softplus'",
            "'mean_std'",
        ),
        (
            lambda: Network([3, 2], output_activation="mean_std"),
            "output_activation='mean_std' is unknown",
            "choose from",
        ),
        (
            lambda: Network([3, 1], cost=make_quantile(0.2), task="binary"),
            "cost='quantile(0.2)' contradicts task='binary'",
            "which goes with 'cross_entropy'",
        ),
        (
            lambda: Network([3, 2], cost="gaussian").cost((X, Y)),
            "y of data has shape (12, 2)",
            "must have (n, 1) or (n,)",
        ),
        (
            lambda: Network([3, 4], cost="gaussian").cost((X, Y[:, :1])),
            "y of data has shape (12, 1)",
            "must have (n, 2)",
        ),
        (
            lambda: MLPRegressor("quantile(0.1, 0.9)").fit(X, Y),
            "loss='quantile(0.1, 0.9)' has no single number for each target",
            "add 0.5",
        ),
        (
            lambda: MLPClassifier(loss="gaussian").fit(*labels),
            "loss='gaussian' is for the output activations",
            "give loss='log_loss'",
        ),
        (
            lambda: MLPRegressor("huber", tol=1e9).fit(*labels).predict_quantiles(X),
            "predict_quantiles needs quantiles as the loss",
            "loss='huber'",
        ),
        (lambda: plain.predict_std(X), 'predict_std needs cost="gaussian"', "call calibrate(validation_data)"),
        (
            lambda: diagonal(NUMPY).predict(np.ones((1, 6)), return_std=True),
            'predict_std needs cost="gaussian"',
            "sample(x, 100).std(axis=0)",
        ),
        (lambda: quantiles.predict_std(X), 'predict_std needs cost="gaussian"', "make one with"),
        (lambda: plain.sample(X), "sample before fit_laplace needs dropout", "dropout=0.1"),
        (lambda: diagonal(NUMPY).sample(np.ones((1, 6)), 0), "n=0 must be", "at least 1"),
        (lambda: net.interval(X, 0.9), "level=0.9 needs at least 9 examples for calibrate, and there were 5", "0.833"),
        (lambda: net.interval(X, 1.5), "level=1.5 must be above 0 and below 1", "0.9 is usual"),
        (lambda: quantiles.interval(X, 0.9), "level=0.9 needs the quantile 0.05", 'cost="quantile(0.05, 0.5, 0.95)"'),
        (
            lambda: plain.interval(X),
            "interval needs error bars, and this network has cost='quadratic'",
            "calibrate(validation_data)",
        ),
        (
            lambda: ensemble.interval(X),
            "interval needs error bars, and the spread of these members",
            "call calibrate(validation_data)",
        ),
        (lambda: classes.interval(X), "interval needs a regression", "task is 'classification'"),
        (lambda: net.coverage(few, 0.5), "levels=0.5 must be a list of numbers", "[0.5, 0.9]"),
        (lambda: net.coverage(few, []), "levels=[] must be a list of numbers", "[0.5, 0.9]"),
        (lambda: net.coverage(few, [0.5, 2]), "level=2 must be above 0 and below 1", "0.9 is usual"),
        (lambda: quantiles.coverage(few, [0.2]), "level=0.2 is not one of the levels of the quantiles", "0.1, 0.5"),
        (lambda: plain.coverage(few), "coverage needs error bars", "calibrate(validation_data)"),
        (
            lambda: net.calibrate((few[0][:2], few[1][:2])),
            "calibrate needs at least 3 examples, and there were 2",
            "give more",
        ),
        (lambda: quantiles.calibrate(few), "level=0.1 needs at least 9 examples for calibrate", "of at least 0.167"),
        (
            lambda: ensemble.calibrate(few),
            "calibrate divides errors by predicted standard deviations, and some for validation_data are 0",
            "more members",
        ),
        (
            lambda: certain().calibrate((X, np.full(N, 1e307))),
            "calibrate divides errors by predicted standard deviations, and some for validation_data are 0",
            "standardize=True",
        ),
        (
            lambda: exploding().calibrate((X * (np.arange(N)[:, None] == 2), Y[:, 0])),
            "calibrate needs finite predictions, and that for row 2",
            "scale the inputs",
        ),
        (
            lambda: Network([3, 2], output_activation="tanh").calibrate(labels),
            "calibrate needs probabilities that add up to 1",
            'task="classification"',
        ),
        (lambda: ensemble.calibrate(few, rows=[[]]), "rows[0] is empty", "give at least one row"),
        (lambda: ensemble.calibrate(few, rows=[[5]]), "rows[0] goes from 5 to 5", "has 5 rows"),
        (
            lambda: ensemble.calibrate(Batches(*labels, 4), rows=[[0]]),
            "rows needs all examples beforehand",
            "give validation_data as arrays, as pairs, or as a data set",
        ),
        (lambda: net.predict_jacobian(X, "no"), "return_std='no' must be", "True or False"),
        (lambda: classes.predict_jacobian(X), "predict_jacobian needs a regression", "task is 'classification'"),
        (
            lambda: quantiles.predict_jacobian(X, return_std=True),
            "predict_jacobian(return_std=True) needs",
            'cost="gaussian"',
        ),
        (
            lambda: Ensemble.of([quantiles]).predict_jacobian(X, True),
            "predict_jacobian(return_std=True) needs",
            "cost=",
        ),
    ]


@pytest.mark.parametrize(("call", "names", "remedy"), refusing())
def test_what_does_not_fit_is_refused(call, names, remedy):
    with pytest.raises(ValueError, match=f"^{re.escape(names)}.*{re.escape(remedy)}"):
        call()


def test_a_calibration_that_is_refused_leaves_the_one_before():
    net = bars(NUMPY, "gaussian", 1, None)
    net.calibrate(FEW)
    before = net.calibration
    with pytest.raises(ValueError, match="at least 3"):
        net.calibrate((FEW[0][:2], FEW[1][:2]))
    assert net.calibration is before


@pytest.mark.parametrize(
    ("cost", "correct"),
    [
        ("gaussian", lambda net, x, outputs: net.predict_std(x) / outputs[:, 1]),
        ("quantile(0.1, 0.5, 0.9)", lambda net, x, outputs: net.predict(x) - np.sort(outputs)),
        ("mse", lambda net, x, a: (np.subtract(*net.interval(x)) / 2, a[:, 0] - np.mean(net.interval(x), 0))),
    ],
)
def test_what_is_exported_is_not_calibrated_and_says_how_to_correct_it(cost, correct):
    """The correction does not depend on x; `forward` is what is exported, except that quantiles are sorted there."""
    net = bars(NUMPY, cost, 1, None)
    net.calibrate(examples(49, 1))
    message = "the network is calibrated, and what is exported is not: it predicts as before calibrate"
    with pytest.warns(UserWarning, match=f"^{message}; .* the same for every x$"):
        make_page(net)
    x, _ = examples(9, 1, seed=1)
    corrections = np.asarray(correct(net, x, net.forward(x)))
    rows = corrections.T if cost == "mse" else corrections
    np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), atol=1e-9)
    assert np.abs(rows[0]).max() > 0.1


@pytest.mark.parametrize("members", [None, 2])
def test_what_is_exported_lacks_the_error_bars_of_weights(members):
    """After a calibration too, which is then not the same for every x."""
    model = bars(NUMPY, "mse", 1, members)
    for net in [model] if members is None else model:
        net.layers = net.layers
    model.fit_laplace(examples(49, 1))
    model.calibrate(examples(49, 1, seed=1))
    for _ in range(1 if members is None else 2):
        with pytest.warns(UserWarning, match="^what is exported lacks the error bars of fit_laplace: net.predict"):
            make_page(model)
        net.layers = net.layers  # and has none


@pytest.mark.parametrize("cost", ["gaussian", "mse"])
def test_exported_standard_deviations_of_an_ensemble_are_not_calibrated_and_its_mean_needs_no_warning(cost):
    ensemble = bars(NUMPY, cost, 1, 2)
    ensemble.calibrate(examples(49, 1))
    with pytest.warns(UserWarning, match=r"net.predict\(x, r") if cost == "gaussian" else nullcontext():
        make_page(ensemble)


# Out of fold: each member predicts the examples that it has not learnt from


def test_an_ensemble_that_predicts_a_constant_is_calibrated_out_of_fold_and_loads(tmp_path):
    """Knots of widths lie at the same prediction then, but for rounding."""
    ensemble = Ensemble([1, 1], members=2, task="regression", dtype="float64", seed=0)
    x, y = np.random.default_rng(0).normal(size=(2, 400, 1))
    for bias in (0.1, 0.3, 0.7):
        for net in ensemble:
            net.layers = [([[0.0]], [bias])]
        ensemble.calibrate((x, y), [range(200), range(200, 400)])
        ensemble.save(tmp_path / "ensemble")
        again = Ensemble.load(tmp_path / "ensemble")
        np.testing.assert_array_equal(again.interval(x[:2]), ensemble.interval(x[:2]))


def test_another_calibration_takes_the_place_of_the_first():
    """As if there had been none: out of fold or not, in either order."""
    calls = [(examples(80, 1, 1),), (examples(90, 1), np.arange(90).reshape(3, 30))]
    for first, second in (calls, calls[::-1]):
        twice, once = bars(NUMPY, "gaussian", 1, 3), bars(NUMPY, "gaussian", 1, 3)
        twice.calibrate(*first)
        before = twice.interval(X, 0.8)
        for ensemble in (twice, once):
            ensemble.calibrate(*second)
        np.testing.assert_array_equal(twice.interval(X, 0.8), once.interval(X, 0.8))
        assert not np.array_equal(once.interval(X, 0.8), before)


@pytest.mark.parametrize("members", [None, 2])
def test_files_of_calibrations_know_how_many_examples_there_were(members, tmp_path):
    """Of more than are kept: the standard error of a coverage depends on the number."""
    n = MOST_ERRORS + 1201
    model = bars(NUMPY, "mse", 1, members)
    model.calibrate(examples(n, 1), **({"rows": [range(0, n, 2), range(1, n, 2)]} if members else {}))
    assert len(model.calibration) == MOST_ERRORS
    model.save(tmp_path / "net")
    again = type(model).load(tmp_path / "net")
    np.testing.assert_array_equal(again.calibration, model.calibration)
    expected = [coverage_error(level, 100, n) for level in (0.68, 0.9, 0.95)]
    assert [row["standard_error"] for row in again.coverage(examples(100, 1, 1)).rows] == expected


def test_members_with_calibrations_of_their_own_keep_these_in_a_file(tmp_path):
    """And the ensemble has its own besides; the files of members of two ensembles have none together."""
    ensemble = bars(NUMPY, "mse", 1, 2)
    for k, net in enumerate(ensemble):
        net.calibrate(examples(20 + k, 1, k))
    alone = [net.calibration for net in ensemble]
    for calibrated in (False, True):
        if calibrated:
            ensemble.calibrate(examples(30, 1, 5))
        ensemble.save(tmp_path / "net")
        again = Ensemble.load(tmp_path / "net")
        for net, expected in zip(again, alone, strict=True):
            np.testing.assert_array_equal(net.calibration, expected)
        assert (again.calibration is None) == (not calibrated)
        assert again.fingerprint() == ensemble.fingerprint()
    np.testing.assert_array_equal(again.calibration, ensemble.calibration)
    other = ensemble.copy()
    other.calibrate(examples(30, 1, 6))
    parts = [encode_network(net.value) for net in (ensemble[0], other[1])]
    (tmp_path / "mixed").write_bytes(encode_archive(parts))
    assert Ensemble.load(tmp_path / "mixed").calibration is None


def noisy_numbers(n, seed):
    """Numbers whose noise grows with them."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, 1))
    return x, 5 * x[:, 0] + (0.2 + x[:, 0]) * rng.standard_normal(n)


@pytest.mark.parametrize("cost", ["mse", "gaussian"])
def test_intervals_out_of_fold_hold_on_new_data_and_follow_the_noise(cost):
    """Of members that have learnt the noise of their examples by heart; without rows, they would be far too short."""
    x, y = noisy_numbers(400, 0)
    features = np.random.default_rng(1).standard_normal((1, 30))
    x, (new, truth) = np.tanh(x * features), noisy_numbers(10_000, 2)
    low, new = new[:, 0] < 0.3, np.tanh(new * features)
    folds = np.arange(400).reshape(8, 50)
    sizes = [30, 30, 1 + (cost == "gaussian")]
    model = Ensemble(sizes, 8, cost=cost, task="regression", activation="tanh", standardize=True, seed=0)
    model.train((x, y), 40, 20, 0.01, optimizer=Adam(), validation_rows=folds, progress=False)
    model.calibrate((x, y), rows=folds)
    for row in model.coverage((new, truth)).rows:
        assert abs(row["measured"] - row["nominal"]) < 3 * row["standard_error"]
    for part in (low, ~low):
        (row,) = model.coverage((new[part], truth[part]), [0.9]).rows
        assert 0.84 < row["measured"] < 0.95
    lengths = np.subtract(*model.interval(new, 0.9)[::-1])
    assert lengths[~low].mean() > 1.8 * lengths[low].mean()
    assert model.measure((new, truth), metrics=["rmse"])["rmse"] > 0


@pytest.mark.parametrize(("spread", "follows"), [(0.0, True), (1.0, True), (0.0, False)])
def test_errors_out_of_fold_are_within_the_widths_at_the_mean_of_all_members_as_often_as_they_say(spread, follows):
    """However far a prediction out of fold lies from that mean, and with constant widths if they do not follow it."""
    rng = np.random.default_rng(0)
    center, scale = rng.uniform(1, 10, (2, 1000, 1)), rng.uniform(0.5, 2, (2, 1000, 1))
    y = center[0] + 0.1 * center[0] * scale[0] * rng.standard_normal((1000, 1))
    mean = center[0] + spread * rng.standard_normal((1000, 1))
    out_of_fold = np.stack([mean, scale[0]], axis=-1)
    of_all = np.stack([center[0 if follows else 1], scale[1]], axis=-1)
    units, widths = choose_widths(y, out_of_fold, of_all, np.zeros((1000, 1)))
    there, here = (interpolate_widths(bars[..., 0], widths, np) * bars[..., 1] for bars in (out_of_fold, of_all))
    np.testing.assert_allclose(units, np.minimum(there, here))
    errors = np.abs(y - mean) / units
    for level in (0.5, 0.9):
        assert (np.abs(y - mean) <= np.quantile(errors, level) * here).mean() > level - 1e-9
    assert (np.ptp(widths[0, 1]) > 0) == follows
    halved = choose_widths(y, out_of_fold, of_all, np.full((1000, 1), 1e9))[1]  # the most that the mean may gain
    np.testing.assert_allclose(halved[0, 1], widths[0, 1] / 2)
    gain = 0.002 * center[0] ** 2
    own, other = (choose_widths(c * y, c * out_of_fold, c * of_all, c**2 * gain) for c in (1.0, 1000.0))
    np.testing.assert_allclose(other[0], 1000 * own[0])  # in any unit
    np.testing.assert_allclose(other[1][0, 1], own[1][0, 1])


@pytest.mark.parametrize("cost", ["quadratic", "gaussian"])
def test_intervals_hold_where_the_mean_of_all_members_is_worse_than_a_member_out_of_fold(cost):
    """As where a wrong target has moved all members but the one that left it out, whose rows are the most."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    y = x[:, 0] + 0.1 * rng.standard_normal(400)
    networks = [Network([1, 1 + (cost == "gaussian")], task="regression", cost=cost, seed=k) for k in range(3)]
    for network, shift in zip(networks, (0.0, 6.0, 9.0)):
        network.w = [[[1.0]] if cost == "quadratic" else [[1.0], [0.0]]]
        network.b = [[shift] if cost == "quadratic" else [shift, 0.0]]
    ensemble = Ensemble.of(networks)
    ensemble.calibrate((x, y), rows=[np.arange(300), np.arange(300, 350), np.arange(350, 400)])
    for level in (0.5, 0.9):
        low, high = ensemble.interval(x, level)
        assert ((low <= y) & (y <= high)).mean() > level - 0.02


def test_a_target_between_quantiles_has_the_probability_in_their_middle():
    net = Network([1, 3], cost="quantile(0.1, 0.5, 0.9)")
    net.layers = [([[0.0]] * 3, [-1.0, 0.0, 1.0])]
    found = transform_targets(Bars([net.value]), (np.zeros((4, 1)), [-2.0, -0.5, 0.5, 2.0]))
    np.testing.assert_allclose(found[:, 0], [0.05, 0.3, 0.7, 0.95])


# Probabilities, and their calibration


@pytest.mark.parametrize("temperature", [0.5, 15.0])
def test_a_shift_of_logits_and_a_temperature_undo_weights_of_classes(temperature):
    rng, bias = np.random.default_rng(0), np.array([1.0, -2.0, 1.0])
    logits = 2 * rng.standard_normal((20_000, 3))
    y = np.eye(3)[(logits + bias + rng.gumbel(size=logits.shape)).argmax(axis=1)]
    shift = find_shift(temperature * logits, y)
    found = find_temperature(temperature * logits + shift, y, "classification")
    p = softmax((temperature * logits + shift) / found, axis=1)
    np.testing.assert_allclose(p.mean(axis=0), y.mean(axis=0), atol=1e-3)
    assert found == pytest.approx(temperature, rel=0.05)
    np.testing.assert_allclose(shift / temperature - np.mean(shift / temperature), bias, atol=0.1)


def test_a_shift_where_logits_say_nothing_or_all():
    y = np.eye(2)[[0, 0, 0, 1] * 50]
    np.testing.assert_allclose(softmax(find_shift(np.zeros((200, 2)), y)), [0.75, 0.25], atol=2e-3)
    sure = np.where(y, 0.7, -0.7)  # all are right: the slope is that of temperature 1
    np.testing.assert_allclose(softmax(sure + find_shift(sure, y), axis=1).mean(axis=0), [0.75, 0.25], atol=2e-3)
    for scale in (0.1, 1.0, 50.0):  # the shift stays moderate
        noise = np.random.default_rng(0).normal(scale=scale, size=(200, 2))
        shift = find_shift(noise, y)
        assert np.abs(shift).max() < 5 * max(1.0, scale)
        found = find_temperature(noise + shift, y, "classification")
        np.testing.assert_allclose(softmax((noise + shift) / found, axis=1).mean(axis=0), [0.75, 0.25], atol=0.03)
    never = np.eye(3)[[0, 0, 0, 1] * 50]  # a class that does not occur
    assert np.isfinite(find_shift(np.zeros((200, 3)), never)).all()


def noisy_classes(task, factor, n=300):
    """Weights that are `factor` times those that drew the classes: this is about the best temperature; and examples."""
    rng, units = np.random.default_rng(3), {"binary": 1, "multilabel": 2}.get(task, 3)
    w, x = rng.standard_normal((units, 2)), 2 * rng.standard_normal((n, 2))
    if task == "classification":
        y = (x @ w.T + rng.gumbel(size=(n, units))).argmax(axis=1)
    else:
        y = (x @ w.T + rng.logistic(size=(n, units)) > 0).astype(int)
    return factor * w, x, y[:, 0] if task == "binary" else y


def classifier(place, task, w, **options):
    net = Network([2, len(w)], task=task, dtype="float64", seed=0, **{**place._asdict(), **options})
    net.layers = [(w, np.zeros(len(w)))]
    return net


def probabilities(z, task, temperature=1.0):
    return softmax(z / temperature, axis=-1) if task == "classification" else 1 / (1 + np.exp(-z / temperature))


def mean_log_loss(y, p, task):
    """By scikit-learn; the sum over the labels."""
    if task != "multilabel":
        return log_loss(y, p)
    return sum(log_loss(y[:, k], p[:, k]) for k in range(y.shape[1]))


def best_temperature(y, task, predict):
    """By SciPy; `predict` maps a temperature to probabilities."""
    found = minimize_scalar(lambda s: mean_log_loss(y, predict(np.exp(s)), task), bounds=(-1.6, 4.6), method="bounded")
    return np.exp(found.x)


def test_examples_are_calibrated_before_they_are_scaled(place):
    """A network that standardizes keeps them in float64, on the host."""
    _, x, y = noisy_classes("classification", 1.0)
    net = Network([2, 3], task="classification", standardize=True, seed=0, **place._asdict())
    net.train((x, y), epochs=1, progress=False)
    new = x + 0.01
    z = np.log(to_host(net.forward(new)))
    net.calibrate((new, y))
    expected = best_temperature(y, "classification", lambda t: probabilities(z, "classification", t))
    assert net.temperature == pytest.approx(expected, rel=1e-2)
    p = to_host(net.predict_proba(new))
    np.testing.assert_allclose(p, probabilities(z, "classification", net.temperature), rtol=1e-4)
    assert net.measure((new, y), metrics=["log_loss"])["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-4)


@pytest.mark.parametrize("far", [18.0, 60.0])
@pytest.mark.not_on("jax")
def test_a_label_that_is_very_sure_and_wrong(place, far):
    """Its probability rounds to 1, and the log loss is that of its weighted input, not infinite."""
    rng = np.random.default_rng(0)
    z = np.append(rng.normal(0, 3, 999), far)
    x = np.stack([z, 0 * z], axis=1)
    y = (rng.random(1000) < 1 / (1 + np.exp(-z))) & (z < far)

    def mean_loss(t):
        return np.mean(np.logaddexp(0, z / t) - y * z / t)

    net = classifier(place, "binary", np.array([[1.0, 0.0]])).to(dtype="float32")
    if far < 20:
        scores = net.measure((x, y), metrics=["log_loss", "calibrated_log_loss"])
        least = min(map(mean_loss, np.linspace(0.5, 2, 500)))
        assert (scores["log_loss"], scores["calibrated_log_loss"]) == pytest.approx((mean_loss(1), least), rel=5e-3)
    net.calibrate((x, y))
    found = minimize_scalar(lambda s: mean_loss(np.exp(s)), bounds=(-1.6, 4.6), method="bounded")
    assert net.temperature == pytest.approx(np.exp(found.x), rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rows", "wrong", "temperature"), [(60, False, 1.0), (1, False, 1.0), (60, True, 100.0), (1, True, 100.0)]
)
def test_temperatures_have_bounds(place, dtype, rows, wrong, temperature):
    """Where all are right, which tells nothing, or all wrong; one class has none. Probabilities of 0 do no harm."""
    w = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    net, x = classifier(place, "classification", w).to(dtype=dtype), np.ones((rows, 2))
    x[::2, 0] = -1.0
    net.calibrate((x, ((x[:, 0] < 0) ^ wrong).astype(int)))
    assert net.temperature == pytest.approx(temperature, rel=1e-5)
    far = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    np.testing.assert_array_equal(to_host(net.predict_proba(far)).argmax(axis=1), [0, 1])
    assert np.isfinite(net.measure((far, [1, 0]), metrics=["log_loss"])["log_loss"])


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
def test_a_probability_that_rounds_to_1_does_not_outweigh_others(place):
    """In float32, the output for z = 20 is 1, and counts as one for z = 17.3; the mean of 17.3 and −23 is −2.8."""
    members = [classifier(place, "binary", np.array([[z, 0.0]])).to(dtype="float32") for z in (20.0, -23.0)]
    ensemble, x = Ensemble.of(members), np.array([[1.0, 0.0]] * 11)
    ensemble.calibrate((x, [1, 1] + [0] * 9))  # odds of 2 : 9, those of z = −1.5
    assert ensemble.temperature == pytest.approx(1, rel=0.01)
    assert 0.05 < float(ensemble.predict_proba(x)[0, 0]) < 0.5


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
def test_the_expected_calibration_error_worked_by_hand(place):
    """In 15 bins up to 1/15, 2/15 ...: 0.6 in the 9th, of which 2 of 3 are right; 0.95 in the 15th, of which none is.

    A confidence of 0.6 has class 1 with the probability 0.4, too. (3 |2/3 − 0.6| + 1 · 0.95) / 4 = 0.2875.
    """
    p, y = np.array([0.6, 0.6, 0.4, 0.95]), [1, 0, 0, 0]
    binary = Network([1, 1], task="binary", dtype="float64", seed=0, **place._asdict())
    binary.layers = [([[1.0]], [0.0])]
    two = Network([1, 2], task="classification", dtype="float64", seed=0, **place._asdict())
    two.layers = [([[0.0], [1.0]], [0.0, 0.0])]
    for model in (binary, two, Ensemble.of([two, two])):
        scores = model.measure((np.log(p / (1 - p))[:, None], y), metrics=["expected_calibration_error", "log_loss"])
        assert scores["expected_calibration_error"] == pytest.approx(0.2875)
        assert scores["log_loss"] == pytest.approx(log_loss(y, p))
