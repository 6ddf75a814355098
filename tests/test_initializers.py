import math
import re

import numpy as np
import pytest
from helpers import layers_of, make
from programs import oracle

from xpnet import ArgumentError, Network
from xpnet.core import initializers
from xpnet.core.activations import ACTIVATIONS
from xpnet.core.initializers import INITIALIZERS

# Weights are drawn by NumPy
pytestmark = pytest.mark.not_on("jax")

N_IN, N_OUT = 500, 300


@pytest.mark.parametrize("name", sorted({*INITIALIZERS} - {"orthogonal", "zeros"}))
def test_moments_over_a_large_draw(name):
    """Each sample moment within 5 of its standard deviations, √(var(X) / n) for n draws of X.

    In units of the variance, x² has the variance κ − 1, with κ the fourth moment. That of x⁴ is 96 for a normal
    distribution (of 105 − 9) and below 6 for a uniform one.
    """
    variance, bias = oracle.initial_variances(name, N_IN, N_OUT)
    kurtosis = 9 / 5 if "uniform" in name else 3
    w, b = INITIALIZERS[name](np.random.default_rng(0), N_IN, N_OUT)
    assert w.shape == (N_OUT, N_IN)
    assert b.shape == (N_OUT,)
    assert w.dtype == b.dtype == np.float64
    unit = w / math.sqrt(variance)
    assert abs(unit.mean()) < 5 * math.sqrt(1 / w.size)
    assert abs((unit**2).mean() - 1) < 5 * math.sqrt((kurtosis - 1) / w.size)
    assert abs((unit**4).mean() - kurtosis) < 5 * math.sqrt((96 if kurtosis == 3 else 6) / w.size)
    if kurtosis == 9 / 5:
        assert 0.999 * math.sqrt(3) < abs(unit).max() < math.sqrt(3)
    if bias == 0:
        assert not b.any()
    else:
        assert abs(b.mean()) < 5 * math.sqrt(1 / N_OUT)
        assert abs((b**2).mean() - 1) < 5 * math.sqrt(2 / N_OUT)


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 3), (3, 7), (5, 5), (1, 4), (4, 1)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(n_in, n_out):
    w, b = initializers.orthogonal(np.random.default_rng(2), n_in, n_out)
    assert w.shape == (n_out, n_in)
    product = w @ w.T if n_out <= n_in else w.T @ w
    np.testing.assert_allclose(product, np.eye(min(n_in, n_out)), atol=1e-14)
    assert not b.any()


def test_every_orthogonal_matrix_is_equally_likely():
    """Of a rotation or reflection by a uniform angle every element has mean 0 and variance ½, and half are rotations.

    Means within 5 standard deviations over 2000 draws. The QR factorization alone has a sign that is always the same.
    """
    rng, n = np.random.default_rng(3), 2000
    drawn = np.stack([initializers.orthogonal(rng, 2, 2)[0] for _ in range(n)])
    assert np.abs(drawn.mean(axis=0)).max() < 5 * math.sqrt(0.5 / n)
    assert np.abs((drawn**2).mean(axis=0) - 0.5).max() < 5 * math.sqrt(0.125 / n)
    assert abs(np.linalg.det(drawn).mean()) < 5 * math.sqrt(1 / n)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_a_seed_gives_the_same_weights_on_every_backend(place, dtype, name):
    """Exactly: drawn on the host in float64, layer by layer, and rounded once."""
    net = make(place, [5, 4, 3], "tanh", "sigmoid", "quadratic", seed=7, dtype=dtype, init=name)
    rng = np.random.Generator(np.random.PCG64(7))
    for (w, b), (n_in, n_out) in zip(layers_of(net), [(5, 4), (4, 3)], strict=True):
        drawn_w, drawn_b = INITIALIZERS[name](rng, n_in, n_out)
        assert w.dtype == b.dtype == dtype
        np.testing.assert_array_equal(w, drawn_w.astype(dtype))
        np.testing.assert_array_equal(b, drawn_b.astype(dtype))
    assert net.value.generator == rng.bit_generator.state


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_takes_the_initializer_of_its_activation(name):
    """As documented: He's for rectifiers, LeCun's for SELU and exp, the book's for all others."""
    rectifiers = ("relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "gelu_tanh")
    expected = "he_normal" if name in rectifiers else "lecun_normal" if name in ("selu", "exp") else "scaled_normal"
    net, rng = Network([5, 4, 3], activation=name, output_activation="tanh", seed=0), np.random.default_rng(0)
    for layer, init, sizes in zip(net.layers, (expected, "scaled_normal"), [(5, 4), (4, 3)], strict=True):
        for part, drawn in zip(layer, INITIALIZERS[init](rng, *sizes), strict=True):
            np.testing.assert_array_equal(part, drawn.astype("float32"))


# Of one's own


def test_a_function_is_asked_for_every_layer_with_the_network_s_generator(place, dtype):
    asked, returned = [], []

    def ones_and_twos(rng, n_in, n_out):
        asked.append((n_in, n_out, rng.integers(1000)))
        returned.append((np.ones((n_out, n_in), dtype), [2] * n_out))
        return returned[-1]

    net = make(place, [5, 4, 3], "tanh", "sigmoid", "quadratic", seed=7, dtype=dtype, init=ones_and_twos)
    rng = np.random.Generator(np.random.PCG64(7))
    assert asked == [(5, 4, rng.integers(1000)), (4, 3, rng.integers(1000))]
    assert all(w.dtype == b.dtype == dtype and (w == 1).all() and (b == 2).all() for w, b in layers_of(net))
    net.train((np.ones((4, 5)), np.zeros((4, 3))), epochs=1, batch_size=2, lr=1.0, progress=False)
    assert all((w == 1).all() for w, _ in returned)  # the caller's arrays are not trained


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("he_nromal", "init='he_nromal' is unknown; choose from 'normal', "),
        (3, "init=3 is unknown; choose from 'normal', "),
        (lambda rng, n_in, n_out: (np.ones((3, 2)), np.ones(2)), "w of shape (3, 2) and b of shape (2,), but must"),
        (lambda rng, n_in, n_out: (np.ones((2, 3)), 0.0), "w of shape (2, 3) and b of shape (), but must"),
        (lambda rng, n_in, n_out: (np.full((2, 3), np.nan), np.ones(2)), "must return finite numbers of shapes (2, 3)"),
        (lambda rng, n_in, n_out: (np.ones((2, 3)), np.full(2, np.inf)), "must return finite numbers of shapes (2, 3)"),
        (lambda rng, n_in, n_out: (1, 2, 3), "must be a function (rng, n_in, n_out) -> (w, b)"),
        (lambda rng, n_in, n_out: None, "must be a function (rng, n_in, n_out) -> (w, b)"),
        (lambda rng, n_in: None, "must be a function (rng, n_in, n_out) -> (w, b)"),
    ],
)
def test_what_gives_no_weights_is_refused(init, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Network([3, 2], init=init)
