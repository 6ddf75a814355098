"""From the arguments of `train` to the jobs of its loop: parse, prepare the data, make checkpoint and callbacks."""

from collections.abc import Sequence
from typing import Any

from xpnet.core.arrays import leaves
from xpnet.core.scaling import Scaler
from xpnet.data.fingerprint import fingerprint_all, fingerprint_weights
from xpnet.training.arguments import Request, parse
from xpnet.training.callback import Trainee
from xpnet.training.checkpointing import FileKind, make_checkpoint, parse_saving, read_trainings
from xpnet.training.evaluate import make_evaluations
from xpnet.training.plan import Job
from xpnet.training.prepare import fit_for_each, prepare, scale_for_each
from xpnet.training.progress import Progress


class Preparation:
    """The steps from the arguments of `train` to the jobs of the loop, to be taken one after the other.

    Parameters
    ----------
    networks, request, kind
        As in `train`.
    """

    def __init__(self, networks: Sequence[Trainee], request: Request, kind: FileKind) -> None:
        self.networks, self.request, self.kind = networks, request, kind

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

    def make_checkpoint(self) -> None:
        """Make the checkpoint, if there is to be one."""
        self.checkpoint = None
        if self.saving is not None:
            calls = describe_calls(self.jobs, self.request)
            self.checkpoint = make_checkpoint(self.saving, self.jobs, self.parsed.callbacks, calls, self.resumed)

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
    """Describe what a call that resumes a training must have in common with it, as plain values, for each network.

    The jobs' examples are not scaled yet. Synchronizes.
    """
    common = {"batch_size": jobs[0].plan.batch_size, "sampling": request.sampling, "steps": request.steps}
    common |= fingerprint_weights(request.class_weight, request.sample_weight, jobs[0].source.reader)
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
        raise ValueError(
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
            raise ValueError(
                f"network {k} has the name {own!r} for input {i} and network {named[0][0]} has {first!r}; the members "
                "of an ensemble must have the same feature_names, or None"
            )
    return named[0][1] if named else None
