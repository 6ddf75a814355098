"""Parts: a network as the list of layers that other libraries make of it, in the order in which inputs pass them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

# kinds of layers that networks do not have -> how to do without them, with the same outputs
REMEDIES = {
    "BatchNorm1d": "fold its factor and shift into the Linear layer before it",
    "BatchNormalization": "fold its factor and shift into the Dense layer before it",
    "LogSoftmax": "put Softmax in its place, and take the logarithm of the outputs",
    "Normalization": "fold its factor and shift into the first Dense layer",
}


class Part(NamedTuple):
    """One part of a network, and its numbers as NumPy arrays.

    Parameters
    ----------
    kind
        What it does to its inputs x, with its values:

        - "scale", (factor,): factor · x, of inputs
        - "standardize", (mean, std): (x − mean) / std, of inputs
        - "dense", (w, b): x wᵀ + b, with w of shape (n_out, n_in) and b of shape (n_out,)
        - "activation", (sigma,): σ(x), with an `Activation`
        - "dropout", (rate,): in training, drops units
        - "rescale", (factor, shift): factor · x + shift, of outputs
        - "flatten", (): axes after the first become one
    values
        Its numbers.
    place
        Which layer of another library's model it was, for messages.

    Examples
    --------
    >>> Part("dropout", (0.5,), "layer 2 (Dropout)").kind
    'dropout'
    """

    kind: str
    values: tuple[Any, ...] = ()
    place: str = ""


def refuse_layer(place: str, supported: Iterable[str]) -> str:
    """Format the message for a layer that networks do not have.

    Parameters
    ----------
    place
        The layer's number and kind, as in "layer 2 (LogSoftmax)".
    supported
        The kinds that networks have.

    Examples
    --------
    >>> refuse_layer("layer 2 (Conv2d)", ["Linear", "ReLU"])
    'layer 2 (Conv2d) is not supported; networks have Linear, ReLU'
    """
    kind = place.rpartition("(")[2].removesuffix(")")
    remedy = f"; {REMEDIES[kind]}" if kind in REMEDIES else ""
    return f"{place} is not supported{remedy}; networks have {', '.join(supported)}"
