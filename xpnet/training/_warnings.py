"""Warnings about trainings that go on, but will not lead where the user expects."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from xpnet._checks import warn
from xpnet.core.arrays import Array
from xpnet.data.reader import Reader
from xpnet.training.callback import Callback, Trainee
from xpnet.value import History

# Limits for the mean and the standard deviation of targets, within which error bars of the Gaussian cost are about
# right, so that one standard deviation covers about 68 %. In two problems of 1,000 examples each, it covers 70 and 63 %
# at a mean of 30, and 100 % at 100; 68 and 67 % at a standard deviation of 3, and 29 and 41 % at 30; 73 and 68 % at
# 0.03, and 77 and 75 % at 0.01
FARTHEST, WIDEST, NARROWEST = 50.0, 5.0, 0.02
# The training cost of a member may exceed the median by this much, in nats for each target, without a warning: with
# means as good as those of the others, its standard deviations are then 1.6 times as large. In 15 ensembles on seven
# data sets, members exceeded it by 0.35 at most; and by 0.8 to 1.1 where early stopping had gone back to epochs 2 to 5
FAR_BEHIND = 0.5


def check_target_scale(targets: Iterable[Array], reader: Reader) -> None:
    """Warn once if a cost predicts standard deviations, and the targets are not on a scale for it. Synchronizes.

    The targets are arrays (n, n_targets), as the network sees them.
    """
    if not reader.model.cost.has_std:
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


def warn_of_laggards(networks: Iterable[Trainee], callbacks: Sequence[Sequence[Callback]]) -> None:
    """Warn about members that early stopping left far behind the others, if they predict standard deviations.

    Parameters
    ----------
    networks
        The members, with the histories of their training.
    callbacks
        The callbacks of each, which know the epoch whose weights were restored.
    """
    networks = list(networks)
    model = networks[0].value.model
    if not model.cost.has_std:
        return
    kept = [find_kept(net.value.history, watching) for net, watching in zip(networks, callbacks)]
    epochs, costs = np.array(kept).T
    above = (costs - np.median(costs)) / model.n_targets
    laggards = np.flatnonzero((above > FAR_BEHIND) & (epochs < np.median(epochs)))
    if len(laggards):
        names = ", ".join(f"member {k} (epoch {epochs[k]:g}, {above[k]:.2g} above the median)" for k in laggards)
        warn(
            f"early stopping went back to weights whose training cost is far above that of the other members: {names}; "
            "their standard deviations widen the error bars of all. Give it more patience, or leave these members out, "
            "as in Ensemble.of"
        )


def find_kept(history: History, callbacks: Sequence[Callback]) -> tuple[float, float]:
    """Find the epoch whose weights a network has after its training, and the training cost in it; NaN if none.

    Examples
    --------
    >>> find_kept(History([{"epoch": 1, "cost": 0.5}, {"epoch": 2, "cost": 0.25}]), [])
    (2, 0.25)
    """
    epochs = [epoch for callback in callbacks if (epoch := callback.kept_epoch) is not None]
    epoch = epochs[-1] if epochs else len(history)
    return epoch, next((row["cost"] for row in history if row["epoch"] == epoch), math.nan)


def warn_of_no_step(name: str, history: History) -> None:
    """Warn that no step of a call has lowered the cost, if it had a chance: two steps or more, and a cost above 0."""
    if len(history) > 1 and history["cost"][-1] > 0.0:
        warn(
            f"none of the {len(history)} steps of {name} lowered the cost, {history['cost'][-1]:.3g}; the weights are "
            "as before. Give more steps; if that changes nothing, the weights are at a minimum or without effect, as "
            "those of units that are saturated or never active: scale the data, or try another seed or activation"
        )
