"""The identity of functions and objects: whether they are xpnet's, and whether two of them are the same.

`describe` gives a text for a value of any kind that is the same in another process: two values are the same if their
texts are equal. It shows what is short, and has digests of the rest. Nothing is kept, as a user may change an object.
"""

import copyreg
import functools
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

PLAIN = (type(None), bool, int, float, complex, str, bytes)
LONGEST = 1000  # characters of an object or a list that are shown; longer ones become digests
# By which compiled code differs
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
INNER = ("__func__", "__wrapped__", "func", "fget")  # attributes of methods, caches and properties with their functions
Seen = dict[int, tuple[int, Any]]  # numbers of the objects that are described already, which may hold one another


def is_ours(value: Any) -> bool:
    """Tell whether xpnet defines a function, or the class that a value is or is of.

    What they are decides, not their attributes `__module__` and `__qualname__`, which `functools.wraps` copies.

    Examples
    --------
    >>> from xpnet.core.activations import relu, sigmoid
    >>> is_ours(sigmoid.value), is_ours(functools.wraps(relu.value)(lambda z, xp: z))
    (True, False)
    """
    value = getattr(value, "__func__", value)
    return _find_package(value if isinstance(value, (FunctionType, type)) else type(value)) == "xpnet"


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two tuples of any depth hold the very same functions and equal numbers; equal tuples may be others.

    Examples
    --------
    >>> from xpnet.core.activations import make_elu, make_leaky_relu
    >>> is_same(make_elu(2.0), make_elu(2.0)), is_same(make_elu(2.0).value, (2.0, 1.0))
    (True, False)
    """
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    return isinstance(a, (*PLAIN, MethodType)) and a == b


def is_fixed(value: Any) -> bool:
    """Tell whether xpnet defines all functions of a step, so that it always computes the same.

    A user's function may depend on a global variable, or on an attribute that changes.

    Examples
    --------
    >>> import math
    >>> from xpnet.core.activations import relu, sigmoid
    >>> is_fixed((sigmoid, relu)), is_fixed((sigmoid, math.tanh))
    (True, False)
    """
    if type(value) in PLAIN:
        return True
    if isinstance(value, functools.partial):
        value = (value.func, *value.args, *value.keywords.values())
    if type(value) is not tuple and not is_ours(value):
        return False
    if isinstance(value, tuple):
        return all(map(is_fixed, value))
    if isinstance(value, FunctionType):
        return all(map(is_fixed, _open_cells(value)))
    if isinstance(value, MethodType):
        return is_fixed(value.__self__)
    fields = getattr(value, "__dataclass_fields__", ())  # such as the optimizer that a wrapper has
    return isinstance(value, type) or all(is_fixed(getattr(value, name)) for name in fields)


def describe(value: Any) -> str:
    """Describe a value by all that it holds.

    Estimators are described by their parameters; arrays and tables by digests of their numbers; functions by their code
    and the values that it refers to; other objects by their class and by what a pickle would hold; classes by their
    code, if they are the user's own. Code differs between versions of Python.

    Examples
    --------
    >>> describe([(0.1, len), "adam"])
    "[(0.1, len), 'adam']"
    >>> describe(lambda x: x + 1) == describe(lambda x: x + 1), describe(lambda x: x + 1) == describe(lambda x: x + 2)
    (True, False)
    """
    return _describe(value, {})


def describe_call(arguments: Mapping[str, Any], describe: Any = describe) -> dict[str, Any]:
    """Describe a call by its arguments; those that only print decide nothing, and are left out."""
    return {name: describe(value) for name, value in arguments.items() if not name.endswith("verbose")}


def digest_text(text: str) -> str:
    """Compute the digest of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _find_module(value: Any) -> str:
    """Return the name of the module in which a function, class or module was written."""
    if isinstance(value, FunctionType):  # `functools.wraps` gives it the `__module__` of another
        return str(value.__globals__.get("__name__"))
    return value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", None))


def _find_package(value: Any) -> str:
    """Return the name of the installed package, or of Python's module, that defines a function, class or module.

    It is "" for the user's own.
    """
    name = _find_module(value)
    package = name.partition(".")[0]
    if isinstance(value, FunctionType) and value.__globals__ is not getattr(sys.modules.get(name), "__dict__", None):
        return ""
    if package == "xpnet":
        return package if not isinstance(value, type) or _is_found(value) else ""
    folders = PurePath(str(getattr(sys.modules.get(package), "__file__", None))).parts
    is_installed = package in sys.stdlib_module_names or "site-packages" in folders or "dist-packages" in folders
    return package if is_installed and package != "__main__" else ""


def _is_found(value: Any) -> bool:
    """Tell whether a class or function is that which its module holds under its name."""
    found: Any = sys.modules.get(_find_module(value))
    for name in str(getattr(value, "__qualname__", "")).split("."):
        found = getattr(found, name, None)
    return found is value


def _describe(value: Any, seen: Seen) -> str:
    kind = type(value)
    if kind in PLAIN or isinstance(value, np.generic):
        return _shorten(repr(value), kind)
    if isinstance(value, ModuleType):
        return _find_package(value) and value.__name__
    if isinstance(value, (FunctionType, BuiltinFunctionType, type)) and _find_package(value) and _is_found(value):
        return _name(value)
    # What cannot change is not numbered: it may be one object or two equal ones, as constants of two functions
    if not isinstance(value, (tuple, frozenset, MethodType, np.ndarray)):
        if id(value) in seen:
            return f"<{kind.__name__} {seen[id(value)][0]}>"
        seen[id(value)] = len(seen), value  # lives on, so that no other gets its address
    if isinstance(value, (FunctionType, type)):
        parts = _list_function(value) if isinstance(value, FunctionType) else _list_class(value)
        return f"<{kind.__name__} {_name(value)} {digest_text(_describe(parts, seen))}>"
    return _shorten(_write_object(value, kind, seen), kind)


def _write_object(value: Any, kind: type, seen: Seen) -> str:
    def write(parts: Iterable[Any]) -> str:
        return ", ".join(_describe(part, seen) for part in parts)

    def write_alone(part: Any) -> str:  # sets and dicts are written in an order that is the same in all processes
        return _describe(part, dict(seen))

    if kind in (set, frozenset):
        return f"{{{', '.join(sorted(map(write_alone, value)))}}}"
    if kind is dict:
        items = [f"{write_alone(key)}: {write([value[key]])}" for key in sorted(value, key=write_alone)]
        return f"{{{', '.join(items)}}}"
    if kind is list:
        return f"[{write(value)}]"
    if kind is tuple:
        return f"({write(value)}{',' * (len(value) == 1)})"
    numbers = _list_numbers(value, kind)
    if numbers is not None:
        return numbers if isinstance(numbers, str) else f"{kind.__name__}({write(numbers)})"
    name = _name(kind) if _find_package(kind) else write([kind])
    return f"{name}({', '.join(f'{key}={write([part])}' for key, part in _list_fields(value, kind).items())})"


def _list_numbers(value: Any, kind: type) -> Any:
    """Describe an array by a digest of its numbers; list those of a table or sparse matrix; None of other values.

    Pickles of these may differ though they are equal: they are arranged anew while they are used.
    """
    if hasattr(kind, "iloc"):  # of pandas
        columns = value.items() if value.ndim == 2 else [(value.name, value)]
        return [value.index.to_numpy(), *((name, column.to_numpy()) for name, column in columns)]
    if hasattr(kind, "tocoo"):
        entries = value.tocoo()
        return [value.shape, entries.row, entries.col, entries.data]
    if kind not in (np.ndarray, np.memmap) and (isinstance(value, np.ndarray) or not hasattr(kind, "__array__")):
        return None  # of other kinds of NumPy's arrays, masks and units would be lost
    try:
        array = np.asarray(value)
        if array.dtype.hasobject:
            return [array.shape, array.ravel().tolist()]
        numbers = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    except (TypeError, ValueError, RuntimeError):  # it lies on a device, or NumPy lacks its dtype
        return None
    return f"<array {array.dtype} {array.shape} {hashlib.sha256(numbers.data).hexdigest()[:16]}>"


def _list_fields(value: Any, kind: type) -> dict[str, Any]:
    """List what an object holds: its attributes, what a pickle of it would hold, and the functions that it wraps."""
    if hasattr(kind, "_make"):  # a NamedTuple, such as an activation
        return {**value._asdict(), **getattr(value, "__dict__", {})}
    if hasattr(kind, "get_params"):
        return describe_call(vars(value), lambda part: part)
    try:
        pickled: Any = copyreg.dispatch_table.get(kind, lambda value: value.__reduce_ex__(4))(value)
    except Exception:  # whatever a user's own method raises
        pickled = ""
    if isinstance(pickled, str):  # a name in its module
        pickled = pickled, ()
    parts: list[Any] = [*pickled, None]
    make, arguments, state, *more = parts
    if not _find_package(kind) and (state is None or isinstance(state, dict)):
        state = object.__getstate__(value)  # of which a pickle may leave something out
    fields = state if isinstance(state, dict) else {"state": state}
    parts = [] if make is copyreg.__newobj__ else [make]  # type: ignore[attr-defined]
    parts += [*arguments, *([*part] for part in more if part is not None)]
    return {**fields, "of": parts} | {name: getattr(value, name) for name in INNER if hasattr(value, name)}


def _list_function(value: FunctionType) -> list[Any]:
    """List the code of a function and all that this refers to: global variables, too, if it is the user's own."""
    variables = dict(_list_globals(value.__code__, value.__globals__)) if not _find_package(value) else {}
    code = () if is_ours(value) else _list_code(value.__code__, value.__doc__)
    return [code, value.__defaults__, value.__kwdefaults__, _open_cells(value), vars(value), variables]


def _list_class(kind: type) -> list[Any]:
    """List the bases of a class, and its methods and other values."""
    values = vars(kind).items()
    return [
        type(kind),
        kind.__bases__,
        {k: part for k, part in values if hasattr(part, "__get__") or (not k.startswith("__") and _has_value(part))},
    ]


def _list_globals(code: CodeType, space: Mapping[str, Any], depth: int = 5) -> Iterator[tuple[str, Any]]:
    """List the global variables that code names, and what it names of the user's own modules among them."""
    for name in sorted(_list_names(code) & space.keys()):
        value = space[name]
        if isinstance(value, ModuleType) and not _find_package(value):
            members = _list_globals(code, vars(value), depth - 1) if depth else ()
            yield from ((f"{name}.{member}", part) for member, part in members)
        elif _has_value(value):
            yield name, value


def _has_value(value: Any) -> bool:
    """Tell whether a global variable or an attribute of a class is compared: what can be called, and what has a value.

    Other objects of packages change as they work: loggers, generators of random numbers, bars; and so do their methods.
    """
    owner = getattr(value, "__self__", value)
    has_value = callable(owner) or isinstance(owner, ModuleType) or type(owner).__eq__ is not object.__eq__
    return has_value or not _find_package(type(owner))


def _list_names(code: CodeType) -> set[str]:
    """List all names in the code of a function and of those in it, also of attributes."""
    return {*code.co_names}.union(*(_list_names(part) for part in code.co_consts if isinstance(part, CodeType)))


def _list_code(code: CodeType, doc: str | None = None) -> tuple[Any, ...]:
    """List the instructions of a function with the names and constants in them, but not lines, nor its docstring."""
    constants = (None, *code.co_consts[1:]) if doc is not None and code.co_consts[:1] == (doc,) else code.co_consts
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    numbers = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    parts = tuple(_list_code(item) if isinstance(item, CodeType) else item for item in constants)
    return code.co_code, code.co_exceptiontable, code.co_names, arguments, numbers, parts


def _open_cells(function: FunctionType) -> list[Any]:
    """List the values that a function encloses; a cell may have none yet."""
    values: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            values.append(())
    return values


def _name(value: Any) -> str:
    """Name a class or function, with its module unless that is Python's, xpnet's, scikit-learn's or the user's own.

    A program that is imported has another name than where it runs.
    """
    name = value.__code__.co_qualname if isinstance(value, FunctionType) else value.__qualname__
    return name if _find_package(value) in ("", "builtins", "sklearn", "xpnet") else f"{value.__module__}.{name}"


def _shorten(text: str, kind: type) -> str:
    """Replace a text that is too long to be read by the name of its class and its digest."""
    return text if len(text) <= LONGEST else f"<{_name(kind)} {digest_text(text)}>"
