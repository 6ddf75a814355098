"""Members of an ensemble that early stopping left far behind the others."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from xpnet._checks import warn
from xpnet.training.callback import Callback, Trainee
from xpnet.value import History

# The training cost of a member may exceed the median by this much, in nats for each target, without a warning: with
# means as good as those of the others, its standard deviations are then 1.6 times as large. In 15 ensembles on seven
# data sets, members exceeded it by 0.35 at most; and by 0.8 to 1.1 where early stopping had gone back to epochs 2 to 5
FAR_BEHIND = 0.5


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
    if model.cost.distribution is None or model.cost.distribution.std is None:
        return
    epochs, costs = np.array([find_kept(net.value.history, watching) for net, watching in zip(networks, callbacks)]).T
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
