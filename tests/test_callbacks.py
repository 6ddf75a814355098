"""What watches a training and steers it: when it is told, what it does, and what is left when it fails."""

import csv
import math
import sys

import numpy as np
import pytest
from helpers import Interrupt, assert_same, refused, snapshot

from xpnet import (
    SGD,
    Adam,
    ArgumentError,
    Callback,
    CSVLog,
    EarlyStopping,
    Ensemble,
    ModelCheckpoint,
    Network,
    ReduceLROnPlateau,
    TensorBoard,
)
from xpnet.training.callback import Quantity

# test_resume.py sees states that callbacks keep on other libraries
pytestmark = pytest.mark.not_on("strict-device1", "torch", "jax")

N = 11
X = np.random.default_rng(0).standard_normal((N, 3))
Y = np.random.default_rng(1).uniform(size=(N, 2))
OPTIMIZER = SGD(momentum=0.9)


def network(place=None, **options):
    return Network([3, 4, 2], seed=3, dtype="float64", **options, **(place._asdict() if place else {}))


def train(net, epochs, *callbacks, **options):
    return net.train((X, Y), epochs, 4, callbacks=list(callbacks), **{"lr": 0.5, "progress": False, **options})


def after(epochs, place=None, **options):
    """A network after so many epochs, without callbacks."""
    net = network(place)
    train(net, epochs, **options)
    return net


class Scripted(Callback):
    """Put given numbers into the logs, one an epoch."""

    def __init__(self, values, name="validation_cost"):
        self.values, self.adds = values, (name,)

    def on_epoch_end(self, logs):
        logs[self.adds[0]] = self.values[logs["epoch"] - 1]


HOOKS = ["on_train_begin", "on_epoch_begin", "on_chunk_end", "on_epoch_end", "on_train_end"]


class Recorder(Callback):
    """Write down what it is told."""

    def __init__(self, name, calls):
        for hook in HOOKS:
            setattr(self, hook, lambda *told, hook=hook: calls.append((name, hook, *told)))


# Order


def test_callbacks_are_told_in_their_order():
    """11 examples by 4: a chunk of two whole minibatches, and one of the rest."""
    calls = []
    history = train(network(), 2, Recorder("a", calls), Recorder("b", calls))
    chunks = [("on_chunk_end", 2), ("on_chunk_end", 1)]
    epochs = [[("on_epoch_begin", k), *chunks, ("on_epoch_end", history[k - 1])] for k in (1, 2)]
    assert calls[2:-2] == [(name, *each) for epoch in epochs for each in epoch for name in "ab"]
    (first, *_, training), *_, last = calls
    assert (training.epochs, training.steps, first, last) == (2, 3, "a", ("b", "on_train_end"))


def test_callbacks_and_their_settings_are_written_out():
    assert repr(EarlyStopping(3)) == (
        "EarlyStopping(patience=3, monitor='validation_cost', mode=None, min_delta=0.0, restore_best=True)"
    )
    assert repr(ModelCheckpoint("net", every=2)).startswith("ModelCheckpoint(path='net', every=2, ")


def test_the_best_state_is_there_for_callbacks_that_come_after():
    net, seen = network(), []

    class Look(Callback):
        def on_train_end(self):
            seen.append(snapshot(net))

    train(net, 3, Scripted([1, 2, 3]), EarlyStopping(5), Look())
    assert_same(net, seen[0])
    assert_same(net, snapshot(after(1)))


def test_callbacks_see_what_is_evaluated_and_their_additions_are_kept():
    seen = []

    class Look(Callback):
        def on_train_begin(self, training):
            self.names = tuple(training.quantities)

        def on_epoch_end(self, logs):
            seen.append(dict(logs))
            logs["ratio"] = logs["validation_cost"] / logs["cost"]

    look = Look()
    history = train(network(), 2, look, validation_data=(X, Y), metrics=["accuracy"])
    names = ["epoch", "cost", "lr", "seconds", "examples_per_second", "validation_cost", "validation_accuracy"]
    assert list(look.names) == names
    assert [list(row) for row in seen] == [names] * 2
    assert [list(row) for row in history] == [[*names, "ratio"]] * 2


# EarlyStopping


@pytest.mark.parametrize(
    ("costs", "options", "best", "stopped"),
    [
        ([3, 2, 1, 1, 1, 0], {"patience": 2}, 3, 5),  # equal is not better
        ([3, 2, 1, 5, 0, 1, 2, 3], {"patience": 2}, 5, 7),  # the waiting begins anew with each improvement
        ([3, 2.5, 2.1, 1.9, 1.8], {"patience": 3, "min_delta": 1.0}, 4, None),  # 3 -> 1.9: gains are from the best
        ([3, 2.5, 2.1, 2.0, 0.0], {"patience": 3, "min_delta": 1.0}, 1, 4),  # a gain of min_delta does not count
        ([1, 2, 3, 2], {"patience": 1, "mode": "max"}, 3, 4),
        ([math.nan, 2, math.nan, 1, math.nan, math.nan], {"patience": 2}, 4, 6),
        ([math.nan] * 4, {"patience": 3}, 0, 3),
        ([2, math.inf, -math.inf, 0], {"patience": 2}, 3, None),
        ([0.5, 0.7, 0.7, 0.9], {"patience": 1, "monitor": "validation_accuracy"}, 2, 3),  # to become larger
        ([3, math.nan, math.nan, 3, 3], {"patience": 2, "monitor": "cost"}, 1, 5),  # two epochs without weight
    ],
    ids=str,
)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_as_written_out(costs, options, best, stopped, restore):
    net, stop = network(), EarlyStopping(**options, restore_best=restore)
    history = train(net, len(costs), Scripted(costs, stop.monitor), stop, optimizer=OPTIMIZER)
    assert (stop.best_epoch, stop.stopped_epoch, len(history)) == (best, stopped, stopped or len(costs))
    left = best if restore and best else len(history)
    assert_same(net, snapshot(after(left, optimizer=OPTIMIZER)))


# ReduceLROnPlateau


@pytest.mark.parametrize(
    ("costs", "options", "factors"),
    [
        ([1, 1, 1, 1, 1, 1, 1], {"factor": 0.5, "patience": 2}, [1, 1, 1, 0.5, 0.5, 0.25, 0.25]),
        ([9, 8, 9, 7, 9, 9, 6], {"factor": 0.5, "patience": 2}, [1, 1, 1, 1, 1, 1, 0.5]),
        ([1, 1, 1, 1, 1], {"factor": 0.1, "patience": 1, "least": 0.05}, [1, 1, 0.1, 0.05, 0.05]),
        ([1, 2, 3, 3, 3], {"factor": 0.5, "patience": 1, "mode": "max"}, [1, 1, 1, 1, 0.5]),
        ([5, 4.5, 4, 3.5, 3], {"factor": 0.5, "patience": 1, "min_delta": 0.7}, [1, 1, 0.5, 0.5, 0.25]),
        ([math.nan, math.nan, math.nan], {"factor": 0.5, "patience": 2}, [1, 1, 0.5]),
        ([3, math.nan, math.nan, 3, 3, 3], {"factor": 0.5, "patience": 2, "monitor": "cost"}, [1, 1, 1, 1, 1, 0.5]),
    ],
    ids=str,
)
def test_the_rate_is_lowered_as_written_out(costs, options, factors):
    net, reduce = network(), ReduceLROnPlateau(**options)
    history = train(net, len(costs), Scripted(costs, reduce.monitor), reduce)
    assert history["lr"] == pytest.approx([0.5 * factor for factor in factors], rel=1e-12)
    assert train(net, 1, Scripted(costs, reduce.monitor), reduce)["lr"] == [0.5]  # another training, another plateau


# ModelCheckpoint


SAVED = [  # what is watched, the name and the arguments of the callback, and the epochs of the networks in the files
    ([3, 1, 2, 0.9, 4], "best.safetensors", {"min_delta": 0.5}, {"best.safetensors": 2}),
    ([3, 4, 2, 2, 5], "{epoch}", {}, {"1": 1, "3": 3}),
    ([3, 4, 2, 2, 5], "{epoch:03d}-{validation_cost:.1f}", {"mode": "max"}, {"001-3.0": 1, "002-4.0": 2, "005-5.0": 5}),
    ([1] * 5, "{epoch}-of-{epoch}.net", {"every": 2}, {"2-of-2.net": 2, "4-of-4.net": 4}),
    ([1] * 5, "{{a}}", {"every": 1}, {"{a}": 5}),
]


@pytest.mark.parametrize(("costs", "name", "options", "epochs"), SAVED)
def test_networks_of_some_epochs_are_saved(tmp_path, place, costs, name, options, epochs):
    net = network(place)
    train(net, 5, Scripted(costs), ModelCheckpoint(tmp_path / name, **options), optimizer=OPTIMIZER)
    assert {path.name for path in tmp_path.iterdir()} == epochs.keys()
    for saved, epoch in epochs.items():
        again = Network.load(tmp_path / saved, **place._asdict())
        assert_same(again, snapshot(after(epoch, place, optimizer=OPTIMIZER)))
        train(again, 5 - epoch, optimizer=OPTIMIZER)  # it goes on as if it had never been saved
        assert_same(again, snapshot(net))


# Logs


def test_a_csv_log_holds_the_history(tmp_path):
    """Also columns that begin in later epochs."""

    class Sometimes(Callback):
        def on_epoch_end(self, logs):
            if logs["epoch"] % 2 == 0:
                logs["norm"] = 10.0 * logs["epoch"]

    path = tmp_path / "log.csv"
    path.write_text("what was there before\n" * 9)
    net, log = network(), CSVLog(path)
    for epochs in (4, 2):  # a second training writes anew
        history = train(net, epochs, Sometimes(), log, validation_data=(X, Y), metrics=["accuracy"])
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [list(row) for row in rows] == [list(history[1])] * epochs
        assert [{name: float(value) for name, value in row.items() if value} for row in rows] == history.rows
    before = path.read_text()
    train(net, 0, log)
    assert path.read_text() == before


def test_without_their_libraries_tables_and_tensorboard_name_them(tmp_path, monkeypatch):
    history = train(network(), 1)
    for name in ("pandas", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"^to_pandas needs pandas \(.*\); install it with: pip install pandas$"):
        history.to_pandas()
    with pytest.raises(ImportError, match=r"^TensorBoard needs tensorboard \(.*\); install it with: pip install "):
        train(network(), 1, TensorBoard(tmp_path))


def test_tensorboard_reads_back_what_was_written(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    util = pytest.importorskip("tensorboard.util.tensor_util")
    net = network()
    for folder, epochs in (("first", 3), ("second", 2)):
        history = train(net, epochs, TensorBoard(tmp_path / folder), validation_data=(X, Y))
        events = reader.EventAccumulator(str(tmp_path / folder))
        events.Reload()
        names = [name for name in history.to_dict() if name != "epoch"]
        assert sorted(events.Tags()["tensors"]) == sorted(names)
        for name in names:
            found = [(event.step, float(util.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
            assert found == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in history]


# When they fail

# hook -> epochs of training that the network has when it fails the second time
TRAINED = {"on_epoch_begin": 1, "on_epoch_end": 2}


class Failing(Callback):
    """Raise in one hook, the second time, or the first where there is no second."""

    def __init__(self, hook, error):
        self.error, self.count = error, 0
        self.at = 1 if hook in ("on_train_begin", "on_train_end") else 2
        setattr(self, hook, self.fail)

    def fail(self, *_):
        self.count += 1
        if self.count == self.at:
            raise self.error


ERRORS = [ValueError("own"), KeyboardInterrupt("own"), OSError("own")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("hook", TRAINED)
def test_a_failing_callback_leaves_what_was_trained(place, hook, error):
    """All that was told of the beginning is told of the end, and the best state is not given back."""
    net, calls = network(place), []
    begun, stop = Recorder("a", calls), EarlyStopping(5)
    others = Recorder("b", calls), Failing(hook, error)
    with pytest.raises(type(error), match="own"):
        train(net, 4, begun, Scripted([1, 2, 3, 4]), stop, *others, optimizer=OPTIMIZER)
    twin = after(TRAINED[hook], place, optimizer=OPTIMIZER)
    assert_same(net, snapshot(twin))
    assert net.value.generator == twin.value.generator
    assert calls[-2:] == [("a", "on_train_end"), ("b", "on_train_end")]
    assert net.history["epoch"] == list(range(1, TRAINED[hook] + 1))
    for each in (net, twin):
        train(each, 2, optimizer=OPTIMIZER)
    assert_same(net, snapshot(twin))


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_callback_that_fails_at_the_beginning_changes_nothing(place, error):
    net, calls = network(place), []
    train(net, 1, optimizer=OPTIMIZER)
    with refused(net, type(error), "own"):
        train(net, 4, Recorder("a", calls), Failing("on_train_begin", error), Recorder("b", calls))
    assert [each[:2] for each in calls] == [("a", "on_train_begin"), ("a", "on_train_end")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_callback_that_fails_at_the_end_leaves_all_that_was_trained(error):
    net, calls = network(), []
    begun = [Recorder("a", calls), Scripted([1, 2, 3]), EarlyStopping(5)]
    with pytest.raises(type(error), match="own"):
        train(net, 3, *begun, Failing("on_train_end", error), Recorder("b", calls))
    assert_same(net, snapshot(after(1)))  # the best state, as the others end all the same
    assert calls[-2:] == [("a", "on_train_end"), ("b", "on_train_end")]
    assert len(net.history) == 3


@pytest.fixture
def bars(monkeypatch):
    """The bars that are made: what they say, how much they expect, and by how much they move."""
    from tqdm.auto import tqdm

    made = []

    class Recorded(tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.moves, self.said = [], []
            made.append(self)

        def update(self, n=1):
            self.moves.append((self.desc.rstrip(": "), n))
            return super().update(n)

    monkeypatch.setattr("tqdm.auto.tqdm", Recorded)
    return made


def test_the_bar_moves_with_every_chunk(bars, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    network().train((X, Y), 2, 2, lr=0.5, chunk_steps=2)
    (bar,) = bars
    assert bar.total == 12
    assert bar.moves == [(f"Epoch {epoch}/2", steps) for epoch in (1, 2) for steps in (2, 2, 1, 1)]
    out, err = capsys.readouterr()
    assert (out, "Epoch 1/2" in err) == ("", True)


@pytest.mark.parametrize("closed", [["stdout"], ["stderr"]], ids=" ".join)
def test_bars_and_lines_go_nowhere_if_streams_are_closed(closed, monkeypatch, capsys):
    """As in a program that was started with ``>&-`` or ``2>&-``."""
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "isatty", lambda: True)
        for name in closed:
            patch.setattr(sys, name, None)
        network().train((X, Y), 2, 4, lr=0.5, test_data=(X, Y), progress=True)
    assert ("Epoch: 2 / 2" in capsys.readouterr().out) == ("stdout" not in closed)


# Wrong arguments


REFUSALS = [  # what is wrong when it is made, or given as callbacks, and the message
    (lambda: EarlyStopping(min_delta=math.nan), r"min_delta=nan must be a finite number of at least 0"),
    (lambda: EarlyStopping(mode="least"), r"mode='least' is unknown; choose from 'min', 'max'"),
    (lambda: ReduceLROnPlateau(0.0), r"factor=0\.0 must be above 0 and below 1; 0\.1 is usual"),
    (lambda: ReduceLROnPlateau(patience=0), r"patience=0 must be a whole number of at least 1"),
    (lambda: EarlyStopping(0), r"patience=0 must be a whole number of at least 1"),
    (lambda: ModelCheckpoint("x", every=0), r"every=0 must be a whole number of at least 1"),
    (lambda: ModelCheckpoint("nowhere/x", every=1), r"nowhere.*: there is no folder .*nowhere"),
    (lambda: ModelCheckpoint("x{", every=1), r"path=.* cannot be filled in .* in braces it may name 'epoch', 'cost'"),
    (lambda: CSVLog("nowhere/x"), r"nowhere.*: there is no folder .*nowhere"),
    (lambda: TensorBoard(None), r"folder=None must be a path"),
    (EarlyStopping, r"EarlyStopping watches monitor='validation_cost', which this .*; give validation_data or"),
    (lambda: [EarlyStopping(), Scripted([1])], "put a callback that adds it before this one"),
    (lambda: [Scripted([1], "own"), EarlyStopping(monitor="own")], "'own' does not tell .*; give mode='min' or 'max'"),
    (lambda: [STOP, STOP], "callbacks holds the same object twice"),
    (lambda: [EarlyStopping], r"callbacks holds .*, which is not an object of a subclass of xpnet\.Callback"),
    (lambda: {EarlyStopping()}, r"callbacks=.* must be a list of callbacks, as in \[EarlyStopping\(\)\]"),
    (lambda: Assign(lambda training: setattr(training, "lr_scale", -1.0)), "lr_scale=-1.0 must be a finite number"),
]
STOP = EarlyStopping(monitor="cost")


@pytest.mark.parametrize(("make", "message"), REFUSALS, ids=lambda x: x[:40] if isinstance(x, str) else "")
def test_what_is_wrong_is_refused_by_its_name(make, message, tmp_path, monkeypatch):
    """Before the first step, unless an epoch shows it."""
    monkeypatch.chdir(tmp_path)
    net = network()

    def begin():
        made = make()
        net.train((X, Y), 2, 4, callbacks=[made] if isinstance(made, Callback) else made, progress=False)

    with pytest.raises((ValueError, FileNotFoundError), match=message):
        begin()
    assert len(net.history) < 2
    assert [*tmp_path.iterdir()] == []


def test_a_quantity_without_a_known_direction_needs_a_mode_or_says_it():
    net, score = network(), Scripted([3.0, 2.0], "my_score")
    train(net, 1, score, EarlyStopping(monitor="my_score", mode="max"))
    score.quantities = {"my_score": Quantity("min")}
    train(net, 1, score, EarlyStopping(monitor="my_score"))


@pytest.mark.parametrize("optimizer", [SGD(), Adam()], ids=["SGD", "Adam"])
@pytest.mark.parametrize("moment", ["on_train_begin", "on_epoch_begin"])
def test_a_callback_may_go_back_to_an_earlier_value(moment, optimizer):
    """The training goes on with its own optimizer and history."""

    class GoBack(Callback):
        def on_train_begin(self, training):
            self.training, self.before = training, training.value if moment == "on_train_begin" else None

        def on_epoch_begin(self, epoch):
            self.before = self.before or self.training.value

        def on_epoch_end(self, logs):
            if logs["epoch"] in (2, 4):
                self.training.value = self.before

    net, data = Network([2, 3, 1], task="regression", seed=0), ([[0.0, 1.0], [1.0, 0.0]], [0.0, 1.0])
    before = net.w[0]
    history = net.train(data, 4, callbacks=[GoBack()], optimizer=optimizer, progress=False)
    assert net.history is history
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["cost"][2:] == history["cost"][:2]
    np.testing.assert_array_equal(net.w[0], before)


class Assign(Callback):
    """Assign to something at a moment."""

    def __init__(self, assign, moment="on_epoch_end"):
        def take(*_):
            assign(self.training)

        setattr(self, moment, take if moment != "on_train_begin" else assign)
        if moment != "on_train_begin":
            self.on_train_begin = self.remember

    def remember(self, training):
        self.training = training


def test_a_callback_changes_weights_by_the_value_of_a_changed_copy():
    def halve(training):
        copy = training.net.copy()
        copy.w = [w / 2 for w in copy.w]
        training.value = copy.value

    net, by_hand = network(), network()
    net.notes["kept"] = notes = net.notes
    train(net, 3, Assign(halve))
    for _ in range(3):
        train(by_hand, 1)
        by_hand.w = [w / 2 for w in by_hand.w]
    assert_same(net, snapshot(by_hand))
    assert net.notes is notes
    assert len(net.history) == 3
    assert net.provenance.edited


@pytest.mark.parametrize("moment", ["on_epoch_end", "on_train_end"])
def test_a_network_that_is_changed_while_it_is_trained_is_an_error(moment):
    """The next steps would undo the change."""

    def assign(training):
        training.net.w = [w / 2 for w in training.net.w]

    ensemble = Ensemble([3, 4, 2], 2, seed=0)
    for train, callbacks in (
        (network().train, [Assign(assign, moment)]),
        (ensemble.train, lambda k: [Assign(assign, moment)]),
    ):
        with pytest.raises(RuntimeError, match=r"a network was changed while it was being trained, .* assigns `value`"):
            train((X, Y), 2, 4, callbacks=callbacks, progress=False)


@pytest.mark.parametrize("moment", HOOKS)
def test_a_value_that_does_not_fit_is_refused_where_it_is_assigned(moment):
    standardized = network(standardize=True)
    standardized.fit_scaling((X + 1, Y))
    other = network()
    other.reset_optimizer(Adam())
    mixed = other.value._replace(optimizer=SGD())
    for value in (3, Network([2, 7, 1]).value, mixed):
        with pytest.raises(ArgumentError, match="value must be an earlier value of this network, or that of one with"):
            train(network(), 2, Assign(lambda training, value=value: setattr(training, "value", value), moment))
    scaled = standardized.value
    with pytest.raises(ArgumentError, match="value has another scaling than the examples of this training"):
        train(network(standardize=True), 2, Assign(lambda training: setattr(training, "value", scaled), moment))


def test_members_that_ended_keep_their_best_weights_when_others_are_interrupted():
    ensemble = Ensemble([3, 4, 2], 2, seed=[3, 4], dtype="float64")
    stop = EarlyStopping(2)
    lists = [[Scripted([1, 2, 3, 4, 5, 6]), stop], [Interrupt(5)]]
    with pytest.raises(KeyboardInterrupt):
        ensemble.train((X, Y), 6, 4, lr=0.5, callbacks=lambda k: lists[k], progress=False)
    np.testing.assert_allclose(ensemble[0].w[0], after(1).w[0], rtol=1e-12)
    assert len(ensemble[1].history) == 5


def test_early_stopping_keeps_no_calibration_of_other_weights():
    def calibrate(training):
        copy = training.net.copy()
        copy.calibrate((X + 0.1, Y))
        training.value = copy.value

    net = network(task="regression")
    train(net, 3, Scripted([1, 2, 3]), EarlyStopping(5), Assign(calibrate))
    assert net.calibration is None
