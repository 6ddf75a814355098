"""Residuals of differential equations: functions of the outputs and their derivatives.

The cost is ½ Σ w/m Σ r², over terms of weight w and their m points. `least_squares` minimizes it, by the derivatives of
each residual r with respect to all weights and biases, and to unknown coefficients of the equations.

M. Raissi, P. Perdikaris and G. E. Karniadakis, "Physics-Informed Neural Networks", Journal of Computational Physics
378, 2019. Points are drawn where residuals are large, as by C. Wu et al., "A Comprehensive Study of Non-Adaptive and
Residual-Based Adaptive Sampling for Physics-Informed Neural Networks", Computer Methods in Applied Mechanics and
Engineering 403, 2023.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add, itemgetter, mul
from typing import Annotated, Any, NamedTuple

from xpnet._checks import Real, check_fields, in_range, is_text, show
from xpnet.core.activations import Activation
from xpnet.core.arrays import (
    Array,
    Layers,
    Namespace,
    combine_arrays,
    count_elements,
    map_arrays,
    positions,
    rows_per_block,
)
from xpnet.core.dual import jvp, unit_vectors
from xpnet.core.least_squares import LEAST, LinearProblem
from xpnet.errors import ArgumentError
from xpnet.physics._taylor import Series, Trace, pull_rows, taylor

# The weight of observations beside equations. Coefficients differ from those of exact equations in proportion to it: by
# up to 0.02 standard errors in three problems. With 0.1, by 0.16; with 0.003, one took 1.5 times the steps
SOFTNESS = 0.01


def parse_noise(name: str, noise: Any) -> Any:
    """Check the noise of a term."""
    if is_text(noise) and noise == "estimate":
        return noise
    return in_range(name, noise, 0, math.inf, 'or "estimate", or None for an equation', includes_low=False)


@dataclass(frozen=True, eq=False)
class Term:
    """An equation that the outputs of a network should satisfy at some points; see :doc:`/use/differential-equations`.

    Parameters
    ----------
    residual
        ``residual(x, u, du, ddu, xp)``: the difference between the two sides of the equation at each of m points, (m,)
        or (m, 1). It gets the points x, (m, n_in); the outputs u, (m, n_out); their first and second derivatives du[k]
        and ddu[k] with respect to input k, and mixed ones ddu[j, k], (m, n_out) each. It uses operators and functions
        of `xp`, and each row by itself, which `Network.solve` checks. Unknown coefficients are further arguments, by
        their names.
    x
        The points, (m, n_in); or (m, k, n_in), where the k points of a row belong together. The residual of a row then
        gets the k points, (m, k, n_in), and outputs and derivatives of the shape (m, k, n_out).
    weight
        The weight of the mean of ½ r² in the cost, above 0. Give it to every term, or leave all out: `Network.solve`
        then finds them, anew as the network changes: 1 / mean ‖∂r/∂w‖², from the derivatives of the residuals with
        respect to the weights of the network, so that units do not matter; a hundredth of this for terms with `noise`,
        in the ratio of their precisions.
    noise
        The standard deviation of the noise in the residuals, in their units, above 0, or "estimate", where they compare
        the outputs with observations; None for an equation, which is to hold exactly. `Network.check_solution` then
        finds the standard errors of coefficients.
    draw
        ``draw(rng, n)``: n points of the region where the equation holds, (n, n_in), or rows of points, (n, k, n_in).
        If given, `Network.solve` draws the points of this term anew, where residuals are large.
    pairs
        The pairs (j, k) of inputs, j < k, whose mixed derivatives ddu[j, k] are computed. `Network.solve` adds those
        that the residual uses in a first call.

    Raises
    ------
    ArgumentError
        If a function cannot be called, a number is out of range, or `draw` is given with `noise`.

    Examples
    --------
    u′ = −c u with u(0) = 1, where c is not known, but u(1) = e⁻²:

    >>> import numpy as np
    >>> from xpnet import Network
    >>> decay = Term(lambda x, u, du, ddu, xp, c: du[0] + c * u, np.linspace(0, 1, 20)[:, None])
    >>> start, end = Term(lambda x, u, *_: u - 1.0, [[0.0]]), Term(lambda x, u, *_: u - np.exp(-2.0), [[1.0]])
    >>> net = Network([1, 8, 1], activation="tanh", task="regression", dtype="float64", seed=0)
    >>> history = net.solve([decay, start, end], steps=50, coefficients={"c": 1.0}, progress=False)
    >>> round(history["c"][-1], 3), net.predict([0.5]).round(3), np.exp(-1.0).round(3)
    (2.0, np.float64(0.368), np.float64(0.368))
    """

    residual: Callable[..., Any]
    x: Any
    weight: Annotated[Any, Real(0, math.inf, "None finds it", includes_low=False)] = None
    draw: Callable[..., Any] | None = None
    noise: Annotated[Any, parse_noise] = None
    pairs: Sequence[tuple[int, int]] = ()

    def __post_init__(self) -> None:
        """Check functions and weight."""
        if not callable(self.residual):
            raise ArgumentError(
                f"residual={show(self.residual)} must be a function (x, u, du, ddu, xp) -> residuals (m,) or (m, 1)"
            )
        if self.draw is not None and not callable(self.draw):
            raise ArgumentError(f"draw={show(self.draw)} must be a function (rng, n) -> points (n, n_in), or None")
        check_fields(self)
        if self.draw is not None and self.noise is not None:
            raise ArgumentError("draw does not go with noise: observations have points of their own; leave out one")


class MissingPairError(ArgumentError):
    """A residual uses a mixed derivative that was not computed."""

    def __init__(self, j: int, k: int) -> None:
        super().__init__(
            f"a residual uses ddu[{j}, {k}], which it has not used in its first call; give its Term pairs=[({j}, {k})]"
        )
        self.pair = j, k


class SecondDerivatives(list[Array]):
    """Second derivatives along lines: ddu[k] along input k; ddu[j, k], the mixed one, along x_j + x_k."""

    def __init__(self, along: Sequence[Array], n_in: int, pairs: Sequence[tuple[int, int]]) -> None:
        super().__init__(along[:n_in])
        self.mixed = dict(zip(pairs, along[n_in:]))

    def __getitem__(self, key: Any) -> Any:
        """Return (∂²/∂(x_j + x_k)² − ∂²/∂x_j² − ∂²/∂x_k²) / 2 for a pair of inputs."""
        if not isinstance(key, tuple):
            return super().__getitem__(key)
        if len(key) != 2 or not {*key} <= {*range(len(self))}:
            raise IndexError(f"there is no ddu{[*key]}: give two numbers of inputs, from 0 to {len(self) - 1}")
        j, k = sorted(key)
        if j == k:
            return self[j]
        if (j, k) not in self.mixed:
            raise MissingPairError(j, k)
        return 0.5 * (self.mixed[j, k] - self[j] - self[k])


class Present(NamedTuple):
    """The network, the coefficients and the window of time with which residuals are computed."""

    layers: Layers
    sigmas: Sequence[Activation]
    coefficients: Mapping[str, Array]
    xp: Namespace
    time: int = 0  # the number of an input
    edge: float = math.inf  # residuals of rows with a point after it are 0


def evaluate(term: Term, present: Present) -> Array:
    """Compute the residuals of a term at its points, (m, 1)."""
    streams, _ = _list_streams(term, present)
    return _call(term, present, term.x, *streams, *present.coefficients.values(), present.xp)


def add_pairs(term: Term, present: Present) -> Term:
    """Add the pairs of inputs to a term whose mixed derivatives its residual uses."""
    while True:
        try:
            evaluate(term, present)
        except MissingPairError as missing:
            term = replace(term, pairs=[*term.pairs, missing.pair])
        else:
            return term


def mean_cost(terms: Sequence[Term], present: Present) -> Array:
    """Compute the cost, ½ Σ w/m Σ r²."""
    return 0.5 * sum(term.weight / term.x.shape[0] * present.xp.sum(evaluate(term, present) ** 2) for term in terms)


def weigh_terms(terms: Sequence[Term], present: Present) -> list[Term]:
    """Give terms weights, if none has one: the inverse of the mean ‖∂r/∂w‖² of weights and biases w. Synchronizes.

    Then the rows of their Jacobians have squares of equal sum, whatever units and derivatives they have, which is the
    trace of the neural tangent kernel (S. Wang, X. Yu and P. Perdikaris, "When and Why PINNs Fail to Train", Journal of
    Computational Physics 449, 2022). Observations share `SOFTNESS` of it, in the ratio of their precisions.
    """
    if terms[0].weight is not None:
        return [*terms]
    squares = [_square_rows(term, present) for term in terms]
    precisions = [_find_precision(term, present) for term in terms]
    total = sum(map(mul, precisions, squares))
    weights = (SOFTNESS * p / total if p else 1.0 / square for p, square in zip(precisions, squares))
    return [replace(term, weight=weight) for term, weight in zip(terms, weights)]


def _square_rows(term: Term, present: Present) -> float:
    """Compute the mean of ‖∂r/∂w‖²; 1 if weights and biases have no effect."""
    n, xp = count_elements(present.layers), present.xp
    return _replace_extreme(sum(float(xp.sum(rows[:, :n] ** 2)) for _, rows in compute_rows(term, present)))


def _find_precision(term: Term, present: Present) -> float:
    """Find m / σ² of m observations, by the present residuals if σ is to be estimated; 0 of an equation."""
    if term.noise is None:
        return 0.0
    is_given = not isinstance(term.noise, str)
    variance = term.noise**2 if is_given else float(present.xp.mean(evaluate(term, present) ** 2))
    return term.x.shape[0] / _replace_extreme(variance)


def _replace_extreme(number: float) -> float:
    """Return 1 in place of a number that has no inverse."""
    return number if LEAST < number < math.inf else 1.0


def mixes_rows(term: Term, present: Present) -> bool:
    """Tell whether some residual depends on the outputs, or their derivatives, at another point. Synchronizes.

    Else it stays the same, to the last bit, while others get outputs from elsewhere. Any two rows differ in some digit
    of their binary numbers, by which it is tried.
    """
    xp, numbers, (streams, _) = present.xp, present.coefficients.values(), _list_streams(term, present)
    m, call = term.x.shape[0], partial(_call, term, present, term.x)
    r = call(*streams, *numbers, xp)
    elsewhere = [xp.concat([part[m // 2 :, :], part[: m // 2, :]]) for part in streams]
    rows, is_mixed = positions(r.mT, xp).mT, False
    for digit in range((m - 1).bit_length()):
        for number in (0, 1):
            moves = rows // 2**digit % 2 == number
            others = (xp.where(moves, new, old) for new, old in zip(elsewhere, streams))
            changes = (call(*others, *numbers, xp) != r) & (r == r)
            is_mixed |= bool(xp.any(changes & xp.logical_not(moves)))
    return is_mixed


def linearize(terms: Sequence[Term], present: Present) -> LinearProblem:
    """Compute the linear problem of terms; of many points, without storing their whole Jacobian.

    The P parameters are weights and biases, in the order of `parameter_jacobian`, then the coefficients.
    """
    xp = present.xp
    parts = (part for term in terms for part in compute_rows(term, present))
    if sum(term.x.shape[0] for term in terms) < count_elements(present.layers) + len(present.coefficients):
        r, rows = (xp.concat(part, axis=0) for part in zip(*parts))
        largest = xp.max(xp.sum(rows * rows, axis=0))
        return LinearProblem(
            xp.matmul(rows, rows.mT), xp.matmul(rows.mT, r), largest, 0.5 * xp.sum(r * r), few=(r, rows)
        )
    products = ((xp.matmul(rows.mT, rows), xp.matmul(rows.mT, r), 0.5 * xp.sum(r * r)) for r, rows in parts)
    matrix, gradient, cost = reduce(partial(combine_arrays, add), products)
    return LinearProblem(matrix, gradient, xp.max(xp.linalg.diagonal(matrix)), cost)


def compute_rows(term: Term, present: Present) -> Iterator[tuple[Array, Array]]:
    """Compute √(w/m) r, (m, 1), and its derivatives with respect to all parameters, (m, P), in blocks of rows.

    A term without a weight has w = 1.
    """
    layers, xp = present.layers, present.xp
    streams, trace = _list_streams(term, present)
    arguments = [term.x, *streams, *present.coefficients.values()]
    m, k, n_streams = term.x.shape[0], math.prod(term.x.shape[1:-1]), len(streams)

    def residual(*arguments: Any) -> Array:
        return math.sqrt((term.weight or 1.0) / m) * _call(term, present, *arguments)

    r = residual(*arguments, xp)
    columns = [_differentiate(residual, arguments, i, xp) for i in range(1, len(arguments))]
    g, numbers = [xp.reshape(part, (m * k, -1)) for part in columns[:n_streams]], columns[n_streams:]
    n_lines = n_streams // 2
    series = Series(g[0], xp.stack(g[1 : 1 + n_lines]), xp.stack(g[1 + n_lines :]))
    rows_at_once = rows_per_block(count_elements(layers) + len(numbers))
    for start in range(0, m, rows_at_once):
        stop = min(start + rows_at_once, m)
        cut, cut_points = (itemgetter((..., slice(n * start, n * stop), slice(None))) for n in (1, k))
        rows = pull_rows(layers, map_arrays(cut_points, tuple(trace)), map_arrays(cut_points, series), stop - start, xp)
        yield cut(r), xp.concat([rows, *map(cut, numbers)], axis=-1) if numbers else rows


def _differentiate(residual: Callable[..., Array], arguments: Sequence[Array], i: int, xp: Namespace) -> Array:
    """Compute the derivatives of residuals with respect to the columns of argument i, (m, n), or a number, (m, 1)."""
    argument = arguments[i]

    def along(direction: Array) -> Array:
        tangents = [direction if n == i else None for n in range(len(arguments))]
        return jvp(residual, arguments, tangents, xp)[1]

    if not argument.ndim:
        return along(xp.ones_like(argument))
    if argument.shape[-1] > 1:
        changes = along(math.nan * argument)  # NaN wherever the argument is used
        if not xp.any(changes != changes):
            return xp.zeros_like(argument)
    return xp.concat([along(unit) for unit in unit_vectors(argument, xp)], axis=-1)


def _list_streams(term: Term, present: Present) -> tuple[list[Array], list[Trace]]:
    """List the outputs and their first and second derivatives, (m, k · n_out) each; and what `pull_rows` needs."""
    xp, x = present.xp, term.x
    u, trace = taylor(present.layers, present.sigmas, xp.reshape(x, (-1, x.shape[-1])), term.pairs, xp)
    parts = [u.value, *(part[k, ...] for part in (u.first, u.second) for k in range(part.shape[0]))]
    return [xp.reshape(part, (x.shape[0], -1)) for part in parts], trace


def _call(term: Term, present: Present, *arguments: Any) -> Array:
    """Call the residual with points, `_list_streams`, coefficients and their namespace; return (m, 1)."""
    x, *arrays, xp = arguments
    m, n_in, n_lines = term.x.shape[0], term.x.shape[-1], term.x.shape[-1] + len(term.pairs)
    u, *derivatives = (xp.reshape(part, (*term.x.shape[:-1], -1)) for part in arrays[: 1 + 2 * n_lines])
    du, ddu = derivatives[:n_in], SecondDerivatives(derivatives[n_lines:], n_in, term.pairs)
    numbers = dict(zip(present.coefficients, arrays[1 + 2 * n_lines :]))
    r = term.residual(x, u, du, ddu, xp, **numbers)
    shape = tuple(getattr(r, "shape", ()))
    if shape not in ((m,), (m, 1)):
        raise ArgumentError(
            f"a residual has shape {shape} at {m} points, but must have ({m},) or ({m}, 1); give a Term for each "
            "equation"
        )
    r = xp.reshape(r, (m, 1))
    if present.edge == math.inf:
        return r
    times = present.xp.reshape(term.x[..., present.time], (m, -1))
    return r * present.xp.astype(present.xp.max(times, axis=-1, keepdims=True) <= present.edge, times.dtype)
