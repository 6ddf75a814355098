"""Warnings about trainings that go on, but will not lead where the user expects."""

from collections.abc import Iterable

import numpy as np

from xpnet._checks import warn
from xpnet.data.reader import Reader
from xpnet.data.source import Chunk
from xpnet.value import History

# Limits for the mean and the standard deviation of targets, within which error bars of the Gaussian cost are about
# right, so that one standard deviation covers about 68 %. In two problems of 1,000 examples each, it covers 70 and 63 %
# at a mean of 30, and 100 % at 100; 68 and 67 % at a standard deviation of 3, and 29 and 41 % at 30; 73 and 68 % at
# 0.03, and 77 and 75 % at 0.01
FARTHEST, WIDEST, NARROWEST = 50.0, 5.0, 0.02


def check_target_scale(chunks: Iterable[Chunk], reader: Reader) -> None:
    """Warn once if a cost predicts standard deviations, and the targets are not on a scale for it. Synchronizes.

    `chunks` are the first ones of the networks, which may share examples.
    """
    if not reader.model.cost.has_std:
        return
    for y in {id(chunk.examples.y): chunk.examples.y for chunk in chunks if chunk.scaling is None}.values():
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


def warn_of_no_step(name: str, history: History) -> None:
    """Warn that no step of a call has lowered the cost, if it had a chance: two steps or more, and a cost above 0."""
    if len(history) > 1 and history["cost"][-1] > 0.0:
        warn(
            f"none of the {len(history)} steps of {name} lowered the cost, {history['cost'][-1]:.3g}; the weights are "
            "as before. Give more steps; if that changes nothing, the weights are at a minimum or without effect, as "
            "those of units that are saturated or never active: scale the data, or try another seed or activation"
        )
