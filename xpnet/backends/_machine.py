"""The machine: memory that this process may use, threads that multiply matrices, threads of our own, and versions."""

import _thread
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from queue import SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from xpnet.version import __version__

COPIES_OF_STATE = 6  # of weights and optimizer state in memory while a chunk of steps runs, about
BYTES_OF_NETWORK = 2500  # of a Network without its weights, about
AUTO = "auto"
# Variables by which users set the number of threads of a BLAS
THREAD_VARIABLES = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"

# Memory


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
    lines = [line.split() for line in _read_lines("/proc/meminfo") if line.startswith("MemAvailable")]
    return min([1024 * int(lines[0][1]), *read_limits()]) if lines else find_memory()


def read_limits(root: str = "") -> Iterator[int]:
    """Read the memory limits of the control groups that this process is in; see cgroups(7).

    `root` is put before the paths of files.
    """
    for group in _read_lines(f"{root}/proc/self/cgroup"):
        _, controllers, path = group.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, name = ("/memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")  # of version 1, or 2
        folder = f"{root}/sys/fs/cgroup{folder}"
        for part in path.split("/"):  # a limit holds for all groups below
            folder += f"/{part}"
            yield from (int(limit) for limit in _read_lines(f"{folder}/{name}") if limit.isdecimal())  # not "max"


def _read_lines(path: str) -> list[str]:
    """Read a file of the system; no lines if there is none, as in containers, which may not see all groups."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def require_bytes(needed: float, what: str, remedy: str = "give fewer members, or smaller networks") -> None:
    """Raise MemoryError if more bytes are needed than this process may use; `what` begins the message."""
    memory = find_memory()
    if memory is not None and needed > memory:
        raise MemoryError(
            f"{what} about {needed / 2**30:,.1f} GiB, and this process may use {memory / 2**30:,.1f}; {remedy}"
        )


# Threads that multiply matrices


@cache
def _find_thread_pools(name: str) -> tuple[Any, Lock]:  # once for each backend: it takes a few hundred microseconds
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController(), Lock()


@contextmanager
def limit_once(name: str, limit: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter a limit on a library's threads; if contexts in several Python threads overlap, the first limit applies."""
    _, lock = _find_thread_pools(name)
    if not lock.acquire(blocking=False):
        yield  # a second limit would restore the first one, not the original number
        return
    try:
        with limit():
            yield
    finally:
        lock.release()


def limit_thread_pools(name: str, number: int) -> AbstractContextManager[Any]:
    """Limit the threads of BLAS libraries."""
    return limit_once(name, lambda: _find_thread_pools(name)[0].limit(limits=number))


def _list_blas(name: str) -> list[dict[str, Any]]:
    return [pool for pool in _find_thread_pools(name)[0].info() if pool["user_api"] == "blas"]


def limit_step_threads(
    backend: Any, threads: int | str, multiplications: int, groups: int = 1
) -> AbstractContextManager[Any]:
    """Return a context that limits the threads of a training.

    "auto" chooses one thread where the products are too small to gain much from more. Elsewhere, and where the
    environment sets a number, it changes nothing.

    Parameters
    ----------
    backend
        The backend.
    threads
        Their number, or "auto".
    multiplications
        Of the largest product.
    groups
        Number of threads among which networks are divided already.
    """
    if backend.shares_steps:
        most = 1 if groups > 1 else max((pool["num_threads"] for pool in _list_blas(backend.name)), default=1)
        return backend.share_steps(most if threads == AUTO else int(threads))
    if threads == AUTO:
        is_small = backend.threads_from is not None and multiplications < backend.threads_from
        if not is_small or any(map(os.environ.get, THREAD_VARIABLES)):
            return nullcontext()
        threads = 1
    return backend.limit_threads(int(threads))


# Threads of our own


class Workers:
    """Threads that work beside the main one: they train groups of networks at once, or read data ahead.

    The pools of the standard library share locks that are written in Python. A signal handler that raises an error
    while one of them is being taken leaves it held, and all threads wait forever. These queues are written in C, where
    no handler runs.

    Parameters
    ----------
    number
        The number of threads.

    Examples
    --------
    >>> workers = Workers(2)
    >>> workers.map(abs, [-1, -2, -3])
    [1, 2, 3]
    >>> workers.close()
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._work: SimpleQueue[Any] = SimpleQueue()
        for _ in range(number):
            _thread.start_new_thread(_serve, (self._work,))

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Apply a function to each item, and wait for all results; if some items fail, raise the first one's error.

        If the waiting thread is interrupted, by a signal handler for example, the others still finish their work.
        """
        outcomes = [outcome.get() for outcome in [self._submit(function, item) for item in items]]
        return [_open(*outcome) for outcome in outcomes]

    def start(self, function: Callable[[Any], Any], item: Any) -> Callable[[], Any]:
        """Begin to apply a function to an item; call the function that is returned to wait for the result."""
        outcome = self._submit(function, item)
        return lambda: _open(*outcome.get())

    def close(self) -> None:
        """Let the threads end after their work, without waiting for them."""
        for _ in range(self.number):
            self._work.put(None)

    def _submit(self, function: Callable[[Any], Any], item: Any) -> "SimpleQueue[Any]":
        outcome: SimpleQueue[Any] = SimpleQueue()
        self._work.put((outcome, function, item))
        return outcome


def _open(result: Any, error: BaseException | None) -> Any:
    if error is not None:
        raise error
    return result


def _serve(work: "SimpleQueue[Any]") -> None:
    """Run tasks until one is None."""
    while (task := work.get()) is not None:
        outcome, function, item = task
        try:
            outcome.put((function(item), None))
        except BaseException as error:
            outcome.put((None, error))
        del task, outcome, function, item  # while it waits, a thread holds nothing


# Versions


@cache
def describe_versions(name: str) -> str:
    """Name Python, NumPy and its BLAS, the library of a backend, and xpnet, with their versions.

    Examples
    --------
    >>> describe_versions("numpy").split()[::2][:2]
    ['python', 'numpy']
    """
    python = ".".join(map(str, sys.version_info[:3]))
    parts = [f"python {python}", f"numpy {np.__version__}", find_blas()]
    if name != "numpy":
        parts.append(f"{name} {getattr(sys.modules.get(name), '__version__', '(version unknown)')}")
    return ", ".join([*parts, f"xpnet {__version__}"])


def find_blas() -> str:
    """Name the BLAS that NumPy multiplies matrices with, its version, and the CPUs that its code is for."""
    pools = _list_blas("numpy")
    pools = [pool for pool in pools if "numpy" in pool["filepath"]] or pools  # other libraries have their own
    if not pools:  # threadpoolctl knows most of them, but not Apple's
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    architecture = f" ({pools[0]['architecture']})" if "architecture" in pools[0] else ""
    return f"{pools[0]['internal_api']} {pools[0]['version']}{architecture}"
