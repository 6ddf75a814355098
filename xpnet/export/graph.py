"""A graph of ONNX operators: nodes are added one by one, or for each recorded operation of a function."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from xpnet.backends import get_backend
from xpnet.backends.base import Eager
from xpnet.backends.replay import RecordedArray, RecordedView, Recorder
from xpnet.core.activations import Activation
from xpnet.errors import ArgumentError

__all__ = [
    "Graph",
    "Symbol",
    "ValueInfo",
    "add_recorded",
]

# The names of NumPy's functions -> ONNX operators
OPERATORS = {
    **{"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg"},
    **{"pow": "Pow", "power": "Pow"},  # by the operator and the function
    **{"exp": "Exp", "log": "Log", "tanh": "Tanh", "sin": "Sin", "sqrt": "Sqrt", "absolute": "Abs", "sign": "Sign"},
    **{"less": "Less", "less_equal": "LessOrEqual", "greater": "Greater", "greater_equal": "GreaterOrEqual"},
    **{"maximum": "Max", "minimum": "Min", "where": "Where"},
}


class Symbol(NamedTuple):
    """An array (batch, n) of a graph, by its name."""

    name: str
    n: int


class ValueInfo(NamedTuple):
    """An input or output of a graph."""

    name: str
    dtype: str  # of NumPy, or "string"
    shape: tuple[int, ...]  # of one example
    description: str = ""


class Graph:
    """The nodes and constants of a model, as plain values; `xpnet.export.onnx` writes them.

    Equal nodes become one, and so do equal constants of one name: members of an ensemble share what they have in
    common. Inputs come first, because all other names give way to theirs.

    Examples
    --------
    >>> graph = Graph("float32")
    >>> x = graph.input(ValueInfo("x", "float32", (3,)))
    >>> graph.add("Relu", [x]), graph.add("Relu", [x])
    (Symbol(name='Relu_1', n=3), Symbol(name='Relu_1', n=3))
    >>> graph.nodes
    [('Relu', ['x'], 'Relu_1', {})]
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.inputs: list[ValueInfo] = []
        self.outputs: list[ValueInfo] = []
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []  # operator, inputs, output, attributes
        self.constants: dict[str, np.ndarray] = {}
        self._names: set[str] = set()  # that are in use
        self._count: Counter[str] = Counter()

    def input(self, value: ValueInfo) -> Symbol:
        """Add an input, and return its symbol."""
        self.inputs.append(value)
        self._names.add(value.name)
        return Symbol(value.name, value.shape[-1])

    def constant(self, name: str, value: np.ndarray) -> Symbol:
        """Add an array, and return its symbol."""
        while name in self._names and not _are_same(self.constants.get(name), value):
            name += "_"
        self._names.add(name)
        self.constants[name] = value
        return Symbol(name, value.shape[-1] if value.ndim else 1)

    def number(self, value: float) -> Symbol:
        """Return the symbol of a number in the dtype of the graph; equal numbers are one constant."""
        name = f"number_{value:.17g}".translate(str.maketrans({".": "p", "-": "m", "+": None}))  # names are identifiers
        return self.constant(name, np.asarray(value, self.dtype))

    def add(self, operator: str, inputs: Sequence[Symbol | float], n: int | None = None, **attributes: Any) -> Symbol:
        """Add a node, and return the symbol of its output; it is as wide as the widest input unless `n` is given."""
        symbols = [x if isinstance(x, Symbol) else self.number(x) for x in inputs]
        n = max(symbol.n for symbol in symbols) if n is None else n
        names = [symbol.name for symbol in symbols]
        for other, sources, output, settings in self.nodes:
            if (other, sources, settings) == (operator, names, attributes):
                return Symbol(output, n)
        self._count[operator] += 1
        name = self._choose_name(f"{operator}_{self._count[operator]}")
        self.nodes.append((operator, names, name, attributes))
        return Symbol(name, n)

    def take_columns(self, x: Symbol, columns: np.ndarray) -> Symbol:
        """Add a node that takes columns in this order, unless it is that of x."""
        if np.array_equal(columns, np.arange(x.n)):
            return x
        return self.add("Gather", [x, self.constant("columns", columns.astype(np.int64))], len(columns), axis=1)

    def output(self, symbol: Symbol, value: ValueInfo) -> None:
        """Make the result of a node an output."""
        name = self._choose_name(value.name)
        self.outputs.append(value._replace(name=name))
        self.nodes.append(("Identity", [symbol.name], name, {}))

    def _choose_name(self, name: str) -> str:
        """Choose a name that is not in use: this one, or with underscores behind it."""
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _are_same(a: np.ndarray | None, b: np.ndarray) -> bool:
    return a is not None and a.dtype == b.dtype and np.array_equal(a, b)


def add_recorded(graph: Graph, sigma: Activation, inputs: Sequence[Symbol], part: str = "value") -> Symbol:
    """Add the value, or the "pullback", of an activation by recording the function that networks compute it with.

    Raises
    ------
    ArgumentError
        If the function does anything that cannot be written as operators.
    """
    function = getattr(sigma, part)
    try:
        two, three = Graph(graph.dtype), Graph(graph.dtype)
        _Recording(two, inputs, 2).add(function)
        _Recording(three, inputs, 3).add(function)
        if (two.nodes, [*two.constants]) != (three.nodes, [*three.constants]):
            raise ArgumentError("it depends on the number of examples")
        return _Recording(graph, inputs, 2).add(function)
    except Exception as error:  # of the user's own function
        raise ArgumentError(
            f"activation={sigma.name!r} cannot be written as ONNX operators: {error or type(error).__name__}; write "
            f"its {part} with +, -, *, /, ** and xp.exp, xp.log, xp.log1p, xp.expm1, xp.tanh, xp.sin, xp.abs, xp.sqrt, "
            "xp.sign, xp.maximum, xp.minimum or xp.where, or use an activation of xpnet"
        ) from error


class _Recording:
    """Records a function while it computes some rows, as steps are recorded, and adds its operations to a graph."""

    def __init__(self, graph: Graph, inputs: Sequence[Symbol], rows: int) -> None:
        self.graph = graph
        self.recorder = Recorder(cast(Eager, get_backend("numpy")))
        self.inputs = [self.recorder.wrap(np.ones((rows, symbol.n), graph.dtype)) for symbol in inputs]
        # By the arrays that hold the values now; later results may reuse their memory
        self.symbols = {id(x.array): symbol for x, symbol in zip(self.inputs, inputs)}
        self.views: dict[int, RecordedView] = {}

    def add(self, function: Callable[..., Any]) -> Symbol:
        """Record a call of the function, and return the symbol of its result."""
        with np.errstate(all="ignore"):
            a = function(*self.inputs, self.recorder.namespace())
        first = self.inputs[0]
        self.views = {id(view.array): view for view in self.recorder.views}
        for call in self.recorder.calls:
            function, args, options, out = call.args[-4:]
            symbol = self._add_call(function.__name__.strip("_"), args, options)
            if out.shape != (len(first.array), symbol.n):
                raise ArgumentError("it mixes examples, or has results that are not (batch, n)")
            if out.dtype not in (self.graph.dtype, "bool"):
                raise ArgumentError(f"it converts to {out.dtype}")
            if id(out) in self.symbols:  # overwritten
                self.symbols = {key: value for key, value in self.symbols.items() if key not in self.views}
            self.symbols[id(out)] = symbol
        symbol = self._find(a.array) if isinstance(a, RecordedArray) else None
        if symbol is None or (a.shape, a.dtype, symbol.n) != (first.shape, first.dtype, first.shape[1]):
            raise ArgumentError("it does not return an array of the same shape and dtype")
        return symbol

    def _add_call(self, name: str, args: Sequence[Any], options: dict[str, Any]) -> Symbol:
        add = self.graph.add
        match name:
            case "concatenate":
                symbols = [self._find(x) for x in args[0]]
                return add("Concat", symbols, sum(symbol.n for symbol in symbols), axis=-1)
            case "astype":
                return self._find(args[0])
            case "log1p":
                return add("Log", [add("Add", [1.0, self._find(args[0])])])
            case "expm1":
                return add("Sub", [add("Exp", [self._find(args[0])]), 1.0])
            case "max":
                return add("ReduceMax", [self._find(args[0])], 1, axes=[-1], keepdims=1)
            case "sum":
                axes = self.graph.constant("axes", np.array([-1], np.int64))
                return add("ReduceSum", [self._find(args[0]), axes], 1, keepdims=1)
            case "where" if str(args[0].dtype) != "bool":
                raise ArgumentError("it uses xp.where without a comparison")
        if name not in OPERATORS or options:
            raise ArgumentError(f"it uses {name}, which has no operator here")
        return add(OPERATORS[name], [self._find(x, is_mask=name == "where" and x is args[0]) for x in args])

    def _find(self, x: Any, is_mask: bool = False) -> Symbol:
        """Find the symbol of an argument; a comparison becomes numbers, 1 where it is true, unless it is a mask."""
        if id(x) in self.views and id(x) not in self.symbols:
            self.symbols[id(x)] = self._add_slice(self.views[id(x)])
        if id(x) not in self.symbols:
            return self._find_number(x)
        symbol = self.symbols[id(x)]
        if str(x.dtype) == "bool" and not is_mask:
            return self.graph.add("Cast", [symbol], to=self.graph.dtype)
        return symbol

    def _add_slice(self, view: RecordedView) -> Symbol:
        """Add a view of an array: some of its columns."""
        source = view.args[0]
        numbers = np.arange(source.size).reshape(source.shape)
        taken = view.function(numbers, *view.args[1:], **view.options)
        columns = taken.flat[: taken.shape[-1]] % source.shape[-1]
        if not np.array_equal(taken, numbers[:, columns]):
            raise ArgumentError("it takes other elements than columns; columns are taken as in z[..., a:b]")
        return self.graph.take_columns(self._find(source, is_mask=True), columns)

    def _find_number(self, x: Any) -> Symbol:
        values = np.unique(x)
        if len(values) != 1:
            raise ArgumentError("it computes with an array of its own")
        return self.graph.number(float(values[0]))
