"""Sums of arrays over all ranks, as one more operation of a namespace: a step that has it can be recorded."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from xpnet.backends.base import Eager
from xpnet.core.arrays import Array


class HostSum:
    """Adds up arrays in the host's memory over MPI. GPUs that exchange arrays by NCCL would be another such class.

    Parameters
    ----------
    comm
        The communicator.
    backend
        The library of the arrays, whose memory NumPy can share.
    in_tree
        Whether ranks add in the order of a binary tree, which continues that of the parts within a rank: 0 + 1, 2 + 3;
        then these two sums; and so on. Their number must be a power of two.
    """

    def __init__(self, comm: Any, backend: Eager, in_tree: bool) -> None:
        self.comm, self.backend, self.in_tree = comm, backend, in_tree
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def __call__(self, arrays: Sequence[Array], out: Array | None = None) -> Array:
        """Add up arrays over all ranks; return the sums, one after the other, as one vector."""
        n = sum(prod(x.shape) for x in arrays)
        total: Array = self.backend.xp.empty((n,), dtype=arrays[0].dtype) if out is None else out
        self.bind(total, arrays)()
        return total

    def bind(self, out: Array, arrays: Sequence[Array]) -> Callable[[], None]:
        """Return a call without arguments that adds up these arrays into `out`."""
        flat, copies, start = self._share(out), [], 0
        for x in map(self._share, arrays):
            stop = start + x.size
            copies.append(partial(np.copyto, flat[start:stop].reshape(x.shape), x))
            start = stop
        add_up = self._bind_tree(flat) if self.in_tree else self._bind_all_reduce(flat)

        def run() -> None:
            for copy in copies:
                copy()
            add_up()

        return run

    def _bind_all_reduce(self, flat: np.ndarray) -> Callable[[], None]:
        from mpi4py import MPI

        return partial(self.comm.Allreduce, MPI.IN_PLACE, flat)

    def _bind_tree(self, flat: np.ndarray) -> Callable[[], None]:
        """Bind recursive doubling: in each round, two ranks exchange their sums. x + y and y + x have the same bits."""
        other = np.empty_like(flat)
        partners = [self.rank ^ 1 << i for i in range(self.size.bit_length() - 1)]

        def run() -> None:
            for partner in partners:
                self.comm.Sendrecv(flat, partner, recvbuf=other, source=partner)
                np.add(flat, other, flat)

        return run

    def _share(self, x: Array) -> np.ndarray:
        """Return a NumPy array of the same memory."""
        return self.backend.to_numpy(x)
