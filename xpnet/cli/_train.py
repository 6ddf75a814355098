"""The command ``xpnet train``: `TableClassifier` and `TableRegressor` for tables, a `Network` for arrays."""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import in_range, printable
from xpnet._names import look_up
from xpnet.cli._data import SETS, choose_task, describe_targets, read_arrays, read_pair, split_names, take
from xpnet.core.optimizers import needs_all_examples
from xpnet.core.schedules import SCHEDULES, Cosine, OneCycle, Schedule
from xpnet.errors import ArgumentError
from xpnet.files import write_file
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables import hold_out
from xpnet.tables.folds import TEST_SPLIT, count_folds
from xpnet.tables.phases import show_phase
from xpnet.tables.reading import FILE_KINDS, is_table, read_table
from xpnet.tables.recipe import LR, WEIGHT_DECAY, choose_epoch_metrics, choose_members, make_schedule
from xpnet.tables.scores import score
from xpnet.training import parse_metrics, parse_optimizer, parse_rate
from xpnet.training.callbacks import CSVLog, EarlyStopping
from xpnet.value.structure import parse_cost

MOMENTUM = 0.9
LARGE_FILE = 50_000_000  # bytes of a table, which take several seconds to read
FOR_TABLES = ("ignore", "categories", "bins", "test_group", "members", "check")
FOR_ROWS = ("target", "test_split", "test_last")  # for tables and .npy files, which do not hold rows for testing
FOR_ARRAYS = ("validation_split", "log")
# Options that are arguments of the same name, unless another one stands here
OF_NETWORKS = ("activation", "output_activation", "cost", "dropout", "standardize", "dtype", "seed")
OF_PLACES = ("backend", "device")
OF_CHECKPOINTS = ("checkpoint", "every", "resume")
OF_TABLES = {"members": "members", "hidden": "hidden_layer_sizes", "early_stopping": "patience", "bins": "bins"}


class Defaults(NamedTuple):
    """How networks for arrays are made and trained; benchmarks/accuracy.py measures their accuracies."""

    hidden: Sequence[int] = (256, 128)
    epochs: int = 15
    batch_size: int = 32
    lr: float = 0.1
    weight_decay: float = 0.001
    schedule: Callable[[float], Schedule] = OneCycle
    dropout: Sequence[float] | None = None  # of inputs and hidden layers, unless these are given


FULL_MNIST = Defaults((256,), 5, 64, 0.2, 0.0001)
MNIST_SAMPLE = Defaults(epochs=20, lr=0.03, schedule=partial(Cosine, warmup=0.03), dropout=(0.1, 0.1, 0.1))
DEFAULTS = {"mnist-sample": MNIST_SAMPLE, "mnist": FULL_MNIST, "fashion-mnist": FULL_MNIST}


def run_train(options: argparse.Namespace) -> None:
    """Train, save and report."""
    options.data = options.data or next(iter(SETS))
    path, checkpoint = options.save, options.checkpoint
    is_resumed = options.resume and checkpoint and checkpoint.exists()
    if path and path.exists() and path.stat().st_size and not (options.force or is_resumed):
        raise ArgumentError(f"--save {path} exists already; give --force to replace it, or name another file")
    if options.test_split is not None:
        in_range("test_split", options.test_split, 0, 1, "0 holds nothing out")
    started = time.perf_counter()
    model, text = (_train_table if is_table(options.data) else _train_arrays)(options)
    for net in model if isinstance(model, Ensemble) else [model]:
        net.notes = {**net.notes, "data": Path(options.data).name, "score": text}
    if path:
        model.save(path)
        _say(options, f"Saved to {path}")
    print(f"{text} after {time.perf_counter() - started:.1f} s")


def _train_table(options: argparse.Namespace) -> tuple[Ensemble, str]:
    """Train an ensemble on a table; return it with its scores."""
    _refuse(options, FOR_ARRAYS, "arrays")
    if options.task not in (None, "classification", "regression"):
        raise ArgumentError(f"--task {options.task} is not for tables; choose from classification, regression")
    categories, group = split_names(options.categories), options.test_group
    path = Path(options.data)
    is_long = path.is_file() and path.stat().st_size > LARGE_FILE
    with show_phase(f"Reading {path}", not options.quiet, is_long):
        from xpnet.tables import TableClassifier, TableRegressor  # which import scikit-learn

        table = read_table(options.data, categories if group is None else [*categories, group])
        X, y, groups = table.split(
            options.target,
            ignore=split_names(options.ignore),
            categories=categories,
            group=group,
            task=options.task,
        )
    train, test = _hold_out(options, y.y, groups)
    _say(options, f"{table.name}: {len(y):,} examples, {describe_targets(y.y, len(y.labels))}", len(test))
    for line in table.describe_rows(y):
        _say(options, f"Rows: {line}")
    model = (TableClassifier if y.labels else TableRegressor)(
        progress=not options.quiet,
        network={"seed": 0, **_select(options, OF_NETWORKS)},
        training={
            **_choose_steps(options, "adamw", LR, WEIGHT_DECAY, make_schedule),
            **_select(options, ("epochs", "batch_size", "metrics")),
            "class_weight": _number_weights(options.class_weight, y.labels),
        },
        **{OF_TABLES[name]: value for name, value in _select(options, OF_TABLES).items()},
        **_select(options, OF_PLACES),
    )
    left_out: dict[str, Any] = {"groups": None if groups is None else groups[train]}
    if options.test_last:  # so are the folds
        members = model.members or choose_members(len(train))
        parts = np.array_split(np.arange(len(train)), count_folds(len(train), members))
        left_out = {"folds": [parts[-1 - k % len(parts)] for k in range(members)]}
    with _explain_interrupt(options):
        model.fit(X[train], y[train], **left_out, **_select(options, OF_CHECKPOINTS))
    if options.check:
        judged = model.check(y[train], false_alarms=len(train))  # all that a member left out
        strange = judged[judged["false_alarms"] <= 1]
        write_file(options.check, strange.to_csv(index_label="row", lineterminator="\n").encode())
        number = f"{len(strange):,} of {len(judged):,} targets"
        _say(options, f"Check: {number} look wrong, and about 1 would by chance; see {options.check}")
    if len(test):
        return model.ensemble_, f"Test {model.describe_scores(X[test], y[test])}"
    return model.ensemble_, f"Out-of-fold {model.describe_scores()}"


def _train_arrays(options: argparse.Namespace) -> tuple[Network, str]:
    """Train a network on a data set, an .npz file, or .npy files; return it with its scores."""
    is_npy, name = options.data.endswith(".npy"), options.data
    _refuse(options, [*FOR_TABLES, *([] if is_npy else FOR_ROWS)], f"tables ({FILE_KINDS})")
    if is_npy:
        x, y = read_pair(name, options.target)
        train, test = ((take(x, rows), y[rows]) for rows in _hold_out(options, y))
    else:
        train, test = read_arrays(name)
    task, n_out = choose_task(options.task, [train[1], test[1]], name)
    net = _make_network(options, train[0], task, n_out)
    defaults = DEFAULTS.get(name, Defaults())
    extra = parse_metrics("metrics", options.metrics or [], net.value.model)
    metrics = choose_epoch_metrics(net.value.model, False, extra)
    steps = _choose_steps(options, "sgd", defaults.lr, defaults.weight_decay, defaults.schedule)
    if not needs_all_examples(steps["optimizer"]):
        steps["batch_size"] = defaults.batch_size
    stopping = [] if options.early_stopping is None else [EarlyStopping(options.early_stopping)]
    n, n_test = len(train[1]) + len(test[1]), len(test[1])
    is_watched = n_test or options.validation_split
    _say(options, f"{name}: {n:,} examples, {describe_targets(train[1], n_out)}", n_test)
    _say(options, str(net))
    with _explain_interrupt(options, net):
        net.train(
            train,
            test_data=test if n_test else None,
            class_weight=_number_weights(options.class_weight, [str(k) for k in range(max(n_out, 2))]),
            callbacks=[*stopping, *([CSVLog(options.log)] if options.log else [])],
            progress=not options.quiet,
            **{"epochs": defaults.epochs, **steps, **_select(options, ("epochs", "batch_size", "validation_split"))},
            **{"metrics" if is_watched else "training_metrics": metrics},
            **_select(options, OF_CHECKPOINTS),
        )
    if n_test:
        return net, f"Test {score(net, test, extra)}"
    return net, f"Training {score(net, train, extra)}"


def _make_network(options: argparse.Namespace, x: Any, task: str, n_out: int) -> Network:
    """Make a network for inputs and a task; bytes are divided by 255 in it."""
    settings: dict[str, Any] = {"task": task, "activation": "relu", "seed": 0, **_select(options, OF_NETWORKS)}
    if options.task is None and task == "classification":  # so that any output activation and cost can be given
        settings = {"output_activation": "softmax", "cost": "cross_entropy", **settings, "task": None}
    if task == "regression" and options.cost:
        n_out *= parse_cost(options.cost).outputs_per_target
    defaults = DEFAULTS.get(options.data, Defaults())
    if options.hidden is None and defaults.dropout is not None:
        settings = {"dropout": defaults.dropout, **settings}
    hidden = defaults.hidden if options.hidden is None else options.hidden
    net = Network(
        [int(np.prod(x.shape[1:])), *hidden, n_out],
        scale=1 / 255 if x.dtype == np.uint8 and not options.standardize else None,
        **_select(options, OF_PLACES),
        **settings,
    )
    if task == "regression":
        net.value.model.cost.require_point("the scores")
    return net


def _select(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return those of some options that are given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _refuse(options: argparse.Namespace, names: Sequence[str], kind: str) -> None:
    """Refuse options that are for other data."""
    for name in names:
        if getattr(options, name) not in (None, []):
            is_sheet = options.data.lower().endswith((".xlsx", ".xls", ".ods"))
            remedy = "save the sheet as CSV" if is_sheet else "leave it out"
            raise ArgumentError(f"--{name.replace('_', '-')} is for {kind}, and {options.data} is not; {remedy}")


def _hold_out(options: argparse.Namespace, y: np.ndarray, groups: Any = None) -> tuple[np.ndarray, np.ndarray]:
    split = TEST_SPLIT if options.test_split is None else options.test_split
    return hold_out(y, split, groups=groups, last=options.test_last, seed=options.seed or 0)


def _choose_steps(
    options: argparse.Namespace, usual: str, lr: float, weight_decay: float, schedule: Callable[[float], Schedule]
) -> dict[str, Any]:
    """Choose the optimizer and the learning rate: those of the data, unless options say otherwise."""
    name = options.optimizer or usual
    kind: Any = type(parse_optimizer("optimizer", name))
    if name != usual:
        lr, weight_decay = kind.default_lr, kind().weight_decay
    settings = {"weight_decay": weight_decay, **({"momentum": MOMENTUM} if name == "sgd" else {})}
    optimizer = kind(**{**settings, **_select(options, ("weight_decay", "momentum"))})
    if needs_all_examples(optimizer) and options.lr is None and options.schedule is None:
        return {"optimizer": optimizer}
    if options.schedule is not None:
        schedule = look_up("schedule", options.schedule, SCHEDULES)
    return {"optimizer": optimizer, "lr": schedule(parse_rate("lr", lr if options.lr is None else options.lr))}


def _number_weights(weights: Any, labels: Sequence[str]) -> Any:
    """Convert the weights of classes from labels to class numbers."""
    numbers = {label: k for k, label in enumerate(labels)}
    if not isinstance(weights, dict):
        return weights
    return {look_up("class_weight", label, numbers): weight for label, weight in weights.items()}


@contextmanager
def _explain_interrupt(options: argparse.Namespace, net: Network | None = None) -> Iterator[None]:
    """Save a network as it is when Ctrl-C ends its training, unless no step has run; name the files."""
    layers = None if net is None else net.value.layers
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        words = ["interrupted"]
        if net is not None and options.save and net.value.layers is not layers:
            net.save(options.save)
            words.append(f"the network so far is saved to {options.save}")
        if options.checkpoint:
            words.append(f"--resume continues the training in {options.checkpoint}")
        if isinstance(stop, SystemExit):  # SIGTERM, whose status stays
            raise
        raise KeyboardInterrupt("; ".join(words)) from stop


def _say(options: argparse.Namespace, text: str, n_test: int = 0) -> None:
    """Print a line about the training, with control characters of names escaped."""
    if not options.quiet:
        print(printable(text + (f"; {n_test:,} of them for testing" if n_test else "")), flush=True)
