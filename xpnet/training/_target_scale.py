"""The scale of targets that a cost with error bars needs."""

from collections.abc import Iterable

import numpy as np

from xpnet._checks import warn
from xpnet.core.arrays import Array
from xpnet.data.reader import Reader

# Limits for the mean and the standard deviation of targets, within which error bars of the Gaussian cost are about
# right, so that one standard deviation covers about 68 %. In two problems of 1,000 examples each, it covers 70 and 63 %
# at a mean of 30, and 100 % at 100; 68 and 67 % at a standard deviation of 3, and 29 and 41 % at 30; 73 and 68 % at
# 0.03, and 77 and 75 % at 0.01
FARTHEST, WIDEST, NARROWEST = 50.0, 5.0, 0.02


def check_target_scale(targets: Iterable[Array], reader: Reader) -> None:
    """Warn once if a cost predicts standard deviations, and the targets are not on a scale for it. Synchronizes.

    The targets are arrays (n, n_targets), as the network sees them.
    """
    distribution = reader.model.cost.distribution
    if distribution is None or distribution.std is None:
        return
    for y in targets:
        columns = reader.place.moments(y)
        means, stds = columns.mean, np.sqrt(columns.squares / columns.n)
        far = (abs(means) > FARTHEST) | (stds > WIDEST) | ((stds > 0) & (stds < NARROWEST))
        if far.any():
            warn(
                f"targets have mean {means[far][0]:.3g} and standard deviation {stds[far][0]:.3g}, and the cost "
                f"{reader.model.cost.name!r} gives wrong error bars unless these are about 0 and 1; give "
                "standardize=True, or scale the targets yourself"
            )
            return
