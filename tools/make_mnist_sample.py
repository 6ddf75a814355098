"""Make xpnet/data_files/mnist_sample.npz from the original IDX files of MNIST.

    python tools/make_mnist_sample.py ROOT

ROOT is the folder that torchvision.datasets.MNIST reads: it holds MNIST/raw. The sample is balanced over the ten
digits and drawn with a fixed seed: running this again makes the same arrays.
"""

import sys
from pathlib import Path

import numpy as np

from xpnet.data.datasets import read_idx

OUT = Path(__file__).parents[1] / "xpnet" / "data_files" / "mnist_sample.npz"
SEED = 42


def balanced(images: np.ndarray, labels: np.ndarray, each: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw `each` examples of every digit, and mix them."""
    chosen = [rng.choice(np.flatnonzero(labels == digit), each, replace=False) for digit in range(10)]
    order = rng.permutation(np.concatenate(chosen))
    return images[order], labels[order]


def main() -> None:
    """Write the sample."""
    raw = Path(sys.argv[1]) / "MNIST" / "raw"
    rng = np.random.default_rng(SEED)
    arrays = {}
    for part, name, each in (("train", "train", 500), ("test", "t10k", 100)):
        images, labels = read_idx(raw / f"{name}-images-idx3-ubyte", 3), read_idx(raw / f"{name}-labels-idx1-ubyte", 1)
        arrays[f"x_{part}"], arrays[f"y_{part}"] = balanced(images, labels, each, rng)
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
