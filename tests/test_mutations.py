"""Mistakes in the four equations: which checks find them, and that nothing else is changed by them."""

import inspect
import pickle
import re
import sys

import numpy as np
import pytest

from xpnet import Network, check_gradients
from xpnet.core import backprop
from xpnet.data.sampling import shuffle
from xpnet.learn import _mutations as mutations
from xpnet.learn._mutations import MISTAKES, RIGHT, Comparison, Mistake, break_equation

# test_trainings.py and test_backends.py see what JAX may do otherwise
pytestmark = pytest.mark.not_on("jax")

# The parameters whose gradients are wrong with a mistake, which tell the equations apart
WRONG = {
    "BP3 and BP4": {(l, p) for l in (1, 2, 3) for p in "wb"},
    "BP1": {(1, "w"), (1, "b"), (2, "w"), (2, "b"), (3, "w"), (3, "b")},
    "BP2": {(1, "w"), (1, "b"), (2, "w"), (2, "b")},
    "BP3": {(1, "b"), (2, "b"), (3, "b")},
    "BP4": {(1, "w"), (2, "w"), (3, "w")},
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def make_network(equations, **options):
    net = mutations._BrokenNetwork([6, 5, 4, 3], seed=2, **options)
    net.equations = equations
    return net


def make_batch(rng, n=7):
    return rng.normal(size=(n, 6)), rng.integers(3, size=n)


@pytest.mark.parametrize("cost", ["quadratic", "cross_entropy"])
def test_the_right_equations_are_those_of_the_core(backend, rng, cost):
    net = make_network(RIGHT, backend=backend, cost=cost)
    x, y = make_batch(rng)
    for gradient, in_core in zip(net.backward(x, y), Network.backward(net, x, y), strict=True):
        for part, part_in_core in zip(gradient, in_core, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(part), backend.to_numpy(part_in_core))


# Mistakes that give other shapes, or an error, and those that fit in a network of any widths
SHAPELESS = ["BP2-transposed", "BP2-layer", "BP2-z-layer", "BP3-axis", "BP3-all", "BP3-unsummed", "BP4-transposed"]
SHAPELESS.append("BP4-layer")
FITTING = [name for name in MISTAKES if name not in SHAPELESS]


@pytest.mark.parametrize("name", FITTING)
def test_the_check_finds_each_mistake_where_it_is(name, rng):
    x, y = make_batch(rng)
    check = check_gradients(make_network(MISTAKES[name].equations), x, y, most=10)
    wrong = {(row["layer"], row["parameter"]) for row in check.rows if row["error"] > check.tolerance}
    assert wrong == WRONG[MISTAKES[name].equation]
    assert min(row["error"] for row in check.rows if (row["layer"], row["parameter"]) in wrong) > 0.01


def test_the_right_equations_pass(rng):
    assert check_gradients(make_network(RIGHT), *make_batch(rng)).passed


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_in_its_equation_only(name):
    mistake = MISTAKES[name]
    changed = {field for field in RIGHT._fields if getattr(mistake.equations, field) != getattr(RIGHT, field)}
    assert changed
    assert {field[:3].upper() for field in changed} == set(mistake.equation.split(" and "))
    assert name.removeprefix(name[:3])[:1] in ("", "-", "4")
    assert mistake.remedy


@pytest.mark.parametrize("name", SHAPELESS)
def test_shapes_that_do_not_fit_are_named_before_any_training(name, monkeypatch):
    monkeypatch.setattr(mutations, "_train_plainly", None)
    comparison = break_equation(name)
    assert (comparison.checks, comparison.accuracies) == ((), ())
    assert re.search("refuses a product or sum|has shape .*, not ", comparison.shapes)
    assert repr(comparison).splitlines()[-1] == f"The shapes show it: {comparison.shapes}"
    with pytest.raises(ValueError, match="there are no learning curves of this mistake in BP"):
        comparison.plot()


def test_training_plainly_is_training(digits, monkeypatch):
    """The loop over `backward` gives the weights of `train`, whose minibatches the network's generator draws."""
    (x, y), test_data = digits
    net = make_full(RIGHT)
    twin = Network([784, 30, 10], dtype="float64", seed=1)
    seeded = np.random.default_rng()
    seeded.bit_generator.state = twin.value.generator
    twin.train((x[:200], y[:200]), epochs=1, batch_size=10, lr=3.0, progress=False)
    monkeypatch.setattr(mutations, "shuffle", lambda n, m, rng: shuffle(n, m, seeded))
    (accuracy,) = mutations._train_plainly(net, (x[:200], y[:200]), test_data, 1, seed=0)
    for w, w_twin in zip(net.w, twin.w, strict=True):
        np.testing.assert_allclose(w, w_twin, rtol=0, atol=1e-13)
    assert accuracy == twin.accuracy(test_data)


def make_full(equations):
    net = mutations._BrokenNetwork([784, 30, 10], dtype="float64", seed=1)
    net.equations = equations
    return net


def test_copies_keep_the_mistake(rng):
    net = make_network(MISTAKES["BP3"].equations)
    x, y = make_batch(rng)
    for copy in (net.copy(), net.to(dtype="float64").to(dtype="float32"), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(copy.backward(x, y)[0].b, net.backward(x, y)[0].b)


@pytest.mark.slow
def test_the_report_says_where_the_check_fails_and_what_the_curve_shows():
    before = {name: value for name, value in vars(backprop).items() if inspect.isfunction(value)}
    comparison = break_equation("BP2", epochs=2)
    assert {name: value for name, value in vars(backprop).items() if inspect.isfunction(value)} == before
    lines = repr(comparison).splitlines()
    assert lines[0] == "BP2, the error of a hidden layer: δ = (wᵀ δ of the next layer) ⊙ σ′(z)"
    assert lines[1] == "The mistake: it leaves out σ′(z)"
    assert [line.split()[-1] for line in lines[5:9]] == ["FAILED", "FAILED", "passed", "passed"]
    assert "The check fails for w of layer 1, b of layer 1" in lines
    right, broken = comparison.accuracies
    assert len(right) == len(broken) == 2
    assert right[1] > broken[1] + 0.03
    assert lines[-2].split() == ["2", f"{right[1]:.1%}", f"{broken[1]:.1%}"]
    assert re.fullmatch(r"The learning curve shows it: \d+\.\d points less", lines[-1])


def test_a_curve_may_hide_a_mistake_and_a_check_may_miss_none():
    check = check_gradients(Network([6, 3], seed=0), *make_batch(np.random.default_rng(0)))
    comparison = Comparison(MISTAKES["BP3"], (check, check), ([0.9], [0.91]))
    assert "The check does not find it" in repr(comparison)
    assert repr(comparison).endswith("The learning curve does not show the mistake")
    assert repr(Comparison(MISTAKES["BP3"], (check, check), ([0.5], [0.6]))).endswith("10.0 points more")


def test_a_mistake_of_your_own(monkeypatch):
    monkeypatch.setattr(mutations, "_train_plainly", lambda *args: [0.5])  # the check alone is of interest

    def bp3(delta, xp):
        return 2 * RIGHT.bp3(delta, xp)

    mistake = Mistake("BP3", "the gradient of the biases", "counts every δ twice", RIGHT._replace(bp3=bp3))
    comparison = break_equation(mistake, epochs=1, seed=1)
    assert [row["error"] > 0.4 for row in comparison.checks[1].rows] == [False, True, False, True]
    assert "The mistake: it counts every δ twice" in repr(comparison)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="mistake='BP5' is unknown; choose from 'BP1', 'BP1-twice', "):
        break_equation("BP5")
    with pytest.raises(ValueError, match="epochs=0 must be"):
        break_equation("BP1", epochs=0)
    with pytest.raises(ValueError, match="seed=None must be"):  # both networks must have the same weights
        break_equation("BP1", seed=None)


def test_the_plot_has_both_curves(monkeypatch):
    figure_class = pytest.importorskip("matplotlib.figure").Figure
    check = check_gradients(Network([6, 3], seed=0), *make_batch(np.random.default_rng(0)))
    comparison = Comparison(MISTAKES["BP1"], (check, check), ([0.8, 0.9], [0.1, 0.2]))
    figure = comparison.plot()
    assert isinstance(figure, figure_class)
    (ax,) = figure.axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.8, 0.9], [0.1, 0.2]]
    other = figure_class().add_subplot()
    assert comparison.plot(ax=other) is other.figure
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"plot needs matplotlib .*pip install -e '\.\[plots\]'"):
        comparison.plot()
