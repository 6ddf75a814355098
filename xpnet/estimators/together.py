"""Fitting many estimators: their networks are trained together, those of one structure in one program."""

from collections.abc import Sequence
from typing import Any

from xpnet.estimators import fitting
from xpnet.estimators.fitting import Fit
from xpnet.training.loop import train_networks
from xpnet.training.plan import Job
from xpnet.training.progress import Progress
from xpnet.wording.errors import unless_stopped


def train_together(
    fits: Sequence[Fit], *, threads: int | str = "auto", progress: bool = False
) -> dict[int, ValueError]:
    """Train the networks of several fits.

    Parameters
    ----------
    fits
        The fits; their networks and tallies change.
    threads
        As in `Ensemble.train`.
    progress
        Whether to show a bar, even if no fit asks for one.

    Returns
    -------
    dict
        The errors of those that failed, by their numbers.
    """
    errors: dict[int, ValueError] = {}
    for numbers in group_by_structure(fits):
        group = [fits[k] for k in numbers]
        diverged = {}
        if len(group) > 1:
            shows_progress = progress or any(fitting.shows_progress(fit) for fit in group)
            bars = [Progress()] if shows_progress else []
            plans: Any = [fit.plan for fit in group]
            jobs = [Job(fit.network, plan, fit.source, [*fit.callbacks, *bars]) for fit, plan in zip(group, plans)]
            diverged = train_networks(jobs, threads=threads)
        for i, (k, fit) in enumerate(zip(numbers, group)):
            try:
                if len(group) == 1:
                    fitting.train(fit)
                elif i in diverged:
                    fitting.accept_divergence(fit, diverged[i])
            except unless_stopped(ValueError) as error:
                errors[k] = error
    return errors


def group_by_structure(fits: Sequence[Fit]) -> list[list[int]]:
    """Group the numbers of fits whose networks can be trained in one program; a fit by L-BFGS stays alone.

    Their networks have the same model, place and dtype, and their optimizers the same update, up to its numbers.
    """
    groups: list[list[int]] = []
    structures: list[Any] = []
    for k, fit in enumerate(fits):
        structure = _describe_structure(fit)
        if structure is not None and structure in structures:
            groups[structures.index(structure)].append(k)
        else:
            groups.append([k])
            structures.append(structure)
    return groups


def _describe_structure(fit: Fit) -> Any:
    """List all that the networks of a group have in common; None for a fit that has no epochs."""
    if fit.plan is None:
        return None
    view = fit.network.view
    place = (view.backend.name, view.backend.device, view.dtype)
    return view.model, view.scaling is None, place, fit.plan.optimizer.update
