"""The argument `distributed` of `train`: a communicator, and how minibatches are cut."""

import os
import sys
from dataclasses import dataclass
from typing import Any

from xpnet._checks import count, has_methods
from xpnet.backends.base import Backend, Eager
from xpnet.errors import ArgumentError

METHODS = ("Get_rank", "Get_size", "Allreduce", "Allgather", "Sendrecv", "allgather", "bcast", "Abort")
# Variables in which launchers say how many processes they have started, the innermost launcher first
LAUNCHERS = {
    "PMI_SIZE": "the mpiexec of MPICH or Intel MPI",
    "OMPI_COMM_WORLD_SIZE": "the mpiexec of Open MPI",
    "SLURM_STEP_NUM_TASKS": "srun",
}


@dataclass(frozen=True)
class Distributed:
    """How the processes of an MPI communicator share a training: the argument `distributed` of `Network.train`.

    *Experimental* on more than one machine: :doc:`/understand/reliability`.

    Parameters
    ----------
    comm
        A communicator of mpi4py, such as ``MPI.COMM_WORLD``.
    shards
        Cut each minibatch into this many parts, whatever the number of processes: a power of two, and a multiple of
        that number. Their gradients are added up in one fixed order, so the weights have the same bits on 1, 2, 4, ...
        processes, if these have equal CPUs and libraries. Unless given, each process has one part.

    Raises
    ------
    ArgumentError
        If an argument is wrong.

    Examples
    --------
    In a script that ``mpiexec -n 4 python -m mpi4py script.py`` starts::

        from mpi4py import MPI

        net.train(train_data, distributed=Distributed(MPI.COMM_WORLD, shards=8))
    """

    comm: Any
    shards: int | None = None

    def __post_init__(self) -> None:
        if not has_methods(self.comm, *METHODS):
            raise ArgumentError(
                f"distributed={self.comm!r} is not a communicator of mpi4py; give MPI.COMM_WORLD, after from mpi4py "
                "import MPI"
            )
        if self.shards is None:
            return
        shards, size = count("shards", self.shards, 1), self.comm.Get_size()
        if shards & (shards - 1) or shards % size:
            raise ArgumentError(
                f"shards={shards!r} must be a power of two and a multiple of the number of processes, {size}; give "
                "fewer processes, or another number"
            )


def parse_distributed(value: Any, backend: Backend) -> Distributed:
    """Check the argument `distributed`, a communicator or a `Distributed`, and that the backend can add up arrays."""
    if backend.compiles and not isinstance(backend, Eager):
        raise ArgumentError(
            f"distributed= adds up gradients over MPI, which backend={backend.name!r} cannot do in a compiled step; "
            'train with backend="numpy" or "torch", or use jax.distributed with your own loop around net.backward'
        )
    if not (isinstance(backend, Eager) and backend.on_host):
        raise ArgumentError(
            f"distributed= adds up gradients in the memory of the host, and not those of backend={backend.name!r} on "
            f'{backend.device_name}; train there with one process, or on CPUs with backend="numpy" or "torch"'
        )
    distributed = value if isinstance(value, Distributed) else Distributed(value)
    check_launcher()
    return distributed


def check_launcher() -> None:
    """Refuse to train where a launcher has started several processes, and MPI takes each of them for the only one.

    Raises
    ------
    ArgumentError
        With the launcher, the MPI, and the remedy.
    """
    mpi: Any = sys.modules.get("mpi4py.MPI")  # the communicator is another one's, as for tests, if it is not imported
    variable = next((name for name in LAUNCHERS if os.environ.get(name, "").isdecimal()), None)
    if mpi is None or variable is None or int(os.environ[variable]) == 1 or mpi.COMM_WORLD.Get_size() > 1:
        return
    launcher, vendor = LAUNCHERS[variable], mpi.get_vendor()[0]
    if launcher == "srun":
        remedy = f"say how {vendor} is started, as by srun --mpi=pmi2 or --mpi=pmix, or use the mpiexec of {vendor}"
    else:
        remedy = f"use the mpiexec of {vendor}, or install mpi4py with the MPI of this launcher"
    raise ArgumentError(
        f"distributed: {launcher} has started {os.environ[variable]} processes ({variable}), but {vendor}, which "
        f"mpi4py uses, knows of one, and each would train alone; {remedy}"
    )
