"""Compare xpnet's training with the same training by hand, on NumPy, JAX and PyTorch, and by other libraries.

Prints two tables: microseconds a step, and the ratios that matter. README.md beside this file says what is measured,
and how; contenders.py holds the networks and what trains them. Exits with status 1 if a contender does not compute
what the others do (the network's results are void), or if `--check` finds xpnet too slow.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contenders import CONTENDERS, KINDS, SEED, SOFTMAX_LR, Row, start
from machine import machine

from xpnet import SGD, Network
from xpnet.datasets import mnist, mnist_sample

FILES = ("x.npy", "labels.npy")  # what the processes read
ABSENT = "–"
PAUSE = 0.06  # seconds: BLAS threads spin on after their work, and would slow the next contender
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
HOPELESS = 1.5  # times as slow as with the other number of threads, in the better of the first rounds that count
JUDGED = 2  # of these rounds
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where it is not called as the module is

# What is to be the same. Sigmoid networks: the weights after an epoch, by the bound of the contender, and the cost.
# In ReLU networks a rounding can put a z on the other side of 0, and from then on training goes another way: where it
# happened, weights of the epoch were off by up to 13 % of their change, the cost by 2e-3, the accuracy by 0.2 points.
# So their weights are compared after a short trial only, where it is rare and small.
TRIAL = 10.5  # minibatches: the last is a short one
RELU_TRIAL_BOUND = 1e-2  # of the change of weights
COST_BOUND, RELU_COST_BOUND = 1e-3, 1e-2  # of the cost
POINTS = 0.005  # of test accuracy
SKLEARN_POINTS = 0.02  # it draws another order of examples, and is compared with xpnet's network of the same output

OURS = [name for name in CONTENDERS if " xpnet" in name]
OTHERS = [name for name in CONTENDERS if name not in OURS]
CHECKED = (["numpy xpnet, rows"], ["numpy by hand"])
RATIOS = {
    "xpnet on numpy / NumPy by hand": CHECKED,
    "xpnet on jax / JAX by hand": (["jax xpnet, rows"], ["jax by hand"]),
    "xpnet on torch / PyTorch by hand": (["torch xpnet, rows"], ["torch by hand"]),
    "best xpnet / PyTorch, autograd": (OURS, ["torch autograd"]),
    "best xpnet / scikit-learn": (OURS, ["sklearn"]),
    "best xpnet / best of all others": (OURS, OTHERS),
    "xpnet on numpy, uint8 and labels / NumPy by hand": (["numpy xpnet, uint8"], ["numpy by hand"]),
    "xpnet on jax, uint8 and labels / JAX by hand": (["jax xpnet, uint8"], ["jax by hand"]),
}


# Processes: each holds one contender, sends what came of a trial, then sleeps until it is told to train for an epoch.


@dataclass(eq=False)
class Worker:
    """A contender in a process of its own, with one thread or with all."""

    name: str
    one: bool
    pipe: Connection
    process: Any
    seconds: list[float] = field(default_factory=list)  # of each round
    share: float = 0.0  # of the test examples, classified correctly

    def __str__(self):
        return f"{CONTENDERS[self.name].title} ({self.threads})"

    @property
    def threads(self):
        """What the report calls their number."""
        return "one" if self.one else "all"

    @property
    def median(self):
        """Seconds of an epoch."""
        return float(np.median(self.seconds))


def launch(name, one, row, folder):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, name, one, row, folder), daemon=True)
    before = dict(os.environ)
    os.environ.update(ONE_THREAD if one else {})  # BLAS reads the number of threads when it is loaded
    process.start()
    os.environ.clear()
    os.environ.update(before)
    theirs.close()
    return Worker(name, one, ours, process)


def serve(pipe, name, one, row, folder):
    if one and library(name) == "jax":  # XLA has a thread for each core that it may use
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    make, few = CONTENDERS[name].make, int(TRIAL * row.batch_size)
    x, labels = (np.array(np.load(folder / name, mmap_mode="r")[: row.examples]) for name in FILES)
    pipe.send(make(row, x[:few], labels[:few])())
    epoch = make(row, x, labels)
    del x, labels  # a contender may hold them in another form
    while pipe.recv():
        pipe.send(epoch())


def stop(worker):
    worker.pipe.send(False)
    worker.process.join()


def library(name):
    return name.split()[0]


def thread_counts(name, asked):
    """Choices that a contender has here, of those asked for: True is one thread."""
    possible = library(name) != "jax" or hasattr(os, "sched_setaffinity")
    if possible and (asked == "one" or not CONTENDERS[name].all_threads):
        return [True]
    return [True, False] if possible else [False]


# One row


class Result(NamedTuple):
    """What was measured of a network, and what was wrong with it."""

    row: Row
    workers: list[Worker]
    wrong: list[str]

    def best(self, names):
        """Find the fastest of some contenders, with its better number of threads; None if none took part."""
        return min((each for each in self.workers if each.name in names), key=lambda each: each.median, default=None)

    def ratio(self, names, to):
        """Quartiles of the ratio of times, round by round; None if one did not take part."""
        one, other = self.best(names), self.best(to)
        return np.quantile(np.divide(one.seconds, other.seconds), [0.25, 0.5, 0.75]) if one and other else None


def measure(row, names, args, folder, test):
    """Time every contender in each round, and compare what came of it."""
    workers = [launch(name, one, row, folder) for name in names for one in thread_counts(name, args.threads)]
    wrong = differences(row, {worker: worker.pipe.recv() for worker in workers}, trial=True)
    for i in range(args.rounds + 1):  # the first warms up, and compiles
        epochs = {}
        for worker in random.sample(workers, len(workers)):
            time.sleep(PAUSE)
            worker.pipe.send(True)
            epochs[worker] = worker.pipe.recv()
        wrong += differences(row, {worker: epochs[worker] for worker in workers})
        for worker in workers:
            if i:
                worker.seconds.append(epochs[worker].seconds)
            else:
                worker.share = accuracy(row, epochs[worker].layers, *test)
        if i == JUDGED:
            slow = hopeless(workers)
            workers = [worker for worker in workers if worker not in slow]
            for worker in slow:
                stop(worker)
    for worker in workers:
        stop(worker)
    return Result(row, workers, list(dict.fromkeys(wrong)))


def hopeless(workers):
    """Find those whose other number of threads is far better: they take no part in the rounds to come."""
    best = {}
    for worker in workers:
        best[worker.name] = min(*worker.seconds, best.get(worker.name, np.inf))
    return [worker for worker in workers if min(worker.seconds) > HOPELESS * best[worker.name]]


def differences(row, epochs, trial=False):
    """Say what is not the same in epochs from the same start, {worker: epoch}."""
    same = {worker: epoch for worker, epoch in epochs.items() if CONTENDERS[worker.name].bound is not None}
    begun, wrong, (first, model) = start(row).layers, [], next(iter(same.items()), (None, None))
    for worker, epoch in same.items():
        if trial or not row.relu:
            bound = RELU_TRIAL_BOUND if row.relu else CONTENDERS[worker.name].bound
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


def softmax_share(row, x, labels, test):
    """Test accuracy after an epoch of the network that scikit-learn has, trained by xpnet."""
    net = Network(row.sizes, activation="relu" if row.relu else "sigmoid", task="classification", seed=SEED)
    net.layers = start(row).layers
    net.train(
        (x[: row.examples], labels[: row.examples]),
        epochs=1,
        batch_size=row.batch_size,
        lr=row.lr if row.relu else SOFTMAX_LR,
        optimizer=SGD(momentum=row.momentum),
        progress=False,
    )
    return net.accuracy(test)


def judged(result, expected):
    """Compare the test accuracies; scikit-learn's is to be near the expected one, or its times are left out."""
    shares = [worker.share for worker in result.workers if library(worker.name) != "sklearn"]
    if shares and max(shares) - min(shares) > POINTS:
        result.wrong.append(f"test accuracies go from {min(shares):.2%} to {max(shares):.2%}")
    odd = [w for w in result.workers if library(w.name) == "sklearn" and abs(w.share - expected) > SKLEARN_POINTS]
    for worker in odd:
        print(f"{result.row}: {worker} is left out, at {worker.share:.2%}, not near {expected:.2%}", file=sys.stderr)
    return result._replace(workers=[worker for worker in result.workers if worker not in odd])


def accuracy(row, layers, x, y):
    """Share of examples classified correctly."""
    *hidden, (w_out, b_out) = layers
    for w, b in hidden:
        z = x @ w.T + b
        x = np.maximum(z, 0.0) if row.relu else 0.5 + 0.5 * np.tanh(0.5 * z)
    return float(np.mean((x @ w_out.T + b_out).argmax(axis=-1) == y))  # sigmoid and softmax keep the order


# The report


def report(results, args, where):
    """Print both tables: a column for each network. Bold are the best of xpnet and the best of the others."""
    if not results:
        return
    used = dict.fromkeys(library(worker.name) for result in results for worker in result.workers)
    others = [DISTRIBUTIONS.get(each, each) for each in used if each != "numpy"]
    how = f"--kind {args.kind} --threads {args.threads}, medians of {args.rounds} rounds"
    print(f"{machine(*others)}; {where}; {how}.")
    head = [str(result.row) for result in results]
    lines = [[CONTENDERS[name].title, *(time_cell(result, name) for result in results)] for name in args.names]
    print_table(["µs a step (threads, test accuracy)", *head], lines)
    lines = [[what, *(ratio_cell(result, *pair) for result in results)] for what, pair in RATIOS.items()]
    print_table(["ratio of times (quartiles)", *head], lines)


def print_table(head, lines):
    """Print the lines that are not absent everywhere."""
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for line in lines:
        if set(line[1:]) != {ABSENT}:
            print("| " + " | ".join(line) + " |")


def time_cell(result, name):
    best = result.best([name])
    if best is None:
        return ABSENT
    if result.wrong:
        return "void"
    steps = -(-result.row.examples // result.row.batch_size)
    time = f"{best.median / steps * 1e6:.1f}"
    if best in (result.best(OURS), result.best(OTHERS)):
        time = f"**{time}**"
    return f"{time} ({best.threads}, {best.share:.2%})"


def ratio_cell(result, names, to):
    quartiles = result.ratio(names, to)
    if quartiles is None:
        return ABSENT
    return "void" if result.wrong else "**{1:.2f}** ({0:.2f}–{2:.2f})".format(*quartiles)


def taking_part(row, names):
    return [n for n in names if library(n) not in row.without and (CONTENDERS[n].momentum or not row.momentum)]


def load():
    """Full MNIST where XPNET_DATA holds it, else the bundled sample again and again: 60,000 examples either way."""
    if os.environ.get("XPNET_DATA"):
        return "MNIST", *mnist()
    (x, labels), test = mnist_sample()
    return "the bundled sample, twelve times over", (np.tile(x, (12, 1)), np.tile(labels, 12)), test


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, default="book", help="plain descent, or momentum (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=KINDS["book"], default=list(KINDS["book"]), help="(all)")
    parser.add_argument("--rounds", type=int, default=15, help="epochs timed of each contender (%(default)s)")
    parser.add_argument("--threads", choices=["one", "better"], default="better", help="of each (%(default)s)")
    parser.add_argument("--examples", type=int, help="in an epoch (60,000; 25,600 in r5 and 12,800 in r6)")
    parser.add_argument(
        "--contenders", nargs="+", metavar="NAME", default=[""], help=f"beginnings of: {'; '.join(CONTENDERS)} (all)"
    )
    parser.add_argument(
        "--check", type=float, metavar="BOUND", help="fail if xpnet on numpy / NumPy by hand is above it in a row"
    )
    args = parser.parse_args()
    args.names = [name for name in CONTENDERS if name.startswith(tuple(args.contenders))]
    for beginning in args.contenders:
        if not any(name.startswith(beginning) for name in CONTENDERS):
            parser.error(f"no contender begins with {beginning!r}")
    missing = {library(name) for name in args.names if not find_spec(library(name))}
    if missing:
        print(f"left out, as not installed: {', '.join(sorted(missing))}", file=sys.stderr)
    args.names = [name for name in args.names if library(name) not in missing]
    if args.check and not {name for part in CHECKED for name in part} <= set(args.names):
        parser.error(f"--check needs the contenders {' and '.join(name for part in CHECKED for name in part)}")
    return args


def main():
    args = options()
    where, (x, labels), test = load()
    results, failed = [], False
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        ending.callback(report, results, args, where)  # also of a run that was interrupted
        for name, array in zip(FILES, (x, labels)):
            np.save(Path(folder) / name, array)
        for row in (KINDS[args.kind][each] for each in args.rows):
            row = row._replace(examples=min(args.examples or row.examples, len(x)))
            names = taking_part(row, args.names)
            result = measure(row, names, args, Path(folder), test)
            expected = softmax_share(row, x, labels, test) if "sklearn" in names else None
            result = judged(result, expected)
            results.append(result)
            for each in result.wrong:
                failed = True
                print(f"{row}: {each}", file=sys.stderr)
            if args.check and (ratio := result.ratio(*CHECKED)[1]) > args.check:
                failed = True
                print(f"{row}: xpnet on numpy / NumPy by hand is {ratio:.3f}, above {args.check}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
