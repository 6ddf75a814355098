"""Trainings in which a rank fails, or does not fit the others; `test_distributed_faults.py` runs it.

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
from xpnet.training import same_training

COMM, FOLDER = MPI.COMM_WORLD, Path(sys.argv[2])
X, Y = np.random.default_rng(0).random((400, 6), dtype=np.float32), np.arange(400) % 3
EPOCHS = 6


class TellWhenHalfDone(Callback):
    """Writes a file after the third epoch; the checkpoint has been written by then."""

    def on_epoch_begin(self, epoch):
        if epoch == 4:
            (FOLDER / "half").touch()


def train(net, comm=COMM, fail=None, x=X, **options):
    """Train a network; if `fail` is given, rank 1 calls it in the second half."""

    def lr(step, total):
        if fail is not None and COMM.rank == 1 and (FOLDER / "half").exists():
            fail()
        return 0.1

    optimizer, callbacks = SGD(momentum=0.9), [TellWhenHalfDone()]
    options = {"epochs": EPOCHS, "batch_size": 20, "optimizer": optimizer, "callbacks": callbacks} | options
    return net.train((x, Y[: len(x)]), lr=lr, distributed=Distributed(comm, shards=2), progress=False, **options)


def make(units=5):
    return Network([6, units, 3], seed=0)


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


def is_refused():
    """Each of these is so on rank 1 only."""
    other = COMM.rank == 1

    def train_with_other_version():
        if other:
            same_training.__version__ = "0.0.0"
        train(make())

    cases = {
        "data": lambda: train(make(), x=X + other),
        "rows": lambda: train(make(), x=X[: len(X) - 40 * other]),
        "sizes": lambda: train(make(units=5 + other)),
        "batch_size": lambda: train(make(), batch_size=20 + other),
        "version": train_with_other_version,
    }
    for name, case in cases.items():
        try:
            case()
        except ValueError as error:
            message = str(error)
        else:
            message = "not refused"
        messages = COMM.gather(message)
        if COMM.rank == 0:
            print(name, *dict.fromkeys(messages), sep=": ", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
