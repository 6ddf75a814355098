"""The command ``xpnet train``: on arrays, a network or an ensemble of networks that leave out parts of the rows."""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet._checks import count, install_command, warn
from xpnet.cli._data import FILES, SETS, Data, read_training_data
from xpnet.cli._defaults import (
    DEFAULTS,
    Defaults,
    choose_defaults,
    choose_members,
    choose_network,
    choose_steps,
    parse_class_weight,
    takes_all_examples,
)
from xpnet.cli._files import Model, name_argument, name_data, networks_of
from xpnet.cli._printing import speaks
from xpnet.cli._results import Result, Running, check_files, make_hold_out, report_training, save_if_interrupted
from xpnet.cli._tables import train_table
from xpnet.core.optimizers import SGD
from xpnet.core.temperature import can_temper
from xpnet.distributed import Distributed, Ranks, check_launcher
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import Metric, accuracy, calibrated_log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables.folds import choose_rows, count_folds, make_folds, predict_out_of_fold
from xpnet.tables.reading import KINDS, is_table
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
    stopping
        The early stopping of each network; empty if there is none.
    """

    data: Data
    defaults: Defaults
    model: Model
    metrics: list[Metric]
    folds: list[np.ndarray]
    stopping: list[EarlyStopping]


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
    with save_if_interrupted(
        running, options, training.defaults.epochs, len(networks), calibrates=bool(training.folds)
    ):
        model.train(data.train, **settings)
        seconds = time.perf_counter() - started
        if speaks(options):
            calibrate(training)
    if speaks(options):
        heading, scores = score_training(training)
        best = [one.best_epoch for one in training.stopping]
        best = best if any(one.stopped_epoch for one in training.stopping) else []
        result = Result(model, training.metrics, data.division, heading, scores, best, seconds)
        report_training(options, result)


# Before the training


def prepare_training(options: argparse.Namespace) -> tuple[ReadyTraining, dict[str, Any]]:
    """Check the options, read the data, and make the network or the ensemble; return the arguments of `train` too."""
    members = choose_members(options)
    if speaks(options):
        check_files(options, members)
    with name_argument("--data", options.data, DATA_FILES):
        data = read_data(options)
    defaults = choose_defaults(options, DEFAULTS.get(data.name, Defaults()))._replace(members=members)
    model = make_model(options, defaults, data)
    metrics = parse_metrics("metrics", options.metrics, networks_of(model)[0].value.model)
    folds = choose_folds(data, members, options.seed) if members > 1 else []
    for network in networks_of(model)[: len(folds)]:
        network.notes["folds"] = count_folds(len(data.train[1]), members, choose_groups(data, members))
    training = ReadyTraining(data, defaults, model, metrics, folds, [])
    training = training._replace(stopping=make_stopping(options, training))
    settings = training_settings(options, training)
    if options.plot and defaults.epochs == 0:
        raise ArgumentError(f"--plot {options.plot} needs epochs to draw, and --epochs is 0")
    return training, settings


def read_data(options: argparse.Namespace) -> Data:
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
            kinds = f"{KINDS}; or .npy files" if option in for_npy else KINDS
            raise ArgumentError(f"{option} is for tables ({kinds}), and --data {name} is not one")
    return read_training_data(name, options.task, options.target, hold_out, options.validation_split)


def choose_folds(data: Data, members: int, seed: int) -> list[np.ndarray]:
    """Choose the rows that each member leaves out: at random, whole groups, or consecutive ones, as for testing."""
    y, groups = data.train[1], choose_groups(data, members)
    if len(y) < 2 or (groups is not None and len(np.unique(groups)) < 2):
        one = "row" if len(y) < 2 else "group"
        raise ArgumentError(
            f"each member leaves out a part of the rows, and {data.name} has one {one} to train on; give --members 1 "
            "--validation-split 0"
        )
    has_classes = data.task in ("classification", "binary") and y.ndim == 1
    return make_folds(len(y), members, np.random.default_rng(seed), classes=y if has_classes else None, groups=groups)


def choose_groups(data: Data, members: int) -> np.ndarray | None:
    """Choose the group of each row of the training data, whose rows members leave out together; None for single rows.

    They are parts that follow one another if the last rows are held out for testing.
    """
    division, n = data.division, len(data.train[1])
    if division is not None and division.hold_out.last:
        return np.arange(n) * count_folds(n, members) // n
    return None


def make_model(options: argparse.Namespace, defaults: Defaults, data: Data) -> Model:
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


def choose_sizes(sizes: Sequence[int] | None, hidden: Sequence[int], data: Data, n_out: int) -> list[int]:
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


def make_stopping(options: argparse.Namespace, training: ReadyTraining) -> list[EarlyStopping]:
    """Make the early stopping of each network, if there are rows to validate it on."""
    patience, networks = training.defaults.early_stopping, networks_of(training.model)
    if patience is None or not (training.folds or options.validation_split):
        return []
    monitor = "validation_calibrated_log_loss" if judges_by_log_loss(training) else "validation_cost"
    return [EarlyStopping(count("early_stopping", patience, least=1), monitor=monitor) for _ in networks]


def judges_by_log_loss(training: ReadyTraining) -> bool:
    """Tell whether epochs are judged by the log loss that their probabilities have once they are calibrated."""
    model = networks_of(training.model)[0].value.model
    return bool(training.folds) and model.task in calibrated_log_loss.tasks and can_temper(model)


def training_settings(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments of `train`."""
    data, defaults = training.data, training.defaults
    steps = choose_steps(options, defaults)
    if "lr" in steps and "batch_size" not in steps and not takes_all_examples(options.optimizer):
        steps["batch_size"] = defaults.batch_size
    settings = {
        "epochs": defaults.epochs,
        **steps,
        "class_weight": parse_class_weight(options.class_weight, None),
        "checkpoint": options.checkpoint,
        "every": options.every,
        "resume": options.resume,
        "progress": not options.quiet,
    }
    if not isinstance(training.model, Ensemble):
        return settings | settings_of_one(options, training)
    stopping, rng = training.stopping, np.random.default_rng(options.seed)
    return settings | {
        "rows": choose_rows(training.folds, len(data.train[1]), rng),
        "validation_rows": training.folds,
        "metrics": choose_metrics(training),
        "callbacks": lambda k: stopping[k : k + 1],
    }


def settings_of_one(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments that differ for a single network from those of `Ensemble.train`."""
    data = training.data
    callbacks: list[Callback] = [*training.stopping, *([CSVLog(options.log)] if options.log else [])]
    settings: dict[str, Any] = {"callbacks": callbacks, "blas_threads": options.blas_threads}
    if options.ranks is not None:
        settings["distributed"] = Distributed(options.ranks.comm, options.shards)
    validation: dict[str, Any] = {"validation_data": data.validation}
    if data.division is None:  # of a data set, whose rows to validate on `train` chooses
        validation = {"validation_split": options.validation_split}
    evaluated = data.test is not None or bool(options.validation_split)
    metrics = choose_metrics(training) if evaluated else training.metrics
    use = {"metrics": metrics} if evaluated else {"training_metrics": metrics}
    return settings | validation | use | {"test_data": data.test}


def choose_metrics(training: ReadyTraining) -> list[Metric]:
    """Choose the metrics of each epoch: the usual ones, in the units of the target, and those that the user wants."""
    if training.data.task == "regression":  # the cost is that of standardized targets
        usual = [r2, mean_absolute_error]
    elif training.folds:
        usual = [accuracy, calibrated_log_loss] if judges_by_log_loss(training) else [accuracy]
    else:
        usual = []
    return list(dict.fromkeys([*usual, *training.metrics]))


# After the training


def calibrate(training: ReadyTraining) -> None:
    """Calibrate an ensemble by the rows that its members left out."""
    model = training.model
    if not isinstance(model, Ensemble):
        return
    for network in model:
        network.reset_optimizer(SGD())  # the averages of AdamW would make files three times as large
    first = model[0].value.model
    if not (len(model.histories[0]) > 0 and (first.task == "regression" or can_temper(first))):
        return
    try:
        model.calibrate(training.data.train, rows=training.folds)
    except ValueError as error:
        warn(f"the model is not calibrated: {error}")  # its probabilities or error bars stay as they are


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
