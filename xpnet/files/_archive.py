"""Archives: the files of the members of an ensemble in one zip archive, without compression."""

import io
import os
import zipfile
from collections.abc import Sequence

from xpnet._checks import check_folder, describe_error, printable
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files._kinds import is_network
from xpnet.files._writing import read_file, write_file

UNIX = 3  # the number of a system, which entries of archives name


def write_archive(path: str | os.PathLike[str], files: Sequence[bytes]) -> None:
    """Write the contents of files into an archive; an existing one is replaced whole, or not at all."""
    check_folder(path)
    write_file(path, encode_archive(files))


def encode_archive(files: Sequence[bytes]) -> bytes:
    """Return an archive of the contents of files. It depends on nothing else."""
    archive = io.BytesIO()
    file = zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED)
    try:
        for k, content in enumerate(files):
            entry = zipfile.ZipInfo(_name(k))  # with a fixed time
            entry.create_system = UNIX
            file.writestr(entry, content)
        file.close()
    except (MemoryError, ValueError) as error:  # the second from zipfile, after the first
        if not any(isinstance(cause, MemoryError) for cause in (error, error.__context__)):
            raise
        raise MemoryError(f"there is too little memory for a file of {sum(map(len, files))} bytes") from error
    finally:
        file.fp = None  # or Python would close an archive that was interrupted, which fails and hides the reason
    return archive.getvalue()


def read_archive(path: str | os.PathLike[str]) -> list[bytes]:
    """Read the contents of the files in an archive.

    Raises
    ------
    CheckpointError
        If it is not an archive that `write_archive` wrote, or is damaged.
    OSError
        If it cannot be read at all.
    """
    path = os.fsdecode(path)
    return decode_archive(read_file(path), path)


def decode_archive(content: bytes, path: str) -> list[bytes]:
    """Return the contents of the files in an archive; `path` is for messages.

    Nothing is written to disk, and compressed files are refused, so that a small archive cannot fill the memory. An
    archive that differs in a single bit from what `encode_archive` writes for its files is refused.
    """
    path = printable(path)
    if is_network(content):
        raise CheckpointError(f"{path} is a file of one Network, not of an ensemble; use Network.load")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if not entries or [entry.filename for entry in entries] != [_name(k) for k in range(len(entries))]:
                raise ArgumentError("its files are not member-0.safetensors, member-1.safetensors, ...")
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
                raise ArgumentError("its files are compressed or encrypted")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ArgumentError("its files are larger than the archive")
            files = [archive.read(entry) for entry in entries]
        if encode_archive(files) != content:
            raise ArgumentError("it is damaged: it holds more than its files, or less than was written")
        return files
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet ensemble ({describe_error(error)}); give a file written by Ensemble.save"
        ) from error


def _name(k: int) -> str:
    return f"member-{k}.safetensors"
