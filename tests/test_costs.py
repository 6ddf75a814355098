import math
import re
from types import SimpleNamespace

import host_cupy
import numpy as np
import pytest
from helpers import Bent, LogCosh, on, targets
from programs import oracle

from xpnet import ArgumentError, Ensemble, Network, check_gradients
from xpnet.core import costs
from xpnet.core.activations import ACTIVATIONS, exp, mean_std
from xpnet.core.costs import (
    COSTS,
    cross_entropy,
    make_huber,
    make_quantile,
    poisson,
)
from xpnet.core.dual import SLOPES, DualNamespace, jvp

# JAX compiles each operation, so that only what it could get wrong alone runs there; test_trainings.py has the rest
pytestmark = pytest.mark.not_on("jax")

QUANTILES = "quantile(0.1, 0.5, 0.9)"
PAIRS = [(output, name) for name, cost in COSTS.items() for output in cost.outputs or ACTIVATIONS]


@pytest.mark.parametrize(("output", "name"), PAIRS)
def test_values_and_deltas_against_the_oracle(backend, output, name):
    rng = np.random.default_rng(2)
    z, y = rng.standard_normal((3, 4 * COSTS[name].outputs_per_target)), targets(output, rng)
    if name == "gaussian":
        y[1:] *= 5  # beyond 5 standard deviations, where its tail is another
    pair, a = COSTS[name].combine({**ACTIVATIONS, "mean_std": mean_std}[output]), oracle.activate(output, z)
    values, deltas = oracle.costs_and_deltas(name, output, z, y)
    np.testing.assert_allclose(on(backend, pair.value, z, a, y), values, rtol=1e-12)
    np.testing.assert_allclose(on(backend, pair.delta, z, a, y), deltas, rtol=1e-10, atol=1e-14)


@pytest.mark.on("jax")
def test_poisson_of_counts_is_exact_where_the_mean_underflows(backend, dtype):
    """With a = e^z and z = −1000, ln a is −1000 and not ln 0: the cost is a − y z; of y = 0 it is a itself."""
    z, y = np.array([[-1000.0, 0.0], [-1000.0, 2.0]]), np.array([[3.0, 1.0], [0.0, 0.0]])
    pair, a = poisson.combine(exp), on(backend, exp.value, z, dtype=dtype)
    values = on(backend, pair.value, z, a, y, dtype=dtype)
    np.testing.assert_allclose(values, [3000 + 1, math.exp(2)], rtol=1e-6)
    np.testing.assert_allclose(on(backend, pair.delta, z, a, y, dtype=dtype), [[-3, 0], [0, math.exp(2)]], rtol=1e-6)


@pytest.mark.on("jax")
@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_cross_entropy_of_a_confident_mistake_is_exact(backend, dtype, output, gap):
    """Where log(a) is −∞ and log(a + 1e-8) is −18.42, the cost is the gap itself."""
    sigma = ACTIVATIONS[output]
    z, y = ([[gap, 0.0]], [[0.0, 1.0]]) if output == "softmax" else ([[gap], [-gap]], [[0.0], [1.0]])
    a = on(backend, sigma.value, z, dtype=dtype)
    pair = cross_entropy.combine(sigma)
    np.testing.assert_array_equal(on(backend, pair.value, z, a, y, dtype=dtype), [gap] * len(z))
    np.testing.assert_allclose(np.abs(on(backend, pair.delta, z, a, y, dtype=dtype)), 1.0, atol=1e-37)


@pytest.mark.parametrize(
    ("task", "cost", "output"),
    [
        ("regression", "poisson", "exp"),
        ("regression", "huber", "identity"),
        ("regression", "absolute", "identity"),
        ("classification", "log_likelihood", "softmax"),
        ("regression", make_huber(0.5), "identity"),
        ("regression", "gaussian", "mean_std"),
        (None, "gaussian", "mean_std"),
        (None, make_quantile(0.2, 0.7), "identity"),
    ],
)
def test_a_task_takes_the_first_output_that_the_cost_accepts(task, cost, output):
    assert Network([3, 2], task=task, cost=cost).output_activation == output


@pytest.mark.parametrize("cost", [costs.poisson, "quadratic"])
def test_an_object_contradicts_a_task_as_its_name_does(cost):
    with pytest.raises(ArgumentError, match="contradicts task='multilabel', which goes with 'cross_entropy'"):
        Network([3, 2], task="multilabel", cost=cost)


def test_numbers_in_a_name_are_those_of_a_family(tmp_path):
    """So a file, which holds names, knows them."""
    net = Network([3, 4, 2], activation="leaky_relu(0.2)", task="regression", cost=make_huber(0.5), seed=0)
    assert (net.activation, net.cost_name) == (["leaky_relu(0.2)"], "huber(0.5)")
    net.save(tmp_path / "net")
    again = Network.load(tmp_path / "net")
    assert (again.sigmas, again.output) == (net.sigmas, net.output)
    assert make_huber(0.5) == make_huber(np.float64(0.5)) != make_huber(2.0)
    for wrong in ("huber(x)", "huber()", "huber(-1)", "huber(1, 2)"):
        with pytest.raises(ArgumentError, match=r"cost='huber\(.*' has invalid parameters"):
            Network([3, 2], cost=wrong)


# Of one's own


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (LogCosh, "is unknown; choose from 'quadratic', "),  # an object of it is asked for
        (Bent(), "is unknown; choose from 'quadratic', "),  # an activation has other functions
        (3, "cost=3 is unknown; choose from 'quadratic', "),
        (SimpleNamespace(gradient=LogCosh().gradient), "lacks the method value(a, y, xp)"),
        (costs.Cost("quadratic", LogCosh().value), "xpnet has one of that name; rename yours"),
        (costs.Cost("own", lambda a, y, xp, x: x), "cost='own' sees x in one function only, or not as the third"),
        (costs.Cost("own", lambda a, y, x, xp: x, LogCosh().gradient), "cost='own' sees x in one function only"),
    ],
)
def test_what_is_no_cost_is_refused(wrong, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Network([3, 2], cost=wrong)


def make_nets(place, *each, n=40, **more):
    """Networks with these costs, alike otherwise; and n examples."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, 3)), rng.standard_normal((n, 2))
    options = {"activation": "tanh", "task": "regression", "dtype": "float64", "seed": 1, **place._asdict(), **more}
    return [Network([3, 4, 2], cost=cost, **options) for cost in each], x, y


TWINS = LogCosh(), costs.Cost("my log cosh", LogCosh().value)  # the second without its gradient


@pytest.mark.on("jax")
def test_a_cost_without_gradient_trains_as_with_it(place):
    """In the step of every backend, as it is recorded or compiled."""
    nets, x, y = make_nets(place, *TWINS)
    for net in nets:
        net.train((x, y), epochs=10, batch_size=10, lr=0.1, progress=False)
    assert [net.cost_name for net in nets] == ["LogCosh", "my log cosh"]
    mine, other = (net.backend.to_numpy(net.w[0]) for net in nets)
    np.testing.assert_allclose(mine, other, rtol=1e-9)
    assert nets[1].engine.split(",")[0] == nets[0].engine.split(",")[0]


def test_a_cost_without_gradient_has_second_derivatives_too(place):
    """By forward differentiation, twice."""
    nets, x, y = make_nets(place, *TWINS)
    for layers in zip(*(net.hvp(x, y, net.layers) for net in nets)):
        np.testing.assert_allclose(*(net.backend.to_numpy(layer.w) for net, layer in zip(nets, layers)), rtol=1e-9)


class Scaled:
    """Another cost, times a function of the inputs."""

    name = "scaled"

    def value(self, a, y, x, xp):
        return xp.exp(x[..., 0]) * LogCosh().value(a, y, xp)


class ScaledWithGradient(Scaled):
    def gradient(self, a, y, x, xp):
        return xp.exp(x[..., :1]) * LogCosh().gradient(a, y, xp)


@pytest.mark.on("jax")
@pytest.mark.parametrize("kind", [Scaled, ScaledWithGradient])
def test_a_cost_that_sees_x_weighs_examples_by_it(kind, place):
    """As sample weights of mean 1 do, in minibatches of all examples; in training, evaluation, and an ensemble."""
    own, dropout = kind(), [0.3, 0.2]
    (mine, other), x, y = make_nets(place, own, LogCosh(), dropout=dropout)
    x[:, 0] -= np.log(np.exp(x[:, 0]).mean())
    options = {"epochs": 5, "batch_size": 40, "lr": 0.1, "progress": False}
    histories = [net.train((x, y), **options, sample_weight=w) for net, w in ((mine, None), (other, np.exp(x[:, 0])))]
    np.testing.assert_allclose(*(net.backend.to_numpy(net.w[0]) for net in (mine, other)), rtol=1e-9)
    np.testing.assert_allclose(*(history["cost"] for history in histories), rtol=1e-9)
    members = Ensemble.of([make_nets(place, own, dropout=dropout, seed=seed)[0][0] for seed in (1, 2)])
    members.train((x, y), **options)
    np.testing.assert_allclose(*(net.backend.to_numpy(net.w[0]) for net in (mine, members[0])), rtol=1e-9)
    assert mine.cost((x, y)) == pytest.approx(np.mean([mine.cost(([a], [b])) for a, b in zip(x, y)]))


@pytest.mark.parametrize("kind", [Scaled, ScaledWithGradient])
def test_derivatives_of_a_cost_that_sees_x(kind, place):
    (net, other), x, y = make_nets(place, kind(), LogCosh(), n=5)
    assert check_gradients(net, x, y).passed
    assert Network([3, 2], cost=net.value.model.cost, task="regression").value.model.cost == net.value.model.cost
    scale, to_numpy = np.exp(x[:, :1]), net.backend.to_numpy
    for mine, others in zip(net.deltas(x, y), other.deltas(x, y)):
        np.testing.assert_allclose(to_numpy(mine), scale * to_numpy(others), rtol=1e-12)
    products = [n.hvp(x[:1], y[:1], n.layers) for n in (net, other)]
    for mine, others in zip(*products):
        np.testing.assert_allclose(to_numpy(mine.w), scale[0] * to_numpy(others.w), rtol=1e-9)


def test_a_cost_sees_standardized_inputs_without_the_masks_of_dropout(tmp_path):
    """Also in a network that was saved."""
    seen = costs.Cost("seen", lambda a, y, x, xp: xp.sum(x * x, axis=-1) + 0.0 * xp.sum(a, axis=-1))
    x, y = np.random.default_rng(0).normal(50, 9, (30, 4)), np.zeros((30, 1))
    net = Network([4, 1], cost=seen, task="regression", standardize=True, dropout=[0.5], seed=0)
    assert net.train((x, y), epochs=1, progress=False)["cost"] == [pytest.approx(4.0, rel=1e-5)]
    net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net", custom=[seen]).cost((x, y)) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (lambda a, y, xp: np.sum(a - y, axis=-1), "a function that is not from xp was called"),
        (lambda a, y, xp: np.exp(a[:, 0]), r"operand 'Dual' does not support ufuncs"),
        (lambda a, y, xp: xp.sum(xp.asinh(a), axis=-1), "xp.asinh has no derivative here"),
    ],
    ids=["NumPy", "ufunc", "unknown"],
)
def test_a_cost_that_cannot_be_differentiated_says_so(value, reason):
    with pytest.raises(ArgumentError, match=rf"cost 'own' has no gradient, .*{reason}"):
        Network([3, 2], task="regression", cost=costs.Cost("own", value))


# At points where each function is defined, away from its kinks


def make_plain(numbers, like, xp):
    """An array of the library, also among dual numbers."""
    inner = xp.inner if isinstance(xp, DualNamespace) else xp
    return inner.asarray(numbers, dtype=like.dtype, device=like.device)


FUNCTIONS = {
    **{name: lambda x, xp, name=name: getattr(xp, name)(x) for name in SLOPES},
    **{name: lambda x, xp, name=name: getattr(xp, name)(x, axis=-1) for name in ("sum", "mean", "max", "min")},
    **{name: lambda x, xp, name=name: getattr(xp, name)(x, 1.1 - x) for name in ("maximum", "minimum", "logaddexp")},
    **{name: lambda x, xp, name=name: getattr(xp, name)(2.0 - x, x) for name in ("add", "subtract", "multiply")},
    "operators": lambda x, xp: (2.0 - x) / (x + 1.0) + 3.0 / x - x**3 + 2.0**x + x**x * abs(0.5 - x) - (-x),
    "sorted": lambda x, xp: xp.sort(x * xp.asarray([1.0, -2.0, 0.5], dtype=x.dtype, device=x.device), axis=-1),
    "variance": lambda x, xp: xp.var(x * x, axis=0) + xp.var(x, axis=-1, keepdims=True),
    "variance of what is not dual": lambda x, xp: x * xp.var(make_plain([[1.0, 4.0]], x, xp)),
    "filled": lambda x, xp: x * xp.full_like(x, fill_value=2.0) + xp.ones_like(x),
    "where": lambda x, xp: xp.where((x > 0.5) & ~(x > 0.9), x * x, 3.0 * x),
    "comparisons": lambda x, xp: xp.where(((x < 0.4) ^ (x >= 0.8)) | (x == 0.5) | ((x <= 0.6) & (x != x)), x * x, -x),
    "equal elements": lambda x, xp: xp.max(xp.stack([x, x], axis=-1), axis=-1),
    "clip": lambda x, xp: xp.clip(x * x, 0.1, 0.5),
    "products": lambda x, xp: xp.matmul(x, x.mT) @ xp.matmul(x, xp.ones_like(x).mT),
    "several arguments": lambda x, xp: xp.mean(x, axis=-1) * xp.vecdot(x.mT, xp.tanh(x.mT), axis=-2),
    "joined": lambda x, xp: xp.concat([x * x, xp.ones_like(x), xp.stack([x[:, 0], x[:, 1]], axis=-1)], axis=-1),
    "shapes": lambda x, xp: xp.reshape(xp.permute_dims(x, (1, 0))[None, ...], (-1,)) * 2.0,
    "index": lambda x, xp: xp.take(x * x, xp.asarray([0, 2], device=x.device), axis=1),
    "flat": lambda x, xp: xp.sign(x) * x + xp.astype(x > 0.5, x.dtype) * x + xp.floor(x),
    "rounded": lambda x, xp: 3.0 * x - xp.astype(xp.astype(4.0 * x, xp.int32), x.dtype),
    "power 0": lambda x, xp: x**0 + (x - x) ** 0 + xp.pow(x, 0) * x,
}


@pytest.mark.everywhere
@pytest.mark.not_on(host_cupy.NAME)  # which has no kernel that sorts
@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_functions_of_dual_numbers(backend, name):
    rng = np.random.default_rng(0)
    x, direction, h = rng.uniform(0.2, 0.95, (2, 3)), rng.standard_normal((2, 3)), 1e-6
    x = x + 0.02 * (np.abs(x - 0.5) < 0.02) + 0.02 * (np.abs(x - 0.55) < 0.02)
    function = FUNCTIONS[name]
    value, derivative = (
        on(backend, lambda x, v, xp, i=i: jvp(function, (x,), (v,), xp)[i], x, direction) for i in range(2)
    )
    plus, minus = (on(backend, function, x + step * direction) for step in (h, -h))
    np.testing.assert_allclose(value, on(backend, function, x), rtol=1e-12)
    np.testing.assert_allclose(derivative, (plus - minus) / (2 * h), rtol=1e-6, atol=1e-8)


MIXED = {
    "product": lambda w, x, xp: w * x**2,
    "functions": lambda w, x, xp: xp.sin(w * x) * xp.exp(x / w) + w * x**3 / xp.sqrt(w + x),
    "powers": lambda w, x, xp: x**w + 2.0 ** (w * x) - (w - x) ** 2 / (1.0 + x),
}


def derive(function, order):
    """Differentiate a function of w and x, by one after the other: "wx" differentiates ∂/∂x by w."""
    if not order:
        return function
    inner = derive(function, order[1:])

    def derivative(w, x, xp):
        if order[0] == "w":  # x is an array of an outer level, if that differentiates by it
            return jvp(lambda w, xp: inner(w, x, xp), (w,), (xp.ones_like(w),), xp)[1]
        return jvp(lambda x, xp: inner(w, x, xp), (x,), (xp.ones_like(x),), xp)[1]

    return derivative


@pytest.mark.parametrize("order", ["w", "wx", "xw", "xx", "wxx", "xwx", "xxw"])
@pytest.mark.parametrize("name", MIXED)
def test_derivatives_of_derivatives(backend, name, order):
    sympy = pytest.importorskip("sympy")
    w, x = np.array([1.5, 0.7]), np.array([0.4, 2.0])
    symbols = sympy.symbols("w x")
    exact = sympy.lambdify(symbols, sympy.diff(MIXED[name](*symbols, sympy), *order))
    np.testing.assert_allclose(on(backend, derive(MIXED[name], order), w, x), exact(w, x), rtol=1e-12)


def test_an_array_of_an_inner_derivative_is_not_for_the_outer_namespace():
    def outer(x, xp):
        return jvp(lambda t, _: xp.exp(t * x), (x,), (xp.ones_like(x),), xp)[1]

    with pytest.raises(ValueError, match="an array of an inner jvp was given to functions of an outer xp"):
        jvp(outer, (np.ones(1),), (np.ones(1),), np)
