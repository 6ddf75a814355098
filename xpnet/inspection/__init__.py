"""Inspection of a network: predictions, activations, derivatives with respect to the inputs, and a summary."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpnet.inspection import calibration as calibration
    from xpnet.inspection import derivatives as derivatives
    from xpnet.inspection import intervals as intervals
    from xpnet.inspection import laplace as laplace
    from xpnet.inspection import novelty as novelty
    from xpnet.inspection import predict as predict
    from xpnet.inspection import summary as summary


def __getattr__(name: str) -> ModuleType:
    """Import a module of this folder when it is first used: so `from xpnet import Network` is fast."""
    if name in ("calibration", "derivatives", "intervals", "laplace", "novelty", "predict", "summary"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
