"""Scores of networks as the commands print them: on test data, and on the rows that training held out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpnet.checkpoint.file import explain_errors
from xpnet.cli.data import Data, NewData, Split, choose_examples
from xpnet.cli.holdout import NAME, HoldOut, read_note
from xpnet.cli.tables import Columns
from xpnet.data.sources import make_source
from xpnet.network import Network
from xpnet.training.evaluate import measure
from xpnet.training.metrics import Metric, accuracy, correct, mean_absolute_error, r2

SAME = 1e-4  # relative difference of costs that two backends may have on the same examples


def score(net: Network, data: Any, heading: str, extra: Sequence[Metric] = ()) -> tuple[str, float]:
    """Format a network's scores on data: its accuracy, or R2 and mean absolute error, and extra metrics.

    `heading` names the data, with {} in place of "accuracy" or "R2". Also return the cost.
    """
    basic = (r2, mean_absolute_error) if net.task == "regression" else (accuracy, correct)
    extra = [metric for metric in extra if metric not in basic]
    scores = measure(net.view, make_source(data, "data", net.view.reader), [*basic, *extra])
    if net.task == "regression":
        text = f"{heading.format('R2')}: {scores['r2']:.4f}, mean absolute error: {scores['mean_absolute_error']:.6g}"
    else:
        text = f"{heading.format('accuracy')}: {scores['accuracy']:.2%} ({scores['correct']}/{scores['size']})"
    text += "".join(f", {metric.name}: {scores[metric.name]:.6g}" for metric in extra)
    return text[0].upper() + text[1:], scores["cost"]


def load_columns(net: Network, path: Path) -> Columns | None:
    """Return the columns of the table that the network in a file was trained on, if any."""
    n_classes = {"regression": 0, "binary": 2}.get(net.task, net.sizes[-1])
    with explain_errors(path):
        return Columns.of(net.feature_names, net.notes, n_classes)


def load_hold_out(net: Network, path: Path) -> tuple[HoldOut, int, float] | None:
    """Read how the command held rows out when it trained the network in a file; see `read_note`."""
    with explain_errors(path):
        return read_note(net.notes)


def note_hold_out(net: Network, data: Data, cost: float) -> None:
    """Write into a network's notes how rows were held out, and the cost on those to test on."""
    if data.division is not None and data.test is not None and math.isfinite(cost):
        net.notes[NAME] = data.division.hold_out.note(len(data.division.test), cost)


def find_held_out(net: Network, note: tuple[HoldOut, int, float] | None, new: NewData, name: str) -> Split | None:
    """Return the examples that training held out to test on; None if the data are not what training had.

    They are if the cost on the rows that would be held out is the one that was measured then.
    """
    (x, y), (hold_out, n, cost) = new.examples, note or (HoldOut(), -1, math.nan)
    if len(y) != n or (hold_out.group is not None and new.groups is None):
        return None
    try:
        rows = hold_out.choose("test_split", hold_out.test_split, y, name, new.groups)
    except ValueError:  # the groups are others
        return None
    examples = choose_examples(x, y, rows)
    now = measure(net.view, make_source(examples, "data", net.view.reader))["cost"]
    return examples if math.isclose(now, cost, rel_tol=SAME) else None
