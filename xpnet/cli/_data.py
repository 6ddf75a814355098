"""Arrays for the command: data sets by name, .npz and .npy files, images."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet._checks import install_command
from xpnet.data import HostRows, datasets
from xpnet.data.conversion import stays_outside
from xpnet.errors import ArgumentError
from xpnet.network.network import Network
from xpnet.tables.reading import FILE_KINDS

XAndY = tuple[Any, np.ndarray]

SETS: dict[str, Callable[[], Any]] = {
    "mnist-sample": datasets.mnist_sample,
    "mnist": datasets.mnist,
    "fashion-mnist": datasets.fashion_mnist,
}
FILES = f"an .npz file, a .npy file of inputs, or a table ({FILE_KINDS})"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def split_names(texts: Sequence[str]) -> list[str]:
    """Split texts of names with commas between them.

    Examples
    --------
    >>> split_names(["id, name", "year"])
    ['id', 'name', 'year']
    """
    return [name.strip() for text in texts for name in text.split(",")]


def read_arrays(name: str) -> tuple[XAndY, XAndY]:
    """Read examples to train and to test on: of a data set, or the arrays in an .npz file."""
    if name in SETS:
        return SETS[name]()
    if not name.endswith(".npz"):
        raise ArgumentError(f"DATA {name} is unknown; choose from {', '.join(SETS)}, or give {FILES}")
    try:
        with np.load(name, allow_pickle=False) as arrays:
            x_train, y_train, x_test, y_test = (arrays[array] for array in ARRAYS)
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds on a broken file
        raise ArgumentError(f"DATA {name} must hold the arrays {', '.join(ARRAYS)} ({error})") from error
    return (x_train, y_train), (x_test, y_test)


def read_pair(name: str, target: str | None) -> XAndY:
    """Open inputs (n, ...), which stay in their .npy file, and read targets from another."""
    if target is None or not target.endswith(".npy"):
        raise ArgumentError(f"{name} needs its targets in another file: give --target, as in --target y.npy")
    x, y = open_npy(Path(name)), np.array(open_npy(Path(target)))
    if x.ndim < 2 or y.ndim == 0 or len(x) != len(y):
        raise ArgumentError(
            f"{name} has shape {x.shape}, and --target {target} {y.shape}; they must have an example in each row"
        )
    return x, y


def open_npy(path: Path) -> np.ndarray:
    """Open an array as a memory map."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is not an array of numbers ({error})") from error


def take(x: Any, rows: np.ndarray) -> Any:
    """Take rows of inputs; large ones stay where they are."""
    return HostRows(x).take(rows) if stays_outside(x) else x[rows]


def read_inputs(path: Path, net: Network) -> Any:
    """Read examples to predict from a .npy file, or an image, converted to gray and resized."""
    n_in = net.sizes[0]
    if path.suffix == ".npy":
        x = open_npy(path)
        return fit_pixels(x.reshape(1, -1) if x.size == n_in else x, net)
    side = math.isqrt(n_in)
    if side * side != n_in:
        raise ArgumentError(
            f"the network takes {n_in} inputs, which do not form a square image; give a table, or a .npy file of "
            f"(n, {n_in})"
        )
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"an image needs Pillow ({error}); install it with: {install_command('vision')}") from error
    with Image.open(path) as image:
        return fit_pixels(np.asarray(image.convert("L").resize((side, side))).reshape(1, -1), net)


def fit_pixels(x: Any, net: Network) -> Any:
    """Divide bytes by 255 unless the network does so."""
    return x if x.dtype != np.uint8 or net.scale is not None else x.astype(np.float32) / np.float32(255)


def choose_task(task: str | None, targets: Sequence[np.ndarray], name: str) -> tuple[str, int]:
    """Choose the task, and the number of outputs for it: whole numbers are classes, and so are rows with a single 1.

    Examples
    --------
    >>> choose_task(None, [np.array([1, 0]), np.array([2])], "x"), choose_task(None, [np.array([[0.5, 2.5]])], "x")
    (('classification', 3), ('regression', 2))
    """
    y = targets[0]
    n_columns = math.prod(y.shape[1:])
    if task is None and n_columns > 1:
        is_marked = ((y == 0) | (y == 1)).all()
        has_one = is_marked and (y.reshape(len(y), -1).sum(axis=1) == 1).all()
        task = "classification" if has_one else "multilabel" if is_marked else "regression"
    task = task or ("regression" if y.dtype.kind == "f" else "classification")
    if task != "classification" or n_columns > 1:
        return task, 1 if task == "binary" else n_columns
    if y.dtype.kind not in "iu":
        raise ArgumentError(f"{name} holds targets of dtype {y.dtype}, and classes are whole numbers from 0")
    return task, max(int(y.max(initial=0)) for y in targets) + 1


def describe_targets(y: np.ndarray, n: int) -> str:
    """Describe targets, or n classes."""
    if y.dtype.kind == "f" and y.size == len(y):
        return f"a target from {y.min():.6g} to {y.max():.6g}"
    return f"{max(n, 2)} {'targets' if y.dtype.kind == 'f' else 'classes'}"
