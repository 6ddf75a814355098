"""Networks that several threads, ranks of MPI or processes use at once."""

from __future__ import annotations

import io
import itertools
import pickle
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from functools import cache, partial
from typing import Any

from xpnet import Callback, DivergenceError

from . import own
from .generate import Operation, register
from .kills import Job, assert_same_search, draw_fit
from .ranks import Ranks, find_mpiexec
from .world import (
    Examples,
    Failure,
    Interrupt,
    Training,
    World,
    assert_same,
    assert_same_ends,
    describe_end,
    draw_training,
    layers_of,
    measure_rounding,
    new_path,
    place_of,
    run_oracle,
    strip_times,
    to_host,
)

__all__ = ["OPERATIONS", "World"]
OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

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


def run_job(content: bytes) -> Any:
    """Run a training from a pickle, so that it has a network and callbacks of its own.

    Return the network, or None if it diverges.
    """
    try:
        return pickle.loads(content).run()
    except DivergenceError:
        return None


@operation(weight=2, reads=True)
def train_in_threads(world: World, r: random.Random) -> None:
    """Networks that are trained in threads at once equal those that are trained in turn."""
    if not own.can_pickle(world.net):
        return
    jobs = []
    for training in [draw_training(world, r) for _ in range(3)]:
        options = {**training.options, "callbacks": training.make_callbacks()}
        jobs.append(pickle.dumps(Job(world.net, training.examples.data, options)))
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
    if not own.can_pickle(world.net):
        return
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
    if world.place not in ("numpy", "torch") or find_mpiexec() is None or not own.can_pickle(world.net):
        return
    training, shards = draw_training(world, r), r.choice([None, 2, 4])
    world.log.append(f"shards={shards}")
    job = Job(world.net, training.examples.data, {**training.options, "callbacks": training.make_callbacks()})
    alone = run_job(pickle.dumps(job))
    shared, other = find_ranks().train(*job, shards)
    if isinstance(shared, str):
        if "DivergenceError" not in shared or not isinstance(other, str) or alone is not None:
            raise Failure(f"on two ranks: {shared}")
        return
    if alone is None:
        raise Failure("one process diverges, and two ranks do not")
    if shared.fingerprint() != other.fingerprint():
        raise Failure("two ranks have different networks")
    assert_same_to_rounding(world, training, shared, alone)
    if shards is not None:
        single, _ = find_ranks().train(*job, shards, together=False)
        assert_same(single, shared, f"{shards} shards on one rank and on two")
        resume_on_ranks(job, shards, shared, r)


def assert_same_to_rounding(world: World, training: Training, net: Any, expected: Any) -> None:
    """Weights and histories agree, but for what rounding may change."""
    if world.oracle is None:
        return

    def replay(oracle: Any) -> Any:
        return oracle.train(*training.examples.data, **training.expected)

    ends = [describe_end(layers_of(each), strip_times(each.history.rows)) for each in (net, expected)]
    limits = measure_rounding(partial(run_oracle, world.oracle, replay), ends[1], world.net.dtype)
    if limits is not None:
        assert_same_ends(*ends, limits, world.tolerance(1e-7, 1e-5), "two ranks and one process")


def resume_on_ranks(job: Job, shards: int, expected: Any, r: random.Random) -> None:
    """A training that is interrupted on two ranks, and resumed on one or two, ends as the uninterrupted one does."""
    stop, saving = Interrupt(r.choice(["epoch", "chunk", "end"]), r.randrange(3)), {"every": r.choice(["epoch", 1])}
    saving |= {"checkpoint": new_path("-ranks"), "callbacks": [*job.options["callbacks"], stop]}
    first, _ = find_ranks().train(job.model, job.data, {**job.options, **saving}, shards)
    if isinstance(first, str) and "Interrupted" not in first:
        raise Failure(f"two ranks with a checkpoint: {first}")
    stop.armed, together = False, r.random() < 0.5
    options = {**job.options, **saving, "resume": True}
    resumed, _ = find_ranks().train(job.model, job.data, options, shards, together)
    if isinstance(resumed, str):
        raise Failure(f"resumed on other ranks: {resumed}")
    assert_same(resumed, expected, "interrupted and resumed on other ranks")


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
