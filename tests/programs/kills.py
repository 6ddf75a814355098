"""Processes that are killed while they train, and go on in others."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import pickle
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet import SGD, CSVLog, DivergenceError, EarlyStopping, Ensemble, Network, ReduceLROnPlateau

from . import own
from .generate import Operation, register
from .world import Failure, World, assert_same, draw_training, make_network, new_path, strip_times

__all__ = ["OPERATIONS", "World"]
OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

PLACES = ("numpy", "torch", "strict")  # JAX compiles in each process anew
SIGNALS = [("KILL",), ("TERM",), ("INT",), ("TERM", "KILL"), ("INT", "TERM"), ("INT", "INT")]


class Job(NamedTuple):
    """A training in a process of its own: of a network, an ensemble, an estimator or a search."""

    model: Any
    data: tuple[Any, ...]
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
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
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


def end(process: Any, names: tuple[str, ...], r: random.Random) -> int:
    """Send signals to a process, which must end; return its exit code."""
    for name in names:
        with suppress(ProcessLookupError):
            os.kill(process.pid, getattr(signal, f"SIG{name}"))
        process.join(r.uniform(0, 0.003))
    process.join(60)
    if process.is_alive():
        process.kill()
        raise Failure(f"a process goes on for a minute after {names}")
    return process.exitcode


def train_twice(make_job: Callable[[Path], Job], r: random.Random, place: str) -> tuple[Path, Path] | None:
    """Train in one folder without interruption, and in another in processes that are killed; return both.

    None if the training diverges: the state of some steps before depends on the length of chunks.
    """
    folders = Path(new_path("-whole")), Path(new_path("-killed"))
    for folder in folders:
        folder.mkdir()
        (folder / "job").write_bytes(pickle.dumps(make_job(folder)))
    whole, broken = folders
    began = time.perf_counter()
    try:
        model = train_in(whole)
    except DivergenceError:
        return None
    ends = kill_at_random(broken, r, time.perf_counter() - began, make_context(place), model)
    if (broken / "error").exists():
        text = (broken / "error").read_text()
        reason = text.rstrip().rpartition("\n")[2].partition(":")[0]  # for the summary, which ends at the first colon
        raise Failure(f"a resumed training fails with {reason}: {text}signals and exit codes: {ends}")
    return folders


@operation(weight=3, reads=True)
def killed(world: World, r: random.Random) -> None:
    """A training whose processes are killed at random moments ends as the one that nobody interrupts."""
    if world.place not in PLACES or not own.can_pickle(world.net):
        return
    model, data, options = draw_job(world, r)

    def make_job(folder: Path) -> Job:
        own = {**options, "checkpoint": folder / "run", "resume": True}
        if isinstance(model, Network):
            own["callbacks"] = [*options["callbacks"], CSVLog(folder / "log.csv")]
        return Job(model, data, own)

    folders = train_twice(make_job, r, world.place)
    if folders is None:
        return
    ends = [pickle.loads((folder / "end").read_bytes()) for folder in folders]
    assert_same_end(ends[1], ends[0])
    if isinstance(model, Network) and read_log(folders[1] / "log.csv") != read_log(folders[0] / "log.csv"):
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


def kill_at_random(folder: Path, r: random.Random, seconds: float, context: Any, model: Any) -> list[Any]:
    """Kill the processes of a training a few times, and let the last one come to its end.

    Return the signals that each was sent, and its exit code, which is negative for a signal that ended it.
    """
    ends = []
    for _ in range(r.randint(1, 4)):
        process = start(folder, context)
        process.join(r.uniform(0, 1.2) * seconds)
        # the fit of an estimator ends well after Ctrl-C, with what it has learnt until then
        names = r.choice(SIGNALS[:2] if hasattr(model, "hidden_layer_sizes") else SIGNALS)
        ends.append((names, end(process, names, r)))
        if isinstance(model, (Network, Ensemble)) and (folder / "run").exists():
            type(model).load(folder / "run", custom=own.make_all())  # raises if it is not whole
    ends.append(((), end(start(folder, context), (), r)))
    if ends[-1] != ((), 0) and not (folder / "error").exists():
        raise Failure(f"the last process has not come to its end: signals and exit codes {ends}")
    return ends


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
