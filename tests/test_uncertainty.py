"""Costs with several outputs for each target, what is predicted of them, and samples with dropout."""

import copy
import pickle
import warnings
from contextlib import nullcontext

import host_cupy
import joblib
import numpy as np
import pytest
from helpers import Batches, Items, Place, assert_same, holds_digests, snapshot
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss
from test_activations import on
from test_backprop import layers_of
from test_dropout import expected as expected_mask
from test_prediction import peak

from xpnet import SGD, Adam, EarlyStopping, Ensemble, Network, OneCycle, check_gradients
from xpnet.cli.bench import random_examples
from xpnet.core import arrays, calibration
from xpnet.core.activations import identity, mean_std
from xpnet.core.calibration import MOST_ERRORS, correct_quantiles, find_error, find_shifts, sort_errors
from xpnet.core.costs import absolute, gaussian, make_quantile
from xpnet.core.scaling import Scaling
from xpnet.export import make_page, write_page
from xpnet.training.callback import Training
from xpnet.training.evaluate import Evaluate
from xpnet.training.history import History
from xpnet.training.position import Position

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

COSTS = {"gaussian": 2, "quantile(0.1, 0.5, 0.9)": 3}  # and their outputs for each target
N, NUMPY = 12, Place("numpy", None)
X = np.random.default_rng(0).standard_normal((N, 3))
NEAR = np.random.default_rng(1).standard_normal((N, 2))
Y = 100 + 20 * NEAR


def network(place, cost="gaussian", targets=2, **options):
    options = {"dtype": "float64", "activation": "tanh", "seed": 0, **options}
    return Network([3, 4, COSTS[cost] * targets], cost=cost, **options, **place._asdict())


def trained(place, cost="gaussian", targets=2, **options):
    net = network(place, cost, targets, **options)
    net.train((X, Y[:, :targets]), epochs=3, batch_size=5, lr=0.01, progress=False)
    return net


def array(net, x):
    return np.array(net.backend.to_numpy(x))


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


def test_the_median_alone_is_half_the_absolute_cost(backend):
    a, y = np.random.default_rng(2).standard_normal((2, 5, 3))
    y[0] = a[0]
    median = make_quantile(0.5)
    np.testing.assert_array_equal(on(backend, median.value, a, y), 0.5 * on(backend, absolute.value, a, y))
    np.testing.assert_array_equal(on(backend, median.gradient, a, y), 0.5 * on(backend, absolute.gradient, a, y))


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


def theirs(torch, cost, z, y):
    """The cost of a minibatch by PyTorch."""
    if cost == "gaussian":
        mean, rest = z.tensor_split(2, dim=1)
        std = torch.sqrt(torch.nn.functional.softplus(rest, threshold=1000) + 1e-6)
        distance = (mean - y).abs() / std
        tail = torch.where(distance > 5, 12.5 + 25 * (distance.clamp(min=5) / 5).log(), 0.5 * distance**2)
        return (tail + std.log() + 0.5 * np.log(2 * np.pi)).sum() / len(y)
    errors = [y - part for part in z.tensor_split(3, dim=1)]
    return sum(torch.maximum(p * e, (p - 1) * e).sum() for p, e in zip((0.1, 0.5, 0.9), errors)) / len(y)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("cost", COSTS)
def test_a_training_against_autograd(place, cost):
    """Five steps of gradient descent by PyTorch's derivatives, from the same weights."""
    torch = pytest.importorskip("torch")
    net, y = network(place, cost), NEAR
    parameters = [torch.tensor(part, requires_grad=True) for layer in layers_of(net) for part in layer]
    w1, b1, w2, b2 = parameters
    costs = []
    for _ in range(5):
        z = torch.tanh(torch.tensor(X) @ w1.T + b1) @ w2.T + b2
        costs.append(theirs(torch, cost, z, torch.tensor(y)))
        for part, g in zip(parameters, torch.autograd.grad(costs[-1], parameters), strict=True):
            part.data -= 0.1 * g
    history = net.train((X, y), epochs=5, batch_size=N, lr=0.1, progress=False)
    np.testing.assert_allclose(history["cost"], [cost.item() for cost in costs], rtol=1e-10)
    for ours, exact in zip([part for layer in layers_of(net) for part in layer], parameters, strict=True):
        np.testing.assert_allclose(ours, exact.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.9, 0.1)])
def test_levels_increase(levels):
    with pytest.raises(ValueError, match=r"levels=\(.*\) must be numbers in increasing order, as in 0\.1, 0\.5, 0\.9"):
        make_quantile(*levels)


@pytest.mark.parametrize("level", [0, 1.0, -0.5, np.nan, "0.5"])
def test_levels_are_above_0_and_below_1(level):
    with pytest.raises(ValueError, match=r"level=.* must be above 0 and below 1; 0\.5 is the median"):
        make_quantile(level)


def test_equal_levels_are_the_same_cost():
    assert make_quantile(0.1, np.float64(0.9)) == make_quantile(0.1, 0.9)
    assert make_quantile(0.25).name == "quantile(0.25)"


# Networks


def test_a_cost_alone_makes_a_regression(place):
    for cost, output in (("gaussian", mean_std), ("quantile(0.3)", identity)):
        net = Network([3, 4, 2], cost=cost, **place._asdict())
        assert (net.task, net.sigmas[-1], net.cost_name) == ("regression", output, cost)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("targets", [1, 2])
def test_predictions_are_read_from_the_outputs(place, cost, targets):
    """Blocks of columns: all means, then all standard deviations; or the quantiles of each level."""
    net = trained(place, cost, targets, standardize=True)
    forward, predicted = (array(net, f(X)) for f in (net.forward, net.predict))
    blocks = np.split(forward, COSTS[cost], axis=1)
    if cost == "gaussian":
        shape = (N,) if targets == 1 else (N, 2)
        np.testing.assert_array_equal(predicted, blocks[0].reshape(shape))
        np.testing.assert_array_equal(array(net, net.predict_std(X)), blocks[1].reshape(shape))
        np.testing.assert_allclose(array(net, net.predict_std(X[0])), blocks[1].reshape(shape)[0], rtol=1e-12)
    else:
        exact = np.sort(np.stack(blocks, axis=-1), axis=-1)
        np.testing.assert_array_equal(predicted, exact[:, 0, :] if targets == 1 else exact)
    np.testing.assert_allclose(array(net, net.predict(X[0])), predicted[0], rtol=1e-12)


@pytest.mark.on("jax")
def test_quantiles_are_predicted_in_order(place):
    net = Network([1, 3], cost="quantile(0.1, 0.5, 0.9)", **place._asdict())
    net.layers = [([[1.0], [0.0], [-1.0]], [0.0, 0.0, 0.0])]
    x = [[1.0], [-1.0]]
    assert array(net, net.predict(x)).tolist() == [[-1, 0, 1], [-1, 0, 1]]
    assert array(net, net.forward(x)).tolist() == [[1, 0, -1], [-1, 0, 1]]


def test_one_level_predicts_a_number_for_each_target(place):
    for n in (1, 2):
        net = Network([3, n], cost="quantile(0.9)", **place._asdict())
        assert tuple(net.predict(X).shape) == ((N,) if n == 1 else (N, n))


@pytest.mark.parametrize("cost", COSTS)
def test_a_standardized_network_equals_one_trained_on_standardized_data(place, cost):
    """Means and quantiles are scaled and shifted back, standard deviations are only scaled; so are derivatives."""
    inside, by_hand = network(place, cost, standardize=True), network(place, cost)
    mean, std = Y.mean(axis=0), Y.std(axis=0)
    inside.train((X, Y), epochs=3, batch_size=5, lr=0.01, progress=False)
    x = (X - X.mean(axis=0)) / X.std(axis=0)
    by_hand.train((x, (Y - mean) / std), epochs=3, batch_size=5, lr=0.01, progress=False)
    ours, theirs = array(inside, inside.predict(X)), array(by_hand, by_hand.predict(x))
    if cost == "gaussian":
        np.testing.assert_allclose(ours, theirs * std + mean, rtol=1e-9)
        spreads = array(inside, inside.predict_std(X)), array(by_hand, by_hand.predict_std(x))
        np.testing.assert_allclose(spreads[0], spreads[1] * std, rtol=1e-9)
    else:
        np.testing.assert_allclose(ours, theirs * std[:, None] + mean[:, None], rtol=1e-9)
    assert inside.cost((X, Y)) == pytest.approx(by_hand.cost((x, (Y - mean) / std)), rel=1e-9)
    h = 1e-5 * np.eye(3)
    slopes = np.stack([array(inside, inside.forward(X + e) - inside.forward(X - e)) / 2e-5 for e in h], axis=-1)
    np.testing.assert_allclose(array(inside, inside.jacobian(X)), slopes, rtol=1e-5, atol=1e-6)
    g = np.random.default_rng(5).standard_normal((N, inside.sizes[-1]))
    np.testing.assert_allclose(
        array(inside, inside.vjp(X, g)), np.einsum("mo,moi->mi", g, slopes), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("cost", COSTS)
def test_metrics_compare_means_and_medians(place, cost):
    net = network(place, cost, standardize=True)
    seen = []

    def look(y_true, y_pred):
        seen.append((y_true, y_pred))
        return 0.0

    names = ["mae", "mean_absolute_error", "mse", "rmse", "root_mean_squared_error", "r2"]
    options = {"validation_data": (X, Y), "metrics": [*names, look], "progress": False}
    history = net.train((X, Y), epochs=1, lr=0.01, **options)
    mae, _, mse, rmse, _, r2 = scores = [history[f"validation_{name}"][0] for name in names]
    assert (scores[1], scores[4]) == (mae, rmse)
    predicted = array(net, net.predict(X))
    point = predicted if cost == "gaussian" else predicted[..., 1]
    np.testing.assert_allclose(array(net, seen[0][1]), point, rtol=1e-12)
    np.testing.assert_allclose(array(net, seen[0][0]), Y, rtol=1e-12)
    assert mae == pytest.approx(np.abs(point - Y).mean(), rel=1e-9)
    assert mse == pytest.approx(((point - Y) ** 2).mean(), rel=1e-9)
    assert rmse == pytest.approx(mse**0.5, rel=1e-12)
    assert r2 == pytest.approx(np.mean(1 - ((point - Y) ** 2).sum(axis=0) / (Y.var(axis=0) * N)), rel=1e-9)


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("cost", ["quantile(0.3)", "quantile(0.5)", "quantile(0.3, 0.5)"])
def test_metrics_are_of_the_corrected_median_or_only_quantile(place, cost, members):
    """Before a calibration, and afterwards."""
    sizes, data = [3, 4, cost.count(",") + 1], examples(49, 1)
    options = {"cost": cost, "seed": 0, **place._asdict()}
    model = Network(sizes, **options) if members is None else Ensemble(sizes, members, **options)
    for calibrate in (lambda data: None, model.calibrate):
        calibrate(data)
        predicted = model.backend.to_numpy(model.predict(data[0])).reshape(49, -1)[:, -1]
        error = pytest.approx(np.abs(predicted - data[1][:, 0]).mean(), rel=1e-5)
        assert model.measure(data, metrics=["mae"])["mae"] == error


def test_metrics_need_the_median():
    net, message = Network([3, 2], cost="quantile(0.1, 0.9)"), r" compare one number with each target, and cost='quanti"
    data = X, Y[:, 0]
    for argument in ("metrics", "training_metrics"):
        with pytest.raises(ValueError, match=f"^{argument}{message}.* has none; add 0.5, the median, to its levels"):
            net.train(data, validation_data=data, progress=False, **{argument: ["mae"]})
    net.train(data, epochs=1, validation_data=data, progress=False)  # the cost needs none
    from xpnet.data.sources import make_source
    from xpnet.metrics import r2

    evaluate = Evaluate("own", make_source(data, "data", net.view.reader), [r2])
    evaluate.on_train_begin(Training(net, 1, 1, {}, History(), Position()))
    with pytest.raises(ValueError, match=f"^metrics{message}"):
        evaluate.on_epoch_end({})


def test_targets_are_as_many_as_their_shape_says():
    one, two = Network([3, 2], cost="gaussian"), Network([3, 4], cost="gaussian")
    for y in (Y[:, 0], Y[:, :1]):
        assert one.cost((X, y)) == one.cost((X, Y[:, 0]))
    with pytest.raises(ValueError, match=r"y of data has shape \(12, 2\), but must have \(n, 1\) or \(n,\)"):
        one.cost((X, Y))
    with pytest.raises(ValueError, match=r"y of data has shape \(12, 1\), but must have \(n, 2\)"):
        two.cost((X, Y[:, :1]))
    assert [tuple(part.shape) for part in two.deltas(X[0], Y[0])] == [(4,)]


@pytest.mark.parametrize(("cost", "n"), [("gaussian", 3), ("quantile(0.1, 0.5, 0.9)", 4)])
def test_outputs_are_a_multiple_of_those_of_a_target(cost, n):
    per = COSTS[cost]
    message = rf"sizes ends in {n}, but cost='{cost[:8]}.* has {per} outputs for each target; end it in {per} for one"
    with pytest.raises(ValueError, match=message):
        Network([3, n], cost=cost)


@pytest.mark.parametrize("output", ["identity", "softplus", "sigmoid"])
def test_the_gaussian_cost_brings_its_own_output_activation(output):
    with pytest.raises(ValueError, match=rf"'gaussian' does not go with output_activation='{output}'; .* 'mean_std'"):
        Network([3, 2], cost="gaussian", output_activation=output)
    with pytest.raises(
        ValueError, match=r"'quantile\(0\.5\)' does not go with output_activation='softmax'.* 'identity'"
    ):
        Network([3, 2], cost="quantile(0.5)", output_activation="softmax")
    with pytest.raises(ValueError, match="output_activation='mean_std' is unknown"):
        Network([3, 2], output_activation="mean_std")


@pytest.mark.parametrize("cost", ["gaussian", gaussian, "quantile(0.2)", make_quantile(0.2, 0.3)])
@pytest.mark.parametrize("task", ["classification", "binary", "multilabel"])
def test_a_task_of_classes_is_contradicted(cost, task):
    with pytest.raises(ValueError, match=rf"^cost=.* contradicts task='{task}', which goes with 'cross_entropy'"):
        Network([3, 1], cost=cost, task=task)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"cost": "quantile(0.1, 0.9)"}], ids=str)
def test_standard_deviations_need_the_gaussian_cost(options):
    net = Network([3, 4, 2], **{"task": "regression", **options})
    with pytest.raises(ValueError, match=r'^predict_std needs cost="gaussian", and .*, and 2 outputs|each target') as e:
        net.predict_std(X)
    assert ("sample(x, 100).std(axis=0)" in str(e.value)) == ("dropout" in options)
    assert f"cost={net.cost_name!r}" in str(e.value)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_estimators_predict_quantiles(n_targets):
    estimators = pytest.importorskip("xpnet.estimators")
    loss, y = "quantile(0.05, 0.5, 0.95)", Y[:, 0] if n_targets == 1 else Y
    options = {"hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "standardize": True}
    regressor = estimators.MLPRegressor(loss, **options).fit(X, y)
    predicted = regressor.predict_quantiles(X)
    assert predicted.shape == (*y.shape, 3)
    assert (np.diff(predicted, axis=-1) >= 0).all()
    np.testing.assert_array_equal(predicted, regressor.network_.predict(X))
    np.testing.assert_array_equal(regressor.predict(X), predicted[..., 1])
    assert regressor.n_outputs_ == n_targets
    ensemble = estimators.MLPEnsembleRegressor(loss, n_estimators=2, **options).fit(X, y)
    members = [member.predict_quantiles(X) for member in ensemble.estimators_]
    np.testing.assert_allclose(ensemble.predict_quantiles(X), np.mean(members, axis=0), rtol=1e-12)
    median, spread = ensemble.predict(X, return_std=True)
    np.testing.assert_allclose(median, ensemble.predict_quantiles(X)[..., 1], rtol=1e-12)
    np.testing.assert_allclose(spread, np.std([each[..., 1] for each in members], axis=0), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_quantiles_work_with_what_scikit_learn_does_with_estimators():
    """In pipelines and searches, cloned and pickled; early stopping watches the loss, as R² sees the median alone."""
    estimators, sklearn = pytest.importorskip("xpnet.estimators"), pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y, small = Y[:, 0], {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "standardize": True}
    grid = {"mlpregressor__loss": ["squared_error", "quantile(0.1, 0.5, 0.9)"]}
    pipeline = make_pipeline(StandardScaler(), sklearn.clone(estimators.MLPRegressor(**small)))
    searches = [kind(pipeline, grid, cv=2).fit(X, y) for kind in (GridSearchCV, estimators.MLPSearchCV)]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(*scores, rtol=1e-9)
    assert len(set(scores[0])) == 2
    fits = [
        estimators.MLPRegressor("quantile(0.1, 0.5, 0.9)", **small, early_stopping=stop).fit(X, y)
        for stop in (True, "loss")
    ]
    assert fits[0].best_validation_loss_ == min(fits[0].validation_loss_curve_)
    again = pickle.loads(pickle.dumps(fits[1]))
    np.testing.assert_array_equal(fits[0].predict_quantiles(X), again.predict_quantiles(X))
    with pytest.raises(
        ValueError, match=r"^loss='quantile\(.*\)' has several outputs for each target, and scikit-learn's"
    ):
        estimators.MLPRegressor("quantile(0.1, 0.5)", hidden_layer_sizes=(5,), max_iter=1).fit(X, y).to_sklearn()


def test_the_estimators_refuse_losses_that_do_not_fit_them():
    estimators = pytest.importorskip("xpnet.estimators")
    message = (
        r"^loss='quantile\(0.1, 0.9\)' has no single number for each target, which predict returns; add 0.5, the med"
    )
    with pytest.raises(ValueError, match=message):
        estimators.MLPRegressor(loss="quantile(0.1, 0.9)").fit(X, Y)
    for loss in ("gaussian", "quantile(0.5)"):
        with pytest.raises(ValueError, match=r"loss='.*' is for the output activations .*; give loss='log_loss'"):
            estimators.MLPClassifier(loss=loss).fit(X, np.arange(len(X)) % 2)
    with pytest.raises(
        ValueError, match=r"^predict_quantiles needs quantiles as the loss, and this estimator has loss='hu"
    ):
        estimators.MLPRegressor("huber", max_iter=200, tol=10.0).fit(X, Y[:, 0] / 100).predict_quantiles(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("loss", "n_targets"), [("gaussian", 1), (gaussian, 2)])
def test_the_estimators_predict_standard_deviations(loss, n_targets):
    estimators = pytest.importorskip("xpnet.estimators")
    y = np.random.default_rng(0).standard_normal((len(X), n_targets)) if n_targets > 1 else Y[:, 0]
    options = {"loss": loss, "hidden_layer_sizes": (5,), "max_iter": 5, "random_state": 0, "standardize": True}
    regressor = estimators.MLPRegressor(**options).fit(X, y)
    mean, std = regressor.predict(X, return_std=True)
    assert regressor.n_outputs_ == n_targets
    np.testing.assert_array_equal(mean, regressor.predict(X))
    np.testing.assert_array_equal(std, regressor.network_.predict_std(X))
    ensemble = estimators.MLPEnsembleRegressor(n_estimators=3, **options).fit(X, y)
    mean, std = ensemble.predict(X, return_std=True)
    means, stds = zip(*(member.predict(X, return_std=True) for member in ensemble.estimators_))
    np.testing.assert_allclose(mean, np.mean(means, axis=0))
    np.testing.assert_allclose(std**2, np.var(means, axis=0) + np.mean(np.square(stds), axis=0))
    np.testing.assert_allclose((mean, std), ensemble.ensemble_.predict(X, return_std=True))
    _, std = (
        estimators.MLPEnsembleRegressor(n_estimators=1).set_params(max_iter=1).fit(X, y).predict(X, return_std=True)
    )
    assert not std.any()
    alone = estimators.MLPRegressor(**{**options, "loss": "squared_error"}).fit(X, y)
    with pytest.raises(ValueError, match=r"^return_std=True needs loss='gaussian', or an ensemble, and this estimator"):
        alone.predict(X, return_std=True)


def train_on(source, members=None, epochs=2, cache=True):
    """A door: train a network, or an ensemble, on what `source` makes of the targets."""

    def train(y, **options):
        sizes, options = [3, 4, 2 * y.shape[1]], {"cost": "gaussian", "seed": 0, **options}
        model = Network(sizes, **options) if members is None else Ensemble(sizes, members, **options)
        model.train(source(y), epochs, 4, lr=0.0, cache=cache, progress=False)

    return train


def fit_with(make):
    def fit(y, **options):
        estimators = pytest.importorskip("xpnet.estimators")
        small = {"loss": "gaussian", "hidden_layer_sizes": (4,), "max_iter": 2, "batch_size": 4}
        make(estimators, {**small, "random_state": 0, **options}).fit(X, y)

    return fit


SCALE_DOORS = {
    "Network": train_on(lambda y: (X, y)),
    "batches": train_on(lambda y: Batches(X, y, 4)),
    "data set": train_on(lambda y: Items(X, y), cache=False),
    "Ensemble": train_on(lambda y: (X, y), members=3),
    "MLPRegressor": fit_with(lambda estimators, options: estimators.MLPRegressor(**options)),
    "MLPEnsembleRegressor": fit_with(lambda estimators, options: estimators.MLPEnsembleRegressor(**options)),
    "MLPSearchCV": fit_with(
        lambda estimators, options: estimators.MLPSearchCV(
            estimators.MLPRegressor(**options), {"alpha": [0.0, 1.0]}, cv=2, refit=False
        )
    ),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("door", SCALE_DOORS)
def test_targets_far_from_their_scale_are_told_of_once(door):
    """Not those near it, nor those that the network scales."""
    train = SCALE_DOORS[door]
    message = r"^targets have mean \d+(\.\d)? and standard deviation .*, and the cost 'gaussian' gives wrong error bars"
    with pytest.warns(
        UserWarning, match=rf"{message} unless .* 0 and 1; give standardize=True, or scale the targets"
    ) as seen:
        train(np.stack([NEAR[:, 0], Y[:, 0]], axis=1))
    assert len([w for w in seen if "standard deviation" in str(w.message)]) == 1
    assert door == "MLPSearchCV" or seen[0].filename == __file__  # joblib calls the fits of a search
    train(NEAR)
    if door not in ("batches", "data set"):
        train(Y, standardize=True)


@pytest.mark.parametrize("y", [60 + Y / 100, Y - 100, (Y - 100) / 2000], ids=["mean", "wide", "narrow"])
def test_each_bound_on_the_scale_of_targets(place, y):
    with pytest.warns(UserWarning, match=r"^targets have mean .* and standard deviation"):
        network(place).train((X, y), epochs=1, lr=0.0, progress=False)
    with pytest.warns(UserWarning, match=r"give standardize=True, or scale the targets yourself$"):
        network(place, dtype="float32").train((X, 1e12 * y), epochs=1, lr=0.0, progress=False)


def test_targets_near_their_scale_and_other_costs_warn_of_nothing(place):
    for y in (3 * NEAR, 0.1 * NEAR, NEAR + 10, 0 * NEAR):
        network(place).train((X, y), epochs=1, lr=0.0, progress=False)
    network(place, "quantile(0.1, 0.5, 0.9)").train((X, Y), epochs=1, progress=False)  # which has no such cliff


@pytest.mark.parametrize("cost", COSTS)
def test_files_copies_and_pickles(cost, tmp_path):
    net = trained(NUMPY, cost, standardize=True)
    net.save(tmp_path / "net")
    for twin in (net.copy(), pickle.loads(pickle.dumps(net)), Network.load(tmp_path / "net")):
        assert (twin.cost_name, twin.output, twin.output_activation) == (cost, net.output, net.output_activation)
        np.testing.assert_array_equal(twin.predict(X), net.predict(X))


@pytest.mark.parametrize("cost", COSTS)
def test_other_uses_know_the_number_of_targets(cost):
    net = network(NUMPY, cost, targets=3)
    x, y = random_examples(net, 5)
    assert y.shape == (5, 3)
    assert check_gradients(net, x, y, most=5).passed
    assert check_gradients(net, x[0], y[0], most=5).passed
    assert "mean_std" in repr(net.summary()) or cost != "gaussian"


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
    """A network whose outputs are its inputs, times the masks of the inputs and of the hidden units."""
    options = {"dropout": [0.25, 0.5], "activation": "identity", "task": "regression", **options}
    net = Network([6, 6, 6], seed=9, dtype=dtype, **options, **place._asdict())
    net.layers = [(np.eye(6), np.zeros(6))] * 2
    return net


def masks(net, m, n):
    """Those of the definition, (n, m, 6), for sample numbers in the place of steps."""
    rates = net.dropout
    each = [[expected_mask(net.seeds.dropout, i, l, m, 6, rates[l]) for l in (0, 1)] for i in range(n)]
    return np.array([inputs / (1 - rates[0]) * (hidden / (1 - rates[1])) for inputs, hidden in each])


@pytest.mark.on("jax")
def test_samples_have_the_masks_of_training_on_every_backend(place, dtype):
    """All bits of them; the network does not change."""
    net, x = diagonal(place, dtype), np.random.default_rng(0).uniform(1, 2, (7, 6)).astype(dtype)
    state, rng = snapshot(net), net.rng.bit_generator.state
    exact = masks(net, 7, 5)
    assert 0.5 < (exact == 0).mean() < 0.75
    found = array(net, net.sample(x, 5))
    assert found.shape == (5, 7, 6)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found == 0, exact == 0)
    np.testing.assert_allclose(found, exact * x, rtol=1e-6)
    assert_same(net, state)
    assert net.rng.bit_generator.state == rng


def test_samples_are_the_same_however_many_are_looked_at_together(place, dtype, monkeypatch):
    net, x = diagonal(place, dtype), np.random.default_rng(0).uniform(1, 2, (7, 6)).astype(dtype)
    found = array(net, net.sample(x, 5))
    monkeypatch.setattr(arrays, "BLOCK_ELEMENTS", 5 * 4 * sum(net.sizes))  # five of the 35 rows: parts of samples
    np.testing.assert_array_equal(array(net, net.sample(x, 5)), found)
    monkeypatch.undo()
    np.testing.assert_array_equal(array(net, net.sample(x, 3)), found[:3])
    np.testing.assert_array_equal(array(net, net.sample(x[0], 5)), found[:, 0])


def test_samples_are_the_same_before_and_after_training_goes_on():
    """They depend on the seed and the weights, and not on the step that training has reached."""
    net = trained(NUMPY, dropout=[0.2, 0.5], standardize=True)
    before = net.sample(X, 4)
    net.train((X, Y), epochs=1, lr=0.0, progress=False)
    np.testing.assert_array_equal(net.sample(X, 4), before)


def test_samples_of_scaled_inputs_and_outputs(place):
    """In the units of the targets, with the scaling of the inputs first; bytes are scaled in each block."""
    plain, bytes_ = diagonal(place), diagonal(place, scale=0.5)
    x = np.random.default_rng(0).integers(1, 256, (7, 6), dtype=np.uint8)
    np.testing.assert_array_equal(array(bytes_, bytes_.sample(x, 3)), array(plain, plain.sample(x * 0.5, 3)))
    net = trained(place, "gaussian", dropout=0.5, standardize=True)
    off = net.copy()
    off.state = off.state._replace(
        dropout=off.state.dropout._replace(thresholds=(None, None))  # no unit is dropped: samples are forward
    )
    np.testing.assert_allclose(array(off, off.sample(X, 2)), np.stack([array(net, net.forward(X))] * 2), rtol=1e-12)


def test_the_mean_of_many_samples_is_that_of_the_network(place):
    """Of a linear network: masks are divided by the rate that they keep."""
    net = diagonal(place)
    x = np.linspace(1, 2, 6)[None, :]
    found = array(net, net.sample(np.tile(x, (1000, 1)), 20)).reshape(-1, 6)
    spread = np.sqrt(1 / (0.75 * 0.5) - 1)
    assert (np.abs(found.mean(axis=0) / x - 1) < 4 * spread / np.sqrt(len(found))).all()
    np.testing.assert_allclose(found.std(axis=0) / x[0], spread, rtol=0.05)


def test_samples_need_dropout_and_a_number():
    with pytest.raises(
        ValueError, match=r"^sample needs dropout, and this network has none; make one with dropout=0\.1"
    ):
        Network([3, 4, 2]).sample(X)
    net = diagonal(NUMPY)
    with pytest.raises(ValueError, match="n=0 must be a whole number of at least 1"):
        net.sample(np.ones((1, 6)), 0)
    with pytest.raises(TypeError, match=r"^samples=9 is not an argument of sample.*; choose from 'x', 'n'"):
        net.sample(X, samples=9)
    with pytest.raises(ValueError, match=r"x has shape \(12, 3\), but must have \(n, 6\)"):
        net.sample(X)


@pytest.mark.slow
def test_memory_of_samples_is_bounded(monkeypatch):
    """Besides the outputs: 20 samples of 1,000 rows at once would take more than 10 MB."""
    monkeypatch.setattr(arrays, "BLOCK_ELEMENTS", 1 << 16)
    net = Network([20, 128, 1], task="regression", dropout=0.5, seed=0)
    x = np.random.default_rng(0).random((1000, 20), dtype=np.float32)
    net.sample(x[:10], 2)
    found, most = peak(lambda: net.sample(x, 20))
    assert found.shape == (20, 1000, 1)
    assert most < 3 * found.nbytes + 3 * 4 * arrays.BLOCK_ELEMENTS


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


ON_CALIBRATED = (
    "^many of the examples in data were used by calibrate, so their coverage is right by construction; give examples "
    "that neither train nor calibrate has had$"
)
DOORS = [("gaussian", None), ("gaussian", 3), ("mse", None), ("mse", 3), ("quantile(0.1, 0.5, 0.9)", None)]
DOORS += [("quantile(0.1, 0.5, 0.9)", 3)]


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize(("cost", "members"), DOORS)
def test_intervals_end_at_errors_on_validation_data(place, cost, members, targets):
    """With 49 examples, at the 45th smallest error for 0.9, as 0.9 · 50 = 45, and at the 35th for one sigma."""
    model, (x, y), (new, _) = bars(place, cost, targets, members), examples(49, targets), examples(5, targets, 1)
    host = model.backend.to_numpy
    predict = model.predict if members is None else lambda x: model.predict(x)
    before = host(predict(x)), host(predict(new))
    shape = (5,) if targets == 1 else (5, 2)
    if cost.startswith("quantile"):
        model.calibrate((x, y))
        errors = np.sort(
            y.reshape(y.shape if targets > 1 else (49, 1))[..., None] - before[0].reshape(49, targets, 3), axis=0
        )
        shift = np.stack([errors[4, :, 0], errors[24, :, 1], errors[44, :, 2]], axis=-1)
        np.testing.assert_allclose(host(predict(new)), before[1] + (shift[0] if targets == 1 else shift), rtol=1e-12)
        np.testing.assert_allclose(host(predict(new[0])), host(predict(new))[0], rtol=1e-12)
        low, high = model.interval(new, 0.8)
        np.testing.assert_array_equal(host(low), host(predict(new))[..., 0])
        with pytest.warns(UserWarning, match=ON_CALIBRATED):
            rows = model.coverage((x, y)).rows
        assert [row["measured"] for row in rows] == targets * [5 / 49, 25 / 49, 45 / 49]
        return
    if cost == "mse" and members is None:
        std = np.ones((49, targets)), np.ones((5, targets))
    else:
        std = [
            host(model.predict_std(part) if members is None else model.predict(part, True)[1]).reshape(-1, targets)
            for part in (x, new)
        ]
        half = 1.6448536269514722 * std[1].reshape(shape)
        if cost == "gaussian":
            np.testing.assert_allclose(host(model.interval(new)[1]), before[1] + half, rtol=1e-12)
    model.calibrate((x, y))
    errors = np.sort(np.abs(y - before[0].reshape(49, targets)) / std[0], axis=0)
    low, high = model.interval(new, 0.9)
    assert low.shape == high.shape == shape
    np.testing.assert_allclose(host(high), before[1] + (errors[44] * std[1]).reshape(shape), rtol=1e-12)
    np.testing.assert_allclose(host(low), before[1] - (errors[44] * std[1]).reshape(shape), rtol=1e-12)
    np.testing.assert_allclose(host(model.interval(new[0])[0]), host(low)[0], rtol=1e-12)
    after = host(model.predict_std(new) if members is None else model.predict(new, return_std=True)[1])
    np.testing.assert_allclose(after, (errors[34] * std[1]).reshape(shape), rtol=1e-12)
    np.testing.assert_array_equal(host(model.predict(new)), before[1])
    with pytest.warns(UserWarning, match=ON_CALIBRATED):
        rows = model.coverage((x, y), levels=[0.68, 0.9]).rows
    assert [row["measured"] for row in rows] == targets * [34 / 49, 45 / 49]
    assert [row["target"] for row in rows] == [0, 0, 1, 1][: 2 * targets]


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
    rows = "below  standard error\n  0.050" if cost.startswith("quantile") else "within  standard error\n  0.680"
    assert repr(model.coverage(test)).startswith(f"nominal  {rows}")
    assert "<td" in model.coverage(test)._repr_html_()


@pytest.mark.parametrize(("cost", "level"), [("mse", 0.9), ("quantile(0.1, 0.5, 0.9)", 0.1)])
def test_the_standard_error_of_coverage_is_its_spread_over_draws(cost, level):
    """Of the validation data, which are fewer here and matter more, and of the data on which it is counted."""
    model, measured = bars(NUMPY, cost, 1, None), []
    for seed in range(150):
        (x, y), (new, truth) = examples(40, 1, 2 * seed), examples(200, 1, 2 * seed + 1)
        model.calibrate((x, y))
        (row,) = model.coverage((new, truth), [level]).rows
        measured.append(row["measured"])
    assert row["standard_error"] == pytest.approx((level * (1 - level) * (1 / 200 + 1 / 41) * 41 / 42) ** 0.5)
    assert np.std(measured) == pytest.approx(row["standard_error"], rel=0.15)


def test_the_standard_error_of_coverage_counts_all_validation_examples(monkeypatch):
    """Also those whose errors were thinned out."""
    monkeypatch.setattr(calibration, "MOST_ERRORS", 20)
    model = bars(NUMPY, "mse", 1, None)
    model.calibrate(examples(100, 1, 0))
    assert model.calibration.shape[0] == 20
    (row,) = model.coverage(examples(200, 1, 1), [0.9]).rows
    assert row["standard_error"] == pytest.approx((0.9 * 0.1 / 200 * 301 / 102) ** 0.5)


def crossing(place):
    """A network whose quantiles cross when each is shifted: they are close together, and far from the targets' ones."""
    net = Network([1, 3], cost="quantile(0.25, 0.5, 0.75)", dtype="float64", seed=0, **place._asdict())
    x, y = np.linspace(0, 1, 400)[:, None], np.exp(3 * np.random.default_rng(0).standard_normal(400))
    net.layers = [(np.array([[0.0], [3.0], [9.0]]), np.zeros(3))]
    net.calibrate((x, y))
    return net, x


def test_corrected_quantiles_are_in_increasing_order(place):
    net, x = crossing(place)
    shifted = net.view.backend.to_numpy(net.forward(x)) + find_shifts(net.calibration, (0.25, 0.5, 0.75))[0]
    assert (np.diff(shifted, axis=1) < 0).any()
    predicted = net.view.backend.to_numpy(net.predict(x))
    median = shifted[:, 1]
    np.testing.assert_array_equal(predicted[:, 0], np.minimum(shifted[:, 0], median))
    np.testing.assert_array_equal(predicted[:, 1], median)
    np.testing.assert_array_equal(predicted[:, 2], np.maximum(shifted[:, 2], median))
    low, high = map(net.view.backend.to_numpy, net.interval(x, 0.5))
    np.testing.assert_array_equal(np.stack([low, high], axis=1), predicted[:, [0, 2]])
    y = predicted[:, 1] + 0.1
    below = [row["measured"] for row in net.coverage((x + 1e-3, y)).rows]
    quantiles = net.view.backend.to_numpy(net.predict(x + 1e-3))
    np.testing.assert_allclose(below, (y[:, None] <= quantiles).mean(axis=0))


@pytest.mark.parametrize("levels", [(0.1, 0.2, 0.5, 0.8, 0.9), (0.05, 0.25, 0.75, 0.95), (0.6, 0.7, 0.9), (0.1, 0.2)])
def test_quantiles_that_cross_move_away_from_the_median(levels):
    shifted = np.random.default_rng(0).standard_normal((200, 2, len(levels)))
    ordered = correct_quantiles(shifted, np.zeros(len(levels)), levels, np)
    assert (np.diff(ordered, axis=-1) >= 0).all()
    for k, level in enumerate(levels):
        outwards = np.sign(level - 0.5) * (ordered[..., k] - shifted[..., k])
        assert (outwards >= 0).all()
        assert (ordered[..., k, None] == shifted).any(axis=-1).all()


@pytest.mark.filterwarnings("ignore:.* examples in data")
def test_metrics_and_pictures_judge_the_corrected_median(place):
    net, x = crossing(place)
    y = np.random.default_rng(1).standard_normal(400)
    for model in (net, Ensemble.of([net, net])):
        if model is not net:
            model.calibrate((x, y + 3))
        median = net.view.backend.to_numpy(model.predict(x))[:, 1]
        scores = model.measure((x, y), metrics=["mae", "r2"])
        assert scores["mae"] == pytest.approx(np.abs(median - y).mean())
        assert scores["r2"] == pytest.approx(1 - ((median - y) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert net.measure((x, y), metrics=[first])["first"] == pytest.approx(
        net.view.backend.to_numpy(net.predict(x))[0, 1]
    )


def first(y_true, y_pred):
    return float(y_pred[0])


# Examples that were trained on


ON_TRAINED = "^about {}% of the examples in {} are among those of the training, and "
REMEDY = "; give examples that were not trained on, such as those that train gets as validation_data$"


def train_on_examples(place, members=None, **options):
    model, (x, y) = bars(place, "gaussian", 1, members), examples(200, 1)
    model.train((x, y), epochs=1, lr=0.01, progress=False, **options)
    return model, x, y


@pytest.mark.parametrize("members", [2, None])
def test_examples_of_the_training_are_recognized(place, members):
    """In another order, in another dtype, and a part of them; not fresh ones, even if they include a few of those."""
    (model, x, y), (new, truth) = train_on_examples(place, members), examples(200, 1, 1)
    order = np.random.default_rng(0).permutation(200)
    of_training = ON_TRAINED.format(100, "validation_data") + "errors on those are too small for intervals that hold"
    for rows, dtype in ((order, np.float64), (order[:60], np.float32)):
        with pytest.warns(UserWarning, match=of_training + REMEDY):
            model.calibrate((x[rows].astype(dtype), y[rows].astype(dtype)))
    mixed = np.concatenate([x[:100], new[:100]]), np.concatenate([y[:100], truth[:100]])
    with pytest.warns(
        UserWarning, match=ON_TRAINED.format("(49|5.)", "data") + "their coverage is not that" + ".*" + REMEDY
    ):
        model.coverage(mixed, [0.5])
    for k in (0, 20):
        model.calibrate((np.concatenate([x[:k], new[k:]]), np.concatenate([y[:k], truth[k:]])))
    model.calibrate((x, truth))  # other measurements at the same points
    model.coverage(examples(100, 1, 2))


@pytest.mark.parametrize("members", [2, None])
def test_copies_in_memory_recognize_examples_too(place, members):
    model, x, y = train_on_examples(place, members)
    other = examples(50, 1, 1)
    model.calibrate(other)
    for twin in (model.copy(), model.to("numpy", dtype="float32"), copy.deepcopy(model)):
        with pytest.warns(UserWarning, match=ON_CALIBRATED):
            twin.coverage(other)
        with pytest.warns(UserWarning, match=ON_TRAINED.format(100, "validation_data")):
            twin.calibrate((x, y))


@pytest.mark.parametrize("members", [2, None])
def test_nothing_that_is_written_holds_digests_of_examples(place, members, tmp_path):
    """So nobody who has a file can ask whether an example was among those of the training, or of `calibrate`."""
    model, x, y = train_on_examples(place, members, checkpoint=tmp_path / "checkpoint")
    other = examples(50, 1, 1)
    model.calibrate(other)
    model.save(tmp_path / "file")
    joblib.dump(model, tmp_path / "joblib")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # exports are not calibrated
        write_page(model, tmp_path / "page")
    contents = [path.read_bytes() for path in tmp_path.iterdir()] + [pickle.dumps(model)]
    assert [holds_digests(content, *data) for content in contents for data in ((x, y), other)] == [False] * 10
    for twin in (pickle.loads(contents[-1]), type(model).load(tmp_path / "file")):
        twin.coverage(other)  # without a warning
        twin.calibrate((x, y))


def test_a_training_that_is_resumed_after_its_end_recognizes_its_examples(tmp_path):
    """Its file does not hold their digests, but `train` gets the examples again."""
    _, x, y = train_on_examples(NUMPY, checkpoint=tmp_path / "run")
    model, *_ = train_on_examples(NUMPY, checkpoint=tmp_path / "run", resume=True)
    with pytest.warns(UserWarning, match=ON_TRAINED.format(100, "validation_data")):
        model.calibrate((x, y))


def test_examples_that_are_held_out_are_not_those_of_the_training():
    x, y = examples(200, 1)
    for members in (None, 2):
        model, *_ = train_on_examples(NUMPY, members, validation_split=0.8)
        model.coverage((x, y))  # it has learnt from a fifth of them
    ensemble, *_ = train_on_examples(NUMPY, 2, rows=[np.arange(100), np.arange(50)], validation_data=(x, y))
    ensemble.calibrate((x[100:], y[100:]))
    with pytest.warns(UserWarning, match=ON_TRAINED.format(75, "validation_data")):
        ensemble.calibrate((x[:100], y[:100]))


@pytest.mark.parametrize("source", [Batches, Items], ids=["batches", "items"])
def test_examples_of_streams_are_recognized(source):
    x, y = examples(200, 1)
    data = Batches(x, y, 50) if source is Batches else Items(x, y[:, 0])
    model = bars(NUMPY, "gaussian", 1, None)
    model.train(data, epochs=1, lr=0.01, progress=False)
    with pytest.warns(UserWarning, match=ON_TRAINED.format(100, "validation_data")):
        model.calibrate(Batches(x, y, 30))
    model.calibrate(examples(50, 1, 1))


def test_few_rows_or_rows_that_repeat_tell_nothing():
    x, y = np.arange(7.0)[:, None] * np.ones(3), np.arange(7.0)[:, None]
    for repeats in (1, 100):
        model = bars(NUMPY, "gaussian", 1, None)
        data = np.repeat(x, repeats, axis=0), np.repeat(y, repeats, axis=0)
        model.train(data, epochs=1, lr=0.01, progress=False)
        model.calibrate(data)


def test_a_calibration_is_kept_until_the_weights_change(place, tmp_path):
    net, (x, y) = bars(place, "gaussian", 1, None), examples(20, 1)
    net.calibrate((x, y))
    net.save(tmp_path / "net")
    twins = [net.copy(), net.to(dtype="float32"), pickle.loads(pickle.dumps(net))]
    for twin in [*twins, Network.load(tmp_path / "net", **place._asdict())]:
        np.testing.assert_array_equal(twin.calibration, net.calibration)
        np.testing.assert_allclose(array(twin, twin.predict_std(X)), array(net, net.predict_std(X)), rtol=1e-6)
    net.reset_optimizer(Adam())
    assert net.calibration is not None
    changes = [
        lambda net: net.train((x, y), epochs=1, lr=0.0, progress=False),
        lambda net: net.minibatch_update((x, y), 0.1),
        lambda net: setattr(net, "w", net.w),
        lambda net: setattr(net, "scaling", net.scaling),
    ]
    for change in changes:
        twin = net.copy()
        change(twin)
        assert twin.calibration is None
    with pytest.raises(ValueError, match="read-only"):
        net.calibration[0] = 0.0


@pytest.mark.parametrize("rows", [None, np.arange(120).reshape(3, 40)])
def test_an_ensemble_keeps_its_calibration_in_its_members(tmp_path, rows):
    """That out of fold has widths."""
    ensemble, (x, y) = bars(NUMPY, "gaussian", 2, 3), examples(120, 2)
    ensemble.calibrate((x, y), rows=rows)
    before = ensemble.predict(X, return_std=True)
    ensemble[1].calibrate((x, y))
    assert ensemble[0].calibration is None
    np.testing.assert_array_equal(ensemble.predict(X, return_std=True), before)
    ensemble.save(tmp_path / "ensemble")
    twins = ensemble.copy(), Ensemble.of(ensemble), pickle.loads(pickle.dumps(ensemble)), ensemble.to(dtype="float32")
    np.testing.assert_allclose(twins[-1].interval(X), ensemble.interval(X), rtol=1e-4)
    for twin in (*twins[:-1], Ensemble.load(tmp_path / "ensemble")):
        np.testing.assert_array_equal(twin.predict(X, return_std=True), ensemble.predict(X, return_std=True))
        np.testing.assert_array_equal(twin[1].predict_std(X), ensemble[1].predict_std(X))
        assert not np.array_equal(twin[1].calibration, twin.calibration)
    assert Ensemble.of([*ensemble][:2]).calibration is None
    alone = bars(NUMPY, "mse", 2, 1)
    alone[0].calibrate((x, y))
    assert not alone.predict(X, return_std=True)[1].any()  # there is no disagreement
    ensemble[2].train((x, y), epochs=1, progress=False)
    assert ensemble.calibration is None
    assert ensemble[1].calibration is not None


def test_calibration_of_numbers_far_from_0():
    net, (x, y) = bars(NUMPY, "gaussian", 1, None).to(dtype="float32"), examples(20, 1)
    far = net.copy()
    far.scaling = net.scaling._replace(y_mean=net.scaling.y_mean + 1e9)
    net.calibrate((x, y))
    far.calibrate((x, y + 1e9))
    np.testing.assert_allclose(far.calibration, net.calibration, rtol=1e-4)
    np.testing.assert_allclose(far.interval(x)[0] - 1e9, net.interval(x)[0], rtol=1e-4)
    assert far.interval(x)[0].dtype == np.float64


@pytest.mark.not_on(host_cupy.NAME)  # variances and sorting of CuPy need a driver
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize(("cost", "targets"), [("gaussian", 2), ("mse", 1), ("quantile(0.1, 0.5, 0.9)", 1)])
def test_derivatives_of_what_is_predicted_by_central_differences(place, cost, targets, members):
    """Before and after a calibration: of the corrected standard deviations, and of quantiles that cross.

    Out of fold, standard deviations also depend on the predictions.
    """
    model, h = bars(place, cost, targets, members), 1e-5 * np.eye(3)
    net = model if members is None else model[0]
    has_std = "quantile" not in cost

    def check(return_std):
        def predict(x):
            parts = model.predict(x, return_std=True) if return_std else (model.predict(x),)
            return [array(net, part) for part in parts]

        for x in (X, X[0]):
            found = model.predict_jacobian(x, return_std)
            slopes = zip(*[[(b - a) / 2e-5 for a, b in zip(predict(x - e), predict(x + e))] for e in h])
            for part, columns in zip(found if return_std else (found,), slopes, strict=True):
                np.testing.assert_allclose(array(net, part), np.stack(columns, axis=-1), rtol=1e-5, atol=1e-6)

    check(has_std and (members is not None or cost == "gaussian"))
    x, y = examples(20, targets)
    model.calibrate((x, y if has_std else 0.0 * y))  # equal targets make quantiles cross
    check(has_std)
    if has_std and members is not None:
        model.calibrate(examples(300, targets), rows=np.arange(300).reshape(3, 100))
        assert len(np.unique(array(net, model.predict(X, True)[1]).round(9))) > targets
        check(True)
    if not has_std:
        outputs, quantiles = array(net, net.forward(X)), array(net, model.predict(X))
        assert (np.diff(outputs) < 0).any()
        assert (np.diff(quantiles) == 0).any()


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


def test_an_ensemble_with_a_member_twice_has_no_calibration():
    """Its errors are other ones."""
    ensemble = bars(NUMPY, "gaussian", 1, 3)
    ensemble.calibrate(examples(40, 1))
    assert Ensemble.of([*ensemble]).calibration is not None
    assert Ensemble.of([ensemble[1], ensemble[2], ensemble[0]]).calibration is not None
    assert Ensemble.of([ensemble[0], ensemble[0].copy(), ensemble[1]]).calibration is None
    assert ensemble.calibration is not None


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda net, few: net.interval(X, 0.9),
            "level=0.9 needs at least 9 examples for calibrate, and there were 5; giv",
        ),
        (lambda net, few: net.coverage(few, [0.5, 0.9]), "level=0.9 needs at least 9 examples"),
        (lambda net, few: net.interval(X, 1.5), "level=1.5 must be above 0 and below 1; 0.9 is usual"),
        (
            lambda net, few: net.calibrate((few[0][:2], few[1][:2])),
            "calibrate needs at least 3 examples, and there were 2; give more",
        ),
        (
            lambda net, few: quantiles().calibrate(few),
            "level=0.1 needs at least 9 examples for calibrate, and there were",
        ),
        (
            lambda net, few: quantiles().interval(X, 0.9),
            "level=0.9 needs the quantile 0.05, and the network has 0.1, 0.5,",
        ),
        (
            lambda net, few: quantiles().coverage(few, [0.2]),
            "level=0.2 is not one of the levels of the quantiles, 0.1, 0.",
        ),
        (lambda net, few: net.coverage(few, 0.5), r"levels=0.5 must be a list of numbers"),
        (lambda net, few: net.coverage(few, [[0.5], [0.2, 0.9]]), r"level=\[0.5\] must be above 0 and below 1"),
        (lambda net, few: net.coverage(few, []), r"levels=\[\] must be a list of numbers, as in \[0.5"),
        (lambda net, few: quantiles().predict_std(X), 'predict_std needs cost="gaussian"'),
        (
            lambda net, few: quantiles().predict_jacobian(X, return_std=True),
            r'predict_jacobian\(return_std=True\) needs cost="gaussian"',
        ),
        (
            lambda net, few: Ensemble.of([quantiles()]).predict_jacobian(X, return_std=True),
            "return_std=True needs standard deviations, and these networks predict quantiles; predict_jacobian",
        ),
        (lambda net, few: net.predict_jacobian(X, "no"), "return_std='no' must be True or False"),
        (lambda net, few: Network([3, 1]).predict_jacobian(X), "predict_jacobian needs a regression, and the task is"),
        (
            lambda net, few: Network([3, 1], task="regression").interval(X),
            "interval needs error bars, and this network ha",
        ),
        (
            lambda net, few: Ensemble([3, 1], 2, task="regression").interval(X),
            "interval needs error bars, and the spread of these members alone covers far too few targets; call calib",
        ),
        (
            lambda net, few: Network([3, 1], task="regression").coverage(few),
            "coverage needs error bars, and this network",
        ),
        (
            lambda net, few: net.calibrate((few[0], few[1][:3])),
            "X of validation_data has 5 examples and y of validation_d",
        ),
        (
            lambda net, few: Ensemble([3, 1], 1, task="regression").calibrate(few),
            "calibrate divides errors by predicted standard deviations, and some for validation_data are 0, as where a",
        ),
        (
            lambda net, few: exploding(net).calibrate((X * (np.arange(N)[:, None] == 2), Y[:, 0])),
            "calibrate needs finite predictions, and that for row 2 of validation_data, counted from 0, is infinite or",
        ),
    ],
)
def test_what_cannot_be_calibrated_or_covered_is_refused(act, message):
    net, few = bars(NUMPY, "gaussian", 1, None), examples(5, 1)
    net.calibrate(few)
    before = net.calibration
    with pytest.raises(ValueError, match=f"^{message}"):
        act(net, few)
    assert net.calibration is before


def exploding(net):
    """A network whose predictions are infinite, except for the inputs 0."""
    net = Network([3, 1], task="regression", output_activation="exp", cost="poisson", seed=0)
    net.w = [[[1e9, 1e9, 1e9]]]
    net.b = [[0.0]]
    return net


def quantiles():
    return bars(NUMPY, "quantile(0.1, 0.5, 0.9)", 1, None)


@pytest.mark.parametrize(
    ("cost", "remedy", "correct"),
    [
        (
            "gaussian",
            r"multiply its standard deviations by net.predict_std\(x\) divided by them",
            lambda net, x, outputs: net.predict_std(x) / outputs[:, 1],
        ),
        (
            "quantile(0.1, 0.5, 0.9)",
            r"to each of its quantiles, add the amount by which net.predict\(x\) exceeds it",
            lambda net, x, outputs: net.predict(x) - np.sort(outputs),
        ),
        (
            "mse",
            r"add and subtract half of the length of net.interval\(x\)",
            lambda net, x, outputs: (np.subtract(*net.interval(x)) / 2, outputs[:, 0] - np.mean(net.interval(x), 0)),
        ),
    ],
)
def test_what_is_exported_is_not_calibrated_and_says_how_to_correct_it(cost, remedy, correct):
    """The correction does not depend on x; `forward` is what is exported, except that quantiles are sorted there."""
    net = bars(NUMPY, cost, 1, None)
    net.calibrate(examples(49, 1))
    message = "the network is calibrated, and what is exported is not: it predicts as before calibrate"
    with pytest.warns(UserWarning, match=f"^{message}; {remedy}, which is the same for every x$"):
        make_page(net)
    x, _ = examples(9, 1, seed=1)
    corrections = np.asarray(correct(net, x, net.forward(x)))
    rows = corrections.T if cost == "mse" else corrections
    np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), atol=1e-9)
    assert np.abs(rows[0]).max() > 0.1


def test_exported_standard_deviations_of_an_ensemble_are_not_calibrated_and_its_mean_needs_no_warning():
    message = r"; the calibrated standard deviations are those of net.predict\(x, return_std=True\)$"
    for cost in ("gaussian", "mse"):
        ensemble = bars(NUMPY, cost, 1, 2)
        ensemble.calibrate(examples(49, 1))
        with pytest.warns(UserWarning, match=message) if cost == "gaussian" else nullcontext():
            make_page(ensemble)


# Out of fold: each member predicts the examples that it has not learnt from


def test_an_ensemble_that_predicts_a_constant_is_calibrated_out_of_fold_and_loads(tmp_path):
    """Knots of widths lie at the same prediction then, but for rounding."""
    for bias in (0.1, 0.3, 0.7):
        ensemble = Ensemble([1, 1], members=2, task="regression", dtype="float64", seed=0)
        for net in ensemble:
            net.layers = [([[0.0]], [bias])]
        x, y = np.random.default_rng(0).normal(size=(2, 400, 1))
        ensemble.calibrate((x, y), [range(200), range(200, 400)])
        ensemble.save(tmp_path / "ensemble")
        again = Ensemble.load(tmp_path / "ensemble")
        np.testing.assert_array_equal(again.interval(x[:2]), ensemble.interval(x[:2]))


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("cost", ["gaussian", "mse", "quantile(0.1, 0.5, 0.9)"])
def test_intervals_end_at_errors_out_of_fold(place, cost, targets):
    """Those of the members that have not seen an example, less what the mean of all three is better; see below.

    49 examples have one width. The last of 50 is in no rows.
    """
    model, (x, y), (new, _) = bars(place, cost, targets, 3), examples(50, targets), examples(5, targets, 1)
    rows = [range(20), np.arange(15, 35), [*range(35, 49), 40]]
    unseen = np.array([np.isin(np.arange(49), part) for part in rows])

    def predict(net, x):
        mean = array(net, net.predict(x)).reshape(len(x), targets, -1)
        return mean, array(net, net.predict_std(x)).reshape(len(x), targets) if cost == "gaussian" else mean[..., 0]

    means, stds = (np.array(part) for part in zip(*(predict(net, x[:49]) for net in model)))
    before = array(model, model.predict(new)).reshape(5, targets, -1)
    spread = array(model, model.predict(new, True)[1]).reshape(5, targets, -1)
    model.calibrate((x, y), rows=rows)
    n, found = unseen.sum(axis=0)[:, None], np.array([array(model, end) for end in model.interval(new, 0.8)])
    predicted = np.where(unseen[..., None, None], means, 0).sum(axis=0) / n[..., None]
    if cost.startswith("quantile"):
        errors = np.sort(y[:49, :, None] - predicted, axis=0)
        edges = before[..., 0] + errors[4, :, 0], before[..., -1] + errors[44, :, -1]
        np.testing.assert_allclose(found, np.reshape(edges, found.shape), rtol=1e-9)
        return
    seen = np.ma.masked_array(means[..., 0], np.broadcast_to(unseen[..., None], means[..., 0].shape))
    variance = np.where(n == 1, seen.var(axis=0, ddof=1).filled(0.0), 0.0)
    noise = np.where(unseen[..., None], stds**2, 0).sum(axis=0) / n if cost == "gaussian" else 1.0
    std = np.sqrt(noise + variance) if cost == "gaussian" else np.ones((49, targets))
    errors = np.abs(y[:49] - predicted[..., 0]) / std
    gain = (1 / n - 1 / 3) * variance * 49 / (49 + 1000)  # of few examples, a small part counts
    part = (gain / std**2).mean(axis=0) / (errors**2).mean(axis=0)
    units = np.sort(errors, axis=0) * np.sqrt(1 - part)
    unit = spread[..., 0] if cost == "gaussian" else 1.0
    edges = before[..., 0] - units[39] * unit, before[..., 0] + units[39] * unit
    np.testing.assert_allclose(found, np.reshape(edges, found.shape), rtol=1e-9)
    after = array(model, model.predict(new, return_std=True)[1]).reshape(5, targets)
    np.testing.assert_allclose(after, np.broadcast_to(units[34] * unit, (5, targets)), rtol=1e-9)


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
    model.train((x, y), 60, 20, 0.01, optimizer=Adam(), validation_rows=folds, progress=False)
    model.calibrate((x, y), rows=folds)
    for row in model.coverage((new, truth)).rows:
        assert abs(row["measured"] - row["nominal"]) < 3 * row["standard_error"]
    for part in (low, ~low):
        (row,) = model.coverage((new[part], truth[part]), [0.9]).rows
        assert 0.84 < row["measured"] < 0.95
    lengths = np.subtract(*model.interval(new, 0.9)[::-1])
    assert lengths[~low].mean() > 1.8 * lengths[low].mean()
    assert model.measure((new, truth), metrics=["rmse"])["rmse"] > 0


# Probabilities, and their calibration


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


@pytest.mark.on("jax")
@pytest.mark.parametrize("task", ["classification", "binary", "multilabel"])
@pytest.mark.parametrize("factor", [0.5, 6.0])
def test_the_temperature_makes_the_log_loss_least(place, task, factor):
    w, x, y = noisy_classes(task, factor)
    net, z = classifier(place, task, w), x @ w.T
    outputs, classes, cost = array(net, net.forward(x)), array(net, net.predict(x)), net.cost((x, y))
    net.calibrate((x, y))
    assert net.temperature == pytest.approx(best_temperature(y, task, lambda t: probabilities(z, task, t)), rel=1e-3)
    assert net.temperature == pytest.approx(factor, rel=0.2)
    p = array(net, net.predict_proba(x))
    np.testing.assert_allclose(p, probabilities(z, task, net.temperature), rtol=1e-9)
    np.testing.assert_allclose(array(net, net.predict_proba(x[0])), p[0], rtol=1e-9)
    np.testing.assert_array_equal(array(net, net.predict(x)), classes)
    np.testing.assert_array_equal(array(net, net.forward(x)), outputs)
    assert net.cost((x, y)) == cost
    if task != "multilabel":
        scores = net.measure((x, y), metrics=["log_loss", "accuracy"])
        assert (scores["cost"], scores["log_loss"]) == pytest.approx((cost, log_loss(y, p)), rel=1e-9)
        assert scores["accuracy"] == net.accuracy((x, y)) == np.mean(classes == y)


def test_examples_are_calibrated_before_they_are_scaled(place):
    """A network that standardizes keeps them in float64, on the host."""
    _, x, y = noisy_classes("classification", 1.0)
    net = Network([2, 3], task="classification", standardize=True, seed=0, **place._asdict())
    net.train((x, y), epochs=1, progress=False)
    new = x + 0.01
    z = np.log(array(net, net.forward(new)))
    net.calibrate((new, y))
    expected = best_temperature(y, "classification", lambda t: probabilities(z, "classification", t))
    assert net.temperature == pytest.approx(expected, rel=1e-2)


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
    np.testing.assert_array_equal(array(net, net.predict_proba(far)).argmax(axis=1), [0, 1])
    assert np.isfinite(net.measure((far, [1, 0]), metrics=["log_loss"])["log_loss"])


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
@pytest.mark.parametrize("task", ["classification", "binary"])
def test_members_are_calibrated_by_the_rows_that_they_have_not_learnt_from(place, task):
    """A row that two members have not seen is predicted by the geometric mean of both; the last rows are left out."""
    w, x, y = noisy_classes(task, 6.0)
    ensemble = Ensemble.of([classifier(place, task, k * w) for k in (0.5, 1.0, 2.0)])
    rows = [[*range(100), 100, 100], range(50, 180), np.arange(180, 280)]
    ensemble.calibrate((x, y), rows=rows)

    def predict(temperature):
        z = [k * (x @ w.T) for k in (0.5, 1.0, 2.0)]
        z = np.concatenate([z[0][:50], (z[0][50:101] + z[1][50:101]) / 2, z[1][101:180], z[2][180:280]])
        return probabilities(z, task, temperature)

    assert ensemble.temperature == pytest.approx(best_temperature(y[:280], task, predict), rel=1e-3)
    p = probabilities(np.mean([0.5, 1.0, 2.0]) * (x @ w.T), task, ensemble.temperature)
    host = ensemble.backend.to_numpy
    np.testing.assert_allclose(host(ensemble.predict_proba(x)), p, rtol=1e-9)
    chosen = p.argmax(axis=1) if task == "classification" else (p > 0.5)[:, 0]
    np.testing.assert_array_equal(host(ensemble.predict(x)), chosen)
    scores = ensemble.measure((x, y), metrics=["log_loss", "accuracy"])
    assert (scores["log_loss"], scores["accuracy"]) == pytest.approx((log_loss(y, p), np.mean(chosen == y)))
    assert ensemble.accuracy((x, y)) == scores["accuracy"]
    assert ensemble[0].temperature is None


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
def test_a_probability_that_rounds_to_1_does_not_outweigh_others(place):
    """In float32, the output for z = 20 is 1, and counts as one for z = 17.3; the mean of 17.3 and −23 is −2.8."""
    members = [classifier(place, "binary", np.array([[z, 0.0]])).to(dtype="float32") for z in (20.0, -23.0)]
    ensemble, x = Ensemble.of(members), np.array([[1.0, 0.0]] * 11)
    ensemble.calibrate((x, [1, 1] + [0] * 9))  # odds of 2 : 9, those of z = −1.5
    assert ensemble.temperature == pytest.approx(1, rel=0.01)
    assert 0.05 < float(ensemble.predict_proba(x)[0, 0]) < 0.5


def test_without_rows_it_is_the_geometric_mean_of_all_members_that_is_calibrated():
    w, x, y = noisy_classes("classification", 6.0)
    ensemble = Ensemble.of([classifier(NUMPY, "classification", k * w) for k in (0.5, 2.0)])
    ensemble[0].calibrate((x, y))  # which does not count
    ensemble.calibrate((x, y))
    best = best_temperature(y, "classification", lambda t: softmax(np.mean([0.5, 2.0]) * (x @ w.T) / t, axis=1))
    assert ensemble.temperature == pytest.approx(best, rel=1e-3)


@pytest.mark.not_on(host_cupy.NAME)  # variances of CuPy need a driver
def test_a_temperature_is_kept_until_the_weights_change(place, tmp_path):
    w, x, y = noisy_classes("classification", 6.0)
    net = classifier(place, "classification", w)
    ensemble = Ensemble.of([net, classifier(place, "classification", 2 * w)])
    net.calibrate((x, y))
    ensemble.calibrate((x, y))
    for model in (net, ensemble):
        model.save(tmp_path / "model")
        twins = [model.copy(), model.to(dtype="float32"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
        for twin in [*twins, type(model).load(tmp_path / "model", **place._asdict())]:
            assert twin.temperature == model.temperature
            p = [array(net, part.predict_proba(x)) for part in (twin, model)]
            np.testing.assert_allclose(*p, rtol=1e-4, atol=1e-6)
    assert Ensemble.of([*ensemble]).temperature == ensemble.temperature
    net.train((x, y), epochs=1, lr=0.0, progress=False)
    ensemble[1].w = ensemble[1].w
    assert net.temperature is None
    assert ensemble.temperature is None


def test_only_rows_keep_calibrate_from_warning_of_training_data():
    """Which all members have learnt from, or each from half of it."""
    w, x, y = noisy_classes("classification", 1.0)
    ensemble = Ensemble.of([classifier(NUMPY, "classification", w)] * 2)
    folds = [np.arange(0, 300, 2), np.arange(1, 300, 2)]
    ensemble.train((x, y), epochs=1, lr=0.01, validation_rows=folds, progress=False)
    ensemble.calibrate((x, y), rows=folds)
    consequence = "probabilities of those are too sure to correct others"
    with pytest.warns(UserWarning, match=ON_TRAINED.format(50, "validation_data") + consequence + REMEDY):
        ensemble.calibrate((x, y))


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


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda net, x, y: Network([2, 3], output_activation="tanh", seed=0).calibrate((x, y)),
            "calibrate needs probabilities that add up to 1, and the output activation is 'tanh'; make a network",
        ),
        (
            lambda net, x, y: classifier(NUMPY, "classification", 1e308 * np.ones((3, 2))).calibrate((x * 2, y)),
            "calibrate needs finite predictions, and that for row . of validation_data",
        ),
        (
            lambda net, x, y: Ensemble.of([net]).calibrate((x, y), rows=[[]]),
            r"rows\[0\] is empty; give each member at least one row",
        ),
        (
            lambda net, x, y: Ensemble.of([net]).calibrate((x, y), rows=[[300]]),
            r"rows\[0\] goes from 300 to 300, but validation_data has 300 rows",
        ),
        (
            lambda net, x, y: Ensemble.of([net]).calibrate(Batches(x, y, 50), rows=[[0]]),
            "rows needs the number of examples beforehand; give validation_data as arrays",
        ),
        (lambda net, x, y: net.interval(x), "interval needs a regression, and the task is 'classification'"),
    ],
)
def test_what_has_no_temperature_is_refused(act, message):
    w, x, y = noisy_classes("classification", 1.0)
    with pytest.raises(ValueError, match=f"^{message}"):
        act(classifier(NUMPY, "classification", w), x, y)
