"""Examples for the command: data sets by name, .npz and .npy files, tables, images."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import install_command, list_names, printable, warn
from xpnet.data import HostRows, datasets
from xpnet.data.conversion import stays_outside
from xpnet.errors import ArgumentError
from xpnet.tables._cells import find_marks
from xpnet.tables._held_out import TEST_SPLIT, Division, HoldOut
from xpnet.tables.columns import DroppedColumn, check_bins, encode_columns, learn_columns
from xpnet.tables.reading import (
    KINDS,
    Columns,
    Table,
    Targets,
    describe_columns,
    describe_ids,
    find_ids,
    is_table,
    read_table,
)

Split = tuple[Any, np.ndarray]  # (X, y)

SETS: dict[str, Callable[[], Any]] = {
    "mnist-sample": datasets.mnist_sample,
    "mnist": datasets.mnist,
    "fashion-mnist": datasets.fashion_mnist,
}
FILES = f"an .npz file, a .npy file of inputs, or a table ({KINDS})"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class Data(NamedTuple):
    """Examples to train and test on, and the number of outputs and the task that they need.

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
    columns
        The columns, if the data is a table.
    preparation
        Lines that say how a table is read and prepared, if it is not just numbers.
    validation
        Inputs and targets to validate on, if they were not to be chosen at random.
    division
        Which rows are held out, if they are not those of a data set.
    rows
        The row of the table, from 0, of each example, held out or not; None for other data.
    """

    name: str
    train: Split
    test: Split | None
    task: str
    n_out: int
    columns: Columns | None = None
    preparation: tuple[str, ...] = ()
    validation: Split | None = None
    division: Division | None = None
    rows: np.ndarray | None = None

    @property
    def n_in(self) -> int:
        """Number of features."""
        return math.prod(self.train[0].shape[1:])

    @property
    def features(self) -> str:
        """Describe the features."""
        used = self.n_in if self.columns is None else sum(bool(column.inputs) for column in self.columns.features)
        if used == self.n_in:
            return f"{self.n_in:,} feature{'s' if self.n_in > 1 else ''}"
        return f"{self.n_in:,} inputs from {used:,} column{'s' if used > 1 else ''}"

    @property
    def splits(self) -> list[Split]:
        """All examples."""
        return [split for split in (self.train, self.validation, self.test) if split is not None]

    @property
    def outputs(self) -> str:
        """Describe the targets."""
        if self.task == "regression" and self.n_out == 1:
            parts = [y for _, y in self.splits]
            return f"a target from {min(y.min() for y in parts):.6g} to {max(y.max() for y in parts):.6g}"
        if self.task == "binary":
            return "2 classes"
        noun = {"classification": "classes", "multilabel": "labels", "regression": "targets"}[self.task]
        return f"{self.n_out} {noun}"

    def __str__(self) -> str:
        """Describe the data in a line, and what is done with a table in up to three more."""
        n = sum(len(y) for _, y in self.splits)
        parts = [f"{self.name}: {n:,} examples, {self.features}, {self.outputs}"]
        if self.division is not None:
            parts.append(str(self.division))
        elif self.test is not None:
            parts.append(f"{len(self.test[1]):,} of them for testing")
        return "\n".join(map(printable, ["; ".join(filter(None, parts)), *self.preparation]))


def read_training_data(
    name: str,
    task: str | None = None,
    target: str | None = None,
    ignore: Sequence[str] = (),
    categories: Sequence[str] = (),
    bins: int | None = None,
    test_split: float | None = None,
    test_group: str | None = None,
    test_last: bool = False,
    validation_split: float | None = None,
    seed: int = 0,
) -> Data:
    """Read examples to train and test on.

    Parameters
    ----------
    name
        The name of a data set or file.
    task
        The task; by default, the targets decide.
    target, ignore, categories, test_group
        For a table: the column to predict, columns to leave out, columns whose values are categories though they are
        numbers or dates, and the column whose groups are held out as a whole. For a .npy file: the file of its targets.
    bins
        For a table: the largest number of bins of a column of numbers; 0: they stay as they are.
    test_split, test_last
        For a table or a .npy file: the fraction of its rows to test on, and whether these are the last ones.
    validation_split
        The fraction of the other rows to validate on.
    seed
        Seed that chooses rows.
    """
    hold_out = HoldOut(TEST_SPLIT if test_split is None else test_split, seed, test_group, test_last)
    if (test_last or test_group is not None) and hold_out.test_split == 0 and validation_split is None:
        option = "--test-last" if test_last else f"--test-group {test_group}"
        raise ArgumentError(f"{option} needs rows to hold out; give --test-split above 0")
    if is_table(name):
        table = read_table(name, [*list_possible_names(categories), *([] if test_group is None else [test_group])])
        ignore, categories = table.split_names(ignore), table.split_names(categories)
        features = table.choose_features(target, ignore, categories, test_group)
        bins = check_bins(bins or 0)
        return prepare_table(table, features, str(target), categories, task, hold_out, validation_split, bins)
    is_npy = Path(name).suffix == ".npy"
    for_npy = {"--target": target, "--test-split": test_split, "--test-last": test_last or None}
    for_tables = {
        "--ignore": ignore or None,
        "--categories": categories or None,
        "--test-group": test_group,
        "--bins": bins or None,
    }
    for option, value in {**for_tables, **({} if is_npy else for_npy)}.items():
        if value is not None:
            kinds = f"{KINDS}; or .npy files" if option in for_npy else KINDS
            raise ArgumentError(f"{option} is for tables ({kinds}), and --data {name} is not one")
    if is_npy:
        return prepare_npy(name, task, target, hold_out, validation_split)
    train, test = read_arrays(name)
    task = task or find_task(train[1])
    return Data(name, train, test, task, count_outputs([train[1], test[1]], task, name))


def prepare_table(
    table: Table,
    features: Sequence[str],
    target: str,
    categories: Sequence[str],
    task: str | None,
    hold_out: HoldOut,
    validation_split: float | None,
    bins: int = 0,
) -> Data:
    """Make examples of a table: hold rows out, learn from the others how columns become inputs, and make these."""
    cells, target_cells = table.open(features, {*categories, *table.declared}), table.open_target(target)
    marks = find_marks([target_cells, *cells.values()], table.decimal, table.points)
    targets = table.read_targets(target_cells, task, marks)
    if copies := [name for name in features if cells[name].equals(target_cells, targets.rows)]:
        raise ArgumentError(
            f"column {copies[0]!r} of {table.name} equals the target in every row, which would give the network the "
            f"answer; leave it out with --ignore {copies[0]!r}"
        )
    task = task or ("classification" if targets.labels else "regression")
    groups = table.read_groups(hold_out.group, targets.rows)
    division = hold_out.divide(targets.y, table.name, groups, validation_split)
    known = targets.rows.copy()
    known[targets.rows] = ~division.test
    learnt = learn_columns(table.name, cells, known, marks, bins=bins)
    if hold_out.group is not None:
        learnt = (*learnt, DroppedColumn(hold_out.group, "its groups are held out as a whole"))
    columns = Columns(learnt, target, targets.labels, targets.unit, marks)
    x = encode_columns(learnt, table.name, cells, marks).x
    written = "; ".join(filter(None, [*table.written, table.describe_rows(targets, target)]))
    preparation = (
        *([f"Rows: {written}"] if written else []),
        *describe_columns(learnt, cells, targets.rows),
        *describe_ids(find_ids(learnt, cells, targets.rows)),
    )
    _warn_of_missing_classes(targets, division, table.name)
    n_out = len(targets.labels) if task == "classification" else 1
    rows = np.flatnonzero(targets.rows)
    train, validation, test = divide_examples(x, targets.y, division, rows)
    return Data(table.name, train, test, task, n_out, columns, preparation, validation, division, rows)


def prepare_npy(
    name: str, task: str | None, target: str | None, hold_out: HoldOut, validation_split: float | None
) -> Data:
    """Read inputs and targets from .npy files, and hold rows out; large inputs stay where they are."""
    x, y = read_npy_pair(name, target)
    division = hold_out.divide(y, name, validation_split=validation_split)
    train, validation, test = divide_examples(x, y, division)
    task = task or find_task(train[1])
    parts = [part[1] for part in (train, validation, test) if part is not None]
    n_out = count_outputs(parts, task, name)
    return Data(name, train, test, task, n_out, validation=validation, division=division)


def divide_examples(
    x: Any, y: np.ndarray, division: Division, index: np.ndarray | None = None
) -> tuple[Split, Split | None, Split | None]:
    """Return the examples to train on, to validate on and to test on; None where there are none.

    `index` are the rows of x that have targets, where others have none.
    """
    validation, test = (
        choose_examples(x, y, rows, index) if rows.any() else None for rows in (division.validation, division.test)
    )
    return choose_examples(x, y, division.train, index), validation, test


def choose_examples(x: Any, y: np.ndarray, rows: np.ndarray, index: np.ndarray | None = None) -> Split:
    """Return some of the examples; large inputs stay where they are.

    Parameters
    ----------
    x, y
        Inputs and targets.
    rows
        Which examples, (n,) of bool.
    index
        The row of x of each target; unless given, those of the targets.
    """
    if len(x) == len(y) and rows.all():
        return x, y
    index = np.flatnonzero(rows) if index is None else index[rows]
    return (HostRows(x).take(index) if stays_outside(x) else x[index]), y[rows]


def _warn_of_missing_classes(targets: Targets, division: Division, name: str) -> None:
    """Warn of classes that a network cannot learn, because all their rows are held out."""
    if targets.labels:
        counts = np.bincount(targets.y[division.train], minlength=len(targets.labels))
        if missing := [text for text, number in zip(targets.labels, counts) if number == 0]:
            warn(f"{name} has no rows of {list_names(missing)} to train on: all of them are held out")


def read_arrays(name: str, in_bytes: bool = False) -> tuple[Split, Split]:
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


def read_npy_pair(name: str, target: str | None, in_bytes: bool = False) -> Split:
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

    examples: Split
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


class Examples(NamedTuple):
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


def read_examples(path: Path, n_in: int, columns: Columns | None, in_bytes: bool, keep: Sequence[str] = ()) -> Examples:
    """Read examples to predict: a table, an array (.npy), or an image, converted to grey and resized.

    The columns `keep` of a table are copied.
    """
    if is_table(str(path)):
        table = _read_new_table(str(path), columns, keep=list_possible_names(keep))
        encoded, copies = table.inputs(_require(columns, str(path))), table.copy_columns(table.split_names(keep))
        return Examples(encoded.x, encoded.describe(table.name), copies, encoded.rows)
    if keep:
        raise ArgumentError(f"--keep is for tables ({KINDS}), and FILE {path} is not one")
    x = _read_npy(path, n_in) if path.suffix == ".npy" else _read_image(path, n_in)
    return Examples(_scale(x, in_bytes))


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
