"""Training networks by the arguments of `train`: parse them, prepare the data, make the callbacks, run the loop."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from xpnet.core.arrays import leaves
from xpnet.core.scaling import Scaler
from xpnet.data.fingerprint import fingerprint_all, fingerprint_weights
from xpnet.data.prepare import Request, Sources, fit_for_each, prepare, scale_for_each
from xpnet.training.arguments import parse
from xpnet.training.callback import Callback, Trainee
from xpnet.training.checkpointing import (
    ONE_NETWORK,
    Checkpoint,
    FileKind,
    Recorder,
    Resumed,
    exiting_on_sigterm,
    name_parts,
    parse_checkpoint,
    read_trainings,
)
from xpnet.training.evaluate import make_evaluations
from xpnet.training.loop import train_networks
from xpnet.training.plan import Job, Plan
from xpnet.training.position import Start
from xpnet.training.progress import Progress
from xpnet.training.same_training import describe_optimizer
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
    path = parse_checkpoint(request.checkpoint, request.every, request.resume)
    resumed = read_trainings(path, networks, kind, request.progress) if path is not None and request.resume else None
    at_start = networks if resumed is None else [one.net for one in resumed]
    parsed = parse(request, at_start)
    view = networks[0].view
    with view.scope():  # for the user's own code, too: data sets, metrics and callbacks
        reader = view.reader._replace(keeps_digits=networks[0].standardize, feature_names=find_names(at_start))
        unscaled = prepare(parsed, reader, [net.seeds.split for net in at_start])
        checkpoint = None if path is None else make_checkpoint(path, kind, networks, request, parsed, unscaled, resumed)
        scalings = find_scalings(at_start)
        if networks[0].standardize:
            scalings = fit_for_each(unscaled, scalings, parsed.progress)
        sources = scale_for_each(unscaled, scalings)
    plans = [
        Plan(parsed.epochs, parsed.batch_size, optimizer, schedule, parsed.sampling)
        for optimizer, schedule in zip(parsed.optimizer, parsed.lr)
    ]
    starts = [Start()] * len(networks) if resumed is None else [one.start() for one in resumed]
    jobs = [
        Job(net, plan, part.train, callbacks, start)
        for net, plan, part, callbacks, start in zip(
            networks, plans, sources, list_callbacks(parsed, sources, checkpoint), starts
        )
    ]
    with exiting_on_sigterm() if checkpoint is not None else nullcontext():
        return train_networks(
            jobs,
            blas_threads=parsed.blas_threads,
            threads=parsed.threads,
            checkpoint=checkpoint,
            keep_in=keep_in,
        )


def list_callbacks(parsed: Request, sources: Sequence[Sources], checkpoint: Checkpoint | None) -> list[list[Callback]]:
    """List the callbacks of each network, evaluations first: others see their results."""
    bars = [Progress()] if parsed.progress else []  # one for all networks
    lists = []
    for k, (part, callbacks) in enumerate(zip(sources, parsed.callbacks)):
        evaluations = make_evaluations(
            part, parsed.metrics, parsed.training_metrics, progress=parsed.progress and len(sources) == 1
        )
        recorders = [] if checkpoint is None else [checkpoint.recorders[k]]
        lists.append([*evaluations, *callbacks, *bars, *recorders])
    return lists


def make_checkpoint(
    path: str,
    kind: FileKind,
    networks: Sequence[Trainee],
    request: Request,
    parsed: Request,
    sources: Sequence[Sources],
    resumed: Sequence[Resumed] | None,
) -> Checkpoint:
    """Make the checkpoint of a training; `sources` are not scaled yet."""
    call = {"epochs": parsed.epochs, "batch_size": parsed.batch_size, "sampling": request.sampling}
    call |= {"steps": parsed.steps, **fingerprint_weights(request, sources[0].train.reader)}
    recorders = [
        Recorder(
            net,
            parsed.callbacks[k],
            parsed.lr[k],
            {**call, "optimizer": describe_optimizer(parsed.optimizer[k]), **fingerprints},
            name,
            None if resumed is None else resumed[k],
        )
        for k, (net, fingerprints, name) in enumerate(
            zip(networks, fingerprint_all(sources), name_parts(path, len(networks), kind))
        )
    ]
    return Checkpoint(path, request.every, recorders, kind)


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
