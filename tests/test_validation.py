"""What is watched besides the training cost: validation data, a part split off for it, metrics, and the history."""

import math
import xml.dom.minidom
from functools import partial
from types import SimpleNamespace

import array_api_compat
import numpy as np
import pytest
from helpers import NOT_INSTALLED, Batches, Items, assert_same, refused, snapshot
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupKFold, StratifiedShuffleSplit, TimeSeriesSplit

import xpnet.core.arrays
from xpnet import Callback, History, Network, OneCycle
from xpnet.data.sampling import split_rows
from xpnet.inference.metrics import accuracy, top_k
from xpnet.training import _evaluate as evaluate

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

N, V = 25, 8
X = np.random.default_rng(0).standard_normal((N, 4))
LABELS = np.random.default_rng(1).integers(3, size=N)
XV = np.random.default_rng(2).standard_normal((V, 4))
LV = np.random.default_rng(3).integers(3, size=V)
OPTIONS = {"epochs": 3, "batch_size": 5, "lr": 0.5, "progress": False}


def network(place, sizes=(4, 5, 3), **options):
    return Network(sizes, **{"task": "classification", "dtype": "float64", "seed": 7, **options}, **place._asdict())


# A split


class LastRows:
    """A splitter by time, with a gap; the last of its splits has the most to train on."""

    def split(self, X, y=None, groups=None):
        for end in (10, len(X)):
            yield np.arange(end - 7), np.arange(end - 4, end)


ROWS, make_stratified = [3, 11, 0], partial(StratifiedShuffleSplit, 1, test_size=6, random_state=0)
SPLITS = {
    "rows": (lambda: ROWS, np.setdiff1d(np.arange(len(X)), ROWS), sorted(ROWS)),
    "array": (lambda: np.array(ROWS, np.uint8), np.setdiff1d(np.arange(len(X)), ROWS), sorted(ROWS)),
    "range": (lambda: range(5, len(X)), np.arange(5), range(5, len(X))),
    "own splitter": (LastRows, np.arange(len(X) - 7), np.arange(len(X) - 4, len(X))),
    "stratified": (make_stratified, *map(np.sort, next(make_stratified().split(X, LABELS)))),
    "scikit-learn": (lambda: TimeSeriesSplit(3, test_size=4), np.arange(len(X) - 4), np.arange(len(X) - 4, len(X))),
}


@pytest.mark.parametrize("name", SPLITS)
def test_rows_and_splitters_choose_what_is_validated_on(name, place):
    make, training, validation = SPLITS[name]
    net, other = network(place), network(place)
    rows, held_out = net.split_rows((X, LABELS), make())
    assert ([*rows], [*held_out]) == ([*training], [*validation])
    history = net.train((X, LABELS), **OPTIONS, validation_split=make())
    expected = other.train((X[rows], LABELS[rows]), **OPTIONS, validation_data=(X[held_out], LABELS[held_out]))
    assert history["validation_cost"] == expected["validation_cost"]
    assert net.fingerprint() == other.fingerprint()


def choose(*parts):
    """A splitter whose splits are these."""
    return SimpleNamespace(split=lambda X, y: iter(parts))


OUT_OF_RANGE = "=.* must be above 0 and below 1; it is the fraction .*row numbers"
REFUSED = [
    *((part, OUT_OF_RANGE) for part in (0.0, 1.0, -0.1, float("nan"), "x", True, {1, 2})),
    (0.99, "=0.99 leaves none of the 25 examples to train on; give a smaller fraction"),
    ([0.5, 0.6], r" has shape \(2,\) and dtype float64, but must list row numbers, whole numbers"),
    ([], " is empty; give at least one row"),
    ([0, -1], r" goes from -1 to 0, but train_data has \d+ rows, from 0"),
    (range(10**4), r" goes from 0 to 9999, but train_data has \d+ rows, from 0"),
    (np.arange(len(X)), r" holds all \d+ rows of train_data; leave some to train on"),
    (X[:, 0] > 0, r" has shape .* and dtype bool, but must .* for a mask, give numpy\.flatnonzero\(mask\)"),
    (GroupKFold(2), r"=GroupKFold\(.*\) cannot split train_data .*groups.*; if it needs groups, give"),
    (choose(), "=.* cannot split train_data into rows"),
    (choose(([0], [99])), r"\.split\(X, y\) goes from 99 to 99"),
    ([5, 1, 5, 2, 1, 5], " lists row 1 more than once; give each once"),
    (choose(([0], [3, 3])), r"\.split\(X, y\) lists row 3 more than once; "),
]
SPLIT_REFUSED = "validation_split needs all examples beforehand; give train_data as arrays"
# Other data, and arguments besides
CONTRADICTIONS = [
    (Batches(XV, LV, 4), {"validation_split": 0.2}, SPLIT_REFUSED),
    (Items(XV, LV), {"validation_split": 0.2, "cache": False}, SPLIT_REFUSED),
    ([*zip(X, LABELS)], {"validation_split": LastRows()}, r"=.* splits X and y; give train_data as a tuple \(X, y\)"),
    *(
        (data, {"training_metrics": ["accuracy"], **options}, "training_metrics iterates .* only once")
        for data, options in ((iter(Batches(XV, LV, 4)), {"epochs": 1}), (Batches(XV, LV, 4), {"steps": 2}))
    ),
]


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        *(((X, LABELS), {"validation_split": split}, "validation_split" + message) for split, message in REFUSED),
        *CONTRADICTIONS,
    ],
)
def test_what_cannot_be_validated_on_is_refused_before_the_first_step(data, options, message):
    net = Network([4, 3], task="classification", seed=0)
    with refused(net, ValueError, message):
        net.train(data, **{**OPTIONS, **options})


@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 2**32), st.integers(1, 8))
def test_any_split_holds_each_class_by_its_share(n, fraction, seed, n_classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    size = math.ceil(fraction * n)
    training, validation = split_rows(n, size, rng, labels)
    assert len(validation) == size
    assert sorted([*training, *validation]) == list(range(n))
    for label in range(n_classes):
        share = len(validation) * (labels == label).mean()
        assert abs((labels[validation] == label).sum() - share) < 1


def test_every_row_is_as_likely_to_be_held_out():
    times, labels = np.zeros(12), np.repeat([0, 1, 2], [7, 3, 2])
    for seed in range(2000):
        times[split_rows(12, 3, np.random.default_rng(seed), labels)[1]] += 1
    np.testing.assert_allclose(times / 2000, 0.25, atol=4 * (0.25 * 0.75 / 2000) ** 0.5)


# History


def test_a_fraction_is_held_out_of_targets_that_are_scaled():
    """They are on the host, whatever the backend; NumPy would not tell."""
    pytest.importorskip("torch")
    net = Network([4, 1], task="regression", standardize=True, seed=0, backend="torch")
    x = np.random.default_rng(0).normal(size=(20, 4))
    history = net.train((x, x[:, 0]), epochs=1, validation_split=0.2, progress=False)
    rows = net.split_rows((x, x[:, 0]), 0.2)[1]
    assert history["validation_cost"] == [pytest.approx(net.cost((x[rows], x[rows, 0])))]


def test_a_row_an_epoch(place):
    net = network(place)
    history = net.train(
        *((X, LABELS), 3, 5, OneCycle(1.0), (XV, LV)),
        validation_data=(XV, LV),
        metrics=["accuracy"],
        training_metrics=["top_2"],
        progress=False,
    )
    names = ["epoch", "cost", "lr", "seconds", "examples_per_second", "training_top_2"]
    names += ["validation_cost", "validation_accuracy", "test_cost", "test_size", "test_correct", "test_accuracy"]
    assert history is net.history
    assert [list(row) for row in history] == [names] * 3
    assert history.to_dict() == {name: [row[name] for row in history.rows] for name in names}
    assert history["epoch"] == [1, 2, 3]
    assert history["lr"] == [OneCycle(1.0)(step, 15) for step in (4, 9, 14)]
    assert history["test_accuracy"] == history["validation_accuracy"]
    assert history["test_cost"] == history["validation_cost"]
    assert history["training_top_2"][-1] >= net.accuracy((X, LABELS))
    for row in history:
        assert row["seconds"] > 0
        assert row["examples_per_second"] == pytest.approx(N / row["seconds"])
        assert {type(value) for value in row.values()} == {int, float}


def test_a_history_is_looked_up_by_name_and_is_a_data_frame():
    class Sometimes(Callback):
        def on_epoch_end(self, logs):
            if logs["epoch"] == 2:
                logs["found"] = 1.5

    net = Network([4, 3], seed=0)
    history = net.train((X, LABELS), **OPTIONS, callbacks=[Sometimes()])
    assert history["found"] == [None, 1.5, None]
    with pytest.raises(KeyError, match=r"'validation_cost' is not in this history; it has 'epoch', 'cost', 'lr', 'sec"):
        history["validation_cost"]
    if "pandas" not in NOT_INSTALLED:
        frame = history.to_pandas()
        assert list(frame.columns) == list(history.to_dict())
        assert frame["cost"].tolist() == history["cost"]
    empty = net.train((X, LABELS), **{**OPTIONS, "epochs": 0})
    assert (len(empty), empty["cost"], empty.to_dict(), repr(empty)) == (0, [], {}, "History(0 epochs)")


def test_a_history_shows_a_table_in_a_notebook():
    rows = [{"epoch": k, "cost": 1 / k} for k in range(1, 31)]
    rows[0]["<i>found"] = "<b>"
    parsed = xml.dom.minidom.parseString(History(rows)._repr_html_())
    lines = [[cell.firstChild.data if cell.firstChild else "" for cell in row.childNodes] for row in find(parsed, "tr")]
    assert lines[:3] == [["epoch", "cost", "<i>found"], ["1", "1", "<b>"], ["2", "0.5", ""]]
    assert [line[0] for line in lines[1:]] == [*"123456", "…", *map(str, range(25, 31))]
    assert "History(0 epochs)" in History()._repr_html_()


def find(document, tag):
    return document.getElementsByTagName(tag)


# Metrics


def scores(net, x, y, metrics, where="validation"):
    """Metrics of a network as it is: an epoch at a rate of 0."""
    data = {"validation": "validation_data", "test": "test_data"}
    options = {"training_metrics": metrics} if where == "training" else {"metrics": metrics, data[where]: (x, y)}
    history = net.train((x, y), epochs=1, lr=0.0, progress=False, **options)
    prefix = f"{where}_"
    return {name.removeprefix(prefix): values[0] for name, values in history.to_dict().items() if prefix in name}


@pytest.fixture(params=[40, None], ids=["several blocks", "one block"])  # off NumPy only the last
def _blocks(request, monkeypatch):
    """Evaluate all at once, or a few examples at a time; no test here has fewer than N examples."""
    rows, forward = [], evaluate.forward
    monkeypatch.setattr(evaluate, "forward", lambda *args: rows.append(args[2].shape[0]) or forward(*args))
    if request.param:
        monkeypatch.setattr(xpnet.core.arrays, "BLOCK_ELEMENTS", request.param)
    yield
    assert max(rows) <= 4 if request.param else min(rows) >= N


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("task", "outputs", "where"),
    [
        *(("classification", 8, where) for where in ("validation", "test", "training")),
        ("binary", 1, "validation"),
        ("multilabel", 2, "validation"),
    ],
)
@pytest.mark.on("jax")
def test_metrics_of_classes_are_those_of_scikit_learn(place, task, outputs, where):
    """With several labels, an example is right if all of them are: the subset accuracy."""
    sklearn = pytest.importorskip("sklearn.metrics")
    net, rng, is_one = network(place, (4, 6, outputs), task=task), np.random.default_rng(4), task == "classification"
    x, y = rng.standard_normal((60, 4)), rng.integers(8, size=60) if is_one else rng.integers(2, size=(60, outputs))
    a = net.backend.to_numpy(net.forward(x))
    expected = {"accuracy": sklearn.accuracy_score(y, a.argmax(axis=1) if is_one else a > 0.5)}
    if is_one:
        expected["mean_absolute_error"] = sklearn.mean_absolute_error(np.eye(8)[y], a)
        expected |= {f"top_{k}": sklearn.top_k_accuracy_score(y, a, k=k, labels=range(8)) for k in (2, 3, 5)}
        assert expected["top_2"] < expected["top_3"] < expected["top_5"] < 1
    found = scores(net, x, y, [top_k(2) if name == "top_2" else name for name in expected], where)
    assert {name: found[name] for name in expected} == {name: pytest.approx(v) for name, v in expected.items()}
    assert 0 < expected["accuracy"] < 1


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(("outputs", "standardize", "dtype"), [(1, False, "float64"), (3, True, "float32")])
def test_metrics_of_regressions_are_those_of_scikit_learn(place, outputs, standardize, dtype):
    """In the units of the user; R² is the mean over the outputs."""
    sklearn = pytest.importorskip("sklearn.metrics")
    net = network(place, (4, outputs), task="regression", dtype=dtype, standardize=standardize)
    x = np.random.default_rng(7).standard_normal((60, 4))
    y = 50 + 20 * x[:, :outputs] + 15 * np.random.default_rng(8).standard_normal((60, outputs))
    net.train((x, y), epochs=20, batch_size=10, lr=0.1, progress=False)
    a = net.backend.to_numpy(net.predict(x)).astype(float)
    found = scores(net, x, y, ["mean_absolute_error", "mean_squared_error", "r2"])
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    assert found["mean_absolute_error"] == pytest.approx(sklearn.mean_absolute_error(y, a), rel=tolerance)
    assert found["mean_squared_error"] == pytest.approx(sklearn.mean_squared_error(y, a), rel=tolerance)
    assert found["r2"] == pytest.approx(sklearn.r2_score(y, a), abs=tolerance)
    assert 0.2 < found["r2"] < 0.9


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("unit", [1.0, 2.0**-100])
def test_r2_does_not_drown_in_a_large_offset_or_unit(place, unit):
    """Targets of 1e6 ± 100 in float32, whose squares have steps of 65 536: Σy² − n ȳ² would be noise.

    In the small unit, their squares would be 0, and R² 1.
    """
    net = network(place, (4, 1), task="regression", dtype="float32")
    x = np.random.default_rng(9).standard_normal((200, 4)).astype("float32")
    y = (1e6 + 100 * x[:, :1] + 50 * np.random.default_rng(10).standard_normal((200, 1))).astype("float32")
    y *= unit
    net.layers = [([[100.0 * unit, 0.0, 0.0, 0.0]], [1e6 * unit])]
    a, y64 = net.backend.to_numpy(net.forward(x)).astype(float), y.astype(float)
    expected = 1 - ((y64 - a) ** 2).sum() / ((y64 - y64.mean()) ** 2).sum()
    assert 0.7 < expected < 0.9
    assert scores(net, x, y, ["r2"])["r2"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_r2_of_targets_that_do_not_vary_is_that_of_scikit_learn(place, offset):
    """1 where they are met, 0 where not."""
    sklearn = pytest.importorskip("sklearn.metrics")
    net = network(place, (4, 2), task="regression")
    net.layers = [(np.zeros((2, 4)), [3.0 + offset, 0.0])]
    y = np.stack([np.full(N, 3.0), X[:, 0]], axis=1)
    expected = sklearn.r2_score(y, net.backend.to_numpy(net.forward(X)))
    assert scores(net, X, y, ["r2"])["r2"] == pytest.approx(expected)


def test_top_k_of_equal_outputs_takes_the_first(place):
    """As accuracy does, so that top_1 is the accuracy: of four equal outputs, 0 and 1 are the two largest.

    Two of the labels are the first class, so taking the last of equal outputs gives other numbers.
    """
    net = network(place, (4, 4))
    net.layers = [(np.zeros((4, 4)), np.zeros(4))]
    found = scores(net, np.eye(4), [0, 0, 1, 3], [top_k(1), top_k(2), top_k(3), "accuracy"])
    assert (found["top_1"], found["top_2"], found["top_3"], found["accuracy"]) == (0.5, 0.75, 0.75, 0.5)
    with pytest.raises(ValueError, match=r"k=0 must be a whole number of at least 1"):
        top_k(0)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("task", "outputs", "standardize"),
    [
        *(("classification", 3, False), ("binary", 1, False), ("multilabel", 2, False)),
        *(("regression", 1, False), ("regression", 2, True)),
    ],
)
def test_a_function_is_a_metric_of_what_predict_returns(place, task, outputs, standardize):
    """It gets all examples at once, on the device."""
    seen = []

    def worst(y_true, y_pred):
        seen.append((y_true, y_pred))
        xp = array_api_compat.array_namespace(y_true, y_pred)
        return xp.max(xp.abs(y_true - y_pred))

    net = network(place, (4, 5, outputs), task=task, standardize=standardize)
    y = np.random.default_rng(0).integers(2, size=(N, outputs)) if task != "regression" else 5 + X[:, :outputs]
    y = LABELS if task == "classification" else y
    net.train((X, y), epochs=1, progress=False)
    found, predicted = scores(net, X, y, [worst, lambda *_: np.float32(0.5)]), net.backend.to_numpy(net.predict(X))
    y_true, y_pred = seen[0]
    y, rtol = y[:, 0] if outputs == 1 else y, 1e-12 if standardize else 0.0
    np.testing.assert_allclose(net.backend.to_numpy(y_true), y, rtol)
    np.testing.assert_allclose(net.backend.to_numpy(y_pred), predicted, rtol)
    assert y_true.device == y_pred.device == net.w[0].device
    assert found == {"cost": found["cost"], "worst": pytest.approx(abs(y - predicted).max(), rel=1e-12), "lambda": 0.5}
    assert type(found["worst"]) is float


# Wrong metrics


@pytest.mark.parametrize(
    ("task", "wrong", "error", "message"),
    [
        ("classification", ["acuracy"], ValueError, r"='acuracy' is unknown; choose from .*did you mean 'accuracy'"),
        ("regression", ["accuracy"], ValueError, r" holds 'accuracy', which is for 'classification', 'binary', 'multi"),
        ("classification", ["top_3"], ValueError, r" holds 'top_3', which needs 4 outputs or more"),
        ("classification", [max, max], ValueError, r" holds a metric called 'max', which is taken; give it another"),
        (
            "classification",
            [accuracy._replace(name="cost")],
            ValueError,
            r" holds a metric called 'cost', which is taken",
        ),
        ("classification", "accuracy", TypeError, r"='accuracy' must be a list of metrics, as in \[\"accuracy\"\]"),
        ("classification", None, TypeError, r"=None must be a list of metrics, as in"),
    ],
    ids=lambda each: None if isinstance(each, type) else str(each)[:20],
)
def test_wrong_metrics_are_refused(task, wrong, error, message):
    net = Network([4, 3], task=task, seed=0)
    y = LABELS if task == "classification" else np.eye(3)[LABELS]
    for argument in ("metrics", "training_metrics"):
        with refused(net, error, argument + ".*" + message):
            net.train((X, y), **OPTIONS, validation_data=(X, y), **{argument: wrong})


def test_batches_have_training_metrics():
    net = Network([4, 3], seed=0)
    history = net.train(Batches(XV, LV, 4), **OPTIONS, training_metrics=["accuracy"])
    assert history["training_accuracy"][-1] == net.accuracy((XV, LV))


@pytest.mark.parametrize("wrong", ["good", None, np.ones(2), [1, 2]], ids=str)
def test_a_metric_that_gives_no_number_is_named(place, wrong):
    """After the first epoch, as it is not known earlier; the network keeps what it has learnt."""
    net, twin = network(place), network(place)

    def judge(y_true, y_pred):
        return wrong

    with pytest.raises(ValueError, match=r"the metric judge must return a number, but returned "):
        net.train((X, LABELS), **OPTIONS, validation_data=(XV, LV), metrics=[judge])
    twin.train((X, LABELS), **{**OPTIONS, "epochs": 1})
    assert_same(net, snapshot(twin))
    assert not math.isnan(net.cost((X, LABELS)))
