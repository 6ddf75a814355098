"""Cost functions, and how each combines with the activation of the output layer.

A cost is two functions on arrays: ``value(a, y, xp)``, the cost of each example, and ``gradient(a, y, xp)`` = ∇ₐC.
The output error BP1 is then δ = pullback(∇ₐC, z, a). For cross-entropy with its matching activation both simplify:
δ = a − y, and the value is computed exactly from z, where the logarithm of a rounded a would be infinite or wrong.
Such a pair is *fused*. So n activations and m costs need n + m definitions, not n × m.

Arrays have shape (..., m, n_out); costs of examples have shape (..., m).

To add a cost, write its functions and add it to `COSTS` at the end of this file.
"""

from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any, NamedTuple, TypeAlias

from xpnet.checks import between, choices
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Namespace


class Composed(NamedTuple):
    """Any cost with any activation: the gradient is pulled back through the activation."""

    sigma: Activation
    cost: "Cost"

    def value(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Cost of each example, shape (..., m)."""
        return self.cost.value(a, y, xp)  # type: ignore

    def delta(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Error of the output layer, ∂C/∂z, shape (..., m, n_out)."""
        return self.sigma.pullback(self.cost.gradient(a, y, xp), z, a, xp)  # type: ignore


class Fused(NamedTuple):
    """A cost together with an activation for which both simplify."""

    value_from_z: Callable[[Array, Array, Namespace], Array]

    def value(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Cost of each example, shape (..., m)."""
        return self.value_from_z(z, y, xp)

    def delta(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Error of the output layer, ∂C/∂z, shape (..., m, n_out)."""
        return a - y


Output: TypeAlias = Composed | Fused


class Cost(NamedTuple):
    """A cost function.

    Parameters
    ----------
    name
        Its name, as users give it.
    value
        ``value(a, y, xp)``: the cost of each example, shape (..., m).
    gradient
        ``gradient(a, y, xp)``: ∇ₐC of each example, shape (..., m, n_out).
    fused
        Pairs of an activation's name and the fused form. A cost without value and gradient accepts these activations
        only.

    Examples
    --------
    >>> import numpy as np
    >>> a, y = np.array([[0.8, 0.4]]), np.array([[1.0, 0.0]])
    >>> quadratic.value(a, y, np)  # ½ (0.2² + 0.4²)
    array([0.1])
    >>> quadratic.gradient(a, y, np)
    array([[-0.2,  0.4]])
    """

    name: str
    value: Callable[[Array, Array, Namespace], Array] | None = None
    gradient: Callable[[Array, Array, Namespace], Array] | None = None
    fused: tuple[tuple[str, Fused], ...] = ()

    @property
    def outputs(self) -> list[str] | None:
        """Names of the output activations that this cost accepts; None if it accepts any."""
        return None if self.gradient else [name for name, _ in self.fused]

    def combine(self, sigma: Activation) -> Output:
        """Combine this cost with the activation of the output layer.

        Raises
        ------
        ValueError
            If the two do not go together.
        """
        fused = dict(self.fused).get(sigma.name)
        if fused is not None:
            return fused
        if self.value is None or self.gradient is None:
            raise ValueError(
                f"cost={self.name!r} does not go with output_activation={sigma.name!r}; "
                f"it needs one of {choices(self.outputs or [])}"
            )
        return Composed(sigma, self)


def _quadratic(a: Array, y: Array, xp: Namespace) -> Array:
    difference = a - y
    return 0.5 * xp.vecdot(difference, difference)


def _quadratic_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return a - y


def _binary_cross_entropy(z: Array, y: Array, xp: Namespace) -> Array:
    # −Σ [y ln a + (1 − y) ln(1 − a)] with a = σ(z) is Σ [ln(1 + e^z) − y z]; e^z is kept below 1
    return xp.sum(xp.maximum(z, 0.0) + xp.log1p(xp.exp(-xp.abs(z))) - y * z, axis=-1)


def _categorical_cross_entropy(z: Array, y: Array, xp: Namespace) -> Array:
    # −Σ y ln a with a = softmax(z) is Σ y (ln Σ e^z − z); z is shifted so that its largest is 0
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return xp.vecdot(y, log_sum - shifted)


def _absolute(a: Array, y: Array, xp: Namespace) -> Array:
    return xp.sum(xp.abs(a - y), axis=-1)


def _absolute_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return xp.sign(a - y)  # 0 where a = y, as is usual


def _poisson(z: Array, y: Array, xp: Namespace) -> Array:
    # −ln of the Poisson probability of y with mean a = e^z, without ln y!, which does not depend on the weights
    return xp.sum(xp.exp(z) - y * z, axis=-1)


def make_huber(delta: float = 1.0) -> Cost:
    """Make a Huber cost, quadratic up to a distance delta and linear beyond: ``Σ_k ½ c² + delta (|a_k − y_k| − c)``.

    Here c is the smaller of ``|a_k − y_k|`` and delta (P. J. Huber, "Robust Estimation of a Location Parameter",
    Annals of Mathematical Statistics 35, 1964). Its name is "huber", or like "huber(2.0)" for another delta than 1.

    Examples
    --------
    >>> import numpy as np
    >>> make_huber(2.0).value(np.array([[1.0], [5.0]]), np.array([[0.0], [0.0]]), np)  # ½ 1², ½ 2² + 2 (5 − 2)
    array([0.5, 8. ])
    """
    between("delta", delta, 0, inf, "1 is usual")
    return _huber(float(delta))


class _Parametrized(Cost):
    """A cost with parameters. Copies and pickles hold the parameters and build it anew."""

    make: tuple[Callable[..., Cost], tuple[Any, ...]]

    def __reduce__(self) -> Any:
        return self.make


@cache  # equal costs must be the same object, or their step would be compiled again
def _huber(delta: float) -> Cost:
    def value(a: Array, y: Array, xp: Namespace) -> Array:
        distance = xp.abs(a - y)
        near = xp.minimum(distance, delta)
        return xp.sum(0.5 * near * near + delta * (distance - near), axis=-1)

    def gradient(a: Array, y: Array, xp: Namespace) -> Array:
        return xp.maximum(xp.minimum(a - y, delta), -delta)

    made = _Parametrized("huber" if delta == 1.0 else f"huber({delta})", value, gradient)
    made.make = (_huber, (delta,))
    return made


quadratic = Cost("quadratic", _quadratic, _quadratic_gradient)
cross_entropy = Cost(
    "cross_entropy",
    fused=(("sigmoid", Fused(_binary_cross_entropy)), ("softmax", Fused(_categorical_cross_entropy))),
)
log_likelihood = Cost("log_likelihood", fused=(("softmax", Fused(_categorical_cross_entropy)),))
absolute = Cost("absolute", _absolute, _absolute_gradient)
huber = make_huber()
poisson = Cost("poisson", fused=(("exp", Fused(_poisson)),))

COSTS: dict[str, Cost] = {
    cost.name: cost for cost in (quadratic, cross_entropy, log_likelihood, huber, absolute, poisson)
}
# Costs with parameters: "huber(0.5)" is make_huber(0.5)
PARAMETRIZED_COSTS = {"huber": make_huber}
