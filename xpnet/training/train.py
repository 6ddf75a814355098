"""Training networks by the arguments of `train`: parse them, prepare the data, make the callbacks, run the loop."""

from collections.abc import Sequence
from typing import Any

from xpnet.core.arrays import leaves
from xpnet.core.scaling import Scaler
from xpnet.data.fingerprint import fingerprint_all, fingerprint_weights
from xpnet.training.arguments import Request, parse
from xpnet.training.callback import Trainee
from xpnet.training.checkpointing import ONE_NETWORK, FileKind, make_checkpoint, parse_saving, read_trainings
from xpnet.training.evaluate import make_evaluations
from xpnet.training.loop import train_networks
from xpnet.training.plan import Job
from xpnet.training.prepare import fit_for_each, prepare, scale_for_each
from xpnet.training.progress import Progress
from xpnet.wording.errors import DivergenceError


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
    saving = parse_saving(kind, request.checkpoint, request.every, request.resume)
    resumed = None if saving is None else read_trainings(saving, networks, request.progress)
    at_start = networks if resumed is None else [one.net for one in resumed]
    parsed = parse(request, at_start)
    view = networks[0].view
    with view.scope():  # for the user's own code, too: data sets, metrics and callbacks
        reader = view.reader._replace(keeps_digits=networks[0].standardize, feature_names=find_names(at_start))
        jobs = prepare(parsed, networks, reader, [net.seeds.split for net in at_start])
        checkpoint = None
        if saving is not None:
            calls = describe_calls(jobs, request)
            checkpoint = make_checkpoint(saving, jobs, parsed.callbacks, calls, resumed)
        scalings = find_scalings(at_start)
        if networks[0].standardize:
            scalings = fit_for_each(jobs, scalings, parsed.progress)
        jobs = add_callbacks(scale_for_each(jobs, scalings), parsed)
    return train_networks(
        jobs, blas_threads=parsed.blas_threads, threads=parsed.threads, checkpoint=checkpoint, keep_in=keep_in
    )


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
