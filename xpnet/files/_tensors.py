"""The safetensors format: named arrays and metadata, as a JSON header followed by the bytes of the arrays.

A file begins with the length of the header in 8 bytes; then come the header and, without gaps, the arrays. The library
safetensors writes the same bytes, but it aborts the process if memory runs short, where this module raises MemoryError.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet._checks import refuse_duplicates
from xpnet.errors import ArgumentError

DTYPE_CODES = {name: np.dtype(dtype) for name, dtype in (("F64", "<f8"), ("F32", "<f4"), ("I32", "<i4"))}  # file order
METADATA_KEY = "__metadata__"
ENTRY_KEYS = {"dtype", "shape", "data_offsets"}
MAX_AXES = 64  # of a NumPy array


def lay_out(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> tuple[bytes, list[memoryview]]:
    """Return the parts of a file, to be joined: its header with the length, and views of the arrays.

    Examples
    --------
    >>> header, buffers = lay_out({"w": np.zeros((2, 1), np.float32)}, {})
    >>> header[8:]
    b'{"__metadata__":{},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}      '
    >>> content = header + b"".join(buffers)
    >>> _, entries = read_header(content)
    >>> decode_arrays(content, entries)["w"].shape
    (2, 1)
    """
    kinds, names = {dtype: name for name, dtype in DTYPE_CODES.items()}, [*DTYPE_CODES]
    columns = {name: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for name, array in arrays.items()}
    header: dict[str, Any] = {METADATA_KEY: dict(metadata)}
    buffers, position = [], 0
    for name, array in sorted(columns.items(), key=lambda item: (names.index(kinds[item[1].dtype]), item[0])):
        end = position + array.nbytes
        header[name] = {"dtype": kinds[array.dtype], "shape": [*array.shape], "data_offsets": [position, end]}
        buffers.append(array.reshape(-1).view(np.uint8).data)
        position = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, buffers


def read_header(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of a file, and its entries for the arrays, which `decode_arrays` checks.

    Raises
    ------
    LookupError, TypeError, ValueError
        If it has no such header.
    """
    if content[8:9] != b"{":
        raise ArgumentError("its header is not a JSON object")
    header = json.loads(str(content[8 : find_header_end(content)], "utf-8"), object_pairs_hook=refuse_duplicates)
    metadata = header.pop(METADATA_KEY)
    if not isinstance(metadata, dict):
        raise ArgumentError("its metadata is not a JSON object")
    return metadata, header


def find_header_end(content: bytes) -> int:
    """Compute where the header ends."""
    end = 8 + int.from_bytes(content[:8], "little")
    if end > len(content):
        raise ArgumentError("it ends within its header")
    return end


def decode_arrays(content: bytes, entries: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, as copies.

    Raises
    ------
    LookupError, TypeError, ValueError
        If the entries do not describe arrays of floats, or of whole numbers with 32 bits, that follow one another
        without gaps to the end of the file.
    """
    begin = end = find_header_end(content)
    arrays = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, offsets = _parse_entry(name, entry, len(content))
        start, end = end, end + dtype.itemsize * math.prod(shape)
        if offsets != [start - begin, end - begin] or end > len(content):
            raise ArgumentError(f"its header places {name!r} at {offsets}, which is not where it must be")
        array = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="))
    if end != len(content):
        raise ArgumentError(f"its arrays end at byte {end}, and it has {len(content)}")
    return arrays


def _parse_entry(name: str, entry: Any, size: int) -> tuple[np.dtype, list[int], list[int]]:
    """Return dtype, shape and offsets of an array in a file of `size` bytes."""
    if set(entry) != ENTRY_KEYS or entry["dtype"] not in DTYPE_CODES:
        raise ArgumentError(f"its header has no dtype of {', '.join(DTYPE_CODES)}, shape and data_offsets for {name!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    whole = all(type(number) is int and 0 <= number <= size for number in [*shape, *offsets])
    if not whole or len(shape) > MAX_AXES:
        raise ArgumentError(f"its header has the shape {shape} and data_offsets {offsets} for {name!r}")
    return DTYPE_CODES[entry["dtype"]], shape, offsets
