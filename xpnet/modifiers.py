"""What can be put around any optimizer: L1, Clip, MaxNorm. Each is an optimizer again, so they nest.

The outermost sees the gradients first: ``Clip(L1(SGD(), 1e-4), 1.0)`` clips the gradient of the data cost, and adds
that of the L1 penalty afterwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, NamedTuple

from xpnet.arrays import Array, Layers, Namespace, leaves
from xpnet.errors import between
from xpnet.optimizers import Optimizer, Update


class Modified(NamedTuple):
    """The number of a modifier, and the state of what it is put around."""

    number: Array
    inner: Any


@cache
def _penalized(inner: Update) -> Update:
    def update(layers: Layers, grads: Layers, state: Modified, lr: Array, xp: Namespace) -> tuple[Layers, Modified]:
        grads = tuple((gw + state.number * xp.sign(w), gb) for (w, _), (gw, gb) in zip(layers, grads))
        layers, new = inner(layers, grads, state.inner, lr, xp)
        return layers, state._replace(inner=new)

    return update


@cache
def _clipped(inner: Update) -> Update:
    def update(layers: Layers, grads: Layers, state: Modified, lr: Array, xp: Namespace) -> tuple[Layers, Modified]:
        largest = state.number  # g² may overflow where g does not
        for g in leaves(grads):
            largest = xp.maximum(largest, xp.max(xp.abs(g)))
        norm = largest * xp.sqrt(sum(xp.sum((g / largest) ** 2) for g in leaves(grads)))
        factor = state.number / xp.maximum(norm, state.number)
        grads = tuple((factor * gw, factor * gb) for gw, gb in grads)
        layers, new = inner(layers, grads, state.inner, lr, xp)
        return layers, state._replace(inner=new)

    return update


@cache
def _bounded(inner: Update) -> Update:
    def update(layers: Layers, grads: Layers, state: Modified, lr: Array, xp: Namespace) -> tuple[Layers, Modified]:
        layers, new = inner(layers, grads, state.inner, lr, xp)
        bounded = []
        for w, b in layers:
            norm = xp.sqrt(xp.sum(w * w, axis=-1, keepdims=True))
            w *= state.number / xp.maximum(norm, state.number)
            bounded.append((w, b))
        return tuple(bounded), state._replace(inner=new)

    return update


class _Modifier:
    """What the modifiers share: an optimizer inside, a number, and a rule that makes an update of an update."""

    optimizer: Optimizer
    _rule: ClassVar[Callable[[Update], Update]]

    def __post_init__(self) -> None:
        """Check optimizer and number."""
        if isinstance(self.optimizer, type) or not hasattr(self.optimizer, "init"):
            name = type(self).__name__
            raise TypeError(f"optimizer={self.optimizer!r} is not an optimizer; give one, as in {name}(SGD(), 1.0)")
        name = fields(self)[1].name  # type: ignore
        between(name, self._number, 0, math.inf, f"leave {type(self).__name__} out to turn it off")

    @property
    def _number(self) -> float:
        return getattr(self, fields(self)[1].name)  # type: ignore

    @property
    def default_lr(self) -> float:
        """That of the optimizer inside."""
        return self.optimizer.default_lr

    def init(self, layers: Layers, number: Callable[[float], Array]) -> Modified:
        """State for a network's first step; `number` turns a float into an array of the network's."""
        return Modified(number(self._number), self.optimizer.init(layers, number))

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)`` of this structure."""
        return type(self)._rule(self.optimizer.update)


@dataclass(frozen=True)
class L1(_Modifier):
    """Add λ Σ|w| to the cost, of the weights only, and so λ sign(w) to the gradient (the book, chapter 3, equation 96).

    It draws weights to zero by a constant amount, where weight decay draws them by a constant part.

    Parameters
    ----------
    optimizer
        What moves the weights.
    strength
        λ > 0, whatever the size of batch and data. The book's λ is this one times the number of training examples.

    Raises
    ------
    TypeError, ValueError
        If these are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> L1(SGD(), 1e-4)
    L1(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), strength=0.0001)
    """

    optimizer: Optimizer
    strength: float
    _rule: ClassVar = staticmethod(_penalized)


@dataclass(frozen=True)
class Clip(_Modifier):
    """Scale the gradient of the whole network down to a norm, if it is longer (Pascanu et al., arXiv:1211.5063).

    The norm is that of the gradients of all weights and biases together, ‖g‖₂; each is multiplied by
    norm / max(‖g‖₂, norm). What the optimizer inside adds (weight decay) comes afterwards.

    Parameters
    ----------
    optimizer
        What moves the weights.
    norm
        The largest norm, above 0.

    Raises
    ------
    TypeError, ValueError
        If these are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> Clip(SGD(), 1.0)
    Clip(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), norm=1.0)
    """

    optimizer: Optimizer
    norm: float
    _rule: ClassVar = staticmethod(_clipped)


@dataclass(frozen=True)
class MaxNorm(_Modifier):
    """After each step, shorten the incoming weights of every unit to a norm (Srivastava et al., JMLR 2014).

    They are the rows of w; each is multiplied by norm / max(‖row‖₂, norm). Biases are not bounded.

    Parameters
    ----------
    optimizer
        What moves the weights.
    norm
        The largest norm, above 0; 3 or 4 are usual with dropout.

    Raises
    ------
    TypeError, ValueError
        If these are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> MaxNorm(SGD(), 3.0)
    MaxNorm(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), norm=3.0)
    """

    optimizer: Optimizer
    norm: float
    _rule: ClassVar = staticmethod(_bounded)
