"""Count what grows in long runs: memory, objects, open files, threads, and JAX's compilations.

Each run has a process of its own, which is looked at after a tenth of the run, and at its end. README.md in this folder
describes the runs.
"""

import argparse
import gc
import os
import resource
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
from children import run_alone
from machine import machine
from turns import print_table

from xpnet import Network, get_backend
from xpnet.activations import Activation
from xpnet.training.callback import Callback

SIZES, M = [20, 16, 3], 10
RNG = np.random.default_rng(0)
X, Y = RNG.random((1000, SIZES[0]), np.float32), RNG.integers(SIZES[-1], size=1000)
OPTIONS = {"epochs": 1, "batch_size": M, "lr": 0.1, "progress": False}


def open_backend(name):
    """Return the backend of a name; array-api-strict is given as a module, JAX computes on the CPU."""
    if name == "array_api_strict":
        import array_api_strict

        return get_backend(array_api_strict)
    return get_backend(name, "cpu" if name == "jax" else None)


def count_compilations():
    """Return a function that counts JAX's compilations since this call; always 0 where JAX is not used."""
    compilations = []
    if "jax" in sys.modules:
        import jax

        def listen(event, seconds, **_):
            if event == "/jax/core/compile/backend_compile_duration":
                compilations.append(seconds)

        jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: len(compilations)


class Looks(Callback):
    """Look at the process at the end of some epochs, and ask for a look at any time."""

    def __init__(self, *epochs):
        self.epochs, self.seen, self.compilations = epochs, [], count_compilations()

    def look(self):
        """Note peak memory in MB, objects, open files, threads and compilations."""
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
        threads = len(os.listdir("/proc/self/task")) if files else threading.active_count()
        self.seen.append((peak, len(gc.get_objects()), files, threads, self.compilations()))

    def on_epoch_end(self, logs):
        """Look, if it is time."""
        if logs["epoch"] in self.epochs:
            self.look()


def train_long(name, steps):
    """Train on arrays for so many minibatches."""
    epochs = steps * M // len(X)
    net = Network(SIZES, backend=open_backend(name), seed=0)
    looks = Looks(max(1, epochs // 10), epochs)
    net.train((X, Y), callbacks=[looks], **{**OPTIONS, "epochs": epochs})
    return looks.seen


def train_on_batches(name, steps):
    """Train on so many minibatches from a generator."""
    net = Network(SIZES, backend=open_backend(name), seed=0)
    looks = Looks(1, 10)
    batches = ((X[i : i + M], Y[i : i + M]) for i in iter(lambda: int(RNG.integers(len(X) - M)), None))
    net.train(batches, callbacks=[looks], **{**OPTIONS, "epochs": 10, "steps": steps // 10})
    return looks.seen


def make_networks(name, n):
    """Make so many networks, train each, drop it, and see that it is gone."""
    backend, looks, alive = open_backend(name), Looks(), weakref.WeakSet()
    for i in range(1, n + 1):
        net = Network(SIZES, backend=backend, seed=i, activation="leaky_relu(0.2)", cost="huber(0.5)")
        net.train((X[:M], np.eye(3)[Y[:M]]), **OPTIONS)
        alive.add(net)
        del net
        if i in (max(1, n // 10), n):
            looks.look()
    assert not alive
    return looks.seen


def make_own_functions(name, n):
    """Make so many networks, each with an activation of its own that refers to a mebibyte, train each, and drop it."""
    backend, looks, alive = open_backend(name), Looks(), weakref.WeakSet()
    for i in range(1, n + 1):
        data = backend.asarray(np.full(1 << 18, i), "float32")

        def value(z, xp, data=data):
            return z * data[: z.shape[1]]

        def pullback(g, z, a, xp, data=data):
            return g * data[: z.shape[1]]

        net = Network(SIZES, backend=backend, seed=i, activation=Activation("mine", value, pullback))
        net.train((X[:M], Y[:M]), **{**OPTIONS, "lr": 1e-6})
        alive.update((net, value, pullback))
        del net, data, value, pullback
        if i in (max(1, n // 10), n):
            looks.look()
    assert not alive
    return looks.seen


def change_batch_size(name, n):
    """Train with minibatches of so many sizes."""
    net, looks = Network(SIZES, backend=open_backend(name), seed=0), Looks()
    for i in range(1, n + 1):
        net.train((X, Y), **{**OPTIONS, "batch_size": i})
        if i in (max(1, n // 10), n):
            looks.look()
    return looks.seen


RUNS = {  # what is done, how often, and how often on JAX where each time compiles a program
    "minibatches": (train_long, 100_000, 100_000),
    "minibatches from a generator": (train_on_batches, 100_000, 100_000),
    "networks": (make_networks, 2_000, 2_000),
    "networks, each with its own functions": (make_own_functions, 2_000, 200),
    "batch sizes": (change_batch_size, 300, 300),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = ["numpy", "torch", "jax", "array_api_strict"]
    parser.add_argument("--backend", nargs="+", choices=choices, default=choices, help="libraries (all)")
    parser.add_argument("--run", nargs="+", choices=RUNS, default=RUNS, help="runs (all)")
    parser.add_argument("--part", type=float, default=1.0, help="of each run, for a rehearsal (%(default)s)")
    args = parser.parse_args()
    print(machine(*(name for name in args.backend if name != "numpy")), flush=True)
    lines = []
    for name in args.backend:
        for what in args.run:
            run, n, n_jax = RUNS[what]
            n = int(args.part * (n_jax if name == "jax" else n))
            first, last = run_alone(run, name, n, environment={"OMP_NUM_THREADS": "1"})
            lines.append(
                [
                    *(name, f"{n:,} {what}", f"{first[0]:.0f}", f"{last[0]:.0f}", f"{last[0] / first[0]:.3f}"),
                    *(f"{after - before:+,}" for before, after in zip(first[1:], last[1:])),
                ]
            )
            print(*lines[-1], sep=", ", file=sys.stderr, flush=True)
    head = ["backend", "run", "peak memory at a tenth, MB", "at the end", "ratio"]
    print_table([*head, "objects, from the tenth to the end", "open files", "threads", "JAX's compilations"], lines)


if __name__ == "__main__":
    main()
