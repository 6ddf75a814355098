"""The networks behind whatever is drawn, be it an ensemble or an estimator, and their predictions on data."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import choices
from xpnet.backends import to_host
from xpnet.data.open import open_source
from xpnet.errors import ArgumentError
from xpnet.inference.metrics import predictions
from xpnet.network.ensemble import Ensemble
from xpnet.network.network import Network
from xpnet.training import require_classes
from xpnet.value import Value


def open_model(net: Any) -> Network | Ensemble:
    """Return a network, an ensemble, or that of a fitted estimator; refuse everything else."""
    if isinstance(net, (Network, Ensemble)):
        return net
    for name in ("network_", "ensemble_"):
        if isinstance(inside := getattr(net, name, None), (Network, Ensemble)):
            return inside
    raise ArgumentError(
        f"net is of type {type(net).__name__}; give a Network or an Ensemble, or a fitted estimator of xpnet.estimators"
    )


def open_classifier(net: Any, data: Any, labels: Any) -> tuple[Network | Ensemble, Any, Any]:
    """Return the network or ensemble, the data with numbers of classes, and the names of the classes.

    An estimator has classes of its own, such as strings, and perhaps an encoder of tables; its data are (X, y).
    """
    model, classes = open_model(net), getattr(net, "classes_", None)
    if hasattr(net, "encoder_"):
        data = net.encoder_.transform(data[0]), data[1]
    if model is net or classes is None:
        return model, data, labels
    X, y = data
    y = np.asarray(to_host(y)).ravel()
    for label in y[~np.isin(y, classes)].tolist():
        raise ArgumentError(
            f"y has the class {label!r}, which the estimator has not learned; it knows {choices(classes.tolist())}"
        )
    return model, (X, np.searchsorted(classes, y)), classes if labels is None else labels


def refuse_encoder(function: str, net: Any) -> None:
    """Refuse an estimator whose network has other inputs than the columns of its tables."""
    if hasattr(net, "encoder_"):
        raise ArgumentError(
            f"{function} draws the inputs of a network, which {type(net).__name__} encodes; give net.ensemble_, and "
            "net.encoder_.transform(X) as its inputs"
        )


def require_one_network(function: str, net: Any) -> Network:
    """Return one network, or that of an estimator."""
    model = open_model(net)
    if isinstance(model, Ensemble):
        member = "ensemble[0]" if model is net else "net.ensemble_[0]"
        raise ArgumentError(f"{function} draws one network; give a member of the ensemble, as in {member}")
    return model


def count_classes(net: Network | Ensemble, function: str) -> int:
    """Count the classes of a network; refuse tasks without one class for each example."""
    value = net.values[0]
    require_classes(value, function)
    if value.model.task == "multilabel":
        raise ArgumentError(
            f'{function} needs one class for each example, and a network with task="multilabel" has several'
        )
    return max(value.model.n_out, 2)


def parse_labels(labels: Sequence[object] | None, n: int) -> list[str]:
    """Return the names of classes or outputs, by default their numbers."""
    names = [str(label) for label in (range(n) if labels is None else labels)]
    if len(names) != n:
        raise ArgumentError(f"labels={labels!r} must have {n} names, one for each class or output")
    return names


def parse_shape(function: str, n_in: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Check the shape of the inputs as an image; by default it is square."""
    if shape is None:
        side = math.isqrt(n_in)
        if side * side != n_in:
            raise ArgumentError(
                f"{function} draws inputs as a square image, and this network has {n_in} inputs; give "
                f"shape=(rows, columns) with {n_in} pixels"
            )
        return side, side
    rows, columns = shape
    if rows * columns != n_in:
        raise ArgumentError(f"shape={shape!r} has {rows * columns} pixels, and this network has {n_in} inputs")
    return rows, columns


class Block(NamedTuple):
    """Some examples as they are in the data, and the network's predictions, all on the host."""

    x: np.ndarray  # (m, n_in)
    classes: np.ndarray  # (m,)
    predicted: np.ndarray  # (m,)
    probability: np.ndarray  # (m,), of the predicted class


def predict_blocks(net: Network | Ensemble, data: Any, name: str) -> Iterator[Block]:
    """Predict the examples of any finite source, block by block."""
    value = net.values[0]
    reader = value.reader.unscaled()  # each network applies its own
    source = open_source(data, name, reader)
    for block in source.blocks(2 * sum(value.model.sizes)):
        with value.scope():
            true = predictions(reader.targets_on_host(block.y), value.model.task, np)
        p = predict_probabilities(net, block.x)
        predicted = p.argmax(axis=-1)
        probability = np.take_along_axis(p, predicted[:, None], axis=-1)[:, 0]
        x = move_to_host(value, block.x)
        yield Block(x, true, predicted, probability)


def predict_probabilities(net: Network | Ensemble, x: Any) -> np.ndarray:
    """Predict the probabilities of all classes on the host, (m, n_classes)."""
    p = move_to_host(net.values[0], net.predict_proba(x))
    return np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p


def move_to_host(value: Value, array: Any) -> np.ndarray:
    """Move an array of a network to the host."""
    with value.scope():
        return np.asarray(value.reader.place.home(array).to_numpy(array))
