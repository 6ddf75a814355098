"""Weights of examples: checks, and the form in which they are stored."""

import numpy as np

from xpnet.backends import Backend
from xpnet.core.arrays import Array, Namespace, Same
from xpnet.errors import ArgumentError


def check_weights(weight: Array, n: int, backend: Backend) -> float:
    """Check the weights of n examples, which must be finite and at least 0; return the largest. Synchronizes."""
    if tuple(weight.shape) != (n,):
        raise ArgumentError(
            f"sample_weight has shape {tuple(weight.shape)}, but must have ({n},): one number per example"
        )
    if not backend.all_finite([weight]):
        raise ArgumentError("sample_weight holds NaN or infinity; give finite numbers of at least 0")
    least = float(backend.xp.min(weight))
    if least < 0:
        raise ArgumentError(f"sample_weight holds {least:g}; give numbers of at least 0, and not all of them 0")
    return float(backend.xp.max(weight))


def check_some_weight(largest: float, name: str) -> None:
    """Refuse weights if the largest of them is 0."""
    if largest <= 0:
        raise ArgumentError(f"sample_weight and class_weight leave every example of {name} with weight zero")


def relative_weight(weight: Same, largest: float, dtype: str, xp: Namespace) -> Same:
    """Divide weights by the largest of them: only ratios count in a mean, and sums must not overflow."""
    weight = weight / largest
    return xp.where(weight < float(np.finfo(dtype).tiny), 0.0 * weight, weight)
