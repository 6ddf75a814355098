"""The training calls of the book's chapters 1 to 3: our results, mean and spread over seeds, beside the book's.

Runs the lines of `RUNS` as they stand there, on MNIST. Results are kept in a file, so that calls can be measured one
after the other. From them, `--page` writes the tables of docs/learn/book.md and docs/learn/book-figures.md, and
book_figures.py draws the figures of the latter.
"""

import argparse
import ast
import contextlib
import io
import json
import re
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from machine import machine

from xpnet import DivergenceError
from xpnet.learn import book

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "book_results.json"
PAGE = ROOT / "docs" / "learn" / "book.md"
FIGURES = ROOT / "docs" / "learn" / "book-figures.md"
BEGIN, END = "<!-- written by benchmarks/book.py -->", "<!-- end of the results -->"
MISSING = "not measured yet"


class Number(NamedTuple):
    """A number that is compared: which curve, at which epoch, and the book's value as it is given there."""

    curve: str  # a name in CURVES
    at: str | int  # the "first", "last" or "best" epoch, or a number of training examples
    book: str | None  # None where the book gives no number


class Run(NamedTuple):
    """A training call of the book."""

    chapter: int
    lines: str  # `seed` stands for the number of the seed
    numbers: tuple[Number, ...]


CURVES = {  # name -> unit
    "test": "%",
    "evaluation": "%",
    "validation": "%",  # after trainings on more and more examples
    "training": "%",
    "training cost": "",
    "evaluation cost": "",
}
FIRST = "net = FirstNetwork({}, seed=seed)\nnet.SGD(training_data, {}, test_data=test_data)"
LARGE = "net = Network({}, cost=CrossEntropyCost, seed=seed)\nnet.large_weight_initializer()\n"
SMALL = "net = Network({}, cost=CrossEntropyCost, seed=seed)\n"
ACCURACY = ",\n        monitor_evaluation_accuracy=True)"
ALL = """,
        monitor_evaluation_cost=True, monitor_evaluation_accuracy=True,
        monitor_training_cost=True, monitor_training_accuracy=True)"""
ON_TEST, ON_VALIDATION = "evaluation_data=test_data", "evaluation_data=validation_data"
WEIGHTS = f"net.SGD(training_data, 30, 10, 0.1, lmbda=5.0, {ON_VALIDATION}{ACCURACY}"
FEW = f"net.SGD(training_data[:1000], 30, 10, {{}}, lmbda={{}}, evaluation_data=validation_data[:100]{ACCURACY}"
RATE = f"net.SGD(training_data, 30, 10, {{}}, lmbda=5.0, {ON_VALIDATION},\n        monitor_training_cost=True)"
SIZES = (100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000)  # numbers of training examples
MORE = f"""accuracies = []
for size in {SIZES}:
    net = Network([784, 30, 10], cost=CrossEntropyCost, seed=seed)
    net.large_weight_initializer()
    net.SGD(training_data[:size], 1500000 // size, 10, 0.5, lmbda=size * 0.0001)
    accuracies.append(net.accuracy(validation_data))
accuracies"""
SVM = f"""accuracies = []
for size in {SIZES}:
    svm = SVC(gamma="auto").fit(*as_rows(training_data[:size]))
    accuracies.append(sum(svm.predict(as_rows(validation_data)[0]) == as_rows(validation_data)[1]))
accuracies"""
# The book's results with more data
MORE_DATA = ("69.09", "76.37", "85.29", "88.85", "91.27", "93.24", "94.89", "95.85", "95.97")
MORE_DATA_SVM = ("25.07", "48.93", "75.13", "83.87", "88.49", "91.46", "92.45", "93.47", "94.48")

RUNS = {
    "first": Run(
        1,
        FIRST.format("[784, 30, 10]", "30, 10, 3.0"),
        (Number("test", "first", "91.29"), Number("test", "best", "95.42"), Number("test", "last", "95.34")),
    ),
    "first-100": Run(1, FIRST.format("[784, 100, 10]", "30, 10, 3.0"), (Number("test", "best", "96.59"),)),
    "slow": Run(
        1,
        FIRST.format("[784, 100, 10]", "30, 10, 0.001"),
        (Number("test", "first", "11.39"), Number("test", "last", "21.42")),
    ),
    "fast": Run(
        1,
        FIRST.format("[784, 30, 10]", "30, 10, 100.0"),
        (Number("test", "first", "10.09"), Number("test", "last", "9.82")),
    ),
    "two-layers": Run(1, FIRST.format("[784, 10]", "30, 10, 3.0"), (Number("test", "best", None),)),
    "cross-entropy": Run(
        3,
        LARGE.format("[784, 30, 10]") + f"net.SGD(training_data, 30, 10, 0.5, {ON_TEST}{ACCURACY}",
        (Number("evaluation", "best", "95.49"),),
    ),
    "cross-entropy-100": Run(
        3,
        LARGE.format("[784, 100, 10]") + f"net.SGD(training_data, 30, 10, 0.5, {ON_TEST}{ACCURACY}",
        (Number("evaluation", "best", "96.82"),),
    ),
    "overfitting": Run(
        3,
        LARGE.format("[784, 30, 10]") + f"net.SGD(training_data[:1000], 400, 10, 0.5, {ON_TEST}{ALL}",
        (
            Number("evaluation", "best", "82.27"),
            Number("training", "last", "100"),
            Number("training cost", "last", "0.0042 †"),
        ),
    ),
    "overfitting-all": Run(
        3,
        LARGE.format("[784, 30, 10]") + f"net.SGD(training_data, 30, 10, 0.5, {ON_TEST}{ALL}",
        (Number("evaluation", "best", "95.33"), Number("training", "last", "97.86")),
    ),
    "regularized": Run(
        3,
        LARGE.format("[784, 30, 10]") + f"net.SGD(training_data[:1000], 400, 10, 0.5, lmbda=0.1, {ON_TEST}{ALL}",
        (
            Number("evaluation", "best", "87.1"),
            Number("training", "last", "100 †"),
            Number("training cost", "last", "0.1154 †"),
        ),
    ),
    "regularized-all": Run(
        3,
        LARGE.format("[784, 30, 10]") + f"net.SGD(training_data, 30, 10, 0.5, lmbda=5.0, {ON_TEST}{ALL}",
        (Number("evaluation", "best", "96.49"), Number("training", "last", "96.47 †")),
    ),
    "regularized-100": Run(
        3,
        LARGE.format("[784, 100, 10]") + f"net.SGD(training_data, 30, 10, 0.5, lmbda=5.0, {ON_VALIDATION}{ACCURACY}",
        (Number("evaluation", "best", "97.92"),),
    ),
    "longer-100": Run(
        3,
        LARGE.format("[784, 100, 10]") + f"net.SGD(training_data, 60, 10, 0.1, lmbda=5.0, {ON_VALIDATION}{ACCURACY}",
        (Number("evaluation", "best", "98.04"),),
    ),
    "large-weights": Run(
        3,
        LARGE.format("[784, 30, 10]") + WEIGHTS,
        (Number("evaluation", "first", "86.43 †"), Number("evaluation", "last", "96.37 †")),
    ),
    "small-weights": Run(
        3,
        SMALL.format("[784, 30, 10]") + WEIGHTS,
        (Number("evaluation", "first", "92.70 †"), Number("evaluation", "last", "96.50 †")),
    ),
    "large-weights-100": Run(
        3,
        LARGE.format("[784, 100, 10]") + WEIGHTS,
        (Number("evaluation", "first", "89.94 †"), Number("evaluation", "last", "97.42 †")),
    ),
    "small-weights-100": Run(
        3,
        SMALL.format("[784, 100, 10]") + WEIGHTS,
        (Number("evaluation", "first", "92.95 †"), Number("evaluation", "last", "97.81 †")),
    ),
    "lost": Run(
        3,
        SMALL.format("[784, 30, 10]") + f"net.SGD(training_data, 30, 10, 10.0, lmbda=1000.0, {ON_VALIDATION}{ACCURACY}",
        (Number("evaluation", "first", "10.30"), Number("evaluation", "last", "9.67")),
    ),
    "few-1000": Run(
        3, SMALL.format("[784, 10]") + FEW.format("10.0", "1000.0"), (Number("evaluation", "first", "10"),)
    ),
    "few-20": Run(3, SMALL.format("[784, 10]") + FEW.format("10.0", "20.0"), (Number("evaluation", "first", "12"),)),
    "few-100": Run(3, SMALL.format("[784, 10]") + FEW.format("100.0", "20.0"), (Number("evaluation", "first", "10"),)),
    "few-1": Run(3, SMALL.format("[784, 10]") + FEW.format("1.0", "20.0"), (Number("evaluation", "first", "62"),)),
    **{
        f"rate-{eta}": Run(
            3,
            SMALL.format("[784, 30, 10]") + RATE.format(eta),
            (Number("training cost", "last", value),),
        )
        for eta, value in (("0.025", "0.339 †"), ("0.25", "0.339 †"), ("2.5", "0.861 †"))
    },
    "more-data": Run(3, MORE, tuple(map(Number, len(SIZES) * ["validation"], SIZES, MORE_DATA))),
    "svm": Run(3, SVM, tuple(map(Number, len(SIZES) * ["validation"], SIZES, MORE_DATA_SVM))),
}

SIZED = ("more-data", "svm")  # calls that train on more and more examples


def as_rows(pairs):
    """Turn pairs of columns and digits, or of columns and columns with a 1, into images (n, 784) and digits (n,)."""
    images, targets = zip(*pairs)
    return np.hstack(images).T, np.array([np.argmax(y) if np.ndim(y) else y for y in targets])


def train(lines, data, seed):
    """Run the lines of a call, and return its curves: percentages, and costs."""
    names = {**vars(book), **dict(zip(("training_data", "validation_data", "test_data"), data)), "seed": seed}
    if "SVC" in lines:
        from sklearn.svm import SVC

        names |= {"SVC": SVC, "as_rows": as_rows}
    program = ast.parse(lines)
    last = ast.Expression(program.body.pop().value)
    out, result = io.StringIO(), ([], [], [], [])
    with contextlib.redirect_stdout(out), contextlib.suppress(DivergenceError):  # the book's program goes on with NaN
        exec(compile(program, "the book", "exec"), names)
        result = eval(compile(last, "the book", "eval"), names)
    if isinstance(result, list):  # numbers of correct answers
        return {"validation": [100 * int(correct) / len(data[1]) for correct in result]}
    evaluation_cost, _, training_cost, _ = result
    found = re.findall(r"^(Epoch|Accuracy on (\w+) data)(?: \d+)?: (\d+) / (\d+)$", out.getvalue(), re.MULTILINE)
    curves = {"evaluation cost": evaluation_cost, "training cost": training_cost}
    for title, which, correct, n in found:
        curves.setdefault("test" if title == "Epoch" else which, []).append(100 * int(correct) / int(n))
    return {name: [round(value, 5) for value in curve] for name, curve in curves.items() if curve}


def pick(curve, at):
    """Take the number of an epoch, or of a number of training examples, from a curve."""
    if isinstance(at, int):
        return curve[SIZES.index(at)]
    return {"first": curve[0], "last": curve[-1], "best": max(curve)}[at]


def measure(names, seeds, results, path):
    """Run what the results lack, and write them after each call."""
    data = book.load_data_wrapper()
    for name in names:
        row = results.setdefault(name, {"curves": {}})
        for seed in range(seeds if "seed" in RUNS[name].lines else 1):
            if str(seed) in row["curves"]:
                continue
            started = time.perf_counter()
            row["curves"][str(seed)] = train(RUNS[name].lines, data, seed)
            row["machine"] = machine(*(["sklearn"] if "SVC" in RUNS[name].lines else []))
            path.write_text(json.dumps(results) + "\n")
            seconds = time.perf_counter() - started
            shown = ", ".join(
                f"{n.curve} {n.at} {pick(row['curves'][str(seed)][n.curve], n.at):g}" for n in RUNS[name].numbers
            )
            print(f"{name}, seed {seed}: {shown} ({seconds:.1f} s)", flush=True)


def check_quickly(names):
    """Run each call for an epoch on the bundled sample."""
    data = book.load_data_wrapper("mnist-sample")
    for name in names:
        lines = re.sub(r"(SGD\(training_data(?:\[:\w+\])?), [^,]+,", r"\1, 1,", RUNS[name].lines)
        lines = lines.replace(str(SIZES), "(100, 200)")
        curves = train(lines, data, 0)
        missing = [number.curve for number in RUNS[name].numbers if number.curve not in curves]
        assert not missing, f"{name} lacks {missing}"
        print(f"{name}: " + ", ".join(f"{curve} {values[0]:g}" for curve, values in curves.items()), flush=True)


def write_table(results):
    """Write, for each chapter, its numbered calls, folded, and a table of their numbers beside the book's."""
    text = []
    for chapter in (1, 3):
        runs = {name: run for name, run in RUNS.items() if run.chapter == chapter and name not in SIZED}
        text += [
            f"### Chapter {chapter}",
            "",
            "<details>",
            f"<summary>The {len(runs)} calls</summary>",
            "",
            "```python",
        ]
        for i, run in enumerate(runs.values(), 1):
            text += shorten_call(run.lines, i)
        text += ["```", "", "</details>", ""]
        text += ["| call | number | the book | xpnet |", "| ---: | --- | --- | --- |"]
        for i, (name, run) in enumerate(runs.items(), 1):
            curves = results.get(name, {}).get("curves", {})
            for number in run.numbers:
                label, unit = (f"{number.curve} accuracy", " %") if CURVES[number.curve] else (number.curve, "")
                theirs = "no number" if number.book is None else put_unit(number.book, unit)
                text.append(f"| {i} | {label}, {number.at} epoch | {theirs} | {describe(curves, number, unit)} |")
        text.append("")
    return "\n".join(text)


def shorten_call(lines, number):
    """Number a call, and leave out its seed and its monitors, which say only which curves it returns."""
    text = re.sub(r",\s*monitor_\w+=True", "", lines.replace(", seed=seed", ""))
    first, *rest = text.split("\n")
    return [f"{first}  # {number}", *rest]


def put_unit(number, unit):
    """Put the unit before the mark of a footnote."""
    value, *mark = number.split(" ")
    return " ".join([value + unit, *mark])


def describe(curves, number, unit):
    """Format the mean and the range over the seeds."""
    values = [pick(curve[number.curve], number.at) for curve in curves.values()]
    if not values:
        return MISSING
    digits = ".2f" if unit else ".4f"
    mean, low, high = (format(f(values), digits) for f in (np.mean, min, max))
    return f"{mean}{unit} ({low} to {high}, {len(values)} seed{'s' * (len(values) > 1)})"


def write_sizes(results):
    """Write the calls that train on more and more examples, and a table of their accuracies beside the book's."""
    text = ["```python"]
    for name in SIZED:
        text += RUNS[name].lines.replace(", seed=seed", "").split("\n")[:-1]
    text += [
        "```",
        "",
        "| training examples | network, the book | network, xpnet | SVM, the book | SVM, scikit-learn |",
    ]
    text += ["| ---: | --- | --- | --- | --- |"]
    for numbers in zip(*(RUNS[name].numbers for name in SIZED), strict=True):
        cells = [f"{numbers[0].at:,}"]
        for name, number in zip(SIZED, numbers, strict=True):
            curves = results.get(name, {}).get("curves", {})
            is_random = "seed" in RUNS[name].lines or not curves
            ours = (
                describe(curves, number, " %") if is_random else f"{pick(curves['0'][number.curve], number.at):.2f} %"
            )
            cells += [f"{number.book} %", ours]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text)


def write_results(path, text):
    """Replace the results in a page."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text.rstrip()}\n\n{END}{after}")


def write_pages(results):
    """Replace the results in both pages."""
    machines = sorted({row["machine"] for name, row in results.items() if name not in SIZED})
    head = f"Measured with `python benchmarks/book.py`, on {'; or '.join(machines)}."
    write_results(PAGE, f"{head}\n\n{write_table(results)}")
    machine_of_both = results["svm"]["machine"]  # with the version of scikit-learn
    foot = f"Measured with `python benchmarks/book.py --runs {' '.join(SIZED)}`, on {machine_of_both}."
    write_results(FIGURES, f"{write_sizes(results)}\n\n{foot}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chapters", nargs="+", type=int, choices=(1, 3), default=[1, 3], help="chapters to run (all)")
    parser.add_argument("--runs", nargs="+", choices=RUNS, help="calls to run (all of the chapters)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file of the results; calls already in it are skipped"
    )
    parser.add_argument(
        "--quick", action="store_true", help="run each call for an epoch on the bundled digits, and end"
    )
    parser.add_argument("--page", action="store_true", help="run nothing; write the tables of the pages")
    options = parser.parse_args()
    names = options.runs or [name for name, run in RUNS.items() if run.chapter in options.chapters]
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    if options.quick:
        check_quickly(names)
    elif not options.page:
        measure(names, options.seeds, results, options.results)
    if options.page:
        write_pages(results)


if __name__ == "__main__":
    main()
