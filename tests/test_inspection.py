"""Looking inside a network and through it: activations, errors, derivatives by the inputs, summary."""

import re
import xml.dom.minidom
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Place, layers_of, make
from programs import oracle

import xpnet.activations
import xpnet.core.arrays
from xpnet import Network
from xpnet.backends import to_host
from xpnet.core.activations import ACTIVATIONS

# JAX compiles a program for each shape, so that it has one test
pytestmark = pytest.mark.not_on("jax")

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]])


def scaled(place: Place, **options) -> Network:
    """A network whose scaling was learnt from data far from mean 0 and deviation 1."""
    net = Network([3, 4, 2], task="regression", standardize=True, dtype="float64", seed=0, **options, **place._asdict())
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, [1, 10, 0.1], (20, 3)), rng.normal(-3, [2, 30], (20, 2))
    net.train((x, y), epochs=2, batch_size=5, lr=0.05, progress=False)
    return net


def differences(net: Network, compute: Callable[[np.ndarray], Any], x: np.ndarray, h: float) -> np.ndarray:
    """The derivatives of what is computed for rows, with respect to their inputs, by central differences."""
    pairs = [(to_host(compute(x + d)), to_host(compute(x - d))) for d in h * np.eye(x.shape[1])]
    return np.stack([up - down for up, down in pairs], axis=-1) / (2 * h)


def check_derivatives(net: Network, x: np.ndarray, h: float, first: dict[str, float], second: dict[str, float]) -> None:
    """Those with respect to two rows of inputs against differences, with these tolerances; also of each row alone."""
    g, slopes = np.array([[2.0, -1.0], [0.5, 3.0]]), differences(net, net.forward, x, h)
    jacobian, product, hessian = net.jacobian(x), net.vjp(x, g), net.hessian(x)
    assert jacobian.device == hessian.device == net.w[0].device
    assert tuple(jacobian.shape) == slopes.shape
    np.testing.assert_allclose(to_host(jacobian), slopes, **first)
    np.testing.assert_allclose(to_host(product), np.einsum("mk,mki->mi", g, slopes), **first)
    np.testing.assert_allclose(to_host(hessian), differences(net, net.jacobian, x, h), **second)
    for i in range(2):
        alone = net.jacobian(x[i]), net.vjp(x[i], g[i]), net.hessian(x[i])
        for one, rows in zip(alone, (jacobian, product, hessian)):
            np.testing.assert_allclose(to_host(one), to_host(rows)[i], rtol=1e-11, atol=1e-13)


def test_activations_are_those_of_every_layer_from_the_input_on(place):
    net = make(place, [3, 4, 2], "tanh", "softmax", "cross_entropy", seed=1)
    (w1, b1), (w2, b2) = layers_of(net)
    found = net.activations(X)
    assert len(found) == net.num_layers
    hidden = np.tanh(X @ w1.T + b1)
    outputs = oracle.softmax(hidden @ w2.T + b2)
    for a, expected in zip(found, (X, hidden, outputs), strict=True):
        assert a.device == net.w[0].device
        np.testing.assert_allclose(to_host(a), expected, rtol=1e-12)
    for one, rows in zip(net.activations(X[0]), found, strict=True):
        np.testing.assert_allclose(to_host(one), to_host(rows)[0], rtol=1e-14)


def test_deltas_are_those_of_each_example(place):
    """δ of an example alone is ∂C/∂b of that example; their mean is what `backward` gives for the biases."""
    net = make(place, [3, 4, 2], "tanh", "softmax", "cross_entropy", seed=1)
    labels = np.array([1, 0])
    found = [to_host(delta) for delta in net.deltas(X, labels)]
    assert [delta.shape for delta in found] == [(2, 4), (2, 2)]
    for i in range(2):
        example = X[i : i + 1], np.eye(2)[labels[i : i + 1]]
        grads, _ = oracle.gradient(layers_of(net), ["tanh", "softmax"], "cross_entropy", *example)
        for delta, (_, gb) in zip(found, grads, strict=True):
            np.testing.assert_allclose(delta[i], gb, rtol=1e-10)
        for delta, one in zip(found, net.deltas(X[i], labels[i]), strict=True):
            np.testing.assert_allclose(to_host(one), delta[i], rtol=1e-12)
    for delta, layer in zip(found, net.backward(X, labels), strict=True):
        np.testing.assert_allclose(delta.mean(axis=0), to_host(layer.b), rtol=1e-12)


def test_derivatives_keep_the_dtype(place, dtype):
    net = make(place, [3, 4, 2], "tanh", "identity", "quadratic", dtype=dtype)
    assert str(net.vjp(X, np.ones((2, 2))).dtype).endswith(dtype)
    assert str(net.jacobian(X).dtype).endswith(dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivatives_by_differences(place, activation):
    """Those of softmax outputs by the inputs, and the Hessian of their cost by the weights times a vector."""
    rng, h = np.random.default_rng(0), 1e-6
    net = make(place, [3, 4, 5, 2], activation, "softmax", "quadratic", seed=5)
    check_derivatives(net, X, h, {"rtol": 1e-5, "atol": 1e-9}, {"rtol": 1e-5, "atol": 1e-7})

    layers, y = layers_of(net), np.array([[0.9, 0.1], [0.3, 0.7]])
    direction = [tuple(rng.standard_normal(part.shape) for part in layer) for layer in layers]
    product, gradients = net.hvp(X, y, direction), []
    for step in (h, -h):
        net.layers = [(w + step * vw, b + step * vb) for (w, b), (vw, vb) in zip(layers, direction)]
        gradients.append([to_host(part) for layer in net.backward(X, y) for part in layer])
    for part, plus, minus in zip([part for layer in product for part in layer], *gradients, strict=True):
        np.testing.assert_allclose(to_host(part), (plus - minus) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("activation", "curvature"),
    [("gelu", 0.7978845608), ("gelu_tanh", 0.7978845608), ("silu", 0.5), ("softplus", 0.25), ("tanh", 0.0)],
)
def test_the_curvature_of_a_smooth_activation_at_0(activation, curvature):
    """Where its formula has another piece on either side: σ″(0) is 2 φ(0) for GELU."""
    net = Network([1, 1, 1], activation=activation, task="regression", dtype="float64")
    net.layers = [([[1]], [0]), ([[1]], [0])]
    np.testing.assert_allclose(net.hessian([0.0]), [[[curvature]]], rtol=1e-9, atol=1e-12)


def test_derivatives_include_the_scaling_and_are_made_in_blocks(place, monkeypatch):
    net, x = scaled(place, activation="tanh"), np.array([[5.0, 1.0, 5.05], [4.0, 20.0, 4.9]])
    check_derivatives(net, x, 1e-5, {"rtol": 1e-6, "atol": 1e-8}, {"rtol": 1e-5, "atol": 1e-6})
    assert np.abs(to_host(net.jacobian(x))).max() > 1  # far from those of the standardized network
    second = to_host(net.hessian(x))
    np.testing.assert_allclose(second, second.swapaxes(-1, -2), rtol=1e-12, atol=1e-12 * abs(second).max())
    monkeypatch.setattr(xpnet.core.arrays, "BLOCK_ELEMENTS", 32)  # one row at a time
    np.testing.assert_allclose(to_host(net.hessian(x)), second, rtol=1e-12)
    bytes_net = make(place, [3, 4, 2], "tanh", "identity", "quadratic", seed=1, scale=0.5)
    plain = make(place, [3, 4, 2], "tanh", "identity", "quadratic", seed=1)
    np.testing.assert_allclose(
        to_host(bytes_net.hessian(X)), 0.25 * to_host(plain.hessian(0.5 * X)), rtol=1e-12, atol=1e-15
    )


GOOD = [(np.ones((4, 3)), np.ones(4)), (np.ones((2, 4)), np.ones(2))]
OWN = xpnet.activations.Activation("own", lambda z, xp: np.sin(z), lambda g, z, a, xp: g * np.cos(z))


@pytest.mark.parametrize(
    ("call", "names", "remedy"),
    [
        (lambda net, own: net.vjp(X, [1.0, 1.0]), "g has shape (2,)", "must have (2, 2): a number for each output"),
        (lambda net, own: net.vjp(X[0], [[1.0, 1.0]]), "g has shape (1, 2)", "must have (2,)"),
        (lambda net, own: net.vjp(X, np.full((2, 2), np.nan)), "g holds NaN or infinity", "give finite numbers"),
        (lambda net, own: net.hvp(X, X[:, :2], np.ones(26)), "direction must be a list", "pairs (w, b)"),
        (lambda net, own: net.hvp(X, X[:, :2], GOOD[:1]), "w of direction has 1 arrays", "must be a list of 2"),
        (
            lambda net, own: net.hvp(X, X[:, :2], [GOOD[0], GOOD[0]]),
            "w of direction[1] has shape (4, 3)",
            "have (2, 4)",
        ),
        (lambda net, own: own.hessian(X), "second derivatives cannot", "must use operators and functions of xp"),
        (lambda net, own: own.hvp(X, X[:, :2], GOOD), "second derivatives cannot", "must use operators"),
    ],
)
def test_derivatives_refuse_what_they_cannot_use(call, names, remedy):
    nets = (Network([3, 4, 2], activation=activation, task="regression", seed=0) for activation in ("tanh", OWN))
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(names)}.*{re.escape(remedy)}"):
        call(*nets)


def test_summary_counts_parameters_bytes_and_operations(place, dtype):
    """784·30 + 30 = 23,550 and 30·10 + 10 = 310 parameters; 2·784·30 + 30 and 2·30·10 + 10 operations."""
    net = Network([784, 30, 10], dtype=dtype, **place._asdict())
    summary, size = net.summary(), 4 if dtype == "float32" else 8
    assert summary.parameters == 23_550 + 310 == sum(w.shape[0] * w.shape[1] + w.shape[0] for w in net.w)
    assert summary.bytes == size * summary.parameters
    assert summary.flops == 47_070 + 610
    assert [row["weights"] for row in summary.rows] == [(30, 784), (10, 30)]
    lines = repr(summary).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == [
        "layer",
        "units",
        "activation",
        "weights",
        "parameters",
        "bytes",
        "flops",
        "an",
        "example",
    ]
    assert lines[-1].split() == ["total", "23860", str(size * 23_860), "47680"]


def test_a_network_and_its_summary_show_tables_in_a_notebook():
    """With the words that they print, and every text escaped."""
    odd = xpnet.activations.relu._replace(name="<script>&")
    net = Network([4, 3, 2], activation=odd, seed=0)
    table = xml.dom.minidom.parseString(net.summary()._repr_html_())
    lines = [[cell.firstChild.data if cell.firstChild else "" for cell in row.childNodes] for row in rows_of(table)]
    assert [" ".join(line).split() for line in lines] == [line.split() for line in repr(net.summary()).splitlines()]
    assert "<script>&" in lines[1]
    shown = xml.dom.minidom.parseString(net._repr_html_())
    assert shown.getElementsByTagName("caption")[0].firstChild.data == repr(net)
    assert len(rows_of(shown)) == 4


def rows_of(table):
    return table.getElementsByTagName("tr")
