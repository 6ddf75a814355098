"""Where and when a training is written to a file, by the arguments `checkpoint`, `every` and `resume`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeAlias

from xpnet._checks import check_folder, count, decode_path, overwrite, printable, yes_or_no
from xpnet.errors import ArgumentError
from xpnet.files import read_file, write_file
from xpnet.training.callback import warn_of_write

FileKind: TypeAlias = Literal["network", "ensemble"]
Every: TypeAlias = str | int | timedelta  # "epoch", a number of minibatches, or a time


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where and when a training is written to a file, and whether the one in it is resumed; see :doc:`/use/save`.

    Parameters
    ----------
    path
        The file.
    every
        When to write it: after each "epoch", a number of minibatches, or a `datetime.timedelta`.
    resume
        Whether to resume the training in the file, if there is one.
    kind
        What the file holds: a "network" alone, or an "ensemble", as that of several networks does.
    decides
        What a client of `train` says, by names, that a resumed training must have in common besides data and plan; it
        also says for it whether the networks are the same at the beginning.
    noun
        The word for what is written, in messages.

    Raises
    ------
    FileExistsError
        If the file exists, and `resume` is not given.
    """

    path: str
    every: Every = "epoch"
    resume: bool = False
    kind: FileKind = "network"
    decides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    noun: str = "training"

    def __post_init__(self) -> None:
        every, resume = parse_every(self.every), yes_or_no("resume", self.resume)
        path = decode_path("checkpoint", self.path)
        overwrite(self, path=path, every=every, resume=resume)
        check_folder(path)
        if os.path.lexists(path) and not resume:
            raise FileExistsError(
                f"checkpoint={path!r} exists already; give resume=True to continue the {self.noun} in it, or remove "
                "it, or give another path"
            )

    def read(self, progress: bool = True) -> bytes | None:
        """Read the file to resume; None if there is none yet. With `progress`, say so on standard error."""
        if self.resume and os.path.exists(self.path):
            return read_file(self.path)
        if self.resume and progress:
            text = f"There is no checkpoint {self.path} yet: the {self.noun} starts from the beginning"
            print(printable(text), file=sys.stderr)
        return None

    def write_first(self, content: bytes) -> None:
        """Write the file for the first time; another training may have taken the path since `train` was called."""
        try:
            write_file(self.path, content, new=True)
        except FileExistsError as error:
            raise FileExistsError(
                f"checkpoint={self.path!r} exists already: another {self.noun} has just begun with it; give each "
                f"{self.noun} a path of its own"
            ) from error

    def try_to_write(self, encode: Callable[[], bytes], *outcome: str) -> bool:
        """Write the file and return True, or warn; `outcome` says what happens then, unless training continues."""
        try:
            write_file(self.path, encode())
        except (OSError, MemoryError) as error:
            warn_of_write(f"checkpoint={self.path!r} could not be written", error, *outcome)
            return False
        return True

    # Several networks in one file

    def name_parts(self, n: int) -> list[str]:
        """Name the parts of the file that hold a network each, for messages."""
        return [f"member {k} of {self.path}" for k in range(n)] if self.kind == "ensemble" else [self.path]

    def join(self, parts: Sequence[bytes]) -> bytes:
        """Join the parts of the file."""
        if self.kind == "ensemble":
            from xpnet.files import encode_archive  # slow to import

            return encode_archive(parts)
        (content,) = parts
        return content

    def split(self, content: bytes) -> list[bytes]:
        """Split the file into its parts."""
        if self.kind == "ensemble":
            from xpnet.files import decode_archive

            return decode_archive(content, self.path)
        return [content]


def parse_checkpoint(path: Any, every: Any, resume: Any, **others: Any) -> Checkpoint | None:
    """Check the arguments `checkpoint`, `every` and `resume` of a call; None if there is to be no checkpoint."""
    if path is not None:
        return Checkpoint(path, "epoch" if every is None else every, resume, **others)
    every, resume = None if every is None else parse_every(every), yes_or_no("resume", resume)
    for name, value in (("every", every), ("resume", resume or None)):
        if value is not None:
            raise ArgumentError(f"{name}={value!r} needs checkpoint=, the file to write, as in 'run.safetensors'")
    return None


def parse_every(every: Any) -> Every:
    """Check when to write a checkpoint."""
    if isinstance(every, timedelta) and every > timedelta(0):
        return every
    if isinstance(every, str) and every == "epoch":
        return every
    try:
        return count("every", every, 1)
    except ValueError as error:
        raise ArgumentError(
            f'every={every!r} must be "epoch", a number of minibatches such as 1000, or a time such as '
            "datetime.timedelta(minutes=10)"
        ) from error
