"""Statistics of many rows, and what is refused."""

from typing import Any

import numpy as np
import pytest
from helpers import Batches, Items, assert_same, on, snapshot

from xpnet import Adam, DivergenceError, Ensemble, Network
from xpnet.core.scaling import Scaling, column_sums, compute_scaling, moments

# JAX compiles programs for each of these tests, so that only what a library could get wrong alone runs there
pytestmark = pytest.mark.not_on("torch", "jax")

N = 200_000


def host(net, x):
    return np.array(x if isinstance(x, float) else net.backend.to_numpy(x))


@pytest.mark.on("torch", "jax")
@pytest.mark.not_on("strict-device1")  # whose sums are NumPy's
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
    scaling = compute_scaling([(net.backend.asarray(x), None)], False, net.value.reader.place.moments)
    np.testing.assert_allclose(scaling.x_std[0], exact.std(axis=0), rtol=1e-4)


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 3000])
def test_sums_of_any_number_of_rows(backend, n):
    x = np.random.default_rng(2).standard_normal((n, 3))
    np.testing.assert_allclose(on(backend, column_sums, x), x.sum(axis=0), rtol=1e-9, atol=1e-12)


def test_a_column_of_one_number_is_shifted_to_zero_exactly(place):
    x = np.full((N // 4, 2), 0.1, "float32")
    x[:, 1] = np.arange(N // 4) % 7
    net = Network([2, 1], task="regression", standardize=True, **place._asdict())
    net.train((x, x[:, 1]), epochs=1, batch_size=N, lr=1e-3, progress=False)
    assert not host(net, net.activations(x[:3])[0])[:, 0].any()


@pytest.mark.parametrize(("large", "kind"), [(1e-30, "float32"), (1e60, "f8")])
def test_what_cannot_be_scaled_is_named_before_anything_has_changed(place, large, kind):
    """Squares of float32 numbers overflow; float64 numbers are squared in float64."""
    x = np.ones((20, 3), kind)
    x[:, 2] = np.where(np.arange(20) % 2, large, 0.0)
    net = Network([3, 2], standardize=True, seed=0, **place._asdict())
    before, rng = snapshot(net), net.value.generator
    with pytest.raises(ValueError, match=r"standardize=True cannot scale input 2,.* in float32; scale this input"):
        net.train((x, np.arange(20) % 2), progress=False)
    assert net.scaling is None
    assert_same(net, before)
    assert net.value.generator == rng
    Network([3, 2], standardize=True, dtype="float64", **place._asdict()).train((x, np.arange(20) % 2), progress=False)


def test_targets_in_the_thousands_diverge_and_the_remedy_is_named():
    """Of a regression: classes have no scaling of targets, and a network that has one may need another."""
    x = np.random.default_rng(0).normal(size=(300, 4))
    y = np.stack([x[:, 0] > 0, x[:, 0] <= 0], axis=1).astype(float)
    scales, other = (
        "Give a smaller lr, or standardize=True, which scales inputs and targets$",
        "lr, or scale the inputs$",
    )
    for options, factor, remedy in (
        ({"task": "regression"}, 20_000, scales),
        ({"task": "classification"}, 1, other),
        ({"task": "regression", "standardize": True}, 20_000, other),
    ):
        net = Network([4, 20, 2], activation="relu", seed=0, **options)
        with pytest.raises(DivergenceError, match=remedy):
            net.train((x, factor * y), 20, lr=0.1 if remedy == scales else 1e30, progress=False)


# Numbers far from 0, compared with their spread

TIMES = 1.7e9 + np.random.default_rng(3).uniform(0, 3600, (240, 1))
SMALL = np.random.default_rng(4).uniform(-1, 1, (240, 1))
FAR: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "times": (TIMES, np.sin(TIMES[:, 0] / 700)),
    "whole numbers": (np.round(1e9 * TIMES).astype(np.int64), np.sin(TIMES[:, 0] / 700)),
    "targets": (SMALL, 1e7 + np.sin(4 * SMALL[:, 0])),
}
OPTIONS: dict[str, Any] = {"epochs": 3, "batch_size": 20, "lr": 0.03, "optimizer": Adam(), "progress": False}


def make(place, dtype="float32", sizes=(1, 8, 1), **options):
    options = {"activation": "tanh", "task": "regression", "seed": 1, **options}
    return Network(sizes, standardize=True, dtype=dtype, **options, **place._asdict())


def test_float32_numbers_far_from_0_are_scaled_by_the_whole_mean(place):
    """Not by a mean that is rounded to float32, which was off by up to 0.03 standard deviations here."""
    rng = np.random.default_rng(5)
    x, y = ((1e6 + rng.normal(size=(100, 1))).astype("float32") for _ in range(2))
    net = make(place)
    net.fit_scaling((x + np.float64(0.02), y + np.float64(0.02)))
    for inputs, targets in ((x, y), (x.astype("float64"), y.astype("float64"))):
        expected = (x - net.scaling.x_mean) / net.scaling.x_std
        np.testing.assert_allclose(host(net, net.activations(inputs)[0]), expected, rtol=0, atol=1e-6)
        error = (host(net, net.predict(inputs)) - y[:, 0]) / net.scaling.y_std[0]
        assert net.cost((inputs, targets)) == pytest.approx((error**2).mean() / 2, rel=1e-5)


SOURCES: dict[str, Any] = {
    "arrays": lambda x, y: ((x, y), {"validation_split": 0.2}),
    "pairs": lambda x, y: (list(zip(x, y)), {"sample_weight": np.arange(len(x))}),
    "data set": lambda x, y: (Items(x, y), {"cache": False, "validation_data": Batches(x, y, 20)}),
    "batches": lambda x, y: (Batches(x, y, 20), {"validation_data": (x, y), "test_data": (x, y)}),
}


@pytest.mark.parametrize(
    ("source", "kind"),
    [("arrays", "times"), ("pairs", "whole numbers"), ("data set", "targets"), ("batches", "times")],
)
def test_numbers_far_from_0_train_float32_as_float64(place, source, kind):
    """Rounded to float32 before, times had 29 values, and the targets three."""
    x, y = FAR[kind]
    data, options = SOURCES[source](x, y)
    nets = [make(place, dtype) for dtype in ("float32", "float64")]
    options = {**OPTIONS, "training_metrics": ["r2"], **options}
    for net in nets:
        net.train(data, **options)
    single, double = (host(net, net.predict(x)) for net in nets)
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4 * y.std())
    for name in {"cost", "training_r2", "validation_cost", "test_cost"} & {*nets[0].history.rows[0]}:
        np.testing.assert_allclose(nets[0].history[name], nets[1].history[name], rtol=1e-4, atol=1e-5)
    for array in (nets[0].scaling.x_mean, nets[0].scaling.y_mean):
        assert array.dtype == np.float64
    if source != "arrays":
        np.testing.assert_allclose(nets[0].scaling.x_mean[0], x.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(nets[0].scaling.y_std[0], y.std(), rtol=1e-8)


def test_members_with_numbers_far_from_those_of_others_are_trained_as_alone(place):
    """The first member's scaling would leave the second few digits."""
    x = np.concatenate([SMALL[:120], 1e9 + SMALL[:120]])
    y = np.sin(4 * np.concatenate([SMALL[:120, 0]] * 2))
    ensemble = Ensemble([1, 8, 1], 2, task="regression", standardize=True, seed=0, **place._asdict())
    alone, rows = ensemble.copy(), [range(120), range(120, 240)]
    ensemble.train((x, y), rows=rows, **OPTIONS)
    for net, member, own in zip(alone, ensemble, rows):
        net.train((x[own], y[own]), **OPTIONS)
        np.testing.assert_allclose(member.history["cost"], net.history["cost"], rtol=1e-4)


@pytest.mark.on("torch", "jax")
@pytest.mark.parametrize(("shift", "dtype"), [(0, "float32"), (200, "float32"), (300, "float64")])
def test_outputs_are_float64_where_float32_cannot_hold_the_targets(place, shift, dtype):
    """Where the mean of a target is more than 256 standard deviations from 0."""
    x, waves = SMALL, np.stack([np.sin(4 * SMALL[:, 0]), np.cos(4 * SMALL[:, 0])], axis=1)
    net = make(place, sizes=(1, 2))
    net.train((x, waves + shift * np.array([0, waves[:, 1].std()])), **{**OPTIONS, "epochs": 1})
    for found in (net.predict(x), net.forward(x[0]), net.predict(x.astype("float32"))):
        assert found.dtype == getattr(net.backend.xp, dtype)
    assert net.jacobian(x).dtype == net.activations(x)[-1].dtype == net.backend.xp.float32
    assert make(place, "float64").predict(x).dtype == net.backend.xp.float64


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_float32_and_bytes_are_scaled_in_float32(place, kind):
    """As by hand, bit for bit: they are exactly what was given, and nothing is gained by float64."""
    rng = np.random.default_rng(5)
    x = rng.integers(2, size=(60, 3)).astype(kind) if kind == "uint8" else rng.normal(7, 3, (60, 3)).astype(kind)
    y = rng.normal(100, 5, (60, 2)).astype("float32")
    net = make(place, sizes=(3, 4, 2))
    net.train((x, y), **OPTIONS)
    by_hand = Network([3, 4, 2], activation="tanh", task="regression", seed=1, **place._asdict())
    x_mean, x_std, y_mean, y_std = (array.astype("float32") for array in net.scaling)
    by_hand.train(((x.astype("float32") - x_mean) / x_std, (y - y_mean) / y_std), **OPTIONS)
    assert_same(net, snapshot(by_hand))


def test_not_a_number_is_named_before_and_after_the_scaling_is_known(place):
    x, y = TIMES.copy(), np.sin(TIMES[:, 0])
    net = make(place)
    net.train((x, y), **{**OPTIONS, "epochs": 1})
    x[7] = np.nan
    for use, name in (
        (lambda: net.predict(x), "x"),
        (lambda: net.train((x, y), **OPTIONS), "X of train_data"),
        (lambda: make(place).train((x, y), **OPTIONS), "X of train_data"),
        (lambda: net.train((TIMES, x), **OPTIONS), "y of train_data"),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name} holds NaN or infinity \(as float32\), first in row 7, column 0"
        ):
            use()


def test_a_scaling_can_be_assigned_and_not_written_to(place):
    net = make(place)
    net.scaling = Scaling(*(net.backend.asarray(np.array([[number]])) for number in (1.7e9, 2.0, 0.0, 1.0)))
    np.testing.assert_allclose(host(net, net.activations([[1.7e9 + 3]])[0]), [[1.5]])
    with pytest.raises(ValueError, match="read-only"):
        net.scaling.x_mean[0, 0] = 0


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        (3, TypeError, "^scaling=3 must be a Scaling, such as that of another network, or None"),
        ([np.zeros((1, 1)), np.ones((1, 2))], ValueError, r"^scaling.x_mean has shape \(1, 1\)"),
        ([np.zeros((1, 2)), np.zeros((1, 2))], ValueError, "input 0.* scaling.x_std is 0 there, .* above 0"),
        ([np.zeros((1, 2)), np.ones((1, 2)), np.zeros((1, 1))], ValueError, "^scaling lacks a mean or a standard dev"),
        ([np.zeros((1, 2)), np.array([[1, np.nan]])], ValueError, "input 1.* scaling.x_std is nan"),
    ],
)
def test_a_scaling_that_does_not_fit_is_refused(numbers, error, message):
    """A file with it could not be loaded."""
    net = Network([2, 1], task="regression", standardize=True, seed=0)
    with pytest.raises(error, match=message):
        net.scaling = numbers if numbers == 3 else Scaling(*numbers)
    assert net.scaling is None


def test_a_minibatch_needs_the_scaling():
    """Without it, the weights would be those of other units once the scaling is known."""
    net = Network([2, 1], task="regression", standardize=True, seed=0)
    with pytest.raises(ValueError, match=r"^minibatch_update needs the scaling .* call fit_scaling\(train_data\) once"):
        net.minibatch_update((np.ones((4, 2)), np.arange(4.0)), 0.1)
    net.fit_scaling((np.random.default_rng(0).random((4, 2)), np.arange(4.0)))
    net.minibatch_update((np.ones((4, 2)), np.arange(4.0)), 0.1)
