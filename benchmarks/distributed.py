"""Time a training step of one process, and of several that share each minibatch over MPI, and model clusters from it.

Prints a table of steps, with the share of the all-reduce, and one of 8 to 64 machines, in which the steps are measured
here and the exchange is computed. README.md in this folder describes the method. Exits with status 1 if a job fails, or
if `--check` finds too small a gain on the last network.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from typing import NamedTuple

import numpy as np
from harness import ONE, THREADS, Report, machine, take_turns

from xpnet import Network

NETWORKS = ((784, 30, 10), 64), ((784, 512, 512, 10), 2048), ((784, 512, 512, 10), 256)  # and the minibatch
HEAD = ("network", "processes, with a thread each", "µs a step (quartiles)", "ratio to one (quartiles)", "all-reduce")
LINKS = {"10 Gb/s": (30e-6, 1.25e9), "100 Gb/s": (3e-6, 12.5e9)}  # assumed latency in seconds, bytes a second
MACHINES = (8, 16, 32, 64)
PATIENCE = 120  # seconds for a job


class Outcome(NamedTuple):
    """A job that has ended: seconds of a step, and of an all-reduce of as many numbers without a step."""

    seconds: float
    all_reduce: float


def run_job(sizes, batch_size, shards, seconds):
    """Train for some seconds; the first process prints the outcome. Runs in every process of a job."""
    comm = None
    if "PMI_SIZE" in os.environ or "OMPI_COMM_WORLD_SIZE" in os.environ:
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    rng, steps = np.random.default_rng(0), max(10, 20_000 // batch_size)
    x, labels = rng.random((batch_size * steps, sizes[0]), dtype=np.float32), rng.integers(10, size=batch_size * steps)
    net = Network(sizes, activation="relu", task="classification", seed=0)
    options = {} if comm is None else {"distributed": comm, "shards": shards}
    train = partial(net.train, (x, labels), batch_size=batch_size, lr=0.01, progress=False, blas_threads=1, **options)
    epochs = 1 + math.ceil(seconds / train(2)["seconds"][-1])
    step = min(train(epochs if comm is None else comm.bcast(epochs))["seconds"]) / steps
    if comm is None or comm.rank == 0:
        print(json.dumps(Outcome(step, 0.0 if comm is None else time_all_reduce(comm, net))))
    else:
        time_all_reduce(comm, net)


def time_all_reduce(comm, net):
    """Time an all-reduce of as many numbers as the network has weights and biases."""
    numbers, times = np.zeros(net.summary().parameters, np.float32), []
    for _ in range(100):
        comm.Barrier()
        began = time.perf_counter()
        comm.Allreduce(numbers, np.empty_like(numbers))
        times.append(time.perf_counter() - began)
    return min(times)


def start_job(sizes, batch_size, seconds, ranks=1, shards=None):
    """Run a job in processes of its own, and return its outcome."""
    command = [sys.executable, __file__, "--job", json.dumps([sizes, batch_size, shards, seconds])]
    command = command if ranks == 1 else ["mpiexec", "-n", str(ranks), *command]
    try:
        run = subprocess.run(command, env=os.environ | THREADS[ONE], capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it did not end within {PATIENCE} s") from None
    if run.returncode:
        raise RuntimeError(next(reversed(run.stderr.strip().splitlines()), f"it ended with {run.returncode}"))
    return Outcome(*json.loads(run.stdout))


def model_all_reduce(n_bytes, ranks, latency, bandwidth):
    """Compute the seconds of an all-reduce: by doubling, or by scattering and gathering, whichever is faster."""
    rounds, once = math.log2(ranks), n_bytes / bandwidth
    return min(rounds * (latency + once), 2 * (rounds * latency + (1 - 1 / ranks) * once))


def describe(outcomes, key):
    """Say how long an all-reduce takes, and its share of a step."""
    alone = np.median([out.all_reduce for out in outcomes[key]])
    share = alone / np.median([out.seconds for out in outcomes[key]])
    return [f"{alone * 1e6:.3g} µs, {share:.0%} of the step" if alone else "–"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, default=2, help="processes that share each minibatch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of jobs (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of training in each job (%(default)s)")
    parser.add_argument("--check", type=float, metavar="GAIN", help="fail if several processes are not so much faster")
    parser.add_argument("--file", help="append the results to a file")
    options = parser.parse_args()
    if options.job:
        return run_job(*json.loads(options.job))
    report, several, one = Report(options.file), f"{options.ranks}", ("1", ONE)
    report.line(machine("mpi4py"))
    report.head(*HEAD)
    ways = {"1": {}, several: {"ranks": options.ranks}, f"{several}, shards=8": {"ranks": options.ranks, "shards": 8}}
    rows, turns = [], None
    for sizes, batch_size in NETWORKS:
        name, job = f"{'-'.join(map(str, sizes))}, {batch_size}", partial(start_job, sizes, batch_size, options.seconds)
        turns = take_turns({(way, ONE): partial(job, **settings) for way, settings in ways.items()}, options.rounds)
        report.rows(name, turns, {way: way for way in ways}, lambda _: one, partial(describe, turns.outcomes), 1e6)
        n_bytes, alone = 4 * sum(n * (m + 1) for m, n in zip(sizes, sizes[1:])), turns.median(one)
        for ranks in MACHINES:
            compute = start_job(sizes, max(1, batch_size // ranks), options.seconds).seconds
            steps = [compute + model_all_reduce(n_bytes, ranks, *link) for link in LINKS.values()]
            rows.append([name, ranks, *(f"{1e6 * step:.3g} µs, {alone / step:.2g} times" for step in (compute, *steps))])
    report.head("network", "machines", "without exchange", *LINKS)
    for row in rows:
        report.row(*row)
    gain = 1 / np.median(turns.ratios((several, ONE), one))
    if options.check and gain < options.check:
        report.problems.append(f"{name}: {several} processes are {gain:.2f} times as fast as one, less than {options.check}")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
