"""Doors that are slow to open: killed processes, threads, ranks, exported files that are run, processes of a search."""

from __future__ import annotations

import csv
import io
import itertools
import multiprocessing
import os
import pickle
import random
import signal
import sys
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet import SGD, Callback, CSVLog, DivergenceError, EarlyStopping, Ensemble, Network, ReduceLROnPlateau

from .generate import Operation, register
from .ranks import Ranks, find_mpiexec
from .world import (
    Examples,
    Failure,
    Interrupt,
    World,
    assert_close,
    assert_same,
    draw_training,
    fingerprint,
    make_network,
    new_path,
    place_of,
    same_rows,
    strip_times,
    to_host,
)

__all__ = ["OPERATIONS", "World"]
OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

SIGNALS = [("KILL",), ("TERM",), ("INT",), ("TERM", "KILL"), ("INT", "TERM"), ("INT", "INT")]


# Processes that are killed


class Job(NamedTuple):
    """A training in a process of its own: of a network, an ensemble, an estimator or a search."""

    model: Any
    data: tuple[Any, Any]
    options: dict[str, Any]

    def run(self) -> Any:
        """Train or fit the model, and return it."""
        if isinstance(self.model, (Network, Ensemble)):
            self.model.train(self.data, **self.options)
        else:
            self.model.fit(*self.data, **self.options)
        return self.model


def train_in(folder: Path, say_ready: Any = str) -> Any:
    """Begin or resume the training in a folder, and leave the trained model there."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        job = pickle.loads((folder / "job").read_bytes())
        say_ready()
        model = job.run()
    (folder / "new").write_bytes(pickle.dumps(model))
    os.replace(folder / "new", folder / "end")
    return model


def train_in_child(folder: Path, ready: Any) -> None:
    """Do so in a process that may be killed once it has said that it is ready."""
    status = 1
    try:
        train_in(folder, partial(ready.send, None))
        status = 0
    except (KeyboardInterrupt, SystemExit):
        status = 128
    except BaseException:
        (folder / "error").write_text(traceback.format_exc())
    finally:
        os._exit(status)  # at once, or a signal would come while Python ends


@cache
def make_context(place: str) -> Any:
    """A server that has imported what this process has of xpnet, and forks a process in some milliseconds."""
    context = multiprocessing.get_context("forkserver")
    used = [name for name in sys.modules if name.partition(".")[0] in ("xpnet", "sklearn", "threadpoolctl", place)]
    context.set_forkserver_preload([*used, __name__])
    return context


def start(folder: Path, context: Any) -> Any:
    """Start a process that goes on with the training in a folder."""
    receiver, sender = context.Pipe(False)
    process = context.Process(target=train_in_child, args=(folder, sender))
    process.start()
    sender.close()
    if not receiver.poll(120):
        raise Failure("a process does not start within two minutes")
    with suppress(EOFError):
        receiver.recv()
    return process


def end(process: Any, names: tuple[str, ...], r: random.Random) -> None:
    """Send signals to a process, which must end."""
    for name in names:
        with suppress(ProcessLookupError):
            os.kill(process.pid, getattr(signal, f"SIG{name}"))
        process.join(r.uniform(0, 0.003))
    process.join(60)
    if process.is_alive():
        process.kill()
        raise Failure(f"a process goes on for a minute after {names}")


@operation(weight=3, reads=True)
def killed(world: World, r: random.Random) -> None:
    """A training whose processes are killed at random moments ends as the one that nobody interrupts."""
    if world.place not in ("numpy", "torch", "strict"):
        return
    folders = [Path(new_path("-whole")), Path(new_path("-killed"))]
    model, data, options = draw_job(world, r)
    for folder in folders:
        folder.mkdir()
        own = {**options, "checkpoint": folder / "run", "resume": True}
        if isinstance(model, Network):
            own["callbacks"] = [*options["callbacks"], CSVLog(folder / "log.csv")]
        (folder / "job").write_bytes(pickle.dumps(Job(model, data, own)))
    whole, folder = folders
    began = time.perf_counter()
    try:
        expected = train_in(whole)
    except DivergenceError:
        return  # the state of some steps before depends on the length of chunks
    kill_at_random(folder, r, time.perf_counter() - began, make_context(world.place), model)
    if (folder / "error").exists():
        raise Failure(f"a resumed training fails: {(folder / 'error').read_text()}")
    assert_same_end(pickle.loads((folder / "end").read_bytes()), expected)
    if (whole / "log.csv").exists() and read_log(folder / "log.csv") != read_log(whole / "log.csv"):
        raise Failure("a resumed training has another log")


def draw_job(world: World, r: random.Random) -> Job:
    """Draw what is trained: a network, an ensemble, an estimator or a search."""
    kind = r.choice(["network", "network", "ensemble", "estimator", "search"])
    world.log.append(kind)
    if kind in ("estimator", "search"):
        return draw_fit(world, r, kind == "search")
    training = draw_training(world, r)
    every = r.choice(["epoch", 1, 3, timedelta(milliseconds=r.choice([1, 10]))])
    chunk = r.choice([None, None, 1, 3])  # or a chunk would hold all steps of an epoch
    options = {**training.options, "epochs": r.choice([2, 8, 25]), "every": every, "chunk_steps": chunk}
    callbacks = training.make_callbacks()
    callbacks += [ReduceLROnPlateau(0.7, 3, monitor="cost"), EarlyStopping(30, monitor="cost")][: r.randint(0, 2)]
    model: Any = world.net.copy()
    if kind == "ensemble":
        model = Ensemble.of([model, make_network(world.settings, seed=r.randrange(99))])
        options["optimizer"] = options["optimizer"] or SGD()  # or each would go on with its own
    return Job(model, training.examples.data, {**options, "callbacks": callbacks})


def draw_fit(world: World, r: random.Random, is_search: bool) -> Job:
    """Draw the fit of an estimator or of a search."""
    from xpnet import estimators

    g, kind = np.random.default_rng(r.randrange(2**32)), r.choice(["MLPClassifier", "MLPRegressor"])
    x = g.normal(size=(r.choice([30, 60]), 3))
    y = g.integers(0, 3, len(x)) if kind == "MLPClassifier" else x @ g.normal(size=3)
    settings = {"max_iter": r.choice([3, 12]), "batch_size": r.choice([5, 16]), "random_state": r.randrange(99)}
    settings |= {"early_stopping": r.random() < 0.3, "solver": r.choice(["adam", "sgd"]), "n_iter_no_change": 3}
    backend = {"torch": "torch"}.get(world.place)
    estimator = getattr(estimators, kind)(hidden_layer_sizes=(r.randint(2, 6),), backend=backend, **settings)
    if not is_search:
        return Job(estimator, (x, y), {"every": r.choice(["epoch", 3])})
    grid = {"alpha": [1e-4, 0.1], "learning_rate_init": [1e-3, 0.01], "hidden_layer_sizes": [(3,), (5,)]}
    grid = {name: grid[name] for name in r.sample([*grid], 2)}
    return Job(estimators.MLPSearchCV(estimator, grid, cv=2), (x, y), {"every": r.choice([1, 2])})


def kill_at_random(folder: Path, r: random.Random, seconds: float, context: Any, model: Any) -> None:
    """Kill the processes of a training a few times, and let the last one come to its end."""
    for _ in range(r.randint(1, 4)):
        process = start(folder, context)
        process.join(r.uniform(0, 1.2) * seconds)
        # the fit of an estimator ends well after Ctrl-C, with what it has learnt until then
        end(process, r.choice(SIGNALS if not hasattr(model, "get_params") else SIGNALS[:2]), r)
        if isinstance(model, (Network, Ensemble)) and (folder / "run").exists():
            type(model).load(folder / "run")  # raises if it is not whole
    process = start(folder, context)
    process.join(120)
    if process.exitcode != 0 and not (folder / "error").exists():
        raise Failure(f"the last process has ended with {process.exitcode}")


def assert_same_end(model: Any, expected: Any) -> None:
    """Two trained models are the same, bit for bit."""
    if isinstance(model, Network):
        assert_same(model, expected, "killed and resumed")
    elif isinstance(model, Ensemble):
        for k, (own, other) in enumerate(zip(model, expected)):
            assert_same(own, other, f"member {k}, killed and resumed")
    elif hasattr(model, "cv_results_"):
        assert_same_search(model, expected, "killed and resumed", 0.0)
    else:
        assert_same(model.network_, expected.network_, "a fit, killed and resumed", history=False)
        if (model.loss_curve_, model.n_iter_) != (expected.loss_curve_, expected.n_iter_):
            raise Failure("a fit, killed and resumed: another curve")


def assert_same_search(model: Any, expected: Any, what: str, tolerance: float) -> None:
    """Two searches have found the same, to rounding, except for times."""
    for name, values in expected.cv_results_.items():
        if name == "params":
            same = model.cv_results_[name] == values
        elif name.endswith("_time"):
            continue
        elif name.startswith(("mean_test", "std_test", "split")):
            same = np.abs(model.cv_results_[name] - values).max() <= tolerance
        else:
            same = tolerance > 0 or list(model.cv_results_[name]) == list(values)
        if not same:
            raise Failure(f"a search, {what}: {name} is {model.cv_results_[name]}, not {values}")


def read_log(path: Path) -> list[dict[str, str]]:
    """Read a log without its times."""
    with open(path, newline="") as file:
        return strip_times(csv.DictReader(file))


# Threads


@contextmanager
def quick_switches() -> Any:
    """Change between Python threads after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def draw_own_job(world: World, r: random.Random, **options: Any) -> bytes:
    """Draw a training of the network; as a pickle, so that it can be run several times with callbacks of its own."""
    training = draw_training(world, r)
    options = {**training.options, "callbacks": training.make_callbacks(), **options}
    return pickle.dumps(Job(world.net, training.examples.data, options))


def run_job(content: bytes) -> Any:
    """Run a training; return the network, or None if it diverges."""
    try:
        return pickle.loads(content).run()
    except DivergenceError:
        return None


@operation(weight=2, reads=True)
def train_in_threads(world: World, r: random.Random) -> None:
    """Networks that are trained in threads at once equal those that are trained in turn."""
    jobs = [draw_own_job(world, r) for _ in range(3)]
    with quick_switches(), ThreadPoolExecutor(3) as pool:
        at_once = [*pool.map(run_job, jobs)]
    for net, alone in zip(at_once, map(run_job, jobs)):
        if (net is None) != (alone is None):
            raise Failure("a training diverges in a thread, or does not")
        if net is not None and alone is not None:
            assert_same(net, alone, "trained in a thread")


class States(Callback):
    """Keeps what a function says of a network whenever its weights may have changed."""

    def __init__(self, observe: Any) -> None:
        self.observe, self.seen = observe, set()

    def on_train_begin(self, training: Any) -> None:
        self.seen.add(self.observe())

    def on_chunk_end(self, steps: int) -> None:
        self.seen.add(self.observe())


@operation(weight=2, reads=True)
def predict_during_training(world: World, r: random.Random) -> None:
    """Whoever predicts, or copies a network, while another thread trains it, sees the state before or after a chunk."""
    net, training = world.net.copy(), draw_training(world, r)
    x = Examples(net, r).x
    if net.standardize and net.scaling is None:
        net.fit_scaling(training.examples.data)
    views = {
        "forward": lambda: net.forward(x),
        "copy": lambda: net.copy().forward(x),
        "pickle": lambda: pickle.loads(pickle.dumps(net)).forward(x),
        "to": lambda: net.to(**place_of(net)).forward(x),
    }
    view = views[r.choice([*views])]

    def observe() -> bytes:
        return to_host(view()).tobytes()

    states, seen = States(observe), {observe()}
    states.seen |= seen
    options = {**training.options, "callbacks": [*training.make_callbacks(), states]}
    with quick_switches(), ThreadPoolExecutor(1) as pool:
        future = pool.submit(net.train, training.examples.data, **options)
        while not future.done():
            seen.add(observe())
            time.sleep(1e-5)
    if isinstance(future.exception(), DivergenceError):
        return
    future.result()
    if not seen <= states.seen | {observe()}:
        raise Failure("a prediction during training is of no state between chunks")


# Ranks


@cache
def start_ranks(attempt: int = 0) -> Ranks:
    """Two ranks, which go on to the end of this process, or to an error."""
    return Ranks(2)


def find_ranks() -> Ranks:
    """The ranks that are running."""
    return next(ranks for ranks in map(start_ranks, itertools.count()) if ranks.process.poll() is None)


@operation(weight=2, reads=True)
def distributed(world: World, r: random.Random) -> None:
    """Two ranks train as one process does: to rounding, and with shards bit for bit; also after an interruption."""
    if world.place not in ("numpy", "torch") or find_mpiexec() is None:
        return
    ranks, net, training = find_ranks(), world.net, draw_training(world, r)
    options = {**training.options, "callbacks": training.make_callbacks()}
    job, shards = (net, training.examples.data, options), r.choice([None, 2, 4])
    world.log.append(f"shards={shards}")
    shared, other = ranks.train(*job, shards)
    if isinstance(shared, str):
        check_failure(shared, other, net, training)
        return
    if fingerprint(shared) != fingerprint(other):
        raise Failure("two ranks have different networks")
    alone = pickle.loads(pickle.dumps(net))
    alone.train(training.examples.data, **training.options, callbacks=training.make_callbacks())
    assert_same_to_rounding(shared, alone, world.exact)
    if shards is None:
        return
    assert_same(ranks.train(*job, shards, together=False)[0], shared, f"{shards} shards on one rank and on two")
    path = new_path("-ranks")
    stop = Interrupt(r.choice(["epoch", "chunk", "end"]), r.randrange(3))
    saving = {"checkpoint": path, "every": r.choice(["epoch", 1])}
    first = ranks.train(net, training.examples.data, {**add(options, stop), **saving}, shards)[0]
    if isinstance(first, str) and "Interrupted" not in first:
        raise Failure(f"two ranks with a checkpoint: {first}")
    stop.armed = False
    job = (net, training.examples.data, {**add(options, stop), **saving, "resume": True})
    resumed = ranks.train(*job, shards, together=r.random() < 0.5)[0]
    if isinstance(resumed, str):
        raise Failure(f"resumed on other ranks: {resumed}")
    assert_same(resumed, shared, "interrupted and resumed on other ranks")


def add(options: dict[str, Any], callback: Callback) -> dict[str, Any]:
    """The options with another callback."""
    return {**options, "callbacks": [*options["callbacks"], callback]}


def check_failure(error: str, other: str, net: Any, training: Any) -> None:
    """A training that fails on ranks must diverge, in one process too."""
    if "DivergenceError" not in error or not isinstance(other, str):
        raise Failure(f"on ranks: {error}")
    with suppress(DivergenceError):
        pickle.loads(pickle.dumps(net)).train(
            training.examples.data, **training.options, callbacks=training.make_callbacks()
        )
        raise Failure(f"ranks diverge, and one process does not: {error}")


def assert_same_to_rounding(net: Any, expected: Any, exact: bool) -> None:
    """Weights and histories agree to rounding."""
    weights = [(to_host(a), to_host(b)) for a, b in zip((*net.w, *net.b), (*expected.w, *expected.b))]
    scale = max(1e-2, *(np.abs(b).max() for _, b in weights))
    if scale > 1e4:
        return  # about to diverge, where rounding grows
    for a, b in weights:
        assert_close(a, b, 1e-7 if exact else 2e-3, "two ranks and one process", scale)
    rows, others = strip_times(net.history.rows), strip_times(expected.history.rows)
    if not same_rows(rows, others, 1e-6 if exact else 2e-2):
        raise Failure(f"two ranks have another history: {rows} and {others}")


# Processes of a search


@operation(weight=0.5, reads=True)
def search_in_processes(world: World, r: random.Random) -> None:
    """A search with two processes finds what one process does, to rounding, with a checkpoint or without."""
    if world.place not in ("numpy", "torch"):
        return
    search, data, options = draw_fit(world, r, is_search=True)
    saving = {**options, "checkpoint": new_path("-search")} if r.random() < 0.5 else {}
    alone = pickle.loads(pickle.dumps(search)).fit(*data)
    with redirect_stderr(io.StringIO()):
        divided = search.set_params(n_jobs=2).fit(*data, **saving)
    assert_same_search(divided, alone, "with two processes", 1e-6 if world.place == "numpy" else 1e-4)
