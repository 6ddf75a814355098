"""Time of a training step by minibatch size, width and depth, compared with the time of its operations alone.

Writes figures.json and three plots into a folder, and prints the fraction of its own library's peak rate that each
backend reaches; README.md in this folder describes the method.
"""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import PRODUCTS, best_rate, machine, operations
from pages import replace_tables

from xpnet import Network, get_backend
from xpnet.cli.bench import list_libraries, time_step

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter
except ImportError as error:
    sys.exit(f"The plots need matplotlib ({error}); install it with: pip install -e '.[plots]'")


class Axis(NamedTuple):
    """The horizontal axis of a plot, and the networks along it."""

    label: str
    network: str
    values: tuple[int, ...]
    few: tuple[int, ...]  # for --quick
    shape: Callable[[int], tuple[list[int], int]]  # value -> (sizes, batch size)


def powers_of_two(first, last):
    return tuple(2**k for k in range(first.bit_length() - 1, last.bit_length()))


AXES = {
    "batch": Axis(
        *("examples in a minibatch", "784-256-10"),
        *(powers_of_two(1, 8192), (1, 32, 1024)),
        lambda m: ([784, 256, 10], m),
    ),
    "width": Axis(
        *("hidden units", "784-units-10, minibatches of 512"),
        *(powers_of_two(16, 4096), (16, 128, 512)),
        lambda width: ([784, width, 10], 512),
    ),
    "depth": Axis(
        *("hidden layers", "784-256-…-256-10, minibatches of 128"),
        *(powers_of_two(1, 16), (1, 4)),
        lambda depth: ([784, *depth * [256], 10], 128),
    ),
}
LINES = {"numpy": ("#0072B2", "o"), "jax": ("#D55E00", "s"), "torch": ("#009E73", "^")}  # color, marker


# Measuring


def measure(axes, backends, quick, seconds, repeats):
    """Time every point on every backend, measure the rates before each axis, and return the contents of the file."""
    rates, points = dict.fromkeys(backends, 0.0), []
    sides = (1024, 2048) if quick else (1024, 2048, 4096)
    for name in axes:
        rates = {backend: max(rate, best_rate(get_backend(backend, "cpu"), sides)) for backend, rate in rates.items()}
        for value in AXES[name].few if quick else AXES[name].values:
            for backend in backends:
                points.append(point(name, value, backend, seconds, repeats))
                print(f"{name} {value}, {backend}: {1e6 * points[-1]['seconds']:,.1f} µs a step", file=sys.stderr)
    how = f"best of {len(axes) * len(sides) * PRODUCTS} products of two square float32 matrices"
    return {
        "machine": f"{machine(*(each for each in backends if each != 'numpy'))}; BLAS threads: {threads()}",
        "rates": rates,
        "how": f"{how}, with {', '.join(map(str, sides))} rows",
        "repeats": repeats,
        "points": points,
    }


def threads():
    return os.environ.get("OPENBLAS_NUM_THREADS", "all")


def point(axis, value, backend, seconds, repeats):
    """Time a step of one network on one backend; return median and quartiles."""
    sizes, m = AXES[axis].shape(value)
    net = Network(sizes, activation="relu", task="classification", backend=backend, device="cpu", seed=0)
    each, steps = time_step(net, m, seconds=seconds, repeats=repeats)
    low, middle, high = (float(part) for part in np.quantile(each, [0.25, 0.5, 0.75]))
    return {
        **{"axis": axis, "value": value, "sizes": sizes, "batch_size": m, "backend": backend},
        **{"seconds": middle, "low": low, "high": high, "steps": steps, "operations": operations(sizes, m)},
    }


# The report


def lines(found, axis):
    """Group the points of an axis by backend: {backend: [point]}."""
    points = [each for each in found["points"] if each["axis"] == axis]
    backends = dict.fromkeys(each["backend"] for each in points)
    return {backend: [each for each in points if each["backend"] == backend] for backend in backends}


def draw(found, axis):
    """Plot the times along an axis, log-log, with the time of the operations alone."""
    figure = Figure(figsize=(7.5, 5.4), layout="constrained")
    plot = figure.subplots()
    by_backend = lines(found, axis)
    for backend, points in by_backend.items():
        color, marker = LINES[backend]
        values, times, low, high = ([each[key] for each in points] for key in ("value", "seconds", "low", "high"))
        plot.fill_between(values, low, high, color=color, alpha=0.2, linewidth=0)
        plot.plot(values, times, color=color, marker=marker, markersize=5, label=backend)
    values = [each["value"] for each in points]
    best = max(found["rates"], key=found["rates"].get)
    alone = [each["operations"] / found["rates"][best] for each in points]
    label = f"operations alone, at {found['rates'][best] / 1e9:.0f} GFLOP/s ({best})"
    plot.plot(values, alone, color="0.25", linestyle="--", linewidth=1.2, label=label)
    dress(plot, axis, values)
    figure.legend(loc="outside upper center", ncols=len(by_backend) + 1, frameon=False, fontsize=9)
    note = f"{found['machine']}. Median of {found['repeats']} repetitions; band: quartiles. Rate: {found['how']}."
    figure.supxlabel("\n".join(textwrap.wrap(note, 125)), fontsize=7, color="0.35")
    return figure


def dress(plot, axis, values):
    """Set scales, labels and grid."""
    plot.set_xscale("log", base=2)
    plot.set_yscale("log")
    plot.set_xticks(values, labels=map(str, values))
    plot.yaxis.set_major_formatter(EngFormatter(unit="s"))
    low, high = plot.get_ylim()
    if high < 100 * low:  # few powers of ten: label the minor ticks too
        plot.yaxis.set_minor_formatter(EngFormatter(unit="s"))
    plot.grid(which="major", color="0.85", linewidth=0.8)
    plot.grid(which="minor", axis="y", color="0.93", linewidth=0.5)
    plot.set_axisbelow(True)
    plot.spines[["top", "right"]].set_visible(False)
    plot.set_xlabel(AXES[axis].label)
    plot.set_ylabel("time of a training step")
    plot.set_title(f"xpnet: {AXES[axis].network}; ReLU and softmax, float32", fontsize=11)


def shares(found, axis="width"):
    """Markdown table of the fraction of its own library's peak rate that each backend reaches."""
    by_backend = lines(found, axis)
    rows = [f"| {AXES[axis].label} | GFLOP a step | {' | '.join(by_backend)} |", "| --- " * (2 + len(by_backend)) + "|"]
    for points in zip(*by_backend.values()):
        cells = [f"{each['operations'] / each['seconds'] / found['rates'][each['backend']]:.0%}" for each in points]
        rows.append(f"| {points[0]['value']} | {points[0]['operations'] / 1e9:.3g} | {' | '.join(cells)} |")
    return "\n".join(rows)


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("scaling"), help="folder to write to (%(default)s)")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="axes to measure (all)")
    parser.add_argument("--backend", nargs="+", choices=LINES, default=list(LINES), help="(all that are installed)")
    parser.add_argument("--seconds", type=float, default=0.1, help="target duration of a repetition (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions per point (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few points, short repetitions")
    parser.add_argument("--redraw", action="store_true", help="measure nothing; plot figures.json of the folder")
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="PAGE", help="replace the tables of pages")
    return parser.parse_args()


def run(args):
    """Measure as the options say."""
    found = list(list_libraries(args.backend))
    for library in found:
        print(library, file=sys.stderr)
    usable = [library.name for library in found if library.devices]
    seconds, repeats = (0.02, 3) if args.quick else (args.seconds, args.repeats)
    return measure(args.axes, usable, args.quick, seconds, repeats)


def main():
    args = options()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = args.folder / "figures.json"
    found = json.loads(path.read_text()) if args.redraw else run(args)
    path.write_text(json.dumps(found, indent=1) + "\n")
    axes = dict.fromkeys(each["axis"] for each in found["points"])
    for axis in axes:
        draw(found, axis).savefig(args.folder / f"{axis}.png", dpi=150)
    rates = ", ".join(f"{backend} {rate / 1e9:.0f}" for backend, rate in found["rates"].items())
    where = f"{found['machine']}\nPeak rates in GFLOP/s: {rates}; {found['how']}."
    axes = ("width",) if "width" in axes else axes
    tables = {
        axis: f"{where}\n\nFraction of its own library's peak rate, {AXES[axis].network}:\n\n{shares(found, axis)}"
        for axis in axes
    }
    print(*tables.values(), sep="\n\n")
    for page in args.into:
        replace_tables(page, "scaling.py", tables)


if __name__ == "__main__":
    main()
