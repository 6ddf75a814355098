"""A training that was interrupted and resumed ends as if it had not been; another training is refused by name."""

import csv
import itertools
import os
import signal
from contextlib import nullcontext
from datetime import timedelta
from functools import cache, partial, reduce
from operator import getitem
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import numpy as np
import pytest
from helpers import Interrupt, assert_same, snapshot
from test_checkpoint import Own, encode, full_disk, read
from test_training import InterruptAt

from xpnet import (
    L1,
    LBFGS,
    SGD,
    Adam,
    Callback,
    CheckpointError,
    Clip,
    Cosine,
    CSVLog,
    DivergenceError,
    EarlyStopping,
    Ensemble,
    LevenbergMarquardt,
    MaxNorm,
    ModelCheckpoint,
    Network,
    OneCycle,
    ReduceLROnPlateau,
    estimators,
)
from xpnet.core.step import State
from xpnet.training import _checkpoint as saving
from xpnet.training import _loop

N = 23  # by 4: 5 whole minibatches and a smaller one; in chunks of at most 2
X = np.random.default_rng(0).standard_normal((N, 3))
Y = np.random.default_rng(1).uniform(size=(N, 2))
LABELS = np.arange(N) % 2
EPOCHS, CHUNKS = 4, 4  # chunks in an epoch: 2, 2, 1 and 1 minibatches


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(_loop, "steps_per_chunk", lambda *args, **options: 2)


def forge(path, change):
    """Change the header and the arrays of a file."""
    header, arrays = read(path.read_bytes())
    change(header, arrays)
    path.write_bytes(encode(header, arrays))


def network(place=None, sizes=(3, 4, 2), **options):
    return Network(sizes, **{"seed": 3, **options}, **(place._asdict() if place else {}))


def train(net, path=None, callbacks=(), data=(X, Y), *, chunks=None, epoch=None, error=KeyboardInterrupt, **options):
    """Train with callbacks and one that may interrupt, on data or what a function returns."""
    data = data() if callable(data) else data
    if path is not None:
        options["checkpoint"] = path
    defaults = {"epochs": EPOCHS, "batch_size": 4, "lr": OneCycle(0.5), "progress": False}
    return net.train(data, callbacks=[*callbacks, Interrupt(epoch, chunks, error)], **{**defaults, **options})


def rows(history):
    """The rows of a history, without times."""
    return [{name: value for name, value in row.items() if "second" not in name} for row in history]


def interrupted(path, make, *, callbacks=list, error=KeyboardInterrupt, **options):
    """Interrupt a training."""
    with pytest.raises(error):
        train(make(), path, callbacks(), error=error, **options)


def stop():
    return [EarlyStopping(monitor="cost")]


@cache
def train_halfway(callbacks):
    """The content of a file of a training that was interrupted in its second epoch."""
    with TemporaryDirectory() as folder:
        interrupted(Path(folder) / "run", network, chunks=5, callbacks=callbacks)
        return (Path(folder) / "run").read_bytes()


def write_halfway(folder, callbacks=list):
    path = folder / "run"
    path.write_bytes(train_halfway(callbacks))
    return path


@pytest.fixture
def halfway(tmp_path, short_chunks):
    return write_halfway(tmp_path)


def check_exact(path, make, *, chunks=None, epoch=None, callbacks=list, **options):
    """Train without an interruption; and interrupted and resumed by another network. Both are the same."""
    whole, resumed = make(), make()
    train(whole, None, callbacks(), **options)
    interrupted(path, make, chunks=chunks, epoch=epoch, callbacks=callbacks, **options)
    train(resumed, path, callbacks(), resume=True, **options)
    assert_same(resumed, snapshot(whole))
    assert rows(resumed.history) == rows(whole.history)
    assert resumed.value.generator == whole.value.generator
    assert resumed.optimizer == whole.optimizer
    assert resumed.provenance == whole.provenance
    return whole, resumed


# Exactness

OPTIMIZERS = [MaxNorm(Clip(L1(Adam(), 1e-3), 0.5), 1.5), SGD(momentum=0.9, nesterov=True, weight_decay=0.1)]
EVEN = slice(16)  # rows of 4 whole minibatches: steps of one shape, for which JAX compiles one program


@pytest.mark.not_on("strict-device1", "jax")  # where an ensemble and a fit resume, and networks of random programs
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, place, optimizer):
    """In the middle of an epoch, with velocities or the memory of Adam, and with dropout."""
    options = {"data": (X[EVEN], Y[EVEN]), "optimizer": optimizer, "lr": 0.05}
    check_exact(tmp_path / "run", lambda: network(place, dropout=[0.1, 0.5]), chunks=3, **options)


@pytest.mark.parametrize("optimizer", [LevenbergMarquardt(bayesian=True), LBFGS()], ids=str)
def test_a_training_by_all_examples_at_once_resumes(tmp_path, optimizer):
    """With the damping and the precisions, or the last steps."""
    options = {"optimizer": optimizer, "lr": None, "batch_size": None}
    check_exact(
        tmp_path / "run", lambda: network(activation="tanh", task="regression", dtype="float64"), chunks=2, **options
    )


@pytest.mark.not_on("numpy", "jax")
def test_on_another_backend_it_goes_on_within_the_tolerance(tmp_path, place):
    whole, resumed = network(dtype="float64", dropout=0.5), network(place, dtype="float64", dropout=0.5)
    train(whole)
    interrupted(tmp_path / "run", lambda: network(dtype="float64", dropout=0.5), chunks=5)
    train(resumed, tmp_path / "run", resume=True)
    for w, wanted in zip(resumed.w, whole.w):
        np.testing.assert_allclose(resumed.backend.to_numpy(w), wanted, rtol=1e-9, atol=1e-12)
    assert [run.resumed for run in resumed.provenance.runs] == [False, True]
    again = network(dtype="float64", dropout=0.5)
    train(again, tmp_path / "run", resume=True)  # no step is left
    assert again.provenance == resumed.provenance


def test_more_epochs_may_follow_if_the_schedule_does_not_depend_on_their_number(tmp_path):
    whole, resumed, path = network(), network(), tmp_path / "run"
    train(whole, epochs=6, lr=0.5)
    train(network(), path, epochs=4, lr=0.5)
    assert len(train(resumed, path, epochs=6, lr=0.5, resume=True)) == 6
    assert_same(resumed, snapshot(whole))
    assert resumed.provenance == whole.provenance
    with pytest.raises(ValueError, match=r"epochs=5 are fewer than the 6 that .*run has begun; give more"):
        train(network(), path, epochs=5, lr=0.5, resume=True)


@pytest.mark.parametrize("lr", [OneCycle(0.5), lambda step, total: 0.5 / total, 0.5])
def test_a_training_of_no_epochs_has_a_file_too(tmp_path, lr):
    net = network()
    for resume in (False, True):
        assert len(train(net, tmp_path / "run", epochs=0, lr=lr, resume=resume)) == 0
    assert_same(Network.load(tmp_path / "run"), snapshot(network()))


# Data that are read anew


class Squares:
    """A data set that is read item by item."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return X[i], Y[i]


class Labelled(Squares):
    """The same, with classes."""

    def __getitem__(self, i):
        return X[i], LABELS[i]


class Cut:
    """Batches that are the same in each pass."""

    def __iter__(self):
        return ((X[i : i + 4], Y[i : i + 4]) for i in range(0, N, 4))


class Miscounted(Cut):
    """Batches that are more than they say."""

    def __len__(self):
        return 3


def endless():
    while True:
        yield from Cut()


SOURCES = {
    "data set": (Squares, {"cache": False}),
    "batches": (Cut, {"lr": 0.5}),
    "batches of a wrong number": (Miscounted, {"lr": 0.5}),
    "endless batches": (endless, {"steps": 5}),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_that_can_be_begun_again(tmp_path, kind):
    make_data, options = SOURCES[kind]
    check_exact(tmp_path / "run", network, chunks=CHUNKS + 1, data=make_data, **options)


# Callbacks


def test_callbacks_go_on_where_they_were(tmp_path):
    def callbacks():
        stop = EarlyStopping(6, monitor="cost", mode="max", min_delta=0.01)
        return [stop, ReduceLROnPlateau(0.5, 2, monitor="cost", mode="max")]

    for chunks in (CHUNKS + 1, 2 * CHUNKS + 1, 6 * CHUNKS):
        options = {"epochs": 10, "lr": 1.0, "optimizer": SGD(momentum=0.5)}
        path = tmp_path / str(chunks)
        whole, _ = check_exact(path, network, chunks=chunks, callbacks=callbacks, **options)
        assert whole.history["lr"][-1] < 0.5  # it was lowered
        assert len(whole.history) == 7  # it was stopped


class Average(Callback):
    """Remember a state of the network, and plain values."""

    def __init__(self):
        self.seen, self.kept = [], None

    def on_epoch_end(self, logs):
        self.seen.append(np.float32(logs["epoch"]))
        self.kept = self.training.net.state

    def on_train_begin(self, training):
        self.training = training

    def get_state(self):
        return {"seen": self.seen} | ({} if self.kept is None else {"kept": self.kept})

    def set_state(self, state):
        self.seen, self.kept = state["seen"], state.get("kept")


def test_a_callback_of_ones_own_remembers_plain_values_and_states(tmp_path):
    whole, resumed, make = Average(), Average(), lambda: network(dropout=0.5)
    train(make(), None, [whole], optimizer=Adam())
    interrupted(tmp_path / "run", make, callbacks=lambda: [Average()], epoch=3, optimizer=Adam())
    train(make(), tmp_path / "run", [resumed], optimizer=Adam(), resume=True)
    assert resumed.seen == whole.seen == [1, 2, 3, 4]
    assert isinstance(resumed.kept, State)


def test_a_callback_that_returns_something_else_is_refused(tmp_path):
    for wrong in ({"a": object()}, {"a": {1, 2}}, None, 3):
        callback = Average()
        callback.get_state = lambda wrong=wrong: wrong
        net = network()
        before = snapshot(net)
        with pytest.raises(ValueError, match=r"Average\.get_state must return a dict of plain values, as in JSON"):
            train(net, tmp_path / "run", [callback])
        assert_same(net, before)


def read_table(path):
    """The rows of a log, without times."""
    with path.open() as file:
        return [row[:3] for row in csv.reader(file)]


def test_the_best_network_on_disk_is_not_replaced_by_a_worse_one(tmp_path):
    best, path = tmp_path / "best", tmp_path / "run"
    options = {"lr": lambda step, total: (1.0, 3.0, 2.0, 1.0)[step // 6]}
    callbacks = lambda: [ModelCheckpoint(best, monitor="lr", mode="max")]  # noqa: E731
    interrupted(path, network, chunks=2 * CHUNKS + 1, callbacks=callbacks, **options)
    saved = best.read_bytes()
    train(network(), path, callbacks(), resume=True, **options)
    assert best.read_bytes() == saved


# When it is written


def count_writes(monkeypatch):
    writes, write = [], saving.write_file
    monkeypatch.setattr(saving, "write_file", lambda *args, **new: (writes.append(1), write(*args, **new)))
    return writes


@pytest.mark.parametrize(
    ("every", "number"), [("epoch", EPOCHS), (1, EPOCHS * CHUNKS), (EPOCHS * 6, 1), (timedelta(hours=1), 1)]
)
def test_a_file_is_written_when_it_is_due_and_at_the_end(tmp_path, monkeypatch, every, number):
    writes = count_writes(monkeypatch)
    train(network(), tmp_path / "run", every=every)
    assert len(writes) == 1 + number


@pytest.mark.parametrize("resume", [False, True])
def test_of_two_trainings_that_begin_with_one_path_the_second_is_refused(tmp_path, resume):
    path, net, first, seen = tmp_path / "run", network(), network(), []

    class Begin(Callback):
        """Begins another training after this one has looked for a file, and before it writes one."""

        def on_train_begin(self, training):
            train(first, path)
            seen.append(path.read_bytes())

    with pytest.raises(FileExistsError, match=r"checkpoint='.*run' exists already: another training has just begun wi"):
        train(net, path, [Begin()], resume=resume)
    assert path.read_bytes() == seen[0]
    assert_same(net, snapshot(network()))
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


def test_without_a_file_training_begins_anew_and_says_so(tmp_path, capsys):
    net, path = network(), tmp_path / "run"
    train(net, path, resume=True, progress=True)
    assert f"There is no checkpoint {path} yet: the training starts from the beginning" in capsys.readouterr().err
    whole = network()
    train(whole)
    assert_same(net, snapshot(whole))
    train(network(), tmp_path / "other", resume=True)
    assert capsys.readouterr().err == ""


def test_a_training_says_where_it_resumes(halfway, capsys):
    for said in ("Resuming the training in {}: epoch 2 of 4\n", "The training in {} has ended already\n"):
        net = network()
        history = train(net, halfway, resume=True, progress=True)
        assert (len(history), capsys.readouterr().err) == (EPOCHS, said.format(halfway))
        assert_same(net, snapshot(Network.load(halfway)))


def test_numbers_in_the_history_are_saved_and_objects_left_out_with_a_warning(tmp_path):
    class Add(Callback):
        adds = ("of NumPy", "list", "object")

        def on_epoch_end(self, logs):
            logs |= {"of NumPy": np.float32(0.5), "list": np.array([1.0, 2.0]), "object": self}

    net = network()
    (row,) = train(net, callbacks=[Add()], epochs=1, validation_data=(X, Y))
    with pytest.warns(UserWarning, match=r"history\['object'\] holds an object of type Add, which is not saved"):
        net.save(tmp_path / "net")
    saved = Network.load(tmp_path / "net").history.rows
    assert saved == [{**row, "of NumPy": 0.5, "list": [1.0, 2.0], "object": None}]


# Writing that fails


def test_a_checkpoint_that_cannot_be_written_at_first_ends_the_training_before_it_begins(tmp_path):
    net = network()
    before = snapshot(net)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        train(net, tmp_path / "nowhere" / "run")
    with pytest.raises(OSError, match="File too large"), full_disk():
        train(net, tmp_path / "run")
    assert_same(net, before)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def failing(monkeypatch):
    """Let files be written, or not."""
    from xpnet.files import _writing as writing

    state = {"fails": False, "error": OSError(28, "No space left on device")}
    replace = writing.Path.replace

    def maybe(self, target):
        if state["fails"]:
            raise state["error"]
        return replace(self, target)

    monkeypatch.setattr(writing.Path, "replace", maybe)
    return state


class Switch(Callback):
    """Let files fail in one epoch."""

    def __init__(self, state, epoch):
        self.state, self.epoch = state, epoch

    def on_epoch_begin(self, epoch):
        self.state["fails"] = epoch == self.epoch


@pytest.mark.parametrize("error", ["No space left on device.*run'", "too little memory"])
def test_a_checkpoint_that_cannot_be_written_warns_and_training_tries_again(tmp_path, failing, error):
    path, net, seen = tmp_path / "run", network(), []
    if "memory" in error:
        failing["error"] = MemoryError()

    class Look(Callback):
        def on_epoch_begin(self, epoch):
            seen.append(len(Network.load(path).history))

    message = rf"checkpoint='.*run' could not be written \(.*{error}\); training continues and will try again"
    with pytest.warns(UserWarning, match=message) as warned:
        train(net, path, [Look(), Switch(failing, 2)])
    assert (len(warned), warned[0].filename) == (1, __file__)
    assert seen == [0, 1, 1, 3]
    whole = network()
    train(whole)
    assert_same(net, snapshot(whole))
    assert_same(Network.load(path), snapshot(whole))


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_last_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, failing, number, error):
    """The training ends as it would have: after SIGTERM with its exit status, 143."""

    class Send(Callback):
        def on_epoch_end(self, logs):
            if failing["fails"]:
                signal.raise_signal(number)

    message = (
        r"checkpoint='.*run' could not be written \(.*\); the training has ended, and the file holds what was last "
    )
    with pytest.warns(UserWarning, match=message), pytest.raises(error, match=r"^(143)?$"):
        train(network(), tmp_path / "run", [Switch(failing, EPOCHS), Send()])
    assert len(Network.load(tmp_path / "run").history) == EPOCHS - 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError()], ids=repr)
def test_a_best_network_that_cannot_be_written_warns_and_the_next_better_one_is(tmp_path, failing, error):
    best, failing["error"] = tmp_path / "best", error
    options = {"lr": lambda step, total: (1.0, 3.0, 2.0, 1.0)[step // 6]}
    with pytest.warns(UserWarning, match=r"ModelCheckpoint could not write '.*best' .*training continues"):
        train(network(), None, [ModelCheckpoint(best, monitor="lr", mode="max"), Switch(failing, 2)], **options)
    assert Network.load(best).history["lr"] == [1.0, 3.0, 2.0]  # the second was not written; the third is next best


def test_a_row_that_cannot_be_written_warns_and_follows(tmp_path):
    log = tmp_path / "logs" / "log.csv"
    log.parent.mkdir()

    class Vanish(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 2:
                log.parent.rename(tmp_path / "elsewhere")
            elif epoch == 3:
                (tmp_path / "elsewhere").rename(log.parent)

    with pytest.warns(UserWarning, match=r"CSVLog could not write '.*log\.csv' \(.*No such file"):
        train(network(), None, [Vanish(), CSVLog(log)])
    assert [row[0] for row in read_table(log)] == ["epoch", "1", "2", "3", "4"]


# Another training is refused


class Patient(EarlyStopping):
    """A subclass of one's own, whose own arguments are its own affair."""

    def __init__(self, patience, extra):
        super().__init__(patience, monitor="cost")
        self.extra = extra


class Score:
    """A cost, and a metric."""

    name = "score"

    def __init__(self, by):
        self.by = by

    def value(self, a, y, xp):
        return self.by * xp.sum((a - y) ** 2, axis=-1)

    def measure(self, y, a):
        return self.by


WEIGHTS, CLASSES = np.arange(N), {"data": (X, LABELS), "class_weight": {0: 1.0, 1: 3.0}}
STEPS = {"steps": 5, "data": Cut()}
DIFFERENCES = [  # what was given, what is given then, and the difference that is named
    ({}, {"batch_size": 5}, r"holds a training with batch_size=4, but this one has batch_size=5; give the same, or"),
    ({}, {"lr": lambda step, total: OneCycle(0.5)(step, total)}, r"with lr=\{'name': 'OneCycle'"),
    ({"lr": Cosine(0.5)}, {"lr": Cosine(0.5, final=1e-9)}, r"lr\.final=0\.0, but this one has lr\.final=1e-09"),
    ({"lr": lambda step, total: 0.5}, {"lr": lambda step, total: 0.5 - 0.25 * (step == 13)}, "with other lr; give"),
    ({"lr": lambda step, total: 0.5, **STEPS}, {"lr": lambda step, total: 0.5 + (step == 7)}, "with other lr; give"),
    ({}, {"optimizer": SGD(momentum=1e-7)}, r"optimizer\.momentum=0\.0, but .* optimizer\.momentum=1e-07"),
    ({}, {"epochs": 5}, r"with epochs=4, but this one has epochs=5"),
    ({"test_data": (X, Y)}, {"test_data": (X, Y[::-1])}, "other test_data"),
    ({}, {"training_metrics": ["mae"]}, r"training_metrics=\[\], but .* training_metrics=\['mae'\]"),
    ({}, {"data": (X[:-1], Y[:-1])}, r"train_data\.examples=23, but this one has train_data\.examples=22"),
    ({}, {"data": Squares(), "cache": False}, "other train_data"),
    ({}, {"sample_weight": WEIGHTS}, "other sample_weight"),
    ({"sample_weight": WEIGHTS}, {"sample_weight": WEIGHTS[::-1].copy()}, "other sample_weight"),
    (CLASSES, {"class_weight": {1: 1.0, 0: 3.0}}, r"class_weight=\[1\.0, 3\.0\], .* class_weight=\[3\.0, 1\.0\]"),
    (CLASSES, {"class_weight": "balanced"}, r"class_weight=\[1\.0, 3\.0\], but this one has class_weight='balanced'"),
    (
        {**CLASSES, "data": Labelled(), "cache": False},
        {"class_weight": {0: 3.0, 1: 1.0}},
        r"class_weight=\[1\.0, 3\.0\], but .* class_weight=\[3\.0, 1\.0\]",
    ),
    ({}, {"callbacks": [CSVLog("log")]}, r"callbacks=\[\{'name': 'Interrupt'\}\], but this one has callbacks=\["),
    *(
        ({"callbacks": [before]}, {"callbacks": [after]}, named)
        for before, after, named in (
            (EarlyStopping(1, monitor="cost"), EarlyStopping(50, monitor="cost"), r"\[0\]\.patience=1, but"),
            (Patient(9, 1), Patient(8, 1), r"\[0\]\.patience=9, but"),
        )
    ),
    *(
        ({}, {"network": options}, named)
        for options, named in (
            ({"sizes": (3, 5, 2)}, r"with sizes=\[3, 4, 2\], but this one has sizes=\[3, 5, 2\]"),
            ({"seed": None, "init": "zeros"}, r"with init='scaled_normal', but this one has init='zeros'"),
        )
    ),
    ({"network": {"cost": Score(1.0)}}, {"network": {"cost": Score(2.0)}}, r"functions\.cost="),
    (
        {"validation_data": (X, Y), "metrics": [Score(1.0).measure]},
        {"metrics": [Score(2.0).measure]},
        r"functions\.metric 0=",
    ),
]


@pytest.mark.parametrize(("options", "changes", "message"), DIFFERENCES, ids=lambda x: x if isinstance(x, str) else "")
def test_another_training_is_refused_and_nothing_changes(tmp_path, monkeypatch, options, changes, message):
    """Or an activation would change in the middle of a training, and the best epoch would be that of two metrics."""
    monkeypatch.chdir(tmp_path)
    options, changes = dict(options), {**options, **changes}
    first, other = (given.pop("network", {}) for given in (options, changes))
    before = options.pop("callbacks", [])
    path, net = tmp_path / "run", network(**other)
    interrupted(path, lambda: network(**first), chunks=5, callbacks=lambda: before, **options)
    content, state = path.read_bytes(), snapshot(net)
    changes.setdefault("callbacks", before)
    with pytest.raises(ValueError, match=message):
        train(net, path, resume=True, **changes)
    assert_same(net, state)
    assert path.read_bytes() == content
    assert len(net.history) == 0
    train(network(**first), path, before, resume=True, **options)


def test_callbacks_may_write_elsewhere_and_arguments_of_ones_own_may_differ(tmp_path):
    resumed = network()
    make = lambda k: [CSVLog(tmp_path / f"log{k}"), ModelCheckpoint(tmp_path / f"best{k}", every=2), Patient(9, k)]  # noqa: E731
    interrupted(tmp_path / "run", network, chunks=5, callbacks=lambda: make(1))
    train(resumed, tmp_path / "run", make(2), resume=True)
    assert len(read_table(tmp_path / "log2")) == 1 + EPOCHS


def test_other_initial_weights_are_refused_by_initializers_of_one_name_or_assigned(tmp_path):
    def make(by, seed=3):
        def own(rng, n_in, n_out):
            w = rng.standard_normal((n_out, n_in))
            return np.where(w < 0, by * w, w), np.zeros(n_out)

        return network(init=own, seed=seed)

    interrupted(tmp_path / "run", lambda: make(1.0), chunks=5)
    assigned = make(1.0)
    assigned.w = [2 * w for w in assigned.w]
    for other in (make(1.5), make(-1.0), assigned):
        with pytest.raises(ValueError, match="other initial_weights"):
            train(other, tmp_path / "run", resume=True)
    train(make(1.0, seed=None), tmp_path / "run", resume=True)  # what is not known is not compared


@pytest.mark.parametrize("door", ["copy", "file"])
def test_a_seed_is_that_of_the_file_wherever_a_network_is_from_and_may_be_left_out(halfway, tmp_path, door):
    def take(net):
        net.save(tmp_path / "net")
        return net.copy() if door == "copy" else Network.load(tmp_path / "net")

    drawn = network(seed=None)
    for other in (network(seed=4), *([drawn] if door == "file" else [])):  # the file is what the user has chosen
        with pytest.raises(ValueError, match=f"with seed=3, but this one has seed={other.provenance.seed}"):
            train(take(other), halfway, resume=True)
    whole, resumed = network(), take(drawn if door == "copy" else network())
    train(whole)
    train(resumed, halfway, resume=True)
    assert_same(resumed, snapshot(whole))
    assert resumed.has_given_seed  # and is refused by the next file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": True}, "resume=True needs checkpoint=, the file to write"),
        ({"every": "epoch"}, "every='epoch' needs checkpoint=, the file to write"),
        ({"checkpoint": "run", "every": 0.5}, 'every=0.5 must be "epoch", a number of minibatches'),
        ({"checkpoint": "net"}, r"checkpoint='net' exists already; give resume=True to continue the"),
        ({"checkpoint": "net", "resume": True}, "net holds a network, but no training to resume; load it with Netw"),
        ({"checkpoint": "text", "resume": True}, "text does not hold an xpnet network"),
        ({"checkpoint": "run", "optimizer": Own()}, r"checkpoint= cannot hold .* optimizer=Own\(\), which is of your"),
    ],
)
def test_what_cannot_be_saved_or_resumed_is_refused(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    network().save("net")
    Path("text").write_text("something else")
    content = Path("net").read_bytes()
    with pytest.raises((ValueError, FileExistsError), match=message):
        train(network(), **options)
    assert {each.name for each in tmp_path.iterdir()} == {"net", "text"}
    assert Path("net").read_bytes() == content


FORGERIES = [  # which would pass for what they stand for
    (("position", "generator", "state", "inc"), 2.5),  # of which NumPy takes the 2, and draws without end
    (("position", "epoch"), 3),  # contradicts the number of steps
    (("position", "total_steps"), 10**400),
    (("position", "weight"), True),
    (("lr_scale",), float("nan")),
    (("call", "evil"), 1),
]


@pytest.mark.parametrize(("where", "value"), FORGERIES, ids=lambda x: str(x)[:60])
def test_a_forged_training_is_refused_and_nothing_changes(halfway, where, value):
    net = network()
    *path, last = where
    forge(halfway, lambda header, _: reduce(getitem, path, header["training"]).update({last: value}))
    with pytest.raises(CheckpointError, match="run holds a network that is not valid"):
        train(net, halfway, resume=True)
    assert_same(net, snapshot(network()))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rows", [0, 1, 2, 3, 4, 4], "the rows of an order must be"),
        ("rows", [2, 0, 1], "the training has no order of its 6 examples"),
        ("state", np.full(625, 625), "the state of an order must be 624 words"),
        ("state", np.zeros(3), "the state of an order must be 624 words"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_forged_order_of_examples_is_refused(tmp_path, name, value, message):
    fits = [estimators.MLPClassifier((2,), max_iter=epochs, random_state=0).fit for epochs in (1, 2)]
    fits[0](X[:6], LABELS[:6], checkpoint=tmp_path / "fit")
    forge(tmp_path / "fit", lambda header, arrays: arrays.update({f"order.{name}": np.array(value, np.int32)}))
    with pytest.raises(ValueError, match=message):
        fits[1](X[:6], LABELS[:6], checkpoint=tmp_path / "fit", resume=True)


# Several networks in one file


def ensemble(place=None, members=3, seed=3):
    return Ensemble([3, 4, 2], members, seed=seed, dropout=0.1, **(place._asdict() if place else {}))


def train_members(members, path=None, chunks=None, **options):
    """Train an ensemble whose members stop early, each at an epoch of its own; member 1 may be interrupted."""
    defaults = {"epochs": 6, "batch_size": 4, "lr": [2.0, 2.0, 5.0], "optimizer": SGD(momentum=0.9), "progress": False}
    if path is not None:
        options["checkpoint"] = path
    callbacks = lambda k: [EarlyStopping(1, monitor="cost"), Interrupt(chunks=chunks if k == 1 else None)]  # noqa: E731
    return members.train((X[EVEN], Y[EVEN]), callbacks=callbacks, **{**defaults, **options})


def test_members_that_share_an_iterable_of_batches_resume(tmp_path):
    whole, resumed = ensemble(), ensemble()
    for members, path, chunks in (
        (whole, None, None),
        (ensemble(), tmp_path / "run", 4),
        (resumed, tmp_path / "run", None),
    ):
        callbacks = lambda k, chunks=chunks: [Interrupt(chunks=chunks if k == 2 else None)]  # noqa: E731
        options = {"checkpoint": path, "resume": members is resumed, "steps": 3, "callbacks": callbacks}
        with nullcontext() if chunks is None else pytest.raises(KeyboardInterrupt):
            members.train(Cut(), 5, lr=0.5, progress=False, **options)
    for member, other in zip(resumed, whole, strict=True):
        assert_same(member, snapshot(other))


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        (2, {"lr": 0.1}, "holds a training of 3 networks, but this one has 2; they must match, or give another"),
        (
            3,
            {"lr": [2.0, 2.0, 0.3]},
            r"^member 2 of .*run holds a training with lr\.lr=5\.0, but this one has lr\.lr=0\.3",
        ),
        (3, {"validation_split": 0.5}, r"^member 0 of .*run holds a training with train_data\.examples=11"),
        (3, {"seed": [0, 1, 2]}, r"^member 0 of .*run holds a training with seed=\d+, but .* seed=0"),
    ],
)
def test_the_training_of_another_ensemble_is_refused(tmp_path, members, options, message):
    with pytest.raises(KeyboardInterrupt):
        train_members(ensemble(), tmp_path / "run", 3, validation_split=0.3)
    options = {"seed": 3, **options}
    other = ensemble(members=members, seed=options.pop("seed"))
    before = [snapshot(member) for member in other]
    with pytest.raises(ValueError, match=message):
        train_members(other, tmp_path / "run", resume=True, **{"validation_split": 0.3, **options})
    for member, state in zip(other, before, strict=True):
        assert_same(member, state)


@pytest.mark.parametrize("chunks", [2, CHUNKS + 2])
def test_a_member_that_had_diverged_on_shared_batches_does_so_again(tmp_path, chunks):
    """The batches that it would need are gone: the others have gone on with them, by steps or by epochs."""
    trainings = []

    class Watch(Callback):
        def on_train_begin(self, training):
            trainings.append(training)

    def run(resume, chunks=None):
        members = Ensemble([3, 4, 2], 3, seed=3, activation="relu", task="regression")
        options = {"checkpoint": tmp_path / "run", "resume": resume, "every": 1, "progress": False}
        callbacks = lambda k: [Interrupt(chunks=chunks if k == 2 else None), Watch()]  # noqa: E731
        with pytest.raises(KeyboardInterrupt if chunks else DivergenceError, match=None if chunks else "member 1"):
            members.train(Cut(), EPOCHS, lr=[0.01, 1e30, 0.01], callbacks=callbacks, **options)
        return members

    run(False, chunks)
    resumed = run(True)
    assert [len(member.history) for member in resumed] == [EPOCHS, 0, EPOCHS]
    assert [training.completed for training in trainings[3:]] == [True, False, True]
    assert np.isfinite(resumed.histories[0]["cost"]).all()


@pytest.mark.parametrize("members", [None, 2])
def test_a_training_that_diverged_goes_on_once_its_batches_are_repaired(tmp_path, members):
    def train(wrong_epoch, resume):
        epochs = itertools.count(1)

        class Read(Cut):
            def __iter__(self):
                factor = 1e37 if next(epochs) == wrong_epoch else 1.0
                return ((x, factor * y) for x, y in super().__iter__())

        kind = Network if members is None else partial(Ensemble, members=members)
        model = kind([3, 4, 2], seed=3, task="regression")
        options = {"checkpoint": tmp_path / "run", "resume": resume, "lr": 0.01, "progress": False}
        with pytest.raises(DivergenceError) if wrong_epoch else nullcontext():
            model.train(Read(), EPOCHS, **options)
        return len(model.history if members is None else model.histories[1])

    assert train(2, resume=False) == 1
    assert train(None, resume=True) == EPOCHS


def test_a_member_that_diverges_does_not_stop_the_file_of_the_others(tmp_path, monkeypatch):
    writes = count_writes(monkeypatch)
    members = Ensemble([3, 4, 2], 3, seed=3, activation="relu", task="regression")
    with pytest.raises(DivergenceError, match="member 1 diverged"):
        members.train((X, Y), EPOCHS, 5, lr=[0.01, 1e30, 0.01], checkpoint=tmp_path / "run", progress=False)
    assert len(writes) == 1 + EPOCHS
    assert [len(member.history) for member in Ensemble.load(tmp_path / "run")] == [EPOCHS, 0, EPOCHS]


def test_a_callback_that_refuses_leaves_all_networks_as_they_were(tmp_path):
    class Refuse(Callback):
        def __init__(self, k):
            self.k = k

        def set_state(self, state):
            if self.k == 2:
                raise ValueError("not mine")

    options = {"epochs": 3, "batch_size": 5, "lr": 0.1, "progress": False, "checkpoint": tmp_path / "run"}
    ensemble().train((X, Y), callbacks=lambda k: [Refuse(0)], **options)
    other = ensemble()
    before = [snapshot(member) for member in other]
    with pytest.raises(ValueError, match=r"^not mine$"):
        other.train((X, Y), callbacks=lambda k: [Refuse(k)], resume=True, **options)
    for member, state in zip(other, before, strict=True):
        assert_same(member, state)


# Estimators


def estimator(kind, chunks=None, place=None, **options):
    options = {"hidden_layer_sizes": (4,), "max_iter": 8, "batch_size": 4, "random_state": 3, **options}
    if place is not None:
        options |= {"backend": place.backend, "device": place.device}
    return getattr(estimators, kind)(**options, callbacks=[Interrupt(chunks=chunks)])


def fitted(model):
    """The networks of an estimator, and what else training has left."""
    members = getattr(model, "estimators_", [model])
    names = ("n_iter_", "t_", "loss_", "loss_curve_", "validation_scores_", "best_validation_score_")
    return [member.network_ for member in members], [[getattr(one, name) for name in names] for one in members]


FITS = [  # the last one on every backend
    ("MLPRegressor", {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.5}, 9),
    ("MLPRegressor", {"solver": "sgd", "learning_rate": "invscaling", "standardize": True, "dropout": 0.1}, 0),
    ("MLPEnsembleClassifier", {"n_estimators": 3, "early_stopping": True, "n_iter_no_change": 1, "bootstrap": True}, 4),
    ("MLPClassifier", {}, 9),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.not_on("strict-device1")
@pytest.mark.parametrize(("kind", "options", "chunks"), FITS)
def test_a_fit_resumes_bit_for_bit(tmp_path, place, kind, options, chunks):
    x, y = X[EVEN], LABELS[EVEN] if "Classifier" in kind else Y[EVEN, 0]
    nets, whole = fitted(estimator(kind, place=place, **options).fit(x, y))
    stopped = estimator(kind, chunks, place, **options)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        stopped.fit(x, y, checkpoint=tmp_path / "run")
    resumed = estimator(kind, place=place, **options).fit(x, y, checkpoint=tmp_path / "run", resume=True)
    others, tallies = fitted(resumed)
    np.testing.assert_equal(tallies, whole)
    for net, other in zip(nets, others, strict=True):
        assert_same(other, snapshot(net))


def test_another_fit_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator("MLPRegressor", 3).fit(X, Y[:, 0], checkpoint=tmp_path / "run")
    for parameters, data, message in (
        ({"tol": 0.5}, {}, "holds a training with tol=0.0001, but this one has tol=0.5"),
        ({"random_state": None}, {}, "needs random_state to be a whole number, not None"),
        ({"hidden_layer_sizes": (6,)}, {}, r"sizes=\[3, 4, 1\], but this one has sizes=\[3, 6, 1\]"),
        ({}, {"y": Y[:, 1]}, "other train_data"),
        ({}, {"slopes": 0.0 * X}, "other train_data"),
        ({}, {"X_val": X, "y_val": Y[:, 1]}, "other validation_data"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator("MLPRegressor", **parameters).fit(
                **{"X": X, "y": Y[:, 0], **data}, checkpoint=tmp_path / "run", resume=True
            )


# Signals


class Send(Callback):
    """Send SIGTERM to this process in an epoch."""

    def on_epoch_begin(self, epoch):
        if epoch == 2:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_sigterm_ends_a_training_unless_it_has_a_handler_of_ones_own(tmp_path):
    """Random programs resume what was ended so."""
    with pytest.raises(SystemExit, match=r"^143$"):
        train(network(), tmp_path / "run", [Send()])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert len(Network.load(tmp_path / "run").history) == 1
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        assert len(train(network(), tmp_path / "own", [Send()])) == EPOCHS
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [signal.SIGTERM]


def test_a_training_in_a_thread_has_a_checkpoint(tmp_path):
    """There Python sets no handlers."""
    thread = Thread(target=train, args=(network(), tmp_path / "run"))
    thread.start()
    thread.join()
    assert len(Network.load(tmp_path / "run").history) == EPOCHS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # at a with
def test_an_interrupt_at_any_line_leaves_a_checkpoint_that_goes_on(tmp_path):
    """At every 113th line of the loop, the callbacks and the writing of files; then the training is resumed."""
    files = ("training/_loop.py", "training/_train.py", "training/_checkpoint.py")
    files += ("training/callback.py", "training/callbacks.py", "training/_groups.py")
    files += ("files/_record.py", "files/_file.py", "files/_writing.py")
    files += ("network/network.py", "value/_value.py")
    callbacks = lambda: [EarlyStopping(9, monitor="cost"), CSVLog(tmp_path / "log.csv")]  # noqa: E731
    options = {"data": (X[:8], Y[:8]), "epochs": 2, "optimizer": SGD(momentum=0.9)}
    whole, traced = network(), set()
    train(whole, None, callbacks(), **options)
    for k in itertools.count(5, 113):
        path, net = tmp_path / str(k), network()
        try:
            with InterruptAt(k, traced, files):
                train(net, path, callbacks(), **options)
            break
        except KeyboardInterrupt:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it is not put back by an interrupt at that very line
        assert all(np.isfinite(array).all() for array in net.w)
        net.train((X[:8], Y[:8]), epochs=1, progress=False)  # it is usable
        resumed = network()
        train(resumed, path, callbacks(), resume=True, **options)
        assert_same(resumed, snapshot(whole))
        assert rows(resumed.history) == rows(whole.history)
        assert len(read_table(tmp_path / "log.csv")) == 3
    assert traced == set(files)


def test_an_exception_leaves_a_checkpoint_too(tmp_path):
    interrupted(tmp_path / "run", network, chunks=CHUNKS + 1, error=RuntimeError)
    header, _ = read((tmp_path / "run").read_bytes())
    assert header["training"]["position"]["steps"] == 2
