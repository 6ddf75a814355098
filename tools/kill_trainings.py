"""End trainings at random moments, resume them, and compare the results with an uninterrupted training, bit for bit.

    python tools/kill_trainings.py                        # 200 times SIGKILL
    python tools/kill_trainings.py --signal TERM --times 100 --backend torch

Each training runs in a process of its own and is resumed by another one, which may be ended too. After each end, the
checkpoint must load. When a training has come to its end, its weights, its history and its CSV file must equal those
of the training that nobody interrupted.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from xpnet import Network

TRAIN = """
import sys
from datetime import timedelta
from pathlib import Path
from xpnet import Adam, Clip, Cosine, CSVLog, EarlyStopping, Network, ReduceLROnPlateau
from xpnet.datasets import mnist_sample

folder, backend, every, epochs = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
every = {"epoch": "epoch", "chunk": 1, "time": timedelta(milliseconds=50)}[every]
data, _ = mnist_sample()
print("ready", flush=True)
net = Network([784, 30, 10], task="classification", dropout=0.1, standardize=True, backend=backend, seed=1)
net.train(
    data, epochs, 10, Cosine(0.002, 0.1), optimizer=Clip(Adam(), 5.0), validation_split=0.2, metrics=["accuracy"],
    callbacks=[EarlyStopping(1000), ReduceLROnPlateau(0.7, 3), CSVLog(folder / "log.csv")],
    checkpoint=folder / "run.safetensors", every=every, resume=True, progress=False,
)
net.save(folder / "end.safetensors")
"""
EVERY = ("epoch", "chunk", "time")


def start(folder: Path, backend: str, every: str, epochs: int) -> subprocess.Popen:
    """Start a training, or resume it."""
    command = [sys.executable, "-c", TRAIN, str(folder), backend, every, str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # what was imported before is not part of the training
    while process.poll() is None and not (folder / "run.safetensors").exists():
        time.sleep(0.001)
    return process


def result(folder: Path) -> tuple[list[np.ndarray], list[dict], list[str]]:
    """Read the weights, the history and the log of a training, without times."""
    net = Network.load(folder / "end.safetensors")
    rows = [{name: value for name, value in row.items() if "second" not in name} for row in net.history]
    log = [",".join(line.split(",")[:3]) for line in (folder / "log.csv").read_text().splitlines()]
    return [*net.w, *net.b], rows, log


def main() -> None:
    """Print a table of what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="how often a process is ended (%(default)s)")
    parser.add_argument(
        "--signal", choices=["KILL", "TERM", "INT"], default="KILL", help="by which signal (%(default)s)"
    )
    parser.add_argument("--backend", default="numpy", help="numpy, torch or jax (%(default)s)")
    parser.add_argument("--epochs", type=int, default=40, help="of each training (%(default)s)")
    parser.add_argument("--most", type=int, default=5, help="times that one training is ended, at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    options = parser.parse_args()
    moments, counts = random.Random(options.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        whole.mkdir()
        process = start(whole, options.backend, "epoch", options.epochs)
        began = time.perf_counter()
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
        seconds, wanted = time.perf_counter() - began, result(whole)
        print(f"an uninterrupted training takes {seconds:.1f} s", flush=True)
        while counts["processes ended"] < options.times:
            place = Path(folder) / str(counts["trainings"])
            place.mkdir()
            every = EVERY[counts["trainings"] % len(EVERY)]
            for _ in range(options.most):
                process = start(place, options.backend, every, options.epochs)
                try:
                    process.wait(moments.uniform(0.0, 1.0) * seconds)
                except subprocess.TimeoutExpired:
                    process.send_signal(getattr(signal, f"SIG{options.signal}"))
                    errors = process.communicate()[1]
                    counts["processes ended"] += 1
                    count_checkpoint(place / "run.safetensors", options.signal, errors, counts)
                else:
                    counts["processes that were faster than the signal"] += 1
                    break
            last = start(place, options.backend, every, options.epochs)
            errors = last.communicate()[1]
            assert last.returncode == 0, errors
            counts["trainings"] += 1
            counts["trainings equal to the uninterrupted one"] += same(result(place), wanted)
            leftovers = [file for file in place.iterdir() if file.name.startswith(".xpnet")]
            counts["temporary files left behind"] += len(leftovers)
    for name, count in counts.items():
        print(f"{count:6} {name}")
    if counts["trainings"] != counts["trainings equal to the uninterrupted one"]:
        raise SystemExit("a resumed training differs")


def count_checkpoint(path: Path, name: str, errors: str, counts: Counter) -> None:
    """Load the checkpoint that an ended process left, and count where the training was."""
    Network.load(path)  # raises if it is not whole
    counts["checkpoints that load"] += 1
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["xpnet"])
    counts["of these in the middle of an epoch"] += header["training"]["position"]["steps"] > 0
    if name != "KILL" and errors and "KeyboardInterrupt" not in errors:
        print(errors)


def same(one: tuple, other: tuple) -> bool:
    """Compare two results bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True)) and one[1:] == other[1:]


if __name__ == "__main__":
    main()
