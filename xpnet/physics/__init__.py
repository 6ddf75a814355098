"""Equations: networks that solve them; fitting the Laplace approximation of what data leave open."""

from xpnet.physics._check import SolutionCheck, check_solution
from xpnet.physics._laplace import fit_laplace, fit_to_examples
from xpnet.physics._residuals import Term
from xpnet.physics._solve import solve

__all__ = [
    "SolutionCheck",
    "Term",
    "check_solution",
    "fit_laplace",
    "fit_to_examples",
    "solve",
]
