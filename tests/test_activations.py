import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Bent, Softsign, on
from programs import oracle

from xpnet import ArgumentError, Network
from xpnet.core.activations import ACTIVATIONS, gelu, make_elu, make_leaky_relu, sigmoid, softmax
from xpnet.core.costs import make_huber

# JAX compiles each operation, so that only what it could get wrong alone runs there; test_trainings.py has the rest
pytestmark = pytest.mark.not_on("jax")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_pullbacks_against_the_oracle(backend, name):
    sigma, rng = ACTIVATIONS[name], np.random.default_rng(3)
    z, g = rng.uniform(-6, 6, (4, 5)), rng.standard_normal((4, 5))
    a = on(backend, sigma.value, z)
    np.testing.assert_allclose(a, oracle.activate(name, z), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(
        on(backend, sigma.pullback, g, z, a), oracle.pull_back(name, g, z), rtol=1e-10, atol=1e-14
    )


@pytest.mark.on("jax")
def test_gelu_is_that_of_the_error_function(backend):
    """Within 1e-15 of z Φ(z), in units of |z|, and of its derivative; relatively within 1e-11 far down the tail."""
    z = np.linspace(-30, 30, 6001)
    cdf = np.array([0.5 * math.erfc(-each / math.sqrt(2)) for each in z])
    exact = z * cdf
    found = on(backend, gelu.value, z)
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(z))) < 1e-15
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-300)
    slopes = on(backend, gelu.pullback, np.ones_like(z), z, found)
    np.testing.assert_allclose(slopes, cdf + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), rtol=0, atol=2e-15)


SELU = 1.0507009873554805
LIMITS = {  # value and slope at −∞ and at +∞, where infinite values are z itself times the slope
    **dict.fromkeys(("relu", "softplus", "silu", "gelu", "gelu_tanh"), (0.0, 0.0, math.inf, 1.0)),
    "elu": (-1.0, 0.0, math.inf, 1.0),
    "selu": (-SELU * 1.6732632423543772, 0.0, math.inf, SELU),
    "leaky_relu": (-math.inf, 0.01, math.inf, 1.0),
    "sigmoid": (0.0, 0.0, 1.0, 0.0),
    "tanh": (-1.0, 0.0, 1.0, 0.0),
}


@pytest.mark.on("jax")
@pytest.mark.parametrize("name", LIMITS)
def test_large_numbers_reach_their_limits_without_warnings(backend, dtype, name):
    low, low_slope, high, high_slope = LIMITS[name]
    z = np.array([-1e4, -1e3, -200, -90, 90, 200, 1e3, 1e4], dtype)
    a = on(backend, ACTIVATIONS[name].value, z, dtype=dtype)
    expected = [low_slope * x if low == -math.inf else low for x in z[:4]]
    expected += [high_slope * x if high == math.inf else high for x in z[4:]]
    np.testing.assert_allclose(a, expected, rtol=1e-6, atol=1e-37)
    pulled = on(backend, ACTIVATIONS[name].pullback, np.ones(8), z, a, dtype=dtype)
    np.testing.assert_allclose(pulled, [low_slope] * 4 + [high_slope] * 4, rtol=1e-6, atol=1e-30)


@pytest.mark.on("jax")
def test_softmax_of_large_numbers(backend, dtype):
    z = [[1e4, 0.0], [-1e4, -1e4]]
    found = on(backend, softmax.value, z, dtype=dtype)
    np.testing.assert_array_equal(found, [[1, 0], [0.5, 0.5]])
    np.testing.assert_array_equal(on(backend, softmax.pullback, z, z, found, dtype=dtype), np.zeros((2, 2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_at_zero(backend, name):
    """At a kink it is the slope from the left."""
    expected = {"leaky_relu": 0.01, "relu": 0, "elu": 1, "selu": 1.0507009873554805 * 1.6732632423543772}
    z = np.zeros((1, 1))
    found = on(backend, ACTIVATIONS[name].pullback, np.ones((1, 1)), z, on(backend, ACTIVATIONS[name].value, z))
    np.testing.assert_allclose(
        found[0, 0], expected.get(name, oracle.pull_back(name, np.ones((1, 1)), z)[0, 0]), rtol=1e-14
    )


@pytest.mark.on("jax")
def test_sigmoid_is_exact_without_warnings(backend, dtype):
    """Relative error at most 1e-6 in float32, and 1e-14 in float64, for z in [-80, 20]."""
    z = np.linspace(-80, 20, 1001).astype(dtype)
    exact = np.array([1 / (1 + math.exp(-each)) for each in z.astype(float)])
    found = on(backend, sigmoid.value, z, dtype=dtype)
    assert np.max(np.abs(found.astype(float) - exact) / exact) < (1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 4, 3)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_lie_between_their_bounds_and_keep_shape_and_dtype(name, shape):
    """Within the rounding of the bound itself."""
    rng, dtype = np.random.default_rng(0), "float32" if len(shape) == 3 else "float64"
    sigma, z = ACTIVATIONS[name], (rng.choice([1e-9, 1, 40], shape) * rng.uniform(-2, 2, shape)).astype(dtype)
    a = sigma.value(z, np)
    pulled = sigma.pullback(np.ones_like(z), z, a, np)
    assert a.shape == pulled.shape == z.shape
    assert a.dtype == pulled.dtype == z.dtype
    rounding = 1 + np.finfo(dtype).eps
    assert sigma.low * rounding <= a.min()
    assert a.max() <= sigma.high * rounding
    if sigma.total is not None:
        np.testing.assert_allclose(a.sum(axis=-1), sigma.total, rtol=10 * np.finfo(dtype).eps)


# With numbers of one's own


@pytest.mark.parametrize(
    ("sigma", "value"),
    [
        (make_leaky_relu(0.2), lambda z: np.where(z.real > 0, z, 0.2 * z)),
        (make_leaky_relu(0.0), lambda z: np.where(z.real > 0, z, 0)),
        (make_elu(alpha=0.5, scale=3.0), lambda z: 3 * np.where(z.real > 0, z, 0.5 * (np.exp(z) - 1))),
    ],
    ids=["leaky_relu(0.2)", "leaky_relu(0)", "elu(0.5, 3)"],
)
def test_rectifiers_with_numbers_of_ones_own(backend, sigma, value):
    rng = np.random.default_rng(5)
    z, g = rng.uniform(-4, 4, (6, 5)), rng.standard_normal((6, 5))
    a, slopes = on(backend, sigma.value, z), oracle.differentiate(value, z)
    np.testing.assert_allclose(a, value(z), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(on(backend, sigma.pullback, g, z, a), g * slopes, rtol=1e-13)
    assert sigma.low <= on(backend, sigma.value, [[-1e4, 1e4]]).min()


@pytest.mark.on("jax")
def test_a_numpy_number_keeps_the_dtype_of_the_network(backend):
    """A NumPy scalar is no Python number: it would turn float32 into float64, or be refused by the namespace.

    Nor may it do so for those who ask for the same number later: equal numbers share an activation, or a cost.
    """
    assert make_elu(2.0) == make_elu(np.float64(2.0)) != make_elu(3.0)
    z, y = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    for sigma in (make_leaky_relu(np.float64(0.375)), make_leaky_relu(0.375), make_elu(np.float64(1.375))):
        a = on(backend, sigma.value, z, dtype="float32")
        on(backend, sigma.pullback, z, z, a, dtype="float32")
    for cost in (make_huber(np.float64(0.375)), make_huber(0.375)):
        for function in (cost.value, cost.gradient):
            on(backend, function, z, y, dtype="float32")


# Of one's own


def test_an_activation_of_ones_own_says_what_it_is():
    bent, softsign = Bent(), Softsign()
    net = Network([3, 4, 5, 2], activation=[bent, softsign], output_activation=softsign)
    assert net.activation == ["Bent", "soft sign"]
    assert net.output_activation == "soft sign"
    assert [(sigma.low, sigma.high) for sigma in net.sigmas] == [(-math.inf, math.inf), (-1, 1), (-1, 1)]
    assert "activation=['Bent', 'soft sign'], output_activation='soft sign'" in repr(net)
    with pytest.raises(ArgumentError, match="y of the batch"):
        net.backward([1.0, 2.0, 3.0], [0.5, 1.5])  # beyond what its outputs reach
    assert Network([3, 2], output_activation=bent).task == "regression"
    assert Network([3, 2], output_activation=softsign).task == "classification"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Bent, "is unknown; choose from 'sigmoid', 'tanh', "),  # an object of it is asked for
        (len, "is unknown; choose from 'sigmoid', "),
        (None, "activation=None is unknown; choose from 'sigmoid', "),
        (
            SimpleNamespace(value=Bent().value),
            "lacks the method pullback(g, z, a, xp), which",
        ),
        (SimpleNamespace(pullback=Bent().pullback), "lacks the method value(z, xp), which"),
    ],
)
def test_what_is_no_activation_is_refused(wrong, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Network([3, 4, 2], activation=wrong)
