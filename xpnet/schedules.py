"""Learning-rate schedules. The public name of `xpnet.core.schedules`."""

from xpnet.core.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    Schedule,
    Step,
)

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "Step",
]
