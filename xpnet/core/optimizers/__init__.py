"""Optimizers: SGD; Adam and its relatives; and wrappers that can be put around any of them."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.core.optimizers._adam import Adam as Adam
    from xpnet.core.optimizers._adam import AdamHat as AdamHat
    from xpnet.core.optimizers._adam import AdamW as AdamW
    from xpnet.core.optimizers._adam import RMSProp as RMSProp
    from xpnet.core.optimizers._evidence import MOST_CHANGE as MOST_CHANGE
    from xpnet.core.optimizers._evidence import Evidence as Evidence
    from xpnet.core.optimizers._evidence import begin_evidence as begin_evidence
    from xpnet.core.optimizers._evidence import estimate_precisions as estimate_precisions
    from xpnet.core.optimizers._evidence import find_decays as find_decays
    from xpnet.core.optimizers._evidence import init_evidence as init_evidence
    from xpnet.core.optimizers._evidence import unit_precisions as unit_precisions
    from xpnet.core.optimizers._lbfgs import LBFGS as LBFGS
    from xpnet.core.optimizers._lbfgs import MOST_TRIALS as MOST_TRIALS
    from xpnet.core.optimizers._least_squares import LARGEST_GROWTH as LARGEST_GROWTH
    from xpnet.core.optimizers._least_squares import LEAST as LEAST
    from xpnet.core.optimizers._least_squares import SQUARED as SQUARED
    from xpnet.core.optimizers._least_squares import descend as descend
    from xpnet.core.optimizers._least_squares import normal_equations as normal_equations
    from xpnet.core.optimizers._least_squares import parameter_jacobian as parameter_jacobian
    from xpnet.core.optimizers._levenberg_marquardt import LevenbergMarquardt as LevenbergMarquardt
    from xpnet.core.optimizers._sgd import SGD as SGD
    from xpnet.core.optimizers._table import OPTIMIZERS as OPTIMIZERS
    from xpnet.core.optimizers._wrappers import L1 as L1
    from xpnet.core.optimizers._wrappers import Clip as Clip
    from xpnet.core.optimizers._wrappers import MaxNorm as MaxNorm

__all__ = [
    "L1",
    "LARGEST_GROWTH",
    "LBFGS",
    "LEAST",
    "MOST_CHANGE",
    "MOST_TRIALS",
    "OPTIMIZERS",
    "SGD",
    "SQUARED",
    "Adam",
    "AdamHat",
    "AdamW",
    "Clip",
    "Evidence",
    "LevenbergMarquardt",
    "MaxNorm",
    "RMSProp",
    "begin_evidence",
    "descend",
    "estimate_precisions",
    "find_decays",
    "init_evidence",
    "normal_equations",
    "parameter_jacobian",
    "unit_precisions",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_adam": (
            "Adam",
            "AdamHat",
            "AdamW",
            "RMSProp",
        ),
        "_evidence": (
            "Evidence",
            "MOST_CHANGE",
            "begin_evidence",
            "estimate_precisions",
            "find_decays",
            "init_evidence",
            "unit_precisions",
        ),
        "_lbfgs": (
            "LBFGS",
            "MOST_TRIALS",
        ),
        "_least_squares": (
            "LARGEST_GROWTH",
            "LEAST",
            "SQUARED",
            "descend",
            "parameter_jacobian",
            "normal_equations",
        ),
        "_levenberg_marquardt": ("LevenbergMarquardt",),
        "_sgd": ("SGD",),
        "_table": ("OPTIMIZERS",),
        "_wrappers": (
            "Clip",
            "L1",
            "MaxNorm",
        ),
    },
)
