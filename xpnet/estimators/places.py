"""Places: in which library and on which device an array lies, and how arrays move. Everything follows X."""

from typing import Any

import array_api_compat

from xpnet.backends.base import Backend, as_array, on_host
from xpnet.backends.choose import get_backend
from xpnet.core.arrays import Array


def is_foreign(x: Any) -> bool:
    """Tell whether this is an array of a library other than NumPy; scikit-learn validates everything else."""
    return array_api_compat.is_array_api_obj(x) and not array_api_compat.is_numpy_array(x)


def backend_of(x: Any) -> Backend:
    """Return the backend for an array's library and device; NumPy for lists, tables and sparse matrices.

    Examples
    --------
    >>> backend_of([[1.0, 2.0]])
    <Backend numpy on cpu>
    """
    if not is_foreign(x):
        return get_backend("numpy")
    return get_backend(array_api_compat.array_namespace(x), array_api_compat.device(x))


def same_place(a: Backend, b: Backend) -> bool:
    """Tell whether two backends have the same library and device."""
    return a.name == b.name and a.device == b.device


def move_to(x: Any, backend: Backend, dtype: str | None = None) -> Array:
    """Move an array to a library and device, the host included. Synchronizes if it moves to the host."""
    return backend.asarray(bring_home(x, backend), dtype)


def bring_home(x: Any, backend: Backend) -> Array:
    """Move an array to the host if the backend computes there, and leave it to a `Reader` to move it to a device.

    Synchronizes if it moves to the host.
    """
    x = as_array(x)
    return backend_of(x).to_numpy(x) if on_host(backend) and not on_host(x) else x


def to_host(x: Any) -> Any:
    """Convert an array of any library to NumPy; return anything else as it is. Synchronizes."""
    return backend_of(x).to_numpy(as_array(x)) if is_foreign(x) else x


def float_dtype(x: Array) -> str:
    """Choose the dtype to compute with X in: its own if it is float32 or float64, else the widest of its library.

    Examples
    --------
    >>> import numpy as np
    >>> float_dtype(np.ones(2, np.float32)), float_dtype(np.ones(2, np.int64))
    ('float32', 'float64')
    """
    name = str(x.dtype).split(".")[-1]
    if name in ("float32", "float64"):
        return name
    info = array_api_compat.array_namespace(x).__array_namespace_info__()
    return "float64" if "float64" in info.dtypes(device=array_api_compat.device(x)) else "float32"


def describe(backend: Backend) -> str:
    """Name a library and a device, as in "torch on cpu"."""
    return f"{backend.name.removeprefix('array_api_compat.')} on {backend.device_name}"
