"""Accuracy on real tables, compared with that of boosted trees and other networks: `run` measures, `report` shows."""

import argparse
import csv
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import ONE, THREADS, Child, Report, machine
from table_contenders import CONTENDERS
from table_sets import CLASSIFICATION, DEVELOPED, EARLIER, HELD_OUT, PUT_ASIDE, RANDOM, ROWS, TABLES, add_random, load
from table_summary import OURS, fill, read_results, show

RESULTS = Path(__file__).with_name("tables.csv")
LEAST_PROBABILITY = 1e-7


class Result(NamedTuple):
    """A row of the file: what a contender reached on a split of a table, or why it failed.

    The error is the root mean square error in standard deviations of the test targets, or the share of wrong classes.
    For intervals at 90 %, there is the share of targets that they cover, and their mean width in standard deviations.
    """

    rows: int
    table: str
    split: int
    contender: str
    error: float | None = None
    log_loss: float | None = None
    coverage: float | None = None
    width: float | None = None
    cpu_seconds: float | None = None
    failure: str | None = None


KEY = Result._fields[:4]


def cpu_seconds():
    """CPU seconds of this process and those that it started and that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(fit, split, seed, limit):
    """Train and predict; return the fields of a result. A contender may take `limit` CPU seconds."""
    began = cpu_seconds()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        predicted = fit(split.x_train, split.y_train, split.x_test, split.task, seed)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return {"failure": reason, "cpu_seconds": round(cpu_seconds() - began, 2)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    spent = {"cpu_seconds": round(cpu_seconds() - began, 2)}
    scores = {name: round(float(value), 6) for name, value in score(predicted, split).items()}
    return (scores if np.isfinite([*scores.values()]).all() else {"failure": "a prediction is not finite"}) | spent


def score(predicted, split):
    """Compare a prediction with the targets."""
    y = split.y_test
    if split.task == CLASSIFICATION:
        classes, p = np.unique(split.y_train), np.clip(np.asarray(predicted.probabilities, float), LEAST_PROBABILITY, 1)
        p = (p / p.sum(axis=1, keepdims=True))[np.arange(len(y)), np.searchsorted(classes, y)]
        return {"error": np.mean(predicted.values != y), "log_loss": -np.log(p).mean()}
    scores = {"error": np.sqrt(np.mean((predicted.values - y) ** 2)) / y.std()}
    if predicted.interval is not None:
        low, high = (np.asarray(end, float).ravel() for end in predicted.interval)
        scores |= {"coverage": np.mean((low <= y) & (y <= high)), "width": np.mean(high - low) / y.std()}
    return scores


def append(path, result):
    """Add a result to the file."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([Result._fields, result] if is_new else [result])


def measure_all(report, results, limit, random):
    """Complete the results of a contender, one by one; the first value says that it is ready. Runs in a process."""
    warnings.filterwarnings("ignore")  # that a network of scikit-learn has not converged, among others
    signal.signal(signal.SIGPROF, out_of_time)
    fit = CONTENDERS[results[0].contender]()
    measure(fit, load(results[0].table, 0, rows=200), 0, limit)  # for imports that happen in the first fit
    report(None)
    for result in results:
        split = load(result.table, result.split, result.rows)
        split = add_random(split, random) if random else split
        report(result._replace(**measure(fit, split, result.split, limit)))


def out_of_time(*_):
    raise TimeoutError("more CPU seconds than the limit")


def complete(results, limit, random):
    """Complete the results of a contender in a process with one thread; in another after a crash."""
    while results:
        child = Child(measure_all, results, limit, random, environment=THREADS[ONE])
        next(child)
        try:
            for result in child:
                results = results[1:]
                yield result
        except RuntimeError as error:
            yield results[0]._replace(failure=str(error))
            results = results[1:]


def run(args, report):
    """Measure what the file does not have yet."""
    report.line(machine())
    done = {*read_results(args.file)[[*KEY]].itertuples(index=False, name=None)} if args.file.exists() else set()
    for contender in args.contenders:
        results = [Result(args.rows, table, split, contender) for table in args.tables for split in args.splits]
        try:
            results = [result for result in results if result[: len(KEY)] not in done]
            for result in complete(results, args.limit, args.random_column):
                append(args.file, result)
                known = {name: value for name, value in result._asdict().items() if value is not None}
                report.line(", ".join(f"{name} {value}" for name, value in known.items()))
                if result.failure:
                    report.problems.append(f"{contender}, {result.table}, split {result.split}: {result.failure}")
        except RuntimeError as error:
            report.problems.append(f"{contender}: {error}")


def tell(args, report):
    """Show what the file says, and put it into a page."""
    parts = show(read_results(args.file), args.reference)
    for title, text in parts.items():
        report.line(f"{title}\n\n{text}\n")
    if args.page:
        args.page.write_text(fill(args.page.read_text(encoding="utf-8"), parts), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=RESULTS, help="file of results (%(default)s)")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("run", help="measure what the file does not have yet, and append each result to it")
    one.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="which (all)")
    usual = [*PUT_ASIDE, *EARLIER, *HELD_OUT, *DEVELOPED]
    one.add_argument("--tables", nargs="+", choices=TABLES, default=usual, help="which (all)")
    one.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="seeds of the divisions (0 1 2)")
    one.add_argument("--rows", type=int, default=ROWS, help="rows to train on at most (%(default)s)")
    one.add_argument("--limit", type=float, default=600, help="CPU seconds that a fit may take (%(default)s)")
    one.add_argument("--random-column", choices=RANDOM, help="add a column that says nothing; use another --file")
    one.set_defaults(command=run)
    other = commands.add_parser("report", help="rank the contenders by what is in the file")
    other.add_argument("--reference", choices=CONTENDERS, default=OURS, help="contender to compare with (%(default)s)")
    other.add_argument("--page", type=Path, help="a page in which to put the tables between its comments")
    other.set_defaults(command=tell)
    args, report = parser.parse_args(), Report()
    args.command(args, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
