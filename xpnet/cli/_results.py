"""Results of ``xpnet train``: files, curves, scores, also of a training that was interrupted."""

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpnet.cli._files import check_file, check_replaceable, is_in_use, load_replaced, name_data, networks_of
from xpnet.cli._printing import print_remarks, say, speaks
from xpnet.cli._saved import describe_replaced, note_hold_out
from xpnet.errors import ArgumentError
from xpnet.files import write_file
from xpnet.inference.metrics import Metric
from xpnet.network.ensemble import Ensemble, join_networks
from xpnet.network.network import Network
from xpnet.tables.folds import count_folds
from xpnet.tables.held_out import TEST_SPLIT, Division, HoldOut
from xpnet.tables.scores import Scores
from xpnet.value import History

SAVING = ("checkpoint", "every", "resume")  # options that are arguments of `train`, too
PICTURES = (".png", ".pdf", ".svg", ".jpg")


class TrainingResult(NamedTuple):
    """A trained network or ensemble, with its scores.

    Parameters
    ----------
    model
        The network or the ensemble.
    metrics
        The metrics that the user wants.
    division
        Which rows were held out, if they were chosen here.
    heading, scores
        Its scores, and on which rows, with {} in place of the first score.
    patience
        That of early stopping; None without it.
    seconds
        How long the training took.
    """

    model: Network | Ensemble
    metrics: Sequence[Metric]
    division: Division | None
    heading: str
    scores: Scores
    patience: int | None
    seconds: float

    @property
    def histories(self) -> list[History]:
        """The history of each network."""
        return [network.history for network in networks_of(self.model)]


def make_hold_out(options: argparse.Namespace) -> HoldOut:
    """Make the rule by which rows are held out."""
    split = TEST_SPLIT if options.test_split is None else options.test_split
    if (options.test_last or options.test_group is not None) and split == 0 and options.validation_split is None:
        option = "--test-last" if options.test_last else f"--test-group {options.test_group}"
        raise ArgumentError(f"{option} needs rows to hold out; give --test-split above 0")
    return HoldOut(split, options.seed, options.test_group, options.test_last)


def choose_groups(members: int, division: Division | None, n: int, name: str) -> np.ndarray | None:
    """Choose the groups of the n rows to train on, whose rows members leave out together, as they are for testing.

    They are those of the user, or parts that follow one another if the last rows are held out; None for single rows.
    """
    groups = None if division is None or division.groups is None else division.groups[~division.test]
    if n < 2 or (groups is not None and len(np.unique(groups)) < 2):
        one = "row" if n < 2 else "group"
        raise ArgumentError(
            f"each member leaves out a part of the rows, and {name} has one {one} to train on; give --members 1 "
            "--validation-split 0"
        )
    if division is not None and division.hold_out.last:
        return np.char.zfill((np.arange(n) * count_folds(n, members) // n).astype(str), 9)  # in the order of texts
    return groups


def report_training(options: argparse.Namespace, result: TrainingResult) -> None:
    """Save what was trained, draw its learning curve, and say how the training went."""
    text = result.scores.describe(result.heading)
    if options.save:
        for network in networks_of(result.model):
            network.notes["score"] = text
            note_hold_out(network, result.division, result.scores.cost)
        saved = save_model(options, result)
        if not options.quiet:
            say(saved)
    if options.log and isinstance(result.model, Ensemble):
        write_log(options.log, result.histories)
    if options.plot:
        save_curve(mean_history(result.histories), options.plot)
    if options.plot and not options.quiet:
        say(f"Drew the learning curve to {options.plot}")
    if not options.quiet and (best := find_best_epochs(result.histories, result.patience)):
        if len(best) == 1:
            print(f"Stopped after epoch {len(result.histories[0])}; the network is that of epoch {best[0]}")
        else:
            print(f"Each network is that of its best epoch, {min(best)} to {max(best)}")
    print(f"{text} {describe_speed(result.histories, result.seconds)}")


def save_model(options: argparse.Namespace, result: TrainingResult) -> str:
    """Save the network or the ensemble; say so, and compare it with what it replaces, if there is something."""
    holds_something = is_in_use(options.save)
    old = load_replaced(options.save) if holds_something else None
    result.model.save(options.save)
    text = f"Saved to {options.save}"
    if old is not None:
        is_tested = result.heading.startswith("Test")
        replaced = describe_replaced(options.save, old, options, result.division, result.metrics, is_tested=is_tested)
        return f"{text}, in place of {replaced}; now it is {result.scores}"
    return f"{text}, in place of something other than a network" if holds_something else text


def describe_speed(histories: Sequence[History], seconds: float) -> str:
    """Format the time that a training took, and its speed within the epochs in examples per second."""
    rows = [row for history in histories for row in history]
    if not rows:
        return "before any training"
    if len(histories) > 1:  # their epochs run at the same time
        return f"after {seconds:.1f} s"
    examples = sum(row["seconds"] * row["examples_per_second"] for row in rows)
    return f"after {seconds:.1f} s, {examples / max(sum(row['seconds'] for row in rows), 1e-9):,.0f} examples/s"


def mean_history(histories: Sequence[History]) -> History:
    """Return the history of a network, or the mean over those of several; networks that have stopped are left out.

    Examples
    --------
    >>> mean_history([History([{"epoch": 1, "cost": 0.5}]), History([{"epoch": 1, "cost": 0.25}])]).rows
    [{'epoch': 1, 'cost': 0.375}]
    """
    if len(histories) == 1:
        return histories[0]
    epochs = [[history.rows[k] for history in histories if len(history) > k] for k in range(max(map(len, histories)))]
    return History(
        [
            {"epoch": rows[0]["epoch"], **{name: sum(row[name] for row in rows) / len(rows) for name in [*rows[0]][1:]}}
            for rows in epochs
        ]
    )


def write_log(path: Path, histories: Sequence[History]) -> None:
    """Write a row for each member and each of its epochs to a CSV file."""
    rows = [{"member": k, **row} for k, history in enumerate(histories) for row in history]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, file.getvalue().encode())


def save_curve(history: History, path: Path) -> None:
    """Draw the learning curve, and write it in the format that the file's suffix names."""
    from xpnet import plots

    plots.history(history).savefig(path, dpi=150)


def find_best_epochs(histories: Sequence[History], patience: int | None) -> list[int]:
    """Find the epochs that early stopping went back to, if it ended the training of a member."""
    names = [*histories[0].rows[0]] if histories[0] else []
    watched = "validation_calibrated_log_loss" if "validation_calibrated_log_loss" in names else "validation_cost"
    if patience is None or watched not in names:
        return []
    best = [int(np.nanargmin(history[watched])) + 1 for history in histories]
    return best if any(len(history) - k >= patience for history, k in zip(histories, best)) else []


class Running:
    """The networks of a training that runs, and the weights with which it began."""

    def __init__(self, *, is_ensemble: bool) -> None:
        self.is_ensemble = is_ensemble
        self.networks: list[Network] = []
        self.layers: list[object] = []

    def add(self, network: Network) -> None:
        """Add a network, before its first step."""
        self.networks.append(network)
        self.layers.append(network.value.layers)

    @property
    def has_learnt(self) -> bool:
        """Whether a step has run."""
        return any(network.value.layers is not layers for network, layers in zip(self.networks, self.layers))


@contextmanager
def save_if_interrupted(
    running: Running, options: argparse.Namespace, epochs: int, members: int, *, calibrates: bool
) -> Iterator[None]:
    """Save the networks as they are when Ctrl-C ends the training, unless no step has run.

    The message names the file, and the checkpoint, which `train` also writes when SIGTERM ends it.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        networks, trained = running.networks, running.has_learnt
        histories = [network.history for network in networks]
        if options.log and running.is_ensemble and histories:
            write_log(options.log, histories)
        if (options.save is None and options.checkpoint is None) or not speaks(options):
            raise
        in_place = ", in place of the earlier file" if options.save and is_in_use(options.save) else ""
        if options.save and trained:
            model = networks[0]
            if running.is_ensemble:
                model = join_networks(networks, [network.provenance.seed for network in networks])
            model.save(options.save)
        epoch = min(max(map(len, histories), default=0) + 1, epochs)
        parts = [f"interrupted in epoch {epoch} of {epochs}" if trained else "interrupted before the first step"]
        if options.save and trained:
            so_far = "the networks so far are" if members > 1 else "the network so far is"
            calibrated = ", without calibration" if calibrates else ""
            parts.append(f"{so_far} saved to {options.save}{calibrated}{in_place}")
        elif options.save:
            parts.append("nothing is saved")
        if options.checkpoint:
            parts.append(f"--resume continues the training in {options.checkpoint}")
        message = "; ".join(parts)
        if isinstance(stop, SystemExit):
            print_remarks([message])
            raise
        raise KeyboardInterrupt(message) from stop


# Files


def check_files(options: argparse.Namespace, members: int) -> None:
    """Refuse contradictory options and files that cannot be written, before anything is read."""
    if options.shards is not None and not options.distributed:
        raise ArgumentError(f"--shards {options.shards} needs --distributed")
    if options.early_stopping is not None and members == 1 and not options.validation_split:
        raise ArgumentError(f"--early-stopping {options.early_stopping} needs --validation-split, as in 0.1")
    for option, check in (
        ("save", check_replaceable),
        ("checkpoint", check_replaceable),
        ("log", check_file),
        ("plot", check_file),
    ):
        if getattr(options, option):
            check(f"--{option}", getattr(options, option))
    if options.save and not options.force:
        _check_replaces_same(options)
    if options.plot:
        _check_picture(options.plot)
    if options.checkpoint is None and (options.resume or options.every):
        name = "--resume" if options.resume else "--every"
        raise ArgumentError(f"{name} needs --checkpoint, the file to write, as in run.safetensors")
    if options.checkpoint and options.checkpoint.exists() and not options.resume:
        raise ArgumentError(
            f"--checkpoint {options.checkpoint} exists already; give --resume to continue the training in it, or "
            "remove it, or name another file"
        )


def _check_replaces_same(options: argparse.Namespace) -> None:
    """Refuse to replace a file, unless it holds an earlier network of the same data and target, or nothing."""
    path = options.save
    if not is_in_use(path):
        return
    is_npy = Path(options.data).suffix == ".npy"  # whose targets are another file, and not a column
    wanted = name_data(options), None if is_npy else options.target
    old = load_replaced(path)
    if old is None:
        content = "something other than a network"
    else:
        notes = networks_of(old)[0].notes
        if (notes.get("data"), notes.get("target")) == wanted:
            return
        target = f" to predict {notes['target']!r}" if "target" in notes else ""
        content = f"another network, trained on {notes['data']}{target}" if "data" in notes else "another network"
    raise ArgumentError(f"--save {path} holds {content}; give --force to replace it, or name another file")


def _check_picture(path: Path) -> None:
    """Refuse a picture that could not be written after training, because of its format or without matplotlib."""
    if path.suffix.lower() not in PICTURES:
        raise ArgumentError(f"--plot {path} must end in {', '.join(PICTURES)}, which names its format")
    try:
        from xpnet import plots  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--plot {path}: {error}") from error
