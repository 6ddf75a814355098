"""Masks of dropout: the same bits on every backend and however a batch is cut, and only in training."""

import itertools
import re

import numpy as np
import pytest
from helpers import assert_same, regression_problem, snapshot
from programs import oracle

from xpnet import ArgumentError, Network
from xpnet.core.dropout import keep_mask

# Trainings with dropout are compared there in test_trainings.py
pytestmark = pytest.mark.not_on("torch", "jax")

SIZES, N, M = [5, 4, 3], 23, 4  # 23 examples in minibatches of 4: the last holds 3
PROBLEM = regression_problem(SIZES, N)
OPTIONS = {"batch_size": M, "lr": 0.5, "progress": False}


def network(place, dropout=0.5, dtype="float64", **options):
    options = {"sizes": SIZES, "seed": 3, **options}
    return Network(**options, dropout=dropout, dtype=dtype, **place._asdict())


# The hash


PLACES_IN_TIME = list(itertools.product([0, 1, 2**31, 2**32 - 1, 2718281828], [0, 1, 12345, 2**31 - 1], [0, 1, 5]))


def test_factors_are_exact_in_another_dtype(place):
    net = Network([1, 50, 1], dropout=[0.3, 0.1], dtype="float32", seed=0, **place._asdict())
    same = Network([1, 50, 1], dropout=[0.3, 0.1], dtype="float64", seed=0, **place._asdict())
    for mask, expected in zip(net.to(**place._asdict(), dtype="float64").dropout_masks(0, 9), same.dropout_masks(0, 9)):
        assert np.array_equal(net.backend.to_numpy(mask), net.backend.to_numpy(expected))


@pytest.mark.on("torch")
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 1e-9, 1 - 1e-9])
def test_masks_are_the_same_bits_on_every_backend(backend, rate):
    """Against unsigned numbers, so the sign bit, wrapping products and shifts are all looked at."""

    def integers(*values):
        return backend.asarray(np.array(values, np.uint32).view(np.int32))

    rows, units, threshold = integers(*range(5)), integers(*range(7)), integers(int(rate * 2**31))
    for seed, step, layer in PLACES_IN_TIME:
        found = keep_mask(integers(seed), integers(step), layer, rows, units, threshold, backend.xp)
        assert found.dtype == backend.xp.bool
        np.testing.assert_array_equal(backend.to_numpy(found), oracle.dropout_mask(seed, step, layer, 5, 7, rate) > 0)


# In training and nowhere else


def test_a_number_is_the_rate_of_every_hidden_layer_and_of_no_input(place):
    one, several = (network(place, rates, sizes=[5, 4, 4, 3]) for rates in (0.5, [0.0, 0.5, 0.5]))
    for each in (one, several):
        each.train(PROBLEM, epochs=2, **OPTIONS)
    assert one.dropout == several.dropout == [0.0, 0.5, 0.5]
    assert_same(one, snapshot(several))


# Going on


def test_the_step_counter_wraps_without_a_warning(place, dtype):
    net = network(place, 0.5, dtype)
    with net.backend.scope(dtype):
        step = net.backend.asarray(np.array([2**31 - 3], np.int32))
    net.state = net.state._replace(dropout=net.state.dropout._replace(step=step))
    net.train(PROBLEM, epochs=1, **OPTIONS)
    assert snapshot(net).dropout.step.tolist() == [2**31 - 3 + 6 - 2**32]


# Wrong rates


@pytest.mark.parametrize(
    ("sizes", "dropout", "message"),
    [
        *(
            (SIZES, wrong, "must be in [0, 1); 0 turns it off")
            for wrong in (1.0, -0.1, float("nan"), "half", None, True)
        ),
        (SIZES, [0.1, 1.0], "must be in [0, 1); 0 turns it off"),
        (SIZES, [0.1, 0.5, 0.5], "has 3 rates, but there are 2 layers that can drop: the inputs and 1 hidden ones"),
        (SIZES, [], "has 0 rates, but there are 2 layers that can drop"),
        ([5, 3], 0.5, "for the inputs give [0.5]"),
    ],
)
def test_wrong_rates_are_refused(sizes, dropout, message):
    with pytest.raises(ArgumentError, match="^dropout=.*" + re.escape(message)):
        Network(sizes, dropout=dropout)
    assert Network([5, 3], dropout=0.0).dropout == [0.0]
