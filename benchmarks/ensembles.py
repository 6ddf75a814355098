"""Time of a training step of a network in an ensemble, compared with that of a network alone.

    python ensembles.py
    python ensembles.py --threads 1 --backends numpy --members 1 16

For each width and number of members, a network and an ensemble are trained in turn, in one process, and each round
gives a ratio. Before that, members of a small training are compared with networks that were trained alone. Prints a
table for each backend; `--cpu` counts the time of the process on all cores in place of the time that passes.
"""

import argparse
import sys
import time
from typing import NamedTuple

import numpy as np
from machine import machine

from xpnet import Ensemble, Network
from xpnet.datasets import mnist_sample

WIDTHS = (30, 100, 512)
MEMBERS = (1, 4, 16, 64, 256)
BATCH_SIZE, LR = 10, 1.0
BOUND = 1e-3  # relative to the change of the weights


class Cell(NamedTuple):
    """Seconds of a step of one network, alone and in the ensemble, one of each per round."""

    alone: list[float]
    together: list[float]

    def __str__(self):
        low, median, high = np.quantile(np.divide(self.alone, self.together), [0.25, 0.5, 0.75])
        return f"{1e6 * np.median(self.together):,.1f} µs, {median:.2f} ({low:.2f} to {high:.2f})"


def measure(width, members, backend, options):
    """Train a network and an ensemble in turn."""
    data = mnist_sample()[0]
    sizes, place = [784, width, 10], {"backend": backend, "device": "cpu" if backend != "numpy" else None}
    net, ensemble = Network(sizes, seed=0, **place), Ensemble(sizes, members, seed=0, **place)
    clock = time.process_time if options.cpu else time.perf_counter

    def train(trained, steps, **arguments):
        n = BATCH_SIZE * min(steps, 500)
        part, epochs = tuple(array[:n] for array in data), max(1, round(steps / 500))
        began = clock()
        trained.train(part, epochs, BATCH_SIZE, LR, progress=False, **arguments)
        return (clock() - began) / (epochs * n / BATCH_SIZE)

    threads = {"threads": options.threads}
    train(net, 100)
    train(ensemble, 100, **threads)
    alone, together = train(net, 100), train(ensemble, 100, **threads)  # to choose how many steps take long enough
    steps, steps_together = (
        max(64, int(goal / seconds)) for goal, seconds in ((options.seconds / 3, alone), (options.seconds, together))
    )
    train(net, steps)
    train(ensemble, steps_together, **threads)
    cell = Cell([], [])
    for _ in range(options.rounds):
        cell.alone.append(train(net, steps))
        cell.together.append(train(ensemble, steps_together, **threads) / members)
    return cell


def check(width, backend, options):
    """Compare members with networks that are trained alone; return the largest relative difference of weights."""
    x, y = (array[:405] for array in mnist_sample()[0])
    sizes, worst = [784, width, 10], 0.0
    ensemble = Ensemble(sizes, 5, seed=range(5), backend=backend)
    ensemble.train((x, y), 2, BATCH_SIZE, LR, threads=options.threads, progress=False)
    for seed, member in enumerate(ensemble):
        net = Network(sizes, seed=seed, backend=backend)
        before, to_numpy = net.w, net.backend.to_numpy
        net.train((x, y), 2, BATCH_SIZE, LR, progress=False)
        for w, other, first in zip(net.w, member.w, before):
            w, other, first = to_numpy(w), to_numpy(other), to_numpy(first)
            worst = max(worst, float(np.linalg.norm(w - other) / np.linalg.norm(w - first)))
    return worst


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["numpy", "jax"], help="in turn (%(default)s)")
    parser.add_argument("--members", nargs="+", type=int, default=list(MEMBERS), help="(%(default)s)")
    parser.add_argument("--widths", nargs="+", type=int, default=list(WIDTHS), help="hidden units (%(default)s)")
    parser.add_argument("--threads", default="auto", help="as in Ensemble.train (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a measurement, about (%(default)s)")
    parser.add_argument("--cpu", action="store_true", help="count the time of the process on all cores")
    options = parser.parse_args(arguments)
    options.threads = options.threads if options.threads == "auto" else int(options.threads)
    return options


def main(arguments=None):
    """Measure, and print the tables."""
    options = parse(arguments)
    clock = "time of the process" if options.cpu else "time that passes"
    print(f"{machine(*(name for name in options.backends if name != 'numpy'))}; threads: {options.threads}; {clock}\n")
    failed = False
    for backend in options.backends:
        differences = [check(width, backend, options) for width in options.widths]
        failed |= not max(differences) <= BOUND
        print(f"{backend}: weights differ from networks alone by at most {max(differences):.1e} of their change\n")
        print(f"| {backend} | alone | {' | '.join(f'{members} members' for members in options.members)} |")
        print(f"| --- | {' | '.join(['---:'] * (1 + len(options.members)))} |")
        for width in options.widths:
            cells = [measure(width, members, backend, options) for members in options.members]
            alone = 1e6 * np.median([seconds for cell in cells for seconds in cell.alone])
            print(f"| 784-{width}-10 | {alone:,.1f} µs | {' | '.join(map(str, cells))} |", flush=True)
        print()
    if failed:
        sys.exit(f"weights differ by more than {BOUND:g}")


if __name__ == "__main__":
    main()
