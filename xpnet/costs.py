"""Cost functions. The public name of `xpnet.core.costs`."""

from xpnet.core.costs import (
    Composed,
    Cost,
    Fused,
    absolute,
    cross_entropy,
    gaussian,
    huber,
    log_likelihood,
    mae,
    make_huber,
    make_quantile,
    mse,
    poisson,
    quadratic,
)

__all__ = [
    "Composed",
    "Cost",
    "Fused",
    "absolute",
    "cross_entropy",
    "gaussian",
    "huber",
    "log_likelihood",
    "mae",
    "make_huber",
    "make_quantile",
    "mse",
    "poisson",
    "quadratic",
]
