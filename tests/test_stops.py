"""An error that a signal handler raises, such as a time limit, surfaces at once, wherever it comes."""

import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers import assert_same, snapshot

from xpnet import Callback, CSVLog, Ensemble, ModelCheckpoint, Network, TensorBoard, get_backend
from xpnet.backends.workers import Workers
from xpnet.checkpoint import archive, file, writing
from xpnet.cli.bench import compare_backends
from xpnet.errors import unless_stopped
from xpnet.learn import network2
from xpnet.training import callbacks as callbacks_module

X = np.random.default_rng(0).standard_normal((60, 5))
Y = np.random.default_rng(1).uniform(size=(60, 2))
LABELS = np.arange(60) % 3


class OwnOSError(OSError):
    pass


class OwnRuntimeError(RuntimeError):
    pass


class OwnValueError(ValueError):
    pass


class OwnMemoryError(MemoryError):
    pass


ERRORS = [TimeoutError, OwnOSError, OwnRuntimeError, OwnValueError, OwnMemoryError]


def zip_cycles(cases: list[Any], *others: list[Any]) -> list[tuple[Any, ...]]:
    """Each case once, with the others in turn."""
    return [*zip(cases, *map(cycle, others))]


every_error = pytest.mark.parametrize("error", ERRORS)


@pytest.fixture
def stop() -> Iterator[Callable[[type[Exception]], None]]:
    """A function that lets a signal handler raise an error of some kind, at once."""
    before = signal.getsignal(signal.SIGINT)

    def send(kind: type[Exception]) -> None:
        def expire(number: int, frame: Any) -> None:
            raise kind("limit")

        signal.signal(signal.SIGINT, expire)
        signal.raise_signal(signal.SIGINT)

    yield send
    signal.signal(signal.SIGINT, before)


class Stop(Callback):
    """Sends the signal in the second epoch, of whichever network; copies count together."""

    send: ClassVar[Callable[[], None]]
    begun: ClassVar[list[int]] = []

    def on_epoch_begin(self, epoch: int) -> None:
        self.begun.append(epoch)
        if epoch == 2:
            type(self).send()


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch, stop: Any) -> Callable[[type[Exception]], Stop]:
    """Make a callback that stops by an error of some kind."""

    def make(error: type[Exception]) -> Stop:
        monkeypatch.setattr(Stop, "send", staticmethod(lambda: stop(error)), raising=False)
        monkeypatch.setattr(Stop, "begun", [])
        return Stop()

    return make


# What a stop is


class Handler:
    def __call__(self, number: int, frame: Any) -> None:
        self.handle(number, frame)

    def handle(self, number: int, frame: Any) -> None:
        expire(number, frame)


def expire(number: int, frame: Any, kind: type[Exception] = OwnOSError) -> None:
    raise kind("limit")


class HandlerOfFunction(Handler):
    """What it calls is no `functools.partial`."""

    func = print


HANDLERS = {
    "function": expire,
    "object": Handler(),
    "object with a function": HandlerOfFunction(),
    "method": Handler().handle,
    "partial": functools.partial(expire, kind=OwnValueError),
    "lambda": lambda *args: expire(*args),
}


def catch(raise_error: Callable[[], Any], *kinds: type[Exception]) -> str:
    try:
        raise_error()
    except unless_stopped(*kinds):
        return "caught"
    return "nothing was raised"


@pytest.mark.parametrize("handler", HANDLERS)
def test_the_error_of_a_signal_handler_is_not_caught(handler):
    before = signal.signal(signal.SIGINT, HANDLERS[handler])
    try:
        with pytest.raises((OwnOSError, OwnValueError), match="limit"):
            catch(lambda: signal.raise_signal(signal.SIGINT), Exception)
    finally:
        signal.signal(signal.SIGINT, before)
    assert catch(lambda: HANDLERS[handler](2, None), Exception) == "caught"  # it was called by somebody else


@pytest.mark.parametrize("is_cause", [True, False])
def test_a_stop_that_was_made_into_another_error_stays_one(stop, is_cause):
    def convert() -> None:
        try:
            stop(OwnValueError)
        except ValueError as error:
            raise KeyError("something else") from (error if is_cause else None)

    with pytest.raises(KeyError):
        catch(convert, Exception)


def test_a_stop_leaves_workers_and_their_queues_usable(stop):
    workers = Workers(2)
    started, ready = threading.Event(), threading.Event()

    def work(i: int) -> int:
        started.set()
        ready.wait(10)
        return i

    def interrupt() -> None:
        started.wait(10)
        time.sleep(0.05)  # until the main thread waits in C: between two instructions, the signal would not wake it
        signal.pthread_kill(main_thread, signal.SIGINT)

    main_thread = threading.get_ident()
    before = signal.signal(signal.SIGINT, expire)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(OwnOSError, match="limit"):
            workers.map(work, iter(range(4)))
        ready.set()
        assert workers.map(lambda i: -i, range(5)) == [0, -1, -2, -3, -4]
        with pytest.raises(ZeroDivisionError):
            workers.map(lambda i: 1 // i, range(3))
    finally:
        signal.signal(signal.SIGINT, before)
        workers.close()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), TimeoutError(110, "Connection timed out"), OwnOSError("its own")]
)
def test_errors_of_the_operation_are_caught(error):
    def fail() -> None:
        raise error

    assert catch(fail, ValueError, OSError) == "caught"
    with pytest.raises(OSError, match=str(error.args[-1])):
        catch(fail, ValueError, RuntimeError)


# Files


WRITES = [
    *(("checkpoint", operation, TimeoutError) for operation in ("open", "write", "rename")),
    *((door, "open", OwnOSError) for door in ("ModelCheckpoint", "CSVLog", "TensorBoard")),
]


@pytest.mark.parametrize(("door", "operation", "error"), WRITES)
def test_a_time_limit_while_a_file_is_written_ends_the_training(tmp_path, monkeypatch, stop, door, error, operation):
    if door == "TensorBoard":
        pytest.importorskip("tensorboard")
    path, armed = tmp_path / "file", []

    def interrupt(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if armed:
                armed.clear()
                stop(error)
            return function(*args, **options)

        return call

    class Arm(Callback):
        def on_epoch_begin(self, epoch: int) -> None:
            if epoch == 2:
                armed.append(1)

    module, name = {"open": (os, "open"), "write": (os, "fsync"), "rename": (writing.Path, "replace")}[operation]
    monkeypatch.setattr(module, name, interrupt(getattr(module, name)))
    monkeypatch.setattr(callbacks_module, "open", interrupt(open), raising=False)
    monkeypatch.setattr(TensorBoard, "on_epoch_end", interrupt(TensorBoard.on_epoch_end))
    made = {"ModelCheckpoint": ModelCheckpoint(path, every=1), "CSVLog": CSVLog(path), "TensorBoard": TensorBoard(path)}
    callbacks = [Arm(), *([made[door]] if door in made else [])]
    options: dict[str, Any] = {"epochs": 4, "batch_size": 10, "lr": 0.1, "progress": False, "callbacks": callbacks}
    net = Network([5, 4, 2], seed=0)
    with pytest.raises(error, match=r"^limit$"):
        net.train((X, Y), **options, checkpoint=path if door == "checkpoint" else None)
    assert len(net.history) < 3
    if door == "checkpoint":  # which was written when training ended
        resumed, whole = Network([5, 4, 2], seed=0), Network([5, 4, 2], seed=0)
        resumed.train((X, Y), **options, checkpoint=path, resume=True)
        whole.train((X, Y), **{**options, "callbacks": ()})
        assert_same(resumed, snapshot(whole))


@pytest.mark.parametrize("error", [TimeoutError, OwnOSError, OwnValueError])
def test_a_time_limit_surfaces_from_files_as_it_is(tmp_path, monkeypatch, stop, error):
    net, path = Network([5, 4, 2], seed=0), tmp_path / "file"
    net.save(path)
    Ensemble.of([net]).save(tmp_path / "ensemble")
    content = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda number: stop(error))
    for save in (net.save, Ensemble.of([net]).save, functools.partial(network2.save, net)):
        with pytest.raises(error, match=r"^limit$"):
            save(path)
    assert path.read_bytes() == content
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ensemble", "file"]
    monkeypatch.setattr(file, "check_depth", lambda *args: stop(error))
    monkeypatch.setattr(Path, "glob", lambda *args: stop(error))
    for call in (lambda: Network.load(path), lambda: net.save(path)):
        with pytest.raises(error, match=r"^limit$"):
            call()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where zipfile itself cannot be stopped
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError, OwnValueError, OwnMemoryError])
def test_a_stop_at_any_line_of_zipfile_surfaces(stop, error):
    """Which cannot close an archive while it writes a file into it, and would say that instead."""
    before, lines, stopped = sys.gettrace(), 0, 0

    def count(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        if "zipfile" not in frame.f_code.co_filename:
            return None
        lines -= event == "line"
        if event == "line" and lines == 0:
            stop(error)
        return count

    for k in range(1, 300):
        lines = k
        sys.settrace(count)
        try:
            archive.encode([b"content"])
        except error:
            stopped += 1
        finally:
            sys.settrace(before)
    assert stopped > 50


# Trainings, and data


class Slow:
    """Data that is converted until a time limit runs out."""

    shape: ClassVar[tuple[int, ...]] = (3, 5)

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self.wait()
        raise AssertionError

    def __getitem__(self, i: int) -> Any:
        self.wait()

    def __len__(self) -> int:
        return 3


@every_error
def test_a_time_limit_while_data_is_read_surfaces(stop, error):
    net, slow = Network([5, 4, 2], seed=0), Slow(lambda: stop(error))
    calls = [
        lambda: net.forward(slow),
        lambda: net.train((slow, LABELS[:3]), progress=False),
        lambda: net.train(slow, progress=False),  # a data set
        lambda: net.train([(slow, 0)], progress=False),
        lambda: Ensemble.of([net]).train((slow, LABELS[:3]), progress=False),
        lambda: net.train((X, Y), 1, progress=False, validation_data=(slow, Y[:3])),
    ]
    for call in calls:
        with pytest.raises(error, match=r"^limit$"):
            call()


@every_error
def test_a_time_limit_while_a_library_is_imported_surfaces(monkeypatch, stop, error):
    """And is not taken for a library that is missing."""
    monkeypatch.setattr(importlib, "import_module", lambda name: stop(error))
    for device, backend in (("auto", None), (None, "jax")):
        with pytest.raises(error, match=r"^limit$"):
            get_backend(backend, device)
    with pytest.raises(error, match=r"^limit$"):
        compare_backends(Network([5, 4, 2]), backends=["jax"])


@pytest.mark.parametrize(("error", "members"), zip_cycles(ERRORS, [1, 3]))
def test_a_time_limit_ends_the_training_of_networks(stopping, members, error):
    callback = stopping(error)
    with pytest.raises(error, match=r"^limit$"):
        Ensemble([5, 4, 2], members, seed=0).train((X, Y), 9, progress=False, callbacks=[callback])
    with pytest.raises(error, match=r"^limit$"):
        Network([5, 4, 2], seed=0).train((X, Y), 9, progress=False, callbacks=[callback])
    assert callback.begun == [1] * members + [2, 1, 2]


# Estimators


@pytest.fixture
def estimators() -> Any:
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    from xpnet import estimators

    return estimators


OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (4,), "max_iter": 9, "batch_size": 20, "random_state": 0}


@every_error
def test_a_time_limit_ends_the_fit_of_an_estimator(stopping, stop, estimators, error):
    for make in (
        estimators.MLPClassifier,
        functools.partial(estimators.MLPEnsembleClassifier, n_estimators=1),
        functools.partial(estimators.MLPEnsembleClassifier, n_estimators=3),
    ):
        callback = stopping(error)
        estimator = make(**OPTIONS, callbacks=[callback])
        with pytest.raises(error, match=r"^limit$"):
            estimator.fit(X, LABELS)
        assert 2 in callback.begun
        with pytest.raises(error, match=r"^limit$"):
            make(**OPTIONS).fit(Slow(lambda: stop(error)), LABELS[:3])
        with pytest.raises(error, match=r"^limit$"):
            make(**OPTIONS).fit(X, LABELS, X_val=Slow(lambda: stop(error)), y_val=LABELS[:3])


@pytest.mark.parametrize(
    ("error", "error_score", "random"), zip_cycles(ERRORS, [np.nan, "raise"], [False, True, True]), ids=str
)
def test_a_time_limit_ends_a_search_and_nothing_is_fitted_again(stopping, estimators, error, error_score, random):
    callback = stopping(error)
    classifier = estimators.MLPClassifier(**OPTIONS, callbacks=[callback])
    kind = functools.partial(estimators.MLPRandomSearchCV, n_iter=2) if random else estimators.MLPSearchCV
    with pytest.raises(error, match=r"^limit$"):
        kind(classifier, {"alpha": [1e-4, 1.0]}, cv=3, error_score=error_score).fit(X, LABELS)
    assert callback.begun == [1] * 6 + [2]


@every_error
def test_a_time_limit_in_a_fit_that_is_alone_ends_a_search(stopping, estimators, error):
    """Whether it is the only one of its kind, or training together has failed."""
    splits = [(np.arange(40), np.arange(40, 60))]
    for grid in ({"hidden_layer_sizes": [(3,), (4,)]}, {"alpha": [1e-4, 1.0]}):
        callback = stopping(error)
        classifier = estimators.MLPClassifier(**OPTIONS, callbacks=[FailFirst(), callback])
        FailFirst.fails = "alpha" in grid
        with pytest.raises(error, match=r"^limit$"):
            estimators.MLPSearchCV(classifier, grid, cv=splits, error_score=np.nan).fit(X, LABELS)
        assert callback.begun == [1, 2]


class FailFirst(Callback):
    """Fails in the first epoch of the first network, if it is to."""

    fails: ClassVar[bool]

    def on_epoch_begin(self, epoch: int) -> None:
        if FailFirst.fails:
            FailFirst.fails = False
            raise RuntimeError("its own")


@every_error
def test_a_time_limit_while_fits_are_prepared_ends_a_search(stop, estimators, error):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    calls = []

    def transform(x: Any) -> Any:
        calls.append(1)
        stop(error)

    pipeline = make_pipeline(FunctionTransformer(transform), estimators.MLPClassifier(**OPTIONS))
    with pytest.raises(error, match=r"^limit$"):
        estimators.MLPSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3).fit(X, LABELS)
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("error", "scoring"),
    [(TimeoutError, None), (OwnValueError, "neg_log_loss"), (OwnValueError, lambda *args: args[0].score(*args[1:]))],
)
def test_a_time_limit_while_networks_are_scored_ends_a_search(monkeypatch, stop, estimators, error, scoring):
    classifier = estimators.MLPClassifier(**OPTIONS)
    monkeypatch.setattr(type(classifier), "_predict", lambda *args: stop(error))
    with pytest.raises(error, match=r"^limit$"):
        estimators.MLPSearchCV(classifier, {"alpha": [1e-4, 1.0]}, cv=3, scoring=scoring).fit(X, LABELS)
