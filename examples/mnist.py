"""Train the book's network on MNIST, on a CPU or a GPU.

python examples/mnist.py                      full MNIST, on the CPU
python examples/mnist.py --device cuda        the same on an NVIDIA GPU
python examples/mnist.py --sample             the 5,000 digits that come with xpnet
"""

import argparse
import sys

from xpnet import BackendError, Network
from xpnet.datasets import mnist, mnist_sample


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the book's network on MNIST.")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 or auto (%(default)s)")
    parser.add_argument("--sample", action="store_true", help="train on the bundled sample instead of full MNIST")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training data (%(default)s)")
    options = parser.parse_args()

    try:
        net = Network([784, 30, 10], device=options.device, seed=0)
    except BackendError as error:
        sys.exit(str(error))
    try:
        train_data, test_data = mnist_sample() if options.sample else mnist()
    except (ImportError, RuntimeError, ValueError) as error:
        sys.exit(f"{error}; here, that is --sample")

    print(net)
    net.train(train_data, epochs=options.epochs, batch_size=10, lr=3.0, test_data=test_data)
    print(f"{net.accuracy(test_data):.2%} of the test images are classified correctly")


if __name__ == "__main__":
    main()
