"""Every kind of problem, end to end, on real data that scikit-learn ships, standardized by the network itself."""

import numpy as np
import pytest
from helpers import Batches, Items, assert_same, snapshot
from test_backprop import make

from xpnet import SGD, Adam, Cosine, Network, OneCycle
from xpnet.core.scaling import Moments, merge_moments, moments
from xpnet.data.sampling import split_rows

# JAX compiles programs for each of these tests, so that only what a library could get wrong alone runs there
pytestmark = pytest.mark.not_on("torch", "jax")

datasets = pytest.importorskip("sklearn.datasets")
LinearRegression = pytest.importorskip("sklearn.linear_model").LinearRegression


def halves(x, y, seed=0):
    """Training and test examples, four to one."""
    order = np.random.default_rng(seed).permutation(len(x))
    cut = 4 * len(x) // 5
    return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])


def host(net, x):
    return np.array(net.backend.to_numpy(x))


def test_several_classes_digits():
    """1,797 images of 8 × 8 pixels; scikit-learn's MLPClassifier reaches about 97 %."""
    train, test = halves(*datasets.load_digits(return_X_y=True))
    net = Network([64, 64, 10], activation="relu", task="classification", standardize=True, seed=0)
    options = {"optimizer": SGD(momentum=0.9), "validation_data": test, "metrics": ["accuracy", "top_3"]}
    history = net.train(train, 10, 32, OneCycle(0.1), progress=False, **options)
    assert history["validation_accuracy"][-1] == net.accuracy(test) >= 0.95
    assert history["validation_top_3"][-1] >= 0.99
    assert host(net, net.predict(test[0])).shape == (len(test[0]),)
    np.testing.assert_allclose(host(net, net.predict_proba(test[0])).sum(axis=1), 1.0, rtol=1e-5)


def test_two_classes_with_one_output_breast_cancer():
    """569 examples of 30 features between 0.0001 and 4,000: nothing is learnt from them unless they are scaled."""
    train, test = halves(*datasets.load_breast_cancer(return_X_y=True))
    net = Network([30, 16, 1], activation="tanh", task="binary", standardize=True, seed=0)
    net.train(train, 20, 16, Cosine(0.1, warmup=0.1), optimizer=SGD(momentum=0.9), progress=False)
    assert net.accuracy(test) >= 0.93
    found = host(net, net.predict(test[0]))
    assert set(found.tolist()) == {0, 1}
    assert found.shape == (len(test[0]),)
    np.testing.assert_array_equal(found, host(net, net.predict_proba(test[0]))[:, 0] > 0.5)


def test_several_labels_an_example():
    """Three properties of a handwritten digit: it is even, it is above 4, it has a closed loop."""
    x, digit = datasets.load_digits(return_X_y=True)
    y = np.stack([digit % 2 == 0, digit > 4, np.isin(digit, (0, 6, 8, 9))], axis=1).astype(int)
    train, test = halves(x, y)
    net = Network([64, 64, 3], activation="relu", task="multilabel", standardize=True, seed=0)
    net.train(train, 10, 32, OneCycle(0.05), optimizer=SGD(momentum=0.9), progress=False)
    assert net.accuracy(test) >= 0.9  # all three right
    assert host(net, net.predict(test[0])).shape == (len(test[0]), 3)


def test_regression_with_one_output_diabetes():
    """442 patients, targets from 25 to 346: a small network predicts them at least as well as a linear regression."""
    train, test = halves(*datasets.load_diabetes(return_X_y=True, scaled=False))
    net = Network([10, 16, 1], activation="tanh", task="regression", standardize=True, seed=0)
    options = {"validation_data": test, "metrics": ["r2", "mean_absolute_error"]}
    sgd = SGD(momentum=0.9, weight_decay=0.1)
    history = net.train(train, 30, 32, OneCycle(0.02), optimizer=sgd, progress=False, **options)
    assert history["validation_r2"][-1] >= LinearRegression().fit(*train).score(*test)  # 0.346
    assert 25 <= history["validation_mean_absolute_error"][-1] <= 55  # in the targets' own units
    predicted = host(net, net.predict(test[0]))
    assert predicted.shape == test[1].shape
    assert abs(predicted.mean() - train[1].mean()) < 20


def test_regression_with_several_outputs_linnerud():
    """20 men, three exercises and three measures of the body: more weights than numbers, so they are memorised."""
    x, y = datasets.load_linnerud(return_X_y=True)
    net = Network([3, 32, 3], activation="tanh", task="regression", standardize=True, seed=0)
    history = net.train((x, y), 300, 20, 0.02, optimizer=Adam(), training_metrics=["r2"], progress=False)
    assert history["training_r2"][-1] >= 0.95
    np.testing.assert_allclose(host(net, net.predict(x)).mean(axis=0), y.mean(axis=0), rtol=0.02)


def test_counts_poisson():
    """Counts whose logarithm is linear in the inputs: the exp output with the Poisson cost finds the coefficients."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 2))
    y = rng.poisson(np.exp(1.0 + x @ [0.5, -0.8]))
    net = Network([2, 1], task="regression", cost="poisson", seed=0, dtype="float64")
    assert net.output_activation == "exp"
    net.train((x, y), 30, 100, OneCycle(0.1), optimizer=SGD(momentum=0.9), progress=False)
    np.testing.assert_allclose(host(net, net.w[0]), [[0.5, -0.8]], atol=0.1)
    np.testing.assert_allclose(host(net, net.b[0]), [1.0], atol=0.1)


# Standardization


def features(seed=0, n=40):
    rng = np.random.default_rng(seed)
    x = rng.normal([5, -100, 0.01], [1, 50, 1e-4], (n, 3))
    return x, rng.normal([300, -2], [40, 0.1], (n, 2))


def test_scaling_is_that_of_the_training_data(place):
    x, y = features()
    net = Network([3, 4, 2], task="regression", standardize=True, dtype="float64", **place._asdict())
    assert net.scaling is None
    net.train((x, y), epochs=1, progress=False)
    for found, expected in zip(net.scaling, (x.mean(0), x.std(0), y.mean(0), y.std(0)), strict=True):
        assert (type(found), found.dtype, found.flags.writeable) == (np.ndarray, np.float64, False)
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_a_standardized_network_equals_one_trained_on_standardized_data(place):
    """Same seed, same minibatches: the same weights, and outputs that differ by the scaling only."""
    x, y = features()
    inside = Network([3, 4, 2], task="regression", standardize=True, dtype="float64", seed=0, **place._asdict())
    by_hand = Network([3, 4, 2], task="regression", dtype="float64", seed=0, **place._asdict())
    scaled = (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0)
    for net, data in ((inside, (x, y)), (by_hand, scaled)):
        net.train(data, epochs=3, batch_size=8, lr=0.1, progress=False)
    for ours, theirs in zip(inside.w, by_hand.w, strict=True):
        np.testing.assert_allclose(host(inside, ours), host(by_hand, theirs), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        host(inside, inside.predict(x)), host(by_hand, by_hand.predict(scaled[0])) * y.std(0) + y.mean(0), rtol=1e-9
    )
    assert inside.cost((x, y)) == pytest.approx(by_hand.cost(scaled), rel=1e-9)
    assert inside.history["cost"] == pytest.approx(by_hand.history["cost"], rel=1e-9)


def test_scaling_is_learnt_once_and_from_the_part_that_is_trained_on(place):
    x, y = features(n=50)
    net = Network([3, 4, 2], task="regression", standardize=True, dtype="float64", seed=0, **place._asdict())
    net.train((x, y), epochs=1, validation_split=0.2, progress=False)
    learnt = net.scaling
    assert not np.allclose(learnt[0][0], x.mean(0), rtol=1e-6)
    index, _ = split_rows(50, 0.2, np.random.default_rng(net.seeds.split))
    np.testing.assert_allclose(learnt[0][0], x[index].mean(0), rtol=1e-12)
    net.train((2 * x, y), epochs=1, progress=False)
    for now, then in zip(net.scaling, learnt, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_column_that_is_the_same_everywhere_is_only_shifted(place, dtype):
    x, y = features()
    x[:, 1] = 0.1
    net = Network([3, 4, 2], task="regression", standardize=True, dtype=dtype, **place._asdict())
    net.train((x, y), epochs=1, progress=False)
    assert net.scaling.x_std[0, 1] == 1
    np.testing.assert_allclose(host(net, net.activations(x)[0])[:, 1], 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "scaled"),
    [
        ({"task": "regression"}, True),
        ({"task": "regression", "cost": "huber"}, True),
        ({"task": "regression", "cost": "poisson"}, False),  # counts stay counts
        ({"task": "regression", "output_activation": "softplus"}, False),
        ({"task": "multilabel"}, False),
        ({"task": "classification"}, False),
    ],
    ids=str,
)
def test_targets_are_scaled_where_the_output_can_be_any_number(place, options, scaled):
    x, y = features()[0], np.eye(2)[np.arange(40) % 2]
    net = Network([3, 4, 2], standardize=True, **options, **place._asdict())
    net.train((x, y), epochs=1, lr=1e-3, progress=False)
    assert (net.scaling.y_mean is not None) == scaled


def test_scaling_from_any_source_that_can_be_gone_through_again(place):
    x, y = features()
    expected = None
    for source, options in (
        ((x, y), {}),
        (list(zip(x, y, strict=True)), {}),
        (Items(x, y), {"cache": False}),
        (Batches(x, y, 16), {}),
    ):
        net = Network([3, 2], task="regression", standardize=True, dtype="float64", seed=0, **place._asdict())
        net.train(source, epochs=2, progress=False, **options)
        found = net.scaling
        expected = expected or found
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    net = Network([3, 2], task="regression", standardize=True, **place._asdict())
    before = snapshot(net)
    for once, options in ((iter([(x, y)]), {"epochs": 1}), (Batches(x, y, 16), {"epochs": 1, "steps": 2})):
        with pytest.raises(ValueError, match=r"standardize=True iterates over the training data besides.*only once"):
            net.train(once, progress=False, **options)
    assert net.scaling is None
    assert_same(net, before)


def test_nothing_is_learnt_where_training_is_refused(place):
    x, y = features()
    net = Network([3, 2], task="regression", standardize=True, **place._asdict())
    with pytest.raises(ValueError, match="validation_data"):
        net.train((x, y), validation_data=(x, y[:5]), progress=False)
    assert net.scaling is None


def test_scaling_goes_along_in_copies_and_in_the_file(place, tmp_path):
    x, y = features()
    net = Network([3, 4, 2], task="regression", standardize=True, seed=0, **place._asdict())
    net.train((x, y), epochs=1, progress=False)
    expected = host(net, net.predict(x))
    net.save(tmp_path / "net")
    for other in (net.copy(), net.to("numpy"), Network.load(tmp_path / "net"), net.to(dtype="float64")):
        np.testing.assert_allclose(host(other, other.predict(x)), expected, rtol=1e-5)
        assert other.standardize
    assert "standardize=True" in repr(net)


def test_standardize_is_a_truth_value():
    with pytest.raises(ValueError, match="standardize='yes' must be True or False"):
        Network([3, 2], standardize="yes")


def test_moments_of_blocks_are_those_of_the_whole():
    """Merged in float64, they keep their digits where the mean is far larger than the deviation."""
    x = np.random.default_rng(0).normal([1e4, 0], [1e-2, 1], (1000, 2))
    whole = merge_moments([moments(part, np) for part in np.array_split(x, 7)])
    np.testing.assert_allclose(whole.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(whole.squares / len(x), x.var(0), rtol=1e-9)
    assert isinstance(whole, Moments)
    assert (whole.low == x.min(0)).all()
    assert (whole.high == x.max(0)).all()


@pytest.mark.on("torch", "jax")
def test_dtype_of_a_copy(place):
    net = make(place, [3, 4, 2], "tanh", "softmax", "cross_entropy", dtype="float32", seed=1)
    twin = net.to(dtype="float64")
    assert (twin.dtype, net.dtype) == ("float64", "float32")
    assert str(twin.w[0].dtype).endswith("float64")
    assert twin.backend.name == net.backend.name
    np.testing.assert_array_equal(host(twin, twin.w[0]), host(net, net.w[0]).astype(float))
