"""Data sets to learn on: a bundled sample of MNIST, and the full sets through torchvision."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from xpnet.checks import install_command
from xpnet.data.vision import pixels_and_labels

Split: TypeAlias = tuple[np.ndarray, np.ndarray]  # (X, y): float32 pixels in [0, 1], integer labels


def mnist_sample() -> tuple[Split, Split]:
    """Load 5,000 training and 1,000 test images of MNIST, which come with xpnet.

    Handwritten digits of 28 × 28 pixels, as many of each, drawn from MNIST by LeCun, Cortes and Burges (CC BY-SA 3.0).

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
    with (files("xpnet") / "data_files" / "mnist_sample.npz").open("rb") as file, np.load(file) as arrays:
        return tuple((_pixels(arrays[f"x_{part}"]), arrays[f"y_{part}"].astype(np.int64)) for part in ("train", "test"))  # type: ignore


def mnist(root: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load MNIST, 60,000 training and 10,000 test images, through torchvision (the extra ``vision``).

    Parameters
    ----------
    root
        Folder that holds ``MNIST/raw``, or will: what is missing is downloaded. Unless given, it is the environment
        variable XPNET_DATA, or a cache folder of the user.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Pixels (n, 784), float32 in [0, 1], and labels (n,), int64 from 0 to 9.

    Raises
    ------
    ImportError
        If torchvision is not installed.
    RuntimeError
        If the files are not there and cannot be downloaded; it says what to do.
    """
    return _torchvision("MNIST", root)


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load Fashion-MNIST, clothes instead of digits (Xiao et al., arXiv:1708.07747, MIT licence); as `mnist` does.

    Parameters
    ----------
    root
        Folder that holds ``FashionMNIST/raw``, or will; see `mnist`.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Pixels (n, 784), float32 in [0, 1], and labels (n,), int64 from 0 to 9.

    Raises
    ------
    ImportError, RuntimeError
        As `mnist` does.
    """
    return _torchvision("FashionMNIST", root)


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def _root(root: str | os.PathLike[str] | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(root or os.environ.get("XPNET_DATA") or cache / "xpnet")


def _torchvision(name: str, root: str | os.PathLike[str] | None) -> tuple[Split, Split]:
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            f"{name} is read through torchvision ({error}); install it with: {install_command('vision')}, "
            "or use mnist_sample(), which needs nothing"
        ) from error
    folder = _root(root)
    parts: list[Any] = []
    for train in (True, False):
        try:
            parts.append(_load(getattr(datasets, name), folder, train))
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise RuntimeError(
                f"{name} is not in {folder} and cannot be downloaded ({reason}); where there is no network, copy its "
                f"four IDX files into {folder / name / 'raw'}, or set XPNET_DATA or root= to a folder that holds "
                f"{name}/raw, or use mnist_sample(), which needs nothing"
            ) from error
    train, test = ((x.reshape(len(x), -1), np.asarray(y, dtype=np.int64)) for x, y in parts)
    return train, test


def _load(dataset: Any, folder: Path, train: bool) -> Any:
    try:
        return pixels_and_labels(dataset(folder, train=train, download=False))
    except RuntimeError:  # not there
        return pixels_and_labels(dataset(folder, train=train, download=True))
