"""Examples for the command: data sets by name, .npz and .npy files, tables, images."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import install_command, printable
from xpnet.data import HostRows, datasets
from xpnet.data.conversion import stays_outside
from xpnet.errors import ArgumentError
from xpnet.tables.held_out import Division, HoldOut
from xpnet.tables.reading import FILE_KINDS, Columns, Table, is_table, read_table

XAndY = tuple[Any, np.ndarray]  # (X, y)

SETS: dict[str, Callable[[], Any]] = {
    "mnist-sample": datasets.mnist_sample,
    "mnist": datasets.mnist,
    "fashion-mnist": datasets.fashion_mnist,
}
FILES = f"an .npz file, a .npy file of inputs, or a table ({FILE_KINDS})"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class TrainingData(NamedTuple):
    """Arrays to train and test on, and the number of outputs and the task that they need.

    Parameters
    ----------
    name
        The name that the user gave.
    train, test
        Inputs and targets; `test` is None if nothing is held out.
    task
        "classification", "binary", "multilabel" or "regression".
    n_out
        The smallest possible number of outputs.
    validation
        Inputs and targets to validate on, if they were not to be chosen at random.
    division
        Which rows are held out, if they are not those of a data set.
    """

    name: str
    train: XAndY
    test: XAndY | None
    task: str
    n_out: int
    validation: XAndY | None = None
    division: Division | None = None

    @property
    def n_in(self) -> int:
        """Number of features."""
        return math.prod(self.train[0].shape[1:])

    @property
    def features(self) -> str:
        """Describe the features."""
        return describe_features(self.n_in, self.n_in)

    @property
    def outputs(self) -> str:
        """Describe the targets."""
        splits = [split for split in (self.train, self.validation, self.test) if split is not None]
        return describe_outputs(self.task, self.n_out, [y for _, y in splits])

    def __str__(self) -> str:
        """Describe the data in a line."""
        n = sum(len(split[1]) for split in (self.train, self.validation, self.test) if split is not None)
        held_out = self.division or (None if self.test is None else f"{len(self.test[1]):,} of them for testing")
        return describe_examples(self.name, n, self.features, self.outputs, held_out)


def describe_examples(name: str, n: int, features: str, outputs: str, held_out: Division | str | None) -> str:
    """Describe data in a line."""
    parts = [f"{name}: {n:,} examples, {features}, {outputs}", "" if held_out is None else str(held_out)]
    return printable("; ".join(filter(None, parts)))


def describe_features(n_in: int, columns: int) -> str:
    """Describe the inputs, and the columns of a table that they come from."""
    if columns == n_in:
        return f"{n_in:,} feature{'s' if n_in > 1 else ''}"
    return f"{n_in:,} inputs from {columns:,} column{'s' if columns > 1 else ''}"


def describe_outputs(task: str, n_out: int, targets: Sequence[np.ndarray]) -> str:
    """Describe targets."""
    if task == "regression" and n_out == 1:
        return f"a target from {min(y.min() for y in targets):.6g} to {max(y.max() for y in targets):.6g}"
    if task == "binary":
        return "2 classes"
    noun = {"classification": "classes", "multilabel": "labels", "regression": "targets"}[task]
    return f"{n_out} {noun}"


def read_training_data(
    name: str,
    task: str | None = None,
    target: str | None = None,
    hold_out: HoldOut | None = None,
    validation_split: float | None = None,
) -> TrainingData:
    """Read arrays to train and test on.

    Parameters
    ----------
    name
        The name of a data set or file.
    task
        The task; by default, the targets decide.
    target
        For a .npy file: the file of its targets.
    hold_out
        For a .npy file: how rows to test on are chosen.
    validation_split
        The fraction of the other rows to validate on.
    """
    if Path(name).suffix == ".npy":
        return prepare_npy(name, task, target, hold_out or HoldOut(), validation_split)
    train, test = read_arrays(name)
    task = task or find_task(train[1])
    return TrainingData(name, train, test, task, count_outputs([train[1], test[1]], task, name))


def prepare_npy(
    name: str, task: str | None, target: str | None, hold_out: HoldOut, validation_split: float | None
) -> TrainingData:
    """Read inputs and targets from .npy files, and hold rows out; large inputs stay where they are."""
    x, y = read_npy_pair(name, target)
    division = hold_out.divide(y, name, validation_split=validation_split)
    train, validation, test = divide_examples(x, y, division)
    task = task or find_task(train[1])
    parts = [part[1] for part in (train, validation, test) if part is not None]
    n_out = count_outputs(parts, task, name)
    return TrainingData(name, train, test, task, n_out, validation=validation, division=division)


def divide_examples(x: Any, y: np.ndarray, division: Division) -> tuple[XAndY, XAndY | None, XAndY | None]:
    """Return the examples to train on, to validate on and to test on; None where there are none."""
    validation, test = (
        choose_examples(x, y, rows) if rows.any() else None for rows in (division.validation, division.test)
    )
    return choose_examples(x, y, division.train), validation, test


def choose_examples(x: Any, y: np.ndarray, rows: np.ndarray) -> XAndY:
    """Return some of the examples, (n,) of bool; large inputs stay where they are."""
    if rows.all():
        return x, y
    index = np.flatnonzero(rows)
    return (HostRows(x).take(index) if stays_outside(x) else x[index]), y[rows]


def read_arrays(name: str, in_bytes: bool = False) -> tuple[XAndY, XAndY]:
    """Read ((x_train, y_train), (x_test, y_test)) from a data set, or from an .npz file with arrays of these names.

    Pixels are in [0, 1], or bytes if `in_bytes`, for a network that scales them itself.
    """
    if name in SETS:
        data = SETS[name]()
        return tuple((np.round(255 * x).astype(np.uint8), y) for x, y in data) if in_bytes else data  # type: ignore
    if Path(name).suffix != ".npz":
        raise ArgumentError(f"--data {name} is unknown; choose from {', '.join(SETS)}, or give {FILES}")
    try:
        with np.load(name, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[array] for array in ARRAYS)
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on a broken file
        raise ArgumentError(f"--data {name} must hold the arrays {', '.join(ARRAYS)} ({error})") from error
    for array, values in zip(ARRAYS, (x_train, y_train, x_test, y_test)):
        if values.ndim == 0 or values.size == 0:
            raise ArgumentError(
                f"--data {name}: {array} has shape {values.shape}, but must hold an example in each row"
            )
    return (_scale(x_train, in_bytes), y_train), (_scale(x_test, in_bytes), y_test)


def holds_one_set(name: str) -> bool:
    """Tell whether data are a table or a .npy file, whose rows are not divided into those to train and to test on."""
    return is_table(name) or Path(name).suffix == ".npy"


class Pixels:
    """Bytes that stay outside memory, and are divided by 255 when they are read.

    Examples
    --------
    >>> Pixels(np.array([[0], [255]], np.uint8))[[1, 0]].tolist()
    [[1.0], [0.0]]
    """

    dtype = np.dtype(np.float32)

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape = x, x.shape

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.x)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read some of the rows."""
        return _scale(self.x[index], in_bytes=False)


def read_npy_pair(name: str, target: str | None, in_bytes: bool = False) -> XAndY:
    """Read inputs (n, ...) and targets from two .npy files."""
    if target is None or Path(target).suffix != ".npy":
        raise ArgumentError(f"--data {name} needs its targets in another file: give --target, as in --target y.npy")
    x, y = _open_npy(Path(name)), np.array(_open_npy(Path(target)))
    if y.ndim == 0 or x.ndim < 2 or len(x) != len(y) or not y.size:
        raise ArgumentError(
            f"--data {name} has shape {x.shape}, and --target {target} {y.shape}; they must have an example in each row"
        )
    return _scale(x, in_bytes), y


def find_task(y: np.ndarray) -> str:
    """Infer the task from the targets: whole numbers are classes, and so are rows with a single 1.

    Examples
    --------
    >>> find_task(np.array([2, 0, 1])), find_task(np.array([0.5, 2.5])), find_task(np.array([[0, 1], [1, 1]]))
    ('classification', 'regression', 'multilabel')
    """
    if math.prod(y.shape[1:]) > 1:
        if not ((y == 0) | (y == 1)).all():
            return "regression"
        return "classification" if (y.reshape(len(y), -1).sum(axis=1) == 1).all() else "multilabel"
    return "regression" if y.dtype.kind == "f" else "classification"


def count_outputs(targets: Sequence[np.ndarray], task: str, name: str) -> int:
    """Count the outputs that a network needs for the targets."""
    n_columns = max(math.prod(y.shape[1:]) for y in targets)
    if task == "binary":
        return 1
    if task != "classification" or n_columns > 1:
        return n_columns
    if any(y.dtype.kind not in "iu" for y in targets):
        raise ArgumentError(
            f"--data {name} holds targets of dtype {targets[0].dtype}; classes are whole numbers from 0, and for real "
            "targets give --task regression"
        )
    return max(int(y.max()) for y in targets) + 1


class NewData(NamedTuple):
    """Examples to evaluate a network on, what is to be said about them, and the number of each one's group, if any."""

    examples: XAndY
    remarks: tuple[str, ...] = ()
    groups: np.ndarray | None = None


def read_test_data(
    name: str | None, columns: Columns | None, in_bytes: bool, target: str | None = None, group: str | None = None
) -> NewData:
    """Read the examples to evaluate a network on: a whole table, a whole .npy file, or the test set of any other data.

    The groups of a table are those of the column `group`, if it has this column.
    """
    if name is None and columns is not None:
        raise ArgumentError(f"--data is missing: give a table with the column {columns.target!r}")
    name = name or "mnist-sample"
    if Path(name).suffix == ".npy":
        return NewData(read_npy_pair(name, target, in_bytes))
    if target is not None:
        raise ArgumentError(f"--target is for .npy files, and --data {name} is not one")
    if not is_table(name):
        return NewData(read_arrays(name, in_bytes)[1])
    table = _read_new_table(name, columns, texts=[] if group is None else [group])
    columns = _require(columns, name)
    encoded, targets = table.inputs(columns), table.targets(columns)
    left_out = table.describe_rows(targets, columns.target)
    notes = [*encoded.describe(table.name), *([f"{table.name}: {left_out}"] if left_out else [])]
    groups = table.read_groups(group, targets.rows) if group in table.names else None
    return NewData((encoded.x[targets.rows], targets.y), tuple(notes), groups)


class RowsToPredict(NamedTuple):
    """Examples to predict.

    Parameters
    ----------
    x
        Inputs (n, n_in).
    remarks
        What is to be said about them.
    copies
        Columns of a table to write again, as texts.
    unseen
        Which rows of a table have a value of a kind that training did not have, (n,) of bool.
    """

    x: Any
    remarks: Sequence[str] = ()
    copies: Mapping[str, list[str]] = MappingProxyType({})
    unseen: Any = False


def read_examples(
    path: Path, n_in: int, columns: Columns | None, in_bytes: bool, keep: Sequence[str] = ()
) -> RowsToPredict:
    """Read examples to predict: a table, an array (.npy), or an image, converted to grey and resized.

    The columns `keep` of a table are copied.
    """
    if is_table(str(path)):
        table = _read_new_table(str(path), columns, keep=list_possible_names(keep))
        encoded, copies = table.inputs(_require(columns, str(path))), table.copy_columns(table.split_names(keep))
        return RowsToPredict(encoded.x, encoded.describe(table.name), copies, encoded.rows)
    if keep:
        raise ArgumentError(f"--keep is for tables ({FILE_KINDS}), and FILE {path} is not one")
    x = _read_npy(path, n_in) if path.suffix == ".npy" else _read_image(path, n_in)
    return RowsToPredict(_scale(x, in_bytes))


def list_possible_names(texts: Sequence[str]) -> list[str]:
    """List the names of columns that texts may stand for, before the columns of the table are known.

    Examples
    --------
    >>> list_possible_names(["id,name"])
    ['id,name', 'id', 'name']
    """
    return [part.strip() for text in texts for part in (text, *text.split(","))]


def _read_new_table(
    name: str, columns: Columns | None, *, texts: Sequence[str] = (), keep: Sequence[str] = ()
) -> Table:
    """Read a table as the one that a network was trained on."""
    if columns is None:
        return read_table(name, texts, keep=keep)
    return read_table(name, [*columns.texts, *texts], columns.marks.decimal, keep)


def _require(columns: Columns | None, name: str) -> Columns:
    if columns is None:
        raise ArgumentError(
            f"{name} is a table, and the network does not know its columns: it was not trained on one by xpnet train; "
            "give its inputs as a .npy array, with the targets in another for evaluate"
        )
    return columns


def _read_npy(path: Path, n_in: int) -> np.ndarray:
    x = _open_npy(path)
    return x.reshape(1, -1) if x.size == n_in else x


def _open_npy(path: Path) -> np.ndarray:
    """Open an array as a memory map."""
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is not an array of numbers ({error})") from error
    if not isinstance(x, np.ndarray):
        raise ArgumentError(f"{path} holds several arrays; give one, written by numpy.save")
    return x


def _read_image(path: Path, n_in: int) -> np.ndarray:
    side = round(n_in**0.5)
    if side * side != n_in:
        raise ArgumentError(
            f"the network takes {n_in} inputs, which do not form a square image; give a table, or a .npy file of "
            f"(n, {n_in})"
        )
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(f"an image needs Pillow ({error}); install it with: {install_command('vision')}") from error
    try:
        with open(path, "rb") as file, Image.open(file) as image:  # opened here: errors name the path as given
            grey = np.asarray(image.convert("L").resize((side, side)))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ArgumentError(
            f"{path} is not an image that Pillow can read; give an image, a table or a .npy file"
        ) from error
    return grey.reshape(1, -1)


def _scale(x: np.ndarray, in_bytes: bool) -> Any:
    """Scale bytes to float32 in [0, 1], unless they are to stay bytes; return other arrays unchanged."""
    if stays_outside(x) and x.dtype == np.uint8 and not in_bytes:
        return Pixels(x)
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 and not in_bytes else x
