import math

import numpy as np
import pytest
from helpers import central_differences
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpnet.activations import ACTIVATIONS, sigmoid, softmax

away_from_kinks = st.floats(-5, 5).filter(lambda z: abs(z) > 1e-3)


def on(backend, function, *arrays, dtype="float64"):
    """Evaluate a function of arrays on a backend, from NumPy to NumPy."""
    with backend.scope(dtype):
        result = function(*(backend.asarray(np.asarray(x), dtype) for x in arrays), backend.xp)
        assert str(result.dtype).endswith(dtype)
        assert result.device == backend.asarray(np.zeros(1)).device
        return backend.to_numpy(result)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_pullback_is_the_gradient_of_the_value(backend, name):
    """Central differences of g · σ(z) over every z, m = 3, n = 4."""
    sigma, rng = ACTIVATIONS[name], np.random.default_rng(0)
    z, g = rng.uniform(0.1, 2, (3, 4)) * rng.choice([-1, 1], (3, 4)), rng.standard_normal((3, 4))

    def objective(z):
        return np.sum(g * on(backend, sigma.value, z))

    expected = central_differences(objective, z)
    found = on(backend, sigma.pullback, g, z, on(backend, sigma.value, z))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_pullbacks_worked_by_hand():
    z, g = np.array([[0.0, 0.0]]), np.array([[1.0, 3.0]])
    # σ(0) = ½ and σ'(0) = ¼
    np.testing.assert_allclose(sigmoid.pullback(g, z, sigmoid.value(z, np), np), [[0.25, 0.75]])
    # softmax(0, 0) = (½, ½); g · a = 2; ½ (1 − 2) = −½ and ½ (3 − 2) = ½
    np.testing.assert_allclose(softmax.pullback(g, z, softmax.value(z, np), np), [[-0.5, 0.5]])


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


@given(z=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=away_from_kinks))
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_lie_between_their_bounds_and_keep_shape(name, z):
    sigma = ACTIVATIONS[name]
    a = sigma.value(z, np)
    assert a.shape == z.shape
    assert sigma.low <= a.min()
    assert a.max() <= sigma.high
    if sigma.total is not None:
        np.testing.assert_allclose(a.sum(axis=-1), sigma.total)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_leading_axis_of_networks_changes_nothing(name):
    sigma, rng = ACTIVATIONS[name], np.random.default_rng(0)
    z, g = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 3, 4))
    a = sigma.value(z, np)
    for k in range(2):
        np.testing.assert_allclose(a[k], sigma.value(z[k], np), rtol=1e-15)
        np.testing.assert_allclose(sigma.pullback(g, z, a, np)[k], sigma.pullback(g[k], z[k], a[k], np), rtol=1e-13)
