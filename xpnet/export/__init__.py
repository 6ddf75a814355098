"""Networks to and from other programs: ONNX files, PyTorch, JAX, and pages for a browser.

A function imports the library that it needs when it is called.
"""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily
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


# The functions of `xpnet.pages` read networks by the modules here
__getattr__ = import_lazily(__name__, {".pages": ("make_page", "write_lesson", "write_page")})


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*__all__, *globals()})
