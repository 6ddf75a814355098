"""Data sets to learn with: a bundled sample of MNIST, and the full sets from their IDX files."""

import gzip
import math
import os
import zlib
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from xpnet._checks import count, decode_path, install_command
from xpnet.errors import ArgumentError

__all__ = [
    "fashion_mnist",
    "mnist",
    "mnist_sample",
    "read_idx",
]

REMEDY = "delete it, and copy or download it again"

Split = tuple[np.ndarray, np.ndarray]  # (X, y): float32 pixels in [0, 1], integer labels

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# Both data sets have files of these names; their first training labels tell them apart
FIRST_LABELS = {"MNIST": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "FashionMNIST": [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]}


def mnist_sample() -> tuple[Split, Split]:
    """Load 5,000 training and 1,000 test images of MNIST, which come with xpnet.

    Handwritten digits of 28 × 28 pixels, equally many of each, from MNIST by LeCun, Cortes and Burges (CC BY-SA 3.0).

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Pixels (n, 784), float32 in [0, 1], and labels (n,), int64 from 0 to 9.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = mnist_sample()
    >>> x_train.shape, x_test.shape, x_train.dtype
    ((5000, 784), (1000, 784), dtype('float32'))
    """
    sample = files("xpnet") / "data_files" / "mnist_sample.npz"
    with sample.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        train, test = (
            (_pixels(arrays[f"x_{part}"]), arrays[f"y_{part}"].astype(np.int64)) for part in ("train", "test")
        )
    return train, test


def mnist(root: str | os.PathLike[str] | None = None, *, validation: int = 0) -> tuple[Split, ...]:
    """Load MNIST: 60,000 training and 10,000 test images of handwritten digits.

    The four IDX files are read in place, plain or gzipped. Only downloading them needs torchvision.

    Parameters
    ----------
    root
        Folder that holds the files, in ``MNIST/raw`` (where torchvision puts them), in ``MNIST``, or directly. Missing
        files are downloaded into ``MNIST/raw``. By default, it is the environment variable XPNET_DATA, or else a cache
        folder of the user.
    validation
        Number of training images to return separately, for validation: the last ones, as in the book's loader.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Pixels (n, 784), float32 in [0, 1], and labels (n,), int64 from 0 to 9. With `validation`, these are
        (x_train, y_train), (x_validation, y_validation), (x_test, y_test).

    Raises
    ------
    ImportError
        If the files are not there, and torchvision is not installed.
    RuntimeError
        If the files are not there, and cannot be downloaded; the error says what to do.
    ArgumentError
        If a file is damaged or belongs to another data set, or if `validation` leaves nothing to train on.

    Examples
    --------
    The book's 50,000 images for training, 10,000 for validation and 10,000 for testing::

        train_data, validation_data, test_data = mnist(validation=10_000)
    """
    return _load("MNIST", root, validation)


def fashion_mnist(root: str | os.PathLike[str] | None = None, *, validation: int = 0) -> tuple[Split, ...]:
    """Load Fashion-MNIST, clothes instead of digits (Xiao et al., arXiv:1708.07747, MIT license); as `mnist` does.

    Parameters
    ----------
    root
        Folder that holds the files, in ``FashionMNIST/raw``, in ``FashionMNIST``, or directly; see `mnist`.
    validation
        Number of training images to return separately; see `mnist`.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Pixels (n, 784), float32 in [0, 1], and labels (n,), int64 from 0 to 9; see `mnist`.

    Raises
    ------
    ImportError, RuntimeError, ValueError
        As `mnist` does.
    """
    return _load("FashionMNIST", root, validation)


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _load(name: str, root: str | os.PathLike[str] | None, validation: int) -> tuple[Split, ...]:
    n_validation = count("validation", validation, 0)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(decode_path("root", root) if root is not None else os.environ.get("XPNET_DATA") or cache / "xpnet")
    paths = _find(name, folder)
    if not paths:
        _download(name, folder)
        paths = _find(name, folder)
    (x, y), test = _read_part(*paths[:2]), _read_part(*paths[2:])
    for other, labels in FIRST_LABELS.items():
        if other != name and y[:10].tolist() == labels:
            raise ArgumentError(f"{paths[1]} holds {other}, not {name}; put the files of {name} into {folder / name}")
    if n_validation >= len(y):
        raise ArgumentError(
            f"validation={validation!r} leaves nothing to train on; {name} has {len(y):,} training images"
        )
    if n_validation == 0:
        return (x, y), test
    return (x[:-n_validation], y[:-n_validation]), (x[-n_validation:], y[-n_validation:]), test


def _find(name: str, folder: Path) -> list[Path]:
    """Find the four files, plain or gzipped, in one of the usual folders; return none of them if one is missing."""
    for place in (folder / name / "raw", folder / name, folder):
        paths = [place / file if (place / file).is_file() else place / f"{file}.gz" for file in IDX_FILES]
        if all(path.is_file() for path in paths):
            return paths
    return []


def _download(name: str, folder: Path) -> None:
    """Download the files by torchvision, which checks them against their checksums.

    torchvision leaves a file with a wrong checksum behind, so files move to their place only when all are right.
    """
    alternatives = (
        f"copy its four IDX files ({IDX_FILES[0]}, ...) into {folder / name}, or set XPNET_DATA or root= to the folder "
        "that holds them, or use mnist_sample(), which needs no files"
    )
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            f"{name} is not in {folder}, and downloading it needs torchvision ({error}); install it with: "
            f"{install_command('vision')}, or {alternatives}"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            getattr(datasets, name)(temporary, download=True)
            raw = folder / name / "raw"
            raw.mkdir(parents=True, exist_ok=True)
            for file in IDX_FILES:
                Path(temporary, name, "raw", file).replace(raw / file)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(f"{name} is not in {folder} and cannot be downloaded ({reason}); {alternatives}") from error


def _read_part(images_path: Path, labels_path: Path) -> Split:
    """Read images and their labels, and check that they go together."""
    images, labels = read_idx(images_path, ndim=3), read_idx(labels_path, ndim=1)
    if images.shape[1:] != (28, 28) or len(images) == 0:
        shape = " × ".join(map(str, images.shape))
        raise ArgumentError(f"{images_path} holds {shape} pixels, but must hold images of 28 × 28; {REMEDY}")
    if len(images) != len(labels):
        raise ArgumentError(
            f"{images_path} holds {len(images):,} images and {labels_path} {len(labels):,} labels, which must match; "
            "delete both, and copy or download them again"
        )
    if labels.max() > 9:
        raise ArgumentError(f"{labels_path} holds the label {labels.max()}, but labels go from 0 to 9; {REMEDY}")
    return _pixels(images), labels.astype(np.int64)


def read_idx(path: str | os.PathLike[str], ndim: int) -> np.ndarray:
    """Read an IDX file of bytes, plain or gzipped.

    Parameters
    ----------
    path
        The file.
    ndim
        The number of axes that its array must have.

    Returns
    -------
    array
        The array, uint8.

    Raises
    ------
    ArgumentError
        If the file is of another kind, or is incomplete.
    OSError
        If it cannot be read.
    """
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):  # gzip, whatever the file is called
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ArgumentError(f"{path} is not a complete gzip file ({error}); {REMEDY}") from error
    magic, start = bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    if not content.startswith(magic) or len(content) < start:
        raise ArgumentError(
            f"{path} begins with the bytes {content[:4].hex(' ') or '(none)'}, but an IDX file of bytes with {ndim} "
            f"axes begins with {magic.hex(' ')} and their lengths; {REMEDY}"
        )
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    size = len(content) - start
    if size != math.prod(shape):
        raise ArgumentError(
            f"{path} has the shape {' × '.join(map(str, shape))} by its first bytes, which takes {math.prod(shape):,} "
            f"bytes of data, but it holds {size:,}; {REMEDY}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
