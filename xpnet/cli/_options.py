"""The options of the commands, and what their texts stand for."""

import argparse
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from xpnet._checks import check_folder, printable
from xpnet._names import find_nearest
from xpnet.backends import BACKENDS
from xpnet.cli._commands import run_backends, run_evaluate, run_export, run_info, run_predict, run_show
from xpnet.cli._data import FILES, SETS
from xpnet.cli._train import MOMENTUM, run_train
from xpnet.core.schedules import SCHEDULES
from xpnet.errors import ArgumentError
from xpnet.files import is_same_file
from xpnet.pages import LESSONS
from xpnet.tables.columns import BINS
from xpnet.tables.folds import TEST_SPLIT
from xpnet.tables.recipe import Recipe
from xpnet.value.structure import DTYPES, TASKS
from xpnet.version import __version__

READ = ("model", "file", "data", "target")  # options that name files to read, and files to write
WRITTEN = ("save", "checkpoint", "log", "check", "out")
UNITS = {"s": 1, "min": 60, "h": 3600}  # seconds
EXAMPLES = """examples:
  xpnet train                                                train on the digits that come with xpnet
  xpnet train iris.csv --target species --save iris.safetensors
  xpnet info iris.safetensors                                what is in the file
  xpnet evaluate iris.safetensors more.csv
  xpnet predict iris.safetensors new.csv --out predictions.csv
"""

# The texts of options; argparse names these functions where one cannot be read


def words(text: str) -> list[str]:
    """Split at commas, except inside brackets, as in "elu(1.0, 2.0)"."""
    return [word.strip() for word in re.split(r",(?![^(]*\))", text)]


def activations(text: str) -> str | list[str]:
    """Read a name, or names with commas between them."""
    names = words(text)
    return names[0] if len(names) == 1 else names


def sizes(text: str) -> list[int]:
    """Read whole numbers with commas between them; nothing stands for no layer."""
    return [int(size) for size in text.split(",") if size]


def rates(text: str) -> float | list[float]:
    """Read a number, or numbers with commas between them."""
    numbers = [float(rate) for rate in text.split(",")]
    return numbers[0] if len(numbers) == 1 else numbers


def weights(text: str) -> str | dict[str, float]:
    """Read weights of classes, as in yes=5,no=1."""
    if text == "balanced":
        return text
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {label.strip(): float(weight) for label, _, weight in pairs}


def moment(text: str) -> str | int | timedelta:
    """Read when to write a checkpoint."""
    if match := re.fullmatch(r"([\d.]+)\s*(s|min|h)", text):
        return timedelta(seconds=float(match[1]) * UNITS[match[2]])
    return int(text) if text.isdecimal() else text


def pixels(text: str) -> tuple[int, int]:
    """Read the height and the width of an image, as in 28x28."""
    height, width = text.split("x")
    return int(height), int(width)


# Each option, what its text stands for (bool: it has none; list: it can be repeated), how it is called, its help, and
# whether it is required
Options = Sequence[tuple[Any, ...]]

SOURCE = ("data", str, "DATA", f"{', '.join(SETS)}, {FILES} (mnist-sample)", False)
TARGET = ("--target", str, "COLUMN", "column of a table to predict, or the .npy file of the targets of a .npy file")
METRICS = ("--metrics", words, "NAMES", "further metrics to compute, as in top_3,mean_squared_error")
MODEL = ("model", Path, "MODEL", "file written by train --save")
OUT = ("--out", Path, "FILE", "where to write", True)
PLACE: Options = [
    ("--backend", str, "NAME", f"{', '.join(BACKENDS)} (depends on device)"),
    ("--device", str, "DEVICE", "cpu, cuda, cuda:1, auto, or a device in the backend's own terms"),
]
DTYPE = ("--dtype", str, "DTYPE", f"{', '.join(DTYPES)} (float32, or the network's own)")
TRAIN: dict[str, Options] = {
    "data": [
        SOURCE,
        TARGET,
        ("--ignore", list, "COLUMNS", "columns of a table to leave out, as in id,name; can be repeated"),
        ("--categories", list, "COLUMNS", "columns whose values are categories, though they are numbers or dates"),
        ("--bins", int, "N", f"encode each number of a table in N bins, to learn sharp steps; 0: in none ({BINS})"),
        ("--test-split", float, "FRACTION", f"fraction of a table or .npy file to test on ({TEST_SPLIT})"),
        ("--test-group", str, "COLUMN", "test on whole groups of rows, with the same value in this column of a table"),
        ("--test-last", bool, "", "test on the last rows of a table or .npy file, and not on random ones"),
        ("--validation-split", float, "FRACTION", "fraction of training data to validate on, unless in a table (0)"),
        ("--class-weight", weights, "WEIGHTS", "weights of the classes: balanced, or as in yes=5,no=1 (1)"),
    ],
    "network": [
        ("--members", int, "N", "number of networks for a table, whose predictions are averaged (depends on data)"),
        ("--hidden", sizes, "SIZES", "units of each hidden layer, as in 30,20 (depends on data)"),
        ("--task", str, "TASK", f"{', '.join(TASKS)} (depends on data)"),
        ("--activation", activations, "NAMES", "activation of all hidden layers, or of each, as in relu,tanh (relu)"),
        ("--output-activation", str, "NAME", "activation of the outputs (depends on task)"),
        ("--cost", str, "NAME", "cost function (depends on task)"),
        (
            "--dropout",
            rates,
            "RATES",
            "dropout rate of hidden layers; or of the inputs and each layer: 0.2,0.5 (depends on data)",
        ),
        ("--standardize", bool, "", "scale each input to mean 0 and standard deviation 1 (not needed for tables)"),
    ],
    "training": [
        ("--epochs", int, "N", "passes over the data (depends on data)"),
        ("--batch-size", int, "N", "examples in a minibatch (depends on data)"),
        ("--optimizer", str, "NAME", "sgd, rmsprop, adam, adamw, lm or lbfgs (adamw for a table, or sgd)"),
        ("--lr", float, "RATE", "largest learning rate (depends on data and optimizer)"),
        ("--schedule", str, "NAME", f"schedule of it: {', '.join(SCHEDULES)} (depends on data)"),
        ("--momentum", float, "NUMBER", f"momentum of SGD; 0 turns it off ({MOMENTUM})"),
        ("--weight-decay", float, "NUMBER", "weight decay; 0 turns it off (depends on data and optimizer)"),
        ("--early-stopping", int, "N", f"stop after N epochs without improvement ({Recipe.patience} for a table)"),
        ("--seed", int, "N", "seed of all random numbers (0)"),
        *PLACE,
        DTYPE,
    ],
    "results": [
        METRICS,
        ("--save", Path, "FILE", "write the network to a safetensors file"),
        ("--force", bool, "", "let --save replace a file"),
        ("--checkpoint", Path, "FILE", "save the training to a file as it runs"),
        ("--every", moment, "WHEN", "when: epoch, a number of steps such as 1000, or a time such as 10min (epoch)"),
        ("--resume", bool, "", "resume the training in --checkpoint, if that file exists"),
        ("--log", Path, "FILE", "write a row for each epoch of one network to a CSV file"),
        ("--check", Path, "FILE", "write the rows of a table whose targets look wrong to a CSV file"),
        ("--quiet", bool, "", "print only the last line"),
    ],
}
PREDICT: Options = [
    MODEL,
    ("file", Path, "FILE", "a table, a .npy array, or an image (light on dark)"),
    ("--keep", list, "COLUMNS", "columns of the table to write before the predictions, as in id,name"),
    ("--interval", float, "LEVEL", "also write bounds that hold the target with this probability, as in 0.9"),
    ("--probabilities", bool, "", "also write the probability of each class"),
    ("--novelty", bool, "", "also write how unlike the training rows each row is, from 0 to 1"),
    ("--out", Path, "FILE", "where to write (standard output)"),
    *PLACE,
]
SHOW: Options = [
    (*MODEL, False),
    ("--lesson", str, "NAME", f"instead of MODEL, a page to learn from: {', '.join(LESSONS)}"),
    OUT,
    ("--image", pixels, "SIZE", "height and width if the inputs are an image, as in 8x8 (28x28 for 784 inputs)"),
    ("--white", float, "NUMBER", "value of a white pixel (guessed from the network)"),
]
EXPORT: Options = [MODEL, OUT, DTYPE, ("--encoded", bool, "", "take the encoded numbers of a table, not its columns")]


class Parser(argparse.ArgumentParser):
    """A parser that takes options by their full names, and reports errors in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """End the command with a message about its options."""
        self.exit(2, f"{self.prog}: error: {printable(message)} (see {self.prog} --help)\n")


def make_parser() -> Parser:
    """Make the parser of the commands and their options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="xpnet", description="Train and use neural networks.", epilog=EXAMPLES, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, run, summary, groups in (
        ("train", run_train, "train a network and score it on the test data", TRAIN),
        ("evaluate", run_evaluate, "score a saved network", {"": [MODEL, SOURCE, TARGET, METRICS, *PLACE]}),
        ("predict", run_predict, "write the predictions of a saved network as CSV", {"": PREDICT}),
        ("info", run_info, "say what is in the file of a network", {"": [MODEL]}),
        ("export", run_export, "write a saved network as an ONNX file", {"": EXPORT}),
        ("show", run_show, "write a web page that shows a network at work", {"": SHOW}),
        ("backends", run_backends, "list the libraries and devices available here", {}),
    ):
        command = commands.add_parser(name, help=summary, description=f"{summary}. Defaults are in brackets.")
        command.set_defaults(run=run, parser=command)
        for title, options in groups.items():
            group = command.add_argument_group(title) if title else command
            for option in options:
                _add_option(group, option)
    return parser


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Parse the words of a command, or those of the program; the command itself refuses options that it lacks."""
    options, unknown = make_parser().parse_known_args(words)
    if unknown:
        near = find_nearest(unknown[0].partition("=")[0], re.findall(r"--[a-z-]+", options.parser.format_help()))
        hint = f" (did you mean {near}?)" if near else ""
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _add_option(group: Any, option: tuple[Any, ...]) -> None:
    name, kind, metavar, text, *required = option
    if not name.startswith("-"):
        group.add_argument(name, type=kind, metavar=metavar, help=text, nargs="?" if required == [False] else None)
    elif kind is bool:
        group.add_argument(name, action="store_true", default=None, help=text)
    elif kind is list:
        group.add_argument(name, action="append", default=[], metavar=metavar, help=text)
    else:
        names = ["-o", name] if name == "--out" else [name]
        group.add_argument(*names, type=kind, metavar=metavar, help=text, required=required == [True])


def check_paths(options: argparse.Namespace) -> None:
    """Refuse, before anything is read, files that cannot be written, or that are read or written besides."""
    paths = {name: path for name in (*READ, *WRITTEN) if (path := getattr(options, name, None)) is not None}
    if not str(paths.get("target", "")).endswith(".npy"):  # but a column of a table
        paths.pop("target", None)
    for name, path in paths.items():
        if name not in WRITTEN:
            continue
        if path.exists() and not path.is_file():
            raise ArgumentError(f"--{name} {path} is not a file; name another one")
        check_folder(path)
        for other, used in paths.items():
            if other != name and is_same_file(path, used):
                raise ArgumentError(f"--{name} {path} is also {other} {used}; name another file")
