"""Turns a record into a safetensors file with a JSON header and a checksum, and back; nothing is executed.

The metadata of the file has one entry, "xpnet": the record without its arrays, as JSON. Its first value is the
checksum: the SHA-256 digest of the whole file, with zeros in place of the digest itself.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet._checks import describe_error, printable, refuse_duplicates, truncate
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files import _tensors as tensors
from xpnet.files._kinds import is_ensemble
from xpnet.files._record import Record, check_depth, check_tensors, refuse_unknown

FORMAT = 1
BLANK_CHECKSUM = "0" * 64
# What Python raises if a value in a file is not as expected
INVALID_VALUE_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
CHECKSUM = re.compile(rb'\\"checksum\\": \\"([0-9a-f]{64})\\"')  # JSON inside JSON


def encode_record(record: Record, version: str) -> bytes:
    """Return the content of the file of a record."""
    header = {"checksum": BLANK_CHECKSUM, "format": FORMAT, "version": version, **record._asdict()}
    del header["arrays"]
    try:
        json.dumps(dict(record.notes), default=np.generic.item)
        check_depth(record.notes, 1)
        _check_keys(record.notes)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"notes of the network must be a dict of plain values, as in JSON ({error})") from error
    check_depth(header)
    text = json.dumps({**header, "notes": dict(record.notes)}, default=np.generic.item)
    head, buffers = tensors.lay_out(record.arrays, {"xpnet": text})
    digest = hashlib.sha256(head)
    for buffer in buffers:
        digest.update(buffer)
    start = _find_checksum(head)
    head = b"".join([head[:start], digest.hexdigest().encode(), head[start + len(BLANK_CHECKSUM) :]])
    return b"".join([head, *buffers])  # the one copy of the arrays


def _check_keys(value: Any) -> None:
    """Refuse keys that are not strings: JSON would convert them, and two might become equal."""
    for key in value if isinstance(value, Mapping) else ():
        if not isinstance(key, str):
            raise ArgumentError(f"the key {key!r} is not a string")
    for item in value.values() if isinstance(value, Mapping) else value:
        if isinstance(item, (Mapping, list, tuple)):
            _check_keys(item)


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
        metadata, entries = tensors.read_header(content)
        header = json.loads(metadata.pop("xpnet"), object_pairs_hook=refuse_duplicates)
        check_depth(header)
        if type(header["format"]) is not int or header["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {truncate(repr(header['format']))} and this version of xpnet reads {FORMAT}; use "
                "one that reads it"
            )
        _check_checksum(content, header["checksum"])
        refuse_unknown("metadata entry", metadata)
        refuse_unknown("key", set(header) - {"checksum", "format", "version", *Record._fields})
        if not isinstance(header["version"], str):
            raise ArgumentError("its version must be a string")
        arrays = tensors.decode_arrays(content, entries)
        record = Record(**{name: header[name] for name in Record._fields if name != "arrays"}, arrays=arrays)
        check_tensors(record)
        return record
    except CheckpointError:
        raise
    except INVALID_VALUE_ERRORS as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet network ({describe_error(error)}); give a file written by Network.save"
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


def _check_checksum(content: bytes, checksum: Any) -> None:
    """Refuse a file that has changed since it was written."""
    start = _find_checksum(content)
    digest = hashlib.sha256(content[:start])
    digest.update(BLANK_CHECKSUM.encode())
    digest.update(memoryview(content)[start + len(BLANK_CHECKSUM) :])
    if digest.hexdigest() != checksum:
        raise ArgumentError("it is damaged: its checksum does not fit its contents")


def _find_checksum(content: bytes) -> int:
    """Find where the digest begins: it is the first value of the record."""
    match = CHECKSUM.search(content, 8, tensors.find_header_end(content))
    if match is None:
        raise ArgumentError("it has no checksum")
    return match.start(1)
