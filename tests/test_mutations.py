"""Mistakes in the four equations: a check of the gradient finds them where they are."""

from functools import partial

import numpy as np
import pytest

from xpnet import Network, check_gradients
from xpnet.core.arrays import Layer
from xpnet.inference import gradients
from xpnet.learn._mutations import MISTAKES, RIGHT, backpropagate

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


class BrokenNetwork(Network):
    """A network whose `backward` uses its own equations."""

    equations = RIGHT

    def backward(self, x, y):
        grads = gradients(self.value, x, y, partial(backpropagate, self.equations))
        with self.backend.scope(self.dtype):
            return [Layer(gw, gb[0, ...]) for gw, gb in grads]


def make_network(equations, **options):
    net = BrokenNetwork([6, 5, 4, 3], seed=2, **options)
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


# Mistakes that give other shapes, or an error
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
