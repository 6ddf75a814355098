"""Training networks by the arguments of `train`: the one function behind all doors."""

from collections.abc import Sequence
from typing import Any

from xpnet.training.arguments import Request
from xpnet.training.callback import Trainee
from xpnet.training.checkpointing import ONE_NETWORK, FileKind
from xpnet.training.loop import train_networks
from xpnet.training.on_ranks import train_on_ranks
from xpnet.training.preparation import Preparation
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
    preparation = Preparation(networks, request, kind)
    if request.distributed is not None:
        return train_on_ranks(preparation)
    preparation.open_checkpoint()
    with networks[0].view.scope():  # for the user's own code, too: data sets, metrics and callbacks
        preparation.make_jobs()
        preparation.make_checkpoint()
        preparation.fit_scalings()
        preparation.scale_examples()
        preparation.add_callbacks()
    parsed = preparation.parsed
    return train_networks(
        preparation.jobs,
        blas_threads=parsed.blas_threads,
        threads=parsed.threads,
        checkpoint=preparation.checkpoint,
        keep_in=keep_in,
    )
