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
from functools import partial
from pathlib import Path

import numpy as np
from harness import Child, Report, machine

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
    """Look at the process: at a tenth of a run, and at its end.

    Parameters
    ----------
    n
        How many parts the run has. As a callback, it counts epochs.
    """

    def __init__(self, n):
        self.last, self.seen, self.compilations = n, [], count_compilations()

    def count(self):
        """Yield the numbers of the parts, from 1, and look where it is time."""
        for i in range(1, self.last + 1):
            yield i
            self.look(i)

    def on_epoch_end(self, logs):
        """Look, if it is time."""
        self.look(logs["epoch"])

    def look(self, i):
        """Note peak memory in MB, objects, open files, threads and compilations, if it is time."""
        if i not in (max(1, self.last // 10), self.last):
            return
        gc.collect()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
        files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
        threads = len(os.listdir("/proc/self/task")) if files else threading.active_count()
        self.seen.append((peak, len(gc.get_objects()), files, threads, self.compilations()))


def train_long(report, name, steps):
    """Train on arrays."""
    net, looks = Network(SIZES, backend=open_backend(name), seed=0), Looks(steps * M // len(X))
    net.train((X, Y), callbacks=[looks], **{**OPTIONS, "epochs": looks.last})
    report(looks.seen)


def train_on_batches(report, name, steps):
    """Train on minibatches from a generator."""
    net, looks = Network(SIZES, backend=open_backend(name), seed=0), Looks(10)
    batches = ((X[i : i + M], Y[i : i + M]) for i in iter(lambda: int(RNG.integers(len(X) - M)), None))
    net.train(batches, callbacks=[looks], **{**OPTIONS, "epochs": 10, "steps": steps // 10})
    report(looks.seen)


def make_networks(report, name, n, own=False):
    """Make n networks, train each, drop it, and see that it is gone.

    If `own`, each has an activation of its own that refers to a mebibyte.
    """
    backend, looks, alive = open_backend(name), Looks(n), weakref.WeakSet()
    for i in looks.count():
        activation = make_activation(backend.asarray(np.full(1 << 18, i), "float32")) if own else "leaky_relu(0.2)"
        net = Network(SIZES, backend=backend, seed=i, activation=activation, cost="huber(0.5)")
        net.train((X[:M], np.eye(3)[Y[:M]]), **{**OPTIONS, "lr": 1e-6})
        alive.update((net, activation.value) if own else (net,))
        del net, activation
    assert not alive
    report(looks.seen)


def make_activation(data):
    """Make an activation that refers to data."""
    return Activation("mine", lambda z, xp: z * data[: z.shape[1]], lambda g, z, a, xp: g * data[: z.shape[1]])


def change_batch_size(report, name, n):
    """Train with minibatches of n sizes."""
    net, looks = Network(SIZES, backend=open_backend(name), seed=0), Looks(n)
    for i in looks.count():
        net.train((X, Y), **{**OPTIONS, "batch_size": i})
    report(looks.seen)


RUNS = {  # what is done, how often, and how often on JAX where each time compiles a program
    "minibatches": (train_long, 100_000, 100_000),
    "minibatches from a generator": (train_on_batches, 100_000, 100_000),
    "networks": (make_networks, 2_000, 2_000),
    "networks, each with its own functions": (partial(make_networks, own=True), 2_000, 200),
    "batch sizes": (change_batch_size, 300, 300),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = ["numpy", "torch", "jax", "array_api_strict"]
    parser.add_argument("--backends", nargs="+", choices=choices, default=choices, help="libraries (all)")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="runs (all)")
    parser.add_argument("--part", type=float, default=1.0, help="of each run, for a rehearsal (%(default)s)")
    args, report = parser.parse_args(), Report()
    report.line(machine(*(name for name in args.backends if name != "numpy")))
    head = ("backend", "run", "peak memory at a tenth, MB", "at the end", "ratio", "objects, from the tenth to the end")
    report.head(*head, "open files", "threads", "JAX's compilations")
    for name in args.backends:
        for what in args.runs:
            run, n, n_jax = RUNS[what]
            n = int(args.part * (n_jax if name == "jax" else n))
            try:
                ((first, last),) = Child(run, name, n, environment={"OMP_NUM_THREADS": "1"})
            except RuntimeError as error:
                report.problems.append(f"{name}, {what}: {error}")
                continue
            memory = f"{first[0]:.0f}", f"{last[0]:.0f}", f"{last[0] / first[0]:.3f}"
            changes = (f"{after - before:+,}" for before, after in zip(first[1:], last[1:]))
            report.row(name, f"{n:,} {what}", *memory, *changes)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
