"""Examples as they are stored on the device, and how a minibatch is made from them.

Pixels may be stored as bytes and classes as whole numbers. They become inputs and targets of the network's dtype when
a minibatch is made.
"""

from typing import Any, NamedTuple

from xpnet.core.arrays import Array, Namespace, Same
from xpnet.core.scaling import Scaling

__all__ = [
    "Batch",
    "Encoding",
    "Examples",
    "Minibatch",
    "apply_scale",
    "decode",
    "make_minibatch",
    "one_hot",
]


class Minibatch(NamedTuple):
    """The arrays that a step computes with. A stack of them has an axis of steps in front.

    The number m of examples is in the shapes only: the last minibatch of an epoch may have fewer, and its cost is the
    mean over those.
    """

    x: Array  # (..., m, n_in)
    y: Array  # (..., m, n_targets)
    lr: Array  # ()
    weight: Array | None = None  # (..., m), of the examples; without it, every example counts the same
    decay: Array | None = None  # (), λ of a penalty λ/2 ‖w‖² that the cost of this minibatch has
    total: Array | None = None  # (), of a part of a minibatch: the sum of the weights of all parts
    rows: Array | None = None  # (..., m) int32, of a part of a minibatch: where its rows are in the minibatch
    slopes: Array | None = None  # (..., m, n_targets, n_in), derivatives of the targets with respect to the inputs
    slope_weights: Array | None = None  # the same shape, λ of each of them in the cost; 0 for one that is missing


class Examples(NamedTuple):
    """Inputs, targets, weights and slopes of examples, as stored; without weights, every example counts the same."""

    x: Array  # (n, n_in), of the network's dtype, or uint8 if the encoding has a scale
    y: Array  # targets (n, n_targets), or classes (n,) int32
    weight: Any = None  # (n,) on the host; on the device in blocks to evaluate
    slopes: Array | None = None  # (n, n_targets, n_in), with NaN for those that are missing


class Encoding(NamedTuple):
    """The arrays that turn stored examples into inputs and targets."""

    classes: Array  # (n_targets,) int32: 0, 1, 2, ...
    scale: Array | None = None  # (), multiplies the inputs
    scaling: Scaling | None = None  # of minibatches; arrays (networks, 1, n) if each has its own
    slope_weight: Array | None = None  # () or (n_in,), λ of the slopes, if the examples have any


class Batch(NamedTuple):
    """The data of one step: indices of its examples, and numbers. A stack of them has an axis of steps in front.

    For several networks, the indices have an axis of networks in front, and numbers have the shape (networks, 1, 1).
    """

    index: Any  # array (..., m) int32; for type checkers, it hides the method of tuples
    lr: Array  # ()
    decay: Array | None = None  # (), λ of this step, where the cost has a penalty λ/2 ‖w‖² that varies by minibatch
    weight: Array | None = None  # (..., m), of the examples
    total: Array | None = None  # (), as in `Minibatch`
    rows: Array | None = None  # (..., m) int32, likewise


def make_minibatch(rows: Examples, encoding: Encoding, batch: Batch, xp: Namespace) -> Minibatch:
    """Decode the examples of one step, or of a stack of steps."""
    x, y = decode(rows.x, rows.y, encoding, xp)
    minibatch = Minibatch(x, y, batch.lr, batch.weight, batch.decay, batch.total, batch.rows)
    if rows.slopes is None:
        return minibatch
    slopes = rows.slopes if encoding.scaling is None else encoding.scaling.slopes(rows.slopes)
    is_known = slopes == slopes  # not NaN
    slopes, weights = (xp.where(is_known, part, xp.zeros_like(slopes)) for part in (slopes, encoding.slope_weight))
    return minibatch._replace(slopes=slopes, slope_weights=weights)


def decode(x: Array, y: Array, encoding: Encoding, xp: Namespace) -> tuple[Array, Array]:
    """Turn stored examples into inputs (..., n_in) and targets (..., n_targets).

    Examples
    --------
    >>> import numpy as np
    >>> pixels, labels = np.array([[0, 51]], np.uint8), np.array([1], np.int32)
    >>> encoding = Encoding(np.arange(3, dtype=np.int32), scale=np.float32(1 / 256))
    >>> decode(pixels, labels, encoding, np)
    (array([[0.        , 0.19921875]], dtype=float32), array([[0., 1., 0.]], dtype=float32))
    """
    x = apply_scale(x, encoding.scale, xp)
    y = one_hot(y, encoding.classes, x.dtype, xp) if y.ndim < x.ndim else y
    return (x, y) if encoding.scaling is None else (encoding.scaling.inputs(x), encoding.scaling.targets(y))


def one_hot(y: Same, classes: Same, dtype: Any, xp: Namespace) -> Same:
    """Encode classes as rows: 1 in the column of the class, 0 elsewhere."""
    return xp.astype(y[..., None] == classes, dtype)


def apply_scale(x: Array, scale: Array | None, xp: Namespace) -> Array:
    """Multiply inputs by a scale, in the dtype of the scale."""
    return x if scale is None else xp.astype(x, scale.dtype, copy=False) * scale
