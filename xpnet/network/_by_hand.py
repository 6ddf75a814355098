"""Steps that users take by hand: learning a scaling, a step on one minibatch. Each makes a new value of a network."""

from typing import Any

import numpy as np

from xpnet.core.optimizers import SGD
from xpnet.core.scaling import Scaling
from xpnet.core.step import State
from xpnet.data.open import open_source
from xpnet.data.sampling import in_order
from xpnet.data.source import Stored
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.training import ChunkRunner, parse_rate
from xpnet.value import FITTED_TO_LAYERS, FITTED_TO_WEIGHTS, Value, init_optimizer


def learn_scaling(value: Value, data: Any) -> tuple[Scaling, Value]:
    """Learn the scaling of `standardize` from data; see `Network.fit_scaling`."""
    if not value.model.standardize:
        raise ArgumentError("fit_scaling is for networks with standardize=True; make one with it")
    reader = value.reader.unscaled()
    source = open_source(data, "data", reader)
    scaling, names = source.fit_scaling(), source.reader.feature_names
    return scaling.exact, value._replace(scaling=scaling, feature_names=names, **FITTED_TO_WEIGHTS, novelty=None)


def update(value: Value, batch: Any, lr: Any) -> Value:
    """Take a step of plain gradient descent on a minibatch; see `Network.minibatch_update`."""
    lr = parse_rate("lr", lr)
    if value.model.standardize and value.scaling is None:
        raise ArgumentError(
            "minibatch_update needs the scaling of standardize=True, and the network has none yet; call "
            "fit_scaling(train_data) once before the loop"
        )
    source = open_source(batch, "batch", value.reader)
    if not isinstance(source, Stored):
        raise ArgumentError("batch is an iterable of batches; give one of them, a list of (x, y) pairs or (X, y)")
    plain = SGD()
    state = State(value.layers, init_optimizer(plain, value.layers, value.place), value.state.cost)
    (chunk,) = source.take_chunks(iter([in_order((1, len(source)))]), is_alone=False)
    done = ChunkRunner(source.reader, plain).run(state, chunk._replace(lr=np.array([lr])))
    if done is None:
        raise DivergenceError(
            f"training diverged in a minibatch update, at lr={lr:g}: cost or weights are not finite; the network is as "
            "it was before. Give a smaller lr, or scale the inputs"
        )
    state = value.state._replace(layers=done[0]["stored"].layers)
    names, provenance = source.reader.feature_names, value.provenance._replace(edited=True)
    return value._replace(stored=state, feature_names=names, **FITTED_TO_LAYERS, novelty=None, provenance=provenance)
