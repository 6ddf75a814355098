"""A graph of ONNX operators: nodes are added one by one, or recorded while a function of arrays runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.core.activations import Activation
from xpnet.wording.errors import unless_stopped


class Graph:
    """The nodes and constants of a model, as plain values; `xpnet.export.onnx` writes them.

    Examples
    --------
    >>> graph = Graph("float32")
    >>> y = graph.add("Relu", [graph.input("x", 3)])
    >>> graph.nodes, y.name, y.shape
    ([('Relu', ['x'], 'Relu_1', {})], 'Relu_1', (None, 3))
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []  # operator, inputs, output, attributes
        self.constants: dict[str, np.ndarray] = {}
        self._numbers: dict[float, Symbol] = {}
        self._count: Counter[str] = Counter()

    def input(self, name: str, n: int) -> Symbol:
        """Return the symbol of an input, (batch, n)."""
        return Symbol(self, name, n)

    def constant(self, name: str, value: np.ndarray) -> Symbol:
        """Add an array, and return its symbol."""
        self.constants[name] = value
        return Symbol(self, name, value.shape[-1] if value.ndim else 1)

    def number(self, value: float) -> Symbol:
        """Return the symbol of a number in the dtype of the graph; equal numbers are one constant."""
        if value not in self._numbers:
            self._numbers[value] = self.constant(f"number_{len(self._numbers) + 1}", np.asarray(value, self.dtype))
        return self._numbers[value]

    def add(self, operator: str, inputs: Sequence[Symbol], n: int | None = None, **attributes: Any) -> Symbol:
        """Add a node, and return the symbol of its output; it has the largest width of the inputs unless given."""
        self._count[operator] += 1
        name = f"{operator}_{self._count[operator]}"
        self.nodes.append((operator, [symbol.name for symbol in inputs], name, attributes))
        return Symbol(self, name, max(symbol.n for symbol in inputs) if n is None else n)

    def finish(self, symbol: Symbol, name: str) -> None:
        """Give the output of the graph its name."""
        self.nodes = [
            (
                operator,
                [name if old == symbol.name else old for old in inputs],
                name if output == symbol.name else output,
                more,
            )
            for operator, inputs, output, more in self.nodes
        ]


class Symbol:
    """Stands for an array (batch, n) while a function runs, and records what is done to it."""

    __array_ufunc__ = None  # NumPy's own functions refuse it, and do not make an array of it

    def __init__(self, graph: Graph, name: str, n: int, is_mask: bool = False) -> None:
        self.graph, self.name, self.n, self.is_mask = graph, name, n, is_mask

    @property
    def shape(self) -> tuple[None, int]:
        """Shape: the number of rows is not known."""
        return None, self.n

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 2

    @property
    def dtype(self) -> str:
        """The dtype of the graph."""
        return self.graph.dtype

    def __bool__(self) -> bool:
        raise TypeError("it asks for the value of an array")

    def __add__(self, other: Any) -> Symbol:
        return _record(self.graph, "Add", self, other)

    def __radd__(self, other: Any) -> Symbol:
        return _record(self.graph, "Add", other, self)

    def __sub__(self, other: Any) -> Symbol:
        return _record(self.graph, "Sub", self, other)

    def __rsub__(self, other: Any) -> Symbol:
        return _record(self.graph, "Sub", other, self)

    def __mul__(self, other: Any) -> Symbol:
        return _record(self.graph, "Mul", self, other)

    def __rmul__(self, other: Any) -> Symbol:
        return _record(self.graph, "Mul", other, self)

    def __truediv__(self, other: Any) -> Symbol:
        return _record(self.graph, "Div", self, other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return _record(self.graph, "Div", other, self)

    def __neg__(self) -> Symbol:
        return _record(self.graph, "Neg", self)

    def __abs__(self) -> Symbol:
        return _record(self.graph, "Abs", self)

    def __pow__(self, other: Any) -> Symbol:
        return _record(self.graph, "Pow", self, other)

    def __lt__(self, other: Any) -> Symbol:
        return _compare(self.graph, "Less", self, other)

    def __le__(self, other: Any) -> Symbol:
        return _compare(self.graph, "LessOrEqual", self, other)

    def __gt__(self, other: Any) -> Symbol:
        return _compare(self.graph, "Greater", self, other)

    def __ge__(self, other: Any) -> Symbol:
        return _compare(self.graph, "GreaterOrEqual", self, other)

    def __getitem__(self, key: Any) -> Symbol:
        """Take columns, as in ``z[..., k:]``."""
        if not (isinstance(key, tuple) and len(key) == 2 and key[0] is ... and isinstance(key[1], slice)):
            raise TypeError(f"it takes the elements [{key!r}]; columns are taken as in z[..., a:b]")
        start, stop, step = key[1].indices(self.n)
        if step != 1 or stop <= start:
            raise TypeError(f"it takes the elements [{key!r}]; columns are taken as in z[..., a:b]")
        bounds = [
            self.graph.constant(f"{name}_{bound}", np.array([bound], np.int64))
            for name, bound in (("start", start), ("stop", stop), ("axis", 1))
        ]
        return self.graph.add("Slice", [self, *bounds], stop - start)


class Recorder:
    """A namespace of the functions that can be recorded, in place of an array library."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        operators = {
            **{"exp": "Exp", "log": "Log", "tanh": "Tanh", "abs": "Abs", "sqrt": "Sqrt", "sin": "Sin"},
            **{"sign": "Sign", "maximum": "Max", "minimum": "Min"},
        }
        if name not in operators:
            raise AttributeError(f"it uses xp.{name}, which is not recorded")
        return lambda *args: _record(self._graph, operators[name], *args)

    def where(self, mask: Symbol, x: Any, y: Any) -> Symbol:
        """Record x where a comparison is true, else y."""
        if not getattr(mask, "is_mask", False):
            raise TypeError("it uses xp.where without a comparison")
        return self._graph.add("Where", [mask, *_to_symbols(self._graph, (x, y))])

    def astype(self, x: Symbol, dtype: Any) -> Symbol:
        """Record the conversion of a comparison to numbers."""
        if dtype != self._graph.dtype:
            raise TypeError(f"it converts to {dtype}")
        return _to_symbols(self._graph, [x])[0]

    def log1p(self, x: Symbol) -> Symbol:
        """Record ln(1 + x)."""
        return self.log(1.0 + x)

    def expm1(self, x: Symbol) -> Symbol:
        """Record eˣ − 1."""
        return self.exp(x) - 1.0

    def max(self, x: Symbol, axis: int = -1, keepdims: bool = False) -> Symbol:
        """Record the maximum of each row."""
        _check_rows(axis, keepdims)
        return self._graph.add("ReduceMax", [x], 1, axes=[-1], keepdims=1)

    def sum(self, x: Symbol, axis: int = -1, keepdims: bool = False) -> Symbol:
        """Record the sum of each row."""
        _check_rows(axis, keepdims)
        axes = self._graph.constant("axes", np.array([-1], np.int64))
        return self._graph.add("ReduceSum", [x, axes], 1, keepdims=1)

    def concat(self, arrays: Sequence[Symbol], axis: int = 0) -> Symbol:
        """Record columns beside each other."""
        if axis not in (-1, 1):
            raise TypeError(f"it joins arrays along axis {axis}; columns are joined with axis=-1")
        return self._graph.add("Concat", arrays, sum(array.n for array in arrays), axis=-1)


def _check_rows(axis: Any, keepdims: Any) -> None:
    if axis not in (-1, 1) or keepdims is not True:
        raise TypeError("it reduces other axes than rows; rows are reduced with axis=-1, keepdims=True")


def _record(graph: Graph, operator: str, *args: Any) -> Symbol:
    return graph.add(operator, _to_symbols(graph, args))


def _compare(graph: Graph, operator: str, *args: Any) -> Symbol:
    symbol = _record(graph, operator, *args)
    symbol.is_mask = True
    return symbol


def _to_symbols(graph: Graph, values: Sequence[Any]) -> list[Symbol]:
    """Make symbols of numbers, and numbers of comparisons: 1 where they are true."""
    symbols = []
    for value in values:
        if not isinstance(value, Symbol) and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise TypeError(f"it computes with a {type(value).__name__}")
        symbol = value if isinstance(value, Symbol) else graph.number(float(value))
        symbols.append(graph.add("Cast", [symbol]) if symbol.is_mask else symbol)
    return symbols


def record(graph: Graph, sigma: Activation, z: Symbol) -> Symbol:
    """Record an activation from its function, the one with which networks compute.

    Raises
    ------
    ValueError
        If the function does something that cannot be recorded.
    """
    reason = "it does not return an array of the same shape"
    try:
        a = sigma.value(z, Recorder(graph))
        if isinstance(a, Symbol) and a.n == z.n and not a.is_mask:
            return a
    except unless_stopped(Exception) as error:  # of the user's own function
        reason = str(error) or type(error).__name__
        cause: Exception | None = error
    else:
        cause = None
    raise ValueError(
        f"activation={sigma.name!r} cannot be written as ONNX operators: {reason}; write its value with +, -, *, /, ** "
        "and xp.exp, xp.log, xp.log1p, xp.expm1, xp.tanh, xp.sin, xp.abs, xp.sqrt, xp.sign, xp.maximum, xp.minimum or "
        "xp.where, or use an activation of xpnet"
    ) from cause
