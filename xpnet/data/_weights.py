"""Sample weights, class weights and slopes of examples, each parsed in one place."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet._checks import choices, in_range, is_list
from xpnet.backends import Backend, to_host
from xpnet.core.arrays import Array
from xpnet.core.model import Model
from xpnet.data.conversion import as_real_array
from xpnet.data.reader import Reader
from xpnet.errors import ArgumentError


def parse_sample_weight(sample_weight: Any, n: int, backend: Backend, dtype: str) -> np.ndarray:
    """Check weights of n examples for a network there, finite numbers of at least 0; return them on the host."""
    weight = as_real_array(sample_weight, "sample_weight")
    weight = backend.to_numpy(backend.asarray(weight, dtype, "sample_weight"))
    if weight.shape != (n,):
        raise ArgumentError(f"sample_weight has shape {weight.shape}, but must have ({n},): one number per example")
    if not np.isfinite(weight).all():
        raise ArgumentError("sample_weight holds NaN or infinity; give finite numbers of at least 0")
    if (least := weight.min()) < 0:
        raise ArgumentError(f"sample_weight holds {least:g}; give numbers of at least 0, and not all of them 0")
    return weight


def check_some_weight(largest: float, name: str) -> None:
    """Refuse weights if the largest of them is 0."""
    if largest <= 0:
        raise ArgumentError(f"sample_weight and class_weight leave every example of {name} with weight zero")


def relative_weight(weight: np.ndarray, dtype: str, name: str) -> np.ndarray:
    """Divide weights by the largest of them: only ratios count in a mean, and sums must not overflow.

    Those that the dtype holds with few digits become 0. If all are 0, they are refused; `name` is that of the examples.

    Examples
    --------
    >>> relative_weight(np.array([4.0, 1.0, 1e-40]), "float32", "X")
    array([1.  , 0.25, 0.  ], dtype=float32)
    """
    largest = weight.max()
    check_some_weight(largest, name)
    weight = weight / largest
    return np.where(weight < np.finfo(dtype).tiny, 0.0, weight).astype(dtype)


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


# Slopes


def parse_slope_weight(slopes: Any, slope_weight: Any, n_in: int) -> float | list[float]:
    """Check the weight of slopes, a number or one for each input; 1, the default, goes with none too.

    Examples
    --------
    >>> parse_slope_weight([[2.0, 3.0]], np.array([1, 0]), 2)
    [1.0, 0.0]
    """
    numbers, is_one = [slope_weight], not is_list(slope_weight) and getattr(slope_weight, "shape", ()) == ()
    if not is_one:
        array = to_host(as_real_array(slope_weight, "slope_weight"))
        if array.shape != (n_in,):
            raise ArgumentError(
                f"slope_weight has shape {array.shape}, but must have ({n_in},); give one number, or one for each input"
            )
        numbers = array.tolist()
    weights = [in_range("slope_weight", number, 0, math.inf, "1 counts slopes as much as values") for number in numbers]
    if slopes is None and weights != [1.0]:
        raise ArgumentError(
            f"slope_weight={slope_weight!r} is for slopes=, and there are none; give them, or leave it out"
        )
    return weights[0] if is_one else weights


def check_takes_slopes(model: Model) -> None:
    """Refuse a network whose outputs are not the targets, or not functions of the inputs alone."""
    if model.task != "regression":
        raise ArgumentError(
            f"slopes= are derivatives of the targets of a regression, and the task is {model.task!r}; leave them out"
        )
    if model.n_targets < model.n_out:
        raise ArgumentError(
            f"slopes= need one output for each target, and cost={model.cost.name!r} has "
            f'{model.cost.outputs_per_target}; make the network with cost="quadratic", say'
        )
    if any(model.dropout):
        raise ArgumentError(
            f"slopes= do not go with dropout={list(model.dropout)}, which changes the derivatives in every step; leave "
            "one of them out"
        )


def parse_slopes(slopes: Any, n: int, reader: Reader) -> Array:
    """Check slopes of n examples, NaN for those that are missing; move them to the device, (n, n_targets, n_in).

    Synchronizes.
    """
    model, place = reader.model, reader.place
    check_takes_slopes(model)
    shape = n, model.n_targets, model.n_in
    slopes = as_real_array(slopes, "slopes")
    if tuple(slopes.shape) not in {shape, (n, model.n_in) if model.n_targets == 1 else shape}:
        others = f" or {(n, model.n_in)}" if model.n_targets == 1 else ""
        raise ArgumentError(
            f"slopes has shape {tuple(slopes.shape)}, but must have {shape}{others}: (examples, targets, inputs), the "
            "derivative of each target with respect to each input"
        )
    with reader.scope():
        xp = reader.backend.xp
        slopes = xp.reshape(reader.backend.asarray(slopes, reader.dtype, "slopes"), shape)
        is_known = slopes == slopes  # not NaN
        if (position := place.find_not_finite(xp.where(is_known, slopes, xp.zeros_like(slopes)))) is not None:
            row, (target, number) = position[0], divmod(position[1], model.n_in)
            raise ArgumentError(
                f"slopes holds infinity (as {reader.dtype}), first for example {row}, target {target}, input {number}, "
                "counted from 0; give NaN where a slope is missing"
            )
        if not xp.any(is_known):
            raise ArgumentError("slopes holds NaN alone, so that all slopes are missing; leave it out")
        slopes = slopes if reader.scale is None else slopes / reader.scale  # by what the layers see
        return place.arrange(slopes if reader.scaling is None else reader.scaling.slopes(slopes))
