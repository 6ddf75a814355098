"""Run contenders in turn, each in its own process; shared by peers.py and gpu.py.

Each process holds one contender. It sends the result of a short trial, then trains another epoch of one training
whenever it is asked. The results of each epoch are compared between the contenders.
"""

import gc
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from children import Child
from contenders import Contender, Row, start
from pages import format_table

from xpnet.datasets import mnist, mnist_sample

FILES = ("x.npy", "labels.npy")  # read by the processes
ABSENT = "–"
ENDLESS = 1_000_000  # epochs
PAUSE = 0.06  # seconds: BLAS threads keep spinning after their work and would slow the next contender
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
HOPELESS = 1.5  # slower than with the other number of threads by this factor, in the better of the first timed rounds
JUDGED = 2  # timed rounds before a contender can be left out

# What must agree. Sigmoid networks: the weights after an epoch, within the bound of the contender, and the cost.
# In ReLU networks rounding can change the sign of a z, and training then takes a different path: where this happened,
# weights after an epoch differed by up to 13 % of their change, the cost by 2e-3, the accuracy by 0.2 points.
# So their weights are compared only after a short trial, where this is rare and small.
TRIAL = 10.5  # minibatches; the last one is smaller
RELU_TRIAL_BOUND = 1e-2  # relative to the change of the weights
COST_BOUND, RELU_COST_BOUND = 1e-3, 1e-2  # relative to the cost
POINTS = 0.005  # of test accuracy


@dataclass(eq=False)
class Worker:
    """A contender in its own process, with one thread or with all."""

    name: str
    contender: Contender
    one: bool
    child: Child
    seconds: list[float] = field(default_factory=list)  # per round
    warm_up: list[float] = field(default_factory=list)  # of the epochs before
    share: float = 0.0  # fraction of the test examples classified correctly
    engine: str = ""  # how xpnet ran the steps
    wrong: dict[str, None] = field(default_factory=dict)  # differences from the other contenders, in order
    failure: str = ""  # why it takes no further part

    def __str__(self):
        return f"{self.contender.title} ({self.threads})"

    @property
    def threads(self):
        """Number of threads, as the report shows it."""
        return "one" if self.one else "all"

    @property
    def median(self):
        """Median seconds per epoch."""
        return float(np.median(self.seconds))

    @property
    def setup(self):
        """By how many seconds the epochs of the warm-up took longer than later ones."""
        return max(0.0, sum(self.warm_up) - len(self.warm_up) * self.median)


def launch(name, contender, row, folder, one=False, patience=None, first_patience=None):
    """Start the process of a contender, which loads its data from the folder; how long to wait is as in `Child`."""
    threads = ONE_THREAD if one else {}  # BLAS reads the number of threads when it is loaded
    patiences = {"patience": patience, "first_patience": first_patience}
    child = Child(train, name, contender.make, row, folder, one, environment=threads, **patiences)
    return Worker(name, contender, one, child)


def train(report, name, make, row, folder, one):
    """Report the result of a trial, then those of epochs."""
    if one and library(name) == "jax":  # XLA uses one thread per available core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    few = int(TRIAL * row.batch_size)
    x, labels = (np.array(np.load(folder / name, mmap_mode="r")[: row.examples]) for name in FILES)
    make(row, x[:few], labels[:few])(report, 1)
    gc.collect()  # frees the trial's device memory
    training = make(row, x, labels)
    del x, labels  # a contender may keep its own copy
    training(report, ENDLESS)


def library(name):
    """Library of a contender: the first word of its name."""
    return name.split()[0]


# One row


class Result(NamedTuple):
    """Measurements for one network, differences that make them void, and contenders that failed with the reasons."""

    row: Row
    workers: list[Worker]
    wrong: list[str]
    failed: list[str]

    def best(self, names):
        """Find the fastest of some contenders, with its better number of threads; None if there is none."""
        return min((each for each in self.workers if each.name in names), key=lambda each: each.median, default=None)

    def ratio(self, names, to):
        """Quartiles of the ratio of times in each round; None if one of the two is missing."""
        one, other = self.best(names), self.best(to)
        return np.quantile(np.divide(one.seconds, other.seconds), [0.25, 0.5, 0.75]) if one and other else None


def measure(row, workers, rounds, test, warm_up=1, tell=lambda text: None):
    """Time every contender in each round and compare the results. A contender that fails is left out of later rounds.

    The times of the first `warm_up` rounds do not count; libraries compile in them, and xpnet records the steps. `tell`
    is called with a line about each round when it ends, so that a run that is cut short has told what it knew.
    """
    started, begun = time.monotonic(), start(row).layers
    everyone, epochs = workers, answers(workers)
    tell(f"{row}: {len(epochs)} of {len(workers)} contenders are ready, after {time.monotonic() - started:.0f} s")
    mark_differences(row, begun, epochs, trial=True)
    for i in range(1 - warm_up, rounds + 1):
        workers, epochs = [worker for worker in workers if worker in epochs], {}
        for worker in random.sample(workers, len(workers)):
            time.sleep(PAUSE)
            worker.child.ask()
            epochs |= answers([worker])
        workers = [worker for worker in workers if worker in epochs]
        epochs = {worker: epochs[worker] for worker in workers}
        mark_differences(row, begun, epochs)
        tell(describe_round(row, i, epochs))
        for worker in workers:
            worker.engine = epochs[worker].engine
            (worker.seconds if i > 0 else worker.warm_up).append(epochs[worker].seconds)
            if i == 0:
                worker.share = accuracy(row, epochs[worker].layers, *test)
        if i == JUDGED:
            slow = hopeless(workers)
            workers = [worker for worker in workers if worker not in slow]
            for worker in slow:
                worker.child.stop()
    for worker in workers:
        worker.child.stop()
    wrong = [f"{worker} {text}" for worker in everyone for text in worker.wrong]
    failed = [f"{worker} failed: {worker.failure}" for worker in everyone if worker.failure]
    return Result(row, workers, wrong, failed)


def answers(workers):
    """Wait for the next epoch of each worker, {worker: epoch}; a worker that fails is left out."""
    epochs = {}
    for worker in workers:
        try:
            epochs[worker] = worker.child.answer()
        except RuntimeError as error:
            worker.failure = str(error)
    return epochs


def describe_round(row, i, epochs):
    """Describe a round in one line: how many microseconds a step took each contender."""
    times = "; ".join(f"{worker.name} {epoch.seconds / row.steps * 1e6:.1f}" for worker, epoch in epochs.items())
    return f"{row}: {f'round {i}' if i > 0 else 'warm-up'}, µs a step: {times}"


def hopeless(workers):
    """Find the workers that are much faster with the other number of threads; later rounds leave them out."""
    best = {}
    for worker in workers:
        best[worker.name] = min(*worker.seconds, best.get(worker.name, np.inf))
    return [worker for worker in workers if min(worker.seconds) > HOPELESS * best[worker.name]]


def mark_differences(row, begun, epochs, trial=False):
    """Compare epochs from the same layers, {worker: epoch}, with the first; mark the workers whose results differ."""
    same = {worker: epoch for worker, epoch in epochs.items() if worker.contender.bound is not None}
    first, model = next(iter(same.items()), (None, None))
    for worker, epoch in same.items():
        if trial or not row.relu:
            bound = RELU_TRIAL_BOUND if row.relu else worker.contender.bound
            for name, off in parts_off(begun, model.layers, epoch.layers):
                if not off <= bound:
                    worker.wrong[f"has {name} that differs from that of {first} by {off:.1e} of its change"] = None
        if epoch.stream != model.stream:
            worker.wrong[f"has other minibatches than {first}"] = None
        if not abs(epoch.cost - model.cost) <= (RELU_COST_BOUND if row.relu else COST_BOUND) * model.cost:
            worker.wrong[f"has the cost {epoch.cost:.6f}, but {first} has {model.cost:.6f}"] = None


def parts_off(begun, layers, others):
    """Yield the difference of each array between two networks, relative to its change."""
    for l, three in enumerate(zip(begun, layers, others)):
        for name, w0, w1, w2 in zip("wb", *three):
            yield f"{name}[{l}]", np.linalg.norm(w2 - w1) / np.linalg.norm(w1 - w0)


def accuracy(row, layers, x, y):
    """Fraction of the examples classified correctly."""
    *hidden, (w_out, b_out) = layers
    for w, b in hidden:
        z = x @ w.T + b
        x = np.maximum(z, 0.0) if row.relu else 0.5 + 0.5 * np.tanh(0.5 * z)
    return float(np.mean((x @ w_out.T + b_out).argmax(axis=-1) == y))  # sigmoid and softmax keep the order


def spread(workers):
    """Report test accuracies that differ too much."""
    shares = [worker.share for worker in workers]
    if shares and max(shares) - min(shares) > POINTS:
        return [f"test accuracies range from {min(shares):.2%} to {max(shares):.2%}"]
    return []


# Data, and the report


def load():
    """Load full MNIST from XPNET_DATA if it is set, else the bundled sample repeated to the same 60,000 examples."""
    if os.environ.get("XPNET_DATA"):
        return "MNIST", *mnist()
    (x, labels), test = mnist_sample()
    return "the bundled sample, repeated twelve times", (np.tile(x, (12, 1)), np.tile(labels, 12)), test


def save(folder, x, labels):
    """Write the data to the folder that the processes read."""
    for name, array in zip(FILES, (x, labels)):
        np.save(Path(folder) / name, array)


def leave_out_empty(lines):
    """Leave out the rows of a table that are empty."""
    return [line for line in lines if set(line[1:]) != {ABSENT}]


def print_table(head, lines):
    """Print a Markdown table, without rows that are empty."""
    print(f"\n{format_table(head, leave_out_empty(lines))}")


def time_of(result, best, *groups):
    """Microseconds per step of a worker, in bold if it is the best of a group of contenders."""
    time = f"{best.median / result.row.steps * 1e6:.1f}"
    return f"**{time}**" if best in map(result.best, groups) else time


def ratio_cell(result, names, to):
    """Format the median and quartiles of a ratio."""
    quartiles = result.ratio(names, to)
    if quartiles is None:
        return ABSENT
    return "void" if result.wrong else "**{1:.2f}** ({0:.2f}–{2:.2f})".format(*quartiles)
