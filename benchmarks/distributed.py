"""Time a step of a training on one process and on two that share each minibatch over MPI, and model larger clusters.

README.md in this folder describes the method. Exits with status 1 if a job fails, or if two processes gain too little
on the last network to pass `--check`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from harness import ONE, THREADS, Report, machine, take_turns

from xpnet import Network
from xpnet.distributed import Distributed

NETWORKS = ((784, 30, 10), 64), ((784, 512, 512, 10), 2048), ((784, 512, 512, 10), 256)  # and minibatches
HEAD = ("network", "ranks", "µs a step (quartiles)", "ratio to one rank (quartiles)", "all-reduce alone")
LINKS = {"10 Gb/s, 30 µs": (30e-6, 1.25e9), "100 Gb/s, 3 µs": (3e-6, 12.5e9)}  # seconds, bytes a second
MACHINES = (8, 16, 32, 64)
PATIENCE = 120  # seconds for a job


class Outcome(NamedTuple):
    """A job that has ended: the seconds of a step, and of an all-reduce of as many numbers by itself."""

    seconds: float
    all_reduce: float


def run_job(sizes, batch_size, ranks, shards, seconds):
    """Train for some seconds, and print the outcome; each rank of a job runs this."""
    rng, steps, comm, options = np.random.default_rng(0), max(10, 5_000 // batch_size), None, {}
    x, labels = rng.random((batch_size * steps, sizes[0]), dtype=np.float32), rng.integers(10, size=batch_size * steps)
    if ranks > 1:
        from mpi4py import MPI

        comm, options = MPI.COMM_WORLD, {"distributed": Distributed(MPI.COMM_WORLD, shards)}
    net = Network(sizes, activation="relu", task="classification", seed=0)
    train = partial(net.train, (x, labels), batch_size=batch_size, lr=0.01, progress=False, blas_threads=1, **options)
    epochs = 1 + math.ceil(seconds / train(2)["seconds"][-1])
    fastest = min(train(comm.bcast(epochs) if comm else epochs)["seconds"])
    all_reduce = time_all_reduce(comm, net.summary().parameters) if comm else 0.0
    if comm is None or comm.rank == 0:
        print(json.dumps([fastest / steps, all_reduce]))


def time_all_reduce(comm, n):
    """Time the fastest of some all-reduces of float32 numbers."""
    numbers, sums, times = np.zeros(n, np.float32), np.zeros(n, np.float32), []
    for _ in range(200):
        comm.Barrier()
        began = time.perf_counter()
        comm.Allreduce(numbers, sums)
        times.append(time.perf_counter() - began)
    return min(times)


def start_job(sizes, batch_size, seconds, ranks=1, shards=None):
    """Run a job in processes of its own, with one thread each, and return its outcome."""
    options = {"env": os.environ | THREADS[ONE], "stderr": subprocess.PIPE, "text": True, "timeout": PATIENCE}
    command = ["mpiexec", "-n", str(ranks)] if ranks > 1 else []
    command += [sys.executable, __file__, "--job", json.dumps([sizes, batch_size, ranks, shards, seconds])]
    try:
        return Outcome(*json.loads(subprocess.check_output(command, **options)))
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{error}: {(error.stderr or '').strip()[-400:]}") from None


def model_all_reduce(n_bytes, machines, latency, bandwidth):
    """Compute the seconds of an all-reduce: by doubling, or by scattering and gathering, whichever takes less time."""
    rounds, once = math.log2(machines), n_bytes / bandwidth
    return min(rounds * (latency + once), 2 * (rounds * latency + (1 - 1 / machines) * once))


def describe(outcomes, key):
    """Say how long the all-reduce takes by itself, and how much of a step that is."""
    alone, step = np.median(outcomes[key], axis=0)[::-1]
    return [f"{alone * 1e6:.0f} µs, {alone / step:.0%} of the step" if alone else "–"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of jobs (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1, help="of training in each job (%(default)s)")
    parser.add_argument("--check", type=float, metavar="GAIN", help="fail if two ranks are not so many times as fast")
    if (options := parser.parse_args()).job:
        return run_job(*json.loads(options.job))
    report, rows = Report(), []
    report.line(machine("mpi4py"))
    report.head(*HEAD)
    one, two, ways = ("1", ONE), ("2", ONE), {"1": {}, "2": {"ranks": 2}, "2, shards=8": {"ranks": 2, "shards": 8}}
    for sizes, batch_size in NETWORKS:
        what, job = f"{'-'.join(map(str, sizes))}, {batch_size}", partial(start_job, sizes, seconds=options.seconds)
        turns = take_turns({(way, ONE): partial(job, batch_size, **ways[way]) for way in ways}, options.rounds)
        report.rows(what, turns, {way: way for way in ways}, lambda _: one, partial(describe, turns.outcomes), 1e6)
        n_bytes = 4 * sum(n * (m + 1) for m, n in pairwise(sizes))
        for machines in MACHINES:
            alone = job(max(1, batch_size // machines)).seconds
            times = [alone + model_all_reduce(n_bytes, machines, *link) for link in LINKS.values()]
            gains = [f"{1e6 * time:,.0f} µs, {turns.median(one) / time:.2g} times" for time in times]
            rows.append([what, machines, f"{1e6 * alone:,.0f} µs", *gains])
    report.head("network", "machines", "computing", *LINKS)  # and how many times as fast as one
    [report.row(*row) for row in rows]
    gain = min(turns.outcomes[one]).seconds / min(turns.outcomes[two]).seconds  # without what disturbs
    if options.check and gain < options.check:
        report.problems.append(f"{what}: two ranks are {gain:.2f} times as fast as one, not {options.check}")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
