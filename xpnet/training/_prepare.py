"""Preparing the data of `train`: open and check them, weigh examples, split some off, and balance classes."""

from collections.abc import Iterable, Sequence

import numpy as np

from xpnet._checks import show, warn
from xpnet.core.arrays import Array
from xpnet.data import refuse_iterator
from xpnet.data.open import Data, map_shared, open_data, share_batches
from xpnet.data.reader import Reader
from xpnet.data.splits import check_split
from xpnet.errors import ArgumentError
from xpnet.training._arguments import Request
from xpnet.training._plan import Plan

# Limits for the mean and the standard deviation of targets, within which error bars of the Gaussian cost are about
# right, so that one standard deviation covers about 68 %. In two problems of 1,000 examples each, it covers 70 and 63 %
# at a mean of 30, and 100 % at 100; 68 and 67 % at a standard deviation of 3, and 29 and 41 % at 30; 73 and 68 % at
# 0.03, and 77 and 75 % at 0.01
FARTHEST, WIDEST, NARROWEST = 50.0, 5.0, 0.02


def open_for_each(
    request: Request, plan: Plan, reader: Reader, split_seeds: Sequence[int], progress: bool
) -> list[Data]:
    """Open the data of a training for each network, by the seed of its validation split. Changes nothing.

    Parameters
    ----------
    request
        The arguments of `train`.
    plan
        The plan of one of the networks, whose epochs and steps are those of all.
    reader
        The reader of the networks.
    split_seeds
        For each network, the seed of its validation split.
    progress
        Whether to show bars.
    """
    _check_request(request, len(split_seeds))
    data = open_data(
        request.train_data,
        reader,
        validation_data=request.validation_data,
        test_data=request.test_data,
        sample_weight=request.sample_weight,
        class_weight=request.class_weight,
        slopes=request.slopes,
        slope_weight=request.slope_weight,
        epochs=plan.epochs,
        steps=plan.steps,
        cache=request.cache,
        progress=progress,
    )
    if request.validation_split is not None:
        parts = data.split_for_each(request.validation_split, split_seeds)
    else:
        parts = data.part_for_each(request.rows, request.validation_rows, len(split_seeds))
    return share_batches(map_shared(Data.balance, parts))


def _check_request(request: Request, networks: int) -> None:
    """Refuse two arguments that both say what to train or validate on, and data that are read too often."""
    split = request.validation_split
    names = [name for name in ("rows", "validation_rows") if getattr(request, name) is not None]
    if names and split is not None:
        raise ArgumentError(f"validation_split={show(split)} contradicts {names[-1]}; leave one of them out")
    if request.validation_rows is not None and request.validation_data is not None:
        raise ArgumentError("validation_data contradicts validation_rows; leave one of them out")
    if networks > 1:
        refuse_iterator(request.validation_data, "validation_data")
        refuse_iterator(request.test_data, "test_data")
    if split is not None:
        check_split("validation_split", split)
        if request.validation_data is not None:
            raise ArgumentError(f"validation_split={show(split)} contradicts validation_data; give one of the two")


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
