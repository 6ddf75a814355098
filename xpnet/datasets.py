"""Data sets to learn on. The public name of `xpnet.data.datasets`."""

from xpnet.data.datasets import (
    fashion_mnist,
    mnist,
    mnist_sample,
)

__all__ = [
    "fashion_mnist",
    "mnist",
    "mnist_sample",
]
