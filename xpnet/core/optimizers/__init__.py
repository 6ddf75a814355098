"""Optimizers: SGD; Adam and its relatives; and wrappers that can be put around any of them."""

from xpnet.core.optimizers._adam import Adam, AdamHat, AdamW, RMSProp
from xpnet.core.optimizers._base import (
    Optimizer,
    OptimizerState,
    begins_anew,
    count_multiplications,
    is_optimizer,
    needs_all_examples,
)
from xpnet.core.optimizers._lbfgs import LBFGS, MOST_TRIALS
from xpnet.core.optimizers._levenberg_marquardt import LevenbergMarquardt
from xpnet.core.optimizers._sgd import SGD
from xpnet.core.optimizers._wrappers import L1, Clip, MaxNorm

__all__ = [
    "L1",
    "LBFGS",
    "MOST_TRIALS",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamHat",
    "AdamW",
    "Clip",
    "LevenbergMarquardt",
    "MaxNorm",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "begins_anew",
    "count_multiplications",
    "is_optimizer",
    "needs_all_examples",
]

# By the names under which files store them
OPTIMIZERS: dict[str, type] = {
    optimizer.__name__: optimizer
    for optimizer in (SGD, RMSProp, Adam, AdamHat, AdamW, LBFGS, LevenbergMarquardt, L1, Clip, MaxNorm)
}
