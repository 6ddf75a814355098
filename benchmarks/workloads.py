"""Time whole jobs, from the start of a process to its end, with xpnet, scikit-learn and PyTorch.

The folder jobs holds what is timed, and README.md in this folder describes the method. Prints a table. Exits with
status 1 if a contender fails, misses an accuracy that all must reach, or has another accuracy than xpnet. It never
fails because of a time.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import ALL, THREADS, Report, machine, take_turns

PATIENCE = 900  # seconds until a process is ended
FAR = 8.0  # a contender that takes more than this many times as long as xpnet has one round only
HEAD = ("job", "contender", "seconds (quartiles)", "ratio to xpnet (quartiles)", "CPU seconds", "result")


class Goal(NamedTuple):
    """A figure of the results that must be as good with all contenders."""

    name: str
    form: str  # how to print it
    least: float  # it must be at least this
    apart: float  # the largest difference from xpnet
    most: float = np.inf  # it must be at most this


class Job(NamedTuple):
    """A job: the module in the folder jobs, what it must reach, and its settings, also for a small run."""

    title: str
    module: str
    goals: list[Goal]
    full: dict[str, Any]
    small: dict[str, Any]


class Contender(NamedTuple):
    """A library, and how its processes are started."""

    title: str
    module: str = "xpnet"  # must be installed
    threads: tuple[str, ...] = tuple(THREADS)  # numbers of threads to try


class Outcome(NamedTuple):
    """A process that has done a job, and its result."""

    seconds: float
    cpu: float  # seconds of all its processes and threads
    result: dict[str, Any]


GRID = {
    "hidden_layer_sizes": [[50], [100]],
    "activation": ["relu", "tanh"],
    "alpha": [1e-4, 1e-2, 1.0],
    "learning_rate_init": [1e-3, 1e-2],
}
SMALL_GRID = {"hidden_layer_sizes": [[100]], "alpha": [1e-4, 1e-2], "learning_rate_init": [1e-2]}
SEARCH, SMALL_SEARCH = {"grid": GRID, "epochs": 200}, {"grid": SMALL_GRID, "epochs": 5}
FLOAT64, FLOAT32 = {"batch_size": "auto", "dtype": "float64"}, {"batch_size": 32, "dtype": "float32"}
SEARCH_64 = "search 24 settings × 5 folds, batches of 200, float64"
SEARCH_32 = "search 24 settings × 5 folds, batches of 32, float32"
SEARCH_GOALS = [Goal("best_score", "{:.1%}", 0.92, 0.01), Goal("mean_score", "mean {:.1%}", 0.9, 0.01)]
ERROR_BARS = "train 16 networks for error bars, with early stopping"
ERROR_BARS_GOALS = [Goal("r2", "R² {:.3f}", 0.93, 0.01), Goal("nll", "NLL {:.3f}", -np.inf, 0.06)]
ENSEMBLE, SMALL_ENSEMBLE = {"members": 16, "epochs": 300}, {"members": 4, "epochs": 10}
MNIST = {"data": "mnist", "hidden": [256], "batch_size": 128}
MNIST_GOALS = [Goal("accuracy", "{:.2%}", 0.975, 0.005)]
COLUMNS = {"data": "columns", "hidden": [64, 64], "batch_size": 256, "epochs": 1}
COLUMNS_GOALS = [Goal("accuracy", "{:.2%}", 0.96, 0.01)]
JACOBIANS, JACOBIANS_GOALS = "learn 8 inputs, and 100,000 Jacobians", [Goal("error", "error {:.1%}", 0.0, 0.01, 0.03)]

JOBS = {
    "mnist": Job("train on MNIST to 97.5 %", "classify", MNIST_GOALS, MNIST | {"epochs": 6}, MNIST | {"epochs": 2}),
    "search": Job(SEARCH_64, "search", SEARCH_GOALS, SEARCH | FLOAT64, SMALL_SEARCH | FLOAT64),
    "search-32": Job(SEARCH_32, "search", SEARCH_GOALS, SEARCH | FLOAT32, SMALL_SEARCH | FLOAT32),
    "error-bars": Job(ERROR_BARS, "error_bars", ERROR_BARS_GOALS, ENSEMBLE, SMALL_ENSEMBLE),
    "million-rows": Job("train on a million rows for one epoch", "classify", COLUMNS_GOALS, COLUMNS, COLUMNS),
    "surrogate": Job(JACOBIANS, "surrogate", JACOBIANS_GOALS, {"epochs": 200}, {"epochs": 20}),
}

CONTENDERS = {  # the first that takes part is the one with which the others are compared
    "xpnet-numpy": Contender("xpnet, NumPy"),
    "xpnet-jax": Contender("xpnet, JAX", "jax", (ALL,)),
    "xpnet-estimator": Contender("xpnet's MLPClassifier", "sklearn"),
    "sklearn": Contender("scikit-learn", "sklearn"),
    "torch": Contender("PyTorch", "torch"),
}


def run(job, settings, folder, contender, threads):
    """Run a job in a process of its own; raise RuntimeError with the reason if it fails."""
    script = str(Path(__file__).with_name("run_job.py"))
    command = [sys.executable, script, job.module, contender, str(folder), json.dumps(settings)]
    options = {"capture_output": True, "text": True, "timeout": PATIENCE, "env": {**os.environ, **THREADS[threads]}}
    before, started = os.times(), time.perf_counter()
    try:
        done = subprocess.run(command, check=False, **options)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it did not end within {PATIENCE} s") from None
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"its process ended with {done.returncode}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Outcome(seconds, cpu, json.loads(done.stdout))


def time_job(report, job, options):
    """Time the contenders of a job in turn, and add them to the table."""
    has_data = job.full.get("data") != "mnist" or bool(os.environ.get("XPNET_DATA"))  # else the small job is done
    is_full = not options.quick and has_data
    settings, module = job.full if is_full else job.small, importlib.import_module(f"jobs.{job.module}")
    names = [name for name in CONTENDERS if name in options.contenders and name in module.CONTENDERS]
    keys = [(name, number) for name in names for number in CONTENDERS[name].threads[: 1 if options.quick else None]]
    with tempfile.TemporaryDirectory() as folder:
        module.prepare(folder, full=is_full, **settings)
        runs = {key: partial(run, job, settings, folder, *key) for key in keys}
        turns = take_turns(runs, 1 if options.quick else options.rounds, far=FAR)

    def describe(key):
        outcome = turns.outcomes[key][0]
        return f"{outcome.cpu:.1f}", ", ".join(goal.form.format(outcome.result[goal.name]) for goal in job.goals)

    title, first = job.title if is_full else f"{job.title}, small", turns.best(names[:1])
    report.rows(title, turns, {name: CONTENDERS[name].title for name in names}, lambda _: first, describe)
    report.problems += find_problems(job, turns) if is_full else []


def find_problems(job, turns):
    """List results that are not good enough, or not as good as those of the first contender."""
    problems, first = [], next((outcomes[0].result for outcomes in turns.outcomes.values()), None)
    for (name, threads), outcomes in turns.outcomes.items():
        for goal in job.goals:
            value, expected = outcomes[0].result[goal.name], first[goal.name]
            text = f"{job.title}: {CONTENDERS[name].title}, {threads}, has {goal.form.format(value)}"
            if not goal.least <= value <= goal.most:
                problems.append(f"{text}, which must be from {goal.least:g} to {goal.most:g}")
            if not abs(value - expected) <= goal.apart:
                problems.append(f"{text}, but the first contender has {goal.form.format(expected)}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="(all)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="(all)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small jobs in one round with one thread, to test this")
    parser.add_argument("--file", help="append the output to a file")
    options, used = parser.parse_args(), ("sklearn", "torch", "jax")
    report = Report(options.file)
    report.line(f"{machine(*filter(find_spec, used))}; {options.rounds} rounds")
    missing = {name for name in options.contenders if not find_spec(CONTENDERS[name].module)}
    options.contenders = [name for name in options.contenders if name not in missing]
    if missing:
        report.line(f"Left out, as something is not installed: {', '.join(sorted(missing))}")
    report.head(*HEAD)
    for name in options.jobs:
        time_job(report, JOBS[name], options)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
