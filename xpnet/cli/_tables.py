"""``xpnet train`` on a table: `TableClassifier` and `TableRegressor`, with the options of the command."""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from xpnet._checks import count
from xpnet.backends import AUTO, get_backend
from xpnet.cli._data import FILES, describe_examples, describe_features, describe_outputs, list_possible_names
from xpnet.cli._defaults import (
    DEFAULTS_FOR_TABLES,
    choose_defaults,
    choose_members,
    choose_network,
    choose_steps,
    find_lone_option,
    number_class_weights,
)
from xpnet.cli._files import name_argument, name_data
from xpnet.cli._printing import say
from xpnet.cli._results import (
    SAVING,
    Running,
    TrainingResult,
    check_files,
    choose_groups,
    make_hold_out,
    report_training,
    save_if_interrupted,
)
from xpnet.errors import ArgumentError
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables import Recipe
from xpnet.tables.columns import BINS, from_plain
from xpnet.tables.folds import LONE_FOLDS
from xpnet.tables.held_out import Division
from xpnet.tables.reading import Features, Table, Targets, describe_preparation, read_table
from xpnet.training import parse_blas_threads, parse_metrics
from xpnet.training.callback import Callback, Training


def train_table(options: argparse.Namespace) -> None:
    """Train an ensemble on a table, report, and save."""
    if options.distributed:
        raise ArgumentError(f"--distributed is for arrays, and --data {options.data} is a table; leave it out")
    members, lone = choose_members(options), find_lone_option(options)
    if members == 1 and options.validation_split is None:
        options.validation_split = 1 / LONE_FOLDS
    check_files(options, members)
    limit = limit_blas_threads(options)
    with name_argument("--data", options.data, FILES):
        texts = [*list_possible_names(options.categories), *filter(None, [options.test_group])]
        table = read_table(options.data, texts)
    X, y, groups = table.split(
        options.target,
        ignore=table.split_names(options.ignore),
        categories=table.split_names(options.categories),
        group=options.test_group,
        task=options.task,
    )
    division = make_hold_out(options).divide(y.y, table.name, groups, options.validation_split)
    rows, test = np.flatnonzero(~division.test), np.flatnonzero(division.test)
    running, data = Running(is_ensemble=True), (table, X, y, division)
    begin = partial(Beginning, running, members, lambda: announce_training(options, running.networks, data, lone))
    model = make_estimator(options, members, y, lambda k: [begin()])
    chosen: dict[str, Any] = {"folds": [np.flatnonzero(division.validation[rows])]}
    if members > 1:
        chosen = {"groups": choose_groups(members, division, len(rows), table.name)}
    chosen |= {name: getattr(options, name) for name in SAVING}
    epochs, started = Recipe(epochs=options.epochs).choose_epochs(len(rows)), time.perf_counter()
    with limit, save_if_interrupted(running, options, epochs, members, calibrates=True):
        model.fit(X[rows], y[rows], **chosen)
    seconds, ensemble = time.perf_counter() - started, model.ensemble_
    if len(test):
        heading, scores = "Test {}", model.describe_scores(X[test], y[test])
    elif members > 1 or division.validation.any():
        heading, scores = "Out-of-fold {}" if members > 1 else "Validation {}", model.describe_scores()
    else:
        heading, scores = "Training {}", model.describe_scores(X[rows], y[rows])
    metrics = parse_metrics("metrics", options.metrics, ensemble[0].value.model)
    report_training(options, TrainingResult(ensemble, metrics, division, heading, scores, model.patience, seconds))


def limit_blas_threads(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Return a context with the number of threads that the user gives; an ensemble would choose it."""
    if options.blas_threads == AUTO:
        return nullcontext()
    backend = get_backend(options.backend, options.device)
    return backend.limit_threads(int(parse_blas_threads(backend, options.blas_threads)))


def make_estimator(
    options: argparse.Namespace, members: int, y: Targets, callbacks: Callable[[int], list[Callback]]
) -> Any:
    """Make the estimator, a `TableClassifier` or a `TableRegressor`."""
    from xpnet.tables import TableClassifier, TableRegressor  # which import scikit-learn

    defaults, bins = choose_defaults(options, DEFAULTS_FOR_TABLES), options.bins
    network = choose_network(options, defaults)
    if members == 1:
        network["seed"] = [options.seed]  # that of the network itself
    training = {
        **choose_steps(options, defaults),
        "class_weight": number_class_weights(options.class_weight, y.labels),
        "metrics": options.metrics,
        "callbacks": callbacks,
        "epochs": options.epochs,
    }
    if bins is None:  # lm is for few weights, and bins make many
        bins = 0 if options.optimizer == "lm" else BINS
    return (TableClassifier if y.labels else TableRegressor)(
        members,
        hidden_layer_sizes=options.hidden if options.sizes is None else options.sizes[1:-1],
        patience=count("early_stopping", defaults.early_stopping, 1),
        bins=bins,
        progress=not options.quiet,
        backend=options.backend,
        device=options.device,
        network=network,
        training=training,
    )


def announce_training(
    options: argparse.Namespace,
    networks: list[Network],
    data: tuple[Table, Features, Targets, Division],
    lone: str | None,
) -> None:
    """Print what is trained on which data, note the data, and check the sizes that the user gives."""
    (table, X, y, division), sizes = data, networks[0].sizes
    columns = from_plain(networks[0].notes["columns"])
    for network in networks:
        network.notes["data"] = name_data(options)
    features = describe_features(sizes[0], sum(bool(column.inputs) for column in columns))
    task = options.task or ("classification" if y.labels else "regression")
    outputs = describe_outputs(task, len(y.labels) or 1, [y.y])
    if options.sizes is not None and options.sizes != sizes:
        raise ArgumentError(
            f"--sizes {','.join(map(str, options.sizes))} does not fit {table.name}, which has {features} and "
            f"{outputs}; give --sizes {','.join(map(str, sizes))}, or leave it out"
        )
    if options.quiet:
        return
    print(describe_examples(table.name, len(y), features, outputs, division))
    for line in describe_preparation(table, X, y, columns):
        say(line)
    if lone is not None and options.members is None:
        print(f"One network instead of an ensemble, because {lone} is for one")
    print(Ensemble.of(networks), flush=True)


class Beginning(Callback):
    """Collects the networks of a training, and calls a function when all of them are there."""

    def __init__(self, networks: Running, members: int, call: Callable[[], None]) -> None:
        self._running, self._members, self._call = networks, members, call

    def on_train_begin(self, training: Training) -> None:
        """Collect a network."""
        self._running.add(training.net)
        if len(self._running.networks) == self._members:
            self._call()
