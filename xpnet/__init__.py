"""A neural network from scratch, its mathematics written once for NumPy, CuPy, PyTorch and JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet.version import __version__ as __version__

if TYPE_CHECKING:
    from xpnet.backends import get_backend
    from xpnet.core.arrays import Layer
    from xpnet.core.optimizers import L1, LBFGS, SGD, Adam, AdamW, Clip, LevenbergMarquardt, MaxNorm, RMSProp
    from xpnet.core.schedules import Constant, Cosine, Exponential, InverseScaling, OneCycle, Step
    from xpnet.errors import ArgumentError, BackendError, CheckpointError, DivergenceError
    from xpnet.learn.gradcheck import check_gradients
    from xpnet.network.ensemble import Ensemble
    from xpnet.network.network import Network
    from xpnet.physics import Term
    from xpnet.training.callback import Callback
    from xpnet.training.callbacks import CSVLog, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TensorBoard
    from xpnet.value import History

# module -> the public names that it defines
_NAMES_IN = {
    "network.network": ("Network",),
    "network.ensemble": ("Ensemble",),
    "core.arrays": ("Layer",),
    "core.optimizers": (
        "SGD",
        "Adam",
        "AdamW",
        "RMSProp",
        "LBFGS",
        "LevenbergMarquardt",
        "L1",
        "Clip",
        "MaxNorm",
    ),
    "physics": ("Term",),
    "core.schedules": (
        "Constant",
        "Cosine",
        "Exponential",
        "InverseScaling",
        "OneCycle",
        "Step",
    ),
    "training.callback": ("Callback",),
    "training.callbacks": (
        "CSVLog",
        "EarlyStopping",
        "ModelCheckpoint",
        "ReduceLROnPlateau",
        "TensorBoard",
    ),
    "value": ("History",),
    "learn.gradcheck": ("check_gradients",),
    "backends": ("get_backend",),
    "errors": (
        "ArgumentError",
        "BackendError",
        "CheckpointError",
        "DivergenceError",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names}
_MODULES = (
    "activations",
    "backends",
    "costs",
    "datasets",
    "estimators",
    "export",
    "learn",
    "metrics",
    "plots",
    "tables",
)

__all__ = [
    "L1",
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "ArgumentError",
    "BackendError",
    "CSVLog",
    "Callback",
    "CheckpointError",
    "Clip",
    "Constant",
    "Cosine",
    "DivergenceError",
    "EarlyStopping",
    "Ensemble",
    "Exponential",
    "History",
    "InverseScaling",
    "Layer",
    "LevenbergMarquardt",
    "MaxNorm",
    "ModelCheckpoint",
    "Network",
    "OneCycle",
    "RMSProp",
    "ReduceLROnPlateau",
    "Step",
    "TensorBoard",
    "Term",
    "check_gradients",
    "get_backend",
]


def __getattr__(name: str) -> Any:
    """Import a public name or module when it is first used."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"xpnet.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"xpnet.{name}")
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*_MODULE_OF, *_MODULES, *(name for name in globals() if name.startswith("__"))})
