"""The commands: ``xpnet train``, ``evaluate``, ``predict`` and the others."""

import argparse
import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from xpnet.backends.base import Array
from xpnet.checkpoint.files import read_file, write_file
from xpnet.checkpoint.kinds import is_ensemble
from xpnet.cli.bench import compare_backends, list_libraries
from xpnet.cli.data import FILES, SETS, Data, holds_one_set, read_examples, read_test_data, read_training_data
from xpnet.cli.scores import (
    Scores,
    describe_replaced,
    find_held_out,
    load_columns,
    load_note,
    note_hold_out,
    score,
)
from xpnet.cli.tables import STDIN, Columns
from xpnet.core.arguments import parse_cost
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.optimizers.table import OPTIMIZERS
from xpnet.core.schedules import SCHEDULES
from xpnet.data.columns import is_number
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.setting import Distributed, check_launcher
from xpnet.ensemble import Ensemble
from xpnet.export import to_onnx, write_lesson, write_page
from xpnet.export.onnx import describe_onnx
from xpnet.export.page import choose_picture
from xpnet.learn.mutations import MISTAKES, break_equation, make_figure
from xpnet.network import Network
from xpnet.training.arguments import parse_metrics, parse_rate
from xpnet.training.callback import Callback
from xpnet.training.callbacks import CSVLog, EarlyStopping
from xpnet.training.history import History
from xpnet.training.metrics import Metric, mean_absolute_error, r2
from xpnet.wording.checks import check_folder, choices, count, install_command, list_names, printable
from xpnet.wording.errors import unless_stopped

Made = TypeVar("Made")


class Recipe(NamedTuple):
    """Settings that work well for a kind of data; options override them."""

    hidden: tuple[int, ...] = (256, 128)
    dropout: tuple[float, ...] = (0.0,)
    standardize: bool = False
    epochs: int = 15
    batch_size: int = 32
    lr: float = 0.1
    weight_decay: float = 0.001


# benchmarks/accuracy.py measures the accuracies of the first three
FULL_MNIST = Recipe((256,), epochs=5, batch_size=64, lr=0.2, weight_decay=0.0001)
RECIPES = {"mnist-sample": Recipe(), "mnist": FULL_MNIST, "fashion-mnist": FULL_MNIST}
# Learns scikit-learn's iris, wine, breast cancer, diabetes and digits, written as tables
TABLE = Recipe((64, 32), standardize=True, epochs=50, lr=0.02, weight_decay=0.01)
CLASSES = {"sgd": "SGD", "rmsprop": "RMSProp", "adam": "Adam", "adamw": "AdamW", "lm": "LevenbergMarquardt"}
MOMENTUM, SCHEDULE = 0.9, "one-cycle"
DATA_FILES = f"{FILES}, or choose from {', '.join(SETS)}"
MOST_WIDTH = 40  # characters of a name beside which others are indented
PICTURES = (".png", ".pdf", ".svg", ".jpg")


def run_train(options: argparse.Namespace) -> None:
    """Train, report, and save."""
    if options.distributed:
        options.ranks = join_ranks(options)
    training = make_on_all(options, prepare_training)
    if speaks(options) and not options.quiet:
        print(training.data)
        print(training.net, flush=True)
    started = time.perf_counter()
    with save_if_interrupted(training.net, options, training.settings["epochs"]):
        history = training.net.train(training.data.train, **training.settings)
    if speaks(options):
        report_training(options, training, history, time.perf_counter() - started)


class ReadyTraining(NamedTuple):
    """A network, and how to train it."""

    data: Data
    net: Network
    metrics: list[Metric]
    stopping: list[EarlyStopping]
    settings: dict[str, Any]  # the arguments of `Network.train`


def prepare_training(options: argparse.Namespace) -> ReadyTraining:
    """Check the options, read the data, and make the network."""
    if speaks(options):
        _check_files(options)
    arguments = ("task", "target", "ignore", "categories", "bins")
    arguments += ("test_split", "test_group", "test_last", "validation_split")
    with name_argument("--data", options.data, DATA_FILES):
        data = read_training_data(options.data, **{name: getattr(options, name) for name in (*arguments, "seed")})
    recipe = choose_recipe(options, RECIPES.get(data.name, Recipe()) if data.columns is None else TABLE)
    net = make_network(options, recipe, data)
    metrics = parse_metrics("metrics", options.metrics, net.view.model)
    stopping = []
    if options.early_stopping is not None:
        stopping.append(EarlyStopping(count("early_stopping", options.early_stopping, least=1)))
    settings = training_settings(options, recipe, data, metrics, stopping)
    if options.plot and recipe.epochs == 0:
        raise ValueError(f"--plot {options.plot} needs epochs to draw, and --epochs is 0")
    return ReadyTraining(data, net, metrics, stopping, settings)


def report_training(options: argparse.Namespace, training: ReadyTraining, history: History, seconds: float) -> None:
    """Score and save the trained network, draw its learning curve, and say how the training went."""
    data, net, metrics, stopping, _ = training
    scores = score(net, data.test or data.train, metrics)
    result = scores.describe("Test {}" if data.test else "Training {}")
    if options.save:
        net.notes["score"] = result
        note_hold_out(net, data, scores.cost)
        text = save_network(options, training, scores)
        if not options.quiet:
            say(text)
    if options.plot:
        save_curve(history, options.plot)
    if options.plot and not options.quiet:
        say(f"Drew the learning curve to {options.plot}")
    if stopping and stopping[0].stopped_epoch and not options.quiet:
        print(f"Stopped after epoch {stopping[0].stopped_epoch}; the network is that of epoch {stopping[0].best_epoch}")
    print(f"{result} {describe_speed(history, seconds)}")


def save_network(options: argparse.Namespace, training: ReadyTraining, scores: Scores) -> str:
    """Save the network; say so, and compare it with the one that it replaces, if there is one."""
    holds_something = is_in_use(options.save)
    old = load_replaced(options.save) if holds_something else None
    training.net.save(options.save)
    text = f"Saved to {options.save}"
    if old is not None:
        replaced = describe_replaced(options.save, old, options, training.data, training.metrics)
        return f"{text}, in place of {replaced}; now it is {scores}"
    return f"{text}, in place of something other than a network" if holds_something else text


def run_evaluate(options: argparse.Namespace) -> None:
    """Report how good a saved network is on test data, or on all rows of a table and on those that were held out."""
    net, columns = load(options)
    note = load_note(net, options.model)
    with name_argument("--data", options.data, DATA_FILES):
        new = read_test_data(
            options.data,
            columns,
            in_bytes=net.scale is not None,
            target=options.target,
            group=note.hold_out.group if note else None,
        )
    print_remarks(new.remarks)
    metrics = parse_metrics("metrics", options.metrics, net.view.model)
    if not (options.data and holds_one_set(options.data)):
        print(score(net, new.examples, metrics).describe("Test {}"))
        return
    print(score(net, new.examples, metrics).describe(f"{{}} on all {len(new.examples[1]):,} rows"))
    if held_out := find_held_out(net, note, new, options.data):
        heading = f"{{}} on the {len(held_out[1]):,} rows that training held out"
        print(score(net, held_out, metrics).describe(heading))


def run_predict(options: argparse.Namespace) -> None:
    """Write the predictions of a saved network as CSV, one row per example."""
    if options.out:
        _check_replaceable("--out", options.out)
    net, columns = load(options)
    with name_argument("FILE", options.file, "a table, a .npy array or an image"):
        x, remarks, copies = read_examples(
            options.file, net.sizes[0], columns, in_bytes=net.scale is not None, keep=options.keep
        )
    print_remarks(remarks)
    if formulas := find_formulas(columns):
        print_remarks([f"a spreadsheet takes these classes for formulas: {list_names(formulas)}"])
    header, rows = predict_rows(net, x, columns)
    if clashes := [name for name in copies if name in header]:
        raise ValueError(
            f"--keep names {clashes[0]!r}, and a column of the predictions has this name; rename it in {options.file}"
        )
    header, rows = [*copies, *header], ([*cells, *row] for *cells, row in zip(*copies.values(), rows))
    if not options.out and sys.stdout.isatty():
        header, *rows = ([printable(value) for value in row] for row in (header, *rows))
    file = io.StringIO() if options.out else sys.stdout
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    if options.out and isinstance(file, io.StringIO):
        write_file(options.out, file.getvalue().encode())
        say(f"Wrote {len(x):,} predictions to {options.out}")


def run_export(options: argparse.Namespace) -> None:
    """Write a saved network as an ONNX file."""
    _check_replaceable("--out", options.out)
    net = load_model(options.model)
    net = net if options.dtype is None else net.to(dtype=options.dtype)
    to_onnx(net, options.out, encoder=False if options.encoded else None, input_dtype=options.input_dtype)
    first, *others = describe_onnx(options.out)
    for line in (f"Wrote {options.out}: {first}", *others):
        say(line)


def run_show(options: argparse.Namespace) -> None:
    """Write a page that shows a saved network at work, or one to learn from."""
    _check_replaceable("--out", options.out)
    if options.lesson:
        _write_lesson(options)
        return
    net = load_model(options.model)
    title = options.model.name if options.title is None else options.title
    write_page(net, options.out, title=title, image=options.image, white=options.white)
    say(f"Wrote {options.out}, {options.out.stat().st_size / 1000:,.0f} kB; open it in a browser")
    if picture := choose_picture(net, options.image, options.white):
        size, white = f"{picture.height}x{picture.width}", f"{picture.white:.6g}"
        say(
            f"{options.out}: inputs are images of {size} pixels from 0 (black) to {white} (white; change it by --white)"
        )


def _write_lesson(options: argparse.Namespace) -> None:
    for name in ("image", "white", "title"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is for the page of a MODEL; leave it out with --lesson")
    write_lesson(options.lesson, options.out)
    say(f"Wrote {options.out}; open it in a browser")


def run_info(options: argparse.Namespace) -> None:
    """Say what is in the file of a network or an ensemble."""
    for line in [*describe_file(options.model)]:  # nothing, if there is an error in it
        say(line)


def describe_file(path: Path) -> Iterator[str]:
    """Describe what is in a file, line by line."""
    with name_argument("MODEL", path, "a file written by xpnet train --save"):
        content = read_file(path)
    if not is_ensemble(content):
        net = load_network(path)
        yield f"{path}: {net}"
        yield from describe_network(net, path)
        yield from net.provenance.describe()
        return
    ensemble = Ensemble.load(path)
    yield f"{path}: {ensemble}"
    trainings = [net.provenance.runs for net in ensemble]
    for k, net in enumerate(ensemble):
        seed, *runs = net.provenance.describe()
        if runs and (first := trainings.index(trainings[k])) < k:
            runs = [f"Trained as member {first}"]
        lines = [describe_training(net), seed, *runs]
        yield from (f"{'  ' if i else f'Member {k}: '}{line}" for i, line in enumerate(lines))


def describe_network(net: Network, path: Path) -> Iterator[str]:
    """Describe a network line by line: its training and its scores, its target and its inputs."""
    columns = load_columns(net, path)
    yield describe_training(net)
    if isinstance(net.notes.get("score"), str):
        yield net.notes["score"]
    if note := load_note(net, path):
        yield f"Held out for testing: {note}"
    if columns is None:
        yield f"Inputs: {net.sizes[0]:,}" + (f", {list_names(net.feature_names)}" if net.feature_names else "")
        return
    classes = f", classes {list_names(columns.labels)}" if columns.labels else ", a number"
    yield f"Target: {columns.target!r}{classes}{' in %' if columns.unit else ''}"
    used = sum(bool(column.inputs) for column in columns.features)
    yield f"Inputs: {net.sizes[0]:,}, from {used:,} column{'s' if used != 1 else ''}"
    width = min(max(len(repr(column.name)) for column in columns.features), MOST_WIDTH)
    for column in columns.features:
        yield f"  {column.name!r:{width}}  {column.describe()}"


def describe_training(net: Network) -> str:
    """Describe the last training of a network in a line."""
    data = f" on {net.notes['data']}" if isinstance(net.notes.get("data"), str) else ""
    n = len(net.history)
    cost = f", training cost {net.history['cost'][-1]:.6g}" if n else ""
    trained = f"Trained for {n:,} epoch{'s' if n != 1 else ''}{data}{cost}" if n else "Not trained"
    return f"{trained}; {net.summary().parameters:,} weights and biases"


def run_backends(options: argparse.Namespace) -> None:
    """List libraries and devices, with the reason and the remedy for libraries that cannot be used."""
    for library in list_libraries():
        print(library)


def run_bench(options: argparse.Namespace) -> None:
    """Time a step of a network on every library and device, and name the fastest."""
    net = Network(
        options.sizes,
        activation=one_or_each(options.activation),
        task=options.task,
        dtype=options.dtype,
        seed=options.seed,
    )
    settings = {name: getattr(options, name) for name in ("steps", "seconds", "repeats", "seed")}
    print(compare_backends(net, options.batch_size, backends=options.backend, **settings))


def run_break(options: argparse.Namespace) -> None:
    """Make a mistake in an equation, and report which check finds it; without an equation, list the mistakes."""
    if options.plot:
        if options.equation is None:
            raise ValueError(f"--plot {options.plot} needs an equation: {choices(MISTAKES)}")
        _check_file("--plot", options.plot)
        _check_figure(options.plot)
    if options.equation is None:
        print(_list_mistakes())
        return
    comparison = break_equation(options.equation, epochs=options.epochs, seed=options.seed)
    print(comparison)
    if options.plot:
        comparison.plot().savefig(options.plot)
        say(f"Drew the learning curves to {options.plot}")


def _list_mistakes() -> str:
    """List the mistakes under their equations."""
    lines, formula = [], ""
    for name, mistake in MISTAKES.items():
        if mistake.formula != formula:
            formula = mistake.formula
            lines.append(f"{mistake.equation}, {formula}")
        lines.append(f"  {name:{max(map(len, MISTAKES))}}  {mistake.mistake}")
    return "\n".join([*lines, "Give one of them, as in: xpnet break BP2"])


# Several processes that train one network


def join_ranks(options: argparse.Namespace) -> Ranks:
    """Find the processes that mpiexec has started."""
    if options.data == STDIN:
        raise ValueError("--distributed: every process reads the data, and only one has standard input; name a file")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter if there is no MPI
        message = f"--distributed needs mpi4py and an MPI ({error}); install both with: {install_command('mpi')}"
        raise ImportError(message) from error
    check_launcher()
    return Ranks(Distributed(MPI.COMM_WORLD))


def speaks(options: argparse.Namespace) -> bool:
    """Tell whether this process prints and writes files: of several that train one network, rank 0 does."""
    return options.ranks is None or options.ranks.leads


def make_on_all(options: argparse.Namespace, make: Callable[[argparse.Namespace], Made]) -> Made:
    """Make something on every rank, each for itself; if one of them fails, all raise an error."""
    made: list[Made] = []
    if options.ranks is None:
        return make(options)
    options.ranks.make_on_all(lambda: made.append(make(options)))
    return made[0]


# The steps of a training


def choose_recipe(options: argparse.Namespace, recipe: Recipe) -> Recipe:
    """Replace the settings of a recipe by the user's options."""
    if options.optimizer != "sgd":
        kind = OPTIMIZERS[CLASSES[options.optimizer]]
        recipe = recipe._replace(weight_decay=kind().weight_decay, lr=kind.default_lr)
    settings = {name: getattr(options, name) for name in Recipe._fields}
    return recipe._replace(**{name: value for name, value in settings.items() if value is not None})


def make_network(options: argparse.Namespace, recipe: Recipe, data: Data) -> Network:
    """Make the network for the data."""
    task, output_activation, cost = options.task or data.task, options.output_activation, options.cost
    if options.task is None and task == "classification":  # so that any output activation and cost can be given
        task, output_activation, cost = None, output_activation or "softmax", cost or "cross_entropy"
    per_target = parse_cost(cost).outputs_per_target if data.task == "regression" and cost else 1
    net = Network(
        choose_sizes(options.sizes, recipe.hidden, data, data.n_out * per_target),
        activation=one_or_each(options.activation),
        output_activation=output_activation,
        cost=cost,
        task=task,
        init=options.init,
        dropout=recipe.dropout[0] if len(recipe.dropout) == 1 else recipe.dropout,
        standardize=recipe.standardize,
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        seed=options.seed,
    )
    if net.task == "regression":
        net.view.model.cost.require_point("the scores")
    if data.columns is not None:
        net.feature_names, net.notes = data.columns.inputs, data.columns.notes
    net.notes["data"] = name_data(options)
    return net


def training_settings(
    options: argparse.Namespace, recipe: Recipe, data: Data, metrics: list[Metric], stopping: list[EarlyStopping]
) -> dict[str, Any]:
    """Collect the arguments of `Network.train`."""
    callbacks: list[Callback] = [*stopping]
    if options.log:
        callbacks.append(CSVLog(options.log))
    evaluated = data.test is not None or options.validation_split is not None
    validation = {"validation_split": options.validation_split}
    if data.validation is not None:
        validation = {"validation_data": data.validation}
    if evaluated and data.task == "regression":  # the cost is that of standardized targets
        metrics = list(dict.fromkeys([r2, mean_absolute_error, *metrics]))
    settings = {
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": SCHEDULES[options.schedule or SCHEDULE](parse_rate("lr", recipe.lr)),
        "optimizer": make_optimizer(options.optimizer, options.momentum, recipe.weight_decay),
        **validation,
        "class_weight": parse_class_weight(options.class_weight, data.columns),
        "callbacks": callbacks,
        "metrics": metrics if evaluated else [],
        "training_metrics": [] if evaluated else metrics,
        "test_data": data.test,
        "checkpoint": options.checkpoint,
        "every": options.every,
        "resume": options.resume,
        "blas_threads": options.blas_threads,
        "progress": not options.quiet,
    }
    if options.ranks is not None:
        settings["distributed"] = Distributed(options.ranks.comm, options.shards)
    if options.optimizer == "lm":  # it takes whole steps, and refuses these two if the user gives them
        if options.schedule is not None:
            raise ValueError(f"--schedule {options.schedule} is for other optimizers: lm has no learning rate")
        for name in ("batch_size", "lr"):
            del settings[name]
            if getattr(options, name) is not None:
                settings[name] = getattr(options, name)
    return settings


@contextmanager
def save_if_interrupted(net: Network, options: argparse.Namespace, epochs: int) -> Iterator[None]:
    """Save the network as it is when Ctrl-C ends the training, unless no step has run.

    The message names the file, and the checkpoint, which `train` also writes when SIGTERM ends it.
    """
    before = net.state.layers
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if (options.save is None and options.checkpoint is None) or not speaks(options):
            raise
        trained = net.state.layers is not before
        in_place = ", in place of the earlier file" if options.save and is_in_use(options.save) else ""
        if options.save and trained:
            net.save(options.save)
        epoch = min(len(net.history) + 1, epochs)
        parts = [f"interrupted in epoch {epoch} of {epochs}" if trained else "interrupted before the first step"]
        if options.save:
            parts.append(f"the network so far is saved to {options.save}{in_place}" if trained else "nothing is saved")
        if options.checkpoint:
            parts.append(f"--resume continues the training in {options.checkpoint}")
        message = "; ".join(parts)
        if isinstance(stop, SystemExit):
            print_remarks([message])
            raise
        raise KeyboardInterrupt(message) from stop


def choose_sizes(sizes: Sequence[int] | None, hidden: Sequence[int], data: Data, n_out: int) -> list[int]:
    """Choose the units of each layer; the user's sizes must fit the data, which needs `n_out` outputs."""
    if sizes is None:
        return [data.n_in, *hidden, n_out]
    exact = data.columns is not None or data.task != "classification"  # arrays may lack the last classes
    fits = sizes[-1] == n_out or (sizes[-1] > n_out and not exact)
    if len(sizes) > 1 and not (sizes[0] == data.n_in and fits):
        fitting = ",".join(map(str, [data.n_in, *sizes[1:-1], n_out]))
        raise ValueError(
            f"--sizes {','.join(map(str, sizes))} does not fit {data.name}, which has {data.features} and "
            f"{data.outputs}; give --sizes {fitting}, or leave it out"
        )
    return list(sizes)


def make_optimizer(name: str, momentum: float | None, weight_decay: float) -> Optimizer:
    """Make the optimizer."""
    if name == "sgd":
        return OPTIMIZERS["SGD"](momentum=MOMENTUM if momentum is None else momentum, weight_decay=weight_decay)
    if momentum is not None:
        raise ValueError(f"--momentum {momentum:g} is for SGD; --optimizer {name} has its own")
    return OPTIMIZERS[CLASSES[name]](weight_decay=weight_decay)


def parse_class_weight(weights: str | Mapping[str, float] | None, columns: Columns | None) -> Any:
    """Convert the weights of classes from labels to class numbers."""
    if weights is None or isinstance(weights, str):
        return weights
    labels = columns.labels if columns is not None else None
    numbers = {}
    for label, weight in weights.items():
        if labels is not None and label not in labels:
            raise ValueError(f"--class-weight names the class {label!r}; choose from {choices(labels)}")
        if labels is None and not label.isdecimal():
            raise ValueError(f"--class-weight names the class {label!r}; classes of arrays are numbers, as in 0=1,1=5")
        numbers[int(label) if labels is None else labels.index(label)] = weight
    return numbers


def describe_speed(history: History, seconds: float) -> str:
    """Format the time that a training took, and its speed within the epochs in examples per second."""
    if not history.rows:
        return "before any training"
    examples = sum(s * r for s, r in zip(history["seconds"], history["examples_per_second"]))
    return f"after {seconds:.1f} s, {examples / max(sum(history['seconds']), 1e-9):,.0f} examples/s"


def save_curve(history: History, path: Path) -> None:
    """Draw the learning curve, and write it in the format that the file's suffix names."""
    from xpnet import plots

    plots.history(history).savefig(path, dpi=150)


# Saved networks and their predictions


def load_network(path: Path, **place: Any) -> Network:
    """Load the network in the file MODEL."""
    with name_argument("MODEL", path, "a file written by xpnet train --save"):
        return Network.load(path, **place)


def load_model(path: Path, **place: Any) -> Network | Ensemble:
    """Load the network or the ensemble in the file MODEL."""
    with name_argument("MODEL", path, "a file written by xpnet train --save"):
        return Ensemble.load(path, **place) if is_ensemble(read_file(path)) else Network.load(path, **place)


def is_in_use(path: Path) -> bool:
    """Tell whether there is something in a file."""
    return path.exists() and path.stat().st_size > 0


def load_replaced(path: Path) -> Network | None:
    """Load the network in a file that is to be replaced, if there is one."""
    try:
        return Network.load(path)
    except unless_stopped(ValueError, TypeError, OSError, RuntimeError):
        return None


def load(options: argparse.Namespace) -> tuple[Network, Columns | None]:
    """Load a network, and the columns of the table that it was trained on, if any."""
    net = load_network(options.model, backend=options.backend, device=options.device)
    return net, load_columns(net, options.model)


def name_data(options: argparse.Namespace) -> str:
    """Name data in the notes of a network: the name of a file, without its folder; of .npy files, both names."""
    data = Path(options.data)
    return f"{data.name} and {Path(options.target).name}" if data.suffix == ".npy" and options.target else data.name


def say(text: str) -> None:
    """Print a line that names files, or is from one."""
    print(printable(text))


def print_remarks(remarks: Sequence[str]) -> None:
    """Print what is to be said besides results, which go to standard output, on standard error."""
    for remark in remarks:
        print(f"xpnet: {printable(remark)}", file=sys.stderr)


def predict_rows(net: Network, x: Array, columns: Columns | None) -> tuple[list[str], Iterator[Any]]:
    """Predict examples; return the names of the columns, and a row of values for each example."""
    predicted = net.backend.to_numpy(net.predict(x)).reshape(len(x), -1)
    if net.task not in ("classification", "binary"):
        n, distribution = predicted.shape[1], net.view.model.cost.distribution
        names = ["prediction"] if n == 1 else [f"prediction_{k}" for k in range(n)]
        if distribution is None or distribution.std is None:
            return names, iter(predicted)
        std = net.backend.to_numpy(net.predict_std(x)).reshape(len(x), -1)
        stds = [name.replace("prediction", "std") for name in names]
        return [*names, *stds], iter(np.concatenate([predicted, std], axis=1))
    outputs, classes = net.backend.to_numpy(net.forward(x)), predicted[:, 0]
    if net.task == "binary":
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    labels = columns.labels if columns is not None else range(len(outputs[0]))
    return ["prediction", "probability"], ((labels[k], output[k]) for k, output in zip(classes, outputs))


def find_formulas(columns: Columns | None) -> list[str]:
    """Find classes that a spreadsheet would compute: they begin as formulas do, and are no numbers."""
    labels = () if columns is None else columns.labels
    return [label for label in labels if label.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(label)]


# Options


def one_or_each(words: list[str]) -> str | list[str]:
    """Return a single name for all layers, or the list of names."""
    return words[0] if len(words) == 1 else words


@contextmanager
def name_argument(argument: str, path: str | Path | None, kind: str) -> Iterator[None]:
    """Make errors about unreadable files name the argument, and the kind of file that it takes."""
    try:
        yield
    except OSError as error:
        if path is None or error.filename != str(path):  # or an error with its own message, which has no file name
            raise
        raise OSError(f"{argument} {path} cannot be read ({error.strerror}); give the path of {kind}") from error


def _check_files(options: argparse.Namespace) -> None:
    """Refuse contradictory options and files that cannot be written, before anything is read."""
    if options.shards is not None and not options.distributed:
        raise ValueError(f"--shards {options.shards} needs --distributed")
    if options.early_stopping is not None and options.validation_split is None:
        raise ValueError(f"--early-stopping {options.early_stopping} needs --validation-split, as in 0.1")
    for option, check in (
        ("save", _check_replaceable),
        ("checkpoint", _check_replaceable),
        ("log", _check_file),
        ("plot", _check_file),
    ):
        if getattr(options, option):
            check(f"--{option}", getattr(options, option))
    if options.save and not options.force:
        _check_replaces_same(options)
    if options.plot:
        _check_picture(options.plot)
    if options.checkpoint is None and (options.resume or options.every):
        name = "--resume" if options.resume else "--every"
        raise ValueError(f"{name} needs --checkpoint, the file to write, as in run.safetensors")
    if options.checkpoint and options.checkpoint.exists() and not options.resume:
        raise ValueError(
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
        notes = old.notes
        if (notes.get("data"), notes.get("target")) == wanted:
            return
        target = f" to predict {notes['target']!r}" if "target" in notes else ""
        content = f"another network, trained on {notes['data']}{target}" if "data" in notes else "another network"
    raise ValueError(f"--save {path} holds {content}; give --force to replace it, or name another file")


def _check_figure(path: Path) -> None:
    """Check, before training, that matplotlib is installed and supports the format of the file."""
    kinds = make_figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ValueError(f"--plot {path} must end in one of {choices(f'.{kind}' for kind in kinds)}")


def _check_file(option: str, path: Path) -> None:
    """Refuse a path that cannot be opened for writing."""
    if path.is_dir():
        raise OSError(f"{option} {path} is a folder; name a file in it")
    try:
        check_folder(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{option} {error}; make it, or name another file") from error
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise PermissionError(f"{option} {path} cannot be written to; name another file, or change its permissions")


def _check_replaceable(option: str, path: Path) -> None:
    """Refuse a path where a new file could not replace an old one."""
    _check_file(option, path)
    if path.exists() and not path.is_file():
        raise OSError(f"{option} {path} is not a regular file; name another one")
    if not os.access(folder := path.resolve().parent, os.W_OK):
        raise PermissionError(f"{option} {path}: no file can be created in {folder}; name one in another folder")


def _check_picture(path: Path) -> None:
    """Refuse a picture that could not be written after training, because of its format or without matplotlib."""
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"--plot {path} must end in {', '.join(PICTURES)}, which names its format")
    try:
        from xpnet import plots  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--plot {path}: {error}") from error
