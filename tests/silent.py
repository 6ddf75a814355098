"""A namespace of arrays that tell the host nothing: whoever asks one for its value gets an error.

On a GPU such a question makes the host wait for all that the device has still to do, in every step. What runs here asks
none, and makes no array of a number of the host either, which would be a copy to the device.
"""

import operator
from typing import Any

import array_api_compat.numpy as plain
import numpy as np

from xpnet.core.arrays import map_arrays


class HostAskedError(AssertionError):
    """Somebody wanted to know a value on the host."""


class Silent:
    """An array whose values stay on the device."""

    __slots__ = ("_x",)
    __array_ufunc__ = None
    __hash__ = None  # type: ignore

    def __init__(self, x: Any) -> None:
        self._x = np.asarray(x)

    shape = property(lambda self: self._x.shape)
    dtype = property(lambda self: self._x.dtype)
    ndim = property(lambda self: self._x.ndim)
    size = property(lambda self: self._x.size)
    device = property(lambda self: "silent")

    @property
    def mT(self) -> "Silent":
        return Silent(self._x.swapaxes(-1, -2))

    def _refuse(self, *args: Any, **options: Any) -> Any:
        raise HostAskedError("a step asked for the value of an array, which makes the host wait for the device")

    __float__ = __int__ = __bool__ = __index__ = __complex__ = __iter__ = __array__ = __len__ = __contains__ = _refuse
    item = tolist = __dlpack__ = to_device = _refuse

    def __getitem__(self, key: Any) -> "Silent":
        return Silent(self._x[bare(key)])


def bare(nest: Any) -> Any:
    """What is inside, for the namespace alone."""
    if isinstance(nest, Silent):
        return nest._x
    return type(nest)(map(bare, nest)) if type(nest) in (list, tuple) else nest


def _forwards(function: Any) -> Any:
    return lambda self, *others: Silent(function(self._x, *map(bare, others)))


def _backwards(function: Any) -> Any:
    return lambda self, other: Silent(function(bare(other), self._x))


def _in_place(function: Any) -> Any:
    def method(self: Silent, other: Any) -> Silent:
        self._x = function(self._x, bare(other)) if self._x.ndim else np.asarray(function(self._x, bare(other)))
        return self

    return method


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift", "mod"):
    _bare = _name.rstrip("_")
    setattr(Silent, f"__{_bare}__", _forwards(getattr(operator, _name)))
    setattr(Silent, f"__r{_bare}__", _backwards(getattr(operator, _name)))
    setattr(Silent, f"__i{_bare}__", _in_place(getattr(operator, f"i{_bare}")))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"):
    setattr(Silent, f"__{_name}__", _forwards(getattr(operator, _name)))


class Namespace:
    """The array API on silent arrays."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(plain, name)
        if isinstance(function, type) or not callable(function):
            return function

        def called(*args: Any, **options: Any) -> Any:
            if name in ("asarray", "array") and not isinstance(args[0], Silent):
                raise HostAskedError(
                    f"a step made an array of {type(args[0]).__name__} of the host: a copy to the device"
                )
            options.pop("device", None)
            found = function(*bare(args), **{key: bare(value) for key, value in options.items()})
            return Silent(found) if isinstance(found, (np.ndarray, np.generic)) else found

        return called


XP = Namespace()


def silenced(nest: Any) -> Any:
    """A nest of NumPy arrays, copied, as silent ones."""
    return map_arrays(lambda x: Silent(np.array(x)), nest)


def told(nest: Any) -> Any:
    """The arrays in a nest of silent ones: what the test may see, and no step."""
    return map_arrays(lambda x: x._x, nest)
