"""Turns a record into a safetensors file with a JSON header and a checksum, and back; nothing is executed.

A safetensors file begins with the length of its header in 8 bytes; then come the header, in JSON, and without gaps the
arrays. The library safetensors writes the same bytes, but it aborts the process if memory runs short.

The metadata in the header has one entry, "xpnet": the plain values of the record, as JSON. Its first value is the
checksum: the SHA-256 digest of the whole file, with zeros in place of the digest itself.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from xpnet._checks import describe_error, printable, refuse_duplicates, require_keys, truncate
from xpnet.backends import Backend
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files._record import (
    PLAIN,
    Record,
    check_sizes,
    make_record,
    restore,
    settings_of,
)
from xpnet.value import Moment, Value
from xpnet.version import __version__

AnyNetwork = TypeVar("AnyNetwork")  # `Network`, which is above
FORMAT = 1
DTYPES = {name: np.dtype(dtype) for name, dtype in (("F64", "<f8"), ("F32", "<f4"), ("I32", "<i4"))}  # file order
# After the length of the header: JSON within JSON, whose first value is the checksum
NETWORK_START = rb'{"__metadata__":{"xpnet":"{\"checksum\": \"'
ENSEMBLE_START = re.compile(rb"PK\x03\x04.{26}member-0\.safetensors", re.DOTALL)  # of a zip archive
BLANK_CHECKSUM = "0" * 64
BEFORE, AFTER = 8 + len(NETWORK_START), 8 + len(NETWORK_START) + len(BLANK_CHECKSUM)  # the checksum
MAX_DEPTH = 100  # of nested values
# What Python raises if a value in a file is not as expected
INVALID_VALUE_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)


def is_network(content: bytes) -> bool:
    """Tell whether `Network.save` wrote a file, or `train` a checkpoint."""
    return content.startswith(NETWORK_START, 8)


def is_ensemble(content: bytes) -> bool:
    """Tell whether `Ensemble.save` wrote a file.

    Examples
    --------
    >>> is_ensemble(b"PK"), is_network(b"PK")
    (False, False)
    """
    return ENSEMBLE_START.match(content) is not None


def encode_network(value: Value, moment: Moment | None = None) -> bytes:
    """Return the content of the file of a network; see `make_record`. Synchronizes."""
    with value.scope():
        record = make_record(value, moment)
    header = {"checksum": BLANK_CHECKSUM, "format": FORMAT, "version": __version__, **record.plain}
    notes = header["notes"]
    try:
        json.dumps(dict(notes), default=np.generic.item)
        check_plain(notes)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"notes of the network must be a dict of plain values, as in JSON ({error})") from error
    check_plain(header)
    text = json.dumps({**header, "notes": dict(notes)}, default=np.generic.item)
    head, buffers = lay_out(record.arrays, {"xpnet": text})
    digest = hashlib.sha256(head)
    for buffer in buffers:
        digest.update(buffer)
    return b"".join([head[:BEFORE], digest.hexdigest().encode(), head[AFTER:], *buffers])  # the one copy of the arrays


def check_plain(value: Any, depth: int = 0) -> None:
    """Refuse keys that are not strings, which JSON would convert, and values that are nested too deeply to be copied.

    Examples
    --------
    >>> check_plain({"a": [1, 2]})
    """
    if depth > MAX_DEPTH:
        raise ArgumentError(f"its values are nested more than {MAX_DEPTH} deep")
    for key in value if isinstance(value, Mapping) else ():
        if not isinstance(key, str):
            raise ArgumentError(f"the key {key!r} is not a string")
    for item in value.values() if isinstance(value, Mapping) else value:
        if isinstance(item, (Mapping, list, tuple)):
            check_plain(item, depth + 1)


def lay_out(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> tuple[bytes, list[memoryview]]:
    """Return the parts of a safetensors file, to be joined: its header with the length, and views of the arrays.

    Examples
    --------
    >>> header, buffers = lay_out({"w": np.zeros((2, 1), np.float32)}, {})
    >>> header[8:]
    b'{"__metadata__":{},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}      '
    >>> decode_tensors(header + b"".join(buffers))[1]["w"].shape
    (2, 1)
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    buffers: list[memoryview] = []
    position = 0
    for code, dtype in DTYPES.items():
        for name in sorted(name for name, array in arrays.items() if array.dtype == dtype):
            buffers.append(np.asarray(arrays[name], dtype, order="C").reshape(-1).view(np.uint8).data)
            end = position + buffers[-1].nbytes
            header[name] = {"dtype": code, "shape": [*arrays[name].shape], "data_offsets": [position, end]}
            position = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, buffers


def decode_tensors(content: bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the metadata and the arrays of a safetensors file, as copies, if its header is what `lay_out` makes."""
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(str(content[8:begin], "utf-8"))
    metadata, arrays = header.pop("__metadata__"), dict[str, np.ndarray]()
    for name, entry in header.items():
        shape, start = entry["shape"], begin + entry["data_offsets"][0]
        arrays[name] = np.frombuffer(content, DTYPES[entry["dtype"]], math.prod(shape), start).reshape(shape)
    # No copies until then: the same bytes might be those of many arrays
    end = begin + sum(array.nbytes for array in arrays.values())
    if lay_out(arrays, metadata)[0] != content[:begin] or end != len(content):
        raise ArgumentError("its header does not describe its arrays as xpnet does")
    return metadata, {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}


def decode_record(content: bytes, path: str) -> Record:
    """Return the record in the content of a file, and check as much of it as possible without making a network.

    Parameters
    ----------
    content
        The content.
    path
        The file, for messages.

    Raises
    ------
    CheckpointError
        If it is not a safetensors file, was not written by xpnet, has another format, or is damaged.
    """
    path = printable(path)
    if is_ensemble(content):
        raise CheckpointError(
            f"{path} is a file of an Ensemble, not of one network; use Ensemble.load, or give a file of one of its "
            "members, as ensemble[0].save(...) writes it"
        )
    try:
        metadata, arrays = decode_tensors(content)
        require_keys("metadata", metadata, ["xpnet"])
        plain = json.loads(metadata["xpnet"], object_pairs_hook=refuse_duplicates)
        check_plain(plain)
        if type(plain["format"]) is not int or plain["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {truncate(repr(plain['format']))} and this version of xpnet reads {FORMAT}; use "
                "one that reads it"
            )
        digest = hashlib.sha256(content[:BEFORE] + BLANK_CHECKSUM.encode())
        digest.update(memoryview(content)[AFTER:])
        if not is_network(content) or digest.hexdigest() != plain["checksum"]:
            raise ArgumentError("it is damaged: its checksum does not fit its contents")
        require_keys("the file", plain, ("checksum", "format", "version", *PLAIN))
        record = Record({name: plain[name] for name in PLAIN}, arrays)
        check_sizes(record)
        return record
    except CheckpointError:
        raise
    except INVALID_VALUE_ERRORS as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet network ({describe_error(error)}); give a file written by Network.save or "
            "xpnet train --save"
        ) from error


@contextmanager
def explain_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors in the contents of a record into a CheckpointError that names the file."""
    try:
        yield
    except INVALID_VALUE_ERRORS as error:
        hint = "; give your own objects as custom=[...]" if "is unknown" in str(error) else ""
        problem = printable(truncate(f"{error} is missing" if isinstance(error, KeyError) else error))
        raise CheckpointError(
            f"{printable(os.fsdecode(path))} holds a network that is not valid: {problem}{hint}"
        ) from error


def read_network(
    make: Callable[..., AnyNetwork], record: Record, path: str, backend: Backend, custom: Iterable[Any]
) -> AnyNetwork:
    """Make a network of a record from a file, whose path is for messages; `make` is `Network` or derived from it."""
    with explain_errors(path):
        net: Any = make(**settings_of(record, custom), init="zeros", seed=0, backend=backend)  # both are replaced
        net.value = restore(record, net.value).value
        return net
