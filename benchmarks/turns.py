"""Contenders in processes of their own that take turns: what peers.py and gpu.py share.

Each process holds one contender, sends what came of a short trial, then sleeps until it is told to train for an epoch.
What comes of every epoch is compared with what comes of the others'.
"""

import gc
import multiprocessing
import os
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contenders import Contender, Row, start

from xpnet.datasets import mnist, mnist_sample

FILES = ("x.npy", "labels.npy")  # what the processes read
ABSENT = "–"
PAUSE = 0.06  # seconds: BLAS threads spin on after their work, and would slow the next contender
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
HOPELESS = 1.5  # times as slow as with the other number of threads, in the better of the first rounds that count
JUDGED = 2  # of these rounds

# What is to be the same. Sigmoid networks: the weights after an epoch, by the bound of the contender, and the cost.
# In ReLU networks a rounding can put a z on the other side of 0, and from then on training goes another way: where it
# happened, weights of the epoch were off by up to 13 % of their change, the cost by 2e-3, the accuracy by 0.2 points.
# So their weights are compared after a short trial only, where it is rare and small.
TRIAL = 10.5  # minibatches: the last is a short one
RELU_TRIAL_BOUND = 1e-2  # of the change of weights
COST_BOUND, RELU_COST_BOUND = 1e-3, 1e-2  # of the cost
POINTS = 0.005  # of test accuracy


@dataclass(eq=False)
class Worker:
    """A contender in a process of its own, with one thread or with all."""

    name: str
    contender: Contender
    one: bool
    pipe: Connection
    process: Any
    seconds: list[float] = field(default_factory=list)  # of each round
    share: float = 0.0  # of the test examples, classified correctly

    def __str__(self):
        return f"{self.contender.title} ({self.threads})"

    @property
    def threads(self):
        """What the report calls their number."""
        return "one" if self.one else "all"

    @property
    def median(self):
        """Seconds of an epoch."""
        return float(np.median(self.seconds))

    def answer(self):
        """Wait for its next epoch; a RuntimeError says why there is none."""
        try:
            answer = self.pipe.recv()
        except EOFError:
            self.process.join()
            answer = f"its process ended with {self.process.exitcode}"
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def stop(self):
        """End its process."""
        with suppress(OSError):  # it may have ended by itself
            self.pipe.send(False)
        self.process.join()


def launch(name, contender, row, folder, one=False):
    """Start the process of a contender, which reads its data from the folder."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, name, contender.make, row, folder, one), daemon=True)
    before = dict(os.environ)
    os.environ.update(ONE_THREAD if one else {})  # BLAS reads the number of threads when it is loaded
    process.start()
    os.environ.clear()
    os.environ.update(before)
    theirs.close()
    return Worker(name, contender, one, ours, process)


def serve(pipe, name, make, row, folder, one):
    """Do what is asked through the pipe. An error goes to the other side as a text, and ends it."""
    try:
        if one and library(name) == "jax":  # XLA has a thread for each core that it may use
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        few = int(TRIAL * row.batch_size)
        x, labels = (np.array(np.load(folder / name, mmap_mode="r")[: row.examples]) for name in FILES)
        pipe.send(make(row, x[:few], labels[:few])())
        gc.collect()  # what the trial has left on the device
        epoch = make(row, x, labels)
        del x, labels  # a contender may hold them in another form
        while pipe.recv():
            pipe.send(epoch())
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def library(name):
    """Find what a contender computes with: the first word of its name."""
    return name.split()[0]


# One row


class Result(NamedTuple):
    """What was measured of a network; what is not the same, which voids it; and which contenders failed, and why."""

    row: Row
    workers: list[Worker]
    wrong: list[str]
    failed: list[str]

    def best(self, names):
        """Find the fastest of some contenders, with its better number of threads; None if none took part."""
        return min((each for each in self.workers if each.name in names), key=lambda each: each.median, default=None)

    def ratio(self, names, to):
        """Quartiles of the ratio of times, round by round; None if one did not take part."""
        one, other = self.best(names), self.best(to)
        return np.quantile(np.divide(one.seconds, other.seconds), [0.25, 0.5, 0.75]) if one and other else None

    @property
    def steps(self):
        """Steps of an epoch."""
        return -(-self.row.examples // self.row.batch_size)


def measure(row, workers, rounds, test, warm_up=1):
    """Time every contender in each round, and compare what came of it. One that fails takes no part any more.

    The rounds of `warm_up` come before those that count: in them, libraries compile.
    """
    failed = []
    epochs = answers(workers, failed)
    wrong, workers = differences(row, epochs, trial=True), list(epochs)
    for i in range(1 - warm_up, rounds + 1):
        epochs = {}
        for worker in random.sample(workers, len(workers)):
            time.sleep(PAUSE)
            worker.pipe.send(True)
            epochs |= answers([worker], failed)
        wrong += differences(row, epochs)
        workers = [worker for worker in workers if worker in epochs]
        for worker in workers:
            if i > 0:
                worker.seconds.append(epochs[worker].seconds)
            else:
                worker.share = accuracy(row, epochs[worker].layers, *test)
        if i == JUDGED:
            slow = hopeless(workers)
            workers = [worker for worker in workers if worker not in slow]
            for worker in slow:
                worker.stop()
    for worker in workers:
        worker.stop()
    return Result(row, workers, list(dict.fromkeys(wrong)), failed)


def answers(workers, failed):
    """Wait for the next epoch of each worker, {worker: epoch}; why one fails is put into `failed`."""
    epochs = {}
    for worker in workers:
        try:
            epochs[worker] = worker.answer()
        except RuntimeError as error:
            failed.append(f"{worker} failed: {error}")
            worker.stop()
    return epochs


def hopeless(workers):
    """Find those whose other number of threads is far better: they take no part in the rounds to come."""
    best = {}
    for worker in workers:
        best[worker.name] = min(*worker.seconds, best.get(worker.name, np.inf))
    return [worker for worker in workers if min(worker.seconds) > HOPELESS * best[worker.name]]


def differences(row, epochs, trial=False):
    """Say what is not the same in epochs from the same start, {worker: epoch}."""
    same = {worker: epoch for worker, epoch in epochs.items() if worker.contender.bound is not None}
    begun, wrong, (first, model) = start(row).layers, [], next(iter(same.items()), (None, None))
    for worker, epoch in same.items():
        if trial or not row.relu:
            bound = RELU_TRIAL_BOUND if row.relu else worker.contender.bound
            for name, off in parts_off(begun, model.layers, epoch.layers):
                if not off <= bound:
                    wrong.append(f"{worker} has {name} off by {off:.1e} of its change from that of {first}")
        if epoch.stream != model.stream:
            wrong.append(f"{worker} draws other minibatches than {first}")
        if not abs(epoch.cost - model.cost) <= (RELU_COST_BOUND if row.relu else COST_BOUND) * model.cost:
            wrong.append(f"{worker} has the cost {epoch.cost:.6f}, not {model.cost:.6f} as {first}")
    return wrong


def parts_off(begun, layers, others):
    """Yield by how much of its change each array of a network is off in another."""
    for l, three in enumerate(zip(begun, layers, others)):
        for name, w0, w1, w2 in zip("wb", *three):
            yield f"{name}[{l}]", np.linalg.norm(w2 - w1) / np.linalg.norm(w1 - w0)


def accuracy(row, layers, x, y):
    """Share of examples classified correctly."""
    *hidden, (w_out, b_out) = layers
    for w, b in hidden:
        z = x @ w.T + b
        x = np.maximum(z, 0.0) if row.relu else 0.5 + 0.5 * np.tanh(0.5 * z)
    return float(np.mean((x @ w_out.T + b_out).argmax(axis=-1) == y))  # sigmoid and softmax keep the order


def spread(workers):
    """Say if test accuracies differ too much."""
    shares = [worker.share for worker in workers]
    if shares and max(shares) - min(shares) > POINTS:
        return [f"test accuracies go from {min(shares):.2%} to {max(shares):.2%}"]
    return []


# Data, and the report


def load():
    """Full MNIST where XPNET_DATA holds it, else the bundled sample again and again: 60,000 examples either way."""
    if os.environ.get("XPNET_DATA"):
        return "MNIST", *mnist()
    (x, labels), test = mnist_sample()
    return "the bundled sample, twelve times over", (np.tile(x, (12, 1)), np.tile(labels, 12)), test


def save(folder, x, labels):
    """Write the data to where the processes read them."""
    for name, array in zip(FILES, (x, labels)):
        np.save(Path(folder) / name, array)


def print_table(head, lines):
    """Print the lines that are not absent everywhere."""
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for line in lines:
        if set(line[1:]) != {ABSENT}:
            print("| " + " | ".join(line) + " |")


def time_of(result, best, *groups):
    """Microseconds a step of a worker; bold where it is the best of one of the groups of contenders."""
    time = f"{best.median / result.steps * 1e6:.1f}"
    return f"**{time}**" if best in map(result.best, groups) else time


def ratio_cell(result, names, to):
    """Median and quartiles of a ratio."""
    quartiles = result.ratio(names, to)
    if quartiles is None:
        return ABSENT
    return "void" if result.wrong else "**{1:.2f}** ({0:.2f}–{2:.2f})".format(*quartiles)
