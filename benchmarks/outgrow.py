"""Time epochs on inputs in memory, and in a file that the system holds in memory (warm) or does not (cold)."""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from harness import ONE, Report, machine, take_turns

from xpnet import Network

NETWORKS = {"30, minibatches of 64": ([784, 30, 10], 64), "512-512, minibatches of 128": ([784, 512, 512, 10], 128)}
WAYS = {"memory": "in memory", "place": "memory map, warm", "rows": "gathered, warm"}
WAYS |= {"cold": "gathered, cold, with hints", "cold, no hints": "gathered, cold, without hints"}


class Epoch(NamedTuple):  # noqa: D101
    seconds: float


def train(sizes, batch_size, way, path, y):
    """Train for an epoch and return its time; for a cold one, the system forgets the file first."""
    if way.startswith("cold"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    x = np.load(path, mmap_mode=None if way == "memory" else "r")
    if way in ("place", "rows"):
        x.max()  # reads the file
    net = Network(sizes, activation="relu", seed=0)
    free = 0 if way == "cold" else 1 << 60
    with (
        patch("xpnet.data._outside.find_free_memory", lambda: free),
        patch("xpnet.data.open.stays_in_place", lambda *_: way in ("memory", "place")),
    ):
        history = net.train((x, y), epochs=1, batch_size=batch_size, lr=0.01, blas_threads=1, progress=False)
    return Epoch(history[-1]["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=130_000, help="rows of 784 numbers (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs of each (%(default)s)")
    parser.add_argument("--folder", help="where to write the file, on the disk to be measured (the temporary one)")
    args, report, rng = parser.parse_args(), Report(), np.random.default_rng(0)
    with TemporaryDirectory(dir=args.folder) as folder:
        path, y = Path(folder) / "x.npy", rng.integers(10, size=args.rows)
        np.save(path, rng.random((args.rows, 784), np.float32))
        report.line(f"{machine()}; {path.stat().st_size / 1e6:.0f} MB in {folder}; {args.rounds} rounds")
        report.head("network 784-…-10", "inputs", "µs a step", "ratio")
        for name, (sizes, batch_size) in NETWORKS.items():
            turns = take_turns(
                {(way, ONE): partial(train, sizes, batch_size, way, path, y) for way in WAYS}, args.rounds
            )
            report.rows(name, turns, WAYS, lambda _: ("memory", ONE), lambda _: (), 1e6 / -(-args.rows // batch_size))
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
