"""Training a network on several processes, which all call `train` at once."""

from functools import partial
from typing import Any, NamedTuple

from xpnet.backends.threads import AUTO
from xpnet.core.model import Seeds
from xpnet.core.optimizers.base import Optimizer
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data.source import Countable
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.setting import parse_distributed
from xpnet.training.agreement import Follow, to_device, to_host
from xpnet.training.callback import Trainee
from xpnet.training.loop import train_networks
from xpnet.training.position import Start
from xpnet.training.preparation import Preparation, describe_calls
from xpnet.training.same_training import check_same_job, describe_job
from xpnet.wording.errors import DivergenceError


class Beginning(NamedTuple):
    """Rank 0's network when training begins, or resumes, in plain values and NumPy arrays."""

    state: State
    optimizer: Optimizer
    seeds: Seeds
    generator: dict[str, Any]
    scaling: Scaling | None
    feature_names: tuple[str, ...] | None
    start: Start


def train_on_ranks(preparation: Preparation) -> dict[int, DivergenceError]:
    """Train a network on several processes.

    Network, scaling and callbacks are those of rank 0. Each step of the preparation is taken on rank 0 alone, or on all
    ranks; if it fails on one of them, all raise an error.
    """
    (net,) = preparation.networks
    ranks = Ranks(parse_distributed(preparation.request.distributed, net.view.backend))
    with ranks.ending_together():
        beginning = ranks.make_on_first(partial(describe_beginning, preparation))
        if not ranks.leads:
            receive(preparation, beginning)
        with net.view.scope():
            described = ranks.make_on_all(partial(prepare_jobs, preparation, ranks))
            ranks.make_on_all(partial(check_same_job, described))
            scaling = ranks.make_on_first(partial(fit_scaling, preparation))
            ranks.make_on_all(partial(finish_jobs, preparation, ranks, scaling, beginning))
        threads = preparation.parsed.blas_threads
        return train_networks(
            preparation.jobs,
            blas_threads=1 if threads == AUTO else threads,  # or the ranks of a machine share its cores badly
            checkpoint=preparation.checkpoint,
        )


def describe_beginning(preparation: Preparation) -> Beginning:
    """Open the checkpoint, and describe how the training begins. Synchronizes."""
    preparation.open_checkpoint()
    (net,), resumed = preparation.at_start, preparation.resumed
    view, generator = net.view, dict(net.rng.bit_generator.state)
    return Beginning(
        to_host(net.state, view),
        net.optimizer,
        net.seeds,
        generator,
        view.scaling and view.scaling.exact,
        view.feature_names,
        Start() if resumed is None else resumed[0].start(),
    )


def receive(preparation: Preparation, beginning: Beginning) -> None:
    """Begin as rank 0 does, on another rank; it has no callbacks, evaluates nothing, and writes no files."""
    (net,) = preparation.networks
    preparation.saving, preparation.resumed = None, None
    copy = net.copy()
    copy._take_over(**make_attributes(beginning, net))
    preparation.at_start = [copy]
    watching = {"validation_data", "test_data", "metrics", "training_metrics", "checkpoint", "every", "resume"}
    defaults = preparation.request._field_defaults
    preparation.request = preparation.request._replace(
        **{name: defaults[name] for name in watching}, callbacks=[()], progress=False
    )


def make_attributes(beginning: Beginning, net: Trainee) -> dict[str, Any]:
    """Make the attributes that a network takes over from rank 0's."""
    generator = type(net.rng)(type(net.rng.bit_generator)())
    generator.bit_generator.state = beginning.generator
    return {
        "_state": to_device(beginning.state, net.view),
        "_optimizer": beginning.optimizer,
        "_seeds": beginning.seeds,
        "rng": generator,
        "_scaling": beginning.scaling and net.view.reader.place(beginning.scaling),
        "_feature_names": beginning.feature_names,
    }


def prepare_jobs(preparation: Preparation, ranks: Ranks) -> dict[str, Any]:
    """Make the job, and describe the call, which must be the same on all ranks. Synchronizes."""
    preparation.make_jobs()
    (job,) = preparation.jobs
    if not isinstance(job.source, Countable):
        raise ValueError(
            "distributed= needs train_data that every process can read from any place, and an iterable of batches has "
            "its own order; give arrays, a memory map, or a data set"
        )
    (call,) = describe_calls(preparation.jobs, preparation.request)
    return {**describe_job(job, call), "shards": ranks.shards}


def fit_scaling(preparation: Preparation) -> Scaling | None:
    """Fit the scaling, if the network standardizes and has none. Synchronizes."""
    preparation.fit_scalings()
    (scaling,) = preparation.scalings
    return scaling and scaling.exact


def finish_jobs(preparation: Preparation, ranks: Ranks, scaling: Scaling | None, beginning: Beginning) -> None:
    """Make the checkpoint, scale the examples, and add the callbacks: those of rank 0, or one that follows it."""
    (net,), (job,) = preparation.networks, preparation.jobs
    preparation.make_checkpoint()
    preparation.scalings = [scaling and job.source.reader.place(scaling)]
    preparation.scale_examples()
    if ranks.leads:
        preparation.add_callbacks()
    (job,) = preparation.jobs
    if not ranks.leads:
        job = job._replace(callbacks=[Follow(net, ranks, make_attributes(beginning, net))], start=beginning.start)
    preparation.jobs = [job._replace(plan=job.plan._replace(ranks=ranks))]
