"""Sums of arrays over all ranks, as one more operation of a namespace: a step that has it can be recorded."""

from collections.abc import Sequence
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

    def __call__(self, arrays: Sequence[Array]) -> Array:
        """Add up arrays over all ranks; return the sums, one after the other, as one vector."""
        from mpi4py import MPI

        flat = np.concatenate([self.backend.to_numpy(x).ravel() for x in arrays])
        if not self.in_tree:
            self.comm.Allreduce(MPI.IN_PLACE, flat)
            return self.backend.asarray(flat)
        # In each round, two ranks exchange their sums. x + y and y + x have the same bits
        other = np.empty_like(flat)
        for partner in (self.rank ^ 1 << i for i in range(self.size.bit_length() - 1)):
            self.comm.Sendrecv(flat, partner, recvbuf=other, source=partner)
            flat += other
        return self.backend.asarray(flat)
