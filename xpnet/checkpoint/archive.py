"""Archives: the files of the members of an ensemble in one zip archive, without compression."""

import io
import os
import zipfile
from collections.abc import Sequence

from xpnet.checkpoint.kinds import is_network
from xpnet.checks import check_folder, truncate
from xpnet.errors import CheckpointError, unless_stopped
from xpnet.files import read_file, write_file


def write_archive(path: str | os.PathLike[str], files: Sequence[bytes]) -> None:
    """Write the contents of files into an archive; an existing one is replaced whole, or not at all."""
    path = os.fsdecode(path)
    check_folder(path)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for k, content in enumerate(files):
            file.writestr(zipfile.ZipInfo(_name(k)), content)  # with a fixed time: equal ensembles give equal archives
    write_file(path, archive.getvalue())


def read_archive(path: str | os.PathLike[str]) -> list[bytes]:
    """Read the contents of the files in an archive.

    Nothing is unpacked onto the disk, and nothing that is compressed is read, so that a small archive cannot become a
    large one.

    Raises
    ------
    CheckpointError
        If it is not an archive that `write_archive` wrote, or is damaged.
    OSError
        If it cannot be read at all.
    """
    path = os.fsdecode(path)
    content = read_file(path)
    if is_network(content):
        raise CheckpointError(f"{path} is a file of one Network, not of an ensemble; use Network.load")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if not entries or [entry.filename for entry in entries] != [_name(k) for k in range(len(entries))]:
                raise ValueError("its files are not member-0.safetensors, member-1.safetensors, ...")
            if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
                raise ValueError("its files are compressed or encrypted")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("its files are larger than itself")
            return [archive.read(entry) for entry in entries]
    except unless_stopped(
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise CheckpointError(
            f"{path} does not hold an xpnet ensemble ({type(error).__name__}: {truncate(error)}); give a file written "
            "by Ensemble.save"
        ) from error


def _name(k: int) -> str:
    return f"member-{k}.safetensors"
