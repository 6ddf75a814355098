"""Wrappers around any optimizer: L1, Clip, MaxNorm. Each is an optimizer itself, so they nest.

The outermost sees the gradients first: ``Clip(L1(SGD(), 1e-4), 1.0)`` clips the gradient of the data cost, and adds
the gradient of the L1 penalty afterwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

from xpnet._checks import in_range, overwrite
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, Namespace, leaves
from xpnet.core.optimizers.base import Optimizer, OptimizerState, Update, needs_all_examples, over_matrices
from xpnet.errors import ArgumentError


class WrapperHyperparameters(NamedTuple):
    """The number of a wrapper, and the hyperparameters of the wrapped optimizer. The memory is that optimizer's."""

    number: Array
    inner: Any


def _update_inner(
    update: Update, layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace
) -> tuple[Layers, OptimizerState]:
    """Call the update of the wrapped optimizer, with its part of the state."""
    layers, inner = update(layers, grads, OptimizerState(state.hyperparameters.inner, state.memory), lr, xp)
    return layers, state._replace(memory=inner.memory)


# The updates of wrappers are tuples, so that equal structures have equal updates. Tuples of different classes are equal
# if their fields are, so each has its name among its fields


class _WithL1(NamedTuple):
    inner: Update
    name: str = "L1"

    def __call__(
        self, layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace
    ) -> tuple[Layers, OptimizerState]:
        strength = state.hyperparameters.number
        grads = tuple((gw + strength * xp.sign(w), gb) for (w, _), (gw, gb) in zip(layers, grads))
        return _update_inner(self.inner, layers, grads, state, lr, xp)


class _WithClipping(NamedTuple):
    inner: Update
    name: str = "Clip"

    def __call__(
        self, layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace
    ) -> tuple[Layers, OptimizerState]:
        limit = largest = state.hyperparameters.number
        for g in leaves(grads):
            largest = xp.maximum(largest, over_matrices(xp.max, xp.abs(g)))
        squares = (over_matrices(xp.sum, (g / largest) ** 2) for g in leaves(grads))
        norm = largest * xp.sqrt(sum(squares))  # g² alone might overflow
        factor = limit / xp.maximum(norm, limit)
        grads = tuple((factor * gw, factor * gb) for gw, gb in grads)
        return _update_inner(self.inner, layers, grads, state, lr, xp)


class _WithMaxNorm(NamedTuple):
    inner: Update
    name: str = "MaxNorm"

    def __call__(
        self, layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace
    ) -> tuple[Layers, OptimizerState]:
        limit = state.hyperparameters.number
        layers, state = _update_inner(self.inner, layers, grads, state, lr, xp)
        bounded: list[tuple[Array, Array]] = []
        for w, b in layers:
            norm = xp.sqrt(xp.sum(w * w, axis=-1, keepdims=True))
            w *= limit / xp.maximum(norm, limit)
            bounded.append((w, b))
        return tuple(bounded), state


class _Wrapper:
    """Base class of the wrappers: an optimizer, a number, and a function that wraps the optimizer's update."""

    optimizer: Optimizer
    _wrap: ClassVar[Callable[[Update], Update]]

    def __post_init__(self) -> None:
        """Check the optimizer and the number."""
        if isinstance(self.optimizer, type) or not hasattr(self.optimizer, "init"):
            name = type(self).__name__
            raise ArgumentError(f"optimizer={self.optimizer!r} is not an optimizer; give one, as in {name}(SGD(), 1.0)")
        if needs_all_examples(self.optimizer):
            raise ArgumentError(
                f"{self.optimizer!r} cannot be wrapped in {type(self).__name__}: its steps are no gradients"
            )
        name = fields(self)[1].name  # type: ignore
        number = in_range(
            name, self._number, 0, math.inf, f"leave {type(self).__name__} out to turn it off", includes_low=False
        )
        overwrite(self, **{name: number})

    @property
    def _number(self) -> float:
        return getattr(self, fields(self)[1].name)  # type: ignore

    @property
    def default_lr(self) -> float:
        """The default learning rate of the wrapped optimizer."""
        return self.optimizer.default_lr

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        inner = self.optimizer.init(layers, to_array)
        return OptimizerState(WrapperHyperparameters(to_array(self._number), inner.hyperparameters), inner.memory)

    def check_memory(self, memory: Any) -> None:
        """Refuse NumPy arrays that cannot be the memory of the wrapped optimizer: raise ValueError."""
        self.optimizer.check_memory(memory)  # type: ignore[attr-defined]

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return type(self)._wrap(self.optimizer.update)


@explain_arguments
@dataclass(frozen=True)
class L1(_Wrapper):
    """Add λ Σ|w| to the cost, and so λ sign(w) to the gradient of the weights (the book, chapter 3, equation 96).

    It shrinks weights by a constant amount, where weight decay shrinks them by a constant fraction.

    Parameters
    ----------
    optimizer
        The optimizer to wrap.
    strength
        λ > 0, independent of the sizes of minibatch and data. The book's λ is this λ times the number of training
        examples.

    Raises
    ------
    ArgumentError
        If they are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> L1(SGD(), 1e-4)
    L1(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), strength=0.0001)
    """

    optimizer: Optimizer
    strength: float
    _wrap: ClassVar = _WithL1


@explain_arguments
@dataclass(frozen=True)
class Clip(_Wrapper):
    """Clip the gradient by its global norm: scale it down if it is longer (Pascanu et al., arXiv:1211.5063).

    The norm is that of the gradients of all weights and biases together, ‖g‖₂; each is multiplied by
    norm / max(‖g‖₂, norm). Weight decay of the wrapped optimizer is added afterwards.

    Parameters
    ----------
    optimizer
        The optimizer to wrap.
    norm
        The largest norm, above 0.

    Raises
    ------
    ArgumentError
        If they are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> Clip(SGD(), 1.0)
    Clip(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), norm=1.0)
    """

    optimizer: Optimizer
    norm: float
    _wrap: ClassVar = _WithClipping


@explain_arguments
@dataclass(frozen=True)
class MaxNorm(_Wrapper):
    """After each step, bound the norm of the incoming weights of every unit (Srivastava et al., JMLR 2014).

    These are the rows of w; each is multiplied by norm / max(‖row‖₂, norm). Biases are not bounded.

    Parameters
    ----------
    optimizer
        The optimizer to wrap.
    norm
        The largest norm, above 0; 3 or 4 are usual with dropout.

    Raises
    ------
    ArgumentError
        If they are not an optimizer and a number above 0.

    Examples
    --------
    >>> from xpnet import SGD
    >>> MaxNorm(SGD(), 3.0)
    MaxNorm(optimizer=SGD(momentum=0.0, nesterov=False, weight_decay=0.0), norm=3.0)
    """

    optimizer: Optimizer
    norm: float
    _wrap: ClassVar = _WithMaxNorm
