"""Equations: networks that solve them, and the Laplace approximation of what data leave open."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.physics._laplace import fit_laplace
    from xpnet.physics._residuals import Term
    from xpnet.physics._solve import solve

__all__ = [
    "Term",
    "fit_laplace",
    "solve",
]

__getattr__ = import_lazily(__name__, {"_laplace": ("fit_laplace",), "_residuals": ("Term",), "_solve": ("solve",)})
