"""Takes pixels and labels out of torchvision's data sets, without reading them item by item."""

from typing import Any

import numpy as np

from xpnet.backends.base import as_array
from xpnet.core.arrays import Array
from xpnet.data.conversion import stack


def pixels_and_labels(dataset: Any, raw: bool = False) -> tuple[Array, Array] | None:
    """Take pixels and labels out of a torchvision data set without a transform.

    Axes are ordered as by torchvision's ToTensor. Pixels are scaled as there, too, unless `raw` is true.

    Returns
    -------
    tuple or None
        None for any other data set, and for a subclass that makes its items by its own code.
    """
    module = getattr(type(dataset).__getitem__, "__module__", "")  # a method written in C has none
    if not module.startswith("torchvision."):
        return None
    if getattr(dataset, "transform", dataset) is not None or not hasattr(dataset, "targets"):
        return None
    pixels, labels = as_array(getattr(dataset, "data", None)), dataset.targets
    if str(pixels.dtype).split(".")[-1] != "uint8":
        return None
    pixels = np.asarray(pixels)
    if pixels.ndim == 4:
        pixels = np.moveaxis(pixels, -1, 1)  # channels come first
    if getattr(dataset, "target_transform", None) is not None:
        labels = stack([dataset.target_transform(int(label)) for label in labels], "y")
    return pixels if raw else pixels.astype(np.float32) / np.float32(255), labels
