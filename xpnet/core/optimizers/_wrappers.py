"""Wrappers around any optimizer: L1, Clip, MaxNorm. Each is an optimizer itself, so they nest.

The outermost sees the gradients first: ``Clip(L1(SGD(), 1e-4), 1.0)`` clips the gradient of the data cost, and adds
the gradient of the L1 penalty afterwards.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, NamedTuple

from xpnet._checks import Real, check_fields
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, Namespace, leaves
from xpnet.core.optimizers._base import Optimizer, OptimizerState, Updated, is_optimizer, needs_all_examples
from xpnet.core.step import Update, over_matrices
from xpnet.errors import ArgumentError


class WrapperHyperparameters(NamedTuple):
    """The number of a wrapper, and the hyperparameters of the wrapped optimizer. The memory is that optimizer's."""

    number: Array
    inner: Any


class WrappedUpdate(NamedTuple):
    """The update of a wrapper: a tuple, so that equal structures have equal updates."""

    wrapper: "type[_Wrapper]"
    inner: Update

    def __call__(self, layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
        """Change the gradients, update by the wrapped optimizer with its part of the state, and change the weights."""
        number, hyperparameters = state.hyperparameters
        grads = self.wrapper.change_gradients(grads, layers, number, xp)
        layers, inner = self.inner(layers, grads, OptimizerState(hyperparameters, state.memory), lr, xp)
        return self.wrapper.change_weights(layers, number, xp), state._replace(memory=inner.memory)


class _Wrapper:
    """Base class of the wrappers: an optimizer and a number, and what they change before and after its update."""

    optimizer: Optimizer

    def __post_init__(self) -> None:
        """Check the optimizer and the number."""
        name = type(self).__name__
        if not is_optimizer(self.optimizer):
            raise ArgumentError(f"optimizer={self.optimizer!r} is not an optimizer; give one, as in {name}(SGD(), 1.0)")
        if needs_all_examples(self.optimizer):
            raise ArgumentError(f"{self.optimizer!r} cannot be wrapped in {name}: its steps are no gradients")
        check_fields(self)

    @staticmethod
    def change_gradients(grads: Layers, layers: Layers, number: Array, xp: Namespace) -> Layers:
        """Return the gradients that the wrapped optimizer gets."""
        return grads

    @staticmethod
    def change_weights(layers: Layers, number: Array, xp: Namespace) -> Layers:
        """Return the layers after the update."""
        return layers

    @property
    def default_lr(self) -> float:
        """The default learning rate of the wrapped optimizer."""
        return self.optimizer.default_lr

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        hyperparameters, memory = self.optimizer.init(layers, to_array)
        number = to_array(getattr(self, fields(self)[1].name))  # type: ignore[arg-type]
        return OptimizerState(WrapperHyperparameters(number, hyperparameters), memory)

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return WrappedUpdate(type(self), self.optimizer.update)


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
    strength: Annotated[float, Real(0, math.inf, "leave L1 out to turn it off", includes_low=False)]

    @staticmethod
    def change_gradients(grads: Layers, layers: Layers, number: Array, xp: Namespace) -> Layers:
        """Add the gradient of the penalty."""
        return tuple((gw + number * xp.sign(w), gb) for (w, _), (gw, gb) in zip(layers, grads))


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
    norm: Annotated[float, Real(0, math.inf, "leave Clip out to turn it off", includes_low=False)]

    @staticmethod
    def change_gradients(grads: Layers, layers: Layers, number: Array, xp: Namespace) -> Layers:
        """Scale the gradients down if they are longer."""
        largest = number
        for g in leaves(grads):
            largest = xp.maximum(largest, over_matrices(xp.max, xp.abs(g)))
        squares = (over_matrices(xp.sum, (g / largest) ** 2) for g in leaves(grads))
        norm = largest * xp.sqrt(sum(squares))  # g² alone might overflow
        factor = number / xp.maximum(norm, number)
        return tuple((factor * gw, factor * gb) for gw, gb in grads)


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
    norm: Annotated[float, Real(0, math.inf, "leave MaxNorm out to turn it off", includes_low=False)]

    @staticmethod
    def change_weights(layers: Layers, number: Array, xp: Namespace) -> Layers:
        """Scale the rows down that are longer."""
        bounded: list[tuple[Array, Array]] = []
        for w, b in layers:
            norm = xp.sqrt(xp.sum(w * w, axis=-1, keepdims=True))
            w *= number / xp.maximum(norm, number)
            bounded.append((w, b))
        return tuple(bounded)
