"""Weights of examples and of classes: the one parser of each, and the form in which they are stored."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet._checks import choices, in_range
from xpnet.backends import Backend
from xpnet.core.arrays import Array, Namespace, Same
from xpnet.data.conversion import as_real_array
from xpnet.errors import ArgumentError

__all__ = [
    "balance_classes",
    "check_some_weight",
    "is_balanced",
    "parse_class_weight",
    "parse_sample_weight",
    "relative_weight",
]


def parse_sample_weight(sample_weight: Any, n: int, backend: Backend, dtype: str) -> Array:
    """Check the user's weights of n examples, finite numbers of at least 0, and move them to a device. Synchronizes."""
    weight = as_real_array(sample_weight, "sample_weight")
    with backend.scope(dtype):
        weight = backend.asarray(weight, dtype, "sample_weight")
        if tuple(weight.shape) != (n,):
            raise ArgumentError(
                f"sample_weight has shape {tuple(weight.shape)}, but must have ({n},): one number per example"
            )
        if not backend.all_finite([weight]):
            raise ArgumentError("sample_weight holds NaN or infinity; give finite numbers of at least 0")
        if (least := float(backend.xp.min(weight))) < 0:
            raise ArgumentError(f"sample_weight holds {least:g}; give numbers of at least 0, and not all of them 0")
        return weight


def check_some_weight(largest: float, name: str) -> None:
    """Refuse weights if the largest of them is 0."""
    if largest <= 0:
        raise ArgumentError(f"sample_weight and class_weight leave every example of {name} with weight zero")


def relative_weight(weight: Same, dtype: str, xp: Namespace) -> Same:
    """Divide weights by the largest of them: only ratios count in a mean, and sums must not overflow. Synchronizes.

    Those that the dtype holds with few digits become 0.

    Examples
    --------
    >>> relative_weight(np.array([4.0, 1.0, 1e-40]), "float32", np)
    array([1.  , 0.25, 0.  ])
    """
    weight = weight / float(xp.max(weight))
    return xp.where(weight < float(np.finfo(dtype).tiny), 0.0 * weight, weight)


def parse_class_weight(class_weight: Any, labels: Sequence[Any]) -> np.ndarray:
    """Turn a mapping from labels to weights into an array (K,); classes that it does not name have the weight 1.

    Examples
    --------
    >>> parse_class_weight({"cat": 2}, ["bat", "cat"]), parse_class_weight({True: 0.5}, range(2))
    (array([1., 2.]), array([1. , 0.5]))
    """
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(f"class_weight={class_weight!r} must be None, 'balanced' or {{label: number}}")
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        if label not in labels:
            raise ArgumentError(f"class_weight names the class {label!r}; choose from {choices(labels)}")
        weights[labels.index(label)] = in_range("class_weight", weight, 0, math.inf, f"that of {label!r} is not")
    if not weights.any():
        raise ArgumentError(f"class_weight={class_weight!r} gives every class the weight 0; leave one of them above it")
    return weights


def balance_classes(counts: np.ndarray) -> np.ndarray:
    """Weigh classes so that all those that occur have the same total weight, and the mean weight of an example is 1.

    Examples
    --------
    >>> balance_classes(np.array([1, 0, 3]))
    array([2.        , 0.        , 0.66666667])
    """
    occurring = counts > 0
    weights = np.zeros(len(counts))
    weights[occurring] = counts.sum() / (occurring.sum() * counts[occurring])
    return weights


def is_balanced(class_weight: Any) -> bool:
    """Tell whether classes are to have the same total weight."""
    return isinstance(class_weight, str) and class_weight == "balanced"
