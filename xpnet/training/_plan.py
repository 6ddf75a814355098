"""Jobs: a network to train, with its plan, its examples and its callbacks."""

from collections.abc import Sequence
from typing import NamedTuple

from xpnet.core.optimizers.base import Optimizer
from xpnet.core.schedules import Schedule
from xpnet.data.sampling import Sampling
from xpnet.data.source import Source
from xpnet.distributed import Ranks
from xpnet.training.callback import Callback, Trainee
from xpnet.value import Start


class Plan(NamedTuple):
    """How to train a network."""

    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule  # the learning rate as a function of (step, total)
    sampling: Sampling
    alpha: float = 0.0  # adds α/2m ‖w‖² to the cost of a minibatch; m is the sum of its examples' weights
    ranks: Ranks | None = None  # the processes that share each minibatch, if there are several
    steps: int | None = None  # minibatches of an epoch, where the data do not say it
    chunk_steps: int | None = None  # in a chunk; None to choose it


class Job(NamedTuple):
    """A network to train, with its plan, its examples and its callbacks."""

    net: Trainee
    start: Start
    plan: Plan
    source: Source  # the examples to train on
    validation: Source | None = None
    test: Source | None = None
    callbacks: Sequence[Callback] = ()
