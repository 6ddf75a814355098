"""Scores of networks as the commands print them: on test data, on rows held out before, and of a network replaced."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xpnet.checkpoint.file import explain_errors
from xpnet.cli.data import Data, NewData, Split, choose_examples, read_test_data
from xpnet.cli.holdout import NAME, Note, read_note
from xpnet.cli.tables import Columns
from xpnet.data.sources import make_source
from xpnet.network import Network
from xpnet.training.evaluate import measure
from xpnet.training.metrics import Metric, accuracy, correct, mean_absolute_error, r2
from xpnet.wording.errors import unless_stopped

SAME = 1e-4  # relative difference of costs that two backends may have on the same examples
RECORDED = ("test_r2", "test_accuracy", "test_cost")  # in a history


class Scores(NamedTuple):
    """How good a network is on data."""

    name: str  # of the first score: accuracy, or R2
    values: str  # that score, and further ones with their names
    cost: float

    def __str__(self) -> str:
        return f"{self.name}: {self.values}"

    def describe(self, heading: str) -> str:
        """Format them as a sentence; `heading` names the data, with {} in place of the first score."""
        text = f"{heading.format(self.name)}: {self.values}"
        return text[0].upper() + text[1:]


def score(net: Network, data: Any, extra: Sequence[Metric] = ()) -> Scores:
    """Compute a network's scores on data: its accuracy, or R2 and mean absolute error, and extra metrics."""
    basic = (r2, mean_absolute_error) if net.task == "regression" else (accuracy, correct)
    extra = [metric for metric in extra if metric not in basic]
    scores = measure(net.view, make_source(data, "data", net.view.reader), [*basic, *extra])
    if net.task == "regression":
        name, values = "R2", f"{scores['r2']:.4f}, mean absolute error: {scores['mean_absolute_error']:.6g}"
    else:
        name, values = "accuracy", f"{scores['accuracy']:.2%} ({scores['correct']}/{scores['size']})"
    values += "".join(f", {metric.name}: {scores[metric.name]:.6g}" for metric in extra)
    return Scores(name, values, scores["cost"])


def load_columns(net: Network, path: Path) -> Columns | None:
    """Return the columns of the table that the network in a file was trained on, if any."""
    n_classes = {"regression": 0, "binary": 2}.get(net.task, net.sizes[-1])
    with explain_errors(path):
        return Columns.of(net.feature_names, net.notes, n_classes)


def load_note(net: Network, path: Path) -> Note | None:
    """Read how the command held rows out when it trained the network in a file; see `read_note`."""
    with explain_errors(path):
        return read_note(net.notes)


def note_hold_out(net: Network, data: Data, cost: float) -> None:
    """Write into a network's notes how rows were held out, and the cost on those to test on."""
    if data.division is not None and data.test is not None and math.isfinite(cost):
        test = data.division.test
        net.notes[NAME] = Note(data.division.hold_out, len(test), int(test.sum()), cost).to_dict()


def find_held_out(net: Network, note: Note | None, new: NewData, name: str) -> Split | None:
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
    now = measure(net.view, make_source(examples, "data", net.view.reader))["cost"]
    return examples if math.isclose(now, note.cost, rel_tol=SAME) else None


def describe_replaced(
    path: Path, old: Network, options: argparse.Namespace, data: Data, metrics: Sequence[Metric]
) -> str:
    """Describe the network that another replaces in a file: its scores, on the same rows if it can be evaluated there.

    Parameters
    ----------
    path
        The file.
    old
        The network that was in it.
    options, data
        The options and the data of the training of the new one.
    metrics
        Further metrics that the new one was scored by.
    """
    rows = f"these {'test' if data.test else 'training'} rows"
    try:
        scores = _score_on_same_rows(path, old, options, data, metrics)
        note = load_note(old, path)
    except unless_stopped(ValueError, TypeError, OSError, RuntimeError, ArithmeticError):  # it has other inputs
        last = old.history.rows[-1] if old.history.rows else {}
        recorded = [f"{name.replace('_', ' ')}: {last[name]:.6g}" for name in RECORDED if type(last.get(name)) is float]
        return f"a network that cannot be evaluated on {rows}; " + (recorded[0] if recorded else "it recorded no score")
    division = data.division
    same = division is None or (note and (note.hold_out, note.rows) == (division.hold_out, len(division.test)))
    return f"a network with {scores} on {rows}" + ("" if same else ", some of which it may have been trained on")


def _score_on_same_rows(
    path: Path, old: Network, options: argparse.Namespace, data: Data, metrics: Sequence[Metric]
) -> Scores:
    """Score a network on the rows that another one was scored on; the file of a table is read again for it."""
    columns, target = load_columns(old, path), options.target if Path(options.data).suffix == ".npy" else None
    examples = read_test_data(options.data, columns, in_bytes=old.scale is not None, target=target).examples
    if data.division is not None:
        rows = data.division.test if data.test else data.division.train
        if len(rows) != len(examples[1]):
            raise ValueError("its targets are in other rows")
        examples = choose_examples(*examples, rows)
    return score(old, examples, metrics)
