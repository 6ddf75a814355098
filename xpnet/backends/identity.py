"""The identity of functions and objects: whether they are xpnet's, and whether two of them are the same.

`describe` gives a text for a value of any kind that is the same in another process: two values are the same if their
texts are equal. It shows what is short, and has digests of the rest. Nothing is kept, as a user may change an object.
"""

import copyreg
import functools
import hashlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from xpnet._checks import has_methods
from xpnet.backends._choose import to_host
from xpnet.backends.base import CONVERSION_ERRORS
from xpnet.core.arrays import blocks

__all__ = [
    "PYTHON",
    "describe",
    "describe_call",
    "digest_text",
    "is_fixed",
    "is_ours",
    "is_same",
]

PLAIN = (type(None), bool, int, float, complex, str, bytes)
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
LONGEST = 500  # characters of an object or a list that are shown; longer ones become digests
# By which compiled code differs
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__")
CHANGING = ("tqdm", "weakref")  # packages whose objects change as they work, as bars and caches do
HEAP_TYPE = 1 << 9  # a flag of classes that are made while a program runs
# Objects around functions, and the attributes that hold all of it
AROUND: dict[type, tuple[str, ...]] = {
    MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    functools.cached_property: ("func",),
    property: ("fget", "fset"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
}
Parts: TypeAlias = list[tuple[Any, Any]]  # what an object holds, with names or None


# Whether it is xpnet's


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
    if not isinstance(value, (FunctionType, type)):
        value = type(value)
    name = _find_module(value)
    if name.partition(".")[0] != "xpnet":
        return False
    if isinstance(value, FunctionType):
        return value.__globals__ is getattr(sys.modules.get(name), "__dict__", None)
    return _is_found(value)


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

    Also methods of xpnet's objects are:

    >>> from xpnet.core.optimizers._sgd import SGD
    >>> is_fixed(SGD(momentum=0.9).update)
    True
    """
    if value is None or isinstance(value, (int, float, str)):
        return True
    if isinstance(value, functools.partial):
        value = (value.func, *value.args, *value.keywords.values())
    if type(value) is not tuple and not is_ours(value):
        return False
    if isinstance(value, FunctionType):
        return all(is_fixed(_open_cell(cell)) for cell in value.__closure__ or ())
    if isinstance(value, MethodType):
        return is_fixed(value.__self__)
    if isinstance(value, tuple):
        return all(map(is_fixed, value))
    fields = getattr(value, "__dataclass_fields__", ())  # such as the optimizer that a wrapper has
    return isinstance(value, type) or all(is_fixed(getattr(value, name)) for name in fields)


def _is_found(value: Any) -> bool:
    """Tell whether a class or function is that which its module holds under its name."""
    found: Any = sys.modules.get(str(getattr(value, "__module__", None)))
    for name in str(getattr(value, "__qualname__", "")).split("."):
        found = getattr(found, name, None)
    return found is value


def _is_own(value: Any) -> bool:
    """Tell whether a function, class or module is the user's own: neither Python's nor that of an installed package."""
    if isinstance(value, type) and not _is_found(value):
        return bool(value.__flags__ & HEAP_TYPE)  # made in a function, or as a copy; not one of Python's own in C
    package = _find_module(value).partition(".")[0]
    if isinstance(value, ModuleType) and package == "xpnet":
        return False
    if is_ours(value) or package == "sklearn" or package in sys.stdlib_module_names:
        return False
    if package in ("__main__", "xpnet"):  # the first is that of pytest under `python -m pytest`
        return True
    file = str(getattr(sys.modules.get(package), "__file__", None))
    return not {"site-packages", "dist-packages"} & set(PurePath(file).parts)


def _is_known_by_name(value: Any) -> bool:
    """Tell whether a value is a module, or a function or class in an installed package, or in Python's, under its name.

    Not a user's own function in a decorator of a package, which has the name of the user's.
    """
    if not isinstance(value, (FunctionType, type)):
        return isinstance(value, ModuleType)
    return _is_found(value) and not (_is_own(value) or _is_own(sys.modules[value.__module__]))


def _find_module(value: Any) -> str:
    """Return the name of the module in which a function or class was written; `functools.wraps` gives others."""
    if isinstance(value, ModuleType):
        return value.__name__
    return str(value.__globals__.get("__name__") if isinstance(value, FunctionType) else value.__module__)


# Whether it is the same as another


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
    return _describe(value, {}, True)


def describe_call(arguments: Mapping[str, Any], describe: Callable[[Any], Any] = describe) -> dict[str, Any]:
    """Describe a call by its arguments; those that only print decide nothing, and are left out."""
    return {name: describe(value) for name, value in arguments.items() if not name.endswith("verbose")}


def digest_text(text: str) -> str:
    """Compute the digest of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _describe(value: Any, seen: dict[int, tuple[int, Any]], is_parameter: bool) -> str:
    """Describe a value; `seen` numbers the objects that are described already, which may hold one another.

    `is_parameter` tells that an estimator will be copied without its fitted attributes, so that these do not count, and
    that a number may be NumPy's.
    """
    if is_parameter and issubclass(type(value), np.generic):
        value = value.item()
    kind = type(value)
    if kind in PLAIN:
        return _shorten(repr(value), kind)
    if _is_known_by_name(value):
        return _name(value)
    if kind.__module__.partition(".")[0] in CHANGING:
        return _name(kind)
    has_numbers = issubclass(kind, np.ndarray) and not value.dtype.hasobject
    # What cannot change is not numbered: it may be one object or two equal ones, as constants of two functions
    if not (has_numbers or issubclass(kind, (tuple, frozenset, np.generic, MethodType))):
        if id(value) in seen:
            return f"<{kind.__name__} {seen[id(value)][0]}>"
        seen[id(value)] = len(seen), value  # lives on, so that no other gets its address

    def write(part: Any) -> str:
        return _describe(part, seen, is_parameter)

    def write_alone(part: Any) -> str:
        return _describe(part, dict(seen), is_parameter)

    def write_inner(part: Any) -> str:
        return _describe(part, seen, False)

    if kind in (set, frozenset):  # in an order that is the same in all processes
        return _shorten(f"{{{', '.join(sorted(map(write_alone, value)))}}}", kind)
    if kind is dict:
        items = (f"{write_alone(key)}: {write(value[key])}" for key in sorted(value, key=write_alone))
        return _shorten(f"{{{', '.join(items)}}}", kind)
    if kind in (list, tuple):
        parts = ", ".join(map(write, value)) + "," * (kind is tuple and len(value) == 1)
        return _shorten(f"[{parts}]" if kind is list else f"({parts})", kind)
    if isinstance(value, FunctionType):
        return f"<function {_name(value)} {digest_text(write_inner(_list_function(value)))}>"
    if isinstance(value, type):
        return f"<class {_name(value)} {digest_text(write_inner(_list_class(value)))}>"
    fields = _list_fields(value, is_parameter)
    if fields is not None:
        return _call(write_inner(kind) if _is_own(kind) else _name(kind), fields.items(), write)
    numbers = _list_numbers(value)
    if isinstance(numbers, str):
        return numbers
    name, parts = _take_apart(value) if numbers is None else (type(value).__name__, [(None, part) for part in numbers])
    return _shorten(_call(name, parts, write_inner) if parts else name, kind)


def _list_fields(value: Any, is_parameter: bool) -> dict[str, Any] | None:
    """List the fields of a NamedTuple, such as an activation, or the parameters of an estimator; None of others.

    scikit-learn copies an estimator without its fitted attributes; a `FrozenEstimator` keeps them.
    """
    if has_methods(value, "_make"):
        return {**value._asdict(), **getattr(value, "__dict__", {})}
    clone = getattr(type(value), "__sklearn_clone__", None)
    if is_parameter and has_methods(value, "get_params") and (clone is None or clone.__module__ == "sklearn.base"):
        return describe_call(value.get_params(deep=False), lambda parameter: parameter)
    return None


def _list_numbers(value: Any) -> list[Any] | str | None:
    """Describe an array; list the state of a generator, or the numbers of a sparse matrix or table; None of others.

    Pickles of these may differ though they are equal: tables and sparse matrices are arranged anew while they are used.
    """
    if isinstance(value, np.random.RandomState):
        return [value.get_state(legacy=False)]
    if isinstance(value, np.random.Generator):
        return [value.bit_generator.state]
    if hasattr(type(value), "iloc"):  # of pandas
        columns = value.items() if value.ndim == 2 else [(value.name, value)]
        return [value.index.to_numpy(), *((key, str(column.dtype), column.to_numpy()) for key, column in columns)]
    if has_methods(value, "tocoo"):
        entries = value.tocoo()
        return [value.shape, entries.row, entries.col, entries.data]
    try:
        value = to_host(value)
        if isinstance(value, np.ndarray):
            is_array = type(value) in (np.ndarray, np.memmap)  # masks and units would be lost
        else:
            is_array = not isinstance(value, type) and all(hasattr(value, k) for k in ("__array__", "shape", "dtype"))
        if is_array and np.dtype(value.dtype).hasobject:
            return [value.shape, np.asarray(value).ravel().tolist()]
        return _describe_array(value) if is_array else None
    except CONVERSION_ERRORS:  # it has a dtype that NumPy lacks
        return None


def _describe_array(value: Any) -> str:
    """Describe an array by a digest of its numbers, in the order of its rows, wherever they lie."""
    result = hashlib.sha256()
    for block in blocks(value) if value.shape else [value]:
        result.update(np.ascontiguousarray(block).data)
    return f"<array {value.dtype} {tuple(value.shape)} {result.hexdigest()[:16]}>"


def _list_function(value: FunctionType) -> list[Any]:
    """List the code of a function and all that this refers to: global variables, too, if it is the user's own."""
    assigned = _find_assigned(value, value.__name__)  # such as a counter of its calls
    return [
        [] if is_ours(value) else _list_code(value.__code__, value.__doc__),
        *(value.__defaults__, value.__kwdefaults__, [_open_cell(cell) for cell in value.__closure__ or ()]),
        {name: part for name, part in vars(value).items() if name not in assigned},
        _list_globals(value) if _is_own(value) else [],
    ]


def _list_class(kind: type) -> list[Any]:
    """List the bases and methods of a class, and values that it defines and its methods do not assign, as counters."""
    # An attribute that a method assigns to an object leaves that of the class as it is
    functions = [getattr(value, "__func__", value) for value in vars(kind).values()]
    owners = kind.__name__, "__class__", "cls", "type"
    assigned = {name for f in functions if isinstance(f, FunctionType) for name in _find_assigned(f, *owners)}
    attributes = [
        (name, value)
        for name, value in sorted(vars(kind).items())
        if name not in assigned
        and (isinstance(value, (FunctionType, *AROUND)) or (not name.startswith("__") and _is_compared(value)))
    ]
    return [_name(kind), type(kind), kind.__bases__, attributes]


def _list_globals(function: FunctionType) -> list[tuple[str, Any]]:
    """List the global variables that a function names and does not assign, and what it names of namespaces."""
    variables = function.__globals__
    names = {name for code in _walk_code(function.__code__) for name in code.co_names}  # also of attributes
    loaded = _find_names(function, "LOAD_GLOBAL", "LOAD_NAME") - _find_names(function, "STORE_GLOBAL")
    values = [(name, variables[name]) for name in sorted(loaded & variables.keys())]
    compared, spaces = [], []
    for name, value in values:  # which grows
        if any(value is space for space in spaces):
            continue
        members = []
        if _is_namespace(value):
            spaces.append(value)
            members = [(name, vars(value)[name]) for name in sorted(names & vars(value).keys())]
            values += members
        if not members and _is_compared(value):
            compared.append((name, value))
    return compared


def _is_namespace(value: Any) -> bool:
    """Tell whether a value is a module of the user's, or holds variables as one does, such as options of a program."""
    is_module = isinstance(value, ModuleType) and _is_own(value)
    return is_module or isinstance(value, SimpleNamespace) or type(value).__module__ == "argparse"


def _is_compared(value: Any) -> bool:
    """Tell whether a global variable or an attribute of a class is compared: what can be called, and what has a value.

    Other objects of packages change as they work: loggers, generators of random numbers, bars; and so do their methods.
    """
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        return _is_compared(owner)
    has_value = type(value).__eq__ is not object.__eq__ or callable(value) or has_methods(value, "get_params")
    return has_value or isinstance(value, ModuleType) or _is_own(type(value)) or type(value).__module__ == "functools"


def _walk_code(code: CodeType) -> Iterator[CodeType]:
    """List the code of a function, and that of the functions in it."""
    yield code
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _walk_code(item)


def _list_steps(function: FunctionType) -> Iterator[list[Any]]:
    """List the instructions of a function, and of each of the functions in it."""
    import dis  # slow to import

    for code in _walk_code(function.__code__):
        yield [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PRECALL")]


def _find_names(function: FunctionType, *operations: str) -> set[str]:
    """Find the names in the instructions of a function that do one of some operations."""
    return {step.argval for steps in _list_steps(function) for step in steps if step.opname in operations}


def _find_assigned(function: FunctionType, *owners: str) -> set[str]:
    """Find the attributes that a function assigns, also by `+=`, to what has one of some names, or is a call of it."""
    assigned: set[str] = set()
    for steps in _list_steps(function):
        for i, step in enumerate(steps):
            is_augmented = step.opname == "LOAD_ATTR" and steps[i - 1].opname == "COPY"
            end = i - is_augmented
            called = steps[max(0, end - 4) : end - 2] if steps[end - 1].opname == "CALL" else steps[end - 1 : end]
            if (is_augmented or step.opname == "STORE_ATTR") and {step.argval for step in called} & {*owners}:
                assigned.add(step.argval)
    return assigned


def _list_code(code: CodeType, doc: str | None = None) -> tuple[Any, ...]:
    """List the instructions of a function with the names and constants in them, but not lines, nor its docstring."""
    constants = (None, *code.co_consts[1:]) if doc is not None and code.co_consts[:1] == (doc,) else code.co_consts
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    numbers = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    parts = tuple(_list_code(item) if isinstance(item, CodeType) else item for item in constants)
    return code.co_code, code.co_exceptiontable, code.co_names, arguments, numbers, parts


def _open_cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it has no value yet
        return ()


def _take_apart(value: Any) -> tuple[str, Parts]:
    """List what an object holds: by what a pickle of it would hold, and the code of its class and of what it wraps.

    An object of another package that cannot be pickled is described by its repr.
    """
    kind = type(value)
    for around, names in AROUND.items():
        if isinstance(value, around):
            return _name(around), [(None, getattr(value, name)) for name in names]
    functions = getattr(value, "__wrapped__", None), kind if _is_own(kind) else getattr(kind, "__call__", None)  # noqa: B004
    code: Parts = [(None, function) for function in functions if isinstance(function, (FunctionType, type))]
    try:
        pickled: Any = copyreg.dispatch_table.get(kind, lambda value: value.__reduce_ex__(4))(value)
    except Exception:  # whatever a user's own method raises
        pickled = None
    if _is_own(kind) and not isinstance(pickled, tuple):
        pickled = kind, ()
    if not isinstance(pickled, tuple):  # a name in its module
        return ADDRESS.sub("", repr(value)) if pickled is None else _name(value, pickled), code
    parts: Any = (*pickled, None, None, None)
    make, arguments, state, items, entries = parts[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        make, *arguments = arguments
    parts = [(None, part) for part in arguments]
    if isinstance(state, dict):
        parts += sorted(state.items())
    elif state is not None:
        parts.append((None, state))
    parts += [(None, list(part)) for part in (items, entries) if part is not None]
    if _is_own(kind) and any(isinstance(getattr(kind, name, None), FunctionType) for name in PICKLING):
        parts.append((None, object.__getstate__(value)))  # of which a pickle may leave something out
    return _name(make), parts + code


def _name(value: Any, name: str = "") -> str:
    """Name a class, function or module, with its module unless that is one of xpnet's or scikit-learn's.

    The user's own have no module in their names: a program that is imported has another one than where it runs.
    """
    if isinstance(value, ModuleType):
        return "module" if _is_own(value) else value.__name__
    has_code = isinstance(value, (FunctionType, type))
    if isinstance(value, FunctionType):
        module, name = _find_module(value), value.__code__.co_qualname
    else:
        module = str(getattr(value, "__module__", None) or type(value).__module__)
        name = name or getattr(value, "__qualname__", type(value).__name__)
    has_module = module.partition(".")[0] not in ("builtins", "sklearn", "xpnet")
    return f"{module}.{name}" if has_module and not (has_code and _is_own(value)) else name


def _call(name: str, parts: Iterable[tuple[Any, Any]], write: Callable[[Any], str]) -> str:
    return f"{name}({', '.join(f'{name}={write(part)}' if name is not None else write(part) for name, part in parts)})"


def _shorten(text: str, kind: type) -> str:
    """Replace a text that is too long to be read by the name of its class and its digest."""
    return text if len(text) <= LONGEST else f"<{_name(kind)} {digest_text(text)}>"
