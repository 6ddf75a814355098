"""Scaling arrays that were read, on the way to where a network computes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xpnet.backends.base import Place, cast
from xpnet.core.arrays import Array, blocks, leaves, map_arrays
from xpnet.core.minibatch import Examples
from xpnet.core.model import Model
from xpnet.core.scaling import Scaling
from xpnet.errors import ArgumentError

PARTS_PER_BLOCK = 64  # on the host, so that a part stays in the processor's cache between operations


@dataclass(frozen=True, eq=False)
class PlacedScaling:
    """A scaling as a network applies it. It equals only itself: that two networks share one is seen by identity.

    Numbers that the network's dtype would round are scaled in float64, and rounded afterwards.

    Parameters
    ----------
    exact
        Float64 arrays on the host.
    rounded
        The same on the device, in the network's dtype.
    place
        Where the network computes.
    far_inputs
        Whether the network's dtype cannot hold the means of the inputs.
    widens
        The same of the targets: then outputs are scaled back in float64.
    """

    exact: Scaling
    rounded: Scaling
    place: Place
    far_inputs: bool
    widens: bool

    @property
    def content(self) -> bytes:
        """The bytes of the exact numbers, by which scalings are compared."""
        return b"".join(x.tobytes() for x in leaves(self.exact))

    @cached_property
    def of_targets(self) -> tuple[Array, Array] | None:
        """Mean and standard deviation of the targets on the device, in the dtype of outputs, if they are scaled."""
        dtype, backend = "float64" if self.widens else self.place.dtype, self.place.backend
        with backend.scope(dtype):
            _, _, *parts = map_arrays(backend.asarray, self.exact if self.widens else self.rounded)
        return None if parts[0] is None else (parts[0], parts[1])

    def inputs(self, x: Array) -> Array:
        """Standardize inputs that were read; the result is at the place, in its dtype."""
        if self.far_inputs or self.place.is_wide(x):
            return _scale_exactly(x, self.exact.x_mean, self.exact.x_std, self.place)
        with self.place.scope():
            return self.rounded.inputs(x)

    def targets(self, y: Array) -> Array:
        """Standardize targets that were read, unless they are classes."""
        if y.ndim > 1 and (self.widens or self.place.is_wide(y)):
            return _scale_exactly(y, self.exact.y_mean, self.exact.y_std, self.place)
        with self.place.scope():
            return self.rounded.targets(y) if y.ndim > 1 else y

    def slopes(self, slopes: Array | None) -> Array | None:
        """Scale derivatives of the targets with respect to the inputs, if there are any."""
        with self.place.scope():
            return None if slopes is None else self.rounded.slopes(slopes)

    def examples(self, examples: Examples) -> Examples:
        """Standardize inputs, targets and slopes."""
        x, y, slopes = self.inputs(examples.x), self.targets(examples.y), self.slopes(examples.slopes)
        return Examples(x, y, examples.weight, slopes)

    def after(self, other: "PlacedScaling") -> Scaling:
        """Return the scaling, on the device, that turns numbers scaled by `other` into numbers scaled by this one."""
        with self.place.scope():
            return self.place.backend.copy_nest(self.exact.after(other.exact), self.place.dtype)


def place_scaling(scaling: Scaling, model: Model, place: Place) -> PlacedScaling:
    """Check a scaling, whose arrays may be anywhere, and make the exact and the rounded copy. Synchronizes."""
    exact = map_arrays(lambda x: np.array(place.home(x).to_numpy(x), np.float64), scaling)
    _check_fit(exact, model, place.dtype)
    for array in leaves(exact):
        array.flags.writeable = False  # the copies on the device would not follow
    is_single = place.dtype == "float32"
    with place.scope():
        rounded = place.backend.copy_nest(exact, place.dtype)
    return PlacedScaling(exact, rounded, place, is_single and exact.has_far_inputs, is_single and exact.has_far_targets)


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
        kind, n = ("input", model.n_in) if name.startswith("x") else ("target", model.n_targets)
        if array.shape != (1, n):
            raise ArgumentError(f"scaling.{name} has shape {array.shape}, but must have {(1, n)}")
        rounded = cast(array, dtype)[0]
        usable = np.isfinite(rounded) & ((rounded > 0) | (not name.endswith("std")))
        if not usable.all():
            k = int(np.argmin(usable))
            raise ArgumentError(
                f"standardize=True cannot scale {kind} {k}, counted from 0: scaling.{name} is {array[0, k]:g} there, "
                f"but must be finite{' and above 0' if name.endswith('std') else ''} in {dtype}; scale this {kind} "
                "yourself"
            )
    if scaling.x_mean is None or scaling.x_std is None or (scaling.y_mean is None) != (scaling.y_std is None):
        raise ArgumentError("scaling lacks a mean or a standard deviation")
