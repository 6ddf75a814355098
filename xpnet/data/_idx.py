"""IDX files, the format of MNIST: a magic number, the lengths of the axes (big-endian, 32 bits each), the data."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from xpnet.errors import ArgumentError

REMEDY = "delete it, and copy or download it again"


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
