"""Predictions in blocks of rows are those of all rows at once; memory is bounded, here and in training; evaluation."""

import functools
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Place, peak
from scipy.special import log_softmax
from sklearn.metrics import r2_score

from xpnet import Ensemble, Network
from xpnet.backends import to_host
from xpnet.core import arrays
from xpnet.core.activations import relu
from xpnet.inference import _predict as predict
from xpnet.value import _single_rows

N, SIZES = 11, (4, 5, 3)
X = np.random.default_rng(0).standard_normal((N, 4))
LABELS = np.random.default_rng(1).integers(3, size=N)
KINDS: dict[str, dict[str, Any]] = {
    "classification": {"task": "classification"},
    "binary": {"task": "binary", "sizes": (4, 5, 1)},
    "multilabel": {"task": "multilabel"},
    "regression": {"task": "regression"},
    "standardize": {"task": "regression", "standardize": True},
    "standardize classes": {"task": "classification", "standardize": True},
    "scale": {"task": "classification", "scale": 1 / 255},
    "without hidden layers": {"sizes": (4, 3)},
}
NET, ONES = Network([3, 2], seed=0), np.ones((4, 3))
VERBS = ("forward", "predict", "predict_proba")


def network(place: Place, dtype: str = "float64", kind: str = "classification") -> Network:
    """A network of a kind; what is standardized has learnt how."""
    net = Network(**{"sizes": SIZES, **KINDS[kind]}, dtype=dtype, seed=7, **place._asdict())
    if net.standardize:
        y = LABELS if net.task == "classification" else 10 * X[:, :3] + 5
        net.train((3 * X + 2, y), epochs=1, progress=False)
    return net


def inputs(kind: str) -> np.ndarray:
    return (np.abs(X) * 50).astype(np.uint8) if kind == "scale" else 3 * X + 2


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows go through the network together."""
    found, compute = [], predict._compute_block

    def spy(value: Any, x: Any) -> Any:
        found.append(x.shape[0])
        return compute(value, x)

    monkeypatch.setattr(predict, "_compute_block", spy)
    return found


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Callable[[Network, int], None]:
    """Have a network look at so many rows together."""
    return lambda net, rows: monkeypatch.setattr(arrays, "BLOCK_ELEMENTS", rows * sum(net.sizes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.not_on("jax")  # which compiles a program for each shape
def test_blocks_are_all_rows_in_order(place, dtype, blocks, together, kind, rows):
    """Bit for bit what the rows of each block give alone, and but for rounding what all give at once."""
    net, x = network(place, dtype, kind), inputs(kind)
    for verb in VERBS[: 2 if net.task == "regression" else 3]:
        compute = getattr(net, verb)
        together(net, N)
        blocks.clear()
        whole = compute(x)
        parts = [compute(x[start : start + rows]) for start in range(0, N, rows)]
        assert blocks == [N] + [rows] * (N // rows) + [N % rows] * (N % rows > 0)
        together(net, rows)
        blocks.clear()
        found = compute(x)
        assert blocks == [rows] * (N // rows) + [N % rows] * (N % rows > 0)
        assert (found.dtype, found.shape, found.device) == (whole.dtype, whole.shape, whole.device)
        at_once, found, *parts = (to_host(each) for each in (whole, found, *parts))
        np.testing.assert_array_equal(found, np.concatenate(parts))
        if found.dtype.kind == "i":
            np.testing.assert_array_equal(found, at_once)
        np.testing.assert_allclose(found, at_once, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("kind", ["standardize", "standardize classes", "scale"])
def test_one_example_is_a_row_without_its_axis(place, blocks, kind):
    net, x = network(place, kind=kind), inputs(kind)
    blocks.clear()
    for compute in (net.forward, net.predict):
        one, row = compute(x[5]), compute(x[5:6])
        assert (tuple(one.shape), one.dtype) == (tuple(row.shape)[1:], row.dtype)
        np.testing.assert_array_equal(to_host(one), to_host(row)[0])
    assert blocks == [1] * 4


@pytest.mark.not_on("jax")  # which compiles a program for each shape
@pytest.mark.parametrize(("wrong", "row"), [(np.nan, 0), (np.inf, N - 1)])
def test_a_wrong_number_in_any_block_is_refused(place, dtype, together, wrong, row):
    net, x = network(place, dtype), X.copy()
    together(net, 4)
    x[row, 2] = wrong
    message = rf"^x holds NaN or infinity \(as {dtype}\), first in row {row}, column 2, counted from 0; remove"
    for verb in VERBS:
        with pytest.raises(ValueError, match=message):
            getattr(net, verb)(x)
    together(net, 1)  # data are checked as a whole, in blocks of their own
    with pytest.raises(ValueError, match=message.replace("^x", "^X of data")):
        net.cost((x, LABELS))


@pytest.mark.not_on("jax")  # which compiles a program for each shape
def test_single_rows_follow_the_weights(place, monkeypatch):
    monkeypatch.setattr(_single_rows, "PAYS_FROM", 1)

    def check(net: Network) -> None:
        for compute in (net.forward, net.predict_proba, net.forward):
            pair = compute(X[:2])
            for _ in range(4):
                row = compute(X[0])
                np.testing.assert_allclose(to_host(row), to_host(pair[0, :]), 1e-5)

    net = network(place, "float32")
    check(net)
    net.w = [10 * to_host(w) for w in net.w]
    check(net)
    net.calibrate((X, LABELS))
    assert not np.allclose(*(to_host(compute(X[0])) for compute in (net.forward, net.predict_proba)))
    check(net)
    twins = [net.copy(), pickle.loads(pickle.dumps(net)), net.to(dtype="float64")]
    net.train((X, LABELS), epochs=2, lr=3.0, progress=False)
    for one in (*twins, net, *twins):
        check(one)
        one.layers = network(place, "float32").layers
        check(one)


@pytest.mark.parametrize("wraps", [lambda value: value, functools.wraps(relu.value)], ids=["own", "wraps relu"])
def test_ones_own_activation_is_called_each_time(place, monkeypatch, wraps):
    """It may change, so what was recorded or compiled of it would be wrong."""

    class Scaled:
        name, factor = "scaled", 1.0

        @wraps
        def value(self, z, xp):
            return self.factor * z

        @wraps
        def pullback(self, g, z, a, xp):
            return self.factor * g

    monkeypatch.setattr(_single_rows, "PAYS_FROM", 1)
    own = Scaled()
    net = Network([4, 3], output_activation=own, seed=0, **place._asdict())
    first, all_rows = (
        [to_host(net.forward(X[0])) for _ in range(4)][-1],
        to_host(net.forward(X)),
    )
    cost = net.cost((X, all_rows))
    own.factor = 2.0
    np.testing.assert_array_equal(to_host(net.forward(X[0])), 2 * first)
    np.testing.assert_array_equal(to_host(net.forward(X)), 2 * all_rows)
    assert (cost, net.cost((X, all_rows))) == (0.0, pytest.approx((all_rows**2).sum(axis=1).mean() / 2))


# Memory


@pytest.mark.parametrize(
    "options", [{"scale": 1 / 255}, pytest.param({"standardize": True}, marks=pytest.mark.slow)], ids=str
)
def test_memory_of_predictions_is_bounded_however_many_there_are(monkeypatch, options):
    """Besides the classes that are returned; everything at once would take more than 6 MB."""
    monkeypatch.setattr(arrays, "BLOCK_ELEMENTS", 1 << 17)
    net, rng = Network([50, 64, 10], task="classification", seed=0, **options), np.random.default_rng(0)
    if net.standardize:
        net.train((rng.random((100, 50)), rng.integers(10, size=100)), epochs=1, progress=False)
    besides = []
    for n in (12_500, 25_000):
        x = rng.integers(256, size=(n, 50), dtype=np.uint8) if net.scale else rng.random((n, 50), dtype=np.float32)
        net.predict(x[:10])
        found, most = peak(lambda x=x: net.predict(x))
        assert found.shape == (n,)
        besides.append(most - found.nbytes)
    assert max(besides) < 3 * 4 * arrays.BLOCK_ELEMENTS
    assert abs(besides[1] - besides[0]) < 0.1 * found.nbytes


WEIGHTS = {"sample_weight": np.linspace(1, 2, 20_000)}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uint8", {}),
        pytest.param("float32", {**WEIGHTS, "class_weight": "balanced"}, marks=pytest.mark.slow),
        pytest.param("float32", {"training_metrics": ["accuracy"]}, marks=pytest.mark.slow),
    ],
    ids=["plain", "weights", "metrics"],
)
def test_training_takes_little_memory_besides_the_data(kind, options):
    """Of 63 MB of numbers, or 16 MB of bytes, nothing is copied; metrics look at 16 MiB of numbers together."""
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(20_000, 784), dtype=np.uint8)
    x = x if kind == "uint8" else x.astype(np.float32) / 255
    y = rng.integers(10, size=20_000)
    net = Network([784, 30, 10], task="classification", scale=1 / 255 if kind == "uint8" else None, seed=0)
    net.train((x[:200], y[:200]), epochs=1, progress=False)
    most = peak(lambda: net.train((x, y), epochs=1, batch_size=100, lr=0.1, progress=False, **options))[1]
    assert most < (25e6 if "training_metrics" in options and kind == "uint8" else 0.3 * x.nbytes)


# Batches


@pytest.mark.parametrize(
    "as_batch", [lambda x, y: x, lambda x, y: (x, y), lambda x, y: [x, y]], ids=["X", "(X, y)", "list"]
)
@pytest.mark.not_on("jax")  # which compiles a program for each shape
def test_an_iterable_of_batches_is_predicted_as_the_rows_are(place, as_batch):
    net = Network([3, 4, 2], task="classification", standardize=True, seed=0, **place._asdict())
    x, y = np.random.default_rng(0).standard_normal((11, 3)) + 5, np.arange(11) % 2
    net.fit_scaling((x, y))

    def batches():
        return (as_batch(x[start : start + 4], y[start : start + 4]) for start in range(0, 11, 4))

    for method in (net.forward, net.predict, net.predict_proba):
        rows = to_host(method(x))
        np.testing.assert_allclose(to_host(method(batches())), rows, rtol=1e-5)
    np.testing.assert_allclose(to_host(net.forward([x[0]] for _ in range(2)))[1], rows[0], rtol=1e-5)


def test_a_batch_may_be_a_list_of_rows():
    """Of which each may be a matrix: only a pair is inputs and targets."""
    np.testing.assert_array_equal(NET.forward(iter([list(ONES[:, None, :])])), NET.forward(ONES))
    np.testing.assert_array_equal(NET.forward(iter([list(ONES[:2])])), NET.forward(ONES[:2]))
    np.testing.assert_allclose(NET.forward(iter(ONES)), NET.forward(ONES), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "names", "remedy"),
    [
        (lambda: NET.predict(iter([np.ones((2, 3)), ONES[:, :2]])), "batch 1 of x has shape (", r"must have \(n, 3\)"),
        (lambda: NET.predict(iter([])), "x has no batches", "give the batches again"),
        (lambda: Ensemble([3, 2], 2).predict(iter([])), "x has no batches", "give the batches again"),
        (lambda: NET.predict(ONES, return_std=True), "predict_std needs a regression", "task is 'classification'"),
        (lambda: NET.fit_scaling((ONES, ONES)), "fit_scaling is for networks with standardize=True", "make one"),
    ],
)
def test_what_cannot_be_predicted_is_refused(call, names, remedy):
    with pytest.raises(ValueError, match=f"^{re.escape(names)}.*{remedy}"):
        call()


def test_standard_deviations_come_with_the_predictions_if_asked_for():
    net = Network([3, 2], cost="gaussian", seed=0)
    for x in (ONES, iter([ONES])):  # one pass is enough
        for got, expected in zip(net.predict(x, return_std=True), (net.predict(ONES), net.predict_std(ONES))):
            np.testing.assert_array_equal(got, expected)


# Evaluation


TASKS = {
    "classification": (["correct", "accuracy"], 3, np.arange(9) % 3),
    "binary": (["correct", "accuracy"], 1, np.arange(9) % 2),
    "multilabel": (["correct", "accuracy"], 2, np.ones((9, 2))),
    "regression": (["r2", "mean_absolute_error"], 2, np.arange(18.0).reshape(9, 2)),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", [Network, Ensemble])
def test_measure_gives_the_cost_and_the_usual_metrics(kind, task):
    names, units, y = TASKS[task]
    net, x = kind([3, units], task=task, seed=0), np.random.default_rng(0).standard_normal((9, 3))
    scores = net.measure((x, y))
    assert list(scores) == ["cost", "size", *names]
    assert (scores["cost"], scores["size"]) == (net.cost((x, y)), 9)
    if task == "regression":
        assert scores["mean_absolute_error"] == pytest.approx(np.abs(net.predict(x) - y).mean())
        assert scores["r2"] == pytest.approx(r2_score(y, net.predict(x)), rel=1e-5)
    else:
        assert scores["accuracy"] == net.accuracy((x, y)) == scores["correct"] / 9
    assert list(net.measure((x, y), metrics=["mse"])) == ["cost", "size", "mse"]
    if kind is Ensemble:
        costs = [member.cost((x, y)) for member in net]
        assert net.cost((x, y), return_std=True) == pytest.approx((np.mean(costs), np.std(costs)))


@pytest.mark.parametrize("factor", [0.05, 0.83, 1.0, 8.0, 100.0])
@pytest.mark.parametrize("task", ["classification", "binary"])
@pytest.mark.not_on("jax")
def test_the_calibrated_log_loss_is_that_at_the_best_temperature(task, factor, place):
    rng, units = np.random.default_rng(1), 3 if task == "classification" else 1
    x = rng.standard_normal((200, 2))
    net = Network([2, units], task=task, dtype="float64", seed=0, **place._asdict())
    z = x @ to_host(net.w[0]).T
    noise = rng.gumbel(size=(200, 3)) if units == 3 else rng.logistic(size=(200, 1))
    y = (z + noise).argmax(axis=1) if units == 3 else (z + noise > 0)[:, 0].astype(int)
    net.w, net.b = [net.w[0] * factor], [net.b[0] * 0]
    logits = factor * (z if units == 3 else np.concatenate([0 * z, z], axis=1))
    losses = [-log_softmax(logits / t, axis=1)[np.arange(200), y].mean() for t in np.exp(np.linspace(-0.5, 2.5, 300))]
    measured = net.measure((x, y), metrics=["calibrated_log_loss"])["calibrated_log_loss"]
    assert measured == pytest.approx(min(losses), rel=4e-4)


def test_the_log_loss_is_finite_where_all_outputs_of_a_row_round_to_0(place):
    net = Network([1, 2], output_activation="sigmoid", cost="cross_entropy", **place._asdict())
    net.layers = [([[-300.0], [-400.0]], [0.0, 0.0])]
    assert np.isfinite(net.measure(([[1.0], [0.0]], [0, 1]), metrics=["log_loss"])["log_loss"])


def test_the_calibrated_log_loss_does_not_jump_where_the_best_temperature_nears_the_highest():
    """3 of 4 are right, and the weighted input is ln 3 times a temperature, which is then the best one."""
    net, losses = Network([1, 1], task="binary", dtype="float64"), []
    for log_temperature in np.linspace(2.3, 2.6, 31):
        net.layers = [([[0.0]], [np.log(3) * np.exp(log_temperature)])]
        scores = net.measure(([[0.0]] * 4, [1, 1, 1, 0]), metrics=["calibrated_log_loss"])
        losses.append(scores["calibrated_log_loss"])
    assert np.abs(np.diff(losses)).max() < 5e-4


def test_a_cost_without_a_number_for_each_target_is_evaluated_alone():
    net = Network([3, 2], cost="quantile(0.1, 0.9)", seed=0)
    assert list(net.measure((np.ones((4, 3)), np.ones(4)))) == ["cost", "size"]


@pytest.mark.not_on("jax")  # which compiles a program for each shape
def test_the_scaling_can_be_learnt_before_a_loop_of_ones_own(place):
    data = np.random.default_rng(0).standard_normal((20, 3)) * 3 + 7, np.arange(20.0)
    nets = [Network([3, 1], task="regression", standardize=True, seed=0, **place._asdict()) for _ in range(2)]
    nets[0].train(data, epochs=1, lr=0.0, progress=False)
    assert nets[1].fit_scaling(data) is nets[1].scaling
    for ours, theirs in zip(nets[1].scaling, nets[0].scaling, strict=True):
        np.testing.assert_array_equal(ours, theirs)
