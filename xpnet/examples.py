"""Examples as they lie on the device, and as a minibatch of them enters the mathematics.

What is given as whole numbers stays so: pixels as bytes, classes as their numbers. A minibatch turns them into the
network's inputs and targets when it is gathered.
"""

from typing import Any, NamedTuple

from xpnet.arrays import Array, Namespace


class Examples(NamedTuple):
    """Inputs and targets on the device, and how much each example counts; without weights, each counts the same."""

    x: Array  # (n, n_in), of the network's dtype, or whole numbers if there is a scale
    y: Array  # (n, n_out), or the number of the class, (n,) int32, if there are classes
    weight: Array | None = None  # (n,)
    scale: Array | None = None  # (), what inputs are multiplied by
    classes: Array | None = None  # (n_out,) int32: 0, 1, 2, ...


def rows(data: Examples, index: Array, xp: Namespace) -> Examples:
    """Some of the examples."""
    x, y, weight = (None if part is None else xp.take(part, index, axis=0) for part in data[:3])
    return data._replace(x=x, y=y, weight=weight)


class Batch(NamedTuple):
    """What varies from step to step: which examples, and the learning rate. Stacked: an axis of steps in front."""

    index: Array  # (m,) int32
    lr: Array  # ()
    live: Array | None = None  # (), whether the weights of the examples are not all zero; None where that is so in all
    decay: Array | None = None  # (), λ of this step, where the cost has a penalty λ/2 ‖w‖² of its own


class Minibatch(NamedTuple):
    """What a step computes with. Stacked: an axis of steps in front."""

    x: Array  # (m, n_in)
    y: Array  # (m, n_out)
    weight: Array | None  # (m,)
    lr: Array  # ()
    live: Array | None  # ()
    decay: Array | None = None  # ()


def gather(data: Examples, batch: Batch, xp: Namespace) -> Minibatch:
    """Take the examples of one step, or of several, out of all."""
    index = xp.reshape(batch.index, (-1,))

    def taken(part: Array | None) -> Array | None:
        if part is None:
            return None
        return xp.reshape(xp.take(part, index, axis=0), (*batch.index.shape, *part.shape[1:]))

    weight = taken(data.weight)
    data = decoded(data._replace(x=taken(data.x), y=taken(data.y)), xp)
    return Minibatch(data.x, data.y, weight, *batch[1:])


def decoded(data: Examples, xp: Namespace) -> Examples:
    """Inputs (..., n_in) and targets (..., n_out) as the network sees them.

    Examples
    --------
    >>> import numpy as np
    >>> pixels, labels = np.array([[0, 51]], np.uint8), np.array([1], np.int32)
    >>> raw = Examples(pixels, labels, scale=np.float32(1 / 256), classes=np.arange(3, dtype=np.int32))
    >>> decoded(raw, np)[:2]
    (array([[0.        , 0.19921875]], dtype=float32), array([[0., 1., 0.]], dtype=float32))
    """
    x = scaled(data.x, data.scale, xp)
    return Examples(x, encoded(data.y, data.classes, x.dtype, xp), data.weight)


def encoded(y: Array, classes: Array | None, dtype: Any, xp: Namespace) -> Array:
    """Targets as rows: 1 in the column of the class, 0 elsewhere."""
    return y if classes is None else xp.astype(y[..., None] == classes, dtype)


def scaled(x: Array, scale: Array | None, xp: Namespace) -> Array:
    """Inputs times `scale`, in its dtype."""
    return x if scale is None else xp.astype(x, scale.dtype, copy=False) * scale
