"""Dual numbers: the derivative of a function in one direction, computed along with the function.

A dual number is a value x with its derivative ẋ in the direction, and functions of it follow the chain rule: f(x) has
the derivative f′(x) ẋ (forward differentiation; A. Griewank and A. Walther, "Evaluating Derivatives", 2008, chapter 3).
The functions of this package take arrays and their namespace as arguments. Given dual numbers and a namespace for them,
the lines that compute a network also compute its derivatives: the forward pass gives the change of the outputs, and
backpropagation the change of the gradient, which is a product with the Hessian.

At a kink, the derivative is that of the piece on the left, as in the pullbacks of `activations`.
"""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from xpnet.checks import is_list
from xpnet.core.arrays import Array, Function, Namespace, Nest, map_arrays
from xpnet.errors import ArgumentError, unless_stopped


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
    inputs = [_join(primal, tangent, xp) for primal, tangent in zip(primals, tangents)]
    result = function(*inputs, DualNamespace(xp))
    return (
        map_arrays(lambda x: x.value if isinstance(x, Dual) else x, result),
        map_arrays(lambda x: xp.zeros_like(x.value) if x.tangent is None else x.tangent, _as_dual(result, xp)),
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
        ``value(a, y, xp)``: the cost of each example, shape (..., m).
    """

    name: str
    value: Function

    def __call__(self, a: Array, y: Array, xp: Namespace) -> Array:
        """Compute the derivatives with respect to one output after the other, (..., m, n_out)."""
        try:
            columns = [jvp(self.value, (a, y), (unit, None), xp)[1][..., None] for unit in unit_vectors(a, xp)]
        except unless_stopped(TypeError, AttributeError) as error:
            raise ArgumentError(
                f"cost {self.name!r} has no gradient, and its value cannot be differentiated ({error}); compute the "
                "value with operators and functions of xp alone, or give the cost a function gradient(a, y, xp)"
            ) from error
        return columns[0] if len(columns) == 1 else xp.concat(columns, axis=-1)


class Dual:
    """An array with its derivative in one direction."""

    __slots__ = ("tangent", "value", "xp")
    __array_ufunc__ = None  # so that NumPy leaves operators to this class, and refuses its functions
    __hash__ = None  # type: ignore

    def __init__(self, value: Array, tangent: Array | None, xp: Namespace) -> None:
        if tangent is not None and tuple(tangent.shape) != tuple(value.shape):
            tangent = xp.broadcast_to(tangent, value.shape)
        self.value = value
        self.tangent = tangent  # None: zeros
        self.xp = xp

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
        return Dual(linear(self.value), None if self.tangent is None else linear(self.tangent), self.xp)

    def __getitem__(self, key: Any) -> "Dual":
        return self.map(operator.itemgetter(key))

    def __neg__(self) -> "Dual":
        return self.map(operator.neg)

    def __abs__(self) -> "Dual":
        slope = self.xp.where(self.value > 0.0, self.xp.ones_like(self.value), -self.xp.ones_like(self.value))
        return Dual(abs(self.value), _times(slope, self.tangent), self.xp)

    def __add__(self, other: Any) -> "Dual":
        value, tangent = _split(other)
        return Dual(self.value + value, _plus(self.tangent, tangent), self.xp)

    def __sub__(self, other: Any) -> "Dual":
        value, tangent = _split(other)
        return Dual(self.value - value, _plus(self.tangent, _times(-1.0, tangent)), self.xp)

    def __mul__(self, other: Any) -> "Dual":
        value, tangent = _split(other)
        return Dual(self.value * value, _plus(_times(value, self.tangent), _times(self.value, tangent)), self.xp)

    def __truediv__(self, other: Any) -> "Dual":
        value, tangent = _split(other)
        quotient = self.value / value
        change = _plus(self.tangent, _times(-1.0 * quotient, tangent))
        return Dual(quotient, None if change is None else change / value, self.xp)

    def __matmul__(self, other: Any) -> "Dual":
        return _matmul(self.xp, self, other)

    def __radd__(self, other: Any) -> "Dual":
        return self + other

    def __rsub__(self, other: Any) -> "Dual":
        return -self + other

    def __rmul__(self, other: Any) -> "Dual":
        return self * other

    def __rtruediv__(self, other: Any) -> "Dual":
        return _constant(other, self.xp) / self

    def __pow__(self, exponent: Any) -> "Dual":
        if isinstance(exponent, Dual):
            return self.xp_dual.exp(exponent * self.xp_dual.log(self))
        slope = None if self.tangent is None else exponent * self.value ** (exponent - 1)
        return Dual(self.value**exponent, _times(slope, self.tangent), self.xp)

    def __rpow__(self, base: float) -> "Dual":
        return self.xp_dual.exp(self * math.log(base))

    def _without_derivative(self, operation: Function, *others: Any) -> "Dual":
        return _constant(operation(self.value, *[_split(other)[0] for other in others]), self.xp)

    def __lt__(self, other: Any) -> "Dual":
        return self._without_derivative(operator.lt, other)

    def __le__(self, other: Any) -> "Dual":
        return self._without_derivative(operator.le, other)

    def __gt__(self, other: Any) -> "Dual":
        return self._without_derivative(operator.gt, other)

    def __ge__(self, other: Any) -> "Dual":
        return self._without_derivative(operator.ge, other)

    def __eq__(self, other: Any) -> "Dual":  # type: ignore[override]
        return self._without_derivative(operator.eq, other)

    def __ne__(self, other: Any) -> "Dual":  # type: ignore[override]
        return self._without_derivative(operator.ne, other)

    def __and__(self, other: Any) -> "Dual":
        return _constant(self.value & _split(other)[0], self.xp)

    def __or__(self, other: Any) -> "Dual":
        return _constant(self.value | _split(other)[0], self.xp)

    def __xor__(self, other: Any) -> "Dual":
        return _constant(self.value ^ _split(other)[0], self.xp)

    def __invert__(self) -> "Dual":
        return self._without_derivative(operator.invert)

    @property
    def xp_dual(self) -> "DualNamespace":
        """The namespace for dual numbers."""
        return DualNamespace(self.xp)

    def __bool__(self) -> bool:
        return bool(self.value)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise ArgumentError("a function that is not from xp was called")

    __array__ = __array_function__ = __float__ = __int__ = __iter__ = __len__ = __setitem__ = _refuse


class DualNamespace:
    """The namespace of an array library, for dual numbers."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        """Return a function for dual numbers, and dtypes and numbers as they are."""
        xp, known = self._xp, RULES.get(name)
        if known is not None:
            return partial(known, xp)
        value = getattr(xp, name)
        if isinstance(value, type) or not callable(value):
            return value
        if name in LINEAR:

            def apply(x: Any, *args: Any, **options: Any) -> Dual:
                args = _values(args)  # such as an index
                options = {key: _values(option) for key, option in options.items()}
                return _constant(x, xp).map(lambda part: value(part, *args, **options))

            return apply
        if name in SLOPES:
            return partial(_elementwise, value, SLOPES[name], xp)

        def call(*args: Any, **options: Any) -> Any:
            if name not in FLAT and _depends(args):
                raise ArgumentError(f"xp.{name} has no derivative here")
            result = value(*_values(args), **{key: _values(x) for key, x in options.items()})
            return _constant(result, xp) if hasattr(result, "shape") else result

        return call


# How derivatives of functions follow from those of their arguments


def _maximum(xp: Namespace, x: Any, y: Any) -> Dual:
    return _choose(xp, xp.maximum, operator.gt, x, y)


def _minimum(xp: Namespace, x: Any, y: Any) -> Dual:
    return _choose(xp, xp.minimum, operator.le, x, y)


def _choose(xp: Namespace, function: Function, takes_first: Function, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x), _split(y)
    value = function(a, b)
    if s is None and t is None:
        return Dual(value, None, xp)
    zeros = xp.zeros_like(value)
    return Dual(value, xp.where(takes_first(a, b), _plus(s, zeros), _plus(t, zeros)), xp)


def _where(xp: Namespace, condition: Any, x: Any, y: Any) -> Dual:
    (condition, _), (a, s), (b, t) = _split(condition), _split(x), _split(y)
    value = xp.where(condition, a, b)
    if s is None and t is None:
        return Dual(value, None, xp)
    zeros = xp.zeros_like(value)
    return Dual(value, xp.where(condition, _plus(s, zeros), _plus(t, zeros)), xp)


def _clip(xp: Namespace, x: Any, min: Any = None, max: Any = None) -> Dual:
    x = _constant(x, xp) if min is None else _maximum(xp, x, min)
    return x if max is None else _minimum(xp, x, max)


def _logaddexp(xp: Namespace, x: Any, y: Any) -> Dual:
    (a, s), (b, t) = _split(x), _split(y)
    value = xp.logaddexp(a, b)
    return Dual(value, _plus(_times(xp.exp(a - value), s), _times(xp.exp(b - value), t)), xp)


def _extreme(name: str) -> Function:
    """Return the rule of the largest or smallest element; equal ones share the derivative."""

    def rule(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Dual:
        x = _constant(x, xp)
        value = getattr(xp, name)(x.value, axis=axis, keepdims=keepdims)
        if x.tangent is None:
            return Dual(value, None, xp)
        chosen = xp.astype(x.value == getattr(xp, name)(x.value, axis=axis, keepdims=True), x.dtype)
        total, number = (xp.sum(part, axis=axis, keepdims=keepdims) for part in (chosen * x.tangent, chosen))
        return Dual(value, total / number, xp)

    return rule


def _bilinear(name: str) -> Function:
    """Return the rule of a product."""

    def rule(xp: Namespace, x: Any, y: Any, **options: Any) -> Dual:
        product, (a, s), (b, t) = getattr(xp, name), _split(x), _split(y)
        first = None if s is None else product(s, b, **options)
        return Dual(product(a, b, **options), _plus(first, None if t is None else product(a, t, **options)), xp)

    return rule


def _joining(name: str) -> Function:
    """Return the rule of a function that joins a list of arrays."""

    def rule(xp: Namespace, arrays: Sequence[Any], **options: Any) -> Dual:
        join, duals = getattr(xp, name), [_constant(x, xp) for x in arrays]
        value = join([x.value for x in duals], **options)
        if all(x.tangent is None for x in duals):
            return Dual(value, None, xp)
        tangents = [xp.zeros_like(x.value) if x.tangent is None else x.tangent for x in duals]
        return Dual(value, join(tangents, **options), xp)

    return rule


def _sort(xp: Namespace, x: Any, *, axis: int = -1) -> Dual:
    dual = _constant(x, xp)
    order = xp.argsort(dual.value, axis=axis)
    return dual.map(lambda part: xp.take_along_axis(part, order, axis=axis))


def _variance(xp: Namespace, x: Any, *, axis: Any = None, keepdims: bool = False) -> Dual:
    x = _constant(x, xp)
    change = None
    if x.tangent is not None:
        distance = x.value - xp.mean(x.value, axis=axis, keepdims=True)
        change = xp.mean(2.0 * distance * x.tangent, axis=axis, keepdims=keepdims)
    return Dual(xp.var(x.value, axis=axis, keepdims=keepdims), change, xp)


def _operator(function: Function) -> Function:
    def rule(xp: Namespace, x: Any, *others: Any) -> Dual:
        return function(_constant(x, xp), *others)

    return rule


_matmul = _bilinear("matmul")

RULES: dict[str, Function] = {
    **{"maximum": _maximum, "minimum": _minimum, "where": _where, "clip": _clip, "logaddexp": _logaddexp},
    **{name: _extreme(name) for name in ("max", "min")},
    **{"sort": _sort, "var": _variance},
    **{name: _bilinear(name) for name in ("matmul", "vecdot")},
    **{name: _joining(name) for name in ("concat", "stack")},
    **{"add": _operator(Dual.__add__), "subtract": _operator(Dual.__sub__), "multiply": _operator(Dual.__mul__)},
    **{"divide": _operator(Dual.__truediv__), "pow": _operator(Dual.__pow__), "abs": _operator(Dual.__abs__)},
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


def _elementwise(function: Function, slope: Function, xp: Namespace, x: Any) -> Dual:
    value, tangent = _split(x)
    result = function(value)
    return Dual(result, None if tangent is None else slope(value, result, xp) * tangent, xp)


def _join(primal: Nest, tangent: Any, xp: Namespace) -> Any:
    """Join a nest of arrays and a nest of derivatives into one of dual numbers."""
    if not isinstance(primal, tuple):
        return None if primal is None else Dual(primal, tangent, xp)
    parts = [_join(x, t, xp) for x, t in zip(primal, tangent or [None] * len(primal))]
    return getattr(primal, "_make", tuple)(parts)


def _as_dual(nest: Any, xp: Namespace) -> Any:
    return map_arrays(lambda x: _constant(x, xp), nest)


def _constant(x: Any, xp: Namespace) -> Dual:
    """Make a dual number with the derivative 0, unless it is one already."""
    return x if isinstance(x, Dual) else Dual(x, None, xp)


def _split(x: Any) -> tuple[Any, Array | None]:
    return (x.value, x.tangent) if isinstance(x, Dual) else (x, None)


def _values(nest: Any) -> Any:
    if is_list(nest):
        return type(nest)(map(_values, nest))
    return _split(nest)[0]


def _depends(nest: Any) -> bool:
    """Whether any array among arguments has a derivative."""
    if is_list(nest):
        return any(map(_depends, nest))
    return _split(nest)[1] is not None


def _plus(x: Array | None, y: Array | None) -> Array | None:
    if x is None or y is None:
        return y if x is None else x
    return x + y


def _times(factor: Any, x: Array | None) -> Array | None:
    return None if x is None else factor * x
