"""A namespace with what xpnet asks of one and no more, on NumPy: its arrays offer DLPack, and no `__array__`."""

import sys
from typing import Any

import array_api_compat.numpy
import numpy as np

from xpnet.backends.base import ARRAY_MEMBERS, NAMESPACE_DTYPES, NAMESPACE_FUNCTIONS


class Minimal:
    """An array with the listed attributes and methods alone, which are added below."""

    __slots__ = ("_x",)
    __hash__ = None  # type: ignore

    def __init__(self, x: Any) -> None:
        self._x = np.asarray(x)


def bare(nest: Any) -> Any:
    """The NumPy arrays inside."""
    if isinstance(nest, Minimal):
        return nest._x
    return type(nest)(map(bare, nest)) if type(nest) in (list, tuple) else nest


def dressed(found: Any) -> Any:
    """NumPy's arrays and numbers as those of this namespace."""
    return Minimal(found) if isinstance(found, (np.ndarray, np.generic)) else found


def _make_member(name: str) -> Any:
    if name == "__array_namespace__":
        return lambda self, api_version=None: sys.modules[__name__]
    if name in ("shape", "ndim", "dtype", "mT", "device"):
        return property(lambda self: dressed(getattr(self._x, name)))
    if name == "to_device":
        return lambda self, device, stream=None: self
    return lambda self, *args, **options: dressed(getattr(self._x, name)(*map(bare, args), **options))


def _make_function(name: str) -> Any:
    function = getattr(array_api_compat.numpy, name)

    def call(*args: Any, **options: Any) -> Any:
        options = {key: bare(value) for key, value in options.items() if key != "device"}
        return dressed(function(*bare(args), **options))

    return call


for _name in ARRAY_MEMBERS:
    setattr(Minimal, _name, _make_member(_name))
for _name in NAMESPACE_FUNCTIONS:
    globals()[_name] = _make_function(_name)
for _name in NAMESPACE_DTYPES:
    globals()[_name] = np.dtype(_name)
