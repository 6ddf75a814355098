"""A neural network from scratch, its mathematics written once for NumPy, CuPy, PyTorch and JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xpnet.arrays import Layer
    from xpnet.backends import get_backend
    from xpnet.callbacks import History
    from xpnet.errors import BackendError, CheckpointError, DivergenceError
    from xpnet.network import Network
    from xpnet.optimizers import SGD
    from xpnet.schedules import OneCycle

_HOMES = {
    "Network": "network",
    "SGD": "optimizers",
    "OneCycle": "schedules",
    "History": "callbacks",
    "Layer": "arrays",
    "get_backend": "backends",
    "BackendError": "errors",
    "CheckpointError": "errors",
    "DivergenceError": "errors",
}
_MODULES = ("activations", "backends", "costs", "datasets", "initializers", "optimizers", "schedules")

__all__ = [
    "SGD",
    "BackendError",
    "CheckpointError",
    "DivergenceError",
    "History",
    "Layer",
    "Network",
    "OneCycle",
    "get_backend",
]


def __getattr__(name: str) -> Any:
    """Import a public name, or a public module, when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"xpnet.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"xpnet.{name}")
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names too, imported or not."""
    return sorted({*globals(), *_HOMES, *_MODULES})
