"""Time whole jobs, from the start of a process to its end, with xpnet, scikit-learn, PyTorch, skorch and Keras.

    python workloads.py
    python workloads.py --jobs mnist search --file workloads.jsonl
    python workloads.py --job mnist --contender torch

The folder jobs holds what is timed, and README.md in this folder describes the method. Prints a table with all
contenders, and a short one. Exits with status 1 if a contender fails, misses an accuracy that all must reach, or has
another accuracy than xpnet. It never fails because of a time.
"""

import argparse
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import machine
from pages import format_table, replace_tables
from turns import ABSENT, ONE_THREAD, PAUSE

FAR = 8.0  # a contender that takes more than this many times as long as xpnet is timed in the first round only
PATIENCE = 900  # seconds until a process is ended
DISTURBED = 0.2  # of a core that other programs use; a warning says so


class Goal(NamedTuple):
    """A figure of the results that must be as good with all contenders."""

    name: str
    form: str  # how to print it
    least: float  # it must be at least this
    apart: float  # the largest difference from xpnet
    most: float = np.inf  # it must be at most this

    def show(self, result):
        """Format the figure."""
        return self.form.format(result[self.name])


class Size(NamedTuple):
    """Settings of a job, which its contenders get as arguments, and what its results must fulfil."""

    settings: dict[str, Any]
    goals: list[Goal]


class Job(NamedTuple):
    """A job: the module in the folder jobs, its usual size, and a small one."""

    title: str
    module: str
    full: Size
    quick: Size | None  # None: it is left out
    mnist: bool = False  # needs full MNIST; without it, the small job takes its place


class Contender(NamedTuple):
    """A library, and how its processes are started."""

    title: str
    modules: tuple[str, ...]  # must be installed
    threads: bool = False  # is timed with all threads and with one
    quick: bool = True  # takes part in the small jobs of --quick


GRID = {
    "hidden_layer_sizes": [[50], [100]],
    "activation": ["relu", "tanh"],
    "alpha": [1e-4, 1e-2, 1.0],
    "learning_rate_init": [1e-3, 1e-2],
}
SEARCH = {"grid": GRID, "epochs": 200}
SMALL_SEARCH = {
    "grid": {name: values[-1:] if name != "alpha" else values[:2] for name, values in GRID.items()},
    "epochs": 10,
    "batch_size": "auto",
    "dtype": "float64",
}
SEARCH_GOALS = [Goal("best_score", "{:.1%}", 0.92, 0.01), Goal("mean_score", "mean {:.1%}", 0.9, 0.01)]
SMALL_SEARCH_GOALS = [Goal("best_score", "{:.1%}", 0.85, 0.02), Goal("mean_score", "mean {:.1%}", 0.85, 0.02)]

JOBS = {
    "mnist": Job(
        "train on MNIST to 97.5 %",
        "mnist",
        Size({"epochs": 6}, [Goal("accuracy", "{:.2%}", 0.975, 0.005)]),
        Size({"epochs": 5}, [Goal("accuracy", "{:.2%}", 0.88, 0.03)]),
        mnist=True,
    ),
    "search": Job(
        "search 24 settings × 5 folds, batches of 200, float64",
        "search",
        Size(SEARCH | {"batch_size": "auto", "dtype": "float64"}, SEARCH_GOALS),
        Size(SMALL_SEARCH, SMALL_SEARCH_GOALS),
    ),
    "search-32": Job(
        "search 24 settings × 5 folds, batches of 32, float32",
        "search",
        Size(SEARCH | {"batch_size": 32, "dtype": "float32"}, SEARCH_GOALS),
        None,
    ),
    "error-bars": Job(
        "train 16 networks for error bars, with early stopping",
        "error_bars",
        Size(
            {"members": 16, "epochs": 300},
            [Goal("r2", "R² {:.3f}", 0.93, 0.01), Goal("nll", "NLL {:.3f}", -np.inf, 0.06)],
        ),
        Size(
            {"members": 4, "epochs": 10}, [Goal("r2", "R² {:.3f}", 0.5, 0.2), Goal("nll", "NLL {:.3f}", -np.inf, 2.0)]
        ),
    ),
    "million-rows": Job(
        "train on a million rows for one epoch",
        "million_rows",
        Size({}, [Goal("accuracy", "{:.2%}", 0.96, 0.01)]),
        Size({}, [Goal("accuracy", "{:.2%}", 0.7, 0.05)]),
    ),
    "surrogate": Job(
        "learn 8 inputs, and 100,000 Jacobians",
        "surrogate",
        Size({"epochs": 200}, [Goal("error", "error {:.1%}", 0.0, 0.01, most=0.03)]),
        Size({"epochs": 40}, [Goal("error", "error {:.1%}", 0.0, 0.1, most=0.3)]),
    ),
    "single-rows": Job(
        "load a network, and predict 10,000 times one row",
        "single_rows",
        Size({}, [Goal("accuracy", "{:.2%}", 0.96, 0.0002)]),
        Size({}, [Goal("accuracy", "{:.2%}", 0.8, 0.002)]),
        mnist=True,
    ),
}

SHORT = ("xpnet-numpy", "xpnet-jax", "sklearn", "torch", "skorch", "keras")  # in the short table
FIRST = ("xpnet-numpy", "sklearn", "torch")  # in that of the first page

CONTENDERS = {
    "xpnet-numpy": Contender("xpnet, NumPy", (), threads=True),
    "xpnet-jax": Contender("xpnet, JAX", ("jax",)),
    "xpnet-estimator": Contender("xpnet's MLPClassifier", ("sklearn",), threads=True),
    "xpnet-gridsearch": Contender("GridSearchCV of xpnet's MLPClassifier", ("sklearn",), quick=False),
    "xpnet-ensemble": Contender("xpnet.Ensemble, NumPy", ()),
    "xpnet-ensemble-jax": Contender("xpnet.Ensemble, JAX", ("jax",), quick=False),
    "sklearn": Contender("scikit-learn", ("sklearn",), threads=True),
    "torch": Contender("PyTorch", ("torch",), threads=True),
    "skorch": Contender("skorch", ("torch", "skorch"), threads=True, quick=False),
    "keras": Contender("Keras on JAX", ("jax", "keras")),
}


class Measurement(NamedTuple):
    """A process that has done a job, and its result."""

    contender: str
    one: bool  # with one thread
    seconds: float
    cpu: float  # seconds of all its processes and threads
    others: float  # seconds that other programs used meanwhile; NaN if that is not known
    result: dict[str, Any]

    @property
    def way(self):
        """The contender and its number of threads."""
        return self.contender, self.one


class Row(NamedTuple):
    """Figures of a contender: medians over the rounds, and the ratios to xpnet of each round."""

    way: tuple[str, bool]
    seconds: float
    cpu: float
    ratios: list[float]
    result: dict[str, Any]


# One job


def choose_size(job, quick):
    """Choose the usual size of a job, or the small one."""
    return job.quick if quick or (job.mnist and not os.environ.get("XPNET_DATA")) else job.full


def load_module(job):
    return importlib.import_module(f"jobs.{job.module}")


def find_missing(job, contender):
    """List the modules and classes that a contender needs and that are not there."""
    missing = [name for name in CONTENDERS[contender].modules if not find_spec(name)]
    needed = load_module(job).NEEDS.get(contender)
    if not missing and needed and not hasattr(importlib.import_module("xpnet.estimators"), needed):
        missing.append(f"xpnet.estimators.{needed}")
    return missing


def list_ways(job, contenders, quick):
    """List the contenders of a job, with all threads and with one where both are timed; with one if it is quick."""
    module = load_module(job)
    ways = []
    for name in module.CONTENDERS:
        if name in contenders and (CONTENDERS[name].quick or not quick) and not find_missing(job, name):
            both = CONTENDERS[name].threads and name not in module.PROCESSES
            if not (both and quick):
                ways.append((name, False))
            if both:
                ways.append((name, True))
    return ways


def run(job, size, way, folder, shares=False):
    """Run a job in a process of its own; raise RuntimeError with the reason if it fails.

    `shares` says whether another process runs at the same time, so that one thread is better than several.
    """
    contender, one = way
    script = str(Path(__file__).with_name("run_job.py"))
    command = [sys.executable, script, job.module, contender, str(folder), json.dumps(size.settings)]
    environment = {**os.environ, **(ONE_THREAD if one or shares else {})}
    options = {"capture_output": True, "text": True, "timeout": PATIENCE, "check": False, "env": environment}
    before, busy, started = os.times(), read_busy(), time.perf_counter()
    try:
        done = subprocess.run(command, **options)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it did not end within {PATIENCE} s") from None
    seconds, busy, after = time.perf_counter() - started, read_busy() - busy, os.times()
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"its process ended with {done.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measurement(contender, one, seconds, cpu, max(0.0, busy - cpu), json.loads(done.stdout))


def read_busy():
    """Read how many seconds all cores together have been busy, with any program; NaN where Linux's /proc is missing."""
    path = Path("/proc/stat")
    if not path.exists():
        return np.nan
    user, nice, system, _, _, *interrupts = map(int, path.read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def measure(name, job, size, options, record):
    """Time all contenders in turn until there are enough rounds, and add each round to the record."""
    ways, rounds = list_ways(job, options.contenders, options.quick), record.rounds(name)
    if len(rounds) >= options.rounds:
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2 if options.quick else 1) as pool:
        load_module(job).prepare(folder, full=size is job.full)
        while len(rounds) < options.rounds:
            todo, failures = choose(ways, rounds), []

            def attempt(way, failures=failures):
                time.sleep(PAUSE)
                try:
                    return run(job, size, way, folder, shares=options.quick)
                except RuntimeError as error:
                    failures.append(f"{job.title}: {describe(way)} failed: {error}")

            measured = list(filter(None, pool.map(attempt, random.sample(todo, len(todo)))))
            record.add(name, size is job.full, measured, failures)
            if not options.quick:
                warn_of_others(name, measured)
            rounds = record.rounds(name)


def warn_of_others(name, measured):
    """Say on standard error which measurements other programs have disturbed."""
    for each in measured:
        share = each.others / each.seconds
        if share > DISTURBED:
            print(f"{name}: other programs used {share:.2f} of a core beside {describe(each.way)}", file=sys.stderr)


def choose(ways, rounds):
    """Choose what to time in the next round.

    After the first round, this leaves out contenders that failed, the slower number of threads of each contender, and
    contenders that are far slower than xpnet.
    """
    if not rounds:
        return ways
    fastest = find_fastest(rounds)
    limit = FAR * fastest[find_first(fastest)].seconds if find_first(fastest) else np.inf
    return [
        way for way in ways if way[0] in fastest and fastest[way[0]].way == way and fastest[way[0]].seconds <= limit
    ]


# Results


def find_first(names):
    """Find the contender with which the others are compared: the first of xpnet's; None if there is none."""
    return next((name for name in CONTENDERS if name in names and name.startswith("xpnet")), None)


def find_fastest(rounds):
    """Find the measurement of each contender with its better number of threads in the first round."""
    fastest = {}
    for each in rounds[0]:
        if each.contender not in fastest or each.seconds < fastest[each.contender].seconds:
            fastest[each.contender] = each
    return fastest


class Record:
    """Rounds that were measured; they are kept in a file if there is one, so that a run that was ended can go on.

    Parameters
    ----------
    path
        The file, or None.
    head
        Machine and options of this run. A file that was begun with others is refused; without `head`, no file is.
    """

    def __init__(self, path, head=None):
        self.path, self.lines = path, []
        if path and path.exists():
            begun, *self.lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
            if head not in (None, begun):
                sys.exit(f"{path} holds another run ({begun}) than this one ({head}); name another file")
            head = begun
        elif path:
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")
        self.head = head

    def add(self, name, full, measured, failures):
        """Add a round of a job."""
        self.lines.append({"job": name, "full": full, "measured": measured, "failures": failures})
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.lines[-1]) + "\n")

    def rounds(self, name):
        """List the rounds of a job."""
        return [[Measurement(*each) for each in line["measured"]] for line in self.lines if line["job"] == name]

    def failures(self, name):
        """List the failures of the contenders in a job."""
        return [failure for line in self.lines if line["job"] == name for failure in line["failures"]]

    def size(self, name):
        """Find the size of a job that was measured."""
        full = next(line["full"] for line in self.lines if line["job"] == name)
        return JOBS[name].full if full else JOBS[name].quick


def summarize(rounds):
    """Summarize the rounds of a job: a row for each contender, with its faster number of threads."""
    fastest = find_fastest(rounds)
    first = fastest.get(find_first(fastest))
    rows = {}
    for name in sorted(fastest, key=list(CONTENDERS).index):
        best = fastest[name]
        own, ratios = [], []
        for measured in rounds:
            seconds = {each.way: each.seconds for each in measured}
            own += [each for each in measured if each.way == best.way]
            if first and best.way in seconds and first.way in seconds:
                ratios.append(seconds[best.way] / seconds[first.way])
        seconds, cpu = (float(np.median([getattr(each, figure) for each in own])) for figure in ("seconds", "cpu"))
        rows[name] = Row(best.way, seconds, cpu, ratios, best.result)
    return rows


def find_problems(title, goals, rounds):
    """List results that are not good enough, or not as good as those of xpnet."""
    results = {each.way: each.result for measured in rounds for each in measured}
    name = find_first([name for name, _ in results])
    first = next((result for way, result in results.items() if way[0] == name), None)
    problems = []
    for goal in goals:
        for way, result in results.items():
            value, text = result[goal.name], f"{title}: {describe(way)} has {goal.show(result)}"
            if not goal.least <= value <= goal.most:
                problems.append(f"{text}, which must be from {goal.least:g} to {goal.most:g}")
            if first and not abs(value - first[goal.name]) <= goal.apart:
                problems.append(f"{text}, but xpnet has {goal.show(first)}")
    return problems


# The report


def describe(way):
    name, one = way
    return CONTENDERS[name].title + (", one thread" if one else "")


def report(record):
    """Make a table with all contenders, a short and a shorter one, each above a line on where it was measured."""
    jobs = [(name, record.rounds(name)) for name in JOBS if record.rounds(name)]
    lines, short, first = [], [], []
    for name, rounds in jobs:
        size, rows = record.size(name), summarize(rounds)
        title = JOBS[name].title + ("" if size is JOBS[name].full else ", small")
        for i, row in enumerate(rows.values()):
            shown = ", ".join(goal.show(row.result) for goal in size.goals)
            times = f"{row.seconds:.1f}", show_ratio(row), f"{row.cpu:.1f}"
            lines.append([title if i == 0 else "", describe(row.way), *times, shown])
        short.append([title, *(show_short(rows, contender) for contender in SHORT)])
        first.append([title, *(show_short(rows, contender) for contender in FIRST)])
    head = ["job", "contender", "seconds", "ratio to xpnet (rounds)", "CPU seconds", "result"]
    where = describe_run(record, [rounds for _, rounds in jobs])
    tables = {
        "all": format_table(head, lines),
        "short": format_table(
            ["job", *(CONTENDERS[name].title for name in SHORT)], short, right=range(1, 1 + len(SHORT))
        ),
        "first page": format_table(
            ["job", "xpnet", *(CONTENDERS[name].title for name in FIRST[1:])], first, right=(1, 2, 3)
        ),
    }
    briefly = f"{record.head['machine'].partition(';')[0]}; python benchmarks/workloads.py."
    return {name: f"{table}\n\n{briefly if name == 'first page' else where}" for name, table in tables.items()}


def describe_run(record, jobs):
    """Describe the machine, the command, and how much other programs disturbed it."""
    everything = [each for rounds in jobs for measured in rounds for each in measured]
    others = sum(each.others for each in everything) / max(1e-9, sum(each.seconds for each in everything))
    quick = " --quick, where two processes run at a time, so that times mean nothing" if record.head["quick"] else ""
    counts = sorted({len(rounds) for rounds in jobs})
    number = f"{' to '.join(map(str, counts[:: max(1, len(counts) - 1)]))} round{'s' * (counts != [1])}"
    text = f"{record.head['machine']}; python benchmarks/workloads.py{quick}; medians of {number}"
    return textwrap.fill(f"{text}; other programs used {others:.2f} of a core.", 120, break_on_hyphens=False)


def show_ratio(row):
    if not row.ratios:
        return ABSENT
    low, middle, high = np.quantile(row.ratios, [0, 0.5, 1])
    return f"**{middle:.2f}** ({low:.2f}–{high:.2f})" if len(row.ratios) > 1 else f"**{middle:.2f}** (one round)"


def show_short(rows, contender):
    """Show the seconds of xpnet, or the ratio of another contender to it."""
    if contender not in rows:
        return ABSENT
    row = rows[contender]
    seconds = f"{row.seconds:.1f}\N{NO-BREAK SPACE}s"
    return seconds if contender.startswith("xpnet") else f"{np.median(row.ratios):.1f}×"


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", "--job", nargs="+", choices=JOBS, default=list(JOBS), help="(all)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="(all)")
    parser.add_argument("--contender", choices=CONTENDERS, help="run each job once with it; print a line of JSON each")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small jobs in one round, to test the script")
    parser.add_argument("--file", type=Path, help="keep the rounds in this file; a run that was ended goes on")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print the tables of such a file, measure nothing"
    )
    parser.add_argument(
        "--into", type=Path, nargs="+", default=[], metavar="PAGE", help="with --markdown: replace the tables of pages"
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    if options.markdown:
        tables = report(Record(options.markdown))
        for page in options.into:
            replace_tables(page, "workloads.py", tables)
        return print(tables["all"], tables["short"], sep="\n\n")
    if options.contender:
        return run_once(options)
    used = [name for name in ("sklearn", "torch", "jax", "skorch", "keras") if find_spec(name)]
    options.rounds = 1 if options.quick else options.rounds
    record = Record(options.file, {"machine": machine(*used), "quick": options.quick})
    problems = []
    for name in options.jobs:
        job = JOBS[name]
        size = choose_size(job, options.quick)
        if size is None:
            continue
        for contender in load_module(job).CONTENDERS:
            if contender in options.contenders and (missing := find_missing(job, contender)):
                print(f"{name}: {contender} is left out, as {' and '.join(missing)} is missing", file=sys.stderr)
        measure(name, job, size, options, record)
        problems += record.failures(name) + find_problems(job.title, size.goals, record.rounds(name))
    tables = report(record)
    print(tables["all"], tables["short"], sep="\n\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def run_once(options):
    """Run jobs once with one contender, and print what was measured, as JSON."""
    for name in options.jobs:
        job = JOBS[name]
        size = choose_size(job, options.quick) or job.full
        with tempfile.TemporaryDirectory() as folder:
            load_module(job).prepare(folder, full=size is job.full)
            done = run(job, size, (options.contender, False), folder)
        print(json.dumps({"job": name, **done._asdict()}))


if __name__ == "__main__":
    sys.exit(main())
