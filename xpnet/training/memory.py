"""Estimates of the memory that networks and their training need, and errors if the machine has less."""

import os
from collections.abc import Sequence
from itertools import pairwise

from xpnet.backends import Backend
from xpnet.backends.base import on_host
from xpnet.wording.errors import unless_stopped

COPIES_OF_STATE = 6  # of weights and optimizer state in memory while a chunk of steps runs, about
BYTES_OF_NETWORK = 2500  # of a Network without its weights, about


def count_parameters(sizes: Sequence[int]) -> int:
    """Count the weights and biases of a network.

    Examples
    --------
    >>> count_parameters([3, 4, 2])
    26
    """
    return sum(n_out * (n_in + 1) for n_in, n_out in pairwise(sizes))


def find_memory() -> int | None:
    """Find the total memory of this machine in bytes; None if it is not known, as on Windows."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except unless_stopped(AttributeError, OSError, ValueError):
        return None


def check_memory(needed: float, what: str, remedy: str = "give fewer members, or smaller networks") -> None:
    """Raise MemoryError if more bytes are needed than this machine has, if that is known; `what` begins the message."""
    memory = find_memory()
    if memory is not None and needed > memory:
        raise MemoryError(
            f"{what} about {needed / 2**30:,.1f} GiB, and this machine has {memory / 2**30:,.1f}; {remedy}"
        )


def on_host_only(backend: Backend, needed: float) -> float:
    """Return the bytes that a backend's arrays need in this machine's memory: none if it computes on a device."""
    return needed if on_host(backend) else 0
