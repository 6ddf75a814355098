"""Resume a training that was interrupted: it ends with the same weights, bit for bit, as one that was not.

With `resume=True` from the start, a program can be started again at any time, and goes on where it stopped.
"""

import tempfile
from pathlib import Path

import numpy as np

from xpnet import SGD, Callback, Cosine, Network
from xpnet.datasets import mnist_sample


class Interrupt(Callback):
    """Stands for Ctrl-C, a full disk or the time limit of a batch system."""

    def __init__(self, in_epoch=None):
        self.in_epoch = in_epoch

    def on_epoch_begin(self, epoch):
        """Interrupt training in one epoch, if any."""
        if epoch == self.in_epoch:
            raise KeyboardInterrupt


def make_network():
    return Network([784, 30, 10], dropout=0.1, seed=0)


def main():
    train_data, test_data = mnist_sample()
    options = {"epochs": 6, "batch_size": 10, "lr": Cosine(1.0), "optimizer": SGD(momentum=0.8), "progress": False}

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "run.safetensors")
        try:
            make_network().train(train_data, **options, checkpoint=checkpoint, callbacks=[Interrupt(in_epoch=3)])
        except KeyboardInterrupt:
            print(f"interrupted after {len(Network.load(checkpoint).history)} epochs")

        resumed = make_network()  # with the same kinds of callbacks as before; this one does not interrupt
        history = resumed.train(train_data, **options, checkpoint=checkpoint, callbacks=[Interrupt()], resume=True)
    print(f"resumed, and trained to epoch {history['epoch'][-1]}: {resumed.accuracy(test_data):.1%} are right")

    whole = make_network()
    whole.train(train_data, **options)
    equal = all(
        np.array_equal(array, other) for layers in zip(whole.layers, resumed.layers) for array, other in zip(*layers)
    )
    print(f"equal to a training without interruption, bit for bit: {equal}")


if __name__ == "__main__":
    main()
