"""The commands ``xpnet evaluate``, ``predict``, ``info``, ``export``, ``show`` and ``backends``."""

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet._checks import in_range, list_names, printable
from xpnet.backends import BACKENDS, get_backend
from xpnet.cli._data import SETS, fit_pixels, read_arrays, read_inputs, read_pair, split_names
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.export import to_onnx, write_lesson, write_page
from xpnet.export.onnx import describe_onnx
from xpnet.files import is_ensemble, read_file, write_file
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.pages import choose_picture
from xpnet.tables.columns import Encoded, find_texts, group_parts, name_inputs
from xpnet.tables.encoding import find_columns, find_importances, find_labels
from xpnet.tables.reading import Table, is_table, read_table
from xpnet.tables.scores import score
from xpnet.training import parse_metrics


def _load(path: Path, **place: Any) -> tuple[Network | Ensemble, list[Network]]:
    """Load the network or the ensemble in the file MODEL; return it, and all of its networks."""
    try:
        if is_ensemble(read_file(path)):
            ensemble = Ensemble.load(path, **place)
            return ensemble, list(ensemble)
        net = Network.load(path, **place)
        return net, [net]
    except CheckpointError as error:
        if not is_table(str(path)):
            raise
        raise ArgumentError(f"{path} is a table; give a file written by xpnet train --save first, as MODEL") from error


def _read_new_table(name: str, net: Network, others: Sequence[str] = ()) -> tuple[Table, Encoded]:
    """Read a table as the one that a network was trained on, and encode it; read columns `others` as texts, too."""
    columns = find_columns(net)
    if not columns:
        raise ArgumentError(
            f"{name} is a table, and the network was not trained on one by xpnet train; give its inputs as a .npy array"
        )
    table = read_table(name, [*find_texts(columns), *others], net.notes.get("decimal", ""))
    encoded = table.encode(columns)
    _print_remarks(*encoded.describe(table.name))
    return table, encoded


def _print_remarks(*remarks: str) -> None:
    """Print remarks on standard error; results go to standard output."""
    for remark in remarks:
        print(f"xpnet: {printable(remark)}", file=sys.stderr)


def run_evaluate(options: argparse.Namespace) -> None:
    """Report how good a saved model is on test data, or on all rows of a table or .npy file."""
    model, (net, *_) = _load(options.model, backend=options.backend, device=options.device)
    name = options.data or next(iter(SETS))
    heading = "All {:,} rows:" if is_table(name) or name.endswith(".npy") else "Test"
    if is_table(name):
        table, encoded = _read_new_table(name, net)
        targets = table.read_targets(net.notes, find_labels(net) or ())
        _print_remarks(*table.describe_rows(targets))
        x, y = encoded.x[targets.rows], targets.y
    elif name.endswith(".npy"):
        x, y = read_pair(name, options.target)
    else:
        x, y = read_arrays(name)[1]
        if name in SETS and net.scale is not None:
            x = np.round(255 * x).astype(np.uint8)
    metrics = parse_metrics("metrics", options.metrics or [], net.value.model)
    print(heading.format(len(y)), score(model, (fit_pixels(x, net), y), metrics))
    if is_table(name) and net.notes.get("data") == Path(name).name:
        print(f"The network was trained on a table of this name; its score then: {printable(net.notes.get('score'))}")


def run_predict(options: argparse.Namespace) -> None:
    """Write the predictions of a saved model as CSV, one row per example."""
    model, (net, *_) = _load(options.model, backend=options.backend, device=options.device)
    copies: dict[str, list[str]] = {}
    if net.task == "regression" and options.probabilities:
        raise ArgumentError("--probabilities is for classes, and the network predicts numbers; leave it out")
    if net.task != "regression" and options.interval is not None:
        raise ArgumentError(
            f"--interval {options.interval:g} is for regressions, and the network predicts classes; leave it out"
        )
    if options.interval is not None:
        in_range("--interval", options.interval, 0, 1, "0.9 is usual", includes_low=False)
    if is_table(str(options.file)):
        kept = split_names(options.keep)
        table, encoded = _read_new_table(str(options.file), net, kept)
        copies = table.copy_columns(kept)
    elif options.keep:
        raise ArgumentError(f"--keep is for tables, and {options.file} is not one; leave it out")
    else:
        x = read_inputs(options.file, net)
        encoded = Encoded(x, (), np.zeros((len(x), 0), bool))
    x = encoded.x
    columns: dict[str, Any]
    if net.task == "regression":
        columns = _predict_numbers(model, net, x, options.interval)
    else:
        columns = _predict_classes(model, net, x, options.probabilities)
    formulas = [label for label in find_labels(net) or () if re.match(r"[=+\-@\t\r](?![\d.]+$)", label)]
    if formulas:
        _print_remarks(f"a spreadsheet may compute these classes: {list_names(formulas)}")
    if options.novelty:
        columns["novelty"] = encoded.novelty(model)
    if clashes := copies.keys() & columns.keys():
        raise ArgumentError(f"--keep names {min(clashes)!r}, which a column of the predictions is called; rename it")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*copies, *columns])
    writer.writerows(zip(*copies.values(), *columns.values()))
    if options.out:
        write_file(options.out, file.getvalue().encode())
        print(printable(f"Wrote {len(x):,} predictions to {options.out}"))
        return
    lines = file.getvalue().splitlines(keepends=True)  # with PYTHONUNBUFFERED, Python loses parts of longer texts
    sys.stdout.writelines(f"{printable(line[:-1])}\n" if sys.stdout.isatty() else line for line in lines)


def _predict_numbers(model: Network | Ensemble, net: Network, x: Any, level: float | None) -> dict[str, np.ndarray]:
    """Predict numbers, and the bounds of their intervals if there is a level; return the columns of the result."""
    has_std = net.value.model.cost.has_std
    predicted = model.predict(x, return_std=True) if has_std else (model.predict(x),)
    parts: dict[str, Any] = dict(zip(("prediction", "std"), predicted))
    if level is not None:
        try:
            parts["lower"], parts["upper"] = model.interval(x, level)
        except ArgumentError as error:
            raise ArgumentError(f"--interval {level:g}: {error}") from error
    return _name_columns(model, parts)


def _predict_classes(
    model: Network | Ensemble, net: Network, x: Any, lists_all: bool
) -> dict[str, np.ndarray | list[Any]]:
    """Predict classes, each with its probability, or several labels; list the probabilities of all, if wanted."""
    p = model.backend.to_numpy(model.predict_proba(x)).reshape(-1, net.sizes[-1])
    p = np.concatenate([1 - p, p], axis=1) if net.task == "binary" else p
    labels = find_labels(net) or range(p.shape[1])
    columns: dict[str, Any] = _name_columns(model, {"prediction": model.predict(x)})
    if net.task != "multilabel":
        columns = {"prediction": [labels[k] for k in columns["prediction"]], "probability": p.max(axis=1)}
    return columns | ({f"probability of {label}": p[:, k] for k, label in enumerate(labels)} if lists_all else {})


def _name_columns(model: Network | Ensemble, parts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the columns of several results on the host, by their names, with numbers if a result has several."""
    columns = dict[str, np.ndarray]()
    for name, part in parts.items():
        values = model.backend.to_numpy(part)
        values = values.reshape(len(values), -1)
        for k in range(values.shape[1]):
            columns[name if values.shape[1] == 1 else f"{name}_{k}"] = values[:, k]
    return columns


def run_export(options: argparse.Namespace) -> None:
    """Write a saved network as an ONNX file."""
    net, _ = _load(options.model)
    net = net if options.dtype is None else net.to(dtype=options.dtype)
    to_onnx(net, options.out, encoder=False if options.encoded else None)
    first, *others = describe_onnx(options.out)
    for line in (f"Wrote {options.out}: {first}", *others):
        print(printable(line))


def run_show(options: argparse.Namespace) -> None:
    """Write a page that shows a saved network at work, or one to learn from."""
    if (options.model is None) == (options.lesson is None):
        raise ArgumentError("show needs either MODEL, a file written by train --save, or --lesson")
    picture = None
    if options.lesson:
        write_lesson(options.lesson, options.out)
    else:
        net, _ = _load(options.model)
        write_page(net, options.out, title=options.model.name, image=options.image, white=options.white)
        picture = choose_picture(net, options.image, options.white)
    print(printable(f"Wrote {options.out}; open it in a browser"))
    if picture:
        white = f"{picture.white:.6g} (white; change it by --white)"
        print(f"Inputs are images of {picture.height}x{picture.width} pixels from 0 (black) to {white}")


def run_info(options: argparse.Namespace) -> None:
    """Say what is in the file of a network or an ensemble."""
    model, networks = _load(options.model)
    for line in [f"{options.model}: {model}", *_describe(model, networks)]:
        print(printable(line))


def _describe(model: Network | Ensemble, networks: list[Network]) -> Iterator[str]:
    """Describe a model line by line: its training and its scores, its target and its inputs."""
    net = networks[0]
    columns, notes = find_columns(net), net.notes
    for key, text in (("data", "Trained on {}"), ("score", "{}")):
        if key in notes:
            yield text.format(notes[key])
    if model.temperature is not None:
        yield f"Calibrated: probabilities at the temperature {model.temperature:.3g}"
    elif model.calibration is not None:
        yield f"Calibrated: error bars, by the errors of {len(model.calibration):,} predictions"
    if columns:
        labels = find_labels(net)
        yield f"Target: {notes.get('target')!r}, {f'classes {list_names(labels)}' if labels else 'a number'}"
    names = net.feature_names or ()
    yield f"Inputs: {net.sizes[0]:,}" + ("" if columns or not names else f", {list_names(names)}")
    groups, importances = group_parts(columns), find_importances(net)
    if importances:
        yield "Columns, by importance (± standard deviation over the networks):"
    for name in sorted(groups, key=lambda name: (not name_inputs(groups[name]), -importances.get(name, (0, 0))[0])):
        importance = "{:.3f} ± {:.3f}  ".format(*importances[name]) if name in importances else ""
        yield f"  {importance}{name!r}  {'; and '.join(part.describe() for part in groups[name])}"
    yield from dict.fromkeys(line for each in networks for line in each.provenance.describe())


def run_backends(options: argparse.Namespace) -> None:
    """List libraries and devices, with the reason and the remedy for libraries that cannot be used."""
    for name in BACKENDS:
        try:
            backend = get_backend(name)
        except RuntimeError as error:
            print(f"{name:8}cannot be used: {error}")
        else:
            print(f"{name:8}can be used on {', '.join(backend.devices())}, {backend.remark}")
