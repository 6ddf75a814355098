"""Optimizers that give each weight a rate of its own: RMSProp, Adam, AdamW."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from xpnet.arrays import Array, Layers, Namespace, each_array, map_arrays
from xpnet.errors import between, in_range
from xpnet.optimizers import Update, decay


class RMSPropState(NamedTuple):
    """Numbers of RMSProp, and the mean of squared gradients; a number that is not used is None."""

    rho: Array
    epsilon: Array
    weight_decay: Array | None
    square: Layers


def _rmsprop(
    layers: Layers, grads: Layers, state: RMSPropState, lr: Array, xp: Namespace
) -> tuple[Layers, RMSPropState]:
    def rule(w: Array, g: Array, s: Array) -> tuple[Array, Array]:
        s *= state.rho
        s += (1.0 - state.rho) * g * g
        w -= lr * g / (xp.sqrt(s) + state.epsilon)
        return w, s

    layers, square = each_array(rule, layers, decay(layers, grads, state.weight_decay), state.square)
    return layers, state._replace(square=square)


@dataclass(frozen=True, kw_only=True)
class RMSProp:
    """Divide each gradient by the root of the running mean of its square (Tieleman and Hinton, lecture 6.5, 2012).

    s ← ρ s + (1 − ρ) g², then w ← w − η g / (√s + ε).

    Parameters
    ----------
    rho
        ρ in [0, 1): the weight of the past in the mean.
    epsilon
        ε > 0, added to the root.
    weight_decay
        λ ≥ 0: adds λ w to the gradient of the weights, as in `SGD`.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> RMSProp(rho=0.9)
    RMSProp(rho=0.9, epsilon=1e-08, weight_decay=0.0)
    """

    rho: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    default_lr: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        """Check the numbers."""
        in_range("rho", self.rho, 0, 1, "0.99 is usual")
        between("epsilon", self.epsilon, 0, math.inf, "1e-8 is usual")
        in_range("weight_decay", self.weight_decay, 0, math.inf, "0 turns it off")

    def init(self, layers: Layers, number: Callable[[float], Array]) -> RMSPropState:
        """State for a network's first step; `number` turns a float into an array of the network's."""
        return RMSPropState(
            rho=number(self.rho),
            epsilon=number(self.epsilon),
            weight_decay=number(self.weight_decay) if self.weight_decay else None,
            square=map_arrays(lambda x: 0.0 * x, layers),
        )

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _rmsprop


class AdamState(NamedTuple):
    """Numbers of Adam; β₁ᵗ and β₂ᵗ of the last step t; running sums Σ βᵗ⁻ⁱ g of gradients and of their squares.

    The means of the algorithm are these sums times 1 − β, a factor that numbers take rather than whole arrays.
    """

    beta1: Array
    beta2: Array
    epsilon: Array
    weight_decay: Array | None
    power1: Array
    power2: Array
    first: Layers
    second: Layers


def _adam(layers: Layers, grads: Layers, state: AdamState, lr: Array, xp: Namespace) -> tuple[Layers, AdamState]:
    root = xp.sqrt(1.0 - state.power2 * state.beta2)
    return _move(layers, decay(layers, grads, state.weight_decay), state, lr, root * state.epsilon, xp)


def _adamw(layers: Layers, grads: Layers, state: AdamState, lr: Array, xp: Namespace) -> tuple[Layers, AdamState]:
    if state.weight_decay is not None:
        kept = 1.0 - lr * state.weight_decay
        layers = tuple((kept * w, b) for w, b in layers)
    root = xp.sqrt(1.0 - state.power2 * state.beta2)
    return _move(layers, grads, state, lr, root * state.epsilon, xp)


def _adam_hat(layers: Layers, grads: Layers, state: AdamState, lr: Array, xp: Namespace) -> tuple[Layers, AdamState]:
    return _move(layers, decay(layers, grads, state.weight_decay), state, lr, state.epsilon, xp)


def _move(
    layers: Layers, grads: Layers, state: AdamState, lr: Array, epsilon: Array, xp: Namespace
) -> tuple[Layers, AdamState]:
    """W ← w − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√s + ε): the means start at zero, and are too small by 1 − βᵗ."""
    power1, power2 = state.power1 * state.beta1, state.power2 * state.beta2
    scale = xp.sqrt(1.0 - state.beta2)  # of √s, in which the sum stands for the mean
    step = lr * xp.sqrt(1.0 - power2) / (1.0 - power1) * (1.0 - state.beta1) / scale
    epsilon = epsilon / scale

    def rule(w: Array, g: Array, m: Array, s: Array) -> tuple[Array, Array, Array]:
        m *= state.beta1
        m += g
        s *= state.beta2
        g *= g
        s += g
        root = xp.sqrt(s)
        root += epsilon
        w -= step * m / root
        return w, m, s

    layers, first, second = each_array(rule, layers, grads, state.first, state.second)
    return layers, state._replace(power1=power1, power2=power2, first=first, second=second)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Momentum, and a rate of its own for each weight (Kingma and Ba, arXiv:1412.6980, algorithm 1).

    m ← β₁ m + (1 − β₁) g and s ← β₂ s + (1 − β₂) g², then w ← w − η m̂ / (√ŝ + ε), with m̂ = m / (1 − β₁ᵗ) and
    ŝ = s / (1 − β₂ᵗ) at step t = 1, 2, ....

    Parameters
    ----------
    beta1, beta2
        β₁ and β₂ in [0, 1): the weight of the past in the two means.
    epsilon
        ε > 0, added to the root.
    weight_decay
        λ ≥ 0: adds λ w to the gradient of the weights, as in `SGD`. `AdamW` decays in another way.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> Adam(beta1=0.8)
    Adam(beta1=0.8, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    default_lr: ClassVar[float] = 0.001

    def __post_init__(self) -> None:
        """Check the numbers."""
        in_range("beta1", self.beta1, 0, 1, "0.9 is usual")
        in_range("beta2", self.beta2, 0, 1, "0.999 is usual")
        between("epsilon", self.epsilon, 0, math.inf, "1e-8 is usual")
        in_range("weight_decay", self.weight_decay, 0, math.inf, "0 turns it off")

    def init(self, layers: Layers, number: Callable[[float], Array]) -> AdamState:
        """State for a network's first step; `number` turns a float into an array of the network's."""
        return AdamState(
            beta1=number(self.beta1),
            beta2=number(self.beta2),
            epsilon=number(self.epsilon),
            weight_decay=number(self.weight_decay) if self.weight_decay else None,
            power1=number(1.0)[None],  # what is remembered has an axis, as numbers have not
            power2=number(1.0)[None],
            first=map_arrays(lambda x: 0.0 * x, layers),
            second=map_arrays(lambda x: 0.0 * x, layers),
        )

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adam


@dataclass(frozen=True, kw_only=True)
class AdamHat(Adam):
    """Adam whose ε is added before the root is corrected (arXiv:1412.6980, end of section 2): that of scikit-learn.

    w ← w − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√s + ε): in the first steps ε counts for more than it does in `Adam`.

    Parameters
    ----------
    beta1, beta2, epsilon, weight_decay
        As in `Adam`.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> AdamHat()
    AdamHat(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
    """

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adam_hat


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam whose weight decay does not go through the means (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2).

    w ← (1 − η λ) w before the step of `Adam`, for the weights only.

    Parameters
    ----------
    beta1, beta2, epsilon
        As in `Adam`.
    weight_decay
        λ ≥ 0. The book's λ and that of `SGD` are another: here each step takes away the part η λ of a weight.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> AdamW()
    AdamW(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)
    """

    weight_decay: float = 0.01

    @property
    def update(self) -> Update:
        """The pure function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adamw
