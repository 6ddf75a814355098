"""The state of a fitted estimator as arrays and plain values, which is what a pickle of it holds.

Times are left out, so that the pickles of equal fits are equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from xpnet.backends import BACKENDS, get_backend
from xpnet.backends.base import Backend
from xpnet.core.calibration import Calibration
from xpnet.estimators.targets import LABEL_KINDS, Labels
from xpnet.files import (
    NO_CALIBRATIONS,
    Calibrations,
    Record,
    encode_optimizer,
    find_shared_calibration,
    make_record,
    restore_network,
    share_calibration,
)
from xpnet.network.ensemble import Ensemble, join_networks
from xpnet.network.network import Network
from xpnet.value.structure import is_known

TIMES = ("seconds", "examples_per_second")  # in the history of a network


def encode_state(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Replace networks, the backend and the labels among the attributes of an estimator. Synchronizes.

    A network with an optimizer of the user's own class stays as it is.
    """
    state = dict(attributes)
    if "network_" in state:
        state["network_"] = _encode_network(state["network_"])
    if "ensemble_" in state:
        ensemble = state["ensemble_"]
        shared = share_calibration(ensemble.values)
        networks = [_encode_network(net, shared) for net in ensemble]
        state["ensemble_"] = {"networks": networks, "seeds": ensemble.seeds}
    if "_ensemble" in state:  # the members have its networks
        ensemble, networks = state["_ensemble"], [member.network_ for member in state["estimators_"]]
        calibration = ensemble.values[0].calibration if ensemble.consists_of(networks) else None
        state["_ensemble"] = calibration and calibration._asdict()
    if "_home" in state:
        state["_home"] = _encode_backend(state["_home"])
    if "_labels" in state:
        state["_labels"] = {**vars(state["_labels"]), "kind": state["_labels"].kind.name}
    return state


def decode_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator whose state `encode_state` has returned."""
    attributes = dict(state)
    if isinstance(attributes.get("network_"), dict):
        attributes["network_"] = _decode_network(attributes["network_"])
    if "ensemble_" in attributes:
        attributes["ensemble_"] = _decode_ensemble(**attributes["ensemble_"])
    if "estimators_" in attributes:
        plain = attributes.get("_ensemble")
        networks, calibration = [one.network_ for one in attributes["estimators_"]], plain and Calibration(**plain)
        attributes["_ensemble"] = join_networks(networks, calibration=calibration)
    if "_home" in attributes:
        attributes["_home"] = _decode_backend(attributes["_home"])
    if "_labels" in attributes:
        labels = attributes["_labels"]
        attributes["_labels"] = Labels(**{**labels, "kind": LABEL_KINDS[labels["kind"]]})
    return attributes


def _encode_network(net: Network, shared: Calibrations = NO_CALIBRATIONS) -> dict[str, Any] | Network:
    """Turn a network into what its file would hold, and the place where it computes."""
    model = net.value.model
    if encode_optimizer(net.optimizer) is None:
        return net
    with net.value.scope():
        plain, arrays = make_record(net.value, shared=shared)
    *hidden, output, cost = [part.name if is_known(part) else part for part in (*model.sigmas, model.cost)]
    settings = {"activation": hidden, "output_activation": output, "cost": cost}
    rows = [{name: value for name, value in row.items() if name not in TIMES} for row in plain["history"]]
    plain |= {"settings": plain["settings"] | settings, "history": rows}
    return {"plain": plain, "arrays": arrays, "backend": _encode_backend(net.backend)}


def _decode_network(state: Mapping[str, Any]) -> Network:
    record, backend = _decode_record(state)
    return restore_network(Network, record, record.plain["settings"], backend)


def _decode_ensemble(networks: Sequence[Mapping[str, Any]], seeds: Sequence[int | None]) -> Ensemble:
    decoded = [_decode_record(state) for state in networks]
    members = [restore_network(Network, record, record.plain["settings"], backend) for record, backend in decoded]
    calibration = find_shared_calibration([record for record, _ in decoded], members[0].value.model)
    return join_networks(members, seeds, calibration)


def _decode_record(state: Mapping[str, Any]) -> tuple[Record, Backend]:
    return Record(state["plain"], state["arrays"]), _decode_backend(state["backend"])


def _encode_backend(backend: Backend) -> dict[str, str] | Backend:
    """Turn a backend into its name and device; one of another library stays, as a name would have to be imported."""
    return {"name": backend.name, "device": backend.device_name} if backend.name in BACKENDS else backend


def _decode_backend(place: Mapping[str, str] | Backend) -> Backend:
    return place if isinstance(place, Backend) else get_backend(place["name"], place["device"])
