"""Estimates of the memory that networks and their training need, and errors if there is less."""

import os
from collections.abc import Iterator

from xpnet.backends.base import Backend

COPIES_OF_STATE = 6  # of weights and optimizer state in memory while a chunk of steps runs, about
BYTES_OF_NETWORK = 2500  # of a Network without its weights, about


def find_memory() -> int | None:
    """Find how many bytes of memory this process may use; None if it is not known, as on Windows.

    It is the memory of the machine, or less in a container or a job of a batch system that has a limit.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([memory, *read_limits()])


def find_free_memory() -> int | None:
    """Find how many bytes this process may use that nothing else needs, cached files included; None if not known."""
    try:
        lines = dict(line.split(":", 1) for line in _read_text("/proc/meminfo").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, LookupError, ValueError):  # not Linux
        return find_memory()
    return min([free, *read_limits()])


def read_limits(root: str = "") -> Iterator[int]:
    """Read the memory limits of the control groups that this process is in; see cgroups(7).

    `root` is put before the paths of files.
    """
    try:
        groups = _read_text(f"{root}/proc/self/cgroup").splitlines()
    except OSError:  # not Linux
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            folder, name = f"{root}/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):  # version 1
            folder, name = f"{root}/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        for part in path.split("/"):  # a limit holds for all groups below
            folder += f"/{part}"
            if not os.path.exists(f"{folder}/{name}"):  # as containers may not see all groups; quicker than an error
                continue
            try:
                limit = _read_text(f"{folder}/{name}").strip()
            except OSError:
                continue
            if limit.isdecimal():  # not "max"
                yield int(limit)


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def require_bytes(needed: float, what: str, remedy: str = "give fewer members, or smaller networks") -> None:
    """Raise MemoryError if more bytes are needed than this process may use; `what` begins the message."""
    memory = find_memory()
    if memory is not None and needed > memory:
        raise MemoryError(
            f"{what} about {needed / 2**30:,.1f} GiB, and this process may use {memory / 2**30:,.1f}; {remedy}"
        )


def on_host_only(backend: Backend, needed: float) -> float:
    """Return the bytes that a backend's arrays need in this machine's memory: none if it computes on a device."""
    return needed if backend.on_host else 0
