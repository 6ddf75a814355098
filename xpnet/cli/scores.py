"""Scores of networks as the commands print them: on test data, on rows held out before, and of a network replaced."""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpnet.backends import get_backend
from xpnet.cli._data import Data, NewData, Split, choose_examples, read_test_data
from xpnet.cli._files import Model, networks_of
from xpnet.errors import ArgumentError
from xpnet.files import explain_errors
from xpnet.inference.metrics import Metric, accuracy, correct, log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables._held_out import NAME, Note, read_note
from xpnet.tables._recipe import predict_out_of_fold
from xpnet.tables.reading import Columns

SAME = 1e-4  # relative difference of costs that two backends may have on the same examples
LEVEL = 0.9  # of intervals that are judged
FEWEST_ERRORS = 9  # by which intervals of this level are calibrated


class Scores(NamedTuple):
    """How good a network is on data."""

    name: str  # of the first score: accuracy, or R2
    values: str  # that score, and further ones with their names
    cost: float  # NaN where it is not measured

    def __str__(self) -> str:
        return f"{self.name}: {self.values}"

    def describe(self, heading: str) -> str:
        """Format them as a sentence; `heading` names the data, with {} in place of the first score."""
        text = f"{heading.format(self.name)}: {self.values}"
        return text[0].upper() + text[1:]


def score(model: Model, data: Split, extra: Sequence[Metric] = (), *, intervals: bool = True) -> Scores:
    """Compute scores of a network or an ensemble on data.

    They are accuracy, or R2 and mean absolute error; after a calibration also the log loss, or the fraction of targets
    within intervals, if `intervals` are to be judged and there were enough errors for them; and extra metrics.
    """
    metrics = choose_metrics(model, extra)
    scores = model.measure(data, metrics=metrics)
    errors = () if model.calibration is None else model.calibration
    if intervals and len(errors) >= FEWEST_ERRORS and not networks_of(model)[0].value.model.cost.levels:
        rows = model.coverage(data, [LEVEL]).rows
        scores["coverage"] = sum(row["measured"] for row in rows) / len(rows)
    return format_scores(scores, metrics)


def score_folds(ensemble: Ensemble, data: Split, folds: Sequence[np.ndarray], extra: Sequence[Metric] = ()) -> Scores:
    """Compute scores of the predictions of rows by the members that have not learnt from them, as in `score`."""
    metrics, host, (x, y) = choose_metrics(ensemble, extra), get_backend(), data
    rows = np.unique(np.concatenate(folds))
    predicted = predict_out_of_fold(ensemble, x, folds)[rows]
    n = predicted.shape[1]
    targets = np.eye(n)[y[rows]] if y.ndim == 1 and n > 1 else y[rows].reshape(-1, n).astype(np.float64)
    parts = [metric.measure(targets, predicted, ensemble[0].task, host.xp) for metric in metrics]
    scores = {metric.name: metric.combine([part], [len(rows)], host) for metric, part in zip(metrics, parts)}
    return format_scores({**scores, "size": len(rows), "cost": math.nan}, metrics)


def choose_metrics(model: Model, extra: Sequence[Metric]) -> list[Metric]:
    """Choose the metrics of a model's scores, the usual ones first."""
    first = networks_of(model)[0]
    usual = [r2, mean_absolute_error] if first.task == "regression" else [accuracy, correct]
    usual += [log_loss] if model.temperature is not None and first.task in log_loss.tasks else []
    return list(dict.fromkeys([*usual, *extra]))


def format_scores(scores: Mapping[str, float], metrics: Sequence[Metric]) -> Scores:
    """Format scores, by the names of the metrics; and the coverage of intervals, if it is among them."""
    if r2 in metrics:
        name, values = "R2", f"{scores['r2']:.4f}, mean absolute error: {scores['mean_absolute_error']:.6g}"
    else:
        name, values = "accuracy", f"{scores['accuracy']:.2%} ({scores['correct']}/{scores['size']})"
    if "coverage" in scores:
        values += f", within {LEVEL:.0%} intervals: {scores['coverage']:.1%}"
    if log_loss in metrics:
        values += f", log loss: {scores['log_loss']:.4f}"
    others = [metric for metric in metrics if metric not in (r2, mean_absolute_error, accuracy, correct, log_loss)]
    values += "".join(f", {metric.name}: {scores[metric.name]:.6g}" for metric in others)
    return Scores(name, values, float(scores["cost"]))


def load_columns(model: Model, path: Path) -> Columns | None:
    """Return the columns of the table that the network or the ensemble in a file was trained on, if any."""
    net = networks_of(model)[0]
    n_classes = {"regression": 0, "binary": 2}.get(net.task, net.sizes[-1])
    with explain_errors(path):
        return Columns.of(net.feature_names, net.notes, n_classes)


def load_note(model: Model, path: Path) -> Note | None:
    """Read how the command held rows out when it trained what is in a file; see `read_note`."""
    with explain_errors(path):
        return read_note(networks_of(model)[0].notes)


def note_hold_out(net: Network, data: Data, cost: float) -> None:
    """Write into a network's notes how rows were held out, and the cost on those to test on."""
    if data.division is not None and data.test is not None and math.isfinite(cost):
        test = data.division.test
        net.notes[NAME] = Note(data.division.hold_out, len(test), int(test.sum()), cost).to_dict()


def find_held_out(model: Model, note: Note | None, new: NewData, name: str) -> Split | None:
    """Return the examples that training held out to test on; None if the data are not what training had.

    They are if the cost on the rows that would be held out is the one that was measured then.
    """
    x, y = new.examples
    if note is None or len(y) != note.rows or (note.hold_out.group is not None and new.groups is None):
        return None
    try:
        rows = note.hold_out.choose("test_split", note.hold_out.test_split, y, name, new.groups)
    except ValueError:  # the groups are others
        return None
    examples = choose_examples(x, y, rows)
    now = model.measure(examples, metrics=[])["cost"]
    return examples if math.isclose(now, note.cost, rel_tol=SAME) else None


def describe_replaced(
    path: Path, old: Model, options: argparse.Namespace, data: Data, metrics: Sequence[Metric]
) -> str:
    """Describe what is replaced in a file: its scores on the same rows, or those that it has noted.

    Parameters
    ----------
    path
        The file.
    old
        The network or the ensemble that was in it.
    options, data
        The options and the data of the training of the new one.
    metrics
        Further metrics that the new one was scored by.
    """
    kind, noted = ("an ensemble" if isinstance(old, Ensemble) else "a network"), networks_of(old)[0].notes.get("score")
    recorded = f'"{noted}"' if isinstance(noted, str) else "it recorded no score"
    if data.test is None:  # rows that it may have been trained on
        return f"{kind}: {recorded}"
    try:
        scores = _score_on_same_rows(path, old, options, data, metrics)
        note = load_note(old, path)
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError):  # it has other inputs
        return f"{kind} that cannot be evaluated on these test rows: {recorded}"
    division = data.division
    same = division is None or (note and (note.hold_out, note.rows) == (division.hold_out, len(division.test)))
    return f"{kind} with {scores} on these test rows" + ("" if same else ", some of which it may have been trained on")


def _score_on_same_rows(
    path: Path, old: Model, options: argparse.Namespace, data: Data, metrics: Sequence[Metric]
) -> Scores:
    """Score a model on the rows that another one is tested on; the file of a table is read again for it."""
    columns, target = load_columns(old, path), options.target if Path(options.data).suffix == ".npy" else None
    in_bytes = networks_of(old)[0].scale is not None
    examples = read_test_data(options.data, columns, in_bytes=in_bytes, target=target).examples
    if data.division is not None:
        rows = data.division.test
        if len(rows) != len(examples[1]):
            raise ArgumentError("its targets are in other rows")
        examples = choose_examples(*examples, rows)
    return score(old, examples, metrics)
