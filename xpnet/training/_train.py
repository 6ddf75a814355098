"""Training networks by the arguments of `train`: parse them, prepare the data, make the callbacks, run the loop."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from xpnet.backends import AUTO
from xpnet.core.optimizers.base import needs_all_examples
from xpnet.core.scaling import Scaler, Scaling
from xpnet.data import fingerprint_all, fingerprint_weights
from xpnet.data.open import Data, choose_sampling, fit_scalings, map_shared, scale_for_each
from xpnet.data.scaling import place_scaling
from xpnet.data.source import Countable
from xpnet.distributed import Ranks, parse_distributed
from xpnet.errors import ArgumentError
from xpnet.files import Snapshot
from xpnet.training._agreement import Follow, Lead, describe_start, take_over
from xpnet.training._arguments import Parsed, Request, parse
from xpnet.training._checkpoint import find_starts, make_checkpoint, read_trainings
from xpnet.training._comparison import (
    check_same_on_ranks,
    check_same_origin,
    describe_functions,
    describe_initial_weights,
    describe_on_rank,
    describe_training,
)
from xpnet.training._evaluate import make_evaluations, make_training_evaluation
from xpnet.training._loop import ValueStream, train_networks
from xpnet.training._loops import KeptLoops
from xpnet.training._plan import Job
from xpnet.training._prepare import open_for_each
from xpnet.training._progress import Progress
from xpnet.training._rates import check_schedule
from xpnet.training._saving import FileKind, Saving, parse_saving
from xpnet.training.callback import Trainee
from xpnet.value import Start, Value


def train(
    networks: Sequence[Trainee], request: Request, kept_loops: KeptLoops, kind: FileKind = "network"
) -> ValueStream:
    """Train networks of one shape on the user's data.

    Parameters
    ----------
    networks
        The networks, which training only reads.
    request
        The arguments of `train`, not parsed yet; `lr`, `optimizer` and `callbacks` have an entry for each network.
    kept_loops
        The recorded or compiled loops of an earlier training of these networks.
    kind
        The kind of file for a checkpoint.

    Yields
    ------
    dict
        New values of networks, by their numbers, which the caller is to assign before it goes on.

    Returns
    -------
    dict
        The error of each network that has diverged, by its number.
    """
    if request.distributed is not None:
        return (yield from train_on_ranks(networks, request, kind))
    saving, resumed = open_checkpoint(networks, request, kind)
    starts = find_starts(networks, resumed)
    with networks[0].value.scope():  # for the user's own code, too: data sets, metrics and callbacks
        parsed, jobs = make_jobs(networks, request, starts)
        calls = [] if saving is None else describe_calls(jobs, request)  # by examples that are not scaled yet
        checkpoint = saving and make_checkpoint(saving, resumed, jobs, parsed.callbacks, calls, parsed.progress)
        jobs = scale_jobs(jobs, find_or_fit_scalings(jobs, parsed.progress))
        jobs = add_callbacks(jobs, parsed)
    threads = {"blas_threads": parsed.blas_threads, "threads": parsed.threads}
    return (yield from train_networks(jobs, checkpoint=checkpoint, kept_loops=kept_loops, **threads))


def train_on_ranks(networks: Sequence[Trainee], request: Request, kind: FileKind) -> ValueStream:
    """Train a network on several processes, which all call this function at once; see `train`.

    Network, scaling, callbacks and files are those of rank 0. Each step is taken on rank 0 alone, or on all ranks; if
    it fails on one of them, all raise an error.
    """
    (net,) = networks
    ranks = Ranks(parse_distributed(request.distributed, net.value.backend))
    with ranks.ending_together():
        saving, resumed = ranks.keep_on_first(lambda: open_checkpoint(networks, request, kind)) or (None, None)
        start = ranks.make_on_first(lambda: describe_start(find_starts(networks, resumed)[0]))
        start = start._replace(value=take_over(start.value, net.value))
        if not ranks.leads:  # it has no callbacks, evaluates nothing, and writes no files
            request = request.without_watching()
        with net.value.scope():
            parsed, (job,) = ranks.make_own(lambda: make_jobs(networks, request, [start]))
            call = ranks.make_own(lambda: describe_shared_call(job, request))
            descriptions = ranks.make_on_all(lambda: {**describe_on_rank(job, call), "shards": ranks.shards})
            with ranks.agreeing():
                check_same_on_ranks(descriptions)
            scaling = ranks.make_on_first(lambda: fit_exact_scaling(job, parsed.progress))
            checkpoint = ranks.keep_on_first(
                lambda: saving and make_checkpoint(saving, resumed, [job], parsed.callbacks, [call], parsed.progress)
            )
            job = ranks.make_own(lambda: finish_shared_job(job, parsed, scaling, ranks))
        blas_threads = 1 if parsed.blas_threads == AUTO else parsed.blas_threads  # they share a machine's cores
        return (yield from train_networks([job], blas_threads=blas_threads, checkpoint=checkpoint))


def open_checkpoint(
    networks: Sequence[Trainee], request: Request, kind: FileKind
) -> tuple[Saving | None, list[Snapshot] | None]:
    """Check where a training is to be written, and read the one to resume, if there are any."""
    saving = parse_saving(request.checkpoint, request.every, request.resume, kind=kind)
    if saving is None:
        return None, None
    resumed = read_trainings(saving, networks, request.progress)
    check_same_origin(saving, networks, resumed or ())
    return saving, resumed


def make_jobs(networks: Sequence[Trainee], request: Request, starts: Sequence[Start]) -> tuple[Parsed, list[Job]]:
    """Parse the arguments, and make the jobs, without callbacks; their examples are not scaled yet."""
    first, values = networks[0], [start.value for start in starts]
    parsed = parse(request, [value.optimizer for value in values], first.value)
    reader = first.value.reader._replace(feature_names=find_names(values))
    seeds = [value.seeds.split for value in values]
    data = open_for_each(request, parsed.plans[0], reader, seeds, parsed.progress)
    samplings = map_shared(partial(choose_sampling, parsed.plans[0].sampling), [own.train for own in data])
    plans = [plan._replace(sampling=sampling) for plan, sampling in zip(parsed.plans, samplings)]
    parts = zip(networks, starts, plans, data)
    return parsed, [Job(net, start, plan, own.train, own.validation, own.test) for net, start, plan, own in parts]


def find_or_fit_scalings(jobs: Sequence[Job], progress: bool) -> list[Scaler | None]:
    """Fit a scaling to the examples of each network that standardizes and has none; return those of all networks."""
    standardize = jobs[0].net.value.model.standardize
    scalings = find_scalings([job.start.value for job in jobs], standardize)
    return [*fit_scalings(list_data(jobs), scalings, progress)] if standardize else scalings


def list_data(jobs: Sequence[Job]) -> list[Data]:
    """List the data of jobs."""
    return [Data(job.source, job.validation, job.test) for job in jobs]


def scale_jobs(jobs: Sequence[Job], scalings: Sequence[Scaler | None]) -> list[Job]:
    """Scale the examples of jobs."""
    scaled = scale_for_each(list_data(jobs), scalings)
    return [job._replace(source=own.train, validation=own.validation, test=own.test) for job, own in zip(jobs, scaled)]


def fit_exact_scaling(job: Job, progress: bool) -> Scaling | None:
    """Fit the scaling of a network that several processes train, in NumPy arrays."""
    (scaling,) = find_or_fit_scalings([job], progress)
    return scaling and scaling.exact


def describe_shared_call(job: Job, request: Request) -> dict[str, Any]:
    """Describe a call that several processes make; refuse one whose minibatches they cannot share. Synchronizes."""
    _check_can_share(job)
    (call,) = describe_calls([job], request)
    return call


def finish_shared_job(job: Job, parsed: Parsed, scaling: Scaling | None, ranks: Ranks) -> Job:
    """Scale the examples of a process, and add the callback that calls those of rank 0, or follows it."""
    reader = job.source.reader
    placed = None if scaling is None else place_scaling(scaling, reader.model, reader.place)
    (job,) = scale_jobs([job], [placed])
    (job,) = add_callbacks([job], parsed)
    callback = Lead(job.callbacks, ranks) if ranks.leads else Follow(ranks)
    return job._replace(callbacks=[callback], plan=job.plan._replace(ranks=ranks))


def _check_can_share(job: Job) -> None:
    """Refuse a job whose minibatches several processes cannot share."""
    if needs_all_examples(job.plan.optimizer):
        raise ArgumentError(
            f"distributed= shares minibatches, and {type(job.plan.optimizer).__name__} uses all examples in every "
            "step; train in one process, or give another optimizer"
        )
    if not isinstance(job.source, Countable):
        raise ArgumentError(
            "distributed= needs train_data from which every process can read any examples, and an iterable of batches "
            "has an order of its own; give arrays, a memory map, or a data set"
        )
    check_schedule(job.plan.schedule, job.plan.epochs, job.source.steps(job.plan.sampling, job.plan.batch_size))


def add_callbacks(jobs: Sequence[Job], parsed: Parsed) -> list[Job]:
    """Give each network its callbacks, evaluations first: others see their results."""
    bars = [Progress()] if parsed.progress else []  # one for all networks
    with_bars = parsed.progress and len(jobs) == 1
    with_callbacks: list[Job] = []
    for job, own in zip(jobs, parsed.callbacks):
        evaluations = make_evaluations(job.validation, job.test, parsed.metrics, with_bars)
        if parsed.training_metrics:
            evaluations.insert(0, make_training_evaluation(job.source, parsed.training_metrics, with_bars))
        with_callbacks.append(job._replace(callbacks=[*evaluations, *own, *bars]))
    return with_callbacks


def describe_calls(jobs: Sequence[Job], request: Request) -> list[dict[str, Any]]:
    """Describe a call for each network by what another one must share to resume its training.

    The jobs' examples are not scaled yet. Synchronizes.
    """
    common: dict[str, Any] = {"batch_size": jobs[0].plan.batch_size, "sampling": jobs[0].plan.sampling.name}
    common |= {"steps": request.steps, "slope_weight": request.slope_weight}
    common |= fingerprint_weights(request.class_weight, request.sample_weight, jobs[0].source.reader)
    common["functions"] = describe_functions(jobs[0].net.value.model, [*request.metrics, *request.training_metrics])
    train_data, validation_data, test_data = (
        fingerprint_all(getattr(job, name) for job in jobs) for name in ("source", "validation", "test")
    )
    calls = [
        {**common, "train_data": train, "validation_data": validation, "test_data": test}
        for train, validation, test in zip(train_data, validation_data, test_data)
    ]
    return [
        describe_training(job.plan, {**call, "initial_weights": describe_initial_weights(job.net)})
        for job, call in zip(jobs, calls)
    ]


def find_scalings(values: Sequence[Value], standardize: bool) -> list[Scaler | None]:
    """Return the scaling of each network; equal ones are one object."""
    distinct: dict[bytes, Scaler] = {}
    scalings: list[Scaler | None] = []
    for scaling in (value.scaling for value in values):
        if scaling is None:
            scalings.append(None)
        else:
            scalings.append(distinct.setdefault(scaling.content, scaling))
    if distinct and None in scalings and not standardize:
        raise ArgumentError(
            f"member {scalings.index(None)} has no scaling, and others have one; give all of them one, or set the "
            "scaling of each to None"
        )
    return scalings


def find_names(values: Sequence[Value]) -> tuple[str, ...] | None:
    """Find the feature names of networks. Some may have none; two must not have different ones."""
    named = [(k, names) for k, value in enumerate(values) if (names := value.feature_names) is not None]
    for k, names in named:
        if names != named[0][1]:
            i, (own, first) = next((i, pair) for i, pair in enumerate(zip(names, named[0][1])) if pair[0] != pair[1])
            raise ArgumentError(
                f"network {k} has the name {own!r} for input {i} and network {named[0][0]} has {first!r}; the members "
                "of an ensemble must have the same feature_names, or None"
            )
    return named[0][1] if named else None
