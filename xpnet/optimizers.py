"""Optimizers: from gradients to new weights.

An optimizer is a frozen set of numbers with two verbs. ``init`` makes its state for a network; ``update`` is the pure
function that takes the layers, their gradients and that state one step further. The numbers travel in the state, as
arrays, so changing one compiles nothing again; what the state holds (a velocity or none) is structure, and a function
of it.

The arrays of a state belong to it: updates write into them where the library's arrays can be written. Its numbers are
arrays without axes; what it remembers from step to step has axes, and is what a file holds.

Here is the book's; `adaptive` holds Adam and its relatives, `modifiers` what is put around any of them. To add an
optimizer, write such a class and put it into the table in `names`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from xpnet.arrays import Array, Layers, Namespace, each_array, map_arrays
from xpnet.errors import in_range, yes_or_no

Update = Callable[..., tuple[Layers, Any]]


class Optimizer(Protocol):
    """What an optimizer is; equal ones go on with each other's state."""

    default_lr: ClassVar[float]  # the learning rate where none is given

    def init(self, layers: Layers, number: Callable[[float], Array]) -> Any:
        """State for a network's first step; `number` turns a float into an array of the network's."""
        ...

    @property
    def update(self) -> Update:
        """A pure function ``(layers, grads, state, lr, xp) -> (layers, state)``, the same for the same structure."""
        ...


class SGDState(NamedTuple):
    """Numbers and velocity of SGD; a number that is not used is None, a velocity that is not used empty."""

    momentum: Array | None
    weight_decay: Array | None
    velocity: Layers


def decay(layers: Layers, grads: Layers, strength: Array | None) -> Layers:
    """Add the gradient of λ/2 ‖w‖², which is λ w; biases do not decay."""
    if strength is None:
        return grads
    return tuple((gw + strength * w, gb) for (w, _), (gw, gb) in zip(layers, grads))


def penalty(layers: Layers, strength: Array, xp: Namespace) -> Array:
    """λ/2 ‖w‖², of which `decay` is the gradient."""
    return 0.5 * strength * sum(xp.sum(w * w) for w, _ in layers)


def _descend(layers: Layers, grads: Layers, state: SGDState, lr: Array, xp: Namespace) -> tuple[Layers, SGDState]:
    """W ← w − η g."""
    moved = []
    for (w, b), (gw, gb) in zip(layers, decay(layers, grads, state.weight_decay)):
        gw *= lr
        w -= gw
        gb *= lr
        b -= gb
        moved.append((w, b))
    return tuple(moved), state


def _roll(layers: Layers, grads: Layers, state: SGDState, lr: Array, xp: Namespace) -> tuple[Layers, SGDState]:
    def rule(w: Array, g: Array, v: Array) -> tuple[Array, Array]:
        g *= lr
        v *= state.momentum
        v -= g
        w += v
        return w, v

    layers, velocity = each_array(rule, layers, decay(layers, grads, state.weight_decay), state.velocity)
    return layers, state._replace(velocity=velocity)


def _roll_ahead(layers: Layers, grads: Layers, state: SGDState, lr: Array, xp: Namespace) -> tuple[Layers, SGDState]:
    def rule(w: Array, g: Array, v: Array) -> tuple[Array, Array]:
        g *= lr
        v *= state.momentum
        v -= g
        w += state.momentum * v
        w -= g
        return w, v

    layers, velocity = each_array(rule, layers, decay(layers, grads, state.weight_decay), state.velocity)
    return layers, state._replace(velocity=velocity)


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent, with momentum and weight decay as they are asked for.

    Parameters
    ----------
    momentum
        μ in [0, 1): v ← μ v − η g, then w ← w + v (the book, chapter 3). The form of torch.optim.SGD, which multiplies
        the velocity by the learning rate, equals it only while that rate is constant.
    nesterov
        Look ahead: w ← w + μ v − η g with the new v (Sutskever et al., ICML 2013).
    weight_decay
        λ ≥ 0: adds λ/2 ‖w‖² to the cost, of the weights only, whatever the size of batch and data. The book's λ is
        this one times the number of training examples.

    Raises
    ------
    ValueError
        If a number is out of its range, or Nesterov's form is asked for without momentum.

    Examples
    --------
    >>> SGD(momentum=0.9)
    SGD(momentum=0.9, nesterov=False, weight_decay=0.0)
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    default_lr: ClassVar[float] = 0.01

    def __post_init__(self) -> None:
        """Check the numbers."""
        in_range("momentum", self.momentum, 0, 1, "0 turns it off")
        in_range("weight_decay", self.weight_decay, 0, math.inf, "0 turns it off")
        if yes_or_no("nesterov", self.nesterov) and not self.momentum:
            raise ValueError("nesterov=True needs momentum; give momentum=0.9, say")

    def init(self, layers: Layers, number: Callable[[float], Array]) -> SGDState:
        """State for a network's first step; `number` turns a float into an array of the network's."""
        return SGDState(
            momentum=number(self.momentum) if self.momentum else None,
            weight_decay=number(self.weight_decay) if self.weight_decay else None,
            velocity=map_arrays(lambda x: 0.0 * x, layers) if self.momentum else (),
        )

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)`` of this structure."""
        if not self.momentum:
            return _descend
        return _roll_ahead if self.nesterov else _roll
