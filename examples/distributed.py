"""Train one network on several processes, which share each minibatch over MPI.

    pip install -e '.[mpi]'
    mpiexec -n 2 python -m mpi4py examples/distributed.py

Each minibatch is cut into eight parts, whatever the number of processes: the weights have the same bits for 1, 2, 4 and
8 of them, on equal CPUs. Without `Distributed(..., shards=8)`, `distributed=MPI.COMM_WORLD` is enough, and faster. With
`-m mpi4py`, an error in one process ends all of them.
"""

import numpy as np
from mpi4py import MPI

from xpnet import SGD, Network
from xpnet.datasets import mnist_sample
from xpnet.distributed import Distributed


def train(comm):
    """Train a network on the processes of a communicator; all of them have it afterwards."""
    train_data, _ = mnist_sample()
    net = Network([784, 100, 10], activation="relu", task="classification", dropout=0.2, seed=0)
    net.train(
        train_data,
        epochs=4,
        batch_size=128,  # on all processes together
        lr=0.1,
        optimizer=SGD(momentum=0.9),
        distributed=Distributed(comm, shards=8),
        progress=False,
    )
    return net


def main():
    comm = MPI.COMM_WORLD
    net = train(comm)
    if comm.rank == 0:  # one process prints, and saves
        _, test_data = mnist_sample()
        print(f"{comm.size} processes, {net.accuracy(test_data):.1%} right")
        alone = train(MPI.COMM_SELF)
        equal = all(np.array_equal(x, other) for x, other in zip((*net.w, *net.b), (*alone.w, *alone.b)))
        print(f"equal to a training on one process, bit for bit: {equal}")


if __name__ == "__main__":
    main()
