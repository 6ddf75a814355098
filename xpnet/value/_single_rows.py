"""Outputs for single rows of a network, one call after the other."""

from functools import partial
from typing import Any

from xpnet._identity import is_fixed
from xpnet.core.arrays import Array, Function, Layers, Namespace
from xpnet.core.backprop import forward
from xpnet.core.model import Model

PAYS_FROM = 200  # single rows with the same weights: recording takes about as long as it saves in 50 of them
MAX_WIDTH = 1024  # units: the products of wider layers take most of the time, and their old weights should not be kept


class SingleRows:
    """Computes outputs for single rows of a network, as soon as this pays by a function that the backend has recorded.

    Copies and pickles are empty.
    """

    def __init__(self) -> None:
        # Of the last call: model, weights and temperature; weights at this; number of calls; recorded function. It
        # changes as one, as threads may share it
        self._last: tuple[Any, Layers, int, Function | None] = (None, None, None), (), 0, None

    def __reduce__(self) -> Any:
        """Copy and pickle nothing."""
        return SingleRows, ()

    def __call__(self, value: Any, x: Array) -> Array:
        """Compute the outputs of a network, whose `Value` is given, for one row, (1, n_in), at its temperature."""
        model, own_layers, temperature = key = value.model, value.layers, value.temperature
        last, layers, calls, repeat = self._last
        if last[0] is not model or last[1] is not own_layers or last[2] != temperature:
            layers, calls, repeat = value.calibrated_layers, 0, None
        outputs = None if repeat is None else repeat(x)
        if outputs is not None:
            return outputs
        function = partial(compute_activations, model)
        outputs = value.backend.call(function, layers, x)
        if repeat is None and max(model.sizes) <= MAX_WIDTH:
            if calls == PAYS_FROM and is_fixed(model.sigmas):
                repeat = value.backend.repeat_function(function, layers, x)
            self._last = key, layers, calls + 1, repeat
        return outputs


def compute_activations(model: Model, layers: Layers, x: Array, xp: Namespace) -> Array:
    """Compute the activations of the output layer for rows, (m, n_in), and free everything else."""
    _, activations = forward(layers, model.sigmas, x, xp)
    return activations[-1]
