"""A neural network from scratch, its mathematics written once for NumPy, CuPy, PyTorch and JAX."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xpnet.adaptive import Adam, AdamW, RMSProp
    from xpnet.arrays import Layer
    from xpnet.backends import get_backend
    from xpnet.callbacks import (
        Callback,
        CSVLog,
        EarlyStopping,
        History,
        ModelCheckpoint,
        ReduceLROnPlateau,
        TensorBoard,
    )
    from xpnet.errors import BackendError, CheckpointError, DivergenceError
    from xpnet.gradcheck import check_gradients
    from xpnet.modifiers import L1, Clip, MaxNorm
    from xpnet.network import Network
    from xpnet.optimizers import SGD
    from xpnet.schedules import Constant, Cosine, Exponential, InverseScaling, OneCycle, Step

# module -> the public names that it holds
_HOMES = {
    "network": ("Network",),
    "optimizers": ("SGD",),
    "adaptive": ("Adam", "AdamW", "RMSProp"),
    "modifiers": ("L1", "Clip", "MaxNorm"),
    "schedules": ("Constant", "Cosine", "Exponential", "InverseScaling", "OneCycle", "Step"),
    "callbacks": (
        *("Callback", "CSVLog", "EarlyStopping", "History"),
        *("ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"),
    ),
    "gradcheck": ("check_gradients",),
    "arrays": ("Layer",),
    "backends": ("get_backend",),
    "errors": ("BackendError", "CheckpointError", "DivergenceError"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = (
    *("activations", "adaptive", "backends", "callbacks", "costs", "datasets", "estimators", "initializers", "metrics"),
    *("modifiers", "names", "optimizers", "rectifiers", "schedules"),
)

__all__ = [
    "L1",
    "SGD",
    "Adam",
    "AdamW",
    "BackendError",
    "CSVLog",
    "Callback",
    "CheckpointError",
    "Clip",
    "Constant",
    "Cosine",
    "DivergenceError",
    "EarlyStopping",
    "Exponential",
    "History",
    "InverseScaling",
    "Layer",
    "MaxNorm",
    "ModelCheckpoint",
    "Network",
    "OneCycle",
    "RMSProp",
    "ReduceLROnPlateau",
    "Step",
    "TensorBoard",
    "check_gradients",
    "get_backend",
]


def __getattr__(name: str) -> Any:
    """Import a public name, or a public module, when it is first asked for."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"xpnet.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"xpnet.{name}")
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names too, imported or not."""
    return sorted({*globals(), *_MODULE_OF, *_MODULES})
