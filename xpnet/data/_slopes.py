"""Slopes, the derivatives of targets with respect to inputs: checks, and the form in which they are stored."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from xpnet._checks import in_range
from xpnet.core.arrays import Array
from xpnet.core.model import Model
from xpnet.data.conversion import as_real_array
from xpnet.data.reader import Reader
from xpnet.data.source import Stored
from xpnet.errors import ArgumentError


def with_slopes(source: Stored, slopes: Any, slope_weight: float) -> Stored:
    """Give the examples of a source, not scaled yet, slopes, and their weight in the cost. Synchronizes."""
    check_takes_slopes(source.reader.model)
    reader, array = source.reader, parse_slopes(slopes, len(source), source.reader)
    with reader.scope():
        weight = reader.backend.asarray(np.asarray(slope_weight, reader.dtype))
    return replace(source, examples=source.examples._replace(slopes=array), reader=reader._replace(slope_weight=weight))


def parse_slope_weight(slopes: Any, slope_weight: Any) -> float:
    """Check the weight of slopes; 1, the default, goes with none too."""
    weight = in_range("slope_weight", slope_weight, 0, math.inf, "1 counts slopes as much as values")
    if slopes is None and weight != 1:
        raise ArgumentError(
            f"slope_weight={slope_weight!r} is for slopes=, and there are none; give them, or leave it out"
        )
    return weight


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
    """Check slopes of n examples, and move them to the device, (n, n_targets, n_in). Synchronizes."""
    model, place = reader.model, reader.place
    shape = n, model.n_targets, model.n_in
    slopes = as_real_array(slopes, "slopes")
    if tuple(slopes.shape) not in {shape, (n, model.n_in) if model.n_targets == 1 else shape}:
        others = f" or {(n, model.n_in)}" if model.n_targets == 1 else ""
        raise ArgumentError(
            f"slopes has shape {tuple(slopes.shape)}, but must have {shape}{others}: (examples, targets, inputs), the "
            "derivative of each target with respect to each input"
        )
    with reader.scope():
        slopes = reader.backend.xp.reshape(reader.backend.asarray(slopes, reader.dtype, "slopes"), shape)
        if (position := place.find_not_finite(slopes)) is not None:
            row, (target, number) = position[0], divmod(position[1], model.n_in)
            raise ArgumentError(
                f"slopes holds NaN or infinity (as {reader.dtype}), first for example {row}, target {target}, input "
                f"{number}, counted from 0; remove or replace such examples"
            )
        return place.arrange(slopes if reader.scale is None else slopes / reader.scale)  # by what the layers see
