"""Backends: which library computes, on which device, and how a step is repeated.

This package is the only place that names an array library. `Backend` itself serves any Array API namespace; the
modules beside it say what NumPy, CuPy, PyTorch and JAX do differently, and are imported only when asked for.
"""

import importlib
import re
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from xpnet.arrays import Array, Function, Namespace, blocks, leaves, map_arrays, part
from xpnet.errors import BackendError, choices, unknown

# name -> (module of this package, how to install the library)
BACKENDS = {
    "numpy": ("_numpy", "pip install numpy"),
    "cupy": ("_cupy", 'pip install "xpnet[cuda13]" (or "xpnet[cuda12]" for CUDA 12)'),
    "torch": ("_torch", 'pip install "xpnet[torch]"'),
    "jax": ("_jax", 'pip install "xpnet[jax]"'),
}


class Backend:
    """An array library on a device.

    Parameters
    ----------
    name
        What it is called.
    xp
        Its Array API namespace.
    device
        Its device, in the library's own terms; None for its default.

    Examples
    --------
    >>> backend = get_backend("numpy")
    >>> backend.to_numpy(backend.asarray([1, 2], "float32"))
    array([1., 2.], dtype=float32)
    """

    blas: ClassVar[bool] = True  # whether it multiplies by a BLAS library of this process

    def __init__(self, name: str, xp: Namespace, device: Any = None) -> None:
        self.name = name
        self.xp = xp
        self.device = array_api_compat.device(xp.zeros(1, device=device))
        self._array_type = type(xp.zeros(1, device=device))

    def __repr__(self) -> str:
        """Name and device."""
        return f"<Backend {self.name} on {self.device_name}>"

    def __reduce__(self) -> Any:
        """What stands for it in a copy or a pickle: its name, or that of its namespace, and its device."""
        return _reopened, (self.name, self.device_name)

    @property
    def device_name(self) -> str:
        """What the device is called; ``device=`` takes it."""
        return str(self.device)

    @classmethod
    def devices(cls) -> list[str]:
        """Names of the devices that can be used here."""
        return ["cpu"]

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in `dtype` on this device; they end with the context."""
        return nullcontext()

    def asarray(self, x: Any, dtype: str | None = None, name: str = "the array") -> Array:
        """Have `x` as an array on the device, shared where it is there already, else moved once.

        Parameters
        ----------
        x
            An array of any library, or what NumPy makes one of.
        dtype
            Name of the dtype it is to have; None keeps its own.
        name
            What the error calls it.

        Raises
        ------
        TypeError
            If `x` lies on a device and this backend computes on the host: data never comes back silently.
        """
        x = as_array(x)
        if isinstance(x, np.ndarray) or (on_host(x) and not isinstance(x, self._array_type)):
            return self._from_host(host_array(x), dtype)
        if on_host(self) and not on_host(x):
            raise TypeError(
                f"{name} lies on {array_api_compat.device(x)} ({library(x)}), but the network computes on the host "
                f"({self.name}); move the network to the data with {_move(x)}"
            )
        x = self._from_device(x)
        with np.errstate(over="ignore"):  # as in `cast`, where the library is made of NumPy
            return x if dtype is None else self.xp.astype(x, getattr(self.xp, dtype), copy=False)

    def own(self, x: Array) -> Array:
        """Copy an array of this device, stored in the order in which the library multiplies fastest."""
        return self.xp.asarray(x, copy=True)

    def to_numpy(self, x: Array) -> np.ndarray:
        """Bring an array back to the host: the one way there. Synchronizes."""
        if not on_host(x):
            devices = self.xp.__array_namespace_info__().devices()
            x = x.to_device(next(each for each in devices if "cpu" in str(each).lower()))
        return host_array(x)

    def fold(
        self, step: Function, gather: Function, state: Any, batches: Any, data: Any, kept: dict[Any, Any] | None = None
    ) -> Any:
        """Repeat a step: ``for i in range(n): state = step(state, gather(data, batches[i], xp), xp)``.

        The steps work on a copy of the state, into which they may write.

        Parameters
        ----------
        step
            ``step(state, minibatch, xp) -> state``, a pure function but for what it does to its state.
        gather
            ``gather(data, batch, xp) -> minibatch``, a pure function that takes a stack of batches too, and then gives
            a stack of minibatches.
        state, data
            Nests of arrays.
        batches
            A nest of arrays with an axis of steps in front.
        kept
            Where to keep what makes further folds of the same step over the same data faster, with the data; empty at
            first.
        """
        return self._plainly(step, gather, map_arrays(self.own, state), batches, data)

    def _plainly(self, step: Function, gather: Function, state: Any, batches: Any, data: Any) -> Any:
        """Repeat a step in a plain loop, on the state itself."""
        with np.errstate(all="ignore"):  # training says itself what is not finite, and where
            for i in range(leaves(batches)[0].shape[0]):
                state = step(state, gather(data, part(batches, i), self.xp), self.xp)
        return state

    def all_finite(self, arrays: Iterable[Array]) -> bool:
        """Whether no array holds NaN or infinity. Synchronizes, once."""
        xp = self.xp
        return bool(xp.all(xp.stack([xp.all(xp.isfinite(rows)) for x in arrays for rows in blocks(x)])))

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked for. Synchronizes."""

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        return self.xp.asarray(cast(x, dtype), device=self.device)

    def _from_device(self, x: Array) -> Array:
        if isinstance(x, self._array_type):
            return array_api_compat.to_device(x, self.device)
        return self.xp.from_dlpack(x, device=self.device)


def get_backend(backend: Any = None, device: Any = None) -> Backend:
    """Find the backend that ``backend=`` and ``device=`` ask for.

    Parameters
    ----------
    backend
        ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, the namespace module of any Array API library, or a `Backend`.
        None lets `device` decide.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a device in the library's own terms. Without `backend`, the CPU means
        NumPy, a CUDA device CuPy, and ``"auto"`` CuPy if a GPU can be used, else NumPy (standard error says which).
        None is the library's default device.

    Raises
    ------
    BackendError
        If it cannot be had; the message says why and what to do. Nothing is ever replaced silently.

    Examples
    --------
    >>> get_backend()
    <Backend numpy on cpu>
    """
    if isinstance(backend, Backend):
        same = backend.name if backend.name in BACKENDS else backend.xp
        if device is not None and get_backend(same, device).device != backend.device:
            raise BackendError(f"device={device!r} contradicts backend={backend!r}; give one of them")
        return backend
    if isinstance(backend, ModuleType):
        backend = _name_of(backend) or backend
    if backend is None and device == "auto":
        return _best()
    backend = _library_for(device) if backend is None else backend
    if isinstance(backend, ModuleType):
        return _generic(backend, device)
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise BackendError(unknown("backend", backend, BACKENDS) + ", or give an Array API namespace module")
    return load(backend, device)(device)


def load(name: str, device: Any = None) -> type[Any]:
    """Import a named backend's class, or raise a BackendError that says how to install its library."""
    module, remedy = BACKENDS[name]
    try:
        return importlib.import_module(f"xpnet.backends.{module}").BACKEND
    except (ImportError, OSError, RuntimeError, AttributeError) as error:  # not there, or broken
        asked = f"backend={name!r} with device={device!r}"
        raise BackendError(f"{asked} cannot be imported ({error}); install it with: {remedy}") from error


def as_array(x: Any) -> Array:
    """Take arrays of any library as they are, everything else through NumPy.

    Examples
    --------
    >>> as_array([[1.0, 2.0]]).shape
    (1, 2)
    """
    if not array_api_compat.is_array_api_obj(x):
        return np.asarray(x)
    detach = getattr(x, "detach", None)  # a torch tensor lets go of its graph
    return detach() if detach else x


def on_host(x: Any) -> bool:
    """Whether an array, or a backend, lies in the host's memory."""
    device = x.device if isinstance(x, Backend) else array_api_compat.device(x)
    return "cpu" in str(device).lower()  # DLPack cannot tell: simulated devices of array-api-strict say CPU there


def host_array(x: Array) -> np.ndarray:
    """Turn an array on the host, of any library, into NumPy's; without a copy where the library allows."""
    return np.asarray(x)


def cast(x: np.ndarray, dtype: str | None) -> np.ndarray:
    """Change the dtype of a NumPy array; a value that the new one cannot hold becomes infinite, without a warning."""
    if dtype is None or x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def library(x: Array) -> str:
    """Name of the library that an array belongs to.

    Examples
    --------
    >>> library(np.ones(2))
    'numpy'
    """
    name = array_api_compat.array_namespace(x).__name__.removeprefix("array_api_compat.")
    return name.split(".")[0]


def _move(x: Array) -> str:
    name = library(x)
    if name == "cupy":
        return f'net.to("cupy", device="cuda:{x.device.id}")'
    where = repr(name) if name in BACKENDS else name
    return f"net.to({where}, device={str(array_api_compat.device(x))!r})"


def _name_of(module: ModuleType) -> str | None:
    name = module.__name__.removeprefix("array_api_compat.").removesuffix(".numpy")
    return name if name in BACKENDS else None


def _library_for(device: Any) -> str:
    if device is None or str(device) == "cpu":
        return "numpy"
    if isinstance(device, str) and (device == "cuda" or device.startswith("cuda:")):
        return "cupy"
    raise BackendError(
        f"device={device!r} is unknown; choose from {choices(['cpu', 'cuda', 'cuda:N', 'auto'])}, "
        'or name the library too, as in backend="torch"'
    )


def _reopened(name: str, device: str) -> Backend:
    return get_backend(name if name in BACKENDS else importlib.import_module(name), device)


def _best() -> Backend:
    try:
        best, why = get_backend("cupy"), ""
    except BackendError as error:
        best, why = get_backend("numpy"), f": {error}"
    print(f'xpnet: device="auto" is {best.name} on {best.device_name}{why}', file=sys.stderr)
    return best


def _is_called(name: str, device: str) -> bool:
    """Whether a library's name of a device, such as ``"lib.Device('CPU_0')"``, is what the user calls it."""
    inside = re.sub(r"^.*\(\W*|\W*\)$", "", name)
    return device in (name, inside) or (device == "cpu" and "cpu" in name.lower())


def _generic(xp: ModuleType, device: Any) -> Backend:
    try:
        if isinstance(device, str):
            named = {str(each): each for each in xp.__array_namespace_info__().devices()}
            device = next((each for name, each in named.items() if _is_called(name, device)), device)
        return Backend(xp.__name__, xp, device)
    except Exception as error:
        raise BackendError(
            f"backend={xp.__name__} with device={device!r} cannot be used ({type(error).__name__}: {error}); "
            "give an Array API namespace module and one of its devices"
        ) from error
