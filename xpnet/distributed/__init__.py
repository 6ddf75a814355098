"""One training on many processes: each computes with its part of every minibatch, and MPI adds up their gradients.

    from mpi4py import MPI

    net.train(data, distributed=MPI.COMM_WORLD)  # in a script that mpiexec starts

`Distributed` has the options. mpi4py is imported by the caller, and here only once there is such a training.
"""

from xpnet.distributed._on_ranks import train_on_ranks
from xpnet.distributed._ranks import Ranks
from xpnet.distributed._setting import Distributed

__all__ = [
    "Distributed",
    "Ranks",
    "train_on_ranks",
]
