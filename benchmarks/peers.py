"""Compare xpnet's training with loops written by hand on NumPy, JAX and PyTorch, and with other libraries.

Prints three tables: microseconds per step, ratios of times, and milliseconds of set-up. README.md in this folder
describes the method; contenders.py contains the networks and the contenders. Exits with status 1 if a contender fails
or its results differ from the others' (the results for that network are then void), or if `--check` finds xpnet too
slow. `--into` writes the tables into pages, if nothing failed.
"""

import argparse
import os
import sys
import tempfile
import textwrap
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from contenders import CONTENDERS, KINDS, SEED, SOFTMAX_LR, start
from machine import machine
from pages import format_table, replace_tables
from turns import ABSENT, launch, leave_out_empty, library, load, measure, ratio_cell, save, spread, time_of

from xpnet import SGD, Network

SKLEARN_POINTS = 0.02  # it shuffles in its own order, and is compared with an xpnet network with the same output

OURS = [name for name in CONTENDERS if " xpnet" in name]
OTHERS = [name for name in CONTENDERS if name not in OURS]
CHECKED = (["numpy xpnet, rows"], ["numpy by hand"])
RATIOS = {
    "xpnet on numpy / NumPy by hand": CHECKED,
    "xpnet on jax / JAX by hand": (["jax xpnet, rows"], ["jax by hand"]),
    "xpnet on torch / PyTorch by hand": (["torch xpnet, rows"], ["torch by hand"]),
    "best xpnet / PyTorch, autograd": (OURS, ["torch autograd"]),
    "best xpnet / scikit-learn": (OURS, ["sklearn"]),
    "best xpnet / best of all others": (OURS, OTHERS),
    "xpnet on numpy, uint8 and labels / NumPy by hand": (["numpy xpnet, uint8"], ["numpy by hand"]),
    "xpnet on jax, uint8 and labels / JAX by hand": (["jax xpnet, uint8"], ["jax by hand"]),
}
SHORT = {  # heading in the short table -> ratio
    "NumPy by hand": "xpnet on numpy / NumPy by hand",
    "JAX by hand": "xpnet on jax / JAX by hand",
    "PyTorch by hand": "xpnet on torch / PyTorch by hand",
    "PyTorch, autograd": "best xpnet / PyTorch, autograd",
    "scikit-learn": "best xpnet / scikit-learn",
}


def thread_counts(name, asked):
    """Thread settings to time for a contender, out of the requested ones; True means one thread."""
    possible = library(name) != "jax" or hasattr(os, "sched_setaffinity")
    if possible and (asked == "one" or not CONTENDERS[name].all_threads):
        return [True]
    return [True, False] if possible else [False]


def softmax_share(row, x, labels, test):
    """Test accuracy of scikit-learn's network after one epoch of training with xpnet."""
    net = Network(row.sizes, activation="relu" if row.relu else "sigmoid", task="classification", seed=SEED)
    net.layers = start(row).layers
    net.train(
        (x[: row.examples], labels[: row.examples]),
        epochs=1,
        batch_size=row.batch_size,
        lr=row.lr if row.relu else SOFTMAX_LR,
        optimizer=SGD(momentum=row.momentum),
        progress=False,
    )
    return net.accuracy(test)


def judged(result, expected):
    """Compare the test accuracies; leave out scikit-learn if its accuracy is far from the expected one."""
    result.wrong.extend(spread(worker for worker in result.workers if library(worker.name) != "sklearn"))
    odd = [w for w in result.workers if library(w.name) == "sklearn" and abs(w.share - expected) > SKLEARN_POINTS]
    for worker in odd:
        print(f"{result.row}: {worker} is left out, at {worker.share:.2%}, not near {expected:.2%}", file=sys.stderr)
    return result._replace(workers=[worker for worker in result.workers if worker not in odd])


# The report


def report(results, args, where):
    """Make three tables with a column per network, and a short one of ratios; {name: text}.

    The best of xpnet and the best of the others are bold.
    """
    used = dict.fromkeys(library(worker.name) for result in results for worker in result.workers)
    others = [each for each in used if each != "numpy"]
    how = f"--kind {args.kind} --threads {args.threads}, medians of {args.rounds} rounds"
    described = textwrap.fill(f"{machine(*others)}; {where}; {how}.", 120, break_on_hyphens=False)
    head = [str(result.row) for result in results]
    lines = [[CONTENDERS[name].title, *(time_cell(result, name) for result in results)] for name in args.names]
    times = format_table(["µs a step (threads, test accuracy)", *head], leave_out_empty(lines))
    lines = [[what, *(ratio_cell(result, *pair) for result in results)] for what, pair in RATIOS.items()]
    ratios = format_table(["ratio of times (quartiles)", *head], leave_out_empty(lines))
    lines = [[CONTENDERS[name].title, *(setup_cell(result, name) for result in results)] for name in args.names]
    setups = format_table(["ms of set-up, once per training", *head], leave_out_empty(lines))
    name = args.kind + (", one thread" if args.threads == "one" else "")
    return {
        name: f"{described}\n\n{times}\n\n{ratios}\n\n{setups}",
        f"{name}, short": f"{shorten(results)}\n\n{described}",
    }


def shorten(results):
    """Make a table of how many times as long others take, with a row per network, for a page of Sphinx."""
    rows = [[str(result.row), *(times_cell(result, *RATIOS[name]) for name in SHORT.values())] for result in results]
    table = format_table(["network", *SHORT], rows, right=range(1, 1 + len(SHORT)))
    return f"```{{table}}\n:class: ratios\n\n{table}\n```"  # style.css: no line ends within a network


def times_cell(result, names, others):
    """Format how many times as long the others take: the inverse of the ratio in the long table."""
    quartiles = result.ratio(others, names)
    if quartiles is None:
        return ABSENT
    return "void" if result.wrong else format_times(quartiles[1])


def format_times(number):
    """Format a multiple with two digits, or three near 1."""
    return f"{number:.2f}×" if number < 1.95 else f"{number:.1f}×" if number < 9.95 else f"{number:.0f}×"


def print_report(results, args, where):
    """Print what there is; nothing before the first network has been measured."""
    if results:
        print(next(iter(report(results, args, where).values())))


def time_cell(result, name):
    best = result.best([name])
    if best is None:
        return ABSENT
    if result.wrong:
        return "void"
    return f"{time_of(result, best, OURS, OTHERS)} ({best.threads}, {best.share:.2%})"


def setup_cell(result, name):
    best = result.best([name])
    return ABSENT if best is None else f"{1e3 * best.setup:.0f}"


def taking_part(row, names):
    return [n for n in names if library(n) not in row.without and (CONTENDERS[n].momentum or not row.momentum)]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, default="book", help="plain SGD, or momentum (%(default)s)")
    parser.add_argument("--rows", nargs="+", choices=KINDS["book"], default=list(KINDS["book"]), help="networks (all)")
    parser.add_argument("--rounds", type=int, default=15, help="timed epochs per contender (%(default)s)")
    parser.add_argument("--threads", choices=["one", "better"], default="better", help="per contender (%(default)s)")
    parser.add_argument("--examples", type=int, help="examples per epoch (60,000; 25,600 in r5 and 12,800 in r6)")
    parser.add_argument(
        "--contenders", nargs="+", metavar="NAME", default=[""], help=f"prefixes of: {'; '.join(CONTENDERS)} (all)"
    )
    parser.add_argument(
        "--check", type=float, metavar="BOUND", help="fail if xpnet on numpy / NumPy by hand exceeds it for any network"
    )
    parser.add_argument(
        "--into", type=Path, nargs="+", default=[], metavar="PAGE", help="replace the tables of pages, if nothing fails"
    )
    args = parser.parse_args()
    args.names = [name for name in CONTENDERS if name.startswith(tuple(args.contenders))]
    for beginning in args.contenders:
        if not any(name.startswith(beginning) for name in CONTENDERS):
            parser.error(f"no contender begins with {beginning!r}")
    missing = {library(name) for name in args.names if not find_spec(library(name))}
    if missing:
        print(f"left out, as not installed: {', '.join(sorted(missing))}", file=sys.stderr)
    args.names = [name for name in args.names if library(name) not in missing]
    if args.check and not {name for part in CHECKED for name in part} <= set(args.names):
        parser.error(f"--check needs the contenders {' and '.join(name for part in CHECKED for name in part)}")
    return args


def main():
    args = options()
    where, (x, labels), test = load()
    results, failed = [], False
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        ending.callback(print_report, results, args, where)  # also after an interrupted run
        save(folder, x, labels)
        for row in (KINDS[args.kind][each] for each in args.rows):
            row = row._replace(examples=min(args.examples or row.examples, len(x)))
            names = taking_part(row, args.names)
            workers = [
                launch(name, CONTENDERS[name], row, Path(folder), one)
                for name in names
                for one in thread_counts(name, args.threads)
            ]
            result = measure(row, workers, args.rounds, test)
            expected = softmax_share(row, x, labels, test) if "sklearn" in names else None
            result = judged(result, expected)
            results.append(result)
            for each in result.wrong + result.failed:
                failed = True
                print(f"{row}: {each}", file=sys.stderr)
            quartiles = result.ratio(*CHECKED)
            if args.check and quartiles is not None and quartiles[1] > args.check:
                failed = True
                print(
                    f"{row}: xpnet on numpy is {quartiles[1]:.3f} of NumPy by hand, above {args.check}", file=sys.stderr
                )
    for page in [] if failed else args.into:
        replace_tables(page, "peers.py", report(results, args, where))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
