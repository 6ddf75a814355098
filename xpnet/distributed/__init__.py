"""One training on many processes: each computes with its part of every minibatch, and MPI adds up their gradients.

    from mpi4py import MPI

    net.train(data, distributed=MPI.COMM_WORLD)  # in a script that mpiexec starts

`Distributed` has the options. mpi4py is imported by the caller, and here only once there is such a training.
"""

from xpnet.distributed._ranks import Ranks
from xpnet.distributed._setting import Distributed, check_launcher, parse_distributed
from xpnet.distributed._step import make_parts, make_shared_step

__all__ = [
    "Distributed",
    "Ranks",
    "check_launcher",
    "make_parts",
    "make_shared_step",
    "parse_distributed",
]
