"""Trainings in which a rank fails; `test_distributed_faults.py` runs it.

    mpiexec -n 2 python faulty_ranks.py CASE FOLDER

Rank 0 prints a line for each result.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

from xpnet import SGD, Callback, Network
from xpnet.distributed import Distributed

COMM, FOLDER = MPI.COMM_WORLD, Path(sys.argv[2])
X, Y = np.random.default_rng(0).random((400, 6), dtype=np.float32), np.arange(400) % 3


class TellWhenHalfDone(Callback):
    """Writes a file after the third epoch; the checkpoint has been written by then."""

    def on_epoch_begin(self, epoch):
        if epoch == 4:
            (FOLDER / "half").touch()


def train(net, comm=COMM, fail=None, **options):
    """Train a network; if `fail` is given, rank 1 calls it in the second half."""

    def lr(step, total):
        if fail is not None and COMM.rank == 1 and (FOLDER / "half").exists():
            fail()
        return 0.1

    options |= {"epochs": 6, "batch_size": 20, "optimizer": SGD(momentum=0.9), "callbacks": [TellWhenHalfDone()]}
    return net.train((X, Y), lr=lr, distributed=Distributed(comm, shards=2), progress=False, **options)


def make():
    return Network([6, 5, 3], seed=0)


def lose_disk():
    raise OSError(f"the disk of rank {COMM.rank} is gone")


def kill_myself():
    os.kill(os.getpid(), signal.SIGKILL)


def raises():
    train(make(), fail=lose_disk)


def raises_before():
    """The others wait in `train`; started by `python -m mpi4py`."""
    if COMM.rank == 1:
        lose_disk()
    train(make())


def is_killed():
    (FOLDER / f"pid{COMM.rank}").write_text(str(os.getpid()))
    train(make(), fail=kill_myself, checkpoint=FOLDER / "run.safetensors")


def resumes():
    """After `is_killed`; the weights are those of a training on one process that nothing has interrupted."""
    kept = len(Network.load(FOLDER / "run.safetensors").history)
    resumed = make()
    train(resumed, checkpoint=FOLDER / "run.safetensors", resume=True)
    whole = make()
    train(whole, comm=MPI.COMM_SELF)
    equal = all(np.array_equal(w, other) for w, other in zip((*resumed.w, *resumed.b), (*whole.w, *whole.b)))
    if COMM.rank == 0:
        print(f"kept {kept} of {len(resumed.history)} epochs, equal: {equal}")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
