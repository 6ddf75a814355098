"""The command ``xpnet train``: on arrays, a network or an ensemble of networks that leave out parts of the rows."""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet._checks import count, install_command
from xpnet.cli._data import FILES, SETS, TrainingData, read_training_data
from xpnet.cli._defaults import (
    DEFAULTS,
    Defaults,
    choose_defaults,
    choose_members,
    choose_network,
    choose_steps,
    number_class_weights,
    takes_all_examples,
)
from xpnet.cli._files import name_argument, name_data, networks_of
from xpnet.cli._printing import speaks
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
from xpnet.cli._tables import train_table
from xpnet.distributed import Distributed, Ranks, check_launcher
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import Metric
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables import Recipe
from xpnet.tables.folds import count_folds, make_folds, predict_out_of_fold
from xpnet.tables.reading import FILE_KINDS, is_table
from xpnet.tables.recipe import choose_epoch_metrics, train_members
from xpnet.tables.scores import Scores, score, score_out_of_fold
from xpnet.training import parse_metrics
from xpnet.training.callback import Callback
from xpnet.training.callbacks import CSVLog, EarlyStopping
from xpnet.value.structure import parse_cost

Made = TypeVar("Made")

DATA_FILES = f"{FILES}, or choose from {', '.join(SETS)}"


class ReadyTraining(NamedTuple):
    """A network or an ensemble, and how to train it.

    Parameters
    ----------
    data, defaults
        What it is trained on, and how.
    model
        The network or the ensemble.
    metrics
        The metrics that the user wants.
    folds
        The rows of the training data that each member leaves out; empty for a network.
    """

    data: TrainingData
    defaults: Defaults
    model: Network | Ensemble
    metrics: list[Metric]
    folds: list[np.ndarray]


def run_train(options: argparse.Namespace) -> None:
    """Train, report, and save."""
    if is_table(options.data):
        train_table(options)
        return
    if options.distributed:
        options.ranks = join_ranks()
    training, settings = make_on_all(options, prepare_training)
    data, model, networks = training.data, training.model, networks_of(training.model)
    if speaks(options) and not options.quiet:
        print(data)
        print(model, flush=True)
    running, started = Running(is_ensemble=isinstance(model, Ensemble)), time.perf_counter()
    for network in networks:
        running.add(network)
    defaults, calibrates = training.defaults, isinstance(model, Ensemble)
    with save_if_interrupted(running, options, defaults.epochs, len(networks), calibrates=calibrates):
        saving = {"progress": not options.quiet, **{name: getattr(options, name) for name in SAVING}}
        if isinstance(model, Ensemble):
            recipe = Recipe(patience=defaults.early_stopping, network={"seed": options.seed}, training=settings)
            train_members(model, *data.train, recipe, training.folds, **saving)
        else:
            model.train(data.train, **settings, **saving)
        seconds = time.perf_counter() - started
    if speaks(options):
        heading, scores = score_training(training)
        patience = defaults.early_stopping
        report_training(
            options, TrainingResult(model, training.metrics, data.division, heading, scores, patience, seconds)
        )


# Before the training


def prepare_training(options: argparse.Namespace) -> tuple[ReadyTraining, dict[str, Any]]:
    """Check the options, read the data, and make the network or the ensemble; return the arguments of `train` too."""
    members = choose_members(options)
    if speaks(options):
        check_files(options, members)
    with name_argument("--data", options.data, DATA_FILES):
        data = read_data(options)
    defaults = choose_defaults(options, DEFAULTS.get(data.name, Defaults()))._replace(members=members)
    if defaults.early_stopping is not None:
        count("early_stopping", defaults.early_stopping, 1)
    model = make_model(options, defaults, data)
    metrics = parse_metrics("metrics", options.metrics, networks_of(model)[0].value.model)
    folds = []
    if members > 1:
        groups = choose_groups(members, data.division, len(data.train[1]), data.name)
        folds = choose_folds(data, groups, members, options.seed)
        for network in networks_of(model):
            network.notes["folds"] = count_folds(len(data.train[1]), members, groups)
    training = ReadyTraining(data, defaults, model, metrics, folds)
    settings = training_settings(options, training)
    if options.plot and defaults.epochs == 0:
        raise ArgumentError(f"--plot {options.plot} needs epochs to draw, and --epochs is 0")
    return training, settings


def read_data(options: argparse.Namespace) -> TrainingData:
    """Read the arrays; options of tables, or of single files, are refused where they do not apply."""
    hold_out, name = make_hold_out(options), options.data
    for_npy = {"--target": options.target, "--test-split": options.test_split, "--test-last": options.test_last or None}
    for_tables = {
        "--ignore": options.ignore or None,
        "--categories": options.categories or None,
        "--test-group": options.test_group,
        "--bins": options.bins or None,
    }
    is_npy = name.endswith(".npy")
    for option, value in {**for_tables, **({} if is_npy else for_npy)}.items():
        if value is not None:
            kinds = f"{FILE_KINDS}; or .npy files" if option in for_npy else FILE_KINDS
            raise ArgumentError(f"{option} is for tables ({kinds}), and --data {name} is not one")
    return read_training_data(name, options.task, options.target, hold_out, options.validation_split)


def choose_folds(data: TrainingData, groups: np.ndarray | None, members: int, seed: int) -> list[np.ndarray]:
    """Choose the rows that each member leaves out, as for testing."""
    y = data.train[1]
    has_classes = data.task in ("classification", "binary") and y.ndim == 1
    return make_folds(len(y), members, np.random.default_rng(seed), classes=y if has_classes else None, groups=groups)


def make_model(options: argparse.Namespace, defaults: Defaults, data: TrainingData) -> Network | Ensemble:
    """Make the network or the ensemble for the data."""
    settings = choose_network(options, defaults)
    cost = options.cost
    settings |= {"task": options.task or data.task, "standardize": defaults.standardize}
    if options.task is None and data.task == "classification":  # so that any output activation and cost can be given
        settings["task"] = None
        settings["output_activation"] = options.output_activation or "softmax"
        settings["cost"] = cost or "cross_entropy"
    per_target = parse_cost(cost).outputs_per_target if data.task == "regression" and cost else 1
    sizes = choose_sizes(options.sizes, defaults.hidden, data, data.n_out * per_target)
    settings |= {"backend": options.backend, "device": options.device}
    model = Network(sizes, **settings) if defaults.members == 1 else Ensemble(sizes, defaults.members, **settings)
    networks = networks_of(model)
    if networks[0].task == "regression":
        networks[0].value.model.cost.require_point("the scores")
    for network in networks:
        network.notes["data"] = name_data(options)
    return model


def choose_sizes(sizes: Sequence[int] | None, hidden: Sequence[int], data: TrainingData, n_out: int) -> list[int]:
    """Choose the units of each layer; the user's sizes must fit the data, which needs `n_out` outputs."""
    if sizes is None:
        return [data.n_in, *hidden, n_out]
    fits = sizes[-1] == n_out or (
        sizes[-1] > n_out and data.task == "classification"
    )  # the last classes may be missing
    if len(sizes) > 1 and not (sizes[0] == data.n_in and fits):
        fitting = ",".join(map(str, [data.n_in, *sizes[1:-1], n_out]))
        raise ArgumentError(
            f"--sizes {','.join(map(str, sizes))} does not fit {data.name}, which has {data.features} and "
            f"{data.outputs}; give --sizes {fitting}, or leave it out"
        )
    return list(sizes)


def training_settings(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments of `train`, but for those that say what it prints and writes."""
    defaults = training.defaults
    steps = choose_steps(options, defaults)
    if not takes_all_examples(options.optimizer):
        steps["batch_size"] = defaults.batch_size
    class_weight = number_class_weights(options.class_weight, None)
    settings = {"epochs": defaults.epochs, **steps, "class_weight": class_weight}
    if training.folds:
        return {**settings, "metrics": training.metrics}
    return settings | settings_of_one(options, training)


def settings_of_one(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments that differ for a single network from those of `Ensemble.train`."""
    data, patience = training.data, training.defaults.early_stopping
    callbacks: list[Callback] = [] if patience is None else [EarlyStopping(patience)]
    callbacks += [CSVLog(options.log)] if options.log else []
    settings: dict[str, Any] = {"callbacks": callbacks, "blas_threads": options.blas_threads}
    if options.ranks is not None:
        settings["distributed"] = Distributed(options.ranks.comm, options.shards)
    validation: dict[str, Any] = {"validation_data": data.validation}
    if data.division is None:  # of a data set, whose rows to validate on `train` chooses
        validation = {"validation_split": options.validation_split}
    metrics = training.metrics
    if evaluated := data.test is not None or bool(options.validation_split):
        metrics = choose_epoch_metrics(networks_of(training.model)[0].value.model, False, metrics)
    use = {"metrics": metrics} if evaluated else {"training_metrics": metrics}
    return settings | validation | use | {"test_data": data.test}


# After the training


def score_training(training: ReadyTraining) -> tuple[str, Scores]:
    """Score the model on rows that it has not learnt from, if there are any; say which rows, as a heading."""
    data, model, metrics = training.data, training.model, training.metrics
    if data.test is not None:
        return "Test {}", score(model, data.test, metrics)
    if isinstance(model, Ensemble):
        x, y = data.train
        return "Out-of-fold {}", score_out_of_fold(model, y, predict_out_of_fold(model, x, training.folds), metrics)
    return "Training {}", score(model, data.train, metrics)


# Several processes that train one network


def join_ranks() -> Ranks:
    """Find the processes that mpiexec has started."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter if there is no MPI
        message = f"--distributed needs mpi4py and an MPI ({error}); install both with: {install_command('mpi')}"
        raise ImportError(message) from error
    check_launcher()
    return Ranks(Distributed(MPI.COMM_WORLD))


def make_on_all(options: argparse.Namespace, make: Callable[[argparse.Namespace], Made]) -> Made:
    """Make something on every rank, each for itself; if one of them fails, all raise an error."""
    made: list[Made] = []
    if options.ranks is None:
        return make(options)
    options.ranks.make_on_all(lambda: made.append(make(options)))
    return made[0]
