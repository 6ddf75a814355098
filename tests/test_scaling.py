"""Statistics of many rows, and what is refused."""

import numpy as np
import pytest
from helpers import assert_same, snapshot
from test_activations import on

from xpnet import DivergenceError, Network
from xpnet.core.scaling import column_sums, compute_scaling, moments
from xpnet.training.metrics import METRICS

N = 400_000


def host(net, x):
    return np.array(net.backend.to_numpy(x))


def test_sums_of_many_rows_keep_their_digits(backend):
    """NumPy adds the rows of a C-ordered array one by one, in their own precision: the mean of 1,000 came to 997."""
    x = np.random.default_rng(0).normal(1000.0, 1.0, (N, 2)).astype("float32")
    exact = x.astype("float64")
    np.testing.assert_allclose(on(backend, column_sums, x, dtype="float32"), exact.sum(axis=0), rtol=2e-6)
    with backend.scope("float32"):
        found = moments(backend.asarray(x), backend.xp)
        np.testing.assert_allclose(backend.to_numpy(found.mean), exact.mean(axis=0), rtol=1e-7)
        np.testing.assert_allclose(backend.to_numpy(found.squares) / N, exact.var(axis=0), rtol=1e-4)
    net = Network([2, 1], backend=backend.xp if backend.name == "array_api_strict" else backend.name)
    scaling = compute_scaling([(net.backend.asarray(x), None)], False, net.view.reader.moments)
    np.testing.assert_allclose(scaling.x_std[0], exact.std(axis=0), rtol=1e-4)


def test_r2_of_many_rows(backend):
    rng = np.random.default_rng(1)
    y = rng.normal(1000.0, 1.0, (N, 2)).astype("float32")
    a = (y + rng.normal(0.0, 0.5, (N, 2))).astype("float32")
    with backend.scope("float32"):
        part = METRICS["r2"].measure(backend.asarray(y), backend.asarray(a), "regression", backend.xp)
        found = METRICS["r2"].combine([part], [N], backend)
    y, a = y.astype("float64"), a.astype("float64")
    expected = np.mean(1 - ((y - a) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 3000])
def test_sums_of_any_number_of_rows(backend, n):
    x = np.random.default_rng(2).standard_normal((n, 3))
    np.testing.assert_allclose(on(backend, column_sums, x), x.sum(axis=0), rtol=1e-9, atol=1e-12)


@pytest.mark.few("jax", every=0)
def test_a_column_of_one_number_is_shifted_to_zero_exactly(place):
    x = np.full((N // 4, 2), 0.1, "float32")
    x[:, 1] = np.arange(N // 4) % 7
    net = Network([2, 1], task="regression", standardize=True, **place._asdict())
    net.train((x, x[:, 1]), epochs=1, batch_size=N, lr=1e-3, progress=False)
    assert not host(net, net.activations(x[:3])[0])[:, 0].any()


@pytest.mark.parametrize(("large", "kind"), [(1e30, "float32"), (1e-30, "float32"), (1e60, "f8"), (1e-60, "f8")])
def test_what_cannot_be_scaled_is_named_before_anything_has_changed(place, large, kind):
    """Squares of float32 numbers overflow; float64 numbers are squared in float64."""
    x = np.ones((20, 3), kind)
    x[:, 2] = np.where(np.arange(20) % 2, large, 0.0)
    net = Network([3, 2], standardize=True, seed=0, **place._asdict())
    before, rng = snapshot(net), net.rng.bit_generator.state
    with pytest.raises(
        ValueError, match=r"standardize=True cannot scale input 2 of train_data.*than float32 can represent; scale it"
    ):
        net.train((x, np.arange(20) % 2), progress=False)
    assert net.scaling is None
    assert_same(net, before)
    assert net.rng.bit_generator.state == rng
    Network([3, 2], standardize=True, dtype="float64", **place._asdict()).train((x, np.arange(20) % 2), progress=False)


@pytest.mark.few("jax", every=0)
def test_a_scaling_that_was_never_trained_with_is_not_kept(place):
    x = np.random.default_rng(0).normal(5, 3, (20, 3))
    net = Network([3, 4, 1], task="regression", standardize=True, seed=0, **place._asdict())
    before = host(net, net.forward(x))
    with pytest.raises(DivergenceError):
        net.train((x, x[:, 0]), batch_size=5, lr=1e30, progress=False)
    assert net.scaling is None
    np.testing.assert_array_equal(host(net, net.forward(x)), before)
    net.train((x, x[:, 0]), epochs=1, progress=False)
    assert net.scaling is not None
    net.scaling = None
    net.train((2 * x, x[:, 0]), epochs=1, progress=False)
    np.testing.assert_allclose(net.scaling.x_mean[0], 2 * x.mean(axis=0), rtol=1e-6)
