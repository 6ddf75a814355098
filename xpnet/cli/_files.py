"""Files of the commands: networks and ensembles to load, and paths to check before anything is read."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpnet._checks import check_folder
from xpnet.files import is_ensemble, read_file
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network


def load_model(path: Path, **place: Any) -> Network | Ensemble:
    """Load the network or the ensemble in the file MODEL."""
    with name_argument("MODEL", path, "a file written by xpnet train --save"):
        return Ensemble.load(path, **place) if is_ensemble(read_file(path)) else Network.load(path, **place)


def networks_of(model: Network | Ensemble) -> list[Network]:
    """List the members of an ensemble, or the network alone."""
    return list(model) if isinstance(model, Ensemble) else [model]


def is_in_use(path: Path) -> bool:
    """Tell whether there is something in a file."""
    return path.exists() and path.stat().st_size > 0


def load_replaced(path: Path) -> Network | Ensemble | None:
    """Load what is in a file that is to be replaced, if it is a network or an ensemble."""
    try:
        return load_model(path)
    except (ValueError, TypeError, OSError, RuntimeError):
        return None


def name_data(options: argparse.Namespace) -> str:
    """Name data in the notes of a network: the name of a file, without its folder; of .npy files, both names."""
    data = Path(options.data)
    return f"{data.name} and {Path(options.target).name}" if data.suffix == ".npy" and options.target else data.name


@contextmanager
def name_argument(argument: str, path: str | Path | None, kind: str) -> Iterator[None]:
    """Make errors about unreadable files name the argument, and the kind of file that it takes."""
    try:
        yield
    except OSError as error:
        if path is None or error.filename != str(path):  # or an error with its own message, which has no file name
            raise
        raise OSError(f"{argument} {path} cannot be read ({error.strerror}); give the path of {kind}") from error


def check_file(option: str, path: Path) -> None:
    """Refuse a path that cannot be opened for writing."""
    if path.is_dir():
        raise OSError(f"{option} {path} is a folder; name a file in it")
    try:
        check_folder(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{option} {error}; make it, or name another file") from error
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise PermissionError(f"{option} {path} cannot be written to; name another file, or change its permissions")


def check_replaceable(option: str, path: Path) -> None:
    """Refuse a path where a new file could not replace an old one."""
    check_file(option, path)
    if path.exists() and not path.is_file():
        raise OSError(f"{option} {path} is not a regular file; name another one")
    if not os.access(folder := path.resolve().parent, os.W_OK):
        raise PermissionError(f"{option} {path}: no file can be created in {folder}; name one in another folder")
