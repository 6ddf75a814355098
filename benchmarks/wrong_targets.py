"""Wrong targets that `check` of the models of tables finds; prints the tables of docs/use/explain.md.

In real tables, ten targets of at most 1,500 rows are made wrong: the first two different digits of a number swapped, or
the number ten times as large or small, or another class. In made-up tables none is wrong, as targets are drawn from
known distributions.
"""

import argparse
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
from harness import Report, machine
from table_sets import CLASSIFICATION, TABLES, load

from xpnet.estimators import TableClassifier, TableRegressor

REAL = ("saratoga", "concrete", "car_prices", "sacramento", "wage", "abalone")
REAL += ("segment", "vehicle", "credit", "churn", "attrition", "contraceptive")
WRONG, WORST = 10, 20


def swap_digits(value):
    """Swap the first two digits in a row that differ; a number without such ones becomes ten times as large."""
    text = f"{value:.6g}"
    for k, (a, b) in enumerate(pairwise(text)):
        if a.isdigit() and b.isdigit() and a != b:
            return float(f"{text[:k]}{b}{a}{text[k + 2 :]}")
    return 10 * value


def make_wrong(y, how, rng):
    """Make ten targets wrong; return the targets and the rows of these."""
    y, rows = y.copy(), rng.permutation(len(y))[:WRONG]
    if how == "another class":
        y[rows] = [rng.choice(np.setdiff1d(y, [value])) for value in y[rows]]
    else:
        y[rows] = [swap_digits(value) if how == "swapped" else value * rng.choice([10, 0.1]) for value in y[rows]]
    return y, rows


def check(x, y):
    """Train, and return the worst rows first, and their false alarms."""
    model = (TableRegressor if y.dtype.kind == "f" else TableClassifier)(random_state=0).fit(x, y)
    judged = model.check(y, false_alarms=len(y))
    return judged.index.to_numpy(), judged["false_alarms"].to_numpy()


def describe(x, y, rows):
    """Count wrong rows among the worst, those listed, and wrong ones among these."""
    order, false_alarms = check(x, y)
    listed = order[false_alarms <= 1]
    return [np.isin(order[:WORST], rows).sum(), len(listed), np.isin(listed, rows).sum()]


def make_up(seed):
    """Yield tables whose targets are drawn from known distributions, with their names."""
    rng = np.random.default_rng(seed)
    for n, columns in ((300, 4), (500, 8), (600, 30), (1000, 10), (1500, 6), (2000, 20), (3000, 10), (5000, 8)):
        x = rng.normal(size=(n, columns))
        slopes = {
            "two classes": 1.5 * x[:, 0] + x[:, 1],
            "two classes, easy": 6 * x[:, 0] + 3 * x[:, 1] * x[:, 2],
            "two classes, one rare": x[:, 0] + x[:, 1] - 4,
        }
        tables = {name: np.stack([np.zeros(n), z], axis=1) for name, z in slopes.items()}
        tables["four classes"] = 2 * x[:, :4]
        for name, logits in tables.items():
            yield name, x, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # of softmax
        mean = 2 * x[:, 0] + np.sin(3 * x[:, 1]) + x[:, 2] * x[:, 3]
        yield "normal errors", x, mean + rng.normal(size=n)
        yield "errors of Student's t", x, mean + rng.standard_t(3, n)
        yield "errors that vary", x, mean + rng.normal(size=n) * np.exp(mean / 4)


def main():
    """Train on each table, with each kind of wrong targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2, help="of wrong targets, and of made-up tables")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    report = Report()
    report.line(machine())
    report.head("table", "targets", f"wrong of the worst {WORST}", "listed", "of them wrong")
    for name in REAL:
        split = load(name, 0, 1500)
        y = np.asarray(split.y_train)
        y = 10**y if TABLES[name].log else y
        kinds = ["another class"] if split.task == CLASSIFICATION else ["swapped", "ten times"]
        report.row(name, "as they are", *describe(split.x_train, y, []))
        for how in kinds:
            counts = [
                describe(split.x_train, *make_wrong(y, how, np.random.default_rng(draw)))
                for draw in range(options.draws)
            ]
            report.row(name, how, *np.mean(counts, axis=0).round(1))
    made_up = {}
    for draw in range(options.draws):
        for name, x, y in make_up(draw):
            made_up.setdefault(name, []).append(np.count_nonzero(check(pd.DataFrame(x), y)[1] <= 1))
    report.head("made-up tables", "number", "listed")
    for name, counts in made_up.items():
        report.row(name, len(counts), round(np.mean(counts), 2))


if __name__ == "__main__":
    main()
