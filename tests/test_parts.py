"""Data for several trainings: opened once, divided and shared."""

from dataclasses import replace

import numpy as np
import pytest

from xpnet import Ensemble, Network
from xpnet.training import Job, Plan, open_data, train

N = 40
X = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 2, N)
WEIGHT = np.random.default_rng(2).choice([0.25, 0.5, 1.0], N)  # divided by the largest, they stay as they are
PLAN = Plan(epochs=2, batch_size=8, lr=0.5)


def network(seed=0, **options):
    return Network([3, 4, 2], **{"task": "classification", "seed": seed, **options})


def open_rows(rows, weight):
    return open_data((X[rows], Y[rows]), network().value.reader, sample_weight=weight)


def learn(*jobs):
    """Weights, and the costs in validation, after each training."""
    values = [moment.value for moment in train([Job(net.value, data, PLAN) for net, data in jobs], threads=1).finish()]
    return [(np.concatenate([w.ravel() for w, _ in value.layers]), value.history) for value in values]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_part_of_a_part_is_the_same_rows_alone(weighted):
    """Those that are held out count the same, or by weights of their own."""
    net, rows, held_out = network(), np.arange(30, 4, -1), np.arange(3, 9)
    weight = np.linspace(1.0, 3.0, len(rows)) if weighted else None
    part = open_data((X, Y), net.value.reader, sample_weight=WEIGHT).part(rows)
    part = part.part(None, held_out, validation_weight=weight)
    others = np.delete(rows, held_out)
    alone = open_rows(others, WEIGHT[others])
    alone = replace(alone, validation=open_rows(rows[held_out], weight[held_out] if weighted else None).train)
    ((weights, history),), ((expected, other),) = learn((net, part)), learn((net, alone))
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_allclose(history["validation_cost"], other["validation_cost"], rtol=1e-5)


def test_a_validation_cost_is_a_weighted_mean():
    net, weight, held_out = network(), np.linspace(1.0, 3.0, N), np.arange(9)
    data = open_data((X, Y), net.value.reader).part(None, held_out, validation_weight=weight)
    train([Job(net.value, data, PLAN)]).give_to([net])
    costs = [net.cost((X[[i]], Y[[i]])) for i in held_out]
    np.testing.assert_allclose(net.history["validation_cost"][-1], np.average(costs, weights=weight[:9]), rtol=1e-5)


@pytest.mark.parametrize("copy", [False, True])
def test_a_part_is_split_as_its_rows_alone(copy):
    net, rows = network(), np.arange(30, 4, -1)
    part = open_data((X, Y), net.value.reader).part(rows, copy=copy).split(0.25, 3, copy=copy)
    alone = open_data((X[rows], Y[rows]), net.value.reader).split(0.25, 3)
    ((weights, history),), ((expected, other),) = learn((net, part)), learn((net, alone))
    np.testing.assert_array_equal(weights, expected)
    np.testing.assert_allclose(history["validation_cost"], other["validation_cost"], rtol=1e-6)


def test_networks_that_share_inputs_have_targets_of_their_own():
    nets = network(0), network(1)
    data = [open_data((X, y), nets[0].value.reader) for y in (Y, 1 - Y)]
    together, alone = learn(*zip(nets, data)), [learn(pair)[0] for pair in zip(nets, data)]
    for (weights, _), (expected, _) in zip(together, alone):
        np.testing.assert_array_equal(weights, expected)


def test_weights_are_for_training_alone_where_examples_are_scaled_together():
    held_out = np.arange(10)
    ensemble = Ensemble([3, 4, 2], 1, task="classification", standardize=True, seed=0)
    net = ensemble[0].copy()
    options = {"epochs": 2, "batch_size": 8, "sample_weight": WEIGHT, "progress": False}
    ensemble.train((X, Y), validation_rows=[held_out], **options)
    net.train((X, Y), validation_split=held_out, **options)
    np.testing.assert_allclose(ensemble[0].history["validation_cost"], net.history["validation_cost"], rtol=1e-5)


def test_parts_of_nothing_are_refused():
    data = open_data((X, Y), network().value.reader)
    with pytest.raises(ValueError, match="leave every example of validation_rows with weight zero"):
        data.part(None, [0, 1], validation_weight=np.r_[0.0, 0.0, np.ones(N - 2)])
    with pytest.raises(ValueError, match="validation_rows holds all 40 rows of train_data; leave some to train on"):
        data.part(None, np.arange(N))
