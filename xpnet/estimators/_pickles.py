"""The state of a fitted estimator as arrays and plain values, which is what a pickle of it holds.

Times are left out, so that the pickles of equal fits are equal.
"""

from collections.abc import Mapping
from typing import Any

from xpnet.backends import BACKENDS, get_backend
from xpnet.backends.base import Backend
from xpnet.estimators.targets import Labels
from xpnet.files import Record, encode_optimizer, make_record, restore_network
from xpnet.network.ensemble import join_networks
from xpnet.network.network import Network
from xpnet.value.structure import is_known

TIMES = ("seconds", "examples_per_second")  # in the history of a network


def encode_state(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Replace networks, the backend and the labels among the attributes of an estimator. Synchronizes."""
    state = dict(attributes)
    if "network_" in state:
        state["network_"] = _encode_network(state["network_"])
    if "ensemble_" in state:
        networks = [_encode_network(network) for network in state["ensemble_"]]
        state["ensemble_"] = {"networks": networks, "seeds": state["ensemble_"].seeds}
    if "_home" in state:
        state["_home"] = _encode_backend(state["_home"])
    if "_labels" in state:
        state["_labels"] = vars(state["_labels"])
    return state


def decode_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator whose state `encode_state` has returned."""
    attributes = dict(state)
    if "network_" in attributes:
        attributes["network_"] = _decode_network(attributes["network_"])
    if "ensemble_" in attributes:
        state = attributes["ensemble_"]
        attributes["ensemble_"] = join_networks(map(_decode_network, state["networks"]), state["seeds"])
    if "_home" in attributes:
        attributes["_home"] = _decode_backend(attributes["_home"])
    if "_labels" in attributes:
        attributes["_labels"] = Labels(**attributes["_labels"])
    return attributes


def _encode_network(network: Network) -> dict[str, Any] | Network:
    """Turn a network into what its file would hold, and the place where it computes.

    One with an optimizer of the user's own class, which no file holds, stays as it is.
    """
    model = network.value.model
    if encode_optimizer(network.optimizer) is None:
        return network
    with network.value.scope():
        plain, arrays = make_record(network.value)
    *hidden, output, cost = [part.name if is_known(part) else part for part in (*model.sigmas, model.cost)]
    settings = {"activation": hidden, "output_activation": output, "cost": cost}
    rows = [{name: value for name, value in row.items() if name not in TIMES} for row in plain["history"]]
    plain |= {"settings": plain["settings"] | settings, "history": rows}
    return {"plain": plain, "arrays": arrays, "backend": _encode_backend(network.backend)}


def _decode_network(state: Mapping[str, Any] | Network) -> Network:
    if isinstance(state, Network):
        return state
    record = Record(state["plain"], state["arrays"])
    return restore_network(Network, record, record.plain["settings"], _decode_backend(state["backend"]))


def _encode_backend(backend: Backend) -> dict[str, str] | Backend:
    """Turn a backend into its name and device; one of another library stays, as a name would have to be imported."""
    return {"backend": backend.name, "device": backend.device_name} if backend.name in BACKENDS else backend


def _decode_backend(place: Mapping[str, str] | Backend) -> Backend:
    return place if isinstance(place, Backend) else get_backend(**place)
