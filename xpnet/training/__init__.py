"""Training: the loop over epochs, the history, callbacks, metrics and evaluation."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpnet.training import arguments as arguments
    from xpnet.training import by_hand as by_hand
    from xpnet.training import evaluate as evaluate
    from xpnet.training import laggards as laggards
    from xpnet.training import prepare as prepare
    from xpnet.training import solve as solve
    from xpnet.training import train as train


def __getattr__(name: str) -> ModuleType:
    """Import a module of this folder when it is first used: so `from xpnet import Network` is fast."""
    if name in ("arguments", "by_hand", "evaluate", "laggards", "prepare", "solve", "train"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
