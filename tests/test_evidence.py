"""Bayesian Levenberg-Marquardt, its precisions, and error bars by the Laplace approximation."""

import copy
import pickle
import weakref
from contextlib import nullcontext

import host_cupy
import numpy as np
import pytest
from helpers import assert_same, snapshot, tanh_network
from sklearn.exceptions import ConvergenceWarning

from xpnet import SGD, ArgumentError, Ensemble, LevenbergMarquardt, Network
from xpnet.estimators import MLPRegressor

pytestmark = pytest.mark.not_on(host_cupy.NAME)  # its linear algebra needs a driver
RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (40, 3))
Y = np.sin(X[:, :1]) * X[:, 1:2] + 0.1 * RNG.standard_normal((40, 1))  # the third input does not matter
SLOPES = np.stack([np.cos(X[:, :1]) * X[:, 1:2] * [1, 2, 0], np.roll(X, 3, axis=0)], axis=1)
SLOPES[::3, 0, 1] = np.nan
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64"}
TRAIN = {"optimizer": LevenbergMarquardt(bayesian=True), "progress": False}


def make(sizes=(3, 6, 1), seed=0, **options):
    return tanh_network(sizes, seed, **options)


def trained(epochs, laplace=False, sizes=(3, 6, 1), seed=0, **options):
    """A network that has learnt the examples, with error bars if asked for."""
    net = make(sizes, seed, **options)
    net.train((X, Y), epochs, **TRAIN)
    if laplace:
        net.fit_laplace((X, Y))
    return net


def linear(epochs=60, n_targets=1, **options):
    """A linear network and its data, for which all formulas are exact; the noise falls from target to target."""
    x = RNG.standard_normal((30, 3))
    y = x @ [[1.0], [0.3], [0.02]] + 0.5 + 0.2 ** np.arange(1, 1 + n_targets) * RNG.standard_normal((30, n_targets))
    net = make((3, n_targets), **options)
    net.train((x, y), epochs, **TRAIN)
    return net, x, y


def log_evidence(logs, x, y):
    """The log density of the targets, if weights and noise are drawn: normal, with known covariance."""
    inputs, total = np.hstack([x, np.ones((len(x), 1))]), 0.0
    for target, log_noise in zip(y.T, logs[4:]):
        covariance = np.eye(len(x)) / np.exp(log_noise) + (inputs / np.exp(logs[:4])) @ inputs.T
        total -= 0.5 * (np.linalg.slogdet(covariance)[1] + target @ np.linalg.solve(covariance, target))
    return total


@pytest.mark.parametrize("n_targets", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_precisions_have_the_greatest_evidence(n_targets):
    """No change of one of them makes the data of a linear network more probable."""
    net, x, y = linear(epochs=200, n_targets=n_targets)
    memory = net.state.optimizer.memory
    logs = np.log([*memory.weights[0][0][0], memory.weights[0][1][0, 0], *memory.noise[0]])
    steps = 1e-4 * np.eye(len(logs))
    slopes = [(log_evidence(logs + h, x, y) - log_evidence(logs - h, x, y)) / 2e-4 for h in steps]
    np.testing.assert_allclose(slopes, 0.0, atol=1e-4)
    elsewhere = [(log_evidence(logs + 1 + h, x, y) - log_evidence(logs + 1 - h, x, y)) / 2e-4 for h in steps]
    assert np.abs(elsewhere).max() > 1


def test_slopes_have_a_precision_by_each_input():
    """In a linear network, they are weights. The second input misses some, and the last all of them; two targets."""
    rng, w = np.random.default_rng(1), np.array([[1.0, 0.3, 0.2], [-0.4, 0.8, 0.3]])
    x, slopes = rng.standard_normal((30, 3)), w + [0.3, 0.02, 1.0] * rng.standard_normal((30, 2, 3))
    y = x @ w.T + 0.5 + [0.2, 0.1] * rng.standard_normal((30, 2))
    slopes[:10, 0, 1], slopes[..., 2] = np.nan, np.nan
    net, other = (make((3, 2), standardize=True) for _ in range(2))
    net.train((x, y), 100, slopes=slopes, **TRAIN)
    memory, units = net.state.optimizer.memory, np.eye(8)
    x_std, y_std = x.std(axis=0), y.std(axis=0)
    inputs, targets = (x - x.mean(axis=0)) / x_std, (y - y.mean(axis=0)) / y_std
    # The parameters are the weights of one target, those of the other, and the biases
    points = [inputs @ units[3 * k : 3 * k + 3] + units[6 + k] for k in range(2)]
    blocks = [(k, points[k], targets[:, k]) for k in range(2)]
    for k, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        known = slopes[~np.isnan(slopes[:, k, j]), k, j] * x_std[j] / y_std[k]
        blocks.append((2 + j, np.tile(units[3 * k + j], (len(known), 1)), known))
    groups = np.concatenate([np.full(len(data), group) for group, _, data in blocks])
    rows, data = (np.concatenate(parts) for parts in list(zip(*blocks))[1:])
    of_weights = [0, 1, 2, 0, 1, 2, 3, 3]

    def evidence(logs):
        covariance = np.diag(np.exp(-logs[4:][groups])) + (rows / np.exp(logs[of_weights])) @ rows.T
        return -0.5 * (np.linalg.slogdet(covariance)[1] + data @ np.linalg.solve(covariance, data))

    alphas = np.array([*memory.weights[0][0][0], memory.weights[0][1][0, 0]])
    precisions = np.array([*memory.noise[0], *memory.slope_noise[0, :2]])
    logs = np.log([*alphas, *precisions])
    gradient = [(evidence(logs + h) - evidence(logs - h)) / 2e-4 for h in 1e-4 * np.eye(8)]
    np.testing.assert_allclose(np.array(gradient)[logs < 9], 0.0, atol=1e-3)  # α of biases of 0 is the greatest
    covariance = np.linalg.inv((rows.T * precisions[groups]) @ rows + np.diag(alphas[of_weights]))
    variances = [1 / precisions[k] + np.sum(points[k] @ covariance * points[k], axis=1) for k in range(2)]
    net.fit_laplace((x, y), slopes=slopes)
    np.testing.assert_allclose(net.predict_std(x), np.sqrt(variances).T * y_std, rtol=1e-4)
    other.train((x, y), 20, slopes=slopes, optimizer=LevenbergMarquardt(), progress=False)
    other.fit_laplace((x, y), slopes=slopes)  # finds all precisions
    np.testing.assert_allclose(other.predict_std(x), net.predict_std(x), rtol=0.1)


def test_targets_that_can_all_be_fitted_say_nothing_of_their_noise():
    """They are exact here, and the slopes are not; else their precision would grow until the matrix is singular."""
    x, rng = np.linspace(-2, 2, 6)[:, None], np.random.default_rng(1)
    slopes, net = 2 * np.cos(2 * x) + 0.5 * rng.standard_normal((6, 1)), make((1, 8, 1))
    net.train((x, np.sin(2 * x)), 150, slopes=slopes, **TRAIN)
    net.fit_laplace((x, np.sin(2 * x)), slopes=slopes)
    assert net.predict_std(x).min() > 0


@pytest.mark.parametrize(("loss", "slopes"), [("squared_error", SLOPES[:, 0]), ("gaussian", None)])
def test_examples_of_weight_0_and_their_slopes_are_none(loss, slopes):
    weight, stds = np.linspace(0.2, 4.0, 40), []
    weight[:10] = 0.0
    options = {"hidden_layer_sizes": (3,), "activation": "tanh", "max_iter": 10, "random_state": 0}
    for rows in (slice(None), slice(10, None)):
        fitted = MLPRegressor(loss, solver=TRAIN["optimizer"], **options)
        with pytest.warns(ConvergenceWarning):
            fitted.fit(X[rows], Y[rows, 0], weight[rows], slopes=None if slopes is None else slopes[rows])
        assert fitted.network_.value.laplace is not None
        stds.append(fitted.predict(X, return_std=True)[1])
    np.testing.assert_allclose(*stds, rtol=1e-6)


def test_steps_are_the_same_in_any_unit_of_the_cost():
    mine, other = (trained(15, cost=cost).predict(X) for cost in ("quadratic", "mse"))
    np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_the_noise_begins_as_the_variance_of_the_targets():
    """In units of the cost, which is Σ r² for one output of "mse"; that of slopes as their mean square."""
    net = trained(1, cost="mse")
    assert net.state.optimizer.memory.noise == pytest.approx(0.5 / Y.var())
    net.train((X, Y), 1, slopes=SLOPES[:, 0], **TRAIN)
    assert net.state.optimizer.memory.slope_noise[0, :2] == pytest.approx(1 / np.nanmean(SLOPES[:, 0, :2] ** 2, axis=0))
    net.train((X, Y), 1, slopes=np.full_like(X, 1e-9), **TRAIN)
    assert net.state.optimizer.memory.slope_noise[0] == pytest.approx(1e6 * np.mean(X**2, axis=0) / Y.var())


@pytest.mark.parametrize("scale", [1.0, 1e-10])
def test_laplace_of_weighted_examples_is_that_of_a_weighted_line(scale):
    """Covariance (β n / Σw Σ w x xᵀ + α)⁻¹ of n examples; those of weight 0 are no examples."""
    _, x, y = linear(epochs=0)
    weight = np.random.default_rng(1).uniform(0.2, 4.0, 30)
    weight[:6] = 0.0
    options = {"hidden_layer_sizes": (), "solver": LevenbergMarquardt(bayesian=True), "max_iter": 200, "tol": 0.0}
    options |= {"random_state": 0, "n_iter_no_change": 200}
    models = []
    for rows, each in ((slice(None), scale * weight), (slice(6, None), weight[6:])):
        with pytest.warns(ConvergenceWarning):
            models.append(MLPRegressor(**options).fit(x[rows], y[rows, 0], sample_weight=each))
    fitted, without = models
    laplace, memory = fitted.network_.value.laplace, fitted.network_.state.optimizer.memory
    inputs = np.hstack([x, np.ones((30, 1))])
    alpha = np.append(memory.weights[0][0][0], memory.weights[0][1][0])
    matrix = memory.noise * 24 / weight.sum() * (inputs.T * weight) @ inputs + np.diag(alpha)
    covariance = laplace.factor @ laplace.factor.T
    np.testing.assert_allclose(covariance, np.linalg.inv(matrix), rtol=0.02, atol=1e-6)
    r = y[:, 0] - fitted.predict(x)
    gamma = 4 - np.sum(alpha * np.diagonal(covariance))
    np.testing.assert_allclose(laplace.noise, (24 / weight.sum() * (weight * r**2).sum()) / (24 - gamma), rtol=0.02)
    for mine, other in zip(fitted.predict(x, return_std=True), without.predict(x, return_std=True)):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


@pytest.mark.parametrize("target", [5.0, 0.1])  # whose mean square is below the square of their mean, and above
def test_constant_targets_are_learned(target):
    """Their variance is rounding, and says nothing of their noise."""
    net = Network([1, 4, 1], **OPTIONS, seed=0)
    net.train((np.linspace(-1, 1, 30)[:, None], np.full(30, target)), 30, **TRAIN)
    np.testing.assert_allclose(net.predict([[0.0]]), target, rtol=0.05)


def test_the_noise_is_not_learnt_and_inputs_that_do_not_matter_lose_their_weights():
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, (580, 3))
    y, errors = np.sin(x[:, :1]) * x[:, 1:2], {}
    few = x[:80], y[:80] + 0.1 * rng.standard_normal((80, 1))
    for optimizer in (LevenbergMarquardt(), LevenbergMarquardt(bayesian=True)):
        nets = [make((3, 20, 1), seed) for seed in range(3)]
        for net in nets:
            with nullcontext() if optimizer.bayesian else pytest.warns(UserWarning, match="the noise of 80 targets"):
                net.train(few, 60, optimizer=optimizer, progress=False)
        errors[optimizer.bayesian] = np.median([np.sqrt(np.mean((net.forward(x) - y) ** 2)) for net in nets])
    assert errors[True] < errors[False] / 3
    memories = [net.state.optimizer.memory for net in nets]
    assert np.median([memory.noise for memory in memories]) ** -0.5 == pytest.approx(0.1, rel=0.1)
    relevance = np.median([memory.relevance for memory in memories], axis=0)
    assert relevance[2] < 0.3 * relevance[:2].min()


@pytest.mark.everywhere
@pytest.mark.not_on("numpy")
@pytest.mark.parametrize(("cost", "slopes"), [("gaussian", None), ("mse", SLOPES)])
def test_it_is_the_same_on_every_backend(place, cost, slopes):
    options = {"sizes": (3, 4, 4 if cost == "gaussian" else 2), "cost": cost}
    y, weight = np.hstack([Y, Y**2]), np.linspace(0, 2, 40)
    net, other = make(**options), make(**options, **place._asdict())
    for each in (net, other):
        each.train((X, y), 25, sample_weight=weight, slopes=slopes, **TRAIN)
        each.fit_laplace((X, y), slopes=slopes)
    for mine, theirs in zip(net.w, other.w):
        np.testing.assert_allclose(other.backend.to_numpy(theirs), mine, rtol=1e-5, atol=1e-8)
    pairs = zip(net.predict(X, return_std=True), other.predict(X, return_std=True))
    for mine, theirs in pairs:
        np.testing.assert_allclose(other.backend.to_numpy(theirs), mine, rtol=1e-5)


def test_the_matrix_of_each_target_counts_in_the_memory_that_training_needs():
    one, three = (
        TRAIN["optimizer"].bytes_needed(net.value.model, slopes=False)
        / (8 * sum(a.size for a in (*net.w, *net.b)) ** 2)
        for net in (make((3, 6, 1)), make((3, 6, 3)))
    )
    assert three - one == pytest.approx(2.0)


@pytest.mark.parametrize("options", [{"sizes": (3, 4, 1)}, {"sizes": (3, 4, 2), "cost": "gaussian"}], ids=str)
def test_members_train_as_they_would_alone_and_files_hold_precisions(tmp_path, options):
    ensemble = Ensemble(members=2, seed=[0, 1], **OPTIONS, **options)
    ensemble.train((X, Y), 20, **TRAIN)
    for seed, member in enumerate(ensemble):
        net = trained(20, seed=seed, **options)
        np.testing.assert_allclose(member.w[0], net.w[0], rtol=1e-6)
        assert member.state.optimizer.memory.steps == net.state.optimizer.memory.steps
    net.save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    again.fit_laplace((X, Y))
    net.fit_laplace((X, Y))
    assert_same(again, snapshot(net))


# Error bars


@pytest.mark.parametrize(("standardize", "n_targets"), [pytest.param(False, 1, marks=pytest.mark.slow), (True, 2)])
def test_the_error_bars_of_a_linear_network_are_those_of_bayesian_regression(standardize, n_targets):
    """For each target by itself, as they share no weights."""
    net, x, y = linear(epochs=200, n_targets=n_targets, standardize=standardize)
    net.fit_laplace((x, y))
    memory, new = net.state.optimizer.memory, RNG.standard_normal((5, 3)) * 3
    scaled = (x - net.scaling.x_mean) / net.scaling.x_std if standardize else x
    new_scaled = (new - net.scaling.x_mean) / net.scaling.x_std if standardize else new
    inputs, points = (np.hstack([rows, np.ones((len(rows), 1))]) for rows in (scaled, new_scaled))
    alphas, stds = (
        np.array([*memory.weights[0][0][0], memory.weights[0][1][0, 0]]),
        np.reshape(net.predict_std(new), (5, -1)),
    )
    between_rows = np.reshape(net.covariance(new), (5, 5, -1))
    for target, noise in enumerate(memory.noise[0]):
        covariance = np.linalg.inv(noise * inputs.T @ inputs + np.diag(alphas))
        variance = 1 / noise + np.sum(points @ covariance * points, axis=1)
        std = np.sqrt(variance) * (net.scaling.y_std[0, target] if standardize else 1.0)
        np.testing.assert_allclose(stds[:, target], std, rtol=1e-8)  # the precisions are those of the training
        joint = points @ covariance @ points.T * (net.scaling.y_std[0, target] ** 2 if standardize else 1.0)
        np.testing.assert_allclose(between_rows[..., target], joint, rtol=1e-4, atol=1e-4 * joint.max())
    np.testing.assert_allclose(net.predict_std(new[0]), net.predict_std(new)[0], rtol=1e-12)
    low, high = net.interval(new, 0.9)
    np.testing.assert_allclose(high - low, 2 * 1.6448536 * net.predict_std(new), rtol=1e-6)


def noisy(n=120):
    """Examples of a curve whose noise grows from 0.02 at -2 to 0.3 at 2."""
    x = np.random.default_rng(5).uniform(-2, 2, (n, 1))
    return x, np.sin(2 * x) + (0.16 + 0.07 * x) * np.random.default_rng(6).standard_normal((n, 1))


@pytest.fixture(scope="module")
def predicts_noise():
    net = make((1, 6, 2), cost="gaussian")
    net.train(noisy(), 80, **TRAIN)
    net.fit_laplace(noisy())
    return net


def parameter_slopes(net, x):
    """The outputs for rows, (m, 2), and their derivatives with respect to the parameters, (m, 2, P), numerically."""
    net, columns = net.copy(), []
    outputs, layers = net.forward(x), [[np.array(part) for part in layer] for layer in net.layers]
    for part in (part for layer in layers for part in layer):
        for index in np.ndindex(part.shape):
            ends = []
            for step in (1e-5, -1e-5):
                part[index] += step
                net.layers = layers
                ends.append(net.forward(x))
                part[index] -= step
            columns.append((ends[0] - ends[1]) / 2e-5)
    return outputs, np.stack(columns, axis=-1)


def test_error_bars_of_predicted_noise(predicts_noise):
    """The prior's precisions are the rest of the matrix beside Fisher's, and γ/Σθ² by groups of weights."""
    net, (x, _) = predicts_noise, noisy()
    covariance, new = net.value.laplace.factor @ net.value.laplace.factor.T, np.linspace(-4, 4, 9)[:, None]
    outputs, slopes = parameter_slopes(net, x)
    scaled = slopes / outputs[:, 1:, None] * [[[1.0], [np.sqrt(2.0)]]]
    prior = np.linalg.inv(covariance) - np.einsum("mop,moq->pq", scaled, scaled)
    alpha, theta = np.diagonal(prior), np.concatenate([np.ravel(part) for layer in net.layers for part in layer])
    np.testing.assert_allclose(prior, np.diag(alpha), atol=1e-4 * alpha.max())
    for group in (slice(6), slice(6, 12), slice(12, 24), slice(24, 26)):
        np.testing.assert_allclose(alpha[group], alpha[group][0], rtol=1e-3)
        gamma = np.sum(1 - alpha[group] * np.diagonal(covariance)[group])
        assert alpha[group][0] == pytest.approx(gamma / np.sum(theta[group] ** 2), rel=0.01)
    outputs, slopes = parameter_slopes(net, new)
    variances = np.einsum("mop,pq,moq->mo", slopes, covariance, slopes)
    np.testing.assert_allclose(net.predict(new), outputs[:, 0])
    std = np.sqrt(outputs[:, 1] ** 2 + 4 * variances[:, 1] + variances[:, 0])
    np.testing.assert_allclose(net.predict_std(new), std, rtol=1e-5)
    np.testing.assert_allclose(net.posterior(new).std, np.sqrt(variances[:, 0]), rtol=1e-5)
    np.testing.assert_allclose(net.covariance(new), slopes[:, 0] @ covariance @ slopes[:, 0].T, atol=1e-7)


def test_noise_is_predicted_as_large_as_errors_and_the_uncertainty_of_means_together(predicts_noise):
    x, y = noisy()
    (mean, noise), spread = predicts_noise.forward(x).T, predicts_noise.posterior(x).std
    assert np.mean(((y[:, 0] - mean) ** 2 + spread**2) / noise**2) == pytest.approx(1.0, abs=0.02)
    assert np.mean(spread**2 / noise**2) > 0.05
    stds = predicts_noise.predict_std([[-1.5], [0], [2], [5]])
    np.testing.assert_allclose(stds[:3], [0.055, 0.16, 0.3], rtol=0.3)
    assert stds[3] > 0.6


def test_they_grow_away_from_the_examples_for_any_network():
    """Also after a training that finds no precisions, and in float32."""
    net = Network([3, 6, 1], activation="tanh", task="regression", standardize=True, seed=0)
    net.train((X, Y), 30, lr=0.3, progress=False)
    net.fit_laplace((X, Y))
    inside, outside = net.predict_std([[0, 0, 0], [6, 6, 6]])
    assert net.predict_std(X).dtype == np.float32
    assert outside > 2 * inside


def test_an_ensemble_adds_how_far_its_members_differ():
    ensemble = Ensemble([3, 4, 1], 3, seed=0, **OPTIONS)
    ensemble.train((X, Y), 20, **TRAIN)
    ensemble.fit_laplace((X, Y))
    means, stds = (np.array(part) for part in zip(*[net.predict(X, return_std=True) for net in ensemble]))
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_allclose(mean, means.mean(axis=0))
    np.testing.assert_allclose(std, np.sqrt((stds**2).mean(axis=0) + means.var(axis=0)))
    slopes = ensemble.predict_jacobian(X)
    ensemble[0].w = ensemble[0].w  # has none any more
    np.testing.assert_array_equal(ensemble.predict_jacobian(X), slopes)
    for predict in (
        lambda: ensemble.predict(X, return_std=True),
        lambda: ensemble.predict_jacobian(X, return_std=True),
        lambda: ensemble.interval(X),
        lambda: ensemble.posterior(X),
        lambda: ensemble.covariance(X),
        lambda: ensemble.sample(X),
    ):
        with pytest.raises(ArgumentError, match="needs fit_laplace of all members"):
            predict()


def with_functions(place, n_targets, members=0, options=None, factor=1.0):
    """A network, or an ensemble, whose posterior is known, and rows at which to look at it."""
    options = {"activation": "tanh", "task": "regression", "dtype": "float64", **(options or {}), **place._asdict()}
    n_out = 2 * n_targets if options.get("cost") == "gaussian" else n_targets
    sizes, y = [3, 4, n_out], 5.0 * np.hstack([Y, X[:, 2:] ** 2])[:, :n_targets]
    model = Ensemble(sizes, members, seed=0, **options) if members else Network(sizes, seed=0, **options)
    model.train((X / factor, y), 20, **TRAIN)
    model.fit_laplace((X / factor, y))
    return model, np.array([[0.5, -1.0, 0.3], [0.6, -1.1, 0.2], [3.0, 2.0, -3.0], [-1.0, 4.0, 1.0]]) / factor


CASES = [
    pytest.param(2, 0, {"scale": 0.5}, 0.5, id="scaled, two targets"),
    pytest.param(1, 2, {}, 1.0, id="ensemble"),
    pytest.param(2, 0, {"cost": "gaussian", "standardize": True}, 1.0, id="noise that varies, two targets"),
    pytest.param(2, 3, {"standardize": True}, 1.0, id="ensemble, two targets"),
]


@pytest.mark.parametrize(("n_targets", "members", "options", "factor"), CASES)
def test_posteriors_and_their_derivatives(place, n_targets, members, options, factor):
    """Derivatives by differences; standard deviations are those of the diagonal, and without noise."""
    model, x = with_functions(place, n_targets, members, options, factor)
    values = model.values if members else [model.value]

    def host(arrays):
        return [model.backend.to_numpy(array) for array in arrays]

    def differences(compute):
        h = 1e-5
        pairs = [(host(compute(x + step)), host(compute(x - step))) for step in h * np.eye(3)]
        return [np.stack(columns, axis=-1) for columns in zip(*([(a - b) / 2 / h for a, b in zip(*p)] for p in pairs))]

    mean, std, *slopes = host(model.posterior(x))
    shape = (4,) if n_targets == 1 else (4, n_targets)
    assert mean.shape == std.shape == shape
    np.testing.assert_allclose(mean, host([model.predict(x)])[0], rtol=1e-12)
    for mine, exact in zip(slopes, differences(lambda x: model.posterior(x)[:2])):
        np.testing.assert_allclose(mine, exact, rtol=1e-5, atol=1e-6)
    (covariance,) = host([model.covariance(x)])
    assert covariance.shape == (4, *shape)
    np.testing.assert_allclose(np.sqrt(np.einsum("ii...->i...", covariance)), std, rtol=1e-10)
    np.testing.assert_allclose(covariance, np.swapaxes(covariance, 0, 1), rtol=1e-10)
    if "cost" not in options:
        y_std = [1.0 if value.scaling is None else value.exact_scaling.y_std[0] for value in values]
        noise = np.mean([value.laplace.noise * unit**2 for value, unit in zip(values, y_std)], axis=0)
        noise = noise[0] if n_targets == 1 else noise
        np.testing.assert_allclose(host([model.predict(x, return_std=True)[1]])[0] ** 2, std**2 + noise, rtol=1e-10)
    slopes = host(model.predict_jacobian(x, return_std=True))
    for mine, exact in zip(slopes, differences(lambda x: model.predict(x, return_std=True))):
        np.testing.assert_allclose(mine, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slopes[0], host([model.predict_jacobian(x)])[0], rtol=1e-10)
    for mine, whole in zip(host(model.posterior(x[2])), host(model.posterior(x))):
        np.testing.assert_allclose(mine, whole[2], rtol=1e-9)
    np.testing.assert_allclose(host([model.covariance(x[2])])[0], covariance[2, 2], rtol=1e-9)


@pytest.mark.parametrize(("n_targets", "members", "options", "factor"), CASES[1:])
def test_samples_are_functions_with_the_covariance_of_the_posterior(place, n_targets, members, options, factor):
    model, x = with_functions(place, n_targets, members, options, factor)
    n, members = 4000, max(members, 1)
    samples = model.backend.to_numpy(model.sample(x, n)).reshape(members, n, 4, n_targets)
    mean, std, *_ = (model.backend.to_numpy(part).reshape(4, n_targets, -1)[..., 0] for part in model.posterior(x))
    covariance = model.backend.to_numpy(model.covariance(x)).reshape(4, 4, n_targets)
    z = (samples.reshape(-1, 4, n_targets) - mean) / std
    correlation = np.einsum("nik,njk->ijk", z, z) / len(z)
    np.testing.assert_allclose(correlation, covariance / (std[:, None] * std), atol=0.07)
    few = model.backend.to_numpy(model.sample(x[1:3], 10)).reshape(members, 10, 2, n_targets)
    np.testing.assert_allclose(few, samples[:, :10, 1:3], rtol=1e-9)  # the same functions at other rows
    among_members = np.corrcoef(samples[..., 0, 0]) if members > 1 else np.eye(1)
    np.testing.assert_allclose(among_members, np.eye(members), atol=0.07)  # members have functions of their own
    one = model.backend.to_numpy(model.sample(x[1], 10)).reshape(members, 10, n_targets)
    np.testing.assert_allclose(one, samples[:, :10, 1], rtol=1e-9)


def test_posteriors_are_those_of_every_backend_dtype_and_block(place, monkeypatch):
    net, x = with_functions(place, 2)
    other = net.to("numpy", dtype="float32")
    results = [*net.posterior(x), net.covariance(x), net.sample(x, 3)]
    for rtol, model in ((2e-4, other), (1e-9, net)):
        for mine, theirs in zip([*model.posterior(x), model.covariance(x), model.sample(x, 3)], results):
            assert str(mine.dtype).endswith(model.dtype)
            theirs = net.backend.to_numpy(theirs)
            np.testing.assert_allclose(model.backend.to_numpy(mine), theirs, rtol=rtol, atol=rtol * abs(theirs).max())
        monkeypatch.setattr("xpnet.core.arrays.BLOCK_ELEMENTS", 40)


def test_posteriors_keep_the_digits_of_targets_far_from_zero(place):
    """Those of a member in float64, and of one that needs it not, are combined in float64."""
    ensemble = Ensemble([3, 4, 1], 2, activation="tanh", standardize=True, task="regression", seed=0, **place._asdict())
    for member, far in zip(ensemble, (0.0, 1e6)):
        member.train((X, Y + far), 5, lr=0.1, progress=False)
        member.fit_laplace((X, Y + far))
    numpy = ensemble.backend.to_numpy
    (mean, std, *slopes), *posteriors = ([numpy(part) for part in one.posterior(X)] for one in (ensemble, *ensemble))
    means, stds, *_ = (np.array(parts, np.float64) for parts in zip(*posteriors))
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(means[1], numpy(ensemble[1].predict(X)), rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt((stds**2).mean(axis=0) + means.var(axis=0)), rtol=1e-12)
    covariance = np.mean([numpy(member.covariance(X)) for member in ensemble], axis=0) + np.cov(means.T, bias=True)
    np.testing.assert_allclose(numpy(ensemble.covariance(X)), covariance, rtol=1e-9)
    assert [part.dtype for part in (mean, *slopes, numpy(ensemble.sample(X, 2)))] == ["f8", "f4", "f4", "f8"]
    assert posteriors[1][1].dtype == "f8"


def test_a_calibration_is_of_targets_and_their_bars_alone():
    net, (x, *_) = trained(20, laplace=True), X
    before, (_, slopes) = net.posterior(x), net.predict_jacobian(x, return_std=True)
    std = net.predict_std(x)
    net.calibrate((X, 3.0 * Y))
    for mine, same in zip(net.posterior(x), before):
        np.testing.assert_array_equal(mine, same)
    factor = net.predict_std(x) / std
    assert factor > 2
    np.testing.assert_allclose(net.predict_jacobian(x, return_std=True)[1], factor * slopes)


def test_copies_and_files_have_them_and_other_weights_end_them(tmp_path):
    net = trained(15, laplace=True)
    std = net.predict_std(X)
    net.save(tmp_path / "net")
    for same in (net.copy(), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net")):
        np.testing.assert_array_equal(same.predict_std(X), std)
    assert len(pickle.dumps(net.value.laplace)) < 0.8 * net.value.laplace.factor.nbytes
    with pytest.raises(ValueError, match="read-only"):
        net.value.laplace.factor[0] = 1.0
    changes = [
        lambda net: net.train((X, Y), 1, **TRAIN),
        lambda net: setattr(net, "w", net.w),
        lambda net: setattr(net, "state", net.state),
        lambda net: net.minibatch_update((X, Y), 0.1),
    ]
    for change in changes:
        other = net.copy()
        change(other)
        with pytest.raises(ArgumentError, match="fit_laplace"):
            other.predict_std(X)


def test_neither_the_unit_of_the_cost_nor_the_order_of_targets_matters():
    y = np.hstack([Y, 5 * X[:, :1] + RNG.standard_normal((40, 1)), X[:, 1:2] ** 2])
    net = make((3, 4, 3))
    net.train((X, y), 15, **TRAIN)
    (w, b), (w_out, b_out) = net.layers
    found = []
    for cost, order in (("quadratic", [0, 1, 2]), ("mse", [0, 1, 2]), ("quadratic", [1, 0, 2])):
        other = make((3, 4, 3), cost=cost)
        other.layers = [(w, b), (w_out[order], b_out[order])]
        other.fit_laplace((X, y[:, order]))
        found.append(other.predict_std(X)[:, order])
    for std in found[1:]:
        np.testing.assert_allclose(std, found[0], rtol=1e-9)


def test_the_precisions_settle(monkeypatch):
    """Also where the examples hardly determine some weights, so that an estimate from there goes too far."""
    for seed in range(3):
        net = make((3, 3, 1), seed, standardize=True)
        net.train((X, Y), 30, lr=0.05, optimizer=SGD(), progress=False)
        found = []
        for most in (50, 51):
            monkeypatch.setattr("xpnet.physics._laplace.MOST_ESTIMATES", most)
            net.fit_laplace((X, Y))
            found.append(net.predict_std(X))
        np.testing.assert_array_equal(*found)


def test_many_rows_are_predicted_block_by_block(monkeypatch):
    net = trained(5, laplace=True)
    std = net.predict_std(X)
    monkeypatch.setattr("xpnet.core.arrays.BLOCK_ELEMENTS", 31 * 7)
    np.testing.assert_allclose(net.predict_std(X), std, rtol=1e-12)


def test_targets_without_noise_or_variance_have_finite_error_bars():
    net = make((3, 4, 1))
    net.layers = [(np.ones((4, 3)), np.ones(4)), (np.zeros((1, 4)), np.ones(1))]
    net.fit_laplace((X, np.ones(40)))
    assert 0 < net.predict_std(X).max() < 1e-6


def test_a_network_with_too_many_weights_is_refused(monkeypatch):
    monkeypatch.setattr("xpnet.backends._machine.find_memory", lambda: 2**30)
    net = Network([1000, 300, 1], task="regression", seed=0)
    net.layers = net.layers
    with pytest.raises(MemoryError, match=r"^fit_laplace with the 300,601 weights and biases .* needs .* use an Ensem"):
        net.fit_laplace((np.ones((2, 1000)), [1.0, 2.0]))
    net = Network(
        [100, 20, 1], task="regression", dtype="float64", seed=0
    )  # with a matrix for the slopes of each input
    with pytest.raises(MemoryError, match=r"^LevenbergMarquardt with the 2,041 weights and biases"):
        net.train((np.ones((2, 100)), [1.0, 2.0]), slopes=np.ones((2, 100)), **TRAIN)


def test_they_are_those_of_the_weights_and_examples_at_hand():
    """Also where training has not found the precisions yet, or was that of other weights; a calibration ends."""
    net, other = trained(3, laplace=True), make(seed=3)
    other.layers = net.layers
    other.fit_laplace((X, Y))
    np.testing.assert_allclose(net.predict_std(X), other.predict_std(X), rtol=0.02)
    before = net.predict_std(X)
    net.calibrate((X[:30] + 0.1, Y[:30]))
    net.fit_laplace((X, Y + 3))
    assert net.calibration is None
    assert (net.predict_std(X) > 2 * before).all()


def test_every_training_begins_anew():
    """Precisions are those of the examples: others may be of another scale."""
    net = make()
    for scale in (1.0, 1e-2):
        net.train((X, scale * Y), 60, **TRAIN)
        assert net.state.optimizer.memory.steps <= 60
        assert net.state.optimizer.memory.noise**-0.5 / scale == pytest.approx(0.1, rel=0.2)


def test_blocks_of_examples_are_not_collected():
    seen = []

    class Batches:
        def __iter__(self):
            for k in range(0, 40, 4):
                assert sum(block() is not None for block in seen) <= 2
                yield self.copy(k)

        def copy(self, k):
            x = X[k : k + 4].astype(np.float64)
            seen.append(weakref.ref(x))
            return x, Y[k : k + 4]

    one, other = trained(3), trained(3, laplace=True)
    one.fit_laplace(Batches())
    assert len(seen) == 10
    np.testing.assert_allclose(one.predict_std(X), other.predict_std(X), rtol=1e-8)


def test_targets_far_from_zero():
    """Error bars are in units of the targets, wherever they lie, or the message names a remedy."""
    net, other, far = trained(20, laplace=True), make(), 1e9
    w, b = net.layers[-1]
    other.layers = [*net.layers[:-1], (w, b + far)]
    other.fit_laplace((X, Y + far))
    np.testing.assert_allclose(other.predict_std(X), net.predict_std(X), rtol=0.1)
    other.layers = make().layers
    other.fit_laplace((X, Y + 1e3 * far))
    np.testing.assert_allclose(other.predict_std(X), 1e3 * far, rtol=1e-3)
    other = make(activation="relu")
    other.layers = [(1e200 * w, b) for w, b in other.layers]
    with np.errstate(all="ignore"), pytest.raises(ArgumentError, match=r"31 weights and biases .* standardize=True"):
        other.fit_laplace((X, Y))


def test_an_ensemble_gets_error_bars_of_all_members_or_none():
    ensemble = Ensemble.of([make(), make()])
    ensemble[0].train((X, Y), 1, **TRAIN)
    with pytest.raises(ArgumentError, match="fit_laplace needs a trained network"):
        ensemble.fit_laplace((X, Y))
    assert ensemble[0].value.laplace is None
    for net in ensemble:
        net.train((X, Y), 1, **TRAIN)
        net.calibrate((X + 0.1, Y))
    ensemble.fit_laplace((X, Y))
    assert all(net.value.laplace and net.calibration is None for net in ensemble)


def test_what_has_no_laplace_approximation():
    with pytest.raises(ArgumentError, match='needs a regression with cost="quadratic", "mse" or "gaus'):
        Network([3, 2], task="classification").fit_laplace((X, [0, 1] * 20))
    net = make()
    with pytest.raises(ArgumentError, match="this one has its first weights; call train before"):
        net.fit_laplace((X, Y))
    net.minibatch_update((X, Y), 1e-9)
    net.fit_laplace((X, Y))
    for other in (make(), Ensemble([3, 2], 2, task="regression")):
        for call, name in ((other.posterior, "posterior"), (other.covariance, "covariance")):
            with pytest.raises(ArgumentError, match=rf"{name} needs .* call fit_laplace\(train_data\) first"):
                call(X)
    with pytest.raises(ArgumentError, match="n=0"):
        net.sample(X, 0)
    with pytest.raises(MemoryError, match=r"covariance between 1,000,000 rows needs .* sample"):
        net.covariance(np.broadcast_to(X[0], (10**6, 3)))
    with pytest.raises(ArgumentError, match="calibrate with rows is not for members with fit_laplace"):
        Ensemble.of([net, net]).calibrate((X, Y), rows=[range(20), range(20, 40)])


def test_estimators_have_them_after_their_fit():
    options = {"solver": LevenbergMarquardt(bayesian=True), "hidden_layer_sizes": (6,), "activation": "tanh"}
    options |= {"max_iter": 30, "tol": 0.0, "n_iter_no_change": 100, "dtype": "float64", "random_state": 0}
    with pytest.warns(Warning, match="Maximum iterations"):
        regressor = MLPRegressor(**options).fit(X, Y[:, 0])
    mean, std = regressor.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, regressor.predict(X))
    np.testing.assert_allclose(std, regressor.network_.predict_std(X))
    assert regressor.relevance_[2] < regressor.relevance_[:2].min()
    with pytest.raises(AttributeError, match=r"relevance_ needs solver=LevenbergMarquardt\(bayesian=True\)"):
        _ = MLPRegressor(solver="lbfgs", alpha=1.0, tol=0.1).fit(X, Y[:, 0]).relevance_
