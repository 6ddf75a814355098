"""The commands: ``xpnet train``, ``evaluate``, ``predict`` and the others."""

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xpnet._checks import in_range, list_names, printable
from xpnet.backends import BACKENDS, get_backend
from xpnet.cli._data import holds_one_set, read_examples, read_test_data
from xpnet.cli._files import check_replaceable, load_model, name_argument, networks_of
from xpnet.cli._printing import print_remarks, say
from xpnet.cli._saved import find_held_out, load_columns, load_note
from xpnet.cli._training import DATA_FILES
from xpnet.errors import ArgumentError
from xpnet.export import to_onnx, write_lesson, write_page
from xpnet.export.onnx import describe_onnx
from xpnet.files import write_file
from xpnet.inference import LEAST_ROWS
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.pages import choose_picture
from xpnet.tables.columns import is_number
from xpnet.tables.reading import Columns
from xpnet.tables.scores import score
from xpnet.training import parse_metrics

MOST_WIDTH = 40  # characters of a name beside which others are indented


def run_evaluate(options: argparse.Namespace) -> None:
    """Report how good a saved model is on test data, or on all rows of a table and on those that were held out."""
    model, columns = load(options)
    note, first = load_note(model, options.model), networks_of(model)[0]
    with name_argument("--data", options.data, DATA_FILES):
        new = read_test_data(
            options.data,
            columns,
            in_bytes=first.scale is not None,
            target=options.target,
            group=note.hold_out.group if note else None,
        )
    print_remarks(new.remarks)
    metrics = parse_metrics("metrics", options.metrics, first.value.model)
    if not (options.data and holds_one_set(options.data)):
        print(score(model, new.examples, metrics).describe("Test {}"))
        return
    held_out = find_held_out(model, note, new, options.data)
    scores = score(model, new.examples, metrics, intervals=held_out is None)  # others are those of the training
    print(scores.describe(f"{{}} on all {len(new.examples[1]):,} rows"))
    if held_out:
        heading = f"{{}} on the {len(held_out[1]):,} rows that training held out"
        print(score(model, held_out, metrics).describe(heading))


def run_predict(options: argparse.Namespace) -> None:
    """Write the predictions of a saved model as CSV, one row per example."""
    if options.out:
        check_replaceable("--out", options.out)
    model, columns = load(options)
    first = networks_of(model)[0]
    if options.interval is not None:
        check_has_intervals(model, options)
    if options.novelty and first.value.novelty is None:
        raise ArgumentError(
            f"--novelty needs to know the rows of the training, and {options.model} does not: `xpnet train` learns "
            f"them from a table of {LEAST_ROWS} rows or more"
        )
    with name_argument("FILE", options.file, "a table, a .npy array or an image"):
        x, remarks, copies, unseen = read_examples(
            options.file, first.sizes[0], columns, in_bytes=first.scale is not None, keep=options.keep
        )
    print_remarks(remarks)
    if formulas := find_formulas(columns):
        print_remarks([f"a spreadsheet takes these classes for formulas: {list_names(formulas)}"])
    header, rows = predict_rows(model, x, columns, options.interval)
    if options.novelty:
        novelty = np.where(unseen, 1.0, model.backend.to_numpy(model.novelty(x)))
        header, rows = [*header, "novelty"], ([*row, value] for row, value in zip(rows, novelty))
    if clashes := [name for name in copies if name in header]:
        raise ArgumentError(
            f"--keep names {clashes[0]!r}, and a column of the predictions has this name; rename it in {options.file}"
        )
    header, rows = [*copies, *header], ([*cells, *row] for *cells, row in zip(*copies.values(), rows))
    if not options.out and sys.stdout.isatty():
        header, *rows = ([printable(value) for value in row] for row in (header, *rows))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    if options.out:
        write_file(options.out, file.getvalue().encode())
        say(f"Wrote {len(x):,} predictions to {options.out}")
    else:
        _print_whole(file)


def _print_whole(file: io.StringIO) -> None:
    """Print a table as it is, or nothing."""
    text, encoding = file.getvalue(), sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        if not sys.stdout.isatty():
            missing = text[error.start : error.end]
            raise ArgumentError(
                f"standard output is in {encoding}, which has no {missing!r}; write a file, in UTF-8, by --out"
            ) from None
    file.seek(0)
    sys.stdout.writelines(file)  # line by line: with PYTHONUNBUFFERED, Python loses the rest of a text in silence


def run_export(options: argparse.Namespace) -> None:
    """Write a saved network as an ONNX file."""
    check_replaceable("--out", options.out)
    net = load_model(options.model)
    net = net if options.dtype is None else net.to(dtype=options.dtype)
    to_onnx(net, options.out, encoder=False if options.encoded else None, input_dtype=options.input_dtype)
    first, *others = describe_onnx(options.out)
    for line in (f"Wrote {options.out}: {first}", *others):
        say(line)


def run_show(options: argparse.Namespace) -> None:
    """Write a page that shows a saved network at work, or one to learn from."""
    check_replaceable("--out", options.out)
    if options.lesson:
        _write_lesson(options)
        return
    net = load_model(options.model)
    title = options.model.name if options.title is None else options.title
    write_page(net, options.out, title=title, image=options.image, white=options.white)
    say(f"Wrote {options.out}, {options.out.stat().st_size / 1000:,.0f} kB; open it in a browser")
    if picture := choose_picture(net, options.image, options.white):
        size, white = f"{picture.height}x{picture.width}", f"{picture.white:.6g}"
        say(
            f"{options.out}: inputs are images of {size} pixels from 0 (black) to {white} (white; change it by --white)"
        )


def _write_lesson(options: argparse.Namespace) -> None:
    for name in ("image", "white", "title"):
        if getattr(options, name) is not None:
            raise ArgumentError(f"--{name} is for the page of a MODEL; leave it out with --lesson")
    write_lesson(options.lesson, options.out)
    say(f"Wrote {options.out}; open it in a browser")


def run_info(options: argparse.Namespace) -> None:
    """Say what is in the file of a network or an ensemble."""
    for line in [*describe_file(options.model)]:  # nothing, if there is an error in it
        say(line)


def describe_file(path: Path) -> Iterator[str]:
    """Describe what is in a file, line by line."""
    model = load_model(path)
    yield f"{path}: {model}"
    yield from describe_model(model, path)
    if isinstance(model, Network):
        yield from model.provenance.describe()
        return
    trainings = [net.provenance.runs for net in model]
    for k, net in enumerate(model):
        seed, *runs = net.provenance.describe()
        if runs and (first := trainings.index(trainings[k])) < k:
            runs = [f"Trained as member {first}"]
        lines = [describe_last_training(net), seed, *runs]
        yield from (f"{'  ' if i else f'Member {k}: '}{line}" for i, line in enumerate(lines))


def describe_model(model: Network | Ensemble, path: Path) -> Iterator[str]:
    """Describe a network or an ensemble line by line: its training and its scores, its target and its inputs."""
    columns, net = load_columns(model, path), networks_of(model)[0]
    if model is net:
        yield describe_last_training(net)
    elif model.feature_names is None and columns is None and "data" not in net.notes:  # not by the command
        return
    if isinstance(net.notes.get("score"), str):
        yield net.notes["score"]
    if note := load_note(model, path):
        yield f"Held out for testing: {note}"
    if isinstance(net.notes.get("folds"), int):
        yield f"Members: {len(networks_of(model))}, each of which left out one of {net.notes['folds']} folds"
    yield from describe_calibration(model)
    if columns is None:
        yield f"Inputs: {net.sizes[0]:,}" + (f", {list_names(net.feature_names)}" if net.feature_names else "")
        return
    classes = f", classes {list_names(columns.labels)}" if columns.labels else ", a number"
    yield f"Target: {columns.target!r}{classes}{' in %' if columns.unit else ''}"
    used = sum(bool(column.inputs) for column in columns.features)
    yield f"Inputs: {net.sizes[0]:,}, from {used:,} column{'s' if used != 1 else ''}"
    width = min(max(len(repr(column.name)) for column in columns.features), MOST_WIDTH)
    for column in columns.features:
        yield f"  {column.name!r:{width}}  {column.describe()}"


def describe_calibration(model: Network | Ensemble) -> Iterator[str]:
    """Say what a calibration corrects, if there was one."""
    if model.temperature is not None:
        yield f"Calibrated: probabilities at the temperature {model.temperature:.3g}"
    elif model.calibration is not None:
        yield f"Calibrated: error bars, by the errors of {len(model.calibration):,} predictions"


def describe_last_training(net: Network) -> str:
    """Describe the last training of a network in a line."""
    data = f" on {net.notes['data']}" if isinstance(net.notes.get("data"), str) else ""
    n = len(net.history)
    cost = f", training cost {net.history['cost'][-1]:.6g}" if n else ""
    trained = f"Trained for {n:,} epoch{'s' if n != 1 else ''}{data}{cost}" if n else "Not trained"
    return f"{trained}; {net.summary().parameters:,} weights and biases"


def run_backends(options: argparse.Namespace) -> None:
    """List libraries and devices, with the reason and the remedy for libraries that cannot be used."""
    for name in BACKENDS:
        try:
            backend = get_backend(name)
        except RuntimeError as error:
            print(f"{name:8}cannot be used: {error}")
        else:
            print(f"{name:8}can be used on {', '.join(backend.devices())}, {backend.remark}")


# Saved networks and their predictions


def load(options: argparse.Namespace) -> tuple[Network | Ensemble, Columns | None]:
    """Load a network or an ensemble, and the columns of the table that it was trained on, if any."""
    model = load_model(options.model, backend=options.backend, device=options.device)
    return model, load_columns(model, options.model)


def check_has_intervals(model: Network | Ensemble, options: argparse.Namespace) -> None:
    """Refuse an impossible level, and intervals of a model that predicts classes, or has no error bars."""
    in_range("interval", options.interval, 0, 1, "0.9 is usual", includes_low=False)
    first, option = networks_of(model)[0], f"--interval {options.interval:g}"
    if first.task != "regression":
        raise ArgumentError(f"{option} is for regressions, and {options.model} predicts classes; leave it out")
    if model.calibration is None and not (first.value.model.cost.has_std or first.value.model.cost.levels):
        raise ArgumentError(
            f"{option} needs error bars, and {options.model} has none: `xpnet train` calibrates them for tables, and "
            "--cost gaussian predicts them"
        )


def predict_rows(
    model: Network | Ensemble, x: np.ndarray, columns: Columns | None, level: float | None = None
) -> tuple[list[str], Iterator[Any]]:
    """Predict examples; return the names of the columns, and a row of values for each example."""
    first = networks_of(model)[0]

    def on_host(values: Any) -> np.ndarray:
        return model.backend.to_numpy(values).reshape(len(x), -1)

    predicted = on_host(model.predict(x))
    if first.task not in ("classification", "binary"):
        distribution = first.value.model.cost.distribution
        parts = {"prediction": predicted}
        if distribution is not None and distribution.std is not None:
            parts["std"] = on_host(model.predict(x, return_std=True)[1])
        if level is not None:
            parts["lower"], parts["upper"] = map(on_host, model.interval(x, level))
        names = [
            name if part.shape[1] == 1 else f"{name}_{k}" for name, part in parts.items() for k in range(part.shape[1])
        ]
        return names, iter(np.concatenate([*parts.values()], axis=1))
    probabilities, classes = on_host(model.predict_proba(x)), predicted[:, 0]
    if first.task == "binary":
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    labels = columns.labels if columns is not None else range(len(probabilities[0]))
    return ["prediction", "probability"], ((labels[k], row[k]) for k, row in zip(classes, probabilities))


def find_formulas(columns: Columns | None) -> list[str]:
    """Find classes that a spreadsheet would compute: they begin as formulas do, and are no numbers."""
    labels = () if columns is None else columns.labels
    return [label for label in labels if label.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(label)]
