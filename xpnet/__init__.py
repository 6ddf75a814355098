"""A neural network from scratch, its mathematics written once for NumPy, CuPy, PyTorch and JAX."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet._lazy import import_lazily
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
_import_name = import_lazily(
    __name__,
    {
        "backends": ("get_backend",),
        "core.arrays": ("Layer",),
        "core.optimizers": (
            "L1",
            "LBFGS",
            "SGD",
            "Adam",
            "AdamW",
            "Clip",
            "LevenbergMarquardt",
            "MaxNorm",
            "RMSProp",
        ),
        "core.schedules": ("Constant", "Cosine", "Exponential", "InverseScaling", "OneCycle", "Step"),
        "errors": ("ArgumentError", "BackendError", "CheckpointError", "DivergenceError"),
        "learn.gradcheck": ("check_gradients",),
        "network.ensemble": ("Ensemble",),
        "network.network": ("Network",),
        "physics": ("Term",),
        "training.callback": ("Callback",),
        "training.callbacks": ("CSVLog", "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau", "TensorBoard"),
        "value": ("History",),
    },
)


def __getattr__(name: str) -> Any:
    """Import a public name or module when it is first used."""
    return importlib.import_module(f"xpnet.{name}") if name in _MODULES else _import_name(name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
