"""Every kind of problem, end to end, on real data that scikit-learn ships, standardized by the network itself."""

import numpy as np
import pytest

from xpnet import SGD, Cosine, Network, OneCycle

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


def properties_of_digits():
    """Three of a handwritten digit: it is even, it is above 4, it has a closed loop."""
    x, digit = datasets.load_digits(return_X_y=True)
    return x, np.stack([digit % 2 == 0, digit > 4, np.isin(digit, (0, 6, 8, 9))], axis=1).astype(int)


@pytest.mark.parametrize(
    ("load", "hidden", "activation", "task", "training", "least"),
    [
        # 1,797 images of 8 × 8 pixels; scikit-learn's MLPClassifier reaches about 97 %
        (lambda: datasets.load_digits(return_X_y=True), 64, "relu", "classification", (10, 32, OneCycle(0.1)), 0.95),
        # 569 examples of 30 features between 0.0001 and 4,000: nothing is learnt from them unless they are scaled
        (
            lambda: datasets.load_breast_cancer(return_X_y=True),
            *(16, "tanh", "binary", (20, 16, Cosine(0.1, warmup=0.1)), 0.93),
        ),
        (properties_of_digits, 64, "relu", "multilabel", (10, 32, OneCycle(0.05)), 0.9),  # all three right
    ],
    ids=["digits", "breast cancer", "properties of digits"],
)
def test_classes_and_labels(load, hidden, activation, task, training, least):
    train, test = halves(*load())
    n_out = {"classification": 10, "binary": 1, "multilabel": 3}[task]
    net = Network([train[0].shape[1], hidden, n_out], activation=activation, task=task, standardize=True, seed=0)
    options = {"validation_data": test, "metrics": ["accuracy", *(["top_3"] if n_out == 10 else [])]}
    history = net.train(train, *training, optimizer=SGD(momentum=0.9), progress=False, **options)
    assert history["validation_accuracy"][-1] == net.accuracy(test) >= least
    p = host(net, net.predict_proba(test[0]))
    if task == "classification":
        assert history["validation_top_3"][-1] >= 0.99
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-5)
    labels = {"classification": p.argmax(axis=1), "binary": p[:, 0] > 0.5, "multilabel": p > 0.5}[task]
    np.testing.assert_array_equal(host(net, net.predict(test[0])), labels)


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
    x = np.random.default_rng(0).normal([5, -100, 0.01], [1, 50, 1e-4], (40, 3))
    net = Network([3, 4, 2], standardize=True, **options, **place._asdict())
    net.train((x, np.eye(2)[np.arange(40) % 2]), epochs=1, lr=1e-3, progress=False)
    assert (net.scaling.y_mean is not None) == scaled


def test_standardize_is_a_truth_value():
    with pytest.raises(ValueError, match="standardize='yes' must be True or False"):
        Network([3, 2], standardize="yes")
