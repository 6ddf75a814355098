import numpy as np
import pytest
from helpers import Bent, LogCosh, Softsign, host, layers_of, make, targets
from programs import oracle

from xpnet.core.activations import ACTIVATIONS, make_elu, make_leaky_relu
from xpnet.core.costs import COSTS, make_huber

# Gradients are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")

PAIRS = [("tanh", output, name) for name, cost in COSTS.items() for output in cost.outputs or ACTIVATIONS]
OWN = [
    ([Bent(), Softsign()], "sigmoid", "quadratic"),
    (Softsign(), Bent(), LogCosh()),
    ("tanh", Softsign(), "quadratic"),
    (make_leaky_relu(0.2), "sigmoid", "cross_entropy"),
    ([make_elu(2.0), "relu"], make_elu(2.0), "quadratic"),
    ("tanh", "identity", make_huber(0.5)),
]


@pytest.mark.parametrize(("activation", "output", "cost"), PAIRS)
def test_gradients_by_central_differences(place, activation, output, cost):
    """Over every weight and bias, m = 3, sizes 4-2-2: for every valid output × cost pair."""
    net = make(place, [4, 2, 2 * COSTS[cost].outputs_per_target], activation, output, cost, seed=8)
    rng = np.random.default_rng(3)
    check_against_differences(net, rng.standard_normal((3, 4)), targets(output, rng, m=3, n=2))


@pytest.mark.on("torch")
@pytest.mark.parametrize("own", OWN, ids=range(len(OWN)))
def test_activations_and_costs_of_ones_own_by_central_differences_and_they_train(place, own):
    net, rng = make(place, [3, 4, 3, 2], *own, seed=11), np.random.default_rng(9)
    x, y = rng.standard_normal((2, 3)), rng.uniform(size=(2, 2))
    check_against_differences(net, x, y)
    before = net.cost((x, y))
    history = net.train((x, y), epochs=20, batch_size=2, lr=0.1, progress=False)
    assert history["cost"][0] == pytest.approx(before, rel=1e-12)
    assert net.cost((x, y)) < 0.9 * before


def check_against_differences(net, x, y, h=1e-6):
    """Nothing is at a kink."""
    start, grads, a = layers_of(net), net.backward(x, y), x
    for (w, b), sigma in zip(start, net.sigmas, strict=True):
        z = a @ w.T + b
        assert np.abs(z).min() > 1e-3
        a = sigma.value(z, np)
    kink = {"huber": 1, "huber(0.5)": 0.5}.get(net.cost_name, 0)
    assert np.abs(np.abs(a - np.tile(y, a.shape[1] // y.shape[1])) - kink).min() > 1e-3
    for l, layer in enumerate(grads):
        for part in (0, 1):
            found = net.backend.to_numpy(layer[part])
            assert found.shape == start[l][part].shape
            expected = np.zeros_like(found)
            for i in np.ndindex(found.shape):
                costs = []
                for shift in (h, -h):
                    moved = [[w.copy(), b.copy()] for w, b in start]
                    moved[l][part][i] += shift
                    net.layers = moved
                    costs.append(net.cost((x, y)))
                expected[i] = (costs[0] - costs[1]) / (2 * h)
            np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-9)
    net.layers = start


def test_a_network_worked_by_hand(place):
    """2-1-1, identity, w = (2, −1), b = 1, then w = 3, b = 0; x = (1, 2), y = 2.

    z₁ = 2·1 − 1·2 + 1 = 1, a₁ = 1, z₂ = 3; BP1: δ₂ = 3 − 2 = 1; BP2: δ₁ = 3·1 = 3; BP3, BP4: ∂b₂ = 1, ∂w₂ = 1·a₁ = 1,
    ∂b₁ = 3, ∂w₁ = 3·x = (3, 6); C = ½ (3 − 2)² = ½.
    """
    net = make(place, [2, 1, 1], "identity", "identity", "quadratic")
    net.layers = [([[2.0, -1.0]], [1.0]), ([[3.0]], [0.0])]
    found = [part.tolist() for layer in net.backward([1.0, 2.0], [2.0]) for part in host(net, layer)]
    assert found == [[[3.0, 6.0]], [3.0], [[1.0]], [1.0]]
    assert net.cost(([[1.0, 2.0]], [[2.0]])) == 0.5


def test_forward_of_one_example_of_a_batch_and_of_a_square_batch(place, dtype):
    net = make(place, [3, 4, 2], "tanh", "sigmoid", "quadratic", dtype=dtype)
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(dtype)
    batch, rtol = net.backend.to_numpy(net.forward(x)), 1e-6 if dtype == "float32" else 1e-14
    assert (batch.shape, batch.dtype) == ((3, 2), dtype)
    for i in range(3):
        one = net.forward(x[i])
        assert tuple(one.shape) == (2,)
        assert one.device == net.w[0].device
        np.testing.assert_allclose(net.backend.to_numpy(one), batch[i], rtol=rtol)
        np.testing.assert_allclose(net.backend.to_numpy(net.forward(x[i][None, :]))[0], batch[i], rtol=rtol)
    with pytest.raises(ValueError, match=r"x has shape \(3, 1\).*a column is not an example; give it as a row"):
        net.forward(x[0][:, None])


def test_minibatch_update_is_w_minus_lr_times_the_mean_gradient(place, dtype):
    net = make(place, [3, 4, 2], "sigmoid", "sigmoid", "quadratic", dtype=dtype)
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((5, 3)), rng.uniform(size=(5, 2))
    start, tolerance = layers_of(net), 1e-6 if dtype == "float32" else 1e-13
    exact = [(w.astype(float), b.astype(float)) for w, b in start]
    grads, _ = oracle.gradient(exact, ["sigmoid"] * 2, "quadratic", x, y)
    for batch in ((x, y), list(zip(x, y, strict=True)), [(x[i][:, None], y[i][:, None]) for i in range(5)]):
        net.layers = start
        assert net.minibatch_update(batch, 0.7) is None
        for l, layer in enumerate(layers_of(net)):
            for part in (0, 1):
                expected = exact[l][part] - 0.7 * grads[l][part]
                assert layer[part].dtype == dtype
                np.testing.assert_allclose(layer[part], expected, rtol=tolerance, atol=tolerance)
