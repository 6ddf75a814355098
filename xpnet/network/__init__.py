"""The two classes that users work with: `Network` and `Ensemble`."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.network._by_hand import assign_layers as assign_layers

__all__ = [
    "assign_layers",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_by_hand": ("assign_layers",),
    },
)
