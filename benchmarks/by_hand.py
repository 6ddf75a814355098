"""Compare xpnet's training with the same training written by hand, on NumPy and on JAX.

Prints a table of microseconds a step and of ratios; README.md beside this file says what is measured, and how.
Exits with status 1 if a contender does not compute what the others do: its row is void.
"""

import argparse
import copy
import functools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import machine

from xpnet import Network
from xpnet.datasets import mnist, mnist_sample

PAUSE = 0.06  # seconds: BLAS threads spin on after their work, and would slow the next contender
SEED = 0
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


class Row(NamedTuple):
    """A network and how it is trained."""

    hidden: int
    batch_size: int
    lr: float = 3.0

    def __str__(self):
        return f"784-{self.hidden}-10, batch {self.batch_size}"


ROWS = {"r1": Row(30, 10), "r2": Row(20, 30), "r3": Row(100, 30), "r4": Row(100, 128)}


class Epoch(NamedTuple):
    """The first epoch of a network, by one contender."""

    seconds: float
    cost: float
    layers: list[Any]  # (w, b) each, as Network has them
    stream: Any  # state of the generator afterwards


# Contenders: each is a function of (row, x, y) that gets everything ready and returns a function that trains for an
# epoch, each time from the same start. The start is made, and data come to the device, before the clock runs.


def xpnet(row, x, y, backend):
    """Network.train; its time is the history's, which leaves out nothing but the checks of the data."""
    place = Network([1, 1], backend=backend).backend
    data = place.asarray(x), place.asarray(y)

    def epoch():
        net = start(row, place)
        history = net.train(data, epochs=1, batch_size=row.batch_size, lr=row.lr, progress=False)
        layers = [(place.to_numpy(w), place.to_numpy(b)) for w, b in net.layers]
        return Epoch(history["seconds"][0], history["cost"][0], layers, net.rng.bit_generator.state)

    return epoch


def numpy_by_hand(row, x, y, folded=False):
    """A loop over ufuncs that write into buffers made beforehand: no array is made in a step.

    It does what xpnet does, in the same order; or with lr/m folded into δ, which spares it four products.
    """
    images, targets = x, y

    @functools.cache
    def buffers(m):
        h = row.hidden
        shapes = [(m, 784), (m, 10), (m,)] + 3 * [(m, h)] + 4 * [(m, 10)] + [(784, h), (h,), (h, 10), (10,)]
        return [np.empty(shape, np.float32) for shape in shapes]

    def steps(layers, index):
        m = index.shape[1]
        (w1, b1), (w2, b2) = layers
        x, y, c, e1, d1, a1, e2, d2, a2, delta, gw1, gb1, gw2, gb2 = buffers(m)
        take_x, take_y, x_t, a1_t, w2_t = images.take, targets.take, x.T, a1.T, w2.T
        matmul, add, subtract, multiply, divide = np.matmul, np.add, np.subtract, np.multiply, np.divide
        minimum, exp, vecdot, total = np.minimum, np.exp, np.vecdot, np.add.reduce
        scale = row.lr / m if folded else 1.0 / m
        cost = np.zeros(m, np.float32)
        for i in index:
            take_x(i, axis=0, out=x, mode="clip")
            take_y(i, axis=0, out=y, mode="clip")
            matmul(x, w1, out=e1)
            add(e1, b1, out=e1)
            minimum(e1, 88.0, out=e1)
            exp(e1, out=e1)
            add(1.0, e1, out=d1)
            divide(e1, d1, out=a1)
            matmul(a1, w2, out=e2)
            add(e2, b2, out=e2)
            minimum(e2, 88.0, out=e2)
            exp(e2, out=e2)
            add(1.0, e2, out=d2)
            divide(e2, d2, out=a2)
            subtract(a2, y, out=delta)
            vecdot(delta, delta, out=c)
            add(cost, c, out=cost)
            subtract(1.0, a2, out=d2)
            multiply(a2, d2, out=d2)
            multiply(delta, d2, out=delta)
            multiply(delta, scale, out=delta)
            matmul(a1_t, delta, out=gw2)
            total(delta, axis=0, out=gb2)
            matmul(delta, w2_t, out=e1)
            subtract(1.0, a1, out=d1)
            multiply(a1, d1, out=d1)
            multiply(e1, d1, out=e1)
            matmul(x_t, e1, out=gw1)
            total(e1, axis=0, out=gb1)
            if not folded:
                for gradient in (gw1, gb1, gw2, gb2):
                    multiply(gradient, row.lr, out=gradient)
            subtract(w1, gw1, out=w1)
            subtract(b1, gb1, out=b1)
            subtract(w2, gw2, out=w2)
            subtract(b2, gb2, out=b2)
        return layers, 0.5 * float(cost.sum(dtype=np.float64))

    return by_hand(row, len(x), lambda w, b: (np.ascontiguousarray(w.T), b), steps, lambda w, b: (w.T, b))


def jax_by_hand(row, x, y):
    """jax.value_and_grad inside a lax.scan over an epoch, compiled, its state donated.

    Of the forms tried the fastest: jax.nn.sigmoid (1 to 4 % faster than the formula that NumPy uses), weights
    (n_out, n_in) (10 to 35 % faster than the other way), plain indexing.
    """
    import jax
    import jax.numpy as jnp

    images, targets = jnp.asarray(x), jnp.asarray(y)

    def cost_of(layers, x, y):
        for w, b in layers:
            x = jax.nn.sigmoid(x @ w.T + b)
        return 0.5 * jnp.sum((x - y) ** 2) / len(y)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, index, x, y):
        def step(state, i):
            layers, total = state
            cost, grads = jax.value_and_grad(cost_of)(layers, x[i], y[i])
            return (jax.tree.map(lambda p, g: p - row.lr * g, layers, grads), total + len(i) * cost), None

        return jax.lax.scan(step, state, index)[0]

    def steps(layers, index):
        layers, cost = run((layers, jnp.zeros(())), jnp.asarray(index), images, targets)
        return layers, float(cost)

    return by_hand(row, len(x), lambda w, b: (jnp.array(w), jnp.array(b)), steps, lambda *wb: tuple(map(np.array, wb)))


def by_hand(row, n, enter, steps, leave):
    """What both hands do: the start, the clock, the order of examples, the short batch at the end."""

    def epoch():
        net = start(row)
        layers, rng, m = [enter(w, b) for w, b in net.layers], copy.deepcopy(net.rng), row.batch_size
        started = time.perf_counter()
        order, whole = rng.permutation(n).astype(np.int32), n - n % m
        layers, cost = steps(layers, order[:whole].reshape(-1, m))
        if whole < n:
            layers, more = steps(layers, order[None, whole:])
            cost += more
        seconds = time.perf_counter() - started
        return Epoch(seconds, cost / n, [leave(w, b) for w, b in layers], rng.bit_generator.state)

    return epoch


def start(row, backend=None):
    return Network([784, row.hidden, 10], seed=SEED, backend=backend)


CONTENDERS = {
    "numpy": {
        "by hand": numpy_by_hand,
        "by hand, lr/m in δ": functools.partial(numpy_by_hand, folded=True),
        "xpnet": functools.partial(xpnet, backend="numpy"),
    },
    "jax": {"by hand": jax_by_hand, "xpnet": functools.partial(xpnet, backend="jax")},
}


# Processes: each holds one contender, sleeps until it is told to train for an epoch, and sends what came of it.


class Worker(NamedTuple):
    """A contender in a process of its own, with one thread or with all."""

    backend: str
    who: str
    one: bool
    pipe: Connection
    process: Any
    seconds: list[float]

    def __str__(self):
        return f"{self.who} on {self.backend} with {'one thread' if self.one else 'all threads'}"


def launch(backend, who, one, row, folder):
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, backend, who, one, row, folder), daemon=True)
    before = dict(os.environ)
    os.environ.update(ONE_THREAD if one else {})  # BLAS reads the number of threads when it is loaded
    process.start()
    os.environ.clear()
    os.environ.update(before)
    theirs.close()
    return Worker(backend, who, one, ours, process, [])


def serve(pipe, backend, who, one, row, folder):
    if one and backend == "jax":  # XLA has a thread for each core that it may use
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    epoch = CONTENDERS[backend][who](row, np.load(folder / "x.npy"), np.load(folder / "y.npy"))
    while pipe.recv():
        pipe.send(epoch())


# One row


def measure(row, backends, rounds, folder, test):
    """Time every contender in each round, and compare what came of it: (workers, range of accuracies, [str])."""
    counts = {"numpy": [True, False], "jax": [True, False] if hasattr(os, "sched_setaffinity") else [False]}
    workers = [launch(b, who, one, row, folder) for b in backends for who in CONTENDERS[b] for one in counts[b]]
    begun, wrong, shares = start(row).layers, [], []
    try:
        for i in range(rounds + 1):  # the first warms up, and compiles
            epochs = {}
            for worker in random.sample(range(len(workers)), len(workers)):
                time.sleep(PAUSE)
                workers[worker].pipe.send(True)
                epochs[worker] = workers[worker].pipe.recv()
                if i:
                    workers[worker].seconds.append(epochs[worker].seconds)
            for j, worker in enumerate(workers):
                shares.append(accuracy(epochs[j].layers, *test))
                for each in differences(begun, epochs[0], epochs[j]):
                    wrong.append(f"{worker} {each} {workers[0]}")
    finally:
        for worker in workers:
            worker.pipe.send(False)
            worker.process.join()
    if max(shares) - min(shares) > 0.005:
        wrong.append(f"test accuracies go from {min(shares):.2%} to {max(shares):.2%}")
    return workers, (min(shares), max(shares)), list(dict.fromkeys(wrong))


def differences(begun, a, b):
    """Yield what is not the same in two epochs from the same start."""
    for l, (old, one, other) in enumerate(zip(begun, a.layers, b.layers)):
        for name, w0, w1, w2 in zip("wb", old, one, other):
            off = np.linalg.norm(w2 - w1) / np.linalg.norm(w1 - w0)
            if not off <= 1e-3:
                yield f"has {name}[{l}] off by {off:.1e} of its change from that of"
    if a.stream != b.stream:
        yield "draws other minibatches than"
    if not abs(a.cost - b.cost) <= 1e-3 * a.cost:
        yield f"has the cost {b.cost:.6f}, not {a.cost:.6f} as"


def accuracy(layers, x, y):
    """Share of examples classified correctly."""
    for w, b in layers:
        x = 0.5 + 0.5 * np.tanh(0.5 * (x @ w.T + b))
    return float(np.mean(x.argmax(axis=-1) == y))


# The report


def columns(backend):
    hands = [who for who in CONTENDERS[backend] if who != "xpnet"]
    return [f"xpnet on {backend}", *(cell for who in hands for cell in (f"{backend} {who}", "ratio (quartiles)"))]


def cells(workers, backend, steps):
    """Microseconds a step of each, with the number of threads that is best for it, and xpnet's ratio to each hand."""
    best = []
    for who in CONTENDERS[backend]:
        mine = [worker for worker in workers if (worker.backend, worker.who) == (backend, who)]
        best.append(min(mine, key=lambda worker: np.median(worker.seconds)))
    *hands, xpnet = best
    found = [f"{np.median(xpnet.seconds) / steps * 1e6:.1f} ({'one' if xpnet.one else 'all'})"]
    for hand in hands:
        low, middle, high = np.quantile(np.divide(xpnet.seconds, hand.seconds), [0.25, 0.5, 0.75])
        found.append(f"{np.median(hand.seconds) / steps * 1e6:.1f} ({'one' if hand.one else 'all'})")
        found.append(f"**{middle:.2f}** ({low:.2f}–{high:.2f})")
    return found


def load():
    """Full MNIST where XPNET_DATA holds it, else the bundled sample again and again: 60,000 examples either way."""
    one_hot = np.eye(10, dtype=np.float32)
    if os.environ.get("XPNET_DATA"):
        (x, y), test = mnist()
        return "MNIST", x, one_hot[y], test
    (x, y), test = mnist_sample()
    return "the bundled sample, twelve times over", np.tile(x, (12, 1)), np.tile(one_hot[y], (12, 1)), test


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="epochs timed of each contender (15)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="all, unless given")
    parser.add_argument("--backend", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="both, unless given")
    args = parser.parse_args()
    name, x, y, test = load()
    failed = False
    where = machine(*(["jax"] if "jax" in args.backend else []))
    print(f"{where}; {name}; medians of {args.rounds} rounds, µs a step (threads).\n")
    head = [cell for b in args.backend for cell in columns(b)]
    print("| row |", " | ".join(head), "| accuracy |\n|" + " --- |" * (len(head) + 2), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", x)
        np.save(Path(folder) / "y.npy", y)
        for row in (ROWS[each] for each in args.rows):
            workers, (low, high), wrong = measure(row, args.backend, args.rounds, Path(folder), test)
            for each in wrong:
                print(f"{row}: {each}", file=sys.stderr)
            failed = failed or bool(wrong)
            steps = -(-len(x) // row.batch_size)
            line = [
                cell
                for b in args.backend
                for cell in (["void" for _ in columns(b)] if wrong else cells(workers, b, steps))
            ]
            print(f"| {row} |", " | ".join(line), f"| {low:.2%} to {high:.2%} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
