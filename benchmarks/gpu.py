"""Time training on an NVIDIA GPU beside PyTorch and JAX.

Prints each result as it is found, and appends it to a file. README.md in this folder describes the parts. Exits with
status 1 if a contender fails, or results differ.

With `--device host` it is a rehearsal without a GPU: the real CuPy runs over host memory, PyTorch and JAX on the CPU,
and the times mean nothing.
"""

import argparse
import functools
import importlib
import os
import sys
import time
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from contenders import ROWS, TorchCompiled, TorchGraph, TorchTraining, jax_by_hand, xpnet
from harness import ALL, Report, machine
from peers import accuracy, load, measure, set_up

TESTS = str(Path(__file__).parents[1] / "tests")
PATIENCE = 300  # seconds; a process that takes longer to answer is ended
WARM_UP = 2  # PyTorch's compiler records a graph the second time it sees a shape
MOST_EXAMPLES = 20_480  # per epoch, so that every row takes seconds on a GPU
ENVIRONMENT = {
    "NVIDIA_TF32_OVERRIDE": "0",  # full float32 in all libraries
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0",
    "CUPY_TF32": "0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # or each JAX process reserves most of the memory
}
REHEARSAL = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads that wait for one another take much longer
HEAD = ("network", "contender", "µs a step (quartiles)", "ratio to xpnet on CuPy", "set-up, s", "accuracy", "engine")

CONTENDERS = {  # title -> library, and function that makes the contender
    "xpnet on cupy": ("cupy", partial(xpnet, "cupy")),
    "xpnet on cupy, plain loop": ("cupy", partial(xpnet, "cupy", plain=True)),
    "xpnet on torch": ("torch", partial(xpnet, "torch")),
    "xpnet on jax": ("jax", partial(xpnet, "jax")),
    "torch eager": ("torch", TorchTraining.contender),
    "torch graph": ("torch", TorchGraph.contender),
    "torch compile": ("torch", TorchCompiled.contender),
    "jax scan": ("jax", jax_by_hand),
}

_pretending = ExitStack()  # as long as the process lives


def load_host_cupy():
    """Import the module that lets CuPy run over host memory; that alone changes nothing."""
    if TESTS not in sys.path:
        sys.path.append(TESTS)
    return importlib.import_module("host_cupy")


@functools.cache
def pretend():
    """Let CuPy take the host's memory for a GPU in this process; once, before CuPy is imported."""
    _pretending.enter_context(load_host_cupy().install().devices(1))


def make_there(where, library, make, row, x, labels):
    """Make a contender in its own process, on the GPU or in a rehearsal.

    In a rehearsal, PyTorch and JAX use the CPU.
    """
    if where == "host":
        pretend()
    return make(row, x, labels, device="cpu" if where == "host" and library != "cupy" else "cuda")


def steps(report, options, digits):
    """Time a step of each network with xpnet on each library, and with PyTorch and JAX as people use them."""
    libraries = [name for name in ("cupy", "torch", "jax") if find_spec(name)]
    chosen = {
        title: (library, partial(make_there, options.device, library, make))
        for title, (library, make) in CONTENDERS.items()
        if library in libraries and not title.startswith(tuple(options.without))
    }
    for name in options.rows:
        time_row(report, options, digits, name, chosen)


def time_row(report, options, digits, name, contenders):
    """Time a network with contenders, and write a table; the first is the one to compare with."""
    most = 600 if options.quick else MOST_EXAMPLES
    row = ROWS[name]._replace(examples=min(most, ROWS[name].examples))
    rounds, waiting = 2 if options.quick else options.rounds, {"warm_up": WARM_UP, "patience": PATIENCE}
    turns, problems = measure(row, contenders, digits, rounds, [ALL], **waiting, tell=report.line)
    report.problems += problems
    for (title, _), epochs in turns.outcomes.items():
        if contenders[title][0] == "cupy" and "plain" not in title and not epochs[-1].engine.startswith("CUDA graph"):
            report.problems.append(f"{row}: {title} ran no graph")

    def describe(key):
        cells = f"{set_up(turns, key):.2f}", f"{accuracy(row, turns, key, digits):.2%}"
        return *cells, turns.outcomes[key][-1].engine

    first = turns.best([next(iter(contenders))])
    report.head(*HEAD)
    report.rows(row, turns, {title: title for title in contenders}, lambda _: first, describe, 1e6 / row.steps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="networks (all)")
    parser.add_argument("--rounds", type=int, default=7, help="timed epochs per contender (%(default)s)")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="NAME", help="beginnings of contenders to leave out"
    )
    parser.add_argument("--file", default="gpu.txt", help="results are appended to it (%(default)s)")
    parser.add_argument("--device", choices=("cuda", "host"), default="cuda", help="host is a rehearsal (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small and short, to test the script")
    options = parser.parse_args()
    options.rows = options.rows or (["r1"] if options.quick else list(ROWS))
    options.without = options.without or ["\0"]  # no name begins so
    os.environ.update(ENVIRONMENT | (REHEARSAL if options.device == "host" else {}))
    report, started = Report(options.file), time.perf_counter()
    report.line(f"\n{time.strftime('%Y-%m-%d %H:%M')} {' '.join(sys.argv)}")
    report.line(f"{machine(*filter(find_spec, ('cupy', 'torch', 'jax')))}.")
    if options.device == "host":
        if reason := load_host_cupy().why_not():
            sys.exit(f"CuPy cannot run on host memory: {reason}")
        report.line("A REHEARSAL without a GPU, with CuPy on host memory: all times in it mean nothing.")
    digits = load()
    steps(report, options, digits)
    report.line(f"\n{len(report.problems)} problems, in {time.perf_counter() - started:.0f} s")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
