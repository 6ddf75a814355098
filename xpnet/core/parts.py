"""Parts: a network as the list of layers that other libraries make of it, in the order in which inputs pass them."""

from typing import Any, NamedTuple


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
        - "sort", (levels,): brings quantiles of these levels in increasing order; they are the columns of outputs, the
          quantiles of all targets for the first level, then those for the second
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
