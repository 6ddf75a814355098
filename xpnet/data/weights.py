"""Weights of examples: checks, and the form in which they are stored."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.checks import choices
from xpnet.core.arrays import Array, Namespace, Same
from xpnet.data.conversion import as_real_array
from xpnet.data.reader import Reader
from xpnet.errors import ArgumentError


def parse_sample_weight(sample_weight: Any, n: int, reader: Reader) -> Array:
    """Check the user's weights and move them to the device, divided by the largest."""
    backend, weight = reader.backend, as_real_array(sample_weight, "sample_weight")
    with reader.scope():
        weight = backend.asarray(weight, reader.dtype, "sample_weight")
        largest = check_weights(weight, n, backend)
        if largest == 0:
            raise ArgumentError(
                "sample_weight is 0 for every example; give numbers of at least 0, and not all of them 0"
            )
        return relative_weight(weight, largest, reader.dtype, backend.xp)


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
    """Divide weights by the largest of them: only ratios count in a mean, and sums must not overflow.

    Those that the dtype holds with few digits become 0.

    Examples
    --------
    >>> relative_weight(np.array([4.0, 1.0, 1e-40]), 4.0, "float32", np)
    array([1.  , 0.25, 0.  ])
    """
    weight = weight / largest
    return xp.where(weight < float(np.finfo(dtype).tiny), 0.0 * weight, weight)


def parse_class_weight(class_weight: Mapping[Any, Any] | str | None, reader: Reader) -> Array | None:
    """Turn a mapping from classes to weights into an array (1, K); None if there is none."""
    model = reader.model
    if class_weight is None:
        return None
    if model.task not in ("classification", "binary"):
        raise ArgumentError(
            f"class_weight={class_weight!r} needs one class per example, and a network with task={model.task!r} has "
            "none; use sample_weight"
        )
    if is_balanced(class_weight):
        return None
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(f'class_weight={class_weight!r} must be "balanced", or a mapping from classes to numbers')
    n_classes = max(2, model.n_out)
    weights = np.ones((1, n_classes))
    for label, weight in class_weight.items():
        if label not in range(n_classes):
            raise ArgumentError(f"class_weight names the class {label!r}; choose from {choices(range(n_classes))}")
        label = int(label)  # True and 1.0 are 1
        try:
            weights[0, label] = weight
        except (TypeError, ValueError):
            weights[0, label] = np.nan
        if not 0 <= weights[0, label] < np.inf:
            raise ArgumentError(
                f"class_weight={class_weight!r}: the weight {weight!r} of {label!r} must be a finite number of at "
                "least 0"
            )
    if not weights.any():
        raise ArgumentError(f"class_weight={class_weight!r} gives every class the weight 0; leave one of them above it")
    with reader.scope():
        return reader.backend.asarray(weights, reader.dtype)


def is_balanced(class_weight: Any) -> bool:
    """Tell whether classes are to have the same total weight."""
    return isinstance(class_weight, str) and class_weight == "balanced"
