"""The same lines on the arrays of NumPy, PyTorch, JAX and CuPy, wherever they are installed.

Predictions are arrays of the same library, on the same device, as the network computes with.
"""

import importlib

from xpnet import BackendError, Network
from xpnet.datasets import mnist_sample

# backend -> the module with its function `asarray`
MODULES = {"numpy": "numpy", "torch": "torch", "jax": "jax.numpy", "cupy": "cupy"}


def train(backend, asarray):
    """Train on the arrays that `asarray` makes; nothing here depends on the library."""
    (x_train, y_train), (x_test, y_test) = mnist_sample()
    x_train, y_train, x_test, y_test = (asarray(array) for array in (x_train, y_train, x_test, y_test))

    net = Network([784, 30, 10], backend=backend, seed=0)
    net.train((x_train, y_train), epochs=5, batch_size=10, lr=3.0, progress=False)
    predictions = net.predict(x_test)
    slopes = net.jacobian(x_test[:100])
    return type(predictions), tuple(slopes.shape), float((predictions == y_test).sum()) / len(y_test)


def main():
    for backend, module in MODULES.items():
        try:
            asarray = importlib.import_module(module).asarray
            Network([1, 1], backend=backend)
        except (ImportError, BackendError) as error:
            print(f"{backend}: left out: {error}")
            continue
        kind, shape, accuracy = train(backend, asarray)
        print(
            f"{backend}: predictions are {kind.__module__}.{kind.__name__}; derivatives {shape}; {accuracy:.1%} right"
        )


if __name__ == "__main__":
    main()
