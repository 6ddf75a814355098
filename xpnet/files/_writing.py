"""Writes files whole or not at all, and reads whole files into memory."""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

PREFIX, SUFFIX = ".xpnet-", ".tmp"  # of temporary files
STALE_SECONDS = 60.0  # after this time, a temporary file that no process holds is removed


def write_file(path: str | os.PathLike[str], content: bytes, *, new: bool = False) -> None:
    """Replace a file atomically: at every moment, either the old or the new one is there, whole.

    The content goes to a temporary file in the same folder, is flushed to disk, and replaces the old file. So any
    number of processes may write to one path, and read it. Permissions and owner of an existing file are kept; if the
    path is a symbolic link, the file that it points to is replaced. Temporary files of killed processes are removed.

    Parameters
    ----------
    path
        The file, also as bytes. Its folder must exist.
    content
        The new content.
    new
        Whether to refuse to replace a file. If several processes write a new one at once, one of them succeeds.

    Raises
    ------
    FileExistsError
        If `new`, and the file exists.
    OSError
        If the file cannot be written; the error names `path`, and an existing file does not change.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> write_file(folder.name + "/name", b"content")
    >>> read_file(folder.name + "/name")
    b'content'
    >>> folder.cleanup()
    """
    path = os.fsdecode(path)
    with _name_in_errors(path):
        target = Path(os.path.realpath(path))
        old = target.stat() if target.exists() else None
        _check_is_file(old)
        _remove_stale_files(target.parent)
        unfinished = target.with_name(f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
        # O_EXCL refuses a file or link that exists. Only the owner may read it until it has the old file's permissions
        number = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, 0o666 if old is None else 0o600)
        try:
            with open(number, "wb") as file:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX)
                if old is not None:
                    _keep_permissions(unfinished, old)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _move_to_new_path(unfinished, target) if new else unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        _flush_folder(target.parent)


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read a whole regular file, so that later changes to it do not matter.

    Raises
    ------
    OSError
        If it cannot be read, or is not a regular file; the error names `path`.
    """
    path = os.fsdecode(path)
    with _name_in_errors(path):
        _check_is_file(os.stat(path))
        with open(os.open(path, os.O_RDONLY | _BINARY | _NONBLOCK), "rb") as file:
            return file.read()


def is_same_file(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> bool:
    """Tell whether two paths lead to one file, also through links, even if the file does not exist yet.

    Pipes and devices do not count: several programs may write to them.

    Examples
    --------
    >>> is_same_file("missing/../net", "net"), is_same_file("net", "other")
    (True, False)
    """
    if os.path.exists(first) and os.path.exists(second):
        return os.path.samefile(first, second) and os.path.isfile(first)
    return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))


_BINARY = getattr(os, "O_BINARY", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # else opening would wait for a pipe that has replaced the file


@contextmanager
def _name_in_errors(path: str) -> Iterator[None]:
    """Make errors name the path that the user gave, whichever file caused them."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _check_is_file(status: os.stat_result | None) -> None:
    """Refuse folders, pipes and devices."""
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def _keep_permissions(file: Path, old: os.stat_result) -> None:
    """Give a file the permissions of another, and its owner if that is allowed."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(file, old.st_uid, old.st_gid)
    os.chmod(file, stat.S_IMODE(old.st_mode))


def _move_to_new_path(file: Path, target: Path) -> None:
    """Rename a file; refuse a target that exists, even if it was made a moment ago."""
    try:
        os.link(file, target)  # unlike a rename, it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # some file systems have no such links
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            file.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)  # the empty file
            raise


def _remove_stale_files(folder: Path) -> None:
    """Remove temporary files of processes that have ended: no process holds a lock on them, or has them open."""
    with suppress(OSError):  # if the folder cannot be listed, they stay
        for file in folder.glob(f"{PREFIX}*{SUFFIX}"):
            with suppress(OSError):  # the file is gone, or belongs to somebody else
                if time.time() - file.lstat().st_mtime <= STALE_SECONDS:
                    continue
                if fcntl is None:
                    file.unlink()  # Windows refuses that while a process has it open
                    continue
                with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | _NONBLOCK), "rb") as stale:
                    fcntl.flock(stale, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    file.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush a folder to disk, so that a renamed file survives a power failure."""
    with suppress(OSError):  # Windows and some file systems cannot, and unlistable folders cannot be opened
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
