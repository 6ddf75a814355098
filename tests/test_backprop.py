import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from test_activations import Bent, Softsign
from test_costs import PAIRS, LogCosh, Quartic, assert_away_from_kinks, count_outputs, targets

from xpnet import Network
from xpnet.core.activations import ACTIVATIONS, make_elu, make_leaky_relu
from xpnet.core.backprop import backward, deltas, forward
from xpnet.core.costs import COSTS, make_huber

# Gradients are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")


def make(place, sizes, activation, output, cost, seed=0, dtype="float64", **options):
    return Network(
        sizes,
        activation=activation,
        output_activation=output,
        cost=cost,
        dtype=dtype,
        seed=seed,
        **place._asdict(),
        **options,
    )


def host(net, arrays):
    return [net.backend.to_numpy(x) for x in arrays]


def layers_of(net):
    return list(zip(host(net, net.w), host(net, net.b), strict=True))


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_gradients_by_central_differences(place, output, cost):
    """Over every weight and bias, m = 3, sizes 4-2-2: for every valid output × cost pair."""
    sizes, rng = [4, 2, count_outputs(cost, 2)], np.random.default_rng(3)
    net = make(place, sizes, "tanh", output, cost, seed=8)
    x, y = rng.standard_normal((3, 4)), targets(output, rng, m=3, n=2)
    zs, a = _forward(net, [reference.ACTIVATIONS["tanh"], reference.ACTIVATIONS[output]], x)
    assert np.abs(zs[-1]).min() > 1e-3
    assert_away_from_kinks(cost, a, y)
    _check_against_differences(net, x, y)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_through_hidden_layers_by_central_differences(place, activation):
    """Two hidden layers 3-4-3-2, m = 2."""
    net, rng = make(place, [3, 4, 3, 2], activation, "sigmoid", "quadratic", seed=5), np.random.default_rng(4)
    x, y = rng.standard_normal((2, 3)), rng.uniform(size=(2, 2))
    zs, _ = _forward(net, [reference.ACTIVATIONS[activation]] * 2 + [reference.ACTIVATIONS["sigmoid"]], x)
    assert min(np.abs(z).min() for z in zs) > 1e-3
    _check_against_differences(net, x, y)


OWN = {
    "own hidden activations": ([Bent(), Softsign()], "sigmoid", "quadratic"),
    "own output activation": ("tanh", Bent(), "quadratic"),
    "own bounded output activation": ("tanh", Softsign(), "quadratic"),
    "own cost": ("tanh", "identity", LogCosh()),
    "own named cost": ("tanh", "softmax", Quartic()),
    "all own": (Softsign(), Bent(), LogCosh()),
    "leaky_relu(0.2)": (make_leaky_relu(0.2), "sigmoid", "cross_entropy"),
    "elu(2.0)": ([make_elu(2.0), "relu"], make_elu(2.0), "quadratic"),
    "huber(0.5)": ("tanh", "identity", make_huber(0.5)),
}


@pytest.mark.on("torch")
@pytest.mark.parametrize("name", OWN)
def test_activations_and_costs_of_ones_own_by_central_differences_and_they_train(place, name):
    net, rng = make(place, [3, 4, 3, 2], *OWN[name], seed=11), np.random.default_rng(9)
    x, y = rng.standard_normal((2, 3)), rng.uniform(size=(2, 2))
    if name == "own named cost":
        y = np.eye(2)
    values = [lambda z, sigma=sigma: sigma.value(z, np) for sigma in net.sigmas]
    zs, a = _forward(net, values, x)
    assert min(np.abs(z).min() for z in zs) > 1e-3
    assert name != "huber(0.5)" or np.abs(np.abs(a - y) - 0.5).min() > 1e-3
    _check_against_differences(net, x, y)
    before = net.cost((x, y))
    history = net.train((x, y), epochs=20, batch_size=2, lr=0.1, progress=False)
    assert history["cost"][0] == pytest.approx(before, rel=1e-12)
    assert net.cost((x, y)) < 0.9 * before


def _forward(net, values, x):
    """Weighted inputs of each layer, and outputs, of rows of examples; in NumPy."""
    zs, a = [], x
    for (w, b), value in zip(layers_of(net), values, strict=True):
        zs.append(a @ w.T + b)
        a = np.stack([value(row) for row in zs[-1]])
    return zs, a


def _check_against_differences(net, x, y, h=1e-6):
    start, grads = layers_of(net), net.backward(x, y)
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


@pytest.mark.parametrize(("output", "cost"), [("sigmoid", "quadratic"), ("mean_std", "gaussian"), ("softmax", "mae")])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_gradient_is_the_mean_of_per_example_gradients(place, activation, output, cost):
    """Of units apart, and of units together; the gradients of every pair are looked at above."""
    net = make(place, [5, 4, count_outputs(cost, 3)], activation, output, cost, seed=1)
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((7, 5)), targets(output, rng, m=7, n=3)
    expected, mean_cost = reference.mean_gradient(layers_of(net), [activation, output], cost, x, y)
    for found, (gw, gb) in zip(net.backward(x, y), expected, strict=True):
        np.testing.assert_allclose(net.backend.to_numpy(found.w), gw, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(net.backend.to_numpy(found.b), gb, rtol=1e-10, atol=1e-14)
    assert net.cost((x, y)) == pytest.approx(mean_cost, rel=1e-12)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    m=st.integers(1, 5),
    seed=st.integers(0, 100),
)
def test_gradients_of_any_shape(sizes, m, seed):
    net = Network(sizes, dtype="float64", seed=seed)
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((m, sizes[0])), rng.uniform(size=(m, sizes[-1]))
    expected, _ = reference.mean_gradient(layers_of(net), ["sigmoid"] * (len(sizes) - 1), "quadratic", x, y)
    for found, (gw, gb) in zip(net.backward(x, y), expected, strict=True):
        np.testing.assert_allclose(found.w, gw, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(found.b, gb, rtol=1e-9, atol=1e-15)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_gradients_against_torch_autograd(place, output):
    torch = pytest.importorskip("torch")
    net = make(place, [5, 4, 3], "relu", output, "cross_entropy", seed=2)
    rng = np.random.default_rng(6)
    x, labels = rng.standard_normal((6, 5)), rng.integers(3, size=6)
    parameters = [torch.tensor(p, requires_grad=True) for layer in layers_of(net) for p in layer]
    w1, b1, w2, b2 = parameters
    z = torch.relu(torch.tensor(x) @ w1.T + b1) @ w2.T + b2
    if output == "softmax":
        cost = torch.nn.functional.cross_entropy(z, torch.tensor(labels))
    else:
        one_hot = torch.nn.functional.one_hot(torch.tensor(labels), 3).double()
        cost = torch.nn.functional.binary_cross_entropy_with_logits(z, one_hot, reduction="sum") / 6
    cost.backward()
    assert net.cost((x, labels)) == pytest.approx(cost.item(), rel=1e-12)
    found = [net.backend.to_numpy(p) for layer in net.backward(x, labels) for p in layer]
    for ours, theirs in zip(found, parameters, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


# The derivations in docs/learn/equations.md, step by step. What is differentiated there is here by central differences


def differentiate(function, at, h=1e-5):
    """Differentiate an array by each element of another, whose axes come last in the result."""
    parts = []
    for i in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[i] = h
        parts.append((function(at + shift) - function(at - shift)) / (2 * h))
    return np.moveaxis(np.array(parts), 0, -1).reshape(np.shape(parts[0]) + at.shape)


class Derivation:
    """A network 3-4-3-2, four examples, and for one of them and for all: z, a, and the errors, by central differences.

    Layers are numbered as on the page: w[1] are the first weights, a[0] is the input.
    """

    def __init__(self):
        net, rng = Network([3, 4, 3, 2], activation="tanh", dtype="float64", seed=8), np.random.default_rng(3)
        self.net, self.m, self.L, self.y = net, 4, 3, rng.uniform(size=(4, 2))
        self.layers = tuple((w, b[None, :]) for w, b in net.layers)
        self.sigmas = [None, *net.sigmas]
        self.w, self.b = ([None, *part] for part in zip(*net.layers, strict=True))
        zs, self.A = forward(self.layers, net.sigmas, rng.standard_normal((4, 3)), np)
        self.Z, self.X = [None, *zs], 1
        self.z, self.a = [None, *(z[self.X] for z in zs)], [a[self.X] for a in self.A]
        self.error = [None, *(differentiate(lambda z, l=l: self.cost_x(l, z), self.z[l]) for l in (1, 2, 3))]
        self.Error = [None, *(differentiate(lambda Z, l=l: self.cost(l, Z), self.Z[l]) for l in (1, 2, 3))]

    def costs_of(self, a, y):
        return COSTS["quadratic"].value(a, y, np)

    def go_on(self, l, z):
        """From the weighted inputs of layer l to the outputs."""
        a = self.sigmas[l].value(z, np)
        return a if l == self.L else self.go_on(l + 1, a @ self.w[l + 1].T + self.b[l + 1])

    def cost_x(self, l, z):
        """C_x as a function of the weighted inputs of layer l of the example."""
        return self.costs_of(self.go_on(l, z), self.y[self.X])

    def cost(self, l, Z):
        """C as a function of the weighted inputs of layer l of all examples."""
        return self.costs_of(self.go_on(l, Z), self.y).mean()

    def slope(self, l, z):
        """σ′, whose argument changes its own value only: elsewhere, the derivatives are 0."""
        jacobian = differentiate(lambda z: self.sigmas[l].value(z, np), z.ravel())
        np.testing.assert_array_equal(jacobian, np.diag(np.diag(jacobian)))
        return np.diag(jacobian).reshape(z.shape)


@pytest.fixture(scope="module")
def derivation():
    return Derivation()


def assert_near(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_the_derivation_of_bp1(derivation):
    d, L = derivation, derivation.L
    gradient = differentiate(lambda a: d.costs_of(a, d.y[d.X]), d.a[L])
    assert_near(gradient, d.a[L] - d.y[d.X])
    assert_near(d.slope(L, d.z[L]), d.a[L] * (1 - d.a[L]))
    assert_near(gradient * d.slope(L, d.z[L]), d.error[L])
    # A row of Z changes one of the m costs; the row of Δ is δ / m
    costs = differentiate(lambda Z: d.costs_of(d.go_on(L, Z), d.y), d.Z[L])
    assert [i for i in range(d.m) if np.any(costs[i, d.X])] == [d.X]
    assert_near(d.Error[L][d.X], d.error[L] / d.m)
    assert_near((d.A[L] - d.y) * d.slope(L, d.Z[L]) / d.m, d.Error[L])
    assert_near(d.net.output.delta(d.Z[L], d.A[L], d.y, np) / d.m, d.Error[L])


@pytest.mark.parametrize("l", [1, 2])
def test_the_derivation_of_bp2(derivation, l):
    d = derivation
    weights = differentiate(lambda a: d.w[l + 1] @ a + d.b[l + 1], d.a[l])
    assert_near(weights, d.w[l + 1])
    paths = d.error[l + 1][:, None] * weights * d.slope(l, d.z[l])
    assert_near(paths.sum(axis=0), d.error[l])
    assert_near(d.w[l + 1].T @ d.error[l + 1] * d.slope(l, d.z[l]), d.error[l])
    assert_near(d.Error[l][d.X], d.error[l] / d.m)
    assert_near(d.Error[l + 1] @ d.w[l + 1] * d.slope(l, d.Z[l]), d.Error[l])
    assert_near(deltas(d.layers, d.net.sigmas, d.Z[1:], d.A, d.Error[d.L], np)[l - 1], d.Error[l])


@pytest.mark.parametrize("l", [1, 2, 3])
def test_the_derivations_of_bp3_and_bp4(derivation, l):
    d, w, b, inputs = derivation, derivation.w[l], derivation.b[l], derivation.a[l - 1]
    assert_near(differentiate(lambda b: w @ inputs + b, b), np.eye(len(b)))
    by_w = differentiate(lambda w: w @ inputs + b, w)  # of z_j by w_jk: a_k; of the other z: 0
    assert_near(by_w, np.eye(len(b))[:, :, None] * inputs)
    assert_near(differentiate(lambda b: d.cost_x(l, w @ inputs + b), b), d.error[l])
    assert_near(differentiate(lambda w: d.cost_x(l, w @ inputs + b), w), d.error[l][:, None] * inputs)
    gb = differentiate(lambda b: d.cost(l, d.A[l - 1] @ w.T + b), b)
    gw = differentiate(lambda w: d.cost(l, d.A[l - 1] @ w.T + b), w)
    assert_near(gb, d.Error[l].sum(axis=0))
    assert_near(gw, d.Error[l].T @ d.A[l - 1])
    in_core = backward(d.layers, d.net.sigmas, d.net.output, d.Z[1:], d.A, d.y, np)[l - 1]
    assert_near(in_core[0], gw)
    assert_near(in_core[1][0], gb)


def test_a_network_worked_by_hand(place):
    """2-1-1, identity, w = (2, −1), b = 1, then w = 3, b = 0; x = (1, 2), y = 2.

    z₁ = 2·1 − 1·2 + 1 = 1, a₁ = 1, z₂ = 3; BP1: δ₂ = 3 − 2 = 1; BP2: δ₁ = 3·1 = 3; BP3, BP4: ∂b₂ = 1, ∂w₂ = 1·a₁ = 1,
    ∂b₁ = 3, ∂w₁ = 3·x = (3, 6); C = ½ (3 − 2)² = ½.
    """
    net = make(place, [2, 1, 1], "identity", "identity", "quadratic")
    net.layers = [([[2.0, -1.0]], [1.0]), ([[3.0]], [0.0])]
    first, second = net.backward([1.0, 2.0], [2.0])
    assert host(net, first)[0].tolist() == [[3.0, 6.0]]
    assert host(net, first)[1].tolist() == [3.0]
    assert host(net, second)[0].tolist() == [[1.0]]
    assert host(net, second)[1].tolist() == [1.0]
    assert net.cost(([[1.0, 2.0]], [[2.0]])) == 0.5


def test_forward_of_one_example_of_a_batch_and_of_a_square_batch(place, dtype):
    net = make(place, [3, 4, 2], "tanh", "sigmoid", "quadratic", dtype=dtype)
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(dtype)
    batch = net.backend.to_numpy(net.forward(x))
    assert batch.shape == (3, 2)
    assert batch.dtype == dtype
    for i in range(3):
        one = net.forward(x[i])
        assert tuple(one.shape) == (2,)
        assert one.device == net.w[0].device
        rtol = 1e-6 if dtype == "float32" else 1e-14
        np.testing.assert_allclose(net.backend.to_numpy(one), batch[i], rtol=rtol)
        np.testing.assert_allclose(net.backend.to_numpy(net.forward(x[i][None, :]))[0], batch[i], rtol=rtol)
    with pytest.raises(ValueError, match=r"x has shape \(3, 1\).*a column is not an example; give it as a row"):
        net.forward(x[0][:, None])


def test_backward_of_one_example_equals_that_of_a_batch_of_one(place):
    net = make(place, [3, 4, 2], "tanh", "softmax", "cross_entropy")
    x = np.array([1.0, -2.0, 0.5])
    for y in (1, np.array([0.0, 1.0])):
        for one, batch in zip(net.backward(x, y), net.backward(x[None, :], [[0.0, 1.0]]), strict=True):
            for ours, theirs in zip(host(net, one), host(net, batch), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_minibatch_update_is_w_minus_lr_times_the_mean_gradient(place, dtype):
    net = make(place, [3, 4, 2], "sigmoid", "sigmoid", "quadratic", dtype=dtype)
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((5, 3)), rng.uniform(size=(5, 2))
    start, tolerance = layers_of(net), 1e-6 if dtype == "float32" else 1e-13
    expected = reference.train(
        [(w.astype(float), b.astype(float)) for w, b in start], ["sigmoid"] * 2, "quadratic", x, y, [range(5)], [0.7]
    )
    for batch in ((x, y), list(zip(x, y, strict=True)), [(x[i][:, None], y[i][:, None]) for i in range(5)]):
        net.layers = start
        assert net.minibatch_update(batch, 0.7) is None
        for (w, b), (ew, eb) in zip(layers_of(net), expected, strict=True):
            assert w.dtype == dtype
            np.testing.assert_allclose(w, ew, rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(b, eb, rtol=tolerance, atol=tolerance)
