"""What the benchmarks share: processes that answer step by step, contenders that take turns, and a report."""

import argparse
import multiprocessing
import os
import platform
import random
import sys
import time
import traceback
from collections import defaultdict
from contextlib import suppress
from importlib.metadata import packages_distributions, version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

import xpnet

ABSENT = "–"
PAUSE = 0.06  # seconds in which a library's threads stop spinning; they would slow down the next library
GOODBYE = 10  # seconds for a process to end by itself
ONE, ALL = "one thread", "all threads"
VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
THREADS = {ONE: dict.fromkeys(VARIABLES, "1"), ALL: {}}  # environment: BLAS reads these when it is loaded


class Child:
    """A process that runs a function and hands out its values one by one, as an iterator.

    It begins at once, computes the first value, and each further one when it is asked for. A crash or a hang of the
    process is a RuntimeError here, with the reason.

    The function, of (report, *args), is one that a new process can import, and calls `report` with each value. A
    process that takes more than `patience` seconds for a value is ended; None waits forever. `environment` holds
    environment variables of the new process, besides those of this one.
    """

    def __init__(self, function, *args, patience=None, environment=None):
        context = multiprocessing.get_context("spawn")
        self.patience, self.is_first = patience, True
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, function, args), daemon=True)
        before = dict(os.environ)
        os.environ.update(environment or {})
        self.process.start()
        os.environ.clear()
        os.environ.update(before)
        theirs.close()

    def __iter__(self):
        return self

    def __next__(self):
        try:
            if not self.is_first:
                self.pipe.send(True)
            self.is_first = False
            if not self.pipe.poll(self.patience):
                self.stop(at_once=True)
                raise RuntimeError(f"it did not answer within {self.patience:g} s, and its process was ended")
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            raise RuntimeError(f"its process ended with {self.process.exitcode}") from None
        if kind == "value":
            return value
        self.stop()
        if kind == "error":
            raise RuntimeError(value)
        raise StopIteration

    def stop(self, at_once=False):
        """End the process."""
        if not at_once:
            with suppress(OSError):  # it may have ended already
                self.pipe.send(False)
            self.process.join(GOODBYE)
        self.process.kill()
        self.process.join()


def serve(pipe, function, args):
    """Send the values that the function reports; an error is sent as text."""

    def report(value):
        """Send a value, and wait until the next one is asked for."""
        pipe.send(("value", value))
        with suppress(EOFError):  # nobody waits for more
            if pipe.recv():
                return
        sys.exit()

    try:
        function(report, *args)
        pipe.send(("end", None))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:400]
        pipe.send(("error", f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"))
    with suppress(EOFError):
        pipe.recv()


# Taking turns


class Turns:
    """The outcomes of contenders that took turns.

    `outcomes` and `warm_up` hold the outcomes of each contender, in the rounds that count and in those before. Keys are
    pairs of a name and a number of threads, and an outcome has `seconds`. `failures` holds the reasons of those that
    failed, which have no outcomes.
    """

    def __init__(self):
        self.outcomes, self.warm_up, self.failures = defaultdict(list), defaultdict(list), {}

    def median(self, key):
        """Median seconds of a contender."""
        return float(np.median([outcome.seconds for outcome in self.outcomes[key]]))

    def best(self, names):
        """Find the fastest of the contenders with these names; None if there is none."""
        return min((key for key in self.outcomes if key[0] in names), key=self.median, default=None)

    def ratios(self, key, to):
        """Ratio of the times of two contenders in each round that both took part in."""
        return [one.seconds / other.seconds for one, other in zip(self.outcomes[key], self.outcomes[to])]

    def keep_fastest(self, names, far):
        """Keep the faster number of threads of each contender, and return those that are not far slower than the first.

        Called after the first round.
        """
        fastest = [key for name in names if (key := self.best([name]))]
        self.outcomes = {key: self.outcomes[key] for key in fastest}
        return [key for key in fastest if self.median(key) <= far * self.median(fastest[0])]


def take_turns(contenders, rounds, warm_up=0, far=np.inf, tell=lambda text: None):
    """Let contenders run in turn, in random order, so that what disturbs the machine disturbs them alike.

    `contenders` has the function of each contender, by name and number of threads. It returns an outcome, or raises
    RuntimeError. Each runs `warm_up` times before the `rounds` that count. After the first of these, each goes on with
    its faster number of threads, and one that takes more than `far` times as long as the first does not go on. `tell`
    is called with a line about each round, so that a run that is cut short has told what it knew.
    """
    turns, keys = Turns(), list(contenders)
    for i in range(-warm_up, rounds):
        found = turns.outcomes if i >= 0 else turns.warm_up
        for key in random.sample(keys, len(keys)):
            time.sleep(PAUSE)  # threads of a library keep spinning after their work, and would slow down the next
            try:
                found[key].append(contenders[key]())
            except RuntimeError as error:
                turns.failures[key] = str(error)
                for outcomes in (turns.outcomes, turns.warm_up):
                    outcomes.pop(key, None)
        keys = [key for key in contenders if key in keys and key not in turns.failures]
        times = "; ".join(f"{name}, {threads} {found[name, threads][-1].seconds:.4g}" for name, threads in keys)
        tell(f"{f'round {i + 1}' if i >= 0 else 'warm-up'}, seconds: {times}")
        if i == 0:
            keys = turns.keep_fastest(dict.fromkeys(name for name, _ in contenders), far)
    return turns


# The report


class Report:
    """Lines and rows of tables, printed and appended to a file as soon as they are known, and what went wrong.

    Parameters
    ----------
    path
        The file, or None. Lines are added at its end.
    """

    def __init__(self, path=None):
        self.path, self.problems = path, []

    def line(self, text=""):
        """Write a line."""
        print(text, flush=True)
        if self.path:
            with Path(self.path).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")

    def head(self, *cells):
        """Begin a Markdown table."""
        self.line()
        self.row(*cells)
        self.line("|" + " --- |" * len(cells))

    def row(self, *cells):
        """Add a row to the table."""
        self.line("| " + " | ".join(" ".join(str(cell).split()) for cell in cells) + " |")

    def rows(self, what, turns, titles, reference, describe, scale=1.0):
        """Add a row for each contender: its median time, and the ratio of its times to those of a reference.

        `what` is what they all did, `turns` the result of `take_turns`, and `titles` the title of each contender by
        name. `reference` is a function of a name that returns the key of the contender to compare it with, or None,
        and `describe` one of a key that returns further cells. Seconds are multiplied by `scale`.
        """
        for name, title in titles.items():
            for key, reason in turns.failures.items():
                if key[0] == name:
                    self.problems.append(f"{what}: {title}, {key[1]}, failed: {reason}")
            if key := turns.best([name]):
                to = reference(name)
                low, middle, high = np.quantile([out.seconds for out in turns.outcomes[key]], [0.25, 0.5, 0.75]) * scale
                shown = [f"{time:.0f}" if time >= 100 else f"{time:.3g}" for time in (middle, low, high)]
                time_cell = "{} ({}–{})".format(*shown)
                ratio = show_ratio(turns.ratios(key, to)) if to else ABSENT
                self.row(what, f"{title}, {key[1]}", time_cell, ratio, *describe(key))

    def require(self, what, number, most):
        """Note as a problem a number above the one that is asked."""
        if not number <= most:
            self.problems.append(f"{what}: {number:.2g}, asked at most {most:.2g}")

    def end(self):
        """Write what went wrong; return the exit status."""
        for problem in self.problems:
            self.line(f"FAILED: {problem}")
        return int(bool(self.problems))


def show_ratio(ratios):
    """Format the median and the quartiles of ratios."""
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f}–{high:.2f})" if len(ratios) > 1 else f"{middle:.2f} (one round)"


# The machine


def machine(*modules):
    """Describe the processor and the versions of Python, NumPy with its BLAS, xpnet, and other modules in a line.

    With OpenBLAS, it names the kernels that multiply: OPENBLAS_CORETYPE in the environment can set slower ones.
    """
    packages, info = packages_distributions(), Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = "{model name}, family {cpu family}, model {model}".format_map(fields) if "cpu family" in fields else ""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernels = {f"{library['architecture']} kernels" for library in threadpool_info() if "architecture" in library}
    versions = [f"{packages[name][0]} {version(packages[name][0])}" for name in modules]
    return (
        f"{name or platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, NumPy {np.__version__} "
        f"({', '.join([blas['name'] + ' ' + blas['version'], *sorted(kernels)])}), "
        + ", ".join([*versions, f"xpnet {xpnet.__version__}"])
    )


def ask(questions, description, peers, *modules):
    """Run a command that asks questions, functions of a report, the number of seeds, and whether only peers answer.

    Parameters
    ----------
    questions
        The functions by their names.
    description
        The docstring of the command.
    peers
        What the help calls the other programs.
    modules
        Modules whose versions are printed.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--questions", nargs="+", choices=questions, default=[*questions], help="them (all)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument("--peers", action="store_true", help=f"measure {peers} alone")
    args = parser.parse_args()
    report = Report()
    report.line(f"{machine(*modules)}; seeds 0 to {args.seeds - 1}, processor seconds.")
    for question in args.questions:
        questions[question](report, args.seeds, args.peers)
    return report.end()
