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

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownMemberType=false

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from xpnet.core.arrays import Array, Function, Namespace, Nest, combine_arrays, map_arrays
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
    inputs = [_make_duals(primal, tangent, level) for primal, tangent in zip(primals, tangents)]
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
        yield xp.concat([zeros[..., :k], ones[..., k : k + 1], zeros[..., k + 1 :]], axis=-1)


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


# How derivatives of functions follow from those of their arguments. Each function gets the inner namespace, and value
# and tangent of each argument; it returns those of the result. A tangent of None stands for zeros


def _plus(x: Array | None, y: Array | None) -> Array | None:
    if x is None or y is None:
        return y if x is None else x
    return _beside(x, y) + y


def _times(factor: Any, x: Array | None) -> Array | None:
    return None if x is None else _beside(factor, x) * x


def _beside(x: Any, y: Any) -> Any:
    """Return an array as it can stand on the left of another: those of some libraries refuse dual numbers there."""
    return Dual(x, None, y.level) if isinstance(y, Dual) and not isinstance(x, Dual) else x


def _add(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    return _plus(a, b), _plus(s, t)


def _subtract(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    return _beside(a, b) - b, _plus(s, _times(-1.0, t))


def _divide(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    quotient = _beside(a, b) / b
    change = _plus(s, _times(-1.0 * quotient, t))
    return quotient, None if change is None else _beside(change, b) / b


def _pow(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    value = _beside(a, b) ** b
    is_flat = s is None or (isinstance(b, (int, float)) and b == 0)  # also at a = 0, where a⁻¹ is infinite
    change = None if is_flat else _times(_times(b, _beside(a, b) ** (b - 1)), s)
    if t is not None:
        log = math.log(a) if isinstance(a, (int, float)) else xp.log(a)
        change = _plus(change, _times(_times(log, value), t))
    return value, change


def _product(product: Function, xp: Namespace, a: Any, s: Any, b: Any, t: Any, **options: Any) -> Any:
    """Apply a function that is linear in each of two arguments."""
    changes = None if s is None else product(s, b, **options), None if t is None else product(a, t, **options)
    return product(a, b, **options), _plus(*changes)


def _maximum(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    return _select(xp, xp.maximum(a, b), a > b, s, t)


def _minimum(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    return _select(xp, xp.minimum(a, b), a <= b, s, t)


def _where(xp: Namespace, condition: Any, _: Any, a: Any, s: Any, b: Any, t: Any) -> Any:
    return _select(xp, xp.where(condition, a, b), condition, s, t)


def _select(xp: Namespace, value: Any, condition: Any, s: Any, t: Any) -> Any:
    """Return a value with the tangent s where the condition holds, and t elsewhere."""
    if s is None and t is None:
        return value, None
    zeros = xp.zeros_like(value)
    return value, xp.where(condition, _plus(s, zeros), _plus(t, zeros))


def _logaddexp(xp: Namespace, a: Any, s: Any, b: Any, t: Any) -> Any:
    value = xp.logaddexp(a, b)
    return value, _plus(_times(xp.exp(a - value), s), _times(xp.exp(b - value), t))


def _extreme(reduce: Function, xp: Namespace, a: Any, s: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Find the largest or smallest element; equal ones share the derivative."""
    extreme = reduce(a, axis=axis, keepdims=keepdims)
    if s is None:
        return extreme, None
    chosen = xp.astype(a == reduce(a, axis=axis, keepdims=True), a.dtype)
    total, number = (xp.sum(part, axis=axis, keepdims=keepdims) for part in (chosen * s, chosen))
    return extreme, total / number


def _sort(xp: Namespace, a: Any, s: Any, axis: int = -1) -> Any:
    order = xp.argsort(a, axis=axis)
    return tuple(None if part is None else xp.take_along_axis(part, order, axis=axis) for part in (a, s))


def _linear(function: Function, xp: Namespace, a: Any, s: Any, *others: Any, **options: Any) -> Any:
    """Apply a function that is linear in its first argument; others are constants, such as an index."""
    value = function(a, *others[::2], **options)
    changes = s is not None and xp.isdtype(value.dtype, "real floating")  # integers do not change with a
    return value, function(s, *others[::2], **options) if changes else None


def _join(function: Function, args: Sequence[Any], xp: Namespace, *parts: Any, **options: Any) -> Any:
    """Apply a function of a list of arrays."""
    values, tangents = parts[::2], parts[1::2]
    joined = function(values, *args, **options)
    if all(t is None for t in tangents):
        return joined, None
    changes = [xp.zeros_like(x) if t is None else t for x, t in zip(values, tangents)]
    return joined, function(changes, *args, **options)


def _elementwise(slope: Function, function: Function, xp: Namespace, a: Any, s: Any) -> Any:
    value = function(a)
    return value, None if s is None else _times(slope(a, value, xp), s)


RULES: dict[str, Function] = {
    rule.__name__[1:]: rule for rule in (_add, _subtract, _divide, _pow, _maximum, _minimum, _where, _logaddexp, _sort)
}
# Functions of a list of arrays
JOINING = {"concat", "stack"}
# Functions f(x, …) that are linear in their first argument
LINEAR = {
    *("sum", "mean", "cumulative_sum", "negative", "positive", "astype", "asarray"),
    *("reshape", "broadcast_to", "expand_dims", "squeeze", "permute_dims", "matrix_transpose", "moveaxis"),
    *("take", "flip", "roll", "tile", "repeat"),
}
# Element-wise functions: their derivatives as functions of x and y = f(x)
SLOPES: dict[str, Callable[[Array, Array, Namespace], Array]] = {
    "abs": lambda x, y, xp: 2.0 * xp.astype(x > 0.0, x.dtype) - 1.0,
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
# Rules that get the function of the inner namespace first
FAMILIES: dict[str, Function] = {
    **{name: partial(_elementwise, slope) for name, slope in SLOPES.items()},
    **dict.fromkeys(("matmul", "vecdot", "multiply"), _product),
    **dict.fromkeys(("max", "min"), _extreme),
    **dict.fromkeys(LINEAR, _linear),
}
# Functions whose derivative is 0 wherever they have one
FLAT = {
    *("sign", "floor", "ceil", "round", "trunc", "isfinite", "isnan", "isinf", "argmax", "argmin", "all", "any"),
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "logical_not", "zeros_like", "ones_like", "full_like"),
}


def _apply(rule: Function, level: "DualNamespace", *operands: Any, **options: Any) -> "Dual":
    """Apply a rule to dual numbers and constants."""
    parts = (part for x in operands for part in _split(x, level))
    for key, option in options.items():
        options[key], _ = _split(option, level)
    value, tangent = rule(level.inner, *parts, **options)
    return Dual(value, tangent, level)


def _operator(rule: Function) -> tuple[Function, Function]:
    """Make the methods of an operator: for a dual number on the left, and on the right of what is none."""

    def left(x: "Dual", other: Any) -> "Dual":
        return _apply(rule, _find_level(x, other), x, other)

    def right(x: "Dual", other: Any) -> "Dual":
        return _apply(rule, x.level, other, x)

    return left, right


def _constant_operator(name: str) -> Function:
    """Make the method of an operator without a derivative."""
    operation = getattr(operator, name)

    def apply(*operands: Any) -> "Dual":
        level = _find_level(*operands)
        return Dual(operation(*(_split(x, level)[0] for x in operands)), None, level)

    return apply


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

    def __bool__(self) -> bool:
        return bool(self.value)

    __add__, __radd__ = _operator(_add)
    __sub__, __rsub__ = _operator(_subtract)
    __mul__, __rmul__ = _operator(partial(_product, _times))
    __truediv__, __rtruediv__ = _operator(_divide)
    __matmul__, __rmatmul__ = _operator(lambda xp, *parts: _product(xp.matmul, xp, *parts))
    __pow__, __rpow__ = _operator(_pow)
    __lt__ = _constant_operator("lt")
    __le__ = _constant_operator("le")
    __gt__ = _constant_operator("gt")
    __ge__ = _constant_operator("ge")
    __eq__ = _constant_operator("eq")
    __ne__ = _constant_operator("ne")
    __and__ = _constant_operator("and_")
    __or__ = _constant_operator("or_")
    __xor__ = _constant_operator("xor")
    __invert__ = _constant_operator("invert")

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
        if name in RULES:
            return partial(_apply, RULES[name], self)
        value = getattr(self.inner, name)
        if isinstance(value, type) or not callable(value):
            return value
        if name in FAMILIES:
            return partial(_apply, partial(FAMILIES[name], value), self)
        if name in JOINING:
            return lambda arrays, *args, **options: _apply(partial(_join, value, args), self, *arrays, **options)

        def call(*args: Any, **options: Any) -> Any:
            given = [*args, *options.values()]
            operands = [x for each in given for x in (each if isinstance(each, (list, tuple)) else [each])]
            if name not in FLAT and any(_split(x, self)[1] is not None for x in operands):
                raise ArgumentError(f"xp.{name} has no derivative here")
            constants = {key: _split(x, self)[0] for key, x in options.items()}
            result = value(*(_split(x, self)[0] for x in args), **constants)
            return _constant(result, self) if hasattr(result, "shape") else result

        return call

    def var(self, x: Any, axis: Any = None, keepdims: bool = False) -> Dual:
        """Compute the variance."""
        x = _constant(x, self)
        distance = x - self.mean(x, axis=axis, keepdims=True)
        return self.mean(distance * distance, axis=axis, keepdims=keepdims)

    def clip(self, x: Any, min: Any = None, max: Any = None) -> Dual:
        """Bound an array, which may be dual, by others."""
        x = _constant(x, self) if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)


def _find_level(*operands: Any) -> DualNamespace:
    """Find the innermost level of operands, at which the others are constants."""
    return max((x.level for x in operands if isinstance(x, Dual)), key=lambda level: level.depth)


def _make_duals(primal: Nest, tangent: Any, level: DualNamespace) -> Any:
    """Make a nest of dual numbers from a nest of arrays and one of derivatives, or None."""
    if tangent is None:
        return map_arrays(lambda x: Dual(x, None, level), primal)
    return combine_arrays(lambda x, t: Dual(x, t, level), primal, tangent)


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
