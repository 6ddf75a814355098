"""Training networks by the arguments of `train`: parse them, prepare the data, make the callbacks, run the loop."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

from xpnet.backends.threads import AUTO
from xpnet.core.arrays import leaves
from xpnet.core.optimizers.base import needs_all_examples
from xpnet.core.scaling import Scaler, Scaling
from xpnet.data.fingerprint import fingerprint_all, fingerprint_weights
from xpnet.data.source import Countable
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.setting import parse_distributed
from xpnet.training.agreement import Beginning, Follow, describe_beginning, take_over
from xpnet.training.arguments import Request, parse
from xpnet.training.callback import Trainee
from xpnet.training.checkpointing import ONE_NETWORK, FileKind, make_checkpoint, parse_saving, read_trainings
from xpnet.training.evaluate import make_evaluations
from xpnet.training.loop import train_networks
from xpnet.training.plan import Job
from xpnet.training.position import Start
from xpnet.training.prepare import fit_for_each, prepare, scale_for_each
from xpnet.training.progress import Progress
from xpnet.training.rates import check_schedule
from xpnet.training.same_training import check_same_job, describe_functions, describe_job
from xpnet.wording.errors import ArgumentError, DivergenceError

# Arguments that only rank 0 needs
ON_FIRST = ("validation_data", "test_data", "callbacks", "metrics", "training_metrics", "checkpoint", "every", "resume")


def train(
    networks: Sequence[Trainee], request: Request, keep_in: dict[str, Any], kind: FileKind = ONE_NETWORK
) -> dict[int, DivergenceError]:
    """Train networks of one shape on the user's data.

    Parameters
    ----------
    networks
        The networks.
    request
        The arguments of `train`, not parsed yet; `lr`, `optimizer` and `callbacks` have an entry for each network.
    keep_in
        The attributes of an object, which hold the recorded or compiled loops for its next training.
    kind
        The kind of file for a checkpoint.

    Returns
    -------
    dict
        The error of each network that has diverged, by its number.
    """
    if request.distributed is not None:
        return train_on_ranks(networks, request, kind)
    preparation = Preparation(networks, request, kind)
    preparation.run()
    parsed = preparation.parsed
    return train_networks(
        preparation.jobs,
        blas_threads=parsed.blas_threads,
        threads=parsed.threads,
        checkpoint=preparation.checkpoint,
        keep_in=keep_in,
    )


def train_on_ranks(networks: Sequence[Trainee], request: Request, kind: FileKind) -> dict[int, DivergenceError]:
    """Train a network on several processes, which all call this function at once; see `train`."""
    ranks = Ranks(parse_distributed(request.distributed, networks[0].view.backend))
    with ranks.ending_together():
        preparation = SharedPreparation(networks, request, kind, ranks)
        preparation.run()
        threads = preparation.parsed.blas_threads
        return train_networks(
            preparation.jobs,
            blas_threads=1 if threads == AUTO else threads,  # ranks on one machine share its cores
            checkpoint=preparation.checkpoint,
        )


class Preparation:
    """The steps from the arguments of `train` to the jobs of the loop, to be taken one after the other.

    Parameters
    ----------
    networks, request, kind
        As in `train`.
    """

    def __init__(self, networks: Sequence[Trainee], request: Request, kind: FileKind) -> None:
        self.networks, self.request, self.kind = networks, request, kind

    def run(self) -> None:
        """Take all steps. Synchronizes."""
        self.open_checkpoint()
        with self.networks[0].view.scope():  # for the user's own code, too: data sets, metrics and callbacks
            self.make_jobs()
            self.make_checkpoint()
            self.fit_scalings()
            self.scale_examples()
            self.add_callbacks()

    def open_checkpoint(self) -> None:
        """Check where the training is written to, and read a training to resume."""
        request = self.request
        self.saving = parse_saving(self.kind, request.checkpoint, request.every, request.resume)
        self.resumed = None if self.saving is None else read_trainings(self.saving, self.networks, request.progress)
        self.at_start = self.networks if self.resumed is None else [one.net for one in self.resumed]

    def make_jobs(self) -> None:
        """Parse the arguments, and make the jobs, whose examples are not scaled yet."""
        first = self.networks[0]
        self.parsed = parse(self.request, self.at_start)
        reader = first.view.reader._replace(keeps_digits=first.standardize, feature_names=find_names(self.at_start))
        self.jobs = prepare(self.parsed, self.networks, reader, [net.seeds.split for net in self.at_start])

    @cached_property
    def calls(self) -> list[dict[str, Any]]:
        """Descriptions of the calls to `train`; the examples must not be scaled yet. Synchronizes."""
        return describe_calls(self.jobs, self.request)

    def make_checkpoint(self) -> None:
        """Make the checkpoint, if there is to be one."""
        self.checkpoint = None
        if self.saving is not None:
            self.checkpoint = make_checkpoint(
                self.saving, self.jobs, self.parsed.callbacks, self.calls, self.resumed, self.parsed.progress
            )

    def fit_scalings(self) -> None:
        """Fit a scaling to the examples of each network that standardizes and has none."""
        self.scalings = find_scalings(self.at_start)
        if self.networks[0].standardize:
            self.scalings = fit_for_each(self.jobs, self.scalings, self.parsed.progress)

    def scale_examples(self) -> None:
        """Scale the examples."""
        self.jobs = scale_for_each(self.jobs, self.scalings)

    def add_callbacks(self) -> None:
        """Add the callbacks."""
        self.jobs = add_callbacks(self.jobs, self.parsed)


class SharedPreparation(Preparation):
    """The same steps on one of several processes. Network, scaling and callbacks are those of rank 0.

    Each step is taken on rank 0 alone, or on all ranks; if it fails on one of them, all raise an error.

    Parameters
    ----------
    networks, request, kind
        As in `train`; there is one network.
    ranks
        The processes.
    """

    def __init__(self, networks: Sequence[Trainee], request: Request, kind: FileKind, ranks: Ranks) -> None:
        super().__init__(networks, request, kind)
        self.ranks = ranks

    def run(self) -> None:
        """Take all steps. Synchronizes."""
        ranks = self.ranks
        self.beginning = ranks.make_on_first(self._describe_beginning)
        if not ranks.leads:
            self._follow()
        with self.networks[0].view.scope():
            descriptions = ranks.make_on_all(self._describe_job)
            with ranks.agreeing():
                check_same_job(descriptions)
            scaling = ranks.make_on_first(self._fit_scaling)
            ranks.make_on_all(partial(self._finish_job, scaling))
        del self.at_start, self.beginning  # copies of the network

    def _describe_beginning(self) -> Beginning:
        """Open the checkpoint, and describe how the training begins."""
        self.open_checkpoint()
        start = Start() if self.resumed is None else self.resumed[0].start()
        return describe_beginning(self.at_start[0], start)

    def _follow(self) -> None:
        """Begin as rank 0 does, on another rank; it has no callbacks, evaluates nothing, and writes no files."""
        self.saving, self.resumed, copy = None, None, self.networks[0].copy()
        take_over(self.beginning, copy)
        self.at_start = [copy]
        defaults = {name: Request._field_defaults[name] for name in ON_FIRST}
        self.request = self.request._replace(**defaults, progress=False)

    def _describe_job(self) -> dict[str, Any]:
        """Make the job, and describe it for a comparison with those of other ranks."""
        self.make_jobs()
        (job,) = self.jobs
        _check_can_share(job)
        return {**describe_job(job, self.calls[0]), "shards": self.ranks.shards}

    def _fit_scaling(self) -> Scaling | None:
        """Fit a scaling, if the network standardizes and has none."""
        self.fit_scalings()
        (scaling,) = self.scalings
        return scaling and scaling.exact

    def _finish_job(self, scaling: Scaling | None) -> None:
        """Make the checkpoint, scale the examples, and add the callbacks, or one that follows those of rank 0."""
        self.make_checkpoint()
        self.scalings = [scaling and self.jobs[0].source.reader.place(scaling)]
        self.scale_examples()
        if self.ranks.leads:
            self.add_callbacks()
        (job,) = self.jobs
        if not self.ranks.leads:
            follow = Follow(job.net, self.ranks, self.beginning)
            job = job._replace(callbacks=[follow], start=self.beginning.start)
        self.jobs = [job._replace(plan=job.plan._replace(ranks=self.ranks))]


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


def add_callbacks(jobs: Sequence[Job], parsed: Request) -> list[Job]:
    """Give each network its callbacks, evaluations first: others see their results."""
    bars = [Progress()] if parsed.progress else []  # one for all networks
    with_bars = parsed.progress and len(jobs) == 1
    evaluations = [make_evaluations(job, parsed.metrics, parsed.training_metrics, with_bars) for job in jobs]
    return [
        job._replace(callbacks=[*first, *callbacks, *bars])
        for job, first, callbacks in zip(jobs, evaluations, parsed.callbacks)
    ]


def describe_calls(jobs: Sequence[Job], request: Request) -> list[dict[str, Any]]:
    """Describe, as plain values, the arguments and data that a call must share to resume a training, for each network.

    The jobs' examples are not scaled yet. Synchronizes.
    """
    common = {"batch_size": jobs[0].plan.batch_size, "sampling": jobs[0].plan.sampling.name, "steps": request.steps}
    common |= fingerprint_weights(request.class_weight, request.sample_weight, jobs[0].source.reader)
    common["functions"] = describe_functions(jobs[0].net.view.model, [*request.metrics, *request.training_metrics])
    train_data, validation_data, test_data = (
        fingerprint_all(getattr(job, name) for job in jobs) for name in ("source", "validation", "test")
    )
    return [
        {**common, "train_data": train, "validation_data": validation, "test_data": test}
        for train, validation, test in zip(train_data, validation_data, test_data)
    ]


def find_scalings(networks: Sequence[Trainee]) -> list[Scaler | None]:
    """Return the scaling of each network; equal ones are one object."""
    distinct: dict[bytes, Scaler] = {}
    scalings: list[Scaler | None] = []
    for scaling in (net.view.scaling for net in networks):
        if scaling is None:
            scalings.append(None)
        else:
            key = b"".join(x.tobytes() for x in leaves(scaling.exact))
            scalings.append(distinct.setdefault(key, scaling))
    if distinct and None in scalings and not networks[0].standardize:
        raise ArgumentError(
            f"member {scalings.index(None)} has no scaling, and others have one; give all of them one, or set the "
            "scaling of each to None"
        )
    return scalings


def find_names(networks: Sequence[Trainee]) -> tuple[str, ...] | None:
    """Find the feature names of networks. Some may have none; two must not have different ones."""
    named = [(k, names) for k, net in enumerate(networks) if (names := net.view.feature_names) is not None]
    for k, names in named:
        if names != named[0][1]:
            i, (own, first) = next((i, pair) for i, pair in enumerate(zip(names, named[0][1])) if pair[0] != pair[1])
            raise ArgumentError(
                f"network {k} has the name {own!r} for input {i} and network {named[0][0]} has {first!r}; the members "
                "of an ensemble must have the same feature_names, or None"
            )
    return named[0][1] if named else None
