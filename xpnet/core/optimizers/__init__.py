"""Optimizers: SGD; Adam and its relatives; and wrappers that can be put around any of them."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.core.optimizers._adam import Adam, AdamHat, AdamW, RMSProp
    from xpnet.core.optimizers._evidence import (
        MOST_CHANGE,
        Evidence,
        begin_evidence,
        estimate_precisions,
        find_decays,
        init_evidence,
        unit_precisions,
    )
    from xpnet.core.optimizers._lbfgs import LBFGS, MOST_TRIALS
    from xpnet.core.optimizers._least_squares import (
        LARGEST_GROWTH,
        LEAST,
        SQUARED,
        descend,
        normal_equations,
        parameter_jacobian,
    )
    from xpnet.core.optimizers._levenberg_marquardt import LevenbergMarquardt
    from xpnet.core.optimizers._sgd import SGD
    from xpnet.core.optimizers._table import OPTIMIZERS
    from xpnet.core.optimizers._wrappers import L1, Clip, MaxNorm

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
        "_adam": ("Adam", "AdamHat", "AdamW", "RMSProp"),
        "_evidence": (
            "Evidence",
            "MOST_CHANGE",
            "begin_evidence",
            "estimate_precisions",
            "find_decays",
            "init_evidence",
            "unit_precisions",
        ),
        "_lbfgs": ("LBFGS", "MOST_TRIALS"),
        "_least_squares": ("LARGEST_GROWTH", "LEAST", "SQUARED", "descend", "parameter_jacobian", "normal_equations"),
        "_levenberg_marquardt": ("LevenbergMarquardt",),
        "_sgd": ("SGD",),
        "_table": ("OPTIMIZERS",),
        "_wrappers": ("Clip", "L1", "MaxNorm"),
    },
)
