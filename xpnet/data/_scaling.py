"""Scaling arrays that were read, on the way to where a network computes."""

import numpy as np

from xpnet.backends.base import Place, cast
from xpnet.core.arrays import Array, blocks, map_arrays
from xpnet.core.model import Model
from xpnet.core.scaling import PlacedScaling, Scaling, ScalingInParts
from xpnet.errors import ArgumentError

PARTS_PER_BLOCK = 64  # on the host, so that a part stays in the processor's cache between operations


def place_scaling(scaling: Scaling, model: Model, place: Place) -> PlacedScaling:
    """Check a scaling, whose arrays may be anywhere, and make the exact and the rounded copy. Synchronizes."""
    exact = map_arrays(lambda x: np.array(place.home(x).to_numpy(x), np.float64), scaling)
    _check_fit(exact, model, place.dtype)
    for array in exact:
        if array is not None:
            array.flags.writeable = False  # the copies on the device would not follow
    is_single = place.dtype == "float32"
    with place.scope():
        rounded = place.backend.copy_nest(exact, place.dtype)
        in_dtype = rounded
        if is_single and (exact.has_far_inputs or exact.has_far_targets):
            remainder = map_arrays(lambda x: x - x.astype(place.dtype), exact)
            in_dtype = ScalingInParts(rounded, place.backend.copy_nest(remainder, place.dtype))
    return PlacedScaling(exact, rounded, is_single and exact.has_far_targets, in_dtype)


def scale_inputs(x: Array, scaling: PlacedScaling, place: Place) -> Array:
    """Standardize inputs that were read; the result is at the place, in its dtype."""
    if place.is_wide(x):
        return _scale_exactly(x, scaling.exact.x_mean, scaling.exact.x_std, place)
    with place.scope():
        return scaling.in_dtype.inputs(x)


def scale_targets(y: Array, scaling: PlacedScaling, place: Place) -> Array:
    """Standardize targets that were read, unless they are classes."""
    if y.ndim == 1:
        return y
    if place.is_wide(y):
        return _scale_exactly(y, scaling.exact.y_mean, scaling.exact.y_std, place)
    with place.scope():
        return scaling.in_dtype.targets(y)


def scale_slopes(slopes: Array | None, scaling: PlacedScaling, place: Place) -> Array | None:
    """Scale derivatives of the targets with respect to the inputs, if there are any."""
    with place.scope():
        return None if slopes is None else scaling.in_dtype.slopes(slopes)


def _scale_exactly(x: Array, mean: Array | None, std: Array | None, place: Place) -> Array:
    """Scale numbers in float64, where they are, and move the rounded results to the place."""
    if mean is None:
        return place.backend.asarray(x, place.dtype)
    home, width = place.home(x), x.shape[1]
    with home.scope("float64"):
        if isinstance(x, np.ndarray):
            width *= PARTS_PER_BLOCK
        else:
            x, mean, std = (home.asarray(array, "float64") for array in (x, mean, std))
        rounded = [home.asarray((home.make_contiguous(block) - mean) / std, place.dtype) for block in blocks(x, width)]
        scaled = rounded[0] if len(rounded) == 1 else home.xp.concat(rounded, axis=0)
    return scaled if home is place.backend else place.backend.asarray(scaled)


def _check_fit(scaling: Scaling, model: Model, dtype: str) -> None:
    """Refuse a scaling, of NumPy arrays, that does not fit a network with this dtype."""
    for name, array in scaling._asdict().items():
        if array is None:
            continue
        shape = (1, model.n_in if name.startswith("x") else model.n_targets)
        rounded = cast(array, dtype)
        if array.shape != shape or not np.isfinite(rounded).all():
            raise ArgumentError(f"scaling.{name} of shape {array.shape} must be finite numbers of shape {shape}")
        if name.endswith("std") and not (rounded > 0).all():
            raise ArgumentError(f"scaling.{name} must be above 0")
    if scaling.x_mean is None or scaling.x_std is None or (scaling.y_mean is None) != (scaling.y_std is None):
        raise ArgumentError("scaling lacks a mean or a standard deviation")
