"""The commands of the shell on random tables, beside the Python interface."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet import Ensemble, Network
from xpnet.cli import main

from .exports import NODE, are_usual, members_of, outputs_of, run_onnx, run_page
from .generate import Operation, register
from .kills import PLACES, Job, train_twice
from .world import Failure, World, assert_close, new_path

OPERATIONS: dict[str, Operation] = {}
operation = partial(register, OPERATIONS)

NAMES = ["size", "größe", "a b", 'say "so"', "x,y", "日付", "y", "label", "x", "prediction"]
TEXTS = ["red", "Öl", 'a "b"', "c, d", "日本", "it's", "e;f", "-g"]
MARKS = " (text)"  # follows the name of the texts of a column that holds numbers, too
COSTS = ["huber", "absolute", "gaussian", "quantile(0.1, 0.5, 0.9)"]


class Table(NamedTuple):
    """A table, which column is its target, and how it is written as CSV."""

    frame: Any
    target: str
    is_regression: bool
    style: dict[str, Any]

    def write(self, frame: Any = None) -> str:
        """Write the table, or another one of its kind, and return the path."""
        path = new_path(".csv")
        (self.frame if frame is None else frame).to_csv(path, index=False, **self.style)
        return str(path)


def draw_table(r: random.Random) -> Table:
    """Draw a table with columns of many kinds, some of them with holes."""
    import pandas

    g, n = np.random.default_rng(r.randrange(2**32)), r.choice([40, 90, 150])
    days = pandas.Timestamp(2020, 1, 1) + pandas.to_timedelta(g.integers(0, 900, n), "D")
    kinds: dict[str, Callable[[], Any]] = {
        "numbers": lambda: g.normal(r.choice([0, 1e6]), r.choice([0.01, 1, 1e3]), n),
        "skewed": lambda: np.exp(2 * g.normal(size=n)),
        "counts": lambda: g.integers(-2, 9, n),
        "texts": lambda: g.choice(TEXTS[: r.randint(3, len(TEXTS))], n),
        "two texts": lambda: g.choice(["no", "yes"], n),
        "truths": lambda: g.choice([True, False], n),
        "days": lambda: days.strftime("%Y-%m-%d"),
        "times": lambda: (days + pandas.to_timedelta(g.integers(0, 1440, n), "min")).strftime("%Y-%m-%d %H:%M"),
        "names": lambda: [f"name {i}" for i in range(n)],
        "marks": lambda: g.choice(["4", "7", "12", "12+", "unknown"], n, p=[0.2, 0.2, 0.2, 0.2, 0.2]),
        "units": lambda: [f"{k} kg" for k in g.integers(5, 30, n)],
    }
    columns = {name: pandas.Series(kinds[r.choice([*kinds])]()) for name in r.sample(NAMES, r.randint(2, 6))}
    columns["sure"] = pandas.Series(kinds["numbers"]())
    frame = pandas.DataFrame(columns)
    target = r.choice(["price", "größer", 'the "class"'])
    is_regression = r.random() < 0.5
    frame[target] = g.normal(50, 10, n) if is_regression else g.choice(TEXTS[: r.randint(2, 4)], n)
    for name in r.sample([*frame.columns], r.randint(0, 3)):
        frame[name] = frame[name].where(g.random(n) > 0.1)
    style = r.choice([{}, {"sep": "\t"}, {"sep": ";", "decimal": ",", "quoting": csv.QUOTE_ALL}])
    return Table(frame[r.sample([*frame.columns], len(frame.columns))], target, is_regression, style)


def draw_new_rows(table: Table, r: random.Random) -> Any:
    """Draw rows for predictions: some of the table, with further holes and unknown texts, without the target."""
    g = np.random.default_rng(r.randrange(2**32))
    frame = table.frame.drop(columns=table.target).sample(r.choice([1, 7, 20]), random_state=r.randrange(99))
    for name in r.sample([*frame.columns], r.randint(0, 2)):
        frame[name] = frame[name].where(g.random(len(frame)) > 0.3)
    texts = [name for name in frame.columns if table.frame[name].isin(TEXTS).any()]
    for name in r.sample(texts, min(len(texts), 1)):
        frame.iloc[0, frame.columns.get_loc(name)] = "unknown"
    return frame[r.sample([*frame.columns], len(frame.columns))]


def draw_words(r: random.Random, is_regression: bool) -> list[Any]:
    """Draw options of `xpnet train`."""
    words: list[Any] = ["--members", r.choice([1, 2, 3]), "--bins", r.choice([0, 4, 32]), "--seed", r.randrange(99)]
    words += ["--epochs", r.choice([0, 1, 3]), "--hidden", r.choice(["4", "5,3"]), "--batch-size", r.choice([8, 32])]
    others: list[list[Any]] = [
        r.choice([["--test-split", 0], ["--test-split", 0.3], ["--test-last"]]),
        ["--dropout", 0.2],
        ["--early-stopping", 1],
        ["--optimizer", r.choice(["sgd", "adam"])],
        ["--schedule", r.choice(["constant", "one-cycle"])],
        ["--dtype", "float64"],
        ["--cost", r.choice(COSTS)] if is_regression else ["--class-weight", "balanced"],
        ["--activation", "tanh"],
    ]
    for other in r.sample(others, r.randint(0, 4)):
        words += other
    return words


def run(*words: Any) -> tuple[int, str, str]:
    """Run a command in this process; return its status, its output and its errors."""
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
        warnings.simplefilter("default")
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue(), err.getvalue()


def run_well(*words: Any) -> str:
    """Run a command that must succeed, and return its output."""
    status, out, err = run(*words)
    if status:
        raise Failure(f"a right command: xpnet {' '.join(map(str, words))}: status {status}, {err}")
    return out


def load(path: str) -> Network | Ensemble:
    """Load the file of a network or an ensemble."""
    try:
        return Ensemble.load(path)
    except ValueError:
        return Network.load(path)


def read(path: str, style: dict[str, Any]) -> Any:
    """Read a table as a user of Python would."""
    import pandas

    return pandas.read_csv(path, sep=style.get("sep", ","), decimal=style.get("decimal", "."))


# What the commands must say


def find_unseen(columns: list[dict[str, Any]], frame: Any) -> np.ndarray:
    """Find rows that miss a value where training did not, or have an unknown text where it had no rare ones."""
    rows = np.zeros(len(frame), bool)
    for column in columns:
        if column["kind"] == "category":
            known = [*column["values"], *([""] if column["missing"] else [])]
            rows |= ~frame[column["name"]].map(show_text).isin(known).to_numpy() & (not column["rare"])
        elif column["kind"] == "mark":
            marks = frame[column["name"]].map(show_mark)
            rows |= ~marks.isin([*column["values"], ""]).to_numpy() & (not column["rare"])
        elif column["kind"] != "left out" and not column["missing"]:
            rows |= frame[column["name"]].map(to_number).isna().to_numpy()
    return rows


def predict(
    model: Network | Ensemble, frame: Any, level: float | None, novelty: bool, lists_all: bool
) -> dict[str, list[Any]]:
    """Compute in Python what the file of `xpnet predict` holds."""
    from xpnet.estimators import TableEncoder

    x, first = TableEncoder.from_network(model).transform(frame), members_of(model)[0]
    columns: dict[str, Any] = {}
    if labels := first.notes.get("labels"):
        p = np.asarray(model.predict_proba(x)).reshape(len(x), -1)
        p = np.concatenate([1 - p, p], axis=1) if first.task == "binary" else p
        columns |= {"prediction": [labels[k] for k in model.predict(x)], "probability": p.max(axis=1)}
        if lists_all:
            columns |= {f"probability of {label}": p[:, k] for k, label in enumerate(labels)}
    else:
        parts = {"prediction": model.predict(x)}
        if first.cost_name == "gaussian":
            parts["std"] = model.predict(x, return_std=True)[1]
        if level is not None:
            parts["lower"], parts["upper"] = model.interval(x, level)
        for name, part in parts.items():
            part = np.asarray(part).reshape(len(x), -1)
            names = [name] if part.shape[1] == 1 else [f"{name}_{k}" for k in range(part.shape[1])]
            columns |= dict(zip(names, part.T))
    if novelty:
        rows = find_unseen(first.notes["columns"], frame)
        columns["novelty"] = np.where(rows, np.ones_like(model.novelty(x)), model.novelty(x))
    return {name: [*values] for name, values in columns.items()}


def check_predictions(path: str, model: Network | Ensemble, table: Table, r: random.Random) -> None:
    """Compare the file of predictions of new rows with those of Python."""
    first = members_of(model)[0]
    new, words, out = table.write(draw_new_rows(table, r)), [], new_path(".csv")
    has_intervals = table.is_regression and (model.calibration is not None or first.cost_name == "gaussian")
    is_small = model.calibration is not None and len(model.calibration) < 9  # which holds no interval of 90 %
    levels = [0.8] if first.cost_name.startswith("quantile") else [0.5, 0.5 if is_small else 0.9]
    level = r.choice(levels) if has_intervals and r.random() < 0.7 else None
    novelty = len(table.frame) >= 60 and r.random() < 0.5
    words += [] if level is None else ["--interval", level]
    words += ["--novelty"] if novelty else []
    lists_all = bool(first.notes.get("labels")) and len(table.frame) % 2 == 0
    words += ["--probabilities"] if lists_all else []
    run_well("predict", path, new, *words, "-o", out)
    with open(out, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    expected = predict(model, read(new, table.style), level, novelty, lists_all)
    if header != [*expected]:
        raise Failure(f"the predictions have the columns {header}, not {[*expected]}")
    for name, texts, values in zip(header, zip(*rows), expected.values()):
        own = [text if isinstance(value, str) else type(value)(text) for text, value in zip(texts, values)]
        if own != values:
            raise Failure(f"column {name!r} of the predictions is {own[:3]}, and in Python {values[:3]}")


def check_exports(path: str, model: Network | Ensemble, table: Table, r: random.Random) -> None:
    """Run the file of ONNX and the page of a model of a table on new rows."""
    from xpnet.estimators import TableEncoder

    csv_path, out = table.write(draw_new_rows(table, r)), new_path(".onnx")
    frame = read(csv_path, table.style)
    x, first = TableEncoder.from_network(model).transform(frame), members_of(model)[0]
    expected = outputs_of(model, x)
    if not are_usual(expected):
        return
    tolerance = 1e-9 if first.dtype == "float64" else 1e-4
    is_encoded = r.random() < 0.3
    # numbers far from 0 keep their digits in float64 alone
    run_well("export", path, "-o", out, *(["--encoded", "--dtype", "float64"] if is_encoded else []))
    if is_encoded:
        (y,) = run_onnx(out, {"x": x.astype(float)}, ["y"])
    else:
        y, *labels = run_onnx(out, fill_inputs(out, frame))
        if labels and labels[0].tolist() != [first.notes["labels"][k] for k in model.predict(x)]:
            raise Failure(f"labels of ONNX: {labels[0]}")
    assert_close(y, expected, tolerance, "ONNX of a table")
    if NODE is None:
        return
    run_well("show", path, "-o", out)
    fields = json.loads(re.search(r'id="network">(.*?)</script>', Path(out).read_text("utf-8"), re.DOTALL)[1])["fields"]
    # Statistics have fields of their own
    rows = [dict(zip(first.feature_names, own)) | dict(row) for own, (_, row) in zip(x.tolist(), frame.iterrows())]
    inputs, outputs, _ = zip(*run_page(out, [[set_field(field, row) for field in fields] for row in rows]))
    assert_close(np.array(inputs), x, 1e-6, "inputs of a page", max(1.0, np.abs(x).max()))
    assert_close(np.array(outputs, float), expected, max(tolerance, 1e-6), "the page of a table")


def fill_inputs(path: str, frame: Any) -> dict[str, Any]:
    """The columns of a table as a file of ONNX takes them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {}
    for value in session.get_inputs():
        name = value.name.removesuffix(MARKS)
        cells = frame[name].map(show_mark if name != value.name else show_text if "string" in value.type else to_number)
        inputs[value.name] = cells.to_numpy(str if "string" in value.type else float)[:, None]
    return inputs


def show_text(cell: Any) -> str:
    """A cell as a text of a category; empty where it is missing."""
    return "" if cell != cell or cell is None else str(cell).strip()


def show_mark(cell: Any) -> str:
    """What stands beside a number, or in its place."""
    return show_text(cell).lstrip("0123456789.")


def to_number(cell: Any) -> float:
    """A cell as a number; days since 1970 of a date, NaN where it is missing."""
    import pandas

    if number := re.match(r"(\d*)(\+| kg|unknown|$)", show_text(cell)):
        return float(number[1] or "nan")
    if isinstance(cell, str):
        return (pandas.Timestamp(cell) - pandas.Timestamp(1970, 1, 1)) / pandas.Timedelta(days=1)
    return float(cell)


def set_field(field: dict[str, Any], row: Any) -> dict[str, Any]:
    """What a user sets on a page for a cell of a row."""
    name = field["name"].removesuffix(" (days since 1970)").removesuffix(MARKS)
    cell = row[name]
    if "rows" in field:
        options, text = field["options"], (show_mark if field["name"].endswith(MARKS) else show_text)(cell)
        others = ["missing", "none"] if text == "" else []
        found = [options.index(name) for name in (text, *others, "rare or unknown", "another") if name in options]
        return {"value": found[0], "missing": False}
    is_missing = np.isnan(to_number(cell))
    return {"value": field["median"] if is_missing else to_number(cell), "missing": bool(is_missing)}


@operation(weight=3, reads=True)
def shell(world: World, r: random.Random) -> None:
    """Train on a random table, and use the file by all commands."""
    if not find_spec("pandas"):
        return
    table = draw_table(r)
    path, saved = table.write(), new_path(".net")
    words = draw_words(r, table.is_regression)
    world.log += [path, table.style, words]
    run_well("train", path, "--target", table.target, *words, "--save", saved)
    model = load(saved)
    if not run_well("info", saved).startswith(f"{saved}: {model}"):
        raise Failure("xpnet info does not begin with the model")
    check_predictions(saved, model, table, r)
    check_scores(saved, path, model, table)
    check_exports(saved, model, table, r)


class Command:
    """`xpnet train`, as a model whose fit may be killed."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def fit(self) -> None:
        """Run the command in this process."""
        status = main(self.words)
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise Failure(f"xpnet {' '.join(self.words)}: status {status}")


@operation(weight=1, reads=True)
def killed_command(world: World, r: random.Random) -> None:
    """A command that is killed and run again saves what one saves that is not."""
    if not find_spec("pandas") or world.place not in PLACES:
        return
    table = draw_table(r)
    words = ["train", table.write(), "--target", table.target, *draw_words(r, table.is_regression)]
    words += ["--every", r.choice(["epoch", "1", "10s"])]
    world.log += [table.style, words]

    def make_job(folder: Path) -> Job:
        own = ["--checkpoint", folder / "run", "--resume", "--save", folder / "net"]
        return Job(Command([str(word) for word in [*words, *own]]), (), {})

    folders = train_twice(make_job, r, world.place)
    if folders is not None:
        model, expected = (load(str(folder / "net")) for folder in folders)
        if model.fingerprint() != expected.fingerprint():
            raise Failure("a command that is killed and run again saves another model")


def check_scores(path: str, table_path: str, model: Network | Ensemble, table: Table) -> None:
    """The score on all rows is that of Python."""
    from xpnet.estimators import TableEncoder

    frame = read(table_path, table.style)
    frame = frame[frame[table.target].notna()]
    x, y = TableEncoder.from_network(model).transform(frame), frame[table.target]
    first = run_well("evaluate", path, table_path).splitlines()[0]
    if table.is_regression:
        r2 = model.measure((x, y.to_numpy()), metrics=["r2"])["r2"]
        expected = f"All {len(x):,} rows: R2: {r2:.4f}"
    else:
        labels = members_of(model)[0].notes["labels"]
        correct = model.evaluate((x, np.array([labels.index(show_text(label)) for label in y])))
        expected = f"All {len(x):,} rows: accuracy: {correct / len(x):.2%} ({correct:,}/{len(x):,})"
    if not first.startswith(expected):
        raise Failure(f"xpnet evaluate says {first!r}, and Python {expected!r}")
