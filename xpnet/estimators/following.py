"""Everything follows X: in which library and on which device data lies, and how arrays go there and back."""

from typing import Any

import array_api_compat
import numpy as np

from xpnet.arrays import Array
from xpnet.backends import Backend, as_array, get_backend, on_host


def is_foreign(x: Any) -> bool:
    """Whether this is an array of a library other than NumPy; scikit-learn's own validation serves all else."""
    return array_api_compat.is_array_api_obj(x) and not array_api_compat.is_numpy_array(x)


def home(x: Any) -> Backend:
    """Library and device of an array; NumPy's for all else (lists, tables, sparse matrices).

    Examples
    --------
    >>> home([[1.0, 2.0]])
    <Backend numpy on cpu>
    """
    if not is_foreign(x):
        return get_backend("numpy")
    return get_backend(array_api_compat.array_namespace(x), array_api_compat.device(x))


def same(a: Backend, b: Backend) -> bool:
    """Whether two backends are of the same library and device."""
    return a.name == b.name and a.device == b.device


def brought(x: Any, to: Backend, dtype: str | None = None) -> Array:
    """Bring an array to a library and device, the host included. Synchronizes if it comes to the host."""
    x = as_array(x)
    if on_host(to) and not on_host(x):
        x = home(x).to_numpy(x)
    return to.asarray(x, dtype)


def on_the_host(x: Any) -> Any:
    """Have an array of any library as NumPy's; what is no array stays as it is. Synchronizes."""
    return home(x).to_numpy(as_array(x)) if is_foreign(x) else x


def float_of(x: Array) -> str:
    """Dtype in which to compute with X: its own if it is float32 or float64, else the largest that its library has.

    Examples
    --------
    >>> float_of(np.ones(2, np.float32)), float_of(np.ones(2, np.int64))
    ('float32', 'float64')
    """
    name = str(x.dtype).split(".")[-1]
    if name in ("float32", "float64"):
        return name
    info = array_api_compat.array_namespace(x).__array_namespace_info__()
    return "float64" if "float64" in info.dtypes(device=array_api_compat.device(x)) else "float32"


def labels_on(classes: np.ndarray, backend: Backend) -> Array:
    """Labels as an array of a library; in its own default dtype where it has none as wide."""
    info = backend.xp.__array_namespace_info__()
    if classes.dtype.name in info.dtypes(device=backend.device):
        return backend.asarray(classes)
    kind = "integral" if classes.dtype.kind in "iu" else "real floating"
    return backend.asarray(classes, str(info.default_dtypes(device=backend.device)[kind]).split(".")[-1])


def place(backend: Backend) -> str:
    """Name a library and a device, as in "torch on cpu"."""
    return f"{backend.name.removeprefix('array_api_compat.')} on {backend.device_name}"
