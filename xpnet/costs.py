"""Cost functions. The public name of `xpnet.core.costs`."""

from xpnet.core.costs import (
    Composed,
    Cost,
    Fused,
    absolute,
    cross_entropy,
    huber,
    log_likelihood,
    make_huber,
    poisson,
    quadratic,
)

__all__ = [
    "Composed",
    "Cost",
    "Fused",
    "absolute",
    "cross_entropy",
    "huber",
    "log_likelihood",
    "make_huber",
    "poisson",
    "quadratic",
]
