"""Files are written whole or not at all, whoever else writes or reads them, and whenever the process is killed."""

import errno
import os
import random
import re
import signal
import stat
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from xpnet import CSVLog, Ensemble, ModelCheckpoint, Network
from xpnet.export import to_onnx, write_lesson, write_page
from xpnet.files import _writing as writing
from xpnet.files._writing import read_file, write_file

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")

WRITER = """
import sys
from xpnet.files._writing import write_file
letter, path, count = sys.argv[1:]
for _ in range(int(count)):
    write_file(path, letter.encode() * 200_000)
"""


def start_writer(letter, path, count):
    command = [sys.executable, "-c", WRITER, letter, str(path), str(count)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def is_whole(content):
    return len(content) == 200_000 and len(set(content)) == 1


@pytest.mark.slow
def test_several_writers_on_one_path_and_a_reader(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"x" * 200_000)
    processes = [start_writer(letter, path, 40) for letter in "ab"]
    reads = 0
    while any(process.poll() is None for process in processes):
        assert is_whole(read_file(path))
        reads += 1
    assert [process.communicate()[1] for process in processes] == [""] * 2
    assert reads > 10
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@posix
def test_a_writer_that_is_killed_leaves_a_whole_file_and_its_rest_is_removed_later(tmp_path, monkeypatch):
    path, rng = tmp_path / "file", random.Random(0)
    write_file(path, b"x" * 200_000)
    seen = set()
    for letter in "ab":
        process = start_writer(letter, path, 10**9)
        before = path.stat().st_ino
        while path.stat().st_ino == before:
            assert process.poll() is None
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.communicate()
        content = read_file(path)
        assert is_whole(content)
        seen.add(content[:1])
    assert seen == {b"a", b"b"}
    monkeypatch.setattr(writing, "STALE_SECONDS", -1.0)
    write_file(path, b"end")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@posix
def test_a_temporary_file_in_use_or_of_the_last_minute_is_not_removed(tmp_path):
    import fcntl

    held, new = tmp_path / ".xpnet-1.tmp", tmp_path / ".xpnet-2.tmp"
    for each in (held, new):
        each.write_bytes(b"")
    os.utime(held, (0, 0))
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_file(tmp_path / "file", b"")
        assert held.exists()
    write_file(tmp_path / "file", b"")
    assert (held.exists(), new.exists()) == (False, True)


@posix
def test_a_link_is_followed_and_permissions_are_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    if os.getuid() == 0:
        os.chown(target, 12, 34)
    link.symlink_to(target)
    write_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    if os.getuid() == 0:
        assert (target.stat().st_uid, target.stat().st_gid) == (12, 34)
    target.unlink()
    write_file(link, b"newer")  # which pointed nowhere
    assert target.read_bytes() == b"newer"


@pytest.mark.skipif(getattr(os, "getuid", lambda: 0)() == 0, reason="root, or Windows, may list any folder")
def test_a_folder_may_be_writable_but_not_listable(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(0o300)
    for content in (b"old", b"new"):
        write_file(folder / "file", content)
        assert read_file(folder / "file") == content


def test_no_other_file_is_touched_and_a_long_name_is_no_trouble(tmp_path):
    name = "n" * 255
    for other in (f"{name[:-11]}.unfinished", "name.unfinished"):
        (tmp_path / other).write_bytes(b"mine")
    write_file(tmp_path / name, b"content")
    write_file(tmp_path / "name", b"content")
    assert (tmp_path / "name.unfinished").read_bytes() == b"mine"
    assert read_file(tmp_path / name) == b"content"
    assert len([*tmp_path.iterdir()]) == 4


def test_the_file_and_then_its_folder_are_flushed_to_disk(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace

    def flush(number):
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def rename(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    write_file(tmp_path / "file", b"content")
    assert done == ["file", "rename", *(["folder"] if os.name != "nt" else [])]


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_written_and_read(tmp_path, kind):
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "folder": tmp_path / "folder"}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    reason = f"(Is a directory|Not a regular file): '{path}'"
    with pytest.raises(OSError, match=reason):
        write_file(path, b"content")
    with pytest.raises(OSError, match=reason):
        read_file(path)
    with pytest.raises(OSError, match=reason):
        Network.load(path)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_does_not_replace_one_that_appears_meanwhile(tmp_path, monkeypatch, has_links):
    if not has_links:

        def refuse(*args):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    path, fsync = tmp_path / "file", os.fsync

    def flush(number):
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            path.write_bytes(b"another's")
        fsync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        with pytest.raises(FileExistsError, match=f"File exists: {re.escape(repr(str(path)))}"):
            write_file(path, b"new", new=True)
    assert path.read_bytes() == b"another's"
    path.unlink()
    write_file(path, b"new", new=True)
    assert path.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_new_file_that_cannot_be_renamed_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        write_file(tmp_path / "net", b"new", new=True)
    assert not [*tmp_path.iterdir()]


def test_every_path_may_be_bytes(tmp_path):
    """Of whatever writes files, in a folder whose name is not ASCII; errors show the path as text."""
    net, folder = Network([2, 1], seed=0), tmp_path / "ä"
    data, options = ([[0.0, 1.0]], [1.0]), {"epochs": 1, "progress": False}
    writers = {
        "net": net.save,
        "checkpoint": lambda path: net.train(data, checkpoint=path, **options),
        "best": lambda path: net.train(data, callbacks=[ModelCheckpoint(path, every=1)], **options),
        "log": lambda path: net.train(data, callbacks=[CSVLog(path)], **options),
        "page": lambda path: write_page(net, path),
        "lesson": partial(write_lesson, "step"),
        "ensemble": Ensemble([2, 1], 2, seed=0).save,
    }
    if find_spec("onnx"):
        writers["onnx"] = lambda path: to_onnx(net, path)
    for name, write in writers.items():
        with pytest.raises(FileNotFoundError, match=f"^{folder}/{name}: there is no folder {folder}"):
            write(os.fsencode(folder / name))
    folder.mkdir()
    for name, write in writers.items():
        write(os.fsencode(folder / name))
    assert sorted(each.name for each in folder.iterdir()) == sorted(writers)
    assert Network.load(os.fsencode(folder / "net")).sizes == [2, 1]


@posix
def test_ctrl_c_while_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda number: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
