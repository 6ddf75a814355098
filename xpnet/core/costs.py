"""Cost functions, and how each combines with the activation of the output layer.

A cost is two functions on arrays: ``value(a, y, xp)``, the cost C_x of each example x, and ``gradient(a, y, xp)``, the
gradients ∇ₐC_x. BP1 is then δ = pullback(∇ₐC_x, z, a), which is ∇ₐC_x ⊙ σ′(z): `Composed`. For cross-entropy with its
matching activation both simplify: δ = a − y, and the value is computed exactly from z, where the logarithm of a rounded
a would be infinite or wrong: `Fused`. So n activations and m costs need n + m definitions, not n × m.

Arrays have shape (..., m, n_out); costs of examples have shape (..., m).

The costs of the book come first. Those at the end have several outputs for each target, in blocks of n_targets columns:
the first output of every target, the second of every target, and so on.

A cost of your own needs no change here: `Network` takes any object with the function value, and computes the gradient
from it (`dual.ValueGradient`) if there is none. Its functions may see the inputs, too: (a, y, x, xp). For one that
everybody can use by its name, add a `Cost` to `COSTS` at the end of this file; CONTRIBUTING.md lists the other places
that need it.
"""

# pyright: reportUnknownLambdaType=false

from collections.abc import Callable, Sequence
from math import inf, log, pi
from typing import NamedTuple

from xpnet._checks import choices, in_range
from xpnet.core.activations import Activation, identity, mean_std, softplus
from xpnet.core.arrays import Array, Namespace
from xpnet.errors import ArgumentError

__all__ = [
    "COSTS",
    "PARAMETRIZED_COSTS",
    "Composed",
    "Cost",
    "Fused",
    "Output",
    "absolute",
    "cross_entropy",
    "gaussian",
    "huber",
    "log_likelihood",
    "mae",
    "make_huber",
    "make_quantile",
    "mse",
    "poisson",
    "quadratic",
    "split_columns",
]

# The costs of the book


def _quadratic(a: Array, y: Array, xp: Namespace) -> Array:
    difference = a - y
    return 0.5 * xp.vecdot(difference, difference)


def _quadratic_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return a - y


def _binary_cross_entropy(z: Array, y: Array, xp: Namespace) -> Array:
    # −Σ [y ln a + (1 − y) ln(1 − a)] with a = σ(z) is Σ [ln(1 + e^z) − y z]
    return xp.sum(softplus.value(z, xp) - y * z, axis=-1)


def _categorical_cross_entropy(z: Array, y: Array, xp: Namespace) -> Array:
    # −Σ y ln a with a = softmax(z) is Σ y (ln Σ e^z − z); z is shifted so that its largest is 0
    shifted = z - xp.max(z, axis=-1, keepdims=True)
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return xp.vecdot(y, log_sum - shifted)


# A cost, and how it combines with the activation of the output layer


class Composed(NamedTuple):
    """Any cost with any activation: BP1 as in the book, ∇ₐC_x pulled back through the activation."""

    sigma: Activation
    cost: "Cost"

    def with_inputs(self, x: Array) -> "Composed":
        """Let a cost that sees the inputs see these, (..., m, n_in)."""
        return Composed(self.sigma, self.cost.with_inputs(x)) if self.cost.sees_x else self

    def value(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Cost C_x of each example, shape (..., m)."""
        return self.cost.value(a, y, xp)  # type: ignore

    def delta(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Error of the output layer, ∂C_x/∂z of each example x, shape (..., m, n_out)."""
        return self.sigma.pullback(self.cost.gradient(a, y, xp), z, a, xp)  # type: ignore


class Fused(NamedTuple):
    """A cost together with an activation for which BP1 simplifies to δ = a − y."""

    value_from_z: Callable[[Array, Array, Namespace], Array]

    def with_inputs(self, x: Array) -> "Fused":
        """Return itself: these costs do not see the inputs."""
        return self

    def value(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Cost C_x of each example, shape (..., m)."""
        return self.value_from_z(z, y, xp)

    def delta(self, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
        """Error of the output layer, ∂C_x/∂z of each example x, shape (..., m, n_out)."""
        return a - y


Output = Composed | Fused


class Cost(NamedTuple):
    """A cost function.

    Parameters
    ----------
    name
        Its name, as users give it.
    value
        ``value(a, y, xp)``: the cost of each example, shape (..., m).
    gradient
        ``gradient(a, y, xp)``: ∇ₐC_x of each example, shape (..., m, n_out); a network computes it from the value of a
        cost of your own that has none.
    fused
        Pairs of an activation's name and the fused form. A cost without value and gradient accepts these activations
        only.
    activation
        The only output activation that the cost accepts; None if there are several.
    has_std
        Whether there are two outputs for each target: its mean and its standard deviation.
    levels
        The levels of the quantiles, in increasing order, if the outputs of a target are quantiles. These are sorted
        before anything is read from them: here, in exported networks, and on pages.
    sees_x
        Whether value and gradient are functions of (a, y, x, xp); a network finds out, for one of your own.

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
    value: Callable[..., Array] | None = None
    gradient: Callable[..., Array] | None = None
    fused: tuple[tuple[str, Fused], ...] = ()
    activation: Activation | None = None
    has_std: bool = False
    levels: tuple[float, ...] = ()
    sees_x: bool = False

    def with_inputs(self, x: Array) -> "Cost":
        """Return the cost as functions of (a, y, xp), for these inputs, (..., m, n_in)."""
        value, gradient = self.value, self.gradient
        if not self.sees_x or value is None or gradient is None:
            return self
        return self._replace(
            value=lambda a, y, xp: value(a, y, x, xp), gradient=lambda a, y, xp: gradient(a, y, x, xp), sees_x=False
        )

    @property
    def outputs(self) -> list[str] | None:
        """Names of the output activations that this cost accepts; None if it accepts any."""
        if self.activation is not None:
            return [self.activation.name]
        return None if self.value and self.gradient else [name for name, _ in self.fused]

    def combine(self, sigma: Activation) -> Output:
        """Combine this cost with the activation of the output layer.

        Raises
        ------
        ArgumentError
            If the two do not go together.
        """
        fused = dict(self.fused).get(sigma.name)
        if fused is not None:
            return fused
        if self.outputs is not None and sigma.name not in self.outputs:
            raise ArgumentError(
                f"cost={self.name!r} does not go with output_activation={sigma.name!r}; "
                f"it needs one of {choices(self.outputs)}"
            )
        return Composed(sigma, self)

    # Several outputs for each target

    @property
    def has_distribution(self) -> bool:
        """Whether the outputs describe the distribution of a target: by a standard deviation, or by quantiles."""
        return self.has_std or bool(self.levels)

    @property
    def outputs_per_target(self) -> int:
        """Number of outputs for each target."""
        return 2 if self.has_std else max(1, len(self.levels))

    def blocks(self, a: Array, xp: Namespace) -> list[Array]:
        """Cut outputs (..., m, n_out) into blocks (..., m, n_targets), one for each output of a target.

        Quantiles are sorted: where examples are few, a network may predict them in the wrong order.
        """
        if not self.has_distribution:
            return [a]
        blocks = split_columns(a, self.outputs_per_target)
        if len(self.levels) < 2:
            return blocks
        quantiles = xp.sort(xp.stack(blocks, axis=-1), axis=-1)
        return [quantiles[..., k] for k in range(len(blocks))]

    def prediction(self, a: Array, xp: Namespace) -> Array:
        """Turn outputs (..., m, n_out) into what `Network.predict` returns for a regression.

        Several quantiles have an axis of their own, (..., m, n_targets, q), which follows (m,) if there is one target.
        """
        blocks = self.blocks(a, xp)
        if len(self.levels) < 2:
            return blocks[0]
        quantiles = xp.stack(blocks, axis=-1)
        return quantiles[..., 0, :] if quantiles.shape[-2] == 1 else quantiles

    @property
    def has_point(self) -> bool:
        """Whether there is a single number for each target: an output, a mean or a median."""
        return len(self.levels) < 2 or 0.5 in self.levels

    def require_point(self, purpose: str) -> None:
        """Raise an error if this cost has no single number for each target, which `purpose` needs."""
        if not self.has_point:
            raise ArgumentError(
                f"{purpose} compare one number with each target, and cost={self.name!r} has none; add 0.5, the "
                "median, to its levels"
            )

    def point(self, a: Array, xp: Namespace) -> Array:
        """Turn outputs (..., m, n_out) into one number for each target, (..., m, n_targets).

        Raises
        ------
        ArgumentError
            If there is no such number.
        """
        return self.choose_point(self.blocks(a, xp))

    def choose_point(self, blocks: Sequence[Array]) -> Array:
        """Choose from blocks, corrected by a calibration or not, one number for each target, (..., m, n_targets)."""
        self.require_point("metrics")
        return blocks[self.levels.index(0.5) if len(self.levels) > 1 else 0]

    def output_scaling(self, mean: Array, std: Array, xp: Namespace) -> tuple[Array, Array]:
        """Compute the shift and the factor that scale outputs back, (1, n_out) each.

        Quantiles move with the target, and a standard deviation is only scaled with it.

        Parameters
        ----------
        mean, std
            Mean and standard deviation of the targets, (1, n_targets).
        xp
            Namespace of the arrays.
        """
        shifts = [mean, 0.0 * mean] if self.has_std else [mean] * self.outputs_per_target
        return xp.concat(shifts, axis=-1), xp.concat([std] * len(shifts), axis=-1)


# Other costs with one output for each target


def _absolute(a: Array, y: Array, xp: Namespace) -> Array:
    return xp.sum(xp.abs(a - y), axis=-1)


def _absolute_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return xp.sign(a - y)  # 0 where a = y, as is usual


def _poisson(z: Array, y: Array, xp: Namespace) -> Array:
    # −ln of the Poisson probability of y with mean a = e^z, without ln y!, which does not depend on the weights
    return xp.sum(xp.exp(z) - y * z, axis=-1)


def _mean_squared(a: Array, y: Array, xp: Namespace) -> Array:
    difference = a - y
    return xp.vecdot(difference, difference) / a.shape[-1]


def _mean_squared_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return (2.0 / a.shape[-1]) * (a - y)


def _mean_absolute(a: Array, y: Array, xp: Namespace) -> Array:
    return _absolute(a, y, xp) / a.shape[-1]


def _mean_absolute_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    return _absolute_gradient(a, y, xp) / a.shape[-1]


# Costs with parameters have functions that are tuples of these numbers, as in `activations`


class _Huber(NamedTuple):
    delta: float

    def __call__(self, a: Array, y: Array, xp: Namespace) -> Array:
        distance = xp.abs(a - y)
        near = xp.minimum(distance, self.delta)
        return xp.sum(0.5 * near * near + self.delta * (distance - near), axis=-1)


class _HuberGradient(NamedTuple):
    delta: float

    def __call__(self, a: Array, y: Array, xp: Namespace) -> Array:
        return xp.maximum(xp.minimum(a - y, self.delta), -self.delta)


def make_huber(delta: float = 1.0) -> Cost:
    """Make a Huber cost, quadratic up to a distance delta and linear beyond: ``Σ_k ½ c² + delta (|a_k − y_k| − c)``.

    Here c is the smaller of ``|a_k − y_k|`` and delta (P. J. Huber, "Robust Estimation of a Location Parameter",
    Annals of Mathematical Statistics 35, 1964). It is named "huber" if delta is 1, else for example
    "huber(2.0)".

    Examples
    --------
    >>> import numpy as np
    >>> make_huber(2.0).value(np.array([[1.0], [5.0]]), np.array([[0.0], [0.0]]), np)  # ½ 1², ½ 2² + 2 (5 − 2)
    array([0.5, 8. ])
    """
    delta = in_range("delta", delta, 0, inf, "1 is usual", includes_low=False)
    return Cost("huber" if delta == 1.0 else f"huber({delta})", _Huber(delta), _HuberGradient(delta))


# Costs with several outputs for each target, for error bars


def split_columns(a: Array, n: int) -> list[Array]:
    """Cut the columns of an array into n blocks of equal width.

    Examples
    --------
    >>> import numpy as np
    >>> split_columns(np.array([[1, 2, 3, 4]]), 2)
    [array([[1, 2]]), array([[3, 4]])]
    """
    width = a.shape[-1] // n
    return [a[..., i * width : (i + 1) * width] for i in range(n)]


# Up to this distance from the mean, in standard deviations, the Gaussian cost is that of a normal distribution
_NORMAL_UP_TO = 5.0


def _gaussian(a: Array, y: Array, xp: Namespace) -> Array:
    # −ln of the density at y of a normal distribution with mean μ and standard deviation σ; beyond 5 σ it
    # grows like a logarithm, so that one wrong target does not outweigh all the others
    mean, std = split_columns(a, 2)
    distance = xp.abs(mean - y) / std
    near, far = xp.minimum(distance, _NORMAL_UP_TO), xp.maximum(distance, _NORMAL_UP_TO)
    tail = _NORMAL_UP_TO**2 * xp.log(far / _NORMAL_UP_TO)
    return xp.sum(0.5 * near * near + tail + xp.log(std) + 0.5 * log(2.0 * pi), axis=-1)


def _gaussian_gradient(a: Array, y: Array, xp: Namespace) -> Array:
    mean, std = split_columns(a, 2)
    distance = (mean - y) / std
    ratio = _NORMAL_UP_TO / xp.maximum(xp.abs(distance), _NORMAL_UP_TO)  # 1 up to 5 σ
    slope = distance * ratio * ratio
    return xp.concat([slope / std, (1.0 - slope * distance) / std], axis=-1)


class _Quantile(NamedTuple):
    levels: tuple[float, ...]

    def __call__(self, a: Array, y: Array, xp: Namespace) -> Array:
        losses: list[Array] = []
        for level, quantile in zip(self.levels, split_columns(a, len(self.levels))):
            error = y - quantile
            losses.append(xp.maximum(level * error, (level - 1.0) * error))
        return xp.sum(xp.concat(losses, axis=-1), axis=-1)


class _QuantileGradient(NamedTuple):
    levels: tuple[float, ...]

    def __call__(self, a: Array, y: Array, xp: Namespace) -> Array:
        blocks = split_columns(a, len(self.levels))
        return xp.concat(
            [0.5 * xp.sign(quantile - y) + (0.5 - level) for level, quantile in zip(self.levels, blocks)], axis=-1
        )


def make_quantile(*levels: float) -> Cost:
    """Make the cost of quantiles, the pinball loss: ``Σ_j Σ_k max(p_j e_jk, (p_j − 1) e_jk)`` with e_jk = y_k − a_jk.

    It is smallest where a fraction p_j of the targets lies below the output a_jk (R. Koenker and G. Bassett,
    "Regression Quantiles", Econometrica 46, 1978). The derivative at a = y is taken as ½ − p, so that the level ½ alone
    is half the absolute cost. It is named by its levels, for example
    "quantile(0.1, 0.5, 0.9)".

    Where examples are few, outputs may come in the wrong order. They are sorted in predictions, in exported networks
    and on pages, which brings them closer to the true quantiles (V. Chernozhukov, I. Fernández-Val and A. Galichon,
    "Quantile and Probability Curves Without Crossing", Econometrica 78, 2010).

    Parameters
    ----------
    *levels
        The levels p of the quantiles, above 0 and below 1, in increasing order.

    Examples
    --------
    >>> import numpy as np
    >>> make_quantile(0.1, 0.9).value(np.array([[0.0, 2.0]]), np.array([[3.0]]), np)  # 0.1 · 3 + 0.9 · 1
    array([1.2])
    """
    for level in levels:
        in_range("level", level, 0, 1, "0.5 is the median", includes_low=False)
    if not levels or list(levels) != sorted(set(levels)):
        raise ArgumentError(f"levels={levels!r} must be numbers in increasing order, as in 0.1, 0.5, 0.9")
    levels = tuple(float(level) for level in levels)
    name = f"quantile({', '.join(map(str, levels))})"
    return Cost(name, _Quantile(levels), _QuantileGradient(levels), activation=identity, levels=levels)


quadratic = Cost("quadratic", _quadratic, _quadratic_gradient)
cross_entropy = Cost(
    "cross_entropy",
    fused=(("sigmoid", Fused(_binary_cross_entropy)), ("softmax", Fused(_categorical_cross_entropy))),
)
log_likelihood = Cost("log_likelihood", fused=(("softmax", Fused(_categorical_cross_entropy)),))
absolute = Cost("absolute", _absolute, _absolute_gradient)
huber = make_huber()
poisson = Cost("poisson", fused=(("exp", Fused(_poisson)),))

mse = Cost("mse", _mean_squared, _mean_squared_gradient)
mae = Cost("mae", _mean_absolute, _mean_absolute_gradient)
gaussian = Cost("gaussian", _gaussian, _gaussian_gradient, activation=mean_std, has_std=True)

COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        *(quadratic, cross_entropy, log_likelihood, huber, absolute, poisson, mse, mae),
        *(gaussian, make_quantile(0.1, 0.5, 0.9)),
    )
}
# Costs with parameters: "huber(0.5)" is make_huber(0.5)
PARAMETRIZED_COSTS = {"huber": make_huber, "quantile": make_quantile}
