"""All optimizers, by the names under which files store them."""

from xpnet.core.optimizers._adam import Adam, AdamHat, AdamW, RMSProp
from xpnet.core.optimizers._lbfgs import LBFGS
from xpnet.core.optimizers._levenberg_marquardt import LevenbergMarquardt
from xpnet.core.optimizers._sgd import SGD
from xpnet.core.optimizers._wrappers import L1, Clip, MaxNorm

OPTIMIZERS: dict[str, type] = {
    optimizer.__name__: optimizer
    for optimizer in (SGD, RMSProp, Adam, AdamHat, AdamW, LBFGS, LevenbergMarquardt, L1, Clip, MaxNorm)
}
