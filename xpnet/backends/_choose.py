"""Finds the backend that ``backend=`` and ``device=`` ask for."""

import importlib
import sys
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from xpnet._checks import choices, install_command, name_backend, show
from xpnet._names import explain_unknown
from xpnet.backends.base import Backend, Place, as_array, host_array, is_array, on_host, open_namespace
from xpnet.errors import BackendError

# name -> (module of this package, how to install the library)
BACKENDS = {
    "numpy": ("_numpy", "pip install numpy"),
    "cupy": ("_cupy", f"{install_command('cuda13')} (or cuda12 for CUDA 12)"),
    "torch": ("_torch", install_command("torch")),
    "jax": ("_jax", install_command("jax")),
    "dpnp": ("_dpnp", install_command("dpnp")),
}


def get_backend(backend: Any = None, device: Any = None) -> Backend:
    """Find the backend that ``backend=`` and ``device=`` ask for.

    Parameters
    ----------
    backend
        ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"dpnp"``, the namespace module of any Array API library, or
        a `Backend`. None lets `device` decide. CuPy, dpnp, and any device of PyTorch and JAX but the CPU are
        *experimental*: :doc:`/understand/reliability`.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a device in the library's own terms. Without `backend`, the CPU means
        NumPy, a CUDA device CuPy, and ``"auto"`` CuPy if a GPU can be used, else NumPy (standard error says which).
        None is the library's default device.

    Raises
    ------
    BackendError
        If it is not available; the message says why and what to do. Nothing is ever replaced silently.

    Examples
    --------
    >>> get_backend()
    <Backend numpy on cpu>
    """
    if isinstance(backend, Backend):
        return _check_device(backend, device)
    if backend is None:
        if isinstance(device, str) and device == "auto":
            return _choose_best()
        backend = _library_for(device)
    if isinstance(backend, ModuleType):
        name = backend.__name__.removeprefix("array_api_compat.").removesuffix(".numpy")
        if name not in BACKENDS:
            return open_namespace(backend, device)
        backend = name
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise BackendError(explain_unknown("backend", backend, BACKENDS) + ", or give an Array API namespace module")
    return _load(backend, device)(device)


def find_place(backend: Any, device: Any, dtype: str) -> Place:
    """Find where ``backend=`` and ``device=`` ask to compute, in a dtype."""
    return Place(get_backend(backend, device), dtype, get_backend("numpy"))


def is_foreign(x: Any) -> bool:
    """Tell whether this is an array of a library other than NumPy."""
    return not isinstance(x, (np.ndarray, np.generic)) and is_array(x)


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


def to_host(x: Any) -> Any:
    """Convert an array of any library to NumPy; return anything else as it is. Synchronizes."""
    if not is_foreign(x):
        return x
    x = as_array(x)
    return host_array(x) if on_host(x) else backend_of(x).to_numpy(x)


def _load(name: str, device: Any = None) -> type[Any]:
    """Import the class of a named backend.

    Raises
    ------
    BackendError
        If its library cannot be imported; the message says how to install it, and names `device`.
    """
    module, remedy = BACKENDS[name]
    try:
        return importlib.import_module(f"xpnet.backends.{module}").BACKEND
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # not installed, or broken
        request = name_backend(repr(name), device)
        raise BackendError(f"{request} cannot be imported ({error}); install it with: {remedy}") from error


def _check_device(backend: Backend, device: Any) -> Backend:
    """Return a backend object, and refuse a `device` other than its own."""
    if device is not None and get_backend(backend.library, device).device != backend.device:
        raise BackendError(f"device={device!r} contradicts backend={backend!r}; give one of them")
    return backend


def _library_for(device: Any) -> str:
    """Return the name of the default library for a device."""
    if device is None or str(device) == "cpu":
        return "numpy"
    if isinstance(device, str) and (device == "cuda" or device.startswith("cuda:")):
        return "cupy"
    raise BackendError(
        f"device={show(device)} is unknown; choose from {choices(['cpu', 'cuda', 'cuda:N', 'auto'])}, "
        'or name the library too, as in backend="torch"'
    )


def _choose_best() -> Backend:
    """Choose CuPy if a GPU can be used, else NumPy, and print which to standard error."""
    try:
        backend, reason = get_backend("cupy"), ""
    except BackendError as error:
        backend, reason = get_backend("numpy"), f": {error}"
    print(f'xpnet: device="auto" is {backend.name} on {backend.device_name}{reason}', file=sys.stderr)
    return backend
