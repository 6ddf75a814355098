"""Equations: networks that solve them, and the Laplace approximation of what data leave open."""

from xpnet.physics._check import SolutionCheck, check_solution
from xpnet.physics._laplace import fit_laplace, fit_to_examples
from xpnet.physics._posterior import Posterior, differentiate_bars, find_covariance, find_posterior, sample_functions
from xpnet.physics._residuals import Term
from xpnet.physics._solve import solve

__all__ = [
    "Posterior",
    "SolutionCheck",
    "Term",
    "check_solution",
    "differentiate_bars",
    "find_covariance",
    "find_posterior",
    "fit_laplace",
    "fit_to_examples",
    "sample_functions",
    "solve",
]
