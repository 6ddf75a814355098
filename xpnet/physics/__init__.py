"""Equations: networks that solve them, and the Laplace approximation of what data leave open."""

from xpnet.physics._laplace import fit_laplace
from xpnet.physics._residuals import Term
from xpnet.physics._solve import solve

__all__ = [
    "Term",
    "fit_laplace",
    "solve",
]
