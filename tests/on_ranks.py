"""Train networks on several ranks; `test_distributed.py` runs it.

    mpiexec -n RANKS python on_ranks.py CASE [CASE ...]

Rank 0 prints a line for each case. It is a program of its own, so that one start of mpiexec runs many cases.
"""

import hashlib
import sys

import numpy as np
from mpi4py import MPI

from xpnet import SGD, Network

COMM = MPI.COMM_WORLD
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(603, 6)).astype(np.float32), RNG.integers(3, size=603)


def digest(net):
    arrays = [np.ascontiguousarray(net.backend.to_numpy(x)) for x in (*net.w, *net.b)]
    return hashlib.sha256(b"".join(x.tobytes() for x in arrays)).hexdigest()


def relative_difference(net, other):
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip((*net.w, *net.b), (*other.w, *other.b)))


def as_one_process():
    """Two epochs on all ranks, and in one process; ranks other than 0 begin with another network."""
    options = {"epochs": 2, "batch_size": 8, "lr": 0.1, "optimizer": SGD(momentum=0.5), "progress": False}
    nets = [Network([6, 8, 3], seed=seed, dropout=0.2) for seed in (0 if COMM.rank == 0 else 7, 0)]
    history = nets[0].train((X, Y), distributed=COMM, **options)
    alone = nets[1].train((X, Y), **options)
    np.testing.assert_allclose(history["cost"], alone["cost"], rtol=1e-6)
    assert relative_difference(*nets) < 1e-6
    assert len(set(COMM.allgather(digest(nets[0])))) == 1
    return nets[0].engine


if __name__ == "__main__":
    for case in sys.argv[1:]:
        result = globals()[case]()
        if COMM.rank == 0:
            print(case, result, flush=True)
