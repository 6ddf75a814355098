"""Stochastic gradient descent, the optimizer of the book.

An update returns new layers and a new state: it is used as a pure function. Yet it writes into its arguments, as in
``w -= gw``, which saves memory and time. Both are true because a loop works on a copy of a network's layers and state,
which nobody else sees, and which replaces the network's own when its steps have ended well. JAX's arrays cannot be
written to: there ``w -= gw`` makes a new array, and names it w. So what counts is what an update returns.

Momentum's velocity is the memory of the optimizer's state: arrays in the shapes of the layers, which start at 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from xpnet._checks import Real, check_fields, yes_or_no
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, Namespace, map_arrays, map_layers
from xpnet.core.optimizers._base import Decay, OptimizerState, Updated, zeros_like
from xpnet.core.step import Update, add_decay
from xpnet.errors import ArgumentError


def _plain(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    """Update by w ← w − η g, and b in the same way."""
    grads = add_decay(grads, layers, state.hyperparameters.weight_decay)  # as they are, without weight decay
    new: list[tuple[Array, Array]] = []
    for (w, b), (gw, gb) in zip(layers, grads):
        gw *= lr
        w -= gw
        gb *= lr
        b -= gb
        new.append((w, b))
    return tuple(new), state


def _momentum(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    """Update by v ← μ v − η g, w ← w + v, and the biases in the same way; v is kept in `state.memory`."""
    momentum, weight_decay = state.hyperparameters

    def rule(w: Array, g: Array, v: Array) -> tuple[Array, Array]:
        g *= lr
        v *= momentum
        v -= g
        w += v
        return w, v

    grads = add_decay(grads, layers, weight_decay)
    layers, velocity = map_layers(rule, layers, grads, state.memory)
    return layers, state._replace(memory=velocity)


def _nesterov(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    """Update by v ← μ v − η g, w ← w + μ v − η g, where v is kept in `state.memory`."""
    momentum, weight_decay = state.hyperparameters

    def rule(w: Array, g: Array, v: Array) -> tuple[Array, Array]:
        g *= lr
        v *= momentum
        v -= g
        w += momentum * v
        w -= g
        return w, v

    grads = add_decay(grads, layers, weight_decay)
    layers, velocity = map_layers(rule, layers, grads, state.memory)
    return layers, state._replace(memory=velocity)


class SGDHyperparameters(NamedTuple):
    """The hyperparameters of SGD as arrays; None for one that is not used. The memory is the velocity, if any."""

    momentum: Array | None
    weight_decay: Array | None


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, optionally with momentum and weight decay.

    Parameters
    ----------
    momentum
        μ in [0, 1): v ← μ v − η g, then w ← w + v (the book, chapter 3). The form of torch.optim.SGD, which multiplies
        the velocity by the learning rate, equals it only while that rate is constant.
    nesterov
        Look ahead: w ← w + μ v − η g with the new v (Sutskever et al., ICML 2013).
    weight_decay
        λ ≥ 0: adds λ/2 ‖w‖² to the cost, for the weights only, independent of the sizes of minibatch and data. The
        book's λ is this λ times the number of training examples.

    Raises
    ------
    ArgumentError
        If a number is out of range, or `nesterov` is given without `momentum`.

    Examples
    --------
    >>> SGD(momentum=0.9)
    SGD(momentum=0.9, nesterov=False, weight_decay=0.0)
    """

    momentum: Annotated[float, Real(0, 1, "0 turns it off")] = 0.0
    nesterov: Annotated[bool, yes_or_no] = False
    weight_decay: Decay = 0.0
    default_lr: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        """Check the hyperparameters."""
        check_fields(self)
        if self.nesterov and not self.momentum:
            raise ArgumentError("nesterov=True needs momentum; give momentum=0.9, say")

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        numbers = SGDHyperparameters(self.momentum or None, self.weight_decay or None)
        return OptimizerState(map_arrays(to_array, numbers), zeros_like(layers) if self.momentum else ())

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)`` of this structure."""
        if not self.momentum:
            return _plain
        return _nesterov if self.nesterov else _momentum
