"""Training with slopes, the known derivatives of targets: its cost, at every door, against differences in NumPy."""

import re

import host_cupy
import numpy as np
import pytest
from helpers import assert_same, flatten, layers_of, snapshot
from programs import oracle

from xpnet import SGD, Adam, ArgumentError, Ensemble, LevenbergMarquardt, Network
from xpnet.estimators import MLPClassifier, MLPEnsembleRegressor, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (12, 3))
Y = np.stack([np.sin(X @ [1, 2, 3]), X[:, 0] * X[:, 1]], axis=1) + 3
SLOPES = RNG.standard_normal((12, 2, 3))
PARTIAL = np.where(RNG.uniform(size=SLOPES.shape) < 0.15, np.nan, SLOPES)
WEIGHTS = RNG.uniform(0.5, 2, 12)
CASES = {  # hidden activations, output activation, cost, further options
    "tanh": (["tanh"], "identity", "quadratic", {}),
    "deep": (["sigmoid", "softplus"], "identity", "mse", {}),
    "relu": (["relu", "tanh"], "softplus", "huber", {}),
    "exp": (["softplus"], "exp", "poisson", {}),
    "linear": ([], "identity", "quadratic", {}),
    "scale": (["tanh"], "identity", "quadratic", {"scale": 0.5}),
}
SQUARES = {"activation": "tanh", "task": "regression", "dtype": "float64"}
QUIET = {"progress": False}


def make(case="tanh", n_out=2, seed=0, **options):
    hidden, output, cost, more = CASES[case]
    options = {"output_activation": output, "cost": cost, "dtype": "float64", **more, **options}
    if hidden:
        options["activation"] = hidden
    return Network([3, *(4 + k for k in range(len(hidden))), n_out], task="regression", seed=seed, **options)


def outputs(theta, layers, case, x):
    """Outputs (m, n_out) for a flat vector of weights and biases, and what is put into their activation."""
    hidden, output, *_ = CASES[case]
    sizes = [part.size for layer in layers for part in layer]
    a, parts = x, iter(np.split(theta, np.cumsum(sizes)[:-1]))
    for (w, _), name in zip(layers, [*hidden, output], strict=True):
        z = a @ next(parts).reshape(w.shape).T + next(parts)
        a = oracle.activate(name, z)
    return a, z


def derivatives(theta, layers, case, x):
    """∂a/∂x (m, n_out, n_in), by a step into the imaginary direction, which rounds nothing."""
    steps = 1e-100j * np.eye(x.shape[1])
    return np.stack([outputs(theta, layers, case, x + step)[0].imag / 1e-100 for step in steps], axis=-1)


def costs(theta, layers, case, x, y, slopes, slope_weight):
    """The cost of each example, in the units that the layers see."""
    squares = np.nansum(slope_weight * (derivatives(theta, layers, case, x) - slopes) ** 2, axis=(1, 2))
    _, output, cost, _ = CASES[case]
    values, _ = oracle.costs_and_deltas(cost, output, outputs(theta, layers, case, x)[1], y)
    return values + 0.5 * squares


def differences(function, theta, step=1e-6):
    """The derivatives of a function of weights, by central differences."""
    return np.array([(function(theta + h) - function(theta - h)) / (2 * step) for h in step * np.eye(len(theta))])


@pytest.mark.everywhere
@pytest.mark.parametrize("case", CASES)
def test_each_step_follows_the_gradient_of_the_cost_with_slopes(place, case):
    """Minibatches with weights, in the order of the network's generator; gradients by central differences.

    Half of the cases miss slopes, and have a weight for each input.
    """
    net = make(case, **place._asdict())
    layers, theta, before = layers_of(net), flatten(net), []
    scale, rng = CASES[case][3].get("scale", 1.0), net.make_rng()
    slopes, weight = (PARTIAL, [0.3, 0.1, 1.5]) if case in ("deep", "exp", "scale") else (SLOPES, 0.3)
    history = net.train((X, Y), 1, 4, 0.05, slopes=slopes, slope_weight=weight, sample_weight=WEIGHTS, **QUIET)
    for rows in rng.permutation(12).reshape(3, 4):
        data = X[rows] * scale, Y[rows], slopes[rows] / scale, weight
        before += [*(WEIGHTS[rows] * costs(theta, layers, case, *data))]
        theta = theta - 0.05 * differences(
            lambda p, data=data, w=WEIGHTS[rows]: np.average(costs(p, layers, case, *data), weights=w), theta
        )
    np.testing.assert_allclose(flatten(net), theta, rtol=1e-7, atol=1e-8)
    assert history["cost"][0] == pytest.approx(sum(before) / WEIGHTS.sum(), rel=1e-9)


@pytest.mark.everywhere
@pytest.mark.not_on(host_cupy.NAME)  # its linear algebra needs a driver
@pytest.mark.parametrize(("slopes", "weight"), [(SLOPES, 0.3), (PARTIAL, [0.3, 0.1, 1.5])], ids=["all", "some"])
def test_a_step_of_levenberg_marquardt_solves_the_system_with_slopes(place, slopes, weight):
    """(JᵀJ + μ) h = −Jᵀr, with residuals and their Jacobian by central differences; two outputs, weights, mse."""
    net = make("deep", **place._asdict())
    layers = layers_of(net)
    theta, shares = flatten(net), WEIGHTS / WEIGHTS.sum()

    def residuals(p):
        values = np.sqrt(shares)[:, None] * (outputs(p, layers, "deep", X)[0] - Y)  # mse has twice the half, over two
        errors = np.sqrt(weight) * np.sqrt(shares)[:, None, None] * (derivatives(p, layers, "deep", X) - slopes)
        return np.concatenate([values.ravel(), np.nan_to_num(errors).ravel()])

    J, r = differences(residuals, theta).T, residuals(theta)
    mu = 0.1 * (J.T @ J).diagonal().max()
    step = -np.linalg.solve(J.T @ J + mu * np.eye(len(theta)), J.T @ r)
    options = {"slopes": slopes, "slope_weight": weight, "sample_weight": WEIGHTS, **QUIET}
    history = net.train((X, Y), epochs=1, optimizer=LevenbergMarquardt(damping=0.1), **options)
    np.testing.assert_allclose(flatten(net) - theta, step, rtol=1e-5, atol=1e-7)
    assert history["cost"][0] == pytest.approx(0.5 * r @ r, rel=1e-9)


@pytest.mark.parametrize("optimizer", [SGD(), LevenbergMarquardt()], ids=["SGD", "LM"])
def test_standardized_networks_scale_slopes(optimizer):
    """As one that gets scaled numbers, J · x_std / y_std: the same weights, up to rounding; those missing stay so."""
    a, b = make(standardize=True), make()
    options = {"epochs": 6, "optimizer": optimizer, **QUIET}
    a.train((X, Y), slopes=PARTIAL, **options)
    scaled = PARTIAL * X.std(axis=0) / Y.std(axis=0)[:, None]
    b.train(((X - X.mean(axis=0)) / X.std(axis=0), (Y - Y.mean(axis=0)) / Y.std(axis=0)), slopes=scaled, **options)
    np.testing.assert_allclose(flatten(a), flatten(b), rtol=1e-9)
    assert a.history["cost"] == pytest.approx(b.history["cost"])


@pytest.mark.not_on(host_cupy.NAME)
@pytest.mark.parametrize(
    ("optimizer", "weight"),
    [
        (Adam(), [0.3, 1.0, 0.1]),
        (LevenbergMarquardt(), [0.3, 1.0, 0.1]),
        (LevenbergMarquardt(bayesian=True), 1.0),
    ],
    ids=["Adam", "LM", "Bayesian"],
)
def test_members_are_trained_as_alone(place, optimizer, weight):
    """On rows of their own, so that each has its own scaling, by which the slopes it gets are scaled too."""
    ensemble = Ensemble([3, 4, 2], members=3, **SQUARES, standardize=True, seed=0, **place._asdict())
    alone, rows = ensemble.copy(), [np.arange(k, k + 8) for k in range(3)]
    options = {"epochs": 6, "optimizer": optimizer, "slope_weight": weight, **QUIET}
    ensemble.train((X, Y), rows=rows, slopes=PARTIAL, **options)
    for net, member, own in zip(alone, ensemble, rows, strict=True):
        net.train((X[own], Y[own]), slopes=PARTIAL[own], **options)
        np.testing.assert_allclose(flatten(member), flatten(net), rtol=1e-8, atol=1e-10)


def test_the_numbers_that_are_fitted_are_those_of_known_slopes_with_a_weight():
    n = 24 + np.count_nonzero(~np.isnan(PARTIAL[..., 1:]))
    with pytest.warns(UserWarning, match=f"the noise of {n} targets"):
        make("deep").train((X, Y), 1, optimizer=LevenbergMarquardt(), slopes=PARTIAL, slope_weight=[0, 1, 1], **QUIET)


def test_with_one_target_its_axis_may_be_left_out():
    a, b = make(n_out=1), make(n_out=1)
    a.train((X, Y[:, 0]), slopes=SLOPES[:, 0], **QUIET)
    b.train((X, Y[:, 0]), slopes=SLOPES[:, :1].tolist(), **QUIET)
    assert_same(a, snapshot(b))


def test_the_cost_of_validation_data_is_that_of_values_alone():
    """Examples that validation_split holds out are not trained on, and their slopes count nowhere."""
    net, other = make(standardize=True), make(standardize=True)
    training, held_out = net.split_rows((X, Y), 0.25)
    history = net.train((X, Y), 3, validation_split=0.25, slopes=SLOPES, metrics=["mae"], **QUIET)
    options = {"validation_data": (X[held_out], Y[held_out]), "slopes": SLOPES[training], "metrics": ["mae"], **QUIET}
    expected = other.train((X[training], Y[training]), 3, **options)
    for name in ("cost", "validation_cost", "validation_mae"):
        assert history[name] == pytest.approx(expected[name], rel=1e-12)
    assert history["validation_cost"][-1] == pytest.approx(net.cost((X[held_out], Y[held_out])))


def test_a_training_is_resumed_with_the_same_slopes_only(tmp_path):
    path, whole, net = tmp_path / "run.safetensors", make(), make()
    options = {"optimizer": Adam(), "slopes": PARTIAL, "slope_weight": [0.5, 0.3, 0.1], **QUIET}
    whole.train((X, Y), 6, 4, **options)
    net.train((X, Y), 3, 4, checkpoint=path, **options)
    for change, message in (
        ({"slopes": SLOPES}, "train_data"),
        ({"slopes": None, "slope_weight": 1.0}, "slope_weight=[0.5, 0.3, 0.1], but this one has slope_weight=None"),
        ({"slope_weight": 0.4}, "slope_weight=[0.5, 0.3, 0.1], but this one has slope_weight=0.4"),
    ):
        with pytest.raises(ArgumentError, match=re.escape(message)):
            make().train((X, Y), 6, 4, checkpoint=path, resume=True, **{**options, **change})
    resumed = make()
    resumed.train((X, Y), 6, 4, checkpoint=path, resume=True, **options)
    assert_same(resumed, snapshot(whole))
    assert Network.load(path).value.objective.slope_weight == options["slope_weight"]


# Estimators


FIT = {"hidden_layer_sizes": (4,), "activation": "tanh", "random_state": 0, "alpha": 0.01, "max_iter": 500, "tol": 1e-8}


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["alike", "weighted"])
def test_lbfgs_finds_a_minimum_of_the_cost_with_slopes(weight):
    """There, the differences of the loss vanish, with the penalty, and it is the loss that is reported."""
    fitted = MLPRegressor(solver="lbfgs", **FIT).fit(X, Y, weight, slopes=SLOPES, slope_weight=0.3)
    net, weights = fitted.network_, np.ones(12) if weight is None else weight
    layers, theta = layers_of(net), flatten(net)
    sizes = np.concatenate([np.concatenate([np.ones(w.size), np.zeros(b.size)]) for w, b in layers])

    def loss(p):
        penalty = 0.5 * 0.01 * np.sum(sizes * p * p) / weights.sum()
        return (np.average(costs(p, layers, "tanh", X, Y, SLOPES, 0.3), weights=weights) + penalty) / 2  # mean of two

    assert fitted.loss_ == pytest.approx(loss(theta), rel=1e-6)
    assert abs(differences(loss, theta)).max() < 1e-4
    plain = MLPRegressor(solver="lbfgs", **FIT).fit(X, Y, weight)
    assert loss(theta) < loss(flatten(plain.network_))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_estimators_train_as_networks_do():
    """One network and several; also where early_stopping holds some examples out."""
    options = {**FIT, "solver": "sgd", "batch_size": 12, "max_iter": 1, "alpha": 0.0, "standardize": True}
    one = MLPRegressor(**options).fit(X, Y, slopes=SLOPES)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0), (Y - Y.mean(axis=0)) / Y.std(axis=0)
    slopes = SLOPES * X.std(axis=0) / Y.std(axis=0)[:, None]
    before = MLPRegressor(**{**options, "learning_rate_init": 1e-300}).fit(X, Y).network_  # before the first step
    losses = costs(flatten(before), layers_of(before), "tanh", *scaled, slopes, 1.0)
    assert one.loss_ == pytest.approx(losses.mean() / 2)
    several = MLPEnsembleRegressor(n_estimators=2, bootstrap=False, **options).fit(X, Y, slopes=SLOPES)
    member = MLPRegressor(**{**options, "random_state": several.estimators_[1].random_state}).fit(X, Y, slopes=SLOPES)
    np.testing.assert_allclose(several.estimators_[1].predict(X), member.predict(X), rtol=1e-9)
    stopped, plain = (MLPRegressor(early_stopping=True, **{**options, "batch_size": 10}) for _ in range(2))
    assert stopped.fit(X, Y, slopes=SLOPES).loss_ > 1.1 * plain.fit(X, Y).loss_


# What is refused


INFINITE = np.where(np.arange(72).reshape(12, 2, 3) == 40, np.inf, PARTIAL)


@pytest.mark.parametrize(
    ("options", "train", "message"),
    [
        ({}, {"slopes": SLOPES[:-1]}, "slopes has shape (11, 2, 3), but must have (12, 2, 3): (examples, targets,"),
        ({"n_out": 1}, {"slopes": SLOPES}, "slopes has shape (12, 2, 3), but must have (12, 1, 3) or (12, 3)"),
        (
            {},
            {"slopes": INFINITE},
            "infinity (as float64), first for example 6, target 1, input 1, counted from 0",
        ),
        ({"dtype": "float32"}, {"slopes": 1e40 * SLOPES}, "infinity (as float32), first for example 0"),
        ({}, {"slopes": np.nan * SLOPES}, "slopes holds NaN alone, so that all slopes are missing; leave it out"),
        ({}, {"slopes": SLOPES, "slope_weight": -1}, "slope_weight=-1"),
        ({}, {"slopes": SLOPES, "slope_weight": [1, 1]}, "slope_weight has shape (2,), but must have (3,); give one"),
        ({}, {"slopes": SLOPES, "slope_weight": [1, np.nan, 1]}, "slope_weight=nan must be a finite number"),
        ({}, {"slope_weight": 2.0}, "slope_weight=2.0 is for slopes=, and there are none; give them"),
        (
            {},
            {"slopes": SLOPES, "slope_weight": 0.5, "optimizer": LevenbergMarquardt(bayesian=True)},
            "bayesian=True finds the weight of slopes by each input, and contradicts slope_weight=0.5; give one",
        ),
        ({"dropout": 0.2}, {"slopes": SLOPES}, "slopes= do not go with dropout=[0.0, 0.2]"),
        ({"n_out": 4, "cost": "gaussian", "output_activation": None}, {"slopes": SLOPES}, "cost='gaussian' has 2"),
        ({"task": "binary", "n_out": 1}, {"slopes": SLOPES[:, 0]}, "slopes= are derivatives of the targets of a regr"),
        ({}, {"slopes": SLOPES, "train_data": iter([(X, Y)])}, "slopes needs all examples beforehand; give train_data"),
    ],
)
def test_slopes_that_make_no_sense_are_refused(options, train, message):
    net = Network([3, 1], task="binary", seed=0) if "task" in options else make(**options)
    before, y = snapshot(net), np.sin(Y[:, : options.get("n_out", 2)]) > 0 if "task" in options else Y[:, :2]
    with pytest.raises(ArgumentError, match=re.escape(message)):
        net.train(**{"train_data": (X, y[:, : options.get("n_out", 2)]), "epochs": 1, **train, **QUIET})
    assert_same(net, before)


def test_estimators_refuse_slopes_that_make_no_sense():
    classifier = MLPClassifier(max_iter=1)
    with pytest.raises(ArgumentError, match="slopes= are derivatives of the targets of a regression"):
        classifier.fit(X, Y[:, 0] > 3, slopes=SLOPES[:, 0])
    assert not hasattr(classifier, "network_")
    with pytest.raises(ArgumentError, match=re.escape("slopes has shape (12, 3), but must have (12, 2, 3)")):
        MLPRegressor().fit(X, Y, slopes=SLOPES[:, 0])
