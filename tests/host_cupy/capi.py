"""Replaces C functions that a Cython module offers to others, before those others bind to them."""

import ctypes
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

TYPES: dict[str, Any] = {
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "PyObject *": ctypes.c_void_p,
}
HIDDEN = ("__pyx_skip_dispatch", "__pyx_optional_args")  # parameters that Cython adds, after those of the function

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_ALIVE: list[Any] = []  # callbacks and signatures that C code holds pointers to


def replace(module: ModuleType, functions: Mapping[str, Callable[..., Any]]) -> None:
    """Replace functions of a Cython module, for Python and for Cython code that is imported later.

    Cython modules look up one another's functions in the dict `__pyx_capi__`, as pointers with a signature, at import.
    An exception in a function becomes SystemError where it was called from Cython.

    Raises
    ------
    RuntimeError
        If the module lacks one of them, or one has parameters of unknown types; it names the function.
    """
    table = module.__pyx_capi__
    for name, function in functions.items():
        if name not in table:
            raise RuntimeError(f"{module.__name__} has no function {name}")
        signature = re.fullmatch(r'<capsule object "(.*)" at .*>', repr(table[name]))[1]
        result, parameters = re.fullmatch(r"(.*?) ?\((.*)\)", signature).groups()
        callback = _make_callback(name, result, [] if parameters == "void" else parameters.split(", "), function)
        encoded = signature.encode()
        _ALIVE.extend([callback, encoded])
        table[name] = _new_capsule(ctypes.cast(callback, ctypes.c_void_p).value, encoded, None)
        setattr(module, name, function)


def _make_callback(name: str, result: str, parameters: list[str], function: Callable[..., Any]) -> Any:
    kinds = []
    for parameter in parameters:
        if parameter not in TYPES and not parameter.endswith(HIDDEN):
            raise RuntimeError(f"the function {name} has a parameter of the unknown type {parameter!r}")
        hidden = ctypes.c_int if parameter.endswith(HIDDEN[0]) else ctypes.c_void_p
        kinds.append(ctypes.py_object if parameter == "PyObject *" else TYPES.get(parameter, hidden))
    visible = sum(not parameter.endswith(HIDDEN) for parameter in parameters)

    def call(*args: Any) -> Any:
        try:
            value = function(*args[:visible])
        except Exception:
            return None  # no object: the exception is lost on its way through C, and Python raises SystemError
        if result != "PyObject *":
            return value
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
        return id(value)

    return ctypes.PYFUNCTYPE(TYPES[result], *kinds)(call)
