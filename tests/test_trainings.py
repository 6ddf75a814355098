"""Every part of a step changes weights on every backend as it does on NumPy."""

import numpy as np
import pytest
from helpers import flat, snapshot
from trainings import TRAININGS, TWINS

from xpnet import Network

N = 20  # five minibatches


# What test_waits.py traces on JAX is not compiled here
ON_JAX = [pytest.param(each, marks=[pytest.mark.not_on("jax")] if each in TWINS else []) for each in TRAININGS]


@pytest.mark.not_on("numpy")
@pytest.mark.everywhere
@pytest.mark.parametrize("training", ON_JAX, ids=str)
def test_a_training_is_that_on_numpy(place, training):
    """To 9 digits of the change of each layer, in float64."""
    x, y, weight = training.draw(N)
    net, theirs = (
        Network(training.sizes, **training.options, seed=3, dtype="float64", **where)
        for where in (place._asdict(), {"backend": "numpy"})
    )
    before = snapshot(net)
    for each in (net, theirs):
        options = {"optimizer": training.optimizer, "sample_weight": weight, "lr": 0.02, "progress": False}
        each.train((x, y), epochs=2, batch_size=4, **options)
    states = [flat(state.layers) for state in (snapshot(net), snapshot(theirs), before)]
    for ours, expected, start in zip(*states, strict=True):
        assert np.linalg.norm(ours - expected) <= 1e-9 * np.linalg.norm(expected - start)
    np.testing.assert_allclose(net.history["cost"], theirs.history["cost"], rtol=1e-9)
