"""Dual numbers: the derivative of a function in one direction, computed along with the function.

A dual number is a value x with its derivative ẋ in the direction, and functions of it follow the chain rule: f(x) has
the derivative f′(x) ẋ (forward differentiation; A. Griewank and A. Walther, "Evaluating Derivatives", 2008, chapter 3).
The functions of this package take arrays and their namespace as arguments. Given dual numbers and a namespace for them,
the lines that compute a network also compute its derivatives: the forward pass gives the change of the outputs, and
backpropagation the change of the gradient, which is a product with the Hessian.

At a kink, the derivative is that of the piece on the left, as in the pullbacks of `activations`.

A function may itself use `jvp`, with the namespace that it gets. Its dual numbers are those of an inner level, whose
values may be dual numbers of the outer one, which are constants inside (J. M. Siskind and B. A. Pearlmutter, "Nesting
Forward-Mode AD in a Functional Framework", Higher-Order and Symbolic Computation 21, 2008).
"""

import math
import operator

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from xpnet._checks import is_list
from xpnet.core.arrays import Array, Function, Namespace, Nest, map_arrays
from xpnet.errors import ArgumentError

__all__ = [
    "ValueGradient",
    "jvp",
    "unit_vectors",
]


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], xp: Namespace) -> Any:
    """Compute the derivative of a function of arrays in one direction: a Jacobian-vector product.

    Parameters
    ----------
    function
        ``function(*primals, xp)`` returns a nest of arrays.
    primals
        Its arguments: nests of arrays.
    tangents
        The direction: nests of the same structure; None stands for zeros.
    xp
        Namespace of the arrays.

    Returns
    -------
    value, derivative
        Both as `function` returns them.

    Examples
    --------
    >>> import numpy as np
    >>> jvp(lambda x, xp: x * x, [np.array([1.0, 2.0])], [np.array([1.0, 0.0])], np)
    (array([1., 4.]), array([2., 0.]))
    """
    level = DualNamespace(xp)
    inputs = [_join(primal, tangent, level) for primal, tangent in zip(primals, tangents)]
    result = map_arrays(lambda x: _constant(x, level), function(*inputs, level))
    return (
        map_arrays(lambda x: x.value, result),
        map_arrays(lambda x: xp.zeros_like(x.value) if x.tangent is None else x.tangent, result),
    )


def unit_vectors(a: Array, xp: Namespace) -> Iterator[Array]:
    """Make an array of the shape of `a` for each of its columns: 1 in this column, and 0 elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> [unit.tolist() for unit in unit_vectors(np.array([[0.5, 0.7]]), np)]
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    ones, zeros = xp.ones_like(a), xp.zeros_like(a)
    for k in range(a.shape[-1]):
        parts = (zeros[..., :k], ones[..., k : k + 1], zeros[..., k + 1 :])
        filled = [part for part in parts if part.shape[-1]]
        yield filled[0] if len(filled) == 1 else xp.concat(filled, axis=-1)


class ValueGradient(NamedTuple):
    """The gradient ∇ₐC of a cost of which only the value is known.

    Parameters
    ----------
    name
        The name of the cost, for messages.
    value
        ``value(a, y, xp)``, or ``value(a, y, x, xp)``: the cost of each example, shape (..., m).
    """

    name: str
    value: Function

    def __call__(self, a: Array, *others: Any) -> Array:
        """Compute the derivatives with respect to one output after the other, (..., m, n_out)."""
        *constants, xp = others
        zeros = [None] * len(constants)
        try:
            columns = [
                jvp(self.value, (a, *constants), (unit, *zeros), xp)[1][..., None] for unit in unit_vectors(a, xp)
            ]
        except (TypeError, AttributeError) as error:
            raise ArgumentError(
                f"cost {self.name!r} has no gradient, and its value cannot be differentiated ({error}); compute the "
                "value with operators and functions of xp alone, or give the cost a function gradient(a, y, xp)"
            ) from error
        return columns[0] if len(columns) == 1 else xp.concat(columns, axis=-1)


class Dual:
    """An array with its derivative in one direction, at the level of one call of `jvp`."""

    __slots__ = ("level", "tangent", "value")
    __array_ufunc__ = None  # so that NumPy leaves operators to this class, and refuses its functions
    __hash__ = None  # type: ignore

    def __init__(self, value: Any, tangent: Any, level: "DualNamespace") -> None:
        if tangent is not None and tuple(tangent.shape) != tuple(value.shape):
            tangent = level.inner.broadcast_to(tangent, value.shape)
        self.value = value
        self.tangent = tangent  # None: zeros
        self.level = level

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    device = property(lambda self: self.value.device)

    @property
    def mT(self) -> "Dual":
        """The transposed matrices."""
        return self.map(lambda x: x.mT)

    def map(self, linear: Callable[[Any], Any]) -> "Dual":
        """Apply a linear function."""
        return Dual(linear(self.value), None if self.tangent is None else linear(self.tangent), self.level)

    def __getitem__(self, key: Any) -> "Dual":
        return self.map(operator.itemgetter(key))

    def __neg__(self) -> "Dual":
        return self.map(operator.neg)

    def __abs__(self) -> "Dual":
        return self.level.abs(self)

    def __add__(self, other: Any) -> "Dual":
        return find_level(self, other).add(self, other)

    def __sub__(self, other: Any) -> "Dual":
        return find_level(self, other).subtract(self, other)

    def __mul__(self, other: Any) -> "Dual":
        return find_level(self, other).multiply(self, other)

    def __truediv__(self, other: Any) -> "Dual":
        return find_level(self, other).divide(self, other)

    def __matmul__(self, other: Any) -> "Dual":
        return find_level(self, other).matmul(self, other)

    def __pow__(self, exponent: Any) -> "Dual":
        return find_level(self, exponent).pow(self, exponent)

    # On the right of what is no dual number

    def __radd__(self, other: Any) -> "Dual":
        return self.level.add(other, self)

    def __rsub__(self, other: Any) -> "Dual":
        return self.level.subtract(other, self)

    def __rmul__(self, other: Any) -> "Dual":
        return self.level.multiply(other, self)

    def __rtruediv__(self, other: Any) -> "Dual":
        return self.level.divide(other, self)

    def __rmatmul__(self, other: Any) -> "Dual":
        return self.level.matmul(other, self)

    def __rpow__(self, base: Any) -> "Dual":
        return self.level.pow(base, self)

    # Without a derivative

    def _apply(self, name: str, *others: Any) -> "Dual":
        level, operation = find_level(self, *others), getattr(operator, name)
        return Dual(operation(*(_split(x, level)[0] for x in (self, *others))), None, level)

    def __lt__(self, other: Any) -> "Dual":
        return self._apply("lt", other)

    def __le__(self, other: Any) -> "Dual":
        return self._apply("le", other)

    def __gt__(self, other: Any) -> "Dual":
        return self._apply("gt", other)

    def __ge__(self, other: Any) -> "Dual":
        return self._apply("ge", other)

    def __eq__(self, other: Any) -> "Dual":  # type: ignore[override]
        return self._apply("eq", other)

    def __ne__(self, other: Any) -> "Dual":  # type: ignore[override]
        return self._apply("ne", other)

    def __and__(self, other: Any) -> "Dual":
        return self._apply("and_", other)

    def __or__(self, other: Any) -> "Dual":
        return self._apply("or_", other)

    def __xor__(self, other: Any) -> "Dual":
        return self._apply("xor", other)

    def __invert__(self) -> "Dual":
        return self._apply("invert")

    def __bool__(self) -> bool:
        return bool(self.value)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ArgumentError("a function that is not from xp was called")

    __array__ = __array_function__ = __float__ = __int__ = __iter__ = __len__ = __setitem__ = _refuse


class DualNamespace:
    """The namespace of an array library, for the dual numbers of one call of `jvp`.

    Parameters
    ----------
    inner
        The namespace of their values: that of the library, or of the dual numbers of an outer call.
    """

    def __init__(self, inner: Namespace) -> None:
        self.inner = inner
        self.depth: int = inner.depth + 1 if isinstance(inner, DualNamespace) else 1

    def __getattr__(self, name: str) -> Any:
        """Return a function for dual numbers, and dtypes and numbers as they are."""
        rule = RULES.get(name)
        if rule is not None:
            return partial(rule, self)
        value = getattr(self.inner, name)
        if isinstance(value, type) or not callable(value):
            return value
        if name in LINEAR:

            def apply(x: Any, *args: Any, **options: Any) -> Dual:
                args = _values(args, self)  # such as an index
                options = {key: _values(option, self) for key, option in options.items()}
                return _constant(x, self).map(lambda part: value(part, *args, **options))

            return apply
        if name in SLOPES:
            return partial(_elementwise, value, SLOPES[name], self)

        def call(*args: Any, **options: Any) -> Any:
            if name not in FLAT and _depends(args, self):
                raise ArgumentError(f"xp.{name} has no derivative here")
            result = value(*_values(args, self), **{key: _values(x, self) for key, x in options.items()})
            return _constant(result, self) if hasattr(result, "shape") else result

        return call


def find_level(*operands: Any) -> DualNamespace:
    """Find the innermost level of operands, at which the others are constants."""
    levels = [x.level for x in operands if isinstance(x, Dual)]
    return max(levels, key=lambda level: level.depth)


# How derivatives of functions follow from those of their arguments


def _add(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    return Dual(_beside(a, b) + b, _plus(s, t), level)


def _subtract(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    return Dual(_beside(a, b) - b, _plus(s, _times(-1.0, t)), level)


def _multiply(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    return Dual(_beside(a, b) * b, _plus(_times(b, s), _times(a, t)), level)


def _divide(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    quotient = _beside(a, b) / b
    change = _plus(s, _times(-1.0 * quotient, t))
    return Dual(quotient, None if change is None else _beside(change, b) / b, level)


def _pow(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    value = _beside(a, b) ** b
    change = None if s is None else _times(_times(b, _beside(a, b) ** (b - 1)), s)
    if t is not None:
        log = math.log(a) if isinstance(a, (int, float)) else level.inner.log(a)
        change = _plus(change, _times(_times(log, value), t))
    return Dual(value, change, level)


def _abs(level: DualNamespace, x: Any) -> Dual:
    value, tangent = _split(x, level)
    ones = level.inner.ones_like(value)
    return Dual(abs(value), _times(level.inner.where(value > 0.0, ones, -ones), tangent), level)


def _maximum(level: DualNamespace, x: Any, y: Any) -> Dual:
    return _choose(level, level.inner.maximum, operator.gt, x, y)


def _minimum(level: DualNamespace, x: Any, y: Any) -> Dual:
    return _choose(level, level.inner.minimum, operator.le, x, y)


def _choose(level: DualNamespace, function: Function, takes_first: Function, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x, level), _split(y, level)
    return _select(level, function(a, b), takes_first(a, b), s, t)


def _where(level: DualNamespace, condition: Any, x: Any, y: Any) -> Dual:
    (condition, _), (a, s), (b, t) = (_split(part, level) for part in (condition, x, y))
    return _select(level, level.inner.where(condition, a, b), condition, s, t)


def _select(level: DualNamespace, value: Any, condition: Any, s: Any, t: Any) -> Dual:
    """Join a value with the tangent s where the condition holds, and t elsewhere."""
    if s is None and t is None:
        return Dual(value, None, level)
    zeros = level.inner.zeros_like(value)
    return Dual(value, level.inner.where(condition, _plus(s, zeros), _plus(t, zeros)), level)


def _clip(level: DualNamespace, x: Any, min: Any = None, max: Any = None) -> Dual:
    x = _constant(x, level) if min is None else _maximum(level, x, min)
    return x if max is None else _minimum(level, x, max)


def _logaddexp(level: DualNamespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t), xp = _split(x, level), _split(y, level), level.inner
    value = xp.logaddexp(a, b)
    return Dual(value, _plus(_times(xp.exp(a - value), s), _times(xp.exp(b - value), t)), level)


def _extreme(name: str) -> Function:
    """Return the rule of the largest or smallest element; equal ones share the derivative."""

    def rule(level: DualNamespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Dual:
        (value, tangent), xp = _split(x, level), level.inner
        extreme = getattr(xp, name)(value, axis=axis, keepdims=keepdims)
        if tangent is None:
            return Dual(extreme, None, level)
        chosen = xp.astype(value == getattr(xp, name)(value, axis=axis, keepdims=True), value.dtype)
        total, number = (xp.sum(part, axis=axis, keepdims=keepdims) for part in (chosen * tangent, chosen))
        return Dual(extreme, total / number, level)

    return rule


def _bilinear(name: str) -> Function:
    """Return the rule of a product."""

    def rule(level: DualNamespace, x: Any, y: Any, **options: Any) -> Dual:
        product, (a, s), (b, t) = getattr(level.inner, name), _split(x, level), _split(y, level)
        first = None if s is None else product(s, b, **options)
        return Dual(product(a, b, **options), _plus(first, None if t is None else product(a, t, **options)), level)

    return rule


def _joining(name: str) -> Function:
    """Return the rule of a function that joins a list of arrays."""

    def rule(level: DualNamespace, arrays: Sequence[Any], **options: Any) -> Dual:
        join, duals = getattr(level.inner, name), [_constant(x, level) for x in arrays]
        value = join([x.value for x in duals], **options)
        if all(x.tangent is None for x in duals):
            return Dual(value, None, level)
        tangents = [level.inner.zeros_like(x.value) if x.tangent is None else x.tangent for x in duals]
        return Dual(value, join(tangents, **options), level)

    return rule


def _sort(level: DualNamespace, x: Any, *, axis: int = -1) -> Dual:
    dual, xp = _constant(x, level), level.inner
    order = xp.argsort(dual.value, axis=axis)
    return dual.map(lambda part: xp.take_along_axis(part, order, axis=axis))


def _variance(level: DualNamespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Dual:
    (value, tangent), xp = _split(x, level), level.inner
    change = None
    if tangent is not None:
        distance = value - xp.mean(value, axis=axis, keepdims=True)
        change = xp.mean(2.0 * distance * tangent, axis=axis, keepdims=keepdims)
    return Dual(xp.var(value, axis=axis, keepdims=keepdims), change, level)


RULES: dict[str, Function] = {
    **{"add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide, "pow": _pow, "abs": _abs},
    **{"maximum": _maximum, "minimum": _minimum, "where": _where, "clip": _clip, "logaddexp": _logaddexp},
    **{name: _extreme(name) for name in ("max", "min")},
    **{"sort": _sort, "var": _variance},
    **{name: _bilinear(name) for name in ("matmul", "vecdot")},
    **{name: _joining(name) for name in ("concat", "stack")},
}
# Functions f(x, …) that are linear in their first argument
LINEAR = {
    *("sum", "mean", "cumulative_sum", "negative", "positive", "astype", "asarray"),
    *("reshape", "broadcast_to", "expand_dims", "squeeze", "permute_dims", "matrix_transpose", "moveaxis"),
    *("take", "flip", "roll", "tile", "repeat"),
}
# Element-wise functions: their derivatives as functions of x and y = f(x)
SLOPES: dict[str, Callable[[Array, Array, Namespace], Array]] = {
    "exp": lambda x, y, xp: y,
    "expm1": lambda x, y, xp: y + 1.0,
    "log": lambda x, y, xp: 1.0 / x,
    "log1p": lambda x, y, xp: 1.0 / (1.0 + x),
    "log2": lambda x, y, xp: 1.0 / (math.log(2.0) * x),
    "log10": lambda x, y, xp: 1.0 / (math.log(10.0) * x),
    "sqrt": lambda x, y, xp: 0.5 / y,
    "square": lambda x, y, xp: 2.0 * x,
    "sin": lambda x, y, xp: xp.cos(x),
    "cos": lambda x, y, xp: -xp.sin(x),
    "tan": lambda x, y, xp: 1.0 + y * y,
    "sinh": lambda x, y, xp: xp.cosh(x),
    "cosh": lambda x, y, xp: xp.sinh(x),
    "tanh": lambda x, y, xp: 1.0 - y * y,
    "atan": lambda x, y, xp: 1.0 / (1.0 + x * x),
}
# Functions whose derivative is 0 wherever they have one
FLAT = {
    *("sign", "floor", "ceil", "round", "trunc", "isfinite", "isnan", "isinf", "argmax", "argmin", "all", "any"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "logical_not", "zeros_like", "ones_like", "full_like"),
}


def _elementwise(function: Function, slope: Function, level: DualNamespace, x: Any) -> Dual:
    value, tangent = _split(x, level)
    result = function(value)
    return Dual(result, None if tangent is None else _times(slope(value, result, level.inner), tangent), level)


def _join(primal: Nest, tangent: Any, level: DualNamespace) -> Any:
    """Join a nest of arrays and a nest of derivatives into one of dual numbers."""
    if not isinstance(primal, tuple):
        return None if primal is None else Dual(primal, tangent, level)
    parts = [_join(x, t, level) for x, t in zip(primal, tangent or [None] * len(primal))]
    return getattr(primal, "_make", tuple)(parts)


def _constant(x: Any, level: DualNamespace) -> Dual:
    """Make a dual number with the derivative 0, unless it is one of this level already."""
    return Dual(*_split(x, level), level)


def _split(x: Any, level: DualNamespace) -> tuple[Any, Any]:
    """Split a dual number of this level into value and derivative; all else is constant, as one of an outer level."""
    if not isinstance(x, Dual) or x.level.depth < level.depth:
        return x, None
    if x.level is not level:
        raise ArgumentError("an array of an inner jvp was given to functions of an outer xp; give it to its own xp")
    return x.value, x.tangent


def _values(nest: Any, level: DualNamespace) -> Any:
    if is_list(nest):
        values = [_values(x, level) for x in nest]
        return tuple(values) if isinstance(nest, tuple) else values
    return _split(nest, level)[0]


def _depends(nest: Any, level: DualNamespace) -> bool:
    """Whether any array among arguments has a derivative."""
    if is_list(nest):
        return any(_depends(x, level) for x in nest)
    return _split(nest, level)[1] is not None


def _plus(x: Array | None, y: Array | None) -> Array | None:
    if x is None or y is None:
        return y if x is None else x
    return _beside(x, y) + y


def _times(factor: Any, x: Array | None) -> Array | None:
    return None if x is None else _beside(factor, x) * x


def _beside(x: Any, y: Any) -> Any:
    """Return an array as it can stand on the left of another: those of some libraries refuse dual numbers there."""
    return Dual(x, None, y.level) if isinstance(y, Dual) and not isinstance(x, Dual) else x
