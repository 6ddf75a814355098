"""check_gradients: right gradients pass, and wrong ones are found."""

import numpy as np
import pytest
from helpers import assert_same, make, snapshot

from xpnet import ArgumentError, Network, check_gradients

# test_trainings.py and test_backends.py see what JAX may do otherwise
pytestmark = pytest.mark.not_on("jax")

X = np.random.default_rng(0).standard_normal((4, 3))
LABELS = np.array([0, 1, 1, 0])
RIGHT = Network.backward


def spoil(monkeypatch, at, factor, layer=0):
    """Multiply derivatives with respect to weights of a layer."""

    def backward(self, x, y):
        layers = RIGHT(self, x, y)
        layers[layer].w[at] *= factor
        return layers

    monkeypatch.setattr(Network, "backward", backward)


@pytest.mark.parametrize(("output", "cost"), [("softmax", "cross_entropy"), ("sigmoid", "quadratic")])
def test_right_gradients_pass_and_change_nothing(place, dtype, output, cost):
    net = make(place, [3, 4, 5, 2], "tanh", output, cost, dtype=dtype, seed=1)
    before = snapshot(net)
    check = check_gradients(net, X, LABELS, most=None)
    assert check.passed
    assert check.error < 1e-6
    assert_same(net, before)
    assert [(row["layer"], row["parameter"]) for row in check.rows] == [(l, p) for l in (1, 2, 3) for p in "wb"]
    assert [row["of"] for row in check.rows] == [12, 4, 20, 5, 10, 2]
    assert all(row["checked"] == row["of"] for row in check.rows)
    assert repr(check).splitlines()[-1].startswith("passed: ")


def test_a_single_example_and_a_sample_of_the_parameters(place):
    net = make(place, [3, 4, 2], "tanh", "softmax", "cross_entropy", seed=1)
    check = check_gradients(net, X[0], 1, most=3)
    assert check.passed
    assert [row["checked"] for row in check.rows] == [3, 3, 3, 2]
    for layer, row in zip(net.backward(X[0], 1), check.rows[::2]):
        assert float(layer.w[row["at"]]) == pytest.approx(row["backward"], rel=1e-4)
    other = check_gradients(net, X[0], [0.0, 1.0], most=3, seed=1)
    assert [row["at"] for row in check.rows] != [row["at"] for row in other.rows]


def test_standardized_and_dropping_networks_are_checked_as_they_are_used(place):
    net = Network(
        [3, 4, 2], task="regression", activation="tanh", standardize=True, dropout=0.5, seed=1, **place._asdict()
    )
    y = 100 + 50 * X[:, :2]
    net.train((10 * X, y), epochs=1, progress=False)
    assert check_gradients(net, 10 * X, y).passed


def test_a_wrong_derivative_is_found_beside_much_larger_ones(monkeypatch):
    """Derivatives by the weights of an input that is a millionth of the others, twice as large as they should be."""
    net, x = Network([3, 4, 2], activation="tanh", seed=0), X * [1, 1, 1e-6]
    assert check_gradients(net, x, LABELS, most=None).passed
    spoil(monkeypatch, np.s_[:, 2], 2)
    check = check_gradients(net, x, LABELS, most=None)
    assert [row["error"] <= check.tolerance for row in check.rows] == [False, True, True, True]
    assert check.rows[0]["at"][1] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"most": 0}, "most=0 must be a whole number of at least 1"),
        ({"step": 0.0}, r"step=0\.0 must be a finite number above 0"),
        ({"tolerance": -1}, "tolerance=-1 must be a finite number above 0"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        check_gradients(Network([3, 2]), X, LABELS, **options)


def test_a_relative_error_of_1e_4_in_any_weight_is_found(monkeypatch):
    net = Network([3, 4, 2], activation="tanh", task="classification", seed=1)
    for at in np.ndindex(4, 3):
        spoil(monkeypatch, at, 1 + 1e-4)
        check = check_gradients(net, X, LABELS, most=None)
        assert (check.passed, check.rows[0]["at"]) == (False, at)
        assert str(at) in repr(check)
    spoil(monkeypatch, 0, np.nan, layer=1)
    assert not check_gradients(net, X, LABELS).passed


def minimum():
    """A line through points around another one, with the weights of the least squares, and the points."""
    net = Network([1, 1], task="regression", dtype="float64")
    x = np.linspace(-1, 1, 20)
    slope, offset = np.polyfit(x, 1000 + np.sin(3 * x), 1)
    net.layers = [([[slope]], [offset])]
    return net, x[:, None], 1000 + np.sin(3 * x)


def test_a_right_gradient_passes_at_a_minimum_and_says_nothing():
    verdict = "passed, though all derivatives are 0 but for rounding, which says nothing: "
    zeros = Network([2, 3, 1], task="regression", dtype="float64", init="zeros", seed=0), [[0.0, 0.0]], [[0.0]]
    net = Network([3, 3, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    for case in (minimum(), zeros, (net, X, net.predict(X))):  # in the last, all errors are exactly 0
        assert repr(check_gradients(*case)).splitlines()[-1].startswith(verdict)


def test_the_verdict_says_which_errors_the_rounding_of_the_cost_hides(monkeypatch):
    net = Network([3, 4, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    spoil(monkeypatch, np.s_[:], 1 + 1e-4)
    assert not check_gradients(net, X, LABELS).passed
    check = check_gradients(net, X, 1e9 + LABELS)
    hidden = f"passed, though the rounding of the cost hides errors of up to {check.rounding:.1g}: "
    assert check.passed == repr(check).splitlines()[-1].startswith(hidden)
    assert check.passed


def sure(z):
    """A network whose cost is a small difference."""
    net = Network([1, 1], task="binary", dtype="float64", seed=0)
    net.layers = [([[z]], [0.0])]
    return net, [[1.0], [1.03]], [1, 1]


def certain():
    """A network whose cost is 0."""
    net = Network([1, 2], task="classification", dtype="float64", seed=0)
    net.layers = [([[1.0], [-1.0]], [0.0, 0.0])]
    return net, [[35.0], [36.0]], [0, 0]


def curved():
    """A cost that curves strongly: within a step of 1e-5, D(h) is wrong by about h² x² / 6 = 1e-3."""
    net = Network([1, 3, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    net.w = [0.01 * w for w in net.w]
    return net, [[3000.0], [-5000.0]], [1.0, 2.0]


def rounded():
    """A cost of which the rounding of outputs is most."""
    options = {"activation": "softmax", "output_activation": "sigmoid", "task": "regression", "dtype": "float64"}
    net = Network([1, 7, 1], **options, seed=290)
    net.layers = [(0.1 * w, 0.001 * b) for w, b in net.layers]
    return net, [[0.5], [1.0]], [0.5, 0.5]


@pytest.mark.parametrize("case", [curved(), rounded(), certain(), *map(sure, (10.0, 12.5, 13.0, 14.5))])
def test_right_gradients_pass_where_numbers_are_difficult(case):
    assert check_gradients(*case).passed


def test_a_cost_that_is_not_finite_is_refused():
    net = Network([1, 1], task="regression", output_activation="exp", cost="poisson", seed=0)
    with pytest.raises(ArgumentError, match="the cost of the batch is inf"):
        check_gradients(net, [[1e6], [-1e6]], [1, 1])
