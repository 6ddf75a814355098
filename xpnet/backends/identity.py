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
from typing import Any

import numpy as np

from xpnet._checks import has_methods
from xpnet.backends._choose import to_host
from xpnet.backends.base import CONVERSION_ERRORS
from xpnet.core.arrays import blocks

PLAIN = (type(None), bool, int, float, complex, str, bytes)
ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
LONGEST = 500  # characters of an object or a list that are shown; longer ones become digests
# By which compiled code differs
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__")
CHANGING = ("tqdm", "weakref")  # packages whose objects change as they work, as bars and caches do
HEAP_TYPE = 1 << 9  # a flag of classes that are made while a program runs
Describe = Callable[[Any], str]


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
    if isinstance(value, FunctionType):
        variables = value.__globals__
        name = str(variables.get("__name__"))
        return _is_in_xpnet(name) and variables is getattr(sys.modules.get(name), "__dict__", None)
    kind = value if isinstance(value, type) else type(value)
    return _is_in_xpnet(kind.__module__) and _is_found(kind)


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
    if value is None or type(value) is tuple or isinstance(value, (int, float, str)):
        return all(map(is_fixed, value)) if type(value) is tuple else True
    if isinstance(value, functools.partial):
        return is_fixed((value.func, value.args, tuple(value.keywords.values())))
    if not is_ours(value):
        return False
    if isinstance(value, FunctionType):
        return all(is_fixed(_open_cell(cell)) for cell in value.__closure__ or ())
    if isinstance(value, MethodType):
        return is_fixed(value.__self__)
    if isinstance(value, tuple):
        return all(map(is_fixed, value))
    fields = getattr(value, "__dataclass_fields__", ())  # such as the optimizer that a wrapper has
    return isinstance(value, type) or all(is_fixed(getattr(value, name)) for name in fields)


def _is_in_xpnet(module: str) -> bool:
    return module.partition(".")[0] == "xpnet"


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


def digest(text: str) -> str:
    """Compute the digest of a text, 16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _describe(value: Any, seen: dict[int, tuple[int, Any]], is_parameter: bool) -> str:
    """Describe a value; `seen` numbers the objects that are described already, which may hold one another.

    `is_parameter` tells that an estimator will be copied without its fitted attributes, so that these do not count, and
    that a number may be NumPy's.
    """
    plain = value.item() if is_parameter and issubclass(type(value), np.generic) else value
    if type(plain) in PLAIN:
        return _shorten(repr(plain), type(plain).__name__)
    if isinstance(value, ModuleType) or (isinstance(value, (FunctionType, type)) and _is_known_by_name(value)):
        return _name(value)
    if type(value).__module__.partition(".")[0] in CHANGING:
        return _name(type(value))
    has_numbers = issubclass(type(value), np.ndarray) and not value.dtype.hasobject
    # What cannot change is not numbered: it may be one object or two equal ones, as constants of two functions
    if not (has_numbers or issubclass(type(value), (tuple, frozenset, np.generic, MethodType))):
        if id(value) in seen:
            return f"<{type(value).__name__} {seen[id(value)][0]}>"
        seen[id(value)] = len(seen), value  # lives on, so that no other gets its address

    def describe_item(part: Any) -> str:
        return _describe(part, seen, is_parameter)

    def describe_alone(part: Any) -> str:
        return _describe(part, dict(seen), is_parameter)

    def describe_part(part: Any) -> str:
        return _describe(part, seen, False)

    if type(value) in (list, tuple, set, frozenset, dict):
        return _describe_container(value, describe_item, describe_alone)
    if has_methods(value, "_make"):  # a NamedTuple, such as an activation
        fields = {**value._asdict(), **getattr(value, "__dict__", {})}
        return _call(_describe_class(type(value), describe_part), _write_fields(fields, describe_item))
    if is_parameter and _is_cloned_by_parameters(value):
        parameters = describe_call(value.get_params(deep=False), describe_item)
        return _call(_describe_class(type(value), describe_part), _write_fields(parameters, str))
    if isinstance(value, FunctionType):
        return _describe_function(value, describe_part)
    if isinstance(value, MethodType):
        return _call(describe_part(value.__func__), [describe_part(value.__self__)])
    if isinstance(value, functools.partial):
        keywords = _write_fields(dict(sorted(value.keywords.items())), describe_part)
        return _call("partial", [*map(describe_part, (value.func, *value.args)), *keywords])
    if isinstance(value, type):
        parts = [_name(value), type(value), value.__bases__, _list_attributes(value)]
        return f"<class {_name(value)} {digest(describe_part(parts))}>"
    return _describe_numbers(value, describe_part) or _describe_object(value, describe_part)


def _is_known_by_name(value: Any) -> bool:
    """Tell whether a function or class is in an installed package, or in Python's, under its name.

    Not a user's own function in a decorator of a package, which has the name of the user's.
    """
    return _is_found(value) and not (_is_own(value) or _is_own(sys.modules[value.__module__]))


def _is_cloned_by_parameters(value: Any) -> bool:
    """Tell whether scikit-learn copies an estimator without its fitted attributes; a `FrozenEstimator` keeps them."""
    clone = getattr(type(value), "__sklearn_clone__", None)
    return has_methods(value, "get_params") and (clone is None or clone.__module__ == "sklearn.base")


def describe_call(arguments: Mapping[str, Any], describe: Callable[[Any], Any] = describe) -> dict[str, Any]:
    """Describe a call by its arguments; those that only print decide nothing, and are left out."""
    return {name: describe(value) for name, value in arguments.items() if not name.endswith("verbose")}


def _describe_container(value: Any, describe_item: Describe, describe_alone: Describe) -> str:
    """Describe a list, tuple, set or dict; sets in an order that is the same in all processes, and dicts in any."""
    kind = type(value).__name__
    if kind == "dict":
        parts = [f"{describe_alone(key)}: {describe_item(value[key])}" for key in sorted(value, key=describe_alone)]
        return _shorten(f"{{{', '.join(parts)}}}", kind)
    if kind in ("set", "frozenset"):
        return _shorten(f"{{{', '.join(sorted(map(describe_alone, value)))}}}", kind)
    parts = ", ".join(map(describe_item, value))
    if kind == "list":
        return _shorten(f"[{parts}]", kind)
    return _shorten(f"({parts}{',' if len(value) == 1 else ''})", kind)


def _describe_numbers(value: Any, describe_part: Describe) -> str | None:
    """Describe generators by their states; arrays, sparse matrices and tables by their numbers; None for anything else.

    Pickles of these may differ though they are equal: tables and sparse matrices are arranged anew while they are used.
    """
    name = type(value).__name__
    if isinstance(value, np.random.RandomState):
        return _call(name, [describe_part(value.get_state(legacy=False))])
    if isinstance(value, np.random.Generator):
        return _call(name, [describe_part(value.bit_generator.state)])
    if hasattr(type(value), "iloc"):  # of pandas
        columns = value.items() if value.ndim == 2 else [(value.name, value)]
        parts = [(key, str(column.dtype), column.to_numpy()) for key, column in columns]
        return _shorten(_call(name, map(describe_part, [value.index.to_numpy(), *parts])), name)
    if has_methods(value, "tocoo"):
        entries = value.tocoo()
        return _call(name, map(describe_part, (value.shape, entries.row, entries.col, entries.data)))
    try:
        value = to_host(value)
        return _describe_array(value, describe_part) if _is_array(value) else None
    except CONVERSION_ERRORS:  # it has a dtype that NumPy lacks
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


def _describe_function(value: FunctionType, describe_part: Describe) -> str:
    """Describe a function by its name, and a digest of its code and all that this refers to.

    Global variables count if the function is the user's own.
    """
    assigned = _find_assigned(value, value.__name__)  # such as a counter of its calls
    parts = [
        [] if is_ours(value) else _list_code(value.__code__, value.__doc__),
        *(value.__defaults__, value.__kwdefaults__, [_open_cell(cell) for cell in value.__closure__ or ()]),
        {name: part for name, part in vars(value).items() if name not in assigned},
        _list_globals(value) if _is_own(value) else [],
    ]
    return f"<function {_name(value)} {digest(describe_part(parts))}>"


def _describe_class(kind: type, describe_part: Describe) -> str:
    """Describe the class of an object: by its code if it is the user's own."""
    return describe_part(kind) if _is_own(kind) else _name(kind)


def _list_attributes(kind: type) -> list[tuple[str, Any]]:
    """List the methods of a class, and the values that it defines and its methods do not assign, as counters are."""
    attributes: list[tuple[str, Any]] = []
    assigned: set[str] = set()
    for value in vars(kind).values():
        # An attribute that a method assigns to an object leaves that of the class as it is
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            assigned |= _find_assigned(function, kind.__name__, "__class__", "cls", "type")
    for name, value in sorted(vars(kind).items()):
        if name in assigned:
            continue
        if isinstance(value, property):
            attributes.append((name, (value.fget, value.fset)))
        elif isinstance(value, functools.cached_property):
            attributes.append((name, value.func))
        elif isinstance(value, (staticmethod, classmethod)):
            attributes.append((name, (type(value), value.__func__)))
        elif isinstance(value, FunctionType) or (not name.startswith("__") and _is_compared(value)):
            attributes.append((name, value))
    return attributes


def _list_globals(function: FunctionType) -> list[tuple[str, Any]]:
    """List the global variables that a function names and does not assign, and what it names of namespaces."""
    variables = function.__globals__
    loaded = _find_names(function, "LOAD_GLOBAL", "LOAD_NAME") - _find_names(function, "STORE_GLOBAL")
    names = _list_names(function)
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


def _list_names(function: FunctionType) -> set[str]:
    """List the names of global and enclosed variables, and of attributes, in a function."""
    return {name for code in _walk_code(function.__code__) for name in (*code.co_names, *code.co_freevars)}


def _find_names(function: FunctionType, *operations: str) -> set[str]:
    """Find the names in the instructions of a function that do one of some operations."""
    import dis  # slow to import

    instructions = (step for code in _walk_code(function.__code__) for step in dis.get_instructions(code))
    return {step.argval for step in instructions if step.opname in operations}


def _find_assigned(function: FunctionType, *owners: str) -> set[str]:
    """Find the attributes that a function assigns, also by `+=`, to what has one of some names, or is a call of it."""
    import dis  # slow to import

    assigned = set()
    for code in _walk_code(function.__code__):
        steps = [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PRECALL")]
        for i, step in enumerate(steps):
            is_augmented = step.opname == "LOAD_ATTR" and steps[i - 1].opname == "COPY"
            end = i - is_augmented
            called = steps[max(0, end - 4) : end - 2] if steps[end - 1].opname == "CALL" else steps[end - 1 : end]
            if (is_augmented or step.opname == "STORE_ATTR") and {step.argval for step in called} & {*owners}:
                assigned.add(step.argval)
    return assigned


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


def _describe_object(value: Any, describe_part: Describe) -> str:
    """Describe an object by its class, by what a pickle of it would hold, and by the code of its methods.

    An object of another package that cannot be pickled is described by its repr.
    """
    kind = type(value)
    functions = [getattr(value, "__wrapped__", None), getattr(kind, "__call__", None)]  # noqa: B004
    if _is_own(kind):
        functions[1] = kind
    code = [describe_part(function) for function in functions if isinstance(function, (FunctionType, type))]
    try:
        pickled: Any = copyreg.dispatch_table.get(kind, lambda value: value.__reduce_ex__(4))(value)
    except Exception:  # whatever a user's own method raises
        pickled = None
    if _is_own(kind) and not isinstance(pickled, tuple):
        pickled = kind, ()
    if not isinstance(pickled, tuple):  # a name in its module
        name = ADDRESS.sub("", repr(value)) if pickled is None else _name(value, pickled)
        return _call(name, code) if code else name
    parts: Any = (*pickled, None, None, None)
    make, arguments, state, items, entries = parts[:5]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        make, *arguments = arguments
    parts = [*map(describe_part, arguments)]
    if isinstance(state, dict):
        parts += _write_fields(dict(sorted(state.items())), describe_part)
    elif state is not None:
        parts.append(describe_part(state))
    parts += [describe_part(list(part)) for part in (items, entries) if part is not None]
    if _is_own(kind) and any(isinstance(getattr(kind, name, None), FunctionType) for name in PICKLING):
        parts.append(describe_part(object.__getstate__(value)))  # of which a pickle may leave something out
    return _shorten(_call(_name(make), [*parts, *code]), _name(kind))


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


def _call(name: str, parts: Iterable[str]) -> str:
    return f"{name}({', '.join(parts)})"


def _write_fields(fields: Mapping[str, Any], describe: Describe) -> list[str]:
    return [f"{name}={describe(part)}" for name, part in fields.items()]


def _shorten(text: str, name: str) -> str:
    """Replace a text that is too long to be read by a name and its digest."""
    return text if len(text) <= LONGEST else f"<{name} {digest(text)}>"
