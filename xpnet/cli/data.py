"""Examples for the command: data sets by name, .npz and .npy files, tables, images."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet.cli.tables import SUFFIXES, Columns, is_table, read_table
from xpnet.data import datasets
from xpnet.wording.checks import in_range, install_command

Split = tuple[np.ndarray, np.ndarray]  # (X, y)

SETS: dict[str, Callable[[], Any]] = {
    "mnist-sample": datasets.mnist_sample,
    "mnist": datasets.mnist,
    "fashion-mnist": datasets.fashion_mnist,
}
FILES = f"an .npz file, or a table ({', '.join(SUFFIXES)})"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
TEST_SPLIT = 0.2


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
    """

    name: str
    train: Split
    test: Split | None
    task: str
    n_out: int
    columns: Columns | None = None

    @property
    def n_in(self) -> int:
        """Number of features."""
        return math.prod(self.train[0].shape[1:])

    @property
    def outputs(self) -> str:
        """Describe the targets."""
        if self.task == "regression" and self.n_out == 1:
            parts = [y for _, y in filter(None, (self.train, self.test))]
            return f"a target from {min(y.min() for y in parts):.6g} to {max(y.max() for y in parts):.6g}"
        if self.task == "binary":
            return "2 classes"
        noun = {"classification": "classes", "multilabel": "labels", "regression": "targets"}[self.task]
        return f"{self.n_out} {noun}"

    def __str__(self) -> str:
        """Describe the data in a line."""
        n_test = 0 if self.test is None else len(self.test[1])
        held_out = f"; {n_test:,} of them for testing" if n_test else ""
        n, features = len(self.train[1]) + n_test, f"{self.n_in:,} feature{'s' if self.n_in > 1 else ''}"
        return f"{self.name}: {n:,} examples, {features}, {self.outputs}{held_out}"


def read_training_data(
    name: str,
    task: str | None = None,
    target: str | None = None,
    ignore: Sequence[str] = (),
    test_split: float | None = None,
    seed: int = 0,
) -> Data:
    """Read examples to train and test on.

    Parameters
    ----------
    name
        The name of a data set or file.
    task
        The task; by default, the targets decide.
    target, ignore, test_split
        For a table: the column to predict, columns to leave out, and the fraction of its rows to test on.
    seed
        Seed that chooses these rows.
    """
    if is_table(name):
        table = read_table(name)
        columns = table.choose_columns(target, ignore, task)
        x, y = table.features(columns), table.targets(columns)
        task = task or ("classification" if columns.labels else "regression")
        n_out = len(columns.labels) if task == "classification" else 1
        if task == "binary" and len(columns.labels) != 2:
            raise ValueError(
                f"--task binary needs 2 classes, but {columns.target!r} of {name} has {len(columns.labels)}"
            )
        train, test = hold_out(x, y, TEST_SPLIT if test_split is None else test_split, seed, name)
        return Data(name, train, test, task, n_out, columns)
    for option, value in (("--target", target), ("--ignore", ignore or None), ("--test-split", test_split)):
        if value is not None:
            raise ValueError(f"{option} is for tables ({', '.join(SUFFIXES)}), and --data {name} is not one")
    train, test = read_arrays(name)
    task = task or find_task(train[1])
    return Data(name, train, test, task, count_outputs((train[1], test[1]), task, name))


def read_arrays(name: str, in_bytes: bool = False) -> tuple[Split, Split]:
    """Read ((x_train, y_train), (x_test, y_test)) from a data set, or from an .npz file with arrays of these names.

    Pixels are in [0, 1], or bytes if `in_bytes`, for a network that scales them itself.
    """
    if name in SETS:
        data = SETS[name]()
        return tuple((np.round(255 * x).astype(np.uint8), y) for x, y in data) if in_bytes else data  # type: ignore
    if Path(name).suffix != ".npz":
        raise ValueError(f"--data {name} is unknown; choose from {', '.join(SETS)}, or give {FILES}")
    try:
        with np.load(name, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[array] for array in ARRAYS)
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on a broken file
        raise ValueError(f"--data {name} must hold the arrays {', '.join(ARRAYS)} ({error})") from error
    for array, values in zip(ARRAYS, (x_train, y_train, x_test, y_test)):
        if values.ndim == 0 or values.size == 0:
            raise ValueError(f"--data {name}: {array} has shape {values.shape}, but must hold an example in each row")
    return (_scale(x_train, in_bytes), y_train), (_scale(x_test, in_bytes), y_test)


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
    if any(y.dtype.kind not in "biu" for y in targets):
        raise ValueError(
            f"--data {name} holds targets of dtype {targets[0].dtype}; classes are whole numbers from 0, and for real "
            "targets give --task regression"
        )
    return max(int(y.max()) for y in targets) + 1


def hold_out(x: np.ndarray, y: np.ndarray, fraction: float, seed: int, name: str) -> tuple[Split, Split | None]:
    """Choose examples to test on at random, the same fraction of each class.

    Examples
    --------
    >>> (_, y_train), (_, y_test) = hold_out(np.zeros((8, 1)), np.array([0, 1, 0, 1, 1, 1, 0, 0]), 0.25, 0, "x.csv")
    >>> y_train.tolist(), y_test.tolist()
    ([1, 0, 1, 1, 0, 0], [0, 1])
    """
    in_range("--test-split", fraction, 0, 1, "0 holds nothing out")
    if fraction == 0:
        return (x, y), None
    n, n_test = len(y), max(1, round(fraction * len(y)))
    if n_test == n:
        raise ValueError(f"--test-split {fraction:g} leaves none of the {n} rows of {name} to train on")
    order = np.random.default_rng(seed).permutation(n)
    if y.dtype.kind == "i":  # every 1/fraction-th row, class by class
        order = order[np.argsort(y[order], kind="stable")]
    tested = np.zeros(n, bool)
    tested[order[((np.arange(n_test) + 0.5) * n / n_test).astype(int)]] = True
    return (x[~tested], y[~tested]), (x[tested], y[tested])


def read_test_data(name: str | None, columns: Columns | None, in_bytes: bool) -> Split:
    """Read the examples to evaluate a network on: a whole table, or the test set of any other data."""
    if name is None and columns is not None:
        raise ValueError(f"--data is missing: give a table with the column {columns.target!r}")
    name = name or "mnist-sample"
    if not is_table(name):
        return read_arrays(name, in_bytes)[1]
    table, columns = read_table(name), _require(columns, name)
    return table.features(columns), table.targets(columns)


def read_examples(path: Path, n_in: int, columns: Columns | None, in_bytes: bool) -> np.ndarray:
    """Read examples (n, n_in) to predict: a table, an array (.npy), or an image, converted to grey and resized."""
    if is_table(str(path)):
        return read_table(str(path)).features(_require(columns, str(path)))
    if path.suffix == ".npy":
        return _scale(_read_npy(path, n_in), in_bytes)
    return _scale(_read_image(path, n_in), in_bytes)


def _require(columns: Columns | None, name: str) -> Columns:
    if columns is None:
        raise ValueError(
            f"{name} is a table, and the network does not know its columns: it was not trained on one by xpnet train; "
            "give its inputs as a .npy array for predict, or an .npz file for evaluate"
        )
    return columns


def _read_npy(path: Path, n_in: int) -> np.ndarray:
    try:
        x = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not an array of numbers ({error})") from error
    if not isinstance(x, np.ndarray):
        raise ValueError(f"{path} holds several arrays; give one, written by numpy.save")
    return x.reshape(1, -1) if x.size == n_in else x


def _read_image(path: Path, n_in: int) -> np.ndarray:
    side = round(n_in**0.5)
    if side * side != n_in:
        raise ValueError(
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
        raise ValueError(
            f"{path} is not an image that Pillow can read; give an image, a table or a .npy file"
        ) from error
    return grey.reshape(1, -1)


def _scale(x: np.ndarray, in_bytes: bool) -> np.ndarray:
    """Scale bytes to float32 in [0, 1], unless they are to stay bytes; return other arrays unchanged."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 and not in_bytes else x
