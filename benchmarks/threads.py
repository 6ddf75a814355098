"""Time the matrix products of a training step with one thread and with all, and trainings beside a busy core.

The bounds `threads_from` of the backends rest on its figures. README.md in this folder describes the method.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
from contenders import BOOK
from machine import machine
from turns import print_table

from xpnet import Network, get_backend
from xpnet.backends.threads import THREAD_VARIABLES, limit_threads

SHAPES = [  # minibatch, inputs and outputs of a layer
    *((m, 784, 100) for m in (10, 20, 30, 45, 64, 90, 128, 256)),
    *((m, 100, 100) for m in (100, 200, 400)),
    *((m, 256, 256) for m in (64, 128)),
    *((m, 512, 512) for m in (10, 20, 32, 128)),
]
SPIN = [sys.executable, "-c", "while True: pass"]
IDLE = 0.02  # quantile of the times that shows a machine without other programs


def time_products(backend, shape, rounds, seconds):
    """Seconds of forward product, gradient and delta of a layer, once per repetition: with one thread, and with all."""
    m, n_in, n_out = shape
    rng, xp = np.random.default_rng(0), backend.xp
    x, w, delta = (backend.asarray(rng.random(s, np.float32)) for s in ((m, n_in), (n_out, n_in), (m, n_out)))
    times = {1: [], os.cpu_count(): []}
    with backend.scope("float32"):
        for _ in range(rounds):
            for threads, found in times.items():
                with limit_threads(backend, threads):
                    ends, repetitions = time.perf_counter() + seconds, []
                    while time.perf_counter() < ends or len(repetitions) < 6:
                        begins = time.perf_counter()
                        xp.matmul(x, w.mT), xp.matmul(delta.mT, x), xp.matmul(delta, w)
                        repetitions.append(time.perf_counter() - begins)
                    found += repetitions[3:]  # the first ones start the threads
    return times.values()


def time_trainings(name, row, rounds, neighbour):
    """Microseconds of a step on an idle machine and beside a busy core, with automatic threads and with one."""
    (sizes, m), rng = row[:2], np.random.default_rng(0)
    weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    steps = min(60_000 // m, max(20, int(2e9 / (m * weights))))
    x, y = rng.random((m * steps, sizes[0]), np.float32), rng.integers(sizes[-1], size=m * steps)
    net = Network(sizes, seed=0, backend=name)

    def time_step(threads):
        begins = time.perf_counter()
        net.train((x, y), epochs=1, batch_size=m, lr=1e-3, blas_threads=threads, progress=False)
        return 1e6 * (time.perf_counter() - begins) / steps

    time_step("auto")
    times = {(busy, threads): [] for busy in (False, True) for threads in ("auto", 1)}
    for _ in range(rounds):
        for busy, threads in times:
            neighbour.send_signal(signal.SIGCONT if busy else signal.SIGSTOP)
            time.sleep(0.05)
            times[busy, threads].append(time_step(threads))
    return times


def print_trainings(name, rounds, neighbour):
    """Print the times of a step of each network of `peers.py`, and their ratios."""
    lines = []
    for row in BOOK.values():
        times = time_trainings(name, row, rounds, neighbour)
        ratios = np.divide(times[True, "auto"], times[False, "auto"])
        lines.append(
            [
                f"{'-'.join(map(str, row.sizes))}, {row[1]}",
                *(f"{np.median(found):.0f}" for found in times.values()),
                f"{np.median(ratios):.2f} ({ratios.min():.2f}-{ratios.max():.2f})",
            ]
        )
    head = ["network, minibatch", f"{name}, µs: idle", "idle, one thread", "busy", "busy, one thread"]
    print_table([*head, "busy / idle"], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", nargs="+", default=["numpy", "torch"], help="libraries (%(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="of one thread and all in turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.04, help="of a round (%(default)s)")
    parser.add_argument("--busy", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--trainings", action="store_true", help="time trainings, idle and beside a busy core in turn")
    args = parser.parse_args()
    if args.trainings and any(map(os.environ.get, THREAD_VARIABLES)):
        parser.error(
            f"--trainings needs automatic threads: unset {', '.join(filter(os.environ.get, THREAD_VARIABLES))}"
        )
    print(f"{machine(*(name for name in args.backend if name != 'numpy'))}{'; one core busy' * args.busy}")
    neighbour = subprocess.Popen(SPIN) if args.busy or args.trainings else None
    try:
        for name in args.backend:
            if args.trainings:
                print_trainings(name, args.rounds, neighbour)
                continue
            lines = []
            for shape in SHAPES:
                one, several = time_products(get_backend(name), shape, args.rounds, args.seconds)
                quick = [np.quantile(times, IDLE) for times in (one, several)]
                lines.append(
                    [
                        ", ".join(map(str, shape)),
                        f"{np.prod(shape) / 1e6:.2f}",
                        *(f"{1e6 * seconds:.0f}" for seconds in quick),
                        f"{quick[1] / quick[0]:.2f}",
                        f"{np.mean(several) / np.mean(one):.2f}",
                    ]
                )
            head = ["minibatch, inputs, outputs", "multiplications, 10⁶", f"{name}: µs, one thread", "all"]
            print_table([*head, "all / one, quickest", "all / one, mean"], lines)
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()


if __name__ == "__main__":
    main()
