"""Train a classifier on an NVIDIA GPU; without one, say what is missing and what to do."""

import sys

from xpnet import SGD, BackendError, Network, OneCycle
from xpnet.datasets import mnist_sample


def main() -> None:
    try:
        net = Network([784, 512, 10], activation="relu", task="classification", device="cuda", seed=0)
    except BackendError as error:
        sys.exit(str(error))

    train_data, test_data = mnist_sample()  # moved to the GPU once, by train
    history = net.train(
        train_data, epochs=10, batch_size=100, lr=OneCycle(0.2), optimizer=SGD(momentum=0.9), test_data=test_data
    )
    speed = history["examples_per_second"][-1]
    print(f"{net.accuracy(test_data):.2%} correct, {speed:,.0f} examples/s on {net.backend}")

    digits = net.predict(test_data[0][:5])  # a CuPy array, on the GPU
    print("The first five:", net.backend.to_numpy(digits))


if __name__ == "__main__":
    main()
