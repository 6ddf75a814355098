"""Optimizers that adapt the rate of each weight: RMSProp, Adam, AdamW."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from xpnet._checks import Checked, Real
from xpnet._names import explain_arguments
from xpnet.core.arrays import Array, Layers, Namespace, map_arrays, map_layers
from xpnet.core.optimizers._base import Decay, OptimizerState, Updated, zeros_like
from xpnet.core.step import Update, add_decay


class RMSPropHyperparameters(NamedTuple):
    """The hyperparameters of RMSProp as arrays. The memory is the running mean of squared gradients."""

    rho: Array
    epsilon: Array
    weight_decay: Array | None


def _rmsprop(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    rho, epsilon, weight_decay = state.hyperparameters

    def rule(w: Array, g: Array, s: Array) -> tuple[Array, Array]:
        s *= rho
        s += (1.0 - rho) * g * g
        w -= lr * g / (xp.sqrt(s) + epsilon)
        return w, s

    layers, square = map_layers(rule, layers, add_decay(grads, layers, weight_decay), state.memory)
    return layers, state._replace(memory=square)


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class RMSProp(Checked):
    """Divide each gradient by the root mean square of its past (Tieleman and Hinton, lecture 6.5, 2012).

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
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> RMSProp(rho=0.9)
    RMSProp(rho=0.9, epsilon=1e-08, weight_decay=0.0)
    """

    rho: Annotated[float, Real(0, 1, "0.99 is usual")] = 0.99
    epsilon: Annotated[float, Real(0, math.inf, "1e-8 is usual", includes_low=False)] = 1e-8
    weight_decay: Decay = 0.0
    default_lr: ClassVar[float] = 0.001

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        numbers = RMSPropHyperparameters(self.rho, self.epsilon, self.weight_decay or None)
        return OptimizerState(map_arrays(to_array, numbers), zeros_like(layers))

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _rmsprop


class AdamHyperparameters(NamedTuple):
    """The hyperparameters of Adam as arrays."""

    beta1: Array
    beta2: Array
    epsilon: Array
    weight_decay: Array | None


class AdamMemory(NamedTuple):
    """β₁ᵗ and β₂ᵗ of the last step t, and the running sums Σ βᵗ⁻ⁱ g of gradients and of their squares.

    The moving averages of the algorithm are these sums times 1 − β. The factor is folded into the step size and ε, to
    save passes over the arrays.
    """

    power1: Array  # (1,)
    power2: Array  # (1,)
    first: Layers
    second: Layers


def _adam(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    grads = add_decay(grads, layers, state.hyperparameters.weight_decay)
    return _move(layers, grads, state, lr, _corrected_epsilon(state, xp), xp)


def _adamw(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    if state.hyperparameters.weight_decay is not None:
        remaining = 1.0 - lr * state.hyperparameters.weight_decay
        layers = tuple((_shrink(w, remaining), b) for w, b in layers)
    return _move(layers, grads, state, lr, _corrected_epsilon(state, xp), xp)


def _shrink(w: Array, factor: Array) -> Array:
    w *= factor  # in place, unlike a product: another array would not stay in the cache
    return w


def _adam_hat(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, xp: Namespace) -> Updated:
    grads = add_decay(grads, layers, state.hyperparameters.weight_decay)
    return _move(layers, grads, state, lr, state.hyperparameters.epsilon, xp)


def _corrected_epsilon(state: OptimizerState, xp: Namespace) -> Array:
    """Compute √(1 − β₂ᵗ) ε: added to √s, it is the ε of the algorithm, added to √ŝ."""
    return xp.sqrt(1.0 - state.memory.power2 * state.hyperparameters.beta2) * state.hyperparameters.epsilon


def _move(layers: Layers, grads: Layers, state: OptimizerState, lr: Array, epsilon: Array, xp: Namespace) -> Updated:
    """Update by w ← w − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√s + ε): averages that start at 0 are too small by 1 − βᵗ."""
    beta1, beta2, _, _ = state.hyperparameters
    memory = state.memory
    power1, power2 = memory.power1, memory.power2
    power1 *= beta1
    power2 *= beta2
    scale = xp.sqrt(1.0 - beta2)  # of √s, as s is a sum here and not a mean
    step_size = lr * xp.sqrt(1.0 - power2) / (1.0 - power1) * (1.0 - beta1) / scale
    epsilon = epsilon / scale

    def rule(w: Array, g: Array, m: Array, s: Array) -> tuple[Array, Array, Array]:
        m *= beta1
        m += g
        s *= beta2
        g *= g
        s += g
        root = xp.sqrt(s)
        root += epsilon
        change = step_size * m
        change /= root
        w -= change
        return w, m, s

    layers, first, second = map_layers(rule, layers, grads, memory.first, memory.second)
    return layers, state._replace(memory=AdamMemory(power1, power2, first, second))


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class Adam(Checked):
    """Momentum, and an adaptive rate for each weight (Kingma and Ba, arXiv:1412.6980, algorithm 1).

    m ← β₁ m + (1 − β₁) g and s ← β₂ s + (1 − β₂) g², then w ← w − η m̂ / (√ŝ + ε), with m̂ = m / (1 − β₁ᵗ) and
    ŝ = s / (1 − β₂ᵗ) at step t = 1, 2, ....

    Parameters
    ----------
    beta1, beta2
        β₁ and β₂ in [0, 1): the weight of the past in the two means.
    epsilon
        ε > 0, added to the root.
    weight_decay
        λ ≥ 0: adds λ w to the gradient of the weights, as in `SGD`. `AdamW` decouples the decay.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> Adam(beta1=0.8)
    Adam(beta1=0.8, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
    """

    beta1: Annotated[float, Real(0, 1, "0.9 is usual")] = 0.9
    beta2: Annotated[float, Real(0, 1, "0.999 is usual")] = 0.999
    epsilon: Annotated[float, Real(0, math.inf, "1e-8 is usual", includes_low=False)] = 1e-8
    weight_decay: Decay = 0.0
    default_lr: ClassVar[float] = 0.001

    def init(self, layers: Layers, to_array: Callable[[float], Array]) -> OptimizerState:
        """Make the state for a network's first step; `to_array` converts a float."""
        numbers = AdamHyperparameters(self.beta1, self.beta2, self.epsilon, self.weight_decay or None)
        memory = AdamMemory(to_array(1.0)[None], to_array(1.0)[None], zeros_like(layers), zeros_like(layers))
        return OptimizerState(map_arrays(to_array, numbers), memory)

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adam


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class AdamHat(Adam):
    """Adam with ε added before the bias correction (arXiv:1412.6980, end of section 2), as in scikit-learn.

    w ← w − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√s + ε): in the first steps ε has more influence than in `Adam`.

    Parameters
    ----------
    beta1, beta2, epsilon, weight_decay
        As in `Adam`.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> AdamHat()
    AdamHat(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.0)
    """

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adam_hat


@explain_arguments
@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2).

    w ← (1 − η λ) w before the step of `Adam`, for the weights only.

    Parameters
    ----------
    beta1, beta2, epsilon
        As in `Adam`.
    weight_decay
        λ ≥ 0. It differs from the book's λ and from that of `SGD`: here each step shrinks a weight by the fraction η λ.

    Raises
    ------
    ArgumentError
        If a number is out of range.

    Examples
    --------
    >>> AdamW()
    AdamW(beta1=0.9, beta2=0.999, epsilon=1e-08, weight_decay=0.01)
    """

    weight_decay: Decay = 0.01

    @property
    def update(self) -> Update:
        """The function ``(layers, grads, state, lr, xp) -> (layers, state)``."""
        return _adamw
