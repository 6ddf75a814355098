"""Residuals of differential equations: functions of the outputs and their derivatives.

The cost is ½ Σ w/m Σ r², over terms of weight w and their m points. `least_squares` minimizes it, by the derivatives of
each residual r with respect to all weights and biases, and to unknown coefficients of the equations.

M. Raissi, P. Perdikaris and G. E. Karniadakis, "Physics-Informed Neural Networks", Journal of Computational Physics
378, 2019. Points are drawn where residuals are large, as by C. Wu et al., "A Comprehensive Study of Non-Adaptive and
Residual-Based Adaptive Sampling for Physics-Informed Neural Networks", Computer Methods in Applied Mechanics and
Engineering 403, 2023.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from xpnet._checks import in_range, overwrite, show
from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, count_elements, map_arrays, rows_per_block
from xpnet.core.dual import jvp, unit_vectors
from xpnet.core.least_squares import solve_damped
from xpnet.errors import ArgumentError
from xpnet.physics._taylor import Series, pull_rows, taylor

ROUNDING = 1e-6  # relative differences that rounding may make

# Layers, activations, coefficients and namespace: what residuals are computed with
Present: TypeAlias = tuple[Layers, Sequence[Activation], Mapping[str, Array], Namespace]


@dataclass(frozen=True, eq=False)
class Term:
    """An equation that the outputs of a network should satisfy at some points; see :doc:`/use/differential-equations`.

    Parameters
    ----------
    residual
        ``residual(x, u, du, ddu, xp)``: the difference between the two sides of the equation at each of m points, (m,)
        or (m, 1). It gets the points x, (m, n_in); the outputs u, (m, n_out); and their first and second derivatives
        du[k] and ddu[k] with respect to input k, (m, n_out) each. It uses operators and functions of `xp`, and each row
        by itself, which `Network.solve` checks. Unknown coefficients are further arguments, by their names.
    x
        The points, (m, n_in).
    weight
        The weight of the mean of ½ r² in the cost, above 0.
    draw
        ``draw(rng, n)``: n points of the region where the equation holds, (n, n_in). If given, `Network.solve` draws
        the points of this term anew, where residuals are large.

    Raises
    ------
    ArgumentError
        If a function cannot be called, or the weight is out of range.

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
    weight: float = 1.0
    draw: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        """Check functions and weight."""
        if not callable(self.residual):
            raise ArgumentError(
                f"residual={show(self.residual)} must be a function (x, u, du, ddu, xp) -> residuals (m,) or (m, 1)"
            )
        if self.draw is not None and not callable(self.draw):
            raise ArgumentError(f"draw={show(self.draw)} must be a function (rng, n) -> points (n, n_in), or None")
        overwrite(self, weight=in_range("weight", self.weight, 0, math.inf, "1 is usual", includes_low=False))


def evaluate(
    term: Term, layers: Layers, sigmas: Sequence[Activation], coefficients: Mapping[str, Array], xp: Namespace
) -> Array:
    """Compute the residuals of a term at its points, (m, 1)."""
    u, _ = taylor(layers, sigmas, term.x, xp)
    return _call(term, tuple(coefficients), (*_list_arguments(term, u), *coefficients.values()), xp)


def mean_cost(
    terms: Sequence[Term],
    layers: Layers,
    sigmas: Sequence[Activation],
    coefficients: Mapping[str, Array],
    xp: Namespace,
) -> Array:
    """Compute the cost, ½ Σ w/m Σ r²."""
    total: Any = 0.0
    for term in terms:
        r = evaluate(term, layers, sigmas, coefficients, xp)
        total = total + term.weight / r.shape[0] * xp.sum(r * r)
    return 0.5 * total


class Dependence(NamedTuple):
    """Whether the residuals of a term depend on other points, and on second derivatives."""

    mixes_rows: bool  # some residual on the outputs, or their derivatives, at another point
    takes_second: bool  # on second derivatives


def find_dependence(
    term: Term,
    layers: Layers,
    sigmas: Sequence[Activation],
    coefficients: Mapping[str, Array],
    xp: Namespace,
    draw: Callable[[tuple[int, ...]], Array],
) -> Dependence:
    """Find what residuals depend on, at the present outputs and at others near them. Synchronizes.

    If no rows are mixed, changes of the outputs that are multiplied by a number for each row change the residuals by
    as much. `draw` makes normal numbers of a shape.
    """
    u, _ = taylor(layers, sigmas, term.x, xp)
    (x, *outputs), numbers = _list_arguments(term, u), [*coefficients.values()]
    n_first = 1 + x.shape[-1]

    def residual(*arguments: Any) -> Array:
        *arrays, xp = arguments
        return _call(term, tuple(coefficients), arrays, xp)

    mixes_rows = takes_second = False
    for noise in (0.0, 1.0):
        at = [x, *(part + noise * draw(part.shape) for part in outputs), *numbers]
        directions, factors = [draw(part.shape) for part in outputs], draw((x.shape[0], 1))
        scaled, seconds = [factors * one for one in directions], [None] * n_first + directions[n_first:]
        tangents = [[None, *part, *[None] * len(numbers)] for part in (directions, scaled, seconds)]
        with suppress(Exception) if noise else nullcontext():  # there, a residual may refuse its arguments
            change, other, second = (jvp(residual, at, part, xp)[1] for part in tangents)
            mixes_rows |= bool(xp.any(xp.abs(other - factors * change) > ROUNDING * xp.abs(factors * change)))
            takes_second |= bool(xp.any(second != 0.0))
    return Dependence(mixes_rows, takes_second)


class LinearProblem(NamedTuple):
    """The linear problem of a step: the residuals r and their Jacobian J at some parameters.

    The P parameters are weights and biases, in the order of `least_squares.jacobian`, then the coefficients.
    """

    matrix: Array  # JᵀJ, (P, P); or JJᵀ, (m, m), of fewer residuals than parameters
    gradient: Array  # Jᵀr, (P, 1)
    largest: Array  # the largest element of the diagonal of JᵀJ
    cost: Array  # ½ rᵀr
    few: tuple[Array, Array] | None  # r, (m, 1), and J, (m, P), of fewer residuals than parameters

    def solve(self, mu: Array, xp: Namespace) -> Array:
        """Compute the step −(JᵀJ + μ)⁻¹ Jᵀr = −Jᵀ (JJᵀ + μ)⁻¹ r, by the smaller matrix."""
        step = solve_damped(self.matrix, self.gradient if self.few is None else self.few[0], mu, xp)
        return step if self.few is None else xp.matmul(self.few[1].mT, step)


def linearize(
    terms: Sequence[Term],
    layers: Layers,
    sigmas: Sequence[Activation],
    coefficients: Mapping[str, Array],
    xp: Namespace,
) -> LinearProblem:
    """Compute the linear problem of terms; of many points, without storing their whole Jacobian."""
    parts = (part for term in terms for part in compute_rows(term, layers, sigmas, coefficients, xp))
    n_parameters = count_elements(layers) + len(coefficients)
    if sum(term.x.shape[0] for term in terms) < n_parameters:
        r, rows = _join([*parts], xp)
        largest = xp.max(xp.sum(rows * rows, axis=0))
        return LinearProblem(xp.matmul(rows, rows.mT), xp.matmul(rows.mT, r), largest, 0.5 * xp.sum(r * r), (r, rows))
    sums: list[Array] = []
    for r, rows in _join_small(parts, n_parameters, xp):
        products = xp.matmul(rows.mT, rows), xp.matmul(rows.mT, r), 0.5 * xp.sum(r * r)
        sums = [x + y for x, y in zip(sums, products)] if sums else [*products]
    matrix, gradient, cost = sums
    return LinearProblem(matrix, gradient, xp.max(xp.linalg.diagonal(matrix)), cost, None)


def _join_small(parts: Iterable[tuple[Array, Array]], size: int, xp: Namespace) -> Iterator[tuple[Array, Array]]:
    """Join blocks of rows until they have `size`: boundaries often have few points, and products cost P² each."""
    waiting: list[tuple[Array, Array]] = []
    for part in parts:
        waiting.append(part)
        if sum(r.shape[0] for r, _ in waiting) >= size:
            yield _join(waiting, xp)
            waiting = []
    if waiting:
        yield _join(waiting, xp)


def _join(parts: Sequence[tuple[Array, Array]], xp: Namespace) -> tuple[Array, Array]:
    r, rows = zip(*parts)
    return parts[0] if len(parts) == 1 else (xp.concat(r, axis=0), xp.concat(rows, axis=0))


def compute_rows(
    term: Term, layers: Layers, sigmas: Sequence[Activation], coefficients: Mapping[str, Array], xp: Namespace
) -> Iterator[tuple[Array, Array]]:
    """Compute √(w/m) r, (m, 1), and its derivatives with respect to all parameters, (m, P), in blocks of rows."""
    u, trace = taylor(layers, sigmas, term.x, xp)
    (m, n_in), n_out = term.x.shape, u.value.shape[-1]
    arguments = (*_list_arguments(term, u), *coefficients.values())

    def residual(*arguments: Any) -> Array:
        *arrays, xp = arguments
        return math.sqrt(term.weight / m) * _call(term, tuple(coefficients), arrays, xp)

    r, columns = residual(*arguments, xp), list[Array]()
    for k, argument in enumerate(arguments[1:], 1):
        for unit in unit_vectors(argument, xp) if argument.ndim else [xp.ones_like(argument)]:
            tangents = [unit if i == k else None for i in range(len(arguments))]
            columns.append(jvp(residual, arguments, tangents, xp)[1])
    streams = [xp.concat(columns[n_out * k : n_out * (k + 1)], axis=-1) for k in range(1 + 2 * n_in)]
    g = Series(streams[0], xp.stack(streams[1 : 1 + n_in]), xp.stack(streams[1 + n_in :]))
    others = columns[n_out * len(streams) :]
    rows_at_once = rows_per_block(count_elements(layers) + len(coefficients))
    for start in range(0, m, rows_at_once):
        cut = itemgetter((..., slice(start, min(start + rows_at_once, m)), slice(None)))
        rows = pull_rows(layers, map_arrays(cut, tuple(trace)), map_arrays(cut, g), xp)
        yield cut(r), xp.concat([rows, *map(cut, others)], axis=-1) if others else rows


def _list_arguments(term: Term, u: Series) -> list[Array]:
    """List the points, the outputs, and their first and second derivatives."""
    return [term.x, u.value, *(part[k, ...] for part in (u.first, u.second) for k in range(term.x.shape[-1]))]


def _call(term: Term, names: Sequence[str], arguments: Sequence[Array], xp: Namespace) -> Array:
    """Call the residual with `_list_arguments` and the coefficients; return (m, 1)."""
    m, n_in = term.x.shape
    (x, u), du, ddu = arguments[:2], arguments[2 : 2 + n_in], arguments[2 + n_in : 2 + 2 * n_in]
    r = term.residual(x, u, du, ddu, xp, **dict(zip(names, arguments[2 + 2 * n_in :])))
    shape = tuple(getattr(r, "shape", ()))
    if shape not in ((m,), (m, 1)):
        raise ArgumentError(
            f"a residual has shape {shape} at {m} points, but must have ({m},) or ({m}, 1); give a Term for each "
            "equation"
        )
    return xp.reshape(r, (m, 1))
