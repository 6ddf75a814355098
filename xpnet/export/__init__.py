"""Networks to and from other programs: ONNX files, PyTorch, JAX, and pages for a browser.

A function imports the library that it needs when it is called.
"""

from typing import TYPE_CHECKING, Any

from xpnet.export._jax import from_jax, to_jax
from xpnet.export._torch import from_torch, to_torch
from xpnet.export.onnx import to_onnx

if TYPE_CHECKING:
    from xpnet.pages import make_page, write_lesson, write_page

__all__ = [
    "from_jax",
    "from_torch",
    "make_page",
    "to_jax",
    "to_onnx",
    "to_torch",
    "write_lesson",
    "write_page",
]


def __getattr__(name: str) -> Any:
    """Hand on the functions of `xpnet.pages`, which read networks by the modules here."""
    if name not in ("make_page", "write_lesson", "write_page"):
        raise AttributeError(f"module 'xpnet.export' has no attribute {name!r}")
    from xpnet import pages

    return getattr(pages, name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*__all__, *globals()})
