"""Compare a training step of xpnet with loops written by hand and with other libraries.

Prints a table for each network: microseconds per step, and the ratio to xpnet. README.md in this folder describes the
method; contenders.py has the networks and the contenders. Exits with status 1 if a contender fails or its results
differ from the others', or if `--check` finds xpnet too slow.
"""

import argparse
import gc
import os
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders import ROWS, TorchTraining, jax_by_hand, numpy_by_hand, start, xpnet
from harness import ALL, ONE, THREADS, Child, Report, machine, take_turns

from xpnet.datasets import mnist, mnist_sample

# What must agree. Rounding can change the sign of a z in a ReLU network, which then trains on another path; so weights
# are compared after a short trial only, where this is rare and small.
TRIAL = 10.5  # minibatches; the last one is smaller
WEIGHTS_OFF, RELU_WEIGHTS_OFF = 1e-3, 1e-2  # relative to their change
COST_OFF, RELU_COST_OFF = 1e-3, 1e-2  # relative to the cost
POINTS = 0.005  # of test accuracy
ENDLESS = 1_000_000  # epochs

HEAD = ("network", "contender", "µs a step (quartiles)", "ratio to xpnet (quartiles)", "set-up, ms", "accuracy")
CONTENDERS = {  # title -> library, and function that makes the contender
    **{f"xpnet on {name}": (name, partial(xpnet, name)) for name in ("numpy", "jax", "torch")},
    "NumPy by hand": ("numpy", numpy_by_hand),
    "JAX by hand": ("jax", jax_by_hand),
    "PyTorch, autograd": ("torch", TorchTraining.contender),
}
BY_HAND = {"NumPy by hand": "xpnet on numpy", "JAX by hand": "xpnet on jax"}  # -> xpnet on the same library


class Digits(NamedTuple):
    """Examples to train and to test on."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray


def load():
    """Load MNIST if XPNET_DATA names its folder, else the bundled sample repeated to the same 60,000 examples."""
    if os.environ.get("XPNET_DATA"):
        (x, labels), test = mnist()
        return Digits(x, labels, *test)
    (x, labels), test = mnist_sample()
    return Digits(np.tile(x, (12, 1)), np.tile(labels, 12), *test)


def train(report, library, make, row, path, threads):
    """Report the result of a trial, then those of epochs; runs in a process of its own."""
    if threads == ONE and library == "jax" and hasattr(os, "sched_setaffinity"):  # XLA has a thread for each core
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with np.load(path) as file:
        x, labels = file["x"], file["labels"]
    few = int(TRIAL * row.batch_size)
    make(row, x[:few], labels[:few])(report, 1)
    gc.collect()  # frees the trial's memory on the device
    training = make(row, x, labels)
    del x, labels  # a contender may keep its own copy
    training(report, ENDLESS)


def measure(row, contenders, digits, rounds, threads=(ONE, ALL), warm_up=1, patience=None, tell=lambda text: None):
    """Let contenders, a part of `CONTENDERS`, train epochs of a network in turn, each in a process of its own.

    Returns the `Turns`, and a list of what differs between the contenders. `rounds`, `warm_up` and `tell` are as in
    `take_turns`, `patience` as in `Child`; `threads` are the numbers of threads to try for each contender.
    """
    keys = {(name, number): contenders[name] for name in contenders for number in threads}
    trials, failures = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "digits.npz")
        np.savez(path, x=digits.x[: row.examples], labels=digits.labels[: row.examples])
        children = {
            key: Child(train, *key_and_make, row, path, key[1], patience=patience, environment=THREADS[key[1]])
            for key, key_and_make in keys.items()
        }
        for key, child in children.items():
            try:
                trials[key] = next(child)
            except RuntimeError as error:
                failures[key] = str(error)
        turns = take_turns({key: children[key].__next__ for key in trials}, rounds, warm_up, tell=tell)
        for child in children.values():
            child.stop()
    turns.failures |= failures
    return turns, find_differences(row, trials, turns, digits)


def find_differences(row, trials, turns, digits):
    """List what differs from the first contender: weights after the trial, costs, accuracies."""
    keys, problems, begun = list(turns.outcomes), [], start(row).layers
    for key in keys:
        for name, off in weights_off(begun, trials[keys[0]].layers, trials[key].layers):
            if not off <= (RELU_WEIGHTS_OFF if row.relu else WEIGHTS_OFF):
                problems.append(f"{row}: {name} of {key[0]}, {key[1]}, differs by {off:.1e} of its change")
        cost, expected = turns.outcomes[key][-1].cost, turns.outcomes[keys[0]][-1].cost
        if not abs(cost - expected) <= (RELU_COST_OFF if row.relu else COST_OFF) * expected:
            problems.append(f"{row}: {key[0]}, {key[1]}, has the cost {cost:.6f} in place of {expected:.6f}")
    accuracies = [accuracy(row, turns, key, digits) for key in keys]
    if keys and max(accuracies) - min(accuracies) > POINTS:
        problems.append(f"{row}: accuracies range from {min(accuracies):.2%} to {max(accuracies):.2%}")
    return problems


def weights_off(begun, layers, others):
    """Yield the difference of each array between two networks, relative to its change."""
    for l, three in enumerate(zip(begun, layers, others)):
        for name, w0, w1, w2 in zip("wb", *three):
            yield f"{name}[{l}]", np.linalg.norm(w2 - w1) / np.linalg.norm(w1 - w0)


def accuracy(row, turns, key, digits):
    """Fraction of the test examples that a contender has classified correctly after an epoch."""
    *hidden, (w_out, b_out) = turns.outcomes[key][0].layers
    x = digits.x_test
    for w, b in hidden:
        z = x @ w.T + b
        x = np.maximum(z, 0.0) if row.relu else 0.5 + 0.5 * np.tanh(0.5 * z)
    outputs = x @ w_out.T + b_out  # sigmoid and softmax keep their order
    return float(np.mean(outputs.argmax(axis=-1) == digits.labels_test))


def set_up(turns, key):
    """By how many seconds the epochs of the warm-up took longer than later ones."""
    warm_up = turns.warm_up[key]
    return max(0.0, sum(epoch.seconds for epoch in warm_up) - len(warm_up) * turns.median(key))


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    rows = list(ROWS)[:-1]  # the last is for a GPU
    parser.add_argument("--rows", nargs="+", choices=rows, default=rows, help="networks (all)")
    parser.add_argument("--rounds", type=int, default=15, help="timed epochs per contender (%(default)s)")
    parser.add_argument("--threads", nargs="+", choices=THREADS, default=list(THREADS), help="to try (%(default)s)")
    parser.add_argument("--examples", type=int, default=60_000, help="examples per epoch, at most (%(default)s)")
    names = ["numpy", "jax", "torch"]
    parser.add_argument("--libraries", nargs="+", choices=names, default=names, help="those that take part (all)")
    parser.add_argument("--check", type=float, metavar="BOUND", help="fail if xpnet / NumPy by hand exceeds it")
    return parser.parse_args()


def main():
    args, report, digits = options(), Report(), load()
    libraries = [name for name in args.libraries if find_spec(name)]
    contenders = {title: each for title, each in CONTENDERS.items() if each[0] in libraries}
    report.line(f"{machine(*(name for name in libraries if name != 'numpy'))}; {args.rounds} rounds")
    for row in (ROWS[name] for name in args.rows):
        row = row._replace(examples=min(args.examples, row.examples))
        turns, problems = measure(row, contenders, digits, args.rounds, args.threads)
        report.problems += problems
        fastest = turns.best([title for title in contenders if title.startswith("xpnet")])

        def describe(key, row=row, turns=turns):
            return f"{1e3 * set_up(turns, key):.0f}", f"{accuracy(row, turns, key, digits):.2%}"

        def reference(name, turns=turns, fastest=fastest):
            return turns.best([BY_HAND[name]]) if name in BY_HAND else fastest

        report.head(*HEAD)
        report.rows(row, turns, {title: title for title in contenders}, reference, describe, 1e6 / row.steps)
        ours, by_hand = turns.best(["xpnet on numpy"]), turns.best(["NumPy by hand"])
        if args.check and ours and by_hand and (ratio := np.median(turns.ratios(ours, by_hand))) > args.check:
            report.problems.append(f"{row}: xpnet on NumPy takes {ratio:.2f} times as long as NumPy by hand")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
