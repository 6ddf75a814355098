"""The options of the command, and functions that parse them."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

from xpnet._checks import printable
from xpnet._names import find_nearest
from xpnet.backends import BACKENDS
from xpnet.cli._commands import (
    run_backends,
    run_evaluate,
    run_export,
    run_info,
    run_predict,
    run_show,
)
from xpnet.cli._data import FILES, SETS
from xpnet.cli._defaults import MOMENTUM, OPTIMIZER_CLASSES, TABLES
from xpnet.cli._training import run_train
from xpnet.core.initializers import INITIALIZERS
from xpnet.core.schedules import SCHEDULES
from xpnet.files import is_same_file
from xpnet.pages import LESSONS
from xpnet.tables.columns import BINS
from xpnet.tables.held_out import TEST_SPLIT
from xpnet.training import parse_every
from xpnet.value.structure import DTYPES, TASKS
from xpnet.version import __version__

DATA = f"{', '.join(SETS)}, {FILES}"
DEFAULT = "mnist-sample"
ENDS_IN_DASHES = re.compile(r"--[\w-]+=--|-\w=?--")
# Options that name files to read and files to write; each command has some of them
READ = {"model": "MODEL", "file": "FILE", "data": "--data", "target": "--target"}
WRITTEN = {"save": "--save", "checkpoint": "--checkpoint", "log": "--log", "plot": "--plot", "out": "--out"}
# In a message, an argument with or without its value, as in dtype="float64" or batch_size; or a call such as
# SGD(momentum=0.9), which is matched so that its own arguments are not
ARGUMENT = re.compile(
    r"""\w+\((?:[^()]|\([^()]*\))*\)|"""
    r"""(?<![\w.'"/-])([a-z_]+)\b(?:=("[^"]*"|'[^']*'|True\b|False\b|)|(?!\.\w|['"/(]))"""
)
UNITS = {"s": 1, "min": 60, "h": 3600}  # seconds
EXAMPLES = """examples:
  xpnet train                                                train on the digits that come with xpnet
  xpnet train iris.csv --target species --save iris.safetensors
  xpnet info iris.safetensors                                what is in the file
  xpnet evaluate iris.safetensors more.csv
  xpnet predict iris.safetensors new.csv --out predictions.csv
"""


class Parser(argparse.ArgumentParser):
    """A parser that takes options by their full names, and reports errors in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the options; a command reports unknown ones itself, because its own help lists those that it has."""
        words = sys.argv[1:] if args is None else args
        if wrong := next(filter(ENDS_IN_DASHES.fullmatch, words), None):  # argparse would drop the value
            self.error(f"{wrong}: -- is not a value")
        options, unknown = self.parse_known_args(args, namespace)
        command = getattr(options, "command", self)
        if unknown:
            command.error(f"unrecognized arguments: {' '.join(unknown)}{command.suggest_options(unknown)}")
        if command is self:
            self.error("the following arguments are required: COMMAND")
        _choose_data(options)
        return options

    def suggest_options(self, words: Sequence[str]) -> str:
        """Format the options that may be meant by the first unknown one: longer or similar names, or nothing."""
        options = {option[2:].replace("-", "_"): option for option in self._option_string_actions if option[2:]}
        for word in words:
            if word.startswith("--"):
                name = word[2:].partition("=")[0].replace("-", "_")
                near = [other for other in options if other.startswith(name)] or [find_nearest(name, options)]
                meant = " or ".join(options[other] for other in near if other is not None)
                return f"; did you mean {meant}?" if meant else ""
        return ""

    def name_options(self, message: str) -> str:
        """Replace the arguments of functions in a message by the options of this command that set them."""
        return ARGUMENT.sub(self._name_option, message)

    def _name_option(self, match: re.Match[str]) -> str:
        name, value = match.groups()
        option = f"--{'no-' if value == 'False' else ''}{name}".replace("_", "-")
        if option not in self._option_string_actions:  # as for a call, where name is None
            return match[0]
        if value is None and name != "lr" and "_" not in name:  # a word that may mean something else
            return match[0]
        if value in (None, "True", "False"):
            return option
        return f"{option} {shlex.quote(value[1:-1])}" if value else f"{option} "

    def error(self, message: str) -> NoReturn:
        """End the command with a message about its options."""
        self.exit(2, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")


class _Format(argparse.RawDescriptionHelpFormatter):
    """Puts the help of an option beside it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


def make_parser() -> Parser:
    """Make the parser of the commands and their options."""
    top = Parser(
        prog="xpnet",
        description="Train and use feed-forward neural networks.",
        epilog=EXAMPLES,
        formatter_class=_Format,
    )
    top.add_argument("--version", action="version", version=f"xpnet {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_info(commands)
    _add_export(commands)
    _add_show(commands)
    _add_backends(commands)
    return top


def _add_command(commands: Any, name: str, summary: str, run: Callable[..., None], arguments: str = "") -> Any:
    """Add a command; `arguments` are the ones that it requires."""
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. Defaults are in brackets.",
        usage=f"%(prog)s [options] {arguments}".rstrip(),
        formatter_class=_Format,
    )
    command.set_defaults(run=run, command=command, ranks=None)  # ranks: see --distributed
    return command


def _add_train(commands: Any) -> None:
    train = _add_command(commands, "train", "train a network and score it on the test data", run_train, "[DATA]")
    _add_data(train.add_argument_group("data"))
    _add_network(train.add_argument_group("network"))
    _add_training(train.add_argument_group("training"))
    _add_results(train.add_argument_group("results"))


def _add_data(data: Any) -> None:
    _add_source(data)
    data.add_argument(
        "--target",
        metavar="COLUMN",
        help="column of a table to predict from the others, or the .npy file of the targets of a .npy file",
    )
    data.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="COLUMNS",
        help="columns of a table to leave out, as in id,name; can be repeated",
    )
    data.add_argument(
        "--categories",
        action="append",
        default=[],
        metavar="COLUMNS",
        help="columns whose values are categories, though they are numbers or dates",
    )
    data.add_argument(
        "--bins",
        type=int,
        metavar="N",
        help=f"scale each number of a table, and encode it in N bins, so that sharp steps are learnt; 0: neither "
        f"({BINS}; 0 with --optimizer lm)",
    )
    _add_held_out(data)
    data.add_argument(
        "--class-weight",
        type=_parse_class_weight,
        metavar="WEIGHTS",
        help="weights of the classes: balanced, or numbers as in yes=5,no=1 (1)",
    )


def _add_held_out(data: Any) -> None:
    data.add_argument(
        "--test-split",
        type=float,
        metavar="FRACTION",
        help=f"fraction of the rows of a table or .npy file to test on ({TEST_SPLIT})",
    )
    held_out = data.add_mutually_exclusive_group()
    held_out.add_argument(
        "--test-group",
        metavar="COLUMN",
        help="test on whole groups of rows, which have the same value in this column of a table; it is no input",
    )
    held_out.add_argument(
        "--test-last", action="store_true", help="test on the last rows of a table or .npy file, and not on random ones"
    )
    data.add_argument(
        "--validation-split",
        type=float,
        metavar="FRACTION",
        help="fraction of the training data that one network is validated on (0; 0.2 for a table)",
    )


def _add_network(network: Any) -> None:
    network.add_argument(
        "--members",
        type=int,
        metavar="N",
        help="number of networks, whose predictions are averaged; each validates on another part of the rows "
        f"({TABLES.members} for a table; 1 for other data, and with --validation-split, --distributed, --blas-threads "
        "or --optimizer lm or lbfgs, which are for one network)",
    )
    layers = network.add_mutually_exclusive_group()
    layers.add_argument("--sizes", type=_parse_sizes, help="units of each layer, as in 784,30,10 (depends on data)")
    layers.add_argument(
        "--hidden", type=_parse_hidden_sizes, metavar="SIZES", help="units of each hidden layer, as in 30,20"
    )
    network.add_argument("--task", choices=TASKS, metavar="TASK", help=f"{', '.join(TASKS)} (depends on data)")
    network.add_argument(
        "--activation",
        type=_parse_words,
        default="relu",
        metavar="NAMES",
        help="activation of all hidden layers, or one for each, as in relu,tanh (relu)",
    )
    network.add_argument("--output-activation", metavar="NAME", help="activation of the outputs (depends on task)")
    network.add_argument("--cost", metavar="NAME", help="cost function (depends on task)")
    network.add_argument("--init", choices=INITIALIZERS, metavar="NAME", help="initial weights (depends on activation)")
    network.add_argument(
        "--dropout",
        type=_parse_rates,
        metavar="RATES",
        help="dropout rate of all hidden layers, or rates of the inputs and of each hidden layer, as in 0.2,0.5 (0)",
    )
    network.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="scale each input to mean 0 and standard deviation 1 (on for tables, whose inputs in bins are only "
        "centred)",
    )


def _add_training(training: Any) -> None:
    training.add_argument("--epochs", type=int, metavar="N", help="passes over the data (depends on data)")
    training.add_argument("--batch-size", type=int, metavar="N", help="examples in a minibatch (depends on data)")
    _add_optimizer(training)
    training.add_argument(
        "--early-stopping",
        type=int,
        metavar="N",
        help=f"stop after N epochs without improvement on the rows left out ({TABLES.patience} for a table, or never)",
    )
    training.add_argument("--seed", type=int, metavar="N", default=0, help="seed of all random numbers (%(default)s)")
    training.add_argument(
        "--blas-threads",
        type=_parse_threads,
        metavar="N",
        default="auto",
        help="number of threads for matrix products (%(default)s)",
    )
    training.add_argument(
        "--distributed", action="store_true", help="share each minibatch among the processes that mpiexec has started"
    )
    training.add_argument(
        "--shards",
        type=int,
        metavar="N",
        help="cut each minibatch into N parts, so that the weights do not depend on the number of processes",
    )
    _add_place(training)
    _add_dtype(training)


def _add_optimizer(training: Any) -> None:
    training.add_argument(
        "--optimizer",
        choices=OPTIMIZER_CLASSES,
        metavar="NAME",
        help=f"{', '.join(OPTIMIZER_CLASSES)} (adamw for a table, or sgd)",
    )
    training.add_argument(
        "--lr", type=float, metavar="RATE", help="largest learning rate (depends on data and optimizer)"
    )
    training.add_argument(
        "--schedule",
        choices=SCHEDULES,
        metavar="NAME",
        help=f"schedule of the learning rate: {', '.join(SCHEDULES)} (cosine for a table, or one-cycle)",
    )
    training.add_argument(
        "--momentum", type=float, metavar="NUMBER", help=f"momentum of SGD; 0 turns it off ({MOMENTUM})"
    )
    training.add_argument(
        "--weight-decay",
        type=float,
        metavar="NUMBER",
        help="weight decay; 0 turns it off (depends on data and optimizer)",
    )


def _add_results(results: Any) -> None:
    _add_metrics(results)
    results.add_argument("--save", type=Path, metavar="FILE", help="write the network to a safetensors file")
    results.add_argument(
        "--force", action="store_true", help="let --save replace any file, not just a network of the same data"
    )
    results.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="file to save the training to as it runs; it must not exist yet, except with --resume",
    )
    results.add_argument(
        "--every",
        type=_parse_every,
        metavar="WHEN",
        help="when to save it: epoch, a number of steps such as 1000, or a time such as 10min (epoch)",
    )
    results.add_argument(
        "--resume", action="store_true", help="resume the training in --checkpoint, if that file exists"
    )
    results.add_argument("--log", type=Path, metavar="FILE", help="write a row for each epoch to a CSV file")
    results.add_argument("--plot", type=Path, metavar="FILE", help="draw the learning curve, as in curve.png")
    results.add_argument("--quiet", action="store_true", help="print only the last line")


def _add_evaluate(commands: Any) -> None:
    evaluate = _add_command(commands, "evaluate", "score a saved network", run_evaluate, "MODEL [DATA]")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")
    _add_source(evaluate)
    evaluate.add_argument("--target", metavar="FILE", help="the .npy file of the targets of a .npy file")
    _add_metrics(evaluate)
    _add_place(evaluate)


def _add_predict(commands: Any) -> None:
    predict = _add_command(
        commands, "predict", "write the predictions of a saved network as CSV", run_predict, "MODEL FILE"
    )
    predict.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")
    predict.add_argument("file", type=Path, metavar="FILE", help="a table, a .npy array, or an image (light on dark)")
    predict.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMNS",
        help="columns of the table to write before the predictions, as in id,name; can be repeated",
    )
    predict.add_argument(
        "--interval",
        type=float,
        metavar="LEVEL",
        help="also write the bounds of the interval that holds the target with this probability, as in 0.9",
    )
    predict.add_argument(
        "--novelty",
        action="store_true",
        help="also write how unlike the training rows each row is, from 0 to 1: of usual rows, 1 in 100 exceeds 0.99",
    )
    predict.add_argument("-o", "--out", type=Path, metavar="FILE", help="where to write (standard output)")
    _add_place(predict)


def _add_info(commands: Any) -> None:
    info = _add_command(
        commands,
        "info",
        "say what is in a file: network, training, scores, and what is done with each column",
        run_info,
        "MODEL",
    )
    info.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")


def _add_export(commands: Any) -> None:
    export = _add_command(commands, "export", "write a saved network as an ONNX file", run_export, "MODEL -o FILE")
    export.add_argument("model", type=Path, metavar="MODEL", help="file written by train --save")
    export.add_argument(
        "-o", "--out", type=Path, metavar="FILE", required=True, help="where to write, as in model.onnx"
    )
    export.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", help=f"dtype of the file: {', '.join(DTYPES)} (the network's own)"
    )
    export.add_argument(
        "--encoded",
        action="store_true",
        help="take a table as the encoded numbers that the network gets, in place of its columns",
    )
    export.add_argument(
        "--input-dtype", metavar="DTYPE", help="dtype of the inputs; uint8 for bytes (the network's own)"
    )


def _add_show(commands: Any) -> None:
    show = _add_command(commands, "show", "write a web page that shows a network at work", run_show, "MODEL -o FILE")
    what = show.add_mutually_exclusive_group(required=True)
    what.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="file written by train --save")
    what.add_argument(
        "--lesson",
        choices=LESSONS,
        metavar="NAME",
        help="instead of MODEL, a page to learn from: step, one step of training with all its numbers; neuron, one "
        "that learns slowly; or plane, a network that learns to tell two classes apart, with a picture of each unit",
    )
    show.add_argument(
        "-o", "--out", type=Path, metavar="FILE", required=True, help="where to write, as in network.html"
    )
    image = show.add_mutually_exclusive_group()
    image.add_argument(
        "--image",
        type=_parse_image,
        metavar="SIZE",
        help="height and width if the inputs are an image, as in 8x8; by default, 784 inputs are one of 28x28 pixels",
    )
    image.add_argument(
        "--no-image", dest="image", action="store_false", default=None, help="do not draw the inputs as an image"
    )
    show.add_argument("--white", type=float, metavar="NUMBER", help="value of a white pixel (guessed from the network)")
    show.add_argument("--title", metavar="TEXT", help="heading of the page (the name of MODEL)")


def _add_backends(commands: Any) -> None:
    _add_command(commands, "backends", "list the libraries and devices available here", run_backends)


def _add_source(command: Any) -> None:
    command.add_argument("source", nargs="?", metavar="DATA", help=f"{DATA} ({DEFAULT})")
    command.add_argument("--data", metavar="DATA", help="the same")


def _choose_data(options: argparse.Namespace) -> None:
    """Take the data from its option or from its place among the arguments."""
    source = vars(options).pop("source", None)
    if source is not None and options.data is not None:
        options.command.error(f"DATA is given twice: {source} and --data {options.data}")
    if hasattr(options, "data"):
        options.data = options.data or source
        if options.run is run_train:
            options.data = options.data or DEFAULT


def _add_metrics(command: Any) -> None:
    command.add_argument(
        "--metrics",
        type=_parse_words,
        default=[],
        metavar="NAMES",
        help="further metrics to compute on the test data, as in top_3,mean_squared_error",
    )


def _add_place(command: Any) -> None:
    command.add_argument(
        "--backend", choices=BACKENDS, metavar="NAME", help=f"{', '.join(BACKENDS)} (depends on device)"
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1, auto, or a device in the backend's own terms")


def _add_dtype(command: Any) -> None:
    command.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", default="float32", help=f"{', '.join(DTYPES)} (%(default)s)"
    )


def writes_files(options: argparse.Namespace) -> bool:
    """Tell whether a command is to write files."""
    return any(getattr(options, name, None) is not None for name in WRITTEN)


def check_paths(options: argparse.Namespace) -> None:
    """Refuse, before anything is read, to write to a file that is read or to write two outputs to one file.

    The command ends as with an option that cannot be parsed.
    """
    named = {name: getattr(options, name, None) for name in (*READ, *WRITTEN)}
    if Path(named["target"] or "").suffix != ".npy":
        named["target"] = None  # a column of a table
    paths = {name: path for name, path in named.items() if path is not None and str(path) not in (*SETS, "-")}
    for (one, path), (other, path_written) in combinations(paths.items(), 2):
        if other in WRITTEN and is_same_file(path, path_written):
            shown = {**READ, **WRITTEN}
            problem = "overwrite" if one in READ else "be the same file as"
            options.command.error(
                f"{shown[other]} {path_written} would {problem} {shown[one]} {path}; name another file"
            )


# The texts of options


def _parse_sizes(text: str) -> list[int]:
    if sizes := _parse_hidden_sizes(text):
        return sizes
    raise argparse.ArgumentTypeError("it does not name any layer; give the units of each, as in 784,30,10")


def _parse_hidden_sizes(text: str) -> list[int]:
    try:
        return [int(size) for size in text.replace(",", " ").split()]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers with commas, as in 784,30,10") from error


def _parse_image(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} must be a height and a width in pixels, as in 28x28")
    return int(match[1]), int(match[2])


def _parse_threads(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _parse_every(text: str) -> str | int | timedelta:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", text)
    try:
        if match is not None:
            return parse_every(timedelta(seconds=float(match[1]) * UNITS[match[2]]))
        return parse_every(int(text) if text.isdecimal() else text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be epoch, a number of steps such as 1000, or a time such as 30s, 10min or 2h"
        ) from error


def _parse_words(text: str) -> list[str]:
    """Split at commas, except inside brackets, as in "elu(1.0, 2.0)"."""
    return [word.strip() for word in re.split(r",(?![^(]*\))", text)]


def _parse_rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(rate) for rate in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number, or numbers with commas, as in 0.2,0.5") from error


def _parse_class_weight(text: str) -> str | dict[str, float]:
    if text == "balanced":
        return text
    try:
        pairs = [part.rpartition("=") for part in text.split(",")]
        weights = {label.strip(): float(weight) for label, _, weight in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be balanced, or a number for each class: yes=5,no=1"
        ) from error
    if len(weights) < len(pairs):
        raise argparse.ArgumentTypeError(f"{text!r} names a class twice; give one number for each class")
    return weights
