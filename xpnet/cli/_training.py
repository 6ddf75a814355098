"""The command ``xpnet train``: a network, or an ensemble of networks that leave out parts of the rows."""

import argparse
import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet._checks import choices, count, install_command, warn
from xpnet.cli._data import FILES, SETS, Data, read_training_data
from xpnet.cli._files import (
    Model,
    check_file,
    check_replaceable,
    is_in_use,
    load_replaced,
    name_argument,
    name_data,
    networks_of,
)
from xpnet.cli._printing import print_remarks, say, speaks
from xpnet.cli.recipes import (
    Recipe,
    choose_members,
    choose_recipe,
    find_lone_option,
    make_optimizer,
    make_schedule,
    takes_all_examples,
)
from xpnet.cli.scores import Scores, describe_replaced, note_hold_out, score, score_folds
from xpnet.core.optimizers import SGD
from xpnet.core.temperature import can_temper
from xpnet.distributed import Distributed, Ranks, check_launcher
from xpnet.errors import ArgumentError
from xpnet.files import write_file
from xpnet.inference import LEAST_ROWS
from xpnet.inference.metrics import Metric, accuracy, calibrated_log_loss, mean_absolute_error, r2
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.tables._recipe import (
    BINS,
    LONE_FOLDS,
    choose_rows,
    choose_scaling,
    count_folds,
    make_folds,
    make_scaling,
    predict_out_of_fold,
    warn_of_wrong_targets,
)
from xpnet.tables._recipe import Recipe as TableRecipe
from xpnet.tables.columns import count_inputs
from xpnet.tables.reading import STDIN, Columns, is_table
from xpnet.training import parse_metrics
from xpnet.training.callback import Callback
from xpnet.training.callbacks import CSVLog, EarlyStopping
from xpnet.value import History
from xpnet.value.structure import parse_cost

Made = TypeVar("Made")

DATA_FILES = f"{FILES}, or choose from {', '.join(SETS)}"
PICTURES = (".png", ".pdf", ".svg", ".jpg")


class ReadyTraining(NamedTuple):
    """A network or an ensemble, and how to train it.

    Parameters
    ----------
    data, recipe
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
    recipe: Recipe
    model: Model
    metrics: list[Metric]
    folds: list[np.ndarray]
    stopping: list[EarlyStopping]

    @property
    def leaves_out_rows(self) -> bool:
        """Whether rows are left out that say how good each epoch is, and calibrate the model in the end."""
        return bool(self.folds) or (self.data.columns is not None and self.data.validation is not None)

    @property
    def histories(self) -> list[History]:
        """The history of each network."""
        return [network.history for network in networks_of(self.model)]


def run_train(options: argparse.Namespace) -> None:
    """Train, report, and save."""
    if options.distributed:
        options.ranks = join_ranks(options)
    lone, members = find_lone_option(options), options.members
    training, settings = make_on_all(options, prepare_training)
    if speaks(options) and not options.quiet:
        print(training.data)
        if training.data.columns is not None and lone is not None and members is None:
            print(f"One network instead of an ensemble, because {lone} is for one")
        print(training.model, flush=True)
    started = time.perf_counter()
    if training.folds and training.recipe.epochs and options.bins and options.standardize is None:
        scale_columns(training, options)
    with save_if_interrupted(training, options):
        training.model.train(training.data.train, **settings)
        seconds = time.perf_counter() - started
        if speaks(options):
            complete(training)
    if speaks(options):
        report_training(options, training, seconds)


# Before the training


def prepare_training(options: argparse.Namespace) -> tuple[ReadyTraining, dict[str, Any]]:
    """Check the options, read the data, and make the network or the ensemble; return the arguments of `train` too."""
    members = choose_members(options)
    if is_table(options.data):
        if options.bins is None:  # lm is for few weights, and bins make many
            options.bins = 0 if options.optimizer == "lm" else BINS
        if members == 1 and options.validation_split is None:
            options.validation_split = 1 / LONE_FOLDS
    if speaks(options):
        _check_files(options, members)
    arguments = ("task", "target", "ignore", "categories", "bins")
    arguments += ("test_split", "test_group", "test_last", "validation_split")
    with name_argument("--data", options.data, DATA_FILES):
        data = read_training_data(options.data, **{name: getattr(options, name) for name in (*arguments, "seed")})
    recipe = choose_recipe(options, data)._replace(members=members)
    model = make_model(options, recipe, data)
    metrics = parse_metrics("metrics", options.metrics, networks_of(model)[0].value.model)
    folds = choose_folds(data, members, options.seed) if members > 1 else []
    for network in networks_of(model)[: len(folds)]:
        network.notes["folds"] = count_folds(len(data.train[1]), members, choose_groups(data, members))
    training = ReadyTraining(data, recipe, model, metrics, folds, [])
    training = training._replace(stopping=make_stopping(options, training))
    settings = training_settings(options, training)
    if options.plot and recipe.epochs == 0:
        raise ArgumentError(f"--plot {options.plot} needs epochs to draw, and --epochs is 0")
    return training, settings


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

    They are the groups that are held out for testing, or parts that follow one another if the last rows are.
    """
    division, n = data.division, len(data.train[1])
    if division is not None and division.groups is not None:
        return division.groups[division.train]
    if division is not None and division.hold_out.last:
        return np.arange(n) * count_folds(n, members) // n
    return None


def make_model(options: argparse.Namespace, recipe: Recipe, data: Data) -> Model:
    """Make the network or the ensemble for the data."""
    task, output_activation, cost = options.task or data.task, options.output_activation, options.cost
    if options.task is None and task == "classification":  # so that any output activation and cost can be given
        task, output_activation, cost = None, output_activation or "softmax", cost or "cross_entropy"
    per_target = parse_cost(cost).outputs_per_target if data.task == "regression" and cost else 1
    sizes = choose_sizes(options.sizes, recipe.hidden, data, data.n_out * per_target)
    settings: dict[str, Any] = {
        "activation": one_or_each(options.activation),
        "output_activation": output_activation,
        "cost": cost,
        "task": task,
        "init": options.init,
        "dropout": recipe.dropout[0] if len(recipe.dropout) == 1 else recipe.dropout,
        "standardize": recipe.standardize,
        "backend": options.backend,
        "device": options.device,
        "dtype": options.dtype,
        "seed": options.seed,
    }
    model = Network(sizes, **settings) if recipe.members == 1 else Ensemble(sizes, recipe.members, **settings)
    networks = networks_of(model)
    if networks[0].task == "regression":
        networks[0].value.model.cost.require_point("the scores")
    for network in networks:
        if data.columns is not None:
            network.feature_names, network.notes = data.columns.inputs, data.columns.notes
        network.notes["data"] = name_data(options)
    if options.bins and options.standardize is None:  # these inputs are scaled already, and need only be centred
        scaling = make_scaling(
            data.train[0], data.train[1][:, None] if networks[0].value.model.scales_targets else None
        )
        for network in networks:
            network.scaling = scaling
    return model


def choose_sizes(sizes: Sequence[int] | None, hidden: Sequence[int], data: Data, n_out: int) -> list[int]:
    """Choose the units of each layer; the user's sizes must fit the data, which needs `n_out` outputs."""
    if sizes is None:
        return [data.n_in, *hidden, n_out]
    exact = data.columns is not None or data.task != "classification"  # arrays may lack the last classes
    fits = sizes[-1] == n_out or (sizes[-1] > n_out and not exact)
    if len(sizes) > 1 and not (sizes[0] == data.n_in and fits):
        fitting = ",".join(map(str, [data.n_in, *sizes[1:-1], n_out]))
        raise ArgumentError(
            f"--sizes {','.join(map(str, sizes))} does not fit {data.name}, which has {data.features} and "
            f"{data.outputs}; give --sizes {fitting}, or leave it out"
        )
    return list(sizes)


def make_stopping(options: argparse.Namespace, training: ReadyTraining) -> list[EarlyStopping]:
    """Make the early stopping of each network, if there are rows to validate it on."""
    patience, networks = training.recipe.early_stopping, networks_of(training.model)
    if patience is None or not (training.folds or options.validation_split):
        return []
    monitor = "validation_calibrated_log_loss" if judges_by_log_loss(training) else "validation_cost"
    return [EarlyStopping(count("early_stopping", patience, least=1), monitor=monitor) for _ in networks]


def judges_by_log_loss(training: ReadyTraining) -> bool:
    """Tell whether epochs are judged by the log loss that their probabilities have once they are calibrated."""
    model = networks_of(training.model)[0].value.model
    return training.leaves_out_rows and model.task in calibrated_log_loss.tasks and can_temper(model)


def training_settings(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments of `train`."""
    data, recipe = training.data, training.recipe
    settings = {
        "epochs": recipe.epochs,
        **step_settings(options, recipe, data),
        "optimizer": make_optimizer(recipe.optimizer, options.momentum, recipe.weight_decay),
        "class_weight": parse_class_weight(options.class_weight, data.columns),
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


def step_settings(options: argparse.Namespace, recipe: Recipe, data: Data) -> dict[str, Any]:
    """Return the size of minibatches and the learning rate."""
    lr = make_schedule(recipe, for_table=data.columns is not None)
    if not takes_all_examples(options.optimizer):
        return {"batch_size": recipe.batch_size, "lr": lr}
    if options.schedule is not None:  # it takes whole steps, and refuses the others if the user gives them
        raise ArgumentError(
            f"--schedule {options.schedule} is for other optimizers: {options.optimizer} has no learning rate"
        )
    settings = {name: getattr(options, name) for name in ("batch_size", "lr")}
    return {name: value for name, value in settings.items() if value is not None}


def settings_of_one(options: argparse.Namespace, training: ReadyTraining) -> dict[str, Any]:
    """Collect the arguments that differ for a single network from those of `Ensemble.train`."""
    data = training.data
    callbacks: list[Callback] = [*training.stopping, *([CSVLog(options.log)] if options.log else [])]
    settings: dict[str, Any] = {"callbacks": callbacks, "blas_threads": options.blas_threads}
    if options.ranks is not None:
        settings["distributed"] = Distributed(options.ranks.comm, options.shards)
    if training.leaves_out_rows:
        return settings | {"validation_data": data.validation, "metrics": choose_metrics(training)}
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
    elif training.leaves_out_rows:
        usual = [accuracy, calibrated_log_loss] if judges_by_log_loss(training) else [accuracy]
    else:
        usual = []
    return list(dict.fromkeys([*usual, *training.metrics]))


def one_or_each(words: list[str]) -> str | list[str]:
    """Return a single name for all layers, or the list of names."""
    return words[0] if len(words) == 1 else words


def parse_class_weight(weights: str | Mapping[str, float] | None, columns: Columns | None) -> Any:
    """Convert the weights of classes from labels to class numbers."""
    if weights is None or isinstance(weights, str):
        return weights
    labels = columns.labels if columns is not None else None
    numbers = {}
    for label, weight in weights.items():
        if labels is not None and label not in labels:
            raise ArgumentError(f"--class-weight names the class {label!r}; choose from {choices(labels)}")
        if labels is None and not label.isdecimal():
            raise ArgumentError(
                f"--class-weight names the class {label!r}; classes of arrays are numbers, as in 0=1,1=5"
            )
        numbers[int(label) if labels is None else labels.index(label)] = weight
    return numbers


def scale_columns(training: ReadyTraining, options: argparse.Namespace) -> None:
    """Scale the columns of a table in bins by their importance, which a short training of a few networks finds."""
    data, recipe, (x, y) = training.data, training.recipe, training.data.train
    classes = max(data.n_out, 2) if data.task in ("classification", "binary") and y.ndim == 1 else None
    scaling = choose_scaling(
        x,
        y if classes is None else y.astype(int),
        TableRecipe(recipe.members, tuple(recipe.hidden), epochs=recipe.epochs, batch_size=recipe.batch_size),
        training.folds,
        count_inputs(data.columns.features if data.columns is not None else []),
        classes,
        seed=options.seed,
        backend=options.backend,
        device=options.device,
    )
    for network in networks_of(training.model):
        network.scaling = network.scaling._replace(x_std=scaling.x_std)  # type: ignore


# After the training


def complete(training: ReadyTraining) -> None:
    """Learn what the rows of a table are like, and calibrate the model by those that were left out."""
    data, model = training.data, training.model
    first = networks_of(model)[0].value.model
    if isinstance(model, Ensemble):
        for network in model:
            network.reset_optimizer(SGD())  # the averages of AdamW would make files three times as large
    if data.columns is not None and len(data.train[1]) >= LEAST_ROWS:
        model.fit_novelty(data.train[0])
    is_trained = len(training.histories[0]) > 0
    if is_trained:
        warn_of_targets(training)
    if not (training.leaves_out_rows and is_trained and (first.task == "regression" or can_temper(first))):
        return
    try:
        if isinstance(model, Ensemble):
            model.calibrate(data.train, rows=training.folds)
        else:
            model.calibrate(data.validation)
    except ValueError as error:
        warn(f"the model is not calibrated: {error}")  # its probabilities or error bars stay as they are


def warn_of_targets(training: ReadyTraining) -> None:
    """Warn of numbers in the target column of a table that lie far outside of all others."""
    data, model, division = training.data, training.model, training.data.division
    if data.columns is None or data.rows is None or division is None or data.task != "regression":
        return
    name = f"column {data.columns.target!r} of {data.name} (rows count from 1, without the header)"
    y, predicted = np.empty((2, len(data.rows)))
    for rows, split in (
        (division.train, data.train),
        (division.validation, data.validation),
        (division.test, data.test),
    ):
        if split is not None:
            y[rows], predicted[rows] = split[1], np.nan
    if isinstance(model, Ensemble):
        predicted[division.train] = predict_out_of_fold(model, data.train[0], training.folds)[:, 0]
    warn_of_wrong_targets(y, predicted, name, (data.rows + 1).tolist())


def report_training(options: argparse.Namespace, training: ReadyTraining, seconds: float) -> None:
    """Score and save what was trained, draw its learning curve, and say how the training went."""
    heading, scores = score_training(training)
    result = scores.describe(heading)
    if options.save:
        for network in networks_of(training.model):
            network.notes["score"] = result
            note_hold_out(network, training.data, scores.cost)
        text = save_model(options, training, scores)
        if not options.quiet:
            say(text)
    if options.log and training.folds:
        write_log(options.log, training.histories)
    if options.plot:
        save_curve(mean_history(training.histories), options.plot)
    if options.plot and not options.quiet:
        say(f"Drew the learning curve to {options.plot}")
    if not options.quiet:
        print_stopping(training)
    print(f"{result} {describe_speed(training.histories, seconds)}")


def score_training(training: ReadyTraining) -> tuple[str, Scores]:
    """Score the model on rows that it has not learnt from, if there are any; say which rows, as a heading."""
    data, model, metrics = training.data, training.model, training.metrics
    if data.test is not None:
        return "Test {}", score(model, data.test, metrics)
    if isinstance(model, Ensemble):
        return "Out-of-fold {}", score_folds(model, data.train, training.folds, metrics)
    if training.leaves_out_rows and data.validation is not None:
        return "Validation {}", score(model, data.validation, metrics, intervals=False)
    return "Training {}", score(model, data.train, metrics)


def save_model(options: argparse.Namespace, training: ReadyTraining, scores: Scores) -> str:
    """Save the network or the ensemble; say so, and compare it with what it replaces, if there is something."""
    holds_something = is_in_use(options.save)
    old = load_replaced(options.save) if holds_something else None
    training.model.save(options.save)
    text = f"Saved to {options.save}"
    if old is not None:
        replaced = describe_replaced(options.save, old, options, training.data, training.metrics)
        return f"{text}, in place of {replaced}; now it is {scores}"
    return f"{text}, in place of something other than a network" if holds_something else text


def print_stopping(training: ReadyTraining) -> None:
    """Say which epochs early stopping went back to, if it did."""
    stopping = training.stopping
    if not any(one.stopped_epoch for one in stopping):
        return
    best = [one.best_epoch for one in stopping]
    if len(best) == 1:
        print(f"Stopped after epoch {stopping[0].stopped_epoch}; the network is that of epoch {best[0]}")
    else:
        print(f"Each network is that of its best epoch, {min(best)} to {max(best)}")


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


@contextmanager
def save_if_interrupted(training: ReadyTraining, options: argparse.Namespace) -> Iterator[None]:
    """Save the networks as they are when Ctrl-C ends the training, unless no step has run.

    The message names the file, and the checkpoint, which `train` also writes when SIGTERM ends it.
    """
    networks, epochs = networks_of(training.model), training.recipe.epochs
    before = [network.state.layers for network in networks]
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if options.log and training.folds:
            write_log(options.log, training.histories)
        if (options.save is None and options.checkpoint is None) or not speaks(options):
            raise
        trained = any(network.state.layers is not layers for network, layers in zip(networks, before))
        in_place = ", in place of the earlier file" if options.save and is_in_use(options.save) else ""
        if options.save and trained:
            training.model.save(options.save)
        epoch = min(max(map(len, training.histories)) + 1, epochs)
        parts = [f"interrupted in epoch {epoch} of {epochs}" if trained else "interrupted before the first step"]
        if options.save and trained:
            so_far = "the networks so far are" if training.folds else "the network so far is"
            calibrated = ", without calibration" if training.leaves_out_rows else ""
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


# Several processes that train one network


def join_ranks(options: argparse.Namespace) -> Ranks:
    """Find the processes that mpiexec has started."""
    if options.data == STDIN:
        raise ArgumentError("--distributed: every process reads the data, and only one has standard input; name a file")
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


# Files


def _check_files(options: argparse.Namespace, members: int) -> None:
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
