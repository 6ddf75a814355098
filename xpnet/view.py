"""View: a network as it stands at one moment, for everything that looks at it without changing it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

from xpnet.backends import Backend
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.model import Model
from xpnet.data.reader import Reader

if TYPE_CHECKING:
    from xpnet.core.scaling import Scaling


class View(NamedTuple):
    """An immutable snapshot of a network. Training never writes into its arrays.

    Parameters
    ----------
    model
        The structure of the network.
    layers
        Its weights and biases.
    scaling
        The scaling by which inputs and targets are standardized, if any.
    feature_names
        The names of its inputs, if they are known.
    backend, dtype
        Where it computes, and in which dtype.
    """

    model: Model
    layers: Layers
    scaling: Scaling | None
    feature_names: tuple[str, ...] | None
    backend: Backend
    dtype: str

    @property
    def xp(self) -> Namespace:
        """Namespace of the arrays."""
        return self.backend.xp

    @property
    def reader(self) -> Reader:
        """The reader that moves inputs and targets to this network."""
        return Reader(self.model, self.backend, self.dtype, self.scaling, self.feature_names)

    @property
    def output_scaling(self) -> tuple[Array, Array] | None:
        """The shift and the factor, (1, n_out) each, that bring outputs to the units of the targets, if any."""
        scaling = self.scaling
        if scaling is None or scaling.y_mean is None:
            return None
        return self.model.cost.output_scaling(scaling.y_mean, scaling.y_std, self.xp)

    def scale_back(self, a: Array) -> Array:
        """Bring outputs to the units of the targets."""
        if self.scaling is None:
            return a  # at once: predicting one example takes microseconds
        scaling = self.output_scaling
        return a if scaling is None else a * scaling[1] + scaling[0]

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.backend.scope(self.dtype)
