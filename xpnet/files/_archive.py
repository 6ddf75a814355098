"""Archives: the files of the members of an ensemble in one zip archive, without compression."""

import io
from collections.abc import Sequence

from xpnet._checks import describe_error, printable
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.files._file import INVALID_VALUE_ERRORS, is_network

UNIX = 3  # the number of a system, which entries of archives name


def encode_archive(files: Sequence[bytes]) -> bytes:
    """Return an archive of the contents of files. It depends on nothing else."""
    from zipfile import ZipFile, ZipInfo  # slow to import

    archive = io.BytesIO()
    file = ZipFile(archive, "w")
    try:
        for k, content in enumerate(files):
            entry = ZipInfo(_name(k))  # with a fixed time
            entry.create_system = UNIX
            file.writestr(entry, content)
        file.close()
    except ValueError as error:  # from zipfile, after a MemoryError
        raise MemoryError(f"there is too little memory for a file of {sum(map(len, files))} bytes") from error
    finally:
        file.fp = None  # or Python would close an archive that was interrupted, which fails and hides the reason
    return archive.getvalue()


def decode_archive(content: bytes, path: str) -> list[bytes]:
    """Return the contents of the files in an archive; `path` is for messages.

    An archive that differs in a single bit from what `encode_archive` writes for its files is refused; so are, before
    they fill the memory, compressed files.

    Raises
    ------
    CheckpointError
        If it is not an archive that `encode_archive` made, or is damaged.
    """
    from zipfile import BadZipFile, ZipFile

    path = printable(path)
    if is_network(content):
        raise CheckpointError(f"{path} is a file of one Network, not of an ensemble; use Network.load")
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ArgumentError("its files are larger than the archive")
            files = [archive.read(_name(k)) for k in range(len(archive.infolist()))]
        if not files or encode_archive(files) != content:
            raise ArgumentError("it is damaged: it holds more than its files, or less than was written")
        return files
    except (BadZipFile, EOFError, RuntimeError, *INVALID_VALUE_ERRORS) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet ensemble ({describe_error(error)}); give a file written by Ensemble.save"
        ) from error


def _name(k: int) -> str:
    return f"member-{k}.safetensors"
