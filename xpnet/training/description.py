"""Descriptions of values of any kind, by which a checkpoint tells whether it is resumed with the same ones.

A description is a text that is the same in another process. It shows what is short, and has digests of the rest.
"""

import copyreg
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from xpnet.backends.base import CONVERSION_ERRORS
from xpnet.backends.choose import to_host
from xpnet.core.arrays import blocks
from xpnet.wording.checks import has_methods
from xpnet.wording.errors import unless_stopped

PLAIN = (type(None), bool, int, float, complex, str, bytes)
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
LONGEST = 500  # characters of an object or a list that are shown; longer ones become digests
Describe = Callable[[Any], str]


def describe(value: Any) -> str:
    """Describe a value by all that it holds.

    Estimators are described by their parameters; arrays and tables by digests of their numbers; functions by their code
    and the values that it refers to; other objects by their class and by what a pickle would hold.

    Examples
    --------
    >>> describe([(0.1, len), "adam"])
    "[(0.1, len), 'adam']"
    >>> describe(lambda x: x + 1) == describe(lambda x: x + 1), describe(lambda x: x + 1) == describe(lambda x: x + 2)
    (True, False)
    """
    return _describe(value, (), True)


def _describe(value: Any, within: tuple[Any, ...], is_parameter: bool) -> str:
    """Describe a value that the objects `within` enclose; those among them are not described again.

    `is_parameter` tells that an estimator will be copied without its fitted attributes, so that these do not count.
    """
    plain = value.item() if issubclass(type(value), np.generic) else value
    if type(plain) in PLAIN:
        return _shorten(repr(plain), type(plain).__name__)
    if any(value is other for other in within):
        return f"<the {type(value).__name__} around it>"

    def describe_item(part: Any) -> str:
        return _describe(part, (*within, value), is_parameter)

    def describe_part(part: Any) -> str:
        return _describe(part, (*within, value), False)

    if type(value) in (list, tuple, set, frozenset, dict):
        return _describe_container(value, describe_item)
    if has_methods(value, "_make"):  # a NamedTuple, such as an activation
        return _call(_name(type(value)), (f"{name}={describe_item(part)}" for name, part in value._asdict().items()))
    if is_parameter and _is_cloned_by_parameters(value):
        parameters = describe_parameters(value.get_params(deep=False), describe_item)
        return _call(_name(type(value)), (f"{name}={text}" for name, text in parameters.items()))
    if isinstance(value, FunctionType):
        return _describe_function(value, describe_part)
    if isinstance(value, MethodType):
        return _call(describe_part(value.__func__), [describe_part(value.__self__)])
    if isinstance(value, functools.partial):
        keywords = (f"{name}={describe_part(part)}" for name, part in sorted(value.keywords.items()))
        return _call("partial", [*map(describe_part, (value.func, *value.args)), *keywords])
    if isinstance(value, (type, ModuleType)):
        return _name(value)
    return _describe_numbers(value, describe_part) or _describe_object(value, describe_part)


def _is_cloned_by_parameters(value: Any) -> bool:
    """Tell whether scikit-learn copies an estimator without its fitted attributes; a `FrozenEstimator` keeps them."""
    clone = getattr(type(value), "__sklearn_clone__", None)
    return has_methods(value, "get_params") and (clone is None or clone.__module__ == "sklearn.base")


def describe_parameters(parameters: Mapping[str, Any], describe: Describe = describe) -> dict[str, str]:
    """Describe the parameters of an estimator that decide its results."""
    return {name: describe(value) for name, value in parameters.items() if not name.endswith("verbose")}


def _describe_container(value: Any, describe_item: Describe) -> str:
    """Describe a list, tuple, set or dict; sets in an order that is the same in all processes, and dicts in any."""
    kind = type(value).__name__
    if kind == "dict":
        parts = sorted(f"{describe_item(key)}: {describe_item(item)}" for key, item in value.items())
        return _shorten(f"{{{', '.join(parts)}}}", kind)
    parts = [describe_item(item) for item in value]
    if kind == "list":
        return _shorten(f"[{', '.join(parts)}]", kind)
    if kind == "tuple":
        return _shorten(f"({', '.join(parts)}{',' if len(parts) == 1 else ''})", kind)
    return _shorten(f"{{{', '.join(sorted(parts))}}}", kind)


def _describe_numbers(value: Any, describe_part: Describe) -> str | None:
    """Describe generators by their states; arrays, sparse matrices and tables by their numbers; None for anything else.

    Pickles of these may differ though they are equal: tables and sparse matrices are arranged anew while they are used.
    """
    name = type(value).__name__
    if isinstance(value, np.random.RandomState):
        return _call(name, [describe_part(value.get_state(legacy=False))])
    if isinstance(value, np.random.Generator):
        return _call(name, [describe_part(value.bit_generator.state)])
    if hasattr(value, "iloc") and hasattr(value, "index"):  # of pandas
        columns = value.items() if value.ndim == 2 else [(value.name, value)]
        parts = [(key, str(column.dtype), column.to_numpy()) for key, column in columns]
        return _shorten(_call(name, map(describe_part, [value.index.to_numpy(), *parts])), name)
    if has_methods(value, "tocoo"):
        entries = value.tocoo()
        return _call(name, map(describe_part, (value.shape, entries.row, entries.col, entries.data)))
    try:
        value = to_host(value)
        return _describe_array(value, describe_part) if _is_array(value) else None
    except unless_stopped(*CONVERSION_ERRORS):  # it has a dtype that NumPy lacks
        return None


def _is_array(value: Any) -> bool:
    """Tell whether an object is an array of NumPy, or can be read as one: masks and units would be lost in that."""
    if isinstance(value, np.ndarray):
        return type(value) in (np.ndarray, np.memmap)
    return not isinstance(value, type) and all(hasattr(value, name) for name in ("__array__", "shape", "dtype"))


def _describe_array(value: Any, describe_part: Describe) -> str:
    """Describe an array by a digest of its numbers, in the order of its rows, wherever they lie."""
    if np.dtype(value.dtype).hasobject:
        return _call("ndarray", map(describe_part, (value.shape, np.asarray(value).ravel().tolist())))
    result = hashlib.sha256()
    for block in blocks(value) if value.shape else [value]:
        result.update(np.ascontiguousarray(block).data)
    return f"<array {value.dtype} {tuple(value.shape)} {result.hexdigest()[:16]}>"


def _describe_function(function: FunctionType, describe_part: Describe) -> str:
    """Describe a function by its name, and by a digest of what it does, as far as that stands in its own module.

    That is its code, its defaults, the values that it encloses, and the functions, numbers and texts of its module that
    it names, and what these name in turn.
    """
    parts, remaining, seen = [], [function], {id(function)}
    while remaining:
        part = remaining.pop()
        named = _find_globals(part)
        functions = [value for value in named.values() if isinstance(value, FunctionType)]
        remaining += [value for value in functions if id(value) not in seen]
        seen |= set(map(id, functions))
        values = [item for item in named.items() if not isinstance(item[1], FunctionType)]
        enclosed = [_open_cell(cell) for cell in part.__closure__ or ()]
        code = _list_code(part.__code__, part.__doc__)
        parts.append(describe_part((_name(part), code, part.__defaults__, part.__kwdefaults__, enclosed, values)))
    return f"<function {_name(function)} {_digest(''.join(sorted(parts)))}>"


def _find_globals(function: FunctionType) -> dict[str, Any]:
    """Find the functions of its own module, and the plain values, that a function names and does not assign."""
    import dis  # slow to import

    loaded, stored = set(), set()
    for code in _walk_code(function.__code__):
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                loaded.add(instruction.argval)
            elif instruction.opname == "STORE_GLOBAL":
                stored.add(instruction.argval)
    variables = function.__globals__
    values = {name: variables[name] for name in sorted(loaded - stored) if name in variables}
    return {
        name: value
        for name, value in values.items()
        if type(value) in PLAIN or (isinstance(value, FunctionType) and value.__globals__ is variables)
    }


def _walk_code(code: CodeType) -> Iterator[CodeType]:
    """List the code of a function, and that of the functions in it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _walk_code(item)


def _list_code(code: CodeType, doc: str | None = None) -> tuple[Any, ...]:
    """List the instructions of a function with the names and constants in them, but not lines, nor its docstring."""
    constants = (None, *code.co_consts[1:]) if doc is not None and code.co_consts[:1] == (doc,) else code.co_consts
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    numbers = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    parts = [_list_code(item) if isinstance(item, CodeType) else item for item in constants]
    return code.co_code, code.co_exceptiontable, code.co_names, arguments, numbers, parts


def _open_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it has no value yet
        return ()


def _describe_object(value: Any, describe_part: Describe) -> str:
    """Describe an object by its class, by what a pickle of it would hold, and by the code that calling it runs.

    An object that cannot be pickled is described by its repr.
    """
    kind = type(value)
    functions = [getattr(value, "__wrapped__", None), getattr(kind, "__call__", None)]  # noqa: B004
    code = [describe_part(function) for function in functions if isinstance(function, FunctionType)]
    try:
        pickled: Any = copyreg.dispatch_table.get(kind, lambda value: value.__reduce_ex__(4))(value)
    except unless_stopped(Exception):  # whatever a user's own method raises
        pickled = None
    if not isinstance(pickled, tuple):  # a name in its module
        name = ADDRESS.sub("", repr(value)) if pickled is None else _name(value, pickled)
        return _call(name, code) if code else name
    parts: Any = (*pickled, None, None, None)
    make, arguments, state, items, entries = parts[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        make, *arguments = arguments
    parts = [*map(describe_part, arguments)]
    if isinstance(state, dict):
        parts += sorted(f"{name}={describe_part(part)}" for name, part in state.items())
    elif state is not None:
        parts.append(describe_part(state))
    parts += [describe_part(list(part)) for part in (items, entries) if part is not None]
    return _shorten(_call(_name(make), [*parts, *code]), _name(kind))


def _name(value: Any, name: str = "") -> str:
    """Name a class, function or module, with its module unless that is one of xpnet's or scikit-learn's."""
    if isinstance(value, ModuleType):
        return value.__name__
    module = str(getattr(value, "__module__", None) or type(value).__module__)
    name = name or getattr(value, "__qualname__", type(value).__name__)
    return name if module.partition(".")[0] in ("builtins", "sklearn", "xpnet") else f"{module}.{name}"


def _call(name: str, parts: Iterable[str]) -> str:
    return f"{name}({', '.join(parts)})"


def _shorten(text: str, name: str) -> str:
    """Replace a text that is too long to be read by a name and its digest."""
    return text if len(text) <= LONGEST else f"<{name} {_digest(text)}>"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
