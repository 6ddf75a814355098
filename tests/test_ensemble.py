"""Ensemble: its members are the networks that each would be alone, and what it refuses."""

import copy
import io
import itertools
import os
import pickle
import re
import sys
import zipfile
from weakref import ref

import host_cupy
import numpy as np
import pytest
from helpers import Batches, Items, Steep, Stream, assert_same, peak, snapshot
from test_scaling import FAR

from xpnet import (
    L1,
    SGD,
    Adam,
    AdamW,
    ArgumentError,
    Callback,
    CheckpointError,
    Clip,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    Ensemble,
    MaxNorm,
    Network,
    RMSProp,
    Step,
)
from xpnet.backends import to_host
from xpnet.backends._machine import read_limits
from xpnet.core.arrays import leaves
from xpnet.files import _archive as archive
from xpnet.files import encode_network

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

SEEDS = [3, 1, 4]


def make_data(kind, n=64, seed=0):
    """Examples with 5 inputs: three classes, or real targets."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5))
    if kind == "bytes":
        return rng.integers(256, size=(n, 5), dtype=np.uint8), rng.integers(3, size=n)
    score = x @ rng.standard_normal((5, 3))
    return (x, score.argmax(axis=1)) if kind == "classes" else (3.0 + 2.0 * x, 5.0 + score[:, :1])


CASES = {
    "book": ([5, 4, 3], {}, "classes", {"lr": [3.0, 0.3, 1.0]}),
    "dropout": (
        [5, 6, 4, 3],
        {"activation": ["tanh", "elu"], "task": "classification", "dropout": [0.1, 0.3, 0.5]},
        "classes",
        {"optimizer": [SGD(momentum=0.9, weight_decay=w) for w in (0.1, 0.0, 0.01)], "lr": 0.1, "sample_weight": True},
    ),
    "scaled": (
        [5, 6, 1],
        {"activation": "relu", "task": "regression", "standardize": True},
        "real",
        {"optimizer": [Adam(beta1=b) for b in (0.9, 0.5, 0.8)], "lr": [Step(0.01), 0.02, 0.03]},
    ),
    "gaussian": (
        [5, 6, 2],
        {"activation": "gelu", "cost": "gaussian", "standardize": True},
        "real",
        {"optimizer": [Clip(AdamW(), norm) for norm in (0.1, 1.0, 0.5)], "lr": 0.01, "sampling": "replacement"},
    ),
    "bounded": (
        [5, 6, 3],
        {"activation": "leaky_relu", "cost": "quantile(0.1, 0.5, 0.9)", "standardize": True},
        "real",
        {
            "optimizer": [MaxNorm(L1(RMSProp(rho=r), 1e-3), 1.0) for r in (0.9, 0.99, 0.95)],
            "lr": 0.01,
            "batch_size": 10,
        },
    ),
    "bytes": (
        [5, 4, 3],
        {"output_activation": "softmax", "cost": "log_likelihood", "scale": 1 / 255},
        "bytes",
        {"optimizer": SGD(momentum=0.5, nesterov=True), "lr": 0.5, "class_weight": {0: 2.0, 2: 0.5}},
    ),
}


def assert_close(net, other, before, tolerance):
    """Weights agree, as far as they have changed; generators and steps of dropout are equal."""
    for x, y, start in zip(*(leaves(snapshot(one).layers) for one in (net, other, before))):
        assert x.dtype == y.dtype
        assert np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y - start) + 1e-30
    for x, y in zip(leaves(snapshot(net)), leaves(snapshot(other)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e3 * tolerance, atol=1e3 * tolerance)
    assert net.value.generator == other.value.generator
    assert net.seeds == other.seeds


@pytest.fixture
def recorded(monkeypatch):
    """Record steps after the first ten, as is done in longer trainings."""
    monkeypatch.setattr("xpnet.backends.replay._program.MIN_RECORDED_STEPS", 10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("recorded")
def test_members_are_the_networks_that_each_would_be_alone(case, place):
    sizes, settings, kind, train = CASES[case]
    settings, data = {**settings, **place._asdict(), "dtype": "float64"}, make_data(kind)
    train = {"epochs": 2, "batch_size": 8, "progress": False, **train}
    if train.get("sample_weight"):
        train["sample_weight"] = np.random.default_rng(1).uniform(0.5, 2.0, 64)
    ensemble = Ensemble(sizes, 3, seed=SEEDS, **settings)
    histories = ensemble.train(data, **train)
    for k, seed in enumerate(SEEDS):
        net = Network(sizes, seed=seed, **settings)
        before = net.copy()
        history = net.train(data, **{name: own[k] if isinstance(own, list) else own for name, own in train.items()})
        assert_close(ensemble[k], net, before, 1e-9)
        for name in ("epoch", "cost", "lr"):
            np.testing.assert_allclose(histories[k][name], history[name], rtol=1e-9)
        if net.state.dropout is not None:
            np.testing.assert_array_equal(*(snapshot(one).dropout.step for one in (net, ensemble[k])))


class Disturb(Callback):
    """After the first epoch, stop, or go on with other weights; also in the middle of the second."""

    def __init__(self, how):
        self.how = how

    def on_train_begin(self, training):
        self.training, self.chunks = training, 0

    def on_chunk_end(self, steps):
        self.chunks += 1
        if self.how == "halve" and self.chunks == 4:
            self._halve()

    def on_epoch_end(self, logs):
        if self.how == "stop":
            self.training.stopped = True
        if self.how == "halve" and logs["epoch"] == 1:
            self._halve()

    def _halve(self):
        net = self.training.net.copy()
        net.w = [w / 2 for w in net.w]
        self.training.value = net.value


@pytest.mark.parametrize("how", ["stop", "halve"])
@pytest.mark.parametrize("member", [0, 5, 11])
def test_a_group_goes_on_when_one_of_its_members_is_disturbed(how, member, place):
    """It is divided anew only when fewer than 7/8 of its members are left; rows, scalings and weights are their own."""
    (x, y), n = make_data("real"), 12
    rows = [np.random.default_rng(k).permutation(64)[:40] for k in range(n)]
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 64)
    settings = {"activation": "tanh", "task": "regression", "standardize": True, "dropout": 0.1, "dtype": "float64"}
    settings |= place._asdict()
    options = {"epochs": 3, "batch_size": 8, "optimizer": Adam(), "progress": False, "chunk_steps": 2}
    rates, seeds = [0.01 * (1 + k) for k in range(n)], range(n)
    ensemble = Ensemble([5, 4, 1], n, seed=seeds, **settings)
    callbacks = [[Disturb(how)] if k == member else [] for k in range(n)]
    own = {"rows": rows, "lr": rates, "callbacks": lambda k: callbacks[k], "sample_weight": weight}
    own |= {"threads": 1} if place.backend == "numpy" else {}  # elsewhere all compute together in any case
    histories = ensemble.train((x, y), **options, **own)
    assert [len(history) for history in histories] == [1 if how == "stop" and k == member else 3 for k in range(n)]
    for k in {0, 4, 5, 6, 11}:
        net = Network([5, 4, 1], seed=seeds[k], **settings)
        before, own = net.copy(), {"sample_weight": weight[rows[k]], "lr": rates[k], "callbacks": callbacks[k]}
        history = net.train((x[rows[k]], y[rows[k]]), **options, **own)
        assert_close(ensemble[k], net, before, 1e-9)
        np.testing.assert_allclose(histories[k]["cost"], history["cost"], rtol=1e-9)
        np.testing.assert_allclose(ensemble[k].scaling.x_mean, net.scaling.x_mean, rtol=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_validation_and_test_data_are_standardized_as_training_data_are(shared):
    """The costs in the history are those that a member computes later."""
    ensemble, data = Ensemble([5, 6, 1], 2, task="regression", standardize=True, seed=0), make_data("real", 40)
    rows = None if shared else [np.arange(20), np.arange(10, 40)]
    ensemble.train(data, 2, 8, lr=0.01, rows=rows, validation_data=data, test_data=data, progress=False)
    for member in ensemble:
        expected = member.cost(data)
        for name in ("validation_cost", "test_cost"):
            np.testing.assert_allclose(member.history[name][-1], expected, rtol=1e-5)
    ensemble.train(data, 1, 8, lr=0.01, validation_split=0.25, progress=False)
    for member in ensemble:  # each holds out rows of its own
        _, held_out = member.split_rows(data, 0.25)
        expected = member.cost(tuple(part[held_out] for part in data))
        np.testing.assert_allclose(member.history["validation_cost"][-1], expected, rtol=1e-5)


def test_threads_change_nothing():
    first, *others = (Ensemble([5, 4, 3], 5, seed=0) for _ in range(4))
    for ensemble, threads in zip((first, *others), ("auto", 1, 2, 5), strict=True):
        ensemble.train(make_data("classes"), 2, 8, lr=1.0, threads=threads, progress=False)
    for ensemble in others:
        for member, same in zip(first, ensemble, strict=True):
            assert_same(member, snapshot(same))


def test_classes_are_balanced_among_the_rows_of_each_member():
    x, y = make_data("classes")
    rows = [np.random.default_rng(k).integers(64, size=40) for k in range(2)]
    ensemble = Ensemble([5, 4, 3], 2, seed=SEEDS[:2], task="classification", dtype="float64")
    options = {"epochs": 1, "batch_size": 2, "lr": 0.5, "class_weight": "balanced", "progress": False}
    pairs = [(net.copy(), net.copy()) for net in ensemble]
    ensemble.train((x, y), rows=rows, **options)
    for member, (net, before), part in zip(ensemble, pairs, rows):
        net.train((x[part], y[part]), **options)
        assert_close(member, net, before, 1e-9)


@pytest.mark.parametrize("standardize", [False, True])
def test_members_share_inputs_whatever_their_weights(standardize):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4000, 100)), rng.integers(3, size=4000)
    rows = [rng.integers(4000, size=400) for _ in range(10)]  # among which classes are balanced
    ensemble = Ensemble([100, 3], 10, seed=0, standardize=standardize)
    for member in ensemble if standardize else ():
        member.fit_scaling((x, y))
    options = {"rows": rows, "class_weight": "balanced", "progress": False}
    assert peak(lambda: ensemble.train((x, y), 1, 100, **options))[1] < 2 * x.nbytes


# Rows, validation, early stopping


FIRST, LAST = np.arange(120), np.arange(120, 240)
WAYS = {  # of training members with scalings of their own
    "rows": lambda x, y: [((x, y), {"rows": [FIRST, np.arange(240), LAST[:30]], "validation_data": (x, y)})],
    "split": lambda x, y: [((x, y), {"validation_split": 0.25, "metrics": ["r2"]})],
    # Far from each other: an example of one, scaled by another, would lose its digits
    "far": lambda x, y: [((x - np.where(np.arange(240) < 120, x[0], 0)[:, None], y), {"rows": [FIRST, LAST, LAST]})],
    "batches": lambda x, y: [((x, y), {"rows": [FIRST, LAST, LAST[:30]]}), (Batches(x, y, 20), {})],
}


@pytest.mark.parametrize(("way", "kind"), [*zip(WAYS, itertools.cycle(["times", "targets"]))])
@pytest.mark.not_on("torch")
@pytest.mark.usefixtures("recorded")
@pytest.mark.slow
def test_members_with_scalings_of_their_own_see_numbers_far_from_0_with_all_digits(way, kind, place):
    x, y = FAR[kind]
    calls = WAYS[way](x, y)
    options = {"epochs": 2, "batch_size": 20, "lr": 0.03, "optimizer": Adam(), "progress": False}
    single, double = pair = [
        Ensemble(
            [1, 8, 1], 3, activation="tanh", task="regression", standardize=True, seed=0, dtype=dtype, **place._asdict()
        )
        for dtype in ("float32", "float64")
    ]
    for ensemble in pair:
        for data, more in calls:
            ensemble.train(data, **options, **more)
    x = calls[0][0][0]
    for one, other in zip(single, double, strict=True):
        ours, theirs = (to_host(each.predict(x[180:])) for each in (one, other))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * y.std())
        np.testing.assert_allclose(one.history["cost"], other.history["cost"], rtol=1e-3)


@pytest.mark.not_on(host_cupy.NAME)  # mean and std of CuPy need a driver
def test_members_of_which_some_have_far_targets_predict_together(place):
    """Their outputs are of different dtypes."""
    ensemble = Ensemble([1, 4, 1], 2, task="regression", standardize=True, seed=0, **place._asdict())
    x, y = FAR["times"]
    for member, shift in zip(ensemble, (0.0, 1e7)):
        member.train((x, shift + y), epochs=1, progress=False)
    mean, std = map(to_host, ensemble.predict(x, return_std=True))
    np.testing.assert_allclose(mean, 5e6, atol=2)
    np.testing.assert_allclose(std, 5e6, atol=2)


def test_one_bar_shows_the_steps_of_all_members(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ensemble = Ensemble([5, 4, 3], 2, seed=0)
    ensemble.train(make_data("classes"), 2, 8, progress=False)
    assert capsys.readouterr().err == ""
    ensemble.train(make_data("classes"), 2, 8)
    assert "/16 [" in capsys.readouterr().err


# Data sets that are read again, and batches


class Loader(Stream):
    """Batches of other sizes, which counts those that it gives."""

    given = 0

    def __init__(self, data, sizes=(8, 8, 8, 5, 5, 20, 8)):
        ends = np.cumsum([0, *sizes])
        super().__init__(*(tuple(part[start:end] for part in data) for start, end in itertools.pairwise(ends)))

    def __iter__(self):
        for batch in self.batches:
            self.given += 1
            yield batch


class Transformed(Items):
    """A data set that counts the items that it gives."""

    given = 0

    def __getitem__(self, i):
        self.given += 1
        x, y = super().__getitem__(i)
        return np.tanh(x), y


def endless(data):
    while True:
        yield from Loader(data)


def train_members_alone(ensemble, data, **options):
    """Train a copy of each member alone; return the copies, and copies of these from before."""
    pairs = [(net.copy(), net.copy()) for net in ensemble]
    for net, _ in pairs:
        net.train(data(), progress=False, **options)
    return pairs


@pytest.mark.parametrize("case", ["epochs", "endless", "weights", "scaled", "scalings"])
def test_members_see_the_same_batches_which_are_read_once(case, place):
    data = make_data("real" if case.startswith("scal") else "classes")
    settings = {"task": "regression", "standardize": True} if case.startswith("scal") else {"task": "classification"}
    sizes = [5, 4, 1] if case.startswith("scal") else [5, 4, 3]
    ensemble = Ensemble(sizes, 3, seed=SEEDS, dtype="float64", **settings, **place._asdict())
    if case == "scalings":
        for k, member in enumerate(ensemble):
            member.train(make_data("real", seed=k), 1, progress=False)
    options = {"epochs": 2, "lr": 0.1}
    if case == "endless":
        options["steps"] = 5
    if case == "weights":
        options["class_weight"] = {0: 0.5, 1: 2.0}
    pairs = train_members_alone(ensemble, lambda: endless(data) if case == "endless" else Loader(data), **options)
    loader = Loader(data)
    histories = ensemble.train(endless(data) if case == "endless" else loader, progress=False, **options)
    for member, (net, before), history in zip(ensemble, pairs, histories):
        assert_close(member, net, before, 1e-9)
        np.testing.assert_allclose(history["cost"], net.history["cost"], rtol=1e-9)
    if case != "endless":
        assert loader.given == (3 if case == "scaled" else 2) * 7


@pytest.mark.parametrize("standardize", [False, True])
def test_a_data_set_is_read_again_in_the_order_of_each_member(standardize, place):
    data = make_data("classes", 44)
    settings = {"task": "classification", "standardize": standardize, "dtype": "float64"}
    ensemble = Ensemble([5, 4, 3], 3, seed=SEEDS, **settings, **place._asdict())
    options = {"epochs": 2, "batch_size": 8, "lr": 0.1, "cache": False}
    pairs = train_members_alone(ensemble, lambda: Transformed(*data), **options)
    data_set = Transformed(*data)
    ensemble.train(data_set, progress=False, **options)
    for member, (net, before) in zip(ensemble, pairs):
        assert_close(member, net, before, 1e-9)
    assert data_set.given == 1 + 2 * 3 * 44 + 44 * standardize  # one to check it first


# Lines of epochs


def test_a_line_per_epoch_has_means(capsys):
    data = make_data("classes")
    ensemble = Ensemble([5, 4, 3], 3, seed=0, task="classification")
    stops = [[EarlyStopping(1, min_delta=10.0)], [], []]
    options = {"validation_data": data, "rows": [np.arange(20), np.arange(64), np.arange(20)]}
    histories = ensemble.train(data, 3, 8, test_data=data, callbacks=lambda k: stops[k], **options)
    lines = capsys.readouterr().out.splitlines()
    assert [len(history) for history in histories] == [2, 3, 3]
    assert len(lines) == 3
    for epoch, line in enumerate(lines):
        rows = [history.rows[epoch] for history in histories if len(history) > epoch]
        accuracy, cost = (np.mean([row[name] for row in rows]) for name in ("test_accuracy", "validation_cost"))
        some = " (2 of 3)" if epoch == 2 else ""
        assert line == f"Epoch: {epoch + 1} / 3,\t test: accuracy {accuracy:.4g}; validation: cost {cost:.4g}{some}"


def test_lines_are_written_for_epochs_in_which_a_member_diverges(capsys):
    ensemble = Ensemble([5, 4, 1], 2, seed=0, activation="relu", task="regression")
    with pytest.raises(DivergenceError):
        ensemble.train(make_data("real"), 2, 8, lr=[0.001, 1e20], test_data=make_data("real"))
    lines = capsys.readouterr().out.splitlines()
    assert [re.fullmatch(r"Epoch: (\d) / 2,\t test: cost \S+ \(1 of 2\)", line)[1] for line in lines] == ["1", "2"]


# Interrupts and divergence


@pytest.mark.not_on("strict-device1", "torch")
@pytest.mark.usefixtures("recorded")
@pytest.mark.on("jax")
def test_a_member_that_diverges_does_not_end_the_others(place):
    settings = {"activation": "relu", "task": "regression", "dtype": "float64", **place._asdict()}
    ensemble = Ensemble([5, 4, 1], 4, seed=range(4), **settings)
    states = [snapshot(ensemble[k]) for k in (1, 2)]
    rates = [0.01, 1e200, Step(1e200), 0.02]
    message = (
        r"^members 1, 2 diverged, and the 2 others were trained to the end: training of member 1 diverged in epoch 1, "
        r"steps 1 to 8, at lr=1e\+200: cost or weights are not finite; the network is as it was before these steps. "
        r"Give a smaller lr, or standardize=True, which scales inputs and targets$"
    )
    with pytest.raises(DivergenceError, match=message):
        ensemble.train(make_data("real"), 2, 8, lr=rates, progress=False)
    assert [len(history) for history in ensemble.histories] == [2, 0, 0, 2]
    for k, state in zip((1, 2), states):
        assert_same(ensemble[k], state)
    for k in (0, 3):
        net = Network([5, 4, 1], seed=k, **settings)
        before = net.copy()
        net.train(make_data("real"), 2, 8, lr=rates[k], progress=False)
        assert_close(ensemble[k], net, before, 1e-9)


# Predictions


def test_the_best_member():
    x, y = make_data("classes")
    ensemble = Ensemble([5, 6, 3], 4, seed=0, task="classification")
    ensemble.train((x, y), 10, 8, lr=[0.0, 1.0, 0.001, 0.01], progress=False)
    assert ensemble.best((x, y)) is ensemble[1]
    assert ensemble.best((x, y), metric="accuracy") is ensemble[1]
    with pytest.raises(ValueError, match="metric='worst' does not tell whether smaller or larger is better; give an"):
        ensemble.best((x, y), metric=worst)
    nets = [Network([2, 1], task="regression", seed=0) for _ in range(2)]
    for net in nets:
        net.layers = [(np.array([[9.0, 9.0]]), np.zeros(1))]
    far = ([[3e38, -3e38]], [0.0])
    with pytest.raises(ValueError, match="the cost of every member is NaN"):
        Ensemble.of(nets).best(far)
    nets[1].layers = [(np.zeros((1, 2)), np.zeros(1))]
    ensemble = Ensemble.of(nets)
    assert ensemble.best(far) is ensemble[1]


def worst(y_true, y_pred):
    return 0.0


# Members, copies and files


def test_a_file_holds_all_members(place, tmp_path):
    path, data = tmp_path / "ensemble.zip", make_data("real")
    settings = {"task": "regression", "standardize": True, "dropout": 0.2, **place._asdict()}
    ensemble = Ensemble([5, 4, 1], 3, seed=0, **settings)
    ensemble.train(data, 1, 8, optimizer=Adam(), progress=False)
    ensemble.save(path)
    loaded = Ensemble.load(path, **place._asdict())
    for one in (ensemble, loaded):
        one.train(data, 1, 8, progress=False)
    for member, other in zip(ensemble, loaded, strict=True):
        assert_same(member, snapshot(other))
    with zipfile.ZipFile(path) as archive:
        archive.extract("member-2.safetensors", tmp_path)
    assert Network.load(tmp_path / "member-2.safetensors").sizes == [5, 4, 1]


def written(*files, **options):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", **options) as file:
        for name, content in files:
            file.writestr(name, content)
    return archive.getvalue()


def member(sizes=(2, 1), seed=0, **settings):
    net = Network(sizes, seed=seed, **settings)
    return encode_network(net.value)


BAD_FILES = {
    "one network": (member, "file is a file of one Network, not of an ensemble; use Network.load"),
    "no archive": (lambda: b"nothing", "does not hold an xpnet ensemble (BadZipFile: File is not a zip file)"),
    "empty": (lambda: written(), "(it is damaged: it holds more"),
    "other names": (lambda: written(("../member-0.safetensors", member())), "does not hold an xpnet ensemble"),
    "a gap": (lambda: written(("member-1.safetensors", member())), "does not hold an xpnet ensemble"),
    "compressed": (
        lambda: written(("member-0.safetensors", member()), compression=zipfile.ZIP_DEFLATED),
        "its files are larger than the archive",
    ),
    "another time": (lambda: written(("member-0.safetensors", member())), "(it is damaged: it holds more"),
    "no network": (lambda: archive.encode_archive([b"x" * 99]), "member 0, does not hold an xpnet network"),
    "damaged": (
        lambda: archive.encode_archive([member()[:-1] + b"x"]),
        "member 0, does not hold an xpnet network (it is damaged: its checksum does not fit",
    ),
    "not alike": (
        lambda: archive.encode_archive([member(), member(activation="tanh", dtype="float64")]),
        "holds a network that is not valid: network 1 has dtype='float64' and network 0 has dtype='float32'",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused(case, tmp_path):
    make, message = BAD_FILES[case]
    (tmp_path / "file").write_bytes(make())
    with pytest.raises(CheckpointError) as refused:
        Ensemble.load(tmp_path / "file")
    assert message in str(refused.value)


def is_refused(content):
    try:
        archive.decode_archive(content, "file")
    except CheckpointError:
        return True
    return False


def test_an_archive_with_a_flipped_bit_is_refused():
    content = archive.encode_archive([member([1, 1], seed=k) for k in range(2)])
    assert len(archive.decode_archive(content, "file")) == 2
    damaged, taken = bytearray(content), []
    for bit in range(0, 8 * len(content), 41):
        damaged[bit // 8] ^= 1 << bit % 8
        if not is_refused(bytes(damaged)):
            taken.append(bit)
        damaged[bit // 8] ^= 1 << bit % 8
    assert taken == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"junk" + content,
        lambda content: content + b"junk",
        lambda content: content + content,
        lambda content: content[:-2] + b"\x04\0junk",  # as the comment of an archive
        lambda content: content[: content.rfind(b"PK\1\2")] + content[content.rfind(b"PK\5\6") :],
        *[lambda content, end=end: content[: int(end * len(content))] for end in (0, 0.01, 0.5, 0.999)],
    ],
)
def test_an_archive_with_more_or_less_than_was_written_is_refused(tmp_path, damage):
    path = tmp_path / "ensemble.zip"
    Ensemble([2, 1], 3, seed=0).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"ensemble\.zip does not hold an xpnet ensemble"):
        Ensemble.load(path)


# What is refused, before anything trains

SHARED = [EarlyStopping()]


class Notebook(Callback):
    writes_files = True

    def __init__(self, path):
        self.path = path


GOOD = make_data("classes")
# The options, what the message names, and the remedy
REFUSED_TRAINING = [
    ({"lr": [0.1]}, "lr has 1 entries", "a list with one"),
    ({"optimizer": [SGD(), SGD(momentum=0.5)]}, "of several kinds", "members take"),
    ({"lr": np.array([[0.1], [0.2]])}, "lr has shape (2, 1)", "a list of 2"),
    ({"optimizer": Adam(epsilon=1e-300)}, "the optimizer's number 1e-300", "give another"),
    ({"rows": [[0, 1]]}, "rows has 1 entries", "one for each member"),
    ({"rows": [[True, False]] * 2}, "rows[0] has shape (2,) and dtype bool", "row numbers"),
    ({"rows": [[0], [[0, 1], [2]]]}, "rows[1]", "must list row numbers"),
    ({"rows": [[0], []]}, "rows[1] is empty", "at least one row"),
    ({"rows": [[0, 1], [0, 64]]}, "rows[1] goes from 0 to 64", "64 rows, from 0"),
    ({"rows": [[0, 1]] * 2, "validation_split": 0.5}, "validation_split=0.5 contradicts rows", "leave one"),
    ({"validation_rows": [[0, 1]] * 2, "validation_data": GOOD}, "validation_data contradicts", "leave one"),
    ({"validation_rows": [[0, 1], np.arange(64)]}, "validation_rows holds all 64 rows", "leave some"),
    ({"train_data": iter([GOOD]), "rows": [[0, 1]] * 2}, "rows needs all examples", "as arrays"),
    ({"train_data": iter([GOOD]), "epochs": 2}, "train_data is an iterator", "or steps="),
    ({"sample_weight": [0.0] * 4 + [1.0] * 60, "rows": [[0, 4], [0, 1]]}, "sample_weight", "weight zero"),
    ({"validation_data": iter([GOOD])}, "validation_data is an iterator", "over only once"),
    ({"train_data": iter([GOOD]), "lr": [0.1, Step(0.1)]}, "lr is a schedule", "give steps"),
    ({"threads": 0}, "threads=0", 'or "auto"'),
    ({"callbacks": [CSVLog("log.csv")]}, "CSVLog(path='log.csv')", "lambda k: [CSVLog(f'member-{k}')]"),
    ({"callbacks": [Notebook("a")]}, "Notebook(path='a')", "give a function"),
    ({"callbacks": lambda k: SHARED, "validation_data": GOOD}, "callbacks returns the same", "make new ones"),
    ({"blas_threads": 1}, "blas_threads=1", "choose from"),
]


@pytest.mark.parametrize(
    ("options", "named", "remedy"), REFUSED_TRAINING, ids=[f"{row[1]}-{k}" for k, row in enumerate(REFUSED_TRAINING)]
)
def test_bad_trainings_change_nothing(options, named, remedy):
    ensemble = Ensemble([5, 4, 3], 2, seed=0, task="classification")
    before = [snapshot(net) for net in ensemble]
    with pytest.raises(ArgumentError) as refusal:
        ensemble.train(**{"train_data": GOOD, "epochs": 1, "progress": False, **options})
    assert named in str(refusal.value)
    assert remedy in str(refusal.value)
    for net, state in zip(ensemble, before):
        assert_same(net, state)
        assert net.history.rows == []
        assert net.optimizer == SGD()


def test_scalings_that_some_members_lack_are_refused():
    nets = [Network([5, 4, 1], task="regression", standardize=True, seed=0) for _ in range(2)]
    nets[0].train(make_data("real"), 1, progress=False)
    plain = [Network([5, 4, 1], task="regression", seed=0) for _ in range(2)]
    plain[0].scaling = nets[0].scaling
    with pytest.raises(ValueError, match="member 1 has no scaling, and others have one; give all of them one, or set"):
        Ensemble.of(plain).train(make_data("real"), 1, progress=False)


def alike(*networks):
    return lambda: Ensemble.of(networks)


# What is called, what the message names, and the remedy
REFUSED = [
    (lambda: Ensemble([2, 1], 0), "members=0", "at least 1"),
    (lambda: Ensemble([2, 1], 2, seed=[1]), "seed has 1 entries", "one for each"),
    (lambda: Ensemble([2, 1], 2, seed=np.array(3)), "seed=array(3)", "at least 0"),
    (lambda: Ensemble([2, 1], 2, seed=[1, -1]), "seed[1]=-1", "at least 0"),
    (lambda: Ensemble([2], 2), "sizes=[2]", "at least two layers"),
    (lambda: Ensemble([2, 1], 2, activaton="relu"), "activaton='relu'", "did you mean 'activation'"),
    (alike(), "an ensemble needs at least one network", "empty"),
    (alike(Network([2, 1]), "net"), "item 1 is of type str", "give networks"),
    (alike(Network([2, 1]), Network([3, 1])), "sizes=[3, 1]", "must have the same"),
    (alike(Network([2, 2, 1], dropout=0.1), Network([2, 2, 1])), "dropout=[0.0, 0.0]", "in the same layers"),
    (alike(Network([2, 2, 1]), Network([2, 2, 1], activation="tanh")), "activation=['tanh']", "must have the same"),
    (alike(*[Network([2, 2, 1], activation=Steep(slope)) for slope in (1, 2)]), "networks 1 and 0", "give the same"),
    (lambda: Ensemble.of(5), "networks=5", "as in [net, net.copy()]"),
    (lambda: Ensemble([2, 1], 2)[2], "there is no member 2", "the ensemble has 2"),
    (lambda: Ensemble([2, 1], 2)[:1], "not by slice", "Ensemble.of([...])"),
    (lambda: Ensemble([2, 2], 2, task="binary"), "sizes ends in 2", "end it in 1"),
    (
        lambda: Ensemble([2, 2], 2, task="classification").predict([[1, 2]], return_std=True),
        "return_std=True needs a regression",
        "predict_proba(x, return_std=True)",
    ),
    (
        lambda: Ensemble([2, 2], 2, task="regression").predict_proba([[1, 2]]),
        "predict_proba needs classes",
        "use predict or measure",
    ),
]


@pytest.mark.parametrize(("call", "named", "remedy"), REFUSED, ids=[f"{row[1]}-{k}" for k, row in enumerate(REFUSED)])
def test_bad_input_is_refused(call, named, remedy):
    with pytest.raises((ArgumentError, IndexError)) as refusal:
        call()
    assert named in str(refusal.value)
    assert remedy in str(refusal.value)


def test_more_memory_than_there_is_is_refused(monkeypatch):
    with pytest.raises(
        MemoryError, match=r"^members=10000000 networks of \[784, 30, 10\] need about .* GiB, and this process may use"
    ):
        Ensemble([784, 30, 10], 10_000_000)
    with pytest.raises(
        MemoryError, match=r"^members=1000000000 networks of \[1, 1\] need about 2,335\.8 GiB, and this"
    ):
        Ensemble([1, 1], 10**9)  # of which each has few weights
    ensemble = Ensemble([5, 4, 3], 2, seed=0)
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 6 * 2 * 39 * 4 - 1}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    with pytest.raises(
        MemoryError, match=r"training 2 networks of \[5, 4, 3\] needs about 0.0 GiB, and this process may use"
    ):
        ensemble.train(GOOD, progress=False)
    monkeypatch.setattr(os, "sysconf", lambda name: os.unknown)
    ensemble.train(GOOD, 1, progress=False)  # where the figure is not known, nothing is refused


LIMITS = {
    "no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, []),
    "container": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "1000"}, [1000]),
    "job in a limited slice": (
        {
            "proc/self/cgroup": "0::/jobs/7",
            "sys/fs/cgroup/jobs/memory.max": "1000",
            "sys/fs/cgroup/jobs/7/memory.max": "2000",
        },
        [1000, 2000],
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/f4\n0::/",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000",  # its own, where a container sees no other
        },
        [3000],
    ),
    "not Linux": ({}, []),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_of_control_groups_are_read(tmp_path, name):
    files, limits = LIMITS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")
    assert sorted(set(read_limits(str(tmp_path)))) == limits


def test_a_limit_of_a_container_counts(monkeypatch):
    monkeypatch.setattr("xpnet.backends._machine.read_limits", lambda: [2**20])
    message = (
        r"^members=1000 networks of \[2, 1\] need about 0\.0 GiB, and this process may use 0\.0; give fewer members"
    )
    with pytest.raises(MemoryError, match=message):
        Ensemble([2, 1], 1000)


def test_what_members_refer_to_is_copied_with_them():
    ensemble = Ensemble([1, 2, 1], members=3, task="regression", seed=0)
    ensemble.train(([[0.0], [1.0]], [0.0, 1.0]), 2, progress=False)
    for value in (copy.deepcopy(ensemble[1].value), pickle.loads(pickle.dumps(ensemble[1].value))):
        np.testing.assert_array_equal(value.layers[0][0], ensemble[1].w[0])
    members = Ensemble.of(WithOwner([1, 1], task="regression", seed=k) for k in range(2))
    members[0].owner = members
    members.calibrate((np.arange(20.0)[:, None], np.arange(20.0)))
    assert len(copy.deepcopy(members[0]).owner) == 2
    assert copy.deepcopy(members).calibration is not None


def test_a_calibration_is_for_the_weights_that_it_was_found_with():
    """To look at it changes nothing, and it keeps no old weights in memory."""
    ensemble = Ensemble([1, 2, 1], members=2, task="regression", seed=0)
    x = np.arange(20.0)[:, None]
    ensemble.calibrate((x, x[:, 0]))
    found, before = ensemble.calibration, ensemble[1].value
    assert [value.calibration.errors is found for value in ensemble.values] == [True, True]
    ensemble[1].b = ensemble[1].b
    assert (ensemble.calibration, ensemble.values[0].calibration) == (None, None)
    ensemble[1].value = before
    assert ensemble.calibration is found
    gone = ref(before.layers[0][0])
    del before
    ensemble[1].w = ensemble[1].w
    assert gone() is None


class WithOwner(Network):
    owner = None
