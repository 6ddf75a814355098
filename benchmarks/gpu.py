"""Compare training on a GPU with PyTorch and JAX on the same GPU, and with the CPU.

Prints tables at the end: microseconds per step, ratios of times, fractions of the GPU's peak rate, the sizes from which
on the GPU is faster than the CPU, and MNIST. README.md in this folder describes the method. Exits with status 1 if a
contender fails, or its results differ from the others'.

With `--device cpu` it is a dry run: NumPy stands in for CuPy, and the figures say nothing about a GPU.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contenders import BOOK, Contender, Row, TorchCompiled, TorchGraph, TorchTraining, jax_by_hand, xpnet
from machine import best_rate, cards, cuda, machine, operations
from turns import ABSENT, launch, library, load, measure, print_table, ratio_cell, save, spread, time_of

from xpnet import Adam, BackendError, Callback, Network, get_backend
from xpnet.backends import Backend
from xpnet.bench import compare_backends

ROWS = {**BOOK, "r7": Row((784, 4096, 4096, 10), 1024, 0.1, relu=True, examples=20_480)}
SIDES = {"cuda": (4096, 8192, 8192), "cpu": (1024,)}  # square matrices to measure the peak rate
EXACT = {"NVIDIA_TF32_OVERRIDE": "0", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0", "CUPY_TF32": "0"}  # full float32
WARM_UP = 2  # PyTorch's compiler records a graph the second time it sees a shape
PARTS = ("steps", "crossover", "mnist")


class Size(NamedTuple):
    """Amount of work."""

    rows: tuple[str, ...]
    rounds: int
    examples: int | None  # per epoch; None: those of the row
    widths: tuple[int, ...]  # for the crossover
    batch_sizes: tuple[int, ...]
    seconds: float  # per repetition of the crossover
    repeats: int
    epochs: int  # for MNIST, at most
    target: float  # accuracy for MNIST


FULL = Size(tuple(ROWS), 9, None, (32, 128, 512, 2048, 4096), (1, 10, 32, 128, 512, 2048), 0.2, 5, 20, 0.98)
QUICK = Size(("r1",), 2, 600, (16,), (8, 64), 0.01, 2, 5, 0.8)


def own(device):
    """Name of xpnet's own GPU backend; on the CPU, NumPy stands in for CuPy."""
    return "cupy" if device == "cuda" else "numpy"


def contenders(device):
    """Build the contenders, {name: contender}; the first word of a name is the library."""
    mine = own(device)
    ours = {
        f"{name} xpnet": Contender(f"xpnet on {name}", partial(xpnet, name, "rows", device=device))
        for name in (mine, "torch", "jax")
    }
    plain = partial(xpnet, mine, "rows", device=device, plain=True)
    ours[f"{mine} xpnet, plain loop"] = Contender(f"xpnet on {mine}, plain loop", plain)
    others = {
        "torch autograd": ("PyTorch, eager", TorchTraining.contender),
        "torch graph": ("PyTorch, CUDA graph", TorchGraph.contender),
        "torch compile": ('PyTorch, compile(mode="reduce-overhead")', TorchCompiled.contender),
        "jax by hand": ("JAX, jit(lax.scan), jax.grad", jax_by_hand),
    }
    return ours | {name: Contender(title, partial(make, device=device)) for name, (title, make) in others.items()}


def usable(names, device):
    """Select the contenders whose library has the device, and give the reasons for the others."""
    reasons = {}
    for each in dict.fromkeys(map(library, names)):
        try:
            place = get_backend(each, device)
            if each == own(device) and type(place).loop is Backend.loop:
                names = [name for name in names if not name.endswith("plain loop")]  # it has no other
        except BackendError as error:
            reasons[each] = str(error)
    return [name for name in names if library(name) not in reasons], reasons


# Measuring


class Found:
    """Measurements so far."""

    def __init__(self, args, names, head):
        self.args, self.names, self.head = args, names, head
        self.results, self.rates, self.comparisons, self.trainings, self.wrong = [], {}, {}, {}, []


def step_times(found, size, x, labels, test, folder):
    """Time an epoch of each network with every contender in turn."""
    makes = contenders(found.args.device)
    for row in (ROWS[each] for each in size.rows):
        row = row._replace(examples=min(size.examples or row.examples, len(x)))
        workers = [launch(name, makes[name], row, folder) for name in found.names]
        result = measure(row, workers, size.rounds, test, WARM_UP)
        result.wrong.extend(spread(result.workers) if size.examples is None else [])
        found.results.append(result)
        for each in result.wrong + result.failed:
            say(found, f"{row}: {each}")
    for each in dict.fromkeys(map(library, found.names)):
        found.rates[each] = best_rate(get_backend(each, found.args.device), SIDES[found.args.device])


def crossover(found, size):
    """Time a step of networks with one hidden layer on every available backend."""
    libraries = dict.fromkeys(["numpy", *map(library, found.names)])
    for width in size.widths:
        net = Network([784, width, 10], activation="relu", task="classification", seed=0)
        for m in size.batch_sizes:
            compared = compare_backends(net, m, seconds=size.seconds, repeats=size.repeats, backends=libraries)
            found.comparisons[width, m] = compared
            for each in compared.unusable:
                say(found, f"784-{width}-10, batch {m}: {each}")


def mnist_times(found, size, train, test):
    """Train each library's network until it reaches the target accuracy."""
    for each in dict.fromkeys(map(library, found.names)):
        until = Until(size.target)
        try:
            found.trainings[each] = until, mnist_training(each, found.args.device, size, train, test, until)
        except Exception as error:  # the remaining measurements continue
            say(found, f"MNIST on {each} failed, {type(error).__name__}: {error}")
        else:
            if until.reached is None:
                say(found, f"MNIST on {each} has not reached {size.target:.0%} after {size.epochs} epochs")


def mnist_training(name, device, size, train, test, until):
    net = Network([784, 512, 10], activation="relu", task="classification", backend=name, device=device, seed=0)
    settings = {"optimizer": Adam(), "lr": 0.001, "metrics": ["accuracy"], "progress": False}
    return net.train(train, size.epochs, 128, validation_data=test, callbacks=[until], **settings)


class Until(Callback):
    """Stop at a validation accuracy, and record the seconds from the creation of this callback."""

    def __init__(self, accuracy):
        self.accuracy, self.reached, self.started = accuracy, None, time.perf_counter()

    def on_train_begin(self, training):
        """Keep the training, to stop it later."""
        self.training = training

    def on_epoch_end(self, logs):
        """Compare the validation accuracy with the target."""
        if logs["validation_accuracy"] >= self.accuracy:
            self.reached, self.training.stopped = time.perf_counter() - self.started, True


def say(found, what):
    found.wrong.append(what)
    print(what, file=sys.stderr)


# The report


def head_of(args, names, reasons, where):
    """Describe the machine and the libraries, in lines."""
    used = [each for each in dict.fromkeys(map(library, names)) if each != "numpy"]
    return [
        *(["A DRY RUN on the CPU: these figures say nothing about a GPU.\n"] if args.device == "cpu" else []),
        f"{cards() or 'No GPU'}; {machine(*used)}; {where}.",
        (", ".join(cuda()) or "No packages with CUDA libraries") + ".",
        *(f"Left out: {name}, {reason}" for name, reason in reasons.items()),
    ]


def report(found):
    """Print all measurements."""
    print(*found.head, sep="\n")
    if found.results:
        steps_report(found)
    if found.comparisons:
        crossover_report(found)
    if found.trainings:
        mnist_report(found)
    for each in found.wrong:
        print(f"\nFAILED CHECK: {each}")


def steps_report(found):
    """Print three tables with a column per network: times, ratios, fractions of the peak rate."""
    mine, makes, results = own(found.args.device), contenders(found.args.device), found.results
    ours = [name for name in found.names if " xpnet" in name and "plain" not in name]
    others = [name for name in found.names if " xpnet" not in name]
    head = [str(result.row) for result in results]
    lines = [[makes[name].title, *(time_cell(each, name, ours, others) for each in results)] for name in found.names]
    print_table([f"µs a step (test accuracy), medians of {found.args.size.rounds} rounds", *head], lines)
    ratios = {
        f"xpnet on {mine} / its plain loop (target 0.2 in r1 to r4)": (
            [f"{mine} xpnet"],
            [f"{mine} xpnet, plain loop"],
        ),
        f"xpnet on {mine} / fastest of the frameworks (target 1.0)": ([f"{mine} xpnet"], others),
        "best xpnet / fastest of the frameworks": (ours, others),
        "xpnet on torch / PyTorch, eager": (["torch xpnet"], ["torch autograd"]),
        "xpnet on jax / JAX, jit(lax.scan)": (["jax xpnet"], ["jax by hand"]),
    }
    lines = [[what, *(ratio_cell(each, *pair) for each in results)] for what, pair in ratios.items()]
    print_table(["ratio of times (quartiles)", *head], lines)
    rate = max(found.rates.values(), default=0.0)
    lines = [[makes[name].title, *(share_cell(each, name, rate) for each in results)] for name in found.names]
    said = ", ".join(f"{name} {each / 1e12:.3g}" for name, each in found.rates.items())
    if rate:
        print_table(["fraction of the peak rate (target 80 % in r7)", *head], lines)
        print(f"\nPeak rates in TFLOP/s: {said}; from float32 products with {SIDES[found.args.device]} rows.")


def time_cell(result, name, ours, others):
    best = result.best([name])
    if best is None:
        return "failed" if result.failed else ABSENT
    if result.wrong:
        return "void"
    return f"{time_of(result, best, ours, others)} ({best.share:.2%})"


def share_cell(result, name, rate):
    best = result.best([name])
    if best is None or result.wrong:
        return ABSENT
    return f"{operations(result.row.sizes, result.row.batch_size) * result.steps / best.median / rate:.1%}"


def crossover_report(found):
    """Print a table of ratios, with a row per minibatch size and a column per width."""
    widths, sizes = (list(dict.fromkeys(each)) for each in zip(*found.comparisons))
    cells = {each: crossover_cell(compared, found.args.device) for each, compared in found.comparisons.items()}
    lines = [[str(m), *(cells[width, m] for width in widths)] for m in sizes]
    device = "GPU" if found.args.device == "cuda" else "others"
    print_table([f"{device} / CPU, by minibatch size", *(f"784-{width}-10" for width in widths)], lines)
    print(f"\nBold: {device} faster. In brackets: µs per step of the fastest backend on each side.")


def crossover_cell(compared, device):
    there = [row for row in compared.rows if beside(row, device)]
    here = [row for row in compared.rows if not beside(row, device)]
    if not there or not here:
        return ABSENT
    one, other = there[0], here[0]
    ratio = one["seconds"] / other["seconds"]
    times = ", ".join(f"{row['backend']} {1e6 * row['seconds']:.0f}" for row in (one, other))
    return f"{f'**{ratio:.2f}**' if ratio < 1 else f'{ratio:.2f}'} ({times})"


def beside(row: dict[str, Any], device):
    """Whether a row belongs to the GPU; in a dry run, to a library other than NumPy."""
    return not row["device"].startswith("cpu") if device == "cuda" else row["backend"] != "numpy"


def mnist_report(found):
    """Print a table with a row per library."""
    target, lines = found.args.size.target, []
    for name, (until, history) in found.trainings.items():
        seconds = history["seconds"][1:] or history["seconds"]
        reached = ABSENT if until.reached is None else f"{until.reached:.2f} s"
        accuracy = history["validation_accuracy"][-1]
        lines.append(
            [f"xpnet on {name}", f"{np.median(seconds):.3f}", reached, str(len(history.rows)), f"{accuracy:.2%}"]
        )
    head = ["784-512-10, batch 128, Adam", "s per epoch", f"total time to {target:.0%}", "epochs", "accuracy"]
    print_table(head, lines)


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=SIDES, default="cuda", help="cpu is a dry run (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="measurements to make (all)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="networks for the step times (all)")
    parser.add_argument("--rounds", type=int, help=f"timed epochs per contender ({FULL.rounds})")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="prefixes of contenders to leave out")
    parser.add_argument("--quick", action="store_true", help="small and short, to test the script")
    args = parser.parse_args()
    size = QUICK if args.quick else FULL
    args.size = size._replace(rows=tuple(args.rows or size.rows), rounds=args.rounds or size.rounds)
    return args


def main():
    args = options()
    os.environ.update(EXACT)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or each JAX process reserves most of the memory
    names = [name for name in contenders(args.device) if not name.startswith(tuple(args.without))]
    names, reasons = usable(names, args.device)
    if not names:
        sys.exit("\n".join(["No backend can be used:", *reasons.values()]))
    where, (x, labels), test = load()
    found = Found(args, names, head_of(args, names, reasons, where))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        ending.callback(report, found)  # also after an interrupted run
        save(folder, x, labels)
        if "steps" in args.parts:
            step_times(found, args.size, x, labels, test, Path(folder))
        if "crossover" in args.parts:
            crossover(found, args.size)
        if "mnist" in args.parts:
            mnist_times(found, args.size, (x, labels), test)
    return int(bool(found.wrong))


if __name__ == "__main__":
    sys.exit(main())
