"""Descriptions of values of any kind, by which a checkpoint tells whether it is resumed with the same ones.

A description is a text that is the same in another process. It shows what is short, and has digests of the rest.
`describe_call` makes them of the arguments of a call, which `comparison.py` compares.
"""

import copyreg
import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from xpnet.backends.base import CONVERSION_ERRORS
from xpnet.backends.choose import to_host
from xpnet.checks import has_methods
from xpnet.core.arrays import blocks
from xpnet.errors import unless_stopped

PLAIN = (type(None), bool, int, float, complex, str, bytes)
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
LONGEST = 500  # characters of an object or a list that are shown; longer ones become digests
Describe = Callable[[Any], str]


def describe(value: Any) -> str:
    """Describe a value by all that it holds.

    Estimators are described by their parameters; arrays and tables by digests of their numbers; functions by their code
    and the values that it refers to; other objects by their class and by what a pickle would hold; classes by their
    code, if they are the user's own.

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
        fields = (f"{name}={describe_item(part)}" for name, part in value._asdict().items())
        return _call(_describe_class(type(value), describe_part), fields)
    if is_parameter and _is_cloned_by_parameters(value):
        parameters = describe_call(value.get_params(deep=False), describe_item)
        return _call(
            _describe_class(type(value), describe_part), (f"{name}={text}" for name, text in parameters.items())
        )
    if isinstance(value, FunctionType):
        return _describe_code(value, describe_part)
    if isinstance(value, MethodType):
        return _call(describe_part(value.__func__), [describe_part(value.__self__)])
    if isinstance(value, functools.partial):
        keywords = (f"{name}={describe_part(part)}" for name, part in sorted(value.keywords.items()))
        return _call("partial", [*map(describe_part, (value.func, *value.args)), *keywords])
    if isinstance(value, type):
        return _describe_class(value, describe_part)
    if isinstance(value, ModuleType):
        return _name(value)
    return _describe_numbers(value, describe_part) or _describe_object(value, describe_part)


def _is_cloned_by_parameters(value: Any) -> bool:
    """Tell whether scikit-learn copies an estimator without its fitted attributes; a `FrozenEstimator` keeps them."""
    clone = getattr(type(value), "__sklearn_clone__", None)
    return has_methods(value, "get_params") and (clone is None or clone.__module__ == "sklearn.base")


def describe_call(arguments: Mapping[str, Any], describe: Callable[[Any], Any] = describe) -> dict[str, Any]:
    """Describe a call by its arguments; those that only print decide nothing, and are left out."""
    return {name: describe(value) for name, value in arguments.items() if not name.endswith("verbose")}


def to_plain(value: Any) -> Any:
    """Convert an argument to plain values, as in JSON; an object becomes its description.

    Examples
    --------
    >>> to_plain({"class_weight": {np.int64(1): np.float32(0.5)}, "hidden_layer_sizes": (5,)})
    {'class_weight': {'1': 0.5}, 'hidden_layer_sizes': [5]}
    """
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return describe(value)


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


def _describe_code(value: Any, describe_part: Describe) -> str:
    """Describe a function or a class by its name, and by a digest of what it does.

    That is its code and all that this names, and what these name in turn, as far as it is the user's own; numbers say
    which function or class is meant where, in the order in which they are found.
    """
    own, found, parts = _find_module(value), [value], []

    def refer(part: Any) -> Any:
        if isinstance(part, (staticmethod, classmethod)):
            return type(part).__name__, refer(part.__func__)
        wrapped = None if isinstance(part, (FunctionType, type)) else getattr(part, "__wrapped__", None)
        part = wrapped if isinstance(wrapped, FunctionType) else part  # by lru_cache, say
        if isinstance(part, FunctionType) or (isinstance(part, type) and _is_own(_find_module(part))):
            if all(part is not other for other in found):
                found.append(part)
            return f"#{next(i for i, other in enumerate(found) if part is other)}"
        return _name(part) if _is_named(part) else part

    for part in found:  # which grows
        if isinstance(part, type):
            parts.append(
                describe_part((_name(part), [refer(base) for base in part.__bases__], _list_attributes(part, refer)))
            )
            continue
        enclosed = [refer(_open_cell(cell)) for cell in part.__closure__ or ()]
        texts: tuple[Any, ...] = (_name(part), part.__defaults__, part.__kwdefaults__, enclosed)
        if _find_module(part) == own or _is_own(_find_module(part)):
            texts += (_list_code(part.__code__, part.__doc__), _list_globals(part, refer))
        parts.append(describe_part(texts))
    return f"<{'class' if isinstance(value, type) else 'function'} {_name(value)} {_digest(''.join(parts))}>"


def _describe_class(kind: type, describe_part: Describe) -> str:
    """Describe a class of the user's own by its code, and any other by its name."""
    return _describe_code(kind, describe_part) if _is_own(_find_module(kind)) else _name(kind)


def _find_module(value: Any) -> str:
    """Return the name of the module in which a function or a class was written; `functools.wraps` gives others."""
    module = value.__globals__.get("__name__") if isinstance(value, FunctionType) else getattr(value, "__module__", "")
    return str(module)


def _is_own(module: str) -> bool:
    """Tell whether a module is the user's own: neither Python's nor that of an installed package."""
    package = module.partition(".")[0]
    if package in ("xpnet", "sklearn") or package in sys.stdlib_module_names:
        return False
    if package == "__main__":  # whose file is that of pytest under `python -m pytest`
        return True
    file = str(getattr(sys.modules.get(package), "__file__", None))
    return not {"site-packages", "dist-packages"} & set(PurePath(file).parts)


def _list_attributes(kind: type, refer: Callable[[Any], Any]) -> list[tuple[str, Any]]:
    """List the methods of a class, and the values that it defines and its methods do not assign, as counters are."""
    attributes, assigned = [], set()
    for name, value in sorted(vars(kind).items()):
        if isinstance(value, FunctionType):
            assigned |= _find_names(value, "STORE_ATTR")
        if isinstance(value, (property, functools.cached_property)):
            getters = (value.fget, value.fset) if isinstance(value, property) else (value.func,)
            attributes.append((name, [refer(function) for function in getters]))
        elif isinstance(value, FunctionType) or (not name.startswith("__") and _is_compared(value)):
            attributes.append((name, _refer_in(value, refer)))
    return [(name, value) for name, value in attributes if name not in assigned or _is_named(vars(kind)[name])]


def _list_globals(function: FunctionType, refer: Callable[[Any], Any]) -> list[tuple[str, Any]]:
    """List the global variables that a function names and does not assign, and what it names of the user's modules."""
    variables = function.__globals__
    loaded = _find_names(function, "LOAD_GLOBAL", "LOAD_NAME") - _find_names(function, "STORE_GLOBAL")
    values = [(name, variables[name]) for name in sorted(loaded & variables.keys())]
    names = {name for code in _walk_code(function.__code__) for name in code.co_names}
    names -= _find_names(function, "STORE_ATTR")
    modules = [value for _, value in values if isinstance(value, ModuleType) and _is_own(value.__name__)]
    for module in modules:  # which grows
        members = [(f"{module.__name__}.{name}", vars(module)[name]) for name in sorted(names & vars(module).keys())]
        values += members
        inner = [value for _, value in members if isinstance(value, ModuleType) and _is_own(value.__name__)]
        modules += [value for value in inner if value not in modules]
    return [(name, _refer_in(value, refer)) for name, value in values if _is_compared(value)]


def _find_names(function: FunctionType, *operations: str) -> set[str]:
    """Find the names in the instructions of a function that do one of some operations."""
    import dis  # slow to import

    instructions = (step for code in _walk_code(function.__code__) for step in dis.get_instructions(code))
    return {step.argval for step in instructions if step.opname in operations}


def _is_compared(value: Any) -> bool:
    """Tell whether a global variable or an attribute of a class is compared: other objects may change as they work."""
    kinds = (list, tuple, set, frozenset, dict, np.generic, functools.partial, ModuleType, staticmethod, classmethod)
    is_table = hasattr(type(value), "iloc") or (hasattr(type(value), "__array__") and _is_array(value))
    return type(value) in PLAIN or isinstance(value, (*kinds, type, MethodType)) or is_table or _is_named(value)


def _is_named(value: Any) -> bool:
    """Tell whether an object is a function, of any kind, that is not bound to an object."""
    is_function = callable(value) and not isinstance(value, (type, MethodType))
    return is_function and isinstance(getattr(value, "__name__", None), str)


def _refer_in(value: Any, refer: Callable[[Any], Any]) -> Any:
    """Refer to functions and classes, also to those that a list or dict holds."""
    if type(value) in (list, tuple):
        return [type(value).__name__, *map(refer, value)]
    if type(value) is dict:
        return {key: refer(item) for key, item in value.items()}
    return refer(value)


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
    """Describe an object by its class, by what a pickle of it would hold, and by the code of its methods.

    An object that cannot be pickled is described by its repr.
    """
    kind = type(value)
    functions = [getattr(value, "__wrapped__", None), getattr(kind, "__call__", None)]  # noqa: B004
    if _is_own(_find_module(kind)):
        functions[1] = kind
    code = [describe_part(function) for function in functions if isinstance(function, (FunctionType, type))]
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
