"""Arrays in the folder that holds the files of a job."""

from pathlib import Path

import numpy as np


def store(folder, **arrays):
    """Write arrays, each to a file of its name."""
    for name, array in arrays.items():
        np.save(Path(folder, f"{name}.npy"), array)


def load(folder, *names):
    """Read arrays."""
    return [np.load(Path(folder, f"{name}.npy")) for name in names]
