"""Train the same network on the CPU and on an NVIDIA GPU; only the device differs.

python examples/train_gpu.py                  full MNIST, on both
python examples/train_gpu.py --devices cuda   only on the GPU
python examples/train_gpu.py --sample         the 5,000 digits that come with xpnet
"""

import argparse
import sys
from typing import Any

from xpnet import SGD, BackendError, Network, OneCycle
from xpnet.datasets import mnist, mnist_sample


def train(net: Network, data: tuple[Any, Any], test_data: tuple[Any, Any], epochs: int) -> None:
    """Train the network on its own device; the data is moved there once."""
    history = net.train(data, epochs, batch_size=100, lr=OneCycle(0.2), optimizer=SGD(momentum=0.9), progress=False)
    accuracy, speed = net.accuracy(test_data), history["examples_per_second"][-1]
    print(f"{net.backend.name} on {net.backend.device_name}: {accuracy:.2%} correct, {speed:,.0f} examples/s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the same network on the CPU and on a GPU.")
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"], help="devices to train on, in turn (cpu cuda)")
    parser.add_argument("--sample", action="store_true", help="train on the bundled sample instead of full MNIST")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training data (%(default)s)")
    options = parser.parse_args()

    sizes, kind = [784, 512, 10], {"activation": "relu", "task": "classification"}
    try:
        nets = [Network(sizes, **kind, device=device, seed=0) for device in options.devices]
    except BackendError as error:
        sys.exit(f"{error}; here, that is --devices cpu")
    try:
        train_data, test_data = mnist_sample() if options.sample else mnist()
    except (ImportError, RuntimeError, ValueError) as error:
        sys.exit(f"{error}; here, that is --sample")

    for net in nets:
        train(net, train_data, test_data, options.epochs)

    first, *others = [net.backend.to_numpy(net.predict(test_data[0])) for net in nets]
    for device, digits in zip(options.devices[1:], others):
        same = (digits == first).mean()
        print(f"{options.devices[0]} and {device} predict the same digit for {same:.2%} of the test images")


if __name__ == "__main__":
    main()
