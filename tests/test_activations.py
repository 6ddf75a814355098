import math
from types import SimpleNamespace

import numpy as np
import pytest
import reference

from xpnet import Network
from xpnet.core.activations import ACTIVATIONS, elu, gelu, leaky_relu, make_elu, make_leaky_relu, selu, sigmoid, softmax

# JAX compiles each operation, so that only what it could get wrong alone runs there; test_trainings.py has the rest
pytestmark = pytest.mark.not_on("jax")


def on(backend, function, *arrays, dtype="float64"):
    """Evaluate a function of arrays on a backend, from NumPy to NumPy; JAX compiles it, as it does in a step."""
    with backend.scope(dtype):
        result = backend.call(function, *(backend.asarray(np.asarray(x), dtype) for x in arrays))
        assert str(result.dtype).endswith(dtype)
        assert result.device == backend.asarray(np.zeros(1)).device
        return backend.to_numpy(result)


def test_pullbacks_worked_by_hand():
    z, g = np.array([[0.0, 0.0]]), np.array([[1.0, 3.0]])
    # σ(0) = ½ and σ'(0) = ¼
    np.testing.assert_allclose(sigmoid.pullback(g, z, sigmoid.value(z, np), np), [[0.25, 0.75]])
    # softmax(0, 0) = (½, ½); g · a = 2; ½ (1 − 2) = −½ and ½ (3 − 2) = ½
    np.testing.assert_allclose(softmax.pullback(g, z, softmax.value(z, np), np), [[-0.5, 0.5]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_pullbacks_against_the_reference(backend, name):
    sigma, rng = ACTIVATIONS[name], np.random.default_rng(3)
    z, g = rng.uniform(-6, 6, (4, 5)), rng.standard_normal((4, 5))
    a = on(backend, sigma.value, z)
    np.testing.assert_allclose(a, [reference.ACTIVATIONS[name](row) for row in z], rtol=1e-11, atol=1e-15)
    pulled = [reference.jacobian(name, row).T @ gradient for row, gradient in zip(z, g, strict=True)]
    np.testing.assert_allclose(on(backend, sigma.pullback, g, z, a), pulled, rtol=1e-10, atol=1e-14)


@pytest.mark.on("jax")
def test_gelu_is_that_of_the_error_function(backend):
    """Within 1e-15 of z Φ(z), in units of |z|, and of its derivative; relatively within 1e-11 far down the tail."""
    z = np.linspace(-30, 30, 6001)
    exact = z * reference.normal_cdf(z)
    found = on(backend, gelu.value, z)
    assert np.max(np.abs(found - exact) / np.maximum(1, np.abs(z))) < 1e-15
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-300)
    slopes = on(backend, gelu.pullback, np.ones_like(z), z, found)
    np.testing.assert_allclose(slopes, reference.SLOPES["gelu"](z), rtol=0, atol=2e-15)


FAR = {  # value at −∞, of which the slope is 0; at +∞ all are z itself times a scale
    "relu": (0.0, 1.0),
    "softplus": (0.0, 1.0),
    "silu": (0.0, 1.0),
    "elu": (-1.0, 1.0),
    "selu": (-1.0507009873554805 * 1.6732632423543772, 1.0507009873554805),
    "gelu": (0.0, 1.0),
    "gelu_tanh": (0.0, 1.0),
}


@pytest.mark.parametrize("name", FAR)
def test_rectifiers_of_large_numbers_reach_their_limits_without_warnings(backend, dtype, name):
    limit, scale = FAR[name]
    far, ones = np.array([-1e4, -1e3, -200, 200, 1e3, 1e4], dtype), np.ones(6)
    a = on(backend, ACTIVATIONS[name].value, far, dtype=dtype)
    np.testing.assert_allclose(a, [limit] * 3 + [scale * z for z in far[3:]], rtol=1e-6, atol=1e-30)
    pulled = on(backend, ACTIVATIONS[name].pullback, ones, far, a, dtype=dtype)
    np.testing.assert_allclose(pulled, [0] * 3 + [scale] * 3, rtol=1e-6, atol=1e-30)


@pytest.mark.on("jax")
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "exp"])
def test_no_activation_overflows(backend, dtype, name):
    """Warnings are errors; exp alone is infinite where it must be."""
    z = np.array([[-1e4, -90, -20, 20, 90, 1e4]], dtype)
    a = on(backend, ACTIVATIONS[name].value, z, dtype=dtype)
    pulled = on(backend, ACTIVATIONS[name].pullback, np.ones_like(z), z, a, dtype=dtype)
    assert np.isfinite(a).all()
    assert np.isfinite(pulled).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_at_zero(backend, name):
    """At a kink it is the slope from the left."""
    expected = {"leaky_relu": 0.01, "relu": 0, "elu": 1, "selu": 1.0507009873554805 * 1.6732632423543772}
    z = np.zeros((1, 1))
    found = on(backend, ACTIVATIONS[name].pullback, np.ones((1, 1)), z, on(backend, ACTIVATIONS[name].value, z))
    np.testing.assert_allclose(found[0, 0], expected.get(name, reference.jacobian(name, z[0])[0, 0]), rtol=1e-14)


@pytest.mark.on("jax")
def test_sigmoid_is_exact_without_warnings(backend, dtype):
    """Relative error at most 1e-6 in float32 for z in [-80, 20]; within 1e-37 of the limits beyond; finite slopes."""
    z = np.linspace(-80, 20, 1001).astype(dtype)
    exact = np.array([1 / (1 + math.exp(-each)) for each in z.astype(float)])
    found = on(backend, sigmoid.value, z, dtype=dtype)
    assert np.max(np.abs(found.astype(float) - exact) / exact) < (1e-6 if dtype == "float32" else 1e-14)
    far = np.array([-1e4, -1000, -90, 90, 1000, 1e4], dtype)
    values = on(backend, sigmoid.value, far, dtype=dtype)
    np.testing.assert_allclose(values, [0, 0, 0, 1, 1, 1], rtol=0, atol=1e-37)
    assert np.isfinite(on(backend, sigmoid.pullback, np.ones_like(far), far, values, dtype=dtype)).all()


def test_softmax_of_large_numbers(backend, dtype):
    found = on(backend, softmax.value, [[1e4, 0.0], [-1e4, -1e4]], dtype=dtype)
    np.testing.assert_array_equal(found, [[1, 0], [0.5, 0.5]])


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
    ("sigma", "value", "slope"),
    [
        (make_leaky_relu(0.2), lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1, 0.2)),
        (make_leaky_relu(0.0), lambda z: np.where(z > 0, z, 0), lambda z: np.where(z > 0, 1, 0)),
        (make_elu(2.0), lambda z: np.where(z > 0, z, 2 * (np.exp(z) - 1)), lambda z: np.where(z > 0, 1, 2 * np.exp(z))),
        (
            make_elu(alpha=0.5, scale=3.0),
            lambda z: 3 * np.where(z > 0, z, 0.5 * (np.exp(z) - 1)),
            lambda z: 3 * np.where(z > 0, 1, 0.5 * np.exp(z)),
        ),
    ],
    ids=["leaky_relu(0.2)", "leaky_relu(0)", "elu(2)", "elu(0.5, 3)"],
)
def test_rectifiers_with_numbers_of_ones_own(backend, sigma, value, slope):
    rng = np.random.default_rng(5)
    z, g = rng.uniform(-4, 4, (6, 5)), rng.standard_normal((6, 5))
    a = on(backend, sigma.value, z)
    np.testing.assert_allclose(a, value(z), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(on(backend, sigma.pullback, g, z, a), g * slope(z), rtol=1e-13)
    assert sigma.low <= on(backend, sigma.value, [[-1e4, 1e4]]).min()


def test_the_same_numbers_are_the_same_activation():
    """So that a step is built, and compiled, once."""
    assert make_leaky_relu(0.2) == make_leaky_relu(0.2)
    assert make_leaky_relu() == leaky_relu
    assert make_elu() == elu
    assert make_elu(2.0) != make_elu(3.0)
    assert selu.low == -1.0507009873554805 * 1.6732632423543772


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_leaky_relu(1.0), r"slope=1\.0 must be in \[0, 1\); 0\.01 is usual"),
        (lambda: make_leaky_relu(-0.1), r"slope=-0\.1 must be in \[0, 1\)"),
        (lambda: make_leaky_relu("0.1"), r"slope='0\.1' must be in \[0, 1\)"),
        (lambda: make_leaky_relu([0.1]), r"slope=\[0\.1\] must be in \[0, 1\)"),
        (lambda: make_elu(-1.0), r"alpha=-1\.0 must be a finite number of at least 0; 1 is usual"),
        (lambda: make_elu(math.nan), r"alpha=nan must be a finite number of at least 0"),
        (lambda: make_elu(1.0, math.inf), r"scale=inf must be a finite number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.on("jax")
def test_a_numpy_number_keeps_the_dtype_of_the_network(backend):
    """A NumPy scalar is no Python number: it would turn float32 into float64, or be refused by the namespace.

    Nor may it do so for those who ask for the same number later: equal numbers share an activation.
    """
    z = np.ones((2, 3), np.float32)
    for sigma in (make_leaky_relu(np.float64(0.375)), make_leaky_relu(0.375), make_elu(np.float64(1.375))):
        a = on(backend, sigma.value, z, dtype="float32")
        on(backend, sigma.pullback, z, z, a, dtype="float32")


# Of one's own


class Bent:
    """(√(z² + 1) − 1) / 2 + z; nothing but the two functions."""

    def value(self, z, xp):
        return (xp.sqrt(z * z + 1.0) - 1.0) / 2.0 + z

    def pullback(self, g, z, a, xp):
        return g * (z / (2.0 * xp.sqrt(z * z + 1.0)) + 1.0)


class Softsign:
    """z / (1 + |z|), with all that an activation can say of itself."""

    name, low, high = "soft sign", -1.0, 1.0

    def value(self, z, xp):
        return z / (1.0 + xp.abs(z))

    def pullback(self, g, z, a, xp):
        return g / (1.0 + xp.abs(z)) ** 2


def test_an_activation_of_ones_own_says_what_it_is():
    bent, softsign = Bent(), Softsign()
    net = Network([3, 4, 5, 2], activation=[bent, softsign], output_activation=softsign)
    assert net.activation == ["Bent", "soft sign"]
    assert net.output_activation == "soft sign"
    assert [(sigma.low, sigma.high) for sigma in net.sigmas] == [(-math.inf, math.inf), (-1, 1), (-1, 1)]
    assert "activation=['Bent', 'soft sign'], output_activation='soft sign'" in repr(net)
    with pytest.raises(ValueError, match=r"y of the batch"):
        net.backward([1.0, 2.0, 3.0], [0.5, 1.5])  # beyond what its outputs reach
    assert Network([3, 2], output_activation=bent).task == "regression"
    assert Network([3, 2], output_activation=softsign).task == "classification"


@pytest.mark.parametrize(("name", "missing"), [("value", r"pullback\(g, z, a, xp\)"), ("pullback", r"value\(z, xp\)")])
def test_an_activation_of_ones_own_without_a_method_is_told_which(name, missing):
    own = SimpleNamespace(**{name: getattr(Bent(), name)})
    for argument in ("activation", "output_activation"):
        with pytest.raises(ValueError, match=f"^{argument}=.* lacks the method {missing}, which your own activation"):
            Network([3, 4, 2], **{argument: own})


@pytest.mark.parametrize("wrong", [Bent, object(), len, 3, None])
def test_what_is_no_activation_is_refused_with_the_choices(wrong):
    """A class too: it is an object of it that is asked for."""
    with pytest.raises(ValueError, match=r"activation=.* is unknown; choose from 'sigmoid', 'tanh', .*'gelu_tanh'"):
        Network([3, 4, 2], activation=wrong)
