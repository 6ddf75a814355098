"""Notes in the file of a network: the table that it was trained on, the test rows, and its scores."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from xpnet.cli._data import NewData, XAndY, choose_examples, read_test_data
from xpnet.cli._files import networks_of
from xpnet.errors import ArgumentError
from xpnet.files import explain_errors
from xpnet.inference.metrics import Metric
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables.held_out import NAME, Division, Note, read_note
from xpnet.tables.reading import Columns
from xpnet.tables.scores import Scores, score

SAME = 1e-4  # relative difference of costs that two backends may have on the same examples


def load_columns(model: Network | Ensemble, path: Path) -> Columns | None:
    """Return the columns of the table that the network or the ensemble in a file was trained on, if any."""
    net = networks_of(model)[0]
    n_classes = {"regression": 0, "binary": 2}.get(net.task, net.sizes[-1])
    with explain_errors(path):
        return Columns.of(net.feature_names, net.notes, n_classes)


def load_note(model: Network | Ensemble, path: Path) -> Note | None:
    """Read how the command held rows out when it trained what is in a file; see `read_note`."""
    with explain_errors(path):
        return read_note(networks_of(model)[0].notes)


def note_hold_out(net: Network, division: Division | None, cost: float) -> None:
    """Write into a network's notes how rows were held out, and the cost on those to test on."""
    if division is not None and division.test.any() and math.isfinite(cost):
        net.notes[NAME] = Note(division.hold_out, len(division.test), int(division.test.sum()), cost).to_dict()


def find_held_out(model: Network | Ensemble, note: Note | None, new: NewData, name: str) -> XAndY | None:
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
    path: Path,
    old: Network | Ensemble,
    options: argparse.Namespace,
    division: Division | None,
    metrics: Sequence[Metric],
    *,
    is_tested: bool,
) -> str:
    """Describe what is replaced in a file: its scores on the same rows, or those that it has noted.

    Parameters
    ----------
    path
        The file.
    old
        The network or the ensemble that was in it.
    options, division
        The options of the training of the new one, and how it held rows out.
    metrics
        Further metrics that the new one was scored by.
    is_tested
        Whether there are rows that the new one was tested on.
    """
    kind, noted = ("an ensemble" if isinstance(old, Ensemble) else "a network"), networks_of(old)[0].notes.get("score")
    recorded = f'"{noted}"' if isinstance(noted, str) else "it recorded no score"
    if not is_tested:  # it may have been trained on the rows
        return f"{kind}: {recorded}"
    try:
        scores = _score_on_same_rows(path, old, options, division, metrics)
        note = load_note(old, path)
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError):  # it has other inputs
        return f"{kind} that cannot be evaluated on these test rows: {recorded}"
    same = division is None or (note and (note.hold_out, note.rows) == (division.hold_out, len(division.test)))
    return f"{kind} with {scores} on these test rows" + ("" if same else ", some of which it may have been trained on")


def _score_on_same_rows(
    path: Path,
    old: Network | Ensemble,
    options: argparse.Namespace,
    division: Division | None,
    metrics: Sequence[Metric],
) -> Scores:
    """Score a model on the rows that another one is tested on; the file of a table is read again for it."""
    columns, target = load_columns(old, path), options.target if Path(options.data).suffix == ".npy" else None
    in_bytes = networks_of(old)[0].scale is not None
    examples = read_test_data(options.data, columns, in_bytes=in_bytes, target=target).examples
    if division is not None:
        rows = division.test
        if len(rows) != len(examples[1]):
            raise ArgumentError("its targets are in other rows")
        examples = choose_examples(*examples, rows)
    return score(old, examples, metrics)
